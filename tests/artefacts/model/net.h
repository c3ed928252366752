/* Small nets trained for some steps, for what prunes by curvature: one plain and one with a mixture of experts. */
#ifndef TESTS_MODEL_NET_H
#define TESTS_MODEL_NET_H

#include "lm/ruler/ruler.h"
#include "lm/train/train.h"
#include "support/session.h"

enum { NET_CTX = 32, NET_EMBD = 16, NET_EXPERTS = 4, NET_EXPERT_FF = 12 };

typedef struct small_net {
    lm_model *vocabulary;
    train_net *net;
    uint32_t *tokens;
    size_t n_windows, n_weights;
    float *weights; /* as trained */
    double nats;    /* on tokens */
} small_net;

/* `steps` of AdamW on the same windows. */
static inline pith_status small_net_open(const train_shape *shape, unsigned steps, small_net *s) {
    size_t size;
    const char *text = ruler_prose(&size);
    pith_status status = lm_open(ctx, NULL, &s->vocabulary);
    if (!status) status = train_net_new(ctx, shape, s->vocabulary, 1, &s->net);
    if (!status) status = train_windows(ctx, s->net, text, 2048, NET_CTX, &s->tokens, &s->n_windows);
    for (unsigned i = 0; i < steps && !status; i++) {
        const train_step_options o = {.rate = 1e-2};
        status = train_pass(ctx, s->net, s->tokens, s->n_windows, NET_CTX, NULL, true, &s->nats);
        if (!status) status = train_step(ctx, s->net, &o, NULL);
    }
    if (!status) status = train_pass(ctx, s->net, s->tokens, s->n_windows, NET_CTX, NULL, false, &s->nats);
    s->n_weights = status ? 0 : train_n_weights(s->net);
    if (!status && !(s->weights = pith_alloc(ctx, s->n_weights * sizeof *s->weights))) status = pith_alloc_status(ctx);
    if (!status) train_net_save(s->net, s->weights);
    return status;
}

static inline void small_net_close(small_net *s) {
    train_net_free(s->net);
    pith_free(ctx, s->tokens);
    pith_free(ctx, s->weights);
    lm_close(ctx, s->vocabulary);
}

static small_net dense, mixture;

/* A group's set-up: the session and both nets; the mixture has one layer. */
static inline int nets_begin(void **state, uint32_t n_layers, uint32_t n_ff) {
    const train_shape plain = {
        .n_embd = NET_EMBD, .n_layers = n_layers, .n_heads = 2, .n_kv_heads = 1, .n_ff = n_ff, .n_ctx = NET_CTX};
    train_shape experts = plain;
    experts.n_layers = 1;
    experts.n_ff = NET_EXPERT_FF;
    experts.n_experts = NET_EXPERTS;
    experts.n_used = 2;
    return session_begin(state) || small_net_open(&plain, 40, &dense) || small_net_open(&experts, 10, &mixture);
}

static inline int nets_end(void **state) {
    small_net_close(&dense);
    small_net_close(&mixture);
    return session_end(state);
}

#endif
