/* Mixtures made of dense models: the same function when nothing is left out, every neuron in one expert, what the
 * experts see, and codes for each of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "artefacts/artefacts.h"
#include "artefacts/model/experts_parts.h"
#include "lm/tiny_model.h"

enum { N_TOKENS = 320, N_CTX = 64, MOE = 9 };

static pith_ctx *ctx;
static uint32_t ids[N_TOKENS];

typedef struct opened {
    tiny_file bytes;
    pith_buffer split;
    tensor_file *file;
    lm_model *model;
} opened;

static void open_tiny(opened *o, size_t variant) {
    memset(o, 0, sizeof *o);
    assert_int_equal(tiny_build(ctx, &o->bytes, &tiny_variants[variant], NULL), PITH_OK);
    assert_int_equal(tensor_file_open_memory(ctx, o->bytes.out.data, o->bytes.out.size, &o->file), PITH_OK);
    assert_int_equal(lm_open_file(ctx, o->file, &o->model), PITH_OK);
}

static pith_status append(void *opaque, const void *data, size_t size) {
    return pith_buffer_append(ctx, opaque, data, size);
}

static experts_block_report open_split(opened *o, const lm_model *dense, const experts_options *options) {
    experts_split *s;
    memset(o, 0, sizeof *o);
    if (experts_split_new(ctx, dense, ids, N_TOKENS, options, &s)) fail_msg("%s", pith_error(ctx));
    assert_null(experts_split_report(s, TINY_LAYERS));
    experts_block_report report = *experts_split_report(s, 0);
    assert_int_equal(experts_split_write(ctx, s, append, &o->split), PITH_OK);
    experts_split_free(ctx, s);
    assert_int_equal(tensor_file_open_memory(ctx, o->split.data, o->split.size, &o->file), PITH_OK);
    if (lm_open_file(ctx, o->file, &o->model)) fail_msg("%s", pith_error(ctx));
    return report;
}

static void close_tiny(opened *o) {
    lm_close(ctx, o->model);
    tensor_file_close(ctx, o->file);
    pith_buffer_free(ctx, &o->bytes.out);
    pith_buffer_free(ctx, &o->split);
}

static void logits_of(const lm_model *m, float *logits) {
    lm_session *s;
    lm_token tokens[N_CTX];
    assert_int_equal(lm_session_new(ctx, m, &(lm_session_options){.max_batch = N_CTX}, &s), PITH_OK);
    for (size_t i = 0; i < N_CTX; i++) tokens[i] = (lm_token){.id = ids[i], .want_logits = true};
    assert_int_equal(lm_eval(s, tokens, N_CTX), PITH_OK);
    for (size_t i = 0; i < N_CTX; i++) memcpy(logits + i * TINY_VOCAB, lm_logits(s, i), TINY_VOCAB * sizeof *logits);
    lm_session_free(s);
}

static double distance(const lm_model *a, const lm_model *b) {
    static float x[N_CTX * TINY_VOCAB], y[N_CTX * TINY_VOCAB];
    double sum = 0, whole = 0;
    logits_of(a, x);
    logits_of(b, y);
    for (size_t i = 0; i < PITH_COUNT(x); i++) {
        sum += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        whole += (double)x[i] * (double)x[i];
    }
    return sqrt(sum / whole);
}

/* With every expert used and equal weights the mixture is the dense model; with half of them it is not, and fitting the
 * down projections brings it nearer. */
static void test_split(void **state) {
    (void)state;
    opened dense, all, scaled, fitted;
    open_tiny(&dense, 0);
    experts_options o = {.n_experts = 4, .n_used = 4, .n_ctx = N_CTX, .keep_down = true};
    experts_block_report r = open_split(&all, dense.model, &o);
    assert_true(distance(dense.model, all.model) < 1e-5);
    assert_true(fabs(r.scale - 4) < 1e-3 && r.scaled > 0.999999);
    assert_int_equal(lm_about(all.model)->n_experts, 4);
    assert_int_equal(lm_about(all.model)->n_ff, TINY_FF / 4);

    o = (experts_options){.n_experts = 4, .n_used = 2, .n_ctx = N_CTX, .sharpness = 1, .keep_down = true};
    r = open_split(&scaled, dense.model, &o);
    assert_true(r.scaled > 0.1 && r.scaled < 0.999 && r.balance >= 0.25 && r.balance <= 0.5);
    o.keep_down = false;
    r = open_split(&fitted, dense.model, &o);
    assert_true(r.fitted > r.scaled);
    double plain = distance(dense.model, scaled.model), better = distance(dense.model, fitted.model);
    assert_true(better < plain && better > 1e-3);
    close_tiny(&fitted), close_tiny(&scaled), close_tiny(&all), close_tiny(&dense);
}

/* The rows of a gate are those of the dense one in another order, byte for byte; the same split for any number of
 * threads. */
static void test_rows(void **state) {
    (void)state;
    opened dense, mixture, again;
    experts_options o = {.n_experts = 3, .n_used = 1, .n_ctx = N_CTX, .sharpness = 1};
    open_tiny(&dense, 0);
    pith_ctx_set_threads(ctx, 1);
    open_split(&mixture, dense.model, &o);
    pith_ctx_set_threads(ctx, 3);
    open_split(&again, dense.model, &o);
    pith_ctx_set_threads(ctx, 0);
    assert_int_equal(mixture.split.size, again.split.size);
    assert_memory_equal(mixture.split.data, again.split.data, again.split.size);
    for (uint32_t l = 0; l < TINY_LAYERS; l++) {
        const tensor_view *from = experts_tensor(dense.file, l, "ffn_gate.weight"),
                          *to = experts_tensor(mixture.file, l, "ffn_gate_exps.weight");
        bool taken[TINY_FF] = {false};
        size_t row = TINY_EMBD * sizeof(float);
        assert_int_equal(to->ne[1], TINY_FF / 3);
        assert_int_equal(to->ne[2], 3);
        for (size_t i = 0; i < TINY_FF; i++) {
            size_t k = 0;
            while (k < TINY_FF && (taken[k] || memcmp(from->data + k * row, to->data + i * row, row) != 0)) k++;
            assert_true(k < TINY_FF);
            taken[k] = true;
        }
    }
    close_tiny(&again), close_tiny(&mixture), close_tiny(&dense);
}

static void test_refused(void **state) {
    (void)state;
    opened dense, mixture, other;
    experts_split *s;
    experts_options o = {.n_experts = 4, .n_used = 2, .sharpness = 1}, bad;
    open_tiny(&dense, 0), open_tiny(&mixture, MOE), open_tiny(&other, 4);
    bad = o, bad.n_experts = 5;
    assert_int_equal(experts_split_new(ctx, dense.model, ids, N_TOKENS, &bad, &s), PITH_E_ARGUMENT);
    assert_non_null(strstr(pith_error(ctx), "48 neurons cannot be split into 5 experts"));
    bad = o, bad.n_used = 5;
    assert_int_equal(experts_split_new(ctx, dense.model, ids, N_TOKENS, &bad, &s), PITH_E_ARGUMENT);
    bad = o, bad.sharpness = NAN;
    assert_int_equal(experts_split_new(ctx, dense.model, ids, N_TOKENS, &bad, &s), PITH_E_ARGUMENT);
    assert_int_equal(experts_split_new(ctx, dense.model, ids, 10, &o, &s), PITH_E_ARGUMENT);
    assert_int_equal(experts_split_new(ctx, mixture.model, ids, N_TOKENS, &o, &s), PITH_E_UNSUPPORTED);
    assert_int_equal(experts_split_new(ctx, other.model, ids, N_TOKENS, &o, &s), PITH_E_UNSUPPORTED);
    assert_null(s);
    experts_stats *stats;
    assert_int_equal(experts_stats_new(ctx, dense.model, ids, N_TOKENS, N_CTX, &stats), PITH_E_UNSUPPORTED);
    close_tiny(&other), close_tiny(&mixture), close_tiny(&dense);
}

/* Items around three centres end up together, whatever their order. */
static void test_cluster(void **state) {
    (void)state;
    enum { N = 12, K = 3, D = 5 };
    float x[N][D], gram[N * N];
    uint32_t order[N];
    uint64_t seed = 7;
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < D; j++) x[i][j] = (j == i % K ? 1.0f : 0.0f) + 0.1f * tiny_random(&seed);
    for (size_t i = 0; i < N; i++)
        for (size_t k = 0; k < N; k++) {
            gram[i * N + k] = 0;
            for (size_t j = 0; j < D; j++) gram[i * N + k] += x[i][j] * x[k][j];
        }
    assert_int_equal(experts_cluster(ctx, gram, N, K, order), PITH_OK);
    for (size_t i = 0; i < N; i++) assert_int_equal(order[i] % K, order[i / (N / K) * (N / K)] % K);
    for (size_t i = 0; i < N * N; i++) gram[i] = 3e38f; /* distances between them are not numbers */
    assert_int_equal(experts_cluster(ctx, gram, N, K, order), PITH_OK);
    gram[5] = NAN;
    pith_begin(ctx);
    assert_int_equal(experts_cluster(ctx, gram, N, K, order), PITH_E_CHECK);
    assert_string_equal(pith_error(ctx), "split: what neurons carry is not finite");
    pith_begin(ctx);
}

typedef struct skipper {
    size_t routes;
    bool all;
} skipper;

static void skip_second(void *opaque, uint32_t layer, uint32_t sequence, uint32_t first, size_t n, size_t n_used,
                        const uint32_t *experts, float *weights) {
    skipper *k = opaque;
    (void)layer, (void)sequence, (void)first;
    for (size_t i = 0; i < n; i++, k->routes++) {
        assert_true(n_used == 2 && experts[2 * i] != experts[2 * i + 1] && experts[2 * i] < 4);
        assert_true(weights[2 * i] >= weights[2 * i + 1]);
        assert_true(fabsf(weights[2 * i] + weights[2 * i + 1] - 1) < 1e-6f);
        if (k->all) weights[2 * i] = weights[2 * i + 1] = 0;
    }
}

/* Tokens and weights add up, Gram matrices hold what the experts read; weights of 0 leave experts out. */
static void test_stats(void **state) {
    (void)state;
    opened m;
    experts_stats *s;
    open_tiny(&m, MOE);
    assert_int_equal(experts_stats_new(ctx, m.model, ids, N_TOKENS, N_CTX, &s), PITH_OK);
    for (uint32_t l = 0; l < TINY_LAYERS; l++) {
        uint64_t tokens = 0;
        double weight = 0;
        for (uint32_t e = 0; e < 4; e++) {
            const experts_seen *seen = experts_stats_at(s, l, e);
            tokens += seen->tokens, weight += seen->weight;
            assert_true(seen->in.n_tokens == (double)seen->tokens && seen->mid.n_tokens == (double)seen->tokens);
            assert_true(seen->tokens > 0 && seen->in.h[3] == seen->in.gram[9] && seen->mid.h[0] == seen->mid.gram[0]);
        }
        assert_int_equal(tokens, 2 * N_TOKENS);
        assert_true(fabs(weight - N_TOKENS) < 1e-3);
        double low = experts_stats_ratio(s, l, 0), middle = experts_stats_ratio(s, l, 0.5),
               high = experts_stats_ratio(s, l, 1);
        assert_true(low >= 0 && low < middle && middle < high && high <= 1);
    }
    experts_stats_free(ctx, s);

    lm_session *session;
    lm_token tokens[N_CTX];
    skipper k = {0};
    lm_probe probe = {.opaque = &k, .route = skip_second};
    float before[TINY_VOCAB];
    assert_int_equal(lm_session_new(ctx, m.model, &(lm_session_options){.max_batch = N_CTX}, &session), PITH_OK);
    lm_set_probe(session, &probe);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < N_CTX; i++) tokens[i] = (lm_token){.id = ids[i], .want_logits = i == 9};
        assert_int_equal(lm_truncate(session, 0, 0), PITH_OK);
        assert_int_equal(lm_eval(session, tokens, N_CTX), PITH_OK);
        if (pass == 0) memcpy(before, lm_logits(session, 0), sizeof before);
        k.all = true;
    }
    assert_int_equal(k.routes, 2 * N_CTX * TINY_LAYERS);
    assert_memory_not_equal(before, lm_logits(session, 0), sizeof before);
    lm_session_free(session);
    close_tiny(&m);
}

static pith_recipe *parse(const char *text) {
    pith_recipe *r;
    if (pith_recipe_parse(ctx, "model", text, strlen(text), &r)) fail_msg("%s", pith_error(ctx));
    return r;
}

/* An exact code changes nothing; a choice is kept expert by expert; statistics lower the error of the outputs. */
static void test_try(void **state) {
    (void)state;
    enum { ALL = 4 * TINY_LAYERS };
    opened m;
    experts_stats *s;
    model_overlay *o;
    lm_model *coded;
    experts_code codes[ALL], informed[ALL];
    uint32_t choice[ALL];
    const pith_recipe *const exact[] = {parse("raw(f32)")}, *const two[] = {parse("q(3, group=16)"),
                                                                            parse("q(2, group=16) @ obs")};
    open_tiny(&m, MOE);
    assert_int_equal(experts_stats_new(ctx, m.model, ids, N_TOKENS, N_CTX, &s), PITH_OK);
    assert_int_equal(model_overlay_new(ctx, m.file, NULL, false, &o), PITH_OK);
    assert_int_equal(experts_try(ctx, m.model, s, exact, NULL, o, codes), PITH_OK);
    assert_int_equal(model_overlay_open(ctx, o, &coded), PITH_OK);
    assert_true(distance(m.model, coded) == 0);
    lm_close(ctx, coded);
    for (size_t i = 0; i < ALL; i++) {
        assert_int_equal(codes[i].weights, 3 * TINY_EMBD * TINY_FF);
        assert_true(codes[i].bytes >= 4 * codes[i].weights && codes[i].loss == 0 && codes[i].energy > 0);
        choice[i] = i % 2;
    }
    assert_int_equal(experts_try(ctx, m.model, NULL, two, choice, NULL, codes), PITH_OK);
    assert_int_equal(experts_try(ctx, m.model, s, two, choice, o, informed), PITH_OK);
    for (size_t i = 0; i < ALL; i++) {
        assert_true(informed[i].bytes == codes[i].bytes && informed[i].loss > 0);
        assert_int_equal(informed[i].zeros + informed[i].below + informed[i].above, informed[i].weights);
        if (i % 2)
            assert_true(informed[i].bytes < informed[i - 1].bytes && informed[i].loss / informed[i].energy < 0.2);
    }
    assert_int_equal(model_overlay_open(ctx, o, &coded), PITH_OK);
    double d = distance(m.model, coded);
    assert_true(d > 1e-3 && d < 0.9);
    lm_close(ctx, coded);
    model_overlay_free(ctx, o);
    experts_stats_free(ctx, s);
    pith_recipe_free(ctx, (pith_recipe *)(uintptr_t)exact[0]);
    for (int i = 0; i < 2; i++) pith_recipe_free(ctx, (pith_recipe *)(uintptr_t)two[i]);
    close_tiny(&m);
}

static int set_up(void **state) {
    (void)state;
    uint64_t seed = 99;
    artefacts_register();
    ctx = pith_ctx_new(NULL);
    for (size_t i = 0; i < N_TOKENS; i++)
        ids[i] = (uint32_t)((tiny_random(&seed) + 1) * 0.5f * TINY_VOCAB) % TINY_VOCAB;
    return ctx ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),   cmocka_unit_test(test_rows),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_cluster), cmocka_unit_test(test_stats), cmocka_unit_test(test_try),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
