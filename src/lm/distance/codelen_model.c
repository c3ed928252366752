/* Code lengths by a language model: -log2 p of the tokens. The prior's tokens stay in the cache and each
 * text is evaluated behind them. A tokenizer that cannot spell every text goes through the coder
 * of coding/, which has escapes but reads the prior anew for each text. */
#include "lm/coding/coding.h"
#include "lm/distance/parts.h"

#define BATCH 64
#define LOGITS_BYTES ((size_t)32 << 20) /* of one batch, at most */
enum { PRIMED, WORK };                  /* sequences; without recurrence PRIMED is both */

typedef struct reader {
    codelen base;
    lm_session *session;
    lm_coder *coder;        /* instead of a session */
    bool recurrent, spoilt; /* spoilt: the primed sequence was overwritten */
    uint32_t window, start;
    size_t n_vocab, batch;
    token_list known; /* the prior's tokens, then the text's */
    size_t prior_tokens;
    float *after; /* logits behind the prior, [n_vocab] */
    const uint8_t *prior;
    size_t prior_n;
} reader;

/* Appends the start token when asked and ids[n] to a sequence; logits of the last stay in the session. */
static pith_status feed(reader *c, uint32_t sequence, bool with_start, const uint32_t *ids, size_t n) {
    lm_token batch[BATCH];
    size_t m = 0, at = 0;
    if (with_start) batch[m++] = (lm_token){.id = c->start, .sequence = sequence};
    do {
        while (m < c->batch && at < n) batch[m++] = (lm_token){.id = ids[at++], .sequence = sequence};
        if (at == n) batch[m - 1].want_logits = true;
        pith_status status = lm_eval(c->session, batch, m);
        if (status) return status;
        m = 0;
    } while (at < n);
    return PITH_OK;
}

static pith_status read_prior(reader *c) {
    size_t keep = c->prior_tokens;
    if (!c->recurrent) keep = PITH_MIN(keep, (size_t)c->window / 2 - 1);
    pith_status status = lm_truncate(c->session, PRIMED, 0);
    if (!status) status = feed(c, PRIMED, true, c->known.id + (c->prior_tokens - keep), keep);
    if (status) return status;
    memcpy(c->after, lm_logits(c->session, 0), c->n_vocab * sizeof *c->after);
    c->spoilt = false;
    return PITH_OK;
}

static pith_status op_prime(codelen *base, const uint8_t *prior, size_t n) {
    reader *c = (reader *)(void *)base;
    c->prior = prior;
    c->prior_n = n;
    if (c->coder) return PITH_OK;
    c->known.n = 0;
    pith_status status =
        tokenizer_encode(base->ctx, lm_tokenizer(base->options.model), prior, n, TOKENIZE_CONTINUE, &c->known);
    c->prior_tokens = c->known.n;
    return status ? status : read_prior(c);
}

/* Bits of known[from..], the state being behind known[from - 1]. */
static pith_status walk(reader *c, uint32_t sequence, size_t from, double *bits) {
    size_t end = c->known.n, i = from;
    double sum = lm_bits(c->after, c->n_vocab, c->known.id[i]);
    while (i + 1 < end) {
        uint32_t held = lm_length(c->session, sequence);
        if (pith_cancelled(c->base.ctx)) return PITH_E_CANCELLED;
        if (!c->recurrent && held >= c->window) {
            /* the window starts again from its newer half */
            size_t keep = PITH_MIN(i + 1, (size_t)c->window / 2 - 1);
            pith_status status = lm_truncate(c->session, sequence, 0);
            c->spoilt = true;
            if (!status) status = feed(c, sequence, true, c->known.id + (i + 1 - keep), keep);
            if (status) return status;
            sum += lm_bits(lm_logits(c->session, 0), c->n_vocab, c->known.id[++i]);
            continue;
        }
        lm_token batch[BATCH];
        size_t m = PITH_MIN(c->batch, end - 1 - i);
        if (!c->recurrent) m = PITH_MIN(m, (size_t)(c->window - held));
        for (size_t k = 0; k < m; k++)
            batch[k] = (lm_token){.id = c->known.id[i + k], .sequence = sequence, .want_logits = true};
        pith_status status = lm_eval(c->session, batch, m);
        if (status) return status;
        for (size_t k = 0; k < m; k++) sum += lm_bits(lm_logits(c->session, k), c->n_vocab, c->known.id[i + 1 + k]);
        i += m;
    }
    *bits = sum;
    return PITH_OK;
}

static pith_status op_bits(codelen *base, const uint8_t *text, size_t n, double *bits) {
    reader *c = (reader *)(void *)base;
    if (c->coder) {
        lm_code_length length;
        pith_status status = lm_coder_length(c->coder, c->prior, c->prior_n, text, n, NULL, NULL, &length);
        *bits = length.bits;
        return status;
    }
    c->known.n = c->prior_tokens;
    pith_status status = c->spoilt ? read_prior(c) : PITH_OK;
    if (!status)
        status = tokenizer_encode(base->ctx, lm_tokenizer(base->options.model), text, n, TOKENIZE_CONTINUE, &c->known);
    if (status || c->known.n == c->prior_tokens) return status;
    if (c->recurrent) {
        status = lm_copy(c->session, PRIMED, WORK);
        return status ? status : walk(c, WORK, c->prior_tokens, bits);
    }
    uint32_t length = lm_length(c->session, PRIMED);
    status = walk(c, PRIMED, c->prior_tokens, bits);
    if (!status && !c->spoilt) status = lm_truncate(c->session, PRIMED, length);
    return status;
}

static void op_free(codelen *base) {
    reader *c = (reader *)(void *)base;
    lm_session_free(c->session);
    lm_coder_free(c->coder);
    token_list_free(base->ctx, &c->known);
    pith_free(base->ctx, c->after);
    pith_free(base->ctx, c);
}

static const codelen_ops model_ops = {op_prime, op_bits, op_free};

static pith_status open_session(reader *c) {
    const lm_model *m = c->base.options.model;
    const lm_shape *shape = lm_about(m);
    const tokenizer_info *info = tokenizer_about(lm_tokenizer(m));
    pith_ctx *ctx = c->base.ctx;
    c->recurrent = shape->recurrent;
    c->n_vocab = shape->n_vocab;
    c->start = info->bos != TOKEN_NONE ? info->bos : info->eos != TOKEN_NONE ? info->eos : 0;
    c->window = c->base.options.window;
    if (!c->window || c->recurrent || c->window > shape->n_ctx_train) c->window = shape->n_ctx_train;
    c->window = PITH_MAX(c->window, 8u);
    c->batch = PITH_MAX(PITH_MIN(LOGITS_BYTES / (c->n_vocab * sizeof(float)), (size_t)BATCH), (size_t)1);
    if (info->n_vocab > shape->n_vocab)
        return pith_fail(ctx, PITH_E_FORMAT, "the tokenizer has %u tokens, the model predicts %u", info->n_vocab,
                         shape->n_vocab);
    c->after = pith_alloc(ctx, c->n_vocab * sizeof *c->after);
    if (!c->after) return pith_alloc_status(ctx);
    lm_session_options so = {.n_ctx = c->window,
                             .n_sequences = c->recurrent ? 2 : 1,
                             .max_batch = (uint32_t)c->batch,
                             .max_logits = (uint32_t)c->batch,
                             .cache = LM_CACHE_F16,
                             .n_threads = 1};
    pith_status status = lm_session_new(ctx, m, &so, &c->session);
    return status ? status : read_prior(c);
}

pith_status codelen_model_new(pith_ctx *ctx, const codelen_options *o, codelen **out) {
    const tokenizer *t = o->model ? lm_tokenizer(o->model) : NULL;
    if (!t) return pith_fail(ctx, PITH_E_ARGUMENT, "code lengths by a language model need one with a tokenizer");
    reader *c = pith_zalloc(ctx, sizeof *c);
    if (!c) return pith_alloc_status(ctx);
    c->base = (codelen){&model_ops, ctx, *o};
    pith_status status;
    if (tokenizer_about(t)->byte_exact) {
        status = open_session(c);
    } else {
        lm_coder_options co = {.window = o->window, .n_threads = 1};
        status = lm_coder_new(ctx, o->model, &co, &c->coder);
    }
    if (status) {
        op_free(&c->base);
        return status;
    }
    *out = &c->base;
    return PITH_OK;
}
