/* Bounds on the error of a joint basis hold on matrices of every kind; the merge finds what was planted. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/allocate/allocate.h"
#include "math/dense/dense.h"

static uint64_t state;
static float draw(void) {
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (float)((double)((z ^ z >> 31) >> 11) * 0x1p-52 - 1);
}

#define ROWS 24

/* values[ROWS] descending, of [w, also]; vectors may be NULL */
static void spectrum(pith_ctx *ctx, const float *w, size_t cols, const float *also, size_t more, double *values,
                     float *vectors) {
    float gram[ROWS * ROWS], q[ROWS * ROWS], l[ROWS];
    dense_gemm(false, true, ROWS, ROWS, cols, 1, w, cols, w, cols, 0, gram, ROWS);
    if (also) dense_gemm(false, true, ROWS, ROWS, more, 1, also, more, also, more, 1, gram, ROWS);
    assert_int_equal(dense_eigen(ctx, gram, ROWS, q, l), PITH_OK);
    for (size_t i = 0; i < ROWS; i++) {
        values[i] = l[ROWS - 1 - i] > 0 ? (double)l[ROWS - 1 - i] : 0;
        for (size_t k = 0; vectors && k < ROWS; k++) vectors[k * ROWS + i] = q[k * ROWS + ROWS - 1 - i];
    }
}

/* out[ROWS][cols] = U_p (random) + noise, where U is basis[ROWS][p] */
static void make(float *out, size_t cols, const float *basis, size_t p, float noise) {
    float c[8 * 64];
    for (size_t i = 0; i < p * cols; i++) c[i] = draw();
    if (p) dense_gemm(false, false, ROWS, cols, p, 1, basis, p, c, cols, 0, out, cols);
    for (size_t i = 0; i < ROWS * cols; i++) out[i] = (p ? out[i] : 0) + noise * draw();
}

static void bounds_hold(void **unused) {
    (void)unused;
    pith_ctx *ctx = pith_ctx_new(NULL);
    float a[ROWS * 40], b[ROWS * 40], basis[ROWS * 8], left[ROWS * 40], u[ROWS * ROWS], x[ROWS * 40];
    double la[ROWS], lb[ROWS], joint[ROWS], beyond[ROWS];
    bool apart = false;
    state = 1;
    for (size_t trial = 0; trial < 36; trial++) {
        size_t ca = 4 + trial, cb = 4 + trial * 7 % 36;
        for (size_t i = 0; i < ROWS * 8; i++) basis[i] = draw();
        make(a, ca, basis, trial % 3 * 4, 0.05f);
        make(b, cb, basis, trial / 3 % 3 * 4, 0.3f);
        spectrum(ctx, a, ca, NULL, 0, la, u);
        spectrum(ctx, b, cb, NULL, 0, lb, NULL);
        spectrum(ctx, a, ca, b, cb, joint, NULL);
        double all = 0;
        for (size_t i = 0; i < ROWS; i++) all += joint[i];
        for (size_t r = 0; r <= ROWS; r += 3) {
            double truth = 0, weyl = alloc_basis_weyl(la, lb, ROWS, r);
            for (size_t i = r; i < ROWS; i++) truth += joint[i];
            assert_true(weyl >= truth - 1e-5 * all);
            assert_true(weyl <= all * (1 + 1e-6));
            for (size_t p = 0; p <= r; p += 4) {
                memcpy(left, b, sizeof b);
                if (p) {
                    for (size_t i = 0; i < p; i++)
                        for (size_t j = 0; j < cb; j++) {
                            double sum = 0;
                            for (size_t k = 0; k < ROWS; k++) sum += (double)u[k * ROWS + i] * b[k * cb + j];
                            x[i * cb + j] = (float)sum;
                        }
                    for (size_t k = 0; k < ROWS; k++)
                        for (size_t j = 0; j < cb; j++)
                            for (size_t i = 0; i < p; i++) left[k * cb + j] -= u[k * ROWS + i] * x[i * cb + j];
                }
                spectrum(ctx, left, cb, NULL, 0, beyond, NULL);
                double bound = alloc_basis_beyond(la, beyond, ROWS, p, r);
                assert_true(bound >= truth - 1e-5 * all);
                apart = apart || bound < 0.9 * weyl;
            }
        }
    }
    assert_true(apart); /* the sharper one is sharper somewhere */
    pith_ctx_free(ctx);
}

/* Two groups of matrices, each around a basis of its own. */
static void finds_groups(void **unused) {
    (void)unused;
    pith_ctx *ctx = pith_ctx_new(NULL);
    float data[6][ROWS * 32], basis[2][ROWS * 8];
    alloc_matrix m[6];
    uint32_t cluster[6];
    alloc_sharing s;
    state = 5;
    for (size_t i = 0; i < 2 * ROWS * 8; i++) basis[i / (ROWS * 8)][i % (ROWS * 8)] = draw();
    for (size_t i = 0; i < 6; i++) {
        make(data[i], 32, basis[i % 2], 8, 0.01f);
        m[i] = (alloc_matrix){data[i], 32};
    }
    assert_int_equal(alloc_share(ctx, m, 6, ROWS, 0.1, 0, cluster, &s), PITH_OK);
    assert_int_equal(s.n_clusters, 2);
    for (size_t i = 0; i < 6; i++) assert_int_equal(cluster[i], i % 2);
    assert_true(s.shared < s.alone && s.shared < s.together);
    /* two bases of 8 columns, and 8 coefficients for each of 6 x 32 columns, as halves */
    assert_true(s.shared <= 2 * (2 * ROWS * 8 + 8 * 6 * 32));
    /* nothing to save: everything stays by itself */
    for (size_t i = 0; i < 6; i++) make(data[i], 32, NULL, 0, 1);
    assert_int_equal(alloc_share(ctx, m, 6, ROWS, 0, 0, cluster, &s), PITH_OK);
    assert_int_equal(s.n_clusters, 6);
    assert_int_equal(s.shared, 6 * 2 * ROWS * 32);
    pith_ctx_free(ctx);
}

static void refuses(void **unused) {
    (void)unused;
    pith_ctx *ctx = pith_ctx_new(NULL);
    alloc_sharing s;
    uint32_t cluster[1];
    float x[4] = {1, 2, 3, 4};
    alloc_matrix m = {x, 2};
    assert_int_equal(alloc_share(ctx, &m, 0, 2, 0.1, 0, cluster, &s), PITH_E_ARGUMENT);
    assert_int_equal(alloc_share(ctx, &m, 1, 2, -1, 0, cluster, &s), PITH_E_ARGUMENT);
    assert_int_equal(alloc_share(ctx, &m, 1, 2, NAN, 0, cluster, &s), PITH_E_ARGUMENT);
    assert_int_equal(alloc_share(ctx, &m, 1, 2, 0.1, 0, cluster, &s), PITH_OK);
    assert_int_equal(s.n_clusters, 1);
    pith_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(bounds_hold), cmocka_unit_test(finds_groups),
                                       cmocka_unit_test(refuses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
