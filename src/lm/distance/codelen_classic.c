/* Code lengths by zstd and LZMA: whole bytes. A prior is what matches may reach back into. */
#include <lzma.h>
#include <zstd.h>

#include "lm/distance/parts.h"

#define ZSTD_LEVEL 19

typedef struct classic {
    codelen base;
    ZSTD_CCtx *zstd;
    const uint8_t *prior;
    size_t prior_n;
    pith_buffer scratch;
} classic;

static pith_status no_memory(const classic *c) {
    return pith_fail(c->base.ctx, PITH_E_MEMORY, "no memory for the %s coder", codelen_name(c->base.options.kind));
}

static pith_status op_prime(codelen *base, const uint8_t *prior, size_t n) {
    classic *c = (classic *)(void *)base;
    c->prior = prior;
    c->prior_n = n;
    return PITH_OK;
}

static pith_status zstd_size(classic *c, const uint8_t *text, size_t n, size_t *size) {
    /* the prefix holds for one frame */
    size_t r = ZSTD_CCtx_refPrefix(c->zstd, c->prior_n ? c->prior : NULL, c->prior_n);
    if (!ZSTD_isError(r)) r = ZSTD_compress2(c->zstd, c->scratch.data, c->scratch.capacity, text, n);
    if (ZSTD_isError(r)) return pith_fail(c->base.ctx, PITH_E_INTERNAL, "zstd: %s", ZSTD_getErrorName(r));
    *size = r;
    return PITH_OK;
}

static pith_status lzma_size(classic *c, const uint8_t *text, size_t n, size_t *size) {
    lzma_options_lzma o;
    if (lzma_lzma_preset(&o, 9 | LZMA_PRESET_EXTREME)) return no_memory(c);
    size_t reach = PITH_MIN(c->prior_n + n, (size_t)o.dict_size);
    o.dict_size = (uint32_t)PITH_MAX(reach, (size_t)LZMA_DICT_SIZE_MIN);
    if (c->prior_n) {
        size_t held = PITH_MIN(c->prior_n, (size_t)o.dict_size);
        o.preset_dict = c->prior + (c->prior_n - held);
        o.preset_dict_size = (uint32_t)held;
    }
    const lzma_filter filters[] = {{LZMA_FILTER_LZMA2, &o}, {LZMA_VLI_UNKNOWN, NULL}};
    size_t at = 0;
    lzma_ret r = lzma_raw_buffer_encode(filters, NULL, text, n, c->scratch.data, &at, c->scratch.capacity);
    if (r == LZMA_MEM_ERROR) return no_memory(c);
    if (r != LZMA_OK) return pith_fail(c->base.ctx, PITH_E_INTERNAL, "lzma: error %d", (int)r);
    *size = at;
    return PITH_OK;
}

static pith_status op_bits(codelen *base, const uint8_t *text, size_t n, double *bits) {
    classic *c = (classic *)(void *)base;
    size_t size = 0, bound = ZSTD_compressBound(n);
    if (ZSTD_isError(bound)) return pith_fail(base->ctx, PITH_E_LIMIT, "a text of %zu bytes is too long", n);
    pith_status status = pith_buffer_reserve(base->ctx, &c->scratch, bound + n / 16 + 256);
    if (!status) status = c->zstd ? zstd_size(c, text, n, &size) : lzma_size(c, text, n, &size);
    if (!status) *bits = 8.0 * (double)size;
    return status;
}

static void op_free(codelen *base) {
    classic *c = (classic *)(void *)base;
    ZSTD_freeCCtx(c->zstd);
    pith_buffer_free(base->ctx, &c->scratch);
    pith_free(base->ctx, c);
}

static const codelen_ops classic_ops = {op_prime, op_bits, op_free};

pith_status codelen_classic_new(pith_ctx *ctx, const codelen_options *o, codelen **out) {
    classic *c = pith_zalloc(ctx, sizeof *c);
    if (!c) return pith_alloc_status(ctx);
    c->base = (codelen){&classic_ops, ctx, *o};
    if (o->kind == CODELEN_ZSTD) {
        c->zstd = ZSTD_createCCtx();
        if (!c->zstd || ZSTD_isError(ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL))) {
            pith_status status = no_memory(c);
            op_free(&c->base);
            return status;
        }
    }
    *out = &c->base;
    return PITH_OK;
}
