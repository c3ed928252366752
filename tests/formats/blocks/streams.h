/* Pseudo-random blocks and floats, the same for whoever makes the known answers and whoever checks
 * them: 32-bit xorshift (Marsaglia 2003: 13, 17, 5) from a seed per type. */
#ifndef TESTS_FORMATS_BLOCKS_STREAMS_H
#define TESTS_FORMATS_BLOCKS_STREAMS_H

#include "formats/blocks/blocks.h"

enum { STREAM_ELEMENTS = 16384 };

static inline uint32_t stream_next(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Whole blocks of any bits, except that a block without finite scales is drawn again. */
static inline void stream_blocks(tensor_type type, uint8_t *dst) {
    const tensor_type_info *info = tensor_type_of(type);
    uint32_t state = 2463534242u + (uint32_t)type;
    for (size_t i = 0; i < STREAM_ELEMENTS / info->block; i++, dst += info->block_bytes) {
        size_t bad;
        do {
            for (size_t j = 0; j < info->block_bytes; j++) dst[j] = (uint8_t)(stream_next(&state) >> 11);
        } while (!blocks_valid(type, dst, 1, &bad));
    }
}

/* Cubes of uniform numbers, which have the long tails of weights; every seventh block of 256 is
 * zeros, small integers, all positive, or tiny. */
static inline void stream_floats(tensor_type type, float *dst) {
    uint32_t state = 362436069u + (uint32_t)type;
    for (size_t i = 0; i < STREAM_ELEMENTS; i++) {
        float u = (float)((int32_t)(stream_next(&state) >> 8) - 0x800000) * 0x1p-23f, v = u * u * u;
        switch (i / 256 % 28) {
        case 6: v = 0; break;
        case 13: v = (float)((int32_t)(stream_next(&state) >> 28) - 8); break;
        case 20: v = 1 + u; break;
        case 27: v *= 0x1p-30f; break;
        default: break;
        }
        dst[i] = v;
    }
}

/* Importance of columns: from a hundredth to a hundred, every 16th 0. */
static inline void stream_importance(float *dst, size_t n) {
    uint32_t state = 521288629u;
    for (size_t j = 0; j < n; j++) {
        float u = (float)(stream_next(&state) >> 8) * 0x1p-24f, v = u * u;
        dst[j] = j % 16 == 9 ? 0 : 0.01f + 100 * v * v;
    }
}

/* XXH3 of the floats as little-endian bytes; bytes has room for them. */
static inline uint64_t stream_hash(const float *x, uint8_t *bytes) {
    for (size_t i = 0; i < STREAM_ELEMENTS; i++) {
        uint32_t u;
        memcpy(&u, x + i, sizeof u);
        store32(bytes + 4 * i, u);
    }
    return pith_hash64(bytes, (size_t)4 * STREAM_ELEMENTS);
}

#endif
