/* A model of running time from a few timings: t(p, o) = prefill(p) + (o - 1) g + overhead, prefill
 * in pieces of straight lines (D. Narayanan et al., Cheaply Estimating Inference Efficiency
 * Metrics for Autoregressive Transformer APIs, 2023). Least squares of relative errors by
 * Householder reflections, columns scaled, so that terms of all sizes are found alike. */
#include <math.h>

#include "lm/ruler/ruler.h"

#define MAX_TERMS (4 + RULER_KNOTS)

static unsigned terms_of(const ruler_runtime *r, uint32_t prompt, uint32_t output, double *x) {
    unsigned n = 0;
    double p = prompt, more = output ? output - 1.0 : 0;
    x[n++] = 1;
    x[n++] = p;
    for (uint32_t k = 0; k < r->n_knots; k++) x[n++] = p > r->knot[k] ? p - r->knot[k] : 0;
    x[n++] = more;
    if (r->positions) x[n++] = (p + more) * (p + more - 1) / 2; /* positions 0, 1, ... of all tokens fed */
    return n;
}

double ruler_runtime_predict(const ruler_runtime *r, uint32_t prompt, uint32_t output) {
    double x[MAX_TERMS], t = 0;
    double weights[MAX_TERMS] = {r->overhead, r->prefill};
    unsigned n = 2;
    for (uint32_t k = 0; k < r->n_knots; k++) weights[n++] = r->bend[k];
    weights[n++] = r->per_token;
    if (r->positions) weights[n++] = r->per_position;
    terms_of(r, prompt, output, x);
    for (unsigned i = 0; i < n; i++) t += weights[i] * x[i];
    return t;
}

/* a[rows][cols] w = b in the least-squares sense; false when the columns depend on each other. */
static bool solve(double *a, double *b, size_t rows, unsigned cols, double *w) {
    double length[MAX_TERMS];
    for (unsigned j = 0; j < cols; j++) {
        double sum = 0;
        for (size_t i = 0; i < rows; i++) sum += a[i * cols + j] * a[i * cols + j];
        length[j] = sqrt(sum);
        if (!(length[j] > 0)) return false;
        for (size_t i = 0; i < rows; i++) a[i * cols + j] /= length[j];
    }
    for (unsigned j = 0; j < cols; j++) {
        double norm = 0;
        for (size_t i = j; i < rows; i++) norm += a[i * cols + j] * a[i * cols + j];
        norm = sqrt(norm);
        if (norm < 1e-9) return false;
        double alpha = a[j * cols + j] > 0 ? -norm : norm, head = a[j * cols + j] - alpha;
        /* v = column - alpha e_j, kept in place; beta = 2 / v'v = -1 / (alpha head) */
        double beta = -1 / (alpha * head);
        a[j * cols + j] = head;
        for (unsigned k = j + 1; k <= cols; k++) {
            double dot = 0;
            for (size_t i = j; i < rows; i++) dot += a[i * cols + j] * (k < cols ? a[i * cols + k] : b[i]);
            for (size_t i = j; i < rows; i++) *(k < cols ? &a[i * cols + k] : &b[i]) -= beta * dot * a[i * cols + j];
        }
        w[j] = alpha; /* the diagonal of the triangle */
    }
    for (unsigned j = cols; j-- > 0;) {
        double sum = b[j], diagonal = w[j];
        for (unsigned k = j + 1; k < cols; k++) sum -= a[j * cols + k] * w[k];
        w[j] = sum / diagonal;
    }
    for (unsigned j = 0; j < cols; j++) w[j] /= length[j];
    return true;
}

pith_status ruler_runtime_fit(pith_ctx *ctx, const ruler_timing *timings, size_t n, uint32_t n_knots, bool positions,
                              ruler_runtime *out) {
    *out = (ruler_runtime){.n_knots = n_knots, .positions = positions};
    unsigned n_terms = 3 + n_knots + positions;
    if (n_knots > RULER_KNOTS) return pith_fail(ctx, PITH_E_ARGUMENT, "%u knots: at most %d", n_knots, RULER_KNOTS);
    if (n < n_terms || n > (size_t)1 << 20)
        return pith_fail(ctx, PITH_E_ARGUMENT, "%zu timings for %u terms", n, n_terms);
    double *a = pith_alloc(ctx, n * (n_terms + 2) * sizeof *a);
    if (!a) return pith_alloc_status(ctx);
    double *b = a + n * n_terms, *prompts = b + n, w[MAX_TERMS] = {0}, x[MAX_TERMS];
    pith_status status = PITH_OK;
    for (size_t i = 0; i < n; i++) prompts[i] = timings[i].prompt;
    ruler_sort(prompts, n);
    for (uint32_t k = 0; k < n_knots; k++) out->knot[k] = ruler_percentile(prompts, n, (k + 1.0) / (n_knots + 1.0));
    for (size_t i = 0; i < n && !status; i++) {
        double t = timings[i].seconds;
        if (!(t > 0) || isinf(t)) status = pith_fail(ctx, PITH_E_ARGUMENT, "timing %zu is not above 0", i);
        terms_of(out, timings[i].prompt, timings[i].output, x);
        for (unsigned j = 0; j < n_terms; j++) a[i * n_terms + j] = x[j] / t;
        b[i] = 1;
    }
    if (!status && !solve(a, b, n, n_terms, w))
        status = pith_fail(ctx, PITH_E_ARGUMENT, "the timings are too much alike to tell the terms apart");
    pith_free(ctx, a);
    if (status) return status;
    unsigned at = 0;
    out->overhead = w[at++];
    out->prefill = w[at++];
    for (uint32_t k = 0; k < n_knots; k++) out->bend[k] = w[at++];
    out->per_token = w[at++];
    if (positions) out->per_position = w[at];
    return PITH_OK;
}

pith_status ruler_runtime_check(pith_ctx *ctx, const ruler_runtime *r, const ruler_timing *timings, size_t n,
                                ruler_runtime_error *out) {
    *out = (ruler_runtime_error){0};
    if (!n || n > (size_t)1 << 20) return pith_fail(ctx, PITH_E_ARGUMENT, "%zu timings to check", n);
    double *errors = pith_alloc(ctx, n * sizeof *errors);
    if (!errors) return pith_alloc_status(ctx);
    for (size_t i = 0; i < n; i++) {
        double t = timings[i].seconds;
        errors[i] = fabs(ruler_runtime_predict(r, timings[i].prompt, timings[i].output) - t) / t;
        out->mean += errors[i] / (double)n;
    }
    ruler_sort(errors, n);
    out->p90 = ruler_percentile(errors, n, 0.9);
    out->max = errors[n - 1];
    pith_free(ctx, errors);
    return PITH_OK;
}
