/* Encoders of the K types: a search gives every group its own scale, the scales are rounded to
 * integers times one float, and the elements are rounded once more under the rounded scales. With
 * importance the scales of the groups are fitted too, weighted by their groups' weights. */
#ifndef FORMATS_BLOCKS_ENCODE_SUPER_H
#define FORMATS_BLOCKS_ENCODE_SUPER_H

#include "formats/blocks/encode_groups.h"

#define BLOCKS_OF(type, dst) type *restrict b = (type *)(dst)

/* LANES blocks at most, so that what is done once per block has full lanes too. */
typedef struct super_batch {
    const float *src, *importance; /* [n_blocks][256]; NULL without */
    unsigned n_blocks, n_groups;   /* groups of one block: 8 of 32 or 16 of 16 */
    float spread[LANES];           /* of each block, in its elements' unit squared: what x^2 is added to in weights */
    float scale[LANES * 16], min[LANES * 16], weight[LANES * 16]; /* [n_blocks][n_groups] */
    uint8_t scale_q[LANES][16], min_q[LANES][16];
} super_batch;

/* Sums of squares of whole blocks, four at a time: each is one long chain of additions. */
static void super_spread(super_batch *s, float factor) {
    for (unsigned i = 0; i < s->n_blocks; i += 4) {
        const float *x[4];
        float sum[4] = {0};
        for (unsigned k = 0; k < 4; k++) x[k] = s->src + PITH_MIN(i + k, s->n_blocks - 1) * SUPER_BLOCK;
        for (unsigned j = 0; j < SUPER_BLOCK; j++)
            for (unsigned k = 0; k < 4; k++) sum[k] += x[k][j] * x[k][j];
        for (unsigned k = 0; k < 4 && i + k < s->n_blocks; k++) s->spread[i + k] = factor * sum[k] / SUPER_BLOCK;
    }
}

/* LANES groups from `first` on; without importance the weights are left to the caller. Gives their number. */
static unsigned super_groups(const super_batch *s, unsigned first, groups *g) {
    unsigned count = PITH_MIN(s->n_blocks * s->n_groups - first, (unsigned)LANES);
    g->n = SUPER_BLOCK / s->n_groups;
    groups_take(g->x, s->src + (size_t)first * g->n, g->n, g->n, count);
    if (s->importance) groups_take(g->w, s->importance + (size_t)first * g->n, g->n, g->n, count);
    return count;
}

/* Importance times the root of the spread plus x^2. */
static void super_weights(const super_batch *s, unsigned first, unsigned count, groups *g) {
    float t[LANES];
    for (unsigned l = 0; l < LANES; l++) t[l] = s->spread[(first + PITH_MIN(l, count - 1)) / s->n_groups];
    lane_f spread = lanes_load(t);
    for (unsigned j = 0; j < g->n; j++) g->w[j] *= lanes_sqrt(spread + g->x[j] * g->x[j]);
}

/* One value per group, [n_blocks][n_groups], as one lane per block. */
static void super_blocks_take(const super_batch *s, const float *values, lane_f out[]) {
    groups_take(out, values, s->n_groups, s->n_groups, s->n_blocks);
}

static void super_integers_give(const super_batch *s, const lane_f q[], uint8_t out[][16]) {
    for (unsigned k = 0; k < s->n_groups; k++) {
        float t[LANES];
        lanes_store(t, q[k]);
        for (unsigned i = 0; i < s->n_blocks; i++) out[i][k] = (uint8_t)(int)t[i];
    }
}

/* ---- levels and their packing ------------------------------------------------------------------- */

PITH_INLINE float cut(float v, float low, float high) {
    v = v > low ? v : low;
    return v < high ? v : high;
}

/* Level of x under a rounded scale d and minimum m: x ~ d q - m. */
PITH_INLINE void affine_levels(const float *x, unsigned n, float d, float m, float top, uint8_t *q) {
    for (unsigned j = 0; j < n; j++) q[j] = (uint8_t)(int)cut((x[j] + m) / d + 12582912.0f - 12582912.0f, 0, top);
}

PITH_INLINE void symmetric_levels(const float *x, unsigned n, float d, float top, uint8_t *q) {
    for (unsigned j = 0; j < n; j++)
        q[j] = (uint8_t)(int)(cut(x[j] / d + 12582912.0f - 12582912.0f, -top, top - 1) + top);
}

/* Element j's two bits at place `from` of its level; byte k of each half holds four elements
 * that lie 32 apart. */
static void two_bits_put(const uint8_t q[SUPER_BLOCK], unsigned from, uint8_t out[64]) {
    for (unsigned half = 0; half < 2; half++)
        for (unsigned k = 0; k < 32; k++) {
            const uint8_t *level = q + half * 128 + k;
            out[32 * half + k] = (uint8_t)((level[0] >> from & 3) | (level[32] >> from & 3) << 2 |
                                           (level[64] >> from & 3) << 4 | (level[96] >> from & 3) << 6);
        }
}

/* One bit of every level; byte k holds the elements k, k + 32, k + 64, ... */
static void one_bit_put(const uint8_t q[SUPER_BLOCK], unsigned from, uint8_t out[32]) {
    uint8_t bits[32] = {0};
    for (unsigned part = 0; part < 8; part++)
        for (unsigned k = 0; k < 32; k++) bits[k] = (uint8_t)(bits[k] | (q[k + 32 * part] >> from & 1) << part);
    memcpy(out, bits, sizeof bits);
}

/* The nibbles of Q4_K and Q5_K: 32 elements below the 32 after them. */
static void nibble_pairs_put(const uint8_t q[SUPER_BLOCK], uint8_t out[128]) {
    for (unsigned pair = 0; pair < 4; pair++)
        for (unsigned k = 0; k < 32; k++)
            out[32 * pair + k] = (uint8_t)((q[64 * pair + k] & 15) | (q[64 * pair + 32 + k] & 15) << 4);
}

static void k_scale_put(uint8_t s[12], unsigned j, unsigned scale, unsigned min) {
    if (j < 4) {
        s[j] = (uint8_t)scale;
        s[j + 4] = (uint8_t)min;
    } else {
        s[j + 4] = (uint8_t)((scale & 15) | (min & 15) << 4);
        s[j - 4] = (uint8_t)(s[j - 4] | scale >> 4 << 6);
        s[j] = (uint8_t)(s[j] | min >> 4 << 6);
    }
}

/* ---- scales and minima: Q2_K, Q4_K, Q5_K ----------------------------------------------------------- */

/* What the search alone chose for one group: the levels where its rounded scale is 0. */
static void affine_levels_alone(const affine_search *how, const super_batch *s, unsigned group, uint8_t *q);

typedef void (*weigh_groups)(groups *g);

static void weigh_magnitude(groups *g) {
    for (unsigned j = 0; j < g->n; j++) g->w[j] = lanes_abs(g->x[j]);
}

static void weigh_magnitude_typical(groups *g) {
    lane_f squares = {0};
    for (unsigned j = 0; j < g->n; j++) squares += g->x[j] * g->x[j];
    lane_f typical = lanes_sqrt(squares / (float)g->n);
    for (unsigned j = 0; j < g->n; j++) g->w[j] = typical + lanes_abs(g->x[j]);
}

static void weigh_squares(groups *g) {
    for (unsigned j = 0; j < g->n; j++) g->w[j] = g->x[j] * g->x[j];
}

/* Fits the groups from `first` on. */
static unsigned affine_fit_groups(const affine_search *how, const super_batch *s, unsigned first, weigh_groups weigh,
                                  groups *g, affine_fit *fit) {
    unsigned count = super_groups(s, first, g);
    if (s->importance)
        super_weights(s, first, count, g);
    else
        weigh(g);
    *fit = search_affine(how, g);
    return count;
}

/* Fits every group of the batch, then scales and minima to integers up to `top` with one float each: d[i][0] for
 * scales and d[i][1] for minima, rounded to halves. */
static void affine_super(const affine_search *how, super_batch *s, weigh_groups weigh, float top, uint16_t d[][2]) {
    if (s->importance) super_spread(s, top == 15 ? 1 : 2);
    for (unsigned first = 0; first < s->n_blocks * s->n_groups; first += LANES) {
        groups g;
        affine_fit fit;
        unsigned count = affine_fit_groups(how, s, first, weigh, &g, &fit);
        groups_give(s->scale + first, fit.scale, count);
        groups_give(s->min + first, fit.min, count);
        if (s->importance) groups_give(s->weight + first, groups_weight(&g), count);
    }
    groups g = {.n = s->n_groups};
    lane_f q[GROUP_MOST], unit;
    for (unsigned part = 0; part < 2; part++) {
        super_blocks_take(s, part ? s->min : s->scale, g.x);
        if (s->importance) {
            super_blocks_take(s, s->weight, g.w);
            unit = search_positive(&g, top, q);
        } else {
            lane_f max = {0};
            for (unsigned k = 0; k < g.n; k++) max = lanes_max(g.x[k], max);
            lane_f inverse = lanes_pick(lanes_less((lane_f){0}, max), top / max, (lane_f){0});
            for (unsigned k = 0; k < g.n; k++) q[k] = lanes_nearest(inverse * g.x[k], 0, top);
            unit = max / top;
        }
        float t[LANES];
        lanes_store(t, unit);
        for (unsigned i = 0; i < s->n_blocks; i++) d[i][part] = half_narrow(t[i]);
        super_integers_give(s, q, part ? s->min_q : s->scale_q);
    }
}

/* The levels of one block under its rounded scales. */
static void affine_super_levels(const affine_search *how, const super_batch *s, unsigned block, const uint16_t d[2],
                                uint8_t q[SUPER_BLOCK]) {
    unsigned n = SUPER_BLOCK / s->n_groups;
    float unit = half_widen(d[0]), unit_min = half_widen(d[1]);
    const float *x = s->src + block * SUPER_BLOCK;
    for (unsigned k = 0; k < s->n_groups; k++) {
        float scale = unit * (float)s->scale_q[block][k], min = unit_min * (float)s->min_q[block][k];
        if (scale == 0)
            affine_levels_alone(how, s, block * s->n_groups + k, q + n * k);
        else
            affine_levels(x + n * k, n, scale, min, how->top, q + n * k);
    }
}

/* Weights without importance, by the groups' size. */
static weigh_groups weigh_affine(unsigned n_groups) {
    return n_groups == 16 ? weigh_magnitude : weigh_magnitude_typical;
}

static void affine_levels_alone(const affine_search *how, const super_batch *s, unsigned group, uint8_t *q) {
    unsigned n = SUPER_BLOCK / s->n_groups;
    const float *x = s->src + group * n;
    memset(q, 0, n);
    bool flat = true;
    for (unsigned j = 1; j < n; j++) flat &= x[j] == x[0];
    if (flat && !(x[0] > 0)) return;
    groups g;
    affine_fit fit;
    affine_fit_groups(how, s, group, weigh_affine(s->n_groups), &g, &fit);
    for (unsigned j = 0; j < n; j++) {
        float t[LANES];
        lanes_store(t, affine_level(g.x[j], fit.inverse, fit.base, how->top));
        q[j] = (uint8_t)(int)t[0];
    }
}

static const affine_search affine_weighted_3 = {3, -0.9f, 0.05f, 36, false};
static const affine_search affine_weighted_15 = {15, -0.9f, 0.05f, 36, false};
static const affine_search affine_weighted_31 = {31, -0.9f, 0.05f, 36, false};

static void q2_k_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst,
                        size_t n_blocks) {
    static const affine_search plain = {3, -0.5f, 0.1f, 15, true};
    const affine_search *how = importance ? &affine_weighted_3 : &plain;
    BLOCKS_OF(q2_k_block, dst);
    super_batch s = {.n_groups = 16};
    for (size_t at = 0; at < n_blocks; at += LANES) {
        uint16_t d[LANES][2];
        s.n_blocks = (unsigned)PITH_MIN(n_blocks - at, (size_t)LANES);
        s.src = src + at * SUPER_BLOCK;
        s.importance = importance ? importance + at * SUPER_BLOCK : NULL;
        affine_super(how, &s, weigh_affine(16), 15, d);
        for (unsigned i = 0; i < s.n_blocks; i++, b++) {
            uint8_t q[SUPER_BLOCK];
            store16(b->d, d[i][0]);
            store16(b->min, d[i][1]);
            for (unsigned k = 0; k < 16; k++) b->scales[k] = (uint8_t)(s.scale_q[i][k] | s.min_q[i][k] << 4);
            affine_super_levels(how, &s, i, d[i], q);
            two_bits_put(q, 0, b->q);
        }
    }
}

/* Q4_K and Q5_K: `high` where the fifth bits go, NULL without. */
PITH_INLINE void affine_32_encode(const affine_search *how, const float *src, const float *importance, uint8_t *dst,
                                  size_t n_blocks, bool fifth) {
    super_batch s = {.n_groups = 8};
    for (size_t at = 0; at < n_blocks; at += LANES) {
        uint16_t d[LANES][2];
        s.n_blocks = (unsigned)PITH_MIN(n_blocks - at, (size_t)LANES);
        s.src = src + at * SUPER_BLOCK;
        s.importance = importance ? importance + at * SUPER_BLOCK : NULL;
        affine_super(how, &s, weigh_affine(8), 63, d);
        for (unsigned i = 0; i < s.n_blocks; i++) {
            uint8_t q[SUPER_BLOCK];
            q5_k_block *five = (q5_k_block *)dst;
            q4_k_block *four = (q4_k_block *)dst; /* the two begin alike */
            store16(four->d, d[i][0]);
            store16(four->min, d[i][1]);
            for (unsigned k = 0; k < 8; k++) k_scale_put(four->scales, k, s.scale_q[i][k], s.min_q[i][k]);
            affine_super_levels(how, &s, i, d[i], q);
            nibble_pairs_put(q, fifth ? five->nibbles : four->nibbles);
            if (fifth) one_bit_put(q, 4, five->high);
            dst += fifth ? sizeof *five : sizeof *four;
        }
    }
}

static void q4_k_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst,
                        size_t n_blocks) {
    static const affine_search plain = {15, -1.0f, 0.1f, 20, false};
    affine_32_encode(importance ? &affine_weighted_15 : &plain, src, importance, dst, n_blocks, false);
}

static void q5_k_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst,
                        size_t n_blocks) {
    static const affine_search plain = {31, -0.5f, 0.1f, 15, false};
    affine_32_encode(importance ? &affine_weighted_31 : &plain, src, importance, dst, n_blocks, true);
}

#endif
