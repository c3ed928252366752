/* The coders and the solver that go column by column, as recipes name them; and raw, which keeps floats. */
#include "formats/blocks/blocks.h"
#include "kernels/represent/scalar.h"

/* ---- raw --------------------------------------------------------------------------------------------- */

enum { P_TYPE };
enum { RAW_F16, RAW_BF16, RAW_F32 };
static const pith_param raw_params[1] = {
    {.name = "type", .type = PITH_P_CHOICE, .choices = "f16|bf16|f32", .def = 0, .doc = "of the floats kept"},
};

static float raw_round(int type, float v) {
    if (type == RAW_F32) return v;
    if (type == RAW_BF16) return bfloat_to_float(float_to_bfloat(v));
    return half_to_float(float_to_half(v > 65504 ? 65504 : v < -65504 ? -65504 : v));
}

static pith_status raw_encode(const repr_job *job, const repr_matrix *w, pith_buffer *out, float *restored) {
    int type = (int)job->args->value[P_TYPE];
    size_t n, size = type == RAW_F32 ? 4 : 2;
    pith_status status = scalar_room(job->ctx, w->rows, w->cols, size, &n);
    if (!status) status = pith_buffer_reserve(job->ctx, out, n * size);
    if (status) return status;
    uint8_t *p = out->data + out->size;
    for (size_t i = 0; i < n; i++) {
        float v = raw_round(type, w->data[i]);
        if (restored) restored[i] = v;
        uint32_t bits;
        memcpy(&bits, &v, sizeof bits);
        if (type == RAW_F32)
            store32(p + 4 * i, bits);
        else
            store16(p + 2 * i, type == RAW_BF16 ? float_to_bfloat(v) : float_to_half(v));
    }
    out->size += n * size;
    return PITH_OK;
}

static pith_status raw_decode(const repr_job *job, repr_reader *in, repr_matrix *w) {
    int type = (int)job->args->value[P_TYPE];
    size_t n, size = type == RAW_F32 ? 4 : 2;
    pith_status status = scalar_room(job->ctx, w->rows, w->cols, size, &n);
    if (status) return status;
    const uint8_t *p = repr_take(in, n * size);
    if (!p) return repr_cut_off(job->ctx);
    blocks_decode(type == RAW_F32 ? TENSOR_F32 : type == RAW_BF16 ? TENSOR_BF16 : TENSOR_F16, p, w->data, n);
    return PITH_OK;
}

/* Under a solver only rounding is left to spread. */
typedef struct raw_coder {
    repr_columns base;
    const repr_job *job;
    size_t rows, cols;
    float *kept; /* [cols][rows] */
} raw_coder;

static void raw_code(repr_columns *self, size_t column, const float *in, float *out) {
    raw_coder *c = (raw_coder *)self;
    for (size_t r = 0; r < c->rows; r++) out[r] = raw_round((int)c->job->args->value[P_TYPE], in[r]);
    memcpy(c->kept + column * c->rows, out, c->rows * sizeof *out);
}

static pith_status raw_finish(repr_columns *self, pith_buffer *out) {
    raw_coder *c = (raw_coder *)self;
    float *turned = pith_alloc(c->job->ctx, c->rows * c->cols * sizeof *turned);
    if (!turned) return pith_alloc_status(c->job->ctx);
    scalar_columns_put(c->kept, c->rows, c->cols, 0, c->cols, turned);
    repr_matrix w = {turned, c->rows, c->cols};
    pith_status status = raw_encode(c->job, &w, out, NULL);
    pith_free(c->job->ctx, turned);
    return status;
}

static void raw_free(repr_columns *self) {
    raw_coder *c = (raw_coder *)self;
    pith_ctx *ctx = c->job->ctx;
    pith_free(ctx, c->kept);
    pith_free(ctx, c);
}

static pith_status raw_columns(const repr_job *job, const repr_matrix *w, repr_columns **out) {
    size_t n;
    pith_status status = scalar_room(job->ctx, w->rows, w->cols, sizeof(float), &n);
    if (status) return status;
    raw_coder *c = pith_zalloc(job->ctx, sizeof *c);
    float *kept = c ? pith_alloc(job->ctx, n * sizeof *kept) : NULL;
    if (!kept) {
        status = pith_alloc_status(job->ctx);
        pith_free(job->ctx, c);
        return status;
    }
    *c = (raw_coder){{0, NULL, raw_code, raw_finish, raw_free}, job, w->rows, w->cols, kept};
    *out = &c->base;
    return PITH_OK;
}

static const repr_ops raw_ops = {
    .kind = REPR_CODER, .encode = raw_encode, .columns = raw_columns, .decode = raw_decode};

/* ---- the table ----------------------------------------------------------------------------------------- */

#define STAGE_PARAMS(p) .params = p, .n_params = PITH_COUNT(p)

const pith_stage represent_scalars[] = {
    {.name = "raw",
     .artefact = "model",
     .role = "coder",
     .impl = &raw_ops,
     .summary = "floats as they are, or rounded to 16 bits",
     STAGE_PARAMS(raw_params)},
    {.name = "q",
     .artefact = "model",
     .role = "coder",
     .impl = &quant_ops,
     .summary = "uniform codes of 1 to 8 bits, groups of columns with a scale and a zero",
     .source = "E. Frantar et al., GPTQ, 2022; second level: T. Dettmers et al., SpQR, 2023",
     STAGE_PARAMS(quant_params)},
    {.name = "step",
     .artefact = "model",
     .role = "coder",
     .impl = &step_ops,
     .summary = "unclipped uniform indices to be entropy-coded; steps follow what errors in a column cost",
     .source = "H. Gish and J. Pierce, Asymptotically efficient quantizing, 1968",
     STAGE_PARAMS(step_params)},
    {.name = "ternary",
     .artefact = "model",
     .role = "coder",
     .impl = &ternary_ops,
     .summary = "each weight one of three values, 0 among them",
     .source = "F. Li et al., Ternary Weight Networks, 2016; E. Frantar and D. Alistarh, QMoE, 2023; "
               "P. Yadav et al., ComPEFT, 2023",
     STAGE_PARAMS(ternary_params)},
    {.name = "sign",
     .artefact = "model",
     .role = "coder",
     .impl = &sign_ops,
     .summary = "signs, and one magnitude for a stretch of a row",
     .source = "M. Rastegari et al., XNOR-Net, 2016",
     STAGE_PARAMS(sign_params)},
    {.name = "kmeans",
     .artefact = "model",
     .role = "coder",
     .impl = &kmeans_ops,
     .summary = "a book of the best values for the matrix",
     .source = "H. Wang and M. Song, Ckmeans.1d.dp, 2011",
     STAGE_PARAMS(kmeans_params)},
    {.name = "sparse",
     .artefact = "model",
     .role = "coder",
     .impl = &sparse_ops,
     .summary = "some weights as halves with their positions; under obs SparseGPT",
     .source = "E. Frantar and D. Alistarh, SparseGPT, 2023",
     STAGE_PARAMS(sparse_params)},
    {.name = "outliers",
     .artefact = "model",
     .role = "coder",
     .impl = &outliers_ops,
     .summary = "another coder, and beside it the weights that it would hurt most; under obs SpQR",
     .source = "T. Dettmers et al., SpQR, 2023",
     STAGE_PARAMS(outliers_params)},
    {.name = "prune",
     .artefact = "model",
     .role = "transform",
     .impl = &prune_ops,
     .summary = "zeros by magnitude, Wanda's or another score; what stays is not changed",
     .source = "M. Sun et al., Wanda, 2023; L. Liu et al., NoWag, 2025",
     STAGE_PARAMS(prune_params)},
    {.name = "gguf",
     .artefact = "model",
     .role = "coder",
     .impl = &gguf_ops,
     .summary = "blocks of a GGUF type; under obs error feedback that ends in standard blocks",
     .source = "ggml-org/ggml, ggml-common.h (layouts); E. Frantar et al., GPTQ, 2022",
     STAGE_PARAMS(gguf_params)},
    {.name = "obs",
     .artefact = "model",
     .role = PITH_ROLE_SOLVER,
     .impl = &obs_ops,
     .summary = "spreads each column's error over those to come, as the inputs' correlations have it",
     .source = "B. Hassibi and D. Stork, 1993; E. Frantar et al., GPTQ, 2022",
     STAGE_PARAMS(obs_params)},
    {.name = NULL},
};
