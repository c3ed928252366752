/* What the encoders share: rounding as ggml's reference rounds, and the searches for the scale of
 * a group. All are deterministic single-precision C; a number out of range is cut off, a NaN gives
 * some number in range. */
#ifndef FORMATS_BLOCKS_ENCODE_PARTS_H
#define FORMATS_BLOCKS_ENCODE_PARTS_H

#include <math.h>

#include "formats/blocks/parts.h"

#define GROUP_TINY 1e-15f /* groups of smaller numbers are zeros */

PITH_INLINE int clamp_int(int v, int low, int high) { return v < low ? low : v > high ? high : v; }

/* To nearest, ties to even, for |v| < 2^22: adding 1.5 * 2^23 leaves the integer in the low bits. */
PITH_INLINE int nearest(float v) { return (int)(float_bits(v + 12582912.0f) & 0x7fffff) - 0x400000; }

/* To nearest, ties away from zero, cut off at +-limit. */
PITH_INLINE int nearest_away(float v, int limit) {
    if (!(v > (float)-limit)) return v <= (float)-limit ? -limit : 0;
    if (v >= (float)limit) return limit;
    int whole = (int)v;
    float rest = v - (float)whole;
    return whole + (rest >= 0.5f) - (rest <= -0.5f);
}

/* The whole part of v, cut off to 0..top. */
PITH_INLINE int whole_part(float v, int top) { return !(v > 0) ? 0 : v >= (float)top ? top : (int)v; }

PITH_INLINE float largest_magnitude(const float *x, unsigned n) {
    float most = 0;
    for (unsigned j = 0; j < n; j++) most = PITH_MAX(most, fabsf(x[j]));
    return most;
}

/* The first number of the largest magnitude, with its sign; 0 when all are 0 or NaN. */
PITH_INLINE float extreme(const float *x, unsigned n) {
    float most = 0, at_most = 0;
    for (unsigned j = 0; j < n; j++) {
        float a = fabsf(x[j]);
        if (a > most) most = a, at_most = x[j];
    }
    return at_most;
}

/* What a least-squares scale needs of numbers x, weights w and the integers q chosen for them:
 * the best scale is xq / qq, and it explains xq^2 / qq. */
typedef struct fit_sums {
    float xq, qq; /* of w x q and w q q */
} fit_sums;

PITH_INLINE void fit_add(fit_sums *s, float w, float x, float q) {
    s->xq += w * x * q;
    s->qq += w * q * q;
}

#endif
