/* Removal of columns one at a time without the matrix W itself: what decides about column j is |w_j|^2 / V_jj, with
 * V = H^-1, and both fall out of V and T = W^T W alone. Removing s takes p = V_s / sqrt(V_ss) and t = T_s / sqrt(V_ss):
 *     V' = V - p p^T,   T' = T - p t^T - t p^T + c p p^T = T - p r^T - r p^T   with r = t - c p / 2,
 * where c = T_ss / V_ss is what it costs. Up to BATCH of these wait in p and r; rows that are needed before are made up
 * to date by themselves, the rest at once by products of matrices, after which what is gone is left out of V and T.
 * Both are symmetric: only tiles on and below the diagonal are kept. */
#include <math.h>

#include "kernels/select/removal.h"
#include "math/dense/dense.h"

#define BATCH 32
#define TILE 256

typedef struct columns {
    pith_ctx *ctx;
    size_t n, live; /* elements from row to row; rows and columns there are */
    double *v, *t;  /* [n][n] */
    double *p, *r;  /* [BATCH][n] */
    size_t pending;
    double *row_v, *row_t;   /* [n] of the column that goes */
    double *diag_v, *diag_t; /* [n] up to date */
    uint32_t *id;            /* [n] the column's own number */
    uint8_t *gone;           /* [n] in this batch */
} columns;

/* ---- sums of products on the lower triangle -------------------------------------------------------------- */

typedef struct sum_job {
    double *to;
    const double *a, *b; /* [rows][ld] */
    size_t n, ld, rows;
    double alpha;
} sum_job;

static pith_status sum_tile(void *arg, size_t tile) {
    const sum_job *j = arg;
    size_t row = 0;
    while (tile > row) tile -= ++row;
    size_t i0 = row * TILE, j0 = tile * TILE, height = PITH_MIN(j->n - i0, (size_t)TILE),
           width = PITH_MIN(j->n - j0, (size_t)TILE);
    dense_gemm_double(true, false, height, width, j->rows, j->alpha, j->a + i0, j->ld, j->b + j0, j->ld, 1,
                      j->to + i0 * j->ld + j0, j->ld);
    return PITH_OK;
}

/* to[n][n] += alpha a^T b, lower tiles; all have rows of ld elements. */
static pith_status add_products(pith_ctx *ctx, double *to, size_t n, size_t ld, double alpha, const double *a,
                                const double *b, size_t rows) {
    sum_job job = {.to = to, .a = a, .b = b, .n = n, .ld = ld, .rows = rows, .alpha = alpha};
    size_t tiles = (n + TILE - 1) / TILE;
    return rows ? pith_parallel(ctx, DENSE_PACKED(tiles), sum_tile, &job) : PITH_OK;
}

/* to += x^T x for x[rows][cols], a panel at a time. */
static pith_status add_squares(pith_ctx *ctx, double *to, const float *x, size_t rows, size_t cols) {
    double *panel = pith_alloc(ctx, (size_t)TILE * cols * sizeof *panel);
    pith_status status = panel ? PITH_OK : pith_alloc_status(ctx);
    for (size_t first = 0; first < rows && !status; first += TILE) {
        size_t here = PITH_MIN(rows - first, (size_t)TILE);
        for (size_t i = 0; i < here * cols; i++) panel[i] = x[first * cols + i];
        status = add_products(ctx, to, cols, cols, 1, panel, panel, here);
    }
    pith_free(ctx, panel);
    return status;
}

/* ---- one at a time --------------------------------------------------------------------------------------- */

static void take_row(const columns *c, const double *from, size_t s, double *row) {
    memcpy(row, from + s * c->n, (s + 1) * sizeof *row);
    for (size_t j = s + 1; j < c->live; j++) row[j] = from[j * c->n + s];
}

static void subtract(double *row, double x, const double *from, size_t n) {
    for (size_t j = 0; j < n; j++) row[j] -= x * from[j];
}

/* The cheapest that is left; live when none is, or when what is left of V_jj is nothing. */
static size_t cheapest(const columns *c, double *cost) {
    size_t best = c->live;
    for (size_t j = 0; j < c->live; j++) {
        if (c->gone[j]) continue;
        if (!(c->diag_v[j] > 0)) return c->live;
        double here = PITH_MAX(c->diag_t[j], 0.0) / c->diag_v[j];
        if (best == c->live || here < *cost) {
            best = j;
            *cost = here;
        }
    }
    return best;
}

static void remove_column(columns *c, size_t s) {
    double *p = c->p + c->pending * c->n, *r = c->r + c->pending * c->n, scale = 1 / sqrt(c->diag_v[s]);
    take_row(c, c->v, s, c->row_v);
    take_row(c, c->t, s, c->row_t);
    for (size_t k = 0; k < c->pending; k++) {
        const double *before_p = c->p + k * c->n, *before_r = c->r + k * c->n;
        subtract(c->row_v, before_p[s], before_p, c->live);
        subtract(c->row_t, before_p[s], before_r, c->live);
        subtract(c->row_t, before_r[s], before_p, c->live);
    }
    double half_cost = c->row_t[s] * scale * scale / 2;
    for (size_t j = 0; j < c->live; j++) {
        p[j] = c->row_v[j] * scale;
        r[j] = c->row_t[j] * scale - half_cost * p[j];
        c->diag_v[j] -= p[j] * p[j];
        c->diag_t[j] -= 2 * p[j] * r[j];
    }
    c->gone[s] = 1;
    c->pending++;
}

/* Rows and columns that are left, together. */
static void close_up(columns *c, double *matrix) {
    for (size_t i = 0, to = 0; i < c->live; i++) {
        if (c->gone[i]) continue;
        const double *from = matrix + i * c->n;
        double *row = matrix + to * c->n;
        for (size_t j = 0, k = 0; j <= i; j++)
            if (!c->gone[j]) row[k++] = from[j];
        to++;
    }
}

static pith_status settle(columns *c) {
    pith_status status = add_products(c->ctx, c->v, c->live, c->n, -1, c->p, c->p, c->pending);
    if (!status) status = add_products(c->ctx, c->t, c->live, c->n, -1, c->p, c->r, c->pending);
    if (!status) status = add_products(c->ctx, c->t, c->live, c->n, -1, c->r, c->p, c->pending);
    if (status) return status;
    close_up(c, c->v);
    close_up(c, c->t);
    size_t to = 0;
    for (size_t j = 0; j < c->live; j++) {
        if (c->gone[j]) continue;
        c->id[to] = c->id[j];
        c->diag_v[to] = c->v[to * c->n + to];
        c->diag_t[to] = c->t[to * c->n + to];
        to++;
    }
    memset(c->gone, 0, c->live);
    c->live = to;
    c->pending = 0;
    return PITH_OK;
}

static pith_status run(columns *c, size_t least, double whole, uint32_t *order, double *losses) {
    pith_status status = PITH_OK;
    losses[0] = 0;
    for (size_t step = 0; step + least < c->n && !status; step++) {
        double cost = 0;
        size_t s = cheapest(c, &cost);
        if (s == c->live || !isfinite(cost))
            return pith_fail(c->ctx, PITH_E_CHECK,
                             "removal of columns: after %zu the statistics are not positive definite", step);
        order[step] = c->id[s];
        losses[step + 1] = losses[step] + (whole > 0 ? cost / whole : 0);
        remove_column(c, s);
        if (c->pending == BATCH) status = settle(c);
        if (!status) status = pith_tick(c->ctx, step + 1, c->n - least);
    }
    return status;
}

/* ---- the start --------------------------------------------------------------------------------------------- */

double removal_mean_diagonal(const float *gram, size_t n) {
    double sum = 0;
    for (size_t j = 0; j < n; j++) sum += gram[j * (j + 1) / 2 + j];
    return n ? sum / (double)n : 0;
}

/* tr(W H W^T) = sum of T_ij H_ij, H damped. */
static double outputs(const columns *c, const float *gram, double added) {
    double sum = 0;
    for (size_t i = 0; i < c->n; i++) {
        const float *h = gram + DENSE_PACKED(i);
        double row = 0;
        for (size_t j = 0; j < i; j++) row += h[j] * c->t[i * c->n + j];
        sum += 2 * row + (h[i] + added) * c->t[i * c->n + i];
    }
    return sum;
}

/* V = U^T U, from the factor of the inverse. */
static pith_status start(columns *c, const float *w, size_t rows, const float *gram, double damp, double *used) {
    float *u = pith_alloc(c->ctx, c->n * c->n * sizeof *u);
    if (!u) return pith_alloc_status(c->ctx);
    pith_status status = dense_cholesky_inverse(c->ctx, gram, c->n, damp, u, NULL, used);
    if (!status) status = add_squares(c->ctx, c->v, u, c->n, c->n);
    pith_free(c->ctx, u);
    if (!status) status = add_squares(c->ctx, c->t, w, rows, c->n);
    for (size_t j = 0; j < c->n; j++) {
        c->id[j] = (uint32_t)j;
        c->diag_v[j] = c->v[j * c->n + j];
        c->diag_t[j] = c->t[j * c->n + j];
    }
    return status;
}

pith_status removal_of_columns(pith_ctx *ctx, const float *w, size_t rows, size_t cols, const float *gram, double damp,
                               size_t least, uint32_t *order, double *losses) {
    size_t doubles = 2 * cols * cols + 2 * BATCH * cols + 4 * cols;
    double used = damp, *room = pith_zalloc(ctx, doubles * sizeof *room);
    columns c = {.ctx = ctx, .n = cols, .live = cols, .v = room};
    c.id = pith_alloc(ctx, cols * sizeof *c.id);
    c.gone = pith_zalloc(ctx, cols);
    pith_status status = room && c.id && c.gone ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        c.t = c.v + cols * cols;
        c.p = c.t + cols * cols;
        c.r = c.p + BATCH * cols;
        c.row_v = c.r + BATCH * cols;
        c.row_t = c.row_v + cols;
        c.diag_v = c.row_t + cols;
        c.diag_t = c.diag_v + cols;
        status = start(&c, w, rows, gram, damp, &used);
    }
    if (!status) status = run(&c, least, outputs(&c, gram, used * removal_mean_diagonal(gram, cols)), order, losses);
    pith_free(ctx, room);
    pith_free(ctx, c.id);
    pith_free(ctx, c.gone);
    return status;
}
