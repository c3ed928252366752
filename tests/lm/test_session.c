/* Sessions of the built-in model: logits known to the bit on every machine, whatever the cut of
 * the prompt, the threads and the neighbours; limits, probes, and errors that change nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "lm/cache.h"
#include "lm/lm.h"
#include "lm/model.h"
#include "lm/over_plain.h"

/* of the last logits of the prompt below; the F16 and F32 kernels of lm/matmul define them too */
#define KNOWN_F32 0x961D98C1359DB4FEu
#define KNOWN_F16 0x0D51D84B9C43F0A9u

enum { N_PROMPT = 80, VOCAB = 4096, EMBD = 256 };

static pith_ctx *ctx;
static lm_model *model;
static uint32_t prompt[N_PROMPT];
static float expected[VOCAB]; /* the last logits of the prompt, straight through */

static int close_model(void **state) {
    (void)state;
    lm_close(ctx, model);
    bool clean = pith_memory_used(ctx) == 0;
    pith_ctx_free(ctx);
    return clean ? 0 : -1;
}

static lm_session *session(lm_session_options o) {
    lm_session *s;
    if (lm_session_new(ctx, model, &o, &s)) fail_msg("%s", pith_error(ctx));
    return s;
}

static void feed(lm_session *s, uint32_t sequence, size_t first, size_t n) {
    lm_token tokens[N_PROMPT];
    for (size_t i = 0; i < n; i++) tokens[i] = (lm_token){prompt[first + i], sequence, i + 1 == n};
    if (lm_eval(s, tokens, n)) fail_msg("%s", pith_error(ctx));
}

/* The last token's logits of the prompt fed in batches of `cut`. */
static void logits_of(lm_session_options o, size_t cut, float *logits) {
    lm_session *s = session(o);
    for (size_t at = 0; at < N_PROMPT; at += cut) feed(s, 0, at, PITH_MIN(cut, (size_t)N_PROMPT - at));
    memcpy(logits, lm_logits(s, 0), VOCAB * sizeof *logits);
    lm_session_free(s);
}

static int open_model(void **state) {
    (void)state;
    ctx = pith_ctx_new(NULL);
    if (!ctx || lm_open(ctx, NULL, &model)) return -1;
    for (uint32_t i = 0; i < N_PROMPT; i++) prompt[i] = i ? (i * i * 31 + i * 517) % VOCAB : 1;
    logits_of((lm_session_options){.n_threads = 1, .max_logits = 1}, N_PROMPT, expected);
    return 0;
}

static void test_about(void **state) {
    (void)state;
    const lm_shape *shape = lm_about(model);
    assert_string_equal(shape->architecture, "llama");
    assert_int_equal(shape->n_layers, 6);
    assert_int_equal(shape->n_embd, EMBD);
    assert_int_equal(shape->n_heads, 8);
    assert_int_equal(shape->n_kv_heads, 2);
    assert_int_equal(shape->head_dim, 32);
    assert_int_equal(shape->n_vocab, VOCAB);
    assert_int_equal(shape->n_ctx_train, 1024);
    assert_false(shape->recurrent);
    assert_int_equal(shape->n_parameters, 5573888);
    assert_string_equal(lm_file(model)->format, "gguf");
    assert_non_null(lm_tokenizer(model));
}

static void test_known_bits(void **state) {
    (void)state;
    uint64_t hash = pith_hash64(expected, sizeof expected);
    if (hash != KNOWN_F32) fail_msg("logits hash to 0x%016llX", (unsigned long long)hash);
    static float logits[VOCAB];
    logits_of((lm_session_options){.n_threads = 4, .max_logits = 1}, 1, logits);
    assert_memory_equal(logits, expected, sizeof logits);
    logits_of((lm_session_options){.n_threads = 2, .max_logits = 1}, 37, logits);
    assert_memory_equal(logits, expected, sizeof logits);
}

static void test_half_cache(void **state) {
    (void)state;
    static float logits[VOCAB], again[VOCAB];
    logits_of((lm_session_options){.max_logits = 1, .cache = LM_CACHE_F16}, N_PROMPT, logits);
    uint64_t hash = pith_hash64(logits, sizeof logits);
    if (hash != KNOWN_F16) fail_msg("logits hash to 0x%016llX", (unsigned long long)hash);
    logits_of((lm_session_options){.max_logits = 1, .cache = LM_CACHE_F16, .n_threads = 3}, 64, again);
    assert_memory_equal(logits, again, sizeof logits);
    double worst = 0;
    for (size_t i = 0; i < VOCAB; i++) worst = fmax(worst, fabs((double)logits[i] - (double)expected[i]));
    assert_true(worst > 0 && worst < 0.05); /* halves, not floats, and not far from them */
}

/* What a text that the model learned from looks like: it must not be surprised by its own guess. */
static void test_probabilities(void **state) {
    (void)state;
    static float log_p[VOCAB];
    const float *logits = expected;
    uint32_t best = lm_argmax(logits, VOCAB);
    for (uint32_t i = 0; i < VOCAB; i++) assert_true(logits[i] < logits[best] || i >= best);
    lm_log_softmax(logits, log_p, VOCAB);
    double sum = 0;
    for (uint32_t i = 0; i < VOCAB; i++) {
        sum += exp((double)log_p[i]);
        assert_true(fabs(lm_bits(logits, VOCAB, i) * 0.69314718055994530942 + (double)log_p[i]) < 1e-5);
    }
    assert_true(fabs(sum - 1) < 1e-5);
    assert_true(lm_bits(logits, VOCAB, best) < 12);
}

/* Sequences of one batch, interleaved, see nothing of each other. */
static void test_interleaved(void **state) {
    (void)state;
    lm_session *s =
        session((lm_session_options){.n_sequences = 3, .n_ctx = 200, .max_batch = 3 * N_PROMPT, .max_logits = 2});
    static lm_token tokens[3 * N_PROMPT];
    size_t n = 0;
    for (size_t i = 0; i < N_PROMPT; i++) {
        if (i < 30) tokens[n++] = (lm_token){(uint32_t)(3 * i), 2, i == 29};
        tokens[n++] = (lm_token){prompt[i], 0, i + 1 == N_PROMPT};
        if (i % 4 == 1) tokens[n++] = (lm_token){(uint32_t)(5 * i), 1, false};
    }
    if (lm_eval(s, tokens, n)) fail_msg("%s", pith_error(ctx));
    assert_memory_equal(lm_logits(s, 1), expected, sizeof expected);
    assert_memory_not_equal(lm_logits(s, 0), expected, sizeof expected);
    assert_null(lm_logits(s, 2));
    assert_int_equal(lm_length(s, 0), N_PROMPT);
    assert_int_equal(lm_length(s, 1), N_PROMPT / 4);
    assert_int_equal(lm_length(s, 2), 30);
    lm_session_free(s);
}

static void test_refusals(void **state) {
    (void)state;
    lm_session *s =
        session((lm_session_options){.n_sequences = 2, .n_ctx = N_PROMPT, .max_batch = N_PROMPT, .max_logits = 1});
    feed(s, 0, 0, N_PROMPT - 1);
    static const struct {
        lm_token tokens[2];
        pith_status status;
    } bad[] = {
        {{{5, 0, false}, {VOCAB, 0, false}}, PITH_E_ARGUMENT},
        {{{5, 0, false}, {5, 2, false}}, PITH_E_ARGUMENT},
        {{{5, 0, true}, {5, 1, true}}, PITH_E_ARGUMENT},
        {{{5, 0, false}, {5, 0, false}}, PITH_E_LIMIT},
    };
    for (size_t i = 0; i < PITH_COUNT(bad); i++) {
        assert_int_equal(lm_eval(s, bad[i].tokens, 2), bad[i].status);
        assert_string_not_equal(pith_error(ctx), "");
        pith_begin(ctx);
    }
    static lm_token many[N_PROMPT + 1];
    assert_int_equal(lm_eval(s, many, N_PROMPT + 1), PITH_E_ARGUMENT);
    pith_begin(ctx);
    assert_int_equal(lm_eval(s, many, 0), PITH_OK);
    assert_int_equal(lm_length(s, 0), N_PROMPT - 1);
    assert_int_equal(lm_length(s, 1), 0);
    feed(s, 0, N_PROMPT - 1, 1);
    assert_memory_equal(lm_logits(s, 0), expected, sizeof expected);
    lm_session_free(s);
}

/* With room for a copy of the weights or without, the logits are the same. */
static void test_weights_in_memory_or_in_the_file(void **state) {
    (void)state;
    static const struct {
        uint64_t limit;
        bool copied;
    } cases[] = {{20 << 20, false}, {40 << 20, true}};
    static float logits[2][VOCAB];
    for (size_t i = 0; i < 2; i++) {
        pith_ctx *own = pith_ctx_new(NULL);
        pith_ctx_set_memory(own, cases[i].limit);
        lm_model *m;
        lm_session *s;
        assert_int_equal(lm_open(own, NULL, &m), PITH_OK);
        assert_int_equal(pith_memory_used(own) >= lm_about(m)->weight_bytes, cases[i].copied);
        assert_int_equal(lm_session_new(own, m, &(lm_session_options){.n_ctx = 16, .max_batch = 4}, &s), PITH_OK);
        assert_int_equal(lm_eval(s, (lm_token[]){{1, 0, false}, {300, 0, true}}, 2), PITH_OK);
        memcpy(logits[i], lm_logits(s, 0), sizeof logits[i]);
        lm_session_free(s);
        lm_close(own, m);
        assert_int_equal(pith_memory_used(own), 0);
        pith_ctx_free(own);
    }
    assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
}

static void test_memory_limit(void **state) {
    (void)state;
    lm_session *s;
    uint64_t before = pith_memory_used(ctx);
    pith_ctx_set_memory(ctx, before + (8 << 20));
    assert_int_equal(lm_session_new(ctx, model, NULL, &s), PITH_E_LIMIT);
    assert_null(s);
    assert_non_null(strstr(pith_error(ctx), "bytes of memory"));
    pith_begin(ctx);
    pith_ctx_set_memory(ctx, 0);
    assert_int_equal(lm_session_new(ctx, model, &(lm_session_options){.n_ctx = 1u << 24, .n_sequences = 1u << 16}, &s),
                     PITH_E_LIMIT);
    pith_begin(ctx);
    assert_int_equal(lm_session_new(ctx, model, &(lm_session_options){.n_ctx = UINT32_MAX}, &s), PITH_E_ARGUMENT);
    pith_begin(ctx);
    assert_int_equal(lm_session_new(ctx, model, &(lm_session_options){.max_batch = 4, .max_logits = 5}, &s),
                     PITH_E_ARGUMENT);
    pith_begin(ctx);
    assert_int_equal(pith_memory_used(ctx), before);
}

typedef struct seen {
    size_t hidden, queries, keys, rows, inputs;
    double mass_error;
    uint32_t first;
    char last_input[80];
} seen;

static void see_hidden(void *opaque, uint32_t layer, uint32_t sequence, uint32_t first, size_t n, const float *h) {
    seen *o = opaque;
    assert_true(layer <= 6 && sequence == 1 && first == o->first && isfinite(h[n * EMBD - 1]));
    o->hidden += n;
}
static void see_queries(void *opaque, uint32_t layer, uint32_t sequence, uint32_t first, size_t n, const float *q) {
    seen *o = opaque;
    assert_true(layer < 6 && sequence == 1 && first == o->first && isfinite(q[n * EMBD - 1]));
    o->queries += n;
}
static void see_keys(void *opaque, uint32_t layer, uint32_t sequence, uint32_t first, size_t n, const float *k,
                     const float *v) {
    seen *o = opaque;
    assert_true(layer < 6 && sequence == 1 && first == o->first && isfinite(k[n * 64 - 1]) && isfinite(v[n * 64 - 1]));
    o->keys += n;
}
static void see_attention(void *opaque, uint32_t layer, uint32_t head, uint32_t sequence, uint32_t position,
                          const float *w) {
    seen *o = opaque;
    assert_true(layer < 6 && head < 8 && sequence == 1);
    double sum = 0;
    for (uint32_t i = 0; i <= position; i++) sum += (double)w[i];
    o->mass_error = fmax(o->mass_error, fabs(sum - 1));
    o->rows++;
}
static void see_input(void *opaque, const char *tensor, size_t n, size_t n_cols, const float *x) {
    seen *o = opaque;
    assert_true(isfinite(x[n * n_cols - 1]));
    snprintf(o->last_input, sizeof o->last_input, "%s", tensor);
    o->inputs++;
}

/* Probes see every layer, head and token, and do not change the logits. */
static void test_probes(void **state) {
    (void)state;
    seen o = {0};
    lm_probe probe = {.opaque = &o, .hidden = see_hidden, .queries = see_queries, .keys = see_keys,
                      .attention = see_attention, .input = see_input};
    lm_session *s = session((lm_session_options){.n_sequences = 2, .max_logits = 1, .n_threads = 2});
    lm_set_probe(s, &probe);
    feed(s, 1, 0, 50);
    o.first = 50;
    feed(s, 1, 50, 30);
    assert_memory_equal(lm_logits(s, 0), expected, sizeof expected);
    assert_int_equal(o.hidden, 7 * N_PROMPT); /* what leaves the last layer too */
    assert_int_equal(o.queries, 6 * N_PROMPT);
    assert_int_equal(o.keys, 6 * N_PROMPT);
    assert_int_equal(o.rows, 6 * 8 * N_PROMPT);
    assert_true(o.mass_error < 1e-5);
    assert_int_equal(o.inputs, 2 * (6 * 7 + 1));
    assert_string_equal(o.last_input, "token_embd.weight");
    lm_set_probe(s, NULL);
    o = (seen){0};
    assert_int_equal(lm_truncate(s, 1, 79), PITH_OK);
    feed(s, 1, 79, 1);
    assert_memory_equal(lm_logits(s, 0), expected, sizeof expected);
    assert_int_equal(o.rows, 0);
    lm_session_free(s);
}

/* A store that hands everything on to the plain one, and looks at what it gets. */
typedef struct other_cache {
    over_plain over;
    const lm_model *model;
    size_t *rows;
} other_cache;

static pith_status other_append(lm_cache *c, const cache_rows *rows) {
    other_cache *o = (other_cache *)c;
    *o->rows += rows->n;
    for (size_t t = 0; t < rows->n; t++) { /* raw keys, turned by their position, are the keys */
        float keys[64], angles[32];
        memcpy(keys, rows->raw_keys + t * 64, sizeof keys);
        rope_angles(o->model, rows->first + (uint32_t)t, angles);
        rope_turn(o->model, angles, keys, 2);
        assert_memory_equal(keys, rows->keys + t * 64, sizeof keys);
    }
    return o->over.plain->ops->append(o->over.plain, rows);
}
static pith_status other_truncate(lm_cache *c, uint32_t sequence, uint32_t length) {
    (void)c, (void)sequence, (void)length;
    return pith_fail(ctx, PITH_E_UNSUPPORTED, "this store forgets nothing");
}
static pith_status other_make(void *opaque, pith_ctx *used, const cache_shape *shape, lm_cache **out) {
    static const cache_ops ops = {"other",    other_append, over_attend, other_truncate,
                                  over_copy, over_bytes,  over_free};
    other_cache *o = pith_zalloc(used, sizeof *o);
    if (!o) return pith_alloc_status(used);
    *o = (other_cache){{{&ops, true}, NULL}, shape->model, opaque};
    pith_status status = plain_cache_new(used, shape, LM_CACHE_F32, &o->over.plain);
    if (status)
        pith_free(used, o);
    else
        *out = &o->over.base;
    return status;
}

static void test_other_cache(void **state) {
    (void)state;
    size_t rows = 0;
    struct lm_cache_maker maker = {&rows, other_make};
    lm_session *s = session((lm_session_options){.max_logits = 1, .maker = &maker});
    feed(s, 0, 0, 30);
    feed(s, 0, 30, N_PROMPT - 30);
    assert_memory_equal(lm_logits(s, 0), expected, sizeof expected);
    assert_int_equal(rows, 6 * N_PROMPT);
    assert_int_equal(lm_truncate(s, 0, 5), PITH_E_UNSUPPORTED);
    assert_int_equal(lm_length(s, 0), N_PROMPT);
    lm_session_free(s);
}

static void test_hidden(void **state) {
    (void)state;
    lm_session *s = session((lm_session_options){.max_logits = 2});
    lm_token tokens[] = {{1, 0, false}, {371, 0, true}, {2496, 0, true}};
    assert_int_equal(lm_eval(s, tokens, 3), PITH_OK);
    assert_non_null(lm_hidden(s, 1));
    assert_null(lm_hidden(s, 2));
    assert_memory_not_equal(lm_hidden(s, 0), lm_hidden(s, 1), EMBD * sizeof(float));
    lm_session_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_about),         cmocka_unit_test(test_known_bits),  cmocka_unit_test(test_half_cache),
        cmocka_unit_test(test_probabilities), cmocka_unit_test(test_interleaved), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_weights_in_memory_or_in_the_file),
        cmocka_unit_test(test_memory_limit),  cmocka_unit_test(test_probes),      cmocka_unit_test(test_hidden),
        cmocka_unit_test(test_other_cache),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
