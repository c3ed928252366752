/* Siblings of a model: W + s B A with normal B and A of rank 8, s such that |s B A| / |W| is what was asked for. */
#include <math.h>

#include "base/sink.h"
#include "faces/cli/bench_family.h"
#include "math/dense/dense.h"

enum { RANK = 8 };

static uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* Near enough to normal: the sum of twelve uniform numbers. */
static float next_normal(uint64_t *state) {
    double sum = -6;
    for (int i = 0; i < 12; i++) sum += (double)(next_random(state) >> 11) * 0x1p-53;
    return (float)sum;
}

static double mean_square(const float *w, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)w[i] * (double)w[i];
    return sum / (double)n;
}

static pith_status merge_adapter(pith_ctx *ctx, float *w, size_t rows, size_t cols, double update, uint64_t *state) {
    float *b = pith_alloc(ctx, (rows + cols) * RANK * sizeof *b), *a = b + rows * RANK;
    if (!b) return pith_alloc_status(ctx);
    for (size_t i = 0; i < (rows + cols) * RANK; i++) b[i] = next_normal(state);
    float scale = (float)(update * sqrt(mean_square(w, rows * cols) / RANK));
    dense_gemm(false, false, rows, cols, RANK, scale, b, RANK, a, cols, 1, w, cols);
    pith_free(ctx, b);
    return PITH_OK;
}

static bool is_matrix(const tensor_view *v) { return v->n_dims == 2 && v->ne[1] > 1; }

static pith_status change(pith_ctx *ctx, const tensor_view *v, const family_sibling *how, float *w) {
    size_t n = (size_t)v->n_elements;
    uint64_t state = how->seed * 1000003 + pith_hash64(v->name.data, v->name.size);
    if (how->strange) {
        float scale = (float)sqrt(mean_square(w, n));
        for (size_t i = 0; i < n; i++) w[i] = scale * next_normal(&state);
    }
    return how->update > 0 ? merge_adapter(ctx, w, (size_t)v->ne[1], (size_t)v->ne[0], how->update, &state) : PITH_OK;
}

static pith_status put_tensor(pith_ctx *ctx, gguf_writer *g, const tensor_view *v, const family_sibling *how,
                              bool is_head, tensor_write_fn write, void *opaque) {
    size_t n = (size_t)v->n_elements;
    if (!is_matrix(v)) return gguf_write_data(ctx, g, v->data, (size_t)v->bytes, write, opaque);
    float *w = pith_alloc(ctx, n * sizeof *w);
    uint8_t *coded = pith_alloc(ctx, 2 * n);
    pith_status status = w && coded ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        if (is_head && how->head)
            memcpy(w, how->head, n * sizeof *w);
        else
            blocks_decode(v->type, v->data, w, n);
        status = change(ctx, v, how, w);
    }
    if (!status && !blocks_encode(TENSOR_BF16, w, coded, n)) status = pith_fail(ctx, PITH_E_INTERNAL, "no bf16");
    if (!status) status = gguf_write_data(ctx, g, coded, 2 * n, write, opaque);
    pith_free(ctx, w);
    pith_free(ctx, coded);
    return status;
}

pith_status family_make(pith_ctx *ctx, const tensor_file *from, const family_sibling *how, pith_buffer *out) {
    const tensor_view *head = tensor_find(from, "output.weight");
    if (!head) head = tensor_find(from, "token_embd.weight");
    pith_sink k = {ctx, out};
    gguf_writer *g = NULL;
    pith_status status = gguf_writer_new(ctx, &g);
    for (size_t i = 0; i < from->n_meta && !status; i++) status = gguf_put_value(ctx, g, &from->meta[i]);
    for (size_t i = 0; i < from->n_tensors && !status; i++) {
        const tensor_view *v = &from->tensors[i];
        status =
            gguf_put_tensor(ctx, g, v->name.data, v->name.size, is_matrix(v) ? TENSOR_BF16 : v->type, v->n_dims, v->ne);
    }
    if (!status) status = gguf_write_head(ctx, g, pith_sink_write, &k);
    for (size_t i = 0; i < from->n_tensors && !status; i++)
        status = put_tensor(ctx, g, &from->tensors[i], how, &from->tensors[i] == head, pith_sink_write, &k);
    gguf_writer_free(ctx, g);
    return status;
}
