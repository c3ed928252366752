/* Drafts by suffix trees (Oliaro et al., "SuffixDecoding", 2024): one over the text at work, one
 * over finished ones; and by a smaller model (Leviathan et al., 2023). The smaller model chooses
 * with the random numbers of the place, as the target will: where the two agree about the
 * probabilities they agree about the token. */
#include "kernels/predict/predict.h"
#include "lm/generate/parts.h"
#include "math/math.h"

enum { DEPTH = 64 };

struct drafter {
    pith_ctx *ctx;
    draft_kind kind;
    float min_p;
    suffix_rule rule;
    suffix_tree *text, *past;
    const lm_model *model;
    lm_session *session;
    uint32_t n_ctx, max_batch, n_vocab;
    lm_token *batch; /* [max_batch] */
    token_list held; /* what the session holds, and drafts it need not hold yet */
};

pith_status same_vocabulary(pith_ctx *ctx, const lm_model *a, const lm_model *b) {
    uint32_t n = lm_about(a)->n_vocab;
    if (lm_about(b)->n_vocab != n)
        return pith_fail(ctx, PITH_E_ARGUMENT, "the draft model has %u tokens, the model %u", lm_about(b)->n_vocab, n);
    const tokenizer *t = lm_tokenizer(a), *u = lm_tokenizer(b);
    if (!t || !u) return PITH_OK; /* nothing more is known of them */
    for (uint32_t i = 0; i < n; i++) {
        size_t size, other_size;
        float score;
        int kind;
        const char *entry = tokenizer_entry(t, i, &size, &score, &kind);
        const char *other = tokenizer_entry(u, i, &other_size, &score, &kind);
        if (size != other_size || memcmp(entry, other, size) != 0)
            return pith_fail(ctx, PITH_E_ARGUMENT, "token %u of the draft model is another one than the model's", i);
    }
    return PITH_OK;
}

static pith_status open_model(drafter *d, const generate_options *o, const lm_model *m) {
    if (!o->draft_model) return pith_fail(d->ctx, PITH_E_ARGUMENT, "drafts by a model need a draft model");
    d->model = o->draft_model;
    pith_status status = same_vocabulary(d->ctx, m, d->model);
    if (status) return status;
    const lm_shape *shape = lm_about(d->model);
    d->n_ctx = PITH_MIN(o->n_ctx, shape->n_ctx_train);
    d->n_vocab = shape->n_vocab;
    d->max_batch = o->max_batch;
    d->batch = pith_alloc(d->ctx, d->max_batch * sizeof *d->batch);
    if (!d->batch) return pith_alloc_status(d->ctx);
    const lm_session_options session = {.n_ctx = d->n_ctx,
                                        .n_sequences = shape->recurrent ? 2 : 1,
                                        .max_batch = d->max_batch,
                                        .max_logits = 1,
                                        .cache = o->cache,
                                        .n_threads = o->n_threads};
    return lm_session_new(d->ctx, d->model, &session, &d->session);
}

pith_status drafter_new(pith_ctx *ctx, const generate_options *o, const lm_model *m, drafter **out) {
    *out = NULL;
    if (o->draft == DRAFT_NONE) return PITH_OK;
    drafter *d = pith_zalloc(ctx, sizeof *d);
    if (!d) return pith_alloc_status(ctx);
    d->ctx = ctx;
    d->kind = o->draft;
    d->min_p = o->draft_min_p;
    d->rule = (suffix_rule){o->max_draft, o->draft_factor, o->draft_offset, o->draft_min_p};
    pith_status status;
    if (d->kind == DRAFT_MODEL) {
        status = open_model(d, o, m);
    } else {
        status = suffix_tree_new(ctx, DEPTH, PITH_MAX(o->n_ctx, 2 * DEPTH), &d->text);
        if (!status) status = suffix_tree_new(ctx, DEPTH, o->past_tokens, &d->past);
    }
    if (status) {
        drafter_free(d);
        return status;
    }
    *out = d;
    return PITH_OK;
}

void drafter_free(drafter *d) {
    if (!d) return;
    suffix_tree_free(d->ctx, d->text);
    suffix_tree_free(d->ctx, d->past);
    lm_session_free(d->session);
    pith_free(d->ctx, d->batch);
    token_list_free(d->ctx, &d->held);
    pith_free(d->ctx, d);
}

void drafter_start(drafter *d, const uint32_t *prompt, size_t n) {
    if (!d || !d->text) return;
    suffix_tree_clear(d->text);
    for (size_t i = 0; i < n; i++) suffix_tree_append(d->text, prompt[i]);
}

void drafter_add(drafter *d, uint32_t id) {
    if (d && d->text) suffix_tree_append(d->text, id);
}

void drafter_remember(drafter *d, const uint32_t *ids, size_t n) {
    if (!d || !d->past) return;
    for (size_t i = 0; i < n; i++) suffix_tree_append(d->past, ids[i]);
    suffix_tree_end(d->past);
}

void drafter_finish(drafter *d, const uint32_t *text, size_t n, size_t n_prompt) {
    /* The end of the prompt goes with the answer, so that the same question finds its first token. */
    size_t from = n_prompt > DEPTH ? n_prompt - DEPTH : 0;
    if (n > n_prompt) drafter_remember(d, text + from, n - from);
}

void drafter_forget(drafter *d) {
    if (d && d->past) suffix_tree_clear(d->past);
}

static size_t propose_by_suffix(drafter *d, const uint32_t *text, size_t n, size_t most, uint32_t *draft) {
    suffix_rule rule = d->rule;
    suffix_draft own, past;
    rule.max_tokens = (unsigned)PITH_MIN(most, rule.max_tokens);
    suffix_tree_draft(d->text, NULL, 0, &rule, &own);
    size_t context = PITH_MIN(n, DEPTH);
    suffix_tree_draft(d->past, text + n - context, context, &rule, &past);
    const suffix_draft *best = past.score > own.score ? &past : &own;
    memcpy(draft, best->token, best->n * sizeof *draft);
    return best->n;
}

/* Evaluates ids[n] in `sequence`; logits of the last. */
static pith_status evaluate(drafter *d, uint32_t sequence, const uint32_t *ids, size_t n) {
    pith_status status = PITH_OK;
    for (size_t at = 0; at < n && !status;) {
        size_t k = PITH_MIN(n - at, d->max_batch);
        for (size_t i = 0; i < k; i++) d->batch[i] = (lm_token){ids[at + i], sequence, at + i + 1 == n};
        status = lm_eval(d->session, d->batch, k);
        at += k;
    }
    return status;
}

/* Brings the session to text[n]; the logits that follow it are there afterwards. */
static pith_status catch_up(drafter *d, const uint32_t *text, size_t n) {
    size_t same = 0, length = lm_length(d->session, 0);
    while (same < length && same + 1 < n && d->held.id[same] == text[same]) same++;
    if (same < length && lm_about(d->model)->recurrent) same = 0;
    pith_status status = lm_truncate(d->session, 0, (uint32_t)same);
    if (status) return status;
    d->held.n = same;
    status = token_list_append(d->ctx, &d->held, text + same, n - same);
    return status ? status : evaluate(d, 0, text + same, n - same);
}

static pith_status propose_by_model(drafter *d, sampler *s, const uint32_t *text, size_t n, size_t most,
                                    uint32_t *draft, size_t *n_draft) {
    if (n >= d->n_ctx) return PITH_OK;
    most = PITH_MIN(most, d->n_ctx - n);
    pith_status status = catch_up(d, text, n);
    uint32_t sequence = lm_about(d->model)->recurrent ? 1 : 0;
    if (!status && sequence) status = lm_copy(d->session, 0, sequence);
    while (!status) {
        const float *logits = lm_logits(d->session, 0);
        uint32_t id = sampler_choose(s, logits, d->held.id, d->held.n);
        if (real_exp(-0.69314718055994530942 * lm_bits(logits, d->n_vocab, id)) < (double)d->min_p) break;
        status = token_list_append(d->ctx, &d->held, &id, 1);
        if (status) break;
        draft[(*n_draft)++] = id;
        if (*n_draft == most) break;
        status = evaluate(d, sequence, &id, 1);
    }
    return status;
}

pith_status drafter_propose(drafter *d, sampler *s, const uint32_t *text, size_t n, size_t most, uint32_t *draft,
                            size_t *n_draft) {
    *n_draft = 0;
    if (!d || most == 0) return PITH_OK;
    if (d->kind == DRAFT_MODEL) return propose_by_model(d, s, text, n, most, draft, n_draft);
    *n_draft = propose_by_suffix(d, text, n, most, draft);
    return PITH_OK;
}
