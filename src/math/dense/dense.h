/* Dense linear algebra for encoders, calibration and search; decoders never call it.
 *
 * Row-major floats unless it says otherwise. Uses OpenBLAS when the library is on the machine (looked for at the first
 * call, so that commands which need no algebra do not pay for it) and plain C loops when it is not, or when the
 * environment has PITH_BLAS=plain: slower, the same up to rounding. Calls are made from any thread, several at once;
 * each uses its own thread only, but dense_gram_add and dense_solve those of the session. Results do not depend on the
 * number of threads. Memory comes from ctx. */
#ifndef MATH_DENSE_DENSE_H
#define MATH_DENSE_DENSE_H

#include "base/base.h"

/* "OpenBLAS 0.3.21 SkylakeX", or "plain C". For ever the library's. */
const char *dense_backend(void);
/* For tests: plain C from now on, in all threads; false undoes it. */
void dense_use_plain(bool plain);

/* c[m][n] = alpha * op(a) op(b) + beta * c, with k terms to a sum; op transposes when told (a is [k][m] then, b is
 * [n][k]). lda, ldb, ldc: elements from row to row as they lie. c is not read when beta is 0, and overlaps neither. */
void dense_gemm(bool ta, bool tb, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b,
                size_t ldb, float beta, float *c, size_t ldc);

/* The same in doubles. */
void dense_gemm_double(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const double *a, size_t lda,
                       const double *b, size_t ldb, double beta, double *c, size_t ldc);

/* ---- Gram matrices: sums of x x^T in doubles, lower triangle by rows, (i, j <= i) at i(i+1)/2 + j ---- */
#define DENSE_PACKED(n) ((n) * ((n) + 1) / 2)
/* gram += X^T X for x[n_rows][n]: products in float over 512 rows at a time, sums in double. Threads of ctx. Every call
 * reads and writes all of gram: some hundred rows at once cost little more than one. */
pith_status dense_gram_add(pith_ctx *ctx, double *gram, const float *x, size_t n_rows, size_t n);
/* full[n][n], both triangles, from a packed one. */
void dense_unpack(const float *packed, size_t n, float *full);

/* ---- factorisations -------------------------------------------------------------------------------- */

/* Upper Cholesky factor U [n][n] (row-major, zeros below) of (H + damp * mean(diag H) * I)^-1 = U^T U, as GPTQ uses it:
 * the error of column j goes to later columns by U[j][k] / U[j][j]. Inputs never seen (H_jj = 0) are listed in dead[n]
 * (may be NULL); they touch no other input, and their diagonal is the damping alone (1e-6 of the mean at least), so
 * that an error in them costs next to nothing: 1 / U_jj^2. When nothing was seen at all, all count the same. Starts at
 * damp, 0 to 1, and raises it tenfold, up to 1, while the factorisation fails; *used (may be NULL) is what it was.
 * PITH_E_CHECK when H is not finite or even damp = 1 fails. Memory: n^2 doubles up to n = 8192, else nothing. */
pith_status dense_cholesky_inverse(pith_ctx *ctx, const float *packed, size_t n, double damp, float *u, uint8_t *dead,
                                   double *used);
/* A = U diag(s) V^T, the r largest, for a[m][n]: u[m][r], s[r] descending, vt[r][n]. 1 <= r <= min(m, n). Exact
 * (divide and conquer); signs are fixed so that the largest of each row of vt is positive. Vectors of values that are 0
 * are orthonormal to the others all the same. PITH_E_CHECK when a is not finite, here and below. */
pith_status dense_svd(pith_ctx *ctx, const float *a, size_t m, size_t n, size_t r, float *u, float *s, float *vt);
/* The same, randomised: oversampling 8, `power` steps (2 to 4), Halko, Martinsson, Tropp 2011. Deterministic. Exact
 * when r + 8 reaches min(m, n). */
pith_status dense_svd_random(pith_ctx *ctx, const float *a, size_t m, size_t n, size_t r, unsigned power, float *u,
                             float *s, float *vt);
/* Symmetric a[n][n] (lower triangle read) = Q diag(l) Q^T: values ascending, vectors in the columns of q[n][n]. */
pith_status dense_eigen(pith_ctx *ctx, const float *a, size_t n, float *q, float *values);
/* S and S^-1 with S S^T = H (eigen: S = Q sqrt(L), values below 1e-6 of the largest raised to that). Full [n][n]. H = 0
 * gives orthonormal ones. */
pith_status dense_whiten(pith_ctx *ctx, const float *packed, size_t n, float *s, float *s_inverse);
/* X with (G + eps * mean(diag G) * I) X = B for symmetric g[n][n] (lower triangle read); b[n][k] becomes X. Like damp
 * above, eps (0 to 1) is raised while it must be. Threads of ctx. */
pith_status dense_solve(pith_ctx *ctx, const float *g, size_t n, double eps, float *b, size_t k);
/* diag(C (C + lambda I)^-1), ridge leverage scores, for symmetric c[n][n] (lower triangle read), lambda > 0. */
pith_status dense_leverage(pith_ctx *ctx, const float *c, size_t n, double lambda, float *scores);

/* Top-r singular values and left vectors of a matrix A that grows by columns: add blocks one after the other (Brand
 * 2006). Rows and r <= rows are fixed at the start. `lost` is the squared Frobenius error of the approximation so far:
 * |A - U U^T A|^2 <= lost, and every singular value is within sqrt(lost) of A's, from below (Weyl). */
typedef struct dense_growing dense_growing;
pith_status dense_growing_new(pith_ctx *ctx, size_t rows, size_t r, dense_growing **out);
/* block[rows][cols], ld elements from row to row. */
pith_status dense_growing_add(pith_ctx *ctx, dense_growing *g, const float *block, size_t cols, size_t ld);
size_t dense_growing_rank(const dense_growing *g);
const float *dense_growing_values(const dense_growing *g);  /* [rank] descending */
const float *dense_growing_vectors(const dense_growing *g); /* [rows][rank] */
double dense_growing_lost(const dense_growing *g);
void dense_growing_free(pith_ctx *ctx, dense_growing *g);

#endif
