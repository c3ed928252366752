/* Blocks of keys and values as floats: eight at once. */
#include <immintrin.h>

#define CACHE_DECODE_TABLE cache_decode_avx2
#define LANES 8
typedef __m256 lanes;
#define BYTES(p) _mm_loadl_epi64((const __m128i *)(const void *)(p))
#define FLOATS(bytes) _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))
#define LANES_SIGNED(p) FLOATS(BYTES(p))
#define LANES_NIBBLES(p, shift)                                                                                        \
    FLOATS(_mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(BYTES(p), shift), _mm_set1_epi8(15)), _mm_set1_epi8(8)))
#define LANES_LOAD(p) _mm256_loadu_ps(p)
#define LANES_SET(x) _mm256_set1_ps(x)
#define LANES_SCALED(y, q, d) _mm256_storeu_ps(y, _mm256_mul_ps(q, d))
#include "lm/cache_decode_loops.h"
