/* Codes of `aq`, codebooks and scales being fixed: group by group, the best sum of entries v for
 *   v^T H_gg v - 2 <t, v>,  t = (E H)_g / s + H_gg v_now,  E the error with v_now in place,
 * which is the exact change of the loss. One codebook after the other, in a random order, every entry is tried in the
 * place of the one before, and the `beam` best sums go on. A product of matrices scores all entries for many rows. */
#include <math.h>

#include "kernels/represent/additive.h"
#include "math/dense/dense.h"

enum { BLOCK = 128, ROWS_AT_ONCE = 128, MOST_BOOKS = 8, MOST_BEAM = 16, MOST_DIM = 32 };

/* A choice of codes of one group of one row. */
typedef struct choice {
    float v[MOST_DIM];
    uint16_t codes[MOST_BOOKS];
} choice;

typedef struct beam_sweep {
    additive *a;
    size_t beam, first, wide; /* columns of the block: first .. first + wide */
    size_t group;
    unsigned order[MOST_BOOKS];
    float *error;  /* [rows][n]: E */
    float *slope;  /* [rows][BLOCK]: E H, for the block's columns */
    float *inner;  /* [dim][dim]: H_gg */
    float *own;    /* [n_books][k]: c^T H_gg c */
    float *change; /* [rows][dim]: what E gets in the group's columns */
} beam_sweep;

static void times_inner(const beam_sweep *s, const float *v, float *out) {
    size_t dim = s->a->dim;
    for (size_t i = 0; i < dim; i++) {
        out[i] = 0;
        for (size_t j = 0; j < dim; j++) out[i] += s->inner[i * dim + j] * v[j];
    }
}

static float inner_dot(const float *x, const float *y, size_t n) {
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

/* The `beam` best of n_choices * k continuations of one row: replaces choices[], gives their number. */
static size_t keep_best(const additive *a, size_t book, size_t beam, choice *choices, size_t n_choices,
                        const float *without, const float *base, float *scores) {
    size_t dim = a->dim, k = a->k, n_next = 0, at[MOST_BEAM];
    choice next[MOST_BEAM];
    float least[MOST_BEAM]; /* of each choice's continuations, at[] */
    for (size_t b = 0; b < n_choices; b++) {
        at[b] = vq_smallest(scores + b * k, k);
        least[b] = base[b] + scores[b * k + at[b]];
    }
    for (; n_next < beam && n_next < n_choices * k; n_next++) {
        size_t b = vq_smallest(least, n_choices), c = at[b];
        next[n_next] = choices[b];
        next[n_next].codes[book] = (uint16_t)c;
        for (size_t j = 0; j < dim; j++)
            next[n_next].v[j] = without[b * dim + j] + a->codebook[(book * k + c) * dim + j];
        if (n_next + 1 == beam) continue;
        scores[b * k + c] = INFINITY;
        at[b] = vq_smallest(scores + b * k, k);
        least[b] = base[b] + scores[b * k + at[b]];
    }
    memcpy(choices, next, n_next * sizeof *next);
    return n_next;
}

static void start_choice(const beam_sweep *s, size_t row, choice *c, float *target) {
    const additive *a = s->a;
    size_t dim = a->dim, n = a->rows * a->groups, at = row * a->groups + s->group, column = s->group * dim - s->first;
    float hv[MOST_DIM];
    memset(c->v, 0, sizeof c->v);
    for (size_t m = 0; m < a->n_books; m++) {
        c->codes[m] = a->codes[m * n + at];
        for (size_t j = 0; j < dim; j++) c->v[j] += a->codebook[(m * a->k + c->codes[m]) * dim + j];
    }
    times_inner(s, c->v, hv);
    for (size_t j = 0; j < dim; j++) target[j] = s->slope[row * BLOCK + column + j] / a->scale[row] + hv[j];
}

static void finish_choice(const beam_sweep *s, size_t row, const float *before, const choice *c) {
    additive *a = s->a;
    size_t dim = a->dim, n = a->rows * a->groups, at = row * a->groups + s->group;
    for (size_t m = 0; m < a->n_books; m++) a->codes[m * n + at] = c->codes[m];
    for (size_t j = 0; j < dim; j++) {
        float d = a->scale[row] * (before[j] - c->v[j]);
        s->change[row * dim + j] = d;
        s->error[row * a->n + s->group * dim + j] += d;
    }
}

/* Rows part * ROWS_AT_ONCE and on, of one group. */
static pith_status beam_rows(void *opaque, size_t part) {
    const beam_sweep *s = opaque;
    const additive *a = s->a;
    size_t dim = a->dim, k = a->k, first = part * ROWS_AT_ONCE, end = PITH_MIN(first + ROWS_AT_ONCE, a->rows),
           rows = end - first, beam = s->beam;
    choice *choices = pith_alloc(a->ctx, rows * beam * sizeof *choices);
    float *numbers = pith_alloc(a->ctx, rows * (2 * dim + beam * (2 * dim + 1 + k)) * sizeof *numbers);
    if (!choices || !numbers) {
        pith_status status = pith_alloc_status(a->ctx);
        pith_free(a->ctx, choices);
        pith_free(a->ctx, numbers);
        return status;
    }
    float *target = numbers, *before = target + rows * dim, *without = before + rows * dim,
          *linear = without + rows * beam * dim, *base = linear + rows * beam * dim, *scores = base + rows * beam;
    size_t n_choices = 1;
    for (size_t i = 0; i < rows; i++) {
        start_choice(s, first + i, &choices[i * beam], target + i * dim);
        memcpy(before + i * dim, choices[i * beam].v, dim * sizeof *before);
    }
    for (size_t step = 0; step < a->n_books; step++) {
        size_t book = s->order[step];
        const float *entries = a->codebook + book * k * dim;
        for (size_t i = 0; i < rows; i++)
            for (size_t b = 0; b < n_choices; b++) {
                const choice *c = &choices[i * beam + b];
                float *rest = without + (i * n_choices + b) * dim, *line = linear + (i * n_choices + b) * dim,
                      hv[MOST_DIM];
                for (size_t j = 0; j < dim; j++) rest[j] = c->v[j] - entries[c->codes[book] * dim + j];
                times_inner(s, rest, hv);
                base[i * n_choices + b] = inner_dot(rest, hv, dim) - 2 * inner_dot(target + i * dim, rest, dim);
                for (size_t j = 0; j < dim; j++) line[j] = target[i * dim + j] - hv[j];
                memcpy(scores + (i * n_choices + b) * k, s->own + book * k, k * sizeof *scores);
            }
        dense_gemm(false, true, rows * n_choices, k, dim, -2, linear, dim, entries, dim, 1, scores, k);
        size_t next = 0;
        for (size_t i = 0; i < rows; i++)
            next = keep_best(a, book, beam, &choices[i * beam], n_choices, without + i * n_choices * dim,
                             base + i * n_choices, scores + i * n_choices * k);
        n_choices = next;
    }
    for (size_t i = 0; i < rows; i++) {
        size_t row = first + i;
        if (a->scale[row] != 0) /* the first choice is the best one */
            finish_choice(s, row, before + i * dim, &choices[i * beam]);
        else
            memset(s->change + row * dim, 0, dim * sizeof *s->change);
    }
    pith_free(a->ctx, choices);
    pith_free(a->ctx, numbers);
    return PITH_OK;
}

/* What the group's part of H makes of its entries. */
static void prepare_group(beam_sweep *s) {
    additive *a = s->a;
    size_t dim = a->dim, at = s->group * dim;
    float hv[MOST_DIM];
    for (size_t i = 0; i < dim; i++)
        for (size_t j = 0; j < dim; j++)
            s->inner[i * dim + j] = a->gram ? a->gram[(at + i) * a->n + at + j] : i == j ? a->diagonal[at + i] : 0;
    for (size_t c = 0; c < a->n_books * a->k; c++) {
        times_inner(s, a->codebook + c * dim, hv);
        s->own[c] = inner_dot(a->codebook + c * dim, hv, dim);
    }
    for (size_t m = 0; m < a->n_books; m++) s->order[m] = (unsigned)m;
    for (size_t m = a->n_books; m-- > 1;) {
        size_t other = vectors_random(&a->random) % (m + 1);
        unsigned kept = s->order[m];
        s->order[m] = s->order[other];
        s->order[other] = kept;
    }
}

static void block_slope(const beam_sweep *s) {
    const additive *a = s->a;
    if (a->gram) {
        dense_gemm(false, false, a->rows, s->wide, a->n, 1, s->error, a->n, a->gram + s->first, a->n, 0, s->slope,
                   BLOCK);
        return;
    }
    for (size_t i = 0; i < a->rows; i++)
        for (size_t j = 0; j < s->wide; j++)
            s->slope[i * BLOCK + j] = s->error[i * a->n + s->first + j] * a->diagonal[s->first + j];
}

static pith_status sweep(beam_sweep *s) {
    additive *a = s->a;
    size_t dim = a->dim, n_parts = (a->rows + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE, block = BLOCK / dim * dim;
    pith_status status = PITH_OK;
    for (s->first = 0; s->first < a->n && !status; s->first += block) {
        s->wide = PITH_MIN(block, a->n - s->first);
        block_slope(s);
        for (size_t at = s->first; at < s->first + s->wide && !status; at += dim) {
            s->group = at / dim;
            prepare_group(s);
            status = pith_parallel(a->ctx, n_parts, beam_rows, s);
            if (!status && a->gram)
                dense_gemm(false, false, a->rows, s->wide, dim, 1, s->change, dim, a->gram + at * a->n + s->first, a->n,
                           1, s->slope, BLOCK);
        }
    }
    return status;
}

pith_status additive_beam(additive *a, size_t beam) {
    size_t cells = a->rows * a->n;
    beam_sweep s = {.a = a, .beam = PITH_MIN(beam, (size_t)MOST_BEAM)};
    s.error = pith_alloc(a->ctx, cells * sizeof *s.error);
    s.slope = pith_alloc(a->ctx, a->rows * BLOCK * sizeof *s.slope);
    s.inner = pith_alloc(a->ctx, a->dim * a->dim * sizeof *s.inner);
    s.own = pith_alloc(a->ctx, a->n_books * a->k * sizeof *s.own);
    s.change = pith_alloc(a->ctx, a->rows * a->dim * sizeof *s.change);
    pith_status status = s.error && s.slope && s.inner && s.own && s.change ? PITH_OK : pith_alloc_status(a->ctx);
    if (!status) {
        additive_sum(a, a->codebook, true, s.error);
        for (size_t i = 0; i < cells; i++) s.error[i] = a->w[i] - s.error[i];
        status = sweep(&s);
    }
    pith_free(a->ctx, s.error);
    pith_free(a->ctx, s.slope);
    pith_free(a->ctx, s.inner);
    pith_free(a->ctx, s.own);
    pith_free(a->ctx, s.change);
    return status;
}
