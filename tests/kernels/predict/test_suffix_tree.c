/* The suffix tree against counting by hand, at every step, while old tokens are forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kernels/predict/predict.h"

#define END UINT32_MAX

typedef struct oracle {
    uint32_t token[20000]; /* ends of sequences included */
    size_t n, first;       /* starts first .. n - 1 count */
    size_t depth;
} oracle;

static bool same_at(const oracle *o, size_t at, const uint32_t *tokens, size_t n) {
    return at + n <= o->n && memcmp(o->token + at, tokens, n * sizeof *tokens) == 0;
}

static uint32_t count_by_hand(const oracle *o, const uint32_t *tokens, size_t n) {
    uint32_t count = 0;
    for (size_t at = o->first; at < o->n; at++) count += same_at(o, at, tokens, n);
    return count;
}

/* The way on from `tokens`: at each step the token with the highest count, the latest among equals. */
static void follow_by_hand(const oracle *o, const uint32_t *tokens, size_t n, size_t limit, double least,
                           suffix_draft *d) {
    uint32_t path[512];
    memcpy(path, tokens, n * sizeof *tokens);
    double p = 1;
    d->n = 0;
    d->score = 0;
    while (d->n < limit && n < o->depth) {
        uint32_t here = count_by_hand(o, path, n), best = 0, best_token = 0;
        size_t best_at = 0;
        for (size_t at = o->first; at < o->n; at++) {
            if (!same_at(o, at, path, n) || at + n >= o->n || o->token[at + n] == END) continue;
            path[n] = o->token[at + n];
            uint32_t count = count_by_hand(o, path, n + 1);
            if (count > best || (count == best && at > best_at)) {
                best = count;
                best_token = path[n];
            }
            if (path[n] == best_token) best_at = at;
        }
        if (!best) return;
        double next = p * ((double)best / (double)here);
        if (next < least) return;
        p = next;
        path[n++] = best_token;
        d->p[d->n] = (float)p;
        d->token[d->n++] = best_token;
        d->score = d->score + p;
    }
}

static void draft_by_hand(const oracle *o, const uint32_t *context, size_t n, const suffix_rule *rule,
                          suffix_draft *best) {
    memset(best, 0, sizeof *best);
    for (size_t m = PITH_MIN(n, o->depth); m > 0; m--) {
        const uint32_t *tokens = context + n - m;
        suffix_draft d;
        size_t limit = PITH_MIN((size_t)(rule->factor * (float)m + rule->offset), rule->max_tokens);
        if (!count_by_hand(o, tokens, m)) continue;
        follow_by_hand(o, tokens, m, limit, rule->min_probability, &d);
        d.matched = (uint32_t)m;
        if (d.score > best->score) *best = d;
    }
}

static uint32_t random_state;
static uint32_t random_below(uint32_t n) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

static void expect_draft(const suffix_draft *got, const suffix_draft *want) {
    assert_int_equal(got->n, want->n);
    if (!want->n) return;
    assert_int_equal(got->matched, want->matched);
    assert_memory_equal(got->token, want->token, want->n * sizeof *want->token);
    assert_true(got->score == want->score);
    assert_memory_equal(got->p, want->p, want->n * sizeof *want->p);
}

static void add(suffix_tree *t, oracle *o, uint32_t token, size_t capacity) {
    if (token == END) {
        if (o->n == 0 || o->token[o->n - 1] == END) return;
        suffix_tree_end(t);
    } else {
        suffix_tree_append(t, token);
    }
    o->token[o->n++] = token;
    if (o->n - o->first > capacity) o->first++;
    assert_int_equal(suffix_tree_tokens(t), o->n - o->first);
}

static void try_stream(unsigned depth, size_t capacity, uint32_t n_symbols, size_t length, uint32_t seed,
                       unsigned repeats) {
    static oracle o;
    memset(&o, 0, sizeof o);
    o.depth = depth;
    pith_ctx *ctx = pith_ctx_new(NULL);
    suffix_tree *t;
    assert_int_equal(PITH_OK, suffix_tree_new(ctx, depth, capacity, &t));
    uint64_t held = pith_memory_used(ctx);
    assert_true(held <= suffix_tree_memory(depth, capacity) + 4 * 64);
    random_state = seed;
    size_t copy_from = 0, copy_left = 0;
    const suffix_rule rule = {.max_tokens = 9, .factor = 1.5f, .offset = 0.5f, .min_probability = 0.1f};
    for (size_t i = 0; i < length; i++) {
        uint32_t token = random_below(n_symbols);
        if (copy_left == 0 && o.n > 4 && random_below(100) < repeats) {
            copy_left = 1 + random_below(3 * depth);
            copy_from = o.n - 1 - random_below((uint32_t)PITH_MIN(o.n - 1, capacity));
        }
        if (copy_left) {
            token = o.token[copy_from++];
            copy_left--;
        } else if (random_below(60) == 0) {
            token = END;
        }
        add(t, &o, token, capacity);
        if (!o.n) continue;
        /* random strings that are there, a little changed now and then */
        for (unsigned k = 0; k < 3; k++) {
            uint32_t tokens[300];
            size_t n = 1 + random_below(depth), at = random_below((uint32_t)o.n);
            n = PITH_MIN(n, o.n - at);
            memcpy(tokens, o.token + at, n * sizeof *tokens);
            if (k == 0) tokens[random_below((uint32_t)n)] = random_below(n_symbols);
            bool whole = true;
            for (size_t j = 0; j < n; j++) whole = whole && tokens[j] != END;
            if (whole) assert_int_equal(suffix_tree_count(t, tokens, n), count_by_hand(&o, tokens, n));
        }
        suffix_draft got, want;
        size_t start = o.n;
        while (start > 0 && o.token[start - 1] != END) start--;
        start = PITH_MAX(start, o.n > 2 * depth ? o.n - 2 * depth : 0);
        if (i % 3 == 0) {
            draft_by_hand(&o, o.token + start, o.n - start, &rule, &want);
            suffix_tree_draft(t, NULL, 0, &rule, &got);
            expect_draft(&got, &want);
            uint32_t other[300];
            size_t n = 1 + random_below(2 * depth);
            size_t from = random_below((uint32_t)o.n);
            for (size_t j = 0; j < n; j++)
                other[j] = from + j < o.n && o.token[from + j] != END ? o.token[from + j] : 0;
            draft_by_hand(&o, other, n, &rule, &want);
            suffix_tree_draft(t, other, n, &rule, &got);
            expect_draft(&got, &want);
        }
    }
    assert_int_equal(pith_memory_used(ctx), held);
    suffix_tree_free(ctx, t);
    pith_ctx_free(ctx);
}

static void counts_equal_counting_by_hand(void **state) {
    (void)state;
    try_stream(4, 64, 2, 900, 1, 10);
    try_stream(8, 100, 3, 900, 2, 20);
    try_stream(16, 333, 4, 900, 3, 20);
    try_stream(5, 40, 1, 300, 4, 0); /* one symbol: all suffixes on one path */
    try_stream(64, 256, 9, 800, 5, 15);
    try_stream(1, 64, 3, 400, 6, 10);
}

static void counts_stay_right_without_forgetting(void **state) {
    (void)state;
    try_stream(12, 4096, 3, 800, 7, 15);
    try_stream(64, 4096, 50, 700, 8, 30);
}

static void ends_separate_sequences(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    suffix_tree *t;
    assert_int_equal(PITH_OK, suffix_tree_new(ctx, 8, 1000, &t));
    const uint32_t tokens[] = {5, 6, 7};
    suffix_tree_end(t); /* of nothing: nothing */
    assert_int_equal(suffix_tree_tokens(t), 0);
    for (unsigned i = 0; i < 3; i++) suffix_tree_append(t, tokens[i]);
    suffix_tree_end(t);
    suffix_tree_end(t);
    assert_int_equal(suffix_tree_tokens(t), 4);
    for (unsigned i = 0; i < 3; i++) suffix_tree_append(t, tokens[i]);
    assert_int_equal(suffix_tree_count(t, tokens, 3), 2);
    const uint32_t over[] = {7, 5};
    assert_int_equal(suffix_tree_count(t, over, 2), 0);
    assert_int_equal(suffix_tree_count(t, tokens, 0), 0);
    suffix_draft d;
    const suffix_rule rule = {.max_tokens = 8, .factor = 4, .min_probability = 0.1f};
    suffix_tree_draft(t, tokens, 2, &rule, &d);
    assert_int_equal(d.n, 1);
    assert_int_equal(d.token[0], 7);
    assert_int_equal(d.matched, 2);
    assert_true(d.score == 1);
    suffix_tree_clear(t);
    assert_int_equal(suffix_tree_tokens(t), 0);
    assert_int_equal(suffix_tree_count(t, tokens, 1), 0);
    suffix_tree_draft(t, tokens, 2, &rule, &d);
    assert_int_equal(d.n, 0);
    suffix_tree_free(ctx, t);
    pith_ctx_free(ctx);
}

static void bad_sizes_are_refused(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    suffix_tree *t;
    assert_int_equal(suffix_tree_new(ctx, 0, 100, &t), PITH_E_ARGUMENT);
    assert_int_equal(suffix_tree_new(ctx, 256, 10000, &t), PITH_E_ARGUMENT);
    assert_int_equal(suffix_tree_new(ctx, 64, 127, &t), PITH_E_ARGUMENT);
    assert_int_equal(suffix_tree_new(ctx, 64, ((size_t)1 << 28) + 1, &t), PITH_E_ARGUMENT);
    assert_null(t);
    pith_ctx_set_memory(ctx, 1 << 20);
    assert_int_equal(suffix_tree_new(ctx, 64, 1 << 20, &t), PITH_E_LIMIT);
    assert_null(t);
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_equal_counting_by_hand),
        cmocka_unit_test(counts_stay_right_without_forgetting),
        cmocka_unit_test(ends_separate_sequences),
        cmocka_unit_test(bad_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
