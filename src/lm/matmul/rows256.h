/* Few tokens, blocks of 256, AVX-512: each row is read once from end to end; a block leaves a
 * vector whose lanes add up to its exact sum (and four lanes for its mins). The vectors of 16 rows
 * are then added up together, so that each lane has the sum of one row. */
#ifndef LM_MATMUL_ROWS256_H
#define LM_MATMUL_ROWS256_H

#include "lm/matmul/avx512.h"

typedef struct block_sums {
    __m512i total; /* its 16 lanes make the sum of scale * (q - zero) * x */
    __m128i mins;  /* its 4 lanes make the sum of min * x */
} block_sums;

/* What a token has for a block. */
typedef struct block_token {
    const int8_t *x;
    const int16_t *sums;  /* of groups */
    const int32_t *zeros; /* of groups */
} block_token;

/* The 16 lanes added down to 4. */
VNNI_INLINE __m128i to_lanes4(__m512i v) {
    __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

VNNI_INLINE __m512i sum_of_rows(int32_t (*v)[4][4]) {
    return sum_lanes4(_mm512_load_si512(v[0]), _mm512_load_si512(v[1]), _mm512_load_si512(v[2]),
                      _mm512_load_si512(v[3]));
}

#define ROWS256_BLOCKS 48 /* of a row, times tokens, before the sums are added up */
#define ROWS256_TOKENS 4

typedef block_sums (*block_fn)(const uint8_t *b, block_token t);

/* Row r stands in lane r / 4 of vector r % 4, so that sum_lanes4 puts it in its place. */
typedef struct row_sums {
    _Alignas(64) int32_t total[ROWS256_BLOCKS][4][4][4], mins[ROWS256_BLOCKS][4][4][4]; /* [token][block] */
    _Alignas(32) uint16_t d[ROWS256_BLOCKS][16], m[ROWS256_BLOCKS][16];                 /* [block] */
} row_sums;

PITH_INLINE uint16_t spread16(const uint8_t *p) { return (uint16_t)_pext_u64(load64(p), 0xf000f000f000f000u); }

/* What rows256 is made for: bytes of a block, where in it its halves are (d_spread: d is in the upper four bits of four
 * words), what d is multiplied by. */
typedef struct block_shape {
    block_fn dot;
    size_t bytes, d_at, m_at;
    bool d_spread;
    float d_times;
    bool mins;
    size_t groups;
} block_shape;

/* 16 rows and `tokens` tokens from t on. */
VNNI_INLINE void rows256_tokens(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride, size_t r0,
                                size_t rows, size_t t, const block_shape k, const int tokens) {
    const size_t most = ROWS256_BLOCKS / (size_t)tokens;
    row_sums s;
    __m512 sum[ROWS256_TOKENS];
#pragma GCC unroll 4
    for (int i = 0; i < tokens; i++) sum[i] = _mm512_setzero_ps();
    if (rows < 16) memset(&s, 0, sizeof s);
    for (size_t b0 = 0; b0 < a->n_blocks; b0 += most) {
        size_t blocks = PITH_MIN(a->n_blocks - b0, most);
        for (size_t r = 0; r < rows; r++) {
            const uint8_t *p = w->data + (r0 + r) * w->row_bytes + b0 * k.bytes;
            for (size_t b = 0; b < blocks; b++, p += k.bytes) {
                if (tokens == 1) matmul_prefetch(p, k.bytes);
                block_sums v[ROWS256_TOKENS];
                /* All are worked out before any is stored: so the compiler unpacks the block once. */
#pragma GCC unroll 4
                for (int i = 0; i < tokens; i++) {
                    size_t at = t + (size_t)i, g = at * a->n_groups + (b0 + b) * k.groups;
                    v[i] = k.dot(p, (block_token){a->q + at * a->q_stride + (b0 + b) * 256, a->sums + g, a->zeros + g});
                }
#pragma GCC unroll 4
                for (int i = 0; i < tokens; i++) {
                    size_t at = (size_t)i * most + b;
                    _mm_store_si128((void *)s.total[at][r % 4][r / 4], to_lanes4(v[i].total));
                    if (k.mins) _mm_store_si128((void *)s.mins[at][r % 4][r / 4], v[i].mins);
                }
                s.d[b][r] = k.d_spread ? spread16(p + k.d_at) : load16(p + k.d_at);
                if (k.mins) s.m[b][r] = load16(p + k.m_at);
            }
        }
        for (size_t b = 0; b < blocks; b++) {
            __m512 d = _mm512_cvtph_ps(_mm256_load_si256((const void *)s.d[b]));
            if (k.d_times < 1) d = _mm512_mul_ps(d, _mm512_set1_ps(k.d_times));
#pragma GCC unroll 4
            for (int i = 0; i < tokens; i++) {
                size_t at = (size_t)i * most + b;
                __m512 dx = _mm512_set1_ps(a->scale[(t + (size_t)i) * a->n_blocks + b0 + b]);
                __m512 p = _mm512_mul_ps(_mm512_cvtepi32_ps(sum_of_rows(s.total[at])), _mm512_mul_ps(d, dx));
                if (k.mins) {
                    __m512 m = _mm512_cvtph_ps(_mm256_load_si256((const void *)s.m[b]));
                    __m512i n = sum_of_rows(s.mins[at]);
                    p = _mm512_sub_ps(p, _mm512_mul_ps(_mm512_cvtepi32_ps(n), _mm512_mul_ps(m, dx)));
                }
                sum[i] = _mm512_add_ps(sum[i], p);
            }
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < tokens; i++) _mm512_mask_storeu_ps(y + (t + (size_t)i) * y_stride + r0, FIRST16(rows), sum[i]);
}

/* matmul_rows_TYPE: the kernel of one type from its block function dot_TYPE. */
#define ROWS256(name, bytes, d_at, m_at, d_times, mins, groups)                                                        \
    ROWS_FUNCTIONS(name, rows256_tokens, ((block_shape){dot_##name, bytes, d_at, m_at, false, d_times, mins, groups}))
#define ROWS256_SPREAD(name, bytes, d_at, d_times, groups)                                                             \
    ROWS_FUNCTIONS(name, rows256_tokens, ((block_shape){dot_##name, bytes, d_at, 0, true, d_times, false, groups}))

VNNI_INLINE __m512i bytes64(const void *p) { return _mm512_loadu_si512(p); }
/* 32 bytes twice. */
VNNI_INLINE __m512i bytes32_twice(const void *p) { return _mm512_broadcast_i64x4(_mm256_loadu_si256((const void *)p)); }
/* total + sum of the 64 products of u and x, each times the scale of its place among 32 words. u
 * below 128, so that two products fit 16 bits. */
VNNI_INLINE __m512i scaled_dot(__m512i total, __m512i u, __m512i x, __m512i scales) {
    return _mm512_dpwssd_epi32(total, _mm512_maddubs_epi16(u, x), scales);
}
/* Words of `v` by the index of their group: `first` for vector 0, each vector `step` further. */
VNNI_INLINE __m512i groups_of(__m256i v, __m512i first, int step) {
    return _mm512_permutexvar_epi16(_mm512_add_epi16(first, _mm512_set1_epi16((short)step)), _mm512_castsi256_si512(v));
}
/* Group indices 0 and b, 16 words each. */
VNNI_INLINE __m512i halves_from(int b) {
    return _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16((short)b), 1);
}
/* Group indices a, b, c, d, 8 words each. */
VNNI_INLINE __m512i quarters_from(int a, int b, int c, int d) {
    __m512i v = _mm512_castsi128_si512(_mm_set1_epi16((short)a));
    v = _mm512_inserti32x4(v, _mm_set1_epi16((short)b), 1);
    v = _mm512_inserti32x4(v, _mm_set1_epi16((short)c), 2);
    return _mm512_inserti32x4(v, _mm_set1_epi16((short)d), 3);
}
/* Eight lanes added into the lower half of `v`, or taken from it. */
VNNI_INLINE __m512i add_low(__m512i v, __m256i n) { return _mm512_add_epi32(v, _mm512_zextsi256_si512(n)); }
VNNI_INLINE __m512i sub_low(__m512i v, __m256i n) { return _mm512_sub_epi32(v, _mm512_zextsi256_si512(n)); }
VNNI_INLINE __m256i words16(const void *p) { return _mm256_loadu_si256((const void *)p); }

#endif
