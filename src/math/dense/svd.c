/* Singular values: LAPACK's divide and conquer; in plain C the eigenvalues of the smaller Gram matrix, in doubles,
 * which loses no more than floats would (s^2 to 2^-53 of the largest is s to 2^-26); and a randomised one
 * (Halko, Martinsson and Tropp 2011, algorithms 4.4 and 5.1). */
#include <limits.h>
#include <math.h>

#include "math/dense/blas.h"
#include "math/dense/dense.h"
#include "math/dense/lanes.h"
#include "math/dense/parts.h"

static pith_status check(pith_ctx *ctx, const float *a, size_t m, size_t n, size_t r) {
    if (m == 0 || n == 0 || r == 0 || r > PITH_MIN(m, n))
        return pith_fail(ctx, PITH_E_ARGUMENT, "singular values: rank %zu of a %zu by %zu matrix", r, m, n);
    if (PITH_MIN(m, n) > DENSE_MOST || PITH_MAX(m, n) > (SIZE_MAX >> 4) / PITH_MIN(m, n))
        return pith_fail(ctx, PITH_E_ARGUMENT, "singular values of a %zu by %zu matrix: too large", m, n);
    if (!dense_finite(a, m * n)) return pith_fail(ctx, PITH_E_CHECK, "singular values of numbers that are not finite");
    return PITH_OK;
}

/* The largest of each row of vt is made positive. */
static void fix_signs(size_t m, size_t n, size_t r, float *u, float *vt) {
    for (size_t k = 0; k < r; k++) {
        float *row = vt + k * n, most = 0;
        for (size_t j = 0; j < n; j++)
            if (fabsf(row[j]) > fabsf(most)) most = row[j];
        if (most >= 0) continue;
        for (size_t j = 0; j < n; j++) row[j] = -row[j];
        for (size_t i = 0; i < m; i++) u[i * r + k] = -u[i * r + k];
    }
}

/* By rows, A is the transposed matrix of LAPACK's columns: its U is our vt and the other way round. False when it did
 * not converge. */
static pith_status by_lapack(pith_ctx *ctx, const blas *library, const float *a, size_t m, size_t n, size_t r, float *u,
                             float *s, float *vt, bool *done) {
    size_t k = PITH_MIN(m, n);
    int rows = (int)n, cols = (int)m, least = (int)k, n_work = -1, info = 0;
    float wish;
    int *iwork = pith_alloc(ctx, 8 * k * sizeof *iwork);
    float *copy = pith_alloc(ctx, m * n * sizeof *copy), *full_u = pith_alloc(ctx, m * k * sizeof *full_u),
          *full_vt = pith_alloc(ctx, k * n * sizeof *full_vt), *values = pith_alloc(ctx, k * sizeof *values),
          *work = NULL;
    pith_status status = iwork && copy && full_u && full_vt && values ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        memcpy(copy, a, m * n * sizeof *copy);
        library->sgesdd("S", &rows, &cols, copy, &rows, values, full_vt, &rows, full_u, &least, &wish, &n_work, iwork,
                        &info, 1);
        n_work = wish < 2e9f ? (int)wish + (int)(wish / 4e6f) + 1 : INT_MAX; /* a float may have rounded it down */
        if (!(work = pith_alloc(ctx, (size_t)n_work * sizeof *work))) status = pith_alloc_status(ctx);
    }
    if (!status) {
        library->sgesdd("S", &rows, &cols, copy, &rows, values, full_vt, &rows, full_u, &least, work, &n_work, iwork,
                        &info, 1);
        *done = info == 0 && dense_finite(values, k);
        memcpy(s, values, r * sizeof *s);
        memcpy(vt, full_vt, r * n * sizeof *vt);
        for (size_t i = 0; i < m; i++) memcpy(u + i * r, full_u + i * k, r * sizeof *u);
    }
    pith_free(ctx, work);
    pith_free(ctx, values);
    pith_free(ctx, full_vt);
    pith_free(ctx, full_u);
    pith_free(ctx, copy);
    pith_free(ctx, iwork);
    return status;
}

/* y[i], orthogonal to the rows before it, becomes a unit vector; gives its length. Where nothing is left of it, the
 * unit vector that the rows before have least of, made orthogonal. */
static double settle(double *y, size_t i, size_t n, double floor) {
    double *row = y + i * n, length = 0;
    for (int replaced = 0; replaced < 2; replaced++) {
        for (int pass = 0; pass < 2; pass++)
            for (size_t k = 0; k < i; k++) lanes_add(row, -lanes_dot(row, y + k * n, n), y + k * n, n);
        double left = sqrt(lanes_dot(row, row, n));
        if (!replaced) length = left;
        if (left > (replaced ? 0 : floor)) {
            for (size_t j = 0; j < n; j++) row[j] /= left;
            break;
        }
        length = 0;
        size_t best = 0;
        double least = 2;
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t k = 0; k < i; k++) sum += y[k * n + j] * y[k * n + j];
            if (sum < least) least = sum, best = j;
        }
        memset(row, 0, n * sizeof *row);
        row[best] = 1;
    }
    return length;
}

static pith_status by_gram(pith_ctx *ctx, const float *a, size_t m, size_t n, size_t r, float *u, float *s, float *vt) {
    size_t k = PITH_MIN(m, n), length = PITH_MAX(m, n);
    bool wide = m <= n;
    double *g = pith_zalloc(ctx, k * k * sizeof *g), *work = pith_alloc(ctx, 3 * k * sizeof *work),
           *y = pith_zalloc(ctx, r * length * sizeof *y), *row = pith_alloc(ctx, n * sizeof *row);
    pith_status status = g && work && y && row ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        if (wide) {
            for (size_t i = 0; i < m; i++)
                for (size_t j = 0; j <= i; j++) g[i * k + j] = lanes_dot_floats(a + i * n, a + j * n, n);
        } else {
            for (size_t i = 0; i < m; i++) {
                for (size_t j = 0; j < n; j++) row[j] = (double)a[i * n + j];
                for (size_t j = 0; j < n; j++) lanes_add(g + j * k, row[j], row, j + 1);
            }
        }
        for (size_t i = 0; i < k; i++)
            for (size_t j = 0; j < i; j++) g[j * k + i] = g[i * k + j];
        if (!dense_symmetric(g, k, work, work + k))
            status = pith_fail(ctx, PITH_E_CHECK, "singular values do not converge");
    }
    if (!status) {
        for (size_t i = 0; i < m; i++) { /* row i of A, once for all vectors */
            for (size_t j = 0; j < n; j++) row[j] = (double)a[i * n + j];
            for (size_t p = 0; p < r; p++) {
                const double *z = g + (k - 1 - p) * k;
                if (wide)
                    lanes_add(y + p * length, z[i], row, n);
                else
                    y[p * length + i] = lanes_dot(row, z, n);
            }
        }
        for (size_t p = 0; p < r; p++) {
            const double *z = g + (k - 1 - p) * k;
            s[p] = (float)settle(y, p, length, 1e-14 * sqrt(fabs(work[k - 1])));
            if (p && s[p] > s[p - 1]) s[p] = s[p - 1];
            const double *left = wide ? z : y + p * length, *right = wide ? y + p * length : z;
            for (size_t i = 0; i < m; i++) u[i * r + p] = (float)left[i];
            for (size_t j = 0; j < n; j++) vt[p * n + j] = (float)right[j];
        }
    }
    pith_free(ctx, row);
    pith_free(ctx, y);
    pith_free(ctx, work);
    pith_free(ctx, g);
    return status;
}

pith_status dense_svd(pith_ctx *ctx, const float *a, size_t m, size_t n, size_t r, float *u, float *s, float *vt) {
    pith_status status = check(ctx, a, m, n, r);
    const blas *library = blas_open();
    bool done = false;
    if (!status && library && m <= INT_MAX && n <= INT_MAX)
        status = by_lapack(ctx, library, a, m, n, r, u, s, vt, &done);
    if (!status && !done) status = by_gram(ctx, a, m, n, r, u, s, vt);
    if (!status) fix_signs(m, n, r, u, vt);
    return status;
}

pith_status dense_svd_random(pith_ctx *ctx, const float *a, size_t m, size_t n, size_t r, unsigned power, float *u,
                             float *s, float *vt) {
    pith_status status = check(ctx, a, m, n, r);
    if (status) return status;
    size_t l = r + 8;
    if (l >= PITH_MIN(m, n)) return dense_svd(ctx, a, m, n, r, u, s, vt);
    float *range = pith_alloc(ctx, l * m * sizeof *range), *other = pith_alloc(ctx, l * n * sizeof *other),
          *left = pith_alloc(ctx, l * r * sizeof *left);
    status = range && other && left ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        uint64_t noise = 0x5EED;
        for (size_t i = 0; i < l * n; i++)
            other[i] = dense_noise(&noise) + dense_noise(&noise) + dense_noise(&noise); /* near enough to Gauss */
        dense_gemm(false, true, l, m, n, 1, other, n, a, n, 0, range, m);
        status = dense_orthonormal(ctx, range, l, m);
    }
    for (unsigned step = 0; step < power && !status; step++) {
        dense_gemm(false, false, l, n, m, 1, range, m, a, n, 0, other, n);
        status = dense_orthonormal(ctx, other, l, n);
        if (status) break;
        dense_gemm(false, true, l, m, n, 1, other, n, a, n, 0, range, m);
        status = dense_orthonormal(ctx, range, l, m);
    }
    if (!status) {
        dense_gemm(false, false, l, n, m, 1, range, m, a, n, 0, other, n);
        status = dense_svd(ctx, other, l, n, r, left, s, vt);
    }
    if (!status) dense_gemm(true, false, m, r, l, 1, range, m, left, r, 0, u, r);
    pith_free(ctx, left);
    pith_free(ctx, other);
    pith_free(ctx, range);
    return status;
}
