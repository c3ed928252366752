/* Encoders whose scale is found by a formula: 32 elements to a block, Q8_K, and the ternary types. */
#include "formats/blocks/encode_parts.h"

#define BLOCKS_OF(type, dst) type *restrict b = (type *)(dst)

static float inverse_of(float d) { return d != 0 ? 1.0f / d : 0.0f; }

/* The levels of 32 numbers when the extreme is to be level 0 of 2 * half; half is added. */
static float symmetric_levels(const float *x, int half, uint8_t q[32]) {
    float d = extreme(x, SMALL_BLOCK) / (float)-half, inverse = inverse_of(d);
    for (unsigned j = 0; j < SMALL_BLOCK; j++)
        q[j] = (uint8_t)whole_part(x[j] * inverse + ((float)half + 0.5f), 2 * half - 1);
    return d;
}

/* The levels of 32 numbers from their minimum, level 0, to their maximum, level top. */
static float range_levels(const float *x, int top, float *min, uint8_t q[32]) {
    float low = 0x1.fffffep127f, high = -0x1.fffffep127f;
    for (unsigned j = 0; j < SMALL_BLOCK; j++) {
        if (x[j] < low) low = x[j];
        if (x[j] > high) high = x[j];
    }
    float d = (high - low) / (float)top, inverse = inverse_of(d);
    for (unsigned j = 0; j < SMALL_BLOCK; j++) q[j] = (uint8_t)whole_part((x[j] - low) * inverse + 0.5f, top);
    *min = low;
    return d;
}

static void nibbles_put(const uint8_t q[32], uint8_t nibbles[16]) {
    for (unsigned j = 0; j < 16; j++) nibbles[j] = (uint8_t)((q[j] & 15) | (q[j + 16] & 15) << 4);
}

static void fifth_bits_put(const uint8_t q[32], uint8_t high[4]) {
    uint32_t bits = 0;
    for (unsigned j = 0; j < 32; j++) bits |= (uint32_t)(q[j] >> 4) << j;
    store32(high, bits);
}

void q4_0_encode(const float *restrict src, uint8_t *restrict dst, size_t n_blocks) {
    BLOCKS_OF(q4_0_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++, src += SMALL_BLOCK) {
        uint8_t q[32];
        store16(b->d, half_narrow(symmetric_levels(src, 8, q)));
        nibbles_put(q, b->nibbles);
    }
}

void q4_1_encode(const float *restrict src, uint8_t *restrict dst, size_t n_blocks) {
    BLOCKS_OF(q4_1_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++, src += SMALL_BLOCK) {
        uint8_t q[32];
        float min;
        store16(b->d, half_narrow(range_levels(src, 15, &min, q)));
        store16(b->min, half_narrow(min));
        nibbles_put(q, b->nibbles);
    }
}

void q5_0_encode(const float *restrict src, uint8_t *restrict dst, size_t n_blocks) {
    BLOCKS_OF(q5_0_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++, src += SMALL_BLOCK) {
        uint8_t q[32];
        store16(b->d, half_narrow(symmetric_levels(src, 16, q)));
        nibbles_put(q, b->nibbles);
        fifth_bits_put(q, b->high);
    }
}

void q5_1_encode(const float *restrict src, uint8_t *restrict dst, size_t n_blocks) {
    BLOCKS_OF(q5_1_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++, src += SMALL_BLOCK) {
        uint8_t q[32];
        float min;
        store16(b->d, half_narrow(range_levels(src, 31, &min, q)));
        store16(b->min, half_narrow(min));
        nibbles_put(q, b->nibbles);
        fifth_bits_put(q, b->high);
    }
}

void q8_0_encode(const float *restrict src, uint8_t *restrict dst, size_t n_blocks) {
    BLOCKS_OF(q8_0_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++, src += SMALL_BLOCK) {
        float d = largest_magnitude(src, SMALL_BLOCK) / 127, inverse = inverse_of(d);
        store16(b->d, half_narrow(d));
        for (unsigned j = 0; j < SMALL_BLOCK; j++) b->q[j] = (uint8_t)nearest_away(src[j] * inverse, 127);
    }
}

void q8_k_encode(const float *restrict src, uint8_t *restrict dst, size_t n_blocks) {
    BLOCKS_OF(q8_k_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++, src += SUPER_BLOCK) {
        float max = extreme(src, SUPER_BLOCK);
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

void tq1_0_encode(const float *restrict src, uint8_t *restrict dst, size_t n_blocks) {
    BLOCKS_OF(tq1_0_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++, src += SUPER_BLOCK) {
        float d = largest_magnitude(src, SUPER_BLOCK), inverse = inverse_of(d);
        store16(b->d, half_narrow(d));
        for (unsigned j = 0; j < 32; j++) b->trits[j] = trits_put(src + j, 5, 32, inverse);
        for (unsigned j = 0; j < 16; j++) b->trits[32 + j] = trits_put(src + 160 + j, 5, 16, inverse);
        for (unsigned j = 0; j < 4; j++) b->tail[j] = trits_put(src + 240 + j, 4, 4, inverse);
    }
}

void tq2_0_encode(const float *restrict src, uint8_t *restrict dst, size_t n_blocks) {
    BLOCKS_OF(tq2_0_block, dst);
    for (size_t i = 0; i < n_blocks; i++, b++, src += SUPER_BLOCK) {
        float d = largest_magnitude(src, SUPER_BLOCK), inverse = inverse_of(d);
        store16(b->d, half_narrow(d));
        for (unsigned j = 0; j < 64; j++) {
            const float *x = src + j / 32 * 128 + j % 32;
            unsigned q = 0;
            for (unsigned k = 0; k < 4; k++) q |= (unsigned)(nearest_away(x[32 * k] * inverse, 1) + 1) << 2 * k;
            b->q[j] = (uint8_t)q;
        }
    }
}
