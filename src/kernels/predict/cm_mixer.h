/* Gated logistic mixing: p = squash(sum_i w_i x_i), one weight vector out of a set chosen by
 * a small context; several sets vote and a second mixer weighs the votes.
 *
 * Update after bit y: w_i += rate * x_i * (y - p), the gradient of coding cost
 * (M. Mahoney, PAQ6, 2003). Integers only: inputs are 12 bits, weights 16.16, every product is
 * shifted before it is added, so the order of adding cannot matter and all paths agree. */
#ifndef PREDICT_CM_MIXER_H
#define PREDICT_CM_MIXER_H

#include "kernels/predict/logistic.h"

#if CM_ISA >= 1
#include <immintrin.h>
#endif

/* ---- the first layer ---- */

#if CM_ISA == 2
/* 32 inputs as two halves: they were just written in halves, and a load may not span two such stores */
PITH_INLINE __m512i mix_inputs(const int16_t *x) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_load_si256((const __m256i *)(const void *)x)),
                              _mm256_load_si256((const __m256i *)(const void *)(x + 16)), 1);
}
#endif

/* sums[k] = (sum_i w_k,i x_i) >> 14, every pair of products shifted by 8 before it is added, clamped to what
 * a stretched value may be; for the first `count` of four vectors w_k of n, a multiple of 32; 0 for the others */
PITH_INLINE void mix_dot4(const int16_t *const w[4], unsigned count, const int16_t *x, unsigned n, int32_t *sums) {
#if CM_ISA >= 1
    __m128i part[4] = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};
    for (unsigned k = 0; k < 4 && k < count; k++) {
#if CM_ISA == 2
        __m512i wide = _mm512_srai_epi32(_mm512_madd_epi16(_mm512_load_si512(w[k]), mix_inputs(x)), 8);
        for (unsigned i = 32; i < n; i += 32)
            wide = _mm512_add_epi32(
                wide, _mm512_srai_epi32(_mm512_madd_epi16(_mm512_load_si512(w[k] + i), mix_inputs(x + i)), 8));
        __m256i sum = _mm256_add_epi32(_mm512_castsi512_si256(wide), _mm512_extracti64x4_epi64(wide, 1));
#else
        __m256i sum = _mm256_setzero_si256();
        for (unsigned i = 0; i < n; i += 16)
            sum = _mm256_add_epi32(
                sum, _mm256_srai_epi32(_mm256_madd_epi16(_mm256_load_si256((const __m256i *)(const void *)(w[k] + i)),
                                                         _mm256_load_si256((const __m256i *)(const void *)(x + i))),
                                       8));
#endif
        part[k] = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    }
    __m128i all = _mm_hadd_epi32(_mm_hadd_epi32(part[0], part[1]), _mm_hadd_epi32(part[2], part[3]));
    all = _mm_min_epi32(_mm_srai_epi32(all, 6), _mm_set1_epi32(STRETCH_MAX));
    _mm_store_si128((__m128i *)(void *)sums, _mm_max_epi32(all, _mm_set1_epi32(-STRETCH_MAX)));
#else
    for (unsigned k = 0; k < 4; k++) {
        int32_t sum = 0;
        for (unsigned i = 0; i < n && k < count; i += 2) sum += (w[k][i] * x[i] + w[k][i + 1] * x[i + 1]) >> 8;
        sums[k] = PITH_MAX(-STRETCH_MAX, PITH_MIN(STRETCH_MAX, sum >> 6));
    }
#endif
}

/* w_i += (x_i * step + 2^14) >> 15, saturating */
PITH_INLINE void mix_train(int16_t *w, const int16_t *x, unsigned n, int step) {
#if CM_ISA == 2
    const __m512i s = _mm512_set1_epi16((short)step);
    for (unsigned i = 0; i < n; i += 32)
        _mm512_store_si512(w + i, _mm512_adds_epi16(_mm512_load_si512(w + i), _mm512_mulhrs_epi16(_mm512_load_si512(x + i), s)));
#elif CM_ISA == 1
    const __m256i s = _mm256_set1_epi16((short)step);
    for (unsigned i = 0; i < n; i += 16) {
        __m256i *at = (__m256i *)(void *)(w + i);
        _mm256_store_si256(at, _mm256_adds_epi16(_mm256_load_si256(at),
                                                 _mm256_mulhrs_epi16(_mm256_load_si256((const __m256i *)(const void *)(x + i)), s)));
    }
#else
    for (unsigned i = 0; i < n; i++) {
        int v = w[i] + ((x[i] * step + (1 << 14)) >> 15);
        w[i] = (int16_t)(v > 32767 ? 32767 : v < -32768 ? -32768 : v);
    }
#endif
}

/* ---- the second layer, of a few votes: eight or 16 of them, zeros behind them ---- */

#if CM_ISA >= 1
PITH_INLINE __m128i mix_load8(const int16_t *at) { return _mm_load_si128((const __m128i *)(const void *)at); }

PITH_INLINE void mix_store8(int16_t *at, __m128i v) { _mm_store_si128((__m128i *)(void *)at, v); }
#endif

/* eight sums as votes */
PITH_INLINE void vote_pack(int16_t *votes, const int32_t *sums) {
#if CM_ISA >= 1
    mix_store8(votes, _mm_packs_epi32(_mm_load_si128((const __m128i *)(const void *)sums),
                                      _mm_load_si128((const __m128i *)(const void *)(sums + 4))));
#else
    for (unsigned i = 0; i < 8; i++) votes[i] = (int16_t)sums[i];
#endif
}

PITH_INLINE int32_t vote_dot(const int16_t *w, const int16_t *x, unsigned n) {
#if CM_ISA >= 1
    __m128i s = _mm_madd_epi16(mix_load8(w), mix_load8(x));
    if (n > 8) s = _mm_add_epi32(s, _mm_madd_epi16(mix_load8(w + 8), mix_load8(x + 8)));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1));
    return _mm_cvtsi128_si32(s) >> 14;
#else
    int32_t sum = 0;
    for (unsigned i = 0; i < n; i++) sum += w[i] * x[i];
    return sum >> 14;
#endif
}

PITH_INLINE void vote_train(int16_t *w, const int16_t *x, unsigned n, int step) {
#if CM_ISA >= 1
    for (unsigned i = 0; i < n; i += 8)
        mix_store8(w + i, _mm_adds_epi16(mix_load8(w + i), _mm_mulhrs_epi16(mix_load8(x + i), _mm_set1_epi16((short)step))));
#else
    for (unsigned i = 0; i < n; i++) {
        int v = w[i] + ((x[i] * step + (1 << 14)) >> 15);
        w[i] = (int16_t)(v > 32767 ? 32767 : v < -32768 ? -32768 : v);
    }
#endif
}

#endif
