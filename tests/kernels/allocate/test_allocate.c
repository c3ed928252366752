/* Allocation against brute force on small tables, and its properties on big ones. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/allocate/allocate.h"
#include "support/session.h"

static uint64_t seed = 1;

static uint32_t dice(uint32_t n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((seed >> 33) % n);
}

/* A random table; whole: losses are whole numbers, so that all sums are exact. */
static alloc_table random_table(alloc_row *rows, uint32_t n_units, uint32_t n_levels, bool whole) {
    size_t n = 0;
    for (uint32_t u = 0; u < n_units; u++)
        for (uint32_t l = 0; l < n_levels; l++) {
            double loss = whole ? (double)dice(100) - 10 : (double)dice(1000000) / 3e5;
            rows[n++] = (alloc_row){u, l, dice(60), loss};
        }
    for (size_t i = n; i > 1; i--) { /* order does not matter */
        size_t j = dice((uint32_t)i);
        alloc_row swap = rows[i - 1];
        rows[i - 1] = rows[j];
        rows[j] = swap;
    }
    return (alloc_table){rows, n, n_units};
}

/* Falling losses over rising bytes, with noise: what codecs give. */
static alloc_table codec_table(alloc_row *rows, uint32_t n_units, uint32_t n_levels) {
    size_t n = 0;
    for (uint32_t u = 0; u < n_units; u++) {
        uint64_t weights = 1000 + dice(9000);
        double loss = 1 + dice(100);
        for (uint32_t l = 0; l < n_levels; l++, loss *= 0.3 + dice(300) / 1000.0)
            rows[n++] = (alloc_row){u, l, weights * (l + 2) / 8 + dice(20), loss};
    }
    return (alloc_table){rows, n, n_units};
}

typedef struct brute {
    const alloc_table *table;
    const alloc_budget *budget;
    const alloc_side *sides;
    size_t n_sides;
    uint32_t taken[4], rows[8];
    double best; /* of what is minimised */
} brute;

static void brute_from(brute *b, uint32_t unit) {
    if (unit == b->table->n_units) {
        alloc_choice c = {.rows = b->rows};
        alloc_total(b->table, &c);
        for (size_t i = 0; i < b->n_sides; i++) {
            const alloc_side *side = &b->sides[i];
            if (b->taken[i] < side->at_least || (side->at_most && b->taken[i] > side->at_most)) return;
        }
        if (b->budget->by_loss ? c.loss > b->budget->loss : c.bytes > b->budget->bytes) return;
        b->best = fmin(b->best, b->budget->by_loss ? (double)c.bytes : c.loss);
        return;
    }
    for (uint32_t i = 0; i < b->table->n_rows; i++) {
        if (b->table->rows[i].unit != unit) continue;
        b->rows[unit] = i;
        for (size_t s = 0; s < b->n_sides; s++) b->taken[s] += b->sides[s].level == b->table->rows[i].level;
        brute_from(b, unit + 1);
        for (size_t s = 0; s < b->n_sides; s++) b->taken[s] -= b->sides[s].level == b->table->rows[i].level;
    }
}

static double brute_force(const alloc_table *t, const alloc_budget *budget, const alloc_side *sides, size_t n_sides) {
    brute b = {.table = t, .budget = budget, .sides = sides, .n_sides = n_sides, .best = INFINITY};
    brute_from(&b, 0);
    return b.best;
}

static void check_choice(const alloc_table *t, const alloc_budget *budget, const alloc_choice *c) {
    alloc_choice again = *c;
    for (uint32_t u = 0; u < t->n_units; u++) assert_int_equal(t->rows[c->rows[u]].unit, u);
    alloc_total(t, &again);
    assert_int_equal(again.bytes, c->bytes);
    assert_true(again.loss == c->loss);
    assert_true(budget->by_loss ? c->loss <= budget->loss : c->bytes <= budget->bytes);
}

static void test_brute_force(void **state) {
    (void)state;
    alloc_row rows[64];
    uint32_t chosen[8];
    unsigned solved = 0, refused = 0;
    for (unsigned round = 0; round < 400; round++) {
        uint32_t n_units = 1 + dice(5);
        alloc_table t = random_table(rows, n_units, 1 + dice(4), round % 2 == 0);
        alloc_budget b = {.by_loss = round % 3 == 0, .bytes = dice(40 * n_units), .loss = (double)dice(60 * n_units)};
        double best = brute_force(&t, &b, NULL, 0);
        alloc_choice c = {.rows = chosen};
        pith_begin(ctx);
        pith_status status = alloc_mckp(ctx, &t, &b, 0, &c);
        if (best == INFINITY) {
            assert_int_equal(status, PITH_E_LIMIT);
            assert_int_equal(alloc_lagrange(ctx, &t, &b, &c), PITH_E_LIMIT);
            refused++;
            continue;
        }
        assert_int_equal(status, PITH_OK);
        check_choice(&t, &b, &c);
        assert_true(c.exact);
        double value = b.by_loss ? (double)c.bytes : c.loss;
        assert_true(fabs(value - best) <= 1e-9 && c.bound == value);
        assert_int_equal(alloc_lagrange(ctx, &t, &b, &c), PITH_OK);
        check_choice(&t, &b, &c);
        value = b.by_loss ? (double)c.bytes : c.loss;
        assert_true(value >= best - 1e-9 && c.bound <= best + 1e-9);
        if (c.exact) assert_true(fabs(value - best) <= 1e-9);
        solved++;
    }
    assert_true(solved > 200 && refused > 20);
}

static void test_sides(void **state) {
    (void)state;
    alloc_row rows[64];
    uint32_t chosen[8];
    unsigned solved = 0, refused = 0;
    for (unsigned round = 0; round < 300; round++) {
        uint32_t n_units = 2 + dice(4), n_levels = 2 + dice(2);
        alloc_table t = random_table(rows, n_units, n_levels, round % 2 == 0);
        alloc_budget b = {.bytes = dice(50 * n_units)};
        alloc_side sides[2] = {{dice(n_levels), dice(3), dice(4)}, {dice(n_levels), 1, 0}};
        double best = brute_force(&t, &b, sides, 2);
        alloc_choice c = {.rows = chosen};
        pith_begin(ctx);
        pith_status status = alloc_small(ctx, &t, &b, sides, 2, 0, &c);
        if (best == INFINITY) {
            assert_int_equal(status, PITH_E_LIMIT);
            refused++;
            continue;
        }
        assert_int_equal(status, PITH_OK);
        check_choice(&t, &b, &c);
        assert_true(c.exact && fabs(c.loss - best) <= 1e-9);
        solved++;
    }
    assert_true(solved > 100 && refused > 20);
}

/* Eight experts at 1, 2 or 3 bits, two bits on average, at least one at three and one at two (S295). */
static void test_experts(void **state) {
    (void)state;
    alloc_row rows[24];
    uint32_t chosen[8];
    for (uint32_t e = 0; e < 8; e++)
        for (uint32_t bits = 1; bits <= 3; bits++)
            rows[e * 3 + bits - 1] = (alloc_row){e, bits, bits, pow(0.25, bits) * (e == 0 ? 1000 : 1)};
    alloc_table t = {rows, 24, 8};
    alloc_budget b = {.bytes = 16};
    alloc_side sides[] = {{3, 1, 0}, {2, 1, 0}};
    alloc_choice c = {.rows = chosen};
    assert_int_equal(alloc_small(ctx, &t, &b, sides, 2, 0, &c), PITH_OK);
    assert_true(c.exact && c.bytes == 16);
    assert_int_equal(rows[chosen[0]].level, 3);
    b.bytes = 10; /* one at three, then one at two is too much for the rest at one */
    assert_int_equal(alloc_small(ctx, &t, &b, sides, 2, 0, &c), PITH_E_LIMIT);
    b.bytes = 11;
    assert_int_equal(alloc_small(ctx, &t, &b, sides, 2, 0, &c), PITH_OK);
    assert_int_equal(rows[chosen[0]].level, 3);
    assert_int_equal(alloc_small(ctx, &t, &b, sides, 2, 9, &c), PITH_OK); /* nodes for hardly more than one choice */
    assert_false(c.exact);
    assert_true(c.bound <= c.loss);
}

/* More budget never loses more, and thinned sums keep within the budget with an honest bound. */
static void test_big(void **state) {
    (void)state;
    enum { UNITS = 300, LEVELS = 12 };
    static alloc_row rows[UNITS * LEVELS];
    static uint32_t chosen[UNITS];
    alloc_table t = codec_table(rows, UNITS, LEVELS);
    uint64_t least = 0, most = 0;
    for (size_t i = 0; i < t.n_rows; i++) {
        if (rows[i].level == 0) least += rows[i].bytes;
        if (rows[i].level == LEVELS - 1) most += rows[i].bytes;
    }
    double last = INFINITY;
    for (unsigned step = 0; step <= 10; step++) {
        alloc_budget b = {.bytes = least + (most - least) * step / 10};
        alloc_choice c = {.rows = chosen}, rough = c, thin = c;
        assert_int_equal(alloc_lagrange(ctx, &t, &b, &rough), PITH_OK);
        check_choice(&t, &b, &rough);
        assert_int_equal(alloc_mckp(ctx, &t, &b, 8, &thin), PITH_OK);
        check_choice(&t, &b, &thin);
        assert_int_equal(alloc_mckp(ctx, &t, &b, 0, &c), PITH_OK);
        check_choice(&t, &b, &c);
        assert_true(c.exact && c.loss <= thin.loss && thin.loss <= rough.loss);
        assert_true(thin.bound <= c.loss + 1e-9 && rough.bound <= c.loss + 1e-9);
        assert_true(c.loss <= last);
        last = c.loss;
        /* the other way round: that loss takes no more bytes */
        alloc_budget by_loss = {.by_loss = true, .loss = c.loss};
        alloc_choice back = c;
        assert_int_equal(alloc_mckp(ctx, &t, &by_loss, 0, &back), PITH_OK);
        check_choice(&t, &by_loss, &back);
        assert_true(back.bytes <= b.bytes);
    }
}

static void test_orders(void **state) {
    (void)state;
    enum { UNITS = 6, LEVELS = 5 };
    alloc_row rows[UNITS * LEVELS];
    uint32_t order[UNITS * LEVELS], chosen[UNITS];
    for (unsigned round = 0; round < 50; round++) {
        alloc_table t = codec_table(rows, UNITS, LEVELS);
        bool by_level = round % 2;
        assert_int_equal(alloc_order(ctx, &t, by_level, order), PITH_OK);
        uint32_t reached[UNITS] = {0}, seen = 0;
        for (size_t i = 0; i < t.n_rows; i++) { /* every prefix holds whole stacks */
            const alloc_row *r = &rows[order[i]];
            assert_int_equal(r->level, reached[r->unit]);
            reached[r->unit]++;
            if (i < UNITS) assert_int_equal(r->level, 0);
            if (by_level) assert_true(r->level >= seen);
            seen = r->level;
        }
        double last = INFINITY;
        for (uint64_t bytes = 0; bytes < 60000; bytes += 500) {
            alloc_choice c = {.rows = chosen};
            pith_begin(ctx);
            pith_status status = alloc_prefix(ctx, &t, order, bytes, &c);
            if (status == PITH_E_LIMIT && last == INFINITY) continue;
            assert_int_equal(status, PITH_OK);
            assert_true(c.bytes <= bytes && c.loss <= last);
            last = c.loss;
        }
        assert_true(last < INFINITY);
    }
}

/* A poor step in front of a very good one is taken for what both are worth. */
static void test_order_looks_ahead(void **state) {
    (void)state;
    const alloc_row rows[] = {{0, 0, 10, 100}, {0, 1, 20, 99}, {0, 2, 30, 10}, {1, 0, 10, 60}, {1, 1, 20, 40}};
    alloc_table t = {rows, 5, 2};
    uint32_t order[5], chosen[2];
    assert_int_equal(alloc_order(ctx, &t, false, order), PITH_OK);
    const uint32_t expected[] = {0, 3, 1, 2, 4};
    for (unsigned i = 0; i < 5; i++) assert_int_equal(order[i], expected[i]);
    assert_int_equal(alloc_order(ctx, &t, true, order), PITH_OK);
    const uint32_t levels[] = {0, 3, 4, 1, 2};
    for (unsigned i = 0; i < 5; i++) assert_int_equal(order[i], levels[i]);
    alloc_choice c = {.rows = chosen};
    assert_int_equal(alloc_prefix(ctx, &t, order, 40, &c), PITH_OK);
    assert_int_equal(c.bytes, 40);
    assert_int_equal(chosen[0], 1);
    assert_int_equal(alloc_prefix(ctx, &t, order, 19, &c), PITH_E_LIMIT);
    const alloc_row shrinking[] = {{0, 0, 10, 1}, {0, 1, 9, 0}};
    pith_begin(ctx);
    assert_int_equal(alloc_order(ctx, &(alloc_table){shrinking, 2, 1}, false, order), PITH_E_ARGUMENT);
}

static void test_lograte(void **state) {
    (void)state;
    const double bits[] = {2, 3, 4, 6, 8};
    double scores[20];
    uint64_t weights[20];
    uint32_t level[20];
    for (unsigned round = 0; round < 200; round++) {
        double sum = 0, used = 0, average = 2 + dice(50) / 10.0;
        for (unsigned u = 0; u < 20; u++) {
            scores[u] = exp2((double)dice(100) / 12);
            weights[u] = 100 + dice(2000);
        }
        assert_int_equal(alloc_lograte(ctx, scores, weights, 20, bits, 5, average, 0.5, level), PITH_OK);
        for (unsigned u = 0; u < 20; u++) {
            sum += (double)weights[u];
            used += bits[level[u]] * (double)weights[u];
        }
        assert_true(used <= average * sum + 1e-6);
        assert_true(average > 7.5 || used >= (average - 1) * sum); /* hardly a level of the biggest is left over */
    }
    /* Four times the variance is one bit more. */
    const double two[] = {4, 1};
    const uint64_t same[] = {100, 100};
    const double fine[] = {2.5, 3.5};
    assert_int_equal(alloc_lograte(ctx, two, same, 2, fine, 2, 3, 0.5, level), PITH_OK);
    assert_int_equal(level[0], 1);
    assert_int_equal(level[1], 0);
    assert_int_equal(alloc_lograte(ctx, two, same, 2, fine, 2, 2, 0.5, level), PITH_E_LIMIT);
    const double zero[] = {0, 1};
    pith_begin(ctx);
    assert_int_equal(alloc_lograte(ctx, zero, same, 2, fine, 2, 3, 0.5, level), PITH_E_ARGUMENT);
}

typedef struct fitness {
    const alloc_table *table;
    const alloc_budget *budget;
    bool pairs; /* neighbours at the lowest level together cost ten more */
    uint64_t calls, effort;
} fitness;

static pith_status measure(void *opaque, const uint32_t *rows, size_t n, uint64_t effort, double *losses) {
    fitness *f = opaque;
    uint32_t n_units = f->table->n_units;
    for (size_t i = 0; i < n; i++) {
        alloc_choice c = {.rows = (uint32_t *)(uintptr_t)(rows + i * n_units)};
        alloc_total(f->table, &c);
        assert_true(c.bytes <= f->budget->bytes);
        losses[i] = c.loss;
        for (uint32_t u = 0; f->pairs && u + 1 < n_units; u++)
            if (f->table->rows[c.rows[u]].level == 0 && f->table->rows[c.rows[u + 1]].level == 0) losses[i] += 10;
    }
    f->calls += n;
    f->effort += n * effort;
    return PITH_OK;
}

static void test_evolution(void **state) {
    (void)state;
    enum { UNITS = 8, LEVELS = 3 };
    alloc_row rows[UNITS * LEVELS];
    uint32_t chosen[UNITS], again[UNITS];
    for (uint32_t u = 0; u < UNITS; u++)
        for (uint32_t l = 0; l < LEVELS; l++)
            rows[u * LEVELS + l] = (alloc_row){u, l, 100 * (l + 2), pow(0.25, l) * (1 + (double)dice(50) / 10)};
    alloc_table t = {rows, UNITS * LEVELS, UNITS};
    alloc_budget b = {.bytes = UNITS * 300};
    fitness f = {.table = &t, .budget = &b};
    const alloc_round rounds[] = {{10, 4}, {100, 1}};
    uint32_t worst[UNITS]; /* half at the lowest, half at the highest level */
    for (uint32_t u = 0; u < UNITS; u++) worst[u] = u * LEVELS + (u % 2 ? 2 : 0);
    alloc_evolution how = {.seed = 7, .generations = 60, .offspring = 16, .rounds = rounds, .n_rounds = 2,
                           .start = worst, .fitness = measure, .opaque = &f};
    alloc_choice c = {.rows = chosen}, d = {.rows = again};
    assert_int_equal(alloc_evo(ctx, &t, &b, &how, &c), PITH_OK);
    assert_true(fabs(c.loss - brute_force(&t, &b, NULL, 0)) < 1e-9);
    assert_int_equal(c.bytes, b.bytes);
    assert_int_equal(f.calls, 60 * (16 + 5));
    assert_int_equal(f.effort, 60 * (16 * 10 + 5 * 100));
    assert_int_equal(alloc_evo(ctx, &t, &b, &how, &d), PITH_OK);
    assert_memory_equal(chosen, again, sizeof chosen);
    /* Where losses do not add up it beats what is best for the sum. */
    f.pairs = true;
    double sum_best;
    assert_int_equal(alloc_mckp(ctx, &t, &b, 0, &c), PITH_OK);
    assert_int_equal(measure(&f, chosen, 1, 1, &sum_best), PITH_OK);
    how.start = chosen;
    assert_int_equal(alloc_evo(ctx, &t, &b, &how, &d), PITH_OK);
    assert_true(d.loss <= sum_best && d.loss < 100);
    how.start = NULL;
    how.generations = 0; /* the start comes back */
    assert_int_equal(alloc_evo(ctx, &t, &b, &how, &d), PITH_OK);
    assert_int_equal(alloc_lagrange(ctx, &t, &b, &c), PITH_OK);
    assert_memory_equal(chosen, again, sizeof chosen);
}

static void test_refused(void **state) {
    (void)state;
    uint32_t chosen[2];
    alloc_choice c = {.rows = chosen};
    alloc_budget b = {.bytes = 100};
    const alloc_row gap[] = {{0, 0, 1, 1}, {2, 0, 1, 1}}, nan[] = {{0, 0, 1, NAN}}, huge[] = {{0, 0, 1ull << 54, 1}};
    const alloc_table bad[] = {{gap, 2, 2}, {gap, 2, 3}, {nan, 1, 1}, {huge, 1, 1}, {NULL, 0, 0}, {gap, 1, 2}};
    for (size_t i = 0; i < PITH_COUNT(bad); i++) {
        pith_begin(ctx);
        assert_int_equal(alloc_mckp(ctx, &bad[i], &b, 0, &c), PITH_E_ARGUMENT);
        assert_true(pith_error(ctx)[0] != 0);
    }
    const alloc_row one[] = {{0, 0, 1, 1}};
    const alloc_table good = {one, 1, 1};
    const alloc_round many[] = {{1, 2}};
    alloc_evolution how = {.generations = 1, .offspring = 1, .rounds = many, .n_rounds = 1, .fitness = measure};
    pith_begin(ctx);
    assert_int_equal(alloc_evo(ctx, &good, &b, &how, &c), PITH_E_ARGUMENT);
    assert_int_equal(alloc_bytes_of(4.5, 16), 9);
    assert_int_equal(alloc_bytes_of(-1, 16), 0);
    assert_int_equal(alloc_bytes_of(1e300, 16), 1ull << 53);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_brute_force), cmocka_unit_test(test_sides),     cmocka_unit_test(test_experts),
        cmocka_unit_test(test_big),         cmocka_unit_test(test_orders),    cmocka_unit_test(test_order_looks_ahead),
        cmocka_unit_test(test_lograte),     cmocka_unit_test(test_evolution), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
