/* The loops of cache_decode.h. Whoever includes this names the table CACHE_DECODE_TABLE and says how many LANES go at
 * once in a `lanes` and how: LANES_SIGNED(p) the floats of LANES signed bytes, LANES_NIBBLES(p, shift) of their four
 * bits from `shift` on, less 8; LANES_LOAD, LANES_SET, LANES_SCALED(y, q, d) stores q * d. */
#include "lm/cache_decode.h"

static void keys8(float *restrict y, const float *restrict scale, const uint8_t *restrict q, size_t stride,
                  size_t first, size_t last, size_t n) {
    for (size_t c = first; c < last; c++, y += stride)
        for (size_t i = 0; i < n; i += LANES)
            LANES_SCALED(y + i, LANES_SIGNED(q + c * stride + i), LANES_LOAD(scale + i));
}

static void keys4(float *restrict y, const float *restrict scale, const uint8_t *restrict q, size_t stride,
                  size_t first, size_t last, size_t n) {
    for (size_t c = first; c < last; c++, y += stride) {
        const uint8_t *row = q + c % 16 * stride;
        int shift = c < 16 ? 0 : 4;
        for (size_t i = 0; i < n; i += LANES) LANES_SCALED(y + i, LANES_NIBBLES(row + i, shift), LANES_LOAD(scale + i));
    }
}

static void values8(float *restrict y, const float *restrict scale, const uint8_t *restrict q, size_t step,
                    size_t n_blocks) {
    for (size_t b = 0; b < n_blocks; b++, q += step, y += 32) {
        const lanes d = LANES_SET(scale[b]);
        for (size_t j = 0; j < 32; j += LANES) LANES_SCALED(y + j, LANES_SIGNED(q + j), d);
    }
}

static void values4(float *restrict y, const float *restrict scale, const uint8_t *restrict q, size_t step,
                    size_t n_blocks) {
    for (size_t b = 0; b < n_blocks; b++, q += step, y += 32) {
        const lanes d = LANES_SET(scale[b]);
        for (size_t j = 0; j < 16; j += LANES) LANES_SCALED(y + j, LANES_NIBBLES(q + j, 0), d);
        for (size_t j = 0; j < 16; j += LANES) LANES_SCALED(y + 16 + j, LANES_NIBBLES(q + j, 4), d);
    }
}

const cache_decode_ops CACHE_DECODE_TABLE = {keys8, keys4, values8, values4};
