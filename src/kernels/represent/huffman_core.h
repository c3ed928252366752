/* The two loops of the Huffman coder, compiled once for each instruction set: BMI2 shifts by any register. */
#include "kernels/represent/huffman.h"

static void rounds(const uint16_t *table, huffman_lanes *lanes, uint8_t *dst, size_t n_rounds) {
    const uint8_t *const *base = lanes->base;
    uint64_t *bit = lanes->bit;
    for (size_t r = 0; r < n_rounds; r++, dst += HUFFMAN_ROUND)
        for (unsigned s = 0; s < HUFFMAN_LANES; s++) {
            uint64_t window = load64(base[s] + (bit[s] >> 3)) >> (bit[s] & 7);
            unsigned sum = 0;
            for (unsigned k = 0; k < HUFFMAN_PER_LOAD; k++) {
                unsigned entry = table[window & (HUFFMAN_TABLE - 1)];
                window >>= entry & 63;
                sum += entry;
                dst[k * HUFFMAN_LANES + s] = (uint8_t)(entry >> 8);
            }
            bit[s] += sum & 255;
        }
}

static uint8_t *stream(const uint32_t *codes, const uint8_t *src, size_t n, size_t stride, uint8_t *dst) {
    uint64_t held = 0;
    unsigned n_held = 0;
    size_t i = 0;
    for (; i + 4 * stride < n; i += HUFFMAN_PER_LOAD * stride) {
        for (unsigned k = 0; k < HUFFMAN_PER_LOAD; k++) {
            uint32_t code = codes[src[i + k * stride]];
            held |= (uint64_t)(code & 0xFFFF) << (n_held & 63);
            n_held += code >> 16;
        }
        store64(dst, held);
        dst += n_held >> 3;
        held >>= n_held & 56;
        n_held &= 7;
    }
    for (; i < n; i += stride) {
        uint32_t code = codes[src[i]];
        held |= (uint64_t)(code & 0xFFFF) << n_held;
        n_held += code >> 16;
    }
    store64(dst, held);
    return dst + (n_held + 7) / 8;
}
