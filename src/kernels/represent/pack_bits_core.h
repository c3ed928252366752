/* Eight codes of `width` bits from `width` bytes, four to a load; compiled for each instruction set and each width. */
#include "kernels/represent/pack_bits.h"

PITH_INLINE void eights(const uint8_t *src, uint16_t *codes, size_t n, unsigned width) {
    const uint64_t mask = ((uint64_t)1 << width) - 1;
    for (size_t i = 0; i < n; i += 8, src += width) {
        uint64_t low = load64(src), high = load64(src + width / 2) >> 4 * (width & 1);
        for (unsigned k = 0; k < 4; k++) {
            codes[i + k] = (uint16_t)(low >> k * width & mask);
            codes[i + 4 + k] = (uint16_t)(high >> k * width & mask);
        }
    }
}

static void unpack(const uint8_t *src, uint16_t *codes, size_t n, unsigned width) {
    switch (width) {
    case 1: eights(src, codes, n, 1); break;
    case 2: eights(src, codes, n, 2); break;
    case 3: eights(src, codes, n, 3); break;
    case 4: eights(src, codes, n, 4); break;
    case 5: eights(src, codes, n, 5); break;
    case 6: eights(src, codes, n, 6); break;
    case 7: eights(src, codes, n, 7); break;
    case 8: eights(src, codes, n, 8); break;
    default: eights(src, codes, n, width); break;
    }
}
