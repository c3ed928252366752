/* Encoders of the types with sixteen uneven levels: IQ4_NL and IQ4_XS, whose scales are searched,
 * and MXFP4, whose scale is a power of two (OCP Microscaling Formats 1.0). */
#ifndef FORMATS_BLOCKS_ENCODE_LEVELS_H
#define FORMATS_BLOCKS_ENCODE_LEVELS_H

#include "formats/blocks/encode_small.h"

enum { LEVEL_TRIES = 7 }; /* scales on each side of the one that puts the extreme on the outermost level */

/* Half-way between the levels of IQ4: exact, and so is the difference of numbers near them, so that comparing with
 * them is comparing distances. Midway counts as the upper. */
static const float level_middles[15] = {-115.5f, -93.5f, -74.0f, -57.0f, -42.0f, -28.5f, -16.0f, -4.5f,
                                        7.0f,    19.0f,  31.5f,  45.5f,  61.0f,  79.0f,  101.0f};

/* The level nearest to x, itself. */
PITH_INLINE lane_f nearest_level(lane_f x) {
    lane_f level = lanes_all((float)blocks_iq4nl_values[0]);
    for (unsigned k = 0; k < 15; k++) {
        float step = (float)(blocks_iq4nl_values[k + 1] - blocks_iq4nl_values[k]);
        level += lanes_pick(lanes_less(x, lanes_all(level_middles[k])), (lane_f){0}, lanes_all(step));
    }
    return level;
}

static lane_sums level_sums(const groups *g, lane_f inverse) {
    lane_sums s = {{0}, {0}};
    for (unsigned j = 0; j < g->n; j++) {
        lane_f q = nearest_level(inverse * g->x[j]), wq = g->w[j] * q;
        s.xq += wq * g->x[j];
        s.qq += wq * q;
    }
    return s;
}

static lane_f search_levels(const groups *g) {
    const float outermost = (float)blocks_iq4nl_values[0];
    lane_f max = groups_extreme(g), zero = {0};
    lane_sums s = level_sums(g, 1 / (-max / outermost));
    lane_f scale = lanes_pick(lanes_less(zero, s.qq), s.xq / s.qq, zero), best = scale * s.xq;
    for (int step = -LEVEL_TRIES; step <= LEVEL_TRIES; step++) {
        s = level_sums(g, ((float)step + outermost) / max);
        lane_mask better = lanes_both(lanes_less(zero, s.qq), lanes_less(best * s.qq, s.xq * s.xq));
        scale = lanes_pick(better, s.xq / s.qq, scale);
        best = lanes_pick(better, scale * s.xq, best);
    }
    return groups_drop_tiny(max, scale);
}

static void levels_put(const float *x, float scale, uint8_t nibbles[16]) {
    float inverse = inverse_of(scale);
    uint8_t q[32] = {0};
    for (unsigned k = 0; k < 15; k++)
        for (unsigned j = 0; j < 32; j++) q[j] = (uint8_t)(q[j] + !(inverse * x[j] < level_middles[k]));
    nibbles_put(q, nibbles);
}

static void iq4_nl_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst,
                          size_t n_blocks) {
    BLOCKS_OF(iq4_nl_block, dst);
    for (size_t at = 0; at < n_blocks; at += LANES) {
        groups g = {.n = SMALL_BLOCK};
        float scale[LANES];
        unsigned count = (unsigned)PITH_MIN(n_blocks - at, (size_t)LANES);
        groups_take(g.x, src + at * SMALL_BLOCK, SMALL_BLOCK, SMALL_BLOCK, count);
        if (importance) {
            lane_f squares = {0};
            for (unsigned j = 0; j < SMALL_BLOCK; j++) squares += g.x[j] * g.x[j];
            groups_take(g.w, importance + at * SMALL_BLOCK, SMALL_BLOCK, SMALL_BLOCK, count);
            squares *= 2.0f / SMALL_BLOCK;
            for (unsigned j = 0; j < SMALL_BLOCK; j++) g.w[j] *= lanes_sqrt(squares + g.x[j] * g.x[j]);
        } else {
            weigh_squares(&g);
        }
        lanes_store(scale, search_levels(&g));
        for (unsigned i = 0; i < count; i++, b++) {
            store16(b->d, half_narrow(scale[i]));
            levels_put(src + (at + i) * SMALL_BLOCK, scale[i], b->nibbles);
        }
    }
}

static void iq4_xs_block_put(const float *src, const float scale[8], iq4_xs_block *b) {
    float d = -extreme(scale, 8) / 32, inverse = inverse_of(d);
    store16(b->d, half_narrow(d));
    uint32_t low = 0, high = 0;
    for (unsigned g = 0; g < 8; g++) {
        int s = clamp_int(nearest(inverse * scale[g]), -32, 31);
        levels_put(src + 32 * g, d * (float)s, b->nibbles + 16 * g);
        low |= ((uint32_t)(s + 32) & 15) << 4 * g;
        high |= (uint32_t)(s + 32) >> 4 << 2 * g;
    }
    store32(b->scales_low, low);
    store16(b->scales_high, (uint16_t)high);
}

static void iq4_xs_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst,
                          size_t n_blocks) {
    BLOCKS_OF(iq4_xs_block, dst);
    super_batch s = {.n_groups = 8};
    for (size_t at = 0; at < n_blocks; at += LANES) {
        s.n_blocks = (unsigned)PITH_MIN(n_blocks - at, (size_t)LANES);
        s.src = src + at * SUPER_BLOCK;
        s.importance = importance ? importance + at * SUPER_BLOCK : NULL;
        if (importance) super_spread(&s, 2);
        for (unsigned first = 0; first < s.n_blocks * 8; first += LANES) {
            groups g;
            unsigned count = symmetric_groups(&s, first, true, &g);
            groups_give(s.scale + first, search_levels(&g), count);
        }
        for (unsigned i = 0; i < s.n_blocks; i++) iq4_xs_block_put(s.src + i * SUPER_BLOCK, s.scale + 8 * i, b++);
    }
}

/* The first of the sixteen values of MXFP4 that come nearest to x under the scale. */
static unsigned nearest_mxfp4(float x, float scale) {
    unsigned best = 0;
    float least = fabsf((float)mxfp4_values[0] * scale - x);
    for (unsigned k = 1; k < 16; k++) {
        float error = fabsf((float)mxfp4_values[k] * scale - x);
        if (error < least) least = error, best = k;
    }
    return best;
}

static void mxfp4_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst,
                         size_t n_blocks) {
    BLOCKS_OF(mxfp4_block, dst);
    (void)importance;
    for (size_t i = 0; i < n_blocks; i++, b++, src += SMALL_BLOCK) {
        float most = largest_of(src, SMALL_BLOCK);
        /* Two below the largest exponent, because the largest value is 6 = 1.5 * 2^2. */
        float exponent = most > 0 ? floorf(log2f(most)) + 125 : 0;
        b->exponent = (uint8_t)whole_part(exponent, 254);
        float scale = e8m0_widen_halved(b->exponent);
        for (unsigned j = 0; j < 16; j++)
            b->nibbles[j] = (uint8_t)(nearest_mxfp4(src[j], scale) | nearest_mxfp4(src[j + 16], scale) << 4);
    }
}

#endif
