/* Rounds of the rANS coder: decoding eight states to a vector, encoding one by one with BMI2. */
#include <immintrin.h>

#include "kernels/represent/rans.h"

#define VECTORS (RANS_LANES / 8)

/* For each set of lanes that want a word: which of the next eight each of them gets. */
static const uint64_t place[256] = {
#define P1(m, k) ((uint64_t)__builtin_popcount((m) & ((1u << (k)) - 1)) << 8 * (k))
#define P(m) P1(m, 0) | P1(m, 1) | P1(m, 2) | P1(m, 3) | P1(m, 4) | P1(m, 5) | P1(m, 6) | P1(m, 7)
#define P4(m) P(m), P((m) + 1), P((m) + 2), P((m) + 3)
#define P16(m) P4(m), P4((m) + 4), P4((m) + 8), P4((m) + 12)
#define P64(m) P16(m), P16((m) + 16), P16((m) + 32), P16((m) + 48)
    P64(0), P64(64), P64(128), P64(192),
#undef P64
#undef P16
#undef P4
#undef P
#undef P1
};

static const uint8_t *decode(const uint32_t *table, uint32_t *states, const uint8_t *words, uint8_t *dst,
                             size_t n_rounds) {
    const __m256i slots = _mm256_set1_epi32((int)RANS_TOTAL - 1), low = _mm256_set1_epi32((int)RANS_LOW);
    __m256i x[VECTORS], symbol[VECTORS];
    for (unsigned v = 0; v < VECTORS; v++) x[v] = _mm256_loadu_si256((const __m256i *)(const void *)(states + 8 * v));
    for (size_t r = 0; r < n_rounds; r++, dst += RANS_LANES) {
        for (unsigned v = 0; v < VECTORS; v++) {
            __m256i e = _mm256_i32gather_epi32((const int *)(const void *)table, _mm256_and_si256(x[v], slots), 4);
            symbol[v] = _mm256_srli_epi32(e, 24);
            __m256i freq = _mm256_and_si256(e, slots), offset = _mm256_and_si256(_mm256_srli_epi32(e, 12), slots);
            x[v] = _mm256_add_epi32(_mm256_mullo_epi32(freq, _mm256_srli_epi32(x[v], RANS_BITS)), offset);
        }
        for (unsigned v = 0; v < VECTORS; v++) {
            __m256i want = _mm256_cmpgt_epi32(low, x[v]); /* states stay below 2^31: signed is right */
            unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(want));
            __m256i next = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)words));
            __m256i which = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)place[mask]));
            next = _mm256_permutevar8x32_epi32(next, which);
            x[v] = _mm256_blendv_epi8(x[v], _mm256_or_si256(_mm256_slli_epi32(x[v], 16), next), want);
            words += 2 * (unsigned)__builtin_popcount(mask);
        }
        __m256i a = _mm256_packus_epi32(symbol[0], symbol[1]), b = _mm256_packus_epi32(symbol[2], symbol[3]);
        __m256i bytes = _mm256_packus_epi16(a, b); /* halves interleaved by fours */
        bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        _mm256_storeu_si256((__m256i *)(void *)dst, bytes);
    }
    for (unsigned v = 0; v < VECTORS; v++) _mm256_storeu_si256((__m256i *)(void *)(states + 8 * v), x[v]);
    return words;
}

static uint8_t *encode(const rans_coder *coder, uint32_t *states, const uint8_t *src, size_t n_rounds, uint8_t *words) {
    while (n_rounds-- > 0)
        for (unsigned s = RANS_LANES; s-- > 0;)
            states[s] = rans_put(coder, src[n_rounds * RANS_LANES + s], states[s], &words);
    return words;
}

const rans_ops rans_ops_avx2 = {decode, encode};
