/* The transform prune: makes weights zero by a score and leaves the others as they are. There is nothing to undo.
 *
 * Scores: |w|; |w| times the input's RMS (Sun et al. 2023, Wanda, counted per row; Liu et al. 2025, NoWag-P, on
 * normalised weights, counted over the matrix); w^2 / [H^-1]_jj, what leaving w out costs when the rest may follow
 * (Hassibi and Stork 1993). Zeros that errors are fed around are the coder sparse under obs. */
#include <math.h>

#include "kernels/represent/scalar.h"
#include "math/dense/dense.h"

enum { P_SPARSITY, P_SCORE, P_PER, P_PATTERN };
enum { SCORE_MAGNITUDE, SCORE_WANDA, SCORE_NOWAG, SCORE_OBS };
enum { PER_AUTO, PER_MATRIX, PER_ROW };
const pith_param prune_params[4] = {
    {.name = "sparsity", .type = PITH_P_REAL, .min = 0, .max = 1, .def = 0.5, .doc = "the part that becomes zero"},
    {.name = "score",
     .type = PITH_P_CHOICE,
     .choices = "magnitude|wanda|nowag|obs",
     .def = 0,
     .doc = "what stays: the largest |w|, |w| times the input's RMS (wanda, nowag), or w^2 / [H^-1]_jj"},
    {.name = "per",
     .type = PITH_P_CHOICE,
     .choices = "auto|matrix|row",
     .def = 0,
     .doc = "where the part is counted; auto: wanda in each row, else over the matrix"},
    {.name = "pattern",
     .type = PITH_P_CHOICE,
     .choices = SPARSE_PATTERNS,
     .def = 0,
     .doc = "keep n of every m neighbours of a row instead"},
};

/* What a square counts in each column. */
static pith_status column_weights(const repr_job *job, size_t cols, float *weight) {
    pith_ctx *ctx = job->ctx;
    int score = (int)job->args->value[P_SCORE];
    for (size_t j = 0; j < cols; j++) weight[j] = score == SCORE_MAGNITUDE ? 1 : scalar_input(job->stats, j);
    if (score != SCORE_OBS || !job->stats->gram) return PITH_OK;
    if (cols > SIZE_MAX / sizeof(float) / cols)
        return pith_fail(ctx, PITH_E_LIMIT, "a matrix of %zu columns is too wide for this score", cols);
    float *u = pith_alloc(ctx, cols * cols * sizeof *u);
    uint8_t *dead = u ? pith_zalloc(ctx, cols) : NULL;
    double *sums = dead ? pith_zalloc(ctx, cols * sizeof *sums) : NULL;
    pith_status status =
        sums ? dense_cholesky_inverse(ctx, job->stats->gram, cols, 0.01, u, dead, NULL) : pith_alloc_status(ctx);
    for (size_t i = 0; !status && i < cols; i++)
        for (size_t j = i; j < cols; j++) sums[j] += (double)u[i * cols + j] * (double)u[i * cols + j];
    for (size_t j = 0; !status && j < cols; j++) weight[j] = dead[j] ? 0 : (float)(1 / sums[j]);
    pith_free(ctx, u);
    pith_free(ctx, dead);
    pith_free(ctx, sums);
    return status;
}

/* Scores of rows [first, first + n): where counting is per matrix, of all. */
static void score_rows(const repr_matrix *w, const float *weight, size_t first, size_t n, float *score) {
    for (size_t r = 0; r < n; r++)
        for (size_t j = 0; j < w->cols; j++) {
            float x = w->data[(first + r) * w->cols + j];
            score[r * w->cols + j] = x * x * weight[j];
        }
}

static pith_status prune_forward(const repr_job *job, repr_matrix *w, repr_stats *stats, pith_buffer *side) {
    (void)stats, (void)side;
    pith_ctx *ctx = job->ctx;
    const double *v = job->args->value;
    size_t cols = w->cols, n, keep_of = sparse_patterns[(int)v[P_PATTERN]].keep,
           of = sparse_patterns[(int)v[P_PATTERN]].of;
    if (of && cols % of)
        return pith_fail(ctx, PITH_E_ARGUMENT, "column %u: a matrix of %zu columns cannot keep %zu of every %zu",
                         job->args->column, cols, keep_of, of);
    pith_status status = scalar_room(ctx, w->rows, cols, 2 * sizeof(float), &n);
    if (status) return status;
    bool by_row = v[P_PER] == PER_ROW || (v[P_PER] == PER_AUTO && v[P_SCORE] == SCORE_WANDA);
    size_t rows = by_row || of ? 1 : w->rows, unit = of ? of : rows * cols; /* scored at once; chosen from at once */
    float *score = pith_alloc(ctx, 2 * rows * cols * sizeof *score), *scratch = score ? score + rows * cols : NULL;
    float *weight = pith_alloc(ctx, cols * sizeof *weight);
    uint8_t *keep = pith_alloc(ctx, rows * cols);
    if (!score || !weight || !keep) status = pith_alloc_status(ctx);
    if (!status) status = column_weights(job, cols, weight);
    size_t n_keep = of ? keep_of : (size_t)((1 - v[P_SPARSITY]) * (double)unit + 0.5);
    for (size_t first = 0; !status && first < w->rows; first += rows) {
        score_rows(w, weight, first, rows, score);
        for (size_t i = 0; i < rows * cols; i += unit) sparse_choose(score + i, unit, n_keep, keep + i, scratch);
        for (size_t i = 0; i < rows * cols; i++)
            if (!keep[i]) w->data[first * cols + i] = 0;
    }
    pith_free(ctx, score);
    pith_free(ctx, weight);
    pith_free(ctx, keep);
    return status;
}

const repr_ops prune_ops = {.kind = REPR_TRANSFORM, .forward = prune_forward};
