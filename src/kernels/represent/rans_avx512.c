/* Rounds of the rANS decoder, sixteen states to a vector. */
#include <immintrin.h>

#include "kernels/represent/rans.h"

#define VECTORS (RANS_LANES / 16)

static const uint8_t *rounds(const uint32_t *table, uint32_t *states, const uint8_t *words, uint8_t *dst,
                             size_t n_rounds) {
    const __m512i slots = _mm512_set1_epi32((int)RANS_TOTAL - 1), low = _mm512_set1_epi32((int)RANS_LOW);
    __m512i x[VECTORS];
    for (unsigned v = 0; v < VECTORS; v++) x[v] = _mm512_loadu_si512(states + 16 * v);
    for (size_t r = 0; r < n_rounds; r++, dst += RANS_LANES) {
        for (unsigned v = 0; v < VECTORS; v++) {
            __m512i e = _mm512_i32gather_epi32(_mm512_and_si512(x[v], slots), table, 4);
            _mm_storeu_si128((__m128i *)(void *)(dst + 16 * v), _mm512_cvtepi32_epi8(_mm512_srli_epi32(e, 24)));
            __m512i freq = _mm512_and_si512(e, slots), offset = _mm512_and_si512(_mm512_srli_epi32(e, 12), slots);
            x[v] = _mm512_add_epi32(_mm512_mullo_epi32(freq, _mm512_srli_epi32(x[v], RANS_BITS)), offset);
        }
        for (unsigned v = 0; v < VECTORS; v++) {
            __mmask16 want = _mm512_cmplt_epu32_mask(x[v], low);
            __m512i next = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)words));
            next = _mm512_maskz_expand_epi32(want, next);
            x[v] = _mm512_mask_or_epi32(x[v], want, _mm512_slli_epi32(x[v], 16), next);
            words += 2 * (unsigned)__builtin_popcount(want);
        }
    }
    for (unsigned v = 0; v < VECTORS; v++) _mm512_storeu_si512(states + 16 * v, x[v]);
    return words;
}

const rans_ops rans_ops_avx512 = {rounds};
