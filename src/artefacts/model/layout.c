/* Which bytes of a model file belong to which tensor. */
#include "artefacts/model/layout.h"

static int by_place(const void *a, const void *b) {
    const tensor_view *x = *(const tensor_view *const *)a, *y = *(const tensor_view *const *)b;
    return x->data < y->data ? -1 : x->data > y->data;
}

static const uint8_t *end_of(const model_layout *l, size_t i) {
    return i ? l->views[i - 1]->data + l->views[i - 1]->bytes : l->data;
}

size_t model_layout_gap(const model_layout *l, size_t i) {
    return (size_t)((i < l->n_views ? l->views[i]->data : l->data + l->size) - end_of(l, i));
}

/* What was made up by the reader, or shares bytes with one before, is no tensor here. */
static bool lies_behind(const model_layout *l, const tensor_view *v) {
    const uint8_t *at = end_of(l, l->n_views), *end = l->data + l->size;
    return v->bytes > 0 && v->data >= at && v->data <= end && v->bytes <= (uint64_t)(end - v->data);
}

pith_status model_layout_open(pith_ctx *ctx, const uint8_t *data, size_t size, model_layout *l) {
    *l = (model_layout){.data = data, .size = size, .rest_n = size};
    pith_status status = tensor_file_open_memory(ctx, data, size, &l->file);
    if (status) return status;
    size_t n = l->file->n_tensors;
    l->views = pith_alloc(ctx, (n + 1) * sizeof *l->views);
    if (!l->views) status = pith_alloc_status(ctx);
    for (size_t i = 0; i < n && !status; i++) l->views[i] = &l->file->tensors[i];
    if (!status) qsort(l->views, n, sizeof *l->views, by_place);
    for (size_t i = 0; i < n && !status; i++) {
        const tensor_view *v = l->views[i];
        if (!lies_behind(l, v)) continue;
        l->views[l->n_views++] = v;
        l->rest_n -= (size_t)v->bytes;
    }
    if (!status && !(l->rest = pith_alloc(ctx, l->rest_n + 1))) status = pith_alloc_status(ctx);
    size_t at = 0;
    for (size_t i = 0; i <= l->n_views && !status; i++) {
        size_t gap = model_layout_gap(l, i);
        memcpy(l->rest + at, end_of(l, i), gap);
        at += gap;
    }
    if (status) model_layout_free(ctx, l);
    return status;
}

void model_layout_free(pith_ctx *ctx, model_layout *l) {
    if (l->file) tensor_file_close(ctx, l->file);
    pith_free(ctx, l->views);
    pith_free(ctx, l->rest);
    *l = (model_layout){0};
}
