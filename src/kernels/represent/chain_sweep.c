/* A coder of columns with nothing that spreads errors: groups of columns go in, columns come out. */
#include "kernels/represent/chain.h"

/* out[n][rows] = columns first.. of w. Tiles of rows, so that both sides stay in the cache. */
static void take_columns(const repr_matrix *w, size_t first, size_t n, float *out) {
    for (size_t r0 = 0; r0 < w->rows; r0 += 64) {
        size_t r1 = PITH_MIN(r0 + 64, w->rows);
        for (size_t j = 0; j < n; j++)
            for (size_t r = r0; r < r1; r++) out[j * w->rows + r] = w->data[r * w->cols + first + j];
    }
}

static void put_columns(const float *in, size_t first, size_t n, size_t rows, size_t cols, float *restored) {
    for (size_t r0 = 0; r0 < rows; r0 += 64) {
        size_t r1 = PITH_MIN(r0 + 64, rows);
        for (size_t j = 0; j < n; j++)
            for (size_t r = r0; r < r1; r++) restored[r * cols + first + j] = in[j * rows + r];
    }
}

/* All columns are one group: turned into `restored`, coded in w's place, turned back. */
static pith_status sweep_whole(const repr_job *job, repr_matrix *w, repr_columns *columns, const float *cost,
                               float *restored) {
    take_columns(w, 0, w->cols, restored);
    pith_status status = columns->enter ? columns->enter(columns, 0, w->cols, restored, cost) : PITH_OK;
    for (size_t j = 0; j < w->cols && !status; j++) {
        columns->code(columns, j, restored + j * w->rows, w->data + j * w->rows);
        if (j % 64 == 0 && pith_step(job->ctx, 0)) status = pith_fail(job->ctx, PITH_E_CANCELLED, "cancelled");
    }
    if (!status) put_columns(w->data, 0, w->cols, w->rows, w->cols, restored);
    return status;
}

static pith_status sweep_groups(const repr_job *job, const repr_matrix *w, repr_columns *columns, const float *cost,
                                float *restored) {
    pith_ctx *ctx = job->ctx;
    size_t group = columns->group;
    float *in = pith_alloc(ctx, group * w->rows * sizeof *in);
    float *out = in ? pith_alloc(ctx, group * w->rows * sizeof *out) : NULL;
    pith_status status = out ? PITH_OK : pith_alloc_status(ctx);
    for (size_t first = 0; first < w->cols && !status; first += group) {
        size_t n = PITH_MIN(group, w->cols - first);
        if (pith_step(ctx, 0)) status = pith_fail(ctx, PITH_E_CANCELLED, "cancelled");
        take_columns(w, first, n, in);
        if (!status && columns->enter) status = columns->enter(columns, first, n, in, cost + first);
        for (size_t j = 0; j < n && !status; j++)
            columns->code(columns, first + j, in + j * w->rows, out + j * w->rows);
        if (!status) put_columns(out, first, n, w->rows, w->cols, restored);
    }
    pith_free(ctx, out);
    pith_free(ctx, in);
    return status;
}

pith_status chain_sweep(const repr_job *job, repr_matrix *w, repr_columns *columns, float *restored) {
    const repr_stats *s = job->stats;
    float *cost = pith_alloc(job->ctx, w->cols * sizeof *cost);
    if (!cost) return pith_alloc_status(job->ctx);
    for (size_t j = 0; j < w->cols; j++) cost[j] = s->h ? s->h[j] : s->gram ? s->gram[j * (j + 1) / 2 + j] : 1;
    bool whole = !columns->group || columns->group >= w->cols;
    pith_status status = whole ? sweep_whole(job, w, columns, cost, restored) : sweep_groups(job, w, columns, cost, restored);
    pith_free(job->ctx, cost);
    return status;
}
