/* Eight rows of eight floats transposed in registers, for AVX2 and what has more. */
#ifndef MATH_TRANSPOSE_AVX2_H
#define MATH_TRANSPOSE_AVX2_H

#include <immintrin.h>
#include <stddef.h>

#include "math/lanes.h"

/* y[j * rows + i] = x[i * cols + j], i, j < 8: pairs, then pairs of pairs, then halves. */
LANE void transpose_8x8(float *y, size_t rows, const float *x, size_t cols) {
    __m256 r[8], t[8];
    UNROLL
    for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(x + (size_t)i * cols);
    UNROLL
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    UNROLL
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(y + (size_t)i * rows, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(y + (size_t)(i + 4) * rows, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}

#endif
