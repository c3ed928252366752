/* Clusters of matrices that share a basis (S337): bounds on the error of a joint one, and a greedy merge by bytes. */
#include <math.h>

#include "kernels/allocate/allocate.h"
#include "math/dense/dense.h"

double alloc_basis_weyl(const double *la, const double *lb, size_t rows, size_t r) {
    double error = 0, kept = 0;
    for (size_t i = 0; i < rows; i++) error += la[i] + lb[i];
    for (size_t k = 0; k < r && k < rows; k++) {
        double least = 0;
        for (size_t i = k; i < rows; i++) least = fmax(least, la[i] + lb[rows - 1 - (i - k)]);
        kept += least;
    }
    return fmax(error - kept, 0);
}

double alloc_basis_beyond(const double *la, const double *beyond, size_t rows, size_t p, size_t r) {
    double error = 0;
    for (size_t i = p; i < rows; i++) error += la[i];
    for (size_t i = r - p; i < rows; i++) error += beyond[i];
    return error;
}

typedef struct cluster {
    double *gram;  /* [rows][rows], NULL: merged into another */
    double square; /* of the Gram matrix */
    uint64_t bytes;
    size_t cols;
} cluster;

typedef struct pair {
    size_t a, b;
    double alike;
} pair;

typedef struct sharing {
    pith_ctx *ctx;
    size_t rows, n;
    double tolerance;
    cluster *at;
    float *floats, *vectors, *values; /* [rows][rows], [rows][rows], [rows] */
    double *known;                    /* [n][n] bytes of a and b together; 0: not known */
} sharing;

/* Bytes of a cluster with this Gram matrix (b may be NULL). */
static pith_status bytes_of(sharing *s, const double *a, const double *b, size_t cols, uint64_t *bytes) {
    size_t n = s->rows, r = n;
    double all = 0, error = 0;
    for (size_t i = 0; i < n * n; i++) s->floats[i] = (float)(b ? a[i] + b[i] : a[i]);
    for (size_t i = 0; i < n; i++) all += b ? a[i * n + i] + b[i * n + i] : a[i * n + i];
    pith_status status = dense_eigen(s->ctx, s->floats, n, s->vectors, s->values);
    if (status) return status;
    while (r > 1 && error + fmax(s->values[n - r], 0) <= s->tolerance * s->tolerance * all)
        error += fmax(s->values[n - r], 0), r--;
    *bytes = 2 * PITH_MIN((uint64_t)r * (n + cols), (uint64_t)n * cols);
    return PITH_OK;
}

static double dot(const double *a, const double *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* The `most` most alike pairs, best first. */
static size_t likely_pairs(const sharing *s, pair *pairs, size_t most) {
    size_t n = 0;
    for (size_t a = 0; a < s->n; a++)
        for (size_t b = a + 1; b < s->n && s->at[a].gram; b++) {
            if (!s->at[b].gram) continue;
            double scale = sqrt(s->at[a].square * s->at[b].square);
            pair p = {a, b, scale > 0 ? dot(s->at[a].gram, s->at[b].gram, s->rows * s->rows) / scale : 0};
            size_t i = n < most ? n++ : most;
            for (; i > 0 && pairs[i - 1].alike < p.alike; i--)
                if (i < most) pairs[i] = pairs[i - 1];
            if (i < most) pairs[i] = p;
        }
    return n;
}

static void merge(sharing *s, size_t a, size_t b, uint64_t bytes) {
    size_t n = s->rows * s->rows;
    for (size_t i = 0; i < n; i++) s->at[a].gram[i] += s->at[b].gram[i];
    s->at[a].square = dot(s->at[a].gram, s->at[a].gram, n);
    s->at[a].bytes = bytes;
    s->at[a].cols += s->at[b].cols;
    pith_free(s->ctx, s->at[b].gram);
    s->at[b].gram = NULL;
    for (size_t i = 0; i < s->n; i++)
        s->known[a * s->n + i] = s->known[i * s->n + a] = s->known[b * s->n + i] = s->known[i * s->n + b] = 0;
}

/* One merge; *more is false when none saves bytes. */
static pith_status step(sharing *s, pair *pairs, size_t tries, uint32_t *group, alloc_sharing *out, bool *more) {
    size_t n = likely_pairs(s, pairs, tries), best = n;
    double saved = 0;
    pith_status status = PITH_OK;
    for (size_t i = 0; i < n && !status; i++) {
        const cluster *a = &s->at[pairs[i].a], *b = &s->at[pairs[i].b];
        double *known = &s->known[pairs[i].a * s->n + pairs[i].b];
        uint64_t bytes = (uint64_t)*known;
        if (!bytes) {
            status = bytes_of(s, a->gram, b->gram, a->cols + b->cols, &bytes);
            *known = (double)bytes;
            out->n_tried++;
        }
        double saving = (double)(a->bytes + b->bytes) - (double)bytes;
        if (!status && saving > saved) saved = saving, best = i;
    }
    *more = !status && best < n;
    if (!*more) return status;
    size_t a = pairs[best].a, b = pairs[best].b;
    merge(s, a, b, (uint64_t)s->known[a * s->n + b]);
    for (size_t i = 0; i < s->n; i++)
        if (group[i] == b) group[i] = (uint32_t)a;
    return PITH_OK;
}

static pith_status start(sharing *s, const alloc_matrix *m, uint32_t *group, alloc_sharing *out) {
    size_t n = s->rows, cols = 0;
    double *all = pith_zalloc(s->ctx, n * n * sizeof *all);
    pith_status status = all ? PITH_OK : pith_alloc_status(s->ctx);
    for (size_t i = 0; i < s->n && !status; i++) {
        cluster *c = &s->at[i];
        group[i] = (uint32_t)i;
        c->cols = m[i].cols;
        c->gram = pith_alloc(s->ctx, n * n * sizeof *c->gram);
        if (!c->gram) {
            status = pith_alloc_status(s->ctx);
            break;
        }
        dense_gemm(false, true, n, n, c->cols, 1, m[i].data, c->cols, m[i].data, c->cols, 0, s->floats, n);
        for (size_t k = 0; k < n * n; k++) all[k] += c->gram[k] = s->floats[k];
        c->square = dot(c->gram, c->gram, n * n);
        cols += c->cols;
        status = bytes_of(s, c->gram, NULL, c->cols, &c->bytes);
        out->alone += c->bytes;
    }
    if (!status) status = bytes_of(s, all, NULL, cols, &out->together);
    pith_free(s->ctx, all);
    return status;
}

pith_status alloc_share(pith_ctx *ctx, const alloc_matrix *matrices, size_t n, size_t rows, double tolerance,
                        uint32_t tries, uint32_t *group, alloc_sharing *out) {
    *out = (alloc_sharing){0};
    if (n == 0 || rows == 0 || n > 65535 || rows > 65535 || !(tolerance >= 0 && tolerance <= 1))
        return pith_fail(ctx, PITH_E_ARGUMENT, "shared bases: %zu matrices of %zu rows, tolerance %g", n, rows,
                         tolerance);
    tries = tries ? tries : 6;
    sharing s = {.ctx = ctx, .rows = rows, .n = n, .tolerance = tolerance};
    s.at = pith_zalloc(ctx, n * sizeof *s.at);
    s.floats = pith_alloc(ctx, rows * rows * sizeof *s.floats);
    s.vectors = pith_alloc(ctx, rows * rows * sizeof *s.vectors);
    s.values = pith_alloc(ctx, rows * sizeof *s.values);
    s.known = pith_zalloc(ctx, n * n * sizeof *s.known);
    pair *pairs = pith_alloc(ctx, tries * sizeof *pairs);
    bool more = s.at && s.floats && s.vectors && s.values && s.known && pairs;
    pith_status status = more ? start(&s, matrices, group, out) : pith_alloc_status(ctx);
    for (size_t done = 1; !status && more && done < n; done++) {
        status = step(&s, pairs, tries, group, out, &more);
        if (!status) status = pith_tick(ctx, done, n);
    }
    for (size_t i = 0; i < n && !status; i++) { /* numbers without gaps, in order of first appearance */
        uint32_t number = out->n_clusters;
        if (group[i] == i) out->shared += s.at[i].bytes, out->n_clusters++;
        s.known[i] = group[i] == i ? number : s.known[group[i]];
    }
    for (size_t i = 0; i < n && !status; i++) group[i] = (uint32_t)s.known[i];
    for (size_t i = 0; s.at && i < n; i++) pith_free(ctx, s.at[i].gram);
    void *const owned[] = {s.at, s.floats, s.vectors, s.values, s.known, pairs};
    for (size_t i = 0; i < PITH_COUNT(owned); i++) pith_free(ctx, owned[i]);
    return status;
}
