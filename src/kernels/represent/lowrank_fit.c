/* The product of rank r nearest to a matrix in the norm tr(E H E^T): with S S^T = H, the singular value decomposition
 * of W S cut to r, and S^-1 behind it (Eckart, Young 1936; EoRA, Liu et al. 2024, section 3). */
#include <math.h>

#include "kernels/represent/vectors.h"
#include "math/dense/dense.h"

void lowrank_gram(const repr_stats *stats, size_t cols, size_t ld, float *full) {
    memset(full, 0, ld * ld * sizeof *full);
    for (size_t i = 0; i < cols; i++) {
        if (!stats->gram) {
            full[i * ld + i] = stats->h ? stats->h[i] : 1;
            continue;
        }
        const float *row = stats->gram + i * (i + 1) / 2;
        for (size_t j = 0; j <= i; j++) full[i * ld + j] = full[j * ld + i] = row[j];
    }
}

/* x[n][n], upper triangular with u[n][n]: x = u^-1; halves of the matrix, so that most work is products. */
static void invert_upper(const float *u, float *x, size_t n, size_t ld, float *work) {
    if (n <= 16) {
        for (size_t j = 0; j < n; j++)
            for (size_t i = n; i-- > 0;) {
                double sum = i == j;
                for (size_t k = i + 1; k <= j; k++) sum -= (double)u[i * ld + k] * (double)x[k * ld + j];
                x[i * ld + j] = i > j ? 0 : (float)(sum / (double)u[i * ld + i]);
            }
        return;
    }
    size_t h = n / 2, t = n - h;
    const float *right = u + h;
    float *lower = x + h * ld + h;
    invert_upper(u, x, h, ld, work);
    invert_upper(u + h * ld + h, lower, t, ld, work);
    dense_gemm(false, false, h, t, t, 1, right, ld, lower, ld, 0, work, t);
    dense_gemm(false, false, h, t, h, -1, x, ld, work, t, 0, x + h, ld);
    for (size_t i = h; i < n; i++) memset(x + i * ld, 0, h * sizeof *x);
}

/* S and S^-1 with S S^T = H + a little on the diagonal, S upper triangular. */
static pith_status whiten_chol(pith_ctx *ctx, const repr_stats *stats, size_t n, float *s, float *inverse) {
    float *work = pith_alloc(ctx, n * n * sizeof *work);
    pith_status status =
        work ? dense_cholesky_inverse(ctx, stats->gram, n, 1e-6, inverse, NULL, NULL) : pith_alloc_status(ctx);
    if (!status) invert_upper(inverse, s, n, n, work); /* H^-1 = U^T U, so H = U^-1 U^-T */
    pith_free(ctx, work);
    return status;
}

pith_status lowrank_whiten(pith_ctx *ctx, lowrank_white white, const repr_stats *stats, size_t cols,
                           lowrank_metric *out) {
    bool full = white >= LOWRANK_EIG && stats->gram;
    size_t size = full ? cols * cols : cols;
    *out = (lowrank_metric){.cols = cols, .full = full};
    out->s = pith_alloc(ctx, size * sizeof *out->s);
    out->inverse = pith_alloc(ctx, size * sizeof *out->inverse);
    if (!out->s || !out->inverse) return pith_alloc_status(ctx);
    if (full)
        return white == LOWRANK_CHOL ? whiten_chol(ctx, stats, cols, out->s, out->inverse)
                                     : dense_whiten(ctx, stats->gram, cols, out->s, out->inverse);
    vectors_costs(white == LOWRANK_NONE ? &(repr_stats){0} : stats, cols, out->s);
    for (size_t j = 0; j < cols; j++) {
        out->s[j] = sqrtf(out->s[j]);
        out->inverse[j] = 1 / out->s[j];
    }
    return PITH_OK;
}

void lowrank_metric_free(pith_ctx *ctx, lowrank_metric *m) {
    pith_free(ctx, m->s);
    pith_free(ctx, m->inverse);
}

static void times_side(const lowrank_metric *m, const float *side, const float *x, size_t rows, float *y) {
    size_t n = m->cols;
    if (m->full) {
        dense_gemm(false, false, rows, n, n, 1, x, n, side, n, 0, y, n);
        return;
    }
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < n; j++) y[i * n + j] = x[i * n + j] * side[j];
}

void lowrank_into(const lowrank_metric *m, const float *x, size_t rows, float *y) { times_side(m, m->s, x, rows, y); }
void lowrank_back(const lowrank_metric *m, const float *y, size_t rows, float *x) {
    times_side(m, m->inverse, y, rows, x);
}

void lowrank_balance(size_t rows, size_t cols, size_t r, float *a, float *b) {
    for (size_t k = 0; k < r; k++) {
        double na = 0, nb = 0;
        for (size_t i = 0; i < rows; i++) na += (double)a[i * r + k] * (double)a[i * r + k];
        for (size_t j = 0; j < cols; j++) nb += (double)b[k * cols + j] * (double)b[k * cols + j];
        if (!(na > 0) || !(nb > 0)) continue;
        float f = (float)sqrt(sqrt(nb / na));
        for (size_t i = 0; i < rows; i++) a[i * r + k] *= f;
        for (size_t j = 0; j < cols; j++) b[k * cols + j] /= f;
    }
}

pith_status lowrank_svd(pith_ctx *ctx, const float *w, size_t rows, size_t cols, size_t r, float *us, float *vt) {
    float *s = pith_alloc(ctx, r * sizeof *s);
    if (!s) return pith_alloc_status(ctx);
    size_t least = PITH_MIN(rows, cols);
    pith_status status = least >= 1024 && r < least / 6 ? dense_svd_random(ctx, w, rows, cols, r, 4, us, s, vt)
                                                        : dense_svd(ctx, w, rows, cols, r, us, s, vt);
    for (size_t i = 0; !status && i < rows; i++)
        for (size_t k = 0; k < r; k++) us[i * r + k] *= s[k];
    pith_free(ctx, s);
    return status;
}

pith_status lowrank_fit(pith_ctx *ctx, const float *w, size_t rows, size_t cols, size_t r, lowrank_white white,
                        const repr_stats *stats, float *a, float *b) {
    lowrank_metric metric;
    float *y = pith_alloc(ctx, rows * cols * sizeof *y), *vt = pith_alloc(ctx, r * cols * sizeof *vt);
    pith_status status = lowrank_whiten(ctx, white, stats, cols, &metric);
    if (!status && (!y || !vt)) status = pith_alloc_status(ctx);
    if (!status) {
        lowrank_into(&metric, w, rows, y);
        status = lowrank_svd(ctx, y, rows, cols, r, a, vt);
    }
    if (!status) {
        lowrank_back(&metric, vt, r, b);
        lowrank_balance(rows, cols, r, a, b);
    }
    pith_free(ctx, y);
    pith_free(ctx, vt);
    lowrank_metric_free(ctx, &metric);
    return status;
}

pith_status lowrank_refit(pith_ctx *ctx, const float *w, size_t rows, size_t cols, size_t r, double eps, const float *a,
                          float *b) {
    float *g = pith_alloc(ctx, r * r * sizeof *g);
    if (!g) return pith_alloc_status(ctx);
    dense_gemm(true, false, r, r, rows, 1, a, r, a, r, 0, g, r);
    double trace = 0;
    for (size_t k = 0; k < r; k++) trace += (double)g[k * r + k];
    pith_status status = PITH_OK;
    if (trace > 0) {
        dense_gemm(true, false, r, cols, rows, 1, a, r, w, cols, 0, b, cols);
        status = dense_solve(ctx, g, r, eps, b, cols);
    } else {
        memset(b, 0, r * cols * sizeof *b);
    }
    pith_free(ctx, g);
    return status;
}
