/* zstd frames in the session's memory. */
#define ZSTD_STATIC_LINKING_ONLY /* for the interface of custom allocators */
#include <zstd.h>
#include <zstd_errors.h>

#include "artefacts/model/archive_parts.h"

static void *take(void *opaque, size_t size) { return pith_alloc(opaque, PITH_MAX(size, 1)); }

static void give(void *opaque, void *ptr) { pith_free(opaque, ptr); }

static pith_status no_memory(pith_ctx *ctx) { return pith_fail(ctx, pith_alloc_status(ctx), "no memory for zstd"); }

pith_status archive_zstd_encode(pith_ctx *ctx, int level, const uint8_t *src, size_t n, pith_buffer *out, bool *smaller) {
    *smaller = false;
    if (n == 0) return PITH_OK;
    pith_status status = pith_buffer_reserve(ctx, out, n);
    if (status) return status;
    ZSTD_CCtx *z = ZSTD_createCCtx_advanced((ZSTD_customMem){take, give, ctx});
    if (!z) return no_memory(ctx);
    size_t r = ZSTD_compressCCtx(z, out->data + out->size, n - 1, src, n, level);
    ZSTD_freeCCtx(z);
    if (!ZSTD_isError(r)) {
        out->size += r;
        *smaller = true;
        return PITH_OK;
    }
    switch (ZSTD_getErrorCode(r)) {
    case ZSTD_error_dstSize_tooSmall: return PITH_OK;
    case ZSTD_error_memory_allocation: return no_memory(ctx);
    default: return pith_fail(ctx, PITH_E_INTERNAL, "zstd: %s", ZSTD_getErrorName(r));
    }
}

pith_status archive_zstd_decode(pith_ctx *ctx, const uint8_t *src, size_t n, uint8_t *dst, size_t raw_n) {
    /* one frame, exactly: the library alone would also take several, and skippable ones */
    if (ZSTD_getFrameContentSize(src, n) != raw_n || ZSTD_findFrameCompressedSize(src, n) != n)
        return pith_fail(ctx, PITH_E_FORMAT, "not one zstd frame of %zu bytes", raw_n);
    ZSTD_DCtx *z = ZSTD_createDCtx_advanced((ZSTD_customMem){take, give, ctx});
    if (!z) return no_memory(ctx);
    size_t r = ZSTD_decompressDCtx(z, dst, raw_n, src, n);
    ZSTD_freeDCtx(z);
    if (r == raw_n) return PITH_OK;
    if (ZSTD_isError(r) && ZSTD_getErrorCode(r) == ZSTD_error_memory_allocation) return no_memory(ctx);
    return pith_fail(ctx, PITH_E_FORMAT, "zstd: %s", ZSTD_isError(r) ? ZSTD_getErrorName(r) : "wrong size");
}
