/* Writing a quantised file: keys and list first, then one tensor after the other, batches of rows on all threads. */
#include <inttypes.h>

#include "artefacts/model/quantize_ahead.h"

#define PIECE_ELEMENTS ((uint64_t)1 << 16) /* of one job, in whole rows */

typedef struct writing {
    pith_ctx *ctx;
    const quantize_plan *plan;
    gguf_writer *gguf;
    tensor_write_fn write;
    void *opaque;
    uint64_t done;
    quantize_ahead *ahead; /* QUANTIZE_GPTQ */
} writing;

static pith_status put_bytes(void *opaque, const void *data, size_t size) {
    writing *w = opaque;
    return w->write(w->opaque, data, size);
}

static pith_status put_data(writing *w, const void *data, uint64_t size) {
    pith_status status = gguf_write_data(w->ctx, w->gguf, data, (size_t)size, put_bytes, w);
    return status ? status : pith_tick(w->ctx, w->done += size, w->plan->bytes_after);
}

/* ---- the head ------------------------------------------------------------------------------------------ */

static bool key_is(meta_string key, const char *word) {
    return key.size == strlen(word) && memcmp(key.data, word, key.size) == 0;
}

/* What the new file says anew, at the end, or not at all: it is in one piece. */
static bool is_replaced(meta_string key, bool importance) {
    static const char *const always[] = {"general.quantization_version", "general.file_type", "split.no",
                                         "split.count", "split.tensors.count"};
    static const char *const then[] = {"quantize.imatrix.file", "quantize.imatrix.dataset",
                                       "quantize.imatrix.entries_count", "quantize.imatrix.chunks_count"};
    for (unsigned i = 0; i < PITH_COUNT(always); i++)
        if (key_is(key, always[i])) return true;
    for (unsigned i = 0; importance && i < PITH_COUNT(then); i++)
        if (key_is(key, then[i])) return true;
    return false;
}

/* llama.cpp cuts these texts to 127 bytes. */
static pith_status put_short_text(writing *w, const char *key, const char *text, size_t size) {
    return gguf_put_text(w->ctx, w->gguf, key, text, PITH_MIN(size, (size_t)127));
}

static pith_status put_importance_keys(writing *w) {
    const quantize_options *o = &w->plan->options;
    const model_stats_about *about = model_stats_info(o->stats);
    meta_string dataset = {NULL, 0};
    uint64_t cursor = 0;
    pith_status status = put_short_text(w, "quantize.imatrix.file", o->stats_name, strlen(o->stats_name));
    if (!status && about->datasets && meta_next_string(about->datasets, &cursor, &dataset))
        status = put_short_text(w, "quantize.imatrix.dataset", dataset.data, dataset.size);
    if (!status)
        status = gguf_put_u32(w->ctx, w->gguf, "quantize.imatrix.entries_count", (uint32_t)model_stats_count(o->stats));
    if (!status && about->chunks > 0 && about->chunks <= UINT32_MAX)
        status = gguf_put_u32(w->ctx, w->gguf, "quantize.imatrix.chunks_count", (uint32_t)about->chunks);
    return status;
}

static pith_status write_head(writing *w) {
    const quantize_plan *plan = w->plan;
    pith_status status = gguf_writer_new(w->ctx, &w->gguf);
    for (size_t i = 0; i < plan->file->n_meta && !status; i++)
        if (!is_replaced(plan->file->meta[i].key, plan->options.stats != NULL))
            status = gguf_put_value(w->ctx, w->gguf, &plan->file->meta[i]);
    if (!status) status = gguf_put_u32(w->ctx, w->gguf, "general.quantization_version", 2);
    if (!status) status = gguf_put_u32(w->ctx, w->gguf, "general.file_type", plan->options.mix->file_type);
    if (!status && plan->options.stats) status = put_importance_keys(w);
    for (size_t i = 0; i < plan->n && !status; i++) {
        const quantize_tensor *q = &plan->list[i];
        const tensor_view *t = q->from;
        uint32_t n_dims = t->n_dims; /* ggml does not count the last dimensions of one */
        while (n_dims > 1 && t->ne[n_dims - 1] == 1) n_dims--;
        status = gguf_put_tensor(w->ctx, w->gguf, t->name.data, t->name.size, q->type, n_dims, t->ne);
    }
    return status ? status : gguf_write_head(w->ctx, w->gguf, put_bytes, w);
}

/* ---- the rows -------------------------------------------------------------------------------------------- */

typedef struct rows_job {
    pith_ctx *ctx;
    const quantize_tensor *q;
    const tensor_type_info *from, *to;
    uint64_t columns, rows, rows_per_part, rows_per_piece, first_row;
    float *floats;  /* [jobs][piece] */
    uint8_t *bytes; /* [jobs][piece] */
} rows_job;

static pith_status not_finite(pith_ctx *ctx, const quantize_tensor *q, const char *what, uint64_t element) {
    return pith_fail(ctx, PITH_E_CHECK, "%.*s: %s no finite number at element %" PRIu64,
                     (int)PITH_MIN(q->from->name.size, (size_t)80), q->from->name.data, what, element);
}

static const uint8_t *row_at(const rows_job *j, uint64_t row) {
    return j->q->from->data + row * j->columns / j->from->block * j->from->block_bytes;
}

/* Rows of one stack of matrices, each part with its own importance. */
static pith_status encode_rows(void *arg, size_t job) {
    const rows_job *j = arg;
    uint64_t first = j->first_row + job * j->rows_per_piece, n = PITH_MIN(j->rows_per_piece, j->rows - first);
    float *x = j->floats + job * j->rows_per_piece * j->columns;
    uint64_t row_bytes = j->columns / j->to->block * j->to->block_bytes;
    uint8_t *out = j->bytes + job * j->rows_per_piece * row_bytes;
    size_t bad;
    if (pith_cancelled(j->ctx)) return PITH_E_CANCELLED;
    if (!blocks_valid(j->from->type, row_at(j, first), (size_t)(n * j->columns / j->from->block), &bad))
        return not_finite(j->ctx, j->q, "there is", first * j->columns + bad * j->from->block);
    blocks_decode(j->from->type, row_at(j, first), x, (size_t)(n * j->columns));
    const model_stats_entry *e = j->q->importance;
    for (uint64_t done = 0; done < n;) {
        uint64_t part = (first + done) / j->rows_per_part;
        uint64_t some = PITH_MIN(n - done, (part + 1) * j->rows_per_part - (first + done));
        /* Refusals were asked for when the plan was made. */
        blocks_encode_weighted(j->to->type, x + done * j->columns, e ? e->h + part * j->columns : NULL,
                               out + done * row_bytes, (size_t)some, (size_t)j->columns);
        done += some;
    }
    if (!blocks_valid(j->to->type, out, (size_t)(n * j->columns / j->to->block), &bad))
        return not_finite(j->ctx, j->q, "rounding leaves", first * j->columns + bad * j->to->block);
    return PITH_OK;
}

static pith_status write_nearest(writing *w, const quantize_tensor *q) {
    const tensor_view *t = q->from;
    rows_job j = {.ctx = w->ctx, .q = q, .from = tensor_type_of(t->type), .to = tensor_type_of(q->type)};
    if (t->n_elements == 0) return PITH_OK;
    j.columns = t->ne[0];
    j.rows = t->n_elements / j.columns;
    j.rows_per_part = t->ne[1];
    j.rows_per_piece = PITH_MIN(PITH_MAX(PIECE_ELEMENTS / j.columns, (uint64_t)1), j.rows);
    uint64_t row_bytes = j.columns / j.to->block * j.to->block_bytes;
    uint64_t n_pieces = (j.rows + j.rows_per_piece - 1) / j.rows_per_piece;
    size_t n_jobs = (size_t)PITH_MIN(2 * (uint64_t)pith_ctx_threads(w->ctx), n_pieces);
    j.floats = pith_alloc(w->ctx, (size_t)(n_jobs * j.rows_per_piece * j.columns) * sizeof *j.floats);
    j.bytes = j.floats ? pith_alloc(w->ctx, (size_t)(n_jobs * j.rows_per_piece * row_bytes)) : NULL;
    pith_status status = j.bytes ? PITH_OK : pith_alloc_status(w->ctx);
    for (; j.first_row < j.rows && !status; j.first_row += n_jobs * j.rows_per_piece) {
        uint64_t n_rows = PITH_MIN(n_jobs * j.rows_per_piece, j.rows - j.first_row);
        size_t n = (size_t)((n_rows + j.rows_per_piece - 1) / j.rows_per_piece);
        status = n == 1 ? encode_rows(&j, 0) : pith_parallel(w->ctx, n, encode_rows, &j);
        if (!status) status = put_data(w, j.bytes, n_rows * row_bytes);
    }
    pith_free(w->ctx, j.bytes);
    pith_free(w->ctx, j.floats);
    return status;
}

static pith_status write_copy(writing *w, const quantize_tensor *q) {
    const tensor_type_info *info = tensor_type_of(q->type);
    const uint64_t step = ((uint64_t)4 << 20) / info->block_bytes * info->block_bytes;
    pith_status status = PITH_OK;
    for (uint64_t at = 0; at < q->bytes && !status; at += step) {
        uint64_t n = PITH_MIN(step, q->bytes - at);
        size_t bad;
        if (!blocks_valid(info->type, q->from->data + at, (size_t)(n / info->block_bytes), &bad))
            return not_finite(w->ctx, q, "there is", (at / info->block_bytes + bad) * info->block);
        status = put_data(w, q->from->data + at, n);
    }
    return status;
}

static pith_status write_ready(writing *w, const quantize_tensor *q, const uint8_t *blocks) {
    const tensor_type_info *info = tensor_type_of(q->type);
    size_t bad;
    if (!blocks_valid(info->type, blocks, (size_t)(q->bytes / info->block_bytes), &bad))
        return not_finite(w->ctx, q, "rounding leaves", (uint64_t)bad * info->block);
    return put_data(w, blocks, q->bytes);
}

pith_status quantize_write(pith_ctx *ctx, const quantize_plan *plan, tensor_write_fn write, void *opaque) {
    writing w = {.ctx = ctx, .plan = plan, .write = write, .opaque = opaque};
    pith_status status = write_head(&w);
    if (!status && plan->options.method == QUANTIZE_GPTQ) status = quantize_ahead_new(ctx, plan, &w.ahead);
    for (size_t i = 0; i < plan->n && !status; i++) {
        const quantize_tensor *q = &plan->list[i];
        const uint8_t *ready = NULL;
        if (w.ahead) status = quantize_ahead_get(ctx, w.ahead, i, &ready);
        if (status) break;
        if (ready)
            status = write_ready(&w, q, ready);
        else
            status = q->type == q->from->type ? write_copy(&w, q) : write_nearest(&w, q);
    }
    quantize_ahead_free(ctx, w.ahead);
    gguf_writer_free(ctx, w.gguf);
    return status;
}
