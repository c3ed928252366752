/* The loss of output matrices on hidden states. */
#include "faces/cli/bench_heads.h"

#include <math.h>

#include "lm/tokenizer/tokenizer.h"
#include "math/dense/dense.h"

enum { WINDOW = 256, ROWS = 64 };

/* Window after window, each begun with the start token where the model has one. */
static pith_status read_windows(pith_ctx *ctx, lm_session *s, const token_list *tokens, uint32_t start, head_text *t) {
    lm_token batch[WINDOW];
    pith_status status = PITH_OK;
    for (size_t at = 0; at < tokens->n && !status;) {
        size_t n = 0;
        if (start != TOKEN_NONE) batch[n++] = (lm_token){start, 0, true};
        while (n < WINDOW && at < tokens->n) batch[n++] = (lm_token){tokens->id[at++], 0, true};
        status = lm_truncate(s, 0, 0);
        if (!status) status = lm_eval(s, batch, n);
        for (size_t i = 0; i + 1 < n && !status; i++, t->n++) {
            memcpy(t->hidden + t->n * t->n_embd, lm_hidden(s, i), t->n_embd * sizeof *t->hidden);
            t->target[t->n] = batch[i + 1].id;
        }
        if (!status) status = pith_tick(ctx, at, tokens->n);
    }
    return status;
}

pith_status head_text_read(pith_ctx *ctx, const lm_model *m, const void *text, size_t size, unsigned n_threads,
                           head_text *t) {
    const lm_shape *shape = lm_about(m);
    token_list tokens = {0};
    lm_session *s = NULL;
    *t = (head_text){.n_embd = shape->n_embd, .n_vocab = shape->n_vocab};
    if (!lm_tokenizer(m)) return lm_no_tokenizer(ctx);
    const tokenizer_info *about = tokenizer_about(lm_tokenizer(m));
    pith_status status = tokenizer_encode(ctx, lm_tokenizer(m), text, size, 0, &tokens);
    if (!status && tokens.n < 2) status = pith_fail(ctx, PITH_E_ARGUMENT, "a text of less than two tokens");
    if (!status) {
        size_t most = tokens.n + tokens.n / (WINDOW - 1) + 1;
        t->hidden = pith_alloc(ctx, most * t->n_embd * sizeof *t->hidden);
        t->target = pith_alloc(ctx, most * sizeof *t->target);
        if (!t->hidden || !t->target) status = pith_alloc_status(ctx);
    }
    lm_session_options so = {.n_ctx = WINDOW, .max_batch = WINDOW, .n_threads = n_threads};
    if (!status) status = lm_session_new(ctx, m, &so, &s);
    if (!status) status = read_windows(ctx, s, &tokens, about->add_bos ? about->bos : TOKEN_NONE, t);
    lm_session_free(s);
    token_list_free(ctx, &tokens);
    if (status) head_text_free(ctx, t);
    return status;
}

void head_text_free(pith_ctx *ctx, head_text *t) {
    pith_free(ctx, t->hidden);
    pith_free(ctx, t->target);
    *t = (head_text){0};
}

double head_text_loss(pith_ctx *ctx, const head_text *t, const float *head) {
    float *logits = pith_alloc(ctx, (size_t)ROWS * t->n_vocab * sizeof *logits);
    double nats = 0;
    if (!logits) return NAN;
    for (size_t at = 0; at < t->n; at += ROWS) {
        size_t n = PITH_MIN((size_t)ROWS, t->n - at);
        dense_gemm(false, true, n, t->n_vocab, t->n_embd, 1, t->hidden + at * t->n_embd, t->n_embd, head, t->n_embd, 0,
                   logits, t->n_vocab);
        for (size_t i = 0; i < n; i++) {
            const float *row = logits + i * t->n_vocab;
            float most = row[0];
            double sum = 0;
            for (size_t v = 1; v < t->n_vocab; v++) most = PITH_MAX(most, row[v]);
            for (size_t v = 0; v < t->n_vocab; v++) sum += (double)expf(row[v] - most);
            nats += log(sum) - (double)(row[t->target[at + i]] - most);
        }
    }
    pith_free(ctx, logits);
    return nats / (double)t->n;
}

float *head_of_file(pith_ctx *ctx, const tensor_file *f, size_t n) {
    const tensor_view *v = tensor_find(f, "output.weight");
    if (!v) v = tensor_find(f, "token_embd.weight");
    if (!v || v->n_elements != n) {
        pith_fail(ctx, PITH_E_ARGUMENT, "the model has no output matrix of %zu elements", n);
        return NULL;
    }
    float *head = pith_alloc(ctx, n * sizeof *head);
    if (head) blocks_decode(v->type, v->data, head, n);
    return head;
}
