/* A row of cells at once: what they predict, and what they learn from the bit.
 *
 * Lane i of a row holds the cell context i stands on now. Loads and stores go cell by cell;
 * the arithmetic between runs over all lanes. Lanes behind the cells carry the other models
 * (matches, runs, ...) in the same form: a stretched probability and a cell-like value. */
#ifndef PREDICT_CM_CELLS_H
#define PREDICT_CM_CELLS_H

#include "kernels/predict/cm.h"

#if CM_ISA >= 1
#include <immintrin.h>
#endif

/* x[i] = st, x[lanes + i] = (p - 2048) / 4; a lane with count 0 says nothing. n: multiple of 16 */
PITH_INLINE void cm_lanes_to_inputs(const cm_row *r, int16_t *x, unsigned n) {
#if CM_ISA >= 1
    const __m256i p_bits = _mm256_set1_epi16(4095), half = _mm256_set1_epi16(2048);
    for (unsigned i = 0; i < n; i += 16) {
        __m256i v = _mm256_load_si256((const __m256i *)(const void *)(r->value + i));
        __m256i st = _mm256_load_si256((const __m256i *)(const void *)(r->st + i));
        __m256i known = _mm256_cmpgt_epi16(_mm256_srli_epi16(v, 12), _mm256_setzero_si256());
        __m256i raw = _mm256_srai_epi16(_mm256_sub_epi16(_mm256_and_si256(v, p_bits), half), 2);
        _mm256_store_si256((__m256i *)(void *)(x + i), _mm256_and_si256(st, known));
        _mm256_store_si256((__m256i *)(void *)(x + n + i), _mm256_and_si256(raw, known));
    }
#else
    for (unsigned i = 0; i < n; i++) {
        int known = r->value[i] >> 12 != 0 ? -1 : 0;
        x[i] = (int16_t)(r->st[i] & known);
        x[n + i] = (int16_t)((((int)(r->value[i] & 4095) - 2048) >> 2) & known);
    }
#endif
}

/* p += (bit - p) * step(count), the count stops at 15; in place. n: multiple of 16 */
PITH_INLINE void cm_lanes_learn(cm_row *r, const cell_steps *t, unsigned bit, unsigned n) {
#if CM_ISA >= 1
    const __m256i fifteen = _mm256_set1_epi16(15), p_bits = _mm256_set1_epi16(4095), target = _mm256_set1_epi16(bit ? 4095 : 0);
    const __m256i low = _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(const void *)t->low));
    const __m256i high = _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(const void *)t->high));
    for (unsigned i = 0; i < n; i += 16) {
        __m256i *at = (__m256i *)(void *)(r->value + i);
        __m256i v = _mm256_load_si256(at), count = _mm256_srli_epi16(v, 12), p = _mm256_and_si256(v, p_bits);
        __m256i key = _mm256_or_si256(count, _mm256_set1_epi16((short)0x8000)); /* high bytes look up zero */
        __m256i step = _mm256_or_si256(_mm256_shuffle_epi8(low, key), _mm256_slli_epi16(_mm256_shuffle_epi8(high, key), 8));
        __m256i diff = _mm256_slli_epi16(_mm256_sub_epi16(target, p), 1);
        p = _mm256_add_epi16(p, _mm256_mulhi_epi16(diff, step));
        count = _mm256_min_epi16(_mm256_add_epi16(count, _mm256_set1_epi16(1)), fifteen);
        _mm256_store_si256(at, _mm256_or_si256(_mm256_slli_epi16(count, 12), p));
    }
#else
    for (unsigned i = 0; i < n; i++) {
        unsigned v = r->value[i], count = v >> 12;
        int p = (int)(v & 4095), step = t->low[count] | t->high[count] << 8;
        p += ((bit ? 4095 : 0) - p) * 2 * step >> 16;
        r->value[i] = (uint16_t)((count < 15 ? count + 1 : count) << 12 | (unsigned)p);
    }
#endif
}

/* the maps' cells, as statemap_update does it; the step 2^17 / (2n + 3) by an exact division
 * (its quotient is never within float's rounding of a whole number). n: multiple of 16 */
PITH_INLINE void cm_maps_learn(cm_row *r, unsigned bit, unsigned n) {
#if CM_ISA == 2
    const __m512i target = _mm512_set1_epi32(bit ? (1 << 22) - 1 : 0), all = _mm512_set1_epi32(1023);
    for (unsigned i = 0; i < n; i += 16) {
        __m512i v = _mm512_load_si512(r->map + i), count = _mm512_and_si512(v, all), p = _mm512_srli_epi32(v, 10);
        __m512 below = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(count, 1), _mm512_set1_epi32(3)));
        __m512i step = _mm512_cvttps_epi32(_mm512_div_ps(_mm512_set1_ps(131072.0f), below));
        __m512i diff = _mm512_srai_epi32(_mm512_sub_epi32(target, p), 7);
        p = _mm512_add_epi32(p, _mm512_srai_epi32(_mm512_mullo_epi32(diff, step), 9));
        count = _mm512_min_epi32(_mm512_add_epi32(count, _mm512_set1_epi32(1)), all);
        _mm512_store_si512(r->map + i, _mm512_or_si512(_mm512_slli_epi32(p, 10), count));
    }
#elif CM_ISA == 1
    const __m256i target = _mm256_set1_epi32(bit ? (1 << 22) - 1 : 0), all = _mm256_set1_epi32(1023);
    for (unsigned i = 0; i < n; i += 8) {
        __m256i *at = (__m256i *)(void *)(r->map + i);
        __m256i v = _mm256_load_si256(at), count = _mm256_and_si256(v, all), p = _mm256_srli_epi32(v, 10);
        __m256 below = _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_slli_epi32(count, 1), _mm256_set1_epi32(3)));
        __m256i step = _mm256_cvttps_epi32(_mm256_div_ps(_mm256_set1_ps(131072.0f), below));
        __m256i diff = _mm256_srai_epi32(_mm256_sub_epi32(target, p), 7);
        p = _mm256_add_epi32(p, _mm256_srai_epi32(_mm256_mullo_epi32(diff, step), 9));
        count = _mm256_min_epi32(_mm256_add_epi32(count, _mm256_set1_epi32(1)), all);
        _mm256_store_si256(at, _mm256_or_si256(_mm256_slli_epi32(p, 10), count));
    }
#else
    for (unsigned i = 0; i < n; i++) {
        uint32_t v = r->map[i], count = v & 1023;
        int32_t p = (int32_t)(v >> 10), target = bit ? (1 << 22) - 1 : 0;
        p += ((target - p) >> 7) * (int32_t)(131072 / (2 * count + 3)) >> 9;
        r->map[i] = (uint32_t)p << 10 | (count < 1023 ? count + 1 : count);
    }
#endif
}

#endif
