/* Decoders of the K and ternary types: 256 elements, in groups of 16 or 32 whose integer scales
 * share one float: q * (d * scale) - min * min_scale, each operation rounded by itself (though only
 * the difference and Q8_K can need it: the other products fit in 24 bits). */

static void q2_k_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(q2_k_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++) {
        float d = half_widen(load16(b->d)), min = half_widen(load16(b->min));
        /* Groups 8h + 2s and 8h + 2s + 1 are the bits 2s of the bytes 32h and on. */
        for (unsigned g = 0; g < 16; g++, dst += 16) {
            const uint8_t *q = b->q + g / 8 * 32 + g % 2 * 16;
            unsigned shift = g % 8 / 2 * 2;
            float group_d = d * (float)(b->scales[g] & 15), group_min = min * (float)(b->scales[g] >> 4);
            uint8_t out[16];
            bytes_store(out, fields(q, shift, 3));
            scaled_from(out, 16, group_d, -group_min, dst);
        }
    }
}

/* Group g's scale: its low nibble from the first eight bytes, two more bits from the last four. */
PITH_INLINE int q3_k_scale(const uint8_t s[12], unsigned g) {
    return (s[g % 8] >> g / 8 * 4 & 15) + (s[8 + g % 4] >> g / 4 * 2 & 3) * 16 - 32;
}

static void q3_k_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(q3_k_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++) {
        float d = half_widen(load16(b->d));
        for (unsigned g = 0; g < 16; g++, dst += 16) {
            const uint8_t *low = b->low + g / 8 * 32 + g % 2 * 16, *high = b->high + g % 2 * 16;
            unsigned shift = g % 8 / 2 * 2, bit = g / 2;
            float group_d = d * (float)q3_k_scale(b->scales, g);
            uint8_t q[16];
            bytes_store(q, less_each(fields(low, shift, 3) | fields(high, bit, 1) << 2, 4));
            scaled(q, 16, group_d, dst);
        }
    }
}

static void q4_k_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(q4_k_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++) {
        float d = half_widen(load16(b->d)), min = half_widen(load16(b->min));
        for (unsigned g = 0; g < 8; g++, dst += 32) {
            uint8_t scale, min_scale, q[32];
            k_scale_get(b->scales, g, &scale, &min_scale);
            for (unsigned j = 0; j < 32; j += 16)
                bytes_store(q + j, fields(b->nibbles + g / 2 * 32 + j, g % 2 * 4, 15));
            scaled_from(q, 32, d * (float)scale, -(min * (float)min_scale), dst);
        }
    }
}

static void q5_k_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(q5_k_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++) {
        float d = half_widen(load16(b->d)), min = half_widen(load16(b->min));
        for (unsigned g = 0; g < 8; g++, dst += 32) {
            uint8_t scale, min_scale, q[32];
            k_scale_get(b->scales, g, &scale, &min_scale);
            for (unsigned j = 0; j < 32; j += 16)
                bytes_store(q + j, fields(b->nibbles + g / 2 * 32 + j, g % 2 * 4, 15) | fields(b->high + j, g, 1) << 4);
            scaled_from(q, 32, d * (float)scale, -(min * (float)min_scale), dst);
        }
    }
}

static void q6_k_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(q6_k_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++) {
        float d = half_widen(load16(b->d));
        for (unsigned g = 0; g < 16; g++, dst += 16) {
            const uint8_t *low = b->low + g / 8 * 64 + g % 4 * 16, *high = b->high + g / 8 * 32 + g % 2 * 16;
            unsigned low_shift = g % 8 / 4 * 4, high_shift = g % 8 / 2 * 2;
            uint8_t q[16];
            bytes_store(q, less_each(fields(low, low_shift, 15) | fields(high, high_shift, 3) << 4, 32));
            scaled(q, 16, d * (float)(int8_t)b->scales[g], dst);
        }
    }
}

static void q8_k_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(q8_k_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++, dst += SUPER_BLOCK)
        scaled(b->q, SUPER_BLOCK, bits_float(load32(b->d)), dst);
}

/* Trit k of n bytes. A byte is the ceiling of 256 * number / 3^5: times 3^k it loses the first k
 * trits over its top, and the next is the whole part of three times the fraction that is left. */
PITH_INLINE void trits_decode(const uint8_t *restrict bytes, unsigned n, unsigned k, float d, float *restrict dst) {
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    for (unsigned j = 0; j < n; j++) {
        uint8_t left = (uint8_t)(bytes[j] * power[k]);
        dst[j] = (float)((left * 3 >> 8) - 1) * d;
    }
}

static void tq1_0_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(tq1_0_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++) {
        float d = half_widen(load16(b->d));
        for (unsigned k = 0; k < 5; k++, dst += 32) trits_decode(b->trits, 32, k, d, dst);
        for (unsigned k = 0; k < 5; k++, dst += 16) trits_decode(b->trits + 32, 16, k, d, dst);
        for (unsigned k = 0; k < 4; k++, dst += 4) trits_decode(b->tail, 4, k, d, dst);
    }
}

static void tq2_0_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(tq2_0_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++) {
        float d = half_widen(load16(b->d));
        for (unsigned g = 0; g < 8; g++, dst += 32) {
            uint8_t q[32];
            for (unsigned j = 0; j < 32; j += 16)
                bytes_store(q + j, less_each(fields(b->q + g / 4 * 32 + j, g % 4 * 2, 3), 1));
            scaled(q, 32, d, dst);
        }
    }
}
