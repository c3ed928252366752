/* AVX-512 kernels for float weights: 4 rows by 6 tokens in registers. */
#include <immintrin.h>

#include "base/base.h"
#include "formats/blocks/blocks.h"

#define FLOATS_ROWS 4
#define FLOATS_TOKENS 6
#define FLOATS_TARGET
typedef __m512 lanes;
#define LANES_ZERO _mm512_setzero_ps()
#define LANES_LOAD(x) _mm512_loadu_ps(x)
#define LANES_PART(x, n) _mm512_maskz_loadu_ps(part_mask(n), x)
#define LANES_STEP(sum, w, x) _mm512_add_ps(sum, _mm512_mul_ps(w, x))
#define LANES_TREE(sum) lanes_tree(sum)
#define LANES_WEIGHTS(p, type) weights16(p, type, 0xffff)
#define LANES_WEIGHTS_PART(p, type, n) weights16(p, type, part_mask(n))

PITH_INLINE __mmask16 part_mask(size_t n) { return (__mmask16)(0xffffu >> (16 - n)); }

PITH_INLINE __m512 weights16(const uint8_t *p, tensor_type type, __mmask16 mask) {
    if (type == TENSOR_F32) return _mm512_maskz_loadu_ps(mask, p);
    __m256i half = _mm256_maskz_loadu_epi16(mask, p);
    if (type == TENSOR_F16) return _mm512_cvtph_ps(half);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

PITH_INLINE float lanes_tree(__m512 v) {
    __m256 a = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}

#include "lm/matmul/floats.h"

void matmul_floats_avx512(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride, size_t row0,
                          size_t row1) {
    floats_rows(w, a, y, y_stride, row0, row1);
}
