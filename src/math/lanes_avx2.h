/* A virtual vector of 16 floats as two AVX2 registers. */
#ifndef MATH_LANES_AVX2_H
#define MATH_LANES_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "math/transpose_avx2.h"

#define ROWS_AT_ONCE 4
#define COLUMNS_AT_ONCE 1 /* vectors of 16, in blocks of ROWS_AT_ONCE rows */
#define COLUMNS_OF_ONE 4  /* the same for a single row */

typedef struct {
    __m256 a, b;
} v16;
typedef struct {
    __m256i a, b;
} i16x;
typedef struct {
    __m256 a, b;
} m16; /* all ones or all zeros per lane */

#define BOTH(type, expression_a, expression_b) ((type){expression_a, expression_b})
LANE v16 v_set(float x) { return BOTH(v16, _mm256_set1_ps(x), _mm256_set1_ps(x)); }
LANE v16 v_load(const float *p) { return BOTH(v16, _mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)); }
LANE void v_store(float *p, v16 x) {
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}
LANE __m256i lane_numbers(int from) {
    return _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(from));
}
/* the first n < 16 lanes, the others 0 */
LANE v16 v_load_n(const float *p, size_t n) {
    __m256i k = _mm256_set1_epi32((int)n);
    return BOTH(v16, _mm256_maskload_ps(p, _mm256_cmpgt_epi32(k, lane_numbers(0))),
                n > 8 ? _mm256_maskload_ps(p + 8, _mm256_cmpgt_epi32(k, lane_numbers(8))) : _mm256_setzero_ps());
}
LANE void v_store_n(float *p, v16 x, size_t n) {
    __m256i k = _mm256_set1_epi32((int)n);
    _mm256_maskstore_ps(p, _mm256_cmpgt_epi32(k, lane_numbers(0)), x.a);
    if (n > 8) _mm256_maskstore_ps(p + 8, _mm256_cmpgt_epi32(k, lane_numbers(8)), x.b);
}
LANE v16 v_load_half(const uint16_t *p) {
    return BOTH(v16, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p)),
                _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p + 8))));
}
LANE v16 v_add(v16 x, v16 y) { return BOTH(v16, _mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)); }
LANE v16 v_sub(v16 x, v16 y) { return BOTH(v16, _mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)); }
LANE v16 v_mul(v16 x, v16 y) { return BOTH(v16, _mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)); }
LANE v16 v_div(v16 x, v16 y) { return BOTH(v16, _mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)); }
LANE v16 v_sqrt(v16 x) { return BOTH(v16, _mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)); }
LANE m16 v_less(v16 x, v16 y) {
    return BOTH(m16, _mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ));
}
LANE m16 v_equal(v16 x, v16 y) {
    return BOTH(m16, _mm256_cmp_ps(x.a, y.a, _CMP_EQ_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_EQ_OQ));
}
LANE m16 v_is_nan(v16 x) {
    return BOTH(m16, _mm256_cmp_ps(x.a, x.a, _CMP_UNORD_Q), _mm256_cmp_ps(x.b, x.b, _CMP_UNORD_Q));
}
/* m ? x : y */
LANE v16 v_choose(m16 m, v16 x, v16 y) {
    return BOTH(v16, _mm256_blendv_ps(y.a, x.a, m.a), _mm256_blendv_ps(y.b, x.b, m.b));
}
LANE i16x i_set(int x) { return BOTH(i16x, _mm256_set1_epi32(x), _mm256_set1_epi32(x)); }
LANE i16x i_bits(v16 x) { return BOTH(i16x, _mm256_castps_si256(x.a), _mm256_castps_si256(x.b)); }
LANE v16 v_bits(i16x x) { return BOTH(v16, _mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)); }
LANE v16 v_from_int(i16x x) { return BOTH(v16, _mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)); }
LANE i16x i_add(i16x x, i16x y) { return BOTH(i16x, _mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)); }
LANE i16x i_sub(i16x x, i16x y) { return BOTH(i16x, _mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)); }
LANE i16x i_and(i16x x, i16x y) { return BOTH(i16x, _mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)); }
LANE i16x i_or(i16x x, i16x y) { return BOTH(i16x, _mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)); }
#define i_left(x, n) BOTH(i16x, _mm256_slli_epi32((x).a, n), _mm256_slli_epi32((x).b, n))
#define i_right(x, n) BOTH(i16x, _mm256_srai_epi32((x).a, n), _mm256_srai_epi32((x).b, n))
/* x where m, else 0 */
LANE i16x i_keep(m16 m, i16x x) {
    return BOTH(i16x, _mm256_and_si256(_mm256_castps_si256(m.a), x.a), _mm256_and_si256(_mm256_castps_si256(m.b), x.b));
}
LANE float v_tree(v16 x) {
    __m256 s8 = _mm256_add_ps(x.a, x.b);
    __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

#endif
