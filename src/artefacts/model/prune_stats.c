/* One pass over a text: second moments of what ffn_down and attn_output read, block influence, norms of channels. */
#include "artefacts/model/prune.h"

#include <math.h>
#include <stdio.h>

#include "kernels/select/select.h"
#include "math/dense/dense.h"

typedef struct gathering {
    pith_ctx *ctx;
    const lm_model *m;
    prune_stats *s;
    double **neurons_gram, **heads_gram; /* [n_layers] */
    select_influence *influence;         /* [n_layers] */
    float *last;                         /* [n_batch][n_embd] input of the layer before */
    pith_status status;
} gathering;

static void add_squares(double *sums, const float *x, size_t n, size_t n_cols) {
    for (size_t t = 0; t < n; t++)
        for (size_t j = 0; j < n_cols; j++) sums[j] += (double)x[t * n_cols + j] * x[t * n_cols + j];
}

static void on_input(void *opaque, const char *tensor, size_t n, size_t n_cols, const float *x) {
    gathering *g = opaque;
    unsigned layer;
    int read = 0;
    if (g->status || sscanf(tensor, "blk.%u.%n", &layer, &read) != 1 || !read || layer >= g->s->shape.n_layers) return;
    const char *name = tensor + read;
    prune_layer *l = &g->s->layers[layer];
    if (strcmp(name, "ffn_down.weight") == 0 && n_cols == g->s->shape.n_ff) {
        add_squares(l->neurons, x, n, n_cols);
        if (g->neurons_gram[layer]) g->status = dense_gram_add(g->ctx, g->neurons_gram[layer], x, n, n_cols);
    } else if (strcmp(name, "attn_output.weight") == 0) {
        add_squares(l->heads, x, n, n_cols);
        if (g->heads_gram[layer]) g->status = dense_gram_add(g->ctx, g->heads_gram[layer], x, n, n_cols);
    } else if (strcmp(name, "attn_q.weight") == 0 || strcmp(name, "ffn_up.weight") == 0) {
        if (n_cols == g->s->shape.n_embd) add_squares(g->s->channels, x, n, n_cols);
    }
}

static void on_hidden(void *opaque, uint32_t layer, uint32_t sequence, uint32_t first, size_t n, const float *h) {
    gathering *g = opaque;
    (void)sequence;
    (void)first;
    if (layer) select_influence_add(&g->influence[layer - 1], g->last, h, n, g->s->shape.n_embd);
    memcpy(g->last, h, n * g->s->shape.n_embd * sizeof *h);
}

static pith_status read_all(gathering *g, lm_session *session, const uint32_t *tokens, size_t n, uint32_t n_ctx) {
    lm_token *batch = pith_alloc(g->ctx, n_ctx * sizeof *batch);
    pith_status status = batch ? PITH_OK : pith_alloc_status(g->ctx);
    for (size_t first = 0; first < n && !status; first += n_ctx) {
        size_t here = PITH_MIN(n - first, (size_t)n_ctx);
        for (size_t i = 0; i < here; i++)
            batch[i] = (lm_token){.id = tokens[first + i]};
        status = lm_truncate(session, 0, 0);
        if (!status) status = lm_eval(session, batch, here);
        if (!status) status = g->status;
        if (!status) status = pith_tick(g->ctx, first + here, n);
    }
    pith_free(g->ctx, batch);
    return status;
}

static float *means(pith_ctx *ctx, const double *sums, size_t n, double count) {
    float *out = pith_alloc(ctx, n * sizeof *out);
    for (size_t i = 0; out && i < n; i++) out[i] = (float)(sums[i] / count);
    return out;
}

/* Sums to means; Gram matrices to floats, one after the other. */
static pith_status settle(gathering *g, size_t n_tokens) {
    prune_stats *s = g->s;
    size_t ff = s->shape.n_ff, q = (size_t)s->shape.n_heads * s->shape.head_dim;
    double count = (double)n_tokens;
    s->n_tokens = n_tokens;
    s->has_influence = true;
    for (uint32_t l = 0; l < s->shape.n_layers; l++) {
        prune_layer *to = &s->layers[l];
        for (size_t i = 0; i < ff; i++) to->neurons[i] /= count;
        for (size_t i = 0; i < q; i++) to->heads[i] /= count;
        to->influence = select_influence_of(&g->influence[l]);
        if (g->neurons_gram[l] && !(to->neurons_gram = means(g->ctx, g->neurons_gram[l], DENSE_PACKED(ff), count)))
            return pith_alloc_status(g->ctx);
        if (g->heads_gram[l] && !(to->heads_gram = means(g->ctx, g->heads_gram[l], DENSE_PACKED(q), count)))
            return pith_alloc_status(g->ctx);
        pith_free(g->ctx, g->neurons_gram[l]);
        pith_free(g->ctx, g->heads_gram[l]);
        g->neurons_gram[l] = g->heads_gram[l] = NULL;
    }
    for (uint32_t i = 0; i < s->shape.n_embd; i++) s->channels[i] /= count;
    return PITH_OK;
}

static pith_status make_room(gathering *g, unsigned grams, uint32_t n_ctx) {
    pith_ctx *ctx = g->ctx;
    prune_stats *s = g->s;
    size_t ff = s->shape.n_ff, q = (size_t)s->shape.n_heads * s->shape.head_dim, layers = s->shape.n_layers;
    s->layers = pith_zalloc(ctx, layers * sizeof *s->layers);
    s->channels = pith_zalloc(ctx, s->shape.n_embd * sizeof *s->channels);
    g->neurons_gram = pith_zalloc(ctx, layers * sizeof *g->neurons_gram);
    g->heads_gram = pith_zalloc(ctx, layers * sizeof *g->heads_gram);
    g->influence = pith_zalloc(ctx, layers * sizeof *g->influence);
    g->last = pith_alloc(ctx, (size_t)n_ctx * s->shape.n_embd * sizeof *g->last);
    bool good = s->layers && s->channels && g->neurons_gram && g->heads_gram && g->influence;
    good = good && g->last;
    for (size_t l = 0; good && l < layers; l++) {
        s->layers[l].neurons = pith_zalloc(ctx, ff * sizeof(double));
        s->layers[l].heads = pith_zalloc(ctx, q * sizeof(double));
        if (grams & 1) g->neurons_gram[l] = pith_zalloc(ctx, DENSE_PACKED(ff) * sizeof(double));
        if (grams & 2) g->heads_gram[l] = pith_zalloc(ctx, DENSE_PACKED(q) * sizeof(double));
        good = s->layers[l].neurons && s->layers[l].heads && (!(grams & 1) || g->neurons_gram[l]) &&
               (!(grams & 2) || g->heads_gram[l]);
    }
    return good ? PITH_OK : pith_alloc_status(ctx);
}

static pith_status gather(gathering *g, const uint32_t *tokens, size_t n, uint32_t n_ctx, unsigned grams) {
    lm_session *session = NULL;
    const lm_probe probe = {.opaque = g, .hidden = on_hidden, .input = on_input};
    lm_session_options options = {.n_ctx = n_ctx, .max_batch = n_ctx, .max_logits = 1};
    pith_status status = make_room(g, grams, n_ctx);
    if (!status) status = lm_session_new(g->ctx, g->m, &options, &session);
    if (!status) {
        lm_set_probe(session, &probe);
        status = read_all(g, session, tokens, n, n_ctx);
        lm_session_free(session);
    }
    return status ? status : settle(g, n);
}

pith_status prune_stats_new(pith_ctx *ctx, const lm_model *m, const uint32_t *tokens, size_t n, uint32_t n_ctx,
                            unsigned grams, prune_stats **out) {
    *out = NULL;
    if (n == 0) return pith_fail(ctx, PITH_E_ARGUMENT, "pruning: a text without tokens");
    prune_stats *s = pith_zalloc(ctx, sizeof *s);
    if (!s) return pith_alloc_status(ctx);
    gathering g = {.ctx = ctx, .m = m, .s = s};
    pith_status status = cut_shape_of(ctx, lm_file(m), &s->shape);
    n_ctx = n_ctx ? n_ctx : 512;
    n_ctx = PITH_MIN(n_ctx, lm_about(m)->n_ctx_train);
    if (!status) status = gather(&g, tokens, n, n_ctx, grams);
    for (uint32_t l = 0; l < s->shape.n_layers; l++) {
        if (g.neurons_gram) pith_free(ctx, g.neurons_gram[l]);
        if (g.heads_gram) pith_free(ctx, g.heads_gram[l]);
    }
    void *const owned[] = {g.neurons_gram, g.heads_gram, g.influence, g.last};
    for (size_t i = 0; i < PITH_COUNT(owned); i++) pith_free(ctx, owned[i]);
    if (status) {
        prune_stats_free(ctx, s);
        return status;
    }
    *out = s;
    return PITH_OK;
}

void prune_stats_free(pith_ctx *ctx, prune_stats *s) {
    if (!s) return;
    for (uint32_t l = 0; s->layers && l < s->shape.n_layers; l++) {
        prune_layer *layer = &s->layers[l];
        if (!s->borrowed) pith_free(ctx, (void *)(uintptr_t)layer->neurons_gram);
        if (!s->borrowed) pith_free(ctx, (void *)(uintptr_t)layer->heads_gram);
        pith_free(ctx, layer->neurons);
        pith_free(ctx, layer->heads);
    }
    pith_free(ctx, s->layers);
    pith_free(ctx, s->channels);
    pith_free(ctx, s);
}

/* ---- from a file ----------------------------------------------------------------------------------------- */

/* x^2 of the inputs of blk.LAYER.NAME added to sums[n], and the Gram matrix where it is wanted. */
static pith_status take(pith_ctx *ctx, const model_stats *from, uint32_t layer, const char *name, size_t n,
                        double *sums, const float **gram) {
    char full[64];
    repr_stats found;
    snprintf(full, sizeof full, "blk.%u.%s", (unsigned)layer, name);
    pith_status status = model_stats_find(ctx, from, full, 0, n, &found);
    if (status) return status;
    if (!found.h || (gram && !found.gram))
        return pith_fail(ctx, PITH_E_ARGUMENT, "the statistics have no %s of %s", found.h ? "Gram matrix" : "inputs",
                         full);
    for (size_t i = 0; i < n; i++) sums[i] += found.h[i];
    if (gram) *gram = found.gram;
    return PITH_OK;
}

static pith_status take_layer(pith_ctx *ctx, const model_stats *from, prune_stats *s, uint32_t l, unsigned grams) {
    size_t ff = s->shape.n_ff, q = (size_t)s->shape.n_heads * s->shape.head_dim, n_embd = s->shape.n_embd;
    const model_stats_about *about = model_stats_info(from);
    prune_layer *to = &s->layers[l];
    to->neurons = pith_zalloc(ctx, ff * sizeof *to->neurons);
    to->heads = pith_zalloc(ctx, q * sizeof *to->heads);
    if (!to->neurons || !to->heads) return pith_alloc_status(ctx);
    if (about->influence && l < about->n_influence) to->influence = about->influence[l];
    pith_status status = take(ctx, from, l, "ffn_down.weight", ff, to->neurons, grams & 1 ? &to->neurons_gram : NULL);
    if (!status) status = take(ctx, from, l, "attn_output.weight", q, to->heads, grams & 2 ? &to->heads_gram : NULL);
    if (!status) status = take(ctx, from, l, "ffn_up.weight", n_embd, s->channels, NULL);
    char full[64];
    snprintf(full, sizeof full, "blk.%u.attn_q.weight", (unsigned)l);
    if (!status && model_stats_entry_of(from, full))
        status = take(ctx, from, l, "attn_q.weight", n_embd, s->channels, NULL);
    return status;
}

pith_status prune_stats_of(pith_ctx *ctx, const model_stats *from, const cut_shape *shape, unsigned grams,
                           prune_stats **out) {
    *out = NULL;
    prune_stats *s = pith_zalloc(ctx, sizeof *s);
    if (!s) return pith_alloc_status(ctx);
    *s = (prune_stats){.shape = *shape, .borrowed = true};
    const model_stats_about *about = model_stats_info(from);
    s->n_tokens = about->chunks * about->chunk_tokens;
    s->has_influence = about->influence && about->n_influence == shape->n_layers;
    s->layers = pith_zalloc(ctx, shape->n_layers * sizeof *s->layers);
    s->channels = pith_zalloc(ctx, shape->n_embd * sizeof *s->channels);
    pith_status status = s->layers && s->channels ? PITH_OK : pith_alloc_status(ctx);
    for (uint32_t l = 0; l < shape->n_layers && !status; l++) status = take_layer(ctx, from, s, l, grams);
    if (status) {
        prune_stats_free(ctx, s);
        return status;
    }
    *out = s;
    return PITH_OK;
}
