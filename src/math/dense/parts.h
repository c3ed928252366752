/* What the files of dense/ share. Private. */
#ifndef MATH_DENSE_PARTS_H
#define MATH_DENSE_PARTS_H

#include "base/base.h"

/* Whether all are finite. */
bool dense_finite(const float *x, size_t n);
/* Of a lower triangle in a[n][n]. */
bool dense_finite_lower(const float *a, size_t n);

/* Lower Cholesky factor in place, a = L L^T, of the lower triangle of a[n][n]; the upper one is left as it is.
 * False when a is not positive definite. (factor.c) */
bool dense_factor(double *a, size_t n);
bool dense_factor_floats(float *a, size_t n);
/* L^-1 in place, for such an L. */
pith_status dense_invert_lower(pith_ctx *ctx, double *a, size_t n);
pith_status dense_invert_lower_floats(pith_ctx *ctx, float *a, size_t n);
/* The largest side of a square matrix that any call takes: 32 GiB of doubles. */
#define DENSE_MOST 65536
/* "NAME: no matrix of side n" unless 1 <= n <= DENSE_MOST. */
pith_status dense_check_side(pith_ctx *ctx, const char *name, size_t n);

/* Eigenvalues ascending and vectors, in the rows of a, of a full symmetric a[n][n] in plain C. work[2 * n].
 * False when the iteration does not converge (input that is not finite). (tridiagonal.c) */
bool dense_symmetric(double *a, size_t n, double *values, double *work);

/* Rows of y[count][n] become orthonormal, count <= n, spanning what they spanned and more where that was less.
 * (orthonormal.c) */
pith_status dense_orthonormal(pith_ctx *ctx, float *y, size_t count, size_t n);

/* Uniform in (-1, 1), the same everywhere. */
PITH_INLINE float dense_noise(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)(int32_t)(*state >> 33 << 1) * 0x1p-31f;
}

#endif
