/* The team: every part runs exactly once, whoever runs it, in many short runs one after another,
 * with more threads than processors and with pauses long enough to fall asleep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include "base/base.h"

enum { MOST_PARTS = 100 };

typedef struct tally {
    unsigned size;
    _Atomic uint32_t done[MOST_PARTS];
    _Atomic uint32_t busy[64]; /* by member: two parts at once have different ones */
    _Atomic uint32_t wrong;
} tally;

static void count(void *arg, size_t part, unsigned member) {
    tally *t = arg;
    if (member >= t->size || atomic_exchange(&t->busy[member], 1)) atomic_fetch_add(&t->wrong, 1);
    atomic_fetch_add(&t->done[part], 1);
    atomic_store(&t->busy[member], 0);
}

static void run(pith_team *team, size_t n_parts) {
    tally t = {.size = pith_team_size(team)};
    pith_team_run(team, count, &t, n_parts);
    assert_int_equal(t.wrong, 0);
    for (size_t i = 0; i < MOST_PARTS; i++) assert_int_equal(t.done[i], i < n_parts);
}

static void test_every_part_once(void **state) {
    (void)state;
    static const unsigned threads[] = {1, 2, 4, 9};
    pith_ctx *ctx = pith_ctx_new(NULL);
    for (size_t i = 0; i < PITH_COUNT(threads); i++) {
        pith_team *team;
        assert_int_equal(pith_team_new(ctx, threads[i], &team), PITH_OK);
        assert_int_equal(pith_team_size(team), threads[i]);
        for (size_t round = 0; round < 2000; round++) {
            run(team, round % MOST_PARTS);
            if (round % 400 == 0) nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        }
        pith_team_free(ctx, team);
    }
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
}

typedef struct meeting {
    _Atomic unsigned here;
} meeting;

static void meet(void *arg, size_t part, unsigned member) {
    (void)part, (void)member;
    meeting *m = arg;
    atomic_fetch_add(&m->here, 1);
    while (atomic_load(&m->here) < 3) nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

/* Three parts that wait for each other end only when three threads are at work at once. */
static void test_work_is_shared(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    pith_team *team;
    assert_int_equal(pith_team_new(ctx, 3, &team), PITH_OK);
    for (int round = 0; round < 20; round++) {
        meeting m = {0};
        pith_team_run(team, meet, &m, 3);
        assert_int_equal(m.here, 3);
    }
    pith_team_free(ctx, team);
    pith_team_free(ctx, NULL);
    pith_ctx_free(ctx);
}

static void test_memory_limit(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    pith_ctx_set_memory(ctx, 16);
    pith_team *team;
    assert_int_equal(pith_team_new(ctx, 4, &team), PITH_E_LIMIT);
    assert_null(team);
    pith_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_part_once),
        cmocka_unit_test(test_work_is_shared),
        cmocka_unit_test(test_memory_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
