/* Neighbouring weights (or activations) of a row as few atoms of a dictionary that may have more of them than a vector
 * has numbers, times values of few bits: sparse coding with its rate counted.
 *
 * The dictionary starts from k-means; pursuit and closed-form refits follow in turn. The bytes are the step of the
 * values and the atoms as halves, a plane of indices, a plane of values. */
#include "kernels/represent/dict_atoms.h"

#include <math.h>

typedef struct atoms_shape {
    size_t dim, groups, n, k, nonzeros;
    int32_t top; /* values are -top .. top steps */
    uint32_t alphabet;
} atoms_shape;

static atoms_shape shape_of(const repr_job *job, const repr_matrix *w) {
    const double *value = job->args->value;
    atoms_shape s = {.dim = (size_t)value[ATOMS_DIM], .nonzeros = (size_t)value[ATOMS_NONZEROS]};
    if (s.dim == 0 || s.dim > w->cols) s.dim = w->cols;
    s.groups = (w->cols + s.dim - 1) / s.dim;
    s.n = w->rows * s.groups;
    s.k = (size_t)value[ATOMS_ATOMS];
    s.alphabet = 1u << (unsigned)value[ATOMS_BITS];
    s.top = (int32_t)(s.alphabet / 2) - 1;
    return s;
}

static pith_status decode(const repr_job *job, repr_reader *in, repr_matrix *w) {
    pith_ctx *ctx = job->ctx;
    atoms_shape s = shape_of(job, w);
    float *step = NULL, *atoms = NULL;
    size_t n_codes = s.n * s.nonzeros;
    pith_status status = vectors_take(ctx, in, 1, "the step of atoms", &step);
    if (!status) status = vectors_take(ctx, in, s.k * s.dim, "the dictionary of atoms", &atoms);
    uint16_t *index = status ? NULL : pith_alloc(ctx, n_codes * sizeof *index),
             *value = status ? NULL : pith_alloc(ctx, n_codes * sizeof *value);
    if (!status && (!index || !value)) status = pith_alloc_status(ctx);
    if (!status) status = repr_unpack(job, in, index, n_codes, s.groups * s.nonzeros, (uint32_t)s.k);
    if (!status) status = repr_unpack(job, in, value, n_codes, s.groups * s.nonzeros, s.alphabet);
    if (!status) memset(w->data, 0, w->rows * w->cols * sizeof *w->data);
    for (size_t i = 0; !status && i < n_codes; i++) {
        size_t v = i / s.nonzeros, first = v % s.groups * s.dim, n = PITH_MIN(s.dim, w->cols - first);
        float *to = w->data + v / s.groups * w->cols + first, x = (float)((int32_t)value[i] - s.top) * *step;
        const float *atom = atoms + index[i] * s.dim;
        for (size_t d = 0; d < n; d++) to[d] += x * atom[d];
    }
    pith_free(ctx, step);
    pith_free(ctx, atoms);
    pith_free(ctx, index);
    pith_free(ctx, value);
    return status;
}

static int32_t rounded(float value, float step, int32_t top) {
    float x = rintf(value / step);
    return x > (float)top ? top : x < (float)-top ? -top : (int32_t)x;
}

/* The step with the least squared error of values, from one that reaches the largest down to an eighth of that. */
static float fit_step(const float *value, size_t n, int32_t top) {
    float most = 0, best_step = 0;
    double best = INFINITY;
    for (size_t i = 0; i < n; i++) most = PITH_MAX(most, fabsf(value[i]));
    if (!(most > 0)) return 0;
    for (int shrink = 0; shrink <= 24; shrink++) {
        float step = most / (float)top * exp2f(-(float)shrink / 8);
        double sum = 0;
        for (size_t i = 0; i < n; i++) {
            double d = (double)value[i] - (double)rounded(value[i], step, top) * (double)step;
            sum += d * d;
        }
        if (sum >= best) continue;
        best = sum;
        best_step = step;
    }
    return best_step;
}

/* Dictionary and codes; then values are rounded, and the dictionary is fitted to what they became. */
static pith_status fit(const repr_job *job, atoms_fit *f, int32_t top, float *step, uint16_t *codes) {
    vq_set set = {f->ctx, f->x, f->cost, f->n, f->dim, f->groups};
    pith_status status = vq_fit(&set, f->k, 5, job->seed, f->atoms);
    unsigned rounds = (unsigned)job->args->value[ATOMS_ROUNDS];
    for (unsigned round = 0; !status && round < rounds; round++) {
        status = atoms_pursue(f);
        if (!status) status = atoms_refit(f, true);
    }
    if (!status) status = atoms_pursue(f);
    if (status) return status;
    size_t n = f->n * f->nonzeros;
    *step = fit_step(f->value, n, top);
    status = vectors_round(f->ctx, step, 1);
    for (size_t i = 0; i < n; i++) {
        int32_t x = *step > 0 ? rounded(f->value[i], *step, top) : 0;
        codes[i] = (uint16_t)(x + top);
        f->value[i] = (float)x * *step;
    }
    return status ? status : atoms_refit(f, false);
}

static pith_status encode(const repr_job *job, const repr_matrix *w, pith_buffer *out, float *restored) {
    pith_ctx *ctx = job->ctx;
    atoms_shape s = shape_of(job, w);
    size_t wide = s.groups * s.dim, n_codes = s.n * s.nonzeros, row = s.groups * s.nonzeros, start = out->size;
    pith_status status = vectors_check(job, w);
    if (status) return status;
    float *x = pith_zalloc(ctx, w->rows * wide * sizeof *x), *cost = pith_zalloc(ctx, wide * sizeof *cost), step = 0;
    atoms_fit f = {
        .ctx = ctx, .x = x, .cost = cost, .n = s.n, .dim = s.dim, .groups = s.groups, .k = s.k, .nonzeros = s.nonzeros};
    f.atoms = pith_alloc(ctx, s.k * s.dim * sizeof *f.atoms);
    f.index = pith_alloc(ctx, n_codes * sizeof *f.index);
    f.value = pith_alloc(ctx, n_codes * sizeof *f.value);
    uint16_t *codes = pith_alloc(ctx, n_codes * sizeof *codes);
    if (!x || !cost || !f.atoms || !f.index || !f.value || !codes) status = pith_alloc_status(ctx);
    if (!status) {
        vectors_costs(job->stats, w->cols, cost);
        for (size_t i = 0; i < w->rows; i++) memcpy(x + i * wide, w->data + i * w->cols, w->cols * sizeof *x);
        status = fit(job, &f, s.top, &step, codes);
    }
    if (!status) status = vectors_put(ctx, out, &step, 1);
    if (!status) status = vectors_put(ctx, out, f.atoms, s.k * s.dim);
    if (!status) status = repr_pack(job, &(repr_plane){f.index, n_codes, row, (uint32_t)s.k}, out);
    if (!status) status = repr_pack(job, &(repr_plane){codes, n_codes, row, s.alphabet}, out);
    pith_free(ctx, x);
    pith_free(ctx, cost);
    pith_free(ctx, f.atoms);
    pith_free(ctx, f.index);
    pith_free(ctx, f.value);
    pith_free(ctx, codes);
    return status ? status : vectors_restore(job, decode, out, start, w, restored);
}

const repr_ops atoms_ops = {.kind = REPR_CODER, .encode = encode, .decode = decode};
