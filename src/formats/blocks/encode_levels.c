/* Encoders of the types with sixteen uneven levels: IQ4_NL and IQ4_XS, whose scales are searched,
 * and MXFP4, whose scale is a power of two (OCP Microscaling Formats 1.0). */
#include "formats/blocks/encode_parts.h"

#define BLOCKS_OF(type, dst) type *restrict b = (type *)(dst)
enum { TRIES = 7 }; /* scales on each side of the one that puts the extreme on the outermost level */

/* The level of IQ4 nearest to x; midway, the upper. */
static unsigned nearest_level(float x) {
    const int8_t *level = blocks_iq4nl_values;
    if (x <= (float)level[0]) return 0;
    if (x >= (float)level[15]) return 15;
    unsigned upper = 1;
    for (unsigned k = 1; k < 15; k++) upper += !(x < (float)level[k]);
    return x - (float)level[upper - 1] < (float)level[upper] - x ? upper - 1 : upper;
}

static fit_sums level_sums(const float *x, float inverse) {
    fit_sums s = {0, 0};
    for (unsigned j = 0; j < 32; j++) {
        float q = (float)blocks_iq4nl_values[nearest_level(inverse * x[j])], w = x[j] * x[j];
        s.xq += w * q * x[j];
        s.qq += w * q * q;
    }
    return s;
}

/* The best scale of 32 numbers, weighted by their squares. */
static float search_levels(const float *x) {
    float max = extreme(x, 32), outermost = (float)blocks_iq4nl_values[0];
    if (fabsf(max) < GROUP_TINY) return 0;
    fit_sums s = level_sums(x, 1 / (-max / outermost));
    float scale = s.qq > 0 ? s.xq / s.qq : 0, best = scale * s.xq;
    for (int step = -TRIES; step <= TRIES; step++) {
        s = level_sums(x, ((float)step + outermost) / max);
        if (s.qq > 0 && s.xq * s.xq > best * s.qq) {
            scale = s.xq / s.qq;
            best = scale * s.xq;
        }
    }
    return scale;
}

static void levels_put(const float *x, float scale, uint8_t nibbles[16]) {
    float inverse = scale != 0 ? 1 / scale : 0;
    for (unsigned j = 0; j < 16; j++)
        nibbles[j] = (uint8_t)(nearest_level(inverse * x[j]) | nearest_level(inverse * x[j + 16]) << 4);
}

void iq4_nl_encode(const float *restrict src, uint8_t *restrict dst, size_t n_blocks) {
    BLOCKS_OF(iq4_nl_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++, src += SMALL_BLOCK) {
        float scale = search_levels(src);
        store16(b->d, half_narrow(scale));
        levels_put(src, scale, b->nibbles);
    }
}

void iq4_xs_encode(const float *restrict src, uint8_t *restrict dst, size_t n_blocks) {
    BLOCKS_OF(iq4_xs_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++, src += SUPER_BLOCK) {
        float scale[8];
        for (unsigned g = 0; g < 8; g++) scale[g] = search_levels(src + 32 * g);
        float d = -extreme(scale, 8) / 32, inverse = d != 0 ? 1 / d : 0;
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

void mxfp4_encode(const float *restrict src, uint8_t *restrict dst, size_t n_blocks) {
    BLOCKS_OF(mxfp4_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++, src += SMALL_BLOCK) {
        float most = largest_magnitude(src, SMALL_BLOCK);
        /* Two below the largest exponent, because the largest value is 6 = 1.5 * 2^2. */
        float exponent = most > 0 ? floorf(log2f(most)) + 125 : 0;
        b->exponent = (uint8_t)whole_part(exponent, 254);
        float scale = e8m0_widen_halved(b->exponent);
        for (unsigned j = 0; j < 16; j++)
            b->nibbles[j] = (uint8_t)(nearest_mxfp4(src[j], scale) | nearest_mxfp4(src[j + 16], scale) << 4);
    }
}
