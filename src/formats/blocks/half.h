/* Narrow floats widened and narrowed by integer moves and one exact addition, without branches, so
 * that loops over them vectorise. Formats: IEEE 754 binary16 and binary32, bfloat16 (the upper half
 * of a binary32), and OCP 8-bit floats E4M3 (no infinity, one NaN) and E5M2 (binary16 cut to 8 bits). */
#ifndef FORMATS_BLOCKS_HALF_H
#define FORMATS_BLOCKS_HALF_H

#include "base/base.h"

PITH_INLINE uint32_t float_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

PITH_INLINE float bits_float(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Two bytes in one move where the order allows it: compilers vectorise loops over that. */
PITH_INLINE uint16_t fetch16(const uint8_t *p) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
#else
    return load16(p);
#endif
}

PITH_INLINE void put16(uint8_t *p, uint16_t v) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(p, &v, sizeof v);
#else
    store16(p, v);
#endif
}

#define EXPONENT(e) ((uint32_t)(e) << 23) /* of a binary32 */

/* A NaN keeps sign and payload and becomes quiet, as the processors' own conversions do. */
PITH_INLINE float half_widen(uint16_t h) {
    int32_t magnitude = h & 0x7fff; /* signed comparisons are the cheap ones */
    uint32_t u = (uint32_t)magnitude << 13, wide = u + EXPONENT(127 - 15);
    wide += magnitude >= 0x7c00 ? EXPONENT(127 - 15) : 0;
    wide |= magnitude > 0x7c00 ? 0x400000 : 0;
    /* (1 + m/1024) * 2^-14 - 2^-14 is the subnormal m * 2^-24, exactly. */
    uint32_t subnormal = float_bits(bits_float(u + EXPONENT(113)) - bits_float(EXPONENT(113)));
    return bits_float((magnitude < 0x400 ? subnormal : wide) | (h & 0x8000u) << 16);
}

/* To nearest, ties to even; every NaN becomes 0x7e00 with its sign. */
PITH_INLINE uint16_t half_narrow(float f) {
    uint32_t w = float_bits(f), a = w & 0x7fffffff;
    int32_t order = (int32_t)a; /* signed comparisons are the cheap ones */
    /* A carry out of the rounded mantissa goes on into the exponent, up to infinity. */
    uint32_t normal = (a - EXPONENT(112) + 0xfff + (a >> 13 & 1)) >> 13;
    /* The last place of numbers in [0.5, 1) is 2^-24, that of subnormal halves. */
    uint32_t subnormal = float_bits(bits_float(a) + 0.5f) - EXPONENT(126);
    uint32_t h = order < (int32_t)EXPONENT(113) ? subnormal : normal;
    h = order >= (int32_t)EXPONENT(143) ? 0x7c00 : h;
    h = order > (int32_t)EXPONENT(255) ? 0x7e00 : h;
    return (uint16_t)(h | (w >> 16 & 0x8000));
}

PITH_INLINE float bfloat_widen(uint16_t h) { return bits_float((uint32_t)h << 16); }

/* To nearest, ties to even; a NaN keeps the upper part of its payload and becomes quiet. */
PITH_INLINE uint16_t bfloat_narrow(float f) {
    uint32_t w = float_bits(f);
    uint32_t rounded = (w + 0x7fff + (w >> 16 & 1)) >> 16;
    return (uint16_t)((w & 0x7fffffff) > EXPONENT(255) ? w >> 16 | 0x40 : rounded);
}

PITH_INLINE float e4m3_widen(uint8_t b) {
    uint32_t magnitude = b & 0x7fu, u = magnitude << 20;
    uint32_t subnormal = float_bits(bits_float(u + EXPONENT(121)) - bits_float(EXPONENT(121)));
    uint32_t wide = magnitude < 8 ? subnormal : magnitude == 0x7f ? 0x7fc00000 : u + EXPONENT(120);
    return bits_float(wide | (b & 0x80u) << 24);
}

PITH_INLINE float e5m2_widen(uint8_t b) { return half_widen((uint16_t)(b << 8)); }

/* 2^(e - 128): an E8M0 scale for values kept doubled (MXFP4). */
PITH_INLINE float e8m0_widen_halved(uint8_t e) { return bits_float(e < 2 ? 0x200000u << e : (uint32_t)(e - 1) << 23); }

#endif
