/* Decoders of the IQ types: indices into a lattice of eight or four points at once, signs beside
 * them (or, for IQ1, a shift of an eighth), 256 elements in groups with small scales. */

/* The numbers of two points of eight, negated where a bit of signs is set; none is 0. */
PITH_INLINE void signed_points(uint64_t first, uint64_t second, unsigned signs, uint8_t q[16]) {
    sixteen points = {IN_ORDER(first), IN_ORDER(second)}, negative = bits_to_bytes(signs);
    bytes_store(q, (points ^ negative * 0xff) + negative);
}

/* Four signs of seven bits, and the eighths that make their numbers even. */
PITH_INLINE uint32_t signs_of(uint32_t packed) {
    return blocks_iq2_signs[packed & 127] | (uint32_t)blocks_iq2_signs[packed >> 7 & 127] << 8 |
           (uint32_t)blocks_iq2_signs[packed >> 14 & 127] << 16 | (uint32_t)blocks_iq2_signs[packed >> 21 & 127] << 24;
}

static void iq2_xxs_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(iq2_xxs_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++) {
        float d = half_widen(load16(b->d));
        for (unsigned g = 0; g < 8; g++, dst += 32) {
            const uint8_t *index = b->groups[g];
            uint32_t packed = load32(index + 4), signs = signs_of(packed);
            uint8_t q[32];
            signed_points(blocks_iq2xxs_grid[index[0]], blocks_iq2xxs_grid[index[1]], signs, q);
            signed_points(blocks_iq2xxs_grid[index[2]], blocks_iq2xxs_grid[index[3]], signs >> 16, q + 16);
            scaled(q, 32, d * (0.5f + (float)(packed >> 28)) * 0.25f, dst);
        }
    }
}

static void iq2_xs_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(iq2_xs_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++) {
        float d = half_widen(load16(b->d));
        for (unsigned g = 0; g < 16; g++, dst += 16) {
            unsigned scale = b->scales[g / 2] >> g % 2 * 4 & 15;
            unsigned first = load16(b->index + 4 * g), second = load16(b->index + 4 * g + 2);
            uint8_t q[16];
            signed_points(blocks_iq2xs_grid[first & 511], blocks_iq2xs_grid[second & 511],
                          blocks_iq2_signs[first >> 9] | (unsigned)blocks_iq2_signs[second >> 9] << 8, q);
            scaled(q, 16, d * (0.5f + (float)scale) * 0.25f, dst);
        }
    }
}

static void iq2_s_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(iq2_s_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++) {
        float d = half_widen(load16(b->d));
        for (unsigned g = 0; g < 16; g++, dst += 16) {
            unsigned scale = b->scales[g / 2] >> g % 2 * 4 & 15, high = b->high[g / 2] >> g % 2 * 4;
            unsigned first = b->index[2 * g] | (high & 3) << 8, second = b->index[2 * g + 1] | (high & 12) << 6;
            uint8_t q[16];
            signed_points(blocks_iq2s_grid[first], blocks_iq2s_grid[second], load16(b->signs + 2 * g), q);
            scaled(q, 16, d * (0.5f + (float)scale) * 0.25f, dst);
        }
    }
}

static void iq3_xxs_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(iq3_xxs_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++) {
        float d = half_widen(load16(b->d));
        const uint8_t *index = b->index;
        for (unsigned g = 0; g < 8; g++, dst += 32) {
            uint32_t packed = load32(b->groups[g]), signs = signs_of(packed);
            uint8_t q[32];
            for (unsigned k = 0; k < 2; k++, index += 4, signs >>= 16)
                signed_points(blocks_iq3xxs_grid[index[0]] | (uint64_t)blocks_iq3xxs_grid[index[1]] << 32,
                              blocks_iq3xxs_grid[index[2]] | (uint64_t)blocks_iq3xxs_grid[index[3]] << 32, signs,
                              q + 16 * k);
            scaled(q, 32, d * (0.5f + (float)(packed >> 28)) * 0.5f, dst);
        }
    }
}

/* Two points of four; each index has a ninth bit in high. */
PITH_INLINE uint64_t iq3_s_point(const uint8_t index[2], unsigned high) {
    return blocks_iq3s_grid[index[0] | (high & 1) << 8] | (uint64_t)blocks_iq3s_grid[index[1] | (high & 2) << 7] << 32;
}

static void iq3_s_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(iq3_s_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++) {
        float d = half_widen(load16(b->d));
        const uint8_t *index = b->index;
        for (unsigned g = 0; g < 8; g++, dst += 32) {
            unsigned high = b->high[g], scale = b->scales[g / 2] >> g % 2 * 4 & 15;
            uint8_t q[32];
            for (unsigned k = 0; k < 2; k++, index += 4, high >>= 4)
                signed_points(iq3_s_point(index, high), iq3_s_point(index + 2, high >> 2),
                              load16(b->signs + 4 * g + 2 * k), q + 16 * k);
            scaled(q, 32, d * (float)(1 + 2 * scale), dst);
        }
    }
}

/* Two points with numbers of -1, 0 and 1, each moved down or up by an eighth, in eighths. */
PITH_INLINE void shifted_points(uint64_t first, uint64_t second, bool first_down, bool second_down, uint8_t q[16]) {
    sixteen points = {IN_ORDER(first), IN_ORDER(second)};
    sixteen shift = {first_down ? EACH(0xff) : EACH(1), second_down ? EACH(0xff) : EACH(1)};
    points = points << 3 & EACH(0xf8);
    bytes_store(q, ((points & EACH(0x7f)) + (shift & EACH(0x7f))) ^ ((points ^ shift) & EACH(0x80)));
}

static void iq1_s_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(iq1_s_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++) {
        float d = half_widen(load16(b->d)) * 0.125f;
        for (unsigned g = 0; g < 8; g++, dst += 32) {
            unsigned high = load16(b->high + 2 * g);
            uint8_t q[32];
            for (unsigned k = 0; k < 4; k += 2)
                shifted_points(blocks_iq1s_grid[b->index[4 * g + k] | (high >> 3 * k & 7) << 8],
                               blocks_iq1s_grid[b->index[4 * g + k + 1] | (high >> (3 * k + 3) & 7) << 8], high >> 15,
                               high >> 15, q + 8 * k);
            scaled(q, 32, d * (float)(2 * (high >> 12 & 7) + 1), dst);
        }
    }
}

static void iq1_m_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(iq1_m_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++) {
        float d = half_widen(iq1_m_scale(b)) * 0.125f;
        /* Four groups' scales of three bits share a word with a piece of d. */
        for (unsigned g = 0; g < 16; g++, dst += 16) {
            unsigned high = b->high[g], scale = load16(b->scales + g / 4 * 2) >> g % 4 * 3 & 7;
            uint8_t q[16];
            shifted_points(blocks_iq1s_grid[b->index[2 * g] | (high & 7) << 8],
                           blocks_iq1s_grid[b->index[2 * g + 1] | (high & 0x70) << 4], high & 8, high & 0x80, q);
            scaled(q, 16, d * (float)(2 * scale + 1), dst);
        }
    }
}

static void iq4_xs_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(iq4_xs_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++) {
        float d = half_widen(load16(b->d));
        unsigned high = load16(b->scales_high);
        for (unsigned g = 0; g < 8; g++, dst += 32) {
            int scale = (int)((b->scales_low[g / 2] >> g % 2 * 4 & 15) | (high >> 2 * g & 3) << 4) - 32;
            levels_decode(blocks_iq4nl_values, b->nibbles + 16 * g, d * (float)scale, dst);
        }
    }
}
