/* Nets of the small models of tests, and a few windows for them. */
#ifndef LM_TRAIN_TINY_NET_H
#define LM_TRAIN_TINY_NET_H

#include "lm/tiny_model.h"
#include "lm/train/train.h"
#include "support/session.h"

static inline double nats_of(train_net *net, const uint32_t *tokens, size_t n_windows, size_t n_ctx, bool gradients) {
    double nats;
    assert_int_equal(train_pass(ctx, net, tokens, n_windows, n_ctx, NULL, gradients, &nats), PITH_OK);
    return nats;
}

typedef struct tiny {
    tiny_file file;
    tensor_file *view;
    lm_model *model;
    train_net *net;
    uint32_t tokens[5 * 12];
} tiny;

static inline void tiny_open(tiny *t, const char *label) {
    memset(t, 0, sizeof *t);
    size_t i = 0;
    while (i < PITH_COUNT(tiny_variants) && strcmp(tiny_variants[i].label, label)) i++;
    assert_true(i < PITH_COUNT(tiny_variants));
    assert_int_equal(tiny_build(ctx, &t->file, &tiny_variants[i], NULL), PITH_OK);
    assert_int_equal(tensor_file_open_memory(ctx, t->file.out.data, t->file.out.size, &t->view), PITH_OK);
    assert_int_equal(lm_open_file(ctx, t->view, &t->model), PITH_OK);
    assert_int_equal(train_net_open(ctx, t->model, &t->net), PITH_OK);
    for (size_t k = 0; k < PITH_COUNT(t->tokens); k++) t->tokens[k] = (uint32_t)((k * k * 7 + k * 3 + 5) % TINY_VOCAB);
}

static inline void tiny_close(tiny *t) {
    train_net_free(t->net);
    lm_close(ctx, t->model);
    tensor_file_close(ctx, t->view);
    pith_buffer_free(ctx, &t->file.out);
}

#endif
