/* Stages for tests of chains, small enough to know every byte of theirs: transforms with and without an inverse,
 * coders with and without columns, packers of two and of five bytes a code, a solver that counts its calls. */
#ifndef REPRESENT_TOYS_H
#define REPRESENT_TOYS_H

#include "kernels/represent/represent.h"

static pith_status scale_forward(const repr_job *job, repr_matrix *w, repr_stats *stats, pith_buffer *side) {
    float f = (float)job->args->value[0];
    for (size_t i = 0; i < w->rows * w->cols; i++) w->data[i] *= f;
    if (stats->h) {
        float *h = pith_alloc(job->ctx, w->cols * sizeof *h);
        if (!h) return pith_alloc_status(job->ctx);
        for (size_t j = 0; j < w->cols; j++) h[j] = stats->h[j] / (f * f);
        stats->h = h;
    }
    return repr_put_floats(job->ctx, side, &f, 1);
}

static pith_status scale_inverse(const repr_job *job, repr_reader *side, repr_matrix *w) {
    float f;
    if (!repr_take_floats(side, &f, 1)) return repr_cut_off(job->ctx);
    for (size_t i = 0; i < w->rows * w->cols; i++) w->data[i] /= f;
    return PITH_OK;
}

static pith_status prune_forward(const repr_job *job, repr_matrix *w, repr_stats *stats, pith_buffer *side) {
    (void)job, (void)stats, (void)side;
    for (size_t i = 0; i < w->rows * w->cols; i++)
        if (w->data[i] < 0) w->data[i] = 0;
    return PITH_OK;
}

/* Whole numbers of a step per matrix, 255 of them. */
typedef struct rounder {
    repr_columns face;
    const repr_job *job;
    size_t rows, cols;
    float step;
    uint16_t *codes;
} rounder;

static float last_cost; /* of column 0 at the last entry: shows which statistics a coder saw */

static pith_status round_enter(repr_columns *self, size_t first, size_t n, const float *w, const float *cost) {
    rounder *r = (rounder *)self;
    if (first) return PITH_OK;
    float most = 0;
    for (size_t i = 0; i < n * r->rows; i++) most = PITH_MAX(most, w[i] < 0 ? -w[i] : w[i]);
    r->step = most > 0 ? most / 100 : 1;
    last_cost = cost[0];
    return PITH_OK;
}

static uint16_t round_code(float w, float step) {
    float v = w / step;
    int code = (int)(v < 0 ? v - 0.5f : v + 0.5f);
    return (uint16_t)(PITH_MAX(-127, PITH_MIN(127, code)) + 127);
}

static void round_column(repr_columns *self, size_t column, const float *in, float *out) {
    rounder *r = (rounder *)self;
    for (size_t i = 0; i < r->rows; i++) {
        uint16_t code = round_code(in[i], r->step);
        r->codes[i * r->cols + column] = code;
        out[i] = ((float)code - 127) * r->step;
    }
}

static pith_status round_finish(repr_columns *self, pith_buffer *out) {
    rounder *r = (rounder *)self;
    repr_plane plane = {.codes = r->codes, .n = r->rows * r->cols, .row = r->cols, .alphabet = 255};
    pith_status status = repr_put_floats(r->job->ctx, out, &r->step, 1);
    return status ? status : repr_pack(r->job, &plane, out);
}

static void round_free(repr_columns *self) {
    rounder *r = (rounder *)self;
    pith_ctx *c = r->job->ctx;
    pith_free(c, r->codes);
    pith_free(c, r);
}

static pith_status round_columns(const repr_job *job, const repr_matrix *w, repr_columns **out) {
    rounder *r = pith_zalloc(job->ctx, sizeof *r);
    if (!r) return pith_alloc_status(job->ctx);
    *r = (rounder){.face = {.group = 4, .enter = round_enter, .code = round_column, .finish = round_finish, .free = round_free},
                   .job = job, .rows = w->rows, .cols = w->cols};
    r->codes = pith_alloc(job->ctx, w->rows * w->cols * sizeof *r->codes);
    if (!r->codes) {
        round_free(&r->face);
        return pith_alloc_status(job->ctx);
    }
    *out = &r->face;
    return PITH_OK;
}

static pith_status round_decode(const repr_job *job, repr_reader *in, repr_matrix *w) {
    float step;
    size_t n = w->rows * w->cols;
    if (!repr_take_floats(in, &step, 1)) return repr_cut_off(job->ctx);
    uint16_t *codes = pith_alloc(job->ctx, n * sizeof *codes);
    if (!codes) return pith_alloc_status(job->ctx);
    pith_status status = repr_unpack(job, in, codes, n, w->cols, 255);
    for (size_t i = 0; i < n && !status; i++) w->data[i] = ((float)codes[i] - 127) * step;
    pith_free(job->ctx, codes);
    return status;
}

/* Halves, with a number from the seed added to each, so that a wrong seed shows. */
static float noise(const repr_job *job, size_t i) { return (float)((job->seed >> (i % 48)) & 7) / 8; }

static pith_status halves_encode(const repr_job *job, const repr_matrix *w, pith_buffer *out, float *restored) {
    size_t n = w->rows * w->cols, start = out->size;
    for (size_t i = 0; i < n; i++) restored[i] = w->data[i] + noise(job, i);
    pith_status status = repr_put_halves(job->ctx, out, restored, n);
    repr_reader in = {out->data + start, out->data + out->size};
    if (!status && !repr_take_halves(&in, restored, n)) status = PITH_E_INTERNAL;
    for (size_t i = 0; i < n && !status; i++) restored[i] -= noise(job, i);
    return status;
}

static pith_status halves_decode(const repr_job *job, repr_reader *in, repr_matrix *w) {
    size_t n = w->rows * w->cols;
    if (!repr_take_halves(in, w->data, n)) return repr_cut_off(job->ctx);
    for (size_t i = 0; i < n; i++) w->data[i] -= noise(job, i);
    return PITH_OK;
}

static pith_status pack_n(const repr_job *job, const repr_plane *plane, pith_buffer *out, size_t size) {
    pith_status status = PITH_OK;
    uint8_t bytes[8] = {0};
    for (size_t i = 0; i < plane->n && !status; i++) {
        store16(bytes, plane->codes[i]);
        status = pith_buffer_append(job->ctx, out, bytes, size);
    }
    return status;
}

static pith_status unpack_n(const repr_job *job, repr_reader *in, uint16_t *codes, size_t n, uint32_t alphabet, size_t size) {
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = repr_take(in, size);
        if (!p) return repr_cut_off(job->ctx);
        codes[i] = load16(p);
        if (codes[i] >= alphabet) return pith_fail(job->ctx, PITH_E_FORMAT, "code %u of %u", codes[i], alphabet);
    }
    return PITH_OK;
}

static pith_status pack_two(const repr_job *job, const repr_plane *plane, pith_buffer *out) { return pack_n(job, plane, out, 2); }
static pith_status pack_five(const repr_job *job, const repr_plane *plane, pith_buffer *out) { return pack_n(job, plane, out, 5); }
static pith_status unpack_two(const repr_job *job, repr_reader *in, uint16_t *codes, size_t n, size_t row, uint32_t alphabet) {
    (void)row;
    return unpack_n(job, in, codes, n, alphabet, 2);
}
static pith_status unpack_five(const repr_job *job, repr_reader *in, uint16_t *codes, size_t n, size_t row,
                               uint32_t alphabet) {
    (void)row;
    return unpack_n(job, in, codes, n, alphabet, 5);
}

static unsigned n_solved;

static pith_status spread(const repr_job *job, repr_matrix *w, repr_columns *columns, float *restored) {
    float *in = pith_alloc(job->ctx, w->cols * w->rows * sizeof *in), *out = pith_alloc(job->ctx, w->rows * sizeof *out);
    pith_status status = in && out ? PITH_OK : pith_alloc_status(job->ctx);
    n_solved++;
    for (size_t j = 0; j < w->cols && !status; j++)
        for (size_t i = 0; i < w->rows; i++) in[j * w->rows + i] = w->data[i * w->cols + j];
    float cost[64] = {0};
    for (size_t j = 0; j < w->cols && !status; j++) {
        size_t n = PITH_MIN(columns->group, w->cols - j);
        if (j % columns->group == 0) status = columns->enter(columns, j, n, in + j * w->rows, cost);
        columns->code(columns, j, in + j * w->rows, out);
        for (size_t i = 0; i < w->rows; i++) restored[i * w->cols + j] = out[i];
    }
    pith_free(job->ctx, out);
    pith_free(job->ctx, in);
    return status;
}

static const repr_ops scale_ops = {.kind = REPR_TRANSFORM, .forward = scale_forward, .inverse = scale_inverse};
static const repr_ops prune_ops = {.kind = REPR_TRANSFORM, .forward = prune_forward};
static const repr_ops round_ops = {.kind = REPR_CODER, .columns = round_columns, .decode = round_decode};
static const repr_ops halves_ops = {.kind = REPR_CODER, .encode = halves_encode, .decode = halves_decode};
static const repr_ops two_ops = {.kind = REPR_PACKER, .pack = pack_two, .unpack = unpack_two};
static const repr_ops five_ops = {.kind = REPR_PACKER, .pack = pack_five, .unpack = unpack_five};
static const repr_ops solver_ops = {.kind = REPR_SOLVER, .solve = spread};

static const pith_param scale_params[] = {
    {.name = "by", .type = PITH_P_REAL, .min = 0.125, .max = 8, .def = 2, .doc = "factor"}};
#define STAGE(NAME, ROLE, OPS) {.name = NAME, .artefact = "model", .role = ROLE, .summary = "-", .impl = OPS}
static const pith_stage stages[] = {
    {.name = "times", .artefact = "model", .role = "transform", .summary = "-", .impl = &scale_ops, .params = scale_params,
     .n_params = 1},
    STAGE("positive", "transform", &prune_ops),
    STAGE("near", "coder", &round_ops),
    STAGE("raw", "coder", &halves_ops),
    STAGE("sparse", "coder", &halves_ops),
    STAGE("pack", "packer", &two_ops),
    STAGE("wide", "packer", &five_ops),
    STAGE("spread", PITH_ROLE_SOLVER, &solver_ops),
    STAGE("odd", "thing", NULL),
    {.name = NULL},
};
static const pith_stage *const tables[] = {stages, represent_branches, NULL};
static const pith_method no_methods[] = {{.name = NULL}};
static const pith_method *const methods[] = {no_methods, NULL};

#endif
