/* Opening a model: every tensor its architecture lists is found, its shape held against the
 * hyper-parameters, and put in its place; matrices stay in the file or are copied to big pages.
 * Nothing is allocated for weights before all of them are known to fit. */
#include <math.h>
#include <stdio.h>

#include "lm/model.h"
#include "math/math.h"

typedef struct loader {
    pith_ctx *ctx;
    lm_model *m;
    const size_t *dim;  /* of the model, or of the layer */
    bool measuring;     /* the first pass only checks and counts */
    uint64_t f32_bytes; /* of matrices that must be decoded */
    const char *f32_type;
} loader;

typedef struct decode_job {
    const lm_matrix *from;
    float *to;
    size_t rows_at_once;
} decode_job;

static pith_status decode_rows(void *arg, size_t part) {
    const decode_job *j = arg;
    size_t first = part * j->rows_at_once, end = PITH_MIN(first + j->rows_at_once, j->from->n_rows);
    for (size_t r = first; r < end; r++)
        blocks_decode(j->from->type, j->from->data + r * j->from->row_bytes, j->to + r * j->from->n_cols,
                      j->from->n_cols);
    return PITH_OK;
}

/* Makes a matrix ready to be multiplied: one whose type has no kernel becomes F32. */
static pith_status make_ready(loader *l, lm_weight *w) {
    lm_matrix *a = &w->matrix;
    if (matmul_supports(a->type, a->n_cols)) return PITH_OK;
    size_t bytes = a->n_rows * a->n_cols * sizeof(float);
    if (l->measuring) {
        l->f32_bytes += bytes;
        l->f32_type = tensor_type_of(a->type)->name;
        return PITH_OK;
    }
    w->values = pith_alloc(l->ctx, bytes);
    if (!w->values) return pith_alloc_status(l->ctx);
    decode_job job = {a, w->values, 64};
    pith_status status = pith_parallel(l->ctx, (a->n_rows + 63) / 64, decode_rows, &job);
    if (status) return status;
    a->type = TENSOR_F32;
    a->row_bytes = a->n_cols * sizeof(float);
    a->data = (const uint8_t *)w->values;
    return PITH_OK;
}

static pith_status take_values(loader *l, const tensor_view *t, size_t n, size_t from, lm_weight *w) {
    uint64_t skip = 0, bytes;
    if (!tensor_type_bytes(t->type, from, &skip) || !tensor_type_bytes(t->type, n, &bytes))
        return pith_fail(l->ctx, PITH_E_UNSUPPORTED, "tensor %s: type %s cannot hold parts of %zu", w->name,
                         tensor_type_of(t->type)->name, n);
    if (l->measuring) return PITH_OK;
    w->values = pith_alloc(l->ctx, n * sizeof(float));
    if (!w->values) return pith_alloc_status(l->ctx);
    blocks_decode(t->type, t->data + skip, w->values, n);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(w->values[i]))
            return pith_fail(l->ctx, PITH_E_FORMAT, "tensor %s is not finite at element %zu", w->name, from + i);
    return PITH_OK;
}

static pith_status take_matrix(loader *l, const tensor_view *t, const tensor_row *row, size_t from, lm_weight *w) {
    uint64_t row_bytes;
    size_t cols = l->dim[row->cols];
    if (!tensor_type_bytes(t->type, cols, &row_bytes))
        return pith_fail(l->ctx, PITH_E_FORMAT, "tensor %s: rows of %zu are no whole blocks of type %s", w->name, cols,
                         tensor_type_of(t->type)->name);
    size_t copies = row->flags & TENSOR_STACK ? l->m->dim[DIM_EXPERTS] : 1;
    w->matrix = (lm_matrix){.type = t->type,
                            .n_rows = l->dim[row->rows] * copies,
                            .n_cols = cols,
                            .row_bytes = (size_t)row_bytes,
                            .data = t->data + from * row_bytes};
    return row->flags & TENSOR_LOOKUP ? PITH_OK : make_ready(l, w);
}

static pith_status take_tensor(loader *l, const tensor_row *row, lm_weight *w) {
    const size_t *dim = l->dim;
    const tensor_view *t = tensor_find(l->m->file, w->name);
    if (!t && (row->flags & TENSOR_OPTIONAL)) return PITH_OK;
    if (!t) return pith_fail(l->ctx, PITH_E_FORMAT, "tensor %s is missing", w->name);
    uint64_t cols = dim[row->cols], rows = dim[row->rows];
    if (row->whole && row->rows == DIM_ONE) cols = dim[row->whole];
    if (row->whole && row->rows != DIM_ONE) rows = dim[row->whole];
    bool stack = row->flags & TENSOR_STACK, deep = false;
    if (stack && (t->ne[2] != dim[DIM_EXPERTS] || t->n_dims > 3))
        return pith_fail(l->ctx, PITH_E_FORMAT, "tensor %s is of %llu experts, the hyper-parameters say %zu", w->name,
                         (unsigned long long)t->ne[2], dim[DIM_EXPERTS]);
    for (uint32_t i = stack ? 3 : 2; i < TENSOR_MAX_DIMS; i++) deep |= t->ne[i] != 1;
    if (t->ne[0] != cols || t->ne[1] != rows || deep)
        return pith_fail(l->ctx, PITH_E_FORMAT,
                         "tensor %s has shape [%llu, %llu%s], the hyper-parameters say [%llu, %llu]", w->name,
                         (unsigned long long)t->ne[0], (unsigned long long)t->ne[1], deep ? ", ..." : "",
                         (unsigned long long)cols, (unsigned long long)rows);
    size_t from = row->from ? dim[row->from] : 0;
    if (row->flags & TENSOR_VALUES) return take_values(l, t, dim[row->cols] * dim[row->rows], from, w);
    return take_matrix(l, t, row, from, w);
}

static pith_status take_list(loader *l, tensor_list list, const char *prefix, lm_weight *places) {
    for (size_t i = 0; i < list.n; i++) {
        lm_weight *w = &places[list.rows[i].role];
        snprintf(w->name, sizeof w->name, "%s%s", prefix, list.rows[i].name);
        pith_status status = take_tensor(l, &list.rows[i], w);
        if (status) return status;
    }
    return PITH_OK;
}

static pith_status take_all(loader *l) {
    lm_model *m = l->m;
    l->dim = m->dim;
    pith_status status = take_list(l, m->arch->model, "", m->w);
    if (!status && !tensor_find(m->file, m->w[W_OUTPUT].name)) { /* tied to the embeddings */
        m->w[W_OUTPUT] = m->w[W_EMBD];
        status = make_ready(l, &m->w[W_OUTPUT]);
    }
    for (size_t i = 0; !status && i < m->dim[DIM_LAYERS]; i++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "blk.%zu.", i);
        l->dim = m->layers[i].dim;
        status = take_list(l, m->arch->mixer_tensors, prefix, m->layers[i].w);
        if (!status) status = take_list(l, m->arch->ffn_tensors, prefix, m->layers[i].w);
    }
    return status;
}

static pith_status take_weights(pith_ctx *ctx, lm_model *m) {
    loader l = {.ctx = ctx, .m = m, .measuring = true};
    pith_status status = take_all(&l);
    if (status) return status;
    uint64_t used = pith_memory_used(ctx), limit = pith_ctx_memory(ctx);
    if (used > limit || l.f32_bytes > limit - used)
        return pith_fail(ctx, PITH_E_LIMIT,
                         "weights of type %s have no kernel: %llu bytes of memory to decode them, the limit is %llu",
                         l.f32_type, (unsigned long long)l.f32_bytes, (unsigned long long)limit);
    l.measuring = false;
    return take_all(&l);
}

/* ---- a copy in big pages ---- */

#define PACK_ALIGN 64u

/* Every matrix that is multiplied and stands in the file: gets its place behind *at in `block`. */
static void pack_list(lm_weight *w, size_t n, uint8_t *block, uint64_t *at) {
    for (size_t i = 0; i < n; i++) {
        lm_matrix *a = &w[i].matrix;
        if (!a->data || w[i].values) continue;
        uint64_t bytes = (uint64_t)a->n_rows * a->row_bytes;
        if (block) a->data = memcpy(block + *at, a->data, (size_t)bytes);
        *at += (bytes + PACK_ALIGN - 1) / PACK_ALIGN * PACK_ALIGN;
    }
}

static uint64_t pack_all(lm_model *m, uint8_t *block) {
    uint64_t at = 0;
    pack_list(&m->w[W_OUTPUT], 1, block, &at); /* of the others single rows are looked up */
    for (size_t i = 0; i < m->dim[DIM_LAYERS]; i++) pack_list(m->layers[i].w, N_LAYER_WEIGHTS, block, &at);
    return at;
}

/* One stream through huge pages was measured up to twice as fast as one through the small pages
 * of a mapped file. All weights pass by for every token. */
static pith_status pack(pith_ctx *ctx, lm_model *m) {
    uint64_t bytes = pack_all(m, NULL), used = pith_memory_used(ctx), limit = pith_ctx_memory(ctx);
    if (!bytes || used > limit || bytes > (limit - used) / 2 || bytes > SIZE_MAX) return PITH_OK;
    m->packed = pith_zalloc(ctx, (size_t)bytes); /* zeroed memory is the kind that comes in huge pages */
    if (!m->packed) return pith_alloc_status(ctx);
    pack_all(m, m->packed);
    return PITH_OK;
}

/* What a file made from a Hugging Face folder may still hold another way. */
static pith_status adapt(pith_ctx *ctx, lm_model *m) {
    bool transposed = false;
    if (meta_bool(m->file, "pith.transposed", &transposed) && transposed)
        return pith_fail(ctx, PITH_E_UNSUPPORTED,
                         "the weights are stored input by output: convert the model to GGUF first");
    meta_string text;
    if (m->arch->mixer == MIX_MAMBA && meta_text(m->file, "pith.ssm_a", &text) && text.size == 3 &&
        !memcmp(text.data, "log", 3)) {
        for (size_t i = 0; i < m->dim[DIM_LAYERS]; i++) {
            float *a = m->layers[i].w[L_SSM_A].values;
            for (size_t j = 0; j < m->dim[DIM_STATE] * m->dim[DIM_INNER]; j++) a[j] = (float)-real_exp((double)a[j]);
        }
    }
    return PITH_OK;
}

static pith_status open_tokenizer(pith_ctx *ctx, lm_model *m) {
    if (!meta_find(m->file, "tokenizer.ggml.model") && m->dim[DIM_VOCAB] != 256) return PITH_OK;
    pith_status status = tokenizer_open(ctx, m->file, &m->tokenizer);
    if (!status && tokenizer_about(m->tokenizer)->n_vocab > m->dim[DIM_VOCAB])
        return pith_fail(ctx, PITH_E_FORMAT, "key tokenizer.ggml.tokens has %u entries, the model knows %zu",
                         tokenizer_about(m->tokenizer)->n_vocab, m->dim[DIM_VOCAB]);
    return status;
}

pith_status lm_open_file(pith_ctx *ctx, const tensor_file *f, lm_model **out) {
    *out = NULL;
    meta_string name;
    if (!meta_text(f, "general.architecture", &name))
        return pith_fail(ctx, PITH_E_FORMAT, "key general.architecture is missing: not a language model");
    const lm_arch *arch = arch_find(name);
    if (!arch)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "key general.architecture is \"%.*s\"; known are %s",
                         (int)PITH_MIN(name.size, 60u), name.data, arch_names());
    lm_model *m = pith_zalloc(ctx, sizeof *m);
    if (!m) return pith_alloc_status(ctx);
    m->arch = arch;
    m->file = f;
    m->cache = LM_CACHE_F16;
    pith_status status = hyper_read(ctx, m);
    if (!status) status = take_weights(ctx, m);
    if (!status) status = adapt(ctx, m);
    if (!status) status = rope_open(ctx, m);
    if (!status) status = open_tokenizer(ctx, m);
    if (!status) status = pack(ctx, m);
    if (status) {
        lm_close(ctx, m);
        return status;
    }
    for (size_t i = 0; i < f->n_tensors; i++) {
        m->shape.n_parameters += f->tensors[i].n_elements;
        m->shape.weight_bytes += f->tensors[i].bytes;
    }
    *out = m;
    return PITH_OK;
}

pith_status lm_open(pith_ctx *ctx, const char *path, lm_model **out) {
    *out = NULL;
    tensor_file *f;
    size_t size;
    const uint8_t *built_in = path ? NULL : default_model(&size);
    pith_status status = path ? tensor_file_open(ctx, path, &f) : tensor_file_open_memory(ctx, built_in, size, &f);
    if (status) return status;
    lm_model *m;
    status = lm_open_file(ctx, f, &m);
    if (status) {
        tensor_file_close(ctx, f);
        return status;
    }
    m->own_file = f;
    if (path && !m->tokenizer) status = model_find_tokenizer(ctx, path, m);
    if (status)
        lm_close(ctx, m);
    else
        *out = m;
    return status;
}

static void free_weights(pith_ctx *ctx, lm_weight *w, size_t n) {
    for (size_t i = 0; i < n; i++) pith_free(ctx, w[i].values);
}

void lm_close(pith_ctx *ctx, lm_model *m) {
    if (!m) return;
    for (size_t i = 0; m->layers && i < m->dim[DIM_LAYERS]; i++) free_weights(ctx, m->layers[i].w, N_LAYER_WEIGHTS);
    free_weights(ctx, m->w, N_MODEL_WEIGHTS);
    pith_free(ctx, m->layers);
    pith_free(ctx, m->layer_sizes);
    pith_free(ctx, m->packed);
    pith_free(ctx, m->rope_turns);
    tokenizer_free(ctx, m->tokenizer);
    if (m->own_file) tensor_file_close(ctx, m->own_file);
    pith_free(ctx, m);
}

const lm_shape *lm_about(const lm_model *m) { return &m->shape; }
const tensor_file *lm_file(const lm_model *m) { return m->file; }
const tokenizer *lm_tokenizer(const lm_model *m) { return m->tokenizer; }

uint32_t lm_rules(const lm_model *m) {
    for (size_t i = 0; i < m->file->n_tensors; i++)
        if (tensor_type_of(m->file->tensors[i].type)->block == 32) return 1;
    return 0;
}
