/* lm/train: nets with masks, tensors with rates of their own, mixtures with vectors in the place of experts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "lm/train/tiny_net.h"

/* Weights that are masked are zeros after a step and stay so; the rest learns on. */
static void masked(void **state) {
    (void)state;
    tiny t;
    size_t rows, cols;
    double norm[2];
    tiny_open(&t, "llama");
    const char *name = "blk.0.ffn_up.weight";
    const float *w = train_net_tensor(t.net, name, &rows, &cols);
    assert_null(train_net_kept(t.net, "no such"));
    double before = nats_of(t.net, t.tokens, 5, 12, true), nats = before;
    assert_int_equal(train_step(ctx, t.net, &(train_step_options){.rate = 1e-3}, &norm[0]), PITH_OK);
    uint8_t *kept = train_net_kept(t.net, name);
    assert_non_null(kept);
    for (size_t i = 0; i < rows * cols; i++) {
        assert_int_equal(kept[i], 1);
        kept[i] = i % 3 != 0;
    }
    for (int step = 0; step < 6; step++) {
        nats = nats_of(t.net, t.tokens, 5, 12, true);
        assert_int_equal(train_step(ctx, t.net, &(train_step_options){.rate = 3e-3}, &norm[1]), PITH_OK);
        for (size_t i = 0; i < rows * cols; i++) assert_true((w[i] != 0) == (i % 3 != 0));
    }
    assert_true(nats < before && norm[1] > 0);
    /* nothing kept: no gradient counts */
    for (size_t i = 0; i < train_n_tensors(t.net); i++) {
        size_t n;
        train_net_tensor(t.net, train_tensor_name(t.net, i), &rows, &n);
        memset(train_net_kept(t.net, train_tensor_name(t.net, i)), 0, rows * n);
    }
    nats_of(t.net, t.tokens, 5, 12, true);
    assert_int_equal(train_step(ctx, t.net, &(train_step_options){.rate = 3e-3}, &norm[1]), PITH_OK);
    assert_true(norm[1] == 0);
    tiny_close(&t);
}

/* Of two nets that are the same but for a tensor's speed the first step differs there alone, in proportion. */
static void hastened(void **state) {
    (void)state;
    tiny t;
    train_net *fast;
    size_t rows, cols;
    const char *name = "blk.0.ffn_up.weight", *other = "blk.0.ffn_down.weight";
    tiny_open(&t, "llama");
    assert_int_equal(train_net_open(ctx, t.model, &fast), PITH_OK);
    float *was = pith_alloc(ctx, train_n_weights(t.net) * sizeof *was);
    assert_non_null(was);
    train_net_save(t.net, was);
    assert_false(train_net_hasten(fast, "no such", 3));
    assert_true(train_net_hasten(fast, name, 3));
    nats_of(t.net, t.tokens, 5, 12, true);
    nats_of(fast, t.tokens, 5, 12, true);
    assert_int_equal(train_step(ctx, t.net, &(train_step_options){.rate = 1e-3}, NULL), PITH_OK);
    assert_int_equal(train_step(ctx, fast, &(train_step_options){.rate = 1e-3}, NULL), PITH_OK);
    const float *w = train_net_tensor(t.net, name, &rows, &cols), *f = train_net_tensor(fast, name, NULL, NULL),
                *old = was + (w - train_net_tensor(t.net, train_tensor_name(t.net, 0), NULL, NULL));
    for (size_t i = 0; i < rows * cols; i++)
        assert_true(fabs((double)(f[i] - old[i]) - 3 * (double)(w[i] - old[i])) < 1e-6);
    assert_true(w[0] != old[0]);
    const float *a = train_net_tensor(t.net, other, &rows, &cols), *b = train_net_tensor(fast, other, NULL, NULL);
    assert_memory_equal(a, b, rows * cols * sizeof *a);
    pith_free(ctx, was);
    train_net_free(fast);
    tiny_close(&t);
}

static bool is_left(void *opaque, const char *name) {
    (void)opaque;
    return strstr(name, "ffn_left") != NULL;
}

/* Experts left out: vectors of zeros change nothing, once learned they lower the loss; the runtime cannot have it. */
static void fewer_experts(void **state) {
    (void)state;
    tiny t;
    train_net *plain, *net;
    lm_model *m;
    tiny_open(&t, "llama, experts");
    assert_int_equal(train_net_open_fewer(ctx, t.model, lm_about(t.model)->n_used, TRAIN_VECTORS_NONE, &net),
                     PITH_E_ARGUMENT);
    assert_null(net);
    assert_int_equal(train_net_open_fewer(ctx, t.model, 1, TRAIN_VECTORS_NONE, &plain), PITH_OK);
    double all = nats_of(t.net, t.tokens, 5, 12, false), one = nats_of(plain, t.tokens, 5, 12, false);
    assert_true(fabs(all - one) > 1e-4);
    assert_null(train_net_tensor(plain, "blk.0.ffn_left.weight", NULL, NULL));
    for (unsigned at = TRAIN_VECTORS_INPUT; at <= TRAIN_VECTORS_KEPT; at++) {
        size_t rows, cols;
        assert_int_equal(train_net_open_fewer(ctx, t.model, 1, (train_vectors)at, &net), PITH_OK);
        assert_non_null(train_net_tensor(net, "blk.0.ffn_left.weight", &rows, &cols));
        assert_int_equal(rows, lm_about(t.model)->n_experts);
        assert_int_equal(cols, lm_about(t.model)->n_embd);
        double nats = nats_of(net, t.tokens, 5, 12, true);
        assert_true(fabs(nats - one) < 1e-6);
        train_net_choose(net, is_left, NULL);
        for (int i = 0; i < 8; i++) {
            nats = nats_of(net, t.tokens, 5, 12, true);
            assert_int_equal(train_step(ctx, net, &(train_step_options){.rate = 1e-2}, NULL), PITH_OK);
        }
        if (!(nats < one - 1e-4)) fail_msg("%g after, %g before", nats, one);
        assert_int_equal(train_net_model(ctx, net, TENSOR_F32, &m), PITH_E_UNSUPPORTED);
        train_net_free(net);
    }
    train_net_free(plain);
    tiny_close(&t);
    tiny_open(&t, "llama");
    assert_int_equal(train_net_open_fewer(ctx, t.model, 1, TRAIN_VECTORS_NONE, &net), PITH_E_ARGUMENT);
    tiny_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masked),
        cmocka_unit_test(hastened),
        cmocka_unit_test(fewer_experts),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
