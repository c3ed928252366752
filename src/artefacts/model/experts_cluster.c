/* Clusters of equal size by k-means, in which items take their places in the order of how much they have to lose: the
 * gap between the best and the second best centre. Only products of items are needed: a centre is the mean of its
 * members, x . c = sum of x . member / size. Deterministic. */
#include <math.h>

#include "artefacts/model/experts_parts.h"

#define MOST_ROUNDS 30u

typedef struct cluster_job {
    const float *gram; /* [n][n] */
    size_t n, k, size;
    uint32_t *in;    /* [n] cluster of an item */
    float *nearness; /* [n][k] 2 x . c - |c|^2 */
    size_t *left;    /* [k] places */
    struct gap {
        float gap;
        uint32_t item;
    } * gaps; /* [n] */
} cluster_job;

static int widest_first(const void *a, const void *b) {
    const struct gap *x = a, *y = b;
    if (x->gap != y->gap) return x->gap < y->gap ? 1 : -1;
    return (x->item > y->item) - (x->item < y->item);
}

static void place(cluster_job *j) {
    for (size_t i = 0; i < j->n; i++) {
        float best = -INFINITY, second = -INFINITY;
        for (size_t c = 0; c < j->k; c++) {
            float v = j->nearness[i * j->k + c];
            if (v > best) {
                second = best;
                best = v;
            } else if (v > second) {
                second = v;
            }
        }
        j->gaps[i] = (struct gap){best - second, (uint32_t)i};
    }
    qsort(j->gaps, j->n, sizeof *j->gaps, widest_first);
    for (size_t c = 0; c < j->k; c++) j->left[c] = j->size;
    for (size_t g = 0; g < j->n; g++) {
        size_t i = j->gaps[g].item, best = SIZE_MAX;
        for (size_t c = 0; c < j->k; c++)
            if (j->left[c] && (best == SIZE_MAX || j->nearness[i * j->k + c] > j->nearness[i * j->k + best])) best = c;
        j->in[i] = (uint32_t)best;
        j->left[best]--;
    }
}

/* Centres one after the other, each the item farthest from those before. */
static void first_centres(cluster_job *j, uint32_t *centre) {
    size_t n = j->n;
    centre[0] = 0;
    for (size_t i = 1; i < n; i++)
        if (j->gram[i * n + i] > j->gram[centre[0] * n + centre[0]]) centre[0] = (uint32_t)i;
    for (size_t c = 1; c < j->k; c++) {
        float farthest = -1;
        centre[c] = (uint32_t)c; /* distances of huge numbers may be none */
        for (size_t i = 0; i < n; i++) {
            float nearest = INFINITY;
            for (size_t b = 0; b < c; b++) {
                size_t at = centre[b];
                float d = j->gram[i * n + i] + j->gram[at * n + at] - 2 * j->gram[i * n + at];
                nearest = PITH_MIN(nearest, d);
            }
            if (nearest > farthest) {
                farthest = nearest;
                centre[c] = (uint32_t)i;
            }
        }
    }
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < j->k; c++)
            j->nearness[i * j->k + c] = 2 * j->gram[i * n + centre[c]] - j->gram[centre[c] * n + centre[c]];
}

static void move_centres(cluster_job *j) {
    size_t n = j->n, k = j->k;
    memset(j->nearness, 0, n * k * sizeof *j->nearness);
    for (size_t i = 0; i < n; i++)
        for (size_t b = 0; b < n; b++) j->nearness[i * k + j->in[b]] += j->gram[i * n + b] / (float)j->size;
    for (size_t c = 0; c < k; c++) {
        float square = 0; /* |c|^2 is the mean of x . c over the members */
        for (size_t i = 0; i < n; i++)
            if (j->in[i] == c) square += j->nearness[i * k + c] / (float)j->size;
        for (size_t i = 0; i < n; i++) j->nearness[i * k + c] = 2 * j->nearness[i * k + c] - square;
    }
}

static void cluster(cluster_job *j, uint32_t *before) {
    first_centres(j, before);
    for (unsigned round = 0; round < MOST_ROUNDS; round++) {
        place(j);
        if (round && memcmp(before, j->in, j->n * sizeof *before) == 0) break;
        memcpy(before, j->in, j->n * sizeof *before);
        move_centres(j);
    }
}

pith_status experts_cluster(pith_ctx *ctx, const float *gram, size_t n, size_t n_clusters, uint32_t *order) {
    cluster_job j = {.gram = gram, .n = n, .k = n_clusters, .size = n / n_clusters};
    for (size_t i = 0; i < n * n; i++)
        if (!isfinite(gram[i])) return pith_fail(ctx, PITH_E_CHECK, "split: what neurons carry is not finite");
    uint32_t *before = pith_alloc(ctx, PITH_MAX(n, n_clusters) * sizeof *before);
    j.in = pith_alloc(ctx, n * sizeof *j.in);
    j.nearness = pith_alloc(ctx, n * n_clusters * sizeof *j.nearness);
    j.left = pith_alloc(ctx, n_clusters * sizeof *j.left);
    j.gaps = pith_alloc(ctx, n * sizeof *j.gaps);
    bool have = before && j.in && j.nearness && j.left && j.gaps;
    pith_status status = have ? PITH_OK : pith_alloc_status(ctx);
    if (have) {
        cluster(&j, before);
        size_t at = 0;
        for (size_t c = 0; c < n_clusters; c++)
            for (size_t i = 0; i < n; i++)
                if (j.in[i] == c) order[at++] = (uint32_t)i;
    }
    void *owned[] = {before, j.in, j.nearness, j.left, j.gaps};
    for (size_t i = 0; i < PITH_COUNT(owned); i++) pith_free(ctx, owned[i]);
    return status;
}
