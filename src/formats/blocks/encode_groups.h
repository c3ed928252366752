/* Searches for the scales of groups of 8 to 32 numbers, LANES groups at a time, each lane step for
 * step as ggml's quantizers go (their sums run in the order of the elements, so that the bits come
 * out the same), after I. Kawrakow's k-quants (llama.cpp #1684). */
#ifndef FORMATS_BLOCKS_ENCODE_GROUPS_H
#define FORMATS_BLOCKS_ENCODE_GROUPS_H

#include "formats/blocks/lanes.h"
#include "formats/blocks/encode_parts.h"

enum { GROUP_MOST = 32 };

/* Element j of group g is lane g of x[j]; w are weights. */
typedef struct groups {
    lane_f x[GROUP_MOST], w[GROUP_MOST];
    unsigned n;
} groups;

/* Groups lie `stride` floats apart; lanes past the last of `count` repeat it. */
static void groups_take(lane_f out[], const float *src, size_t stride, unsigned n, unsigned count) {
    float t[GROUP_MOST][LANES];
    for (unsigned g = 0; g < LANES; g++) {
        const float *from = src + PITH_MIN(g, count - 1) * stride;
        for (unsigned j = 0; j < n; j++) t[j][g] = from[j];
    }
    for (unsigned j = 0; j < n; j++) out[j] = lanes_load(t[j]);
}

PITH_INLINE void groups_give(float *dst, lane_f v, unsigned count) {
    float t[LANES];
    lanes_store(t, v);
    memcpy(dst, t, count * sizeof *dst);
}

/* The first number of the largest magnitude, with its sign. */
static lane_f groups_extreme(const groups *g) {
    lane_f most = {0}, at_most = {0};
    for (unsigned j = 0; j < g->n; j++) {
        lane_f a = lanes_abs(g->x[j]);
        lane_mask more = lanes_less(most, a);
        most = lanes_pick(more, a, most);
        at_most = lanes_pick(more, g->x[j], at_most);
    }
    return at_most;
}

static lane_f groups_weight(const groups *g) {
    lane_f sum = {0};
    for (unsigned j = 0; j < g->n; j++) sum += g->w[j];
    return sum;
}

/* Lanes whose numbers are all below GROUP_TINY get the scale 0, whatever the search made of them. */
PITH_INLINE lane_f groups_drop_tiny(lane_f extremes, lane_f scale) {
    return lanes_pick(lanes_less(lanes_abs(extremes), lanes_all(GROUP_TINY)), (lane_f){0}, scale);
}

/* xq and qq: what a least-squares scale needs, sums of w x q and w q q; the best scale is xq / qq, and it explains
 * xq^2 / qq. */
typedef struct lane_sums {
    lane_f xq, qq;
} lane_sums;

PITH_INLINE void lane_sums_add(lane_sums *s, lane_f w, lane_f x, lane_f q) {
    s->xq += w * x * q;
    s->qq += w * q * q;
}

/* ---- q in [-top, top): 19 scales around the one that puts the extreme at -top ------------------- */

static lane_sums symmetric_sums(const groups *g, lane_f inverse, float top) {
    lane_sums s = {{0}, {0}};
    for (unsigned j = 0; j < g->n; j++)
        lane_sums_add(&s, g->w[j], g->x[j], lanes_nearest(inverse * g->x[j], -top, top - 1));
    return s;
}

/* The scales; *inverse: what numbers are multiplied with before rounding (0 where they are tiny). */
static lane_f search_symmetric(const groups *g, float top, lane_f *inverse) {
    lane_f max = groups_extreme(g), zero = {0};
    *inverse = -top / max;
    lane_sums s = symmetric_sums(g, *inverse, top);
    lane_mask some = lanes_less(zero, lanes_abs(s.qq));
    lane_f scale = lanes_pick(some, s.xq / s.qq, zero), best = scale * s.xq;
    for (int step = -9; step <= 9; step++) {
        if (step == 0) continue;
        lane_f tried = -(top + 0.1f * (float)step) / max;
        s = symmetric_sums(g, tried, top);
        lane_mask better = lanes_both(lanes_less(zero, s.qq), lanes_less(best * s.qq, s.xq * s.xq));
        *inverse = lanes_pick(better, tried, *inverse);
        scale = lanes_pick(better, s.xq / s.qq, scale);
        best = lanes_pick(better, scale * s.xq, best);
    }
    *inverse = groups_drop_tiny(max, *inverse);
    return groups_drop_tiny(max, scale);
}

/* ---- q in [-top, top) again: from that one scale, integers moved one at a time while the fit improves -- */

/* Weighted with x^2. q is left as floats, 0 where the numbers are tiny. */
static lane_f search_descent(const groups *g, float top, lane_f q[]) {
    lane_f max = groups_extreme(g), inverse = -top / max, zero = {0};
    lane_mask tiny = lanes_less(lanes_abs(max), lanes_all(GROUP_TINY));
    lane_sums s = {{0}, {0}};
    for (unsigned j = 0; j < g->n; j++) {
        q[j] = lanes_pick(tiny, lanes_all(-top), lanes_nearest(inverse * g->x[j], -top, top - 1));
        lane_sums_add(&s, g->x[j] * g->x[j], g->x[j], q[j]);
    }
    lane_mask moving = lanes_less(lanes_pick(tiny, lanes_all(1), zero), lanes_all(1));
    for (int round = 0; round < 5 && lanes_any(moving); round++) {
        lane_mask changed = lanes_less(zero, zero);
        for (unsigned j = 0; j < g->n; j++) {
            lane_f x = g->x[j], w = x * x;
            lane_sums without = {s.xq - w * x * q[j], s.qq - w * q[j] * q[j]};
            lane_f moved = lanes_nearest(x * without.qq / without.xq, -top, top - 1);
            lane_mask go = lanes_both(moving, lanes_less(zero, without.xq));
            lane_sums_add(&without, w, x, moved);
            go = lanes_both(go, lanes_less(zero, without.qq));
            go = lanes_both(go, lanes_less(s.xq * s.xq * without.qq, without.xq * without.xq * s.qq));
            go = lanes_both(go, lanes_less(zero, lanes_abs(moved - q[j])));
            q[j] = lanes_pick(go, moved, q[j]);
            s.xq = lanes_pick(go, without.xq, s.xq);
            s.qq = lanes_pick(go, without.qq, s.qq);
            changed = (lane_mask)(changed | go);
        }
        moving = changed;
    }
    lane_f scale = lanes_pick(lanes_less(zero, s.qq), s.xq / s.qq, zero);
    return lanes_pick(tiny, zero, scale);
}

/* ---- x ~ scale * q - min with q in [0, top] and min >= 0 ----------------------------------------- */

/* Scales around the range's, each with its least-squares scale and minimum under the weights; the one with the least
 * error is taken. */
typedef struct affine_search {
    float top;
    float first, step; /* levels added to top at the first try, and more at each further */
    int last_try;      /* tries are 0 to last_try */
    bool absolute;     /* errors count by magnitude instead of square */
} affine_search;

/* q = nearest(inverse * (x - base)), cut off. */
typedef struct affine_fit {
    lane_f scale, min, inverse, base;
} affine_fit;

PITH_INLINE lane_f affine_level(lane_f x, lane_f inverse, lane_f base, float top) {
    return lanes_nearest(inverse * (x - base), 0, top);
}

PITH_INLINE lane_f affine_error(const groups *g, const lane_f q[], lane_f scale, lane_f base, bool absolute) {
    lane_f error = {0};
    for (unsigned j = 0; j < g->n; j++) {
        lane_f difference = scale * q[j] + base - g->x[j];
        error += g->w[j] * (absolute ? lanes_abs(difference) : difference * difference);
    }
    return error;
}

static affine_fit search_affine(const affine_search *how, const groups *g) {
    const lane_f zero = {0};
    lane_f q[GROUP_MOST], base = g->x[0], max = g->x[0], sum_w = g->w[0], sum_x = g->w[0] * g->x[0];
    for (unsigned j = 1; j < g->n; j++) {
        base = lanes_min(g->x[j], base);
        max = lanes_max(g->x[j], max);
        sum_w += g->w[j];
        sum_x += g->w[j] * g->x[j];
    }
    base = lanes_pick(lanes_less(zero, base), zero, base);
    lane_mask ranges = lanes_less(base, max);
    lane_f flat_min = -base, inverse = how->top / (max - base), scale = 1 / inverse;
    affine_fit fit = {.inverse = inverse, .base = base};
    for (unsigned j = 0; j < g->n; j++) q[j] = affine_level(g->x[j], inverse, base, how->top);
    lane_f least = affine_error(g, q, scale, base, how->absolute);
    for (int attempt = 0; attempt <= how->last_try; attempt++) {
        lane_f sum_q = {0}, sum_qq = {0}, sum_xq = {0};
        inverse = (how->first + how->step * (float)attempt + how->top) / (max - base);
        for (unsigned j = 0; j < g->n; j++) {
            q[j] = affine_level(g->x[j], inverse, base, how->top);
            lane_f wq = g->w[j] * q[j];
            sum_q += wq;
            sum_qq += wq * q[j];
            sum_xq += wq * g->x[j];
        }
        lane_f determinant = sum_w * sum_qq - sum_q * sum_q;
        lane_f tried_scale = (sum_w * sum_xq - sum_x * sum_q) / determinant;
        lane_f tried_base = (sum_qq * sum_x - sum_q * sum_xq) / determinant;
        lane_mask above = lanes_less(zero, tried_base);
        tried_scale = lanes_pick(above, sum_xq / sum_qq, tried_scale);
        tried_base = lanes_pick(above, zero, tried_base);
        lane_f error = affine_error(g, q, tried_scale, tried_base, how->absolute);
        lane_mask better = lanes_both(lanes_less(zero, determinant), lanes_less(error, least));
        fit.inverse = lanes_pick(better, inverse, fit.inverse);
        fit.base = lanes_pick(better, base, fit.base);
        least = lanes_pick(better, error, least);
        scale = lanes_pick(better, tried_scale, scale);
        base = lanes_pick(better, tried_base, base);
    }
    fit.scale = lanes_pick(ranges, scale, zero);
    fit.min = lanes_pick(ranges, -base, flat_min);
    fit.inverse = lanes_pick(ranges, fit.inverse, zero);
    return fit;
}

/* ---- x ~ scale * q, x >= 0, q in [0, top]: the scales of scales ------------------------------------ */

/* Nine scales around the largest's, the one with the least error; then integers moved one at a time. q as floats. */
static lane_f search_positive(const groups *g, float top, lane_f q[]) {
    const lane_f zero = {0};
    lane_f max = zero;
    for (unsigned j = 0; j < g->n; j++) max = lanes_max(max, g->x[j]);
    lane_mask tiny = lanes_less(max, lanes_all(GROUP_TINY));
    lane_f inverse = top / max, scale = 1 / inverse, least = zero;
    for (unsigned j = 0; j < g->n; j++) {
        lane_f rest = g->x[j] - scale * lanes_nearest(inverse * g->x[j], 0, top);
        least += g->w[j] * rest * rest;
    }
    for (int step = -4; step <= 4; step++) {
        if (step == 0) continue;
        lane_f tried = (0.1f * (float)step + top) / max, error = zero;
        scale = 1 / tried;
        for (unsigned j = 0; j < g->n; j++) {
            lane_f rest = g->x[j] - scale * lanes_nearest(tried * g->x[j], 0, top);
            error += g->w[j] * rest * rest;
        }
        lane_mask better = lanes_less(error, least);
        least = lanes_pick(better, error, least);
        inverse = lanes_pick(better, tried, inverse);
    }
    lane_sums s = {zero, zero};
    for (unsigned j = 0; j < g->n; j++) {
        q[j] = lanes_pick(tiny, zero, lanes_nearest(inverse * g->x[j], 0, top));
        lane_sums_add(&s, g->w[j], g->x[j], q[j]);
    }
    lane_mask moving = lanes_less(zero, lanes_pick(tiny, zero, lanes_all(1)));
    for (int round = 0; round < 5 && lanes_any(moving); round++) {
        lane_mask changed = lanes_less(zero, zero);
        for (unsigned j = 0; j < g->n; j++) {
            lane_f x = g->x[j], w = g->w[j];
            lane_sums without = {s.xq - w * x * q[j], s.qq - w * q[j] * q[j]};
            lane_mask go = lanes_both(moving, lanes_both(lanes_less(zero, without.xq), lanes_less(zero, without.qq)));
            lane_f moved = lanes_nearest(x * without.qq / without.xq, 0, top);
            lane_sums_add(&without, w, x, moved);
            go = lanes_both(go, lanes_less(zero, lanes_abs(moved - q[j])));
            go = lanes_both(go, lanes_less(s.xq * s.xq * without.qq, without.xq * without.xq * s.qq));
            q[j] = lanes_pick(go, moved, q[j]);
            s.xq = lanes_pick(go, without.xq, s.xq);
            s.qq = lanes_pick(go, without.qq, s.qq);
            changed = (lane_mask)(changed | go);
        }
        moving = changed;
    }
    scale = lanes_pick(lanes_less(zero, s.qq), s.xq / s.qq, zero);
    return lanes_pick(tiny, zero, scale);
}

#endif
