/* A small model file of several types, with tensors of equal bytes and of none, and its archive. */
#ifndef MODEL_ARCHIVE_DATA_H
#define MODEL_ARCHIVE_DATA_H

#include "artefacts/model/archive_parts.h"
#include "kernels/represent/toys.h"
#include "support/session.h"

static pith_status append(void *opaque, const void *data, size_t size) {
    void **pair = opaque;
    return pith_buffer_append(pair[0], pair[1], data, size);
}

static const struct made {
    const char *name;
    tensor_type type;
    uint32_t n_dims;
    uint64_t ne[3];
    unsigned seed; /* equal seeds, equal bytes */
} made[] = {
    {"token_embd.weight", TENSOR_F16, 2, {32, 50, 1}, 1},
    {"blk.0.attn_norm.weight", TENSOR_F32, 1, {32, 1, 1}, 2},
    {"blk.0.attn_q.weight", TENSOR_F16, 2, {32, 32, 1}, 3},
    {"blk.0.ffn_up.weight", TENSOR_Q8_0, 2, {64, 20, 1}, 4},
    {"blk.0.ffn_exps.weight", TENSOR_F32, 3, {16, 4, 3}, 5},
    {"blk.1.attn_q.weight", TENSOR_F16, 2, {32, 32, 1}, 3},
    {"blk.1.ids", TENSOR_I32, 1, {7, 1, 1}, 6},
    {"empty", TENSOR_F32, 2, {0, 4, 1}, 7},
    {"output.weight", TENSOR_BF16, 2, {32, 50, 1}, 8},
};
#define N_MADE PITH_COUNT(made)

static void fill_tensor(const struct made *m, uint8_t *bytes, uint64_t n) {
    uint32_t state = m->seed;
    float w[64];
    const tensor_type_info *type = tensor_type_of(m->type);
    for (uint64_t at = 0; at < n; at += type->block_bytes) {
        for (uint32_t i = 0; i < type->block; i++) {
            state = state * 1664525 + 1013904223;
            w[i] = (float)(int32_t)state / 1e10f;
        }
        if (!blocks_encode(m->type, w, bytes + at, type->block)) memcpy(bytes + at, w, type->block_bytes);
    }
}

static pith_buffer make_model(void) {
    pith_buffer out = {0};
    void *pair[] = {ctx, &out};
    gguf_writer *w;
    uint8_t *bytes = calloc(1, 1 << 16);
    assert_int_equal(gguf_writer_new(ctx, &w), PITH_OK);
    assert_int_equal(gguf_put_text(ctx, w, "general.architecture", "test", 4), PITH_OK);
    for (size_t i = 0; i < N_MADE; i++)
        assert_int_equal(gguf_put_tensor(ctx, w, made[i].name, strlen(made[i].name), made[i].type, made[i].n_dims, made[i].ne),
                         PITH_OK);
    assert_int_equal(gguf_write_head(ctx, w, append, pair), PITH_OK);
    for (size_t i = 0; i < N_MADE; i++) {
        uint64_t n;
        assert_true(tensor_type_bytes(made[i].type, made[i].ne[0] * made[i].ne[1] * made[i].ne[2], &n));
        fill_tensor(&made[i], bytes, n);
        assert_int_equal(gguf_write_data(ctx, w, bytes, (size_t)n, append, pair), PITH_OK);
    }
    gguf_writer_free(ctx, w);
    free(bytes);
    return out;
}

static pith_buffer compress(const pith_buffer *model, const char *recipe) {
    pith_buffer out = {0};
    void *pair[] = {ctx, &out};
    archive_options o = {.recipe = recipe};
    pith_status status = archive_write(ctx, model->data, model->size, &o, append, pair);
    if (status) fail_msg("%s", pith_error(ctx));
    return out;
}

static inline model_archive *open_archive(const pith_buffer *b) {
    model_archive *a;
    pith_status status = archive_open_memory(ctx, b->data, b->size, 0, &a);
    if (status) fail_msg("%s", pith_error(ctx));
    return a;
}

static inline pith_buffer restore(model_archive *a) {
    pith_buffer out = {0};
    void *pair[] = {ctx, &out};
    pith_status status = archive_restore(ctx, a, NULL, append, pair);
    if (status) fail_msg("%s", pith_error(ctx));
    return out;
}

static inline void assert_same_bytes(const pith_buffer *a, const pith_buffer *b) {
    assert_int_equal(a->size, b->size);
    assert_memory_equal(a->data, b->data, a->size);
}

#endif
