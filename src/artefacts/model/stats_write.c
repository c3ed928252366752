/* Statistics in llama.cpp's two formats, so that llama-quantize reads them: GGUF without Gram matrices, and .dat. */
#include <math.h>

#include "artefacts/model/stats_parts.h"

bool model_stats_format_named(const char *name, model_stats_format *out) {
    static const char *const names[] = {"stats", "imatrix", "dat"};
    for (unsigned i = 0; i < PITH_COUNT(names); i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (model_stats_format)i;
            return true;
        }
    return false;
}

static uint64_t tokens_of(const model_stats_entry *e) {
    double most = 0;
    for (uint32_t p = 0; p < e->parts; p++) most = e->seen[p] > most ? e->seen[p] : most;
    return most < 1e15 ? (uint64_t)most : (uint64_t)1e15;
}

/* ---- .dat ---- */

static pith_status put32(pith_ctx *ctx, pith_buffer *out, uint32_t v) {
    uint8_t bytes[4];
    store32(bytes, v);
    return pith_buffer_append(ctx, out, bytes, 4);
}

/* Calls are chunks, at least one. */
static uint32_t calls_of(const model_stats *s, const model_stats_entry *e) {
    uint64_t tokens = tokens_of(e), chunk = s->by_calls ? 1 : PITH_MAX(s->about.chunk_tokens, 1u);
    uint64_t calls = tokens / chunk + (tokens % chunk != 0);
    return (uint32_t)PITH_MIN(PITH_MAX(calls, 1u), (uint64_t)INT32_MAX);
}

static pith_status dat_entry(pith_ctx *ctx, const model_stats *s, const model_stats_entry *e, pith_buffer *out) {
    size_t name_n = strlen(e->name), n = e->parts * e->cols;
    if (n > INT32_MAX) return pith_fail(ctx, PITH_E_LIMIT, "%.60s has too many inputs for a .dat file", e->name);
    uint32_t calls = calls_of(s, e);
    pith_status status = put32(ctx, out, (uint32_t)name_n);
    if (!status) status = pith_buffer_append(ctx, out, e->name, name_n);
    if (!status) status = put32(ctx, out, calls);
    if (!status) status = put32(ctx, out, (uint32_t)n);
    for (size_t i = 0; i < n && !status; i++) {
        float v = e->h[i] * (float)calls;
        uint32_t bits;
        if (!isfinite(v)) return pith_fail(ctx, PITH_E_LIMIT, "%.60s has inputs too large for a .dat file", e->name);
        memcpy(&bits, &v, 4);
        status = put32(ctx, out, bits);
    }
    return status;
}

static pith_status write_dat(pith_ctx *ctx, const model_stats *s, tensor_write_fn write, void *opaque) {
    pith_buffer out = {0};
    pith_status status = put32(ctx, &out, (uint32_t)s->n);
    for (size_t i = 0; i < s->n && !status; i++) {
        status = dat_entry(ctx, s, &s->entries[s->order[i]], &out);
        if (!status) status = write(opaque, out.data, out.size);
        out.size = 0;
    }
    meta_string name = {"", 0};
    uint64_t cursor = 0;
    if (s->about.datasets) meta_next_string(s->about.datasets, &cursor, &name);
    if (name.size > INT32_MAX) name.size = 0;
    if (!status) status = put32(ctx, &out, (uint32_t)PITH_MIN(s->about.chunks, (uint64_t)INT32_MAX));
    if (!status) status = put32(ctx, &out, (uint32_t)name.size);
    if (!status && name.size) status = pith_buffer_append(ctx, &out, name.data, name.size);
    if (!status) status = write(opaque, out.data, out.size);
    pith_buffer_free(ctx, &out);
    return status;
}

/* ---- GGUF ---- */

static pith_status put_head(pith_ctx *ctx, const model_stats *s, gguf_writer *w) {
    meta_value none = {.key = {"imatrix.datasets", 16}, .type = META_ARRAY, .element = META_STRING};
    pith_status status = gguf_put_text(ctx, w, "general.type", "imatrix", 7);
    if (!status) status = gguf_put_value(ctx, w, s->about.datasets ? s->about.datasets : &none);
    if (!status)
        status = gguf_put_u32(ctx, w, "imatrix.chunk_count", (uint32_t)PITH_MIN(s->about.chunks, (uint64_t)UINT32_MAX));
    if (!status) status = gguf_put_u32(ctx, w, "imatrix.chunk_size", s->about.chunk_tokens);
    for (size_t i = 0; i < s->n && !status; i++) {
        const model_stats_entry *e = &s->entries[s->order[i]];
        char name[STATS_NAME_MAX + 16];
        size_t n = strlen(e->name);
        if (n + strlen(STATS_SUM2) > STATS_NAME_MAX)
            return pith_fail(ctx, PITH_E_ARGUMENT, "%.60s...: GGUF has no room for the name", e->name);
        memcpy(name, e->name, n);
        memcpy(name + n, STATS_SUM2, strlen(STATS_SUM2));
        status = gguf_put_tensor(ctx, w, name, n + strlen(STATS_SUM2), TENSOR_F32, 2, (uint64_t[]){e->cols, e->parts});
        memcpy(name + n, STATS_COUNTS, strlen(STATS_COUNTS));
        if (!status)
            status = gguf_put_tensor(ctx, w, name, n + strlen(STATS_COUNTS), TENSOR_F32, 2, (uint64_t[]){1, e->parts});
    }
    return status;
}

static pith_status put_floats(pith_ctx *ctx, gguf_writer *w, float *values, size_t n, tensor_write_fn write,
                              void *opaque) {
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], 4);
        store32((uint8_t *)&values[i], bits);
    }
    return gguf_write_data(ctx, w, values, n * 4, write, opaque);
}

static pith_status put_entry(pith_ctx *ctx, const model_stats *s, const model_stats_entry *e, gguf_writer *w,
                             tensor_write_fn write, void *opaque) {
    size_t n = e->parts * e->cols;
    float *values = pith_alloc(ctx, (n + e->parts) * sizeof *values), *counts = values ? values + n : NULL;
    if (!values) return pith_alloc_status(ctx);
    double per_call = s->by_calls ? 512 : 1; /* an old file counts calls, which had this many tokens by default */
    pith_status status = PITH_OK;
    for (uint32_t p = 0; p < e->parts; p++) {
        counts[p] = (float)(e->seen[p] * per_call);
        for (size_t i = p * e->cols; i < (p + 1) * e->cols; i++) {
            values[i] = e->h[i] * counts[p];
            if (!isfinite(values[i])) status = PITH_E_LIMIT;
        }
    }
    if (status) status = pith_fail(ctx, status, "%.60s has inputs too large to be written", e->name);
    if (!status) status = put_floats(ctx, w, values, n, write, opaque);
    if (!status) status = put_floats(ctx, w, counts, e->parts, write, opaque);
    pith_free(ctx, values);
    return status;
}

static pith_status write_imatrix(pith_ctx *ctx, const model_stats *s, tensor_write_fn write, void *opaque) {
    gguf_writer *w;
    pith_status status = gguf_writer_new(ctx, &w);
    if (status) return status;
    status = put_head(ctx, s, w);
    if (!status) status = gguf_write_head(ctx, w, write, opaque);
    for (size_t i = 0; i < s->n && !status; i++) status = put_entry(ctx, s, &s->entries[s->order[i]], w, write, opaque);
    gguf_writer_free(ctx, w);
    return status;
}

pith_status model_stats_write(pith_ctx *ctx, const model_stats *s, model_stats_format format, tensor_write_fn write,
                              void *opaque) {
    if (format == MODEL_STATS_DAT) return write_dat(ctx, s, write, opaque);
    if (format == MODEL_STATS_IMATRIX) return write_imatrix(ctx, s, write, opaque);
    return pith_fail(ctx, PITH_E_ARGUMENT, "this format is written by gathering only");
}
