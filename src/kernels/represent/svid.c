/* W = diag(u) P diag(m) Q diag(v) with P[rows][r] and Q[r][cols] of signs: LittleBit (Lee et al. 2025, section 3.1).
 *
 * P and Q are the signs of the factors of the singular value decomposition; u, m, v come from their magnitudes, each
 * taken as a product of two vectors (Dual-SVID). Refitting then sets m, v and u in turn by least squares, which the
 * paper leaves to training. `sum(svid(r), svid(r))` is its path for the residual. */
#include <math.h>

#include "kernels/represent/vectors.h"
#include "math/dense/dense.h"
#include "math/math.h"

enum { REFITS = 4 };

static size_t rank_of(const repr_job *job, const repr_matrix *w) {
    size_t least = PITH_MIN(w->rows, w->cols);
    double rank = job->args->value[SVID_RANK], sides = (double)w->rows + (double)w->cols;
    if (!(rank > 0)) {
        double bits = job->args->value[SVID_BITS] * (double)w->rows * (double)w->cols;
        rank = PITH_MAX(8 * floor((bits - 16 * sides) / (sides + 16) / 8), 8);
    }
    return rank > (double)least ? least : (size_t)rank;
}

static pith_status decode(const repr_job *job, repr_reader *in, repr_matrix *w) {
    pith_ctx *ctx = job->ctx;
    size_t rows = w->rows, cols = w->cols, r = rank_of(job, w);
    float *u = NULL, *m = NULL, *v = NULL;
    pith_status status = vectors_take(ctx, in, rows, "the scales of svid", &u);
    if (!status) status = vectors_take(ctx, in, r, "the scales of svid", &m);
    if (!status) status = vectors_take(ctx, in, cols, "the scales of svid", &v);
    float *p = pith_alloc(ctx, PITH_MAX(rows * r, 1u) * sizeof *p),
          *q = pith_alloc(ctx, PITH_MAX(r * cols, 1u) * sizeof *q);
    if (!status && (!p || !q)) status = pith_alloc_status(ctx);
    if (!status) status = vectors_take_signs(job, in, p, rows * r, r);
    if (!status) status = vectors_take_signs(job, in, q, r * cols, cols);
    if (!status) {
        for (size_t i = 0; i < rows; i++)
            for (size_t k = 0; k < r; k++) p[i * r + k] *= m[k];
        memset(w->data, 0, rows * cols * sizeof *w->data);
        exact()->matmul(w->data, cols, p, r, 1, q, cols, rows, cols, r);
        for (size_t i = 0; i < rows; i++) exact()->scale(w->data + i * cols, u[i], w->data + i * cols, v, cols);
    }
    pith_free(ctx, u);
    pith_free(ctx, m);
    pith_free(ctx, v);
    pith_free(ctx, p);
    pith_free(ctx, q);
    return status;
}

/* What is fitted: signs and scales, and two products to work with. */
typedef struct svid_fit {
    size_t rows, cols, r;
    const float *w, *cost; /* cost[cols]: of squared errors in each column */
    float *p, *q;          /* signs [rows][r], [r][cols] */
    float *u, *m, *v;
    float *left, *right; /* diag(u) P, [rows][r]; Q diag(v), [r][cols] */
    float *g, *h;        /* [r][r] */
    float *t;            /* [rows][cols] */
} svid_fit;

/* |a| ~ x y^T by power steps: x[rows], y[cols]. */
static void rank_one(const float *a, size_t rows, size_t cols, float *x, float *y) {
    for (size_t j = 0; j < cols; j++) y[j] = 1;
    for (int step = 0; step < 20; step++) {
        double yy = 0, xx = 0;
        for (size_t j = 0; j < cols; j++) yy += (double)y[j] * (double)y[j];
        for (size_t i = 0; i < rows; i++) {
            double sum = 0;
            for (size_t j = 0; j < cols; j++) sum += fabs((double)a[i * cols + j]) * (double)y[j];
            x[i] = yy > 0 ? (float)(sum / yy) : 0;
            xx += (double)x[i] * (double)x[i];
        }
        for (size_t j = 0; j < cols; j++) {
            double sum = 0;
            for (size_t i = 0; i < rows; i++) sum += fabs((double)a[i * cols + j]) * (double)x[i];
            y[j] = xx > 0 ? (float)(sum / xx) : 0;
        }
    }
}

/* The columns of the scaled sides, for the next step. */
static void spread(svid_fit *f) {
    for (size_t i = 0; i < f->rows; i++)
        for (size_t k = 0; k < f->r; k++) f->left[i * f->r + k] = f->u[i] * f->p[i * f->r + k];
    for (size_t k = 0; k < f->r; k++)
        for (size_t j = 0; j < f->cols; j++) f->right[k * f->cols + j] = f->v[j] * f->q[k * f->cols + j];
}

/* m by least squares: (L^T L . R C R^T) m = diag(L^T W C R^T), C the costs. */
static pith_status refit_middle(pith_ctx *ctx, svid_fit *f) {
    size_t rows = f->rows, cols = f->cols, r = f->r;
    spread(f);
    dense_gemm(true, false, r, r, rows, 1, f->left, r, f->left, r, 0, f->g, r);
    float *lw = f->t; /* [r][cols] fits: r <= rows */
    dense_gemm(true, false, r, cols, rows, 1, f->left, r, f->w, cols, 0, lw, cols);
    for (size_t k = 0; k < r; k++) {
        double sum = 0;
        for (size_t j = 0; j < cols; j++)
            sum += (double)lw[k * cols + j] * (double)f->cost[j] * (double)f->right[k * cols + j];
        f->m[k] = (float)sum;
    }
    for (size_t k = 0; k < r; k++)
        for (size_t j = 0; j < cols; j++) lw[k * cols + j] = f->right[k * cols + j] * f->cost[j];
    dense_gemm(false, true, r, r, cols, 1, lw, cols, f->right, cols, 0, f->h, r);
    for (size_t i = 0; i < r * r; i++) f->g[i] *= f->h[i];
    double trace = 0;
    for (size_t k = 0; k < r; k++) trace += (double)f->g[k * r + k];
    return trace > 0 ? dense_solve(ctx, f->g, r, 1e-4, f->m, 1) : PITH_OK;
}

/* v and u by least squares, one after the other: each entry has a system of its own, of one unknown. */
static void refit_sides(svid_fit *f) {
    size_t rows = f->rows, cols = f->cols, r = f->r;
    spread(f);
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < r; k++) f->left[i * r + k] *= f->m[k];
    dense_gemm(false, false, rows, cols, r, 1, f->left, r, f->q, cols, 0, f->t, cols);
    for (size_t j = 0; j < cols; j++) {
        double up = 0, down = 0;
        for (size_t i = 0; i < rows; i++) {
            up += (double)f->w[i * cols + j] * (double)f->t[i * cols + j];
            down += (double)f->t[i * cols + j] * (double)f->t[i * cols + j];
        }
        if (down > 0) f->v[j] = (float)(up / down);
    }
    for (size_t i = 0; i < rows; i++) {
        double up = 0, down = 0;
        for (size_t j = 0; j < cols; j++) {
            double x = (double)f->t[i * cols + j] * (double)f->v[j];
            up += (double)f->w[i * cols + j] * x * (double)f->cost[j];
            down += x * x * (double)f->cost[j];
        }
        if (down > 0) f->u[i] *= (float)(up / down);
    }
}

/* Lengths move between the three vectors until u and v have a mean square of 1: halves hold those best. */
static void settle(svid_fit *f) {
    double uu = 0, vv = 0;
    for (size_t i = 0; i < f->rows; i++) uu += (double)f->u[i] * (double)f->u[i];
    for (size_t j = 0; j < f->cols; j++) vv += (double)f->v[j] * (double)f->v[j];
    if (!(uu > 0) || !(vv > 0)) return;
    float su = (float)sqrt(uu / (double)f->rows), sv = (float)sqrt(vv / (double)f->cols);
    for (size_t i = 0; i < f->rows; i++) f->u[i] /= su;
    for (size_t j = 0; j < f->cols; j++) f->v[j] /= sv;
    for (size_t k = 0; k < f->r; k++) f->m[k] *= su * sv;
}

static pith_status dual_svid(pith_ctx *ctx, svid_fit *f, bool refit) {
    size_t rows = f->rows, cols = f->cols, r = f->r;
    pith_status status = lowrank_fit(ctx, f->w, rows, cols, r, LOWRANK_NONE, &(repr_stats){0}, f->left, f->right);
    if (status) return status;
    rank_one(f->left, rows, r, f->u, f->g);
    rank_one(f->right, r, cols, f->h, f->v);
    for (size_t k = 0; k < r; k++) f->m[k] = f->g[k] * f->h[k];
    for (size_t i = 0; i < rows * r; i++) f->p[i] = f->left[i] < 0 ? -1.0f : 1.0f;
    for (size_t i = 0; i < r * cols; i++) f->q[i] = f->right[i] < 0 ? -1.0f : 1.0f;
    for (int step = 0; !status && refit && step < REFITS; step++) {
        status = refit_middle(ctx, f);
        if (!status) refit_sides(f);
    }
    settle(f);
    return status;
}

static pith_status encode(const repr_job *job, const repr_matrix *w, pith_buffer *out, float *restored) {
    pith_ctx *ctx = job->ctx;
    size_t rows = w->rows, cols = w->cols, r = rank_of(job, w), start = out->size;
    pith_status status = vectors_check(job, w);
    if (status || rows * cols == 0) return status;
    size_t sizes[] = {rows * r, r * cols, rows, r, cols, rows * r, r * cols, r * r, r * r, rows * cols, cols},
           total = 0;
    for (size_t i = 0; i < PITH_COUNT(sizes); i++) total += sizes[i];
    float *memory = pith_alloc(ctx, total * sizeof *memory), *parts[PITH_COUNT(sizes)];
    if (!memory) return pith_alloc_status(ctx);
    for (size_t i = 0, at = 0; i < PITH_COUNT(sizes); at += sizes[i++]) parts[i] = memory + at;
    bool refit = job->args->value[SVID_REFIT] != 0;
    vectors_costs(job->stats, cols, parts[10]);
    svid_fit f = {.rows = rows,
                  .cols = cols,
                  .r = r,
                  .w = w->data,
                  .cost = parts[10],
                  .p = parts[0],
                  .q = parts[1],
                  .u = parts[2],
                  .m = parts[3],
                  .v = parts[4],
                  .left = parts[5],
                  .right = parts[6],
                  .g = parts[7],
                  .h = parts[8],
                  .t = parts[9]};
    status = dual_svid(ctx, &f, refit);
    if (!status) status = vectors_put(ctx, out, f.u, rows);
    if (!status) status = vectors_put(ctx, out, f.m, r);
    if (!status) status = vectors_put(ctx, out, f.v, cols);
    if (!status) status = vectors_put_signs(job, out, f.p, rows * r, r);
    if (!status) status = vectors_put_signs(job, out, f.q, r * cols, cols);
    pith_free(ctx, memory);
    return status ? status : vectors_restore(job, decode, out, start, w, restored);
}

const repr_ops svid_ops = {.kind = REPR_CODER, .encode = encode, .decode = decode};
