/* A base model's answers, kept, and others held against them. Rows are compared as lm/ruler compares them. */
#define _POSIX_C_SOURCE 200809L
#include "artefacts/model/evaluate.h"

#include <math.h>
#include <time.h>

struct model_ruler {
    const lm_model *base;
    token_list tokens;
    ruler_chunks chunks;
    ruler_items items;
    uint32_t *chosen; /* [items.n] the base's */
    float *logits;    /* [rows][n_vocab] of the base; NULL: read again */
    double *shift;    /* [rows] */
    size_t rows, per_chunk;
    uint32_t n_vocab, n_threads;
    double perplexity;
};

double model_cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- rows ---- */

typedef struct row_job {
    const model_ruler *r;
    const float *const *base, *const *other;
    const float *kept; /* rows of the base in memory, or NULL */
    const double *shift;
    const uint32_t *next;
    ruler_row *rows;
} row_job;

static pith_status compare_row(void *arg, size_t i) {
    const row_job *j = arg;
    uint32_t n = j->r->n_vocab;
    ruler_side base = j->kept ? (ruler_side){j->kept + i * n, j->shift[i]} : ruler_side_of(j->base[i], n);
    ruler_compare_row(base, ruler_side_of(j->other[i], n), n, j->next[i], -INFINITY, &j->rows[i]);
    return PITH_OK;
}

static pith_status compare_chunk(pith_ctx *ctx, const model_ruler *r, ruler_reader *base, ruler_reader *other,
                                 size_t chunk, ruler_row *rows) {
    const uint32_t *tokens = r->chunks.tokens + chunk * r->chunks.n_ctx;
    row_job job = {.r = r};
    pith_status status = base ? ruler_reader_begin(base, tokens) : PITH_OK;
    if (!status) status = ruler_reader_begin(other, tokens);
    for (size_t first = 0, n = 0, done = 0; !status; done += n) {
        if (base) status = ruler_reader_next(base, &first, &n, &job.base);
        if (!status) status = ruler_reader_next(other, &first, &n, &job.other);
        if (status || !n) break;
        job.next = tokens + first + 1;
        job.rows = rows + done;
        if (!base) {
            job.kept = r->logits + (chunk * r->per_chunk + done) * r->n_vocab;
            job.shift = r->shift + chunk * r->per_chunk + done;
        }
        status = pith_parallel(ctx, n, compare_row, &job);
    }
    return status;
}

static pith_status same_vocabulary(pith_ctx *ctx, const model_ruler *r, const lm_model *other) {
    uint32_t n = lm_about(other)->n_vocab;
    if (r->base) return ruler_same_vocabulary(ctx, r->base, other);
    return n == r->n_vocab
               ? PITH_OK
               : pith_fail(ctx, PITH_E_ARGUMENT, "the models have %u and %u tokens: no comparison", r->n_vocab, n);
}

static pith_status compare(pith_ctx *ctx, const model_ruler *r, const lm_model *other, size_t n_chunks,
                           ruler_comparison *out, double *kl) {
    ruler_reader *rb = NULL, *ro = NULL;
    pith_status status = same_vocabulary(ctx, r, other);
    if (status) return status;
    ruler_row *rows = pith_alloc(ctx, PITH_MAX(n_chunks * r->per_chunk, 1u) * sizeof *rows);
    if (!rows) return pith_alloc_status(ctx);
    if (!r->logits) status = ruler_reader_new(ctx, r->base, r->chunks.n_ctx, r->n_threads, &rb);
    if (!status) status = ruler_reader_new(ctx, other, r->chunks.n_ctx, r->n_threads, &ro);
    for (size_t c = 0; c < n_chunks && !status; c++) {
        status = compare_chunk(ctx, r, rb, ro, c, rows + c * r->per_chunk);
        if (!status) status = pith_tick(ctx, c + 1, n_chunks);
    }
    for (size_t i = 0; kl && i < n_chunks * r->per_chunk && !status; i++) kl[i] = rows[i].kl;
    if (!status) status = ruler_compare_rows(ctx, rows, n_chunks * r->per_chunk, out);
    ruler_reader_free(rb);
    ruler_reader_free(ro);
    pith_free(ctx, rows);
    return status;
}

/* ---- the base ---- */

typedef struct keep_job {
    const model_ruler *r;
    const float *const *rows;
    const uint32_t *next;
    float *logits;
    double *shift;
    double nats[512];
} keep_job;

static pith_status keep_row(void *arg, size_t i) {
    keep_job *j = arg;
    ruler_side side = ruler_side_of(j->rows[i], j->r->n_vocab);
    j->nats[i] = side.shift - (double)j->rows[i][j->next[i]];
    if (!j->logits) return PITH_OK;
    memcpy(j->logits + i * j->r->n_vocab, j->rows[i], j->r->n_vocab * sizeof(float));
    j->shift[i] = side.shift;
    return PITH_OK;
}

static pith_status read_base(pith_ctx *ctx, model_ruler *r) {
    ruler_reader *reader;
    ruler_mean nats = {0};
    pith_status status = ruler_reader_new(ctx, r->base, r->chunks.n_ctx, r->n_threads, &reader);
    if (status) return status;
    keep_job *j = pith_zalloc(ctx, sizeof *j);
    if (!j) status = pith_alloc_status(ctx);
    for (size_t c = 0, row = 0; c < r->chunks.n_chunks && !status; c++) {
        const uint32_t *tokens = r->chunks.tokens + c * r->chunks.n_ctx;
        status = ruler_reader_begin(reader, tokens);
        for (size_t first, n = 1; n && !status; row += n) {
            status = ruler_reader_next(reader, &first, &n, &j->rows);
            if (status || !n) break;
            j->r = r;
            j->next = tokens + first + 1;
            j->logits = r->logits ? r->logits + row * r->n_vocab : NULL;
            j->shift = r->shift ? r->shift + row : NULL;
            for (size_t at = 0; at < n && !status; at += PITH_COUNT(j->nats)) {
                size_t m = PITH_MIN(n - at, PITH_COUNT(j->nats));
                status = pith_parallel(ctx, m, keep_row, j);
                for (size_t i = 0; i < m && !status; i++) ruler_mean_add(&nats, j->nats[i]);
                j->rows += m;
                j->next += m;
                j->logits = j->logits ? j->logits + m * r->n_vocab : NULL;
                j->shift = j->shift ? j->shift + m : NULL;
            }
        }
        if (!status) status = pith_tick(ctx, c + 1, r->chunks.n_chunks);
    }
    r->perplexity = exp(ruler_mean_of(&nats));
    pith_free(ctx, j);
    ruler_reader_free(reader);
    return status;
}

/* Room for the base's logits, unless they are too many. */
static pith_status reserve(pith_ctx *ctx, model_ruler *r, uint64_t memory) {
    uint64_t used = pith_memory_used(ctx), limit = pith_ctx_memory(ctx), left = limit > used ? limit - used : 0;
    if (!memory || memory > left) memory = left / 2;
    uint64_t bytes = (uint64_t)r->rows * r->n_vocab * sizeof(float);
    if (r->rows > UINT64_MAX / 4 / PITH_MAX(r->n_vocab, 1u) || bytes > memory) return PITH_OK;
    r->shift = pith_alloc(ctx, PITH_MAX(r->rows, 1u) * sizeof *r->shift);
    r->logits = r->shift ? pith_alloc(ctx, PITH_MAX((size_t)bytes, 1u)) : NULL;
    return r->logits ? PITH_OK : pith_alloc_status(ctx);
}

static pith_status start(pith_ctx *ctx, model_ruler *r, const void *text, size_t size, const model_ruler_options *o) {
    ruler_choice_options choice = {.n_threads = o->n_threads};
    pith_status status = ruler_tokens(ctx, r->base, text, size, &r->tokens);
    if (!status) status = ruler_chunks_of(ctx, r->base, &r->tokens, o->n_ctx, o->n_chunks, &r->chunks);
    if (status) return status;
    r->per_chunk = ruler_chunk_rows(r->chunks.n_ctx);
    r->rows = r->per_chunk * r->chunks.n_chunks; /* below the number of tokens */
    if ((status = reserve(ctx, r, o->memory)) || (status = read_base(ctx, r)) || !o->n_items) return status;
    status = ruler_cloze(ctx, text, size, o->n_items, 0, 0, o->seed, &r->items);
    if (status) return status;
    r->chosen = pith_alloc(ctx, PITH_MAX(r->items.n, 1u) * sizeof *r->chosen);
    if (!r->chosen) return pith_alloc_status(ctx);
    return ruler_choose(ctx, r->base, &r->items, &choice, r->chosen, NULL);
}

pith_status model_ruler_new(pith_ctx *ctx, const lm_model *base, const void *text, size_t size,
                            const model_ruler_options *options, model_ruler **out) {
    static const model_ruler_options defaults = {0};
    *out = NULL;
    model_ruler *r = pith_zalloc(ctx, sizeof *r);
    if (!r) return pith_alloc_status(ctx);
    r->base = base;
    r->n_vocab = lm_about(base)->n_vocab;
    r->n_threads = options ? options->n_threads : 0;
    pith_status status = start(ctx, r, text, size, options ? options : &defaults);
    if (status)
        model_ruler_free(ctx, r);
    else
        *out = r;
    return status;
}

void model_ruler_free(pith_ctx *ctx, model_ruler *r) {
    if (!r) return;
    token_list_free(ctx, &r->tokens);
    ruler_items_free(ctx, &r->items);
    pith_free(ctx, r->chosen);
    pith_free(ctx, r->logits);
    pith_free(ctx, r->shift);
    pith_free(ctx, r);
}

/* ---- others ---- */

pith_status model_ruler_measure(pith_ctx *ctx, const model_ruler *r, const lm_model *other, model_score *out) {
    return model_ruler_measure_rows(ctx, r, other, out, NULL);
}

pith_status model_ruler_measure_rows(pith_ctx *ctx, const model_ruler *r, const lm_model *other, model_score *out,
                                     double *kl) {
    *out = (model_score){0};
    double before = model_cpu_seconds();
    pith_status status = compare(ctx, r, other, r->chunks.n_chunks, &out->c, kl);
    if (!status && r->items.n) {
        ruler_choice_options choice = {.n_threads = r->n_threads};
        uint32_t *chosen = pith_alloc(ctx, r->items.n * sizeof *chosen);
        if (!chosen) return pith_alloc_status(ctx);
        status = ruler_choose(ctx, other, &r->items, &choice, chosen, NULL);
        if (!status) ruler_flips_of(&r->items, r->chosen, chosen, &out->f);
        pith_free(ctx, chosen);
    }
    out->seconds = model_cpu_seconds() - before;
    return status;
}

pith_status model_ruler_kl(pith_ctx *ctx, const model_ruler *r, const lm_model *other, size_t n_chunks, double *kl) {
    ruler_comparison c;
    if (!n_chunks || n_chunks > r->chunks.n_chunks) n_chunks = r->chunks.n_chunks;
    pith_status status = compare(ctx, r, other, n_chunks, &c, NULL);
    *kl = status ? 0 : c.kl.mean;
    if (!status && isnan(*kl))
        return pith_fail(ctx, PITH_E_CHECK, "the answers to the text are not finite: nothing can be chosen by them");
    return status;
}

size_t model_ruler_chunks(const model_ruler *r) { return r->chunks.n_chunks; }
size_t model_ruler_tokens(const model_ruler *r) { return r->rows; }
size_t model_ruler_items(const model_ruler *r) { return r->items.n; }
double model_ruler_perplexity(const model_ruler *r) { return r->perplexity; }
bool model_ruler_forget_base(model_ruler *r) {
    if (r->logits) r->base = NULL;
    return r->logits != NULL;
}

bool model_ruler_in_memory(const model_ruler *r) { return r->logits != NULL; }
