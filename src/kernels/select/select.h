/* select: score, then keep the best. The room's door.
 *
 * Scores of weights, rows, columns and groups of columns of a matrix W [rows][cols] = [outputs][inputs], y = W x, from
 * its values and from statistics of its inputs; masks that keep the best within a share of the cost; removal of columns
 * with the rest made to stand in for them. A neuron is a column of the matrix behind it, a head a group of columns of
 * the output projection, an expert a group of neurons. Encoder's side only. */
#ifndef SELECT_SELECT_H
#define SELECT_SELECT_H

#include "base/base.h"

/* ---- scores (score.c) ------------------------------------------------------------------------------ */

typedef enum select_rule {
    SELECT_MAGNITUDE, /* |w| */
    SELECT_WANDA,     /* |w| sqrt(h_j) (Sun et al. 2023) */
    SELECT_NOWAG,     /* |w| / (row norm, column norm) * sqrt(h_j) (S048 NoWag) */
    SELECT_OBS        /* |w| / sqrt((H^-1)_jj) (Hassibi and Stork 1993; SparseGPT) */
} select_rule;

typedef struct select_matrix {
    const float *w; /* [rows][cols] */
    size_t rows, cols;
    const float *h;               /* [cols] mean of x_j^2; NULL: 1 */
    const float *inverse_diagonal; /* [cols] of H^-1; NULL: 1 / h_j */
} select_matrix;

/* scores[rows][cols]; their squares are what removing the weight costs (up to the same factor for all). */
pith_status select_score_weights(pith_ctx *ctx, select_rule rule, const select_matrix *m, float *scores);
/* scores[cols], of the columns: roots of the sums of squares over the rows. */
pith_status select_score_columns(pith_ctx *ctx, select_rule rule, const select_matrix *m, float *scores);
/* scores[rows]. */
pith_status select_score_rows(pith_ctx *ctx, select_rule rule, const select_matrix *m, float *scores);
/* out[n / group]: roots of the sums of squares of `group` neighbours. n is a multiple of group. */
void select_score_groups(const float *scores, size_t n, size_t group, float *out);

/* How much a layer changes what passes through it: 1 - mean cosine of input and output (block influence, Men et al.
 * 2024). Zero-initialise; tokens in any number of calls. */
typedef struct select_influence {
    double cosines;
    uint64_t n_tokens;
} select_influence;
void select_influence_add(select_influence *s, const float *in, const float *out, size_t n_tokens, size_t n);
double select_influence_of(const select_influence *s); /* 0 without tokens */

/* ---- masks (mask.c) -------------------------------------------------------------------------------- */

/* mask[n] = 1 for what is kept: in each scope the highest scores per cost, as long as their costs stay within `keep`
 * (0..1) of the scope's costs, and at least `at_least` of them. scope[n] numbers from 0 to n_scopes - 1, NULL: one
 * scope; cost[n] > 0, NULL: 1 each. Equal scores: the first comes first. PITH_E_ARGUMENT for a score that is NaN. */
pith_status select_mask(pith_ctx *ctx, const float *scores, const double *cost, const uint32_t *scope, size_t n,
                        uint32_t n_scopes, double keep, size_t at_least, uint8_t *mask);
/* The n highest of each m neighbours (a row's last ones may be fewer: all of up to n stay). */
pith_status select_mask_n_of_m(pith_ctx *ctx, const float *scores, size_t rows, size_t cols, uint32_t n, uint32_t m,
                               uint8_t *mask);
/* Indices of what a mask keeps, ascending; their number. */
size_t select_indices(const uint8_t *mask, size_t n, uint32_t *indices);

/* ---- removal of columns (structured.c) ---------------------------------------------------------------- */

/* Removes groups of `group` columns one at a time, each time the group S for which
 * tr(W_S ((H^-1)_SS)^-1 W_S^T) is least, and updates W and H^-1 (S289 ZipLM: Kurtic, Frantar, Alistarh 2023).
 * gram: packed lower triangle of H (represent.h's), damp times its mean diagonal added. order[n_groups - least] gets
 * the groups as they go, losses[n_groups - least + 1] the squared error of the outputs, relative to tr(W H W^T), after
 * so many. `least` >= 1 groups stay. Takes about (rows + cols) * cols^2 / 2 products, with groups of one as products of
 * matrices that take two of cols^2 doubles. Threads of ctx. Ticks by groups. */
pith_status select_obs_order(pith_ctx *ctx, const float *w, size_t rows, size_t cols, const float *gram, double damp,
                             size_t group, size_t least, uint32_t *order, double *losses);
/* tr(W (H + added I) W^T): the mean square of the outputs, summed over them. */
pith_status select_outputs(pith_ctx *ctx, const float *w, size_t rows, size_t cols, const float *gram, double added,
                           double *sum);
/* The weights of the kept columns that serve the outputs best in the removed ones' place:
 * out[rows][n_kept] = W H[:, K] (H[K, K] + eps * mean diag)^-1 (least squares; the Nystrom step of S055 MoDeGPT). */
pith_status select_refit(pith_ctx *ctx, const float *w, size_t rows, size_t cols, const float *gram,
                         const uint32_t *kept, size_t n_kept, double eps, float *out);

#include "kernels/select/kronecker.h"

#endif
