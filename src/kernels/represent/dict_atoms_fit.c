/* Sparse codes and dictionaries for them: pursuit of atoms, and atoms by least squares. */
#include "kernels/represent/dict_atoms.h"

#include <math.h>

#include "math/dense/dense.h"

enum { SCORES = 1 << 18 };

/* x (G + tiny) = b for the first n of a Gram matrix g[MOST][MOST] in place: Cholesky, n <= 16. */
static void solve_small(double g[ATOMS_MOST_NONZEROS][ATOMS_MOST_NONZEROS], double *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j <= i; j++) {
            double sum = g[i][j] + (i == j ? 1e-9 + 1e-6 * g[i][i] : 0);
            for (size_t k = 0; k < j; k++) sum -= g[i][k] * g[j][k];
            g[i][j] = i == j ? sqrt(PITH_MAX(sum, 1e-12)) : sum / g[j][j];
        }
        for (size_t k = 0; k < i; k++) b[i] -= g[i][k] * b[k];
        b[i] /= g[i][i];
    }
    for (size_t i = n; i-- > 0;) {
        for (size_t k = i + 1; k < n; k++) b[i] -= g[k][i] * b[k];
        b[i] /= g[i][i];
    }
}

/* Values of the first n atoms of vector v, all others being 0. */
static void solve_vector(atoms_fit *f, size_t v, size_t n) {
    double g[ATOMS_MOST_NONZEROS][ATOMS_MOST_NONZEROS], b[ATOMS_MOST_NONZEROS];
    const float *x = f->x + v * f->dim, *cost = f->cost + v % f->groups * f->dim;
    for (size_t i = 0; i < n; i++) {
        const float *p = f->atoms + f->index[v * f->nonzeros + i] * f->dim;
        b[i] = 0;
        for (size_t d = 0; d < f->dim; d++) b[i] += (double)p[d] * (double)x[d] * (double)cost[d];
        for (size_t j = 0; j <= i; j++) {
            const float *q = f->atoms + f->index[v * f->nonzeros + j] * f->dim;
            g[i][j] = 0;
            for (size_t d = 0; d < f->dim; d++) g[i][j] += (double)p[d] * (double)q[d] * (double)cost[d];
        }
    }
    solve_small(g, b, n);
    for (size_t i = 0; i < f->nonzeros; i++) f->value[v * f->nonzeros + i] = i < n ? (float)b[i] : 0;
}

/* What the first n atoms leave of vector v, times the costs. */
static void left_over(const atoms_fit *f, size_t v, size_t n, float *left) {
    const float *cost = f->cost + v % f->groups * f->dim;
    memcpy(left, f->x + v * f->dim, f->dim * sizeof *left);
    for (size_t i = 0; i < n; i++) {
        const float *p = f->atoms + f->index[v * f->nonzeros + i] * f->dim;
        for (size_t d = 0; d < f->dim; d++) left[d] -= f->value[v * f->nonzeros + i] * p[d];
    }
    for (size_t d = 0; d < f->dim; d++) left[d] *= cost[d];
}

typedef struct pursuit {
    atoms_fit *f;
    const float *lengths; /* [groups][k]: of atoms, squared and weighted, as -1 / length */
    size_t chunk;
} pursuit;

static pith_status pursue_part(void *opaque, size_t part) {
    const pursuit *p = opaque;
    atoms_fit *f = p->f;
    size_t first = part * p->chunk, n = PITH_MIN(p->chunk, f->n - first);
    float *left = pith_alloc(f->ctx, n * f->dim * sizeof *left), *gain = pith_alloc(f->ctx, n * f->k * sizeof *gain);
    pith_status status = left && gain ? PITH_OK : pith_alloc_status(f->ctx);
    for (size_t step = 0; step < f->nonzeros && !status; step++) {
        for (size_t i = 0; i < n; i++) left_over(f, first + i, step, left + i * f->dim);
        dense_gemm(false, true, n, f->k, f->dim, 1, left, f->dim, f->atoms, f->dim, 0, gain, f->k);
        for (size_t i = 0; i < n; i++) {
            float *g = gain + i * f->k;
            const float *length = p->lengths + (first + i) % f->groups * f->k;
            for (size_t k = 0; k < f->k; k++) g[k] = g[k] * g[k] * length[k];
            uint16_t *index = f->index + (first + i) * f->nonzeros;
            for (size_t s = 0; s < step; s++) g[index[s]] = 0; /* twice the same one would explain nothing more */
            index[step] = (uint16_t)vq_smallest(g, f->k);
            solve_vector(f, first + i, step + 1);
        }
    }
    pith_free(f->ctx, left);
    pith_free(f->ctx, gain);
    return status;
}

pith_status atoms_pursue(atoms_fit *f) {
    float *squares = pith_alloc(f->ctx, f->k * f->dim * sizeof *squares),
          *lengths = pith_alloc(f->ctx, f->groups * f->k * sizeof *lengths);
    pith_status status = squares && lengths ? PITH_OK : pith_alloc_status(f->ctx);
    if (!status) {
        for (size_t i = 0; i < f->k * f->dim; i++) squares[i] = f->atoms[i] * f->atoms[i];
        dense_gemm(false, true, f->groups, f->k, f->dim, 1, f->cost, f->dim, squares, f->dim, 0, lengths, f->k);
        for (size_t i = 0; i < f->groups * f->k; i++) lengths[i] = lengths[i] > 1e-12f ? -1 / lengths[i] : 0;
        pursuit p = {f, lengths, PITH_MAX(SCORES / f->k, 16u)};
        status = pith_parallel(f->ctx, (f->n + p.chunk - 1) / p.chunk, pursue_part, &p);
    }
    pith_free(f->ctx, squares);
    pith_free(f->ctx, lengths);
    return status;
}

/* A^T A and A^T X of the codes: [k][k] and [k][dim]. */
static void normal_equations(const atoms_fit *f, float *g, float *b) {
    memset(g, 0, f->k * f->k * sizeof *g);
    memset(b, 0, f->k * f->dim * sizeof *b);
    for (size_t v = 0; v < f->n; v++) {
        const uint16_t *index = f->index + v * f->nonzeros;
        const float *value = f->value + v * f->nonzeros, *x = f->x + v * f->dim;
        for (size_t i = 0; i < f->nonzeros; i++) {
            float *row = b + index[i] * f->dim;
            for (size_t d = 0; d < f->dim; d++) row[d] += value[i] * x[d];
            for (size_t j = 0; j < f->nonzeros; j++) g[index[i] * f->k + index[j]] += value[i] * value[j];
        }
    }
}

/* Each atom gets length 1, its values growing with it. */
static void to_unit(atoms_fit *f, float *length) {
    for (size_t k = 0; k < f->k; k++) {
        double sum = 0;
        for (size_t d = 0; d < f->dim; d++) sum += (double)f->atoms[k * f->dim + d] * (double)f->atoms[k * f->dim + d];
        length[k] = sum > 0 ? (float)sqrt(sum) : 1;
        for (size_t d = 0; d < f->dim; d++) f->atoms[k * f->dim + d] /= length[k];
    }
    for (size_t i = 0; i < f->n * f->nonzeros; i++) f->value[i] *= length[f->index[i]];
}

pith_status atoms_refit(atoms_fit *f, bool unit) {
    float *g = pith_alloc(f->ctx, f->k * f->k * sizeof *g), *b = pith_alloc(f->ctx, f->k * f->dim * sizeof *b);
    pith_status status = g && b ? PITH_OK : pith_alloc_status(f->ctx);
    double trace = 0;
    if (!status) {
        normal_equations(f, g, b);
        for (size_t k = 0; k < f->k; k++) trace += (double)g[k * f->k + k];
    }
    if (!status && trace > 0) {
        float part = (float)(1e-4 * trace / (double)f->k);
        for (size_t i = 0; i < f->k * f->dim; i++) b[i] += part * f->atoms[i]; /* unused ones stay as they are */
        status = dense_solve(f->ctx, g, f->k, 1e-4, b, f->dim);
        if (!status) memcpy(f->atoms, b, f->k * f->dim * sizeof *b);
    }
    if (!status && unit) to_unit(f, g);
    pith_free(f->ctx, g);
    pith_free(f->ctx, b);
    return status;
}

/* ---- the door ---- */

static pith_status fit_of(pith_ctx *ctx, const float *x, size_t n, size_t dim, size_t k, size_t nonzeros, float *cost,
                          atoms_fit *f) {
    if (n == 0 || dim == 0 || k < 2 || k > 4096 || nonzeros < 1 || nonzeros > ATOMS_MOST_NONZEROS)
        return pith_fail(ctx, PITH_E_ARGUMENT, "%zu of %zu atoms for %zu vectors of %zu numbers", nonzeros, k, n, dim);
    for (size_t d = 0; d < dim; d++) cost[d] = 1;
    *f = (atoms_fit){.ctx = ctx, .x = x, .cost = cost, .n = n, .dim = dim, .groups = 1, .k = k, .nonzeros = nonzeros};
    return PITH_OK;
}

pith_status repr_atoms_learn(pith_ctx *ctx, const float *x, size_t n, size_t dim, size_t k, size_t nonzeros,
                             unsigned rounds, uint64_t seed, float *atoms) {
    atoms_fit f = {.n = 0};
    float *cost = pith_alloc(ctx, PITH_MAX(dim, 1u) * sizeof *cost);
    pith_status status = cost ? fit_of(ctx, x, n, dim, k, nonzeros, cost, &f) : pith_alloc_status(ctx);
    if (!status && k > n) status = pith_fail(ctx, PITH_E_ARGUMENT, "%zu atoms for %zu vectors", k, n);
    f.atoms = atoms;
    f.index = status ? NULL : pith_alloc(ctx, n * nonzeros * sizeof *f.index);
    f.value = status ? NULL : pith_alloc(ctx, n * nonzeros * sizeof *f.value);
    if (!status && (!f.index || !f.value)) status = pith_alloc_status(ctx);
    vq_set set = {ctx, x, cost, n, dim, 1};
    if (!status) status = vq_fit(&set, k, 5, seed, atoms);
    for (unsigned round = 0; round < rounds && !status; round++) {
        status = atoms_pursue(&f);
        if (!status) status = atoms_refit(&f, true);
    }
    pith_free(ctx, f.index);
    pith_free(ctx, f.value);
    pith_free(ctx, cost);
    return status;
}

pith_status repr_atoms_code(pith_ctx *ctx, const float *x, size_t n, size_t dim, const float *atoms, size_t k,
                            size_t nonzeros, uint16_t *index, float *value) {
    atoms_fit f = {.n = 0};
    float *cost = pith_alloc(ctx, PITH_MAX(dim, 1u) * sizeof *cost);
    pith_status status = cost ? fit_of(ctx, x, n, dim, k, nonzeros, cost, &f) : pith_alloc_status(ctx);
    f.atoms = (float *)(uintptr_t)atoms; /* read only: pursuit changes codes alone */
    f.index = index;
    f.value = value;
    if (!status) status = atoms_pursue(&f);
    pith_free(ctx, cost);
    return status;
}
