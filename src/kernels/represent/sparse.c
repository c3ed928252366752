/* The coder sparse: some weights as half floats with their positions, zeros elsewhere.
 *
 * Without a solver it keeps the best by a score. Under obs zeros are chosen as the sweep goes, where w^2 / [H^-1]
 * costs least, in each block of 128 columns or in each group of a pattern (Frantar and Alistarh 2023, SparseGPT).
 *
 *   exponent of the halves, positions (sparse_mask.c), values by rows */
#include <math.h>

#include "kernels/represent/scalar.h"

enum { P_KEEP, P_THRESHOLD, P_SCORE, P_PER, P_PATTERN, P_FORMAT };
enum { SCORE_OBS, SCORE_MAGNITUDE, SCORE_WANDA };
enum { PER_BLOCK, PER_ROW, PER_MATRIX };
enum { BLOCK = 128 };
const pith_param sparse_params[6] = {
    {.name = "keep", .type = PITH_P_REAL, .min = 0, .max = 1, .def = 1, .doc = "the part that is not made zero"},
    {.name = "threshold",
     .type = PITH_P_REAL,
     .min = 0,
     .max = 1e6,
     .def = 0,
     .doc = "smaller weights are zeros too, in RMS of the matrix"},
    {.name = "score",
     .type = PITH_P_CHOICE,
     .choices = "obs|magnitude|wanda",
     .def = 0,
     .doc = "what is kept: the largest w^2 times what the solver says errors cost, |w|, or |w| times the input's RMS"},
    {.name = "per",
     .type = PITH_P_CHOICE,
     .choices = "block|row|matrix",
     .def = 0,
     .doc = "where the part is counted: blocks of 128 columns, rows of such blocks, or everything at once"},
    {.name = "pattern",
     .type = PITH_P_CHOICE,
     .choices = SPARSE_PATTERNS,
     .def = 0,
     .doc = "keep n of every m neighbours of a row"},
    {.name = "format",
     .type = PITH_P_CHOICE,
     .choices = "auto|bitmap|csr|gaps|pattern",
     .def = 0,
     .doc = "how positions are written; auto: the smallest"},
};

typedef struct sparse_coder {
    repr_columns base;
    const repr_job *job;
    size_t rows, cols;
    unsigned keep, of; /* the pattern; of = 0: none */
    scalar_halves unit;
    float threshold;
    uint8_t *mask;   /* [cols][rows] */
    uint16_t *value; /* [cols][rows] */
    float *score;    /* [2][group][rows], and [2][BLOCK] */
} sparse_coder;

static pith_status sparse_enter(repr_columns *self, size_t first, size_t n, const float *w, const float *cost) {
    sparse_coder *c = (sparse_coder *)self;
    const double *v = c->job->args->value;
    size_t rows = c->rows;
    uint8_t *mask = c->mask + first * rows;
    float *score = c->score, *scratch = c->score + n * rows;
    for (size_t j = 0; j < n; j++) {
        float weight = cost[j];
        if (v[P_SCORE] == SCORE_MAGNITUDE) weight = 1;
        if (v[P_SCORE] == SCORE_WANDA) weight = scalar_input(c->job->stats, first + j);
        for (size_t r = 0; r < rows; r++) score[j * rows + r] = w[j * rows + r] * w[j * rows + r] * weight;
    }
    if (c->of && n % c->of == 0) {
        for (size_t j = 0; j < n; j += c->of)
            for (size_t r = 0; r < rows; r++) {
                float few[8], some[8];
                uint8_t kept[8];
                for (unsigned k = 0; k < c->of; k++) few[k] = score[(j + k) * rows + r];
                sparse_choose(few, c->of, c->keep, kept, some);
                for (unsigned k = 0; k < c->of; k++) mask[(j + k) * rows + r] = kept[k];
            }
        return PITH_OK; /* zeros may be kept, so that the pattern is whole */
    }
    double part = c->of ? (double)c->keep / c->of : v[P_KEEP];
    if (part >= 1) {
        memset(mask, 1, n * rows);
    } else if (v[P_PER] == PER_ROW) {
        float *row = scratch, *some = scratch + n;
        uint8_t kept[BLOCK];
        for (size_t r = 0; r < rows; r++) {
            for (size_t j = 0; j < n; j++) row[j] = score[j * rows + r];
            sparse_choose(row, n, (size_t)(part * (double)n + 0.5), kept, some);
            for (size_t j = 0; j < n; j++) mask[j * rows + r] = kept[j];
        }
    } else {
        sparse_choose(score, n * rows, (size_t)(part * (double)(n * rows) + 0.5), mask, scratch);
    }
    for (size_t i = 0; i < n * rows; i++) mask[i] = mask[i] && w[i] != 0 && fabsf(w[i]) >= c->threshold;
    return PITH_OK;
}

static void sparse_code(repr_columns *self, size_t column, const float *in, float *out) {
    sparse_coder *c = (sparse_coder *)self;
    const uint8_t *mask = c->mask + column * c->rows;
    uint16_t *value = c->value + column * c->rows;
    for (size_t r = 0; r < c->rows; r++) {
        value[r] = mask[r] ? scalar_half(&c->unit, in[r]) : 0;
        out[r] = mask[r] ? scalar_widen(&c->unit, value[r]) : 0;
    }
}

static pith_status sparse_finish(repr_columns *self, pith_buffer *out) {
    sparse_coder *c = (sparse_coder *)self;
    sparse_format format = (sparse_format)(int)c->job->args->value[P_FORMAT];
    return sparse_put_columns(c->job, &c->unit, c->mask, c->value, c->rows, c->cols, format, c->keep, c->of, out);
}

static void sparse_free(repr_columns *self) {
    sparse_coder *c = (sparse_coder *)self;
    pith_ctx *ctx = c->job->ctx;
    pith_free(ctx, c->mask);
    pith_free(ctx, c->value);
    pith_free(ctx, c->score);
    pith_free(ctx, c);
}

static pith_status sparse_columns(const repr_job *job, const repr_matrix *w, repr_columns **out) {
    pith_ctx *ctx = job->ctx;
    const double *v = job->args->value;
    size_t n;
    pith_status status = scalar_room(ctx, w->rows, w->cols, 2 * sizeof(float), &n);
    if (status) return status;
    sparse_coder *c = pith_zalloc(ctx, sizeof *c);
    if (!c) return pith_alloc_status(ctx);
    unsigned pattern = (unsigned)v[P_PATTERN];
    size_t group = sparse_patterns[pattern].of ? sparse_patterns[pattern].of : v[P_PER] == PER_MATRIX ? 0 : BLOCK;
    c->base = (repr_columns){group, sparse_enter, sparse_code, sparse_finish, sparse_free};
    c->job = job;
    c->rows = w->rows, c->cols = w->cols;
    c->keep = sparse_patterns[pattern].keep, c->of = sparse_patterns[pattern].of;
    float largest = 0;
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        largest = PITH_MAX(largest, fabsf(w->data[i]));
        squares += (double)w->data[i] * (double)w->data[i];
    }
    scalar_halves_for(&c->unit, largest);
    c->threshold = (float)(v[P_THRESHOLD] * sqrt(squares / (double)n));
    c->mask = pith_zalloc(ctx, n);
    c->value = pith_alloc(ctx, n * sizeof *c->value);
    size_t most = (group ? PITH_MIN(group, w->cols) : w->cols) * w->rows;
    c->score = pith_alloc(ctx, (2 * most + 2 * BLOCK) * sizeof *c->score);
    if (!c->mask || !c->value || !c->score) {
        status = pith_alloc_status(ctx);
        sparse_free(&c->base);
        return status;
    }
    *out = &c->base;
    return PITH_OK;
}

static pith_status sparse_decode(const repr_job *job, repr_reader *in, repr_matrix *w) {
    pith_ctx *ctx = job->ctx;
    size_t n, count = 0, at = 0;
    scalar_halves unit;
    pith_status status = scalar_room(ctx, w->rows, w->cols, sizeof(float), &n);
    if (status) return status;
    if (!scalar_halves_take(in, &unit)) return repr_cut_off(ctx);
    uint8_t *mask = pith_alloc(ctx, n);
    if (!mask) return pith_alloc_status(ctx);
    status = sparse_take_mask(job, in, w->rows, w->cols, mask, &count);
    const uint8_t *p = status ? NULL : repr_take(in, 2 * count);
    if (!status && !p) status = repr_cut_off(ctx);
    for (size_t i = 0; !status && i < n; i++) w->data[i] = mask[i] ? scalar_widen(&unit, load16(p + 2 * at++)) : 0;
    pith_free(ctx, mask);
    return status;
}

const repr_ops sparse_ops = {.kind = REPR_CODER, .columns = sparse_columns, .decode = sparse_decode};
