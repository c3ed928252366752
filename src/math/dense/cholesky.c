/* What is made of a Cholesky factor: GPTQ's factor of an inverse, least squares, leverage scores.
 *
 * The upper U with H^-1 = U^T U needs no inverse of H: with J the reversal of all rows and columns and J H J = L L^T,
 * H = (J L J)(J L J)^T and U = (J L J)^-1 = J L^-1 J. One factorisation and one triangular inverse, half the work of
 * the usual factor-invert-factor, and one matrix. */
#include <math.h>

#include "math/dense/blas.h"
#include "math/dense/dense.h"
#include "math/dense/parts.h"

#define DOUBLES_TO 8192 /* sides up to this are factored in doubles */
#define LEAST_DAMP                                                                                                     \
    1e-6 /* what a damping that failed at 0 begins with; of inputs never seen, their share of the mean                 \
          */

pith_status dense_check_side(pith_ctx *ctx, const char *name, size_t n) {
    if (n >= 1 && n <= DENSE_MOST) return PITH_OK;
    return pith_fail(ctx, PITH_E_ARGUMENT, "%s: %zu inputs, expected 1 to %d", name, n, DENSE_MOST);
}

static double mean_diagonal_packed(const float *packed, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)packed[DENSE_PACKED(i) + i];
    return sum / (double)n;
}

/* J (H + ridge) J, lower triangle, zeros above it: element (i, j) is H(n-1-j, n-1-i). A dead input keeps nothing but
 * its diagonal. */
static void reversed(const float *packed, size_t n, double ridge, double mean, double *d, float *f) {
    for (size_t i = 0; i < n; i++) {
        size_t column = n - 1 - i;
        bool dead = packed[DENSE_PACKED(column) + column] == 0;
        for (size_t j = 0; j < n; j++) {
            double v = 0;
            if (j <= i) {
                size_t row = n - 1 - j;
                bool other_dead = packed[DENSE_PACKED(row) + row] == 0;
                if (i == j)
                    v = dead ? PITH_MAX(ridge, LEAST_DAMP * mean) : (double)packed[DENSE_PACKED(row) + row] + ridge;
                else if (!dead && !other_dead)
                    v = (double)packed[DENSE_PACKED(row) + column];
            }
            if (d)
                d[i * n + j] = v;
            else
                f[i * n + j] = (float)v;
        }
    }
}

pith_status dense_cholesky_inverse(pith_ctx *ctx, const float *packed, size_t n, double damp, float *u, uint8_t *dead,
                                   double *used) {
    pith_status status = dense_check_side(ctx, "factor of an inverse", n);
    if (status) return status;
    if (!dense_finite(packed, DENSE_PACKED(n)))
        return pith_fail(ctx, PITH_E_CHECK, "the statistics of the inputs have numbers that are not finite");
    if (!(damp >= 0 && damp <= 1)) return pith_fail(ctx, PITH_E_ARGUMENT, "a damping of %g, expected 0 to 1", damp);
    double mean = mean_diagonal_packed(packed, n);
    for (size_t i = 0; i < n; i++) {
        float v = packed[DENSE_PACKED(i) + i];
        if (v < 0) return pith_fail(ctx, PITH_E_CHECK, "the statistics of input %zu are those of no input", i);
        if (dead) dead[i] = v == 0;
    }
    if (mean == 0) mean = 1; /* nothing was ever seen: all inputs count the same */
    double *d = NULL;
    if (n <= DOUBLES_TO && !(d = pith_alloc(ctx, n * n * sizeof *d))) return pith_alloc_status(ctx);
    for (;;) {
        reversed(packed, n, damp * mean, mean, d, u);
        if (d ? dense_factor(d, n) : dense_factor_floats(u, n)) break;
        if (damp >= 1) {
            pith_free(ctx, d);
            return pith_fail(ctx, PITH_E_CHECK, "the statistics of the inputs are no Gram matrix");
        }
        damp = PITH_MIN(PITH_MAX(damp * 10, LEAST_DAMP), 1);
    }
    status = d ? dense_invert_lower(ctx, d, n) : dense_invert_lower_floats(ctx, u, n);
    if (d) {
        for (size_t i = 0; i < n * n; i++) u[i] = (float)d[n * n - 1 - i];
        pith_free(ctx, d);
    } else {
        for (size_t i = 0; i < n * n / 2; i++) {
            float v = u[i];
            u[i] = u[n * n - 1 - i];
            u[n * n - 1 - i] = v;
        }
    }
    if (used) *used = damp;
    return status;
}

/* ---- least squares ---------------------------------------------------------------------------------- */

#define PANEL 128

typedef struct solve_work {
    pith_ctx *ctx;
    const double *lower;
    float *b;
    size_t n, k;
} solve_work;

/* L y = b, then L^T x = y, on a panel [n][width]. */
static void substitute(const double *lower, size_t n, double *panel, size_t width) {
    const blas *library = blas_open();
    if (library) { /* n <= DENSE_MOST */
        for (int back = 0; back < 2; back++)
            library->dtrsm(BLAS_ROWS, BLAS_LEFT, BLAS_LOWER, back ? BLAS_TRANSPOSED : BLAS_PLAIN, BLAS_NOT_UNIT, (int)n,
                           (int)width, 1, lower, (int)n, panel, (int)width);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        double *row = panel + i * width, d = lower[i * n + i];
        for (size_t l = 0; l < i; l++) {
            double c = lower[i * n + l];
            const double *from = panel + l * width;
            for (size_t j = 0; j < width; j++) row[j] -= c * from[j];
        }
        for (size_t j = 0; j < width; j++) row[j] /= d;
    }
    for (size_t i = n; i-- > 0;) {
        const double *row = panel + i * width;
        double d = lower[i * n + i];
        for (size_t j = 0; j < width; j++) panel[i * width + j] /= d;
        for (size_t l = 0; l < i; l++) {
            double c = lower[i * n + l], *to = panel + l * width;
            for (size_t j = 0; j < width; j++) to[j] -= c * row[j];
        }
    }
}

static pith_status solve_panel(void *arg, size_t number) {
    const solve_work *s = arg;
    size_t first = number * PANEL, width = PITH_MIN(s->k - first, (size_t)PANEL);
    double *panel = pith_alloc(s->ctx, s->n * width * sizeof *panel);
    if (!panel) return pith_alloc_status(s->ctx);
    for (size_t i = 0; i < s->n; i++)
        for (size_t j = 0; j < width; j++) panel[i * width + j] = (double)s->b[i * s->k + first + j];
    substitute(s->lower, s->n, panel, width);
    for (size_t i = 0; i < s->n; i++)
        for (size_t j = 0; j < width; j++) s->b[i * s->k + first + j] = (float)panel[i * width + j];
    pith_free(s->ctx, panel);
    return PITH_OK;
}

/* d = g with `ridge` on its diagonal, lower triangle. */
static void with_ridge(const float *g, size_t n, double ridge, double *d) {
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) d[i * n + j] = j <= i ? (double)g[i * n + j] : 0;
        d[i * n + i] += ridge;
    }
}

pith_status dense_solve(pith_ctx *ctx, const float *g, size_t n, double eps, float *b, size_t k) {
    pith_status status = dense_check_side(ctx, "least squares", n);
    if (status) return status;
    if (!(eps >= 0 && eps <= 1)) return pith_fail(ctx, PITH_E_ARGUMENT, "a ridge of %g, expected 0 to 1", eps);
    if (!dense_finite_lower(g, n) || !dense_finite(b, n * k))
        return pith_fail(ctx, PITH_E_CHECK, "least squares over numbers that are not finite");
    double mean = 0, *d = pith_alloc(ctx, n * n * sizeof *d);
    if (!d) return pith_alloc_status(ctx);
    for (size_t i = 0; i < n; i++) mean += (double)g[i * n + i] / (double)n;
    if (mean == 0) mean = 1;
    for (;;) {
        with_ridge(g, n, eps * mean, d);
        if (dense_factor(d, n)) break;
        if (eps >= 1) {
            pith_free(ctx, d);
            return pith_fail(ctx, PITH_E_CHECK, "least squares over a matrix that is not positive");
        }
        eps = PITH_MIN(PITH_MAX(eps * 10, LEAST_DAMP), 1);
    }
    solve_work work = {.ctx = ctx, .lower = d, .b = b, .n = n, .k = k};
    status = k ? pith_parallel(ctx, (k + PANEL - 1) / PANEL, solve_panel, &work) : PITH_OK;
    pith_free(ctx, d);
    return status;
}

/* C (C + l I)^-1 = I - l (C + l I)^-1, and the diagonal of (L L^T)^-1 is the squared length of L^-1's columns. */
pith_status dense_leverage(pith_ctx *ctx, const float *c, size_t n, double lambda, float *scores) {
    pith_status status = dense_check_side(ctx, "leverage scores", n);
    if (status) return status;
    if (!(lambda > 0)) return pith_fail(ctx, PITH_E_ARGUMENT, "leverage scores need a ridge above 0, not %g", lambda);
    if (!dense_finite_lower(c, n))
        return pith_fail(ctx, PITH_E_CHECK, "leverage scores of numbers that are not finite");
    double *d = pith_alloc(ctx, n * n * sizeof *d), *sums = pith_zalloc(ctx, n * sizeof *sums);
    status = d && sums ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        with_ridge(c, n, lambda, d);
        if (dense_factor(d, n))
            status = dense_invert_lower(ctx, d, n);
        else
            status = pith_fail(ctx, PITH_E_CHECK, "leverage scores of a matrix that is not positive");
    }
    if (!status) {
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j <= i; j++) sums[j] += d[i * n + j] * d[i * n + j];
        for (size_t j = 0; j < n; j++) scores[j] = (float)(1 - lambda * sums[j]);
    }
    pith_free(ctx, sums);
    pith_free(ctx, d);
    return status;
}
