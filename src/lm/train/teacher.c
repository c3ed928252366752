/* What another model says to the windows that a net learns from. */
#include "lm/ruler/ruler.h"
#include "lm/train/parts.h"

struct train_teacher {
    pith_ctx *ctx;
    lm_session *session;
    size_t n_ctx, n_vocab, room; /* room: windows */
    lm_token *window;
    float *logits;
};

pith_status train_teacher_new(pith_ctx *ctx, const train_net *net, const lm_model *m, size_t n_ctx,
                              train_teacher **out) {
    *out = NULL;
    pith_status status = ruler_same_vocabulary(ctx, net->source, m);
    if (status) return status;
    if (!n_ctx || n_ctx > UINT32_MAX / 4)
        return pith_fail(ctx, PITH_E_ARGUMENT, "windows of %zu tokens are no lesson", n_ctx);
    train_teacher *t = pith_zalloc(ctx, sizeof *t);
    if (!t) return pith_alloc_status(ctx);
    t->ctx = ctx, t->n_ctx = n_ctx, t->n_vocab = net->n_vocab;
    const lm_session_options o = {.n_ctx = (uint32_t)n_ctx, .max_batch = (uint32_t)n_ctx};
    t->window = pith_alloc(ctx, n_ctx * sizeof *t->window);
    status = t->window ? lm_session_new(ctx, m, &o, &t->session) : pith_alloc_status(ctx);
    if (status) {
        train_teacher_free(t);
        return status;
    }
    *out = t;
    return PITH_OK;
}

void train_teacher_free(train_teacher *t) {
    if (!t) return;
    lm_session_free(t->session);
    pith_free(t->ctx, t->window);
    pith_free(t->ctx, t->logits);
    pith_free(t->ctx, t);
}

static pith_status make_room(train_teacher *t, size_t n_windows) {
    if (n_windows <= t->room) return PITH_OK;
    size_t each = t->n_ctx * t->n_vocab * sizeof(float);
    if (n_windows > SIZE_MAX / 2 / each) return pith_fail(t->ctx, PITH_E_LIMIT, "%zu windows are too many", n_windows);
    pith_free(t->ctx, t->logits);
    t->room = 0;
    t->logits = pith_alloc(t->ctx, n_windows * each);
    if (!t->logits) return pith_alloc_status(t->ctx);
    t->room = n_windows;
    return PITH_OK;
}

pith_status train_teacher_ask(train_teacher *t, const uint32_t *tokens, size_t n_windows, const float **logits) {
    *logits = NULL;
    pith_status status = make_room(t, n_windows);
    for (size_t w = 0; w < n_windows && !status; w++) {
        for (size_t i = 0; i < t->n_ctx; i++)
            t->window[i] = (lm_token){.id = tokens[w * t->n_ctx + i], .want_logits = true};
        status = lm_truncate(t->session, 0, 0);
        if (!status) status = lm_eval(t->session, t->window, t->n_ctx);
        for (size_t i = 0; i < t->n_ctx && !status; i++)
            memcpy(t->logits + (w * t->n_ctx + i) * t->n_vocab, lm_logits(t->session, i), t->n_vocab * sizeof(float));
    }
    if (!status) *logits = t->logits;
    return status;
}
