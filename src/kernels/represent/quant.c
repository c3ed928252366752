/* The coder q: groups of columns of a row share a scale and a zero, w ~ scale (code - zero), codes of 1 to 8 bits.
 *
 * Scales are halves and zeros codes (the usual layout of GPTQ files), or both are quantised themselves over some rows
 * (the second level of SpQR, Dettmers et al. 2023). The search shrinks the range of a group while its error, weighted
 * or not, falls. Grids: uniform; the 16 quantiles of a normal of QLoRA (NF4, Dettmers et al. 2023); the uniform grid
 * whose width is the best for a normal of the group's RMS (Panferov et al. 2025, QuEST). */
#include "kernels/represent/scalar.h"

#include <math.h>

enum { P_BITS, P_GROUP, P_FIT, P_GRID, P_META, P_SYM };
const pith_param quant_params[6] = {
    {.name = "bits", .type = PITH_P_INT, .min = 1, .max = 8, .def = 4, .unit = "bits", .doc = "of one code"},
    {.name = "group",
     .type = PITH_P_INT,
     .min = 0,
     .max = 65536,
     .def = 128,
     .unit = "columns",
     .doc = "of a row that share a scale; 0: the whole row"},
    {.name = "fit",
     .type = PITH_P_CHOICE,
     .choices = "minmax|mse|weighted",
     .def = 0,
     .doc = "scales from the range, or searched for the least error, as it is or weighted by the inputs"},
    {.name = "grid",
     .type = PITH_P_CHOICE,
     .choices = "uniform|nf4|gauss",
     .def = 0,
     .doc = "levels: even; 16 normal quantiles (4 bits); even, as wide as suits a normal"},
    {.name = "meta", .type = PITH_P_RECIPE, .doc = "a q whose group counts rows: quantises scales and zeros as well"},
    {.name = "sym", .type = PITH_P_FLAG, .def = 0, .doc = "the middle level means 0; no zeros are stored"},
};

static const float nf4_levels[16] = {-1.0f,        -0.6961928f, -0.52507305f, -0.39491749f, -0.28444138f, -0.18477343f,
                                     -0.09105004f, 0.0f,        0.0795803f,   0.1609302f,   0.2461123f,   0.33791524f,
                                     0.44070983f,  0.562617f,   0.72295684f,  1.0f};
/* Half the width of the best uniform midrise grid of 2^bits levels, in standard deviations of a normal. */
static const float gauss_width[9] = {0, 0.79788f, 1.49353f, 2.05107f, 2.51393f, 2.91609f, 3.27660f, 3.60105f, 3.88494f};

typedef struct quant_coder {
    repr_columns base;
    const repr_job *job;
    quant_spec spec;
    size_t rows, cols, group, n_groups;
    float top;          /* the last code */
    float middle;       /* symmetric grids: the code that means 0 */
    scalar_halves unit; /* of scales, and of second-level scales */
    uint16_t *codes;    /* [cols][rows] */
    uint16_t *scales;   /* [n_groups][rows]: halves; with meta codes */
    uint16_t *zeros;    /* the same, codes; NULL when symmetric */
    uint16_t *meta;     /* [n_groups][blocks of rows][4]: halves of scale step and low, zero step and low */
    float *scale, *zero, *inverse, *low, *high, *error, *best, *pick; /* [rows], of the group at hand */
} quant_coder;

pith_status quant_spec_of(pith_ctx *ctx, const pith_recipe_stage *stage, quant_spec *spec) {
    const double *v = stage->value;
    if (stage->stage->impl != &quant_ops)
        return pith_fail(ctx, PITH_E_ARGUMENT, "column %u: expected q, not %s", stage->column, stage->stage->name);
    *spec = (quant_spec){.bits = (unsigned)v[P_BITS],
                         .group = (size_t)v[P_GROUP],
                         .fit = (quant_fit)(int)v[P_FIT],
                         .grid = (quant_grid)(int)v[P_GRID],
                         .symmetric = v[P_SYM] != 0};
    if (spec->grid == QUANT_NF4 && spec->bits != 4)
        return pith_fail(ctx, PITH_E_ARGUMENT, "column %u: the grid nf4 has 4 bits, not %u", stage->column, spec->bits);
    if (spec->grid != QUANT_UNIFORM || spec->bits == 1)
        spec->symmetric = spec->symmetric || spec->grid != QUANT_UNIFORM;
    const pith_recipe *meta = stage->branch[P_META];
    if (!meta) return PITH_OK;
    const pith_recipe_rule *rule = &meta->rules[0];
    const pith_recipe_stage *second = &rule->stages[0];
    if (rule->n_stages != 1 || rule->n_solvers || second->stage->impl != &quant_ops || second->branch[P_META])
        return pith_fail(ctx, PITH_E_ARGUMENT, "column %u: meta takes one plain q, as q(3, group=16)", stage->column);
    spec->meta_bits = (unsigned)second->value[P_BITS];
    spec->meta_group = (size_t)second->value[P_GROUP];
    return PITH_OK;
}

static size_t meta_blocks(const quant_spec *spec, size_t rows) {
    return spec->meta_bits ? (spec->meta_group ? (rows + spec->meta_group - 1) / spec->meta_group : 1) : 0;
}

static float middle_of(const quant_spec *spec) {
    if (spec->grid == QUANT_GAUSS || spec->bits == 1) return (float)((1u << spec->bits) - 1) / 2;
    return (float)(1u << (spec->bits - 1));
}

/* ---- what codes mean: the decoder's part ---------------------------------------------------------- */

PITH_INLINE float level_of(quant_grid grid, float scale, float zero, unsigned code) {
    return grid == QUANT_NF4 ? scale * nf4_levels[code] : scale * ((float)code - zero);
}

PITH_INLINE float meta_of(const scalar_halves *unit, const uint16_t *step_low, unsigned code) {
    return scalar_widen(unit, step_low[1]) + scalar_widen(unit, step_low[0]) * (float)code;
}

static const scalar_halves plain_halves = {0, 1, 1};

/* Scale and zero of the group's rows, from what is stored. */
static void group_values(const quant_spec *spec, const scalar_halves *unit, size_t rows, const uint16_t *scales,
                         const uint16_t *zeros, const uint16_t *meta, float *scale, float *zero) {
    float middle = middle_of(spec);
    for (size_t r = 0; r < rows; r++) {
        if (spec->meta_bits) {
            const uint16_t *m = meta + (spec->meta_group ? r / spec->meta_group : 0) * 4;
            scale[r] = meta_of(unit, m, scales[r]);
            zero[r] = zeros ? meta_of(&plain_halves, m + 2, zeros[r]) : middle;
        } else {
            scale[r] = scalar_widen(unit, scales[r]);
            zero[r] = zeros ? (float)zeros[r] : middle;
        }
    }
}

/* ---- fitting ------------------------------------------------------------------------------------ */

/* codes of x under the group's parameters; NaN gives 0. */
PITH_INLINE unsigned code_of(float x, float inverse, float zero, float top) {
    float v = x * inverse + zero + 0.5f;
    v = v > 0 ? v : 0;
    return (unsigned)(v < top ? v : top);
}

static unsigned nf4_code(float x, float inverse) {
    float v = x * inverse;
    unsigned code = 0;
    for (unsigned k = 1; k < 16; k++) code += v > 0.5f * (nf4_levels[k - 1] + nf4_levels[k]);
    return code;
}

/* Scale and zero for the ranges low..high of the rows, as the grid has them. */
static void range_params(const quant_coder *c, const float *low, const float *high, float shrink, float *scale,
                         float *zero) {
    const quant_spec *spec = &c->spec;
    for (size_t r = 0; r < c->rows; r++) {
        float lo = low[r] * shrink, hi = high[r] * shrink, most = PITH_MAX(-lo, hi);
        if (spec->grid == QUANT_NF4) {
            scale[r] = most, zero[r] = 0;
        } else if (spec->symmetric || spec->bits == 1) {
            scale[r] = 2 * most / c->top, zero[r] = c->middle;
        } else {
            scale[r] = (hi - lo) / c->top;
            float z = scale[r] > 0 ? -lo / scale[r] : 0;
            zero[r] = spec->meta_bits ? z : floorf(z + 0.5f);
        }
    }
}

static void group_error(const quant_coder *c, const float *w, const float *cost, size_t n, const float *scale,
                        const float *zero, float *error) {
    memset(error, 0, c->rows * sizeof *error);
    for (size_t r = 0; r < c->rows; r++) c->inverse[r] = scale[r] > 0 ? 1 / scale[r] : 0;
    for (size_t j = 0; j < n; j++) {
        const float *x = w + j * c->rows;
        float weight = c->spec.fit == QUANT_WEIGHTED ? cost[j] : 1;
        if (c->spec.grid == QUANT_NF4) {
            for (size_t r = 0; r < c->rows; r++) {
                float d = x[r] - scale[r] * nf4_levels[nf4_code(x[r], c->inverse[r])];
                error[r] += weight * d * d;
            }
            continue;
        }
        for (size_t r = 0; r < c->rows; r++) {
            float d = x[r] - scale[r] * ((float)code_of(x[r], c->inverse[r], zero[r], c->top) - zero[r]);
            error[r] += weight * d * d;
        }
    }
}

static void fit_group(quant_coder *c, const float *w, const float *cost, size_t n) {
    memset(c->low, 0, c->rows * sizeof *c->low);
    memset(c->high, 0, c->rows * sizeof *c->high);
    if (c->spec.grid == QUANT_GAUSS) {
        for (size_t j = 0; j < n; j++)
            for (size_t r = 0; r < c->rows; r++) c->high[r] += w[j * c->rows + r] * w[j * c->rows + r];
        for (size_t r = 0; r < c->rows; r++) {
            c->high[r] = sqrtf(c->high[r] / (float)n) * gauss_width[c->spec.bits];
            c->low[r] = -c->high[r];
        }
    } else {
        for (size_t j = 0; j < n; j++)
            for (size_t r = 0; r < c->rows; r++) {
                float x = w[j * c->rows + r];
                c->low[r] = PITH_MIN(c->low[r], x);
                c->high[r] = PITH_MAX(c->high[r], x);
            }
    }
    range_params(c, c->low, c->high, 1, c->scale, c->zero);
    if (c->spec.fit == QUANT_MINMAX) return;
    float *scale = c->pick, *zero = c->pick + c->rows;
    group_error(c, w, cost, n, c->scale, c->zero, c->best);
    for (int step = c->spec.grid == QUANT_GAUSS ? -6 : 1; step <= 24; step++) {
        range_params(c, c->low, c->high, 1 - 0.025f * (float)step, scale, zero);
        group_error(c, w, cost, n, scale, zero, c->error);
        for (size_t r = 0; r < c->rows; r++)
            if (c->error[r] < c->best[r]) c->best[r] = c->error[r], c->scale[r] = scale[r], c->zero[r] = zero[r];
    }
}

/* v[rows] by minimum and step over blocks of rows: codes, and two halves of four each. */
static void meta_fit(const quant_coder *c, const scalar_halves *unit, const float *v, uint16_t *codes,
                     uint16_t *halves) {
    size_t per = c->spec.meta_group ? c->spec.meta_group : c->rows;
    float top = (float)((1u << c->spec.meta_bits) - 1);
    for (size_t first = 0; first < c->rows; first += per, halves += 4) {
        size_t last = PITH_MIN(c->rows, first + per);
        float low = v[first], high = v[first];
        for (size_t r = first; r < last; r++) low = PITH_MIN(low, v[r]), high = PITH_MAX(high, v[r]);
        halves[1] = scalar_half(unit, low);
        low = scalar_widen(unit, halves[1]);
        halves[0] = scalar_half(unit, (high - low) / top);
        float step = scalar_widen(unit, halves[0]), inverse = step > 0 ? 1 / step : 0;
        for (size_t r = first; r < last; r++) codes[r] = (uint16_t)code_of(v[r] - low, inverse, 0, top);
    }
}

/* ---- columns ------------------------------------------------------------------------------------ */

static pith_status quant_enter(repr_columns *self, size_t first, size_t n, const float *w, const float *cost) {
    quant_coder *c = (quant_coder *)self;
    size_t g = first / c->group, rows = c->rows;
    uint16_t *scales = c->scales + g * rows, *zeros = c->zeros ? c->zeros + g * rows : NULL;
    uint16_t *meta = c->meta ? c->meta + g * meta_blocks(&c->spec, rows) * 4 : NULL;
    fit_group(c, w, cost, n);
    if (meta) {
        meta_fit(c, &c->unit, c->scale, scales, meta);
        if (zeros) {
            /* The zero follows the scale that was stored, so that the low end of the range stays where it was. */
            for (size_t r = 0; r < rows; r++) {
                float low = c->scale[r] * c->zero[r];
                const uint16_t *m = meta + (c->spec.meta_group ? r / c->spec.meta_group : 0) * 4;
                float stored = meta_of(&c->unit, m, scales[r]);
                float z = stored > 0 ? low / stored : 0;
                c->zero[r] = PITH_MIN(z, 2 * c->top);
            }
            meta_fit(c, &plain_halves, c->zero, zeros, meta + 2);
        }
    } else {
        for (size_t r = 0; r < rows; r++) {
            scales[r] = scalar_half(&c->unit, c->scale[r]);
            if (!zeros) continue;
            float z = PITH_MIN(c->zero[r], c->top);
            zeros[r] = (uint16_t)(z > 0 ? z : 0);
        }
    }
    group_values(&c->spec, &c->unit, rows, scales, zeros, meta, c->scale, c->zero);
    for (size_t r = 0; r < rows; r++) c->inverse[r] = c->scale[r] > 0 ? 1 / c->scale[r] : 0;
    return PITH_OK;
}

static void quant_code(repr_columns *self, size_t column, const float *in, float *out) {
    quant_coder *c = (quant_coder *)self;
    uint16_t *codes = c->codes + column * c->rows;
    if (c->spec.grid == QUANT_NF4) {
        for (size_t r = 0; r < c->rows; r++) {
            codes[r] = (uint16_t)nf4_code(in[r], c->inverse[r]);
            out[r] = level_of(QUANT_NF4, c->scale[r], 0, codes[r]);
        }
        return;
    }
    for (size_t r = 0; r < c->rows; r++) {
        unsigned code = code_of(in[r], c->inverse[r], c->zero[r], c->top);
        codes[r] = (uint16_t)code;
        out[r] = level_of(QUANT_UNIFORM, c->scale[r], c->zero[r], code);
    }
}

/* [unit][meta halves][scales][zeros][codes]; scales and zeros that are codes, and codes, are planes. */
static pith_status quant_finish(repr_columns *self, pith_buffer *out) {
    quant_coder *c = (quant_coder *)self;
    pith_ctx *ctx = c->job->ctx;
    size_t n = c->n_groups * c->rows;
    pith_status status = scalar_halves_put(ctx, &c->unit, out);
    repr_plane zeros = {c->zeros, n, c->rows, 1u << (c->spec.meta_bits ? c->spec.meta_bits : c->spec.bits)};
    if (c->meta) {
        repr_plane scales = {c->scales, n, c->rows, 1u << c->spec.meta_bits};
        if (!status) status = scalar_put_shorts(ctx, c->meta, c->n_groups * meta_blocks(&c->spec, c->rows) * 4, out);
        if (!status) status = repr_pack(c->job, &scales, out);
    } else if (!status) {
        status = scalar_put_shorts(ctx, c->scales, n, out);
    }
    if (!status && c->zeros) status = repr_pack(c->job, &zeros, out);
    if (!status) status = scalar_put_plane(c->job, c->codes, c->rows, c->cols, 1u << c->spec.bits, out);
    return status;
}

static void quant_free(repr_columns *self) {
    quant_coder *c = (quant_coder *)self;
    pith_ctx *ctx = c->job->ctx;
    void *const parts[] = {c->codes, c->scales, c->zeros, c->meta, c->scale};
    for (size_t i = 0; i < PITH_COUNT(parts); i++) pith_free(ctx, parts[i]);
    pith_free(ctx, c);
}

pith_status quant_columns(const repr_job *job, const quant_spec *spec, const repr_matrix *w, repr_columns **out) {
    pith_ctx *ctx = job->ctx;
    size_t n, rows = w->rows;
    pith_status status = scalar_room(ctx, rows, w->cols, sizeof(uint64_t), &n);
    if (status) return status;
    quant_coder *c = pith_zalloc(ctx, sizeof *c);
    if (!c) return pith_alloc_status(ctx);
    size_t group = spec->group ? PITH_MIN(spec->group, w->cols) : w->cols;
    *c = (quant_coder){.base = {group, quant_enter, quant_code, quant_finish, quant_free},
                       .job = job,
                       .spec = *spec,
                       .rows = rows,
                       .cols = w->cols,
                       .group = group,
                       .n_groups = (w->cols + group - 1) / group,
                       .top = (float)((1u << spec->bits) - 1),
                       .middle = middle_of(spec)};
    float largest = 0;
    for (size_t i = 0; i < n; i++) largest = PITH_MAX(largest, fabsf(w->data[i]));
    scalar_halves_for(&c->unit, largest);
    size_t groups = c->n_groups * rows, metas = c->n_groups * meta_blocks(spec, rows) * 4;
    bool has_zeros = !spec->symmetric && spec->bits > 1;
    c->codes = pith_alloc(ctx, n * sizeof *c->codes);
    c->scales = pith_alloc(ctx, groups * sizeof *c->scales);
    c->zeros = has_zeros ? pith_zalloc(ctx, groups * sizeof *c->zeros) : NULL;
    c->meta = metas ? pith_zalloc(ctx, metas * sizeof *c->meta) : NULL;
    c->scale = pith_alloc(ctx, 9 * rows * sizeof *c->scale);
    if (!c->codes || !c->scales || (has_zeros && !c->zeros) || (metas && !c->meta) || !c->scale) {
        status = pith_alloc_status(ctx);
        quant_free(&c->base);
        return status;
    }
    c->zero = c->scale + rows, c->inverse = c->zero + rows, c->low = c->inverse + rows, c->high = c->low + rows;
    c->error = c->high + rows, c->best = c->error + rows, c->pick = c->best + rows; /* pick: [2][rows] */
    *out = &c->base;
    return PITH_OK;
}

static pith_status quant_begin(const repr_job *job, const repr_matrix *w, repr_columns **out) {
    quant_spec spec;
    pith_status status = quant_spec_of(job->ctx, job->args, &spec);
    return status ? status : quant_columns(job, &spec, w, out);
}

/* ---- decoding ----------------------------------------------------------------------------------- */

typedef struct quant_side {
    scalar_halves unit;
    uint16_t *scales, *zeros, *meta, *codes; /* as in quant_coder, codes [rows][cols] */
    float *values;                           /* [2][rows] */
} quant_side;

static bool take_shorts(repr_reader *in, uint16_t *v, size_t n) {
    const uint8_t *p = repr_take(in, 2 * n);
    for (size_t i = 0; p && i < n; i++) v[i] = load16(p + 2 * i);
    return p != NULL;
}

static pith_status side_take(const repr_job *job, const quant_spec *spec, repr_reader *in, const repr_matrix *w,
                             size_t n_groups, quant_side *s) {
    pith_ctx *ctx = job->ctx;
    size_t n = n_groups * w->rows, metas = n_groups * meta_blocks(spec, w->rows) * 4;
    if (!scalar_halves_take(in, &s->unit)) return repr_cut_off(ctx);
    if ((size_t)(in->end - in->p) / 2 < (spec->meta_bits ? metas : n)) return repr_cut_off(ctx);
    bool has_zeros = !spec->symmetric && spec->bits > 1;
    s->scales = pith_alloc(ctx, n * sizeof *s->scales);
    s->zeros = has_zeros ? pith_alloc(ctx, n * sizeof *s->zeros) : NULL;
    s->meta = metas ? pith_alloc(ctx, metas * sizeof *s->meta) : NULL;
    s->codes = pith_alloc(ctx, w->rows * w->cols * sizeof *s->codes);
    s->values = pith_alloc(ctx, 2 * w->rows * sizeof *s->values);
    if (!s->scales || (has_zeros && !s->zeros) || (metas && !s->meta) || !s->codes || !s->values)
        return pith_alloc_status(ctx);
    pith_status status = PITH_OK;
    if (spec->meta_bits) {
        if (!take_shorts(in, s->meta, metas)) return repr_cut_off(ctx);
        status = repr_unpack(job, in, s->scales, n, w->rows, 1u << spec->meta_bits);
    } else if (!take_shorts(in, s->scales, n)) {
        return repr_cut_off(ctx);
    }
    if (!status && has_zeros)
        status = repr_unpack(job, in, s->zeros, n, w->rows, 1u << (spec->meta_bits ? spec->meta_bits : spec->bits));
    if (!status) status = repr_unpack(job, in, s->codes, w->rows * w->cols, w->cols, 1u << spec->bits);
    return status;
}

pith_status quant_decode(const repr_job *job, const quant_spec *spec, repr_reader *in, repr_matrix *w) {
    pith_ctx *ctx = job->ctx;
    size_t n;
    pith_status status = scalar_room(ctx, w->rows, w->cols, sizeof(uint64_t), &n);
    if (status) return status;
    size_t group = spec->group ? PITH_MIN(spec->group, w->cols) : w->cols, n_groups = (w->cols + group - 1) / group;
    quant_side s = {{0, 1, 1}, NULL, NULL, NULL, NULL, NULL};
    status = side_take(job, spec, in, w, n_groups, &s);
    for (size_t g = 0; !status && g < n_groups; g++) {
        float *scale = s.values, *zero = s.values + w->rows;
        group_values(spec, &s.unit, w->rows, s.scales + g * w->rows, s.zeros ? s.zeros + g * w->rows : NULL,
                     s.meta ? s.meta + g * meta_blocks(spec, w->rows) * 4 : NULL, scale, zero);
        size_t first = g * group, last = PITH_MIN(w->cols, first + group);
        for (size_t r = 0; r < w->rows; r++) {
            const uint16_t *codes = s.codes + r * w->cols;
            float *out = w->data + r * w->cols;
            for (size_t j = first; j < last; j++) out[j] = level_of(spec->grid, scale[r], zero[r], codes[j]);
        }
    }
    void *const parts[] = {s.scales, s.zeros, s.meta, s.codes, s.values};
    for (size_t i = 0; i < PITH_COUNT(parts); i++) pith_free(ctx, parts[i]);
    return status;
}

static pith_status quant_decode_stage(const repr_job *job, repr_reader *in, repr_matrix *w) {
    quant_spec spec;
    pith_status status = quant_spec_of(job->ctx, job->args, &spec);
    return status ? status : quant_decode(job, &spec, in, w);
}

const repr_ops quant_ops = {.kind = REPR_CODER, .columns = quant_begin, .decode = quant_decode_stage};
