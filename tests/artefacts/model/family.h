/* Siblings of a model for tests: its matrices with an adapter merged into them, W + s B A with B and A of rank 8 and
 * normal entries, s such that |s B A| / |W| is what was asked for; rounded to a type of floats. */
#ifndef TESTS_MODEL_FAMILY_H
#define TESTS_MODEL_FAMILY_H

#include <math.h>

#include "base/sink.h"
#include "formats/tensors/tensors.h"
#include "kernels/represent/represent.h"

#define FAMILY_RANK 8

typedef struct family_options {
    double update;    /* |s B A| / |W|; 0: the base itself */
    tensor_type type; /* of matrices */
    uint64_t seed;
    bool only_head; /* the update is in the embedding or output matrix alone */
} family_options;

static inline uint64_t family_random(uint64_t *state) {
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* Near enough to normal: the sum of 12 uniform numbers. */
static inline float family_normal(uint64_t *state) {
    double sum = -6;
    for (int i = 0; i < 12; i++) sum += (double)(family_random(state) >> 11) * 0x1p-53;
    return (float)sum;
}

static inline bool family_fill(pith_ctx *ctx, float *w, size_t rows, size_t cols, double update, uint64_t *state) {
    float *b = pith_alloc(ctx, (rows + cols) * FAMILY_RANK * sizeof *b), *a = b + rows * FAMILY_RANK;
    if (!b) return false;
    for (size_t i = 0; i < (rows + cols) * FAMILY_RANK; i++) b[i] = family_normal(state);
    double w2 = 0;
    for (size_t i = 0; i < rows * cols; i++) w2 += (double)w[i] * (double)w[i];
    double scale = update * sqrt(w2 / ((double)rows * (double)cols * FAMILY_RANK));
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++) {
            float sum = 0;
            for (unsigned k = 0; k < FAMILY_RANK; k++) sum += b[i * FAMILY_RANK + k] * a[k * cols + j];
            w[i * cols + j] += (float)scale * sum;
        }
    pith_free(ctx, b);
    return true;
}

static inline bool family_is_head(const tensor_view *v) {
    return (v->name.size == 13 && memcmp(v->name.data, "output.weight", 13) == 0) ||
           (v->name.size == 17 && memcmp(v->name.data, "token_embd.weight", 17) == 0);
}

static inline bool family_is_matrix(const tensor_view *v) { return v->n_dims == 2 && v->ne[1] > 1; }

/* One tensor through the writer. */
static inline pith_status family_tensor(pith_ctx *ctx, gguf_writer *g, const tensor_view *v, const family_options *o,
                                        pith_sink *out) {
    size_t n = (size_t)v->n_elements;
    tensor_type type = family_is_matrix(v) ? o->type : v->type;
    uint64_t bytes, state = o->seed * 1000003 + pith_hash64(v->name.data, v->name.size);
    if (!tensor_type_bytes(type, n, &bytes)) return PITH_E_ARGUMENT;
    float *w = pith_alloc(ctx, n * sizeof *w);
    uint8_t *coded = pith_alloc(ctx, (size_t)bytes);
    pith_status status = w && coded ? PITH_OK : PITH_E_MEMORY;
    if (!status) {
        blocks_decode(v->type, v->data, w, n);
        bool changed = family_is_matrix(v) && o->update > 0 && (!o->only_head || family_is_head(v));
        if (changed && !family_fill(ctx, w, (size_t)v->ne[1], (size_t)v->ne[0], o->update, &state))
            status = PITH_E_MEMORY;
    }
    if (!status && !blocks_encode(type, w, coded, n)) status = PITH_E_ARGUMENT;
    if (!status) status = gguf_write_data(ctx, g, coded, (size_t)bytes, pith_sink_write, out);
    pith_free(ctx, w);
    pith_free(ctx, coded);
    return status;
}

/* A GGUF file, appended to out. */
static inline pith_status family_make(pith_ctx *ctx, const tensor_file *f, const family_options *o, pith_buffer *out) {
    gguf_writer *g;
    pith_sink w = {ctx, out};
    pith_status status = gguf_writer_new(ctx, &g);
    if (status) return status;
    for (size_t i = 0; i < f->n_meta && !status; i++) status = gguf_put_value(ctx, g, &f->meta[i]);
    for (size_t i = 0; i < f->n_tensors && !status; i++) {
        const tensor_view *v = &f->tensors[i];
        status = gguf_put_tensor(ctx, g, v->name.data, v->name.size, family_is_matrix(v) ? o->type : v->type, v->n_dims,
                                 v->ne);
    }
    if (!status) status = gguf_write_head(ctx, g, pith_sink_write, &w);
    for (size_t i = 0; i < f->n_tensors && !status; i++) status = family_tensor(ctx, g, &f->tensors[i], o, &w);
    gguf_writer_free(ctx, g);
    return status;
}

#endif
