/* What the statistics of inputs x become when a transform makes other inputs of them: H' = R H R^T for x' = R x, so
 * that tr(W' H' W'^T) = tr(W H W^T) for W' = W R^-1. Without a Gram matrix inputs count as uncorrelated:
 * h'_j = sum over k of R_jk^2 h_k. */
#include "kernels/represent/transform_parts.h"
#include "math/dense/dense.h"

pith_status transform_powers(const repr_job *job, size_t cols, const float **h, float **own) {
    *own = NULL;
    *h = job->stats->h;
    if (*h || !job->stats->gram) return PITH_OK;
    if (!(*own = pith_alloc(job->ctx, cols * sizeof **own))) return pith_alloc_status(job->ctx);
    for (size_t i = 0; i < cols; i++) (*own)[i] = job->stats->gram[DENSE_PACKED(i) + i];
    *h = *own;
    return PITH_OK;
}

/* New arrays where there are old ones, in *stats. */
static pith_status renew(const repr_job *job, size_t cols, repr_stats *stats, float **h, float **gram) {
    *h = *gram = NULL;
    if (job->stats->h && !(*h = pith_zalloc(job->ctx, cols * sizeof **h))) return pith_alloc_status(job->ctx);
    if (job->stats->gram && !(*gram = pith_alloc(job->ctx, DENSE_PACKED(cols) * sizeof **gram))) {
        pith_free(job->ctx, *h);
        return pith_alloc_status(job->ctx);
    }
    if (*h) stats->h = *h;
    if (*gram) stats->gram = *gram;
    return PITH_OK;
}

pith_status transform_stats_scale(const repr_job *job, size_t cols, const float *f, repr_stats *stats) {
    const repr_stats old = *job->stats;
    float *h, *gram;
    pith_status status = renew(job, cols, stats, &h, &gram);
    if (status) return status;
    for (size_t i = 0; i < cols && h; i++) h[i] = old.h[i] * (f[i] * f[i]);
    for (size_t i = 0; i < cols && gram; i++)
        for (size_t j = 0; j <= i; j++) gram[DENSE_PACKED(i) + j] = old.gram[DENSE_PACKED(i) + j] * (f[i] * f[j]);
    return PITH_OK;
}

pith_status transform_stats_order(const repr_job *job, size_t cols, const uint32_t *order, repr_stats *stats) {
    const repr_stats old = *job->stats;
    float *h, *gram;
    pith_status status = renew(job, cols, stats, &h, &gram);
    if (status) return status;
    for (size_t i = 0; i < cols && h; i++) h[i] = old.h[order[i]];
    for (size_t i = 0; i < cols && gram; i++)
        for (size_t j = 0; j <= i; j++) {
            size_t a = PITH_MAX(order[i], order[j]), b = PITH_MIN(order[i], order[j]);
            gram[DENSE_PACKED(i) + j] = old.gram[DENSE_PACKED(a) + b];
        }
    return PITH_OK;
}

/* R H R^T: R on the rows of H, on the columns by way of the transposed matrix. */
static pith_status rotate_gram(const repr_job *job, size_t cols, transform_rotate_fn rotate, const float *old,
                               float *gram) {
    float *full = pith_alloc(job->ctx, cols * cols * sizeof *full);
    if (!full) return pith_alloc_status(job->ctx);
    dense_unpack(old, cols, full);
    pith_status status = rotate(job, full, cols, cols);
    for (size_t i = 0; i < cols && !status; i++)
        for (size_t j = 0; j < i; j++) {
            float v = full[i * cols + j];
            full[i * cols + j] = full[j * cols + i];
            full[j * cols + i] = v;
        }
    if (!status) status = rotate(job, full, cols, cols);
    for (size_t i = 0; i < cols && !status; i++)
        memcpy(gram + DENSE_PACKED(i), full + i * cols, (i + 1) * sizeof *gram);
    pith_free(job->ctx, full);
    return status;
}

/* Column k of R is what becomes of unit vector k. */
static pith_status rotate_powers(const repr_job *job, size_t cols, transform_rotate_fn rotate, const float *old,
                                 float *h) {
    float *unit = pith_alloc(job->ctx, cols * sizeof *unit);
    pith_status status = unit ? PITH_OK : pith_alloc_status(job->ctx);
    for (size_t k = 0; k < cols && !status; k++) {
        memset(unit, 0, cols * sizeof *unit);
        unit[k] = 1;
        status = rotate(job, unit, 1, cols);
        for (size_t j = 0; j < cols && !status; j++) h[j] += unit[j] * unit[j] * old[k];
    }
    pith_free(job->ctx, unit);
    return status;
}

pith_status transform_stats_rotate(const repr_job *job, size_t cols, transform_rotate_fn rotate, repr_stats *stats) {
    const repr_stats old = *job->stats;
    float *h, *gram;
    pith_status status = renew(job, cols, stats, &h, &gram);
    if (!status && gram) status = rotate_gram(job, cols, rotate, old.gram, gram);
    if (!status && h && !gram) status = rotate_powers(job, cols, rotate, old.h, h);
    for (size_t i = 0; i < cols && !status && h && gram; i++) h[i] = gram[DENSE_PACKED(i) + i];
    return status;
}
