/* zstd blocks: one frame of libzstd, window as large as the block.
 *
 * Argument: level, 1 to 22. The library takes its memory from malloc, so what it will need is
 * held against the session's limit first. */
#include <zstd.h>
#include <zstd_errors.h>

#include "artefacts/file/codec.h"

#define LEVEL_MAX 22
#define WINDOW_LOG_MIN 20 /* below, the library's own choice covers the block */
#define WINDOW_LOG_MAX 26
#define ZSTD_BLOCK_MAX ((size_t)1 << WINDOW_LOG_MAX)
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

static pith_status within_limit(pith_ctx *ctx, uint64_t need) {
    uint64_t used = pith_memory_used(ctx), limit = pith_ctx_memory(ctx);
    if (used <= limit && need <= limit - used) return PITH_OK;
    return pith_fail(ctx, PITH_E_LIMIT, "zstd needs %llu more bytes, which would pass the memory limit of %llu bytes",
                     (unsigned long long)need, (unsigned long long)limit);
}

static pith_status encode(pith_ctx *ctx, const file_args *args, const uint8_t *src, size_t n, uint8_t *dst, size_t cap,
                          size_t *out_n) {
    *out_n = SIZE_MAX;
    if (n > ZSTD_BLOCK_MAX) return pith_fail(ctx, PITH_E_LIMIT, "a zstd block has at most %zu bytes", ZSTD_BLOCK_MAX);
    pith_status status = within_limit(ctx, memory(args, n, false));
    if (status) return status;
    ZSTD_CCtx *z = ZSTD_createCCtx();
    if (!z) return pith_fail(ctx, PITH_E_MEMORY, "no memory for zstd");
    int window_log = WINDOW_LOG_MIN;
    while ((size_t)1 << window_log < n) window_log++;
    ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, (int)args->v[0]);
    if (n > (size_t)1 << WINDOW_LOG_MIN) ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, window_log);
    size_t r = ZSTD_compress2(z, dst, cap, src, n);
    ZSTD_freeCCtx(z);
    if (!ZSTD_isError(r)) {
        *out_n = r;
        return PITH_OK;
    }
    switch (ZSTD_getErrorCode(r)) {
    case ZSTD_error_dstSize_tooSmall: return PITH_OK;
    case ZSTD_error_memory_allocation: return pith_fail(ctx, PITH_E_MEMORY, "no memory for zstd");
    default: return pith_fail(ctx, PITH_E_INTERNAL, "zstd: %s", ZSTD_getErrorName(r));
    }
}

static pith_status decode(pith_ctx *ctx, const file_args *args, const uint8_t *src, size_t n, uint8_t *dst,
                          size_t raw_n) {
    (void)args;
    pith_status status = within_limit(ctx, DECODER_MEMORY);
    if (status) return status;
    /* one frame, exactly: the library alone would also take several, and skippable ones */
    if (ZSTD_getFrameContentSize(src, n) != raw_n || ZSTD_findFrameCompressedSize(src, n) != n)
        return pith_fail(ctx, PITH_E_FORMAT, "a zstd block is not one frame of its size");
    ZSTD_DCtx *z = ZSTD_createDCtx();
    if (!z) return pith_fail(ctx, PITH_E_MEMORY, "no memory for zstd");
    size_t r = ZSTD_decompressDCtx(z, dst, raw_n, src, n);
    ZSTD_freeDCtx(z);
    if (r == raw_n) return PITH_OK;
    if (ZSTD_isError(r) && ZSTD_getErrorCode(r) == ZSTD_error_memory_allocation)
        return pith_fail(ctx, PITH_E_MEMORY, "no memory for zstd");
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

const file_codec file_codec_zstd = {
    .id = 2,
    .name = "zstd",
    .encode = encode,
    .decode = decode,
    .check = check,
    .memory = memory,
    .cost = cost,
};
