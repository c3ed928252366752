/* The tables of the logistic domain: against the formula, symmetric, rising, each the other's inverse. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/predict/cm_parts.h"
#include "kernels/predict/logistic.h"

static logistic tables;

static int setup(void **state) {
    (void)state;
    logistic_init(&tables);
    return 0;
}

static void squash_is_the_formula(void **state) {
    (void)state;
    for (int x = -SQUASH_MAX; x <= SQUASH_MAX; x++) {
        double exact = 65536 / (1 + exp(-x / 256.0));
        assert_true(fabs(squash16(&tables, x) - exact) <= 0.51);
    }
}

static void squash_is_symmetric_and_rises(void **state) {
    (void)state;
    for (int x = -SQUASH_MAX; x <= SQUASH_MAX; x++) {
        unsigned p = squash16(&tables, x);
        assert_true(p >= 1 && p <= 65535);
        assert_int_equal(p + squash16(&tables, -x), 65536);
        if (x > -SQUASH_MAX) assert_true(p >= squash16(&tables, x - 1));
    }
}

static void squash_takes_any_number(void **state) {
    (void)state;
    static const int far[] = {SQUASH_MAX + 1, 5000, 1 << 20, INT32_MAX};
    for (size_t i = 0; i < PITH_COUNT(far); i++) {
        assert_int_equal(squash16(&tables, far[i]), 65535);
        assert_int_equal(squash16(&tables, -far[i]), 1);
    }
    assert_int_equal(squash16(&tables, INT32_MIN), 1);
}

static void known_values(void **state) {
    (void)state;
    static const struct {
        int x;
        unsigned p;
    } known[] = {{0, 32768},    {1, 32832},    {256, 47911},  {512, 57724},
                 {1024, 64357}, {2047, 65514}, {-256, 17625}, {-2839, 1}};
    for (size_t i = 0; i < PITH_COUNT(known); i++) assert_int_equal(squash16(&tables, known[i].x), known[i].p);
    assert_int_equal(tables.stretch[0], -STRETCH_MAX);
    assert_int_equal(tables.stretch[4095], STRETCH_MAX);
    assert_int_equal(tables.stretch[2047], -1);
    assert_int_equal(tables.stretch[2048], 0);
}

/* stretch(p) is the greatest x whose squash does not pass the middle of p's sixteen. */
static void stretch_inverts_squash(void **state) {
    (void)state;
    for (int p = 0; p < 4096; p++) {
        int x = tables.stretch[p];
        unsigned middle = (unsigned)p * 16 + 8;
        assert_true(x >= -STRETCH_MAX && x <= STRETCH_MAX);
        if (p) assert_true(x >= tables.stretch[p - 1]);
        if (x > -STRETCH_MAX) assert_true(squash16(&tables, x) <= middle);
        if (x < STRETCH_MAX) assert_true(squash16(&tables, x + 1) > middle);
        if (x > -STRETCH_MAX && x < STRETCH_MAX) {
            double exact = 256 * log(middle / (65536.0 - middle));
            double slope = middle / 65536.0 * (65536.0 - middle) / 256; /* of squash: what half a unit is worth */
            assert_true(fabs(x - exact) <= 1 + 0.51 / slope);
        }
    }
}

/* The refinement stages start out giving back what they are given. */
static void a_new_refinement_is_the_identity(void **state) {
    (void)state;
    uint16_t row[APM_BUCKETS];
    for (int b = 0; b < APM_BUCKETS; b++) row[b] = (uint16_t)squash16(&tables, apm_centre(b));
    assert_int_equal(apm_centre(0), -2048);
    for (int x = -4000; x <= 4000; x++) {
        unsigned near = 99, p = apm_p(row, x, &near);
        int clamped = x > 2047 ? 2047 : x < -2047 ? -2047 : x;
        assert_true(near < APM_BUCKETS);
        assert_true(abs(apm_centre((int)near) - clamped) <= 68);
        assert_true(fabs((double)p - squash16(&tables, clamped)) <= 300);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(squash_is_the_formula),   cmocka_unit_test(squash_is_symmetric_and_rises),
        cmocka_unit_test(squash_takes_any_number), cmocka_unit_test(known_values),
        cmocka_unit_test(stretch_inverts_squash),  cmocka_unit_test(a_new_refinement_is_the_identity),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
