/* A virtual vector of 16 floats as one AVX-512 register. */
#ifndef MATH_LANES_AVX512_H
#define MATH_LANES_AVX512_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "math/transpose_avx2.h"

#define ROWS_AT_ONCE 4
#define COLUMNS_AT_ONCE 2 /* vectors of 16, in blocks of ROWS_AT_ONCE rows */
#define COLUMNS_OF_ONE 4  /* the same for a single row */

typedef __m512 v16;
typedef __m512i i16x;
typedef __mmask16 m16;

LANE v16 v_set(float x) { return _mm512_set1_ps(x); }
LANE v16 v_load(const float *p) { return _mm512_loadu_ps(p); }
LANE void v_store(float *p, v16 x) { _mm512_storeu_ps(p, x); }
/* the first n < 16 lanes, the others 0 */
LANE v16 v_load_n(const float *p, size_t n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
LANE void v_store_n(float *p, v16 x, size_t n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), x); }
LANE v16 v_load_half(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p)); }
LANE v16 v_add(v16 x, v16 y) { return _mm512_add_ps(x, y); }
LANE v16 v_sub(v16 x, v16 y) { return _mm512_sub_ps(x, y); }
LANE v16 v_mul(v16 x, v16 y) { return _mm512_mul_ps(x, y); }
LANE v16 v_div(v16 x, v16 y) { return _mm512_div_ps(x, y); }
LANE v16 v_sqrt(v16 x) { return _mm512_sqrt_ps(x); }
LANE m16 v_less(v16 x, v16 y) { return _mm512_cmp_ps_mask(x, y, _CMP_LT_OQ); }
LANE m16 v_equal(v16 x, v16 y) { return _mm512_cmp_ps_mask(x, y, _CMP_EQ_OQ); }
LANE m16 v_is_nan(v16 x) { return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q); }
/* m ? x : y */
LANE v16 v_choose(m16 m, v16 x, v16 y) { return _mm512_mask_blend_ps(m, y, x); }
LANE i16x i_set(int x) { return _mm512_set1_epi32(x); }
LANE i16x i_bits(v16 x) { return _mm512_castps_si512(x); }
LANE v16 v_bits(i16x x) { return _mm512_castsi512_ps(x); }
LANE v16 v_from_int(i16x x) { return _mm512_cvtepi32_ps(x); }
LANE i16x i_add(i16x x, i16x y) { return _mm512_add_epi32(x, y); }
LANE i16x i_sub(i16x x, i16x y) { return _mm512_sub_epi32(x, y); }
LANE i16x i_and(i16x x, i16x y) { return _mm512_and_si512(x, y); }
LANE i16x i_or(i16x x, i16x y) { return _mm512_or_si512(x, y); }
#define i_left(x, n) _mm512_slli_epi32(x, n)
#define i_right(x, n) _mm512_srai_epi32(x, n)
/* x where m, else 0 */
LANE i16x i_keep(m16 m, i16x x) { return _mm512_maskz_mov_epi32(m, x); }
LANE float v_tree(v16 x) {
    __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

#endif
