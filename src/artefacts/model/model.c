/* The public face of model archives (pith/model.h). */
#include "pith/model.h"

#include <math.h>
#include <sys/mman.h>

#include "artefacts/artefacts.h"
#include "artefacts/model/archive_parts.h"
#include "artefacts/model/stats.h"

pith_status archive_sink_write(void *opaque, const void *data, size_t size) {
    archive_sink *s = opaque;
    if (size && s->write && s->write(s->opaque, data, size) != 0)
        return pith_fail(s->ctx, PITH_E_IO, "the output could not be written");
    return PITH_OK;
}

static void begin(pith_ctx *ctx) {
    pith_begin(ctx);
    artefacts_register();
}

void pith_model_options_init(pith_model_options *options) { *options = (pith_model_options){.size = sizeof *options}; }

pith_status pith_model_compress(pith_ctx *ctx, const pith_model_options *options, const char *path, pith_write_fn write,
                                void *opaque) {
    begin(ctx);
    if (options && options->size < sizeof *options)
        return pith_fail(ctx, PITH_E_ARGUMENT, "options were not filled by pith_model_options_init");
    const uint8_t *data = NULL;
    size_t size = 0;
    model_stats *stats = NULL;
    pith_status status = archive_map(ctx, path, &data, &size);
    if (status) return status;
    if (options && options->stats) status = model_stats_open(ctx, options->stats, &stats);
    archive_sink s = {ctx, write, opaque};
    pith_model_loss *wanted = options ? options->loss : NULL;
    archive_loss loss = {0};
    archive_options o = {.recipe = options ? options->recipe : NULL, .stats = stats, .loss = wanted ? &loss : NULL};
    if (!status) status = archive_write(ctx, data, size, &o, archive_sink_write, &s);
    if (wanted) {
        *wanted = (pith_model_loss){loss.weights, loss.weights_error, loss.outputs_error, loss.worst_error, {0}};
        memcpy(wanted->worst, loss.worst, sizeof wanted->worst);
    }
    if (stats) model_stats_close(ctx, stats);
    munmap((void *)(uintptr_t)data, size);
    return status;
}

pith_status archive_open_within(pith_ctx *ctx, const pith_decode_options *limits, const char *path,
                                model_archive **a) {
    pith_status status = archive_open(ctx, path, limits ? limits->max_seconds : 0, a);
    if (status || !limits || archive_about(*a)->original_n <= limits->max_content_size) return status;
    status = pith_fail(ctx, PITH_E_LIMIT, "%llu bytes of content, the limit is %llu",
                       (unsigned long long)archive_about(*a)->original_n, (unsigned long long)limits->max_content_size);
    archive_close(ctx, *a);
    return status;
}

pith_status pith_model_decompress(pith_ctx *ctx, const pith_decode_options *options, const char *path,
                                  pith_write_fn write, void *opaque) {
    begin(ctx);
    archive_sink s = {ctx, write, opaque};
    model_archive *a;
    pith_status status = archive_open_within(ctx, options, path, &a);
    if (status) return status;
    status = archive_restore(ctx, a, NULL, write ? archive_sink_write : NULL, &s);
    archive_close(ctx, a);
    return status;
}

pith_status pith_model_info_get(pith_ctx *ctx, const char *path, pith_model_info *info) {
    begin(ctx);
    *info = (pith_model_info){0};
    model_archive *a;
    pith_status status = archive_open(ctx, path, INFINITY, &a);
    if (status) return status;
    const archive_index *x = archive_about(a);
    info->archive_size = archive_bytes(a);
    info->content_size = x->original_n;
    info->hash = x->original_hash;
    info->lossy = x->lossy;
    info->n_tensors = x->n_tensors;
    info->rest_size = x->rest_n;
    for (size_t i = 0; i < x->n_tensors; i++) {
        const archive_tensor *t = &x->tensors[i];
        const archive_tensor *kept = t->mode == ARCHIVE_SAME ? &x->tensors[t->like] : t;
        info->n_same += t->mode == ARCHIVE_SAME;
        info->n_coded += kept->mode == ARCHIVE_CODED;
        if (kept->mode == ARCHIVE_CODED) {
            info->weights += t->n_elements;
            info->weights_size += t->bytes;
        } else {
            info->exact_size += t->bytes;
        }
    }
    for (size_t i = 0; i < x->n_pieces; i++) {
        const archive_piece *p = &x->pieces[i];
        if (p->tensor == ARCHIVE_REST)
            info->rest_coded += p->coded_n;
        else if (x->tensors[p->tensor].mode == ARCHIVE_CODED)
            info->weights_coded += p->coded_n;
        else
            info->exact_coded += p->coded_n;
    }
    archive_close(ctx, a);
    return PITH_OK;
}

int pith_model_is_archive(const void *data, size_t n) { return archive_magic(data, n); }
