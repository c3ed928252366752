/* What each expert of a mixture reads over a text, and how often and with which weight the router sends tokens to it.
 */
#include <math.h>
#include <stdio.h>

#include "artefacts/model/experts.h"
#include "math/dense/dense.h"

typedef struct seen_sums {
    double *in, *mid; /* packed sums of x x^T */
    uint64_t n_mid;
} seen_sums;

struct experts_stats {
    uint32_t n_layers, n_experts, n_used;
    size_t n_embd, n_ff;
    uint64_t n_tokens;
    experts_seen *seen; /* [n_layers][n_experts] */
    float *ratios;      /* [n_layers][n_tokens] second weight over first, ascending */
};

typedef struct watcher {
    pith_ctx *ctx;
    experts_stats *s;
    seen_sums *sums;
    uint64_t *n_ratios; /* [n_layers] */
    pith_status status;
} watcher;

static void on_expert(void *opaque, const char *tensor, uint32_t expert, size_t n, size_t n_cols, const float *x) {
    watcher *w = opaque;
    unsigned layer;
    int read = 0;
    if (w->status || sscanf(tensor, "blk.%9u.%n", &layer, &read) != 1 || !read || layer >= w->s->n_layers ||
        expert >= w->s->n_experts)
        return;
    seen_sums *sums = &w->sums[layer * w->s->n_experts + expert];
    if (strcmp(tensor + read, "ffn_gate_exps.weight") == 0) {
        w->status = dense_gram_add(w->ctx, sums->in, x, n, n_cols);
    } else if (strcmp(tensor + read, "ffn_down_exps.weight") == 0) {
        w->status = dense_gram_add(w->ctx, sums->mid, x, n, n_cols);
        sums->n_mid += n;
    }
}

static void on_route(void *opaque, uint32_t layer, uint32_t sequence, uint32_t first, size_t n, size_t n_used,
                     const uint32_t *experts, float *weights) {
    watcher *w = opaque;
    experts_stats *s = w->s;
    (void)sequence, (void)first;
    for (size_t i = 0; i < n * n_used; i++) {
        experts_seen *seen = &s->seen[layer * s->n_experts + experts[i]];
        seen->tokens++;
        seen->weight += (double)weights[i];
        if (i % n_used == 1)
            s->ratios[layer * s->n_tokens + w->n_ratios[layer]++] =
                weights[i - 1] > 0 ? weights[i] / weights[i - 1] : 0;
    }
}

static pith_status read_tokens(watcher *w, const lm_model *m, const uint32_t *tokens, size_t n, uint32_t n_ctx) {
    lm_session *session = NULL;
    lm_session_options options = {.n_ctx = n_ctx, .max_batch = n_ctx, .max_logits = 1};
    lm_token *batch = pith_alloc(w->ctx, n_ctx * sizeof *batch);
    pith_status status = batch ? lm_session_new(w->ctx, m, &options, &session) : pith_alloc_status(w->ctx);
    lm_probe probe = {.opaque = w, .expert_input = on_expert, .route = on_route};
    if (!status) lm_set_probe(session, &probe);
    for (size_t at = 0; at < n && !status; at += n_ctx) {
        size_t some = PITH_MIN((size_t)n_ctx, n - at);
        for (size_t i = 0; i < some; i++) batch[i] = (lm_token){.id = tokens[at + i]};
        status = lm_truncate(session, 0, 0);
        if (!status) status = lm_eval(session, batch, some);
        if (!status) status = w->status;
        if (!status) status = pith_tick(w->ctx, at + some, n);
    }
    lm_session_free(session);
    pith_free(w->ctx, batch);
    return status;
}

/* Means from sums. */
static pith_status settle(pith_ctx *ctx, const double *sums, uint64_t n_tokens, size_t n, repr_stats *out) {
    if (!n_tokens) return PITH_OK;
    size_t packed = DENSE_PACKED(n);
    float *gram = pith_alloc(ctx, packed * sizeof *gram), *h = pith_alloc(ctx, n * sizeof *h);
    *out = (repr_stats){.h = h, .gram = gram, .n_tokens = (double)n_tokens};
    if (!gram || !h) return pith_alloc_status(ctx);
    for (size_t i = 0; i < packed; i++) gram[i] = (float)(sums[i] / (double)n_tokens);
    for (size_t j = 0; j < n; j++) h[j] = gram[DENSE_PACKED(j) + j];
    return PITH_OK;
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static pith_status gather(watcher *w, const lm_model *m, const uint32_t *tokens, size_t n, uint32_t n_ctx) {
    experts_stats *s = w->s;
    pith_ctx *ctx = w->ctx;
    size_t all = (size_t)s->n_layers * s->n_experts;
    pith_status status = PITH_OK;
    s->seen = pith_zalloc(ctx, all * sizeof *s->seen);
    s->ratios = pith_zalloc(ctx, s->n_layers * n * sizeof *s->ratios);
    w->sums = pith_zalloc(ctx, all * sizeof *w->sums);
    w->n_ratios = pith_zalloc(ctx, s->n_layers * sizeof *w->n_ratios);
    if (!s->seen || !s->ratios || !w->sums || !w->n_ratios) return pith_alloc_status(ctx);
    for (size_t i = 0; i < all && !status; i++) {
        w->sums[i].in = pith_zalloc(ctx, DENSE_PACKED(s->n_embd) * sizeof(double));
        w->sums[i].mid = pith_zalloc(ctx, DENSE_PACKED(s->n_ff) * sizeof(double));
        if (!w->sums[i].in || !w->sums[i].mid) status = pith_alloc_status(ctx);
    }
    if (!status) status = read_tokens(w, m, tokens, n, n_ctx);
    for (size_t i = 0; i < all && !status; i++) {
        status = settle(ctx, w->sums[i].in, w->sums[i].n_mid, s->n_embd, &s->seen[i].in);
        if (!status) status = settle(ctx, w->sums[i].mid, w->sums[i].n_mid, s->n_ff, &s->seen[i].mid);
    }
    for (uint32_t l = 0; l < s->n_layers && !status; l++)
        qsort(s->ratios + l * n, (size_t)w->n_ratios[l], sizeof *s->ratios, ascending);
    return status;
}

pith_status experts_stats_new(pith_ctx *ctx, const lm_model *m, const uint32_t *tokens, size_t n, uint32_t n_ctx,
                              experts_stats **out) {
    *out = NULL;
    const lm_shape *shape = lm_about(m);
    if (!shape->n_experts) return pith_fail(ctx, PITH_E_UNSUPPORTED, "the model is no mixture of experts");
    if (!n) return pith_fail(ctx, PITH_E_ARGUMENT, "a text without tokens");
    experts_stats *s = pith_zalloc(ctx, sizeof *s);
    if (!s) return pith_alloc_status(ctx);
    *s = (experts_stats){.n_layers = shape->n_layers,
                         .n_experts = shape->n_experts,
                         .n_used = shape->n_used,
                         .n_embd = shape->n_embd,
                         .n_ff = shape->n_ff,
                         .n_tokens = n};
    watcher w = {.ctx = ctx, .s = s};
    pith_status status = gather(&w, m, tokens, n, PITH_MIN(n_ctx ? n_ctx : 512, shape->n_ctx_train));
    for (size_t i = 0; w.sums && i < (size_t)s->n_layers * s->n_experts; i++) {
        pith_free(ctx, w.sums[i].in);
        pith_free(ctx, w.sums[i].mid);
    }
    pith_free(ctx, w.sums);
    pith_free(ctx, w.n_ratios);
    if (status)
        experts_stats_free(ctx, s);
    else
        *out = s;
    return status;
}

void experts_stats_free(pith_ctx *ctx, experts_stats *s) {
    if (!s) return;
    for (size_t i = 0; s->seen && i < (size_t)s->n_layers * s->n_experts; i++) {
        const float *owned[] = {s->seen[i].in.h, s->seen[i].in.gram, s->seen[i].mid.h, s->seen[i].mid.gram};
        for (size_t k = 0; k < PITH_COUNT(owned); k++) pith_free(ctx, (void *)(uintptr_t)owned[k]);
    }
    pith_free(ctx, s->seen);
    pith_free(ctx, s->ratios);
    pith_free(ctx, s);
}

const experts_seen *experts_stats_at(const experts_stats *s, uint32_t layer, uint32_t expert) {
    return &s->seen[layer * s->n_experts + expert];
}

uint64_t experts_stats_tokens(const experts_stats *s) { return s->n_tokens; }

double experts_stats_ratio(const experts_stats *s, uint32_t layer, double q) {
    if (s->n_used < 2) return 0;
    double at = q * (double)(s->n_tokens - 1);
    return (double)s->ratios[layer * s->n_tokens + (size_t)(at < 0 ? 0 : PITH_MIN(at, (double)(s->n_tokens - 1)))];
}
