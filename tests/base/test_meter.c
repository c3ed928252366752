/* Progress inside jobs: whatever a job does, it adds what it is worth, step by step, never more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"
#include "support/session.h"

static void steps_add_up_to_what_the_job_is_worth(void **state) {
    (void)state;
    _Atomic uint64_t sum = 1000;
    pith_meter m;
    pith_meter_begin(&m, &sum, 600);
    assert_false(pith_step(ctx, 50)); /* in no phase */
    assert_int_equal(sum, 1000);
    pith_phase(0.5, 30); /* each step is 10 bytes */
    pith_step(ctx, 1);
    assert_int_equal(sum, 1010);
    pith_step(ctx, 9);
    assert_int_equal(sum, 1100);
    pith_phase(0, 7); /* the rest of the phase is counted, and nothing in this one */
    assert_int_equal(sum, 1300);
    pith_step(ctx, 7);
    assert_int_equal(sum, 1300);
    pith_phase(0.5, 300);
    pith_step(ctx, 299);
    assert_int_equal(sum, 1599);
    pith_step(ctx, 1000);
    assert_int_equal(sum, 1600);
    pith_phase(1, 10); /* more than there is */
    pith_step(ctx, 10);
    assert_int_equal(sum, 1600);
    pith_meter_end(&m, true);
    assert_int_equal(sum, 1600);
    pith_step(ctx, 10);
    pith_phase(1, 10);
    assert_int_equal(sum, 1600);
}

static void small_steps_are_not_lost(void **state) {
    (void)state;
    _Atomic uint64_t sum = 0;
    pith_meter m;
    pith_meter_begin(&m, &sum, 1000);
    pith_phase(1, 3000);
    for (uint64_t i = 1; i <= 3000; i++) {
        pith_step(ctx, 1);
        assert_true(sum <= i / 3 + 1 && sum + 1 >= i / 3);
    }
    pith_meter_end(&m, true);
    assert_int_equal(sum, 1000);
}

static void the_rest_is_counted_when_complete_and_only_then(void **state) {
    (void)state;
    _Atomic uint64_t sum = 0;
    pith_meter m;
    pith_meter_begin(&m, &sum, 100);
    pith_phase(1, 10);
    pith_step(ctx, 3);
    pith_meter_end(&m, false);
    assert_int_equal(sum, 30);
    pith_meter_begin(&m, &sum, 100);
    pith_meter_end(&m, true);
    assert_int_equal(sum, 130);
}

static pith_status job(void *arg, size_t i) {
    pith_meter m;
    pith_meter_begin(&m, arg, 100 + i);
    pith_phase(0.25, 100);
    for (int k = 0; k < 100; k++) pith_step(ctx, 1);
    pith_phase(0.75, 7);
    pith_step(ctx, 3);
    pith_meter_end(&m, true);
    return PITH_OK;
}

static void each_thread_has_its_own(void **state) {
    (void)state;
    _Atomic uint64_t sum = 0;
    pith_ctx_set_threads(ctx, 4);
    assert_int_equal(pith_parallel(ctx, 50, job, &sum), PITH_OK);
    assert_int_equal(sum, 50 * 100 + 49 * 50 / 2);
    pith_ctx_set_threads(ctx, 0);
}

static int stop(void *opaque, uint64_t done, uint64_t total) {
    (void)opaque, (void)done, (void)total;
    return 1;
}

static void steps_tell_of_a_cancel(void **state) {
    (void)state;
    assert_false(pith_step(ctx, 1));
    pith_ctx_set_progress(ctx, stop, NULL);
    assert_int_equal(pith_tick(ctx, 0, 0), PITH_E_CANCELLED);
    assert_true(pith_step(ctx, 1));
    pith_ctx_set_progress(ctx, NULL, NULL);
    pith_begin(ctx);
    assert_false(pith_step(ctx, 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_add_up_to_what_the_job_is_worth),
        cmocka_unit_test(small_steps_are_not_lost),
        cmocka_unit_test(the_rest_is_counted_when_complete_and_only_then),
        cmocka_unit_test(each_thread_has_its_own),
        cmocka_unit_test(steps_tell_of_a_cancel),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
