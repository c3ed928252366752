/* Bases of tasks against Eckart and Young: no p matrices do better than the singular values of the stacked tasks allow;
 * factored forms against full ones; bounds of shared bases above the true errors, always. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "artefacts/model/family.h"
#include "artefacts/model/merge.h"
#include "support/session.h"

enum { T = 6, ROWS = 24, COLS = 40, N = ROWS * COLS, RANK = 4 };

static float factors_b[T][ROWS * RANK], factors_a[T][RANK * COLS], full[T][N];
static merge_factors factored[T];
static const float *tasks[T];

/* Adapters with three directions in common and something of their own. */
static int make_tasks(void **state) {
    uint64_t r = 11;
    static float common_b[3][ROWS * RANK], common_a[RANK * COLS];
    for (unsigned k = 0; k < 3; k++)
        for (unsigned i = 0; i < ROWS * RANK; i++) common_b[k][i] = family_normal(&r);
    for (unsigned i = 0; i < RANK * COLS; i++) common_a[i] = family_normal(&r);
    for (unsigned t = 0; t < T; t++) {
        float c[3] = {family_normal(&r), family_normal(&r), family_normal(&r)};
        for (unsigned i = 0; i < ROWS * RANK; i++) {
            float own = 0.2f * family_normal(&r);
            factors_b[t][i] = own + c[0] * common_b[0][i] + c[1] * common_b[1][i] + c[2] * common_b[2][i];
        }
        for (unsigned i = 0; i < RANK * COLS; i++) factors_a[t][i] = common_a[i] + 0.02f * family_normal(&r);
        for (unsigned i = 0; i < ROWS; i++)
            for (unsigned j = 0; j < COLS; j++) {
                float sum = 0;
                for (unsigned k = 0; k < RANK; k++) sum += factors_b[t][i * RANK + k] * factors_a[t][k * COLS + j];
                full[t][i * COLS + j] = sum;
            }
        factored[t] = (merge_factors){factors_b[t], factors_a[t], RANK};
        tasks[t] = full[t];
    }
    return session_begin(state);
}

static double energy_of(const float *x, const float *less, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += pow((double)x[i] - (less ? (double)less[i] : 0), 2);
    return sum;
}

static void the_best_basis(void **state) {
    (void)state;
    double gram[T * T], total = 0, last = 2;
    static float mean[N], basis[T * N], stacked[T * N], u[T * T], s[T], vt[T * N], out[N];
    float c[T * T];
    merge_gram(tasks, T, N, gram);
    for (unsigned t = 0; t < T; t++) total += gram[t * T + t];
    merge_basis(tasks, T, N, NULL, 0, mean, NULL);
    for (unsigned t = 0; t < T; t++)
        for (unsigned i = 0; i < N; i++) stacked[t * N + i] = full[t][i] - mean[i];
    assert_int_equal(dense_svd(ctx, stacked, T, N, T, u, s, vt), PITH_OK);
    for (size_t p = 0; p < T; p++) {
        double said, left = 0, least = 0;
        assert_int_equal(merge_coefficients(ctx, gram, T, p, c, &said), PITH_OK);
        merge_basis(tasks, T, N, c, p, mean, basis);
        for (unsigned t = 0; t < T; t++) {
            merge_restore(mean, basis, c, p, N, t, out);
            left += energy_of(full[t], out, N);
        }
        for (size_t k = p; k < T; k++) least += (double)s[k] * (double)s[k];
        assert_true(fabs(left - least) < 1e-4 * total); /* Eckart, Young */
        assert_true(fabs(said - left / total) < 1e-4);
        assert_true(said <= last);
        last = said;
        if (p == 3) assert_true(said < 0.05); /* three directions are in common */
    }
    assert_true(last < 1e-5); /* T - 1 and the mean lose nothing */
    double unused;
    assert_int_equal(merge_coefficients(ctx, gram, T, T, c, &unused), PITH_E_ARGUMENT);
}

static void factors_are_enough(void **state) {
    (void)state;
    double gram[T * T], from_factors[T * T], lost;
    static float mean[N], basis[T * N], b[ROWS * T * RANK], a[T * RANK * COLS], got[N];
    float c[T * T], weight[T];
    merge_gram(tasks, T, N, gram);
    assert_int_equal(merge_gram_factored(ctx, factored, T, ROWS, COLS, from_factors), PITH_OK);
    for (unsigned i = 0; i < T * T; i++)
        assert_true(fabs(gram[i] - from_factors[i]) <= 1e-4 * gram[0] + 1e-4 * fabs(gram[i]));
    assert_int_equal(merge_coefficients(ctx, gram, T, 2, c, &lost), PITH_OK);
    merge_basis(tasks, T, N, c, 2, mean, basis);
    for (unsigned k = 0; k < 3; k++) { /* the mean, and both matrices of the basis */
        double sum = 0;
        size_t kept, r = PITH_MIN(ROWS, T * RANK);
        const float *want = k ? basis + (k - 1) * N : mean;
        for (unsigned t = 0; t < T; t++) sum += k ? (double)c[t * 2 + k - 1] : 0;
        for (unsigned t = 0; t < T; t++) weight[t] = k ? c[t * 2 + k - 1] - (float)(sum / T) : 1.0f / T;
        assert_int_equal(merge_factored(ctx, factored, weight, T, ROWS, COLS, r, b, a, &kept), PITH_OK);
        assert_true(kept <= r);
        dense_gemm(false, false, ROWS, COLS, r, 1, b, r, a, COLS, 0, got, COLS);
        assert_true(energy_of(got, want, N) < 1e-8 * energy_of(want, NULL, N) + 1e-9 * gram[0]);
        /* fewer factors: as good as a decomposition of the matrix itself */
        float s[ROWS], u[ROWS * ROWS], vt[ROWS * COLS];
        assert_int_equal(dense_svd(ctx, want, ROWS, COLS, ROWS, u, s, vt), PITH_OK);
        assert_int_equal(merge_factored(ctx, factored, weight, T, ROWS, COLS, RANK, b, a, &kept), PITH_OK);
        dense_gemm(false, false, ROWS, COLS, RANK, 1, b, RANK, a, COLS, 0, got, COLS);
        double least = 0;
        for (unsigned i = RANK; i < ROWS; i++) least += (double)s[i] * (double)s[i];
        assert_true(fabs(energy_of(got, want, N) - least) < 1e-4 * energy_of(want, NULL, N));
    }
}

/* Random matrices of a falling spectrum, two families of columns' spaces. */
static void random_matrix(float *m, size_t rows, size_t cols, unsigned family, double own, uint64_t *r) {
    enum { SHARED = 5 };
    uint64_t f = 1000 + family;
    float *space = malloc(rows * SHARED * sizeof *space);
    assert_non_null(space);
    for (size_t i = 0; i < rows * SHARED; i++) space[i] = family_normal(&f);
    for (size_t j = 0; j < cols; j++) {
        float w[SHARED];
        for (unsigned k = 0; k < SHARED; k++) w[k] = family_normal(r) / (float)(k + 1);
        for (size_t i = 0; i < rows; i++) {
            float sum = (float)own * family_normal(r);
            for (unsigned k = 0; k < SHARED; k++) sum += space[i * SHARED + k] * w[k];
            m[i * cols + j] = sum;
        }
    }
    free(space);
}

static void bounds_hold(void **state) {
    (void)state;
    enum { MOST = 3 };
    uint64_t r = 5;
    for (unsigned round = 0; round < 60; round++) {
        size_t rows = 8 + family_random(&r) % 25, n = 2 + family_random(&r) % 2, cols[MOST], all = 0;
        static float m[MOST][32 * 32], joined[32 * 96], u[32 * 96], vt[96 * 96], values[32], s[96];
        size_t n_first = 0;
        double energy = 0;
        for (size_t i = 0; i < n; i++) {
            cols[i] = 4 + family_random(&r) % 25;
            random_matrix(m[i], rows, cols[i], (unsigned)(family_random(&r) % 2), 0.02 + 0.3 * (double)(round % 3), &r);
            if (i == 0) {
                n_first = PITH_MIN(rows, cols[i]);
                assert_int_equal(dense_svd(ctx, m[i], rows, cols[i], n_first, u, values, vt), PITH_OK);
            }
            energy += energy_of(m[i], NULL, rows * cols[i]);
            all += cols[i];
        }
        for (size_t i = 0, at = 0; i < n; at += cols[i++])
            for (size_t k = 0; k < rows; k++)
                memcpy(joined + k * all + at, m[i] + k * cols[i], cols[i] * sizeof(float));
        size_t most = PITH_MIN(rows, all);
        assert_int_equal(dense_svd(ctx, joined, rows, all, most, u, s, vt), PITH_OK);
        for (size_t rank = 1; rank < most; rank++) {
            double truth = 0, first = 0;
            for (size_t i = 0; i < PITH_MIN(rank, n_first); i++) first += (double)values[i] * (double)values[i];
            for (size_t i = rank; i < most; i++) truth += (double)s[i] * (double)s[i];
            /* with no more than `rank` values kept on the way */
            dense_growing *g;
            assert_int_equal(dense_growing_new(ctx, rows, rank, &g), PITH_OK);
            for (size_t i = 0; i < n; i++) assert_int_equal(dense_growing_add(ctx, g, m[i], cols[i], cols[i]), PITH_OK);
            double known = 0;
            for (size_t i = 0; i < dense_growing_rank(g); i++) known += pow((double)dense_growing_values(g)[i], 2);
            assert_true(energy - known >= truth - 1e-5 * energy);
            assert_true(known >= first - 1e-5 * energy); /* and no worse than the best alone */
            dense_growing_free(ctx, g);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_basis),
        cmocka_unit_test(factors_are_enough),
        cmocka_unit_test(bounds_hold),
    };
    return cmocka_run_group_tests(tests, make_tasks, session_end);
}
