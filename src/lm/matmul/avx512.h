/* What the AVX-512 files share. */
#ifndef LM_MATMUL_AVX512_H
#define LM_MATMUL_AVX512_H

#include <immintrin.h>

#include "lm/matmul/parts.h"

#define VNNI_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define VNNI_INLINE VNNI_TARGET static inline __attribute__((always_inline))

#define FIRST16(n) ((__mmask16)(0xffffu >> (16 - (n)))) /* n in 1..16 */

PITH_INLINE int int_at(const void *p) {
    int n;
    memcpy(&n, p, 4);
    return n;
}

/* Dword k of vector r becomes dword r of vector k. */
PITH_INLINE void transpose16(__m512i a[16]) {
    __m512i b[16];
#pragma GCC unroll 8
    for (int r = 0; r < 16; r += 2) {
        b[r] = _mm512_unpacklo_epi32(a[r], a[r + 1]);
        b[r + 1] = _mm512_unpackhi_epi32(a[r], a[r + 1]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < 16; r += 4) {
        a[r] = _mm512_unpacklo_epi64(b[r], b[r + 2]);
        a[r + 1] = _mm512_unpackhi_epi64(b[r], b[r + 2]);
        a[r + 2] = _mm512_unpacklo_epi64(b[r + 1], b[r + 3]);
        a[r + 3] = _mm512_unpackhi_epi64(b[r + 1], b[r + 3]);
    }
    /* a[4q + i], 128-bit lane l: dword 4l + i of vectors 4q..4q+3 */
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        b[i] = _mm512_shuffle_i32x4(a[i], a[4 + i], 0x88);
        b[4 + i] = _mm512_shuffle_i32x4(a[i], a[4 + i], 0xdd);
        b[8 + i] = _mm512_shuffle_i32x4(a[8 + i], a[12 + i], 0x88);
        b[12 + i] = _mm512_shuffle_i32x4(a[8 + i], a[12 + i], 0xdd);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        a[i] = _mm512_shuffle_i32x4(b[i], b[8 + i], 0x88);
        a[4 + i] = _mm512_shuffle_i32x4(b[4 + i], b[12 + i], 0x88);
        a[8 + i] = _mm512_shuffle_i32x4(b[i], b[8 + i], 0xdd);
        a[12 + i] = _mm512_shuffle_i32x4(b[4 + i], b[12 + i], 0xdd);
    }
}

/* Dword i of each 128-bit lane: the sum of that lane of vector i of four. */
PITH_INLINE __m512i sum_lanes4(__m512i a, __m512i b, __m512i c, __m512i d) {
    __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

/* ---- few tokens: rows one after another, straight from their blocks ------------------------- */

typedef void matmul_rows_fn(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride, size_t row0,
                            size_t row1);
extern matmul_rows_fn matmul_rows_q8_0, matmul_rows_q4_0, matmul_rows_q4_1, matmul_rows_q5_0, matmul_rows_q5_1,
    matmul_rows_iq4_nl, matmul_rows_mxfp4, matmul_rows_q2_k, matmul_rows_q3_k, matmul_rows_q4_k, matmul_rows_q5_k,
    matmul_rows_q6_k, matmul_rows_iq4_xs, matmul_rows_tq2_0, matmul_rows_iq2_xxs, matmul_rows_iq2_xs, matmul_rows_iq2_s,
    matmul_rows_iq3_xxs, matmul_rows_iq3_s, matmul_rows_iq1_s, matmul_rows_iq1_m, matmul_rows_tq1_0;

/* matmul_rows_NAME from `some`, which takes a constant number of tokens. One function for each number:
 * in one for all the compiler keeps too many constants in registers. */
#define ROWS_FUNCTION(name, n, some, kind)                                                                             \
    VNNI_TARGET static __attribute__((noinline)) void name##_##n(                                                      \
        const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride, size_t r0, size_t rows, size_t t) {    \
        some(w, a, y, y_stride, r0, rows, t, kind, n);                                                                 \
    }
#define ROWS_FUNCTIONS(name, some, kind)                                                                               \
    ROWS_FUNCTION(name, 1, some, kind)                                                                                 \
    ROWS_FUNCTION(name, 2, some, kind)                                                                                 \
    ROWS_FUNCTION(name, 4, some, kind)                                                                                 \
    void matmul_rows_##name(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride, size_t row0,       \
                            size_t row1) {                                                                             \
        for (size_t r0 = row0; r0 < row1; r0 += 16) {                                                                  \
            size_t rows = PITH_MIN(row1 - r0, 16), t = 0;                                                              \
            for (; t + 4 <= a->n_tokens; t += 4) name##_4(w, a, y, y_stride, r0, rows, t);                             \
            for (; t + 2 <= a->n_tokens; t += 2) name##_2(w, a, y, y_stride, r0, rows, t);                             \
            if (t < a->n_tokens) name##_1(w, a, y, y_stride, r0, rows, t);                                             \
        }                                                                                                              \
    }

/* The order of the activations is then that in which the bytes come out of the blocks: */
typedef enum matmul_order {
    MATMUL_IN_ORDER,
    MATMUL_NIBBLES16, /* of 128: the first 16 of each 32, then the second 16 of each */
    MATMUL_NIBBLES32, /* of 128: parts of 32 in the order 0, 2, 1, 3 */
    MATMUL_PLANES,    /* of 256: parts of 32 in the order 0, 4, 1, 5, 2, 6, 3, 7 */
    MATMUL_TRITS      /* of 256: two parts of 16 out of the first ten and one out of the next five, in turn */
} matmul_order;

#endif
