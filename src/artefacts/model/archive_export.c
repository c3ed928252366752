/* The model of an archive as a new file, its coded tensors in another type.
 *
 * Keys and the list of tensors are read from the original's own head: the rest of the file is put where it was, into
 * memory as long as the file whose other pages are never touched. */
#include "artefacts/model/archive_parts.h"
#include "artefacts/model/quantize.h"

#include <sys/mman.h>

typedef struct exporting {
    pith_ctx *ctx;
    model_archive *a;
    const archive_wish *wish;
    tensor_write_fn write;
    void *opaque;
    uint8_t *image; /* [original_n] */
    tensor_file *file;
    size_t *order;      /* [file->n_tensors] their numbers in the archive */
    tensor_view *views; /* [file->n_tensors] as they are written */
    gguf_writer *gguf;  /* NULL: safetensors */
    uint64_t done, total;
} exporting;

static pith_status make_image(exporting *e) {
    const archive_index *x = &e->a->index;
    uint8_t *rest = pith_alloc(e->ctx, (size_t)x->rest_n + 1);
    if (!rest) return pith_alloc_status(e->ctx);
    pith_status status = archive_rest(e->ctx, e->a, rest);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *p = status || !x->original_n ? MAP_FAILED
                                       : mmap(NULL, (size_t)x->original_n, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (!status && p == MAP_FAILED) status = pith_fail(e->ctx, PITH_E_MEMORY, "no room to lay out its head");
    if (!status) {
        e->image = p;
        uint64_t at = 0, from = 0;
        for (size_t i = 0; i < x->n_tensors; i++) {
            const archive_tensor *t = &x->tensors[i];
            memcpy(e->image + at, rest + from, (size_t)t->gap);
            at += t->gap + t->bytes;
            from += t->gap;
        }
        memcpy(e->image + at, rest + from, (size_t)(x->rest_n - from));
    }
    pith_free(e->ctx, rest);
    return status;
}

/* The tensors that the head lists are those of the index, and what they become. */
static pith_status list_tensors(exporting *e) {
    const tensor_file *f = e->file;
    const archive_index *x = &e->a->index;
    e->order = pith_alloc(e->ctx, (f->n_tensors + 1) * sizeof *e->order);
    e->views = pith_alloc(e->ctx, (f->n_tensors + 1) * sizeof *e->views);
    if (!e->order || !e->views) return pith_alloc_status(e->ctx);
    for (size_t i = 0; i < f->n_tensors; i++) {
        const tensor_view *v = &f->tensors[i];
        size_t k = e->order[i] = archive_find(e->a, v->name.data, v->name.size);
        if (k == SIZE_MAX || x->tensors[k].type != v->type || x->tensors[k].n_elements != v->n_elements ||
            x->tensors[k].ne[0] != v->ne[0])
            return pith_fail(e->ctx, PITH_E_FORMAT, "its index and the head of the model in it list different tensors");
        e->views[i] = *v;
        e->views[i].data = NULL;
        e->views[i].type = archive_written_type(x, e->wish, k);
        if (!tensor_type_bytes(e->views[i].type, v->n_elements, &e->views[i].bytes))
            return pith_fail(e->ctx, PITH_E_FORMAT, "a tensor of too many bytes");
        e->total += e->views[i].bytes;
    }
    return PITH_OK;
}

static pith_status put(void *opaque, const void *data, size_t size) {
    exporting *e = opaque;
    return e->write(e->opaque, data, size);
}

/* llama.cpp's number for a file mostly of a type; false when it has none. */
static bool file_type_of(tensor_type type, uint32_t *number) {
    for (const quantize_mix *mix = quantize_mixes; mix->name; mix++)
        if (mix->type == type) {
            *number = mix->file_type;
            return true;
        }
    return false;
}

static pith_status gguf_head(exporting *e) {
    pith_ctx *ctx = e->ctx;
    uint32_t number;
    pith_status status = gguf_writer_new(ctx, &e->gguf);
    for (size_t i = 0; i < e->file->n_meta && !status; i++) status = gguf_put_value(ctx, e->gguf, &e->file->meta[i]);
    if (!status && file_type_of(e->wish->type->type, &number))
        status = gguf_put_u32(ctx, e->gguf, "general.file_type", number);
    if (!status && e->wish->type->block > 1) status = gguf_put_u32(ctx, e->gguf, "general.quantization_version", 2);
    for (size_t i = 0; i < e->file->n_tensors && !status; i++) {
        const tensor_view *v = &e->views[i];
        status = gguf_put_tensor(ctx, e->gguf, v->name.data, v->name.size, v->type, v->n_dims, v->ne);
    }
    return status ? status : gguf_write_head(ctx, e->gguf, put, e);
}

static pith_status safetensors_begin(exporting *e) {
    pith_buffer head = {0};
    pith_status status =
        safetensors_head(e->ctx, e->views, e->file->n_tensors, e->file->meta, e->file->n_meta, &head);
    if (!status) status = put(e, head.data, head.size);
    pith_buffer_free(e->ctx, &head);
    return status;
}

static pith_status take(void *opaque, size_t tensor, bool begins, const uint8_t *bytes, size_t n) {
    exporting *e = opaque;
    (void)tensor, (void)begins;
    pith_status status = e->gguf ? gguf_write_data(e->ctx, e->gguf, bytes, n, put, e) : n ? put(e, bytes, n) : PITH_OK;
    return status ? status : pith_tick(e->ctx, e->done += n, e->total);
}

static pith_status export(exporting *e) {
    pith_status status = make_image(e);
    if (!status) status = tensor_file_open_memory(e->ctx, e->image, (size_t)e->a->index.original_n, &e->file);
    if (status) return status;
    bool gguf = strcmp(e->file->format, "gguf") == 0;
    const tensor_type_info *type = e->wish->type;
    if (!gguf && strcmp(e->file->format, "safetensors") != 0)
        return pith_fail(e->ctx, PITH_E_UNSUPPORTED, "a %s file keeps its types; pith model convert changes them afterwards",
                         e->file->format);
    if (!archive_writes(type->type) || (gguf ? !type->in_gguf : type->block > 1))
        return pith_fail(e->ctx, PITH_E_UNSUPPORTED, "%s is not written in a %s file", type->name, e->file->format);
    status = list_tensors(e);
    if (!status) status = gguf ? gguf_head(e) : safetensors_begin(e);
    const archive_flow flow = {.order = e->order, .n = e->file->n_tensors, .take = take, .opaque = e};
    return status ? status : archive_stream(e->ctx, e->a, e->wish, &flow);
}

pith_status archive_export(pith_ctx *ctx, model_archive *a, const archive_wish *wish, tensor_write_fn write,
                           void *opaque) {
    exporting e = {.ctx = ctx, .a = a, .wish = wish, .write = write, .opaque = opaque};
    pith_status status = export(&e);
    gguf_writer_free(ctx, e.gguf);
    pith_free(ctx, e.views);
    pith_free(ctx, e.order);
    if (e.file) tensor_file_close(ctx, e.file);
    if (e.image) munmap(e.image, (size_t)a->index.original_n);
    return status;
}
