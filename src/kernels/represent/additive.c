/* Groups of neighbouring weights as sums of entries of several codebooks, chosen for the error of the outputs (AQLM,
 * Egiazarian et al. 2024).
 *
 * Codebooks start from k-means on what is left, one after the other; then (1) codebooks and row scales, (2) codes are
 * improved in turn. Where the paper takes steps of Adam for (1), this solves the least squares by conjugate gradients.
 * The bytes are row scales and codebooks as halves, then a plane of codes for each codebook. */
#include "kernels/represent/additive.h"

#include <math.h>

enum { INIT_ITERATIONS = 30 };

typedef struct aq_shape {
    size_t dim, groups, n, k, n_books; /* n = rows * groups */
} aq_shape;

static aq_shape shape_of(const repr_job *job, const repr_matrix *w) {
    const double *value = job->args->value;
    aq_shape s = {.dim = (size_t)value[AQ_DIM], .n_books = (size_t)value[AQ_CODEBOOKS]};
    s.k = (size_t)1 << (unsigned)value[AQ_BITS];
    s.groups = (w->cols + s.dim - 1) / s.dim;
    s.n = w->rows * s.groups;
    return s;
}

static pith_status decode(const repr_job *job, repr_reader *in, repr_matrix *w) {
    pith_ctx *ctx = job->ctx;
    aq_shape s = shape_of(job, w);
    float *scale = NULL, *codebook = NULL;
    pith_status status = vectors_take(ctx, in, w->rows, "the scales of aq", &scale);
    if (!status) status = vectors_take(ctx, in, s.n_books * s.k * s.dim, "the codebooks of aq", &codebook);
    uint16_t *codes = status ? NULL : pith_alloc(ctx, s.n * sizeof *codes);
    if (!status && !codes) status = pith_alloc_status(ctx);
    memset(w->data, 0, w->rows * w->cols * sizeof *w->data);
    for (size_t m = 0; m < s.n_books && !status; m++) {
        status = repr_unpack(job, in, codes, s.n, s.groups, (uint32_t)s.k);
        for (size_t i = 0; !status && i < s.n; i++) {
            size_t first = i % s.groups * s.dim, n = PITH_MIN(s.dim, w->cols - first);
            float *to = w->data + i / s.groups * w->cols + first;
            const float *entry = codebook + (m * s.k + codes[i]) * s.dim;
            for (size_t j = 0; j < n; j++) to[j] += entry[j];
        }
    }
    for (size_t i = 0; i < w->rows && !status; i++)
        for (size_t j = 0; j < w->cols; j++) w->data[i * w->cols + j] *= scale[i];
    pith_free(ctx, scale);
    pith_free(ctx, codebook);
    pith_free(ctx, codes);
    return status;
}

/* Scales are the roots of mean squares; rows of zeros get 0. */
static void first_scales(additive *a, size_t cols) {
    for (size_t i = 0; i < a->rows; i++) {
        double sum = 0;
        for (size_t j = 0; j < cols; j++) sum += (double)a->w[i * a->n + j] * (double)a->w[i * a->n + j];
        a->scale[i] = (float)sqrt(sum / (double)cols);
    }
}

static pith_status fit(const repr_job *job, additive *a, size_t cols) {
    first_scales(a, cols);
    pith_status status = vectors_round(a->ctx, a->scale, a->rows);
    if (!status) status = additive_init(a, INIT_ITERATIONS);
    double loss, last = 0;
    unsigned rounds = (unsigned)job->args->value[AQ_ROUNDS];
    for (unsigned round = 0; !status && round < rounds; round++) {
        status = additive_refit(a, &loss);
        if (status || (round && last - loss < job->args->value[AQ_TOLERANCE] * last)) break;
        last = loss;
        status = additive_beam(a, (size_t)job->args->value[AQ_BEAM]);
        if (!status && round + 1 == rounds) status = additive_refit(a, &loss);
    }
    return status;
}

static pith_status write_codes(const repr_job *job, const additive *a, pith_buffer *out) {
    size_t n = a->rows * a->groups;
    pith_status status = vectors_put(a->ctx, out, a->scale, a->rows);
    if (!status) status = vectors_put(a->ctx, out, a->codebook, a->n_books * a->k * a->dim);
    for (size_t m = 0; m < a->n_books && !status; m++)
        status = repr_pack(job, &(repr_plane){a->codes + m * n, n, a->groups, (uint32_t)a->k}, out);
    return status;
}

static pith_status encode(const repr_job *job, const repr_matrix *w, pith_buffer *out, float *restored) {
    pith_ctx *ctx = job->ctx;
    aq_shape s = shape_of(job, w);
    size_t start = out->size, n = s.groups * s.dim;
    pith_status status = vectors_check(job, w);
    if (status) return status;
    additive a = {.ctx = ctx,
                  .rows = w->rows,
                  .n = n,
                  .groups = s.groups,
                  .dim = s.dim,
                  .k = s.k,
                  .n_books = s.n_books,
                  .random = job->seed};
    float *gram = NULL;
    a.diagonal = pith_zalloc(ctx, n * sizeof *a.diagonal);
    a.w = pith_zalloc(ctx, a.rows * n * sizeof *a.w);
    a.scale = pith_alloc(ctx, a.rows * sizeof *a.scale);
    a.codebook = pith_alloc(ctx, a.n_books * a.k * a.dim * sizeof *a.codebook);
    a.codes = pith_alloc(ctx, a.n_books * s.n * sizeof *a.codes);
    if (!a.diagonal || !a.w || !a.scale || !a.codebook || !a.codes) status = pith_alloc_status(ctx);
    if (!status && job->stats->gram && !(gram = pith_alloc(ctx, n * n * sizeof *gram))) status = pith_alloc_status(ctx);
    if (!status) {
        if (gram) lowrank_gram(job->stats, w->cols, n, gram);
        a.gram = gram;
        vectors_costs(job->stats, w->cols, a.diagonal);
        if (gram)
            for (size_t j = 0; j < w->cols; j++) a.diagonal[j] = gram[j * n + j];
        for (size_t i = 0; i < a.rows; i++) memcpy(a.w + i * n, w->data + i * w->cols, w->cols * sizeof *a.w);
        status = fit(job, &a, w->cols);
    }
    if (!status) status = write_codes(job, &a, out);
    pith_free(ctx, gram);
    pith_free(ctx, a.diagonal);
    pith_free(ctx, a.w);
    pith_free(ctx, a.scale);
    pith_free(ctx, a.codebook);
    pith_free(ctx, a.codes);
    return status ? status : vectors_restore(job, decode, out, start, w, restored);
}

const repr_ops additive_ops = {.kind = REPR_CODER, .encode = encode, .decode = decode};
