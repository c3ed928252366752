/* lm/train: the loss is the runtime's code length, gradients are its slopes, steps lower it, and what is written opens.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "lm/ruler/ruler.h"
#include "lm/train/tiny_net.h"

/* Nats of all tokens of windows but the first, as the runtime counts them. */
static double runtime_nats(const lm_model *m, const uint32_t *tokens, size_t n_windows, size_t n_ctx) {
    lm_session *s;
    lm_session_options o = {.n_ctx = (uint32_t)n_ctx, .max_batch = (uint32_t)n_ctx};
    lm_token batch[512];
    double bits = 0;
    assert_true(n_ctx <= 512);
    assert_int_equal(lm_session_new(ctx, m, &o, &s), PITH_OK);
    for (size_t w = 0; w < n_windows; w++) {
        for (size_t i = 0; i < n_ctx; i++) batch[i] = (lm_token){tokens[w * n_ctx + i], 0, true};
        assert_int_equal(lm_truncate(s, 0, 0), PITH_OK);
        assert_int_equal(lm_eval(s, batch, n_ctx), PITH_OK);
        for (size_t i = 0; i + 1 < n_ctx; i++)
            bits += lm_bits(lm_logits(s, i), lm_about(m)->n_vocab, tokens[w * n_ctx + i + 1]);
    }
    lm_session_free(s);
    return bits * 0.69314718055994530942 / (double)(n_windows * (n_ctx - 1));
}

static const char *const labels[] = {"llama",
                                     "llama, tied, one key head, base 500000, factors",
                                     "llama, wide heads, part turned, scaled",
                                     "qwen2",
                                     "llama, experts",
                                     "llama, all experts used",
                                     "deci, the first layer smaller"};

static void loss_is_the_runtimes(void **state) {
    (void)state;
    for (size_t i = 0; i < PITH_COUNT(labels); i++) {
        tiny t;
        tiny_open(&t, labels[i]);
        double expected = runtime_nats(t.model, t.tokens, 5, 12), found = nats_of(t.net, t.tokens, 5, 12, false);
        if (fabs(found - expected) > 1e-5 * expected)
            fail_msg("%s: %.9g, the runtime has %.9g", labels[i], found, expected);
        tiny_close(&t);
    }
}

/* The direction of every tensor's own gradient, so that the slope is its squared length; in float, so steps are large
 * and the second order is taken out by the central difference. */
static void gradients_are_slopes(void **state) {
    (void)state;
    for (size_t i = 0; i < PITH_COUNT(labels); i++) {
        tiny t;
        tiny_open(&t, labels[i]);
        nats_of(t.net, t.tokens, 5, 12, true);
        float *was = pith_alloc(ctx, train_n_weights(t.net) * sizeof *was);
        assert_non_null(was);
        train_net_save(t.net, was);
        for (size_t k = 0; k < train_n_tensors(t.net); k++) {
            const char *name = train_tensor_name(t.net, k);
            size_t rows, cols;
            float *w = train_net_tensor(t.net, name, &rows, &cols);
            const float *g = train_gradient(t.net, name);
            double slope = 0, up, down;
            for (size_t j = 0; j < rows * cols; j++) slope += (double)g[j] * (double)g[j];
            assert_true(slope > 0);
            float h = (float)(5e-4 / sqrt(slope)); /* no token may change its expert on the way */
            for (size_t j = 0; j < rows * cols; j++) w[j] += h * g[j];
            up = nats_of(t.net, t.tokens, 5, 12, false);
            train_net_restore(t.net, was);
            for (size_t j = 0; j < rows * cols; j++) w[j] -= h * g[j];
            down = nats_of(t.net, t.tokens, 5, 12, false);
            train_net_restore(t.net, was);
            double found = (up - down) / (2 * (double)h);
            if (fabs(found - slope) > 0.01 * slope + 2e-3 * sqrt(slope))
                fail_msg("%s, %s: difference %g, gradient %g", labels[i], name, found, slope);
        }
        pith_free(ctx, was);
        tiny_close(&t);
    }
}

/* The built-in model against the ruler, which scores the second half of a window. */
static void built_in_model(void **state) {
    (void)state;
    static const char text[] =
        "The kernel keeps a list of pages that have been read from disk. When memory is short, pages that nobody has "
        "asked for lately are given back first; those that were changed must be written before that. A program may "
        "say how it is going to read a file, and the kernel then reads ahead, or drops what has been read already. "
        "None of this changes what the program sees: it is a question of time alone, and of how much memory there is.";
    enum { CTX = 32 };
    lm_model *m;
    train_net *net;
    token_list tokens = {0};
    ruler_chunks chunks;
    ruler_perplexity expected;
    double found, up, down;
    assert_int_equal(lm_open(ctx, NULL, &m), PITH_OK);
    assert_int_equal(train_net_open(ctx, m, &net), PITH_OK);
    assert_int_equal(ruler_tokens(ctx, m, text, sizeof text - 1, &tokens), PITH_OK);
    assert_int_equal(ruler_chunks_of(ctx, m, &tokens, CTX, 3, &chunks), PITH_OK);
    assert_int_equal(chunks.n_chunks, 3);
    assert_int_equal(ruler_perplexity_of(ctx, m, &chunks, 1, NULL, NULL, NULL, NULL, &expected), PITH_OK);
    uint32_t fed[3 * CTX], target[3 * CTX];
    for (size_t i = 0; i < 3 * CTX; i++) {
        bool scored = i % CTX >= CTX / 2 && i % CTX + 1 < CTX;
        fed[i] = i % CTX ? tokens.id[i] : tokenizer_about(lm_tokenizer(m))->bos;
        target[i] = scored ? tokens.id[i + 1] : TRAIN_NO_TARGET;
    }
    train_hooks hooks = {.target = target};
    assert_int_equal(train_pass(ctx, net, fed, 3, CTX, &hooks, true, &found), PITH_OK);
    if (fabs(found - expected.nats_per_token) > 1e-4 * expected.nats_per_token)
        fail_msg("%.9g nats, the ruler has %.9g", found, expected.nats_per_token);

    static const char *const names[] = {"token_embd.weight", "blk.0.attn_k.weight", "blk.3.attn_norm.weight",
                                        "blk.5.ffn_down.weight"};
    float *was = pith_alloc(ctx, train_n_weights(net) * sizeof *was);
    assert_non_null(was);
    train_net_save(net, was);
    for (size_t k = 0; k < PITH_COUNT(names); k++) {
        size_t rows, cols;
        float *w = train_net_tensor(net, names[k], &rows, &cols);
        const float *g = train_gradient(net, names[k]);
        double slope = 0;
        for (size_t j = 0; j < rows * cols; j++) slope += (double)g[j] * (double)g[j];
        float h = (float)(4e-3 / sqrt(slope));
        for (size_t j = 0; j < rows * cols; j++) w[j] += h * g[j];
        assert_int_equal(train_pass(ctx, net, fed, 3, CTX, &hooks, false, &up), PITH_OK);
        train_net_restore(net, was);
        for (size_t j = 0; j < rows * cols; j++) w[j] -= h * g[j];
        assert_int_equal(train_pass(ctx, net, fed, 3, CTX, &hooks, false, &down), PITH_OK);
        train_net_restore(net, was);
        if (fabs((up - down) / (2 * (double)h) - slope) > 0.02 * slope)
            fail_msg("%s: difference %g, gradient %g", names[k], (up - down) / (2 * (double)h), slope);
    }
    pith_free(ctx, was);
    token_list_free(ctx, &tokens);
    train_net_free(net);
    lm_close(ctx, m);
}

/* Sums over what the hook is shown are the gradients, and showing it changes nothing. */
typedef struct gathered {
    train_net *net;
    double *sum;
    uint64_t order; /* hash of the calls so far */
    size_t n_experts;
} gathered;

static void gather(void *opaque, const char *name, int expert, const float *x, const float *g, size_t n_rows,
                   size_t n_in, size_t n_out) {
    gathered *t = opaque;
    size_t rows, cols;
    const float *w = train_net_tensor(t->net, name, &rows, &cols);
    assert_non_null(w);
    assert_int_equal(cols, n_in);
    assert_int_equal(rows % n_out, 0);
    assert_true(expert < 0 ? rows == n_out : rows > n_out && (size_t)expert < rows / n_out);
    double *sum = t->sum + (w - train_net_tensor(t->net, train_tensor_name(t->net, 0), NULL, NULL)) +
                  (expert < 0 ? 0 : (size_t)expert * n_out * n_in);
    for (size_t r = 0; r < n_rows; r++)
        for (size_t o = 0; o < n_out; o++)
            for (size_t i = 0; i < n_in; i++) sum[o * n_in + i] += (double)g[r * n_out + o] * (double)x[r * n_in + i];
    t->order = t->order * 31 + pith_hash64(x, n_rows * n_in * sizeof *x) + pith_hash64(g, n_rows * n_out * sizeof *g);
    t->n_experts += expert >= 0;
}

static void hooks_and_threads(void **state) {
    (void)state;
    enum { W = 5, T = 12 };
    for (size_t i = 0; i < PITH_COUNT(labels); i++) {
        tiny t;
        tiny_open(&t, labels[i]);
        size_t n = train_n_weights(t.net);
        double nats[2];
        gathered seen[2];
        float *gradient = pith_alloc(ctx, n * sizeof *gradient);
        const char *first = train_tensor_name(t.net, 0);
        assert_non_null(gradient);
        pith_ctx_set_threads(ctx, 1);
        nats[0] = nats_of(t.net, t.tokens, W, T, true);
        memcpy(gradient, train_gradient(t.net, first), n * sizeof *gradient);
        for (unsigned k = 0; k < 2; k++) {
            pith_ctx_set_threads(ctx, k ? 3 : 1);
            seen[k] = (gathered){.net = t.net, .sum = pith_zalloc(ctx, n * sizeof(double))};
            assert_non_null(seen[k].sum);
            train_hooks hooks = {.opaque = &seen[k], .linear = gather};
            assert_int_equal(train_pass(ctx, t.net, t.tokens, W, T, &hooks, true, &nats[1]), PITH_OK);
            assert_true(nats[0] == nats[1]);
            assert_memory_equal(gradient, train_gradient(t.net, first), n * sizeof *gradient);
            assert_true(nats_of(t.net, t.tokens, W, T, true) == nats[0]);
            assert_memory_equal(gradient, train_gradient(t.net, first), n * sizeof *gradient);
            assert_int_equal(seen[k].order, seen[0].order);
        }
        assert_true((seen[0].n_experts > 0) == (lm_about(t.model)->n_experts > 0));
        for (size_t k = 0; k < train_n_tensors(t.net); k++) {
            size_t rows, cols;
            const char *name = train_tensor_name(t.net, k);
            const float *w = train_net_tensor(t.net, name, &rows, &cols), *g = train_gradient(t.net, name);
            const double *sum = seen[0].sum + (w - train_net_tensor(t.net, first, NULL, NULL));
            if (rows == 1 || strcmp(name, "token_embd.weight") == 0) continue;
            for (size_t j = 0; j < rows * cols; j++)
                if (fabs(sum[j] / (W * (T - 1)) - (double)g[j]) > 1e-6 + 1e-4 * fabs((double)g[j]))
                    fail_msg("%s, %s: %g from the hook, %g", labels[i], name, sum[j] / (W * (T - 1)), (double)g[j]);
        }
        for (unsigned k = 0; k < 2; k++) pith_free(ctx, seen[k].sum);
        pith_free(ctx, gradient);
        tiny_close(&t);
    }
    pith_ctx_set_threads(ctx, 1);
}

static bool is_down(void *opaque, const char *name) {
    (void)opaque;
    return strstr(name, "ffn_down") != NULL;
}

/* Steps change what was chosen, lower the loss, and one batch can be learned by heart. */
static void learns(void **state) {
    (void)state;
    tiny t;
    double norm, before, nats = 0;
    tiny_open(&t, "llama");
    float *was = pith_alloc(ctx, train_n_weights(t.net) * sizeof *was);
    assert_non_null(was);
    train_net_save(t.net, was);
    assert_int_equal(train_step(ctx, t.net, &(train_step_options){.rate = 1e-3}, &norm), PITH_E_ARGUMENT);
    train_net_choose(t.net, is_down, NULL);
    before = nats_of(t.net, t.tokens, 5, 12, true);
    assert_null(train_gradient(t.net, "token_embd.weight"));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(train_step(ctx, t.net, &(train_step_options){.rate = 3e-3}, &norm), PITH_OK);
        nats = nats_of(t.net, t.tokens, 5, 12, true);
    }
    assert_true(nats < before - 0.01 && norm > 0);
    for (size_t k = 0; k < train_n_tensors(t.net); k++) {
        size_t rows, cols;
        const char *name = train_tensor_name(t.net, k);
        const float *w = train_net_tensor(t.net, name, &rows, &cols),
                    *old = was + (w - train_net_tensor(t.net, train_tensor_name(t.net, 0), NULL, NULL));
        assert_true((memcmp(w, old, rows * cols * sizeof *w) != 0) == is_down(NULL, name));
    }
    train_net_choose(t.net, NULL, NULL);
    for (uint64_t i = 1; i <= 150; i++) {
        nats = nats_of(t.net, t.tokens, 3, 12, true);
        train_step_options o = {.rate = train_rate_at(i, 10, 150, 2e-2), .decay = 0.01};
        assert_int_equal(train_step(ctx, t.net, &o, NULL), PITH_OK);
    }
    if (nats > 0.01) fail_msg("one batch is still %g nats a token", nats);
    pith_free(ctx, was);
    tiny_close(&t);
}

/* What is written is the net: as a model in memory it has the same loss. */
static void written_and_opened(void **state) {
    (void)state;
    for (size_t i = 0; i < PITH_COUNT(labels); i++) {
        tiny t;
        tiny_open(&t, labels[i]);
        nats_of(t.net, t.tokens, 5, 12, true);
        assert_int_equal(train_step(ctx, t.net, &(train_step_options){.rate = 1e-2}, NULL), PITH_OK);
        double nats = nats_of(t.net, t.tokens, 5, 12, false);
        for (unsigned half = 0; half < 2; half++) {
            lm_model *m;
            assert_int_equal(train_net_model(ctx, t.net, half ? TENSOR_F16 : TENSOR_F32, &m), PITH_OK);
            double again = runtime_nats(m, t.tokens, 5, 12);
            if (fabs(again - nats) > (half ? 1e-2 : 1e-5) * nats)
                fail_msg("%s: %.9g in training, %.9g as a file", labels[i], nats, again);
            train_model_close(ctx, m);
        }
        tiny_close(&t);
    }
}

/* Nets from nothing: dense and of experts, with the built-in tokenizer. */
static void random_nets(void **state) {
    (void)state;
    lm_model *mini, *m;
    assert_int_equal(lm_open(ctx, NULL, &mini), PITH_OK);
    for (unsigned k = 0; k < 2; k++) {
        train_shape shape = {.n_embd = 16,
                             .n_layers = 2,
                             .n_heads = 4,
                             .n_kv_heads = 2,
                             .n_ff = 24,
                             .n_ctx = 64,
                             .n_experts = k ? 4 : 0,
                             .n_used = k ? 2 : 0,
                             .untied = k};
        train_net *net, *same;
        uint32_t *tokens;
        size_t n_windows;
        assert_int_equal(train_net_new(ctx, &shape, mini, 5, &net), PITH_OK);
        assert_int_equal(train_net_new(ctx, &shape, mini, 5, &same), PITH_OK);
        const char *first = train_tensor_name(net, 0);
        assert_memory_equal(train_net_tensor(net, first, NULL, NULL), train_net_tensor(same, first, NULL, NULL),
                            train_n_weights(net) * sizeof(float));
        train_net_free(same);
        assert_int_equal(
            train_windows(ctx, net, "one two three, one two three, one two three, one two", 52, 8, &tokens, &n_windows),
            PITH_OK);
        assert_true(n_windows > 1);
        for (size_t w = 0; w < n_windows; w++)
            assert_int_equal(tokens[w * 8], tokenizer_about(lm_tokenizer(mini))->bos);
        double before = nats_of(net, tokens, n_windows, 8, true), nats = before;
        assert_true(fabs(before - log(4096)) < 0.3);
        for (int i = 0; i < 10; i++) {
            assert_int_equal(train_step(ctx, net, &(train_step_options){.rate = 1e-2}, NULL), PITH_OK);
            nats = nats_of(net, tokens, n_windows, 8, true);
        }
        assert_true(nats < before - 1);
        assert_int_equal(train_net_model(ctx, net, TENSOR_F32, &m), PITH_OK);
        assert_int_equal(lm_about(m)->n_experts, shape.n_experts);
        assert_true(fabs(runtime_nats(m, tokens, n_windows, 8) - nats) < 1e-4 * nats);
        train_model_close(ctx, m);
        pith_free(ctx, tokens);
        train_net_free(net);
    }
    lm_close(ctx, mini);
}

static void refusals(void **state) {
    (void)state;
    tiny t;
    double nats;
    train_net *net;
    lm_model *mini;
    tiny_open(&t, "llama");
    t.tokens[3] = TINY_VOCAB;
    assert_int_equal(train_pass(ctx, t.net, t.tokens, 1, 12, NULL, true, &nats), PITH_E_ARGUMENT);
    t.tokens[3] = 0;
    assert_int_equal(train_pass(ctx, t.net, t.tokens, 0, 12, NULL, true, &nats), PITH_E_ARGUMENT);
    assert_int_equal(train_pass(ctx, t.net, t.tokens, SIZE_MAX / 3, 12, NULL, true, &nats), PITH_E_ARGUMENT);
    /* a weight that is no number stops the step, not the program */
    nats_of(t.net, t.tokens, 2, 12, true);
    train_net_tensor(t.net, "blk.0.ffn_norm.weight", NULL, NULL)[3] = NAN;
    nats_of(t.net, t.tokens, 2, 12, true);
    assert_int_equal(train_step(ctx, t.net, &(train_step_options){0}, NULL), PITH_E_CHECK);
    tiny_close(&t);
    assert_int_equal(lm_open(ctx, NULL, &mini), PITH_OK);
    train_shape wrong = {.n_embd = 16, .n_layers = 2, .n_heads = 3, .n_kv_heads = 1, .n_ff = 24, .n_ctx = 64};
    assert_int_equal(train_net_new(ctx, &wrong, mini, 5, &net), PITH_E_ARGUMENT);
    assert_null(net);
    /* tokens that are bytes need no other model */
    wrong.n_heads = 1;
    assert_int_equal(train_net_new(ctx, &wrong, NULL, 5, &net), PITH_E_ARGUMENT);
    wrong.n_vocab = 256;
    assert_int_equal(train_net_new(ctx, &wrong, NULL, 5, &net), PITH_OK);
    uint32_t *tokens;
    size_t n_windows;
    assert_int_equal(train_windows(ctx, net, "all of it", 9, 4, &tokens, &n_windows), PITH_OK);
    assert_int_equal(n_windows, 2);
    assert_int_equal(tokens[3], ' ');
    pith_free(ctx, tokens);
    train_net_free(net);
    lm_close(ctx, mini);
}

/* Memory that is not there, wherever it is asked for. */
static void survives_failing_allocations(void **state) {
    (void)state;
    tiny t;
    unsigned failed = 0, done = 0;
    tiny_open(&t, "llama, experts");
    for (uint64_t limit = 4096; done == 0; limit += limit / 3) {
        pith_ctx *small = pith_ctx_new(NULL);
        lm_model *m;
        pith_ctx_set_memory(small, limit);
        if (lm_open_file(small, t.view, &m) == PITH_OK) {
            train_net *net = NULL;
            lm_model *again = NULL;
            double nats;
            pith_status status = train_net_open(small, m, &net);
            if (!status) status = train_pass(small, net, t.tokens, 5, 12, NULL, true, &nats);
            if (!status) status = train_step(small, net, &(train_step_options){0}, NULL);
            if (!status) status = train_net_model(small, net, TENSOR_F16, &again);
            assert_true(status == PITH_OK || status == PITH_E_LIMIT);
            *(status ? &failed : &done) += 1;
            train_model_close(small, again);
            train_net_free(net);
            lm_close(small, m);
        }
        assert_int_equal(pith_memory_used(small), 0);
        pith_ctx_free(small);
    }
    assert_true(failed > 2);
    tiny_close(&t);
}

/* A teacher: the loss is the two parts, a net diverges by nothing from its own model, steps bring it nearer, and no
 * other vocabulary will do. */
static void learns_from_a_teacher(void **state) {
    (void)state;
    tiny t, other;
    tiny_open(&t, "llama");
    tiny_open(&other, "qwen2");
    train_teacher *own, *taught;
    train_hooks hooks = {.mix = 1, .temperature = 2};
    double nats, kl, mixed, last = 1e9;
    assert_int_equal(train_teacher_new(ctx, t.net, t.model, 12, &own), PITH_OK);
    assert_int_equal(train_teacher_ask(own, t.tokens, 5, &hooks.teacher), PITH_OK);
    assert_int_equal(train_pass(ctx, t.net, t.tokens, 5, 12, &hooks, false, &kl), PITH_OK);
    assert_true(fabs(kl) < 1e-5);
    train_teacher_free(own);

    assert_int_equal(train_teacher_new(ctx, t.net, other.model, 12, &taught), PITH_OK);
    assert_int_equal(train_teacher_ask(taught, t.tokens, 5, &hooks.teacher), PITH_OK);
    nats = nats_of(t.net, t.tokens, 5, 12, false);
    assert_int_equal(train_pass(ctx, t.net, t.tokens, 5, 12, &hooks, false, &kl), PITH_OK);
    hooks.mix = 0.25;
    assert_int_equal(train_pass(ctx, t.net, t.tokens, 5, 12, &hooks, false, &mixed), PITH_OK);
    assert_true(kl > 1e-3 && fabs(mixed - 0.75 * nats - 0.25 * kl) < 1e-5);
    hooks.mix = 1, hooks.temperature = 0; /* 1: the divergence itself, beside the runtime's */
    double by_hand = 0;
    assert_int_equal(train_pass(ctx, t.net, t.tokens, 5, 12, &hooks, false, &kl), PITH_OK);
    train_teacher *student;
    const float *mine;
    assert_int_equal(train_teacher_new(ctx, t.net, t.model, 12, &student), PITH_OK);
    assert_int_equal(train_teacher_ask(student, t.tokens, 5, &mine), PITH_OK);
    for (size_t row = 0; row < 60; row++) {
        const float *p = hooks.teacher + row * TINY_VOCAB, *q = mine + row * TINY_VOCAB;
        double sum[2] = {0, 0}, along = 0;
        if (row % 12 == 11) continue; /* nothing behind the last of a window */
        for (size_t v = 0; v < TINY_VOCAB; v++) sum[0] += exp((double)p[v]), sum[1] += exp((double)q[v]);
        for (size_t v = 0; v < TINY_VOCAB; v++) along += exp((double)p[v]) / sum[0] * (double)(p[v] - q[v]);
        by_hand += (along - log(sum[0]) + log(sum[1])) / 55;
    }
    assert_true(fabs(kl - by_hand) < 1e-4 * by_hand);
    train_teacher_free(student);
    for (unsigned i = 0; i < 30; i++) {
        train_step_options o = {.rate = 3e-3};
        assert_int_equal(train_pass(ctx, t.net, t.tokens, 5, 12, &hooks, true, &kl), PITH_OK);
        assert_int_equal(train_step(ctx, t.net, &o, NULL), PITH_OK);
        if (i % 10 == 9) {
            assert_true(kl < 0.95 * last);
            last = kl;
        }
    }
    hooks.mix = 1.5;
    assert_int_equal(train_pass(ctx, t.net, t.tokens, 5, 12, &hooks, false, &kl), PITH_E_ARGUMENT);
    train_teacher_free(taught);
    lm_model *mini;
    assert_int_equal(lm_open(ctx, NULL, &mini), PITH_OK);
    assert_int_equal(train_teacher_new(ctx, t.net, mini, 12, &taught), PITH_E_ARGUMENT);
    assert_null(taught);
    lm_close(ctx, mini);
    tiny_close(&other);
    tiny_close(&t);
}

/* Layers that share: the net is the model whose layers all hold the mean, its gradient the sum of theirs, and it stays so
 * when it learns. */
static void layers_share(void **state) {
    (void)state;
    tiny t;
    train_net *shared, *whole;
    lm_model *written;
    tiny_open(&t, "llama");
    uint32_t n_layers = lm_about(t.model)->n_layers, like[16] = {0};
    assert_true(n_layers >= 2 && n_layers <= 16);
    assert_int_equal(train_net_open_shared(ctx, t.model, like, &shared), PITH_OK);
    assert_true(train_n_weights(shared) < train_n_weights(t.net));
    for (unsigned round = 0; round < 2; round++) {
        double nats = nats_of(shared, t.tokens, 5, 12, true);
        assert_int_equal(train_net_model(ctx, shared, TENSOR_F32, &written), PITH_OK);
        double found = runtime_nats(written, t.tokens, 5, 12);
        assert_true(fabs(nats - found) < 1e-5 * found);
        assert_int_equal(train_net_open(ctx, written, &whole), PITH_OK);
        nats_of(whole, t.tokens, 5, 12, true);
        size_t rows, cols;
        const float *w = train_net_tensor(shared, "blk.1.ffn_up.weight", &rows, &cols), *g[3];
        assert_true(w == train_net_tensor(shared, "blk.0.ffn_up.weight", NULL, NULL));
        g[0] = train_gradient(shared, "blk.0.ffn_up.weight");
        for (size_t k = 0; k < rows * cols; k += 7) {
            double sum = 0, mean = 0;
            for (uint32_t l = 0; l < n_layers; l++) {
                char name[40];
                snprintf(name, sizeof name, "blk.%u.ffn_up.weight", l);
                sum += (double)train_gradient(whole, name)[k];
                mean += (double)train_net_tensor(t.net, name, NULL, NULL)[k] / n_layers;
                assert_true(train_net_tensor(whole, name, NULL, NULL)[k] == w[k]);
            }
            assert_true(fabs(sum - (double)g[0][k]) < 1e-5 * (1 + fabs(sum)));
            if (round == 0) assert_true(fabs(mean - (double)w[k]) < 1e-6);
        }
        train_net_free(whole);
        train_model_close(ctx, written);
        train_step_options o = {.rate = 1e-2};
        assert_int_equal(train_step(ctx, shared, &o, NULL), PITH_OK);
    }
    train_net_free(shared);
    like[0] = 1; /* a layer that comes later */
    assert_int_equal(train_net_open_shared(ctx, t.model, like, &shared), PITH_E_ARGUMENT);
    tiny_close(&t);
    tiny_open(&t, "deci, the first layer smaller");
    like[0] = 0;
    assert_int_equal(train_net_open_shared(ctx, t.model, like, &shared), PITH_E_ARGUMENT);
    assert_null(shared);
    tiny_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss_is_the_runtimes),
        cmocka_unit_test(gradients_are_slopes),
        cmocka_unit_test(built_in_model),
        cmocka_unit_test(hooks_and_threads),
        cmocka_unit_test(learns),
        cmocka_unit_test(learns_from_a_teacher),
        cmocka_unit_test(layers_share),
        cmocka_unit_test(written_and_opened),
        cmocka_unit_test(random_nets),
        cmocka_unit_test(refusals),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
