/* Assignments are the best there are: against all permutations, on planted ones, on costs that are equal. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/allocate/allocate.h"

static uint64_t state = 5;
static float draw(void) {
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (float)((double)((z ^ z >> 31) >> 11) * 0x1p-52 - 1);
}

static double best_by_force(const float *cost, size_t rows, size_t cols, size_t row, uint32_t taken) {
    double best = row == rows ? 0 : INFINITY;
    for (size_t j = 0; j < cols && row < rows; j++) {
        if (taken >> j & 1) continue;
        best = fmin(best, (double)cost[row * cols + j] + best_by_force(cost, rows, cols, row + 1, taken | 1u << j));
    }
    return best;
}

static void least_of_all(void **unused) {
    (void)unused;
    pith_ctx *ctx = pith_ctx_new(NULL);
    for (size_t run = 0; run < 200; run++) {
        float cost[49];
        uint32_t column[7], seen = 0;
        size_t rows = 1 + run % 6, cols = rows + run / 6 % 2;
        double sum, expect, again = 0;
        for (size_t i = 0; i < rows * cols; i++) cost[i] = run % 3 ? draw() : (float)(int)(3 * draw()); /* many equal */
        expect = best_by_force(cost, rows, cols, 0, 0);
        assert_int_equal(alloc_assign(ctx, cost, rows, cols, column, &sum), PITH_OK);
        assert_true(fabs(sum - expect) < 1e-5);
        for (size_t i = 0; i < rows; i++) {
            assert_true(column[i] < cols && !(seen >> column[i] & 1));
            seen |= 1u << column[i];
            again += (double)cost[i * cols + column[i]];
        }
        assert_true(fabs(again - sum) < 1e-6);
    }
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
}

static void finds_what_is_planted(void **unused) {
    (void)unused;
    enum { N = 150 };
    static float cost[N * N];
    uint32_t column[N];
    pith_ctx *ctx = pith_ctx_new(NULL);
    for (size_t i = 0; i < N * N; i++) cost[i] = draw();
    for (size_t i = 0; i < N; i++) cost[i * N + i * 77 % N] = -2;
    assert_int_equal(alloc_assign(ctx, cost, N, N, column, NULL), PITH_OK);
    for (size_t i = 0; i < N; i++) assert_int_equal(column[i], i * 77 % N);
    pith_ctx_free(ctx);
}

static void refuses(void **unused) {
    (void)unused;
    pith_ctx *ctx = pith_ctx_new(NULL);
    const float cost[4] = {1, 2, NAN, 3};
    uint32_t column[4];
    assert_int_equal(alloc_assign(ctx, cost, 2, 2, column, NULL), PITH_E_ARGUMENT);
    assert_int_equal(alloc_assign(ctx, cost, 2, 1, column, NULL), PITH_E_ARGUMENT);
    pith_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(least_of_all),
        cmocka_unit_test(finds_what_is_planted),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
