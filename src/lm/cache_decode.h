/* Eight- and four-bit blocks of keys and values as floats, the two types that caches are mostly made of. One product of
 * a whole number and a scale each, so the same bits as blocks_decode on every machine. Keys lie element by
 * element, 64 positions side by side, so that they come out as attention wants them; values in ggml's blocks.
 * Compiled for each instruction set. Private to lm/cache_store.c. */
#ifndef LM_CACHE_DECODE_H
#define LM_CACHE_DECODE_H

#include "base/base.h"

#define CACHE_LANES 16 /* positions are decoded in whole sixteens */

typedef struct cache_decode_ops {
    /* y[(c - first) * stride + i] = q of channel c, position i, times scale[i]: channels [first, last) of a block of
     * 32, positions i < n rounded up to CACHE_LANES. q[32][stride] bytes, or [16][stride] with channels c and c + 16. */
    void (*keys8)(float *y, const float *scale, const uint8_t *q, size_t stride, size_t first, size_t last, size_t n);
    void (*keys4)(float *y, const float *scale, const uint8_t *q, size_t stride, size_t first, size_t last, size_t n);
    /* y[b * 32 + j] = q of element j times scale[b]; the q of block b begin at q + b * step. */
    void (*values8)(float *y, const float *scale, const uint8_t *q, size_t step, size_t n_blocks);
    void (*values4)(float *y, const float *scale, const uint8_t *q, size_t step, size_t n_blocks);
} cache_decode_ops;

extern const cache_decode_ops cache_decode_scalar, cache_decode_avx2, cache_decode_avx512;
const cache_decode_ops *cache_decode(void); /* for pith_cpu_best() */

#endif
