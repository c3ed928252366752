/* Loops over elements and their planes, simple enough for the compiler to make vectors of them; compiled once for each
 * instruction set. */
#include "kernels/represent/planes.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define IN_ORDER 0
#else
#define IN_ORDER 1
#endif

#define ELEMENT(bits)                                                                                                  \
    PITH_INLINE uint##bits##_t get##bits(const uint8_t *p, size_t i) {                                                 \
        uint##bits##_t v = 0;                                                                                          \
        if (IN_ORDER)                                                                                                  \
            memcpy(&v, p + i * (bits / 8), bits / 8);                                                                  \
        else                                                                                                           \
            for (unsigned k = 0; k < bits / 8; k++)                                                                    \
                v = (uint##bits##_t)(v | (uint##bits##_t)((uint64_t)p[i * (bits / 8) + k] << 8 * k));                  \
        return v;                                                                                                      \
    }                                                                                                                  \
    PITH_INLINE void put##bits(uint8_t *p, size_t i, uint##bits##_t v) {                                               \
        if (IN_ORDER)                                                                                                  \
            memcpy(p + i * (bits / 8), &v, bits / 8);                                                                  \
        else                                                                                                           \
            for (unsigned k = 0; k < bits / 8; k++) p[i * (bits / 8) + k] = (uint8_t)(v >> 8 * k);                     \
    }
ELEMENT(16)
ELEMENT(32)
ELEMENT(64)

/* ---- planes ---- */

/* Of the highest 16 bits, plane 0 has the eight from bit `cut` on and plane 1 the others: 8 for integers. */
PITH_INLINE uint8_t others16(unsigned v, unsigned cut) {
    unsigned below = (1u << cut) - 1;
    return (uint8_t)((v >> 8 & ~below) | (v & below));
}

PITH_INLINE unsigned whole16(unsigned a, unsigned b, unsigned cut) {
    unsigned below = (1u << cut) - 1;
    return (b & ~below & 0xFF) << 8 | a << cut | (b & below);
}

static void split16(const uint8_t *src, size_t n, unsigned cut, uint8_t *restrict p0, uint8_t *restrict p1) {
    for (size_t i = 0; i < n; i++) {
        uint16_t v = get16(src, i);
        p0[i] = (uint8_t)(v >> cut);
        p1[i] = others16(v, cut);
    }
}

static void merge16(const uint8_t *restrict p0, const uint8_t *restrict p1, size_t n, unsigned cut,
                    uint8_t *restrict dst) {
    for (size_t i = 0; i < n; i++) put16(dst, i, (uint16_t)whole16(p0[i], p1[i], cut));
}

static void split32(const uint8_t *src, size_t n, unsigned cut, uint8_t *restrict p0, uint8_t *restrict p1,
                    uint8_t *restrict p2, uint8_t *restrict p3) {
    for (size_t i = 0; i < n; i++) {
        uint32_t v = get32(src, i);
        p0[i] = (uint8_t)(v >> 16 >> cut);
        p1[i] = others16(v >> 16, cut);
        p2[i] = (uint8_t)(v >> 8);
        p3[i] = (uint8_t)v;
    }
}

static void merge32(const uint8_t *restrict p0, const uint8_t *restrict p1, const uint8_t *restrict p2,
                    const uint8_t *restrict p3, size_t n, unsigned cut, uint8_t *restrict dst) {
    for (size_t i = 0; i < n; i++)
        put32(dst, i, (uint32_t)whole16(p0[i], p1[i], cut) << 16 | (uint32_t)p2[i] << 8 | p3[i]);
}

/* Any width: the two highest planes as of 16 bits, the others byte by byte. */
static void split(const uint8_t *src, size_t n, unsigned width, unsigned cut, uint8_t *const *planes) {
    if (width == 1) {
        if (n) memcpy(planes[0], src, n);
    } else if (width == 2) {
        split16(src, n, cut, planes[0], planes[1]);
    } else if (width == 4) {
        split32(src, n, cut, planes[0], planes[1], planes[2], planes[3]);
    } else {
        for (size_t i = 0; i < n; i++) {
            uint64_t v = get64(src, i);
            unsigned top = (unsigned)(v >> 48);
            planes[0][i] = (uint8_t)(top >> cut);
            planes[1][i] = others16(top, cut);
            for (unsigned k = 2; k < 8; k++) planes[k][i] = (uint8_t)(v >> 8 * (7 - k));
        }
    }
}

static void merge(const uint8_t *const *planes, size_t n, unsigned width, unsigned cut, uint8_t *dst) {
    if (width == 1) {
        if (n) memcpy(dst, planes[0], n);
    } else if (width == 2) {
        merge16(planes[0], planes[1], n, cut, dst);
    } else if (width == 4) {
        merge32(planes[0], planes[1], planes[2], planes[3], n, cut, dst);
    } else {
        for (size_t i = 0; i < n; i++) {
            uint64_t v = whole16(planes[0][i], planes[1][i], cut);
            for (unsigned k = 2; k < 8; k++) v = v << 8 | planes[k][i];
            put64(dst, i, v);
        }
    }
}

/* ---- differences ---- */

static void exclusive(const uint8_t *a, const uint8_t *b, size_t n, uint8_t *d) {
    for (size_t i = 0; i < n; i++) d[i] = a[i] ^ b[i];
}

/* Places in the order of numbers: negative floats, whose bits grow away from zero, are turned about. Integers modulo
 * 2^bits need nothing. Zigzag: 0, -1, 1, -2 become 0, 1, 2, 3. */
#define DIFFERENCES(bits)                                                                                              \
    PITH_INLINE uint##bits##_t ordered##bits(uint##bits##_t v, bool floats) {                                          \
        uint##bits##_t flip = (uint##bits##_t)(0 - (uint64_t)(v >> (bits - 1)));                                       \
        return floats ? (uint##bits##_t)(v ^ (uint##bits##_t)(flip >> 1)) : v;                                         \
    }                                                                                                                  \
    static void subtract##bits(const uint8_t *a, const uint8_t *b, size_t n, bool floats, uint8_t *d) {                \
        for (size_t i = 0; i < n; i++) {                                                                               \
            uint##bits##_t x = ordered##bits(get##bits(a, i), floats), y = ordered##bits(get##bits(b, i), floats);     \
            uint##bits##_t e = (uint##bits##_t)(x - y), sign = (uint##bits##_t)(e >> (bits - 1));                      \
            put##bits(d, i, (uint##bits##_t)((uint##bits##_t)(e << 1) ^ (uint##bits##_t)(0 - (uint64_t)sign)));        \
        }                                                                                                              \
    }                                                                                                                  \
    static void add##bits(const uint8_t *d, const uint8_t *b, size_t n, bool floats, uint8_t *a) {                     \
        for (size_t i = 0; i < n; i++) {                                                                               \
            uint##bits##_t z = get##bits(d, i), y = ordered##bits(get##bits(b, i), floats);                            \
            uint##bits##_t e = (uint##bits##_t)((z >> 1) ^ (uint##bits##_t)(0 - (uint64_t)(z & 1)));                   \
            put##bits(a, i, ordered##bits((uint##bits##_t)(e + y), floats));                                           \
        }                                                                                                              \
    }
PITH_INLINE uint8_t get8(const uint8_t *p, size_t i) { return p[i]; }
PITH_INLINE void put8(uint8_t *p, size_t i, uint8_t v) { p[i] = v; }
DIFFERENCES(8)
DIFFERENCES(16)
DIFFERENCES(32)
DIFFERENCES(64)

static void subtract(const uint8_t *a, const uint8_t *b, size_t n, unsigned width, bool floats, uint8_t *d) {
    switch (width) {
    case 1: subtract8(a, b, n, floats, d); break;
    case 2: subtract16(a, b, n, floats, d); break;
    case 4: subtract32(a, b, n, floats, d); break;
    default: subtract64(a, b, n, floats, d); break;
    }
}

static void add(const uint8_t *d, const uint8_t *b, size_t n, unsigned width, bool floats, uint8_t *a) {
    switch (width) {
    case 1: add8(d, b, n, floats, a); break;
    case 2: add16(d, b, n, floats, a); break;
    case 4: add32(d, b, n, floats, a); break;
    default: add64(d, b, n, floats, a); break;
    }
}
