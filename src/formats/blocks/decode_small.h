/* Decoders of the types with 32 elements to a block: a scale, or a scale and a minimum. */

/* 32 nibbles as bytes, less k. */
PITH_INLINE void nibbles_of(const uint8_t nibbles[16], unsigned k, uint8_t q[32]) {
    bytes_store(q, less_each(fields(nibbles, 0, 15), k));
    bytes_store(q + 16, less_each(fields(nibbles, 4, 15), k));
}

/* 32 numbers of five bits, less k. */
PITH_INLINE void five_bits_of(const uint8_t high[4], const uint8_t nibbles[16], unsigned k, uint8_t q[32]) {
    bytes_store(q, less_each(fields(nibbles, 0, 15) | bits_to_bytes(load16(high)) << 4, k));
    bytes_store(q + 16, less_each(fields(nibbles, 4, 15) | bits_to_bytes(load16(high + 2)) << 4, k));
}

#define BLOCKS_OF(type, src) const type *restrict b = (const type *)(src)

static void q4_0_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(q4_0_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++, dst += SMALL_BLOCK) {
        uint8_t q[SMALL_BLOCK];
        nibbles_of(b->nibbles, 8, q);
        scaled(q, SMALL_BLOCK, half_widen(load16(b->d)), dst);
    }
}

static void q4_1_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(q4_1_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++, dst += SMALL_BLOCK) {
        uint8_t q[SMALL_BLOCK];
        nibbles_of(b->nibbles, 0, q);
        scaled_from(q, SMALL_BLOCK, half_widen(load16(b->d)), half_widen(load16(b->min)), dst);
    }
}

static void q5_0_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(q5_0_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++, dst += SMALL_BLOCK) {
        uint8_t q[SMALL_BLOCK];
        five_bits_of(b->high, b->nibbles, 16, q);
        scaled(q, SMALL_BLOCK, half_widen(load16(b->d)), dst);
    }
}

static void q5_1_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(q5_1_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++, dst += SMALL_BLOCK) {
        uint8_t q[SMALL_BLOCK];
        five_bits_of(b->high, b->nibbles, 0, q);
        scaled_from(q, SMALL_BLOCK, half_widen(load16(b->d)), half_widen(load16(b->min)), dst);
    }
}

static void q8_0_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(q8_0_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++, dst += SMALL_BLOCK)
        scaled(b->q, SMALL_BLOCK, half_widen(load16(b->d)), dst);
}

static void q8_1_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(q8_1_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++, dst += SMALL_BLOCK)
        scaled(b->q, SMALL_BLOCK, half_widen(load16(b->d)), dst);
}

/* Nibbles that choose one of sixteen levels. */
PITH_INLINE void levels_decode(const int8_t level[16], const uint8_t nibbles[16], float d, float *restrict dst) {
    uint8_t q[SMALL_BLOCK];
    levels_of(level, nibbles, q);
    scaled(q, SMALL_BLOCK, d, dst);
}

static void mxfp4_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(mxfp4_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++, dst += SMALL_BLOCK)
        levels_decode(mxfp4_values, b->nibbles, e8m0_widen_halved(b->exponent), dst);
}

static void iq4_nl_decode(const uint8_t *restrict src, float *restrict dst, size_t n_blocks) {
    BLOCKS_OF(iq4_nl_block, src);
    for (size_t i = 0; i < n_blocks; i++, b++, dst += SMALL_BLOCK)
        levels_decode(blocks_iq4nl_values, b->nibbles, half_widen(load16(b->d)), dst);
}
