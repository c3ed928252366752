/* Few tokens by Q2_K to Q6_K, IQ4_XS and TQ: bit fields (TQ1_0: digits of 3) to bytes in registers. */
#include "lm/matmul/rows256.h"

/* The bits of v in the places of `field`, those of w elsewhere. */
VNNI_INLINE __m512i fields(__m512i v, __m512i field, __m512i w) { return _mm512_ternarylogic_epi32(v, field, w, 0xe2); }

/* Scales and mins of 6 bits: words 0-3 and 8-11 are scales, 4-7 and 12-15 mins. */
VNNI_INLINE __m256i six_bit_words(const uint8_t *s) {
    uint64_t first = load64(s);
    uint32_t last = load32(s + 8);
    uint64_t low = first & 0x3f3f3f3f3f3f3f3fu;
    uint64_t high = (last & 0x0f0f0f0fu) | (uint64_t)(last >> 4 & 0x0f0f0f0fu) << 32;
    high |= first >> 2 & 0x3030303030303030u;
    return _mm256_cvtepu8_epi16(_mm_set_epi64x((long long)high, (long long)low));
}

/* Groups 2i and 2i + 2 of the scales, 16 words each, are those of the low nibbles. */
VNNI_INLINE block_sums dot_nibbles(const __m512i q[4], __m256i words, block_token t) {
    const __m512i first = halves_from(2);
    block_sums s;
    s.total = scaled_dot(_mm512_setzero_si512(), q[0], bytes64(t.x), groups_of(words, first, 0));
    s.total = scaled_dot(s.total, q[1], bytes64(t.x + 64), groups_of(words, first, 1));
    s.total = scaled_dot(s.total, q[2], bytes64(t.x + 128), groups_of(words, first, 8));
    s.total = scaled_dot(s.total, q[3], bytes64(t.x + 192), groups_of(words, first, 9));
    __m128i mins = _mm256_castsi256_si128(_mm256_permute4x64_epi64(words, 0x0d));
    s.mins = _mm_madd_epi16(mins, _mm_loadu_si128((const void *)t.sums));
    return s;
}

VNNI_INLINE block_sums dot_q4_k(const uint8_t *b, block_token t) {
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512i v = bytes64(b + 16), w = bytes64(b + 80);
    __m512i q[4] = {_mm512_and_si512(v, nibble), _mm512_and_si512(_mm512_srli_epi16(v, 4), nibble),
                    _mm512_and_si512(w, nibble), _mm512_and_si512(_mm512_srli_epi16(w, 4), nibble)};
    return dot_nibbles(q, six_bit_words(b + 4), t);
}

VNNI_INLINE block_sums dot_q5_k(const uint8_t *b, block_token t) {
    const __m512i nibble = _mm512_set1_epi8(15), five = _mm512_set1_epi8(31);
    /* Bit g of the high byte belongs to group g and goes to bit 4. */
    __m512i high = bytes32_twice(b + 16), v = bytes64(b + 48), w = bytes64(b + 112);
    __m512i to0 = _mm512_sllv_epi16(high, _mm512_inserti64x4(_mm512_set1_epi16(4), _mm256_set1_epi16(2), 1));
    __m512i to1 = _mm512_sllv_epi16(high, _mm512_inserti64x4(_mm512_set1_epi16(3), _mm256_set1_epi16(1), 1));
    __m512i to2 = _mm512_srlv_epi16(high, _mm512_inserti64x4(_mm512_set1_epi16(0), _mm256_set1_epi16(2), 1));
    __m512i to3 = _mm512_srlv_epi16(high, _mm512_inserti64x4(_mm512_set1_epi16(1), _mm256_set1_epi16(3), 1));
    __m512i q[4] = {
        _mm512_and_si512(fields(v, nibble, to0), five),
        _mm512_and_si512(fields(_mm512_srli_epi16(v, 4), nibble, to1), five),
        _mm512_and_si512(fields(w, nibble, to2), five),
        _mm512_and_si512(fields(_mm512_srli_epi16(w, 4), nibble, to3), five),
    };
    return dot_nibbles(q, six_bit_words(b + 4), t);
}

VNNI_INLINE block_sums dot_q6_k(const uint8_t *b, block_token t) {
    const __m512i nibble = _mm512_set1_epi8(15), six = _mm512_set1_epi8(63);
    const __m512i left = _mm512_inserti64x4(_mm512_set1_epi16(4), _mm256_set1_epi16(2), 1);
    const __m512i right = _mm512_inserti64x4(_mm512_set1_epi16(0), _mm256_set1_epi16(2), 1);
    const __m512i first = quarters_from(0, 1, 2, 3);
    __m256i scales = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(b + 192)));
    __m512i total = _mm512_setzero_si512();
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
        __m512i v = bytes64(b + 64 * half), high = bytes32_twice(b + 128 + 32 * half);
        __m512i q0 = _mm512_and_si512(fields(v, nibble, _mm512_sllv_epi16(high, left)), six);
        __m512i q1 = _mm512_and_si512(fields(_mm512_srli_epi16(v, 4), nibble, _mm512_srlv_epi16(high, right)), six);
        total = scaled_dot(total, q0, bytes64(t.x + 128 * half), groups_of(scales, first, 8 * half));
        total = scaled_dot(total, q1, bytes64(t.x + 128 * half + 64), groups_of(scales, first, 8 * half + 4));
    }
    __m256i zeros = _mm256_slli_epi32(_mm256_madd_epi16(scales, words16(t.sums)), 5);
    return (block_sums){sub_low(total, zeros), _mm_setzero_si128()};
}

VNNI_INLINE block_sums dot_q2_k(const uint8_t *b, block_token t) {
    const __m512i two = _mm512_set1_epi8(3), first = quarters_from(0, 1, 8, 9);
    __m128i s = _mm_loadu_si128((const void *)b), nibble = _mm_set1_epi8(15);
    __m256i scales = _mm256_cvtepu8_epi16(_mm_and_si128(s, nibble));
    __m256i mins = _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(s, 4), nibble));
    __m512i v = bytes64(b + 16), total = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int plane = 0; plane < 4; plane++) {
        __m512i q = _mm512_and_si512(_mm512_srli_epi16(v, (unsigned)(2 * plane)), two);
        total = scaled_dot(total, q, bytes64(t.x + 64 * plane), groups_of(scales, first, 2 * plane));
    }
    __m256i m = _mm256_madd_epi16(mins, words16(t.sums));
    return (block_sums){total, _mm_add_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1))};
}

VNNI_INLINE block_sums dot_q3_k(const uint8_t *b, block_token t) {
    const __m512i two = _mm512_set1_epi8(3), three = _mm512_set1_epi8(7), first = quarters_from(0, 1, 8, 9);
    uint64_t low = load64(b + 96);
    uint32_t top = load32(b + 104);
    uint64_t top0 = (top & 0x03030303u) | (uint64_t)(top >> 2 & 0x03030303u) << 32;
    uint64_t top1 = (top >> 4 & 0x03030303u) | (uint64_t)(top >> 6 & 0x03030303u) << 32;
    __m256i scales = _mm256_cvtepu8_epi16(_mm_set_epi64x((long long)((low >> 4 & 0x0f0f0f0f0f0f0f0fu) | top1 << 4),
                                                         (long long)((low & 0x0f0f0f0f0f0f0f0fu) | top0 << 4)));
    scales = _mm256_sub_epi16(scales, _mm256_set1_epi16(32));
    /* Bit 4 * half + plane of the mask goes to bit 2. */
    __m512i high =
        _mm512_srlv_epi16(bytes32_twice(b), _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(4), 1));
    __m512i v = bytes64(b + 32), total = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int plane = 0; plane < 4; plane++) {
        __m512i top2 = plane < 2 ? _mm512_slli_epi16(high, (unsigned)(2 - plane) & 3)
                                 : _mm512_srli_epi16(high, (unsigned)(plane - 2) & 3);
        __m512i q = fields(_mm512_srli_epi16(v, (unsigned)(2 * plane)), two, top2);
        total = scaled_dot(total, _mm512_and_si512(q, three), bytes64(t.x + 64 * plane),
                           groups_of(scales, first, 2 * plane));
    }
    __m256i zeros = _mm256_slli_epi32(_mm256_madd_epi16(scales, words16(t.sums)), 2);
    return (block_sums){sub_low(total, zeros), _mm_setzero_si128()};
}

VNNI_INLINE block_sums dot_tq2_0(const uint8_t *b, block_token t) {
    const __m512i two = _mm512_set1_epi8(3);
    __m512i v = bytes64(b), total = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int plane = 0; plane < 4; plane++) {
        __m512i q = _mm512_and_si512(_mm512_srli_epi16(v, (unsigned)(2 * plane)), two);
        total = _mm512_dpbusd_epi32(total, q, bytes64(t.x + 64 * plane));
    }
    return (block_sums){add_low(total, words16(t.zeros)), _mm_setzero_si128()};
}

/* A byte v of TQ1_0 is a fraction v / 256 in base 3: its next digit is floor(3 v / 256), what is left 3 v mod 256. Here
 * with ~v, which averages that round up make ~floor((v + floor(v / 2)) / 2): its upper two bits are those of ~digit.
 * Of 52 bytes the first 48 have five digits; the last four, with four, go through as the 16 bytes they become. */
VNNI_INLINE block_sums dot_tq1_0(const uint8_t *b, block_token t) {
    const __m512i ones = _mm512_set1_epi8(-1), three = _mm512_set1_epi8(3), two = _mm512_set1_epi8(2);
    const __m512i first48 = _mm512_maskz_mov_epi32(0xfff, three);
    const __m256i power = _mm256_setr_epi16(1, 1, 1, 1, 3, 3, 3, 3, 9, 9, 9, 9, 27, 27, 27, 27);
    __m256i tail = _mm256_cvtepu8_epi16(_mm_set1_epi32((int)load32(b + 48)));
    __m128i digits = _mm256_cvtepi16_epi8(_mm256_xor_si256(_mm256_mullo_epi16(tail, power), _mm256_set1_epi16(-1)));
    __m512i v = _mm512_xor_si512(_mm512_maskz_loadu_epi32(0xfff, b), ones), total = _mm512_setzero_si512();
#pragma GCC unroll 5
    for (int n = 0; n < 5; n++) {
        if (n == 4) v = _mm512_inserti32x4(v, digits, 3);
        __m512i less = _mm512_avg_epu8(v, _mm512_avg_epu8(v, ones));
        __m512i q = _mm512_andnot_si512(_mm512_srli_epi16(less, 6), n == 4 ? three : first48);
        total = _mm512_dpbusd_epi32(total, q, bytes64(t.x + 48 * n));
        v = _mm512_add_epi8(_mm512_add_epi8(v, v), _mm512_add_epi8(v, two));
    }
    return (block_sums){add_low(total, words16(t.zeros)), _mm_setzero_si128()};
}

/* Bytes of full range would saturate two products, so their sums of four are scaled. */
VNNI_INLINE block_sums dot_iq4_xs(const uint8_t *b, block_token t) {
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i table =
        _mm512_broadcast_i32x4(_mm_xor_si128(_mm_loadu_si128((const void *)blocks_iq4nl_values), _mm_set1_epi8(-128)));
    const __m512i lane = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    uint64_t bits = _pdep_u64(load32(b + 4), 0x0f0f0f0f0f0f0f0fu) | _pdep_u64(load16(b + 2), 0x3030303030303030u);
    __m256i scales = _mm256_sub_epi32(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)bits)), _mm256_set1_epi32(32));
    __m512i total = _mm512_zextsi256_si512(_mm256_mullo_epi32(scales, words16(t.zeros)));
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
        __m512i v = bytes64(b + 8 + 64 * half);
        __m512i low = _mm512_shuffle_epi8(table, _mm512_and_si512(v, nibble));
        __m512i high = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(v, 4), nibble));
        __m512i s = _mm512_dpbusd_epi32(_mm512_setzero_si512(), low, bytes64(t.x + 128 * half));
        s = _mm512_dpbusd_epi32(s, high, bytes64(t.x + 128 * half + 64));
        __m512i at = _mm512_add_epi32(lane, _mm512_set1_epi32(4 * half));
        s = _mm512_mullo_epi32(s, _mm512_permutexvar_epi32(at, _mm512_castsi256_si512(scales)));
        total = _mm512_add_epi32(total, s);
    }
    return (block_sums){total, _mm_setzero_si128()};
}

/* clang-format off */
/*      type    bytes d    m   d times mins groups */
ROWS256(q2_k,    84,  80, 82,  1,     true,  16)
ROWS256(q3_k,   110, 108,  0,  1,     false, 16)
ROWS256(q4_k,   144,   0,  2,  1,     true,   8)
ROWS256(q5_k,   176,   0,  2,  1,     true,   8)
ROWS256(q6_k,   210, 208,  0,  1,     false, 16)
ROWS256(iq4_xs, 136,   0,  0,  1,     false,  8)
ROWS256(tq2_0,   66,  64,  0,  1,     false,  8)
ROWS256(tq1_0,   54,  52,  0,  1,     false,  8)
/* clang-format on */
