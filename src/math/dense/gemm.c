/* Products of matrices, and Gram matrices from them: products in float over at most 512 rows at a time, so that a sum
 * of many thousands of tokens loses nothing, the sums in double. */
#include "math/dense/blas.h"
#include "math/dense/dense.h"
#include "math/dense/parts.h"
#include "math/math.h"

#include <limits.h>
#include <math.h>

bool dense_finite(const float *x, size_t n) {
    float worst = 0; /* x - x is 0 for what is finite, else not a number, which stays */
    for (size_t i = 0; i < n; i++) worst += x[i] - x[i];
    return worst == 0;
}

bool dense_finite_lower(const float *a, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!dense_finite(a + i * n, i + 1)) return false;
    return true;
}

#define PLAIN_K 128
#define PLAIN_N 128

/* Blocks of op(b), times alpha, are laid out without gaps; the exact kernels do the rest. */
static void plain_gemm(bool ta, bool tb, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                       const float *b, size_t ldb, float beta, float *c, size_t ldc) {
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
    if (alpha == 0) return;
    _Alignas(64) float block[PLAIN_K * PLAIN_N];
    size_t a_row = ta ? 1 : lda, a_col = ta ? lda : 1;
    for (size_t l = 0; l < k; l += PLAIN_K)
        for (size_t j = 0; j < n; j += PLAIN_N) {
            size_t depth = PITH_MIN(k - l, (size_t)PLAIN_K), width = PITH_MIN(n - j, (size_t)PLAIN_N);
            for (size_t p = 0; p < depth; p++)
                for (size_t q = 0; q < width; q++)
                    block[p * width + q] = alpha * (tb ? b[(j + q) * ldb + l + p] : b[(l + p) * ldb + j + q]);
            exact()->matmul(c + j, ldc, a + l * a_col, a_row, a_col, block, width, m, width, depth);
        }
}

void dense_gemm(bool ta, bool tb, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b,
                size_t ldb, float beta, float *c, size_t ldc) {
    if (m == 0 || n == 0) return;
    const blas *library = blas_open();
    size_t most = PITH_MAX(PITH_MAX(PITH_MAX(m, n), PITH_MAX(k, lda)), PITH_MAX(ldb, ldc));
    if (!library || most > INT_MAX || k == 0) {
        plain_gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
        return;
    }
    library->sgemm(BLAS_ROWS, ta ? BLAS_TRANSPOSED : BLAS_PLAIN, tb ? BLAS_TRANSPOSED : BLAS_PLAIN, (int)m, (int)n,
                   (int)k, alpha, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);
}

/* Plain C is for machines without the library: rows of c, one term at a time. */
static void plain_gemm_double(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const double *a, size_t lda,
                              const double *b, size_t ldb, double beta, double *c, size_t ldc) {
    for (size_t i = 0; i < m; i++) {
        double *to = c + i * ldc;
        for (size_t j = 0; j < n; j++) to[j] = beta == 0 ? 0 : beta * to[j];
        for (size_t l = 0; l < k; l++) {
            double x = alpha * (ta ? a[l * lda + i] : a[i * lda + l]);
            const double *row = tb ? b + l : b + l * ldb;
            size_t step = tb ? ldb : 1;
            if (step == 1)
                for (size_t j = 0; j < n; j++) to[j] += x * row[j];
            else
                for (size_t j = 0; j < n; j++) to[j] += x * row[j * step];
        }
    }
}

void dense_gemm_double(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const double *a, size_t lda,
                       const double *b, size_t ldb, double beta, double *c, size_t ldc) {
    if (m == 0 || n == 0) return;
    const blas *library = blas_open();
    size_t most = PITH_MAX(PITH_MAX(PITH_MAX(m, n), PITH_MAX(k, lda)), PITH_MAX(ldb, ldc));
    if (!library || most > INT_MAX || k == 0) {
        plain_gemm_double(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
        return;
    }
    library->dgemm(BLAS_ROWS, ta ? BLAS_TRANSPOSED : BLAS_PLAIN, tb ? BLAS_TRANSPOSED : BLAS_PLAIN, (int)m, (int)n,
                   (int)k, alpha, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);
}

#define GRAM_TILE 256
#define GRAM_ROWS 512

typedef struct gram_work {
    pith_ctx *ctx;
    double *gram;
    const float *x;
    size_t n_rows, n;
} gram_work;

/* Tile number t of those on and below the diagonal, by rows of tiles. */
static pith_status gram_tile(void *arg, size_t t) {
    const gram_work *g = arg;
    size_t row = 0;
    while (t > row) t -= ++row;
    size_t i0 = row * GRAM_TILE, j0 = t * GRAM_TILE, m = PITH_MIN(g->n - i0, (size_t)GRAM_TILE),
           n = PITH_MIN(g->n - j0, (size_t)GRAM_TILE);
    float *tile = pith_alloc(g->ctx, m * n * sizeof *tile);
    if (!tile) return pith_alloc_status(g->ctx);
    for (size_t first = 0; first < g->n_rows; first += GRAM_ROWS) {
        const float *x = g->x + first * g->n;
        size_t rows = PITH_MIN(g->n_rows - first, (size_t)GRAM_ROWS);
        dense_gemm(true, false, m, n, rows, 1, x + i0, g->n, x + j0, g->n, 0, tile, n);
        for (size_t i = 0; i < m; i++) {
            double *to = g->gram + DENSE_PACKED(i0 + i) + j0;
            size_t some = i0 == j0 ? i + 1 : n;
            for (size_t j = 0; j < some; j++) to[j] += (double)tile[i * n + j];
        }
    }
    pith_free(g->ctx, tile);
    return PITH_OK;
}

pith_status dense_gram_add(pith_ctx *ctx, double *gram, const float *x, size_t n_rows, size_t n) {
    gram_work work = {.ctx = ctx, .gram = gram, .x = x, .n_rows = n_rows, .n = n};
    size_t tiles = (n + GRAM_TILE - 1) / GRAM_TILE;
    return n_rows ? pith_parallel(ctx, DENSE_PACKED(tiles), gram_tile, &work) : PITH_OK;
}

void dense_unpack(const float *packed, size_t n, float *full) {
    for (size_t i = 0; i < n; i++) {
        const float *row = packed + DENSE_PACKED(i);
        memcpy(full + i * n, row, (i + 1) * sizeof *full);
    }
    /* The other triangle in tiles, so that neither side is read or written a cache line per number. */
    for (size_t i0 = 0; i0 < n; i0 += 32)
        for (size_t j0 = 0; j0 <= i0; j0 += 32)
            for (size_t i = i0; i < PITH_MIN(n, i0 + 32); i++)
                for (size_t j = j0; j < PITH_MIN(i, j0 + 32); j++) full[j * n + i] = full[i * n + j];
}
