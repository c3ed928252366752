/* lm/tune: the matrix gets better on text it has not seen, the file written is the model with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "lm/coding/coding.h"
#include "lm/tune/tune.h"

static pith_ctx *ctx;
static lm_model *model;

static int set_up(void **state) {
    (void)state;
    ctx = pith_ctx_new(NULL);
    return ctx && lm_open(ctx, NULL, &model) == PITH_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    lm_close(ctx, model);
    pith_ctx_free(ctx);
    return 0;
}

/* Lines of one form with changing numbers: easy to learn, and not what the model has read most. */
static size_t make_text(char *text, size_t size, uint32_t seed) {
    size_t n = 0;
    while (n + 64 < size) {
        seed = seed * 1664525u + 1013904223u;
        n += (size_t)snprintf(text + n, size - n, "%02u:%02u kernel: eth%u link state %s\n", seed >> 27, seed >> 26 & 31,
                              seed >> 25 & 1, seed >> 24 & 1 ? "up" : "down");
    }
    return n;
}

typedef struct bytes {
    pith_buffer b;
} bytes;

static pith_status append(void *opaque, const void *data, size_t size) {
    return pith_buffer_append(ctx, &((bytes *)opaque)->b, data, size);
}

static double bits_of(const lm_model *m, const char *text, size_t n) {
    lm_coder *c;
    lm_code_length length;
    assert_int_equal(lm_coder_new(ctx, m, NULL, &c), PITH_OK);
    assert_int_equal(lm_coder_length(c, NULL, 0, (const uint8_t *)text, n, NULL, NULL, &length), PITH_OK);
    lm_coder_free(c);
    return length.bits;
}

static void learns_and_is_written(void **state) {
    (void)state;
    static char text[3000], other[700];
    size_t n = make_text(text, sizeof text, 1), other_n = make_text(other, sizeof other, 77);
    tune_options o = {.n_epochs = 2, .n_ctx = 128};
    tune_report r;
    float *head;
    assert_int_equal(tune_head(ctx, model, text, n, &o, &head, &r), PITH_OK);
    assert_true(r.best_epoch > 0 && r.n_held > 0 && r.n_tokens > 5 * r.n_held);
    assert_true(r.bits_after < 0.9 * r.bits_before);

    bytes file = {0};
    assert_int_equal(tune_write(ctx, model, head, append, &file), PITH_OK);
    tensor_file *view;
    lm_model *tuned;
    assert_int_equal(tensor_file_open_memory(ctx, file.b.data, file.b.size, &view), PITH_OK);
    assert_int_equal(view->n_tensors, lm_file(model)->n_tensors + 1); /* pith-mini's is the embedding */
    const tensor_view *written = tensor_find(view, "output.weight");
    assert_non_null(written);
    assert_int_equal(written->type, TENSOR_F16);
    for (size_t i = 0; i < written->n_elements; i += 977)
        assert_int_equal(load16(written->data + 2 * i), float_to_half(head[i]));
    for (size_t i = 0; i < lm_file(model)->n_tensors; i++) { /* the rest is untouched */
        const tensor_view *a = &lm_file(model)->tensors[i], *b = &view->tensors[i];
        assert_int_equal(a->bytes, b->bytes);
        assert_memory_equal(a->data, b->data, a->bytes);
    }
    assert_int_equal(lm_open_file(ctx, view, &tuned), PITH_OK);
    /* fresh lines, through the file */
    assert_true(bits_of(tuned, other, other_n) < 0.85 * bits_of(model, other, other_n));
    lm_close(ctx, tuned);
    tensor_file_close(ctx, view);
    pith_buffer_free(ctx, &file.b);
    pith_free(ctx, head);
}

/* All weights: better than the last matrix alone, on fresh lines and through a file. */
static void all_weights(void **state) {
    (void)state;
    static char text[3000], other[700];
    size_t n = make_text(text, sizeof text, 1), other_n = make_text(other, sizeof other, 77);
    tune_options o = {.n_epochs = 1, .n_ctx = 64, .rate = 1e-3};
    tune_report r;
    train_net *net;
    lm_model *tuned;
    assert_int_equal(tune_all(ctx, model, text, n, &o, &net, &r), PITH_OK);
    assert_int_equal(r.best_epoch, 1);
    assert_true(r.n_held > 0 && r.n_tokens > 5 * r.n_held && r.bits_after < 0.7 * r.bits_before);
    assert_int_equal(train_net_model(ctx, net, TENSOR_F16, &tuned), PITH_OK);
    assert_true(bits_of(tuned, other, other_n) < 0.7 * bits_of(model, other, other_n));
    train_model_close(ctx, tuned);
    train_net_free(net);
    /* nothing better: the weights are the model's own */
    o.rate = 100;
    assert_int_equal(tune_all(ctx, model, text, 700, &o, &net, &r), PITH_OK);
    assert_int_equal(r.best_epoch, 0);
    const float *w = train_net_tensor(net, "token_embd.weight", NULL, NULL);
    const tensor_view *own = tensor_find(lm_file(model), "token_embd.weight");
    for (size_t i = 0; i < own->n_elements; i += 501) assert_true(w[i] == half_to_float(load16(own->data + 2 * i)));
    train_net_free(net);
    assert_int_equal(tune_all(ctx, model, "too short", 9, NULL, &net, &r), PITH_E_ARGUMENT);
    assert_null(net);
}

/* Pairs of layers made one, then taught by the model they came from: nearer to it on lines it did not see. */
static void mends_by_a_teacher(void **state) {
    (void)state;
    static char text[2000];
    size_t n = make_text(text, sizeof text, 1);
    tune_options o = {.n_epochs = 1, .n_ctx = 64, .rate = 1e-3, .share = 2, .teacher = model, .mix = 1};
    tune_report r;
    train_net *net;
    assert_int_equal(tune_all(ctx, model, text, n, &o, &net, &r), PITH_OK);
    assert_int_equal(r.best_epoch, 1);
    assert_true(r.kl_before > 0.1 && r.kl_after < 0.8 * r.kl_before);
    assert_true(train_net_tensor(net, "blk.2.attn_q.weight", NULL, NULL) ==
                train_net_tensor(net, "blk.3.attn_q.weight", NULL, NULL));
    train_net_free(net);
}

/* A step far too long only makes it worse: the model's own matrix is given back. */
static void keeps_its_own_when_nothing_is_better(void **state) {
    (void)state;
    static char text[600];
    size_t n = make_text(text, sizeof text, 5);
    tune_options o = {.n_epochs = 1, .n_ctx = 64, .rate = 50};
    tune_report r;
    float *head;
    assert_int_equal(tune_head(ctx, model, text, n, &o, &head, &r), PITH_OK);
    assert_int_equal(r.best_epoch, 0);
    assert_true(r.bits_after == r.bits_before);
    const tensor_view *own = tensor_find(lm_file(model), "token_embd.weight");
    for (size_t i = 0; i < own->n_elements; i += 501)
        assert_true(head[i] == half_to_float(load16(own->data + 2 * i)));
    pith_free(ctx, head);
}

static void refuses(void **state) {
    (void)state;
    tune_report r;
    float *head;
    assert_int_equal(tune_head(ctx, model, "too short", 9, NULL, &head, &r), PITH_E_ARGUMENT);
    assert_null(head);
    tune_options o = {.n_ctx = 2};
    assert_int_equal(tune_head(ctx, model, "too short", 9, &o, &head, &r), PITH_E_ARGUMENT);
    assert_null(head);
}

/* Memory that is not there, wherever it is asked for. */
static void survives_failing_allocations(void **state) {
    (void)state;
    static char text[600];
    size_t n = make_text(text, sizeof text, 5);
    for (uint64_t limit = 1 << 20; limit < (uint64_t)40 << 20; limit += (uint64_t)5 << 20) {
        pith_ctx *small = pith_ctx_new(NULL);
        pith_ctx_set_memory(small, limit);
        lm_model *m;
        tune_options o = {.n_epochs = 1, .n_ctx = 64};
        tune_report r;
        float *head = NULL;
        if (lm_open(small, NULL, &m) == PITH_OK) {
            pith_status status = tune_head(small, m, text, n, &o, &head, &r);
            assert_true(status == PITH_OK || status == PITH_E_LIMIT);
            assert_true((head != NULL) == (status == PITH_OK));
            pith_free(small, head);
            lm_close(small, m);
        }
        pith_ctx_free(small);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(learns_and_is_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_weights, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mends_by_a_teacher, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_its_own_when_nothing_is_better, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(survives_failing_allocations, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
