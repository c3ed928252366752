/* Removal of rows, columns and elements of a matrix under a curvature that is a product, F = G (x) A: the loss grows by
 * 1/2 tr(D^T G D A) when W [rows][cols] becomes W + D. A: mean of x x^T over the inputs, one column of ones more where
 * there is a bias; G: mean of g g^T over the gradients by the outputs (van der Ouderaa et al. 2023, The LLM Surgeon;
 * the factors are K-FAC's, Martens and Grosse 2015). */
#ifndef SELECT_KRONECKER_H
#define SELECT_KRONECKER_H

#include "base/base.h"

typedef enum kronecker_rule {
    KRONECKER_DIAGONAL, /* sum of 1/2 w^2 G_ii A_jj, nothing else changes */
    KRONECKER_BLOCK,    /* 1/2 G_ii w_i A w_i^T of a row, 1/2 A_jj w_j^T G w_j of a column, nothing else changes */
    KRONECKER_OBS       /* 1/2 w_i A w_i^T / (G^-1)_ii, 1/2 w_j^T G w_j / (A^-1)_jj: all else makes up for it */
} kronecker_rule;

typedef struct select_kronecker select_kronecker;
/* a, g: packed lower triangles (math/dense's), NULL: identity. damp_a, damp_g: 0 to 1, of the mean diagonals, added to
 * them. What is marked in row_gone[rows] and col_gone[cols] (NULL: nothing) was removed before, is zero in W and stays
 * so: the rest does not count on it. */
pith_status select_kronecker_new(pith_ctx *ctx, const float *a, const float *g, size_t rows, size_t cols, double damp_a,
                                 double damp_g, const uint8_t *row_gone, const uint8_t *col_gone,
                                 select_kronecker **out);
void select_kronecker_free(pith_ctx *ctx, select_kronecker *k);

/* What removing each row and each column by itself costs: by_row[rows], by_col[cols]. 0 for what is gone. */
pith_status select_kronecker_costs(pith_ctx *ctx, const select_kronecker *k, kronecker_rule rule, const float *w,
                                   double *by_row, double *by_col);
/* The same of each element, costs[rows][cols]; the first two rules agree. */
void select_kronecker_elements(const select_kronecker *k, kronecker_rule rule, const float *w, float *costs);

/* Removes all rows and columns that are marked (those gone before may be marked again) at once, and changes all that
 * stays so that the loss grows least: with what stays of the rows f and what goes r, W_f += G_ff^-1 G_fr W_r; then the
 * same of the columns. Exact, since the one does not change what is best of the other. */
pith_status select_kronecker_remove(pith_ctx *ctx, const select_kronecker *k, const uint8_t *rows_go,
                                    const uint8_t *cols_go, float *w);
/* Removes n elements (row * cols + column, all different) at once, W -= G^-1 L A^-1 with L zero elsewhere. Takes n^2
 * doubles. */
pith_status select_kronecker_remove_elements(pith_ctx *ctx, const select_kronecker *k, const uint32_t *at, size_t n,
                                             float *w);
/* 1/2 tr(D^T G D A) for D = to - from. */
pith_status select_kronecker_loss(pith_ctx *ctx, const select_kronecker *k, const float *from, const float *to,
                                  double *out);

/* ---- one threshold over many matrices -------------------------------------------------------------------- */

typedef struct select_units {
    size_t rows, cols;
    size_t fixed; /* columns at the end that may not go and are no parameters of the matrix: the bias */
    const double *by_row, *by_col;
    uint8_t *rows_go, *cols_go; /* marked on entry: gone before; on return: all that goes */
} select_units;
/* Rows and columns of all matrices by their costs, the cheapest first, while no more than `target` parameters are gone:
 * R rows and C columns of one matrix are R * cols + C * rows - R * C of them. Equal costs: the first comes first. Gives
 * what is gone then, at least what was gone on entry. PITH_E_ARGUMENT for a cost that is NaN. */
pith_status select_units_cut(pith_ctx *ctx, const select_units *matrices, size_t n, uint64_t target, uint64_t *gone);

#endif
