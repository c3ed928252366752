/* Bytes as the output of a front end, for every inverse; or as raw bytes that must come back.
 *
 * byte 0: front end id, bit 7 set for forward and inverse; byte 1: number of arguments; then the
 * arguments, two bytes each; then two bytes, signed: how much longer the result is (inverse
 * only); then the bytes. */
#include "artefacts/file/block.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inverse(pith_ctx *ctx, const file_front *front, const file_args *args, const uint8_t *src, size_t n,
                    size_t raw_n) {
    uint8_t *raw = malloc(raw_n ? raw_n : 1);
    if (!raw) abort();
    pith_status status = front->inverse(ctx, args, src, n, raw, raw_n);
    if (status && !pith_error(ctx)[0]) abort(); /* a failure says what it is */
    if (pith_memory_peak(ctx) > front->memory(args, raw_n)) abort();
    free(raw);
}

static void round_trip(pith_ctx *ctx, const file_front *front, file_args args, const uint8_t *raw, size_t n) {
    pith_buffer out = {0};
    bool pays;
    if (front->forward(ctx, &args, raw, n, &out, &pays)) abort();
    if (!pays && out.size) abort();
    if (pays) {
        uint8_t *back = malloc(n ? n : 1);
        if (!back || front->check(ctx, &args) || out.size > BLOCK_TRANSFORMED_MAX(n)) abort();
        if (front->inverse(ctx, &args, out.data, out.size, back, n) || memcmp(back, raw, n) != 0) abort();
        free(back);
    }
    pith_buffer_free(ctx, &out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || data[1] > FILE_MAX_ARGS) return 0;
    const file_front *front = block_front(data[0] & 0x7F);
    file_args args = {.n = data[1]};
    size_t at = 2 + 2 * (size_t)args.n;
    if (!front || size < at + 2) return 0;
    for (unsigned i = 0; i < args.n; i++) args.v[i] = load16(data + 2 + 2 * i);
    pith_ctx *ctx = pith_ctx_new(NULL);
    if (!ctx) abort();
    if (data[0] & 0x80) {
        round_trip(ctx, front, (file_args){0}, data + at, size - at);
    } else if (front->check(ctx, &args) == PITH_OK) {
        int64_t raw_n = (int64_t)(size - at - 2) + (int16_t)load16(data + at);
        if (raw_n >= 0) inverse(ctx, front, &args, data + at + 2, size - at - 2, (size_t)raw_n);
    }
    if (pith_memory_used(ctx) != 0) abort();
    pith_ctx_free(ctx);
    return 0;
}
