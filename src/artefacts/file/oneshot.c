/* Buffer to buffer, on top of the streaming encoder and decoder. */
#include "artefacts/file/frame.h"

typedef struct sink {
    uint8_t *data;
    size_t size, capacity;
    bool full;
} sink;

static int sink_write(void *opaque, const void *data, size_t size) {
    sink *s = opaque;
    if (size > s->capacity - s->size) {
        s->full = true;
        return 1;
    }
    memcpy(s->data + s->size, data, size);
    s->size += size;
    return 0;
}

static pith_status sink_status(pith_ctx *ctx, const sink *s, pith_status status) {
    if (!s->full) return status;
    pith_begin(ctx);
    return pith_fail(ctx, PITH_E_SPACE, "the destination of %zu bytes is too small", s->capacity);
}

uint64_t pith_file_bound(uint64_t n, const pith_encode_options *options) {
    uint64_t block = options && options->block_size ? options->block_size : PITH_FILE_BLOCK_DEFAULT;
    uint64_t blocks = n / PITH_MAX(block, 1) + 1, each = FRAME_BLOCK_MAX + FRAME_ENTRY_MAX;
    uint64_t fixed = FRAME_HEADER_MAX + 1 + PITH_VARINT_MAX + FRAME_INDEX_END_MAX + FRAME_TAIL_BYTES;
    if (blocks > (UINT64_MAX - fixed - 1) / each || n > UINT64_MAX - 1 - fixed - blocks * each)
        return PITH_SIZE_UNKNOWN;
    return n + fixed + blocks * each;
}

pith_status pith_file_compress(pith_ctx *ctx, const pith_encode_options *options, const void *src, size_t n, void *dst,
                               size_t capacity, size_t *written) {
    pith_encode_options o;
    pith_encode_options_init(&o);
    if (options) o = *options;
    if (o.content_size == PITH_SIZE_UNKNOWN) o.content_size = n;
    *written = 0;
    sink s = {.data = dst, .capacity = capacity};
    pith_encoder *e;
    pith_status status = pith_encoder_new(ctx, &o, sink_write, &s, &e);
    if (status) return status;
    status = pith_encoder_write(e, src, n);
    if (!status) status = pith_encoder_finish(e);
    pith_encoder_free(e);
    status = sink_status(ctx, &s, status);
    if (!status) *written = s.size;
    return status;
}

static pith_status decode(pith_ctx *ctx, const pith_decode_options *options, const void *src, size_t n, sink *s,
                          uint64_t *written) {
    pith_decode_options o;
    pith_decode_options_init(&o);
    if (options) o = *options;
    o.archive_size = n;
    *written = 0;
    pith_decoder *d;
    pith_status status = pith_decoder_new(ctx, &o, s ? sink_write : NULL, s, &d);
    if (status) return status;
    status = pith_decoder_write(d, src, n);
    if (!status) status = pith_decoder_finish(d);
    if (!status) *written = pith_decoder_written(d);
    pith_decoder_free(d);
    return status;
}

pith_status pith_file_decompress(pith_ctx *ctx, const pith_decode_options *options, const void *src, size_t n,
                                 void *dst, size_t capacity, size_t *written) {
    sink s = {.data = dst, .capacity = capacity};
    uint64_t total;
    *written = 0;
    pith_status status = sink_status(ctx, &s, decode(ctx, options, src, n, &s, &total));
    if (!status) *written = s.size;
    return status;
}

pith_status pith_file_test(pith_ctx *ctx, const pith_decode_options *options, const void *src, size_t n,
                           uint64_t *content_size) {
    uint64_t total;
    pith_status status = decode(ctx, options, src, n, NULL, &total);
    if (content_size) *content_size = total;
    return status;
}

pith_status pith_file_content_size(pith_ctx *ctx, const void *src, size_t n, uint64_t *content_size) {
    pith_archive *a;
    *content_size = 0;
    pith_status status = pith_archive_open_memory(ctx, NULL, src, n, &a);
    if (status) return status;
    pith_archive_info info;
    pith_archive_info_get(a, &info);
    *content_size = info.content_size;
    pith_archive_close(a);
    return PITH_OK;
}
