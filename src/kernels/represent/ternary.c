/* The coders ternary and sign: two or three values for a stretch of a row, or for the whole matrix.
 *
 *   scale    {-a, 0, a} with the a and the threshold of the least error: over the k largest |x|, a is their weighted
 *            mean, and the k that makes (sum c|x|)^2 / sum c largest is the best
 *   minmax   {least, 0, greatest} (Frantar and Alistarh 2023, QMoE)
 *   std      the largest part of the matrix becomes +-alpha standard deviations (Yadav et al. 2023, ComPEFT)
 *   mean     the same with the mean of those kept (Sattler et al. 2019, sparse ternary compression)
 *   sign     +-a, a the weighted mean of |x|
 *
 *   exponent of the halves, one or two halves for each stretch by groups of columns, then a plane */
#include <math.h>

#include "kernels/represent/scalar.h"

enum { P_RULE, P_GROUP, P_KEEP, P_ALPHA };
enum { P_SIGN_GROUP };
enum { RULE_SCALE, RULE_MINMAX, RULE_STD, RULE_MEAN, RULE_SIGN };
const pith_param ternary_params[4] = {
    {.name = "rule",
     .type = PITH_P_CHOICE,
     .choices = "scale|minmax|std|mean",
     .def = 0,
     .doc = "which values beside 0: +-a of the least error, the range, alpha times the deviation or the mean"},
    {.name = "group",
     .type = PITH_P_INT,
     .min = 0,
     .max = 65536,
     .def = 0,
     .unit = "columns",
     .doc = "of a row that share values; 0: the whole row (std and mean: always the matrix)"},
    {.name = "keep",
     .type = PITH_P_REAL,
     .min = 0,
     .max = 1,
     .def = 1,
     .doc = "std and mean: the part, of the largest, that does not become 0"},
    {.name = "alpha",
     .type = PITH_P_REAL,
     .min = 0.01,
     .max = 100,
     .def = 1,
     .doc = "std and mean: what the deviation or mean is multiplied by"},
};
const pith_param sign_params[1] = {
    {.name = "group",
     .type = PITH_P_INT,
     .min = 0,
     .max = 65536,
     .def = 0,
     .unit = "columns",
     .doc = "of a row that share a magnitude; 0: the whole row"},
};

typedef struct ternary_spec {
    int rule;
    size_t group; /* columns */
    bool whole;   /* one stretch: the matrix */
    unsigned halves, alphabet;
} ternary_spec;

static ternary_spec spec_of(const pith_recipe_stage *args, size_t cols) {
    bool sign = args->stage->impl == &sign_ops;
    ternary_spec s = {.rule = sign ? RULE_SIGN : (int)args->value[P_RULE]};
    size_t group = (size_t)args->value[sign ? P_SIGN_GROUP : P_GROUP];
    s.whole = s.rule == RULE_STD || s.rule == RULE_MEAN;
    s.group = group && !s.whole ? PITH_MIN(group, cols) : cols;
    s.halves = s.rule == RULE_MINMAX ? 2 : 1;
    s.alphabet = sign ? 2 : 3;
    return s;
}

static size_t stretches(const ternary_spec *s, size_t rows, size_t cols) {
    return s->whole ? 1 : (cols + s->group - 1) / s->group * rows;
}

typedef struct ternary_coder {
    repr_columns base;
    const repr_job *job;
    ternary_spec spec;
    size_t rows, cols;
    scalar_halves unit;
    float least;       /* of what is kept; std and mean */
    uint16_t *halves;  /* [groups][rows][halves] */
    uint16_t *codes;   /* [cols][rows] */
    float *low, *high; /* [rows] of the group at hand */
    float *x;          /* [2][group] */
} ternary_coder;

/* Values of a stretch from its halves. */
static void values_of(const ternary_spec *s, const scalar_halves *unit, const uint16_t *halves, float *low,
                      float *high) {
    *high = scalar_widen(unit, halves[0]);
    *low = s->halves == 2 ? scalar_widen(unit, halves[1]) : -*high;
}

PITH_INLINE float value_of(const ternary_spec *s, float low, float high, unsigned code) {
    if (s->alphabet == 2) return code ? high : low;
    return code == 0 ? low : code == 2 ? high : 0;
}

typedef struct weighed {
    float x, cost;
} weighed;

static int by_size(const void *a, const void *b) {
    float x = ((const weighed *)a)->x, y = ((const weighed *)b)->x;
    return (x < y) - (x > y);
}

/* The best a for x[n] with their costs, in x's room for pairs. */
static float best_scale(weighed *v, size_t n) {
    qsort(v, n, sizeof *v, by_size);
    double sum = 0, costs = 0, best = 0, scale = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)v[i].cost * (double)v[i].x;
        costs += (double)v[i].cost;
        if (costs > 0 && sum * sum > best * costs) best = sum * sum / costs, scale = sum / costs;
    }
    return (float)scale;
}

/* Deviation or mean, and the least magnitude that is kept, over the whole matrix. */
static pith_status whole_values(ternary_coder *c, const float *w) {
    pith_ctx *ctx = c->job->ctx;
    const double *v = c->job->args->value;
    size_t n = c->rows * c->cols, n_kept = 0;
    double sum = 0, squares = 0, kept = 0;
    float *size = pith_alloc(ctx, 2 * n * sizeof *size);
    uint8_t *keep = pith_alloc(ctx, n);
    pith_status status = size && keep ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        for (size_t i = 0; i < n; i++) {
            size[i] = fabsf(w[i]);
            sum += (double)w[i];
            squares += (double)w[i] * (double)w[i];
        }
        sparse_choose(size, n, (size_t)(v[P_KEEP] * (double)n + 0.5), keep, size + n);
        c->least = INFINITY;
        for (size_t i = 0; i < n; i++) {
            if (!keep[i] || size[i] == 0) continue;
            c->least = PITH_MIN(c->least, size[i]);
            kept += (double)size[i];
            n_kept++;
        }
        double mean = sum / (double)n, variance = squares / (double)n - mean * mean;
        double a = c->spec.rule == RULE_STD ? sqrt(PITH_MAX(variance, 0)) : n_kept ? kept / (double)n_kept : 0;
        c->halves[0] = scalar_half(&c->unit, (float)(a * v[P_ALPHA]));
        values_of(&c->spec, &c->unit, c->halves, &c->low[0], &c->high[0]);
        for (size_t r = 0; r < c->rows; r++) c->low[r] = c->low[0], c->high[r] = c->high[0];
    }
    pith_free(ctx, size);
    pith_free(ctx, keep);
    return status;
}

static pith_status ternary_enter(repr_columns *self, size_t first, size_t n, const float *w, const float *cost) {
    ternary_coder *c = (ternary_coder *)self;
    if (c->spec.whole) return whole_values(c, w);
    uint16_t *halves = c->halves + first / c->spec.group * c->rows * c->spec.halves;
    for (size_t r = 0; r < c->rows; r++, halves += c->spec.halves) {
        float low = 0, high = 0;
        if (c->spec.rule == RULE_MINMAX) {
            for (size_t j = 0; j < n; j++) {
                low = PITH_MIN(low, w[j * c->rows + r]);
                high = PITH_MAX(high, w[j * c->rows + r]);
            }
            halves[1] = scalar_half(&c->unit, low);
        } else if (c->spec.rule == RULE_SIGN) {
            double sum = 0, costs = 0;
            for (size_t j = 0; j < n; j++) {
                sum += (double)cost[j] * (double)fabsf(w[j * c->rows + r]);
                costs += (double)cost[j];
            }
            high = costs > 0 ? (float)(sum / costs) : 0;
        } else {
            weighed *v = (weighed *)(void *)c->x;
            for (size_t j = 0; j < n; j++) v[j] = (weighed){fabsf(w[j * c->rows + r]), cost[j]};
            high = best_scale(v, n);
        }
        halves[0] = scalar_half(&c->unit, high);
        values_of(&c->spec, &c->unit, halves, &c->low[r], &c->high[r]);
    }
    return PITH_OK;
}

static void ternary_code(repr_columns *self, size_t column, const float *in, float *out) {
    ternary_coder *c = (ternary_coder *)self;
    uint16_t *codes = c->codes + column * c->rows;
    for (size_t r = 0; r < c->rows; r++) {
        float x = in[r];
        unsigned code;
        if (c->spec.alphabet == 2)
            code = x >= 0;
        else if (c->spec.whole)
            code = x >= c->least ? 2 : x <= -c->least ? 0 : 1;
        else
            code = x > 0.5f * c->high[r] ? 2 : x < 0.5f * c->low[r] ? 0 : 1;
        codes[r] = (uint16_t)code;
        out[r] = value_of(&c->spec, c->low[r], c->high[r], code);
    }
}

static pith_status ternary_finish(repr_columns *self, pith_buffer *out) {
    ternary_coder *c = (ternary_coder *)self;
    size_t n = stretches(&c->spec, c->rows, c->cols) * c->spec.halves;
    pith_status status = scalar_halves_put(c->job->ctx, &c->unit, out);
    if (!status) status = scalar_put_shorts(c->job->ctx, c->halves, n, out);
    if (!status) status = scalar_put_plane(c->job, c->codes, c->rows, c->cols, c->spec.alphabet, out);
    return status;
}

static void ternary_free(repr_columns *self) {
    ternary_coder *c = (ternary_coder *)self;
    pith_ctx *ctx = c->job->ctx;
    pith_free(ctx, c->halves);
    pith_free(ctx, c->codes);
    pith_free(ctx, c->low);
    pith_free(ctx, c->x);
    pith_free(ctx, c);
}

static pith_status ternary_columns(const repr_job *job, const repr_matrix *w, repr_columns **out) {
    pith_ctx *ctx = job->ctx;
    size_t n;
    pith_status status = scalar_room(ctx, w->rows, w->cols, sizeof(uint64_t), &n);
    if (status) return status;
    ternary_coder *c = pith_zalloc(ctx, sizeof *c);
    if (!c) return pith_alloc_status(ctx);
    c->job = job;
    c->rows = w->rows, c->cols = w->cols;
    c->spec = spec_of(job->args, w->cols);
    c->base =
        (repr_columns){c->spec.whole ? 0 : c->spec.group, ternary_enter, ternary_code, ternary_finish, ternary_free};
    float largest = 0;
    for (size_t i = 0; i < n; i++) largest = PITH_MAX(largest, fabsf(w->data[i]));
    scalar_halves_for(&c->unit, largest);
    c->halves = pith_alloc(ctx, stretches(&c->spec, c->rows, c->cols) * c->spec.halves * sizeof *c->halves);
    c->codes = pith_alloc(ctx, n * sizeof *c->codes);
    c->low = pith_alloc(ctx, 2 * c->rows * sizeof *c->low);
    c->x = pith_alloc(ctx, c->spec.group * sizeof(weighed));
    if (!c->halves || !c->codes || !c->low || !c->x) {
        status = pith_alloc_status(ctx);
        ternary_free(&c->base);
        return status;
    }
    c->high = c->low + c->rows;
    *out = &c->base;
    return PITH_OK;
}

static pith_status ternary_decode(const repr_job *job, repr_reader *in, repr_matrix *w) {
    pith_ctx *ctx = job->ctx;
    size_t n;
    scalar_halves unit;
    pith_status status = scalar_room(ctx, w->rows, w->cols, sizeof(uint64_t), &n);
    if (status) return status;
    ternary_spec s = spec_of(job->args, w->cols);
    if (!scalar_halves_take(in, &unit)) return repr_cut_off(ctx);
    const uint8_t *p = repr_take(in, 2 * stretches(&s, w->rows, w->cols) * s.halves);
    if (!p) return repr_cut_off(ctx);
    uint16_t *codes = pith_alloc(ctx, n * sizeof *codes);
    if (!codes) return pith_alloc_status(ctx);
    status = scalar_take_plane(job, in, codes, n, w->cols, s.alphabet);
    for (size_t r = 0; !status && r < w->rows; r++)
        for (size_t first = 0; first < w->cols; first += s.group) {
            uint16_t halves[2] = {0, 0};
            size_t stretch = s.whole ? 0 : first / s.group * w->rows + r;
            for (unsigned k = 0; k < s.halves; k++) halves[k] = load16(p + 2 * (stretch * s.halves + k));
            float low, high;
            values_of(&s, &unit, halves, &low, &high);
            for (size_t j = first; j < PITH_MIN(w->cols, first + s.group); j++)
                w->data[r * w->cols + j] = value_of(&s, low, high, codes[r * w->cols + j]);
        }
    pith_free(ctx, codes);
    return status;
}

const repr_ops ternary_ops = {.kind = REPR_CODER, .columns = ternary_columns, .decode = ternary_decode};
const repr_ops sign_ops = {.kind = REPR_CODER, .columns = ternary_columns, .decode = ternary_decode};
