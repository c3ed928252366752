/* Costs and updates under a curvature G (x) A against brute force over the whole quadratic form; the threshold over
 * several matrices against counting. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/select/kronecker.h"
#include "kernels/select/noise.h"
#include "math/dense/dense.h"
#include "support/session.h"

enum { ROWS = 6, COLS = 5, ALL = ROWS * COLS };
static const double damp = 0.01;

/* A layer at work: packed means of x x^T and g g^T over a few samples, and its weights. */
typedef struct layer {
    float a[DENSE_PACKED(COLS)], g[DENSE_PACKED(ROWS)], w[ALL];
    double f[ALL][ALL]; /* the damped product in full */
} layer;

static void gram(float *packed, size_t n, unsigned samples, bool ones) {
    memset(packed, 0, DENSE_PACKED(n) * sizeof *packed);
    for (unsigned s = 0; s < samples; s++) {
        float x[8], common = noise();
        for (size_t i = 0; i < n; i++) x[i] = ones && i == n - 1 ? 1 : noise() + common;
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j <= i; j++) packed[DENSE_PACKED(i) + j] += x[i] * x[j] / (float)samples;
    }
}

static double at(const float *packed, size_t n, size_t i, size_t j) {
    double mean = 0;
    for (size_t d = 0; d < n; d++) mean += (double)packed[DENSE_PACKED(d) + d] / (double)n;
    return (double)(i >= j ? packed[DENSE_PACKED(i) + j] : packed[DENSE_PACKED(j) + i]) + (i == j ? damp * mean : 0);
}

static void make_layer(layer *l, bool ones) {
    gram(l->a, COLS, 20, ones);
    gram(l->g, ROWS, 25, false);
    for (size_t i = 0; i < ALL; i++) l->w[i] = noise();
    for (size_t i = 0; i < ALL; i++)
        for (size_t j = 0; j < ALL; j++)
            l->f[i][j] = at(l->g, ROWS, i / COLS, j / COLS) * at(l->a, COLS, i % COLS, j % COLS);
}

/* x with m x = b by elimination with pivots; n <= ALL. */
static void solve(size_t n, double m[ALL][ALL], double *b) {
    for (size_t c = 0; c < n; c++) {
        size_t best = c;
        for (size_t i = c + 1; i < n; i++)
            if (fabs(m[i][c]) > fabs(m[best][c])) best = i;
        for (size_t j = 0; j < n; j++) {
            double t = m[c][j];
            m[c][j] = m[best][j], m[best][j] = t;
        }
        double t = b[c];
        b[c] = b[best], b[best] = t;
        for (size_t i = c + 1; i < n; i++) {
            double factor = m[i][c] / m[c][c];
            for (size_t j = c; j < n; j++) m[i][j] -= factor * m[c][j];
            b[i] -= factor * b[c];
        }
    }
    for (size_t i = n; i-- > 0;) {
        for (size_t j = i + 1; j < n; j++) b[i] -= m[i][j] * b[j];
        b[i] /= m[i][i];
    }
}

/* The least 1/2 d^T F d where w + d must be zero at what goes and d zero at what is fixed: d of the others solves
 * F_ff d_f = F_fg w_g. */
static double brute(const layer *l, const bool *goes, const bool *fixed, double *w) {
    static double m[ALL][ALL];
    double b[ALL], d[ALL], loss = 0;
    size_t free_at[ALL], n = 0;
    for (size_t i = 0; i < ALL; i++) {
        d[i] = goes[i] ? -(double)l->w[i] : 0;
        if (!goes[i] && !fixed[i]) free_at[n++] = i;
    }
    for (size_t i = 0; i < n; i++) {
        b[i] = 0;
        for (size_t j = 0; j < ALL; j++) b[i] -= l->f[free_at[i]][j] * d[j];
        for (size_t j = 0; j < n; j++) m[i][j] = l->f[free_at[i]][free_at[j]];
    }
    solve(n, m, b);
    for (size_t i = 0; i < n; i++) d[free_at[i]] = b[i];
    for (size_t i = 0; i < ALL; i++) {
        w[i] = l->w[i] + d[i];
        for (size_t j = 0; j < ALL; j++) loss += 0.5 * d[i] * l->f[i][j] * d[j];
    }
    return loss;
}

static void mark(bool *goes, const uint8_t *rows, const uint8_t *cols) {
    for (size_t i = 0; i < ALL; i++) goes[i] = rows[i / COLS] || cols[i % COLS];
}

static void test_costs(void **state) {
    (void)state;
    layer l;
    make_layer(&l, true);
    select_kronecker *k;
    double by_row[ROWS], by_col[COLS], w[ALL];
    float elements[ALL];
    const bool none[ALL] = {false};
    assert_int_equal(select_kronecker_new(ctx, l.a, l.g, ROWS, COLS, damp, damp, NULL, NULL, &k), PITH_OK);
    assert_int_equal(select_kronecker_costs(ctx, k, KRONECKER_OBS, l.w, by_row, by_col), PITH_OK);
    for (size_t r = 0; r < ROWS; r++) {
        uint8_t rows[ROWS] = {0}, cols[COLS] = {0};
        bool goes[ALL];
        rows[r] = 1;
        mark(goes, rows, cols);
        double loss = brute(&l, goes, none, w);
        assert_float_equal((by_row[r] / loss), 1, 1e-4);
    }
    for (size_t c = 0; c < COLS; c++) {
        uint8_t rows[ROWS] = {0}, cols[COLS] = {0};
        bool goes[ALL];
        cols[c] = 1;
        mark(goes, rows, cols);
        double loss = brute(&l, goes, none, w);
        assert_float_equal((by_col[c] / loss), 1, 1e-4);
    }
    select_kronecker_elements(k, KRONECKER_OBS, l.w, elements);
    for (size_t i = 0; i < ALL; i++) {
        bool goes[ALL] = {false};
        goes[i] = true;
        double loss = brute(&l, goes, none, w);
        assert_float_equal(((double)elements[i] / loss), 1, 1e-4);
    }
    /* Without an update the loss of a row is its block of F, and by the diagonal its diagonal alone. */
    assert_int_equal(select_kronecker_costs(ctx, k, KRONECKER_BLOCK, l.w, by_row, by_col), PITH_OK);
    for (size_t r = 0; r < ROWS; r++) {
        double loss = 0;
        for (size_t i = r * COLS; i < (r + 1) * COLS; i++)
            for (size_t j = r * COLS; j < (r + 1) * COLS; j++) loss += 0.5 * l.w[i] * l.f[i][j] * l.w[j];
        assert_float_equal((by_row[r] / loss), 1, 1e-4);
    }
    assert_int_equal(select_kronecker_costs(ctx, k, KRONECKER_DIAGONAL, l.w, by_row, by_col), PITH_OK);
    for (size_t c = 0; c < COLS; c++) {
        double loss = 0;
        for (size_t i = c; i < ALL; i += COLS) loss += 0.5 * l.w[i] * l.f[i][i] * l.w[i];
        assert_float_equal((by_col[c] / loss), 1, 1e-4);
    }
    select_kronecker_free(ctx, k);
}

static void test_removal(void **state) {
    (void)state;
    const uint8_t rows[ROWS] = {0, 1, 0, 0, 1, 0}, cols[COLS] = {1, 0, 0, 1, 0};
    const bool none[ALL] = {false};
    layer l;
    make_layer(&l, false);
    select_kronecker *k;
    bool goes[ALL];
    float got[ALL];
    double want[ALL], loss;
    assert_int_equal(select_kronecker_new(ctx, l.a, l.g, ROWS, COLS, damp, damp, NULL, NULL, &k), PITH_OK);
    mark(goes, rows, cols);
    double least = brute(&l, goes, none, want);
    memcpy(got, l.w, sizeof got);
    assert_int_equal(select_kronecker_remove(ctx, k, rows, cols, got), PITH_OK);
    for (size_t i = 0; i < ALL; i++) assert_float_equal(got[i], want[i], 2e-4);
    for (size_t i = 0; i < ALL; i++)
        if (goes[i]) assert_true(got[i] == 0);
    assert_int_equal(select_kronecker_loss(ctx, k, l.w, got, &loss), PITH_OK);
    assert_float_equal((loss / least), 1, 1e-4);
    /* elements, correlated */
    const uint32_t elements[] = {0, 3, 7, 12, 13, 28};
    memset(goes, 0, sizeof goes);
    for (size_t i = 0; i < PITH_COUNT(elements); i++) goes[elements[i]] = true;
    least = brute(&l, goes, none, want);
    memcpy(got, l.w, sizeof got);
    assert_int_equal(select_kronecker_remove_elements(ctx, k, elements, PITH_COUNT(elements), got), PITH_OK);
    for (size_t i = 0; i < ALL; i++) assert_float_equal(got[i], want[i], 2e-4);
    assert_int_equal(select_kronecker_loss(ctx, k, l.w, got, &loss), PITH_OK);
    assert_float_equal((loss / least), 1, 1e-4);
    select_kronecker_free(ctx, k);
}

/* What was removed before stays zero, and the second removal is the best under that. */
static void test_second_shot(void **state) {
    (void)state;
    const uint8_t rows_gone[ROWS] = {0, 0, 1, 0, 0, 0}, cols_gone[COLS] = {0, 0, 0, 0, 1};
    const uint8_t rows[ROWS] = {1, 0, 1, 0, 0, 0}, cols[COLS] = {0, 1, 0, 0, 0};
    layer l;
    make_layer(&l, false);
    select_kronecker *k;
    bool goes[ALL], fixed[ALL];
    float got[ALL];
    double want[ALL], by_row[ROWS], by_col[COLS];
    mark(fixed, rows_gone, cols_gone);
    for (size_t i = 0; i < ALL; i++)
        if (fixed[i]) l.w[i] = 0;
    /* The mean diagonals, by which is damped, are those of what is left; here damping is nothing. */
    assert_int_equal(select_kronecker_new(ctx, l.a, l.g, ROWS, COLS, 0, 0, rows_gone, cols_gone, &k), PITH_OK);
    for (size_t i = 0; i < ALL; i++)
        for (size_t j = 0; j < ALL; j++) {
            size_t r = i / COLS, s = j / COLS, c = i % COLS, d = j % COLS;
            l.f[i][j] = (double)l.g[DENSE_PACKED(PITH_MAX(r, s)) + PITH_MIN(r, s)] *
                        (double)l.a[DENSE_PACKED(PITH_MAX(c, d)) + PITH_MIN(c, d)];
        }
    mark(goes, rows, cols);
    brute(&l, goes, fixed, want);
    memcpy(got, l.w, sizeof got);
    assert_int_equal(select_kronecker_remove(ctx, k, rows, cols, got), PITH_OK);
    for (size_t i = 0; i < ALL; i++) assert_float_equal(got[i], want[i], 2e-3);
    assert_int_equal(select_kronecker_costs(ctx, k, KRONECKER_OBS, l.w, by_row, by_col), PITH_OK);
    assert_true(by_row[2] == 0 && by_col[4] == 0);
    const uint8_t first[ROWS] = {1, 0, 0, 0, 0, 0}, nothing[COLS] = {0};
    mark(goes, first, nothing);
    double loss = brute(&l, goes, fixed, want);
    assert_float_equal((by_row[0] / loss), 1, 1e-3);
    select_kronecker_free(ctx, k);
}

/* With identities for both factors nothing makes up for anything, and a cost is half a sum of squares. */
static void test_identity(void **state) {
    (void)state;
    layer l;
    make_layer(&l, false);
    select_kronecker *k;
    double by_row[ROWS], by_col[COLS], squares = 0;
    const uint8_t rows[ROWS] = {1}, cols[COLS] = {0};
    float got[ALL];
    assert_int_equal(select_kronecker_new(ctx, NULL, NULL, ROWS, COLS, damp, damp, NULL, NULL, &k), PITH_OK);
    for (size_t j = 0; j < COLS; j++) squares += 0.5 * l.w[j] * l.w[j];
    for (int rule = KRONECKER_DIAGONAL; rule <= KRONECKER_OBS; rule++) {
        assert_int_equal(select_kronecker_costs(ctx, k, (kronecker_rule)rule, l.w, by_row, by_col), PITH_OK);
        assert_float_equal(by_row[0], squares, 1e-6);
    }
    memcpy(got, l.w, sizeof got);
    assert_int_equal(select_kronecker_remove(ctx, k, rows, cols, got), PITH_OK);
    for (size_t i = 0; i < ALL; i++) assert_true(got[i] == (i < COLS ? 0 : l.w[i]));
    select_kronecker_free(ctx, k);
    assert_int_equal(select_kronecker_new(ctx, l.a, l.g, ROWS, COLS, 2, 0, NULL, NULL, &k), PITH_E_ARGUMENT);
}

static void test_threshold(void **state) {
    (void)state;
    /* 3 x 4 and 2 x 3, the last column of the second a bias. */
    const double r0[] = {5, 1, 9}, c0[] = {2, 8, 7, 3}, r1[] = {4, 6}, c1[] = {10, 0.5, 0};
    uint8_t rg0[3] = {0}, cg0[4] = {0}, rg1[2] = {0}, cg1[3] = {0};
    const select_units m[] = {{3, 4, 0, r0, c0, rg0, cg0}, {2, 3, 1, r1, c1, rg1, cg1}};
    uint64_t gone;
    /* 0.5: 2 of the second; 1: a row of 4; 2: a column of 3 - 1; 3: another of 2; 4: a row of the second, 1 left. */
    assert_int_equal(select_units_cut(ctx, m, 2, 7, &gone), PITH_OK);
    assert_int_equal(gone, 6);
    assert_true(!rg0[0] && rg0[1] && !rg0[2] && !cg0[0] && !cg0[3] && cg1[1] && !rg1[0]);
    assert_int_equal(select_units_cut(ctx, m, 2, 11, &gone), PITH_OK); /* goes on where it stopped */
    assert_int_equal(gone, 11);
    assert_true(cg0[0] && cg0[3] && rg1[0] && !rg1[1] && !cg1[0] && !cg1[2]);
    size_t zeros = 0;
    for (size_t i = 0; i < 12; i++) zeros += rg0[i / 4] || cg0[i % 4];
    for (size_t i = 0; i < 4; i++) zeros += rg1[i / 2] || cg1[i % 2];
    assert_int_equal(zeros, gone);
    assert_int_equal(select_units_cut(ctx, m, 2, 100, &gone), PITH_OK);
    assert_int_equal(gone, 16);
    assert_false(cg1[2]);
    const double bad[] = {1, NAN, 2};
    const select_units poisoned = {3, 4, 0, bad, c0, rg0, cg0};
    assert_int_equal(select_units_cut(ctx, &poisoned, 1, 3, &gone), PITH_E_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_costs), cmocka_unit_test(test_removal),
                                       cmocka_unit_test(test_second_shot), cmocka_unit_test(test_identity),
                                       cmocka_unit_test(test_threshold)};
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
