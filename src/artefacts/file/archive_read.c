/* Content of an open archive: the blocks of a range, decoded in parallel. The last block stays
 * decoded, so that small reads in order decode every block once. */
#include "artefacts/file/archive.h"
#include "artefacts/file/work.h"

typedef struct read_job {
    size_t block;
    block_header header;
    uint8_t *coded, *raw;
} read_job;

typedef struct read_batch {
    pith_archive *a;
    read_job *jobs;
    size_t n;
} read_batch;

pith_status archive_block_header(pith_archive *a, size_t i, block_header *b, size_t *header_n) {
    const archive_block *row = &a->blocks[i];
    frame_header h = {.single = a->frames[row->frame].single, .content_size = row->raw_n};
    uint8_t bytes[FRAME_BLOCK_MAX];
    size_t n = PITH_MIN(sizeof bytes, row->archive_n);
    bool end = false;
    pith_status status = archive_fetch(a, row->offset, bytes, n);
    if (!status) status = frame_block_get(a->ctx, bytes, n, &h, b, &end, header_n);
    if (!status && (!*header_n || end || b->raw_n != row->raw_n || *header_n + b->coded_n != row->archive_n))
        status = pith_fail(a->ctx, PITH_E_FORMAT, "the block does not agree with the index");
    if (!status) return PITH_OK;
    return block_where(a->ctx, status, "block %zu at offset %llu", i + 1, (unsigned long long)row->offset);
}

/* First block that ends after `offset`; offset < content_size. */
static size_t find_block(const pith_archive *a, uint64_t offset) {
    size_t low = 0, high = a->n_blocks - 1;
    while (low < high) {
        size_t mid = low + (high - low + 1) / 2;
        if (a->blocks[mid].content_offset <= offset)
            low = mid;
        else
            high = mid - 1;
    }
    return low;
}

/* Where [offset, offset + n) and the block meet: from that place in the block, so many bytes. */
static size_t overlap(const archive_block *row, uint64_t offset, size_t n, size_t *from, size_t *to) {
    uint64_t begin = PITH_MAX(row->content_offset, offset),
             end = PITH_MIN(row->content_offset + row->raw_n, offset + n);
    *from = (size_t)(begin - row->content_offset);
    *to = (size_t)(begin - offset);
    return (size_t)(end - begin);
}

static pith_status read_one(void *arg, size_t i) {
    read_batch *batch = arg;
    read_job *job = &batch->jobs[i];
    job->raw = pith_alloc(batch->a->ctx, job->header.raw_n);
    if (!job->raw) return pith_alloc_status(batch->a->ctx);
    pith_phase(1, job->header.transformed_n);
    return block_decode(batch->a->ctx, &job->header, job->coded, job->raw);
}

/* Reads headers and payloads of blocks from `first` on while they fit memory, at most max_jobs. */
static pith_status gather(read_batch *batch, size_t first, size_t last, size_t max_jobs, block_time *time) {
    pith_archive *a = batch->a;
    uint64_t limit = pith_ctx_memory(a->ctx), used = pith_memory_used(a->ctx), need = 0;
    uint64_t room = used < limit ? limit - used : 0;
    for (size_t i = first; i <= last && batch->n < max_jobs; i++) {
        read_job job = {.block = i};
        size_t header_n;
        pith_status status = archive_block_header(a, i, &job.header, &header_n);
        if (status) return status;
        uint64_t more = block_decode_memory(&job.header);
        if (more > room - PITH_MIN(need, room)) {
            if (batch->n) return PITH_OK;
            return pith_fail(a->ctx, PITH_E_LIMIT, "decoding takes %llu MiB of memory, %llu MiB are left",
                             (unsigned long long)(more >> 20) + 1, (unsigned long long)(room >> 20));
        }
        need += more;
        status = block_time_spend(a->ctx, time, block_decode_ns(&job.header), (double)job.header.coded_n);
        if (status) return status;
        job.coded = pith_alloc(a->ctx, job.header.coded_n);
        if (!job.coded) return pith_alloc_status(a->ctx);
        batch->jobs[batch->n++] = job;
        status = archive_fetch(a, a->blocks[i].offset + header_n, job.coded, job.header.coded_n);
        if (status) return status;
    }
    return PITH_OK;
}

static pith_status read_batch_run(read_batch *batch, uint64_t offset, uint8_t *dst, size_t n, uint64_t done) {
    pith_archive *a = batch->a;
    size_t failed, from, to, part;
    work_run work = {.ctx = a->ctx,
                     .n = batch->n,
                     .fn = read_one,
                     .arg = batch,
                     .done_bytes = done,
                     .total_bytes = n,
                     .job_bytes = batch->jobs[0].header.raw_n};
    pith_status status = work_parallel(&work, &failed);
    if (status) {
        size_t block = batch->jobs[failed].block;
        return block_where(a->ctx, status, "block %zu at offset %llu", block + 1,
                           (unsigned long long)a->blocks[block].offset);
    }
    for (size_t i = 0; i < batch->n; i++) {
        part = overlap(&a->blocks[batch->jobs[i].block], offset, n, &from, &to);
        memcpy(dst + to, batch->jobs[i].raw + from, part);
    }
    read_job *last = &batch->jobs[batch->n - 1];
    a->cached_block = last->block;
    a->cached_raw = last->raw;
    last->raw = NULL;
    return PITH_OK;
}

static void drop_cache(pith_archive *a) {
    pith_free(a->ctx, a->cached_raw);
    a->cached_raw = NULL;
    a->cached_block = SIZE_MAX;
}

pith_status pith_archive_read(pith_archive *a, uint64_t offset, void *dst, size_t n, size_t *got) {
    pith_begin(a->ctx);
    *got = 0;
    if (offset >= a->content_size || n == 0) return PITH_OK;
    n = (size_t)PITH_MIN(n, a->content_size - offset);
    size_t i = find_block(a, offset), last = find_block(a, offset + n - 1), from, to, part;
    if (i == a->cached_block) {
        part = overlap(&a->blocks[i], offset, n, &from, &to);
        memcpy((uint8_t *)dst + to, a->cached_raw + from, part);
        i++;
    }
    if (i > last) {
        *got = n;
        return PITH_OK;
    }
    drop_cache(a);
    size_t max_jobs = PITH_MIN((size_t)pith_ctx_threads(a->ctx), last - i + 1);
    read_batch batch = {.a = a, .jobs = pith_zalloc(a->ctx, max_jobs * sizeof *batch.jobs)};
    if (!batch.jobs) return pith_alloc_status(a->ctx);
    block_time time = {.max_seconds = a->options.max_seconds};
    pith_status status = PITH_OK;
    while (i <= last && !status) {
        drop_cache(a);
        uint64_t done = a->blocks[i].content_offset - PITH_MIN(offset, a->blocks[i].content_offset);
        status = gather(&batch, i, last, max_jobs, &time);
        if (!status) status = read_batch_run(&batch, offset, dst, n, done);
        i += batch.n;
        for (size_t j = 0; j < batch.n; j++) {
            pith_free(a->ctx, batch.jobs[j].coded);
            pith_free(a->ctx, batch.jobs[j].raw);
        }
        batch.n = 0;
        if (!status) status = pith_tick(a->ctx, PITH_MIN(done + n, n), n);
    }
    pith_free(a->ctx, batch.jobs);
    if (!status) *got = n;
    return status;
}
