/* Bytes as an archive, pushed through the streaming decoder in pieces. Bit 0 of the first byte:
 * make the check value of the first frame header right, so that mutations get past it. */
#include "artefacts/file/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count(void *opaque, const void *data, size_t size) {
    (void)data;
    *(uint64_t *)opaque += size;
    return 0;
}

/* The length of a header is found by trying: a check value belongs where one byte less still asks for more. */
static void repair(pith_ctx *ctx, uint8_t *p, size_t n) {
    frame_header h;
    size_t used = 0;
    for (size_t end = FRAME_MAGIC_BYTES + 8; end <= n && end < 100; end++) {
        pith_begin(ctx);
        pith_status status = frame_header_get(ctx, p, end, &h, &used);
        if (status == PITH_E_CHECK) store32(p + end - 4, (uint32_t)pith_hash64(p, end - 4));
        if (status || used) return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    pith_ctx *ctx = pith_ctx_new(NULL);
    uint8_t *copy = malloc(size);
    if (!ctx || !copy) abort();
    memcpy(copy, data, size);
    pith_ctx_set_memory(ctx, (uint64_t)256 << 20);
    pith_ctx_set_threads(ctx, 1 + (data[0] >> 1 & 1));
    if (data[0] & 1) repair(ctx, copy + 1, size - 1);
    pith_decode_options o;
    pith_decode_options_init(&o);
    o.max_seconds = 0.5;
    o.max_content_size = (uint64_t)64 << 20;
    uint64_t content = 0;
    pith_decoder *d;
    if (pith_decoder_new(ctx, &o, count, &content, &d) != PITH_OK) abort();
    size_t piece = (size_t)(data[0] >> 2) * 16 + 1;
    pith_status status = PITH_OK;
    for (size_t at = 1; at < size && !status; at += piece)
        status = pith_decoder_write(d, copy + at, PITH_MIN(piece, size - at));
    if (!status) status = pith_decoder_finish(d);
    if (status && !pith_error(ctx)[0]) abort(); /* a failure says what it is */
    if (content != pith_decoder_written(d) || content > o.max_content_size) abort();
    pith_decoder_free(d);
    if (pith_memory_used(ctx) != 0) abort();
    pith_ctx_free(ctx);
    free(copy);
    return 0;
}
