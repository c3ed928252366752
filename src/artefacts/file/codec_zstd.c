/* zstd blocks: one frame of libzstd, window as large as the block.
 *
 * Argument: level, 1 to 22. The library's memory is the session's, for which its interface of
 * custom allocators is needed; it counts as experimental and has been the same since zstd 1.3. */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
#include <zstd_errors.h>

#include "artefacts/file/codec.h"

#define LEVEL_MAX 22
#define WINDOW_LOG_MIN 20 /* below, the library's own choice covers the block */
#define WINDOW_LOG_MAX 26
#define ZSTD_BLOCK_MAX ((size_t)1 << WINDOW_LOG_MAX)
#define PIECE ((size_t)1 << 18)
#define DECODER_MEMORY (192 * 1024)

/* What ZSTD_sizeof_CCtx said after compressing 64 MiB in one call with libzstd 1.5.4, rounded up
 * to MiB; levels 20 to 22 grow with the window. */
static const uint16_t level_mib[LEVEL_MAX + 1] = {0,  2,  2,  3,  4,  5,  5,  8,  8,   14,  27, 27,
                                                  52, 36, 52, 68, 40, 56, 56, 88, 172, 340, 680};

static uint64_t memory(const file_args *args, size_t raw_n, bool decoding) {
    if (decoding) return DECODER_MEMORY;
    uint64_t by_level = (uint64_t)level_mib[args->v[0]] << 20, by_size = ((uint64_t)1 << 20) + 24 * (uint64_t)raw_n;
    return PITH_MIN(by_level, by_size);
}

static void *take(void *opaque, size_t size) { return pith_alloc(opaque, PITH_MAX(size, 1)); }

static void give(void *opaque, void *ptr) { pith_free(opaque, ptr); }

static ZSTD_customMem memory_of(pith_ctx *ctx) { return (ZSTD_customMem){take, give, ctx}; }

static pith_status no_memory(pith_ctx *ctx) { return pith_fail(ctx, pith_alloc_status(ctx), "no memory for zstd"); }

/* The block in pieces, so that there is progress and a way out; the bytes are those of one call. The
 * library reads and writes the caller's buffers in place ("stable"). */
static pith_status compress(pith_ctx *ctx, ZSTD_CCtx *z, const uint8_t *src, size_t n, uint8_t *dst, size_t cap,
                            size_t *out_n) {
    ZSTD_inBuffer in = {src, 0, 0};
    ZSTD_outBuffer out = {dst, cap, 0};
    size_t r;
    do {
        size_t before = in.size;
        in.size += PITH_MIN(n - in.size, PIECE);
        r = ZSTD_compressStream2(z, &out, &in, in.size == n ? ZSTD_e_end : ZSTD_e_continue);
        if (pith_step(ctx, in.size - before)) return file_cancelled(ctx);
    } while (!ZSTD_isError(r) && (in.size < n || r));
    if (!ZSTD_isError(r)) {
        *out_n = out.pos;
        return PITH_OK;
    }
    switch (ZSTD_getErrorCode(r)) {
    case ZSTD_error_dstSize_tooSmall: return PITH_OK;
    case ZSTD_error_memory_allocation: return no_memory(ctx);
    default: return pith_fail(ctx, PITH_E_INTERNAL, "zstd: %s", ZSTD_getErrorName(r));
    }
}

static pith_status encode(pith_ctx *ctx, const file_args *args, const uint8_t *src, size_t n, uint8_t *dst, size_t cap,
                          size_t *out_n) {
    *out_n = SIZE_MAX;
    if (n > ZSTD_BLOCK_MAX) return pith_fail(ctx, PITH_E_LIMIT, "a zstd block has at most %zu bytes", ZSTD_BLOCK_MAX);
    ZSTD_CCtx *z = ZSTD_createCCtx_advanced(memory_of(ctx));
    if (!z) return no_memory(ctx);
    int window_log = WINDOW_LOG_MIN;
    while ((size_t)1 << window_log < n) window_log++;
    size_t r = ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, (int)args->v[0]);
    if (n > (size_t)1 << WINDOW_LOG_MIN && !ZSTD_isError(r))
        r = ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, window_log);
    if (!ZSTD_isError(r)) r = ZSTD_CCtx_setParameter(z, ZSTD_c_stableInBuffer, 1);
    if (!ZSTD_isError(r)) r = ZSTD_CCtx_setParameter(z, ZSTD_c_stableOutBuffer, 1);
    if (!ZSTD_isError(r)) r = ZSTD_CCtx_setPledgedSrcSize(z, n);
    pith_status status = ZSTD_isError(r) ? pith_fail(ctx, PITH_E_INTERNAL, "zstd: %s", ZSTD_getErrorName(r))
                                         : compress(ctx, z, src, n, dst, cap, out_n);
    ZSTD_freeCCtx(z);
    return status;
}

static pith_status decode(pith_ctx *ctx, const file_args *args, const uint8_t *src, size_t n, uint8_t *dst,
                          size_t raw_n) {
    (void)args;
    /* one frame, exactly: the library alone would also take several, and skippable ones */
    if (ZSTD_getFrameContentSize(src, n) != raw_n || ZSTD_findFrameCompressedSize(src, n) != n)
        return pith_fail(ctx, PITH_E_FORMAT, "a zstd block is not one frame of its size");
    ZSTD_DCtx *z = ZSTD_createDCtx_advanced(memory_of(ctx));
    if (!z) return no_memory(ctx);
    size_t r = ZSTD_decompressDCtx(z, dst, raw_n, src, n);
    ZSTD_freeDCtx(z);
    if (r == raw_n) return pith_step(ctx, raw_n) ? file_cancelled(ctx) : PITH_OK;
    if (ZSTD_isError(r) && ZSTD_getErrorCode(r) == ZSTD_error_memory_allocation) return no_memory(ctx);
    return pith_fail(ctx, PITH_E_FORMAT, "zstd: %s", ZSTD_isError(r) ? ZSTD_getErrorName(r) : "wrong size");
}

static pith_status check(pith_ctx *ctx, const file_args *args) {
    if (args->n == 1 && args->v[0] >= 1 && args->v[0] <= LEVEL_MAX) return PITH_OK;
    return pith_fail(ctx, PITH_E_FORMAT, "zstd takes one argument, a level of 1 to %d", LEVEL_MAX);
}

static uint32_t cost(const file_args *args) {
    (void)args;
    return 4;
}

static uint32_t encode_cost(const file_args *args) { return args->v[0] < 7 ? 10 : args->v[0] < 13 ? 40 : 400; }

const file_codec file_codec_zstd = {
    .id = 2,
    .name = "zstd",
    .encode = encode,
    .decode = decode,
    .check = check,
    .memory = memory,
    .cost = cost,
    .encode_cost = encode_cost,
};
