/* Calibration text from the model itself: many sequences at once, each sampled from the full distribution, so that a
 * pass over the weights gives as many tokens as there are sequences. */
#include "artefacts/model/stats.h"
#include "lm/generate/generate.h"

#define SEQUENCES 32u
#define TOKENS_MOST 512u /* of a sequence */

typedef struct talker {
    pith_ctx *ctx;
    const lm_model *model;
    lm_session *session;
    sampler *samplers[SEQUENCES];
    uint32_t *history;       /* [SEQUENCES][length] */
    uint32_t n, length, end; /* sequences; tokens of each; the token that ends a text, TOKEN_NONE: none */
} talker;

/* One more token in every sequence. */
static pith_status talk(talker *t, uint32_t at) {
    lm_token tokens[SEQUENCES];
    for (uint32_t q = 0; q < t->n; q++)
        tokens[q] = (lm_token){.id = t->history[q * t->length + at - 1], .sequence = q, .want_logits = true};
    pith_status status = lm_eval(t->session, tokens, t->n);
    for (uint32_t q = 0; q < t->n && !status; q++) {
        uint32_t *history = t->history + q * t->length;
        history[at] = sampler_choose(t->samplers[q], lm_logits(t->session, q), history, at);
    }
    return status;
}

/* A sequence as text; end tokens become line ends. */
static pith_status spell(talker *t, uint32_t q, pith_buffer *out) {
    const uint32_t *history = t->history + q * t->length;
    pith_status status = PITH_OK;
    for (uint32_t i = 1, n; i < t->length && !status; i += n + 1) {
        for (n = 0; i + n < t->length && history[i + n] != t->end;) n++;
        if (n) status = tokenizer_decode(t->ctx, lm_tokenizer(t->model), history + i, n, false, out);
        if (!status) status = pith_buffer_append(t->ctx, out, "\n", 1);
    }
    return status;
}

static pith_status round_of_talk(talker *t, uint32_t start, uint64_t done, uint64_t total, pith_buffer *out) {
    pith_status status = PITH_OK;
    for (uint32_t q = 0; q < t->n && !status; q++) {
        t->history[q * t->length] = start;
        status = lm_truncate(t->session, q, 0);
    }
    for (uint32_t at = 1; at < t->length && !status; at++) {
        status = talk(t, at);
        if (!status) status = pith_tick(t->ctx, PITH_MIN(done + (uint64_t)at * t->n, total), total);
    }
    for (uint32_t q = 0; q < t->n && !status; q++) status = spell(t, q, out);
    return status;
}

pith_status model_stats_own_text(pith_ctx *ctx, const lm_model *m, uint64_t n_tokens, uint64_t seed, uint32_t n_threads,
                                 pith_buffer *out) {
    const tokenizer *k = lm_tokenizer(m);
    if (!k) return lm_no_tokenizer(ctx);
    const tokenizer_info *about = tokenizer_about(k);
    uint32_t n_vocab = lm_about(m)->n_vocab, trained = lm_about(m)->n_ctx_train;
    talker t = {.ctx = ctx, .model = m, .n = SEQUENCES, .end = about->eos};
    t.length = PITH_MIN(trained ? trained : TOKENS_MOST, TOKENS_MOST);
    if (n_tokens / SEQUENCES + 2 < t.length) t.length = (uint32_t)(n_tokens / SEQUENCES) + 2;
    uint32_t start = about->bos < n_vocab ? about->bos : about->eos < n_vocab ? about->eos : 0;
    lm_session_options so = {.n_ctx = t.length,
                             .n_sequences = SEQUENCES,
                             .max_batch = SEQUENCES,
                             .max_logits = SEQUENCES,
                             .cache = LM_CACHE_F16,
                             .n_threads = n_threads};
    pith_status status = lm_session_new(ctx, m, &so, &t.session);
    if (!status && !(t.history = pith_alloc(ctx, (size_t)SEQUENCES * t.length * sizeof *t.history)))
        status = pith_alloc_status(ctx);
    uint64_t per_round = (uint64_t)SEQUENCES * t.length;
    for (uint64_t done = 0; done < n_tokens && !status; done += per_round) {
        for (uint32_t q = 0; q < SEQUENCES && !status; q++) {
            sampling how = {.repeat_penalty = 1, .typical = 1, .top_p = 1, .temperature = 1};
            how.seed = seed * 0x9e3779b97f4a7c15u + done + q;
            sampler_free(ctx, t.samplers[q]);
            t.samplers[q] = NULL;
            status = sampler_new(ctx, &how, n_vocab, &t.samplers[q]);
        }
        if (!status) status = round_of_talk(&t, start, done, (n_tokens + per_round - 1) / per_round * per_round, out);
    }
    for (uint32_t q = 0; q < SEQUENCES; q++) sampler_free(ctx, t.samplers[q]);
    pith_free(ctx, t.history);
    lm_session_free(t.session);
    return status;
}
