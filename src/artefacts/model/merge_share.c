/* Which matrices should share a basis: groups are joined two at a time, the pair that saves most first. What a group
 * is, is kept as U diag(s) of its columns, so that joining two is one small decomposition. */
#include <math.h>

#include "artefacts/model/merge.h"

double merge_bound(const float *const *values, const size_t *n_values, size_t n, double energy, size_t r) {
    double known = 0;
    for (size_t i = 0; i < r; i++) {
        double most = 0;
        for (size_t j = 0; j < n; j++)
            if (i < n_values[j] && (double)values[j][i] > most) most = (double)values[j][i];
        known += most * most;
    }
    return known < energy ? energy - known : 0;
}

typedef struct cluster {
    float *basis; /* [rows][rank], U diag(s) */
    float *values;
    size_t rank, cols, needed; /* needed: for the tolerance */
    double energy, error;      /* error: predicted, relative, at `needed` */
    bool gone;
} cluster;

typedef struct clustering {
    pith_ctx *ctx;
    size_t rows, most; /* most: values kept of a group */
    double tolerance;
    cluster *list;
    size_t n;
} clustering;

static uint64_t cost(const clustering *k, const cluster *c) { return (uint64_t)c->needed * (k->rows + c->cols); }

static void cluster_free(pith_ctx *ctx, cluster *c) {
    pith_free(ctx, c->basis);
    pith_free(ctx, c->values);
    *c = (cluster){.gone = true};
}

/* The least rank whose predicted error is within the tolerance; what was dropped before counts as lost. */
static void settle(const clustering *k, cluster *c) {
    double left = c->energy, most = k->tolerance * k->tolerance * c->energy;
    c->needed = 0;
    while (c->needed < c->rank && left > most) {
        double v = (double)c->values[c->needed++];
        left -= v * v;
    }
    /* more than the estimate knows of: all columns, exact */
    if (left > most) c->needed = PITH_MIN(k->rows, c->cols), left = 0;
    c->error = c->energy > 0 && left > 0 ? sqrt(left / c->energy) : 0;
}

static pith_status take(clustering *k, dense_growing *g, cluster *c) {
    size_t rank = dense_growing_rank(g);
    c->rank = rank;
    c->basis = pith_alloc(k->ctx, k->rows * rank * sizeof *c->basis + 1);
    c->values = pith_alloc(k->ctx, rank * sizeof *c->values + 1);
    if (!c->basis || !c->values) return pith_alloc_status(k->ctx);
    memcpy(c->values, dense_growing_values(g), rank * sizeof *c->values);
    const float *u = dense_growing_vectors(g);
    for (size_t i = 0; i < k->rows; i++)
        for (size_t j = 0; j < rank; j++) c->basis[i * rank + j] = u[i * rank + j] * c->values[j];
    settle(k, c);
    return PITH_OK;
}

static pith_status single(clustering *k, const merge_matrix *m, cluster *c) {
    dense_growing *g;
    *c = (cluster){.cols = m->cols};
    for (size_t i = 0; i < k->rows * m->cols; i++) c->energy += (double)m->data[i] * (double)m->data[i];
    pith_status status = dense_growing_new(k->ctx, k->rows, k->most, &g);
    if (status) return status;
    status = dense_growing_add(k->ctx, g, m->data, m->cols, m->cols);
    if (!status) status = take(k, g, c);
    dense_growing_free(k->ctx, g);
    return status;
}

static pith_status joint(clustering *k, const cluster *a, const cluster *b, cluster *c) {
    dense_growing *g;
    *c = (cluster){.cols = a->cols + b->cols, .energy = a->energy + b->energy};
    pith_status status = dense_growing_new(k->ctx, k->rows, k->most, &g);
    if (status) return status;
    if (a->rank) status = dense_growing_add(k->ctx, g, a->basis, a->rank, a->rank);
    if (!status && b->rank) status = dense_growing_add(k->ctx, g, b->basis, b->rank, b->rank);
    if (!status) status = take(k, g, c);
    dense_growing_free(k->ctx, g);
    return status;
}

/* Joins the pair that saves most; *joined = false when none does. */
static pith_status join_best(clustering *k, size_t *group, bool *joined) {
    cluster best = {.gone = true};
    size_t best_i = 0, best_j = 0;
    uint64_t saved = 0;
    pith_status status = PITH_OK;
    for (size_t i = 0; i < k->n && !status; i++)
        for (size_t j = i + 1; j < k->n && !status; j++) {
            cluster c;
            if (k->list[i].gone || k->list[j].gone) continue;
            status = joint(k, &k->list[i], &k->list[j], &c);
            uint64_t apart = cost(k, &k->list[i]) + cost(k, &k->list[j]);
            if (!status && cost(k, &c) < apart && apart - cost(k, &c) > saved) {
                saved = apart - cost(k, &c);
                cluster_free(k->ctx, &best);
                best = c;
                best_i = i;
                best_j = j;
            } else {
                cluster_free(k->ctx, &c);
            }
        }
    *joined = !status && saved > 0;
    if (*joined) {
        cluster_free(k->ctx, &k->list[best_i]);
        cluster_free(k->ctx, &k->list[best_j]);
        k->list[best_i] = best;
        for (size_t t = 0; t < k->n; t++)
            if (group[t] == best_j) group[t] = best_i;
    } else {
        cluster_free(k->ctx, &best);
    }
    return status;
}

/* One basis for all, for comparison. */
static pith_status all_together(clustering *k, const merge_matrix *m, size_t n, uint64_t *floats) {
    dense_growing *g;
    cluster c = {0};
    pith_status status = dense_growing_new(k->ctx, k->rows, k->most, &g);
    if (status) return status;
    for (size_t i = 0; i < n && !status; i++) {
        c.cols += m[i].cols;
        c.energy += k->list[i].energy;
        status = dense_growing_add(k->ctx, g, m[i].data, m[i].cols, m[i].cols);
    }
    if (!status) status = take(k, g, &c);
    *floats = cost(k, &c);
    cluster_free(k->ctx, &c);
    dense_growing_free(k->ctx, g);
    return status;
}

pith_status merge_cluster(pith_ctx *ctx, const merge_matrix *m, size_t n, size_t rows, double tolerance, size_t *group,
                          merge_sharing *report) {
    *report = (merge_sharing){0};
    if (n == 0 || rows == 0 || !(tolerance >= 0 && tolerance < 1))
        return pith_fail(ctx, PITH_E_ARGUMENT, "clustering %zu matrices of %zu rows to %g", n, rows, tolerance);
    clustering k = {.ctx = ctx, .rows = rows, .most = rows, .tolerance = tolerance, .n = n};
    k.list = pith_zalloc(ctx, n * sizeof *k.list);
    if (!k.list) return pith_alloc_status(ctx);
    pith_status status = PITH_OK;
    bool joined = true;
    for (size_t i = 0; i < n && !status; i++) {
        group[i] = i;
        status = single(&k, &m[i], &k.list[i]);
        report->alone += status ? 0 : cost(&k, &k.list[i]);
    }
    if (!status) status = all_together(&k, m, n, &report->together);
    while (!status && joined) status = join_best(&k, group, &joined);
    for (size_t i = 0; i < n && !status; i++) {
        if (k.list[i].gone) continue;
        for (size_t t = 0; t < n; t++)
            if (group[t] == i) group[t] = report->n_groups;
        report->n_groups++;
        report->shared += cost(&k, &k.list[i]);
        report->worst = PITH_MAX(report->worst, k.list[i].error);
    }
    for (size_t i = 0; i < n; i++) cluster_free(ctx, &k.list[i]);
    pith_free(ctx, k.list);
    return status;
}
