/* The coder outliers: another coder, and beside it the weights that it would hurt most as half floats.
 *
 * One sweep decides both (Dettmers et al. 2023, SpQR). When a group is entered, a weight is set aside if leaving it out
 * of the range lowers the group's error by more than a threshold; when a column is coded, every weight whose error
 * costs more than the threshold is kept exactly, so that nothing of it is spread. The threshold is relative to the
 * mean over columns of variance times cost.
 *
 *   code of the inner coder, exponent of the halves, positions (sparse_mask.c), values by rows */
#include <math.h>

#include "kernels/represent/scalar.h"

enum { P_INNER, P_THRESHOLD };
const pith_param outliers_params[2] = {
    {.name = "inner",
     .type = PITH_P_RECIPE,
     .def = PITH_REQUIRED,
     .doc = "codes the rest: a coder that takes columns, such as q(3, group=16)"},
    {.name = "threshold",
     .type = PITH_P_REAL,
     .min = 1e-6,
     .max = 1e6,
     .def = 0.2,
     .doc = "least squared error of an outlier, weighted, in mean variances of a column, weighted"},
};

typedef struct outliers_coder {
    repr_columns base;
    const repr_job *job;
    repr_job inner_job;
    repr_columns *inner;
    size_t rows, cols;
    unsigned levels; /* of the range that the look ahead fits; 0: none */
    float threshold;
    const float *cost; /* [cols], the driver's */
    float *variance;   /* [cols] of the matrix as it was */
    scalar_halves unit;
    uint8_t *mask;   /* [cols][rows] */
    uint16_t *value; /* [cols][rows] */
    float *group;    /* [group][rows] what the inner coder sees of a group */
    float *column;   /* [rows] */
} outliers_coder;

/* Squared error of x[n] on an even grid over its range and 0, without element `skip` (n: none), weighted. */
static float range_error(const float *x, const float *cost, size_t n, size_t skip, float low, float high,
                         unsigned levels) {
    float scale = (high - low) / (float)(levels - 1), inverse = scale > 0 ? 1 / scale : 0, error = 0;
    for (size_t j = 0; j < n; j++) {
        float q = scale * floorf((x[j] - low) * inverse + 0.5f) + low, d = x[j] - q;
        error += j == skip ? 0 : cost[j] * d * d;
    }
    return error;
}

/* Marks in aside[n] those without which the rest of the row's group loses more than the threshold less. */
static unsigned look_ahead(const outliers_coder *c, const float *x, const float *cost, size_t n, uint8_t *aside) {
    float low = 0, high = 0, low2 = 0, high2 = 0; /* the two least and the two greatest */
    for (size_t j = 0; j < n; j++) {
        if (x[j] < low)
            low2 = low, low = x[j];
        else if (x[j] < low2)
            low2 = x[j];
        if (x[j] > high)
            high2 = high, high = x[j];
        else if (x[j] > high2)
            high2 = x[j];
    }
    float all = range_error(x, cost, n, n, low, high, c->levels);
    unsigned found = 0;
    for (size_t j = 0; j < n; j++) {
        aside[j] = 0;
        /* Only the ends of the range change it. */
        if (all <= c->threshold || (x[j] != low && x[j] != high)) continue;
        float without = range_error(x, cost, n, j, x[j] == low ? low2 : low, x[j] == high ? high2 : high, c->levels);
        if (all - without > c->threshold) aside[j] = 1, found++;
    }
    return found;
}

static void set_threshold(outliers_coder *c) {
    double sum = 0;
    for (size_t j = 0; j < c->cols; j++) sum += (double)c->variance[j] * (double)c->cost[j];
    c->threshold = (float)(c->job->args->value[P_THRESHOLD] * sum / (double)c->cols);
}

static pith_status outliers_enter(repr_columns *self, size_t first, size_t n, const float *w, const float *cost) {
    outliers_coder *c = (outliers_coder *)self;
    size_t rows = c->rows;
    if (first == 0) {
        c->cost = cost;
        set_threshold(c);
    }
    memcpy(c->group, w, n * rows * sizeof *w);
    enum { WIDEST = 256 };
    for (size_t r = 0; c->levels && n > 1 && n <= WIDEST && r < rows; r++) {
        float x[WIDEST];
        uint8_t aside[WIDEST];
        for (size_t j = 0; j < n; j++) x[j] = w[j * rows + r];
        unsigned found = look_ahead(c, x, cost, n, aside);
        if (!found || found == n) continue;
        float mean = 0;
        for (size_t j = 0; j < n; j++) mean += aside[j] ? 0 : x[j];
        mean /= (float)(n - found);
        for (size_t j = 0; j < n; j++)
            if (aside[j]) c->group[j * rows + r] = mean;
    }
    return c->inner->enter ? c->inner->enter(c->inner, first, n, c->group, cost) : PITH_OK;
}

static void outliers_code(repr_columns *self, size_t column, const float *in, float *out) {
    outliers_coder *c = (outliers_coder *)self;
    uint8_t *mask = c->mask + column * c->rows;
    uint16_t *value = c->value + column * c->rows;
    size_t found = 0;
    c->inner->code(c->inner, column, in, out);
    for (size_t r = 0; r < c->rows; r++) {
        float d = in[r] - out[r];
        mask[r] = d * d * c->cost[column] > c->threshold;
        c->column[r] = mask[r] ? 0 : in[r];
        found += mask[r];
    }
    if (!found) return;
    c->inner->code(c->inner, column, c->column, out);
    for (size_t r = 0; r < c->rows; r++) {
        if (!mask[r]) continue;
        value[r] = scalar_half(&c->unit, in[r]);
        out[r] = scalar_widen(&c->unit, value[r]);
    }
}

static pith_status outliers_finish(repr_columns *self, pith_buffer *out) {
    outliers_coder *c = (outliers_coder *)self;
    pith_status status = c->inner->finish(c->inner, out);
    if (!status)
        status = sparse_put_columns(c->job, &c->unit, c->mask, c->value, c->rows, c->cols, SPARSE_AUTO, 0, 0, out);
    return status;
}

static void outliers_free(repr_columns *self) {
    outliers_coder *c = (outliers_coder *)self;
    pith_ctx *ctx = c->job->ctx;
    if (c->inner) c->inner->free(c->inner);
    pith_free(ctx, c->variance);
    pith_free(ctx, c->mask);
    pith_free(ctx, c->value);
    pith_free(ctx, c->group);
    pith_free(ctx, c->column);
    pith_free(ctx, c);
}

static pith_status inner_job(const repr_job *job, repr_job *inner, const repr_ops **ops) {
    bool simple = false;
    if (!repr_branch_job(job, P_INNER, inner, &simple) || !simple)
        return pith_fail(job->ctx, PITH_E_ARGUMENT, "column %u: inner takes one coder, without transforms",
                         job->args->column);
    *ops = inner->args->stage->impl;
    if (!(*ops)->columns)
        return pith_fail(job->ctx, PITH_E_ARGUMENT, "column %u: %s does not code columns", inner->args->column,
                         inner->args->stage->name);
    return PITH_OK;
}

static void variances(const repr_matrix *w, float *variance) {
    for (size_t j = 0; j < w->cols; j++) {
        double sum = 0, squares = 0, n = (double)w->rows;
        for (size_t r = 0; r < w->rows; r++) {
            double x = (double)w->data[r * w->cols + j];
            sum += x;
            squares += x * x;
        }
        /* A single row varies around 0. */
        double v = w->rows > 1 ? squares / n - sum / n * (sum / n) : squares;
        variance[j] = (float)(v > 0 ? v : 0);
    }
}

static pith_status outliers_columns(const repr_job *job, const repr_matrix *w, repr_columns **out) {
    pith_ctx *ctx = job->ctx;
    size_t n;
    const repr_ops *ops;
    pith_status status = scalar_room(ctx, w->rows, w->cols, sizeof(uint64_t), &n);
    if (status) return status;
    outliers_coder *c = pith_zalloc(ctx, sizeof *c);
    if (!c) return pith_alloc_status(ctx);
    c->job = job;
    c->rows = w->rows, c->cols = w->cols;
    status = inner_job(job, &c->inner_job, &ops);
    if (!status) status = ops->columns(&c->inner_job, w, &c->inner);
    if (!status) {
        size_t group = c->inner->group;
        c->base = (repr_columns){group, outliers_enter, outliers_code, outliers_finish, outliers_free};
        quant_spec spec;
        if (ops == &quant_ops && quant_spec_of(ctx, c->inner_job.args, &spec) == PITH_OK) c->levels = 1u << spec.bits;
        float largest = 0;
        for (size_t i = 0; i < n; i++) largest = PITH_MAX(largest, fabsf(w->data[i]));
        scalar_halves_for(&c->unit, largest);
        c->variance = pith_alloc(ctx, w->cols * sizeof *c->variance);
        c->mask = pith_zalloc(ctx, n);
        c->value = pith_zalloc(ctx, n * sizeof *c->value);
        c->group = pith_alloc(ctx, (group ? PITH_MIN(group, w->cols) : w->cols) * w->rows * sizeof *c->group);
        c->column = pith_alloc(ctx, w->rows * sizeof *c->column);
        if (!c->variance || !c->mask || !c->value || !c->group || !c->column)
            status = pith_alloc_status(ctx);
        else
            variances(w, c->variance);
    }
    if (status)
        outliers_free(&c->base);
    else
        *out = &c->base;
    return status;
}

static pith_status outliers_decode(const repr_job *job, repr_reader *in, repr_matrix *w) {
    pith_ctx *ctx = job->ctx;
    size_t n = w->rows * w->cols, count = 0, at = 0;
    repr_job inner;
    const repr_ops *ops;
    scalar_halves unit;
    pith_status status = inner_job(job, &inner, &ops);
    if (!status) status = ops->decode(&inner, in, w);
    if (status) return status;
    if (!scalar_halves_take(in, &unit)) return repr_cut_off(ctx);
    uint8_t *mask = pith_alloc(ctx, n);
    if (!mask) return pith_alloc_status(ctx);
    status = sparse_take_mask(job, in, w->rows, w->cols, mask, &count);
    const uint8_t *p = status ? NULL : repr_take(in, 2 * count);
    if (!status && !p) status = repr_cut_off(ctx);
    for (size_t i = 0; !status && i < n; i++)
        if (mask[i]) w->data[i] = scalar_widen(&unit, load16(p + 2 * at++));
    pith_free(ctx, mask);
    return status;
}

const repr_ops outliers_ops = {.kind = REPR_CODER, .columns = outliers_columns, .decode = outliers_decode};
