/* Encoders of IQ1: numbers of -1, 0 or 1, all moved up or down by an eighth. Of the numbers in order of size the two
 * cuts between the three levels are tried everywhere, with both shifts, by sums from the left; then every eight
 * levels become the lattice's point that is nearest. Step for step as ggml's quantizers go. */
#ifndef FORMATS_BLOCKS_ENCODE_TERNARY_H
#define FORMATS_BLOCKS_ENCODE_TERNARY_H

#include "formats/blocks/encode_lattice.h"

/* The three levels, moved up and moved down. */
static const float levels_moved[2][3] = {{-0.875f, 0.125f, 1.125f}, {-1.125f, -0.125f, 0.875f}};

typedef struct ternary_group {
    float weight[32];
    uint8_t order[32]; /* places of the numbers by size */
    uint8_t level[32];
    uint16_t point[4];
    float scale;
    uint8_t down[2]; /* the shift, of each half */
} ternary_group;

/* By size, equal numbers as they stand. */
static void sort_places(const float *x, unsigned n, uint8_t *order) {
    for (unsigned i = 0; i < n; i++) {
        unsigned at = i;
        for (; at > 0 && x[i] < x[order[at - 1]]; at--) order[at] = order[at - 1];
        order[at] = (uint8_t)i;
    }
}

typedef struct best_cut {
    float scale, score;
    unsigned first, second, shifts; /* bits of shifts: the halves that are moved down */
    bool found;
} best_cut;

/* Whether some lane beats the best so far: most do not, and then none need be looked at one by one. */
PITH_INLINE bool any_better(const best_cut *best, lane_f xq, lane_f qq) {
    return lanes_any(lanes_both(lanes_less((lane_f){0}, qq), lanes_less(best->score * qq, xq * xq)));
}

PITH_INLINE void try_cut(best_cut *best, float xq, float qq, unsigned first, unsigned second, unsigned shifts) {
    if (!(qq > 0 && xq * xq > best->score * qq)) return;
    best->scale = xq / qq;
    best->score = best->scale * xq;
    best->first = first, best->second = second, best->shifts = shifts, best->found = true;
}

/* One shift for all 32 numbers. */
static void cut_whole(const float *x, const ternary_group *g, best_cut *best) {
    enum { N = 32 };
    float sx[N + 1 + LANES] = {0}, sw[N + 1 + LANES] = {0};
    for (unsigned j = 0; j < N; j++) {
        unsigned i = g->order[j];
        sx[j + 1] = sx[j] + g->weight[i] * x[i];
        sw[j + 1] = sw[j] + g->weight[i];
    }
    for (unsigned a = 0; a <= N; a++)
        for (unsigned from = a; from <= N; from += LANES) {
            lane_f lx = lanes_load(sx + from), lw = lanes_load(sw + from), xq[2], qq[2];
            bool any = false;
            for (unsigned down = 0; down < 2; down++) {
                const float *q = levels_moved[down];
                xq[down] = sx[a] * q[0] + (lx - sx[a]) * q[1] + (sx[N] - lx) * q[2];
                qq[down] = sw[a] * q[0] * q[0] + (lw - sw[a]) * q[1] * q[1] + (sw[N] - lw) * q[2] * q[2];
                any |= any_better(best, xq[down], qq[down]);
            }
            if (!any) continue;
            float xs[2][LANES], qs[2][LANES];
            for (unsigned down = 0; down < 2; down++) {
                lanes_store(xs[down], xq[down]);
                lanes_store(qs[down], qq[down]);
            }
            for (unsigned b = from; b <= N && b < from + LANES; b++)
                for (unsigned down = 0; down < 2; down++)
                    try_cut(best, xs[down][b - from], qs[down][b - from], a, b, 3 * down);
        }
}

/* A shift for each half of 16. Neighbouring levels being 1 apart, three sums become one of two. */
static void cut_halves(const float *x, const ternary_group *g, best_cut *best) {
    enum { N = 16 };
    float sx[2][N + 1 + LANES] = {{0}}, sw[2][N + 1 + LANES] = {{0}}, rise[2][2];
    for (unsigned j = 0; j < N; j++) {
        unsigned i = g->order[j], half = i / 8;
        sx[half][j + 1] = sx[half][j] + g->weight[i] * x[i];
        sw[half][j + 1] = sw[half][j] + g->weight[i];
        sx[1 - half][j + 1] = sx[1 - half][j];
        sw[1 - half][j + 1] = sw[1 - half][j];
    }
    for (unsigned down = 0; down < 2; down++)
        for (unsigned k = 0; k < 2; k++)
            rise[down][k] = levels_moved[down][k] * levels_moved[down][k] -
                            levels_moved[down][k + 1] * levels_moved[down][k + 1];
    for (unsigned a = 0; a <= N; a++)
        for (unsigned from = a; from <= N; from += LANES) {
            lane_f xq[2][2], qq[2][2]; /* [half][down] */
            for (unsigned half = 0; half < 2; half++)
                for (unsigned down = 0; down < 2; down++) {
                    float top = levels_moved[down][2];
                    lane_f below = sx[half][a] + lanes_load(sx[half] + from);
                    xq[half][down] = sx[half][N] * top - below;
                    qq[half][down] = sw[half][N] * top * top + sw[half][a] * rise[down][0] +
                                     lanes_load(sw[half] + from) * rise[down][1];
                }
            lane_f xqs[4], qqs[4];
            bool any = false;
            for (unsigned k = 0; k < 4; k++) {
                xqs[k] = xq[0][k / 2] + xq[1][k % 2];
                qqs[k] = qq[0][k / 2] + qq[1][k % 2];
                any |= any_better(best, xqs[k], qqs[k]);
            }
            if (!any) continue;
            float xs[4][LANES], qs[4][LANES];
            for (unsigned k = 0; k < 4; k++) {
                lanes_store(xs[k], xqs[k]);
                lanes_store(qs[k], qqs[k]);
            }
            for (unsigned b = from; b <= N && b < from + LANES; b++)
                for (unsigned k = 0; k < 4; k++)
                    try_cut(best, xs[k][b - from], qs[k][b - from], a, b, k / 2 | k % 2 << 1);
        }
}

/* The point whose moved levels are nearest to eight numbers under the scale. */
static unsigned nearest_point(const lattice *l, const uint16_t *near, const float *x, const float *weight, float scale,
                              const float moved[3]) {
    float cost[8][8];
    for (unsigned j = 0; j < 8; j++)
        for (unsigned k = 0; k < 3; k++) {
            float apart = scale * moved[k] - x[j];
            cost[j][k] = weight[j] * apart * apart;
        }
    return cheapest_point(l, near, 8, cost);
}

/* Adds what points explain of numbers when each level counts `times`. */
PITH_INLINE void point_fit(fit_sums *s, const lattice *l, const ternary_group *g, const float *x, unsigned n,
                           float times) {
    for (unsigned k = 0; k < n / 8; k++) {
        const float *moved = levels_moved[g->down[k / (n / 16)]];
        const int8_t *p = l->points + 8 * g->point[k];
        for (unsigned j = 8 * k; j < 8 * k + 8; j++) fit_add(s, g->weight[j], x[j], moved[p[j - 8 * k]] * times);
    }
}

/* Scale, shifts and points of a group of 32 (one shift) or 16 (two); false when it is zeros. */
static bool fit_ternary(const lattice *l, const float *x, unsigned n, float tiny, ternary_group *g) {
    float most = 0;
    for (unsigned j = 0; j < n; j++) most = PITH_MAX(most, fabsf(x[j]));
    if (most < tiny) return false;
    best_cut best = {.score = -0x1.fffffep127f};
    sort_places(x, n, g->order);
    if (n == 32)
        cut_whole(x, g, &best);
    else
        cut_halves(x, g, &best);
    if (!best.found) return false;
    for (unsigned j = 0; j < n; j++) g->level[g->order[j]] = j < best.first ? 0 : j < best.second ? 1 : 2;
    g->scale = best.scale;
    if (g->scale < 0) {
        for (unsigned j = 0; j < n; j++) g->level[j] = (uint8_t)(2 - g->level[j]);
        g->scale = -g->scale;
        best.shifts ^= 3;
    }
    for (unsigned half = 0; half < 2; half++) g->down[half] = best.shifts >> half & 1;
    bool all_own = true;
    for (unsigned k = 0; k < n / 8; k++) {
        uint32_t place = 0;
        for (unsigned j = 8; j-- > 0;) place = place * 3 + g->level[8 * k + j];
        if (l->at[place] >= 0) {
            g->point[k] = (uint16_t)l->at[place];
            continue;
        }
        all_own = false;
        g->point[k] = (uint16_t)nearest_point(l, l->near + (-1 - l->at[place]), x + 8 * k, g->weight + 8 * k, g->scale,
                                              levels_moved[g->down[k / (n / 16)]]);
    }
    if (all_own) return true;
    fit_sums s = {0, 0};
    point_fit(&s, l, g, x, n, 1);
    if (s.xq > 0 && s.qq > 0) g->scale = s.xq / s.qq;
    return true;
}

static void iq1_s_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst,
                         size_t n_blocks) {
    const lattice *l = lattice_of(LATTICE_IQ1);
    BLOCKS_OF(iq1_s_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++, src += SUPER_BLOCK, importance += SUPER_BLOCK) {
        float spread = 2 * block_spread(src), scale[8] = {0}, max = 0;
        bool down[8] = {0};
        memset(b, 0, sizeof *b);
        for (unsigned k = 0; k < 8; k++) {
            ternary_group g;
            block_weights(src + 32 * k, importance + 32 * k, 32, spread, 0, g.weight);
            if (!fit_ternary(l, src + 32 * k, 32, 1e-12f, &g)) continue;
            unsigned high = 0;
            for (unsigned p = 0; p < 4; p++) {
                b->index[4 * k + p] = (uint8_t)g.point[p];
                high |= (unsigned)g.point[p] >> 8 << 3 * p;
            }
            store16(b->high + 2 * k, (uint16_t)high);
            scale[k] = g.scale;
            down[k] = g.down[0];
            max = PITH_MAX(max, g.scale);
        }
        if (!(max > 0)) continue;
        float d = max / 15, inverse = 1 / d;
        store16(b->d, half_narrow(d * 1.125f));
        for (unsigned k = 0; k < 8; k++) {
            unsigned step = odd_step(inverse, scale[k], 7) | (down[k] ? 8u : 0u);
            store16(b->high + 2 * k, (uint16_t)(load16(b->high + 2 * k) | step << 12));
        }
    }
}

static void iq1_m_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst,
                         size_t n_blocks) {
    const lattice *l = lattice_of(LATTICE_IQ1);
    BLOCKS_OF(iq1_m_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++, src += SUPER_BLOCK) {
        float spread = 2 * block_spread(src), max = 0;
        ternary_group groups_of_16[16];
        memset(b, 0, sizeof *b);
        for (unsigned k = 0; k < 16; k++) {
            ternary_group *g = &groups_of_16[k];
            const float *w = importance ? importance + i * SUPER_BLOCK + 16 * k : NULL;
            memset(g, 0, sizeof *g);
            block_weights(src + 16 * k, w, 16, spread, 0, g->weight);
            if (!fit_ternary(l, src + 16 * k, 16, 1e-7f, g)) g->scale = 0;
            max = PITH_MAX(max, g->scale);
        }
        if (!(max > 0)) {
            for (unsigned k = 0; k < 16; k++) {
                for (unsigned p = 0; p < 2; p++) b->index[2 * k + p] = (uint8_t)groups_of_16[k].point[p];
                b->high[k] = (uint8_t)(groups_of_16[k].point[0] >> 8 | groups_of_16[k].point[1] >> 8 << 4);
            }
            continue;
        }
        float d = max / 15, inverse = 1 / d;
        uint16_t words[4] = {0};
        fit_sums s = {0, 0};
        for (unsigned k = 0; k < 16; k++) {
            const ternary_group *g = &groups_of_16[k];
            unsigned step = odd_step(inverse, g->scale, 7);
            for (unsigned p = 0; p < 2; p++) b->index[2 * k + p] = (uint8_t)g->point[p];
            b->high[k] = (uint8_t)(g->point[0] >> 8 | g->point[1] >> 8 << 4 | (g->down[0] ? 8 : 0) |
                                   (g->down[1] ? 128 : 0));
            words[k / 4] = (uint16_t)(words[k / 4] | step << k % 4 * 3);
            point_fit(&s, l, g, src + 16 * k, 16, (float)(2 * step + 1));
        }
        if (s.qq > 0) d = s.xq / s.qq;
        unsigned half = half_narrow(d * 1.1125f);
        for (unsigned k = 0; k < 4; k++) store16(b->scales + 2 * k, (uint16_t)(words[k] | (half >> 4 * k & 15) << 12));
    }
}

#endif
