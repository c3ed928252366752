/* Every figure of the ruler against cases worked out by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lm/ruler/ruler.h"

static void near(double got, double want) {
    if (!(fabs(got - want) <= 1e-9 * (1 + fabs(want)))) fail_msg("%.15g instead of %.15g", got, want);
}
static void close_to(double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance)) fail_msg("%.15g instead of %.15g", got, want);
}

static void test_mean(void **state) {
    (void)state;
    ruler_mean m = {0};
    near(ruler_mean_of(&m), 0);
    ruler_mean_add(&m, 3);
    near(ruler_mean_of(&m), 3);
    near(ruler_error_of(&m), 0);
    ruler_mean_add(&m, 5);
    ruler_mean_add(&m, 10); /* mean 6, variance (9 + 1 + 16) / 3, error sqrt(26/3/2) */
    near(ruler_mean_of(&m), 6);
    near(ruler_error_of(&m), sqrt(26.0 / 6));
}

static void test_percentiles(void **state) {
    (void)state;
    double v[] = {9, 1, 5, 3, 7};
    ruler_sort(v, 5);
    near(v[0], 1);
    near(v[4], 9);
    near(ruler_percentile(v, 5, 0), 1);
    near(ruler_percentile(v, 5, 0.5), 5);
    near(ruler_percentile(v, 5, 0.9), 3 + 4 + 0.6 * 2);
    near(ruler_percentile(v, 5, 1), 9);
    near(ruler_percentile(v, 1, 0.99), 1);
    ruler_spread s;
    double w[] = {4, 2, 0, 2};
    ruler_spread_of(w, 4, &s);
    near(s.mean, 2);
    near(s.median, 2);
    near(s.max, 4);
    near(s.error, sqrt(2.0 / 3));
    near(s.p90, 2 + 2 * 0.7);
}

static void test_spearman(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    double rho, x[] = {1, 2, 3, 4, 5}, rising[] = {1, 8, 27, 64, 125}, falling[] = {5, 4, 3, 2, 1};
    double flat[] = {2, 2, 2, 2, 2}, swapped[] = {2, 1, 3, 4, 5};
    assert_int_equal(ruler_spearman(ctx, x, rising, 5, &rho), PITH_OK);
    near(rho, 1);
    assert_int_equal(ruler_spearman(ctx, x, falling, 5, &rho), PITH_OK);
    near(rho, -1);
    assert_int_equal(ruler_spearman(ctx, x, flat, 5, &rho), PITH_OK);
    near(rho, 0);
    /* 1 - 6 * 2 / (5 * 24) */
    assert_int_equal(ruler_spearman(ctx, x, swapped, 5, &rho), PITH_OK);
    near(rho, 0.9);
    /* ties: ranks 1.5 1.5 3 against 1 2 3: 1.5 / sqrt(1.5 * 2) */
    double tied[] = {7, 7, 9};
    assert_int_equal(ruler_spearman(ctx, tied, x, 3, &rho), PITH_OK);
    near(rho, 1.5 / sqrt(3));
    pith_ctx_free(ctx);
}

/* ---- rows of logits ---- */

static void logits_of(const double *p, size_t n, double shift, float *out) {
    for (size_t i = 0; i < n; i++) out[i] = (float)(log(p[i]) + shift);
}

static void test_row(void **state) {
    (void)state;
    const double p[3] = {0.5, 0.25, 0.25}, q[3] = {0.25, 0.25, 0.5};
    float a[3], b[3];
    ruler_row row;
    logits_of(p, 3, 5, a); /* any constant may be added */
    logits_of(q, 3, -3, b);
    ruler_compare_row(ruler_side_of(a, 3), ruler_side_of(b, 3), 3, 0, -INFINITY, &row);
    close_to(row.nll_base, log(2), 1e-6);
    close_to(row.nll, log(4), 1e-6);
    close_to(row.kl, 0.25 * log(2), 1e-6); /* 0.5 ln 2 + 0 - 0.25 ln 2 */
    /* m = 0.375 0.25 0.375; both halves are 0.5 ln(4/3) + 0.25 ln(2/3) */
    close_to(row.js, 0.5 * log(4.0 / 3) + 0.25 * log(2.0 / 3), 1e-6);
    assert_false(row.same_top);

    /* the same twice: exactly nothing */
    ruler_compare_row(ruler_side_of(a, 3), ruler_side_of(a, 3), 3, 2, -INFINITY, &row);
    assert_true(row.kl == 0 && row.js == 0 && row.same_top);

    /* apart: JS reaches ln 2, KL what the logits say */
    float left[2] = {40, 0}, right[2] = {0, 40};
    ruler_compare_row(ruler_side_of(left, 2), ruler_side_of(right, 2), 2, 0, -INFINITY, &row);
    close_to(row.js, log(2), 1e-9);
    close_to(row.kl, 40, 1e-9);

    /* a floor leaves out what the base file would have cut */
    float base[2] = {0, -20}, other[2] = {-20, 0};
    ruler_compare_row(ruler_side_of(base, 2), ruler_side_of(other, 2), 2, 0, -INFINITY, &row);
    double all = row.kl;
    ruler_compare_row(ruler_side_of(base, 2), ruler_side_of(other, 2), 2, 0, -16, &row);
    close_to(all - row.kl, exp(-20) * -20, 1e-12);

    /* what is no number does not look like nothing */
    float broken[2] = {NAN, 0};
    ruler_compare_row(ruler_side_of(broken, 2), ruler_side_of(broken, 2), 2, 0, -INFINITY, &row);
    assert_true(isnan(row.kl) && isnan(row.js));
}

static void test_rows(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    ruler_comparison c;
    assert_int_equal(ruler_compare_rows(ctx, NULL, 0, &c), PITH_E_ARGUMENT);
    const ruler_row rows[2] = {{.nll_base = 1, .nll = 2, .kl = 0.1, .js = 0.02, .same_top = true},
                               {.nll_base = 3, .nll = 2, .kl = 0.3, .js = 0.04, .same_top = false}};
    assert_int_equal(ruler_compare_rows(ctx, rows, 2, &c), PITH_OK);
    near(c.perplexity, exp(2));
    near(c.perplexity_base, exp(2));
    near(c.perplexity_error, 0);
    near(c.perplexity_base_error, exp(2)); /* error of the mean of 1 and 3 is 1 */
    near(c.log_ratio, 0);
    near(c.log_ratio_error, 1);
    near(c.ratio, 1);
    near(c.kl.mean, 0.2);
    near(c.kl.error, 0.1);
    near(c.kl.median, 0.2);
    near(c.kl.max, 0.3);
    near(c.js.mean, 0.03);
    near(c.same_top, 0.5);
    near(c.same_top_error, 0.5);
    double d0 = exp(-2) - exp(-1), d1 = exp(-2) - exp(-3);
    near(c.delta_p, (d0 + d1) / 2);
    near(c.rms_delta_p, sqrt((d0 * d0 + d1 * d1) / 2));
    /* in step: the correlation is 1 and the ratio is sure */
    const ruler_row step[3] = {{.nll_base = 1, .nll = 2}, {.nll_base = 2, .nll = 3}, {.nll_base = 4, .nll = 5}};
    assert_int_equal(ruler_compare_rows(ctx, step, 3, &c), PITH_OK);
    near(c.correlation, 1);
    close_to(c.log_ratio_error, 0, 1e-7);
    near(c.ratio, exp(1));
    pith_ctx_free(ctx);
}

/* ---- flips ---- */

static void test_flips(void **state) {
    (void)state;
    ruler_item at[8] = {0};
    for (unsigned i = 0; i < 8; i++) at[i].answer = 1;
    ruler_items items = {at, 8, 8};
    const uint32_t base[8] = {1, 1, 1, 1, 0, 0, 2, 3}, now[8] = {1, 1, 0, 2, 1, 2, 2, 0};
    ruler_flips f;
    ruler_flips_of(&items, base, now, &f);
    assert_int_equal(f.right_base, 4);
    assert_int_equal(f.right, 3);
    assert_int_equal(f.right_to_wrong, 2);
    assert_int_equal(f.wrong_to_right, 1);
    assert_int_equal(f.wrong_to_wrong, 2); /* the fifth wrong one stays what it was */
    near(f.accuracy_base, 0.5);
    near(f.accuracy, 0.375);
    near(f.flips, 3.0 / 8);
    near(f.all_flips, 5.0 / 8);
    ruler_items none = {0};
    ruler_flips_of(&none, NULL, NULL, &f);
    near(f.all_flips, 0);
}

/* ---- running time ---- */

static void test_runtime(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    ruler_timing t[12];
    ruler_runtime r, with;
    ruler_runtime_error e;
    /* made by the model itself: all of it must come back */
    for (unsigned i = 0; i < 12; i++) {
        uint32_t p = 50 * (i + 1), o = 1 + i * 7 % 12;
        double bent = p > 300 ? p - 300 : 0;
        t[i] = (ruler_timing){p, o, 0.002 + 1e-4 * p + 5e-5 * bent + 1e-3 * (o - 1)};
    }
    /* the middle knot of an odd number of knots would be 300 with sorted prompts 50..600 at 0.4545; fit with the
     * knots it chooses must still do better than 1 % and without a bend worse than that */
    assert_int_equal(ruler_runtime_fit(ctx, t, 12, 2, false, &r), PITH_OK);
    assert_int_equal(ruler_runtime_check(ctx, &r, t, 12, &e), PITH_OK);
    assert_true(e.max < 0.05);
    for (unsigned i = 0; i < 12; i++) t[i].seconds = 0.002 + 1e-4 * t[i].prompt + 1e-3 * (t[i].output - 1);
    assert_int_equal(ruler_runtime_fit(ctx, t, 12, 0, false, &r), PITH_OK);
    close_to(r.overhead, 0.002, 1e-9);
    close_to(r.prefill, 1e-4, 1e-12);
    close_to(r.per_token, 1e-3, 1e-10);
    close_to(ruler_runtime_predict(&r, 1000, 101), 0.002 + 0.1 + 0.1, 1e-7);
    /* tokens that cost more the later they stand: a prompt of 10 and two tokens behind it stand at 0 to 11 */
    for (unsigned i = 0; i < 12; i++) {
        double fed = t[i].prompt + t[i].output - 1.0;
        t[i].seconds += 1e-6 * fed * (fed - 1) / 2;
    }
    assert_int_equal(ruler_runtime_fit(ctx, t, 12, 0, true, &with), PITH_OK);
    close_to(with.per_position, 1e-6, 1e-11);
    close_to(ruler_runtime_predict(&with, 10, 3) - ruler_runtime_predict(&with, 10, 1), 2e-3 + 21e-6, 1e-8);
    assert_int_equal(ruler_runtime_check(ctx, &with, t, 12, &e), PITH_OK);
    assert_true(e.max < 1e-6);
    assert_int_equal(ruler_runtime_fit(ctx, t, 12, 1, false, &r), PITH_OK);
    assert_int_equal(ruler_runtime_check(ctx, &r, t, 12, &e), PITH_OK);
    assert_true(e.max > 1e-3 && e.mean <= e.max && e.p90 <= e.max);

    /* what cannot be fitted */
    assert_int_equal(ruler_runtime_fit(ctx, t, 3, 2, false, &r), PITH_E_ARGUMENT);
    assert_int_equal(ruler_runtime_fit(ctx, t, 12, RULER_KNOTS + 1, false, &r), PITH_E_ARGUMENT);
    for (unsigned i = 0; i < 12; i++) t[i].output = 1;
    assert_int_equal(ruler_runtime_fit(ctx, t, 12, 0, false, &r), PITH_E_ARGUMENT);
    t[3].seconds = 0;
    assert_int_equal(ruler_runtime_fit(ctx, t, 12, 0, false, &r), PITH_E_ARGUMENT);
    pith_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mean),    cmocka_unit_test(test_percentiles), cmocka_unit_test(test_spearman),
        cmocka_unit_test(test_row),     cmocka_unit_test(test_rows),        cmocka_unit_test(test_flips),
        cmocka_unit_test(test_runtime),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
