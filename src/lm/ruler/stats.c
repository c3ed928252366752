/* Means with their errors, percentiles, rank correlation. */
#include <math.h>

#include "lm/ruler/ruler.h"

void ruler_mean_add(ruler_mean *m, double x) {
    m->sum += x;
    m->squares += x * x;
    m->n++;
}

double ruler_mean_of(const ruler_mean *m) { return m->n ? m->sum / (double)m->n : 0; }

double ruler_error_of(const ruler_mean *m) {
    if (m->n < 2) return 0;
    double mean = ruler_mean_of(m), variance = m->squares / (double)m->n - mean * mean;
    return variance > 0 ? sqrt(variance / (double)(m->n - 1)) : 0;
}

double ruler_percentile(const double *sorted, size_t n, double fraction) {
    if (!(fraction > 0)) return sorted[0];
    if (fraction >= 1) return sorted[n - 1];
    double at = fraction * (double)(n - 1);
    size_t below = (size_t)at;
    double part = at - (double)below;
    return below + 1 < n ? (1 - part) * sorted[below] + part * sorted[below + 1] : sorted[n - 1];
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void ruler_sort(double *values, size_t n) {
    if (n) qsort(values, n, sizeof *values, by_value);
}

/* Ranks from 1, the mean rank for equal values: count what is smaller and what is equal. */
static void ranks_of(const double *x, size_t n, const double *sorted, double *rank) {
    for (size_t i = 0; i < n; i++) {
        size_t low = 0, high = n;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (sorted[middle] < x[i])
                low = middle + 1;
            else
                high = middle;
        }
        size_t end = low;
        while (end < n && sorted[end] == x[i]) end++;
        rank[i] = ((double)(low + 1) + (double)end) / 2;
    }
}

pith_status ruler_spearman(pith_ctx *ctx, const double *x, const double *y, size_t n, double *rho) {
    *rho = 0;
    if (n < 2) return PITH_OK;
    if (n > SIZE_MAX / 3 / sizeof(double)) return pith_fail(ctx, PITH_E_LIMIT, "too many values to rank");
    double *work = pith_alloc(ctx, 3 * n * sizeof *work);
    if (!work) return pith_alloc_status(ctx);
    double *sorted = work, *rx = work + n, *ry = work + 2 * n;
    memcpy(sorted, x, n * sizeof *x);
    ruler_sort(sorted, n);
    ranks_of(x, n, sorted, rx);
    memcpy(sorted, y, n * sizeof *y);
    ruler_sort(sorted, n);
    ranks_of(y, n, sorted, ry);
    double mean = ((double)n + 1) / 2, xy = 0, xx = 0, yy = 0;
    for (size_t i = 0; i < n; i++) {
        xy += (rx[i] - mean) * (ry[i] - mean);
        xx += (rx[i] - mean) * (rx[i] - mean);
        yy += (ry[i] - mean) * (ry[i] - mean);
    }
    if (xx > 0 && yy > 0) *rho = xy / sqrt(xx * yy);
    pith_free(ctx, work);
    return PITH_OK;
}

void ruler_spread_of(double *values, size_t n, ruler_spread *out) {
    ruler_mean mean = {0};
    for (size_t i = 0; i < n; i++) ruler_mean_add(&mean, values[i]);
    ruler_sort(values, n);
    *out = (ruler_spread){.mean = ruler_mean_of(&mean),
                          .error = ruler_error_of(&mean),
                          .median = ruler_percentile(values, n, 0.5),
                          .p90 = ruler_percentile(values, n, 0.9),
                          .p95 = ruler_percentile(values, n, 0.95),
                          .p99 = ruler_percentile(values, n, 0.99),
                          .p999 = ruler_percentile(values, n, 0.999),
                          .max = values[n - 1]};
}
