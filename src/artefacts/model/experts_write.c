/* A split model as GGUF: metadata that say the experts, and stacks of matrices in place of the dense ones. */
#include <stdio.h>

#include "artefacts/model/experts_parts.h"

typedef struct split_output {
    pith_ctx *ctx;
    const experts_split *s;
    gguf_writer *gguf;
    tensor_write_fn write;
    void *opaque;
} split_output;

/* What becomes of a tensor of the dense model. */
typedef enum split_role { ROLE_COPY, ROLE_NORM, ROLE_ROWS, ROLE_DOWN } split_role;
static const struct {
    const char *dense, *stack;
    split_role role;
} roles[] = {
    {"ffn_norm.weight", NULL, ROLE_NORM}, /* the router follows */
    {"ffn_gate.weight", "ffn_gate_exps.weight", ROLE_ROWS},
    {"ffn_up.weight", "ffn_up_exps.weight", ROLE_ROWS},
    {"ffn_down.weight", "ffn_down_exps.weight", ROLE_DOWN},
};

/* blk.LAYER.NAME: *which gets the row of roles. */
static split_role role_of(const tensor_view *t, uint32_t *layer, size_t *which) {
    char name[64];
    int read = 0;
    unsigned number;
    if (t->name.size >= sizeof name) return ROLE_COPY;
    memcpy(name, t->name.data, t->name.size);
    name[t->name.size] = 0;
    if (sscanf(name, "blk.%9u.%n", &number, &read) != 1 || !read) return ROLE_COPY;
    *layer = number;
    for (*which = 0; *which < PITH_COUNT(roles); ++*which)
        if (strcmp(name + read, roles[*which].dense) == 0) return roles[*which].role;
    return ROLE_COPY;
}

static tensor_type down_type(tensor_type type) {
    return type == TENSOR_F32 || type == TENSOR_F16 || type == TENSOR_BF16 ? type : TENSOR_F16;
}

static pith_status put_tensor(split_output *o, const tensor_view *t) {
    const experts_split *s = o->s;
    uint32_t layer = 0;
    size_t which = 0;
    char name[64];
    split_role role = role_of(t, &layer, &which);
    if (layer >= s->n_layers) role = ROLE_COPY;
    if (role == ROLE_ROWS || role == ROLE_DOWN) {
        uint64_t ne[3] = {s->n_embd, s->size, s->o.n_experts};
        if (role == ROLE_DOWN) ne[0] = s->size, ne[1] = s->n_embd;
        snprintf(name, sizeof name, "blk.%u.%s", (unsigned)layer, roles[which].stack);
        return gguf_put_tensor(o->ctx, o->gguf, name, strlen(name), role == ROLE_ROWS ? t->type : down_type(t->type), 3,
                               ne);
    }
    pith_status status = gguf_put_tensor(o->ctx, o->gguf, t->name.data, t->name.size, t->type, t->n_dims, t->ne);
    if (status || role != ROLE_NORM) return status;
    snprintf(name, sizeof name, "blk.%u.ffn_gate_inp.weight", (unsigned)layer);
    return gguf_put_tensor(o->ctx, o->gguf, name, strlen(name), TENSOR_F32, 2, (uint64_t[]){s->n_embd, s->o.n_experts});
}

static pith_status put_head(split_output *o) {
    static const char note[] = "a mixture of experts made by splitting the feed-forward blocks of a dense model";
    const experts_split *s = o->s;
    pith_status status = PITH_OK;
    for (size_t i = 0; i < s->file->n_meta && !status; i++) status = gguf_put_value(o->ctx, o->gguf, &s->file->meta[i]);
    if (!status) status = gguf_put_text(o->ctx, o->gguf, "general.description", note, sizeof note - 1);
    if (!status) status = gguf_put_u32(o->ctx, o->gguf, "llama.feed_forward_length", (uint32_t)s->size);
    if (!status) status = gguf_put_u32(o->ctx, o->gguf, "llama.expert_count", s->o.n_experts);
    if (!status) status = gguf_put_u32(o->ctx, o->gguf, "llama.expert_used_count", s->o.n_used);
    for (size_t i = 0; i < s->file->n_tensors && !status; i++) status = put_tensor(o, &s->file->tensors[i]);
    return status ? status : gguf_write_head(o->ctx, o->gguf, o->write, o->opaque);
}

static pith_status put_data(split_output *o, const void *data, size_t size) {
    return gguf_write_data(o->ctx, o->gguf, data, size, o->write, o->opaque);
}

static pith_status put_rows(split_output *o, const tensor_view *t, const split_block *b) {
    size_t row = (size_t)(t->bytes / t->ne[1]), n = o->s->n_ff * row;
    uint8_t *rows = pith_alloc(o->ctx, n);
    if (!rows) return pith_alloc_status(o->ctx);
    for (size_t k = 0; k < o->s->n_ff; k++) memcpy(rows + k * row, t->data + b->order[k] * row, row);
    pith_status status = put_data(o, rows, n);
    pith_free(o->ctx, rows);
    return status;
}

static pith_status put_down(split_output *o, const tensor_view *t, const split_block *b) {
    const experts_split *s = o->s;
    tensor_type type = down_type(t->type);
    size_t bytes = tensor_type_of(type)->block_bytes, bad, row = s->size * bytes, n = s->n_ff * s->n_embd;
    uint8_t *coded = pith_alloc(o->ctx, n * bytes), *to = coded;
    if (!coded) return pith_alloc_status(o->ctx);
    for (size_t e = 0; e < s->o.n_experts; e++)
        for (size_t r = 0; r < s->n_embd; r++, to += row)
            blocks_encode(type, b->down + r * s->n_ff + e * s->size, to, s->size);
    pith_status status = PITH_OK;
    if (!blocks_valid(type, coded, n, &bad))
        status = pith_fail(o->ctx, PITH_E_CHECK, "split: a value of %.*s is not finite, or too large for %s",
                           (int)t->name.size, t->name.data, tensor_type_of(type)->name);
    if (!status) status = put_data(o, coded, n * bytes);
    pith_free(o->ctx, coded);
    return status;
}

static pith_status put_values(split_output *o, const tensor_view *t) {
    const experts_split *s = o->s;
    uint32_t layer = 0;
    size_t which = 0;
    split_role role = role_of(t, &layer, &which);
    if (role == ROLE_COPY || layer >= s->n_layers) return put_data(o, t->data, (size_t)t->bytes);
    const split_block *b = &s->blocks[layer];
    if (role == ROLE_ROWS) return put_rows(o, t, b);
    if (role == ROLE_DOWN) return put_down(o, t, b);
    pith_status status = put_data(o, t->data, (size_t)t->bytes);
    return status ? status : put_data(o, b->router, s->o.n_experts * s->n_embd * sizeof *b->router);
}

pith_status experts_split_write(pith_ctx *ctx, const experts_split *s, tensor_write_fn write, void *opaque) {
    split_output o = {.ctx = ctx, .s = s, .write = write, .opaque = opaque};
    pith_status status = gguf_writer_new(ctx, &o.gguf);
    if (!status) status = put_head(&o);
    for (size_t i = 0; i < s->file->n_tensors && !status; i++) status = put_values(&o, &s->file->tensors[i]);
    gguf_writer_free(ctx, o.gguf);
    return status;
}
