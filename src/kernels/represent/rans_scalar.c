/* Rounds of the rANS coder in plain C, the reference. */
#include "kernels/represent/rans.h"

static const uint8_t *decode(const uint32_t *table, uint32_t *states, const uint8_t *words, uint8_t *dst,
                             size_t n_rounds) {
    for (size_t r = 0; r < n_rounds; r++, dst += RANS_LANES)
        for (unsigned s = 0; s < RANS_LANES; s++) {
            uint32_t x = states[s], e = table[x & (RANS_TOTAL - 1)];
            x = (e & 0xFFF) * (x >> RANS_BITS) + (e >> 12 & 0xFFF);
            dst[s] = (uint8_t)(e >> 24);
            uint32_t low = (x - RANS_LOW) >> 31; /* no branch: it could not be foretold */
            states[s] = x << 16 * low | (load16(words) & (0u - low));
            words += 2 * low;
        }
    return words;
}

static uint8_t *encode(const rans_coder *coder, uint32_t *states, const uint8_t *src, size_t n_rounds, uint8_t *words) {
    while (n_rounds-- > 0)
        for (unsigned s = RANS_LANES; s-- > 0;)
            states[s] = rans_put(coder, src[n_rounds * RANS_LANES + s], states[s], &words);
    return words;
}

const rans_ops rans_ops_scalar = {decode, encode};
