/* Streaming encoder: gathers blocks, codes a batch of them in parallel, writes them in order.
 * Block borders depend on the block size alone, so the archive does not depend on the threads. */
#include <stdio.h>

#include "artefacts/file/frame.h"
#include "artefacts/file/select.h"
#include "artefacts/file/work.h"

#define METADATA_MAX (UINT64_C(1) << 30)

typedef struct encoder_job {
    const uint8_t *raw;
    size_t raw_n;
    uint64_t number;
    uint8_t *coded;
    block_header header;
} encoder_job;

struct pith_encoder {
    pith_ctx *ctx;
    pith_write_fn write;
    void *opaque;
    select_plan plan;
    pith_buffer recipe;
    size_t block_size;
    bool verify;
    uint64_t content_size; /* promised, or PITH_SIZE_UNKNOWN */
    pith_status status;    /* the first failure */
    bool finished;

    pith_buffer raw; /* gathered, not yet coded */
    size_t batch_n;  /* blocks coded at once */
    encoder_job *jobs;
    uint64_t raw_total, n_blocks;
    size_t header_n; /* 0: the frame has not begun */
    pith_hash *hash;
    pith_buffer index;
};

void pith_encode_options_init(pith_encode_options *options) {
    *options = (pith_encode_options){
        .size = sizeof *options, .level = PITH_FILE_LEVEL_DEFAULT, .verify = -1, .content_size = PITH_SIZE_UNKNOWN};
}

static pith_status options_check(pith_ctx *ctx, const pith_encode_options *o) {
    if (o->size != sizeof *o) return pith_fail(ctx, PITH_E_ARGUMENT, "encode options were not initialised");
    if (!o->recipe && (o->level < PITH_FILE_LEVEL_MIN || o->level > PITH_FILE_LEVEL_MAX))
        return pith_fail(ctx, PITH_E_ARGUMENT, "level %d, levels are %d to %d", o->level, PITH_FILE_LEVEL_MIN,
                         PITH_FILE_LEVEL_MAX);
    if (o->block_size && (o->block_size < PITH_FILE_BLOCK_MIN || o->block_size > PITH_FILE_BLOCK_MAX))
        return pith_fail(ctx, PITH_E_ARGUMENT, "block size %zu, sizes are %zu to %zu bytes", o->block_size,
                         PITH_FILE_BLOCK_MIN, PITH_FILE_BLOCK_MAX);
    if (o->verify < -1 || o->verify > 1) return pith_fail(ctx, PITH_E_ARGUMENT, "verify is -1, 0 or 1");
    return PITH_OK;
}

/* Blocks at once: one per thread, fewer when the session's memory is short, never none. */
static size_t batch_size(const pith_encoder *e) {
    uint64_t limit = pith_ctx_memory(e->ctx), used = pith_memory_used(e->ctx);
    uint64_t each = 2 * e->block_size + select_encode_memory(&e->plan, e->block_size);
    if (e->verify) each += select_decode_memory(&e->plan, e->block_size);
    uint64_t fit = used < limit ? (limit - used) / each : 0;
    if (e->content_size != PITH_SIZE_UNKNOWN) fit = PITH_MIN(fit, e->content_size / e->block_size + 1);
    return (size_t)PITH_MAX(PITH_MIN(fit, pith_ctx_threads(e->ctx)), 1);
}

pith_status pith_encoder_new(pith_ctx *ctx, const pith_encode_options *options, pith_write_fn write, void *opaque,
                             pith_encoder **encoder) {
    pith_begin(ctx);
    *encoder = NULL;
    pith_encode_options defaults;
    if (!options) {
        pith_encode_options_init(&defaults);
        options = &defaults;
    }
    pith_status status = options_check(ctx, options);
    if (status) return status;
    if (!write) return pith_fail(ctx, PITH_E_ARGUMENT, "an encoder needs somewhere to write to");
    pith_encoder *e = pith_alloc(ctx, sizeof *e);
    if (!e) return pith_alloc_status(ctx);
    *e = (pith_encoder){.ctx = ctx, .write = write, .opaque = opaque, .content_size = options->content_size};
    status = select_plan_make(ctx, options->level, options->recipe, &e->plan, &e->recipe);
    e->block_size = options->block_size  ? options->block_size
                    : e->plan.block_size ? e->plan.block_size
                                         : PITH_FILE_BLOCK_DEFAULT;
    if (!status && e->recipe.size > PITH_FILE_RECIPE_MAX)
        status = pith_fail(ctx, PITH_E_ARGUMENT, "a recipe of %zu bytes, at most %d are allowed", e->recipe.size,
                           PITH_FILE_RECIPE_MAX);
    if (!status) {
        e->verify = options->verify < 0 ? e->plan.floats : options->verify;
        e->plan.verify = e->verify;
        e->batch_n = batch_size(e);
        e->jobs = pith_alloc(ctx, e->batch_n * sizeof *e->jobs);
        e->hash = e->jobs ? pith_hash_new(ctx) : NULL;
        if (!e->hash) status = pith_alloc_status(ctx);
    }
    if (status) {
        pith_encoder_free(e);
        return status;
    }
    *encoder = e;
    return PITH_OK;
}

void pith_encoder_free(pith_encoder *e) {
    if (!e) return;
    pith_ctx *ctx = e->ctx;
    pith_buffer_free(ctx, &e->recipe);
    pith_buffer_free(ctx, &e->raw);
    pith_buffer_free(ctx, &e->index);
    pith_hash_free(ctx, e->hash);
    pith_free(ctx, e->jobs);
    pith_free(ctx, e);
}

static pith_status emit(pith_encoder *e, const void *data, size_t n) {
    if (e->write(e->opaque, data, n)) return pith_fail(e->ctx, PITH_E_IO, "writing the archive failed");
    return PITH_OK;
}

/* ---- one block, on any thread --------------------------------------------------- */

static pith_status verify_block(pith_encoder *e, const encoder_job *job) {
    uint8_t *again = pith_alloc(e->ctx, job->raw_n);
    if (!again) return pith_alloc_status(e->ctx);
    pith_phase(1, job->header.transformed_n); /* all that is left */
    pith_status status = block_decode(e->ctx, &job->header, job->coded, again);
    if (!status && memcmp(again, job->raw, job->raw_n) != 0) status = PITH_E_CHECK;
    pith_free(e->ctx, again);
    if (status == PITH_E_FORMAT || status == PITH_E_CHECK || status == PITH_E_TRUNCATED)
        return pith_fail(e->ctx, PITH_E_INTERNAL, "the coded block does not decode to what went in");
    return status;
}

static pith_status encode_job(void *arg, size_t i) {
    pith_encoder *e = arg;
    encoder_job *job = &e->jobs[i];
    job->coded = pith_alloc(e->ctx, job->raw_n);
    if (!job->coded) return pith_alloc_status(e->ctx);
    pith_status status =
        select_block(e->ctx, &e->plan, job->raw, job->raw_n, job->number == 0, job->coded, &job->header);
    return !status && e->verify ? verify_block(e, job) : status;
}

/* ---- frame -------------------------------------------------------------------------- */

static pith_status begin_frame(pith_encoder *e, const block_header *single, bool is_single) {
    frame_header h = {.major = FRAME_MAJOR, .minor = FRAME_MINOR, .level = e->plan.level, .single = is_single};
    h.numerics = e->plan.floats ? FRAME_NUMERICS_LANES16 : FRAME_NUMERICS_INTEGER;
    h.recipe_n = e->recipe.size;
    if (h.recipe_n) memcpy(h.recipe, e->recipe.data, h.recipe_n);
    if (is_single) {
        h.size_known = true;
        if (single) {
            h.content_size = single->raw_n;
            h.memory = block_decode_memory(single);
            h.ns_per_byte = block_decode_ns(single) / (double)single->raw_n;
        } else {
            h.numerics = FRAME_NUMERICS_INTEGER;
        }
    } else {
        h.size_known = e->content_size != PITH_SIZE_UNKNOWN;
        h.content_size = e->content_size;
        h.memory = select_decode_memory(&e->plan, e->block_size);
        h.ns_per_byte = select_decode_ns_per_byte(&e->plan);
    }
    uint8_t bytes[FRAME_HEADER_MAX];
    e->header_n = frame_header_put(bytes, &h);
    pith_status status = emit(e, bytes, e->header_n);
    if (status || is_single) return status;
    uint8_t number[PITH_VARINT_MAX];
    return pith_buffer_append(e->ctx, &e->index, number, pith_varint_put(number, e->header_n));
}

static pith_status write_job(pith_encoder *e, const encoder_job *job, bool single) {
    uint8_t bytes[FRAME_BLOCK_MAX];
    size_t n = frame_block_put(bytes, &job->header, single);
    pith_status status = emit(e, bytes, n);
    if (!status) status = emit(e, job->coded, job->header.coded_n);
    if (status || single) return status;
    uint8_t entry[FRAME_ENTRY_MAX];
    return pith_buffer_append(e->ctx, &e->index, entry, frame_entry_put(entry, job->raw_n, n + job->header.coded_n));
}

/* Codes raw[n], at most batch_n blocks; `all` when it is the whole content. */
static pith_status run_batch(pith_encoder *e, const uint8_t *raw, size_t n, bool all) {
    size_t n_jobs = 0;
    for (size_t at = 0; at < n; at += e->block_size, n_jobs++)
        e->jobs[n_jobs] =
            (encoder_job){.raw = raw + at, .raw_n = PITH_MIN(e->block_size, n - at), .number = e->n_blocks + n_jobs};
    bool single = all && n_jobs <= 1;
    size_t failed = 0;
    pith_status status = PITH_OK;
    if (n_jobs) {
        work_run work = {.ctx = e->ctx,
                         .n = n_jobs,
                         .fn = encode_job,
                         .arg = e,
                         .done_bytes = e->raw_total,
                         .total_bytes = e->content_size,
                         .job_bytes = n / n_jobs};
        status = work_parallel(&work, &failed);
        if (status)
            status = block_where(e->ctx, status, "block %llu at offset %llu of the input",
                                 (unsigned long long)(e->n_blocks + failed + 1),
                                 (unsigned long long)(e->raw_total + failed * e->block_size));
    }
    if (!status && !e->header_n) status = begin_frame(e, n_jobs ? &e->jobs[0].header : NULL, single);
    for (size_t i = 0; i < n_jobs && !status; i++) status = write_job(e, &e->jobs[i], single);
    for (size_t i = 0; i < n_jobs; i++) pith_free(e->ctx, e->jobs[i].coded);
    if (status) return status;
    if (!single) pith_hash_update(e->hash, raw, n);
    e->raw_total += n;
    e->n_blocks += n_jobs;
    return pith_tick(e->ctx, e->raw_total, e->content_size == PITH_SIZE_UNKNOWN ? 0 : e->content_size);
}

/* Room for what comes: small inputs must not cost a whole batch of memory. */
static pith_status reserve_raw(pith_encoder *e, size_t more) {
    size_t batch = e->batch_n * e->block_size, want = e->raw.size + more;
    if (want <= e->raw.capacity) return PITH_OK;
    if (e->content_size < batch) batch = PITH_MAX((size_t)e->content_size, want);
    size_t room = want > e->block_size || e->content_size != PITH_SIZE_UNKNOWN ? batch : PITH_MIN(batch, 2 * want);
    return pith_buffer_reserve(e->ctx, &e->raw, room - e->raw.size);
}

static pith_status add(pith_encoder *e, const uint8_t *data, size_t n) {
    size_t batch = e->batch_n * e->block_size;
    while (n) {
        pith_status status;
        size_t take;
        if (e->raw.size == 0 && n > batch) {
            /* a whole batch lies in the caller's memory, and more comes after it */
            take = batch;
            status = run_batch(e, data, take, false);
        } else if (e->raw.size == batch) {
            take = 0;
            status = run_batch(e, e->raw.data, batch, false);
            e->raw.size = 0;
        } else {
            take = PITH_MIN(batch - e->raw.size, n);
            status = reserve_raw(e, take);
            if (!status) status = pith_buffer_append(e->ctx, &e->raw, data, take);
        }
        if (status) return status;
        data += take;
        n -= take;
    }
    return PITH_OK;
}

pith_status pith_encoder_write(pith_encoder *e, const void *data, size_t n) {
    if (e->status) return e->status;
    pith_begin(e->ctx);
    if (e->finished) return e->status = pith_fail(e->ctx, PITH_E_ARGUMENT, "the archive is already finished");
    uint64_t gathered = e->raw_total + e->raw.size;
    if (n > e->content_size - PITH_MIN(gathered, e->content_size))
        return e->status = pith_fail(e->ctx, PITH_E_ARGUMENT, "more than the %llu bytes that were promised",
                                     (unsigned long long)e->content_size);
    return e->status = add(e, data, n);
}

pith_status pith_encoder_metadata(pith_encoder *e, const void *data, size_t n) {
    if (e->status) return e->status;
    pith_begin(e->ctx);
    if (e->raw_total || e->raw.size || e->finished)
        return pith_fail(e->ctx, PITH_E_ARGUMENT, "metadata comes before the content");
    if (n > METADATA_MAX) return pith_fail(e->ctx, PITH_E_ARGUMENT, "metadata of more than 1 GiB");
    uint8_t head[FRAME_SKIP_MAX];
    e->status = emit(e, head, frame_skip_put(head, n));
    if (!e->status && n) e->status = emit(e, data, n);
    return e->status;
}

static pith_status end_frame(pith_encoder *e) {
    uint8_t bytes[FRAME_INDEX_END_MAX + FRAME_TAIL_BYTES];
    bytes[0] = FRAME_END_MARK;
    pith_status status = emit(e, bytes, 1);
    if (status) return status;
    size_t at = frame_entry_end_put(bytes, e->raw_total, pith_hash_value(e->hash));
    status = pith_buffer_append(e->ctx, &e->index, bytes, at);
    if (status) return status;
    store32(bytes, (uint32_t)pith_hash64(e->index.data, e->index.size));
    status = pith_buffer_append(e->ctx, &e->index, bytes, 4);
    if (!status) status = pith_buffer_append(e->ctx, &e->index, bytes, frame_tail_put(bytes, e->index.size));
    return status ? status : emit(e, e->index.data, e->index.size);
}

pith_status pith_encoder_finish(pith_encoder *e) {
    if (e->status) return e->status;
    pith_begin(e->ctx);
    if (e->finished) return PITH_OK;
    uint64_t gathered = e->raw_total + e->raw.size;
    if (e->content_size != PITH_SIZE_UNKNOWN && gathered != e->content_size)
        return e->status = pith_fail(e->ctx, PITH_E_ARGUMENT, "%llu bytes came, %llu were promised",
                                     (unsigned long long)gathered, (unsigned long long)e->content_size);
    if (e->raw.size || !e->header_n) e->status = run_batch(e, e->raw.data, e->raw.size, e->n_blocks == 0);
    if (!e->status && e->index.size) e->status = end_frame(e);
    if (!e->status) e->finished = true;
    return e->status;
}
