/* llama.cpp's importance matrix before GGUF (.dat), little-endian: i32 entries; for each i32 length, name, i32 calls,
 * i32 values, f32 values[] = mean of x_j^2 times calls; then, where there is more, i32 calls, i32 length, name of the
 * text. (ggml-org/llama.cpp, tools/imatrix.) */
#include <math.h>

#include "artefacts/model/stats_parts.h"

#define NAME_BYTES_MAX 1024
#define ENTRY_BYTES_MIN 17 /* a name of one byte, one value */

typedef struct dat_entry {
    const uint8_t *name, *values;
    uint32_t name_n, calls, n;
} dat_entry;

static pith_status cut_off(pith_ctx *ctx, size_t entry) {
    return pith_fail(ctx, PITH_E_TRUNCATED, "importance matrix: ends within entry %zu", entry);
}

/* The entry at r; false with the failure recorded. */
static pith_status take_entry(pith_ctx *ctx, repr_reader *r, size_t i, dat_entry *e) {
    const uint8_t *p = repr_take(r, 4);
    if (!p) return cut_off(ctx, i);
    e->name_n = load32(p);
    if (e->name_n == 0 || e->name_n > NAME_BYTES_MAX)
        return pith_fail(ctx, PITH_E_FORMAT, "importance matrix: entry %zu has a name of %d bytes", i, (int)e->name_n);
    e->name = repr_take(r, e->name_n);
    p = e->name ? repr_take(r, 8) : NULL;
    if (!p) return cut_off(ctx, i);
    if (memchr(e->name, 0, e->name_n))
        return pith_fail(ctx, PITH_E_FORMAT, "importance matrix: the name of entry %zu holds a NUL", i);
    e->calls = load32(p);
    e->n = load32(p + 4);
    if (e->calls > INT32_MAX || e->n == 0 || e->n > INT32_MAX)
        return pith_fail(ctx, PITH_E_FORMAT, "importance matrix: entry %zu has %d values of %d calls", i, (int)e->n,
                         (int)e->calls);
    e->values = (uint64_t)e->n * 4 <= (uint64_t)(r->end - r->p) ? repr_take(r, (size_t)e->n * 4) : NULL;
    return e->values ? PITH_OK : cut_off(ctx, i);
}

static pith_status take_values(pith_ctx *ctx, const dat_entry *d, float *h) {
    for (uint32_t i = 0; i < d->n; i++) {
        uint32_t bits = load32(d->values + 4 * (size_t)i);
        memcpy(&h[i], &bits, 4);
        if (!isfinite(h[i]) || h[i] < 0)
            return pith_fail(ctx, PITH_E_FORMAT, "importance matrix: value %u of %.*s is %g", i,
                             (int)PITH_MIN(d->name_n, 60u), (const char *)d->name, (double)h[i]);
        if (d->calls) h[i] = h[i] / (float)d->calls;
    }
    return PITH_OK;
}

pith_status stats_read_dat(pith_ctx *ctx, model_stats *s, const uint8_t *data, size_t size) {
    repr_reader r = {.p = data, .end = data + size}, again;
    const uint8_t *p = repr_take(&r, 4);
    if (!p) return pith_fail(ctx, PITH_E_TRUNCATED, "no statistics: the file has %zu bytes", size);
    uint32_t n = load32(p);
    if (n == 0 || n > size / ENTRY_BYTES_MIN)
        return pith_fail(ctx, PITH_E_FORMAT, "no statistics: neither GGUF nor an importance matrix of %u entries", n);
    size_t n_values = 0, name_bytes = 0;
    dat_entry d;
    pith_status status;
    again = r;
    for (uint32_t i = 0; i < n; i++) {
        if ((status = take_entry(ctx, &r, i, &d))) return status;
        n_values += d.n;
        name_bytes += d.name_n + 1;
    }
    if ((status = stats_reserve(ctx, s, n, n_values, false, n, name_bytes))) return status;
    s->by_calls = true;
    float *h = s->values;
    char *name = s->names;
    for (uint32_t i = 0; i < n; i++) {
        if ((status = take_entry(ctx, &again, i, &d)) || (status = take_values(ctx, &d, h))) return status;
        memcpy(name, d.name, d.name_n);
        name[d.name_n] = 0;
        s->seen[i] = (double)d.calls;
        s->entries[i] = (model_stats_entry){.name = name, .parts = 1, .cols = d.n, .h = h, .seen = &s->seen[i]};
        name += d.name_n + 1;
        h += d.n;
    }
    if ((p = repr_take(&r, 4)) != NULL) s->about.chunks = load32(p) <= INT32_MAX ? load32(p) : 0;
    return PITH_OK;
}
