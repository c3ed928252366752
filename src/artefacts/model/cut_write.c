/* Writing a cut model: metadata that say the new sizes, then the rows and columns that stay. */
#include "artefacts/model/cut_parts.h"

#include <stdio.h>

#define META_KEY_ROOM 256 /* architectures have few keys, and short ones */

typedef struct output {
    pith_ctx *ctx;
    model_cut *c;
    gguf_writer *gguf;
    tensor_write_fn write;
    void *opaque;
    uint64_t written;
} output;

/* Layers of different shapes are llama.cpp's "deci". */
static const char *new_arch(const model_cut *c) { return c->ff_differ || c->heads_differ ? "deci" : c->arch; }

static pith_status put_number(output *o, const char *key, uint32_t value) {
    char full[128];
    snprintf(full, sizeof full, "%s.%s", new_arch(o->c), key);
    return gguf_put_u32(o->ctx, o->gguf, full, value);
}

/* A number, or where layers differ a list. */
static pith_status put_layers(output *o, const char *key, uint32_t value, const uint32_t *list, bool differ) {
    char full[128];
    if (!differ) return put_number(o, key, value);
    uint32_t n = o->c->to.n_layers;
    uint8_t *bytes = pith_alloc(o->ctx, 4 * (size_t)n);
    if (!bytes) return pith_alloc_status(o->ctx);
    for (uint32_t i = 0; i < 4 * n; i++) bytes[i] = (uint8_t)(list[i / 4] >> i % 4 * 8);
    snprintf(full, sizeof full, "%s.%s", new_arch(o->c), key);
    pith_status status = gguf_put_array(o->ctx, o->gguf, full, META_U32, bytes, n);
    pith_free(o->ctx, bytes);
    return status;
}

/* Head sizes that readers take from the width when no key says them are said. */
static pith_status put_sizes(output *o) {
    const cut_shape *a = &o->c->from, *b = &o->c->to;
    char rope[128];
    pith_status status = put_number(o, "block_count", b->n_layers);
    if (!status) status = put_number(o, "embedding_length", b->n_embd);
    const model_cut *c = o->c;
    if (!status) status = put_layers(o, "feed_forward_length", b->n_ff, c->ff, c->ff_differ);
    if (!status && b->n_experts != a->n_experts) status = put_number(o, "expert_count", b->n_experts);
    if (!status) status = put_layers(o, "attention.head_count", b->n_heads, c->heads, c->heads_differ);
    if (a->n_embd == b->n_embd && a->n_heads == b->n_heads && a->n_kv_heads == b->n_kv_heads && !c->heads_differ)
        return status;
    if (!status) status = put_layers(o, "attention.head_count_kv", b->n_kv_heads, c->kv_heads, c->heads_differ);
    if (!status) status = put_number(o, "attention.key_length", b->head_dim);
    if (!status) status = put_number(o, "attention.value_length", b->head_dim);
    snprintf(rope, sizeof rope, "%s.rope.dimension_count", o->c->arch);
    if (!status && !meta_find(o->c->file, rope)) status = put_number(o, "rope.dimension_count", b->head_dim);
    return status;
}

/* As it stands, keys of the old architecture under the new one's name. */
static pith_status put_value(output *o, meta_value value) {
    const char *was = o->c->arch, *is = new_arch(o->c);
    size_t n = strlen(was);
    char key[META_KEY_ROOM];
    if (was == is) return gguf_put_value(o->ctx, o->gguf, &value);
    if (value.key.size == 20 && memcmp(value.key.data, "general.architecture", 20) == 0)
        return gguf_put_text(o->ctx, o->gguf, "general.architecture", is, strlen(is));
    if (value.key.size > n && value.key.data[n] == '.' && memcmp(value.key.data, was, n) == 0) {
        int size = snprintf(key, sizeof key, "%s%.*s", is, (int)(value.key.size - n), value.key.data + n);
        if (size < 0 || (size_t)size >= sizeof key)
            return pith_fail(o->ctx, PITH_E_UNSUPPORTED, "cut: a key of %zu bytes is too long", value.key.size);
        value.key = (meta_string){key, (size_t)size};
    }
    return gguf_put_value(o->ctx, o->gguf, &value);
}

static pith_status put_head(output *o) {
    const tensor_file *f = o->c->file;
    pith_status status = PITH_OK;
    for (size_t i = 0; i < f->n_meta && !status; i++) status = put_value(o, f->meta[i]);
    if (!status) status = put_sizes(o);
    for (size_t i = 0; i < o->c->n_tensors && !status; i++) {
        const cut_tensor *t = &o->c->tensors[i];
        status = gguf_put_tensor(o->ctx, o->gguf, t->name, strlen(t->name), t->type, t->from->n_dims, t->ne);
    }
    return status ? status : gguf_write_head(o->ctx, o->gguf, o->write, o->opaque);
}

static pith_status put_data(output *o, const void *data, size_t size) {
    pith_status status = gguf_write_data(o->ctx, o->gguf, data, size, o->write, o->opaque);
    return status ? status : pith_tick(o->ctx, o->written += size, o->c->size.tensor_bytes);
}

/* Old row `row` of matrix m. */
static const uint8_t *row_data(const cut_tensor *t, uint64_t m, uint64_t row) {
    const tensor_view *from = t->from;
    return from->data + from->bytes / from->ne[1] / from->ne[2] * (m * from->ne[1] + row);
}

/* Rows as they are stored. */
static pith_status copy_rows(output *o, const cut_tensor *t) {
    if (!t->rows.at && !t->stack && !t->experts.at) return put_data(o, t->from->data, t->from->bytes);
    pith_status status = PITH_OK;
    for (uint64_t k = 0; k < t->ne[2] && !status; k++) {
        uint64_t m = cut_matrix(t, k);
        cut_list rows = cut_rows(t, m);
        for (uint32_t i = 0; i < t->ne[1] && !status; i++)
            status = put_data(o, row_data(t, m, rows.at ? rows.at[i] : i), t->row_bytes);
    }
    return status;
}

/* Row i of old matrix m as floats, its columns that stay, in to[ne[0]]; whole has room for an old row. */
static void slice_row(const cut_tensor *t, uint64_t m, uint64_t i, uint32_t head_dim, float *whole, float *to) {
    const tensor_view *from = t->from;
    cut_list rows = cut_rows(t, m), cols = cut_cols(t, m);
    uint64_t row = rows.at ? rows.at[i] : i, n = PITH_MAX(t->merged, 1u);
    for (uint64_t k = 0; k < n; k++) { /* of a bias the columns are a head apart */
        uint64_t down = rows.at ? k * head_dim : 0, right = rows.at ? 0 : k * head_dim;
        if (k == 0 || down) blocks_decode(from->type, row_data(t, m, row + down), whole, from->ne[0]);
        for (uint64_t j = 0; j < t->ne[0]; j++) {
            float x = whole[(cols.at ? cols.at[j] : j) + right];
            to[j] = k ? to[j] + x : x;
        }
    }
    for (uint64_t j = 0; j < t->ne[0] && n > 1; j++) to[j] /= (float)n;
}

static pith_status put_row(output *o, const cut_tensor *t, const float *row, uint8_t *coded) {
    const tensor_type_info *info = tensor_type_of(t->type);
    size_t bad;
    if (!blocks_encode(t->type, row, coded, t->ne[0]))
        return pith_fail(o->ctx, PITH_E_UNSUPPORTED, "cut: %s cannot be written", info->name);
    if (!blocks_valid(t->type, coded, t->ne[0] / info->block, &bad))
        return pith_fail(o->ctx, PITH_E_CHECK, "cut: a value of %s is not finite, or too large for %s", t->name,
                         info->name);
    return put_data(o, coded, t->row_bytes);
}

static pith_status recode(output *o, const cut_tensor *t) {
    const cut_plan *plan = &o->c->plan;
    size_t kept = t->edited ? t->ne[1] : 1; /* edits see the whole matrix */
    uint64_t floats;
    if (__builtin_mul_overflow(t->ne[0], kept, &floats) || floats > SIZE_MAX / sizeof(float))
        return pith_fail(o->ctx, PITH_E_LIMIT, "cut: %s is too large", t->name);
    float *whole = pith_alloc(o->ctx, t->from->ne[0] * sizeof *whole);
    float *rows = pith_alloc(o->ctx, floats * sizeof *rows);
    uint8_t *coded = pith_alloc(o->ctx, t->row_bytes);
    pith_status status = whole && rows && coded ? PITH_OK : pith_alloc_status(o->ctx);
    for (uint64_t i = 0; i < t->ne[1] * t->ne[2] && !status; i++) {
        float *row = rows + (t->edited ? i * t->ne[0] : 0);
        slice_row(t, cut_matrix(t, i / t->ne[1]), i % t->ne[1], o->c->from.head_dim, whole, row);
        if (!t->edited) status = put_row(o, t, rows, coded);
    }
    if (t->edited && !status)
        status = plan->edit(plan->opaque, t->from, t->cols, t->rows, t->ne[0], t->ne[1], rows);
    for (uint64_t i = 0; i < t->ne[1] && t->edited && !status; i++) status = put_row(o, t, rows + i * t->ne[0], coded);
    pith_free(o->ctx, whole);
    pith_free(o->ctx, rows);
    pith_free(o->ctx, coded);
    return status;
}

pith_status model_cut_write(pith_ctx *ctx, model_cut *c, tensor_write_fn write, void *opaque) {
    output o = {.ctx = ctx, .c = c, .write = write, .opaque = opaque};
    pith_status status = gguf_writer_new(ctx, &o.gguf);
    if (!status) status = put_head(&o);
    for (size_t i = 0; i < c->n_tensors && !status; i++) {
        const cut_tensor *t = &c->tensors[i];
        bool columns = t->cols.at || (t->stack && t->cols_are == CUT_NEURONS);
        status = columns || t->edited || t->merged ? recode(&o, t) : copy_rows(&o, t);
    }
    gguf_writer_free(ctx, o.gguf);
    return status;
}
