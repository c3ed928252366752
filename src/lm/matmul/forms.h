/* Unpacks one block of each quantised type into bytes, whole-number scales and floats: see
 * matmul_form. Plain C, compiled once for each instruction set; MATMUL_HALF(p) reads a half
 * float at p, MATMUL_LOOKUP16(table, q, n) replaces n bytes, a multiple of 32, by those of a table of 16.
 * Layouts: ggml-org/ggml, ggml-common.h and ggml-quants.c (formats are facts). */
#ifndef LM_MATMUL_FORMS_H
#define LM_MATMUL_FORMS_H

#include "lm/matmul/parts.h"

typedef void (*matmul_unpack_fn)(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u);

/* Eight bytes, the lowest first. On little-endian machines in one piece: compilers take store64 apart
 * where several follow each other. */
PITH_INLINE void put8(uint8_t *q, uint64_t v) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(q, &v, sizeof v);
#else
    store64(q, v);
#endif
}

#define EACH_BYTE 0x0101010101010101u

/* ---- blocks of 32 ------------------------------------------------------------------------ */

static void unpack_q8_0(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u) {
    u->d = MATMUL_HALF(b);
    for (int i = 0; i < 32; i++) q[i] = b[2 + i] ^ 0x80;
}

PITH_INLINE void nibbles32(const uint8_t *restrict p, uint8_t *restrict q) {
    uint64_t a = load64(p), b = load64(p + 8);
    put8(q, a & 15 * EACH_BYTE);
    put8(q + 8, b & 15 * EACH_BYTE);
    put8(q + 16, a >> 4 & 15 * EACH_BYTE);
    put8(q + 24, b >> 4 & 15 * EACH_BYTE);
}

/* Eight bits to the lowest bits of eight bytes. */
PITH_INLINE uint64_t spread_bits(unsigned bits) {
    return ((bits * EACH_BYTE & 0x8040201008040201u) + 0x7f * EACH_BYTE) >> 7 & EACH_BYTE;
}

/* Nibbles at `low` with fifth bits at `high`. */
PITH_INLINE void fives32(const uint8_t *restrict low, const uint8_t *restrict high, uint8_t *restrict q) {
    uint64_t a = load64(low), b = load64(low + 8);
    put8(q, (a & 15 * EACH_BYTE) | spread_bits(high[0]) << 4);
    put8(q + 8, (b & 15 * EACH_BYTE) | spread_bits(high[1]) << 4);
    put8(q + 16, (a >> 4 & 15 * EACH_BYTE) | spread_bits(high[2]) << 4);
    put8(q + 24, (b >> 4 & 15 * EACH_BYTE) | spread_bits(high[3]) << 4);
}

static void unpack_q4_0(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u) {
    u->d = MATMUL_HALF(b);
    nibbles32(b + 2, q);
}

static void unpack_q4_1(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u) {
    u->d = MATMUL_HALF(b);
    u->m = MATMUL_HALF(b + 2);
    nibbles32(b + 4, q);
}

static void unpack_q5_0(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u) {
    u->d = MATMUL_HALF(b);
    fives32(b + 6, b + 2, q);
}

static void unpack_q5_1(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u) {
    u->d = MATMUL_HALF(b);
    u->m = MATMUL_HALF(b + 2);
    fives32(b + 8, b + 4, q);
}

/* The levels of IQ4_NL (blocks_iq4nl_values) plus 128. */
static const uint8_t iq4_bytes[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};

static void unpack_iq4_nl(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u) {
    u->d = MATMUL_HALF(b);
    nibbles32(b + 2, q);
    MATMUL_LOOKUP16(iq4_bytes, q, 32);
}

/* Twice the values of FP4 E2M1, plus 12; the exponent is a power of two with half its weight. */
static void unpack_mxfp4(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u) {
    static const uint8_t value[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};
    uint32_t bits = b[0] < 2 ? (uint32_t)0x200000 << b[0] : (uint32_t)(b[0] - 1) << 23;
    memcpy(&u->d, &bits, 4);
    nibbles32(b + 1, q);
    MATMUL_LOOKUP16(value, q, 32);
}

/* ---- blocks of 256 with scales of bits ----------------------------------------------------- */

static void unpack_q2_k(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u) {
    for (int i = 0; i < 16; i++) {
        u->scale[i] = b[i] & 15;
        u->min[i] = b[i] >> 4;
    }
    for (int half = 0; half < 2; half++)
        for (int plane = 0; plane < 4; plane++)
            for (int i = 0; i < 32; i++) q[half * 128 + plane * 32 + i] = b[16 + half * 32 + i] >> 2 * plane & 3;
    u->d = MATMUL_HALF(b + 80);
    u->m = MATMUL_HALF(b + 82);
}

static void unpack_q3_k(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u) {
    const uint8_t *s = b + 96;
    for (int half = 0; half < 2; half++)
        for (int plane = 0; plane < 4; plane++)
            for (int i = 0; i < 32; i++)
                q[half * 128 + plane * 32 + i] =
                    (uint8_t)((b[32 + half * 32 + i] >> 2 * plane & 3) | (b[i] >> (half * 4 + plane) & 1) << 2);
    for (int i = 0; i < 16; i++)
        u->scale[i] = (int16_t)(((i < 8 ? s[i] & 15 : s[i - 8] >> 4) | (s[8 + i % 4] >> 2 * (i / 4) & 3) << 4) - 32);
    u->d = MATMUL_HALF(b + 108);
}

/* Eight scales and eight mins of 6 bits each in 12 bytes. */
PITH_INLINE void six_bit_pairs(const uint8_t *s, matmul_scales *u) {
    for (int i = 0; i < 4; i++) {
        u->scale[i] = s[i] & 63;
        u->min[i] = s[i + 4] & 63;
        u->scale[i + 4] = (int16_t)((s[i + 8] & 15) | s[i] >> 6 << 4);
        u->min[i + 4] = (int16_t)(s[i + 8] >> 4 | s[i + 4] >> 6 << 4);
    }
}

PITH_INLINE void nibbles256(const uint8_t *restrict p, uint8_t *restrict q) {
    for (int j = 0; j < 4; j++)
        for (int i = 0; i < 32; i++) {
            q[j * 64 + i] = p[j * 32 + i] & 15;
            q[j * 64 + 32 + i] = p[j * 32 + i] >> 4;
        }
}

static void unpack_q4_k(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u) {
    u->d = MATMUL_HALF(b);
    u->m = MATMUL_HALF(b + 2);
    six_bit_pairs(b + 4, u);
    nibbles256(b + 16, q);
}

static void unpack_q5_k(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u) {
    u->d = MATMUL_HALF(b);
    u->m = MATMUL_HALF(b + 2);
    six_bit_pairs(b + 4, u);
    nibbles256(b + 48, q);
    for (int j = 0; j < 8; j++)
        for (int i = 0; i < 32; i++) q[j * 32 + i] = (uint8_t)(q[j * 32 + i] | (b[16 + i] >> j & 1) << 4);
}

static void unpack_q6_k(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u) {
    for (int half = 0; half < 2; half++) {
        const uint8_t *low = b + half * 64, *high = b + 128 + half * 32;
        uint8_t *to = q + half * 128;
        for (int i = 0; i < 32; i++) {
            to[i] = (uint8_t)((low[i] & 15) | (high[i] & 3) << 4);
            to[i + 32] = (uint8_t)((low[i + 32] & 15) | (high[i] >> 2 & 3) << 4);
            to[i + 64] = (uint8_t)(low[i] >> 4 | (high[i] >> 4 & 3) << 4);
            to[i + 96] = (uint8_t)(low[i + 32] >> 4 | high[i] >> 6 << 4);
        }
    }
    for (int i = 0; i < 16; i++) u->scale[i] = (int8_t)b[192 + i];
    u->d = MATMUL_HALF(b + 208);
}

static void unpack_iq4_xs(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u) {
    uint16_t high = load16(b + 2);
    u->d = MATMUL_HALF(b);
    for (int i = 0; i < 8; i++) {
        u->scale[i] = (int16_t)(((b[4 + i / 2] >> 4 * (i % 2) & 15) | (high >> 2 * i & 3) << 4) - 32);
        nibbles32(b + 8 + 16 * i, q + 32 * i);
    }
    MATMUL_LOOKUP16(iq4_bytes, q, 256);
}

/* ---- blocks of 256 from lattices ----------------------------------------------------------- */

/* Eight magnitudes, the lowest byte first, with a sign bit each, around zero: no byte is below 0 or
 * above 127, so that eight are worked on as one number. */
PITH_INLINE void signed_grid(uint64_t grid, unsigned signs, uint8_t zero, uint8_t *q) {
    uint64_t minus = spread_bits(signs) * 255;
    put8(q, zero * EACH_BYTE + grid - 2 * (grid & minus));
}

static void unpack_iq2_xxs(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u) {
    u->d = MATMUL_HALF(b) * 0.125f;
    for (int g = 0; g < 8; g++) {
        const uint8_t *p = b + 2 + 8 * g;
        uint32_t rest = load32(p + 4);
        u->scale[g] = (int16_t)(2 * (rest >> 28) + 1);
        for (int l = 0; l < 4; l++)
            signed_grid(blocks_iq2xxs_grid[p[l]], blocks_iq2_signs[rest >> 7 * l & 127], 43, q + 32 * g + 8 * l);
    }
}

static void unpack_iq2_xs(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u) {
    u->d = MATMUL_HALF(b) * 0.125f;
    for (int i = 0; i < 32; i += 4) {
        uint64_t codes = load64(b + 2 + 2 * i);
        for (int k = 0; k < 4; k++) {
            unsigned code = codes >> 16 * k & 0xffff;
            signed_grid(blocks_iq2xs_grid[code & 511], blocks_iq2_signs[code >> 9], 43, q + 8 * (i + k));
        }
    }
    for (int i = 0; i < 16; i++) u->scale[i] = (int16_t)(2 * (b[66 + i / 2] >> 4 * (i % 2) & 15) + 1);
}

static void unpack_iq2_s(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u) {
    u->d = MATMUL_HALF(b) * 0.125f;
    for (int g = 0; g < 8; g++) {
        unsigned high = b[66 + g];
        uint32_t low = load32(b + 2 + 4 * g), signs = load32(b + 34 + 4 * g);
        for (int k = 0; k < 4; k++) {
            unsigned code = (low >> 8 * k & 255) | (high >> 2 * k & 3) << 8;
            signed_grid(blocks_iq2s_grid[code], signs >> 8 * k & 255, 43, q + 32 * g + 8 * k);
        }
    }
    for (int i = 0; i < 16; i++) u->scale[i] = (int16_t)(2 * (b[74 + i / 2] >> 4 * (i % 2) & 15) + 1);
}

static void unpack_iq3_xxs(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u) {
    u->d = MATMUL_HALF(b) * 0.25f;
    for (int g = 0; g < 8; g++) {
        const uint8_t *p = b + 2 + 8 * g;
        uint32_t rest = load32(b + 66 + 4 * g);
        u->scale[g] = (int16_t)(2 * (rest >> 28) + 1);
        for (int l = 0; l < 4; l++) {
            uint64_t grid = blocks_iq3xxs_grid[p[2 * l]] | (uint64_t)blocks_iq3xxs_grid[p[2 * l + 1]] << 32;
            signed_grid(grid, blocks_iq2_signs[rest >> 7 * l & 127], 62, q + 32 * g + 8 * l);
        }
    }
}

static void unpack_iq3_s(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u) {
    u->d = MATMUL_HALF(b);
    for (int g = 0; g < 8; g++) {
        unsigned high = b[66 + g];
        uint64_t low = load64(b + 2 + 8 * g);
        uint32_t signs = load32(b + 74 + 4 * g);
        for (int k = 0; k < 4; k++) {
            uint64_t grid = blocks_iq3s_grid[(low >> 16 * k & 255) | (high >> 2 * k & 1) << 8];
            grid |= (uint64_t)blocks_iq3s_grid[(low >> (16 * k + 8) & 255) | (high >> (2 * k + 1) & 1) << 8] << 32;
            signed_grid(grid, signs >> 8 * k & 255, 15, q + 32 * g + 8 * k);
        }
    }
    for (int g = 0; g < 8; g++) u->scale[g] = (int16_t)(2 * (b[106 + g / 2] >> 4 * (g % 2) & 15) + 1);
}

/* Eight numbers of -1, 0 and 1, eight times as big, an eighth up or down. */
PITH_INLINE void shifted_grid(uint64_t grid, bool down, uint8_t *q) {
    uint64_t odd = (grid & EACH_BYTE) * 8, negative = (grid >> 7 & EACH_BYTE) * 16;
    put8(q, (down ? 8 * EACH_BYTE : 10 * EACH_BYTE) + odd - negative);
}

static void unpack_iq1_s(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u) {
    u->d = MATMUL_HALF(b) * 0.125f;
    for (int g = 0; g < 8; g++) {
        unsigned high = load16(b + 34 + 2 * g);
        u->scale[g] = (int16_t)(2 * (high >> 12 & 7) + 1);
        for (int l = 0; l < 4; l++)
            shifted_grid(blocks_iq1s_grid[b[2 + 4 * g + l] | (high >> 3 * l & 7) << 8], high & 0x8000,
                         q + 32 * g + 8 * l);
    }
}

static void unpack_iq1_m(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u) {
    uint8_t d[2] = {(uint8_t)(b[49] >> 4 | (b[51] & 0xf0)), (uint8_t)(b[53] >> 4 | (b[55] & 0xf0))};
    u->d = MATMUL_HALF(d) * 0.125f;
    for (int g = 0; g < 8; g++) {
        uint32_t low = load32(b + 4 * g);
        unsigned high = load16(b + 32 + 2 * g);
        for (int k = 0; k < 4; k++)
            shifted_grid(blocks_iq1s_grid[(low >> 8 * k & 255) | (high >> 4 * k & 7) << 8], high >> 4 * k & 8,
                         q + 32 * g + 8 * k);
    }
    for (int i = 0; i < 16; i++) u->scale[i] = (int16_t)(2 * (load16(b + 48 + i / 4 * 2) >> 3 * (i % 4) & 7) + 1);
}

/* ---- ternary --------------------------------------------------------------------------------- */

PITH_INLINE void unit_scales(matmul_scales *u) {
    for (int g = 0; g < 8; g++) u->scale[g] = 1;
}

static void unpack_tq1_0(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u) {
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    for (int n = 0; n < 5; n++)
        for (int i = 0; i < 32; i++) *q++ = (uint8_t)((uint8_t)(b[i] * power[n]) * 3 >> 8);
    for (int n = 0; n < 5; n++)
        for (int i = 32; i < 48; i++) *q++ = (uint8_t)((uint8_t)(b[i] * power[n]) * 3 >> 8);
    for (int n = 0; n < 4; n++)
        for (int i = 48; i < 52; i++) *q++ = (uint8_t)((uint8_t)(b[i] * power[n]) * 3 >> 8);
    unit_scales(u);
    u->d = MATMUL_HALF(b + 52);
}

static void unpack_tq2_0(const uint8_t *restrict b, uint8_t *restrict q, matmul_scales *restrict u) {
    for (int half = 0; half < 2; half++)
        for (int plane = 0; plane < 4; plane++)
            for (int i = 0; i < 32; i++) q[half * 128 + plane * 32 + i] = b[half * 32 + i] >> 2 * plane & 3;
    unit_scales(u);
    u->d = MATMUL_HALF(b + 64);
}

static inline matmul_unpack_fn unpacker(tensor_type type) {
    switch ((int)type) {
    case TENSOR_Q8_0: return unpack_q8_0;
    case TENSOR_Q4_0: return unpack_q4_0;
    case TENSOR_Q4_1: return unpack_q4_1;
    case TENSOR_Q5_0: return unpack_q5_0;
    case TENSOR_Q5_1: return unpack_q5_1;
    case TENSOR_IQ4_NL: return unpack_iq4_nl;
    case TENSOR_MXFP4: return unpack_mxfp4;
    case TENSOR_Q2_K: return unpack_q2_k;
    case TENSOR_Q3_K: return unpack_q3_k;
    case TENSOR_Q4_K: return unpack_q4_k;
    case TENSOR_Q5_K: return unpack_q5_k;
    case TENSOR_Q6_K: return unpack_q6_k;
    case TENSOR_IQ4_XS: return unpack_iq4_xs;
    case TENSOR_IQ2_XXS: return unpack_iq2_xxs;
    case TENSOR_IQ2_XS: return unpack_iq2_xs;
    case TENSOR_IQ2_S: return unpack_iq2_s;
    case TENSOR_IQ3_XXS: return unpack_iq3_xxs;
    case TENSOR_IQ3_S: return unpack_iq3_s;
    case TENSOR_IQ1_S: return unpack_iq1_s;
    case TENSOR_IQ1_M: return unpack_iq1_m;
    case TENSOR_TQ1_0: return unpack_tq1_0;
    default: return unpack_tq2_0;
    }
}

#endif
