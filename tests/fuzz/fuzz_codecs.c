/* Bytes as one coded block, for every block decoder; or as raw bytes that must come back.
 *
 * byte 0: codec id, bit 7 set to encode and decode instead; byte 1: number of arguments; then
 * the arguments, two bytes each; then three bytes of raw size (decoding only); then the block. */
#include "artefacts/file/block.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAW_MAX ((size_t)1 << 20)
#define MEMORY_MAX ((uint64_t)128 << 20)
#define NS_MAX 2e8

/* Arguments that passed the check. */
static double decode_ns(const file_codec *codec, const file_args *args, size_t raw_n) {
    return (double)codec->cost(args) * (double)raw_n + (codec->start_ns ? (double)codec->start_ns(args) : 0);
}

static void decode(pith_ctx *ctx, const file_codec *codec, const file_args *args, const uint8_t *coded, size_t n,
                   size_t raw_n) {
    uint8_t *raw = malloc(raw_n ? raw_n : 1);
    if (!raw) abort();
    pith_status status = codec->decode(ctx, args, coded, n, raw, raw_n);
    if (status && !pith_error(ctx)[0]) abort(); /* a failure says what it is */
    if (pith_memory_peak(ctx) > codec->memory(args, raw_n, true)) abort();
    free(raw);
}

static void round_trip(pith_ctx *ctx, const file_codec *codec, const file_args *args, const uint8_t *raw, size_t n) {
    size_t cap = n + n / 8 + 1024, coded_n;
    uint8_t *coded = malloc(cap), *back = malloc(n ? n : 1);
    if (!coded || !back) abort();
    pith_status status = codec->encode(ctx, args, raw, n, coded, cap, &coded_n);
    /* a filter may be missing from a library */
    if (status && status != PITH_E_UNSUPPORTED) abort();
    if (!status && coded_n != SIZE_MAX) {
        if (coded_n > cap || codec->decode(ctx, args, coded, coded_n, back, n)) abort();
        if (memcmp(back, raw, n) != 0) abort();
    }
    free(coded);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || data[1] > FILE_MAX_ARGS) return 0;
    const file_codec *codec = block_codec(data[0] & 0x7F);
    file_args args = {.n = data[1]};
    size_t at = 2 + 2 * (size_t)args.n;
    if (!codec || size < at + 3) return 0;
    for (unsigned i = 0; i < args.n; i++) args.v[i] = load16(data + 2 + 2 * i);
    pith_ctx *ctx = pith_ctx_new(NULL);
    if (!ctx) abort();
    size_t raw_n = data[0] & 0x80 ? size - at : (size_t)(load16(data + at) | data[at + 2] << 16) % (RAW_MAX + 1);
    if (codec->check(ctx, &args) == PITH_OK && codec->memory(&args, raw_n, false) <= MEMORY_MAX &&
        codec->memory(&args, raw_n, true) <= MEMORY_MAX &&
        decode_ns(codec, &args, raw_n) <= NS_MAX) {
        if (data[0] & 0x80)
            round_trip(ctx, codec, &args, data + at, raw_n);
        else
            decode(ctx, codec, &args, data + at + 3, size - at - 3, raw_n);
    }
    if (pith_memory_used(ctx) != 0) abort();
    pith_ctx_free(ctx);
    return 0;
}
