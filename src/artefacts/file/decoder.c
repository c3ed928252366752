/* Streaming decoder: a state machine over pieces of any size. Whole coded blocks are gathered,
 * a batch of them is decoded in parallel, and the content written in order. The index that ends
 * a frame is compared, byte for byte through its hash, with the blocks that came before it. */
#include "artefacts/file/frame.h"
#include "artefacts/file/work.h"

#define PIECE ((size_t)1 << 16)

typedef enum decoder_state {
    AT_FRAME,
    AT_BLOCK,
    IN_PAYLOAD,
    AT_INDEX,
    AT_ENTRY,
    AT_INDEX_END,
    AT_TAIL,
    IN_SKIPPED,
} decoder_state;

typedef struct decoder_job {
    block_header header;
    uint64_t number, offset; /* in the archive; messages count from 1, as lists for people do */
    pith_buffer coded;
    uint8_t *raw;
} decoder_job;

struct pith_decoder {
    pith_ctx *ctx;
    pith_decode_options options;
    pith_write_fn write;
    void *opaque;
    pith_status status; /* the first failure */
    bool finished;

    decoder_state state;
    pith_buffer in; /* taken in, not yet understood: in.data[at .. in.size) */
    size_t at;
    uint64_t offset; /* in the archive, of in.data[at] */
    uint64_t skip_left;

    frame_header header;
    uint64_t n_frames, n_blocks;
    uint64_t frame_raw; /* claimed by the blocks of this frame so far */
    uint64_t written;
    pith_hash *content;          /* raw bytes of this frame */
    pith_hash *index, *expected; /* index bytes as read, as the blocks say */
    uint64_t index_n;

    decoder_job *jobs; /* [n_threads] */
    size_t n_threads, n_jobs;
    uint64_t jobs_memory, jobs_raw;
    block_time time;
};

void pith_decode_options_init(pith_decode_options *options) {
    *options = (pith_decode_options){
        .size = sizeof *options, .max_content_size = PITH_SIZE_UNKNOWN, .archive_size = PITH_SIZE_UNKNOWN};
}

pith_status pith_decoder_new(pith_ctx *ctx, const pith_decode_options *options, pith_write_fn write, void *opaque,
                             pith_decoder **decoder) {
    pith_begin(ctx);
    *decoder = NULL;
    pith_decode_options defaults;
    pith_decode_options_init(&defaults);
    if (options && options->size != sizeof *options)
        return pith_fail(ctx, PITH_E_ARGUMENT, "decode options were not initialised");
    if (options && !(options->max_seconds >= 0)) return pith_fail(ctx, PITH_E_ARGUMENT, "max_seconds is negative");
    pith_decoder *d = pith_alloc(ctx, sizeof *d);
    if (!d) return pith_alloc_status(ctx);
    *d = (pith_decoder){.ctx = ctx, .options = options ? *options : defaults, .write = write, .opaque = opaque};
    d->time.max_seconds = d->options.max_seconds;
    d->n_threads = pith_ctx_threads(ctx);
    d->jobs = pith_zalloc(ctx, d->n_threads * sizeof *d->jobs);
    if (!d->jobs) {
        pith_decoder_free(d);
        return pith_alloc_status(ctx);
    }
    *decoder = d;
    return PITH_OK;
}

static void free_jobs(pith_decoder *d) {
    for (size_t i = 0; i < d->n_jobs; i++) {
        pith_buffer_free(d->ctx, &d->jobs[i].coded);
        pith_free(d->ctx, d->jobs[i].raw);
        d->jobs[i].raw = NULL;
    }
    d->n_jobs = 0;
    d->jobs_memory = d->jobs_raw = 0;
}

static void free_hashes(pith_decoder *d) {
    pith_hash_free(d->ctx, d->content);
    pith_hash_free(d->ctx, d->index);
    pith_hash_free(d->ctx, d->expected);
    d->content = d->index = d->expected = NULL;
}

void pith_decoder_free(pith_decoder *d) {
    if (!d) return;
    pith_ctx *ctx = d->ctx;
    if (d->jobs) free_jobs(d);
    free_hashes(d);
    pith_buffer_free(ctx, &d->in);
    pith_free(ctx, d->jobs);
    pith_free(ctx, d);
}

uint64_t pith_decoder_written(const pith_decoder *d) { return d->written; }

/* ---- decoding a batch --------------------------------------------------------------- */

static pith_status decode_job(void *arg, size_t i) {
    pith_decoder *d = arg;
    decoder_job *job = &d->jobs[i];
    job->raw = pith_alloc(d->ctx, job->header.raw_n);
    if (!job->raw) return pith_alloc_status(d->ctx);
    pith_phase(1, job->header.transformed_n);
    return block_decode(d->ctx, &job->header, job->coded.data, job->raw);
}

static pith_status run_batch(pith_decoder *d) {
    if (!d->n_jobs) return PITH_OK;
    size_t failed = 0;
    uint64_t total = d->n_frames == 1 && d->header.size_known ? d->header.content_size : 0;
    work_run work = {.ctx = d->ctx,
                     .n = d->n_jobs,
                     .fn = decode_job,
                     .arg = d,
                     .done_bytes = d->written,
                     .total_bytes = total,
                     .job_bytes = d->jobs_raw / d->n_jobs};
    pith_status status = work_parallel(&work, &failed);
    if (status)
        status =
            block_where(d->ctx, status, "block %llu at offset %llu", (unsigned long long)d->jobs[failed].number + 1,
                        (unsigned long long)d->jobs[failed].offset);
    for (size_t i = 0; i < d->n_jobs && !status; i++) {
        size_t n = d->jobs[i].header.raw_n;
        if (d->content) pith_hash_update(d->content, d->jobs[i].raw, n);
        if (d->write && d->write(d->opaque, d->jobs[i].raw, n))
            status = pith_fail(d->ctx, PITH_E_IO, "writing the content failed");
        d->written += n;
    }
    free_jobs(d);
    return status ? status : pith_tick(d->ctx, d->written, total);
}

/* ---- frames ----------------------------------------------------------------------------- */

static pith_status new_hash(pith_decoder *d, pith_hash **hash) {
    *hash = pith_hash_new(d->ctx);
    return *hash ? PITH_OK : pith_alloc_status(d->ctx);
}

static pith_status begin_frame(pith_decoder *d, size_t header_n) {
    d->frame_raw = 0;
    d->n_frames++;
    pith_status status = frame_claims_check(d->ctx, &d->header, &d->options, d->written);
    if (status) return status;
    if (d->header.single) {
        d->state = d->header.content_size ? AT_BLOCK : AT_FRAME;
        return PITH_OK;
    }
    free_hashes(d);
    status = new_hash(d, &d->content);
    if (!status) status = new_hash(d, &d->index);
    if (!status) status = new_hash(d, &d->expected);
    if (status) return status;
    uint8_t number[PITH_VARINT_MAX];
    pith_hash_update(d->expected, number, pith_varint_put(number, header_n));
    d->state = AT_BLOCK;
    return PITH_OK;
}

static pith_status step_frame(pith_decoder *d, const uint8_t *p, size_t n, size_t *used) {
    frame_kind kind;
    pith_status status = n ? frame_kind_get(d->ctx, p, n, &kind) : PITH_OK;
    if (status && d->n_frames)
        return block_where(d->ctx, status, "offset %llu, after the end of a frame", (unsigned long long)d->offset);
    if (status || !n || kind == FRAME_MORE) return status;
    if (kind == FRAME_SKIPPABLE) {
        status = frame_skip_get(d->ctx, p, n, &d->skip_left, used);
        if (!status && *used) d->state = IN_SKIPPED;
    } else {
        status = frame_header_get(d->ctx, p, n, &d->header, used);
        if (!status && *used) status = begin_frame(d, *used);
    }
    if (status) return block_where(d->ctx, status, "frame at offset %llu", (unsigned long long)d->offset);
    return PITH_OK;
}

/* ---- blocks -------------------------------------------------------------------------------- */

static pith_status at_block(pith_decoder *d, pith_status status) {
    return block_where(d->ctx, status, "block %llu at offset %llu", (unsigned long long)d->n_blocks + 1,
                       (unsigned long long)d->offset);
}

/* All that can be refused before the payload is read. */
static pith_status check_block(pith_decoder *d, const block_header *b) {
    const frame_header *h = &d->header;
    if (h->size_known && b->raw_n > h->content_size - d->frame_raw)
        return pith_fail(d->ctx, PITH_E_FORMAT, "more content than the frame header says");
    if (b->raw_n > d->options.max_content_size - PITH_MIN(d->written + d->jobs_raw, d->options.max_content_size))
        return pith_fail(d->ctx, PITH_E_LIMIT, "more content than the limit of %llu bytes",
                         (unsigned long long)d->options.max_content_size);
    return block_time_spend(d->ctx, &d->time, block_decode_ns(b), (double)b->coded_n);
}

/* One block alone must fit the memory limit; further ones join the batch while they fit. */
static pith_status make_room(pith_decoder *d, const block_header *b) {
    uint64_t need = block_decode_memory(b), limit = pith_ctx_memory(d->ctx);
    uint64_t held = pith_memory_used(d->ctx);
    for (size_t i = 0; i < d->n_jobs; i++) held -= d->jobs[i].coded.capacity;
    uint64_t room = held < limit ? limit - held : 0;
    pith_status status = PITH_OK;
    if (d->n_jobs == d->n_threads || need > room - PITH_MIN(room, d->jobs_memory)) status = run_batch(d);
    if (status) return status;
    if (need > room)
        return at_block(d, pith_fail(d->ctx, PITH_E_LIMIT, "decoding takes %llu MiB of memory, %llu MiB are left",
                                     (unsigned long long)(need >> 20) + 1, (unsigned long long)(room >> 20)));
    d->jobs_memory += need;
    return PITH_OK;
}

static pith_status begin_block(pith_decoder *d, const block_header *b, size_t header_n) {
    pith_status status = check_block(d, b);
    if (status) return at_block(d, status);
    status = make_room(d, b);
    if (status) return status;
    decoder_job *job = &d->jobs[d->n_jobs++];
    *job = (decoder_job){.header = *b, .number = d->n_blocks, .offset = d->offset};
    d->jobs_raw += b->raw_n;
    d->frame_raw += b->raw_n;
    d->n_blocks++;
    if (!d->header.single) {
        uint8_t entry[FRAME_ENTRY_MAX];
        pith_hash_update(d->expected, entry, frame_entry_put(entry, b->raw_n, header_n + b->coded_n));
    }
    d->state = IN_PAYLOAD;
    return PITH_OK;
}

static pith_status end_blocks(pith_decoder *d) {
    if (d->header.size_known && d->frame_raw != d->header.content_size)
        return at_block(d, pith_fail(d->ctx, PITH_E_FORMAT, "the end, after %llu of %llu bytes of content",
                                     (unsigned long long)d->frame_raw, (unsigned long long)d->header.content_size));
    pith_status status = run_batch(d);
    if (status) return status;
    uint8_t bytes[FRAME_INDEX_END_MAX];
    pith_hash_update(d->expected, bytes, frame_entry_end_put(bytes, d->frame_raw, pith_hash_value(d->content)));
    d->index_n = 0;
    d->state = AT_INDEX;
    return PITH_OK;
}

static pith_status step_block(pith_decoder *d, const uint8_t *p, size_t n, size_t *used) {
    block_header b;
    bool end;
    pith_status status = frame_block_get(d->ctx, p, n, &d->header, &b, &end, used);
    if (status) return at_block(d, status);
    if (!*used) return PITH_OK;
    return end ? end_blocks(d) : begin_block(d, &b, *used);
}

static pith_status step_payload(pith_decoder *d, const uint8_t *p, size_t n, size_t *used) {
    decoder_job *job = &d->jobs[d->n_jobs - 1];
    size_t left = job->header.coded_n - job->coded.size, take = PITH_MIN(left, n);
    /* memory follows what has arrived, not what was claimed; but no further than that */
    size_t room = job->coded.capacity - job->coded.size;
    if (take > room) {
        size_t more = PITH_MIN(left, PITH_MAX(take, job->coded.size));
        pith_status status = pith_buffer_reserve(d->ctx, &job->coded, more);
        if (status) return status;
    }
    pith_status status = pith_buffer_append(d->ctx, &job->coded, p, take);
    if (status) return status;
    *used = take;
    if (take < left) return PITH_OK;
    d->state = d->header.single ? AT_FRAME : AT_BLOCK;
    return d->header.single ? run_batch(d) : PITH_OK;
}

/* ---- index and tail --------------------------------------------------------------------------- */

static pith_status step_index(pith_decoder *d, const uint8_t *p, size_t n, size_t *used) {
    uint64_t a = 0, b = 0;
    uint32_t check = 0;
    pith_status status;
    if (d->state == AT_INDEX) {
        status = frame_index_begin_get(d->ctx, p, n, &a, used);
        if (!status && *used) d->state = AT_ENTRY;
    } else if (d->state == AT_ENTRY) {
        status = frame_entry_get(d->ctx, p, n, &a, &b, used);
        if (!status && *used && a == 0) d->state = AT_INDEX_END;
    } else {
        status = frame_index_end_get(d->ctx, p, n, &a, &b, &check, used);
        if (!status && *used) d->state = AT_TAIL;
    }
    if (status) return status;
    size_t hashed = d->state == AT_TAIL ? *used - 4 : *used;
    pith_hash_update(d->index, p, hashed);
    d->index_n += *used;
    if (d->state != AT_TAIL) return PITH_OK;
    uint64_t value = pith_hash_value(d->index);
    if (check != (uint32_t)value) return pith_fail(d->ctx, PITH_E_CHECK, "it does not match its check value");
    if (value != pith_hash_value(d->expected))
        return pith_fail(d->ctx, PITH_E_CHECK,
                         "it does not agree with the blocks, or the content with its check value");
    return PITH_OK;
}

static pith_status step_tail(pith_decoder *d, const uint8_t *p, size_t n, size_t *used) {
    uint64_t index_n;
    if (n < FRAME_TAIL_BYTES) return PITH_OK;
    if (!frame_tail_get(p, &index_n) || index_n != d->index_n)
        return pith_fail(d->ctx, PITH_E_FORMAT, "malformed end of frame");
    *used = FRAME_TAIL_BYTES;
    d->state = AT_FRAME;
    return PITH_OK;
}

/* ---- the machine ----------------------------------------------------------------------------------- */

static pith_status step(pith_decoder *d, size_t *used) {
    const uint8_t *p = d->in.data + d->at;
    size_t n = d->in.size - d->at;
    pith_status status = PITH_OK;
    *used = 0;
    switch (d->state) {
    case AT_FRAME: return step_frame(d, p, n, used);
    case AT_BLOCK: return step_block(d, p, n, used);
    case IN_PAYLOAD: return step_payload(d, p, n, used);
    case IN_SKIPPED:
        *used = (size_t)PITH_MIN(n, d->skip_left);
        d->skip_left -= *used;
        if (!d->skip_left) d->state = AT_FRAME;
        return PITH_OK;
    case AT_INDEX:
    case AT_ENTRY:
    case AT_INDEX_END: status = step_index(d, p, n, used); break;
    case AT_TAIL: status = step_tail(d, p, n, used); break;
    }
    return status ? block_where(d->ctx, status, "index at offset %llu", (unsigned long long)d->offset) : PITH_OK;
}

static pith_status take_piece(pith_decoder *d, const uint8_t *data, size_t n) {
    pith_status status = pith_buffer_append(d->ctx, &d->in, data, n);
    while (!status) {
        size_t used = 0;
        decoder_state before = d->state;
        status = step(d, &used);
        d->at += used;
        d->offset += used;
        if (!used && d->state == before) break; /* needs more */
    }
    if (d->at) memmove(d->in.data, d->in.data + d->at, d->in.size - d->at);
    d->in.size -= d->at;
    d->at = 0;
    return status;
}

pith_status pith_decoder_write(pith_decoder *d, const void *data, size_t n) {
    if (d->status) return d->status;
    pith_begin(d->ctx);
    if (d->finished) return d->status = pith_fail(d->ctx, PITH_E_ARGUMENT, "the archive has already ended");
    const uint8_t *p = data;
    for (size_t take; n && !d->status; p += take, n -= take) {
        take = PITH_MIN(n, PIECE);
        d->status = take_piece(d, p, take);
    }
    return d->status;
}

pith_status pith_decoder_finish(pith_decoder *d) {
    if (d->status) return d->status;
    pith_begin(d->ctx);
    d->finished = true;
    if (d->state == AT_FRAME && d->in.size == 0 && d->n_frames) return PITH_OK;
    const char *what =
        d->n_frames == 0 && d->offset + d->in.size == 0 ? "the archive is empty" : "the archive ends too early";
    return d->status = pith_fail(d->ctx, PITH_E_TRUNCATED, "%s, at offset %llu", what,
                                 (unsigned long long)(d->offset + d->in.size));
}
