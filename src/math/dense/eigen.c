/* Symmetric eigenvalues, and whitening by them. */
#include <limits.h>
#include <math.h>

#include "math/dense/blas.h"
#include "math/dense/dense.h"
#include "math/dense/parts.h"

#define DOUBLES_TO 2048 /* sides up to this in doubles, which LAPACK wants three times n^2 of */
#define LAPACK_TO 32000 /* above, the work space of divide and conquer does not fit an int */

/* Vectors in the rows of a[n][n], which is the matrix before. */
static pith_status symmetric_doubles(pith_ctx *ctx, const blas *library, double *a, size_t n, double *values) {
    int size = (int)n, n_work = 1 + 6 * size + 2 * size * size, n_iwork = 3 + 5 * size, info = 0;
    double *work = pith_alloc(ctx, (library ? (size_t)n_work : 2 * n) * sizeof *work);
    int *iwork = library ? pith_alloc(ctx, (size_t)n_iwork * sizeof *iwork) : NULL;
    pith_status status = work && (iwork || !library) ? PITH_OK : pith_alloc_status(ctx);
    if (!status && library) {
        library->dsyevd("V", "U", &size, a, &size, values, work, &n_work, iwork, &n_iwork, &info, 1, 1);
    } else if (!status) {
        info = !dense_symmetric(a, n, values, work);
    }
    pith_free(ctx, iwork);
    pith_free(ctx, work);
    if (!status && info) status = pith_fail(ctx, PITH_E_CHECK, "eigenvalues do not converge");
    return status;
}

static pith_status symmetric_floats(pith_ctx *ctx, const blas *library, float *a, size_t n, float *values) {
    int size = (int)n, n_work = 1 + 6 * size + 2 * size * size, n_iwork = 3 + 5 * size, info = 0;
    float *work = pith_alloc(ctx, (size_t)n_work * sizeof *work);
    int *iwork = pith_alloc(ctx, (size_t)n_iwork * sizeof *iwork);
    pith_status status = work && iwork ? PITH_OK : pith_alloc_status(ctx);
    if (!status) library->ssyevd("V", "U", &size, a, &size, values, work, &n_work, iwork, &n_iwork, &info, 1, 1);
    pith_free(ctx, iwork);
    pith_free(ctx, work);
    if (!status && info) status = pith_fail(ctx, PITH_E_CHECK, "eigenvalues do not converge");
    return status;
}

/* Rows to columns, in place. */
static void turn(float *q, size_t n) {
    for (size_t i0 = 0; i0 < n; i0 += 32)
        for (size_t j0 = 0; j0 <= i0; j0 += 32)
            for (size_t i = i0; i < PITH_MIN(n, i0 + 32); i++)
                for (size_t j = j0; j < PITH_MIN(i, j0 + 32); j++) {
                    float v = q[i * n + j];
                    q[i * n + j] = q[j * n + i];
                    q[j * n + i] = v;
                }
}

pith_status dense_eigen(pith_ctx *ctx, const float *a, size_t n, float *q, float *values) {
    pith_status status = dense_check_side(ctx, "eigenvalues", n);
    if (status) return status;
    if (!dense_finite_lower(a, n)) return pith_fail(ctx, PITH_E_CHECK, "eigenvalues of numbers that are not finite");
    const blas *library = n <= LAPACK_TO ? blas_open() : NULL;
    if (library && n > DOUBLES_TO) {
        for (size_t i = 0; i < n; i++) memcpy(q + i * n, a + i * n, (i + 1) * sizeof *q);
        status = symmetric_floats(ctx, library, q, n, values);
    } else {
        double *d = pith_alloc(ctx, (n * n + n) * sizeof *d);
        if (!d) return pith_alloc_status(ctx);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j <= i; j++) d[i * n + j] = d[j * n + i] = (double)a[i * n + j];
        status = symmetric_doubles(ctx, library, d, n, d + n * n);
        for (size_t i = 0; i < n * n && !status; i++) q[i] = (float)d[i];
        for (size_t i = 0; i < n && !status; i++) values[i] = (float)d[n * n + i];
        pith_free(ctx, d);
    }
    if (!status) turn(q, n);
    return status;
}

pith_status dense_whiten(pith_ctx *ctx, const float *packed, size_t n, float *s, float *s_inverse) {
    pith_status status = dense_check_side(ctx, "whitening", n);
    if (status) return status;
    float *values = pith_alloc(ctx, n * sizeof *values);
    if (!values) return pith_alloc_status(ctx);
    dense_unpack(packed, n, s_inverse);
    status = dense_eigen(ctx, s_inverse, n, s, values);
    if (!status) {
        double most = (double)values[n - 1], least = most > 0 ? 1e-6 * most : 1;
        for (size_t i = 0; i < n; i++) values[i] = (float)sqrt(PITH_MAX((double)values[i], least));
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) s_inverse[i * n + j] = s[i * n + j] / values[j];
        turn(s_inverse, n);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) s[i * n + j] *= values[j];
    }
    pith_free(ctx, values);
    return status;
}
