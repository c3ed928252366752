/* Neighbouring weights of a row share one index into a codebook of the matrix: vector quantisation by weighted k-means
 * (NoWag-VQ; with dim = 1 a table of values). Rows are filled up with weights that cost nothing. */
#include <math.h>

#include "kernels/represent/vectors.h"

typedef struct vq_shape {
    size_t dim, groups, n, k; /* groups in a row, n = rows * groups vectors, k entries */
} vq_shape;

static pith_status shape_of(const repr_job *job, const repr_matrix *w, vq_shape *s) {
    *s = (vq_shape){.dim = (size_t)job->args->value[VQ_DIM]};
    double bits = nearbyint(job->args->value[VQ_BITS] * (double)s->dim);
    if (bits > 16)
        return pith_fail(job->ctx, PITH_E_ARGUMENT,
                         "vq: %g bits for each of %zu weights make an index of more than 16 bits",
                         job->args->value[VQ_BITS], s->dim);
    s->groups = (w->cols + s->dim - 1) / s->dim;
    s->n = w->rows * s->groups;
    s->k = PITH_MIN((size_t)1 << (bits < 1 ? 1 : (unsigned)bits), PITH_MAX(s->n, 2u));
    return PITH_OK;
}

static pith_status decode(const repr_job *job, repr_reader *in, repr_matrix *w) {
    pith_ctx *ctx = job->ctx;
    vq_shape s;
    pith_status status = shape_of(job, w, &s);
    if (status) return status;
    float *codebook = NULL;
    status = vectors_take(ctx, in, s.k * s.dim, "the codebook of vq", &codebook);
    uint16_t *codes = status ? NULL : pith_alloc(ctx, PITH_MAX(s.n, 1u) * sizeof *codes);
    if (!status && !codes) status = pith_alloc_status(ctx);
    if (!status) status = repr_unpack(job, in, codes, s.n, s.groups, (uint32_t)s.k);
    for (size_t i = 0; !status && i < s.n; i++) {
        size_t first = i % s.groups * s.dim;
        memcpy(w->data + i / s.groups * w->cols + first, codebook + codes[i] * s.dim,
               PITH_MIN(s.dim, w->cols - first) * sizeof *codebook);
    }
    pith_free(ctx, codebook);
    pith_free(ctx, codes);
    return status;
}

static pith_status encode(const repr_job *job, const repr_matrix *w, pith_buffer *out, float *restored) {
    pith_ctx *ctx = job->ctx;
    vq_shape s;
    pith_status status = shape_of(job, w, &s);
    if (!status) status = vectors_check(job, w);
    if (status || s.n == 0) return status;
    size_t wide = s.groups * s.dim, start = out->size;
    float *x = pith_zalloc(ctx, w->rows * wide * sizeof *x), *cost = pith_zalloc(ctx, wide * sizeof *cost),
          *codebook = pith_alloc(ctx, s.k * s.dim * sizeof *codebook);
    uint16_t *codes = pith_alloc(ctx, s.n * sizeof *codes);
    status = x && cost && codebook && codes ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        bool weighted = vectors_costs(job->stats, w->cols, cost) || wide > w->cols;
        for (size_t i = 0; i < w->rows; i++) memcpy(x + i * wide, w->data + i * w->cols, w->cols * sizeof *x);
        vq_set set = {ctx, x, weighted ? cost : NULL, s.n, s.dim, s.groups};
        status = vq_fit(&set, s.k, (unsigned)job->args->value[VQ_ITERATIONS], job->seed, codebook);
        if (!status) status = vectors_put(ctx, out, codebook, s.k * s.dim);
        if (!status) status = vq_assign(&set, codebook, s.k, codes);
    }
    if (!status) status = repr_pack(job, &(repr_plane){codes, s.n, s.groups, (uint32_t)s.k}, out);
    pith_free(ctx, x);
    pith_free(ctx, cost);
    pith_free(ctx, codebook);
    pith_free(ctx, codes);
    return status ? status : vectors_restore(job, decode, out, start, w, restored);
}

const repr_ops vq_ops = {.kind = REPR_CODER, .encode = encode, .decode = decode};
