/* Encoders whose scale is found by a formula: 32 elements to a block, Q8_K, and the ternary types;
 * and what Q4_0, Q4_1, Q5_0 and Q5_1 do with importance, where the scale is searched. */
#ifndef FORMATS_BLOCKS_ENCODE_SMALL_H
#define FORMATS_BLOCKS_ENCODE_SMALL_H

#include "formats/blocks/encode_symmetric.h"

PITH_INLINE float inverse_of(float d) { return d != 0 ? 1.0f / d : 0.0f; }

/* The smaller and the larger of the most extreme numbers, and 0 between them where `zero`. */
PITH_INLINE void extremes(const float *x, unsigned n, bool zero, float *low, float *high) {
    lane_f least = zero ? (lane_f){0} : lanes_load(x), most = least;
    for (unsigned j = 0; j < n; j += LANES) {
        lane_f v = lanes_load(x + j);
        least = lanes_min(v, least);
        most = lanes_max(v, most);
    }
    float a[LANES], z[LANES];
    lanes_store(a, least);
    lanes_store(z, most);
    *low = a[0], *high = z[0];
    for (unsigned k = 1; k < LANES; k++) {
        if (a[k] < *low) *low = a[k];
        if (z[k] > *high) *high = z[k];
    }
}

/* As extreme(), n a multiple of LANES. */
PITH_INLINE float extreme_of(const float *x, unsigned n) {
    float low, high;
    extremes(x, n, true, &low, &high);
    return high > -low ? high : high < -low ? low : extreme(x, n);
}

PITH_INLINE float largest_of(const float *x, unsigned n) {
    float low, high;
    extremes(x, n, true, &low, &high);
    return PITH_MAX(-low, high); /* of two zeros the second, which is +0 */
}

/* ---- without importance ---------------------------------------------------------------------------- */

/* The levels of 32 numbers when the extreme is to be level 0 of 2 * half; half is added. */
PITH_INLINE float symmetric_range(const float *x, int half, uint8_t q[32]) {
    float d = extreme_of(x, SMALL_BLOCK) / (float)-half, inverse = inverse_of(d);
    for (unsigned j = 0; j < SMALL_BLOCK; j++)
        q[j] = (uint8_t)(int)cut(x[j] * inverse + ((float)half + 0.5f), 0, (float)(2 * half - 1));
    return d;
}

/* The levels of 32 numbers from their minimum, level 0, to their maximum, level top. */
PITH_INLINE float full_range(const float *x, int top, float *min, uint8_t q[32]) {
    float low, high;
    extremes(x, SMALL_BLOCK, false, &low, &high);
    if (low == 0) { /* the first zero says which sign the minimum gets */
        unsigned j = 0;
        while (x[j] != 0) j++;
        if (high == 0) high = x[j];
        low = x[j];
    }
    float d = (high - low) / (float)top, inverse = inverse_of(d);
    for (unsigned j = 0; j < SMALL_BLOCK; j++) q[j] = (uint8_t)(int)cut((x[j] - low) * inverse + 0.5f, 0, (float)top);
    *min = low;
    return d;
}

PITH_INLINE void nibbles_put(const uint8_t q[32], uint8_t nibbles[16]) {
    for (unsigned j = 0; j < 16; j++) nibbles[j] = (uint8_t)((q[j] & 15) | (q[j + 16] & 15) << 4);
}

PITH_INLINE void fifth_bits_put(const uint8_t q[32], uint8_t high[4]) {
    /* Eight levels at a time: a multiplication brings bit 4 of each byte together in the top byte. */
    for (unsigned k = 0; k < 4; k++)
        high[k] = (uint8_t)((load64(q + 8 * k) >> 4 & 0x0101010101010101) * 0x0102040810204080 >> 56);
}

static void small_block_put(tensor_type type, float d, float min, const uint8_t q[32], uint8_t *dst) {
    uint8_t *at = dst + 2;
    store16(dst, half_narrow(d));
    if (type == TENSOR_Q4_1 || type == TENSOR_Q5_1) {
        store16(at, half_narrow(min));
        at += 2;
    }
    if (type == TENSOR_Q5_0 || type == TENSOR_Q5_1) {
        fifth_bits_put(q, at);
        at += 4;
    }
    nibbles_put(q, at);
}

/* ---- with importance: weights are it times the root of the row's mean square plus x^2 ----------------- */

static float row_spread(const float *x, size_t n) {
    float sum = 0;
    for (size_t j = 0; j < n; j++) sum += x[j] * x[j];
    return sum / (float)n;
}

static unsigned small_groups(const float *src, const float *importance, size_t n_blocks, float spread, groups *g) {
    unsigned count = (unsigned)PITH_MIN(n_blocks, (size_t)LANES);
    g->n = SMALL_BLOCK;
    groups_take(g->x, src, SMALL_BLOCK, SMALL_BLOCK, count);
    groups_take(g->w, importance, SMALL_BLOCK, SMALL_BLOCK, count);
    for (unsigned j = 0; j < SMALL_BLOCK; j++) g->w[j] *= lanes_sqrt(spread + g->x[j] * g->x[j]);
    return count;
}

/* One row of any of the four types. */
static void small_row_encode(tensor_type type, uint32_t block_bytes, const float *src, const float *importance,
                             uint8_t *dst, size_t n_blocks) {
    float spread = row_spread(src, n_blocks * SMALL_BLOCK);
    bool affine = type == TENSOR_Q4_1 || type == TENSOR_Q5_1, four = type == TENSOR_Q4_0 || type == TENSOR_Q4_1;
    for (size_t at = 0; at < n_blocks; at += LANES) {
        groups g;
        lane_f scale, min = {0}, q[SMALL_BLOCK];
        unsigned count = small_groups(src + at * SMALL_BLOCK, importance + at * SMALL_BLOCK, n_blocks - at, spread, &g);
        if (affine) {
            const affine_search *how = four ? &affine_weighted_15 : &affine_weighted_31;
            affine_fit fit = search_affine(how, &g);
            scale = fit.scale, min = -fit.min;
            for (unsigned j = 0; j < SMALL_BLOCK; j++) q[j] = affine_level(g.x[j], fit.inverse, fit.base, how->top);
        } else {
            float top = four ? 8 : 16;
            lane_f inverse;
            scale = search_symmetric(&g, top, &inverse);
            lane_mask tiny = lanes_less(lanes_abs(groups_extreme(&g)), lanes_all(GROUP_TINY));
            for (unsigned j = 0; j < SMALL_BLOCK; j++)
                q[j] = lanes_pick(tiny, (lane_f){0}, symmetric_level(g.x[j], inverse, top));
        }
        float scales[LANES], mins[LANES], levels[SMALL_BLOCK][LANES];
        lanes_store(scales, scale);
        lanes_store(mins, min);
        for (unsigned j = 0; j < SMALL_BLOCK; j++) lanes_store(levels[j], q[j]);
        for (unsigned i = 0; i < count; i++, dst += block_bytes) {
            uint8_t bytes[SMALL_BLOCK];
            for (unsigned j = 0; j < SMALL_BLOCK; j++) bytes[j] = (uint8_t)(int)levels[j][i];
            small_block_put(type, scales[i], mins[i], bytes, dst);
        }
    }
}

#define SMALL_ENCODER(type, name, levels)                                                                        \
    static void name##_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst, \
                              size_t n_blocks) {                                                                 \
        BLOCKS_OF(name##_block, dst);                                                                            \
        if (importance) {                                                                                        \
            small_row_encode(TENSOR_##type, sizeof *b, src, importance, dst, n_blocks);                          \
            return;                                                                                              \
        }                                                                                                        \
        for (size_t i = 0; i < n_blocks; i++, b++, src += SMALL_BLOCK) {                                         \
            uint8_t q[SMALL_BLOCK];                                                                              \
            float d, min = 0;                                                                                    \
            levels;                                                                                              \
            small_block_put(TENSOR_##type, d, min, q, (uint8_t *)b);                                             \
        }                                                                                                        \
    }
SMALL_ENCODER(Q4_0, q4_0, d = symmetric_range(src, 8, q))
SMALL_ENCODER(Q4_1, q4_1, d = full_range(src, 15, &min, q))
SMALL_ENCODER(Q5_0, q5_0, d = symmetric_range(src, 16, q))
SMALL_ENCODER(Q5_1, q5_1, d = full_range(src, 31, &min, q))

/* ---- types that know no importance ------------------------------------------------------------------- */

/* To nearest, ties away from zero, for |v| <= 127. */
PITH_INLINE lane_f nearest_away_lanes(lane_f v) {
    const lane_f below_half = lanes_all(0x1.fffffep-2f), zero = {0};
    lane_f whole = lanes_nearest(v, -127, 127), rest = v - whole;
    lane_mask up = lanes_both(lanes_less(zero, v), lanes_less(below_half, rest));
    lane_mask down = lanes_both(lanes_less(v, zero), lanes_less(rest, -below_half));
    return lanes_pick(up, whole + 1, lanes_pick(down, whole - 1, whole));
}

static void q8_0_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst,
                        size_t n_blocks) {
    BLOCKS_OF(q8_0_block, dst);
    (void)importance;
    for (size_t i = 0; i < n_blocks; i++, b++, src += SMALL_BLOCK) {
        float d = largest_of(src, SMALL_BLOCK) / 127, inverse = inverse_of(d);
        store16(b->d, half_narrow(d));
        float q[SMALL_BLOCK];
        for (unsigned j = 0; j < SMALL_BLOCK; j += LANES)
            lanes_store(q + j, nearest_away_lanes(lanes_load(src + j) * inverse));
        for (unsigned j = 0; j < SMALL_BLOCK; j++) b->q[j] = (uint8_t)(int)q[j];
    }
}

static void q8_k_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst,
                        size_t n_blocks) {
    BLOCKS_OF(q8_k_block, dst);
    (void)importance;
    for (size_t i = 0; i < n_blocks; i++, b++, src += SUPER_BLOCK) {
        float max = extreme_of(src, SUPER_BLOCK);
        if (max == 0) {
            memset(b, 0, sizeof *b);
            continue;
        }
        float inverse = -127.0f / max;
        store32(b->d, float_bits(1 / inverse));
        for (unsigned g = 0; g < 16; g++) {
            int sum = 0;
            for (unsigned j = 16 * g; j < 16 * g + 16; j++) {
                int q = clamp_int(nearest(inverse * src[j]), -127, 127);
                b->q[j] = (uint8_t)q;
                sum += q;
            }
            store16(b->sums + 2 * g, (uint16_t)sum);
        }
    }
}

/* Trits of n <= 5 numbers, stride apart, the first the highest of five, as the ceiling of 256/243
 * times their number, from which decoding needs no division. */
static uint8_t trits_put(const float *x, unsigned n, unsigned stride, float inverse) {
    unsigned number = 0;
    for (unsigned k = 0; k < 5; k++)
        number = number * 3 + (k < n ? (unsigned)(nearest_away(x[k * stride] * inverse, 1) + 1) : 0);
    return (uint8_t)((number * 256 + 242) / 243);
}

static void tq1_0_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst,
                         size_t n_blocks) {
    BLOCKS_OF(tq1_0_block, dst);
    (void)importance;
    for (size_t i = 0; i < n_blocks; i++, b++, src += SUPER_BLOCK) {
        float d = largest_of(src, SUPER_BLOCK), inverse = inverse_of(d);
        store16(b->d, half_narrow(d));
        for (unsigned j = 0; j < 32; j++) b->trits[j] = trits_put(src + j, 5, 32, inverse);
        for (unsigned j = 0; j < 16; j++) b->trits[32 + j] = trits_put(src + 160 + j, 5, 16, inverse);
        for (unsigned j = 0; j < 4; j++) b->tail[j] = trits_put(src + 240 + j, 4, 4, inverse);
    }
}

static void tq2_0_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst,
                         size_t n_blocks) {
    BLOCKS_OF(tq2_0_block, dst);
    (void)importance;
    for (size_t i = 0; i < n_blocks; i++, b++, src += SUPER_BLOCK) {
        float d = largest_of(src, SUPER_BLOCK), inverse = inverse_of(d);
        store16(b->d, half_narrow(d));
        for (unsigned j = 0; j < 64; j++) {
            const float *x = src + j / 32 * 128 + j % 32;
            unsigned q = 0;
            for (unsigned k = 0; k < 4; k++) q |= (unsigned)(nearest_away(x[32 * k] * inverse, 1) + 1) << 2 * k;
            b->q[j] = (uint8_t)q;
        }
    }
}

#endif
