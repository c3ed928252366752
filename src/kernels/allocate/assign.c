/* The linear assignment problem by shortest augmenting paths: rows come one by one; a path of reduced costs, found as
 * Dijkstra does, ends in a free column, and prices u, v keep all reduced costs at 0 or above (Kuhn 1955; Jonker and
 * Volgenant 1987). */
#include <math.h>

#include "kernels/allocate/allocate.h"

#define NONE UINT32_MAX

typedef struct assignment {
    const float *cost;
    size_t rows, cols;
    double *u, *v, *least;     /* prices of rows and columns; the shortest path to each column */
    uint32_t *row_of, *before; /* of columns: the row it has; the column before it on the path */
    uint8_t *done;
} assignment;

/* Finds a place for a row; others move along the path. */
static void place(assignment *a, uint32_t row) {
    uint32_t column = NONE, here = row;
    double length = 0;
    for (size_t j = 0; j < a->cols; j++) a->least[j] = INFINITY, a->done[j] = 0, a->before[j] = NONE;
    for (;;) {
        const float *cost = a->cost + here * a->cols;
        uint32_t next = NONE;
        double best = INFINITY;
        for (uint32_t j = 0; j < a->cols; j++) {
            if (a->done[j]) continue;
            double d = length + (double)cost[j] - a->u[here] - a->v[j];
            if (d < a->least[j]) a->least[j] = d, a->before[j] = column;
            if (a->least[j] < best) best = a->least[j], next = j;
        }
        column = next;
        length = best;
        a->done[column] = 1;
        if (a->row_of[column] == NONE) break;
        here = a->row_of[column];
    }
    a->u[row] += length;
    for (size_t j = 0; j < a->cols; j++) {
        if (!a->done[j] || j == column) continue;
        a->u[a->row_of[j]] += length - a->least[j];
        a->v[j] -= length - a->least[j];
    }
    while (a->before[column] != NONE) {
        a->row_of[column] = a->row_of[a->before[column]];
        column = a->before[column];
    }
    a->row_of[column] = row;
}

pith_status alloc_assign(pith_ctx *ctx, const float *cost, size_t rows, size_t cols, uint32_t *column, double *sum) {
    if (rows > cols || cols >= NONE)
        return pith_fail(ctx, PITH_E_ARGUMENT, "%zu rows do not find a column each among %zu", rows, cols);
    for (size_t i = 0; i < rows * cols; i++)
        if (!isfinite(cost[i]))
            return pith_fail(ctx, PITH_E_ARGUMENT, "cost %zu of row %zu is not finite", i % cols, i / cols);
    assignment a = {.cost = cost, .rows = rows, .cols = cols};
    a.u = pith_zalloc(ctx, (rows + 1) * sizeof *a.u);
    a.v = pith_zalloc(ctx, (cols + 1) * sizeof *a.v);
    a.least = pith_alloc(ctx, (cols + 1) * sizeof *a.least);
    a.row_of = pith_alloc(ctx, (cols + 1) * sizeof *a.row_of);
    a.before = pith_alloc(ctx, (cols + 1) * sizeof *a.before);
    a.done = pith_alloc(ctx, cols + 1);
    bool got = a.u && a.v && a.least && a.row_of && a.before && a.done;
    pith_status status = got ? PITH_OK : pith_alloc_status(ctx);
    for (size_t j = 0; j < cols && !status; j++) a.row_of[j] = NONE;
    for (uint32_t i = 0; i < rows && !status; i++) {
        place(&a, i);
        status = pith_tick(ctx, i + 1, rows);
    }
    double all = 0;
    for (uint32_t j = 0; j < cols && !status; j++) {
        if (a.row_of[j] == NONE) continue;
        column[a.row_of[j]] = j;
        all += (double)cost[a.row_of[j] * cols + j];
    }
    if (sum && !status) *sum = all;
    void *const owned[] = {a.u, a.v, a.least, a.row_of, a.before, a.done};
    for (size_t i = 0; i < PITH_COUNT(owned); i++) pith_free(ctx, owned[i]);
    return status;
}
