/* Bytes as a file of tensors, whatever the format: open, look everything up, check the data, write
 * what was read again as GGUF and open that. Nothing may be read outside, kept, or allocated beyond
 * the session's memory; what GGUF can hold must come back. */
#include "base/sink.h"
#include "formats/tensors/tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t sum; /* keeps the reads */

static void look(const tensor_file *f) {
    char name[256];
    for (size_t i = 0; i < f->n_meta; i++) {
        const meta_value *v = &f->meta[i];
        meta_string text;
        double number;
        if (v->type == META_ARRAY && v->element == META_STRING) {
            uint64_t cursor = 0, n = 0;
            while (meta_next_string(v, &cursor, &text)) {
                n++;
                if (text.size) sum += (uint8_t)text.data[text.size - 1];
            }
            if (n != v->count) abort();
        } else if (v->type == META_ARRAY) {
            for (uint64_t k = 0; k < v->count; k++) sum += meta_number_at(v, k) > 0;
        }
        if (v->key.size >= sizeof name) continue;
        memcpy(name, v->key.data, v->key.size);
        name[v->key.size] = 0;
        if (meta_find(f, name) != v) abort();
        sum += meta_f64(f, name, &number);
        if (meta_text(f, name, &text) && text.size) sum += (uint8_t)text.data[0];
    }
    for (size_t i = 0; i < f->n_tensors; i++) {
        const tensor_view *t = &f->tensors[i];
        for (uint64_t k = 0; k < t->bytes; k += 64) sum += t->data[k];
        if (t->bytes) sum += t->data[t->bytes - 1];
        if (t->name.size >= sizeof name) continue;
        memcpy(name, t->name.data, t->name.size);
        name[t->name.size] = 0;
        if (tensor_find(f, name) != t) abort();
    }
}

static pith_status write_again(pith_ctx *ctx, const tensor_file *f, pith_buffer *out) {
    pith_sink to = {ctx, out};
    gguf_writer *w;
    pith_status status = gguf_writer_new(ctx, &w);
    if (status) return status;
    for (size_t i = 0; i < f->n_meta && !status; i++) status = gguf_put_value(ctx, w, &f->meta[i]);
    for (size_t i = 0; i < f->n_tensors && !status; i++) {
        const tensor_view *t = &f->tensors[i];
        status = gguf_put_tensor(ctx, w, t->name.data, t->name.size, t->type, t->n_dims, t->ne);
    }
    if (!status) status = gguf_write_head(ctx, w, pith_sink_write, &to);
    for (size_t i = 0; i < f->n_tensors && !status; i++)
        status = gguf_write_data(ctx, w, f->tensors[i].data, (size_t)f->tensors[i].bytes, pith_sink_write, &to);
    gguf_writer_free(ctx, w);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pith_ctx *ctx = pith_ctx_new(NULL);
    uint8_t *copy = malloc(size ? size : 1); /* no byte more than there is */
    if (!ctx || !copy) abort();
    if (size) memcpy(copy, data, size);
    pith_ctx_set_memory(ctx, (uint64_t)64 << 20);
    pith_ctx_set_threads(ctx, 1);
    tensor_file *f, *again;
    pith_buffer out = {0};
    pith_status status = tensor_file_open_memory(ctx, copy, size, &f);
    if (status) {
        if (f || !pith_error(ctx)[0] || strchr(pith_error(ctx), '\n')) abort(); /* a failure says what it is */
    } else {
        look(f);
        pith_status checked = tensor_file_check(ctx, f);
        if (checked && checked != PITH_E_CHECK) abort();
        pith_begin(ctx);
        if (write_again(ctx, f, &out) == PITH_OK) {
            pith_begin(ctx);
            if (tensor_file_open_memory(ctx, out.data, out.size, &again) != PITH_OK) abort();
            if (again->n_meta != f->n_meta || again->n_tensors != f->n_tensors) abort();
            for (size_t i = 0; i < f->n_tensors; i++) {
                const tensor_view *a = &f->tensors[i], *b = &again->tensors[i];
                if (a->bytes != b->bytes || memcmp(a->data, b->data, (size_t)a->bytes) != 0) abort();
            }
            tensor_file_close(ctx, again);
        }
        pith_buffer_free(ctx, &out);
        tensor_file_close(ctx, f);
    }
    if (pith_memory_used(ctx) != 0) abort();
    pith_ctx_free(ctx);
    free(copy);
    return 0;
}
