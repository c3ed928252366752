/* Encoders of the K types: a search gives every group its own scale, the scales are rounded to
 * integers times one float, and the elements are rounded once more under the rounded scales. */
#include "formats/blocks/encode_parts.h"

#define BLOCKS_OF(type, dst) type *restrict b = (type *)(dst)

/* Level of x under a rounded scale d and minimum m: x ~ d q - m. */
static void affine_levels(const float *x, unsigned n, float d, float m, int top, uint8_t *q) {
    if (d == 0) return; /* what the search chose stays; it decodes to -m either way */
    for (unsigned j = 0; j < n; j++) q[j] = (uint8_t)clamp_int(nearest((x[j] + m) / d), 0, top);
}

static void symmetric_levels(const float *x, unsigned n, float d, int top, uint8_t *q) {
    if (d == 0) return;
    for (unsigned j = 0; j < n; j++) q[j] = (uint8_t)(clamp_int(nearest(x[j] / d), -top, top - 1) + top);
}

/* Element j's two bits at place `from` of its level; byte k of each half holds four elements
 * that lie 32 apart. */
static void two_bits_put(const uint8_t q[SUPER_BLOCK], unsigned from, uint8_t out[64]) {
    for (unsigned k = 0; k < 64; k++) {
        const uint8_t *level = q + k / 32 * 128 + k % 32;
        unsigned bits = 0;
        for (unsigned part = 0; part < 4; part++) bits |= (level[32 * part] >> from & 3u) << 2 * part;
        out[k] = (uint8_t)bits;
    }
}

/* One bit of every level; byte k holds the elements k, k + 32, k + 64, ... */
static void one_bit_put(const uint8_t q[SUPER_BLOCK], unsigned from, uint8_t out[32]) {
    for (unsigned k = 0; k < 32; k++) {
        unsigned bits = 0;
        for (unsigned part = 0; part < 8; part++) bits |= (q[k + 32 * part] >> from & 1u) << part;
        out[k] = (uint8_t)bits;
    }
}

void q2_k_encode(const float *restrict src, uint8_t *restrict dst, size_t n_blocks) {
    static const affine_search how = {.top = 3, .first = -0.5f, .last_try = 15, .absolute = true};
    BLOCKS_OF(q2_k_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++, src += SUPER_BLOCK) {
        uint8_t q[SUPER_BLOCK];
        float scale[16], min[16], max_scale = 0, max_min = 0;
        for (unsigned g = 0; g < 16; g++) {
            const float *x = src + 16 * g;
            float weights[16];
            for (unsigned j = 0; j < 16; j++) weights[j] = fabsf(x[j]);
            scale[g] = search_affine(&how, x, weights, 16, q + 16 * g, &min[g]);
            if (scale[g] > max_scale) max_scale = scale[g];
            if (min[g] > max_min) max_min = min[g];
        }
        float inverse_scale = max_scale > 0 ? 15.0f / max_scale : 0;
        float inverse_min = max_min > 0 ? 15.0f / max_min : 0;
        for (unsigned g = 0; g < 16; g++)
            b->scales[g] =
                (uint8_t)((unsigned)nearest(inverse_scale * scale[g]) | (unsigned)nearest(inverse_min * min[g]) << 4);
        store16(b->d, half_narrow(max_scale / 15.0f));
        store16(b->min, half_narrow(max_min / 15.0f));
        float d = half_widen(load16(b->d)), m = half_widen(load16(b->min));
        for (unsigned g = 0; g < 16; g++)
            affine_levels(src + 16 * g, 16, d * (float)(b->scales[g] & 15), m * (float)(b->scales[g] >> 4), 3,
                          q + 16 * g);
        two_bits_put(q, 0, b->q);
    }
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

/* Q4_K and Q5_K up to the packing of their levels. */
static void affine_super(const affine_search *how, const float *src, uint8_t d_out[2], uint8_t min_out[2],
                         uint8_t scales[12], uint8_t q[SUPER_BLOCK]) {
    float scale[8], min[8], max_scale = 0, max_min = 0;
    for (unsigned g = 0; g < 8; g++) {
        const float *x = src + 32 * g;
        float weights[32], squares = 0;
        for (unsigned j = 0; j < 32; j++) squares += x[j] * x[j];
        float typical = sqrtf(squares / 32);
        for (unsigned j = 0; j < 32; j++) weights[j] = typical + fabsf(x[j]);
        scale[g] = search_affine(how, x, weights, 32, q + 32 * g, &min[g]);
        if (scale[g] > max_scale) max_scale = scale[g];
        if (min[g] > max_min) max_min = min[g];
    }
    float inverse_scale = max_scale > 0 ? 63.0f / max_scale : 0, inverse_min = max_min > 0 ? 63.0f / max_min : 0;
    for (unsigned g = 0; g < 8; g++) {
        unsigned s = (uint8_t)nearest(inverse_scale * scale[g]), m = (uint8_t)nearest(inverse_min * min[g]);
        k_scale_put(scales, g, PITH_MIN(63, s), PITH_MIN(63, m));
    }
    store16(d_out, half_narrow(max_scale / 63.0f));
    store16(min_out, half_narrow(max_min / 63.0f));
    float d = half_widen(load16(d_out)), d_min = half_widen(load16(min_out));
    for (unsigned g = 0; g < 8; g++) {
        uint8_t s, m;
        k_scale_get(scales, g, &s, &m);
        affine_levels(src + 32 * g, 32, d * (float)s, d_min * (float)m, how->top, q + 32 * g);
    }
}

/* Low nibbles of 256 levels: 32 below, the next 32 above. */
static void nibbles_put(const uint8_t q[SUPER_BLOCK], uint8_t nibbles[128]) {
    for (unsigned k = 0; k < 128; k++) {
        const uint8_t *level = q + k / 32 * 64 + k % 32;
        nibbles[k] = (uint8_t)((level[0] & 15) | (level[32] & 15) << 4);
    }
}

void q4_k_encode(const float *restrict src, uint8_t *restrict dst, size_t n_blocks) {
    static const affine_search how = {.top = 15, .first = -1.0f, .last_try = 20, .absolute = false};
    BLOCKS_OF(q4_k_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++, src += SUPER_BLOCK) {
        uint8_t q[SUPER_BLOCK];
        affine_super(&how, src, b->d, b->min, b->scales, q);
        nibbles_put(q, b->nibbles);
    }
}

void q5_k_encode(const float *restrict src, uint8_t *restrict dst, size_t n_blocks) {
    static const affine_search how = {.top = 31, .first = -0.5f, .last_try = 15, .absolute = false};
    BLOCKS_OF(q5_k_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++, src += SUPER_BLOCK) {
        uint8_t q[SUPER_BLOCK];
        affine_super(&how, src, b->d, b->min, b->scales, q);
        nibbles_put(q, b->nibbles);
        one_bit_put(q, 4, b->high);
    }
}

void q3_k_encode(const float *restrict src, uint8_t *restrict dst, size_t n_blocks) {
    BLOCKS_OF(q3_k_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++, src += SUPER_BLOCK) {
        uint8_t q[SUPER_BLOCK];
        float scale[16];
        for (unsigned g = 0; g < 16; g++) scale[g] = search_descent(src + 16 * g, 16, 4, q + 16 * g);
        float max = extreme(scale, 16), inverse = max != 0 ? -32.0f / max : 0;
        store16(b->d, half_narrow(max != 0 ? 1 / inverse : 0));
        memset(b->scales, 0, sizeof b->scales);
        float d = half_widen(load16(b->d));
        for (unsigned g = 0; g < 16; g++) {
            int s = max != 0 ? clamp_int(nearest(inverse * scale[g]), -32, 31) : -32;
            unsigned stored = (unsigned)(s + 32);
            b->scales[g % 8] |= (uint8_t)((stored & 15) << g / 8 * 4);
            b->scales[8 + g % 4] |= (uint8_t)(stored >> 4 << g / 4 * 2);
            symmetric_levels(src + 16 * g, 16, d * (float)s, 4, q + 16 * g);
        }
        two_bits_put(q, 0, b->low);
        one_bit_put(q, 2, b->high);
    }
}

void q6_k_encode(const float *restrict src, uint8_t *restrict dst, size_t n_blocks) {
    BLOCKS_OF(q6_k_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++, src += SUPER_BLOCK) {
        uint8_t q[SUPER_BLOCK];
        float scale[16];
        for (unsigned g = 0; g < 16; g++) scale[g] = search_symmetric(src + 16 * g, 16, 32, q + 16 * g);
        float max = extreme(scale, 16);
        if (fabsf(max) < GROUP_TINY) {
            memset(b, 0, sizeof *b);
            continue;
        }
        float inverse = -128.0f / max;
        store16(b->d, half_narrow(1 / inverse));
        float d = half_widen(load16(b->d));
        for (unsigned g = 0; g < 16; g++) {
            int s = clamp_int(nearest(inverse * scale[g]), -128, 127);
            b->scales[g] = (uint8_t)s;
            symmetric_levels(src + 16 * g, 16, d * (float)s, 32, q + 16 * g);
        }
        for (unsigned k = 0; k < 128; k++) {
            const uint8_t *level = q + k / 64 * 128 + k % 64;
            b->low[k] = (uint8_t)((level[0] & 15) | (level[64] & 15) << 4);
        }
        two_bits_put(q, 4, b->high);
    }
}
