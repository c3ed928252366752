/* A small net trained for some steps, for what prunes by curvature. */
#ifndef TESTS_MODEL_NET_H
#define TESTS_MODEL_NET_H

#include "lm/ruler/ruler.h"
#include "lm/train/train.h"

enum { NET_CTX = 32 };

typedef struct small_net {
    lm_model *vocabulary;
    train_net *net;
    uint32_t *tokens;
    size_t n_windows, n_weights;
    float *weights; /* as trained */
    double nats;    /* on tokens */
} small_net;

/* `steps` of AdamW on the same windows. */
static inline pith_status small_net_open(pith_ctx *ctx, const train_shape *shape, unsigned steps, small_net *s) {
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

static inline void small_net_close(pith_ctx *ctx, small_net *s) {
    train_net_free(s->net);
    pith_free(ctx, s->tokens);
    pith_free(ctx, s->weights);
    lm_close(ctx, s->vocabulary);
}

#endif
