/* Inside `aq`: what is fitted, and its steps (additive_fit.c, additive_beam.c). */
#ifndef REPRESENT_ADDITIVE_H
#define REPRESENT_ADDITIVE_H

#include "kernels/represent/vectors.h"

/* W[i] ~ scale[i] * (sum of codebooks m of codebook[m][codes[m][i * groups + g]]), group by group. Rows are filled up
 * to n = groups * dim columns that cost nothing. */
typedef struct additive {
    pith_ctx *ctx;
    size_t rows, n, groups, dim, k, n_books;
    const float *gram; /* [n][n], NULL: the diagonal alone */
    float *diagonal;   /* [n] */
    float *w;          /* [rows][n] */
    float *scale;      /* [rows] */
    float *codebook;   /* [n_books][k][dim] */
    uint16_t *codes;   /* [n_books][rows * groups] */
    uint64_t random;
} additive;

/* x[rows][n] = sum of entries, times the row's scale when `scaled`. */
void additive_sum(const additive *a, const float *codebook, bool scaled, float *x);
/* y = x H for x[rows][n]. */
void additive_times_gram(const additive *a, const float *x, float *y);
/* Each codebook by k-means on what those before left of the rows over their scales. */
pith_status additive_init(additive *a, unsigned iterations);
/* Codebooks by least squares on tr(E H E^T), then scales in closed form; both rounded to halves. *loss is what remains.
 */
pith_status additive_refit(additive *a, double *loss);
/* One sweep over all groups: better codes for each, the others as they are; never worse. */
pith_status additive_beam(additive *a, size_t beam);

#endif
