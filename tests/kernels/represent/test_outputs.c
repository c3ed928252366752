/* A product cut by the principal components of the outputs, V V^T W with V from C_y = W H W^T (S033 ROM-LLM, S052
 * LORD), is the whitened singular value decomposition; its error is the sum of the components left out. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/represent/vectors.h"
#include "math/dense/dense.h"

enum { ROWS = 12, COLS = 20, TOKENS = 200, RANK = 5 };

static uint64_t state = 3;
static float draw(void) {
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (float)((double)((z ^ z >> 31) >> 11) * 0x1p-52 - 1);
}

/* tr(D H D^T) */
static double error_of(const float *d, const float *h) {
    double sum = 0;
    for (size_t i = 0; i < ROWS; i++)
        for (size_t j = 0; j < COLS; j++)
            for (size_t k = 0; k < COLS; k++) sum += (double)d[i * COLS + j] * h[j * COLS + k] * d[i * COLS + k];
    return sum;
}

static void is_whitened_svd(void **unused) {
    (void)unused;
    pith_ctx *ctx = pith_ctx_new(NULL);
    float w[ROWS * COLS], h[COLS * COLS], packed[DENSE_PACKED(COLS)], x[TOKENS * COLS], mix[COLS * COLS];
    float wh[ROWS * COLS], c[ROWS * ROWS], q[ROWS * ROWS], values[ROWS], small[RANK * COLS];
    float v[ROWS * RANK], projected[ROWS * COLS], a[ROWS * RANK], b[RANK * COLS], white[ROWS * COLS];
    for (size_t i = 0; i < ROWS * COLS; i++) w[i] = draw();
    for (size_t i = 0; i < COLS * COLS; i++) mix[i] = draw() * (float)(1 + i % COLS) / COLS;
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t j = 0; j < COLS; j++) {
            x[t * COLS + j] = 0;
            for (size_t k = 0; k < COLS; k++) x[t * COLS + j] += mix[k * COLS + j] * draw();
        }
    dense_gemm(true, false, COLS, COLS, TOKENS, 1.0f / TOKENS, x, COLS, x, COLS, 0, h, COLS);
    for (size_t i = 0; i < COLS; i++)
        for (size_t j = 0; j <= i; j++) packed[i * (i + 1) / 2 + j] = h[i * COLS + j];

    dense_gemm(false, false, ROWS, COLS, COLS, 1, w, COLS, h, COLS, 0, wh, COLS);
    dense_gemm(false, true, ROWS, ROWS, COLS, 1, wh, COLS, w, COLS, 0, c, ROWS);
    assert_int_equal(dense_eigen(ctx, c, ROWS, q, values), PITH_OK);
    double left_out = 0;
    for (size_t r = 0; r < ROWS - RANK; r++) left_out += values[r];
    for (size_t i = 0; i < ROWS; i++)
        for (size_t r = 0; r < RANK; r++) v[i * RANK + r] = q[i * ROWS + ROWS - RANK + r];
    dense_gemm(true, false, RANK, COLS, ROWS, 1, v, RANK, w, COLS, 0, small, COLS);
    dense_gemm(false, false, ROWS, COLS, RANK, 1, v, RANK, small, COLS, 0, projected, COLS);

    const repr_stats stats = {.gram = packed, .n_tokens = TOKENS};
    assert_int_equal(lowrank_fit(ctx, w, ROWS, COLS, RANK, LOWRANK_EIG, &stats, a, b), PITH_OK);
    dense_gemm(false, false, ROWS, COLS, RANK, 1, a, RANK, b, COLS, 0, white, COLS);
    double apart = 0, all = 0;
    for (size_t i = 0; i < ROWS * COLS; i++) {
        apart += (double)(white[i] - projected[i]) * (white[i] - projected[i]);
        all += (double)w[i] * w[i];
        projected[i] -= w[i];
    }
    assert_true(apart < 1e-6 * all);
    assert_true(left_out > 0.001 * error_of(w, h)); /* there is something to leave out */
    assert_true(fabs(error_of(projected, h) / left_out - 1) < 1e-3);
    /* and no worse than what the weights' own decomposition leaves */
    assert_int_equal(lowrank_fit(ctx, w, ROWS, COLS, RANK, LOWRANK_NONE, &stats, a, b), PITH_OK);
    dense_gemm(false, false, ROWS, COLS, RANK, 1, a, RANK, b, COLS, 0, white, COLS);
    for (size_t i = 0; i < ROWS * COLS; i++) white[i] -= w[i];
    assert_true(error_of(white, h) > 1.05 * left_out);
    pith_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(is_whitened_svd)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
