/* Singular values of a matrix that grows by columns (Brand 2006): what is kept, U diag(s), stands for the columns so
 * far; with new columns C beside it, the decomposition of [U diag(s), C] is that of all, up to what was dropped.
 *
 * Dropped parts are orthogonal to one another in the space of matrices, so their squares add up: the sum is the squared
 * Frobenius error E^2 of the whole approximation, and by Weyl's inequality no value is off by more than E. */
#include <math.h>

#include "math/dense/dense.h"
#include "math/dense/parts.h"

struct dense_growing {
    size_t rows, most, rank;
    float *vectors; /* [rows][rank] */
    float *values;
    double lost;
};

pith_status dense_growing_new(pith_ctx *ctx, size_t rows, size_t r, dense_growing **out) {
    *out = NULL;
    if (rows == 0 || r == 0 || r > rows || rows > (SIZE_MAX >> 8) / r)
        return pith_fail(ctx, PITH_E_ARGUMENT, "growing singular values: rank %zu of %zu rows", r, rows);
    dense_growing *g = pith_zalloc(ctx, sizeof *g);
    if (!g) return pith_alloc_status(ctx);
    g->rows = rows;
    g->most = r;
    g->vectors = pith_alloc(ctx, rows * r * sizeof *g->vectors);
    g->values = pith_alloc(ctx, r * sizeof *g->values);
    if (!g->vectors || !g->values) {
        dense_growing_free(ctx, g);
        return pith_alloc_status(ctx);
    }
    *out = g;
    return PITH_OK;
}

static pith_status add_some(pith_ctx *ctx, dense_growing *g, const float *block, size_t cols, size_t ld) {
    size_t n = g->rank + cols, k = PITH_MIN(g->rows, n);
    float *joined = pith_alloc(ctx, g->rows * n * sizeof *joined), *u = pith_alloc(ctx, g->rows * k * sizeof *u),
          *s = pith_alloc(ctx, k * sizeof *s), *vt = pith_alloc(ctx, k * n * sizeof *vt);
    pith_status status = joined && u && s && vt ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        for (size_t i = 0; i < g->rows; i++) {
            for (size_t j = 0; j < g->rank; j++) joined[i * n + j] = g->vectors[i * g->rank + j] * g->values[j];
            memcpy(joined + i * n + g->rank, block + i * ld, cols * sizeof *joined);
        }
        status = dense_svd(ctx, joined, g->rows, n, k, u, s, vt);
    }
    if (!status) {
        g->rank = PITH_MIN(g->most, k);
        for (size_t i = 0; i < g->rows; i++) memcpy(g->vectors + i * g->rank, u + i * k, g->rank * sizeof *u);
        memcpy(g->values, s, g->rank * sizeof *s);
        for (size_t i = g->rank; i < k; i++) g->lost += (double)s[i] * (double)s[i];
    }
    pith_free(ctx, vt);
    pith_free(ctx, s);
    pith_free(ctx, u);
    pith_free(ctx, joined);
    return status;
}

pith_status dense_growing_add(pith_ctx *ctx, dense_growing *g, const float *block, size_t cols, size_t ld) {
    pith_status status = PITH_OK;
    size_t at_once = PITH_MAX(g->most, (size_t)64); /* a block as wide as what is kept costs least per column */
    for (size_t first = 0; first < cols && !status; first += at_once)
        status = add_some(ctx, g, block + first, PITH_MIN(cols - first, at_once), ld);
    return status;
}

size_t dense_growing_rank(const dense_growing *g) { return g->rank; }
const float *dense_growing_values(const dense_growing *g) { return g->values; }
const float *dense_growing_vectors(const dense_growing *g) { return g->vectors; }
double dense_growing_lost(const dense_growing *g) { return g->lost; }

void dense_growing_free(pith_ctx *ctx, dense_growing *g) {
    if (!g) return;
    pith_free(ctx, g->values);
    pith_free(ctx, g->vectors);
    pith_free(ctx, g);
}
