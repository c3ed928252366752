/* Orthonormal transforms that decoders run: the same float bits on every machine (math/math.h says how). */
#ifndef MATH_TRANSFORM_TRANSFORM_H
#define MATH_TRANSFORM_TRANSFORM_H

#include "base/base.h"

/* Walsh-Hadamard, orthonormal and its own inverse, on each run of `block` (a power of two) numbers of every row of
 * x[rows][cols]; what is left at the end of a row is taken in the largest powers of two that fit. Butterflies by
 * ascending stride, then the product with 1 / sqrt(block). */
void transform_hadamard(float *x, size_t rows, size_t cols, size_t block);

/* Daubechies' wavelets, by the number of vanishing moments: 2, 4 and 8 coefficients. */
typedef enum transform_wavelet { TRANSFORM_HAAR, TRANSFORM_DB2, TRANSFORM_DB4 } transform_wavelet;
/* Along each row of x[rows][cols], or along each column, with periodic ends, orthonormal: the low half comes first and
 * is split again, `levels` times or until its length is odd. A matrix in both directions is a separable transform. */
pith_status transform_wavelet_rows(pith_ctx *ctx, transform_wavelet kind, unsigned levels, bool inverse, float *x,
                                   size_t rows, size_t cols);
pith_status transform_wavelet_cols(pith_ctx *ctx, transform_wavelet kind, unsigned levels, bool inverse, float *x,
                                   size_t rows, size_t cols);

#endif
