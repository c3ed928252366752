/* Dense linear algebra for encoders, calibration and search; decoders never call it.
 *
 * Row-major floats unless it says otherwise. Uses OpenBLAS when the library is on the machine (looked for at the first
 * call, so that commands which need no algebra do not pay for it) and plain C loops when it is not: slower, the same
 * up to rounding. Calls are made from any thread; one call uses one thread unless it takes a ctx, then those of the
 * session. Memory comes from ctx. */
#ifndef MATH_DENSE_DENSE_H
#define MATH_DENSE_DENSE_H

#include "base/base.h"

/* "OpenBLAS 0.3.21 SkylakeX", or "plain C". */
const char *dense_backend(void);
/* For tests: plain C from now on. */
void dense_use_plain(bool plain);

/* c[m][n] = alpha * op(a) op(b) + beta * c; op transposes when told. lda, ldb, ldc: elements from row to row. */
void dense_gemm(bool ta, bool tb, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b,
                size_t ldb, float beta, float *c, size_t ldc);

/* ---- Gram matrices: sums of x x^T in doubles, lower triangle by rows, (i, j <= i) at i(i+1)/2 + j ---- */
#define DENSE_PACKED(n) ((n) * ((n) + 1) / 2)
/* gram += X^T X for x[n_rows][n]: products in float over few rows at a time, sums in double. Threads of ctx. */
pith_status dense_gram_add(pith_ctx *ctx, double *gram, const float *x, size_t n_rows, size_t n);
/* full[n][n], both triangles, from a packed one. */
void dense_unpack(const float *packed, size_t n, float *full);

/* ---- factorisations -------------------------------------------------------------------------------- */

/* Upper Cholesky factor U [n][n] (row-major, zeros below) of (H + damp * mean(diag H) * I)^-1 = U^T U, as GPTQ uses it:
 * the error of column j goes to later columns by U[j][k] / U[j][j]. Inputs never seen (H_jj = 0) get a diagonal of 1
 * and are listed in dead[n] (may be NULL). Raises damp tenfold, up to 1, while the factorisation fails; *used (may be
 * NULL) is what it was. PITH_E_CHECK when H is not finite or even damp = 1 fails. */
pith_status dense_cholesky_inverse(pith_ctx *ctx, const float *packed, size_t n, double damp, float *u, uint8_t *dead,
                                   double *used);
/* A = U diag(s) V^T, the r largest, for a[m][n]: u[m][r], s[r] descending, vt[r][n]. 1 <= r <= min(m, n). Exact
 * (divide and conquer); signs are fixed so that the largest of each row of vt is positive. */
pith_status dense_svd(pith_ctx *ctx, const float *a, size_t m, size_t n, size_t r, float *u, float *s, float *vt);
/* The same, randomised: oversampling 8, `power` steps (2 to 4), Halko, Martinsson, Tropp 2011. Deterministic. */
pith_status dense_svd_random(pith_ctx *ctx, const float *a, size_t m, size_t n, size_t r, unsigned power, float *u,
                             float *s, float *vt);
/* Symmetric a[n][n] (lower triangle read) = Q diag(l) Q^T: values ascending, vectors in the columns of q[n][n]. */
pith_status dense_eigen(pith_ctx *ctx, const float *a, size_t n, float *q, float *values);
/* S and S^-1 with S S^T = H (eigen: S = Q sqrt(L), values below 1e-6 of the largest raised to that). Full [n][n]. */
pith_status dense_whiten(pith_ctx *ctx, const float *packed, size_t n, float *s, float *s_inverse);
/* X with (G + eps * mean(diag G) * I) X = B for symmetric g[n][n]; b[n][k] becomes X. */
pith_status dense_solve(pith_ctx *ctx, const float *g, size_t n, double eps, float *b, size_t k);
/* diag(C (C + lambda I)^-1), ridge leverage scores, for symmetric c[n][n]. */
pith_status dense_leverage(pith_ctx *ctx, const float *c, size_t n, double lambda, float *scores);

/* Top-r singular values and left vectors of a matrix that grows by columns: add blocks one after the other (Brand
 * 2006). Rows and r are fixed at the start; the error beyond rank r is kept, in the Frobenius norm. */
typedef struct dense_growing dense_growing;
pith_status dense_growing_new(pith_ctx *ctx, size_t rows, size_t r, dense_growing **out);
pith_status dense_growing_add(pith_ctx *ctx, dense_growing *g, const float *block, size_t cols, size_t ld);
size_t dense_growing_rank(const dense_growing *g);
const float *dense_growing_values(const dense_growing *g);  /* [rank] descending */
const float *dense_growing_vectors(const dense_growing *g); /* [rows][rank] */
double dense_growing_lost(const dense_growing *g);          /* squared Frobenius norm of what is outside */
void dense_growing_free(pith_ctx *ctx, dense_growing *g);

#endif
