/* Removal of columns under the squared error of the outputs, tr((W - W') H (W - W')^T).
 * One at a time: with V = H^-1, removing the group S costs tr(W_S (V_SS)^-1 W_S^T), the rest becomes
 * W - W_S (V_SS)^-1 V_S: and V becomes V - V_:S (V_SS)^-1 V_S:, which leaves V the inverse of what remains of H. Here
 * for groups such as heads; columns.c for single columns. */
#include "kernels/select/select.h"

#include <math.h>

#include "kernels/select/removal.h"
#include "math/dense/dense.h"

typedef struct removal {
    pith_ctx *ctx;
    size_t rows, cols, group;
    double *w; /* [rows][cols] */
    double *v; /* [cols][cols] */
    uint8_t *gone; /* [cols / group] */
    double *small, *part; /* [group][group]; [max(rows, cols)][group] */
    double *costs; /* [cols / group] */
} removal;

/* small = lower Cholesky factor of V_SS; false when it has none: rounding has eaten what was left of it. */
static bool factor(removal *r, size_t s) {
    size_t g = r->group, first = s * g;
    for (size_t i = 0; i < g; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = r->v[(first + i) * r->cols + first + j];
            for (size_t k = 0; k < j; k++) sum -= r->small[i * g + k] * r->small[j * g + k];
            if (i == j && !(sum > 0)) return false;
            r->small[i * g + j] = i == j ? sqrt(sum) : sum / r->small[j * g + j];
        }
    return true;
}

/* x = L^-1 x for x[group]. */
static void forward(const removal *r, double *x) {
    for (size_t i = 0; i < r->group; i++) {
        for (size_t k = 0; k < i; k++) x[i] -= r->small[i * r->group + k] * x[k];
        x[i] /= r->small[i * r->group + i];
    }
}

/* part[rows][group] = W_S L^-T; the sum of its squares is the cost. */
static double solve_rows(removal *r, size_t s) {
    size_t g = r->group;
    double sum = 0;
    for (size_t i = 0; i < r->rows; i++) {
        double *x = r->part + i * g;
        memcpy(x, r->w + i * r->cols + s * g, g * sizeof *x);
        forward(r, x);
        for (size_t k = 0; k < g; k++) sum += x[k] * x[k];
    }
    return sum;
}

static void find_costs(removal *r) {
    size_t n = r->cols / r->group;
    for (size_t s = 0; s < n; s++) r->costs[s] = !r->gone[s] && factor(r, s) ? solve_rows(r, s) : 0;
}

/* half[group][cols] = L^-1 V_S:, then W -= (W_S L^-T) half and V -= half^T half. */
static bool remove_group(removal *r, size_t s, double *half) {
    size_t g = r->group, n = r->cols;
    if (!factor(r, s)) return false;
    solve_rows(r, s);
    for (size_t i = 0; i < g; i++) {
        memcpy(half + i * n, r->v + (s * g + i) * n, n * sizeof *half);
        for (size_t k = 0; k < i; k++)
            for (size_t j = 0; j < n; j++) half[i * n + j] -= r->small[i * g + k] * half[k * n + j];
        for (size_t j = 0; j < n; j++) half[i * n + j] /= r->small[i * g + i];
    }
    for (size_t i = 0; i < r->rows; i++)
        for (size_t k = 0; k < g; k++) {
            double x = r->part[i * g + k], *to = r->w + i * n;
            for (size_t j = 0; j < n; j++) to[j] -= x * half[k * n + j];
        }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < g; k++) {
            double x = half[k * n + i], *to = r->v + i * n;
            if (x != 0)
                for (size_t j = 0; j < n; j++) to[j] -= x * half[k * n + j];
        }
    for (size_t i = s * g; i < (s + 1) * g; i++) { /* exact zeros, and a diagonal that may be divided by */
        for (size_t j = 0; j < n; j++) r->v[i * n + j] = r->v[j * n + i] = 0;
        for (size_t j = 0; j < r->rows; j++) r->w[j * n + i] = 0;
        r->v[i * n + i] = 1;
    }
    r->gone[s] = 1;
    return true;
}

static pith_status run(removal *r, size_t least, double whole, double *half, uint32_t *order, double *losses) {
    size_t n = r->cols / r->group;
    losses[0] = 0;
    for (size_t step = 0; step + least < n; step++) {
        size_t best = n;
        find_costs(r);
        for (size_t s = 0; s < n; s++)
            if (!r->gone[s] && (best == n || r->costs[s] < r->costs[best])) best = s;
        if (!isfinite(r->costs[best]) || !remove_group(r, best, half))
            return pith_fail(r->ctx, PITH_E_CHECK,
                             "removal of columns: after %zu the statistics are not positive definite", step);
        order[step] = (uint32_t)best;
        losses[step + 1] = losses[step] + (whole > 0 ? r->costs[best] / whole : 0);
        pith_status status = pith_tick(r->ctx, step + 1, n - least);
        if (status) return status;
    }
    return PITH_OK;
}

pith_status select_outputs(pith_ctx *ctx, const float *w, size_t rows, size_t cols, const float *gram, double added,
                           double *sum) {
    float *h = pith_alloc(ctx, cols * cols * sizeof *h), *wh = pith_alloc(ctx, rows * cols * sizeof *wh);
    *sum = 0;
    if (h && wh) {
        dense_unpack(gram, cols, h);
        dense_gemm(false, false, rows, cols, cols, 1, w, cols, h, cols, 0, wh, cols);
        for (size_t i = 0; i < rows * cols; i++) *sum += w[i] * (wh[i] + added * w[i]);
    }
    pith_free(ctx, h);
    pith_free(ctx, wh);
    return h && wh ? PITH_OK : pith_alloc_status(ctx);
}

/* v = U^T U, from the factor of the inverse. */
static pith_status invert(pith_ctx *ctx, const float *gram, size_t n, double damp, double *used, double *v) {
    float *u = pith_alloc(ctx, n * n * sizeof *u);
    if (!u) return pith_alloc_status(ctx);
    pith_status status = dense_cholesky_inverse(ctx, gram, n, damp, u, NULL, used);
    for (size_t i = 0; i < n && !status; i++)
        for (size_t k = 0; k < n; k++) v[i * n + k] = 0;
    for (size_t l = 0; l < n && !status; l++)
        for (size_t i = l; i < n; i++) {
            double x = u[l * n + i];
            for (size_t k = l; k < n; k++) v[i * n + k] += x * u[l * n + k];
        }
    pith_free(ctx, u);
    return status;
}

pith_status select_obs_order(pith_ctx *ctx, const float *w, size_t rows, size_t cols, const float *gram, double damp,
                             size_t group, size_t least, uint32_t *order, double *losses) {
    if (!rows || !cols || !group || cols % group || least == 0 || least > cols / group)
        return pith_fail(ctx, PITH_E_ARGUMENT, "removal of columns: groups of %zu of %zu, %zu to stay", group, cols,
                         least);
    if (group == 1) return removal_of_columns(ctx, w, rows, cols, gram, damp, least, order, losses);
    double used = damp;
    removal r = {.ctx = ctx, .rows = rows, .cols = cols, .group = group};
    r.w = pith_alloc(ctx, rows * cols * sizeof *r.w);
    r.v = pith_alloc(ctx, cols * cols * sizeof *r.v);
    r.gone = pith_zalloc(ctx, cols / group);
    r.small = pith_zalloc(ctx, group * group * sizeof *r.small);
    r.part = pith_alloc(ctx, rows * group * sizeof *r.part);
    r.costs = pith_alloc(ctx, cols / group * sizeof *r.costs);
    double *half = pith_alloc(ctx, cols * group * sizeof *half);
    bool room = r.w && r.v && r.gone && r.small && r.part && r.costs && half;
    pith_status status = room ? invert(ctx, gram, cols, damp, &used, r.v) : pith_alloc_status(ctx);
    if (!status) {
        for (size_t i = 0; i < rows * cols; i++) r.w[i] = w[i];
        double whole;
        status = select_outputs(ctx, w, rows, cols, gram, used * removal_mean_diagonal(gram, cols), &whole);
        if (!status) status = run(&r, least, whole, half, order, losses);
    }
    void *const owned[] = {r.w, r.v, r.gone, r.small, r.part, r.costs, half};
    for (size_t i = 0; i < PITH_COUNT(owned); i++) pith_free(ctx, owned[i]);
    return status;
}

static float gram_at(const float *gram, size_t i, size_t j) {
    return i >= j ? gram[i * (i + 1) / 2 + j] : gram[j * (j + 1) / 2 + i];
}

pith_status select_refit(pith_ctx *ctx, const float *w, size_t rows, size_t cols, const float *gram,
                         const uint32_t *kept, size_t n_kept, double eps, float *out) {
    for (size_t i = 0; i < n_kept; i++)
        if (kept[i] >= cols)
            return pith_fail(ctx, PITH_E_ARGUMENT, "removal of columns: column %u of %zu", (unsigned)kept[i], cols);
    /* As n_kept right hand sides in columns: G X = B with B = H[K, :] W^T. */
    float *g = pith_alloc(ctx, n_kept * n_kept * sizeof *g), *b = pith_alloc(ctx, n_kept * rows * sizeof *b);
    float *h = pith_alloc(ctx, n_kept * cols * sizeof *h);
    pith_status status = g && b && h ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        for (size_t i = 0; i < n_kept; i++) {
            for (size_t j = 0; j < n_kept; j++) g[i * n_kept + j] = gram_at(gram, kept[i], kept[j]);
            for (size_t j = 0; j < cols; j++) h[i * cols + j] = gram_at(gram, kept[i], j);
        }
        dense_gemm(false, true, n_kept, rows, cols, 1, h, cols, w, cols, 0, b, rows);
        status = dense_solve(ctx, g, n_kept, eps, b, rows);
    }
    for (size_t i = 0; i < rows && !status; i++)
        for (size_t k = 0; k < n_kept; k++) out[i * n_kept + k] = b[k * rows + i];
    pith_free(ctx, g);
    pith_free(ctx, b);
    pith_free(ctx, h);
    return status;
}
