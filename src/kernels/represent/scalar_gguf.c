/* The coder gguf: blocks of a GGUF type, column by column, so that obs can spread what their codes miss.
 *
 * When a block is entered, its scales are fitted to the columns as errors have left them; from then on only codes are
 * chosen. No permutation, because blocks are neighbours. The code is the bytes of the blocks, as a plane. */
#include <math.h>

#include "kernels/represent/chain.h"
#include "kernels/represent/scalar_gguf.h"

enum { P_TYPE };
const pith_param gguf_params[1] = {
    {.name = "type",
     .type = PITH_P_CHOICE,
     .choices = "q4_0|q4_1|q5_0|q5_1|q8_0|iq4_nl|q2_K|q3_K|q4_K|q5_K|q6_K",
     .def = 8,
     .doc = "of the blocks; those that end in K need columns in multiples of 256, others of 32"},
};
static const tensor_type choices[] = {TENSOR_Q4_0, TENSOR_Q4_1, TENSOR_Q5_0, TENSOR_Q5_1, TENSOR_Q8_0, TENSOR_IQ4_NL,
                                      TENSOR_Q2_K, TENSOR_Q3_K, TENSOR_Q4_K, TENSOR_Q5_K, TENSOR_Q6_K};

typedef struct gguf_coder {
    repr_columns base;
    const repr_job *job;
    const gguf_form *form;
    size_t rows, cols;
    uint8_t *codes;      /* [cols][rows] */
    gguf_scales *scales; /* [cols / block][rows] */
    float *scale, *min;  /* [GGUF_SUBS][rows] of the block at hand */
} gguf_coder;

static pith_status gguf_enter(repr_columns *self, size_t first, size_t n, const float *w, const float *cost) {
    gguf_coder *c = (gguf_coder *)self;
    gguf_scales *scales = c->scales + first / c->form->block * c->rows;
    for (size_t r = 0; r < c->rows; r++) {
        float x[GGUF_BLOCK], scale[GGUF_SUBS], min[GGUF_SUBS];
        for (size_t j = 0; j < n; j++) x[j] = w[j * c->rows + r];
        gguf_fit(c->form, x, cost, &scales[r]);
        gguf_values(c->form, &scales[r], scale, min);
        for (size_t k = 0; k < n / c->form->sub; k++) {
            c->scale[k * c->rows + r] = scale[k];
            c->min[k * c->rows + r] = min[k];
        }
    }
    return PITH_OK;
}

static void gguf_column(repr_columns *self, size_t column, const float *in, float *out) {
    gguf_coder *c = (gguf_coder *)self;
    size_t sub = column % c->form->block / c->form->sub;
    const float *scale = c->scale + sub * c->rows, *min = c->min + sub * c->rows;
    uint8_t *codes = c->codes + column * c->rows;
    for (size_t r = 0; r < c->rows; r++) {
        float inverse = scale[r] != 0 ? 1 / scale[r] : 0;
        codes[r] = (uint8_t)gguf_code(c->form, in[r], isfinite(inverse) ? inverse : 0, min[r]);
        out[r] = scale[r] * gguf_level(c->form, codes[r]) - min[r];
    }
}

/* blocks[rows][cols / block][n_bytes] */
static void put_blocks(const gguf_coder *c, uint8_t *blocks) {
    const gguf_form *f = c->form;
    size_t n_blocks = c->cols / f->block;
    for (size_t b = 0; b < n_blocks; b++)
        for (size_t r = 0; r < c->rows; r++) {
            uint8_t q[GGUF_BLOCK];
            for (size_t j = 0; j < f->block; j++) q[j] = c->codes[(b * f->block + j) * c->rows + r];
            gguf_write(f, &c->scales[b * c->rows + r], q, blocks + (r * n_blocks + b) * f->n_bytes);
        }
}

static pith_status gguf_finish(repr_columns *self, pith_buffer *out) {
    gguf_coder *c = (gguf_coder *)self;
    pith_ctx *ctx = c->job->ctx;
    size_t row = c->cols / c->form->block * c->form->n_bytes, n = row * c->rows;
    uint8_t *blocks = pith_alloc(ctx, n);
    uint16_t *codes = pith_alloc(ctx, n * sizeof *codes);
    pith_status status = blocks && codes ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        put_blocks(c, blocks);
        for (size_t i = 0; i < n; i++) codes[i] = blocks[i];
        repr_plane plane = {codes, n, row, 256};
        status = repr_pack(c->job, &plane, out);
    }
    pith_free(ctx, blocks);
    pith_free(ctx, codes);
    return status;
}

static void gguf_free(repr_columns *self) {
    gguf_coder *c = (gguf_coder *)self;
    pith_ctx *ctx = c->job->ctx;
    pith_free(ctx, c->codes);
    pith_free(ctx, c->scales);
    pith_free(ctx, c->scale);
    pith_free(ctx, c);
}

static pith_status gguf_new(const repr_job *job, uint32_t type, const repr_matrix *w, gguf_coder **out) {
    pith_ctx *ctx = job->ctx;
    size_t n;
    const gguf_form *form = gguf_form_of(type);
    const tensor_type_info *info = tensor_type_of(type);
    if (!form)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "blocks of type %s cannot be coded by columns",
                         info ? info->name : "?");
    if (w->cols % form->block)
        return pith_fail(ctx, PITH_E_ARGUMENT, "%s needs columns in multiples of %u, not %zu", info->name, form->block,
                         w->cols);
    pith_status status = scalar_room(ctx, w->rows, w->cols, sizeof(uint64_t), &n);
    if (status) return status;
    gguf_coder *c = pith_zalloc(ctx, sizeof *c);
    if (!c) return pith_alloc_status(ctx);
    c->base = (repr_columns){form->block, gguf_enter, gguf_column, gguf_finish, gguf_free};
    c->job = job;
    c->form = form;
    c->rows = w->rows, c->cols = w->cols;
    c->codes = pith_alloc(ctx, n);
    c->scales = pith_alloc(ctx, n / form->block * sizeof *c->scales);
    c->scale = pith_alloc(ctx, 2 * GGUF_SUBS * w->rows * sizeof *c->scale);
    if (!c->codes || !c->scales || !c->scale) {
        status = pith_alloc_status(ctx);
        gguf_free(&c->base);
        return status;
    }
    c->min = c->scale + GGUF_SUBS * w->rows;
    *out = c;
    return PITH_OK;
}

static pith_status gguf_columns(const repr_job *job, const repr_matrix *w, repr_columns **out) {
    gguf_coder *c = NULL;
    pith_status status = gguf_new(job, choices[(int)job->args->value[P_TYPE]], w, &c);
    if (!status) *out = &c->base;
    return status;
}

static pith_status gguf_decode(const repr_job *job, repr_reader *in, repr_matrix *w) {
    pith_ctx *ctx = job->ctx;
    const gguf_form *f = gguf_form_of(choices[(int)job->args->value[P_TYPE]]);
    size_t elements, bad = 0;
    pith_status status = scalar_room(ctx, w->rows, w->cols, sizeof(uint64_t), &elements);
    if (status) return status;
    if (w->cols % f->block)
        return pith_fail(ctx, PITH_E_FORMAT, "blocks of %u do not fit rows of %zu", f->block, w->cols);
    size_t row = w->cols / f->block * f->n_bytes, n = row * w->rows;
    uint16_t *codes = pith_alloc(ctx, n * sizeof *codes);
    uint8_t *blocks = codes ? pith_alloc(ctx, n) : NULL;
    status = blocks ? repr_unpack(job, in, codes, n, row, 256) : pith_alloc_status(ctx);
    if (!status) {
        for (size_t i = 0; i < n; i++) blocks[i] = (uint8_t)codes[i];
        if (blocks_valid(f->type, blocks, elements / f->block, &bad))
            blocks_decode(f->type, blocks, w->data, elements);
        else
            status = pith_fail(ctx, PITH_E_FORMAT, "block %zu of a matrix has a scale that is no number", bad);
    }
    pith_free(ctx, codes);
    pith_free(ctx, blocks);
    return status;
}

const repr_ops gguf_ops = {.kind = REPR_CODER, .columns = gguf_columns, .decode = gguf_decode};

pith_status repr_gguf_blocks(pith_ctx *ctx, uint32_t type, const repr_matrix *w, const repr_stats *stats,
                             uint8_t *blocks) {
    static const repr_stats none;
    static const pith_stage stage = {.name = "obs",
                                     .artefact = "model",
                                     .role = PITH_ROLE_SOLVER,
                                     .impl = &obs_ops,
                                     .params = obs_params,
                                     .n_params = PITH_COUNT(obs_params)};
    const pith_recipe_stage args = {.stage = &stage, .column = 1, .value = {0.01, 256}};
    const repr_job job = {.ctx = ctx, .args = &args, .stats = stats ? stats : &none};
    gguf_coder *c = NULL;
    repr_matrix matrix = *w;
    pith_status status = gguf_new(&job, type, w, &c);
    if (status) return status;
    status = obs_ops.solve(&job, &matrix, &c->base, NULL);
    if (!status) put_blocks(c, blocks);
    gguf_free(&c->base);
    return status;
}
