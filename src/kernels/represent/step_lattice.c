/* The coder step where weights lie on few levels (step_lattice.h): counts of levels or steps, and scales of groups.
 *
 *   after base and 0 for the classes: columns of a group; a byte, the logarithm of the places to an octave of scales; a
 *   byte, how many levels, and whether scales have signs. With levels: these. Without: a byte, the bits of phases, then
 * twice the magnitude of the lowest count, and 1 when it is below 0, then how many counts there are. Then how many
 * codes of scales, and these; phases, if they have bits; signs of scales, if they have any; the counts, less the
 * lowest. */
#include "kernels/represent/step_lattice.h"

#include <math.h>

#include "kernels/represent/step.h"

enum { FLIPS = 128 }; /* in the byte that says how many levels: scales have signs */

typedef struct lattice_coder {
    repr_columns base;
    const repr_job *job;
    step_lattice l;
    size_t at;                      /* the group whose scales are at hand; SIZE_MAX: none */
    float *scale, *inverse, *phase; /* [rows] */
    uint16_t *codes;                /* [cols][rows] */
} lattice_coder;

static void enter_group(lattice_coder *c, size_t group) {
    const step_lattice *l = &c->l;
    c->at = group;
    for (size_t r = 0; r < l->rows; r++) {
        float scale = lattice_scale(l, r * l->n_groups + group), inverse = scale != 0 ? 1 / scale : 0;
        c->scale[r] = scale;
        c->inverse[r] = isfinite(inverse) ? inverse : 0;
        c->phase[r] = lattice_phase(l, r * l->n_groups + group);
    }
}

static void code_levels(const lattice_coder *c, const float *in, uint16_t *codes, float *out) {
    const step_lattice *l = &c->l;
    float last = 0;
    memset(codes, 0, l->rows * sizeof *codes);
    for (unsigned k = 0; k < l->n_levels; last = l->level[k++]) {
        float from = (last + l->level[k]) * 0.5f;
        for (size_t r = 0; r < l->rows; r++) codes[r] = (uint16_t)(codes[r] + (fabsf(in[r] * c->inverse[r]) > from));
    }
    for (size_t r = 0; r < l->rows; r++) {
        int count = (in[r] < 0) != (c->scale[r] < 0) ? -(int)codes[r] : (int)codes[r];
        out[r] = lattice_value(l, count, c->scale[r], 0);
        codes[r] = (uint16_t)(count - l->low);
    }
}

static void code_even(const lattice_coder *c, const float *in, uint16_t *codes, float *out) {
    const step_lattice *l = &c->l;
    float most = (float)(l->n_codes - 1);
    for (size_t r = 0; r < l->rows; r++) {
        float at = in[r] * c->inverse[r] - c->phase[r] - (float)l->low + 0.5f;
        at = at > 0 ? at : 0;
        codes[r] = (uint16_t)(at < most ? at : most);
        out[r] = lattice_value(l, l->low + codes[r], c->scale[r], c->phase[r]);
    }
}

static void lattice_code(repr_columns *self, size_t column, const float *in, float *out) {
    lattice_coder *c = (lattice_coder *)self;
    if (c->at != column / c->l.group) enter_group(c, column / c->l.group);
    (c->l.n_levels ? code_levels : code_even)(c, in, c->codes + column * c->l.rows, out);
}

static pith_status lattice_finish(repr_columns *self, pith_buffer *out) {
    lattice_coder *c = (lattice_coder *)self;
    const step_lattice *l = &c->l;
    pith_ctx *ctx = c->job->ctx;
    size_t groups = l->rows * l->n_groups;
    uint8_t head[3] = {(uint8_t)l->fine, (uint8_t)(l->n_levels | (l->flip ? FLIPS : 0)), (uint8_t)l->phase_bits};
    pith_status status = repr_put_floats(ctx, out, &l->base, 1);
    if (!status) status = repr_put_number(ctx, out, 0);
    if (!status) status = repr_put_number(ctx, out, l->group);
    if (!status) status = pith_buffer_append(ctx, out, head, l->n_levels ? 2 : 3);
    if (!status && l->n_levels) status = repr_put_floats(ctx, out, l->level, l->n_levels);
    if (!status && !l->n_levels) status = repr_put_number(ctx, out, 2 * (uint64_t)abs(l->low) + (l->low < 0));
    if (!status && !l->n_levels) status = repr_put_number(ctx, out, l->n_codes);
    if (!status) status = repr_put_number(ctx, out, l->n_scales);
    if (!status && l->n_scales > 1) status = step_put_codes(c->job, l->scale, groups, l->n_groups, l->n_scales, out);
    if (!status && l->phase_bits)
        status = step_put_codes(c->job, l->phase, groups, l->n_groups, 1u << l->phase_bits, out);
    if (!status && l->flip) status = step_put_codes(c->job, l->flip, groups, l->n_groups, 2, out);
    return status ? status : scalar_put_plane(c->job, c->codes, l->rows, l->cols, l->n_codes, out);
}

static void lattice_free(repr_columns *self) {
    lattice_coder *c = (lattice_coder *)self;
    pith_ctx *ctx = c->job->ctx;
    step_lattice_free(ctx, &c->l);
    pith_free(ctx, c->scale);
    pith_free(ctx, c->inverse);
    pith_free(ctx, c->phase);
    pith_free(ctx, c->codes);
    pith_free(ctx, c);
}

pith_status step_lattice_columns(const repr_job *job, step_lattice *l, repr_columns **out) {
    pith_ctx *ctx = job->ctx;
    lattice_coder *c = pith_zalloc(ctx, sizeof *c);
    if (!c) {
        step_lattice_free(ctx, l);
        return pith_alloc_status(ctx);
    }
    c->base = (repr_columns){0, NULL, lattice_code, lattice_finish, lattice_free};
    c->job = job;
    c->l = *l;
    c->at = SIZE_MAX;
    c->scale = pith_alloc(ctx, l->rows * sizeof *c->scale);
    c->inverse = pith_alloc(ctx, l->rows * sizeof *c->inverse);
    c->phase = pith_alloc(ctx, l->rows * sizeof *c->phase);
    c->codes = pith_alloc(ctx, l->rows * l->cols * sizeof *c->codes);
    if (!c->scale || !c->inverse || !c->phase || !c->codes) {
        pith_status status = pith_alloc_status(ctx);
        lattice_free(&c->base);
        return status;
    }
    *out = &c->base;
    return PITH_OK;
}

/* ---- decoding ---- */

static pith_status take_levels(pith_ctx *ctx, repr_reader *in, step_lattice *l) {
    if (!repr_take_floats(in, l->level, l->n_levels)) return repr_cut_off(ctx);
    for (unsigned k = 0; k < l->n_levels; k++)
        if (!(l->level[k] > (k ? l->level[k - 1] : 0)) || !isfinite(l->level[k]))
            return pith_fail(ctx, PITH_E_FORMAT, "the levels of a matrix do not rise");
    l->low = -(int)l->n_levels;
    l->n_codes = 2 * l->n_levels + 1;
    return PITH_OK;
}

static pith_status take_even(pith_ctx *ctx, repr_reader *in, step_lattice *l) {
    const uint8_t *bits = repr_take(in, 1);
    uint64_t low, n_codes;
    if (!bits || !repr_take_number(in, 2 * LATTICE_LOW + 1, &low) || !repr_take_number(in, LATTICE_CODES, &n_codes))
        return repr_cut_off(ctx);
    if (*bits > LATTICE_PHASE || n_codes < 1)
        return pith_fail(ctx, PITH_E_FORMAT, "the steps of groups are described wrongly");
    l->phase_bits = *bits;
    l->low = low % 2 ? -(int)(low / 2) : (int)(low / 2);
    l->n_codes = (unsigned)n_codes;
    return PITH_OK;
}

static pith_status take_head(pith_ctx *ctx, repr_reader *in, step_lattice *l, bool *flips) {
    uint64_t group, n_scales;
    const uint8_t *head = repr_take_number(in, l->cols, &group) ? repr_take(in, 2) : NULL;
    if (!head) return repr_cut_off(ctx);
    *flips = head[1] & FLIPS;
    l->n_levels = head[1] & ~FLIPS;
    if (group < 1 || head[0] > LATTICE_FINE || l->n_levels > LATTICE_LEVELS || (*flips && !l->n_levels))
        return pith_fail(ctx, PITH_E_FORMAT, "the levels of a matrix are described wrongly");
    l->group = (size_t)group;
    l->n_groups = (l->cols - 1) / l->group + 1;
    l->fine = head[0];
    pith_status status = l->n_levels ? take_levels(ctx, in, l) : take_even(ctx, in, l);
    if (status) return status;
    if (!repr_take_number(in, 1 + ((uint64_t)LATTICE_OCTAVES << l->fine), &n_scales)) return repr_cut_off(ctx);
    l->n_scales = (uint32_t)n_scales;
    return n_scales ? PITH_OK : pith_fail(ctx, PITH_E_FORMAT, "a matrix has no scales");
}

static void put_values(const step_lattice *l, const uint16_t *codes, float *data) {
    float value[LATTICE_CODES];
    for (size_t r = 0; r < l->rows; r++)
        for (size_t g = 0; g < l->n_groups; g++) {
            size_t at = r * l->n_groups + g, first = r * l->cols + g * l->group;
            size_t end = first + PITH_MIN(l->group, l->cols - g * l->group);
            float scale = lattice_scale(l, at), phase = lattice_phase(l, at);
            for (unsigned k = 0; k < l->n_codes; k++) value[k] = lattice_value(l, l->low + (int)k, scale, phase);
            for (size_t i = first; i < end; i++) data[i] = value[codes[i]];
        }
}

pith_status step_lattice_decode(const repr_job *job, repr_reader *in, float base, repr_matrix *w) {
    pith_ctx *ctx = job->ctx;
    step_lattice l = {.rows = w->rows, .cols = w->cols, .base = base};
    size_t n = w->rows * w->cols;
    bool flips = false;
    pith_status status = take_head(ctx, in, &l, &flips);
    if (status) return status;
    size_t groups = l.rows * l.n_groups;
    uint16_t *codes = pith_alloc(ctx, n * sizeof *codes);
    l.scale = pith_alloc(ctx, groups * sizeof *l.scale);
    l.phase = l.phase_bits ? pith_alloc(ctx, groups * sizeof *l.phase) : NULL;
    l.flip = flips ? pith_alloc(ctx, groups * sizeof *l.flip) : NULL;
    if (!codes || !l.scale || (l.phase_bits && !l.phase) || (flips && !l.flip)) status = pith_alloc_status(ctx);
    if (!status) status = step_take_codes(job, in, l.scale, groups, l.n_groups, l.n_scales);
    if (!status && l.phase_bits) status = step_take_codes(job, in, l.phase, groups, l.n_groups, 1u << l.phase_bits);
    if (!status && flips) status = step_take_codes(job, in, l.flip, groups, l.n_groups, 2);
    if (!status) status = scalar_take_plane(job, in, codes, n, w->cols, l.n_codes);
    if (!status) put_values(&l, codes, w->data);
    step_lattice_free(ctx, &l);
    pith_free(ctx, codes);
    return status;
}
