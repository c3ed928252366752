/* The ruler with the built-in model at work: figures agree with sums over its logits, two ways to one
 * number agree, and the model finds its needles. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "lm/ruler/ruler.h"

static pith_ctx *ctx;
static lm_model *model;
static const char *text;
static size_t size;

static int open_model(void **state) {
    (void)state;
    ctx = pith_ctx_new(NULL);
    pith_ctx_set_threads(ctx, 2);
    text = ruler_filler(&size);
    return ctx && lm_open(ctx, NULL, &model) == PITH_OK ? 0 : -1;
}

static int close_model(void **state) {
    (void)state;
    lm_close(ctx, model);
    pith_ctx_free(ctx);
    return 0;
}

static pith_status collect(void *opaque, const void *data, size_t n) {
    return pith_buffer_append(ctx, opaque, data, n);
}

/* Perplexity from the definition, token by token; then the same through the base file, with itself as the other. */
static void test_perplexity(void **state) {
    (void)state;
    token_list tokens = {0};
    ruler_chunks chunks;
    ruler_perplexity p;
    pith_buffer file = {0};
    uint32_t n_vocab = lm_about(model)->n_vocab, bos = tokenizer_about(lm_tokenizer(model))->bos;
    assert_int_equal(ruler_tokens(ctx, model, text, size, &tokens), PITH_OK);
    assert_int_equal(tokens.id[0], bos);
    assert_int_equal(ruler_chunks_of(ctx, model, &tokens, 33, 3, &chunks), PITH_OK);
    assert_int_equal(chunks.n_chunks, 3);
    assert_int_equal(ruler_perplexity_of(ctx, model, &chunks, 2, collect, &file, NULL, NULL, &p), PITH_OK);
    assert_int_equal(p.n_tokens, 3 * 16);

    lm_session *s;
    lm_session_options so = {.n_ctx = 33, .max_batch = 1, .n_threads = 1, .cache = LM_CACHE_F16};
    ruler_mean nats = {0};
    assert_int_equal(lm_session_new(ctx, model, &so, &s), PITH_OK);
    for (size_t c = 0; c < 3; c++) {
        assert_int_equal(lm_truncate(s, 0, 0), PITH_OK);
        for (size_t i = 0; i < 32; i++) {
            lm_token t = {.id = i ? tokens.id[c * 33 + i] : bos, .want_logits = true};
            assert_int_equal(lm_eval(s, &t, 1), PITH_OK);
            if (i >= 16) ruler_mean_add(&nats, lm_bits(lm_logits(s, 0), n_vocab, tokens.id[c * 33 + i + 1]) * log(2));
        }
    }
    lm_session_free(s);
    assert_true(fabs(p.nats_per_token - ruler_mean_of(&nats)) < 1e-9);
    assert_true(fabs(p.perplexity - exp(ruler_mean_of(&nats))) < 1e-6);
    assert_true(fabs(p.error - p.perplexity * ruler_error_of(&nats)) < 1e-6);

    ruler_base *base;
    ruler_comparison same, saved;
    assert_int_equal(ruler_compare(ctx, model, NULL, model, &chunks, 2, NULL, NULL, &same), PITH_OK);
    assert_int_equal(same.n, 48);
    assert_true(same.kl.mean == 0 && same.kl.max == 0 && same.js.max == 0 && same.same_top == 1 && same.ratio == 1);
    assert_true(fabs(same.perplexity - p.perplexity) < 1e-9);
    assert_int_equal(ruler_base_open_memory(ctx, file.data, file.size, &base), PITH_OK);
    assert_int_equal(ruler_compare(ctx, NULL, base, model, NULL, 1, NULL, NULL, &saved), PITH_OK);
    assert_true(fabs(saved.perplexity - p.perplexity) < 1e-9);
    assert_true(fabs(saved.kl.mean) < 1e-4 && saved.same_top > 0.95);
    ruler_base_close(ctx, base);

    assert_int_equal(ruler_chunks_of(ctx, model, &tokens, 100000, 0, &chunks), PITH_E_ARGUMENT);
    assert_int_equal(ruler_chunks_of(ctx, model, &tokens, 3, 0, &chunks), PITH_E_ARGUMENT);
    pith_buffer_free(ctx, &file);
    token_list_free(ctx, &tokens);
}

/* Surprise under windows is the code length that coding counts, but for its escape decisions. */
static void test_surprise(void **state) {
    (void)state;
    ruler_surprises s;
    lm_coder *c;
    lm_code_length length;
    lm_coder_options co = {.window = 48, .n_threads = 1};
    size_t n = 500, at = 0;
    assert_int_equal(ruler_surprise_of(ctx, model, text, n, 48, 2, &s), PITH_OK);
    assert_int_equal(lm_coder_new(ctx, model, &co, &c), PITH_OK);
    assert_int_equal(lm_coder_length(c, NULL, 0, (const uint8_t *)text, n, NULL, NULL, &length), PITH_OK);
    lm_coder_free(c);
    assert_true(fabs(s.bits - (length.bits - length.escape_bits)) < 0.02 * s.bits);
    for (size_t i = 0; i < s.n; i++) {
        const ruler_surprise *a = &s.at[i];
        assert_int_equal(a->offset, at);
        at += a->n;
        assert_true(a->bits >= 0 && a->rank < 4096);
        for (unsigned k = 1; k < RULER_TOP; k++) assert_true(a->top_p[k] <= a->top_p[k - 1]);
        if (a->rank < RULER_TOP) {
            assert_int_equal(a->top[a->rank], a->token);
            assert_true(fabs(-log2((double)a->top_p[a->rank]) - a->bits) < 1e-4);
        }
    }
    assert_int_equal(at, n);
    pith_buffer page = {0};
    assert_int_equal(ruler_surprise_html(ctx, model, &s, text, n, "a <title>", &page), PITH_OK);
    assert_int_equal(pith_buffer_append(ctx, &page, "", 1), PITH_OK);
    assert_non_null(strstr((const char *)page.data, "<h1>a &#60;title&#62;</h1>"));
    size_t spans = 0;
    for (const char *p = (const char *)page.data; (p = strstr(p, "<s class=c")) != NULL; p++) spans++;
    assert_int_equal(spans, s.n + 10); /* and the legend */
    pith_buffer_free(ctx, &page);
    ruler_surprises_free(ctx, &s);
    assert_int_equal(ruler_surprise_of(ctx, model, "", 0, 0, 1, &s), PITH_OK);
    assert_int_equal(s.n, 0);
}

/* A choice's score is the sum over its tokens in one go. */
static void test_choose(void **state) {
    (void)state;
    ruler_items items;
    double scores[8 * RULER_MAX_CHOICES], per_byte[8 * RULER_MAX_CHOICES];
    uint32_t chosen[8], again[8];
    ruler_choice_options options = {.per_byte = true};
    assert_int_equal(ruler_cloze(ctx, text, size, 8, 20, 4, 5, &items), PITH_OK);
    assert_int_equal(ruler_choose(ctx, model, &items, NULL, chosen, scores), PITH_OK);
    assert_int_equal(ruler_choose(ctx, model, &items, &options, again, per_byte), PITH_OK);
    const tokenizer *t = lm_tokenizer(model);
    lm_session *s;
    lm_session_options so = {.n_ctx = 256, .max_batch = 1, .n_threads = 1, .cache = LM_CACHE_F16};
    assert_int_equal(lm_session_new(ctx, model, &so, &s), PITH_OK);
    size_t right = 0;
    for (size_t i = 0; i < items.n; i++) {
        right += chosen[i] == items.at[i].answer;
        for (unsigned k = 0; k < 4; k++) {
            const char *choice = items.at[i].choices[k];
            token_list ids = {0};
            assert_int_equal(
                tokenizer_encode(ctx, t, items.at[i].context, strlen(items.at[i].context), TOKENIZE_BOS, &ids),
                PITH_OK);
            size_t from = ids.n;
            double sum = 0;
            assert_int_equal(tokenizer_encode(ctx, t, choice, strlen(choice), TOKENIZE_CONTINUE, &ids), PITH_OK);
            assert_int_equal(lm_truncate(s, 0, 0), PITH_OK);
            for (size_t j = 0; j + 1 < ids.n; j++) {
                lm_token token = {.id = ids.id[j], .want_logits = true};
                assert_int_equal(lm_eval(s, &token, 1), PITH_OK);
                if (j + 1 >= from) sum -= lm_bits(lm_logits(s, 0), lm_about(model)->n_vocab, ids.id[j + 1]) * log(2);
            }
            assert_true(fabs(sum - scores[i * RULER_MAX_CHOICES + k]) < 1e-6);
            assert_true(fabs(sum / (double)strlen(choice) - per_byte[i * RULER_MAX_CHOICES + k]) < 1e-6);
            assert_true(scores[i * RULER_MAX_CHOICES + chosen[i]] >= scores[i * RULER_MAX_CHOICES + k]);
            token_list_free(ctx, &ids);
        }
    }
    assert_true(right > 2); /* a guess gets two */
    lm_session_free(s);
    ruler_items_free(ctx, &items);
}

static void test_needle(void **state) {
    (void)state;
    ruler_needle_score score;
    ruler_needle_options o = {.kind = RULER_SINGLE, .phrasing = RULER_SPECIAL, .length = 160, .depth = -1};
    assert_int_equal(ruler_needle_test(ctx, model, &o, 1, 8, 2, NULL, NULL, &score), PITH_OK);
    assert_int_equal(score.n, 8);
    assert_true(score.exact >= 6); /* its card: 0.93 at 256 tokens */
    /* prompts keep to their length in tokens */
    for (uint32_t i = 0; i < 4; i++) {
        ruler_needle n;
        token_list ids = {0};
        assert_int_equal(ruler_needle_make(ctx, lm_tokenizer(model), &o, 9, i, &n), PITH_OK);
        assert_int_equal(tokenizer_encode(ctx, lm_tokenizer(model), n.prompt.data, n.prompt.size, TOKENIZE_BOS, &ids),
                         PITH_OK);
        assert_true(ids.n <= 160 && ids.n > 110);
        token_list_free(ctx, &ids);
        ruler_needle_free(ctx, &n);
    }
}

static void test_timings(void **state) {
    (void)state;
    ruler_timing t[3] = {{16, 1, 0}, {64, 1, 0}, {64, 8, 0}};
    double wall[3];
    assert_int_equal(ruler_runtime_measure(ctx, model, t, 3, 2, wall), PITH_OK);
    for (unsigned i = 0; i < 3; i++) assert_true(t[i].seconds > 0 && wall[i] > 0);
    assert_true(t[2].seconds > t[0].seconds);
    t[1].output = 0;
    assert_int_equal(ruler_runtime_measure(ctx, model, t, 3, 1, NULL), PITH_E_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_perplexity), cmocka_unit_test(test_surprise),
                                       cmocka_unit_test(test_choose), cmocka_unit_test(test_needle),
                                       cmocka_unit_test(test_timings)};
    return cmocka_run_group_tests(tests, open_model, close_model);
}
