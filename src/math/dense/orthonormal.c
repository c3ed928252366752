/* Rows made orthonormal by blocked Gram-Schmidt, run twice ("twice is enough", Giraud, Langou and Rozloznik 2005):
 * products of matrices against the blocks before, sums in doubles inside a block. */
#include <math.h>

#include "math/dense/dense.h"
#include "math/dense/lanes.h"
#include "math/dense/parts.h"

#define BLOCK 32

/* y[count][n] less its parts along the orthonormal before[n_before][n]. */
static void project(float *y, size_t count, const float *before, size_t n_before, size_t n, float *products) {
    if (n_before == 0) return;
    dense_gemm(false, true, count, n_before, n, 1, y, n, before, n, 0, products, n_before);
    dense_gemm(false, false, count, n, n_before, -1, products, n_before, before, n, 1, y, n);
}

static void take(float *y, double c, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = (float)((double)y[i] - c * (double)x[i]);
}

static void scale(float *y, double c, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = (float)((double)y[i] * c);
}

/* Nothing is left of row i: any direction that no row before it has. */
static void replace(float *y, size_t i, size_t n, float *products, uint64_t *noise) {
    float *row = y + i * n;
    for (int attempt = 0; attempt < 8; attempt++) {
        for (size_t k = 0; k < n; k++) row[k] = dense_noise(noise);
        double before = sqrt(lanes_dot_floats(row, row, n));
        for (int pass = 0; pass < 3; pass++) {
            project(row, 1, y, i, n, products);
            double length = sqrt(lanes_dot_floats(row, row, n));
            if (length < 1e-4 * before) break;
            scale(row, 1 / length, n);
            before = 1;
            if (pass == 2) return;
        }
    }
}

pith_status dense_orthonormal(pith_ctx *ctx, float *y, size_t count, size_t n) {
    float *products = pith_alloc(ctx, BLOCK * count * sizeof *products);
    if (!products) return pith_alloc_status(ctx);
    uint64_t noise = 1;
    double norm[BLOCK];
    for (size_t first = 0; first < count; first += BLOCK) {
        size_t some = PITH_MIN(count - first, (size_t)BLOCK);
        for (int pass = 0; pass < 2; pass++) {
            for (size_t i = 0; i < some; i++)
                norm[i] = sqrt(lanes_dot_floats(y + (first + i) * n, y + (first + i) * n, n));
            project(y + first * n, some, y, first, n, products);
            for (size_t i = 0; i < some; i++) {
                float *row = y + (first + i) * n;
                for (size_t k = 0; k < i; k++)
                    take(row, lanes_dot_floats(row, row - (i - k) * n, n), row - (i - k) * n, n);
                double length = sqrt(lanes_dot_floats(row, row, n));
                if (length > 1e-6 * norm[i])
                    scale(row, 1 / length, n);
                else
                    replace(y, first + i, n, products, &noise);
            }
        }
    }
    pith_free(ctx, products);
    return PITH_OK;
}
