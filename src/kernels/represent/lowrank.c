/* W = A B with thin A and B, and |W| = A B with W's signs (BitStack, Wang et al. 2024, section 3.1).
 *
 * A is coded first and B fitted to what A became: rounding both apart would count its noise twice. The product adds
 * its terms in order of k, each product rounded before it is added. */
#include <math.h>

#include "kernels/represent/vectors.h"
#include "math/dense/dense.h"
#include "math/math.h"

#define TINY 1e-7 /* keeps dependent columns of a first factor from dividing by nothing */

/* From shape and recipe alone: both sides know it. */
static size_t rank_of(const repr_job *job, const repr_matrix *w) {
    size_t least = PITH_MIN(w->rows, w->cols);
    double rank = job->args->value[LOWRANK_RANK];
    if (!(rank > 0))
        rank = floor(job->args->value[LOWRANK_RATIO] * (double)w->rows * (double)w->cols / (double)(w->rows + w->cols));
    return rank < 1 ? 1 : rank > (double)least ? least : (size_t)rank;
}

/* The inputs of A are z = B x: mean z z^T = B H B^T, and its diagonal. Both arrays are NULL when H is not known. */
static pith_status inner_stats(const repr_job *job, const float *b, size_t r, size_t cols, float **h, float **gram) {
    const repr_stats *stats = job->stats;
    *h = *gram = NULL;
    if (!stats->gram) return PITH_OK;
    pith_ctx *ctx = job->ctx;
    float *full = pith_alloc(ctx, cols * cols * sizeof *full), *bh = pith_alloc(ctx, r * cols * sizeof *bh),
          *zz = pith_alloc(ctx, r * r * sizeof *zz);
    *h = pith_alloc(ctx, r * sizeof **h);
    *gram = pith_alloc(ctx, DENSE_PACKED(r) * sizeof **gram);
    pith_status status = full && bh && zz && *h && *gram ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        dense_unpack(stats->gram, cols, full);
        dense_gemm(false, false, r, cols, cols, 1, b, cols, full, cols, 0, bh, cols);
        dense_gemm(false, true, r, r, cols, 1, bh, cols, b, cols, 0, zz, r);
        for (size_t i = 0; i < r; i++) {
            (*h)[i] = zz[i * r + i];
            for (size_t j = 0; j <= i; j++) (*gram)[i * (i + 1) / 2 + j] = zz[i * r + j];
        }
    }
    pith_free(ctx, full);
    pith_free(ctx, bh);
    pith_free(ctx, zz);
    return status;
}

/* A through the recipe's chain, B fitted again, B through the chain. */
static pith_status encode_factors(const repr_job *job, const repr_matrix *w, size_t r, float *a, float *b,
                                  pith_buffer *out) {
    pith_ctx *ctx = job->ctx;
    size_t most = r * PITH_MAX(w->rows, w->cols);
    float *h = NULL, *gram = NULL, *rounded = pith_alloc(ctx, most * sizeof *rounded);
    pith_status status = rounded ? inner_stats(job, b, r, w->cols, &h, &gram) : pith_alloc_status(ctx);
    const repr_stats stats = {.h = h, .gram = gram, .n_tokens = job->stats->n_tokens};
    repr_job inner = *job;
    inner.stats = &stats;
    if (!status) status = repr_branch_encode(&inner, LOWRANK_FACTORS, &(repr_matrix){a, w->rows, r}, out, rounded);
    if (!status) status = lowrank_refit(ctx, w->data, w->rows, w->cols, r, TINY, rounded, b);
    if (!status) status = repr_branch_encode(job, LOWRANK_FACTORS, &(repr_matrix){b, r, w->cols}, out, rounded);
    pith_free(ctx, rounded);
    pith_free(ctx, h);
    pith_free(ctx, gram);
    return status;
}

static pith_status encode_halves(pith_ctx *ctx, const repr_matrix *w, size_t r, float *a, float *b, pith_buffer *out) {
    pith_status status = vectors_put(ctx, out, a, w->rows * r);
    if (!status) status = lowrank_refit(ctx, w->data, w->rows, w->cols, r, TINY, a, b);
    if (!status) status = vectors_put(ctx, out, b, r * w->cols);
    return status;
}

static pith_status decode(const repr_job *job, repr_reader *in, repr_matrix *w) {
    pith_ctx *ctx = job->ctx;
    size_t r = rank_of(job, w);
    float *a = NULL, *b = NULL;
    pith_status status = PITH_OK;
    if (job->args->branch[LOWRANK_FACTORS]) {
        a = pith_alloc(ctx, w->rows * r * sizeof *a);
        b = pith_alloc(ctx, r * w->cols * sizeof *b);
        if (!a || !b) status = pith_alloc_status(ctx);
        if (!status) status = repr_branch_decode(job, LOWRANK_FACTORS, in, &(repr_matrix){a, w->rows, r});
        if (!status) status = repr_branch_decode(job, LOWRANK_FACTORS, in, &(repr_matrix){b, r, w->cols});
    } else {
        status = vectors_take(ctx, in, w->rows * r, "the factors of lowrank", &a);
        if (!status) status = vectors_take(ctx, in, r * w->cols, "the factors of lowrank", &b);
    }
    if (!status) {
        memset(w->data, 0, w->rows * w->cols * sizeof *w->data);
        exact()->matmul(w->data, w->cols, a, r, 1, b, w->cols, w->rows, w->cols, r);
    }
    pith_free(ctx, a);
    pith_free(ctx, b);
    return status;
}

static pith_status encode(const repr_job *job, const repr_matrix *w, pith_buffer *out, float *restored) {
    pith_ctx *ctx = job->ctx;
    size_t r = rank_of(job, w), start = out->size;
    pith_status status = vectors_check(job, w);
    if (status) return status;
    float *a = pith_alloc(ctx, w->rows * r * sizeof *a), *b = pith_alloc(ctx, r * w->cols * sizeof *b);
    status = a && b ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        lowrank_white white = (lowrank_white)job->args->value[LOWRANK_WHITE];
        status = lowrank_fit(ctx, w->data, w->rows, w->cols, r, white, job->stats, a, b);
    }
    if (!status)
        status = job->args->branch[LOWRANK_FACTORS] ? encode_factors(job, w, r, a, b, out)
                                                    : encode_halves(ctx, w, r, a, b, out);
    pith_free(ctx, a);
    pith_free(ctx, b);
    return status ? status : vectors_restore(job, decode, out, start, w, restored);
}

const repr_ops lowrank_ops = {.kind = REPR_CODER, .encode = encode, .decode = decode};

/* ---- signs and a product for the magnitudes ------------------------------------------------------- */

static size_t sign_rank(const repr_job *job, const repr_matrix *w) {
    return PITH_MIN((size_t)job->args->value[SIGNLOWRANK_RANK], PITH_MIN(w->rows, w->cols));
}

static pith_status sign_decode(const repr_job *job, repr_reader *in, repr_matrix *w) {
    pith_ctx *ctx = job->ctx;
    size_t r = sign_rank(job, w), n = w->rows * w->cols;
    float *a = NULL, *b = NULL, *signs = NULL;
    pith_status status = vectors_take(ctx, in, w->rows * r, "the magnitudes of signlowrank", &a);
    if (!status) status = vectors_take(ctx, in, r * w->cols, "the magnitudes of signlowrank", &b);
    if (!status && !(signs = pith_alloc(ctx, n * sizeof *signs))) status = pith_alloc_status(ctx);
    if (!status) status = vectors_take_signs(job, in, signs, n, w->cols);
    if (!status) {
        memset(w->data, 0, n * sizeof *w->data);
        exact()->matmul(w->data, w->cols, a, r, 1, b, w->cols, w->rows, w->cols, r);
        exact()->mul(w->data, w->data, signs, n);
    }
    pith_free(ctx, a);
    pith_free(ctx, b);
    pith_free(ctx, signs);
    return status;
}

static pith_status sign_encode(const repr_job *job, const repr_matrix *w, pith_buffer *out, float *restored) {
    pith_ctx *ctx = job->ctx;
    size_t r = sign_rank(job, w), n = w->rows * w->cols, start = out->size;
    pith_status status = vectors_check(job, w);
    if (status) return status;
    float *a = pith_alloc(ctx, w->rows * r * sizeof *a), *b = pith_alloc(ctx, r * w->cols * sizeof *b),
          *size = pith_alloc(ctx, n * sizeof *size);
    status = a && b && size ? PITH_OK : pith_alloc_status(ctx);
    for (size_t i = 0; !status && i < n; i++) size[i] = fabsf(w->data[i]);
    const repr_matrix magnitudes = {size, w->rows, w->cols};
    if (!status) status = lowrank_fit(ctx, size, w->rows, w->cols, r, LOWRANK_DIAG, job->stats, a, b);
    if (!status) status = encode_halves(ctx, &magnitudes, r, a, b, out);
    if (!status) status = vectors_put_signs(job, out, w->data, n, w->cols);
    pith_free(ctx, a);
    pith_free(ctx, b);
    pith_free(ctx, size);
    return status ? status : vectors_restore(job, sign_decode, out, start, w, restored);
}

const repr_ops signlowrank_ops = {.kind = REPR_CODER, .encode = sign_encode, .decode = sign_decode};
