/* zstd for planes that repeat themselves: one frame after its size. The interface of custom allocators counts as
 * experimental and has been the same since zstd 1.3. */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
#include <zstd_errors.h>

#include "kernels/represent/pack_parts.h"

static void *take(void *opaque, size_t size) { return pith_alloc(opaque, PITH_MAX(size, 1)); }

static void give(void *opaque, void *ptr) { pith_free(opaque, ptr); }

static ZSTD_customMem memory_of(pith_ctx *ctx) { return (ZSTD_customMem){take, give, ctx}; }

static pith_status no_memory(pith_ctx *ctx) { return pith_fail(ctx, pith_alloc_status(ctx), "no memory for zstd"); }

pith_status pack_zstd_put(pith_ctx *ctx, int level, const uint8_t *src, size_t n, pith_buffer *out) {
    size_t bound = ZSTD_compressBound(n);
    uint8_t *frame = pith_alloc(ctx, PITH_MAX(bound, 1));
    if (!frame) return pith_alloc_status(ctx);
    ZSTD_CCtx *z = ZSTD_createCCtx_advanced(memory_of(ctx));
    pith_status status = PITH_OK;
    if (!z) {
        status = no_memory(ctx);
    } else {
        size_t r = ZSTD_compressCCtx(z, frame, bound, src, n, level);
        if (!ZSTD_isError(r)) {
            status = repr_put_number(ctx, out, r);
            if (!status) status = pith_buffer_append(ctx, out, frame, r);
        } else if (ZSTD_getErrorCode(r) == ZSTD_error_memory_allocation) {
            status = no_memory(ctx);
        } else {
            status = pith_fail(ctx, PITH_E_INTERNAL, "zstd: %s", ZSTD_getErrorName(r));
        }
        ZSTD_freeCCtx(z);
    }
    pith_free(ctx, frame);
    return status;
}

pith_status pack_zstd_take(pith_ctx *ctx, repr_reader *in, uint8_t *dst, size_t n) {
    uint64_t size;
    bool whole = repr_take_number(in, SIZE_MAX, &size);
    const uint8_t *frame = whole ? repr_take(in, (size_t)size) : NULL;
    if (!frame) return pith_fail(ctx, PITH_E_FORMAT, "a zstd frame is cut off");
    ZSTD_DCtx *z = ZSTD_createDCtx_advanced(memory_of(ctx));
    if (!z) return no_memory(ctx);
    size_t r = ZSTD_decompressDCtx(z, dst, n, frame, (size_t)size);
    ZSTD_freeDCtx(z);
    if (!ZSTD_isError(r) && r == n) return PITH_OK;
    if (ZSTD_isError(r) && ZSTD_getErrorCode(r) == ZSTD_error_memory_allocation) return no_memory(ctx);
    return pith_fail(ctx, PITH_E_FORMAT, "a zstd frame is not the code of %zu bytes", n);
}
