/* Encoders of the types with scales alone: Q3_K and Q6_K; with importance Q4_0 and Q5_0 too. */
#ifndef FORMATS_BLOCKS_ENCODE_SYMMETRIC_H
#define FORMATS_BLOCKS_ENCODE_SYMMETRIC_H

#include "formats/blocks/encode_super.h"

PITH_INLINE lane_f symmetric_level(lane_f x, lane_f inverse, float top) {
    return lanes_nearest(inverse * x, -top, top - 1) + top;
}

/* Weights of the groups from `first` on: importance as it is (Q6_K) or with the spread, or squares. */
static unsigned symmetric_groups(const super_batch *s, unsigned first, bool spread, groups *g) {
    unsigned count = super_groups(s, first, g);
    if (!s->importance)
        weigh_squares(g);
    else if (spread)
        super_weights(s, first, count, g);
    return count;
}

static void first_lane_put(const lane_f q[], unsigned n, float add, uint8_t *out) {
    for (unsigned j = 0; j < n; j++) {
        float t[LANES];
        lanes_store(t, q[j]);
        out[j] = (uint8_t)(int)(t[0] + add);
    }
}

/* What the search alone chose for one group: the levels where its rounded scale is 0. */
static void symmetric_levels_alone(const super_batch *s, unsigned group, bool descent, bool spread, float top,
                                   uint8_t *q) {
    groups g;
    lane_f inverse, levels[GROUP_MOST];
    const float *x = s->src + group * 16;
    float most = 0;
    memset(q, 0, 16);
    for (unsigned j = 0; j < 16; j++) most = PITH_MAX(most, fabsf(x[j]));
    if (most < GROUP_TINY) return;
    symmetric_groups(s, group, spread, &g);
    if (descent) {
        search_descent(&g, top, levels);
        first_lane_put(levels, 16, top, q);
    } else {
        search_symmetric(&g, top, &inverse);
        for (unsigned j = 0; j < 16; j++) levels[j] = symmetric_level(g.x[j], inverse, top);
        first_lane_put(levels, 16, 0, q);
    }
}

static void q3_k_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst,
                        size_t n_blocks) {
    BLOCKS_OF(q3_k_block, dst);
    super_batch s = {.n_groups = 16};
    for (size_t at = 0; at < n_blocks; at += LANES) {
        s.n_blocks = (unsigned)PITH_MIN(n_blocks - at, (size_t)LANES);
        s.src = src + at * SUPER_BLOCK;
        s.importance = importance ? importance + at * SUPER_BLOCK : NULL;
        if (importance) super_spread(&s, 2);
        groups g;
        lane_f q[GROUP_MOST], inverse, unit;
        for (unsigned first = 0; first < s.n_blocks * 16; first += LANES) {
            unsigned count = symmetric_groups(&s, first, true, &g);
            groups_give(s.scale + first, importance ? search_symmetric(&g, 4, &inverse) : search_descent(&g, 4, q),
                        count);
            if (importance) groups_give(s.weight + first, groups_weight(&g), count);
        }
        g.n = 16;
        super_blocks_take(&s, s.scale, g.x);
        lane_f max = groups_extreme(&g), zero = {0};
        if (importance) {
            super_blocks_take(&s, s.weight, g.w);
            unit = search_symmetric(&g, 32, &inverse);
            lane_mask tiny = lanes_less(lanes_abs(max), lanes_all(GROUP_TINY));
            for (unsigned k = 0; k < 16; k++) q[k] = lanes_pick(tiny, zero, symmetric_level(g.x[k], inverse, 32));
        } else {
            lane_mask some = lanes_less(zero, lanes_abs(max));
            inverse = lanes_pick(some, -32.0f / max, zero);
            unit = lanes_pick(some, 1 / inverse, zero);
            for (unsigned k = 0; k < 16; k++) q[k] = lanes_pick(some, symmetric_level(g.x[k], inverse, 32), zero);
        }
        float units[LANES];
        lanes_store(units, unit);
        super_integers_give(&s, q, s.scale_q);
        for (unsigned i = 0; i < s.n_blocks; i++, b++) {
            uint8_t levels[SUPER_BLOCK];
            store16(b->d, half_narrow(units[i]));
            float d = half_widen(load16(b->d));
            memset(b->scales, 0, sizeof b->scales);
            for (unsigned k = 0; k < 16; k++) {
                unsigned stored = s.scale_q[i][k];
                float scale = d * (float)((int)stored - 32);
                b->scales[k % 8] |= (uint8_t)((stored & 15) << k / 8 * 4);
                b->scales[8 + k % 4] |= (uint8_t)(stored >> 4 << k / 4 * 2);
                if (scale == 0)
                    symmetric_levels_alone(&s, 16 * i + k, !importance, true, 4, levels + 16 * k);
                else
                    symmetric_levels(s.src + i * SUPER_BLOCK + 16 * k, 16, scale, 4, levels + 16 * k);
            }
            two_bits_put(levels, 0, b->low);
            one_bit_put(levels, 2, b->high);
        }
    }
}

static void q6_k_block_put(const super_batch *s, unsigned i, q6_k_block *b) {
    const float *scale = s->scale + 16 * i;
    float max = extreme(scale, 16);
    if (fabsf(max) < GROUP_TINY) {
        memset(b, 0, sizeof *b);
        return;
    }
    uint8_t q[SUPER_BLOCK];
    float inverse = -128.0f / max;
    store16(b->d, half_narrow(1 / inverse));
    float d = half_widen(load16(b->d));
    for (unsigned k = 0; k < 16; k++) {
        int rounded = clamp_int(nearest(inverse * scale[k]), -128, 127);
        b->scales[k] = (uint8_t)rounded;
        float group_scale = d * (float)rounded;
        if (group_scale == 0)
            symmetric_levels_alone(s, 16 * i + k, false, false, 32, q + 16 * k);
        else
            symmetric_levels(s->src + i * SUPER_BLOCK + 16 * k, 16, group_scale, 32, q + 16 * k);
    }
    for (unsigned half = 0; half < 2; half++)
        for (unsigned k = 0; k < 64; k++) {
            const uint8_t *level = q + half * 128 + k;
            b->low[64 * half + k] = (uint8_t)((level[0] & 15) | (level[64] & 15) << 4);
        }
    two_bits_put(q, 4, b->high);
}

static void q6_k_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst,
                        size_t n_blocks) {
    BLOCKS_OF(q6_k_block, dst);
    super_batch s = {.n_groups = 16};
    for (size_t at = 0; at < n_blocks; at += LANES) {
        s.n_blocks = (unsigned)PITH_MIN(n_blocks - at, (size_t)LANES);
        s.src = src + at * SUPER_BLOCK;
        s.importance = importance ? importance + at * SUPER_BLOCK : NULL;
        for (unsigned first = 0; first < s.n_blocks * 16; first += LANES) {
            groups g;
            lane_f inverse;
            unsigned count = symmetric_groups(&s, first, false, &g);
            groups_give(s.scale + first, search_symmetric(&g, 32, &inverse), count);
        }
        for (unsigned i = 0; i < s.n_blocks; i++) q6_k_block_put(&s, i, b++);
    }
}

#endif
