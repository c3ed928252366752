/* Few tokens, blocks of 32: each row is read once from end to end, 16 blocks at a time, one exact
 * sum of a block in each lane; the products of 16 rows are then transposed, so that each lane adds
 * those of its row in order. */
#include "lm/matmul/avx512.h"

#define STEP 16 /* blocks at a time */
#define MAX_TOKENS 4
#define MAX_BLOCKS 256 /* of a row, times tokens, before the products are added up */

VNNI_INLINE __m512i load_pair(const uint8_t *a, const uint8_t *b) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const void *)a)),
                              _mm256_loadu_si256((const void *)b), 1);
}

/* Sixteen bytes of each of four blocks. */
VNNI_INLINE __m512i load_quad(const uint8_t *p, size_t stride) {
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)p));
    v = _mm512_mask_broadcast_i32x4(v, 0x00f0, _mm_loadu_si128((const void *)(p + stride)));
    v = _mm512_mask_broadcast_i32x4(v, 0x0f00, _mm_loadu_si128((const void *)(p + 2 * stride)));
    return _mm512_mask_broadcast_i32x4(v, 0xf000, _mm_loadu_si128((const void *)(p + 3 * stride)));
}

VNNI_INLINE __m512i sums_q8_0(const uint8_t *p, const int8_t *x, const bool half) {
    const __m512i flip = _mm512_set1_epi8(-128), none = _mm512_setzero_si512();
    const __m512i order = _mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
    const int n = half ? 4 : 8;
    __m512i s[8];
#pragma GCC unroll 8
    for (int i = 0; i < n; i++)
        s[i] = _mm512_dpbusd_epi32(none, _mm512_xor_si512(load_pair(p + 68 * i + 2, p + 68 * i + 36), flip),
                                   _mm512_loadu_si512(x + 64 * i));
    __m512i u = sum_lanes4(s[0], s[1], s[2], s[3]), v = half ? u : sum_lanes4(s[4], s[5], s[6], s[7]);
    u = _mm512_add_epi32(_mm512_shuffle_i32x4(u, v, 0x88), _mm512_shuffle_i32x4(u, v, 0xdd));
    return _mm512_permutexvar_epi32(order, u);
}

/* Fifth bits of four blocks whose 32 bits each stand at p: of the first or the second halves. */
VNNI_INLINE __mmask64 fifth_bits(const uint8_t *p, size_t stride, uint64_t which) {
    uint64_t low = load32(p) | (uint64_t)load32(p + stride) << 32;
    uint64_t high = load32(p + 2 * stride) | (uint64_t)load32(p + 3 * stride) << 32;
    return _pext_u64(low, which) | _pext_u64(high, which) << 32;
}

VNNI_INLINE __m512i sums_nibbles(const uint8_t *p, const int8_t *x, const tensor_type type, const size_t bytes,
                                 const bool half) {
    const __m512i nibble = _mm512_set1_epi8(15), bit = _mm512_set1_epi8(16);
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i nl =
        _mm512_broadcast_i32x4(_mm_xor_si128(_mm_loadu_si128((const void *)blocks_iq4nl_values), _mm_set1_epi8(-128)));
    const __m512i fp4 =
        _mm512_broadcast_i32x4(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    const int n = half ? 2 : 4;
    __m512i s[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
#pragma GCC unroll 4
    for (int i = 0; i < n; i++) {
        const uint8_t *b = p + 4 * bytes * (size_t)i;
        __m512i v = load_quad(b + bytes - 16, bytes);
        __m512i low = _mm512_and_si512(v, nibble), high = _mm512_and_si512(_mm512_srli_epi16(v, 4), nibble);
        if (type == TENSOR_Q5_0 || type == TENSOR_Q5_1) {
            low = _mm512_mask_add_epi8(low, fifth_bits(b + bytes - 20, bytes, 0x0000ffff0000ffffu), low, bit);
            high = _mm512_mask_add_epi8(high, fifth_bits(b + bytes - 20, bytes, 0xffff0000ffff0000u), high, bit);
        } else if (type == TENSOR_IQ4_NL || type == TENSOR_MXFP4) {
            low = _mm512_shuffle_epi8(type == TENSOR_IQ4_NL ? nl : fp4, low);
            high = _mm512_shuffle_epi8(type == TENSOR_IQ4_NL ? nl : fp4, high);
        }
        s[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), low, _mm512_loadu_si512(x + 128 * i));
        s[i] = _mm512_dpbusd_epi32(s[i], high, _mm512_loadu_si512(x + 128 * i + 64));
    }
    return _mm512_permutexvar_epi32(order, sum_lanes4(s[0], s[1], s[2], s[3]));
}

/* Halves at p, p + stride, ...: 16 of them. */
VNNI_INLINE __m512 halves(const uint8_t *p, const size_t stride) {
    uint16_t h[STEP];
#pragma GCC unroll 16
    for (size_t i = 0; i < STEP; i++) h[i] = load16(p + i * stride);
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)h));
}

/* The same for 18 bytes: eight of them lie in each 128 bytes. */
VNNI_INLINE __m512 halves18(const uint8_t *p) {
    const __m512i at = _mm512_castsi128_si512(_mm_setr_epi16(0, 9, 18, 27, 36, 45, 54, 63));
    __m512i low = _mm512_permutex2var_epi16(_mm512_loadu_si512(p), at, _mm512_loadu_si512(p + 64));
    __m512i high = _mm512_permutex2var_epi16(_mm512_loadu_si512(p + 144), at, _mm512_loadu_si512(p + 208));
    return _mm512_cvtph_ps(_mm256_inserti128_si256(_mm512_castsi512_si256(low), _mm512_castsi512_si128(high), 1));
}

/* And for 34: four of them in each 128 bytes. */
VNNI_INLINE __m512 halves34(const uint8_t *p, const bool half) {
    const __m512i at =
        _mm512_castsi256_si512(_mm256_setr_epi16(0, 17, 34, 51, 0, 17, 34, 51, 0, 17, 34, 51, 0, 17, 34, 51));
    __m512i v = _mm512_permutex2var_epi16(_mm512_loadu_si512(p), at, _mm512_loadu_si512(p + 64));
    const int n = half ? 2 : 4;
#pragma GCC unroll 3
    for (int i = 1; i < n; i++)
        v = _mm512_mask_blend_epi16(
            0xfu << 4 * i, v,
            _mm512_permutex2var_epi16(_mm512_loadu_si512(p + 136 * i), at, _mm512_loadu_si512(p + 136 * i + 64)));
    return _mm512_cvtph_ps(_mm512_castsi512_si256(v));
}

/* Half the powers of two whose exponents stand at p, p + 17, ... */
VNNI_INLINE __m512 exponents(const uint8_t *p) {
    int32_t e[STEP];
#pragma GCC unroll 16
    for (size_t i = 0; i < STEP; i++) e[i] = p[i * 17];
    __m512i v = _mm512_loadu_si512(e);
    __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(v, _mm512_set1_epi32(1)), 23);
    __m512i tiny = _mm512_sllv_epi32(_mm512_set1_epi32(0x200000), v);
    return _mm512_castsi512_ps(_mm512_mask_blend_epi32(_mm512_cmplt_epi32_mask(v, _mm512_set1_epi32(2)), normal, tiny));
}

/* The products of n <= 16 (half: 8) blocks with one token. */
VNNI_INLINE __m512 products(const uint8_t *p, const lm_activations *a, size_t t, size_t b, size_t n,
                            const tensor_type type, const size_t bytes, const bool half) {
    const int8_t *x = a->q + t * a->q_stride + b * 32;
    size_t at = t * a->n_blocks + b;
    __mmask16 present = FIRST16(n);
    __m512i s = type == TENSOR_Q8_0 ? sums_q8_0(p, x, half) : sums_nibbles(p, x, type, bytes, half);
    __m512 d = type == TENSOR_Q8_0                            ? halves34(p, half)
               : type == TENSOR_Q4_0 || type == TENSOR_IQ4_NL ? halves18(p)
               : type == TENSOR_MXFP4                         ? exponents(p)
                                                              : halves(p, bytes);
    s = _mm512_add_epi32(s, _mm512_maskz_loadu_epi32(present, a->zeros + at));
    d = _mm512_mul_ps(_mm512_cvtepi32_ps(s), _mm512_mul_ps(d, _mm512_maskz_loadu_ps(present, a->scale + at)));
    if (type != TENSOR_Q4_1 && type != TENSOR_Q5_1) return d;
    return _mm512_add_ps(d, _mm512_mul_ps(halves(p + 2, bytes), _mm512_maskz_loadu_ps(present, a->scaled_sum + at)));
}

/* Those with `tokens` tokens from t on, into product[token][0..15]. All are worked out before any is
 * stored: so the compiler unpacks the blocks once. */
VNNI_INLINE void store_products(const uint8_t *p, const lm_activations *a, size_t t, size_t b, size_t n,
                                const tensor_type type, const size_t bytes, const bool half, float *product,
                                const size_t stride, const int tokens) {
    __m512 v[MAX_TOKENS];
#pragma GCC unroll 4
    for (int i = 0; i < tokens; i++) v[i] = products(p, a, t + (size_t)i, b, n, type, bytes, half);
#pragma GCC unroll 4
    for (int i = 0; i < tokens; i++) _mm512_store_ps(product + (size_t)i * stride, v[i]);
}

typedef struct block_kind {
    tensor_type type;
    size_t bytes;
} block_kind;

/* 16 rows and `tokens` tokens from t on. */
VNNI_INLINE void rows32_tokens(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride, size_t r0,
                               size_t rows, size_t t, const block_kind k, const int tokens) {
    const tensor_type type = k.type;
    const size_t bytes = k.bytes;
    const size_t most = MAX_BLOCKS / (size_t)tokens, stride = 16 * most;
    const uint8_t *end = w->data + w->n_rows * w->row_bytes;
    _Alignas(64) float product[16 * MAX_BLOCKS]; /* [token][row][block] */
    __m512 sum[MAX_TOKENS];
#pragma GCC unroll 4
    for (int i = 0; i < tokens; i++) sum[i] = _mm512_setzero_ps();
    for (size_t b0 = 0; b0 < a->n_blocks; b0 += most) {
        size_t blocks = PITH_MIN(a->n_blocks - b0, most);
        for (size_t r = 0; r < rows; r++) {
            const uint8_t *p = w->data + (r0 + r) * w->row_bytes + b0 * bytes;
            float *to = product + r * most;
            size_t b = 0;
            for (; b + STEP <= blocks; b += STEP) {
                if (tokens == 1) matmul_prefetch(p + b * bytes, STEP * bytes);
                store_products(p + b * bytes, a, t, b0 + b, STEP, type, bytes, false, to + b, stride, tokens);
            }
            if (b == blocks) continue;
            /* What is read past the row is masked or never added; past the matrix there may be nothing. */
            uint8_t last[STEP * 34];
            const uint8_t *from = p + b * bytes;
            if ((size_t)(end - from) < sizeof last) {
                memset(last, 0, sizeof last);
                from = memcpy(last, from, (blocks - b) * bytes);
            }
            if (blocks - b <= STEP / 2)
                store_products(from, a, t, b0 + b, blocks - b, type, bytes, true, to + b, stride, tokens);
            else
                store_products(from, a, t, b0 + b, blocks - b, type, bytes, false, to + b, stride, tokens);
        }
        for (size_t b = 0; b < blocks; b += STEP) {
#pragma GCC unroll 4
            for (int i = 0; i < tokens; i++) {
                __m512i v[16];
                for (size_t r = 0; r < 16; r++)
                    v[r] = _mm512_load_si512(product + (size_t)i * stride + PITH_MIN(r, rows - 1) * most + b);
                transpose16(v);
                for (size_t n = 0; n < PITH_MIN(blocks - b, STEP); n++)
                    sum[i] = _mm512_add_ps(sum[i], _mm512_castsi512_ps(v[n]));
            }
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < tokens; i++) _mm512_mask_storeu_ps(y + (t + (size_t)i) * y_stride + r0, FIRST16(rows), sum[i]);
}

#define ROWS32(name, type, bytes) ROWS_FUNCTIONS(name, rows32_tokens, ((block_kind){type, bytes}))
ROWS32(q8_0, TENSOR_Q8_0, 34)
ROWS32(q4_0, TENSOR_Q4_0, 18)
ROWS32(q4_1, TENSOR_Q4_1, 20)
ROWS32(q5_0, TENSOR_Q5_0, 22)
ROWS32(q5_1, TENSOR_Q5_1, 24)
ROWS32(iq4_nl, TENSOR_IQ4_NL, 18)
ROWS32(mxfp4, TENSOR_MXFP4, 17)
