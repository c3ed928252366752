/* A GGUF made in memory: head by the writer, then every tensor decoded to floats or copied. */
#include "artefacts/model/overlay.h"
#include "base/sink.h"

#define PIECE 65536u /* elements decoded at once */

struct model_overlay {
    const tensor_file *base;
    tensor_file *file; /* over data */
    uint8_t *data;
    size_t size;
    bool *replaced; /* [n_tensors] */
};

bool model_overlay_takes(const tensor_view *t) {
    bool integers = (t->type >= TENSOR_I8 && t->type <= TENSOR_I64) || (t->type >= TENSOR_U8 && t->type <= TENSOR_BOOL);
    return !integers && t->n_dims >= 2 && t->ne[0] > 1 && t->n_elements > t->ne[0];
}

static bool replaced(const tensor_file *base, const bool *replace, size_t i) {
    return replace ? replace[i] : model_overlay_takes(&base->tensors[i]);
}

static tensor_type type_of(const tensor_view *t, bool replace, bool half) {
    return !replace ? t->type : half && model_overlay_takes(t) ? TENSOR_F16 : TENSOR_F32;
}

static uint64_t padded(uint64_t bytes) { return (bytes + 31) / 32 * 32; }

uint64_t model_overlay_bytes(const tensor_file *base, const bool *replace, bool half) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < base->n_tensors; i++) {
        const tensor_view *t = &base->tensors[i];
        bool small = half && model_overlay_takes(t);
        bytes += padded(replaced(base, replace, i) ? t->n_elements * (small ? 2 : 4) : t->bytes);
    }
    return bytes;
}

static bool is_alignment(const meta_value *v) {
    return v->key.size == 17 && memcmp(v->key.data, "general.alignment", 17) == 0;
}

static pith_status make_head(pith_ctx *ctx, const model_overlay *o, bool half, pith_buffer *head) {
    const tensor_file *f = o->base;
    pith_sink to = {ctx, head};
    gguf_writer *w;
    pith_status status = gguf_writer_new(ctx, &w);
    if (status) return status;
    for (size_t i = 0; i < f->n_meta && !status; i++)
        if (!is_alignment(&f->meta[i])) status = gguf_put_value(ctx, w, &f->meta[i]);
    for (size_t i = 0; i < f->n_tensors && !status; i++) {
        const tensor_view *t = &f->tensors[i];
        status =
            gguf_put_tensor(ctx, w, t->name.data, t->name.size, type_of(t, o->replaced[i], half), t->n_dims, t->ne);
    }
    if (!status) status = gguf_write_head(ctx, w, pith_sink_write, &to);
    gguf_writer_free(ctx, w);
    return status;
}

/* The place of tensor i; the overlay's bytes are its own to change. */
static uint8_t *place_of(const model_overlay *o, size_t i) {
    return o->data + (size_t)(o->file->tensors[i].data - o->data);
}

static void encode(const model_overlay *o, size_t i, size_t at, const float *values, size_t n) {
    uint8_t *to = place_of(o, i);
    if (o->file->tensors[i].type == TENSOR_F16)
        blocks_encode(TENSOR_F16, values, to + 2 * at, n);
    else
        blocks_encode(TENSOR_F32, values, to + 4 * at, n);
}

typedef struct fill_job {
    pith_ctx *ctx;
    const model_overlay *o;
} fill_job;

static pith_status fill(void *arg, size_t i) {
    const fill_job *j = arg;
    const tensor_view *from = &j->o->base->tensors[i];
    if (!j->o->replaced[i]) {
        if (from->bytes) memcpy(place_of(j->o, i), from->data, (size_t)from->bytes);
        return PITH_OK;
    }
    const tensor_type_info *info = tensor_type_of(from->type);
    float *values = pith_alloc(j->ctx, PIECE * sizeof *values);
    if (!values) return pith_alloc_status(j->ctx);
    for (size_t at = 0; at < from->n_elements; at += PIECE) { /* a piece is whole blocks of any type */
        size_t n = (size_t)PITH_MIN((uint64_t)PIECE, from->n_elements - at);
        blocks_decode(from->type, from->data + at / info->block * info->block_bytes, values, n);
        encode(j->o, i, at, values, n);
    }
    pith_free(j->ctx, values);
    return PITH_OK;
}

static pith_status build(pith_ctx *ctx, model_overlay *o, bool half) {
    pith_buffer head = {0};
    pith_status status = make_head(ctx, o, half, &head);
    uint64_t bytes = model_overlay_bytes(o->base, o->replaced, half);
    if (!status && bytes > SIZE_MAX - head.size) status = pith_fail(ctx, PITH_E_LIMIT, "the model is too large");
    if (!status) {
        o->size = head.size + (size_t)bytes;
        o->data = pith_zalloc(ctx, o->size);
        if (!o->data) status = pith_alloc_status(ctx);
    }
    if (!status) {
        memcpy(o->data, head.data, head.size);
        status = tensor_file_open_memory(ctx, o->data, o->size, &o->file);
    }
    pith_buffer_free(ctx, &head);
    fill_job job = {ctx, o};
    return status ? status : pith_parallel(ctx, o->base->n_tensors, fill, &job);
}

pith_status model_overlay_new(pith_ctx *ctx, const tensor_file *base, const bool *replace, bool half,
                              model_overlay **out) {
    *out = NULL;
    model_overlay *o = pith_zalloc(ctx, sizeof *o);
    if (!o) return pith_alloc_status(ctx);
    o->base = base;
    o->replaced = pith_alloc(ctx, PITH_MAX(base->n_tensors, 1u) * sizeof *o->replaced);
    pith_status status = o->replaced ? PITH_OK : pith_alloc_status(ctx);
    for (size_t i = 0; i < base->n_tensors && !status; i++) o->replaced[i] = replaced(base, replace, i);
    if (!status) status = build(ctx, o, half);
    if (status)
        model_overlay_free(ctx, o);
    else
        *out = o;
    return status;
}

void model_overlay_free(pith_ctx *ctx, model_overlay *o) {
    if (!o) return;
    if (o->file) tensor_file_close(ctx, o->file);
    pith_free(ctx, o->data);
    pith_free(ctx, o->replaced);
    pith_free(ctx, o);
}

pith_status model_overlay_put(pith_ctx *ctx, model_overlay *o, size_t i, uint64_t at, const float *values, size_t n) {
    if (i >= o->base->n_tensors || !o->replaced[i])
        return pith_fail(ctx, PITH_E_ARGUMENT, "tensor %zu is none that the overlay replaces", i);
    if (at > o->base->tensors[i].n_elements || n > o->base->tensors[i].n_elements - at)
        return pith_fail(ctx, PITH_E_ARGUMENT, "tensor %zu has no %zu elements from %llu on", i, n,
                         (unsigned long long)at);
    encode(o, i, (size_t)at, values, n);
    return PITH_OK;
}

pith_status model_overlay_reset(pith_ctx *ctx, model_overlay *o, size_t i) {
    if (i >= o->base->n_tensors) return pith_fail(ctx, PITH_E_ARGUMENT, "there is no tensor %zu", i);
    return fill(&(fill_job){ctx, o}, i);
}

pith_status model_overlay_open(pith_ctx *ctx, model_overlay *o, lm_model **out) {
    return lm_open_file(ctx, o->file, out);
}

const tensor_file *model_overlay_file(const model_overlay *o) { return o->file; }
