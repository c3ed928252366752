/* The frontier (Pareto set) of points where more is better in both coordinates:
 * p is on it when no q has q.x >= p.x and q.y >= p.y with one of them strict.
 * Sorted by x downwards, a point survives when it is higher than all before it. */
#include <math.h>

#include "kernels/measure/measure.h"

typedef struct ranked {
    double x, y;
    size_t index;
} ranked;

static int by_x_then_y_down(const void *a, const void *b) {
    const ranked *p = a, *q = b;
    if (p->x != q->x) return p->x < q->x ? 1 : -1;
    if (p->y != q->y) return p->y < q->y ? 1 : -1;
    return p->index < q->index ? -1 : p->index > q->index;
}

pith_status measure_frontier(pith_ctx *ctx, const double *x, const double *y, size_t n, bool *on_frontier) {
    if (n == 0) return PITH_OK;
    if (n > SIZE_MAX / sizeof(ranked)) return pith_fail(ctx, PITH_E_LIMIT, "too many points for a frontier");
    ranked *r = pith_alloc(ctx, n * sizeof *r);
    if (!r) return pith_alloc_status(ctx);
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        on_frontier[i] = false;
        if (!isnan(x[i]) && !isnan(y[i])) r[m++] = (ranked){x[i], y[i], i};
    }
    qsort(r, m, sizeof *r, by_x_then_y_down);
    const ranked *best = NULL;
    for (size_t i = 0; i < m; i++) {
        bool equal = best && r[i].x == best->x && r[i].y == best->y;
        if (!best || r[i].y > best->y || equal) {
            on_frontier[r[i].index] = true;
            best = &r[i];
        }
    }
    pith_free(ctx, r);
    return PITH_OK;
}
