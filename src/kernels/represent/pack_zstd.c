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

pith_status pack_zstd_put(pack_zstd *z, int level, const uint8_t *src, size_t n, pith_buffer *out) {
    pith_ctx *ctx = z->ctx;
    size_t bound = ZSTD_compressBound(n);
    if (!z->encoder && !(z->encoder = ZSTD_createCCtx_advanced(memory_of(ctx)))) return no_memory(ctx);
    uint8_t *frame = pith_alloc(ctx, PITH_MAX(bound, 1));
    if (!frame) return pith_alloc_status(ctx);
    pith_status status;
    size_t r = ZSTD_compressCCtx(z->encoder, frame, bound, src, n, level);
    if (!ZSTD_isError(r)) {
        status = repr_put_number(ctx, out, r);
        if (!status) status = pith_buffer_append(ctx, out, frame, r);
    } else if (ZSTD_getErrorCode(r) == ZSTD_error_memory_allocation) {
        status = no_memory(ctx);
    } else {
        status = pith_fail(ctx, PITH_E_INTERNAL, "zstd: %s", ZSTD_getErrorName(r));
    }
    pith_free(ctx, frame);
    return status;
}

pith_status pack_zstd_take(pack_zstd *z, repr_reader *in, uint8_t *dst, size_t n) {
    pith_ctx *ctx = z->ctx;
    uint64_t size;
    bool whole = repr_take_number(in, SIZE_MAX, &size);
    const uint8_t *frame = whole ? repr_take(in, (size_t)size) : NULL;
    if (!frame) return pith_fail(ctx, PITH_E_FORMAT, "a zstd frame is cut off");
    if (!z->decoder && !(z->decoder = ZSTD_createDCtx_advanced(memory_of(ctx)))) return no_memory(ctx);
    size_t r = ZSTD_decompressDCtx(z->decoder, dst, n, frame, (size_t)size);
    if (!ZSTD_isError(r) && r == n) return PITH_OK;
    if (ZSTD_isError(r) && ZSTD_getErrorCode(r) == ZSTD_error_memory_allocation) return no_memory(ctx);
    return pith_fail(ctx, PITH_E_FORMAT, "a zstd frame is not the code of %zu bytes", n);
}

void pack_zstd_close(pack_zstd *z) {
    ZSTD_freeCCtx(z->encoder);
    ZSTD_freeDCtx(z->decoder);
}
