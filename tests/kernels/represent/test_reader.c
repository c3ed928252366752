/* Reading what stages wrote, and the measure of errors. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "kernels/represent/represent.h"
#include "support/session.h"

static void fill(float *w, size_t n) {
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525 + 1013904223;
        w[i] = (float)(int32_t)state / 2147483648.0f;
    }
}

static void readers_stop_at_the_end(void **state) {
    (void)state;
    uint8_t bytes[] = {0x05, 0x80, 0x01, 0x80, 0x00, 0xFF};
    repr_reader r = {bytes, bytes + sizeof bytes};
    uint64_t v;
    assert_true(repr_take_number(&r, 5, &v) && v == 5);
    assert_false(repr_take_number(&r, 127, &v)); /* 128 is above */
    assert_true(repr_take_number(&r, 128, &v) && v == 128);
    assert_false(repr_take_number(&r, UINT64_MAX, &v)); /* not the shortest form */
    assert_null(repr_take(&r, 4));
    assert_ptr_equal(repr_take(&r, 3), bytes + 3);
    assert_non_null(repr_take(&r, 0));
    assert_false(repr_take_number(&r, UINT64_MAX, &v));
    float f[2] = {0.1f, -3}, back[2];
    pith_buffer out = {0};
    assert_int_equal(repr_put_halves(ctx, &out, f, 2), PITH_OK);
    assert_int_equal(repr_put_floats(ctx, &out, f, 2), PITH_OK);
    assert_int_equal(repr_put_number(ctx, &out, 300), PITH_OK);
    assert_int_equal(out.size, 4 + 8 + 2);
    repr_reader in = {out.data, out.data + out.size};
    assert_true(repr_take_halves(&in, back, 2) && back[1] == -3 && back[0] != 0.1f);
    assert_true(repr_take_floats(&in, back, 2) && back[0] == 0.1f);
    assert_false(repr_take_floats(&in, back, 1));
    assert_false(repr_take_halves(&in, back, 2));
    assert_false(repr_take_halves(&in, back, SIZE_MAX));
    assert_true(repr_take_number(&in, 300, &v) && v == 300);
    repr_reader nothing = {0};
    assert_null(repr_take(&nothing, 1));
    assert_false(repr_take_number(&nothing, 1, &v));
    pith_buffer_free(ctx, &out);
}

static void measure_is_the_formula(void **state) {
    (void)state;
    enum { ROWS = 3, COLS = 37 };
    float w[ROWS * COLS], back[ROWS * COLS], h[COLS];
    static float gram[COLS * (COLS + 1) / 2], full[COLS][COLS];
    fill(w, ROWS * COLS);
    for (size_t i = 0; i < ROWS * COLS; i++) back[i] = (float)(int)(w[i] * 8) / 8;
    for (size_t i = 0, k = 0; i < COLS; i++)
        for (size_t j = 0; j <= i; j++, k++) gram[k] = full[i][j] = full[j][i] = i == j ? (h[i] = 2 + (float)i) : 1 / (1 + (float)(i - j));
    double d[2] = {0}, a[2] = {0}, dh = 0, ah = 0;
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < COLS; i++) {
            double x = w[r * COLS + i], e = x - back[r * COLS + i];
            a[0] += x * x;
            d[0] += e * e;
            ah += x * x * h[i];
            dh += e * e * h[i];
            for (size_t j = 0; j < COLS; j++) {
                a[1] += x * full[i][j] * w[r * COLS + j];
                d[1] += e * full[i][j] * (w[r * COLS + j] - back[r * COLS + j]);
            }
        }
    repr_matrix m = {.data = w, .rows = ROWS, .cols = COLS};
    repr_error e;
    assert_int_equal(repr_measure(ctx, &m, back, NULL, &e), PITH_OK);
    assert_true(fabs(e.weights - d[0] / a[0]) < 1e-9);
    assert_true(fabs(e.outputs - d[0] / a[0]) < 1e-9);
    repr_stats stats = {.h = h};
    assert_int_equal(repr_measure(ctx, &m, back, &stats, &e), PITH_OK);
    assert_true(fabs(e.outputs - dh / ah) < 1e-6);
    stats.gram = gram;
    assert_int_equal(repr_measure(ctx, &m, back, &stats, &e), PITH_OK);
    assert_true(fabs(e.weights - d[0] / a[0]) < 1e-9);
    assert_true(fabs(e.outputs - d[1] / a[1]) < 1e-6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_stop_at_the_end),
        cmocka_unit_test(measure_is_the_formula),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
