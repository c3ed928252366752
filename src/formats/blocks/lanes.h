/* Several floats side by side, as many as the instruction set of the including file has: the
 * operators + - * / work on lane_f, the rest is here. Every operation rounds as the single float's
 * does, so that results do not depend on LANES. Without GNU vectors there is one lane. */
#ifndef FORMATS_BLOCKS_LANES_H
#define FORMATS_BLOCKS_LANES_H

#include <math.h>

#include "base/base.h"

#if !defined(__GNUC__)
#define LANES 1
#elif defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4
#endif
#if LANES >= 8 || (LANES == 4 && defined(__SSE2__))
#include <immintrin.h>
#endif

#if LANES == 1
typedef float lane_f;
typedef bool lane_mask;
#else
typedef float lane_f __attribute__((vector_size(4 * LANES)));
#if LANES == 16
typedef __mmask16 lane_mask;
#else
typedef int32_t lane_mask __attribute__((vector_size(4 * LANES)));
#endif
#endif

PITH_INLINE lane_f lanes_all(float v) { return v - (lane_f){0}; }
PITH_INLINE lane_f lanes_load(const float *p) {
    lane_f v;
    memcpy(&v, p, sizeof v);
    return v;
}
PITH_INLINE void lanes_store(float *p, lane_f v) { memcpy(p, &v, sizeof v); }

/* m ? a : b, lane by lane; a < b. */
#if LANES == 16
PITH_INLINE lane_mask lanes_less(lane_f a, lane_f b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
PITH_INLINE lane_f lanes_pick(lane_mask m, lane_f a, lane_f b) { return _mm512_mask_blend_ps(m, b, a); }
PITH_INLINE bool lanes_any(lane_mask m) { return m != 0; }
#elif LANES == 1
PITH_INLINE lane_mask lanes_less(lane_f a, lane_f b) { return a < b; }
PITH_INLINE lane_f lanes_pick(lane_mask m, lane_f a, lane_f b) { return m ? a : b; }
PITH_INLINE bool lanes_any(lane_mask m) { return m; }
#else
PITH_INLINE lane_mask lanes_less(lane_f a, lane_f b) { return a < b; }
PITH_INLINE lane_f lanes_pick(lane_mask m, lane_f a, lane_f b) {
#if LANES == 8
    return _mm256_blendv_ps(b, a, (lane_f)m);
#else
    return (lane_f)((m & (lane_mask)a) | (~m & (lane_mask)b));
#endif
}
PITH_INLINE bool lanes_any(lane_mask m) {
#if LANES == 8
    return _mm256_movemask_ps((lane_f)m) != 0;
#elif defined(__SSE2__)
    return _mm_movemask_ps((lane_f)m) != 0;
#else
    int32_t all = 0;
    for (unsigned i = 0; i < LANES; i++) all |= m[i];
    return all != 0;
#endif
}
#endif

PITH_INLINE lane_mask lanes_both(lane_mask a, lane_mask b) { return (lane_mask)(a & b); }

/* a < b ? a : b and a > b ? a : b: of a NaN and another, the second. */
#if LANES == 16
PITH_INLINE lane_f lanes_min(lane_f a, lane_f b) { return _mm512_min_ps(a, b); }
PITH_INLINE lane_f lanes_max(lane_f a, lane_f b) { return _mm512_max_ps(a, b); }
PITH_INLINE lane_f lanes_sqrt(lane_f a) { return _mm512_sqrt_ps(a); }
#elif LANES == 8
PITH_INLINE lane_f lanes_min(lane_f a, lane_f b) { return _mm256_min_ps(a, b); }
PITH_INLINE lane_f lanes_max(lane_f a, lane_f b) { return _mm256_max_ps(a, b); }
PITH_INLINE lane_f lanes_sqrt(lane_f a) { return _mm256_sqrt_ps(a); }
#elif LANES == 4 && defined(__SSE2__)
PITH_INLINE lane_f lanes_min(lane_f a, lane_f b) { return _mm_min_ps(a, b); }
PITH_INLINE lane_f lanes_max(lane_f a, lane_f b) { return _mm_max_ps(a, b); }
PITH_INLINE lane_f lanes_sqrt(lane_f a) { return _mm_sqrt_ps(a); }
#else
PITH_INLINE lane_f lanes_min(lane_f a, lane_f b) { return lanes_pick(lanes_less(a, b), a, b); }
PITH_INLINE lane_f lanes_max(lane_f a, lane_f b) { return lanes_pick(lanes_less(b, a), a, b); }
PITH_INLINE lane_f lanes_sqrt(lane_f a) {
    float t[LANES];
    lanes_store(t, a);
    for (unsigned i = 0; i < LANES; i++) t[i] = sqrtf(t[i]);
    return lanes_load(t);
}
#endif

/* Once at the end of a function that others call: where the upper halves of the registers are left in use, code for
 * narrower ones runs several times slower (compilers see to it by themselves, but not always). */
#if LANES >= 8
#define LANES_LEAVE() _mm256_zeroupper()
#else
#define LANES_LEAVE() ((void)0)
#endif

PITH_INLINE lane_f lanes_abs(lane_f a) { return lanes_max(a, (lane_f){0} - a); }

/* To nearest, ties to even, for |v| < 2^22, as a float; then cut off to low..high, a NaN to low. */
PITH_INLINE lane_f lanes_nearest(lane_f v, float low, float high) {
    const float shift = 12582912.0f; /* 1.5 * 2^23: the last place is 1 */
    lane_f whole = v + shift - shift;
    return lanes_min(lanes_max(whole, lanes_all(low)), lanes_all(high));
}

#endif
