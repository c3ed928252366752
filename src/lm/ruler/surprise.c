/* What each token of a text costs under a model, and what the model would rather have seen. */
#include "lm/ruler/parts.h"
#include "math/math.h"

#define BATCH 256
#define ROW_BYTES ((size_t)32 << 20)

typedef struct walk {
    pith_ctx *ctx;
    lm_session *session;
    const uint32_t *ids;
    ruler_surprise *at;
    uint32_t n_vocab, batch;
    size_t first; /* the token that row 0 predicts */
} walk;

static pith_status fill_row(void *arg, size_t i) {
    const walk *w = arg;
    const float *x = lm_logits(w->session, i);
    ruler_surprise *s = &w->at[w->first + i];
    ruler_side side = ruler_side_of(x, w->n_vocab);
    float own = x[s->token];
    uint32_t n_top = 0;
    s->bits = lm_bits(x, w->n_vocab, s->token);
    s->rank = 0;
    for (uint32_t v = 0; v < w->n_vocab; v++) {
        s->rank += x[v] > own || (x[v] == own && v < s->token);
        if (n_top == RULER_TOP && !(x[v] > x[s->top[RULER_TOP - 1]])) continue;
        uint32_t k = n_top < RULER_TOP ? n_top++ : RULER_TOP - 1;
        for (; k && x[v] > x[s->top[k - 1]]; k--) s->top[k] = s->top[k - 1];
        s->top[k] = v;
    }
    for (uint32_t k = 0; k < RULER_TOP; k++) {
        if (k >= n_top) s->top[k] = TOKEN_NONE;
        s->top_p[k] = k < n_top ? (float)real_exp((double)x[s->top[k]] - side.shift) : 0;
    }
    return PITH_OK;
}

/* A window that begins `keep` tokens before token i and predicts tokens [i, end). */
static pith_status walk_window(walk *w, uint32_t start, size_t i, size_t keep, size_t end) {
    lm_token tokens[BATCH];
    size_t from = i - keep; /* token fed at step k: from + k - 1; it predicts from + k */
    pith_status status = lm_truncate(w->session, 0, 0);
    for (size_t k = 0; k < end - from && !status;) {
        size_t n = 0, wanted = 0;
        for (; n < w->batch && k < end - from; n++, k++) {
            bool want = from + k >= i;
            if (want && !wanted++) w->first = from + k;
            tokens[n] = (lm_token){.id = k ? w->ids[from + k - 1] : start, .want_logits = want};
        }
        status = lm_eval(w->session, tokens, n);
        if (!status && wanted) status = pith_parallel(w->ctx, wanted, fill_row, w);
    }
    return status;
}

/* Which bytes each token stands for. Tokenizers that do not give the text back leave n at 0. */
static void place_tokens(const tokenizer *t, const uint8_t *text, size_t size, ruler_surprises *s) {
    size_t at = 0;
    for (size_t i = 0; i < s->n; i++) {
        size_t n = 0;
        const uint8_t *piece = tokenizer_piece(t, s->at[i].token, true, &n);
        if (i == 0 && n && piece[0] == ' ' && (!size || text[0] != ' ')) piece++, n--;
        s->at[i].offset = at;
        if (n > size - at || (n && memcmp(piece, text + at, n) != 0)) continue;
        s->at[i].n = n;
        at += n;
    }
}

static pith_status walk_all(walk *w, const lm_model *m, size_t n, uint32_t window) {
    const tokenizer_info *info = tokenizer_about(lm_tokenizer(m));
    uint32_t start = info->bos != TOKEN_NONE ? info->bos : info->eos != TOKEN_NONE ? info->eos : 0;
    pith_status status = PITH_OK;
    for (size_t i = 0; i < n && !status;) {
        size_t keep = PITH_MIN(i, window / 2 - 1), end = PITH_MIN(n, i - keep + window);
        status = walk_window(w, start, i, keep, end);
        i = end;
        if (!status) status = pith_tick(w->ctx, i, n);
    }
    return status;
}

pith_status ruler_surprise_of(pith_ctx *ctx, const lm_model *m, const void *text, size_t size, uint32_t n_ctx,
                              uint32_t n_threads, ruler_surprises *out) {
    *out = (ruler_surprises){0};
    const lm_shape *shape = lm_about(m);
    const tokenizer *t = lm_tokenizer(m);
    if (!t) return lm_no_tokenizer(ctx);
    uint32_t window = n_ctx ? n_ctx : shape->n_ctx_train;
    if (window < 8) window = 8;
    token_list ids = {0};
    size_t fit = ROW_BYTES / sizeof(float) / PITH_MAX(shape->n_vocab, 1u);
    walk w = {.ctx = ctx, .n_vocab = shape->n_vocab};
    w.batch = (uint32_t)PITH_MIN(PITH_MAX(fit, 8), PITH_MIN(window, (uint32_t)BATCH));
    lm_session_options options = {.n_ctx = window,
                                  .n_sequences = 1,
                                  .max_batch = w.batch,
                                  .max_logits = w.batch,
                                  .cache = lm_cache_of(m),
                                  .n_threads = n_threads};
    pith_status status = tokenizer_encode(ctx, t, text, size, 0, &ids);
    if (!status && ids.n && !(out->at = pith_zalloc(ctx, ids.n * sizeof *out->at))) status = pith_alloc_status(ctx);
    if (!status && ids.n) {
        out->n = ids.n;
        for (size_t i = 0; i < ids.n; i++) out->at[i].token = ids.id[i];
        place_tokens(t, text, size, out);
        status = lm_session_new(ctx, m, &options, &w.session);
        w.ids = ids.id;
        w.at = out->at;
        if (!status) status = walk_all(&w, m, ids.n, window);
        for (size_t i = 0; i < out->n; i++) out->bits += out->at[i].bits;
    }
    lm_session_free(w.session);
    token_list_free(ctx, &ids);
    if (status) ruler_surprises_free(ctx, out);
    return status;
}

void ruler_surprises_free(pith_ctx *ctx, ruler_surprises *s) {
    pith_free(ctx, s->at);
    *s = (ruler_surprises){0};
}
