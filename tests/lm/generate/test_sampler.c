/* Choosing a token: every cut against a plain one written from its definition, penalties by hand, the
 * frequencies of choices against their probabilities, and choices known for a seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "lm/generate/generate.h"
#include "support/session.h"

enum { VOCAB = 200 };

static uint32_t random_state;
static float logits[VOCAB];

static float random_logit(void) {
    random_state = random_state * 1664525u + 1013904223u;
    return (float)(random_state >> 20) / 256.0f - 8.0f; /* from a grid, so that there are equals */
}

static void new_logits(uint32_t seed) {
    random_state = seed;
    for (size_t i = 0; i < VOCAB; i++) logits[i] = random_logit();
}

static sampling off(void) {
    return (sampling){.repeat_penalty = 1, .penalty_window = 64, .typical = 1, .top_p = 1, .temperature = 1};
}

static sampler *make(sampling how) {
    sampler *s;
    if (sampler_new(ctx, &how, VOCAB, &s)) fail_msg("%s", pith_error(ctx));
    return s;
}

/* ---- the same in double precision, by sorting ---- */

typedef struct entry {
    uint32_t id;
    double logit, p, shift;
} entry;

static int by_p(const void *a, const void *b) {
    const entry *x = a, *y = b;
    return x->logit != y->logit ? (x->logit > y->logit ? -1 : 1) : x->id < y->id ? -1 : 1;
}

static int by_shift(const void *a, const void *b) {
    const entry *x = a, *y = b;
    return x->shift < y->shift ? -1 : 1;
}

static void set_p(entry *e, size_t n) {
    double sum = 0, top = -INFINITY;
    for (size_t i = 0; i < n; i++) top = fmax(top, e[i].logit);
    for (size_t i = 0; i < n; i++) sum += e[i].p = exp(e[i].logit - top);
    for (size_t i = 0; i < n; i++) e[i].p /= sum;
}

static size_t plain(const sampling *h, entry *e) {
    size_t n = VOCAB, k;
    for (size_t i = 0; i < n; i++) e[i] = (entry){(uint32_t)i, (double)logits[i], 0, 0};
    qsort(e, n, sizeof *e, by_p);
    if (h->top_k && h->top_k < n) n = h->top_k;
    if (h->typical < 1) {
        double entropy = 0, sum = 0;
        set_p(e, n);
        for (size_t i = 0; i < n; i++) entropy -= e[i].p * log(e[i].p);
        for (size_t i = 0; i < n; i++) e[i].shift = fabs(-log(e[i].p) - entropy) + 1e-9 * e[i].id;
        qsort(e, n, sizeof *e, by_shift);
        for (k = 0; k < n && sum <= (double)h->typical; k++) sum += e[k].p;
        n = k;
        qsort(e, n, sizeof *e, by_p);
    }
    if (h->top_p < 1) {
        double sum = 0;
        set_p(e, n);
        for (k = 0; k < n && sum < (double)h->top_p; k++) sum += e[k].p;
        n = k ? k : 1;
    }
    if (h->min_p > 0) {
        double best = e[0].logit;
        for (k = 0; k < n && e[k].logit >= best + log((double)h->min_p); k++) {}
        n = k;
    }
    for (size_t i = 0; i < n; i++) e[i].logit /= (double)h->temperature;
    set_p(e, n);
    return n;
}

static void expect_same(sampling how) {
    sampler *s = make(how);
    entry want[VOCAB];
    for (uint32_t seed = 1; seed < 30; seed++) {
        new_logits(seed);
        size_t n_want = plain(&how, want), n;
        const choice *got = sampler_choices(s, logits, NULL, 0, &n);
        assert_int_equal(n, n_want);
        for (size_t i = 0; i < n; i++) {
            size_t k = 0;
            while (k < n && want[k].id != got[i].id) k++;
            assert_true(k < n);
            assert_true(fabs(want[k].p - got[i].p) < 1e-5 * want[k].p + 1e-12);
        }
        uint32_t id = sampler_choose(s, logits, NULL, 0);
        size_t k = 0;
        while (k < n && want[k].id != id) k++;
        assert_true(k < n);
    }
    sampler_free(ctx, s);
}

static void cuts_are_as_defined(void **state) {
    (void)state;
    sampling h = off();
    expect_same(h);
    for (h.top_k = 1; h.top_k < 300; h.top_k = h.top_k * 3 + 1) expect_same(h);
    h = off();
    for (h.top_p = 0; h.top_p < 1; h.top_p += 0.137f) expect_same(h);
    h = off();
    for (h.min_p = 0.001f; h.min_p <= 1; h.min_p *= 3) expect_same(h);
    h = off();
    for (h.typical = 0.1f; h.typical < 1; h.typical += 0.2f) expect_same(h);
    h = off();
    for (h.temperature = 0.1f; h.temperature < 5; h.temperature *= 2) expect_same(h);
    h = sampling_defaults();
    expect_same(h);
    h.typical = 0.7f;
    h.min_p = 0.2f;
    expect_same(h);
}

static void greedy_takes_the_best_and_lowest(void **state) {
    (void)state;
    sampling h = sampling_defaults();
    h.temperature = 0;
    sampler *s = make(h);
    for (uint32_t seed = 1; seed < 50; seed++) {
        new_logits(seed);
        assert_int_equal(sampler_choose(s, logits, NULL, 0), lm_argmax(logits, VOCAB));
    }
    for (size_t i = 0; i < VOCAB; i++) logits[i] = i % 7 == 3 ? 2.5f : NAN;
    assert_int_equal(sampler_choose(s, logits, NULL, 0), 3);
    sampler_free(ctx, s);
}

static void penalties_and_biases(void **state) {
    (void)state;
    const logit_bias biases[] = {{9, -INFINITY}, {5, 1.5f}};
    sampling h = off();
    h.repeat_penalty = 2;
    h.frequency_penalty = 0.25f;
    h.presence_penalty = 0.5f;
    h.penalty_window = 4;
    h.biases = biases;
    h.n_biases = 2;
    sampler *s = make(h);
    for (size_t i = 0; i < VOCAB; i++) logits[i] = -30;
    logits[1] = 4, logits[2] = -1, logits[3] = 3, logits[5] = 0, logits[9] = 9, logits[7] = 2;
    const uint32_t history[] = {7, 1, 2,
                                1, 5, 1000000}; /* 7 and the first 1 are out of the window, 1000000 is no token */
    size_t n;
    const choice *c = sampler_choices(s, logits, history, 6, &n);
    double p[VOCAB] = {0};
    for (size_t i = 0; i < n; i++) p[c[i].id] = c[i].p;
    assert_true(p[9] == 0);
    const struct {
        uint32_t id;
        double logit;
    } want[] = {{1, 4.0 / 2 - 0.25 - 0.5}, {2, -1.0 * 2 - 0.25 - 0.5}, {3, 3}, {5, 1.5 / 2 - 0.25 - 0.5}, {7, 2}};
    for (size_t i = 0; i < PITH_COUNT(want); i++)
        assert_true(fabs(log(p[want[i].id] / p[3]) - (want[i].logit - 3)) < 1e-5);
    /* counts are of the call alone */
    c = sampler_choices(s, logits, history, 6, &n);
    for (size_t i = 0; i < n; i++) assert_true(c[i].p == p[c[i].id]);
    const uint32_t twice[] = {1, 1};
    c = sampler_choices(s, logits, twice, 2, &n);
    for (size_t i = 0; i < n; i++) p[c[i].id] = c[i].p;
    assert_true(fabs(log(p[1] / p[3]) - (4.0 / 2 - 2 * 0.25 - 0.5 - 3)) < 1e-5);
    sampler_free(ctx, s);
}

static void frequencies_follow_probabilities(void **state) {
    (void)state;
    enum { DRAWS = 40000 };
    sampling h = off();
    h.top_k = 12;
    h.seed = 5;
    sampler *s = make(h);
    new_logits(3);
    for (size_t i = 0; i < VOCAB; i++) logits[i] *= 0.5f;
    uint32_t count[VOCAB] = {0}, history[1] = {0};
    size_t n;
    for (size_t i = 0; i < DRAWS; i++) count[sampler_choose(s, logits, history, i)]++; /* no penalties: not read */
    const choice *c = sampler_choices(s, logits, NULL, 0, &n);
    assert_int_equal(n, 12);
    double chi2 = 0;
    for (size_t i = 0; i < n; i++) {
        double expected = c[i].p * DRAWS, d = (double)count[c[i].id] - expected;
        chi2 += d * d / expected;
    }
    assert_true(chi2 < 31.3); /* 11 degrees of freedom: once in a thousand */
    sampler_free(ctx, s);
}

static void choices_depend_on_seed_and_place_alone(void **state) {
    (void)state;
    enum { N = 64 };
    sampling h = off();
    h.seed = 42;
    sampler *s = make(h);
    h.seed = 43;
    sampler *other = make(h);
    new_logits(11);
    for (size_t i = 0; i < VOCAB; i++) logits[i] *= 0.3f;
    uint32_t forward[N], differ = 0, seeds_differ = 0;
    for (size_t i = 0; i < N; i++) forward[i] = sampler_choose(s, logits, NULL, i);
    for (size_t i = N; i-- > 0;) {
        assert_int_equal(sampler_choose(s, logits, NULL, i), forward[i]);
        differ += forward[i] != forward[0];
        seeds_differ += sampler_choose(other, logits, NULL, i) != forward[i];
    }
    assert_true(differ > N / 2);
    assert_true(seeds_differ > N / 2);
    /* on every machine and instruction set */
    static const uint32_t known[] = {60, 78, 15, 47, 29, 158, 5, 41, 166, 38, 68, 182, 68, 182, 54, 98};
    for (size_t i = 0; i < PITH_COUNT(known); i++) assert_int_equal(forward[i], known[i]);
    sampler_free(ctx, s);
    sampler_free(ctx, other);
}

static void bad_settings_are_refused(void **state) {
    (void)state;
    sampler *s;
    const logit_bias beyond = {VOCAB, 1}, no_number = {1, NAN};
    sampling bad[9];
    for (size_t i = 0; i < PITH_COUNT(bad); i++) bad[i] = off();
    bad[0].temperature = -1;
    bad[1].temperature = NAN;
    bad[2].top_p = 1.5f;
    bad[3].min_p = -0.1f;
    bad[4].typical = NAN;
    bad[5].repeat_penalty = 0;
    bad[6].presence_penalty = INFINITY;
    bad[7].biases = &beyond, bad[7].n_biases = 1;
    bad[8].biases = &no_number, bad[8].n_biases = 1;
    for (size_t i = 0; i < PITH_COUNT(bad); i++) {
        assert_int_equal(sampler_new(ctx, &bad[i], VOCAB, &s), PITH_E_ARGUMENT);
        assert_null(s);
    }
    sampling good = off();
    assert_int_equal(sampler_new(ctx, &good, 0, &s), PITH_E_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_are_as_defined),
        cmocka_unit_test(greedy_takes_the_best_and_lowest),
        cmocka_unit_test(penalties_and_biases),
        cmocka_unit_test(frequencies_follow_probabilities),
        cmocka_unit_test(choices_depend_on_seed_and_place_alone),
        cmocka_unit_test(bad_settings_are_refused),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
