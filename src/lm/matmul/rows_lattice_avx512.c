/* Few tokens by the lattice types: eight (or four) bytes at a time come from a table; their signs
 * are put on the activations, where they are one subtraction under a mask. */
#include "lm/matmul/rows256.h"

/* 7 bits in each byte and an eighth that makes their number even. */
VNNI_INLINE uint64_t even_signs(uint64_t bits) {
    uint64_t parity = bits ^ bits >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return bits | (parity & 0x0101010101010101u) << 7;
}

VNNI_INLINE __m512i with_signs(const int8_t *x, uint64_t signs) {
    __m512i v = bytes64(x);
    return _mm512_mask_sub_epi8(v, signs, _mm512_setzero_si512(), v);
}

#define EIGHT(grid, at)                                                                                                \
    _mm512_setr_epi64((long long)grid[at(0)], (long long)grid[at(1)], (long long)grid[at(2)], (long long)grid[at(3)], \
                      (long long)grid[at(4)], (long long)grid[at(5)], (long long)grid[at(6)], (long long)grid[at(7)])
#define PAIR(grid, i, at) (long long)((uint64_t)grid[at(i)] | (uint64_t)grid[at((i) + 1)] << 32)
#define SIXTEEN(grid, at)                                                                                              \
    _mm512_setr_epi64(PAIR(grid, 0, at), PAIR(grid, 2, at), PAIR(grid, 4, at), PAIR(grid, 6, at), PAIR(grid, 8, at),   \
                      PAIR(grid, 10, at), PAIR(grid, 12, at), PAIR(grid, 14, at))

/* 2 s + 1 of 16 nibbles s. */
VNNI_INLINE __m256i odd_nibbles(const uint8_t *p) {
    __m128i v = _mm_loadl_epi64((const void *)p), nibble = _mm_set1_epi8(15);
    v = _mm_unpacklo_epi8(_mm_and_si128(v, nibble), _mm_and_si128(_mm_srli_epi16(v, 4), nibble));
    v = _mm_or_si128(_mm_slli_epi16(v, 1), _mm_set1_epi8(1));
    return _mm256_cvtepu8_epi16(v);
}

VNNI_INLINE block_sums dot_iq2_xxs(const uint8_t *b, block_token t) {
    const __m512i first = halves_from(1);
    __m128i s = _mm512_cvtepi64_epi16(_mm512_srli_epi64(bytes64(b + 2), 60));
    __m256i scales = _mm256_castsi128_si256(_mm_or_si128(_mm_slli_epi16(s, 1), _mm_set1_epi16(1)));
    __m512i total = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const uint8_t *p = b + 2 + 16 * i;
        uint64_t signs = _pdep_u64(load32(p + 4), 0x7f7f7f7fu) | _pdep_u64(load32(p + 12), 0x7f7f7f7f00000000u);
#define AT(n) p[(n) / 4 * 8 + (n) % 4]
        __m512i u = EIGHT(blocks_iq2xxs_grid, AT);
#undef AT
        total = scaled_dot(total, u, with_signs(t.x + 64 * i, even_signs(signs)), groups_of(scales, first, 2 * i));
    }
    return (block_sums){total, _mm_setzero_si128()};
}

VNNI_INLINE block_sums dot_iq2_xs(const uint8_t *b, block_token t) {
    const __m512i first = quarters_from(0, 1, 2, 3);
    __m256i scales = odd_nibbles(b + 66);
    __m512i total = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const uint8_t *p = b + 2 + 16 * i;
        uint64_t signs = _pdep_u64(_pext_u64(load64(p), 0xfe00fe00fe00fe00u), 0x7f7f7f7fu) |
                         _pdep_u64(_pext_u64(load64(p + 8), 0xfe00fe00fe00fe00u), 0x7f7f7f7f00000000u);
#define AT(n) load16(p + 2 * (n)) & 511
        __m512i u = EIGHT(blocks_iq2xs_grid, AT);
#undef AT
        total = scaled_dot(total, u, with_signs(t.x + 64 * i, even_signs(signs)), groups_of(scales, first, 4 * i));
    }
    return (block_sums){total, _mm_setzero_si128()};
}

VNNI_INLINE block_sums dot_iq2_s(const uint8_t *b, block_token t) {
    const __m512i first = quarters_from(0, 1, 2, 3);
    __m256i scales = odd_nibbles(b + 74);
    __m512i total = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const uint8_t *p = b + 2 + 8 * i;
        unsigned high = load16(b + 66 + 2 * i);
#define AT(n) p[n] | (((n) < 4 ? high << (8 - 2 * (n)) : high >> (2 * (n) - 8)) & 0x300)
        __m512i u = EIGHT(blocks_iq2s_grid, AT);
#undef AT
        total = scaled_dot(total, u, with_signs(t.x + 64 * i, load64(b + 34 + 8 * i)), groups_of(scales, first, 4 * i));
    }
    return (block_sums){total, _mm_setzero_si128()};
}

VNNI_INLINE block_sums dot_iq3_xxs(const uint8_t *b, block_token t) {
    const __m512i first = halves_from(1);
    __m256i rest = words16(b + 66);
    __m128i s = _mm256_cvtepi32_epi16(_mm256_srli_epi32(rest, 28));
    __m256i scales = _mm256_castsi128_si256(_mm_or_si128(_mm_slli_epi16(s, 1), _mm_set1_epi16(1)));
    __m512i total = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const uint8_t *p = b + 2 + 16 * i, *r = b + 66 + 8 * i;
        uint64_t signs = _pdep_u64(load32(r), 0x7f7f7f7fu) | _pdep_u64(load32(r + 4), 0x7f7f7f7f00000000u);
#define AT(n) p[n]
        __m512i u = SIXTEEN(blocks_iq3xxs_grid, AT);
#undef AT
        total = scaled_dot(total, u, with_signs(t.x + 64 * i, even_signs(signs)), groups_of(scales, first, 2 * i));
    }
    return (block_sums){total, _mm_setzero_si128()};
}

VNNI_INLINE block_sums dot_iq3_s(const uint8_t *b, block_token t) {
    const __m512i first = halves_from(1);
    uint64_t odd = _pdep_u64(load32(b + 106), 0x1e1e1e1e1e1e1e1eu) | 0x0101010101010101u;
    __m256i scales = _mm256_castsi128_si256(_mm_cvtepu8_epi16(_mm_cvtsi64_si128((long long)odd)));
    __m512i total = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const uint8_t *p = b + 2 + 16 * i;
        unsigned high = load16(b + 66 + 2 * i);
#define AT(n) p[n] | (((n) < 8 ? high << (8 - (n)) : high >> ((n) - 8)) & 256)
        __m512i u = SIXTEEN(blocks_iq3s_grid, AT);
#undef AT
        total = scaled_dot(total, u, with_signs(t.x + 64 * i, load64(b + 74 + 8 * i)), groups_of(scales, first, 2 * i));
    }
    return (block_sums){total, _mm_setzero_si128()};
}

/* Numbers -1, 0, 1 times 8, up or down by 1, plus 9: bytes. */
VNNI_INLINE block_sums dot_iq1_s(const uint8_t *b, block_token t) {
    const __m512i first = halves_from(1);
    __m128i high = _mm_loadu_si128((const void *)(b + 34));
    __m128i s = _mm_and_si128(_mm_srli_epi16(high, 11), _mm_set1_epi16(14));
    __m256i scales = _mm256_castsi128_si256(_mm_or_si128(s, _mm_set1_epi16(1)));
    __m128i shift = _mm_sub_epi8(_mm_set1_epi8(10), _mm_and_si128(_mm_srai_epi16(high, 15), _mm_set1_epi8(2)));
    __m512i total = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const uint8_t *p = b + 2 + 8 * i;
        unsigned top0 = load16(b + 34 + 4 * i), top1 = load16(b + 36 + 4 * i);
#define AT(n) p[n] | (((n) < 4 ? top0 >> 3 * (n) : top1 >> (3 * (n) - 12)) & 7) << 8
        __m512i u = EIGHT(blocks_iq1s_grid, AT);
#undef AT
        u = _mm512_and_si512(_mm512_slli_epi16(u, 3), _mm512_set1_epi8(-8));
        u = _mm512_add_epi8(u, groups_of(_mm256_castsi128_si256(shift), first, 2 * i));
        total = scaled_dot(total, u, bytes64(t.x + 64 * i), groups_of(scales, first, 2 * i));
    }
    __m128i m = _mm_madd_epi16(_mm256_castsi256_si128(scales), _mm_loadu_si128((const void *)t.sums));
    m = _mm_add_epi32(_mm_slli_epi32(m, 3), m);
    return (block_sums){sub_low(total, _mm256_zextsi128_si256(m)), _mm_setzero_si128()};
}

/* A shift for every eight, a scale for every 16. */
VNNI_INLINE block_sums dot_iq1_m(const uint8_t *b, block_token t) {
    const __m512i first = quarters_from(0, 1, 2, 3);
    const __m256i word = _mm256_setr_epi16(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const __m256i place = _mm256_set1_epi64x(0x0009000600030000);
    __m256i s = _mm256_permutexvar_epi16(word, _mm256_castsi128_si256(_mm_loadl_epi64((const void *)(b + 48))));
    s = _mm256_and_si256(_mm256_srlv_epi16(s, place), _mm256_set1_epi16(7));
    __m256i scales = _mm256_add_epi16(_mm256_add_epi16(s, s), _mm256_set1_epi16(1));
    __m512i total = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const uint8_t *p = b + 8 * i;
        uint32_t top = load32(b + 32 + 4 * i);
#define AT(n) p[n] | (top >> 4 * (n) & 7) << 8
        __m512i u = EIGHT(blocks_iq1s_grid, AT);
#undef AT
        __mmask8 down = (__mmask8)_pext_u32(top, 0x88888888u);
        __m512i shift = _mm512_mask_blend_epi64(down, _mm512_set1_epi8(10), _mm512_set1_epi8(8));
        u = _mm512_add_epi8(_mm512_and_si512(_mm512_slli_epi16(u, 3), _mm512_set1_epi8(-8)), shift);
        total = scaled_dot(total, u, bytes64(t.x + 64 * i), groups_of(scales, first, 4 * i));
    }
    __m256i m = _mm256_madd_epi16(scales, words16(t.sums));
    m = _mm256_add_epi32(_mm256_slli_epi32(m, 3), m);
    return (block_sums){sub_low(total, m), _mm_setzero_si128()};
}

/* clang-format off */
/*      type     bytes d  m  d times mins groups */
ROWS256(iq2_xxs,  66,  0, 0, 0.125f, false,  8)
ROWS256(iq2_xs,   74,  0, 0, 0.125f, false, 16)
ROWS256(iq2_s,    82,  0, 0, 0.125f, false, 16)
ROWS256(iq3_xxs,  98,  0, 0, 0.25f,  false,  8)
ROWS256(iq3_s,   110,  0, 0, 1,      false,  8)
ROWS256(iq1_s,    50,  0, 0, 0.125f, false,  8)
ROWS256_SPREAD(iq1_m, 56, 48, 0.125f, 16)
/* clang-format on */
