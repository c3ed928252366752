/* AVX2 kernels for float weights: 2 rows by 2 tokens in registers. */
#include <immintrin.h>

#include "base/base.h"
#include "formats/blocks/blocks.h"

#define FLOATS_ROWS 2
#define FLOATS_TOKENS 2
#define FLOATS_TARGET
typedef struct lanes {
    __m256 low, high;
} lanes;
#define LANES_ZERO ((lanes){_mm256_setzero_ps(), _mm256_setzero_ps()})
#define LANES_LOAD(x) ((lanes){_mm256_loadu_ps(x), _mm256_loadu_ps((x) + 8)})
#define LANES_PART(x, n) lanes_part(x, n)
#define LANES_STEP(sum, w, x) lanes_step(sum, w, x)
#define LANES_TREE(sum) lanes_tree(sum)
#define LANES_WEIGHTS(p, type) weights16(p, type)
#define LANES_WEIGHTS_PART(p, type, n) weights_part(p, type, n)

PITH_INLINE lanes lanes_part(const float *x, size_t n) {
    float part[16] = {0};
    memcpy(part, x, n * sizeof *x);
    return LANES_LOAD(part);
}

PITH_INLINE lanes lanes_step(lanes sum, lanes w, lanes x) {
    return (lanes){_mm256_add_ps(sum.low, _mm256_mul_ps(w.low, x.low)),
                   _mm256_add_ps(sum.high, _mm256_mul_ps(w.high, x.high))};
}

PITH_INLINE __m256 weights8(const uint8_t *p, tensor_type type) {
    if (type == TENSOR_F32) return _mm256_loadu_ps((const float *)(const void *)p);
    __m128i half = _mm_loadu_si128((const __m128i *)(const void *)p);
    if (type == TENSOR_F16) return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

PITH_INLINE lanes weights16(const uint8_t *p, tensor_type type) {
    return (lanes){weights8(p, type), weights8(p + (type == TENSOR_F32 ? 32 : 16), type)};
}

PITH_INLINE lanes weights_part(const uint8_t *p, tensor_type type, size_t n) {
    uint8_t part[64] = {0};
    memcpy(part, p, n * (type == TENSOR_F32 ? 4 : 2));
    return weights16(part, type);
}

PITH_INLINE float lanes_tree(lanes v) {
    __m256 a = _mm256_add_ps(v.low, v.high);
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}

#include "lm/matmul/floats.h"

void matmul_floats_avx2(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride, size_t row0,
                        size_t row1) {
    floats_rows(w, a, y, y_stride, row0, row1);
}
