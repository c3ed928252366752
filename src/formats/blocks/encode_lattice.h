/* Encoders of IQ2 and IQ3: signs apart, magnitudes as points of a lattice under the scale that explains most of a
 * group, scales tried around the one that its largest magnitude suggests; step for step as ggml's quantizers go. */
#ifndef FORMATS_BLOCKS_ENCODE_LATTICE_H
#define FORMATS_BLOCKS_ENCODE_LATTICE_H

#include "formats/blocks/encode_levels.h"
#include "formats/blocks/lattice_near.h"

typedef struct lattice_search {
    lattice_name name;
    unsigned n;     /* numbers of a group */
    int tries;      /* on each side */
    float step;     /* of the largest level, per try */
    float tiny;     /* groups of smaller numbers are zeros */
    bool even;      /* every eight signs have an even number of minuses: there is room for seven */
    bool fitted;    /* the first scale is a fit instead of the maximum's */
    bool all_again; /* under the best scale all points are chosen again, not only those that were no points */
    float spread;   /* factor of the mean square in the weights */
    float unweighted; /* without importance weights are x^2 plus this much of the spread */
} lattice_search;

/* One group under work. */
typedef struct lattice_group {
    float x[32], weight[32], root[32]; /* magnitudes, weights and their roots */
    uint8_t signs[4];
    uint8_t level[32];
    float scale;
} lattice_group;

/* Mean square of a block, the sum in order. */
PITH_INLINE float block_spread(const float *x) {
    float sum = 0;
    for (unsigned j = 0; j < SUPER_BLOCK; j++) sum += x[j] * x[j];
    return sum / SUPER_BLOCK;
}

PITH_INLINE void block_weights(const float *x, const float *importance, unsigned n, float spread, float unweighted,
                               float *weight) {
    float square[32];
    for (unsigned j = 0; j < n; j++) square[j] = x[j] * x[j];
    if (!importance) {
        for (unsigned j = 0; j < n; j++) weight[j] = unweighted * spread + square[j];
        return;
    }
    for (unsigned j = 0; j < n; j += LANES)
        lanes_store(weight + j, lanes_load(importance + j) * lanes_sqrt(spread + lanes_load(square + j)));
}

/* Magnitudes and signs. Where the minuses must be even, the number that costs least turns its sign. */
static void take_signs(lattice_group *g, const float *x, unsigned n, bool even) {
    for (unsigned k = 0; k < n / 8; k++) {
        unsigned signs = 0, minuses = 0, cheapest = 0;
        for (unsigned j = 0; j < 8; j++) {
            bool minus = !(x[8 * k + j] >= 0);
            g->x[8 * k + j] = minus ? -x[8 * k + j] : x[8 * k + j];
            signs |= (unsigned)minus << j;
            minuses += minus;
        }
        if (even && minuses % 2) {
            float least = 0;
            for (unsigned j = 0; j < 8; j++) {
                float cost = g->weight[8 * k + j] * x[8 * k + j] * x[8 * k + j];
                if (j == 0 || cost < least) least = cost, cheapest = j;
            }
            g->x[8 * k + cheapest] = -g->x[8 * k + cheapest];
            signs ^= 1u << cheapest;
        }
        g->signs[k] = (uint8_t)(even ? signs & 127 : signs);
    }
}

/* Of the near points the first that costs least: cost[j][k] is that of level k in place j, added up in order. */
PITH_INLINE unsigned cheapest_point(const lattice *l, const uint16_t *near, unsigned dim, float cost[8][8]) {
    unsigned best = near[1];
    float least = 0x1.fffffep127f;
    for (unsigned i = 1; i <= near[0]; i++) {
        const int8_t *p = l->points + 8 * near[i];
        float sum = 0;
        for (unsigned j = 0; j < dim; j++) sum += cost[j][p[j]];
        if (sum < least) least = sum, best = near[i];
    }
    return best;
}

/* The point for `dim` numbers under a scale: their own levels where they are one (true), else the best near one. */
PITH_INLINE bool choose_point(const lattice *l, unsigned dim, int top, const float *x, const float *root, float inverse,
                              float scale, uint8_t *level) {
    uint32_t place = 0;
    int chosen[8];
    for (unsigned j = 0; j < dim; j++) chosen[j] = clamp_int(nearest(0.5f * (inverse * x[j] - 1)), 0, top);
    for (unsigned j = dim; j-- > 0;) place = place * (uint32_t)(top + 1) + (uint32_t)chosen[j];
    if (l->at[place] >= 0) {
        for (unsigned j = 0; j < dim; j++) level[j] = (uint8_t)chosen[j];
        return true;
    }
    float cost[8][8];
    for (unsigned j = 0; j < dim; j++)
        for (int k = 0; k <= top; k++) {
            float apart = scale * (float)(2 * k + 1) - x[j];
            cost[j][k] = root[j] * apart * apart;
        }
    unsigned best = cheapest_point(l, l->near + (-1 - l->at[place]), dim, cost);
    for (unsigned j = 0; j < dim; j++) level[j] = (uint8_t)l->points[8 * best + j];
    return false;
}

PITH_INLINE fit_sums level_fit(const lattice_group *g, unsigned n, const uint8_t *level) {
    fit_sums s = {0, 0};
    for (unsigned j = 0; j < n; j++) fit_add(&s, g->weight[j], g->x[j], (float)(2 * level[j] + 1));
    return s;
}

/* As search_positive, for one group with numbers below zero among them. The integers are kept in bytes: one below
 * zero counts as 255 until it moves. Gives the scale. */
static float fit_positive(const lattice_group *g, unsigned n, int top) {
    uint8_t q[32];
    float max = 0;
    for (unsigned j = 0; j < n; j++) max = PITH_MAX(max, g->x[j]);
    if (max < GROUP_TINY) return 0;
    float inverse = (float)top / max, scale = 1 / inverse, least = 0;
    for (unsigned j = 0; j < n; j++) {
        q[j] = (uint8_t)nearest(inverse * g->x[j]);
        float rest = g->x[j] - scale * (float)q[j];
        least += g->weight[j] * rest * rest;
    }
    for (int step = -4; step <= 4; step++) {
        if (step == 0) continue;
        float tried = (0.1f * (float)step + (float)top) / max, error = 0;
        scale = 1 / tried;
        for (unsigned j = 0; j < n; j++) {
            float rest = g->x[j] - scale * (float)PITH_MIN(nearest(tried * g->x[j]), top);
            error += g->weight[j] * rest * rest;
        }
        if (error < least) least = error, inverse = tried;
    }
    fit_sums s = {0, 0};
    for (unsigned j = 0; j < n; j++) {
        int level = PITH_MIN(nearest(inverse * g->x[j]), top);
        q[j] = (uint8_t)level;
        fit_add(&s, g->weight[j], g->x[j], (float)level);
    }
    bool changed = true;
    for (int round = 0; round < 5 && changed; round++) {
        changed = false;
        for (unsigned j = 0; j < n; j++) {
            float w = g->weight[j], x = g->x[j], now = (float)q[j];
            fit_sums without = {s.xq - w * x * now, s.qq - w * now * now};
            if (!(without.xq > 0 && without.qq > 0)) continue;
            int moved = PITH_MIN(nearest(x * without.qq / without.xq), top);
            if (moved == q[j]) continue;
            fit_add(&without, w, x, (float)moved);
            if (without.xq * without.xq * s.qq > s.xq * s.xq * without.qq) {
                q[j] = (uint8_t)moved;
                s = without;
                changed = true;
            }
        }
    }
    return s.qq > 0 ? s.xq / s.qq : 0;
}

/* Scale and levels of a group; false when it is zeros. */
PITH_INLINE bool search_lattice(const lattice_search *how, const lattice *l, unsigned dim, int top, lattice_group *g) {
    const unsigned n = how->n, n_points = n / dim;
    const float outermost = (float)(2 * top + 1);
    bool own[8] = {0};
    float range = g->x[0], best = 0;
    memset(g->level, 0, sizeof g->level);
    g->scale = 0;
    for (unsigned j = 1; j < n; j++) range = PITH_MAX(range, g->x[j]);
    if (how->tiny > 0 ? range < how->tiny : range == 0) return false;
    if (how->fitted) {
        g->scale = fit_positive(g, n, top + 2);
        range = g->scale * (float)(top + 1);
        if (!(range > 0)) return false;
    } else {
        g->scale = range / outermost;
        for (unsigned k = 0; k < n_points; k++) own[k] = !how->all_again;
    }
    for (int step = -how->tries; step <= how->tries; step++) {
        uint8_t level[32];
        bool is_own[8];
        float inverse = (outermost + (float)step * how->step) / range, scale = 1 / inverse;
        for (unsigned k = 0; k < n_points; k++)
            is_own[k] = choose_point(l, dim, top, g->x + dim * k, g->root + dim * k, inverse, scale, level + dim * k);
        fit_sums s = level_fit(g, n, level);
        if (s.qq > 0 && s.xq * s.xq > best * s.qq) {
            g->scale = s.xq / s.qq;
            best = g->scale * s.xq;
            memcpy(g->level, level, n);
            memcpy(own, is_own, sizeof own);
        }
    }
    bool again = how->fitted;
    for (unsigned k = 0; k < n_points; k++) again |= !own[k];
    if (again && g->scale > 0) {
        for (unsigned k = 0; k < n_points; k++)
            if (how->fitted || how->all_again || !own[k])
                choose_point(l, dim, top, g->x + dim * k, g->root + dim * k, 1 / g->scale, g->scale, g->level + dim * k);
        fit_sums s = level_fit(g, n, g->level);
        if (s.qq > 0) g->scale = s.xq / s.qq;
    }
    if (g->scale < 0) {
        g->scale = -g->scale;
        for (unsigned k = 0; k < n / 8; k++) g->signs[k] = (uint8_t)(how->even ? ~g->signs[k] & 127 : ~g->signs[k]);
    }
    return true;
}

/* The number of the point with these levels. */
PITH_INLINE unsigned point_of(const lattice *l, unsigned dim, int top, const uint8_t *level) {
    uint32_t place = 0;
    for (unsigned j = dim; j-- > 0;) place = place * (uint32_t)(top + 1) + level[j];
    return l->at[place] >= 0 ? (unsigned)l->at[place] : l->near[-l->at[place]];
}

/* All groups of a block: points, signs and scales. Of zero groups all are 0. */
typedef struct lattice_block {
    uint16_t point[64];
    uint8_t signs[32];
    float scale[16], max;
} lattice_block;

PITH_INLINE void fit_lattice_block(const lattice_search *how, const lattice *l, unsigned dim, int top, const float *src,
                                   const float *importance, lattice_block *out) {
    const unsigned n = how->n;
    float spread = how->spread * block_spread(src);
    memset(out, 0, sizeof *out);
    for (unsigned i = 0; i < SUPER_BLOCK / n; i++) {
        lattice_group g;
        const float *x = src + n * i;
        block_weights(x, importance ? importance + n * i : NULL, n, spread, how->unweighted, g.weight);
        for (unsigned j = 0; j < n; j += LANES) lanes_store(g.root + j, lanes_sqrt(lanes_load(g.weight + j)));
        take_signs(&g, x, n, how->even);
        if (!search_lattice(how, l, dim, top, &g)) continue;
        for (unsigned k = 0; k < n / dim; k++)
            out->point[n / dim * i + k] = (uint16_t)point_of(l, dim, top, g.level + dim * k);
        memcpy(out->signs + n / 8 * i, g.signs, n / 8);
        out->scale[i] = g.scale;
        out->max = PITH_MAX(out->max, g.scale);
    }
}

/* The odd multiple of d, as its number from 0 to top, that is nearest to a scale. */
PITH_INLINE unsigned odd_step(float inverse, float scale, int top) {
    return (unsigned)clamp_int(nearest(0.5f * (inverse * scale - 1)), 0, top);
}

static void iq2_xxs_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst,
                           size_t n_blocks) {
    static const lattice_search how = {.name = LATTICE_IQ2_XXS, .n = 32, .tries = 6, .step = 0.1f, .tiny = GROUP_TINY,
                                       .even = true, .fitted = true, .spread = 1};
    const lattice *l = lattice_of(how.name);
    BLOCKS_OF(iq2_xxs_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++) {
        lattice_block f;
        fit_lattice_block(&how, l, 8, 2, src + i * SUPER_BLOCK, importance + i * SUPER_BLOCK, &f);
        memset(b, 0, sizeof *b);
        if (!(f.max > 0)) continue;
        float d = f.max / 31, inverse = 1 / d;
        store16(b->d, half_narrow(d));
        for (unsigned g = 0; g < 8; g++) {
            uint32_t packed = (uint32_t)odd_step(inverse, f.scale[g], 15) << 28;
            for (unsigned k = 0; k < 4; k++) {
                b->groups[g][k] = (uint8_t)f.point[4 * g + k];
                packed |= (uint32_t)f.signs[4 * g + k] << 7 * k;
            }
            store32(b->groups[g] + 4, packed);
        }
    }
}

static void iq2_xs_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst,
                          size_t n_blocks) {
    static const lattice_search how = {.name = LATTICE_IQ2_XS, .n = 16, .tries = 9, .step = 0.1f, .tiny = GROUP_TINY,
                                       .even = true, .spread = 1};
    const lattice *l = lattice_of(how.name);
    BLOCKS_OF(iq2_xs_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++) {
        lattice_block f;
        fit_lattice_block(&how, l, 8, 2, src + i * SUPER_BLOCK, importance + i * SUPER_BLOCK, &f);
        memset(b, 0, sizeof *b);
        if (!(f.max > 0)) continue;
        float d = f.max / 31, inverse = 1 / d;
        store16(b->d, half_narrow(d));
        for (unsigned g = 0; g < 16; g++)
            b->scales[g / 2] |= (uint8_t)(odd_step(inverse, f.scale[g], 15) << g % 2 * 4);
        for (unsigned k = 0; k < 32; k++) store16(b->index + 2 * k, (uint16_t)(f.point[k] | f.signs[k] << 9));
    }
}

static void iq2_s_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst,
                         size_t n_blocks) {
    static const lattice_search how = {.name = LATTICE_IQ2_S, .n = 16, .tries = 9, .step = 0.1f, .tiny = 1e-8f,
                                       .spread = 2, .unweighted = 0.25f};
    const lattice *l = lattice_of(how.name);
    BLOCKS_OF(iq2_s_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++) {
        lattice_block f;
        fit_lattice_block(&how, l, 8, 2, src + i * SUPER_BLOCK, importance ? importance + i * SUPER_BLOCK : NULL, &f);
        memset(b, 0, sizeof *b);
        for (unsigned k = 0; k < 32; k++) {
            b->index[k] = (uint8_t)f.point[k];
            b->high[k / 4] |= (uint8_t)(f.point[k] >> 8 << k % 4 * 2);
            b->signs[k] = f.signs[k];
        }
        if (!(f.max > 0)) continue;
        float d = f.max / 31, inverse = 1 / d;
        store16(b->d, half_narrow(d * 0.9875f));
        for (unsigned g = 0; g < 16; g++)
            b->scales[g / 2] |= (uint8_t)(odd_step(inverse, f.scale[g], 15) << g % 2 * 4);
    }
}

static void iq3_xxs_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst,
                           size_t n_blocks) {
    static const lattice_search how = {.name = LATTICE_IQ3_XXS, .n = 32, .tries = 15, .step = 0.2f, .tiny = 1e-8f,
                                       .even = true, .spread = 2};
    const lattice *l = lattice_of(how.name);
    BLOCKS_OF(iq3_xxs_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++) {
        lattice_block f;
        fit_lattice_block(&how, l, 4, 7, src + i * SUPER_BLOCK, importance ? importance + i * SUPER_BLOCK : NULL, &f);
        memset(b, 0, sizeof *b);
        if (!(f.max > 0)) continue;
        float d = f.max / 31, inverse = 1 / d;
        store16(b->d, half_narrow(d * 1.0125f));
        for (unsigned k = 0; k < 64; k++) b->index[k] = (uint8_t)f.point[k];
        for (unsigned g = 0; g < 8; g++) {
            uint32_t packed = (uint32_t)odd_step(inverse, f.scale[g], 15) << 28;
            for (unsigned k = 0; k < 4; k++) packed |= (uint32_t)f.signs[4 * g + k] << 7 * k;
            store32(b->groups[g], packed);
        }
    }
}

static void iq3_s_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst,
                         size_t n_blocks) {
    static const lattice_search how = {.name = LATTICE_IQ3_S, .n = 32, .tries = 9, .step = 0.2f, .all_again = true,
                                       .spread = 2};
    const lattice *l = lattice_of(how.name);
    BLOCKS_OF(iq3_s_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++) {
        lattice_block f;
        fit_lattice_block(&how, l, 4, 7, src + i * SUPER_BLOCK, importance ? importance + i * SUPER_BLOCK : NULL, &f);
        memset(b, 0, sizeof *b);
        for (unsigned k = 0; k < 64; k++) {
            b->index[k] = (uint8_t)f.point[k];
            b->high[k / 8] |= (uint8_t)(f.point[k] >> 8 << k % 8);
        }
        memcpy(b->signs, f.signs, sizeof b->signs);
        if (!(f.max > 0)) continue;
        float d = f.max / 31, inverse = 1 / d;
        store16(b->d, half_narrow(d * 1.033f));
        for (unsigned g = 0; g < 8; g++)
            b->scales[g / 2] |= (uint8_t)(odd_step(inverse, f.scale[g], 15) << g % 2 * 4);
    }
}

#endif
