/* The solver obs: columns are coded in order, and the error of each is spread over the columns to come.
 *
 * With H = E x x^T (damped) and the upper Cholesky factor U of its inverse, the error e = (w_j - q_j) / U_jj of column
 * j makes the later ones w_k -= e U_jk, which keeps the least output error that is still to be had (Hassibi and Stork
 * 1993, optimal brain surgeon; Frantar et al. 2022, GPTQ). Coders decide what a column becomes: rounding gives GPTQ,
 * zeros SparseGPT, rounding with outliers SpQR. Columns are held transposed, and the update of those outside the
 * block at hand is one product of matrices. */
#include "kernels/represent/scalar.h"

#include <math.h>

#include "math/dense/dense.h"

enum { P_DAMP, P_BLOCK };
const pith_param obs_params[2] = {
    {.name = "damp", .type = PITH_P_REAL, .min = 0, .max = 1, .def = 0.01, .doc = "added to H's diagonal, of its mean"},
    {.name = "block",
     .type = PITH_P_INT,
     .min = 1,
     .max = 4096,
     .def = 128,
     .unit = "columns",
     .doc = "coded before the rest is brought up to date; changes speed only"},
};

typedef struct obs_factor {
    float *u, *cost; /* [cols][cols], NULL: nothing to spread; [cols] */
    uint8_t *dead;   /* [cols] */
} obs_factor;

static void factor_free(pith_ctx *ctx, obs_factor *f) {
    pith_free(ctx, f->u);
    pith_free(ctx, f->cost);
    pith_free(ctx, f->dead);
}

static pith_status factor_get(const repr_job *job, size_t cols, obs_factor *f) {
    pith_ctx *ctx = job->ctx;
    const repr_stats *stats = job->stats;
    f->cost = pith_alloc(ctx, cols * sizeof *f->cost);
    f->dead = pith_zalloc(ctx, cols);
    if (!f->cost || !f->dead) return pith_alloc_status(ctx);
    bool known = stats->gram || stats->h;
    double sum = 0;
    for (size_t j = 0; j < cols; j++) {
        float h = scalar_input(stats, j);
        f->dead[j] = known && !(h > 0);
        f->cost[j] = f->dead[j] ? 0 : h;
        sum += (double)f->cost[j];
    }
    if (!(sum > 0)) { /* nothing was ever seen: no reason to lose the matrix */
        memset(f->dead, 0, cols);
        for (size_t j = 0; j < cols; j++) f->cost[j] = 1;
        return PITH_OK;
    }
    float damp = (float)(job->args->value[P_DAMP] * sum / (double)cols);
    for (size_t j = 0; j < cols; j++) f->cost[j] += f->dead[j] || !known ? 0 : damp;
    if (!stats->gram) return PITH_OK;
    if (cols > SIZE_MAX / sizeof(float) / cols)
        return pith_fail(ctx, PITH_E_LIMIT, "a matrix of %zu columns is too wide for obs", cols);
    f->u = pith_alloc(ctx, cols * cols * sizeof *f->u);
    if (!f->u) return pith_alloc_status(ctx);
    pith_status status = dense_cholesky_inverse(ctx, stats->gram, cols, job->args->value[P_DAMP], f->u, f->dead, NULL);
    for (size_t j = 0; !status && j < cols; j++) {
        float d = f->u[j * cols + j];
        f->cost[j] = f->dead[j] ? 0 : 1 / (d * d);
    }
    return status;
}

/* Blocks end where a group does, because a group that begins must be up to date as a whole. */
static size_t block_end(size_t first, size_t block, size_t group, size_t cols) {
    size_t end = first + block;
    if (group && group <= block)
        end = first + block / group * group;
    else if (group)
        end = PITH_MIN(end, first - first % group + group);
    return PITH_MIN(end, cols);
}

static pith_status sweep(const repr_job *job, const obs_factor *f, size_t rows, size_t cols, repr_columns *columns,
                         float *w, float *error, float *out, size_t block) {
    pith_status status = PITH_OK;
    for (size_t first = 0, end; first < cols; first = end) {
        end = block_end(first, block, columns->group, cols);
        for (size_t j = first; j < end; j++) {
            size_t group = columns->group ? columns->group : cols;
            if (columns->enter && j % group == 0) {
                size_t n = PITH_MIN(group, cols - j);
                status = columns->enter(columns, j, n, w + j * rows, f->cost + j);
                if (status) return status;
            }
            float *x = w + j * rows;
            columns->code(columns, j, x, out);
            if (f->u) {
                const float *u = f->u + j * cols;
                float inverse = f->dead[j] ? 0 : 1 / u[j], *e = error + (j - first) * rows;
                for (size_t r = 0; r < rows; r++) e[r] = (x[r] - out[r]) * inverse;
                for (size_t k = j + 1; k < end; k++) {
                    float *later = w + k * rows, factor = u[k];
                    for (size_t r = 0; r < rows; r++) later[r] -= factor * e[r];
                }
            }
            memcpy(x, out, rows * sizeof *x);
        }
        if (f->u && end < cols)
            dense_gemm(true, false, cols - end, rows, end - first, -1, f->u + first * cols + end, cols, error, rows, 1,
                       w + end * rows, rows);
        if (pith_step(job->ctx, 0)) return PITH_E_CANCELLED;
    }
    return status;
}

static pith_status obs_solve(const repr_job *job, repr_matrix *w, repr_columns *columns, float *restored) {
    pith_ctx *ctx = job->ctx;
    size_t rows = w->rows, cols = w->cols, n, block = (size_t)job->args->value[P_BLOCK];
    block = PITH_MIN(PITH_MAX(block, columns->group && columns->group <= 128 ? columns->group : 1), cols);
    pith_status status = scalar_room(ctx, rows, cols, sizeof(float), &n);
    if (!status) status = scalar_check(ctx, w);
    if (status) return status;
    obs_factor f = {NULL, NULL, NULL};
    status = factor_get(job, cols, &f);
    float *own = status || restored ? NULL : pith_alloc(ctx, n * sizeof *own), *turned = restored ? restored : own;
    float *error = !status && turned ? pith_alloc(ctx, block * rows * sizeof *error) : NULL;
    float *out = error ? pith_alloc(ctx, rows * sizeof *out) : NULL;
    if (!status && !out) status = pith_alloc_status(ctx);
    if (!status) {
        scalar_columns_get(w->data, rows, cols, 0, cols, turned);
        for (size_t j = 0; j < cols; j++)
            if (f.dead[j]) memset(turned + j * rows, 0, rows * sizeof *turned);
        status = sweep(job, &f, rows, cols, columns, turned, error, out, block);
    }
    if (!status && restored) { /* by columns now; w's place serves to turn them */
        scalar_columns_put(turned, rows, cols, 0, cols, w->data);
        memcpy(restored, w->data, n * sizeof *restored);
    }
    pith_free(ctx, own);
    pith_free(ctx, error);
    pith_free(ctx, out);
    factor_free(ctx, &f);
    return status;
}

const repr_ops obs_ops = {.kind = REPR_SOLVER, .solve = obs_solve};
