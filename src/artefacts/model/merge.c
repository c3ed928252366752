/* A basis for the differences of several tasks, in closed form. */
#include <math.h>

#include "artefacts/model/merge.h"

void merge_gram(const float *const *d, size_t n_tasks, size_t n, double *gram) {
    for (size_t t = 0; t < n_tasks; t++)
        for (size_t u = 0; u <= t; u++) {
            double sum = 0;
            for (size_t i = 0; i < n; i++) sum += (double)d[t][i] * (double)d[u][i];
            gram[t * n_tasks + u] = gram[u * n_tasks + t] = sum;
        }
}

pith_status merge_gram_factored(pith_ctx *ctx, const merge_factors *d, size_t n_tasks, size_t rows, size_t cols,
                                double *gram) {
    size_t most = 0;
    for (size_t t = 0; t < n_tasks; t++) most = PITH_MAX(most, d[t].rank);
    float *left = pith_alloc(ctx, 2 * most * most * sizeof *left + 1), *right = left ? left + most * most : NULL;
    if (!left) return pith_alloc_status(ctx);
    for (size_t t = 0; t < n_tasks; t++)
        for (size_t u = 0; u <= t; u++) {
            size_t k = d[t].rank, l = d[u].rank;
            dense_gemm(true, false, k, l, rows, 1, d[t].b, k, d[u].b, l, 0, left, l);
            dense_gemm(false, true, k, l, cols, 1, d[t].a, cols, d[u].a, cols, 0, right, l);
            double sum = 0;
            for (size_t i = 0; i < k * l; i++) sum += (double)left[i] * (double)right[i];
            gram[t * n_tasks + u] = gram[u * n_tasks + t] = sum;
        }
    pith_free(ctx, left);
    return PITH_OK;
}

/* The Gram matrix of D_t - mean, in floats relative to its trace: centring needs no matrices. */
static double centre(const double *gram, size_t n, float *centred) {
    double all = 0, trace = 0;
    for (size_t i = 0; i < n * n; i++) all += gram[i];
    all /= (double)(n * n);
    for (size_t t = 0; t < n; t++) {
        double row = 0;
        for (size_t u = 0; u < n; u++) row += gram[t * n + u] / (double)n;
        trace += gram[t * n + t] - 2 * row + all;
    }
    for (size_t t = 0; t < n; t++)
        for (size_t u = 0; u < n; u++) {
            double a = 0, b = 0;
            for (size_t k = 0; k < n; k++) a += gram[t * n + k], b += gram[u * n + k];
            double g = gram[t * n + u] - (a + b) / (double)n + all;
            centred[t * n + u] = trace > 0 ? (float)(g / trace) : 0;
        }
    return trace > 0 ? trace : 0;
}

pith_status merge_coefficients(pith_ctx *ctx, const double *gram, size_t n_tasks, size_t p, float *c, double *lost) {
    size_t n = n_tasks;
    if (n == 0 || (p && p >= n)) return pith_fail(ctx, PITH_E_ARGUMENT, "%zu matrices for %zu tasks", p, n);
    float *centred = pith_alloc(ctx, (2 * n * n + n) * sizeof *centred);
    if (!centred) return pith_alloc_status(ctx);
    float *q = centred + n * n, *values = q + n * n;
    double trace = centre(gram, n, centred), energy = 0, left = 0;
    pith_status status = dense_eigen(ctx, centred, n, q, values);
    for (size_t t = 0; t < n; t++) energy += gram[t * n + t];
    /* the smallest is that of the mean, which is not among them any more */
    for (size_t k = 0; k + p < n && !status; k++) left += values[k] > 0 ? (double)values[k] : 0;
    for (size_t t = 0; t < n && !status; t++)
        for (size_t k = 0; k < p; k++) c[t * p + k] = q[t * n + (n - 1 - k)];
    *lost = energy > 0 ? left * trace / energy : 0;
    pith_free(ctx, centred);
    return status;
}

void merge_basis(const float *const *d, size_t n_tasks, size_t n, const float *c, size_t p, float *mean, float *basis) {
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t t = 0; t < n_tasks; t++) sum += (double)d[t][i];
        mean[i] = (float)(sum / (double)n_tasks);
        for (size_t k = 0; k < p; k++) {
            double e = 0;
            for (size_t t = 0; t < n_tasks; t++) e += (double)c[t * p + k] * ((double)d[t][i] - (double)mean[i]);
            basis[k * n + i] = (float)e;
        }
    }
}

void merge_restore(const float *mean, const float *basis, const float *c, size_t p, size_t n, size_t t, float *out) {
    for (size_t i = 0; i < n; i++) {
        float sum = mean[i];
        for (size_t k = 0; k < p; k++) sum += c[t * p + k] * basis[k * n + i];
        out[i] = sum;
    }
}

/* All factors beside each other, [rows][total] and [total][cols], the left ones weighted. */
static void gather(const merge_factors *d, const float *weight, size_t n_tasks, size_t rows, size_t cols, size_t total,
                   float *left, float *right) {
    size_t at = 0;
    for (size_t t = 0; t < n_tasks; t++) {
        for (size_t i = 0; i < rows; i++)
            for (size_t k = 0; k < d[t].rank; k++) left[i * total + at + k] = weight[t] * d[t].b[i * d[t].rank + k];
        if (d[t].rank) memcpy(right + at * cols, d[t].a, d[t].rank * cols * sizeof *right);
        at += d[t].rank;
    }
}

/* left right = U1 S1 (V1^T U2) S2 V2^T; the small matrix between decides. Room: everything of the sizes below. */
static pith_status decompose(pith_ctx *ctx, const float *left, const float *right, size_t rows, size_t cols,
                             size_t total, size_t r, float *room, float *b, float *a, size_t *kept) {
    size_t m = PITH_MIN(rows, total), n = PITH_MIN(cols, total), k = PITH_MIN(m, n), most = PITH_MIN(r, k);
    float *u1 = room, *s1 = u1 + rows * m, *v1 = s1 + m, *u2 = v1 + m * total, *s2 = u2 + total * n, *v2 = s2 + n;
    float *core = v2 + n * cols, *u = core + m * n, *s = u + m * most, *vt = s + most;
    pith_status status = dense_svd(ctx, left, rows, total, m, u1, s1, v1);
    if (!status) status = dense_svd(ctx, right, total, cols, n, u2, s2, v2);
    if (status) return status;
    dense_gemm(false, false, m, n, total, 1, v1, total, u2, n, 0, core, n);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) core[i * n + j] *= s1[i] * s2[j];
    status = dense_svd(ctx, core, m, n, most, u, s, vt);
    if (status) return status;
    *kept = 0;
    for (size_t j = 0; j < most; j++) {
        float root = sqrtf(s[j]);
        *kept += s[j] > 1e-6f * s[0];
        for (size_t i = 0; i < m; i++) u[i * most + j] *= root;
        for (size_t i = 0; i < n; i++) vt[j * n + i] *= root;
    }
    memset(b, 0, rows * r * sizeof *b);
    memset(a, 0, r * cols * sizeof *a);
    dense_gemm(false, false, rows, most, m, 1, u1, m, u, most, 0, b, r);
    dense_gemm(false, false, most, cols, n, 1, vt, n, v2, cols, 0, a, cols);
    return PITH_OK;
}

pith_status merge_factored(pith_ctx *ctx, const merge_factors *d, const float *weight, size_t n_tasks, size_t rows,
                           size_t cols, size_t r, float *b, float *a, size_t *kept) {
    size_t total = 0;
    for (size_t t = 0; t < n_tasks; t++) total += d[t].rank;
    if (total == 0 || r == 0) return pith_fail(ctx, PITH_E_ARGUMENT, "no factors to merge");
    size_t m = PITH_MIN(rows, total), n = PITH_MIN(cols, total);
    float *left = pith_alloc(ctx, rows * total * sizeof *left), *right = pith_alloc(ctx, total * cols * sizeof *right);
    float *room =
        pith_alloc(ctx, (rows * m + m + m * total + total * n + n + n * cols + m * n + (m + n + 1) * r) * sizeof *room);
    pith_status status = left && right && room ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        gather(d, weight, n_tasks, rows, cols, total, left, right);
        status = decompose(ctx, left, right, rows, cols, total, r, room, b, a, kept);
    }
    pith_free(ctx, left);
    pith_free(ctx, right);
    pith_free(ctx, room);
    return status;
}
