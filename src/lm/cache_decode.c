/* Blocks of keys and values as floats: the portable loops, and the choice by processor. */
#define CACHE_DECODE_TABLE cache_decode_scalar
#define LANES 1
typedef float lanes;
#define LANES_SIGNED(p) ((float)(int8_t)(p)[0])
#define LANES_NIBBLES(p, shift) ((float)(((p)[0] >> (shift)&15) - 8))
#define LANES_LOAD(p) ((p)[0])
#define LANES_SET(x) (x)
#define LANES_SCALED(y, q, d) ((y)[0] = (q) * (d))
#include "lm/cache_decode_loops.h"

const cache_decode_ops *cache_decode(void) {
#if (defined(__x86_64__) || defined(__i386__)) && !defined(PITH_NO_X86)
    if (pith_cpu_best() >= PITH_CPU_AVX512) return &cache_decode_avx512;
    if (pith_cpu_best() >= PITH_CPU_AVX2) return &cache_decode_avx2;
#endif
    return &cache_decode_scalar;
}
