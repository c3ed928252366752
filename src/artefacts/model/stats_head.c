/* The head of a file of statistics, and the door of gathering: texts to chunks, the session, the start. */
#include "artefacts/model/stats_gather.h"
#include "base/sink.h"

/* ---- the head ---- */

typedef struct head_maker {
    pith_ctx *ctx;
    gguf_writer *w;
    pith_buffer places;
} head_maker;

static pith_status put_tensor(head_maker *h, const char *name, const char *suffix, tensor_type type, uint32_t unit,
                              uint32_t n_dims, uint64_t cols, uint64_t rows) {
    char full[128];
    size_t n = strlen(name), m = strlen(suffix);
    if (n + m > STATS_NAME_MAX)
        return pith_fail(h->ctx, PITH_E_UNSUPPORTED, "%.60s: the name leaves no room for %s", name, suffix);
    memcpy(full, name, n);
    memcpy(full + n, suffix, m);
    uint64_t bytes;
    if (!tensor_type_bytes(type, cols * rows, &bytes)) return pith_fail(h->ctx, PITH_E_LIMIT, "%s: too large", name);
    stats_place place = {.bytes = bytes, .unit = unit};
    pith_status status = gguf_put_tensor(h->ctx, h->w, full, n + m, type, n_dims, (uint64_t[]){cols, rows});
    return status ? status : pith_buffer_append(h->ctx, &h->places, &place, sizeof place);
}

static pith_status put_names(head_maker *h, const gatherer *g) {
    uint32_t n = g->plan.n;
    meta_string *names = pith_alloc(h->ctx, n * sizeof *names);
    uint8_t *owners = names ? pith_alloc(h->ctx, n * 4) : NULL;
    pith_status status = owners ? PITH_OK : pith_alloc_status(h->ctx);
    for (uint32_t i = 0; i < n && !status; i++) {
        names[i] = (meta_string){g->plan.at[i].name, strlen(g->plan.at[i].name)};
        store32(owners + 4 * i, g->plan.at[i].owner);
    }
    if (!status) status = gguf_put_strings(h->ctx, h->w, "pith.stats.names", names, n);
    if (!status) status = gguf_put_array(h->ctx, h->w, "pith.stats.owners", META_U32, owners, n);
    pith_free(h->ctx, names);
    pith_free(h->ctx, owners);
    return status;
}

static pith_status put_texts(head_maker *h, const gatherer *g) {
    meta_string *names = pith_alloc(h->ctx, g->n_texts * sizeof *names), *keys = NULL;
    char(*hex)[17] = names ? pith_alloc(h->ctx, g->n_texts * sizeof *hex) : NULL;
    if (hex) keys = pith_alloc(h->ctx, g->n_texts * sizeof *keys);
    pith_status status = keys ? PITH_OK : pith_alloc_status(h->ctx);
    for (size_t i = 0; i < g->n_texts && !status; i++) {
        const model_stats_text *t = &g->texts[i];
        stats_text_key(t->ids ? t->ids : t->data, t->ids ? t->n_ids * sizeof *t->ids : t->size, hex[i]);
        keys[i] = (meta_string){hex[i], 16};
        names[i] = (meta_string){g->texts[i].name, strlen(g->texts[i].name)};
    }
    if (!status) status = gguf_put_strings(h->ctx, h->w, "imatrix.datasets", names, g->n_texts);
    if (!status) status = gguf_put_strings(h->ctx, h->w, "pith.stats.texts", keys, g->n_texts);
    pith_free(h->ctx, keys);
    pith_free(h->ctx, hex);
    pith_free(h->ctx, names);
    return status;
}

static pith_status put_keys(head_maker *h, const gatherer *g) {
    uint8_t hash[16];
    char model[33], tokens[33];
    pith_status status = tensor_file_hash(h->ctx, lm_file(g->model), hash);
    stats_hex(hash, 16, model);
    tensor_bytes_hash(g->chunks.tokens, g->chunks.n_chunks * g->chunks.n_ctx * sizeof(uint32_t), hash);
    stats_hex(hash, 16, tokens);
    if (!status) status = gguf_put_text(h->ctx, h->w, "general.type", "imatrix", 7);
    if (!status) status = put_texts(h, g);
    if (!status) status = gguf_put_u32(h->ctx, h->w, "imatrix.chunk_count", (uint32_t)g->chunks.n_chunks);
    if (!status) status = gguf_put_u32(h->ctx, h->w, "imatrix.chunk_size", g->chunks.n_ctx);
    if (!status) status = gguf_put_text(h->ctx, h->w, "pith.stats.model", model, 32);
    if (!status) status = gguf_put_text(h->ctx, h->w, "pith.stats.tokens", tokens, 32);
    return status ? status : put_names(h, g);
}

static pith_status put_tensors(head_maker *h, gatherer *g) {
    stats_plan *p = &g->plan;
    pith_status status = put_tensor(h, STATS_CHECKS, "", TENSOR_I64, UINT32_MAX, 1, p->n_grams + 1, 1);
    if (!status && p->last_layer) status = put_tensor(h, STATS_INFLUENCE, "", TENSOR_F32, 0, 1, p->last_layer, 1);
    if (!status) status = put_tensor(h, STATS_NATS, "", TENSOR_F32, 0, 1, 2, 1);
    if (!status && !g->options->no_output)
        status = put_tensor(h, STATS_TOKENS, "", TENSOR_F32, 0, 2, lm_about(g->model)->n_vocab, 2);
    for (uint32_t i = 0; i < p->n && !status; i++) {
        const stats_input *in = &p->at[i];
        status = put_tensor(h, in->name, STATS_SUM2, TENSOR_F32, 0, 2, in->cols, in->parts);
        if (!status) status = put_tensor(h, in->name, STATS_COUNTS, TENSOR_F32, 0, 2, 1, in->parts);
        if (!status) status = put_tensor(h, in->name, STATS_SUM, TENSOR_F32, 0, 2, in->cols, in->parts);
    }
    for (uint32_t i = 0; i < p->n && !status; i++) {
        const stats_input *in = &p->at[i];
        if (in->gram && in->owner == i)
            status = put_tensor(h, in->name, STATS_GRAM, TENSOR_F32, in->gram, 1,
                                (uint64_t)in->cols * (in->cols + 1) / 2, 1);
    }
    return status;
}

pith_status stats_head_make(gatherer *g, pith_buffer *head, stats_place **places, size_t *n_places) {
    for (uint32_t i = 0; i < g->plan.n; i++) {
        stats_input *in = &g->plan.at[i];
        bool none = g->options->no_gram || in->parts > 1;
        in->gram = none ? 0 : in->owner == i ? ++g->plan.n_grams : g->plan.at[in->owner].gram;
    }
    head_maker h = {.ctx = g->ctx};
    pith_sink to = {g->ctx, head};
    pith_status status = gguf_writer_new(g->ctx, &h.w);
    if (!status) status = put_keys(&h, g);
    if (!status) status = put_tensors(&h, g);
    if (!status) status = gguf_write_head(g->ctx, h.w, pith_sink_write, &to);
    gguf_writer_free(g->ctx, h.w);
    if (status) {
        pith_buffer_free(g->ctx, &h.places);
        return status;
    }
    *places = (stats_place *)(void *)h.places.data;
    *n_places = h.places.size / sizeof(stats_place);
    return PITH_OK;
}

/* ---- the door ---- */

static pith_status read_texts(gatherer *g, token_list *tokens) {
    pith_status status = g->n_texts ? PITH_OK : pith_fail(g->ctx, PITH_E_ARGUMENT, "statistics want a text");
    for (size_t i = 0; i < g->n_texts && !status; i++) {
        const model_stats_text *t = &g->texts[i];
        token_list more = {0};
        if (!t->ids) status = ruler_tokens(g->ctx, g->model, t->data, t->size, &more);
        if (!status) status = token_list_append(g->ctx, tokens, t->ids ? t->ids : more.id, t->ids ? t->n_ids : more.n);
        token_list_free(g->ctx, &more);
    }
    uint64_t n_ctx =
        g->options->n_ctx ? g->options->n_ctx : PITH_MIN(PITH_MAX(lm_about(g->model)->n_ctx_train, 4u), 512u);
    uint64_t most = g->options->n_tokens ? (g->options->n_tokens + n_ctx - 1) / n_ctx : 0;
    if (!status)
        status = ruler_chunks_of(g->ctx, g->model, tokens, g->options->n_ctx,
                                 (size_t)PITH_MIN(most, (uint64_t)UINT32_MAX), &g->chunks);
    return status;
}

pith_status model_stats_gather(pith_ctx *ctx, const lm_model *m, const model_stats_text *texts, size_t n_texts,
                               const model_stats_options *options, const char *path, model_stats_result *result) {
    static const model_stats_options defaults = {0};
    *result = (model_stats_result){0};
    gatherer g = {.ctx = ctx, .model = m, .texts = texts, .n_texts = n_texts, .options = options ? options : &defaults};
    token_list tokens = {0};
    pith_status status = read_texts(&g, &tokens);
    if (!status) {
        const tokenizer *t = lm_tokenizer(m);
        bool start = t && tokenizer_about(t)->add_bos && tokenizer_about(t)->bos < lm_about(m)->n_vocab;
        g.start = start ? tokenizer_about(t)->bos : TOKEN_NONE;
        g.batch = PITH_MIN(g.chunks.n_ctx, 512u);
        /* rows of logits in 64 MiB, as the readers of chunks have them */
        uint32_t fit = (uint32_t)(((size_t)16 << 20) / PITH_MAX(lm_about(m)->n_vocab, 1u));
        if (!g.options->no_output) g.batch = PITH_MIN(g.batch, PITH_MAX(fit, 8u));
        lm_session_options so = {.n_ctx = g.chunks.n_ctx,
                                 .n_sequences = 1,
                                 .max_batch = g.batch,
                                 .max_logits = g.options->no_output ? 1 : g.batch,
                                 .cache = LM_CACHE_F32,
                                 .n_threads = g.options->n_threads};
        status = lm_session_new(ctx, m, &so, &g.session);
    }
    if (!status && !(g.tokens = pith_alloc(ctx, g.batch * sizeof *g.tokens))) status = pith_alloc_status(ctx);
    if (!status) status = stats_run(&g, path, result);
    result->n_chunks = g.chunks.n_chunks;
    result->n_tokens = (uint64_t)g.chunks.n_chunks * g.chunks.n_ctx;
    pith_free(ctx, g.tokens);
    lm_session_free(g.session);
    token_list_free(ctx, &tokens);
    return status;
}
