/* Random access: the map of an archive from its headers and indexes, and the blocks that hold a
 * range. Where the archive is one frame its index is read from the end; in any other shape the
 * frames are walked from the front, payloads passed over. */
#include "artefacts/file/archive.h"

/* ---- reading the archive --------------------------------------------------------------- */

pith_status archive_fetch(pith_archive *a, uint64_t offset, void *dst, size_t n) {
    if (offset > a->size || n > a->size - offset)
        return pith_fail(a->ctx, PITH_E_TRUNCATED, "the archive ends too early");
    if (n && a->read_at(a->opaque, offset, dst, n)) return pith_fail(a->ctx, PITH_E_IO, "reading the archive failed");
    return PITH_OK;
}

static int read_memory(void *opaque, uint64_t offset, void *data, size_t size) {
    memcpy(data, (const uint8_t *)opaque + offset, size);
    return 0;
}

/* A growing table: room for one more element. */
static pith_status table_room(pith_ctx *ctx, void **rows, size_t *capacity, size_t n, size_t row_n) {
    if (n < *capacity) return PITH_OK;
    size_t more = *capacity ? 2 * *capacity : 8;
    if (more > SIZE_MAX / row_n) return pith_fail(ctx, PITH_E_LIMIT, "too many blocks");
    void *next = pith_alloc(ctx, more * row_n);
    if (!next) return pith_alloc_status(ctx);
    if (n) memcpy(next, *rows, n * row_n);
    pith_free(ctx, *rows);
    *rows = next;
    *capacity = more;
    return PITH_OK;
}

static pith_status add_block(pith_archive *a, uint64_t offset, uint64_t archive_n, uint64_t raw_n) {
    void *rows = a->blocks;
    pith_status status = table_room(a->ctx, &rows, &a->blocks_capacity, a->n_blocks, sizeof *a->blocks);
    a->blocks = rows;
    if (status) return status;
    if (raw_n > UINT64_MAX - 1 - a->content_size)
        return pith_fail(a->ctx, PITH_E_FORMAT, "more content than 64 bits count");
    a->blocks[a->n_blocks++] = (archive_block){.offset = offset,
                                               .content_offset = a->content_size,
                                               .archive_n = (uint32_t)archive_n,
                                               .raw_n = (uint32_t)raw_n,
                                               .frame = (uint32_t)(a->n_frames - 1)};
    a->content_size += raw_n;
    return PITH_OK;
}

static void drop_blocks(pith_archive *a, size_t n_blocks, uint64_t content_size) {
    a->n_blocks = n_blocks;
    a->content_size = content_size;
}

/* ---- one frame -------------------------------------------------------------------------------- */

/* index[n] without the tail: check value, entries, totals. Adds the blocks, which begin at
 * `at`; *end is where they end. */
static pith_status read_index(pith_archive *a, const uint8_t *index, size_t n, uint64_t frame_at, uint64_t at,
                              uint64_t *end) {
    pith_ctx *ctx = a->ctx;
    if (n < 4 || load32(index + n - 4) != (uint32_t)pith_hash64(index, n - 4))
        return pith_fail(ctx, PITH_E_CHECK, "the index does not match its check value");
    uint64_t header_n, raw_n = 1, archive_n, raw_total, hash, before = a->content_size;
    uint32_t check;
    size_t pos, used;
    pith_status status = frame_index_begin_get(ctx, index, n, &header_n, &pos);
    if (!status && (!pos || header_n != at - frame_at)) status = PITH_E_FORMAT;
    while (!status && raw_n) {
        status = frame_entry_get(ctx, index + pos, n - pos, &raw_n, &archive_n, &used);
        if (!status && !used) status = PITH_E_FORMAT;
        if (status || !raw_n) break;
        pos += used;
        if (archive_n > a->size - at) status = PITH_E_FORMAT;
        if (!status) status = add_block(a, at, archive_n, raw_n);
        at += archive_n;
    }
    if (!status) {
        pos++; /* the 0 */
        status = frame_index_end_get(ctx, index + pos, n - pos, &raw_total, &hash, &check, &used);
        if (!status && (used != n - pos || raw_total != a->content_size - before)) status = PITH_E_FORMAT;
    }
    *end = at;
    return status == PITH_E_FORMAT ? pith_fail(ctx, status, "malformed index") : status;
}

/* The whole rest of the archive is this frame and its index is sound: *found. */
static pith_status frame_from_tail(pith_archive *a, uint64_t frame_at, uint64_t blocks_at, bool *found) {
    uint8_t tail[FRAME_TAIL_BYTES];
    uint64_t index_n, end = 0, left = a->size - blocks_at;
    *found = false;
    if (left < FRAME_TAIL_BYTES + 1) return PITH_OK;
    pith_status status = archive_fetch(a, a->size - FRAME_TAIL_BYTES, tail, sizeof tail);
    if (status) return status;
    if (!frame_tail_get(tail, &index_n) || index_n > left - FRAME_TAIL_BYTES - 1) return PITH_OK;
    if (index_n > SIZE_MAX / 2) return PITH_OK;
    uint64_t index_at = a->size - FRAME_TAIL_BYTES - index_n;
    uint8_t *index = pith_alloc(a->ctx, (size_t)PITH_MAX(index_n, 1));
    if (!index) return pith_alloc_status(a->ctx);
    size_t n_blocks = a->n_blocks;
    uint64_t content_size = a->content_size;
    uint8_t mark = 0;
    status = archive_fetch(a, index_at, index, (size_t)index_n);
    if (!status) status = archive_fetch(a, index_at - 1, &mark, 1);
    if (!status) {
        pith_status sound = read_index(a, index, (size_t)index_n, frame_at, blocks_at, &end);
        *found = !sound && end == index_at - 1 && mark == FRAME_END_MARK;
        if (sound == PITH_E_MEMORY || sound == PITH_E_LIMIT) status = sound;
        if (!*found) drop_blocks(a, n_blocks, content_size);
        if (!*found && !status) pith_begin(a->ctx); /* not this frame's: walk, and judge what is there */
    }
    pith_free(a->ctx, index);
    return status;
}

/* The index must say what the walk has found. */
static pith_status check_index(pith_archive *a, uint64_t frame_at, size_t first_block, uint64_t *at) {
    pith_buffer want = {0};
    uint8_t bytes[FRAME_INDEX_END_MAX + FRAME_TAIL_BYTES];
    uint64_t raw_total = 0, index_n;
    uint64_t blocks_at = first_block < a->n_blocks ? a->blocks[first_block].offset : *at - 1;
    pith_status status = pith_buffer_append(a->ctx, &want, bytes, pith_varint_put(bytes, blocks_at - frame_at));
    for (size_t i = first_block; i < a->n_blocks && !status; i++) {
        raw_total += a->blocks[i].raw_n;
        status = pith_buffer_append(a->ctx, &want, bytes,
                                    frame_entry_put(bytes, a->blocks[i].raw_n, a->blocks[i].archive_n));
    }
    if (!status) status = pith_buffer_append(a->ctx, &want, bytes, frame_entry_end_put(bytes, raw_total, 0));
    size_t n = want.size;
    uint8_t *have = status ? NULL : pith_alloc(a->ctx, n + 4 + FRAME_TAIL_BYTES);
    if (!status && !have) status = pith_alloc_status(a->ctx);
    if (!status) status = archive_fetch(a, *at, have, n + 4 + FRAME_TAIL_BYTES);
    if (!status && (memcmp(want.data, have, n - 8) != 0 || load32(have + n) != (uint32_t)pith_hash64(have, n) ||
                    !frame_tail_get(have + n + 4, &index_n) || index_n != n + 4))
        status = pith_fail(a->ctx, PITH_E_CHECK, "the index does not agree with the blocks");
    *at += n + 4 + FRAME_TAIL_BYTES;
    pith_free(a->ctx, have);
    pith_buffer_free(a->ctx, &want);
    return status;
}

static pith_status walk_block(pith_archive *a, const frame_header *h, uint64_t *at, bool *end) {
    uint8_t bytes[FRAME_BLOCK_MAX];
    size_t n = (size_t)PITH_MIN(sizeof bytes, a->size - *at), used = 0;
    block_header b;
    pith_status status = archive_fetch(a, *at, bytes, n);
    if (!status) status = frame_block_get(a->ctx, bytes, n, h, &b, end, &used);
    if (!status && (!used || (!*end && b.coded_n > a->size - *at - used)))
        status = pith_fail(a->ctx, PITH_E_TRUNCATED, "the archive ends too early");
    if (!status && !*end) status = add_block(a, *at, used + b.coded_n, b.raw_n);
    if (status)
        return block_where(a->ctx, status, "block %zu at offset %llu", a->n_blocks + 1, (unsigned long long)*at);
    *at += used + (*end ? 0 : b.coded_n);
    return PITH_OK;
}

static pith_status walk_frame(pith_archive *a, const frame_header *h, uint64_t frame_at, uint64_t *at) {
    size_t first_block = a->n_blocks;
    bool end = h->single && h->content_size == 0;
    while (!end) {
        pith_status status = walk_block(a, h, at, &end);
        if (status) return status;
        if (h->single) return PITH_OK;
    }
    return h->single ? PITH_OK : check_index(a, frame_at, first_block, at);
}

static pith_status add_frame(pith_archive *a, const frame_header *h, uint64_t frame_at, uint64_t *at) {
    void *rows = a->frames;
    pith_status status = table_room(a->ctx, &rows, &a->frames_capacity, a->n_frames, sizeof *a->frames);
    a->frames = rows;
    if (status) return status;
    if (a->n_frames == UINT32_MAX) return pith_fail(a->ctx, PITH_E_LIMIT, "too many frames");
    archive_frame *f = &a->frames[a->n_frames];
    *f = (archive_frame){.offset = frame_at,
                         .first_block = a->n_blocks,
                         .content_offset = a->content_size,
                         .level = h->level,
                         .major = h->major,
                         .minor = h->minor,
                         .numerics = h->numerics,
                         .single = h->single,
                         .memory = h->memory,
                         .ns_per_byte = h->ns_per_byte};
    size_t text_n = PITH_MAX(h->recipe_n + 1, sizeof "level(0)");
    f->recipe = pith_alloc(a->ctx, text_n);
    if (!f->recipe) return pith_alloc_status(a->ctx);
    memcpy(f->recipe, h->recipe, h->recipe_n + 1);
    if (h->level) {
        memcpy(f->recipe, "level(0)", sizeof "level(0)");
        f->recipe[6] = (char)('0' + h->level);
    }
    a->n_frames++;
    bool found = false;
    if (!h->single && !a->tail_seen) {
        a->tail_seen = true;
        status = frame_from_tail(a, frame_at, *at, &found);
        if (found) *at = a->size;
    }
    if (!status && !found) status = walk_frame(a, h, frame_at, at);
    if (status) return status;
    f = &a->frames[a->n_frames - 1];
    f->size = *at - frame_at;
    if (h->size_known && h->content_size != a->content_size - f->content_offset)
        return pith_fail(a->ctx, PITH_E_FORMAT, "%llu bytes of content, the header says %llu",
                         (unsigned long long)(a->content_size - f->content_offset),
                         (unsigned long long)h->content_size);
    return PITH_OK;
}

static pith_status add_metadata(pith_archive *a, uint64_t offset, uint64_t size) {
    void *rows = a->metadata;
    pith_status status = table_room(a->ctx, &rows, &a->metadata_capacity, a->n_metadata, sizeof *a->metadata);
    a->metadata = rows;
    if (!status) a->metadata[a->n_metadata++] = (archive_metadata){offset, size};
    return status;
}

static pith_status walk_archive(pith_archive *a) {
    uint8_t bytes[FRAME_HEADER_MAX];
    uint64_t at = 0;
    if (a->size == 0) return pith_fail(a->ctx, PITH_E_TRUNCATED, "the archive is empty");
    while (at < a->size) {
        uint64_t frame_at = at, skip = 0;
        size_t n = (size_t)PITH_MIN(sizeof bytes, a->size - at), used = 0;
        frame_kind kind = FRAME_MORE;
        frame_header h;
        pith_status status = archive_fetch(a, at, bytes, n);
        if (!status) status = frame_kind_get(a->ctx, bytes, n, &kind);
        if (status) goto failed;
        if (kind == FRAME_SKIPPABLE) status = frame_skip_get(a->ctx, bytes, n, &skip, &used);
        if (kind == FRAME_CODED) status = frame_header_get(a->ctx, bytes, n, &h, &used);
        if (!status && (!used || skip > a->size - at - used))
            status = pith_fail(a->ctx, PITH_E_TRUNCATED, "the archive ends too early");
        at += used;
        if (!status && kind == FRAME_CODED) status = add_frame(a, &h, frame_at, &at);
        if (!status && kind == FRAME_SKIPPABLE) status = add_metadata(a, at, skip);
        at += skip;
    failed:
        if (status) return block_where(a->ctx, status, "frame at offset %llu", (unsigned long long)frame_at);
    }
    if (!a->n_frames) return pith_fail(a->ctx, PITH_E_TRUNCATED, "the archive holds metadata only");
    return PITH_OK;
}

/* ---- open, close, look ---------------------------------------------------------------------------- */

pith_status pith_archive_open(pith_ctx *ctx, const pith_decode_options *options, pith_read_at_fn read_at, void *opaque,
                              uint64_t size, pith_archive **archive) {
    pith_begin(ctx);
    *archive = NULL;
    pith_decode_options defaults;
    pith_decode_options_init(&defaults);
    if (options && options->size != sizeof *options)
        return pith_fail(ctx, PITH_E_ARGUMENT, "decode options were not initialised");
    if (options && !(options->max_seconds >= 0)) return pith_fail(ctx, PITH_E_ARGUMENT, "max_seconds is negative");
    if (!read_at) return pith_fail(ctx, PITH_E_ARGUMENT, "an archive needs somewhere to read from");
    pith_archive *a = pith_alloc(ctx, sizeof *a);
    if (!a) return pith_alloc_status(ctx);
    *a = (pith_archive){.ctx = ctx,
                        .options = options ? *options : defaults,
                        .read_at = read_at,
                        .opaque = opaque,
                        .size = size,
                        .cached_block = SIZE_MAX};
    a->options.archive_size = size;
    pith_status status = walk_archive(a);
    if (status) {
        pith_archive_close(a);
        return status;
    }
    *archive = a;
    return PITH_OK;
}

pith_status pith_archive_open_memory(pith_ctx *ctx, const pith_decode_options *options, const void *src, size_t n,
                                     pith_archive **archive) {
    return pith_archive_open(ctx, options, read_memory, (void *)(uintptr_t)src, n, archive);
}

void pith_archive_close(pith_archive *a) {
    if (!a) return;
    pith_ctx *ctx = a->ctx;
    for (size_t i = 0; i < a->n_frames; i++) pith_free(ctx, a->frames[i].recipe);
    pith_free(ctx, a->frames);
    pith_free(ctx, a->blocks);
    pith_free(ctx, a->metadata);
    pith_free(ctx, a->cached_raw);
    pith_free(ctx, a);
}

void pith_archive_info_get(const pith_archive *a, pith_archive_info *info) {
    *info = (pith_archive_info){.archive_size = a->size,
                                .content_size = a->content_size,
                                .n_frames = a->n_frames,
                                .n_blocks = a->n_blocks,
                                .n_metadata = a->n_metadata};
    for (size_t i = 0; i < a->n_frames; i++) {
        uint64_t end = i + 1 < a->n_frames ? a->frames[i + 1].content_offset : a->content_size;
        info->memory = PITH_MAX(info->memory, a->frames[i].memory);
        info->seconds += a->frames[i].ns_per_byte * (double)(end - a->frames[i].content_offset) / 1e9;
    }
}

pith_status pith_archive_frame(pith_archive *a, uint64_t i, pith_frame_info *info) {
    pith_begin(a->ctx);
    if (i >= a->n_frames) return pith_fail(a->ctx, PITH_E_ARGUMENT, "there is no frame %llu", (unsigned long long)i);
    const archive_frame *f = &a->frames[i];
    bool last = i + 1 == a->n_frames;
    *info = (pith_frame_info){
        .offset = f->offset,
        .size = f->size,
        .content_size = (last ? a->content_size : f[1].content_offset) - f->content_offset,
        .first_block = f->first_block,
        .n_blocks = (last ? a->n_blocks : f[1].first_block) - f->first_block,
        .version_major = f->major,
        .version_minor = f->minor,
        .level = (int)f->level,
        .recipe = f->recipe,
        .memory = f->memory,
        .ns_per_byte = f->ns_per_byte,
        .numerics = f->numerics,
    };
    return PITH_OK;
}

pith_status pith_archive_block(pith_archive *a, uint64_t i, pith_block_info *info) {
    pith_begin(a->ctx);
    if (i >= a->n_blocks) return pith_fail(a->ctx, PITH_E_ARGUMENT, "there is no block %llu", (unsigned long long)i);
    const archive_block *row = &a->blocks[i];
    block_header b;
    size_t header_n;
    pith_status status = archive_block_header(a, (size_t)i, &b, &header_n);
    if (status) return status;
    *info = (pith_block_info){.offset = row->offset,
                              .coded_size = row->archive_n,
                              .content_offset = row->content_offset,
                              .content_size = row->raw_n,
                              .frame = row->frame,
                              .hash = b.hash};
    block_recipe(&b, info->recipe, sizeof info->recipe);
    return PITH_OK;
}

pith_status pith_archive_metadata(pith_archive *a, uint64_t i, uint64_t *offset, uint64_t *size) {
    pith_begin(a->ctx);
    if (i >= a->n_metadata)
        return pith_fail(a->ctx, PITH_E_ARGUMENT, "there is no metadata %llu", (unsigned long long)i);
    *offset = a->metadata[i].offset;
    *size = a->metadata[i].size;
    return PITH_OK;
}
