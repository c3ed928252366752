/* What is done with distances: order, the vote of the nearest, rank correlation. */
#include <math.h>

#include "lm/distance/distance.h"

typedef struct ranked {
    double key;
    size_t index;
} ranked;

static int compare(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->key < y->key) return -1;
    if (x->key > y->key) return 1;
    return (x->index > y->index) - (x->index < y->index);
}

static pith_status sorted(pith_ctx *ctx, const double *key, size_t n, double sign, ranked **out) {
    if (n > SIZE_MAX / sizeof **out - 1) return pith_fail(ctx, PITH_E_LIMIT, "%zu texts are too many", n);
    *out = pith_alloc(ctx, (n + 1) * sizeof **out);
    if (!*out) return pith_alloc_status(ctx);
    for (size_t i = 0; i < n; i++) (*out)[i] = (ranked){isnan(key[i]) ? INFINITY : sign * key[i], i};
    qsort(*out, n, sizeof **out, compare);
    return PITH_OK;
}

pith_status distance_order(pith_ctx *ctx, const double *key, size_t n, bool largest, size_t *order) {
    ranked *r;
    pith_status status = sorted(ctx, key, n, largest ? -1 : 1, &r);
    if (status) return status;
    for (size_t i = 0; i < n; i++) order[i] = r[i].index;
    pith_free(ctx, r);
    return PITH_OK;
}

pith_status distance_vote(pith_ctx *ctx, const double *d, const uint32_t *labels, size_t n, size_t k, uint32_t n_labels,
                          uint32_t *label) {
    if (n == 0 || k == 0) return pith_fail(ctx, PITH_E_ARGUMENT, "a vote needs at least one text");
    ranked *r;
    pith_status status = sorted(ctx, d, n, 1, &r);
    if (status) return status;
    uint32_t *votes = pith_zalloc(ctx, PITH_MAX(n_labels, 1u) * sizeof *votes);
    if (!votes) {
        pith_free(ctx, r);
        return pith_alloc_status(ctx);
    }
    k = PITH_MIN(k, n);
    for (size_t i = 0; i < k; i++) votes[labels[r[i].index]]++;
    /* from the nearest on, so that among equals the nearer comes first */
    *label = labels[r[0].index];
    for (size_t i = 1; i < k; i++)
        if (votes[labels[r[i].index]] > votes[*label]) *label = labels[r[i].index];
    pith_free(ctx, votes);
    pith_free(ctx, r);
    return PITH_OK;
}

static pith_status ranks_of(pith_ctx *ctx, const double *v, size_t n, double *rank) {
    ranked *r;
    pith_status status = sorted(ctx, v, n, 1, &r);
    if (status) return status;
    for (size_t i = 0; i < n;) {
        size_t j = i;
        while (j < n && r[j].key == r[i].key) j++;
        for (size_t k = i; k < j; k++) rank[r[k].index] = (double)(i + j - 1) / 2;
        i = j;
    }
    pith_free(ctx, r);
    return PITH_OK;
}

pith_status distance_spearman(pith_ctx *ctx, const double *a, const double *b, size_t n, double *rho) {
    *rho = 0;
    if (n < 2) return PITH_OK;
    if (n > SIZE_MAX / 64) return pith_fail(ctx, PITH_E_LIMIT, "%zu values are too many", n);
    double *ra = pith_alloc(ctx, 2 * n * sizeof *ra);
    if (!ra) return pith_alloc_status(ctx);
    double *rb = ra + n, mean = (double)(n - 1) / 2, ab = 0, aa = 0, bb = 0;
    pith_status status = ranks_of(ctx, a, n, ra);
    if (!status) status = ranks_of(ctx, b, n, rb);
    for (size_t i = 0; i < n && !status; i++) {
        ab += (ra[i] - mean) * (rb[i] - mean);
        aa += (ra[i] - mean) * (ra[i] - mean);
        bb += (rb[i] - mean) * (rb[i] - mean);
    }
    if (aa > 0 && bb > 0) *rho = ab / sqrt(aa * bb);
    pith_free(ctx, ra);
    return status;
}
