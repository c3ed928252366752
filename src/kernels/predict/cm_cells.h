/* A row of lanes at once: what they say, and what they learn from the bit.
 *
 * Every lane has a value of 16 bits: the cell its context stands on now, or, for other models
 * (matches, runs, ...), a key in the same place. value >> 6 chooses an entry of the lane's map: a stretched
 * probability that follows the bits by the gradient of coding cost, st += rate (y - squash(st)).
 * Loads and stores go lane by lane; the arithmetic between runs over 16 lanes. */
#ifndef PREDICT_CM_CELLS_H
#define PREDICT_CM_CELLS_H

#include "kernels/predict/cm.h"

#if CM_ISA >= 1
#include <immintrin.h>

/* 16 table entries of 16 bits, split into bytes as shuffles want them; key 0..15 in every lane */
PITH_INLINE __m256i cm_look_up16(const cm_bytes16 *t, __m256i key) {
    const __m256i low = _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(const void *)t->low));
    const __m256i high = _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(const void *)t->high));
    __m256i at = _mm256_or_si256(key, _mm256_set1_epi16((short)0x8000)); /* high bytes look up zero */
    return _mm256_or_si256(_mm256_shuffle_epi8(low, at), _mm256_slli_epi16(_mm256_shuffle_epi8(high, at), 8));
}

PITH_INLINE __m256i cm_load16(const void *at) { return _mm256_load_si256((const __m256i *)at); }

PITH_INLINE void cm_store16(void *at, __m256i v) { _mm256_store_si256((__m256i *)at, v); }
#else
PITH_INLINE int cm_look_up16(const cm_bytes16 *t, unsigned key) { return (int16_t)(t->low[key] | t->high[key] << 8); }
#endif

/* Lanes from..from+15, of which those below `cells` are cells: with their values and their maps' entries known, p
 * and the inputs x[lane] = st, x[lanes + lane] = p - 1/2. A lane with count 0 says nothing. Returns
 * which lanes spoke, two bits a lane (AVX) or one (scalar). */
PITH_INLINE unsigned cm_lanes_say(cm_row *r, const cm_squash *q, int16_t *x, unsigned lanes, unsigned from, unsigned cells) {
#if CM_ISA >= 1
    __m256i v = cm_load16(r->value + from), st = cm_load16(r->st + from), size = _mm256_abs_epi16(st);
    __m256i part = _mm256_slli_epi16(_mm256_and_si256(size, _mm256_set1_epi16(2047)), 4), key = _mm256_srli_epi16(size, 11);
    __m256i p = _mm256_add_epi16(cm_look_up16(&q->base, key), _mm256_mulhi_epi16(cm_look_up16(&q->slope, key), part));
    p = _mm256_sign_epi16(p, st);
    cm_store16(r->p + from, p);
    __m256i known = _mm256_cmpgt_epi16(_mm256_srli_epi16(v, 12), _mm256_setzero_si256());
    __m256i raw = _mm256_srai_epi16(p, 5);
    if (from < cells) {
        __m256i own = _mm256_srai_epi16(
            _mm256_sub_epi16(_mm256_and_si256(v, _mm256_set1_epi16(4095)), _mm256_set1_epi16(2048)), 2);
        const __m256i count = _mm256_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        raw = _mm256_blendv_epi8(raw, own, _mm256_cmpgt_epi16(_mm256_set1_epi16((short)(cells - from)), count));
    }
    cm_store16(x + from, _mm256_and_si256(_mm256_srai_epi16(st, 4), known));
    cm_store16(x + lanes + from, _mm256_and_si256(raw, known));
    return (unsigned)_mm256_movemask_epi8(known);
#else
    unsigned spoke = 0;
    for (unsigned i = from; i < from + 16; i++) {
        int st = r->st[i], size = st < 0 ? -st : st, v = r->value[i], known = v >> 12 ? -1 : 0;
        int p = cm_look_up16(&q->base, (unsigned)size >> 11);
        p += cm_look_up16(&q->slope, (unsigned)size >> 11) * ((size & 2047) << 4) >> 16;
        r->p[i] = (int16_t)(st < 0 ? -p : st > 0 ? p : 0);
        x[i] = (int16_t)(st >> 4 & known);
        x[lanes + i] = (int16_t)((i < cells ? ((v & 4095) - 2048) >> 2 : r->p[i] >> 5) & known);
        spoke |= (unsigned)(known & 3) << 2 * (i - from);
    }
    return spoke;
#endif
}

/* st += rate (y - p), with a dither that makes up for the rounding */
PITH_INLINE void cm_maps_learn(cm_row *r, unsigned bit, int rate, int dither, unsigned from) {
    int target = bit ? CM_P_MOST : -CM_P_MOST;
#if CM_ISA >= 1
    __m256i error = _mm256_sub_epi16(_mm256_set1_epi16((short)target), cm_load16(r->p + from));
    error = _mm256_adds_epi16(error, _mm256_set1_epi16((short)dither));
    __m256i st = _mm256_adds_epi16(cm_load16(r->st + from), _mm256_mulhrs_epi16(error, _mm256_set1_epi16((short)rate)));
    cm_store16(r->st + from, _mm256_max_epi16(st, _mm256_set1_epi16(-32767)));
#else
    for (unsigned i = from; i < from + 16; i++) {
        int error = PITH_MAX(-32768, PITH_MIN(32767, target - r->p[i] + dither));
        r->st[i] = (int16_t)PITH_MAX(-32767, PITH_MIN(32767, r->st[i] + ((error * rate + (1 << 14)) >> 15)));
    }
#endif
}

/* p += (bit - p) * step(count), the count stops at 15; in place */
PITH_INLINE void cm_cells_learn(cm_row *r, const cm_bytes16 *steps, unsigned bit, unsigned from) {
#if CM_ISA >= 1
    __m256i v = cm_load16(r->value + from), count = _mm256_srli_epi16(v, 12), p = _mm256_and_si256(v, _mm256_set1_epi16(4095));
    __m256i diff = _mm256_slli_epi16(_mm256_sub_epi16(_mm256_set1_epi16(bit ? 4095 : 0), p), 1);
    p = _mm256_add_epi16(p, _mm256_mulhi_epi16(diff, cm_look_up16(steps, count)));
    count = _mm256_min_epi16(_mm256_add_epi16(count, _mm256_set1_epi16(1)), _mm256_set1_epi16(15));
    cm_store16(r->value + from, _mm256_or_si256(_mm256_slli_epi16(count, 12), p));
#else
    for (unsigned i = from; i < from + 16; i++) {
        unsigned v = r->value[i], count = v >> 12;
        int p = (int)(v & 4095);
        p += ((bit ? 4095 : 0) - p) * 2 * cm_look_up16(steps, count) >> 16;
        r->value[i] = (uint16_t)((count < 15 ? count + 1 : count) << 12 | (unsigned)p);
    }
#endif
}

#endif
