/* Sets of sibling models held by what they have in common: a basis of tasks. Bases that matrices share are alloc_share's
 * (kernels/allocate).
 *
 * A basis of tasks (reversible model merging): T differences D_t = mean + sum over k < p of c[t][k] E_k, the best there
 * is for p matrices: c are the p first eigenvectors of the T x T Gram matrix of D_t - mean, E_k = sum over t of
 * c[t][k] (D_t - mean). p = 0 is plain merging, p = T - 1 loses nothing.
 */
#ifndef MODEL_MERGE_H
#define MODEL_MERGE_H

#include "math/dense/dense.h"

/* A difference in factors, b[rows][rank] a[rank][cols]. */
typedef struct merge_factors {
    const float *b, *a;
    size_t rank;
} merge_factors;

/* gram[n_tasks][n_tasks] of differences as they are, d[t][n], or of factored ones, without forming any matrix:
 * <B A, B' A'> = sum of (B^T B') * (A A'^T), element by element. */
void merge_gram(const float *const *d, size_t n_tasks, size_t n, double *gram);
pith_status merge_gram_factored(pith_ctx *ctx, const merge_factors *d, size_t n_tasks, size_t rows, size_t cols,
                                double *gram);
/* c[n_tasks][p] with orthonormal columns, p < n_tasks or 0. lost: the share of sum |D_t|^2 that p matrices and the mean
 * leave over. Of PITH_E_CHECK when gram is not finite. */
pith_status merge_coefficients(pith_ctx *ctx, const double *gram, size_t n_tasks, size_t p, float *c, double *lost);
/* mean[n], basis[p][n]. */
void merge_basis(const float *const *d, size_t n_tasks, size_t n, const float *c, size_t p, float *mean, float *basis);
/* out[n]: task t again. */
void merge_restore(const float *mean, const float *basis, const float *c, size_t p, size_t n, size_t t, float *out);
/* sum over t of weight[t] B_t A_t in factors of rank r at most, b[rows][r] a[r][cols]: the mean or a basis of factored
 * tasks. *kept: how many of them are not zero. */
pith_status merge_factored(pith_ctx *ctx, const merge_factors *d, const float *weight, size_t n_tasks, size_t rows,
                           size_t cols, size_t r, float *b, float *a, size_t *kept);

#endif
