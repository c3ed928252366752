/* Cholesky factors and inverses of triangles, by LAPACK or by our own loops. */
#include <limits.h>
#include <math.h>

#include "math/dense/blas.h"
#include "math/dense/parts.h"

#define REAL double
#define TRIANGLE_NAME(name) name##_double
#include "math/dense/triangle.h"
#undef REAL
#undef TRIANGLE_NAME
#define REAL float
#define TRIANGLE_NAME(name) name##_float
#include "math/dense/triangle.h"

bool dense_factor(double *a, size_t n) {
    const blas *library = blas_open();
    if (!library || n > INT_MAX) return factor_double(a, n);
    int size = (int)n, info = 0;
    library->dpotrf("U", &size, a, &size, &info, 1);
    for (size_t i = 0; i < n && info == 0; i++) info = !isfinite(a[i * n + i]);
    return info == 0;
}

bool dense_factor_floats(float *a, size_t n) {
    const blas *library = blas_open();
    if (!library || n > INT_MAX) return factor_float(a, n);
    int size = (int)n, info = 0;
    library->spotrf("U", &size, a, &size, &info, 1);
    for (size_t i = 0; i < n && info == 0; i++) info = !isfinite(a[i * n + i]);
    return info == 0;
}

pith_status dense_invert_lower(pith_ctx *ctx, double *a, size_t n) {
    const blas *library = blas_open();
    if (library && n <= INT_MAX) {
        int size = (int)n, info = 0;
        library->dtrtri("U", "N", &size, a, &size, &info, 1, 1);
        return info == 0 ? PITH_OK : pith_fail(ctx, PITH_E_CHECK, "a triangle with a zero on its diagonal");
    }
    double *kept = pith_alloc(ctx, 4 * n * sizeof *kept);
    if (!kept) return pith_alloc_status(ctx);
    invert_double(a, n, kept);
    pith_free(ctx, kept);
    return PITH_OK;
}

pith_status dense_invert_lower_floats(pith_ctx *ctx, float *a, size_t n) {
    const blas *library = blas_open();
    if (library && n <= INT_MAX) {
        int size = (int)n, info = 0;
        library->strtri("U", "N", &size, a, &size, &info, 1, 1);
        return info == 0 ? PITH_OK : pith_fail(ctx, PITH_E_CHECK, "a triangle with a zero on its diagonal");
    }
    float *kept = pith_alloc(ctx, 4 * n * sizeof *kept);
    if (!kept) return pith_alloc_status(ctx);
    invert_float(a, n, kept);
    pith_free(ctx, kept);
    return PITH_OK;
}
