/* Decoding one block, and what it costs in memory and time. */
#include "artefacts/file/block.h"

#include <stdarg.h>
#include <stdio.h>

#include "artefacts/file/models.h"

static const file_codec *const codecs[] = {
    &file_codec_stored, &file_codec_run, &file_codec_zstd, &file_codec_lzma, &file_codec_bwt, &file_codec_cm, &file_codec_lm,
};
static const file_front *const fronts[] = {
    &file_front_text,
    &file_front_x86,
    &file_front_record,
    &file_front_array,
    &file_front_columns,
};

const file_codec *block_codec(unsigned id) {
    for (size_t i = 0; i < PITH_COUNT(codecs); i++)
        if (codecs[i]->id == id) return codecs[i];
    return NULL;
}

const file_front *block_front(unsigned id) {
    for (size_t i = 0; i < PITH_COUNT(fronts); i++)
        if (fronts[i]->id == id) return fronts[i];
    return NULL;
}

uint64_t block_decode_memory(const block_header *h) {
    uint64_t bytes = h->raw_n + h->coded_n + h->codec->memory(&h->codec_args, h->transformed_n, true);
    if (h->front) bytes += h->transformed_n + h->front->memory(&h->front_args, h->raw_n);
    return bytes;
}

double block_decode_ns(const block_header *h) {
    double ns = (double)h->codec->cost(&h->codec_args) * (double)h->transformed_n;
    if (h->codec->start_ns) ns += (double)h->codec->start_ns(&h->codec_args);
    return ns + (double)h->raw_n * (h->front ? BLOCK_FRONT_NS : 0);
}

pith_status block_decode(pith_ctx *ctx, const block_header *h, const uint8_t *coded, uint8_t *raw) {
    pith_status status;
    if (!h->front) {
        status = h->codec->decode(ctx, &h->codec_args, coded, h->coded_n, raw, h->raw_n);
    } else {
        uint8_t *transformed = pith_alloc(ctx, PITH_MAX(h->transformed_n, 1));
        if (!transformed) return pith_alloc_status(ctx);
        status = h->codec->decode(ctx, &h->codec_args, coded, h->coded_n, transformed, h->transformed_n);
        if (!status) status = h->front->inverse(ctx, &h->front_args, transformed, h->transformed_n, raw, h->raw_n);
        pith_free(ctx, transformed);
    }
    if (status) return status;
    uint64_t hash = pith_hash64(raw, h->raw_n);
    if (hash == h->hash) return PITH_OK;
    return pith_fail(ctx, PITH_E_CHECK, "the content does not match its check value: the data are damaged");
}

static size_t print_stage(char *out, size_t n, const char *name, const file_args *args) {
    size_t at = (size_t)snprintf(out, n, "%s", name);
    for (unsigned i = 0; i < args->n && at < n; i++)
        at += (size_t)snprintf(out + at, n - at, i ? ", %lu" : "(%lu", (unsigned long)args->v[i]);
    if (args->n && at < n) at += (size_t)snprintf(out + at, n - at, ")");
    return PITH_MIN(at, n - 1);
}

void block_recipe(const block_header *h, char *out, size_t out_size) {
    size_t at = 0;
    if (h->front) {
        at = print_stage(out, out_size, h->front->name, &h->front_args);
        at += (size_t)snprintf(out + at, out_size - at, " | ");
        at = PITH_MIN(at, out_size - 1);
    }
    print_stage(out + at, out_size - at, h->codec->name, &h->codec_args);
}

pith_status block_time_spend(pith_ctx *ctx, block_time *t, double ns, double coded_bytes) {
    double spent_ns = t->spent_ns + ns, coded = t->coded_bytes + coded_bytes;
    double allowed_ns = t->max_seconds > 0 ? t->max_seconds * 1e9 : BLOCK_FREE_NS + block_ns_per_coded_byte(ctx) * coded;
    if (spent_ns > allowed_ns)
        return pith_fail(
            ctx, PITH_E_LIMIT,
            "decoding is estimated to take %.0f seconds, %.0f are allowed; a higher limit must be asked for",
            spent_ns / 1e9, allowed_ns / 1e9);
    t->spent_ns = spent_ns;
    t->coded_bytes = coded;
    return PITH_OK;
}

double block_ns_per_coded_byte(pith_ctx *ctx) {
    return models_given(ctx) ? BLOCK_NS_PER_MODEL_BYTE : BLOCK_NS_PER_CODED_BYTE;
}

bool block_time_is_fair(pith_ctx *ctx, const block_header *h, bool first_of_frame) {
    double allowed = (first_of_frame ? BLOCK_FREE_NS : 0) + block_ns_per_coded_byte(ctx) * (double)h->coded_n;
    return block_decode_ns(h) <= allowed;
}

pith_status file_cancelled(pith_ctx *ctx) { return pith_fail(ctx, PITH_E_CANCELLED, "cancelled"); }

pith_status block_where(pith_ctx *ctx, pith_status status, const char *format, ...) {
    char where[128], why[400];
    va_list args;
    va_start(args, format);
    vsnprintf(where, sizeof where, format, args);
    va_end(args);
    snprintf(why, sizeof why, "%s", pith_error(ctx));
    bool cancelled = pith_cancelled(ctx);
    if (cancelled || status == PITH_E_CANCELLED) return status;
    pith_begin(ctx);
    return pith_fail(ctx, status, "%s: %s", where, *why ? why : pith_status_name(status));
}
