/* The double-precision functions against long double, their ends, and bits known on every
 * machine; GELU and half floats on every instruction set against the plain code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "base/base.h"
#include "math/exact.h"

#define KNOWN_REAL 0x379AF75299B235E0u /* of the values below */

static double relative(double x, long double truth) { return (double)fabsl(((long double)x - truth) / truth); }

static void test_against_long_double(void **state) {
    (void)state;
    const double bound = 1.0 / 1125899906842624; /* 2^-50 */
    for (int i = 0; i < 200000; i++) {
        double x = -700 + i * 0.007 + 1e-5 * (i % 7), sine, cosine;
        assert_true(relative(real_exp(x), expl((long double)x)) < bound);
        double y = exp(x / 3) * (1 + i % 13 / 17.0);
        if (y != 1) assert_true(relative(real_log(y), logl((long double)y)) < bound);
        double angle = (i - 100000) * 9.7 + 1e-3 * (i % 11);
        real_sin_cos(angle, &sine, &cosine);
        assert_true(fabsl((long double)sine - sinl((long double)angle)) < (long double)bound);
        assert_true(fabsl((long double)cosine - cosl((long double)angle)) < (long double)bound);
    }
    assert_true(relative(real_pow(500000, -0.96875), powl(500000, -0.96875L)) < 4 * bound);
    assert_true(relative(real_log(4.9406564584124654e-324), logl(4.9406564584124654e-324L)) < bound);
}

static void test_ends(void **state) {
    (void)state;
    double sine, cosine;
    assert_true(real_exp(-INFINITY) == 0 && real_exp(INFINITY) == INFINITY && real_exp(0) == 1 && isnan(real_exp(NAN)));
    assert_true(real_exp(-709) == 0 && real_exp(710) == INFINITY);
    assert_true(real_log(0) == -INFINITY && real_log(INFINITY) == INFINITY && real_log(1) == 0 && isnan(real_log(-1)));
    assert_true(isnan(real_log(NAN)));
    real_sin_cos(0, &sine, &cosine);
    assert_true(sine == 0 && cosine == 1);
    real_sin_cos(INFINITY, &sine, &cosine);
    assert_true(isnan(sine) && isnan(cosine));
    real_sin_cos(1e7, &sine, &cosine);
    assert_true(isnan(sine) && isnan(cosine));
}

static void test_known_bits(void **state) {
    (void)state;
    static double values[4 * 1000];
    for (int i = 0; i < 1000; i++) {
        double x = i * 0.37 - 150;
        values[4 * i] = real_exp(x);
        values[4 * i + 1] = real_log(1.0 + i * i * 0.01);
        real_sin_cos(x * 31, &values[4 * i + 2], &values[4 * i + 3]);
    }
    uint64_t hash = pith_hash64(values, sizeof values);
    if (hash != KNOWN_REAL) fail_msg("hash 0x%016llX", (unsigned long long)hash);
}

static void test_gelu(void **state) {
    (void)state;
    static float x[4003], y[4003], reference[4003];
    for (int i = 0; i < 4003; i++) x[i] = (float)(i - 2000) * 0.0061f;
    x[4000] = INFINITY, x[4001] = -0.0f, x[4002] = 1e-30f;
    exact_scalar.gelu(reference, x, 4003);
    for (int i = 0; i < 4000; i++) {
        double t = (double)x[i],
               truth = 0.5 * t * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (t + 0.044715 * t * t * t)));
        assert_true(fabs((double)reference[i] - truth) < 4e-7 * (1 + fabs(t)));
    }
    assert_true(reference[4000] == INFINITY && reference[4001] == 0);
    for (int level = PITH_CPU_SCALAR; level <= (int)pith_cpu_best(); level++) {
        for (size_t n = 0; n < 40; n++) {
            memset(y, 0, sizeof y);
            exact_for(level)->gelu(y, x + n, n);
            assert_memory_equal(y, reference + n, n * sizeof *y);
            assert_true(y[n] == 0);
        }
        exact_for(level)->gelu(y, x, 4003);
        assert_memory_equal(y, reference, sizeof y);
    }
}

static void test_halves(void **state) {
    (void)state;
    static uint16_t halves[65536];
    static float y[65536];
    for (unsigned i = 0; i < 65536; i++) halves[i] = (uint16_t)i;
    for (int level = PITH_CPU_SCALAR; level <= (int)pith_cpu_best(); level++) {
        exact_for(level)->widen(y, halves, 65536);
        for (unsigned i = 0; i < 65536; i++) {
            int e = (int)(i >> 10 & 31), m = (int)(i & 1023);
            double truth = e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
            if (e == 31) truth = INFINITY;
            if (i & 0x8000) truth = -truth;
            if (e == 31 && m)
                assert_true(isnan(y[i]));
            else
                assert_true((double)y[i] == truth && !signbit(y[i]) == !(i & 0x8000));
        }
        for (size_t n = 0; n < 40; n++) {
            float few[41] = {0};
            exact_for(level)->widen(few, halves + 15000, n);
            assert_memory_equal(few, y + 15000, n * sizeof *few);
            assert_true(few[n] == 0);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_long_double),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_known_bits),
        cmocka_unit_test(test_gelu),
        cmocka_unit_test(test_halves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
