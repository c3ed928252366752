/* Bytes as statistics of inputs: GGUF, pith's own or an importance matrix, or the older .dat. Whatever is read is
 * finite and not below zero, can be written in llama.cpp's formats, and reads back the same. */
#include <math.h>

#include "artefacts/model/stats.h"
#include "base/sink.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(pith_ctx *ctx, const model_stats *s) {
    for (size_t i = 0; i < model_stats_count(s); i++) {
        const model_stats_entry *e = model_stats_at(s, i);
        repr_stats found;
        if (!e->parts || !e->cols || model_stats_entry_of(s, e->name) != e) abort();
        for (size_t k = 0; k < e->parts * e->cols; k++)
            if (!(e->h[k] >= 0) || !isfinite(e->h[k]) || (e->mean && !isfinite(e->mean[k]))) abort();
        for (uint32_t p = 0; p < e->parts && p < 4; p++) {
            pith_begin(ctx);
            if (model_stats_find(ctx, s, e->name, p, e->cols, &found) != PITH_OK) {
                if (!pith_error(ctx)[0]) abort();
                continue;
            }
            if (found.h != e->h + p * e->cols) abort();
            for (size_t k = 0; found.gram && k < e->cols * (e->cols + 1) / 2; k++)
                if (!isfinite(found.gram[k])) abort();
        }
        pith_begin(ctx);
        if (model_stats_find(ctx, s, e->name, e->parts, e->cols, &found) == PITH_OK) abort();
    }
    pith_begin(ctx);
    model_stats_saw(s, "text", 4);
}

/* Names that GGUF has no room for, and numbers too large for sums, may be refused. */
static void write_again(pith_ctx *ctx, const model_stats *s, model_stats_format format) {
    pith_buffer out = {0};
    pith_sink to = {ctx, &out};
    model_stats *again;
    pith_begin(ctx);
    if (model_stats_write(ctx, s, format, pith_sink_write, &to) == PITH_OK) {
        if (model_stats_open_memory(ctx, out.data, out.size, &again) != PITH_OK) abort();
        if (model_stats_count(again) != model_stats_count(s)) abort();
        look(ctx, again);
        model_stats_close(ctx, again);
    } else if (!pith_error(ctx)[0]) {
        abort();
    }
    pith_buffer_free(ctx, &out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pith_ctx *ctx = pith_ctx_new(NULL);
    uint8_t *copy = malloc(size ? size : 1); /* no byte more than there is */
    if (!ctx || !copy) abort();
    if (size) memcpy(copy, data, size);
    pith_ctx_set_memory(ctx, (uint64_t)64 << 20);
    model_stats *s;
    if (model_stats_open_memory(ctx, copy, size, &s) == PITH_OK) {
        look(ctx, s);
        write_again(ctx, s, MODEL_STATS_IMATRIX);
        write_again(ctx, s, MODEL_STATS_DAT);
        model_stats_close(ctx, s);
    } else if (s || !pith_error(ctx)[0] || strchr(pith_error(ctx), '\n')) {
        abort(); /* a failure says what it is */
    }
    if (pith_memory_used(ctx) != 0) abort();
    pith_ctx_free(ctx);
    free(copy);
    return 0;
}
