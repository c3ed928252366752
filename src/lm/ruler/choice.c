/* Choosing among continuations by their log-probability, and what changed between two models.
 * A context is read once; every choice goes on from a copy of its sequence. */
#include <math.h>

#include "lm/ruler/parts.h"

#define BATCH 256

typedef struct chooser {
    pith_ctx *ctx;
    const lm_model *model;
    lm_session *session;
    token_list ids;  /* of the context */
    token_list next; /* of a choice */
    uint32_t n_vocab, batch, n_ctx;
    bool per_byte;
    double *first; /* [n_vocab] ln p after the context */
} chooser;

/* ids[n] into sequence `to`; logits of the last, or of all but the last. */
static pith_status feed(chooser *c, uint32_t to, const uint32_t *ids, size_t n, bool last, double *sum) {
    lm_token tokens[BATCH];
    for (size_t at = 0; at < n;) {
        size_t k = 0;
        for (; k < c->batch && at + k < n; k++)
            tokens[k] = (lm_token){ids[at + k], to, last ? at + k + 1 == n : at + k + 1 < n};
        pith_status status = lm_eval(c->session, tokens, k);
        if (status) return status;
        for (size_t i = 0; sum && i < k && at + i + 1 < n; i++)
            *sum -= lm_bits(lm_logits(c->session, i), c->n_vocab, ids[at + i + 1]) * 0.69314718055994530942;
        at += k;
    }
    return PITH_OK;
}

static pith_status score_choice(chooser *c, const char *choice, double *score) {
    const tokenizer *t = lm_tokenizer(c->model);
    size_t bytes = strlen(choice);
    c->next.n = 0;
    pith_status status = tokenizer_encode(c->ctx, t, choice, bytes, TOKENIZE_CONTINUE, &c->next);
    if (status) return status;
    if (!c->next.n) return pith_fail(c->ctx, PITH_E_FORMAT, "a choice has no tokens");
    if (c->ids.n + c->next.n > c->n_ctx)
        return pith_fail(c->ctx, PITH_E_LIMIT, "an item takes %zu tokens, the context is %u", c->ids.n + c->next.n,
                         c->n_ctx);
    *score = c->first[c->next.id[0]];
    if (c->next.n > 1) {
        status = lm_copy(c->session, 0, 1);
        /* its last token predicts nothing that is asked for */
        if (!status) status = feed(c, 1, c->next.id, c->next.n, false, score);
    }
    if (c->per_byte) *score /= (double)bytes;
    return status;
}

static pith_status score_item(chooser *c, const ruler_item *item, uint32_t *chosen, double *scores) {
    const tokenizer *t = lm_tokenizer(c->model);
    const tokenizer_info *info = tokenizer_about(t);
    uint32_t start = info->bos != TOKEN_NONE ? info->bos : info->eos != TOKEN_NONE ? info->eos : 0;
    c->ids.n = 0;
    pith_status status = token_list_append(c->ctx, &c->ids, &start, 1);
    if (!status) status = tokenizer_encode(c->ctx, t, item->context, strlen(item->context), 0, &c->ids);
    if (!status && c->ids.n >= c->n_ctx)
        status = pith_fail(c->ctx, PITH_E_LIMIT, "an item's context takes %zu tokens, the context is %u", c->ids.n,
                           c->n_ctx);
    if (!status) status = lm_truncate(c->session, 0, 0);
    if (!status) status = feed(c, 0, c->ids.id, c->ids.n, true, NULL);
    if (status) return status;
    const float *logits = lm_logits(c->session, 0);
    ruler_side side = ruler_side_of(logits, c->n_vocab);
    for (uint32_t i = 0; i < c->n_vocab; i++) c->first[i] = (double)logits[i] - side.shift;
    double best = -INFINITY;
    for (uint32_t k = 0; k < item->n_choices && !status; k++) {
        double score = 0;
        status = score_choice(c, item->choices[k], &score);
        if (scores) scores[k] = score;
        if (k == 0 || score > best) {
            best = score;
            *chosen = k;
        }
    }
    return status;
}

pith_status ruler_choose(pith_ctx *ctx, const lm_model *m, const ruler_items *items,
                         const ruler_choice_options *options, uint32_t *chosen, double *scores) {
    const lm_shape *shape = lm_about(m);
    if (!lm_tokenizer(m)) return lm_no_tokenizer(ctx);
    chooser c = {.ctx = ctx, .model = m, .n_vocab = shape->n_vocab, .n_ctx = shape->n_ctx_train};
    c.batch = PITH_MIN((uint32_t)BATCH, c.n_ctx);
    c.per_byte = options && options->per_byte;
    lm_session_options so = {.n_ctx = c.n_ctx,
                             .n_sequences = 2,
                             .max_batch = c.batch,
                             .max_logits = c.batch,
                             .cache = lm_cache_of(m),
                             .n_threads = options ? options->n_threads : 0};
    pith_status status = lm_session_new(ctx, m, &so, &c.session);
    if (!status && !(c.first = pith_alloc(ctx, c.n_vocab * sizeof *c.first))) status = pith_alloc_status(ctx);
    for (size_t i = 0; i < items->n && !status; i++) {
        status = score_item(&c, &items->at[i], &chosen[i], scores ? scores + i * RULER_MAX_CHOICES : NULL);
        if (!status) status = pith_tick(ctx, i + 1, items->n);
    }
    lm_session_free(c.session);
    token_list_free(ctx, &c.ids);
    token_list_free(ctx, &c.next);
    pith_free(ctx, c.first);
    return status;
}

void ruler_flips_of(const ruler_items *items, const uint32_t *chosen_base, const uint32_t *chosen, ruler_flips *out) {
    *out = (ruler_flips){.n = items->n};
    for (size_t i = 0; i < items->n; i++) {
        uint32_t answer = items->at[i].answer;
        bool before = chosen_base[i] == answer, now = chosen[i] == answer;
        out->right_base += before;
        out->right += now;
        out->right_to_wrong += before && !now;
        out->wrong_to_right += !before && now;
        out->wrong_to_wrong += !before && !now && chosen_base[i] != chosen[i];
    }
    if (!items->n) return;
    double n = (double)items->n;
    out->accuracy_base = (double)out->right_base / n;
    out->accuracy = (double)out->right / n;
    out->flips = (double)(out->right_to_wrong + out->wrong_to_right) / n;
    out->all_flips = out->flips + (double)out->wrong_to_wrong / n;
}
