/* A model over a text cut into chunks, and its perplexity, in llama.cpp's convention. */
#include "lm/ruler/parts.h"
#include "math/math.h"

#define BATCH RULER_READ_ROWS
#define ROW_BYTES ((size_t)64 << 20) /* of logits held at once, at most */

size_t ruler_chunk_rows(uint32_t n_ctx) { return n_ctx < 2 ? 0 : n_ctx - 1 - n_ctx / 2; }

pith_status ruler_tokens(pith_ctx *ctx, const lm_model *m, const void *text, size_t size, token_list *out) {
    const tokenizer *t = lm_tokenizer(m);
    if (!t) return lm_no_tokenizer(ctx);
    return tokenizer_encode(ctx, t, text, size, tokenizer_about(t)->add_bos ? TOKENIZE_BOS : 0, out);
}

pith_status ruler_chunks_of(pith_ctx *ctx, const lm_model *m, const token_list *tokens, uint32_t n_ctx,
                            size_t max_chunks, ruler_chunks *out) {
    uint32_t most = lm_about(m)->n_ctx_train;
    if (!n_ctx) n_ctx = most ? PITH_MIN(most, 512u) : 512;
    if (n_ctx < 4) return pith_fail(ctx, PITH_E_ARGUMENT, "chunks of %u tokens: at least 4", n_ctx);
    size_t n = tokens->n / n_ctx;
    if (!n)
        return pith_fail(ctx, PITH_E_ARGUMENT,
                         "the text has %zu tokens, a chunk takes %u; give more text or less --ctx", tokens->n, n_ctx);
    *out = (ruler_chunks){tokens->id, n_ctx, max_chunks && max_chunks < n ? max_chunks : n};
    return PITH_OK;
}

/* ---- reading ---- */

struct ruler_reader {
    pith_ctx *ctx;
    lm_session *session;
    const uint32_t *chunk;
    uint32_t n_ctx, at, start; /* start: token in front of a chunk, TOKEN_NONE: none */
    uint32_t batch;
    const float **rows; /* [batch] */
    lm_token *tokens;   /* [batch] */
};

pith_status ruler_reader_new(pith_ctx *ctx, const lm_model *m, uint32_t n_ctx, uint32_t n_threads, ruler_reader **out) {
    *out = NULL;
    const lm_shape *shape = lm_about(m);
    ruler_reader *r = pith_zalloc(ctx, sizeof *r);
    if (!r) return pith_alloc_status(ctx);
    const tokenizer *t = lm_tokenizer(m);
    bool start = t && tokenizer_about(t)->add_bos && tokenizer_about(t)->bos < shape->n_vocab;
    r->ctx = ctx;
    r->n_ctx = n_ctx;
    r->at = n_ctx;
    r->start = start ? tokenizer_about(t)->bos : TOKEN_NONE;
    size_t fit = ROW_BYTES / sizeof(float) / PITH_MAX(shape->n_vocab, 1u);
    r->batch = (uint32_t)PITH_MIN(PITH_MAX(fit, 8), PITH_MIN(n_ctx, (size_t)BATCH));
    lm_session_options options = {.n_ctx = n_ctx,
                                  .n_sequences = 1,
                                  .max_batch = r->batch,
                                  .max_logits = r->batch,
                                  .cache = lm_cache_of(m),
                                  .n_threads = n_threads};
    pith_status status = lm_session_new(ctx, m, &options, &r->session);
    if (!status && (!(r->rows = pith_alloc(ctx, r->batch * sizeof *r->rows)) ||
                    !(r->tokens = pith_alloc(ctx, r->batch * sizeof *r->tokens))))
        status = pith_alloc_status(ctx);
    if (status) {
        ruler_reader_free(r);
        return status;
    }
    *out = r;
    return PITH_OK;
}

void ruler_reader_free(ruler_reader *r) {
    if (!r) return;
    lm_session_free(r->session);
    pith_free(r->ctx, r->rows);
    pith_free(r->ctx, r->tokens);
    pith_free(r->ctx, r);
}

uint32_t ruler_reader_batch(const ruler_reader *r) { return r->batch; }

pith_status ruler_reader_begin(ruler_reader *r, const uint32_t *chunk) {
    r->chunk = chunk;
    r->at = 0;
    return lm_truncate(r->session, 0, 0);
}

pith_status ruler_reader_next(ruler_reader *r, size_t *first, size_t *n, const float *const **rows) {
    *n = 0;
    *rows = r->rows;
    /* the last token of a chunk predicts what is not in it */
    while (!*n && r->at + 1 < r->n_ctx) {
        size_t count = 0, wanted = 0;
        for (; count < r->batch && r->at + 1 < r->n_ctx; r->at++, count++) {
            bool want = r->at >= r->n_ctx / 2;
            if (want && !wanted++) *first = r->at;
            uint32_t id = r->at == 0 && r->start != TOKEN_NONE ? r->start : r->chunk[r->at];
            r->tokens[count] = (lm_token){.id = id, .want_logits = want};
        }
        pith_status status = lm_eval(r->session, r->tokens, count);
        if (status) return status;
        for (size_t i = 0; i < wanted; i++) r->rows[i] = lm_logits(r->session, i);
        *n = wanted;
    }
    return PITH_OK;
}

/* ---- perplexity ---- */

typedef struct row_job {
    const float *const *rows;
    const uint32_t *next; /* [n], the tokens that came */
    uint32_t n_vocab;
    double nats[BATCH];
    uint8_t *packed; /* [n][row bytes], or NULL */
} row_job;

static pith_status row_work(void *arg, size_t i) {
    row_job *j = arg;
    ruler_side side = ruler_side_of(j->rows[i], j->n_vocab);
    j->nats[i] = side.shift - (double)j->rows[i][j->next[i]];
    if (j->packed) ruler_base_pack(j->rows[i], j->n_vocab, j->packed + i * ruler_base_row_bytes(j->n_vocab));
    return PITH_OK;
}

static void perplexity_so_far(const ruler_mean *nats, size_t n_chunks, ruler_perplexity *out) {
    double mean = ruler_mean_of(nats), p = real_exp(mean);
    *out = (ruler_perplexity){p, p * ruler_error_of(nats), mean, nats->n, n_chunks};
}

pith_status ruler_perplexity_of(pith_ctx *ctx, const lm_model *m, const ruler_chunks *chunks, uint32_t n_threads,
                                ruler_write_fn save, void *save_opaque, ruler_chunk_fn each, void *opaque,
                                ruler_perplexity *out) {
    *out = (ruler_perplexity){0};
    uint32_t n_vocab = lm_about(m)->n_vocab;
    ruler_reader *r;
    ruler_mean nats = {0};
    pith_status status = ruler_reader_new(ctx, m, chunks->n_ctx, n_threads, &r);
    if (status) return status;
    row_job *job = pith_zalloc(ctx, sizeof *job);
    if (!job || (save && !(job->packed = pith_alloc(ctx, r->batch * ruler_base_row_bytes(n_vocab)))))
        status = pith_alloc_status(ctx);
    if (!status && save) status = ruler_save_head(ctx, chunks, n_vocab, save, save_opaque);
    for (size_t c = 0; c < chunks->n_chunks && !status; c++) {
        const uint32_t *chunk = chunks->tokens + c * chunks->n_ctx;
        status = ruler_reader_begin(r, chunk);
        for (size_t first, n = 1; n && !status;) {
            status = ruler_reader_next(r, &first, &n, &job->rows);
            if (status || !n) break;
            job->next = chunk + first + 1;
            job->n_vocab = n_vocab;
            status = pith_parallel(ctx, n, row_work, job);
            for (size_t i = 0; i < n; i++) ruler_mean_add(&nats, job->nats[i]);
            if (!status && save) status = save(save_opaque, job->packed, n * ruler_base_row_bytes(n_vocab));
        }
        if (status) break;
        perplexity_so_far(&nats, c + 1, out);
        if (each) each(opaque, c + 1, chunks->n_chunks, out);
        status = pith_tick(ctx, c + 1, chunks->n_chunks);
    }
    if (job) pith_free(ctx, job->packed);
    pith_free(ctx, job);
    ruler_reader_free(r);
    return status;
}
