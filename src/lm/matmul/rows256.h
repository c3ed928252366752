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

#define ROWS256_BLOCKS 48 /* of a row before the sums are added up */

typedef block_sums (*block_fn)(const uint8_t *b, block_token t);

/* `d_at` and `m_at`: bytes of the two halves in a block; d is multiplied by `d_times`. */
VNNI_INLINE void rows256(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride, size_t row0,
                         size_t row1, const block_fn dot, const size_t bytes, const size_t d_at, const size_t m_at,
                         const float d_times, const bool mins, const size_t groups) {
    for (size_t r0 = row0; r0 < row1; r0 += 16) {
        size_t rows = PITH_MIN(row1 - r0, 16);
        for (size_t t = 0; t < a->n_tokens; t++) {
            __m512 sum = _mm512_setzero_ps();
            for (size_t b0 = 0; b0 < a->n_blocks; b0 += ROWS256_BLOCKS) {
                /* Row r stands in lane r / 4 of vector r % 4, so that sum_lanes4 puts it in its place. */
                _Alignas(64) int32_t totals[ROWS256_BLOCKS][4][4][4], min_totals[ROWS256_BLOCKS][4][4][4];
                _Alignas(32) uint16_t d[ROWS256_BLOCKS][16] = {{0}}, m[ROWS256_BLOCKS][16] = {{0}};
                size_t blocks = PITH_MIN(a->n_blocks - b0, ROWS256_BLOCKS);
                for (size_t r = 0; r < rows; r++) {
                    const uint8_t *p = w->data + (r0 + r) * w->row_bytes + b0 * bytes;
                    for (size_t b = 0; b < blocks; b++, p += bytes) {
                        size_t g = t * a->n_groups + (b0 + b) * groups;
                        block_token token = {a->q + t * a->q_stride + (b0 + b) * 256, a->sums + g, a->zeros + g};
                        matmul_prefetch(p, bytes);
                        block_sums s = dot(p, token);
                        _mm_store_si128((void *)totals[b][r % 4][r / 4], to_lanes4(s.total));
                        d[b][r] = load16(p + d_at);
                        if (mins) {
                            _mm_store_si128((void *)min_totals[b][r % 4][r / 4], s.mins);
                            m[b][r] = load16(p + m_at);
                        }
                    }
                }
                for (size_t b = 0; b < blocks; b++) {
                    for (size_t r = rows; r < 16; r++) {
                        memset(totals[b][r % 4][r / 4], 0, 16);
                        memset(min_totals[b][r % 4][r / 4], 0, 16);
                    }
                    __m512 dx = _mm512_set1_ps(a->scale[t * a->n_blocks + b0 + b]);
                    __m512 df = _mm512_cvtph_ps(_mm256_load_si256((const void *)d[b]));
                    if (d_times < 1) df = _mm512_mul_ps(df, _mm512_set1_ps(d_times));
                    __m512 p = _mm512_mul_ps(_mm512_cvtepi32_ps(sum_of_rows(totals[b])), _mm512_mul_ps(df, dx));
                    if (mins) {
                        __m512i n = sum_of_rows(min_totals[b]);
                        __m512 mf = _mm512_cvtph_ps(_mm256_load_si256((const void *)m[b]));
                        p = _mm512_sub_ps(p, _mm512_mul_ps(_mm512_cvtepi32_ps(n), _mm512_mul_ps(mf, dx)));
                    }
                    sum = _mm512_add_ps(sum, p);
                }
            }
            _mm512_mask_storeu_ps(y + t * y_stride + r0, FIRST16(rows), sum);
        }
    }
}

/* matmul_rows_TYPE: the kernel of one type from its block function dot_TYPE. */
#define ROWS256(name, bytes, d_at, m_at, d_times, mins, groups)                                                        \
    VNNI_TARGET void matmul_rows_##name(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride,       \
                                        size_t row0, size_t row1) {                                                    \
        rows256(w, a, y, y_stride, row0, row1, dot_##name, bytes, d_at, m_at, d_times, mins, groups);                  \
    }

VNNI_INLINE __m512i bytes64(const void *p) { return _mm512_loadu_si512(p); }
/* 32 bytes twice. */
VNNI_INLINE __m512i bytes32_twice(const void *p) {
    return _mm512_broadcast_i64x4(_mm256_loadu_si256((const void *)p));
}
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
