/* Unsigned LEB128 numbers. */
#include "base/base.h"

size_t pith_varint_put(uint8_t *p, uint64_t v) {
    size_t n = 0;
    for (; v >= 0x80; v >>= 7) p[n++] = (uint8_t)(v | 0x80);
    p[n++] = (uint8_t)v;
    return n;
}

size_t pith_varint_get(const uint8_t *p, size_t n, uint64_t *v) {
    uint64_t value = 0;
    for (size_t i = 0; i < n && i < PITH_VARINT_MAX; i++) {
        if (i == 9 && p[i] > 1) return 0; /* past 64 bits */
        value |= (uint64_t)(p[i] & 0x7F) << (7 * i);
        if (p[i] < 0x80) {
            if (i > 0 && p[i] == 0) return 0; /* a shorter form exists */
            *v = value;
            return i + 1;
        }
    }
    return 0;
}
