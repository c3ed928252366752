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

/* sum_i (w_i * x_i) >> 14, every pair of products shifted by 8 before it is added; n a multiple of 32 */
PITH_INLINE int32_t mix_dot(const int16_t *w, const int16_t *x, unsigned n) {
#if CM_ISA == 2
    __m512i sum = _mm512_setzero_si512();
    for (unsigned i = 0; i < n; i += 32)
        sum = _mm512_add_epi32(sum,
                               _mm512_srai_epi32(_mm512_madd_epi16(_mm512_load_si512(w + i), mix_inputs(x + i)), 8));
    return _mm512_reduce_add_epi32(sum) >> 6;
#elif CM_ISA == 1
    __m256i sum = _mm256_setzero_si256();
    for (unsigned i = 0; i < n; i += 16)
        sum = _mm256_add_epi32(
            sum, _mm256_srai_epi32(_mm256_madd_epi16(_mm256_load_si256((const __m256i *)(const void *)(w + i)),
                                                     _mm256_load_si256((const __m256i *)(const void *)(x + i))),
                                   8));
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1));
    return _mm_cvtsi128_si32(s) >> 6;
#else
    int32_t sum = 0;
    for (unsigned i = 0; i < n; i += 2) sum += (w[i] * x[i] + w[i + 1] * x[i + 1]) >> 8;
    return sum >> 6;
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

/* ---- the second layer, of a few votes: 16 at most, zeros behind them ---- */

PITH_INLINE int32_t vote_dot(const int16_t *w, const int16_t *x, unsigned n) {
#if CM_ISA >= 1
    if (n > 4) {
        __m256i sum = _mm256_madd_epi16(_mm256_load_si256((const __m256i *)(const void *)w),
                                        _mm256_load_si256((const __m256i *)(const void *)x));
        __m128i s = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
        s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
        s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1));
        return _mm_cvtsi128_si32(s) >> 14;
    }
#endif
    int32_t sum = 0;
    for (unsigned i = 0; i < n; i++) sum += w[i] * x[i];
    return sum >> 14;
}

PITH_INLINE void vote_train(int16_t *w, const int16_t *x, unsigned n, int step) {
#if CM_ISA >= 1
    if (n > 4) {
        __m256i d = _mm256_mulhrs_epi16(_mm256_load_si256((const __m256i *)(const void *)x), _mm256_set1_epi16((short)step));
        __m256i *at = (__m256i *)(void *)w;
        _mm256_store_si256(at, _mm256_adds_epi16(_mm256_load_si256(at), d));
        return;
    }
#endif
    for (unsigned i = 0; i < n; i++) {
        int v = w[i] + ((x[i] * step + (1 << 14)) >> 15);
        w[i] = (int16_t)(v > 32767 ? 32767 : v < -32768 ? -32768 : v);
    }
}

#endif
