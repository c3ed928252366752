/* How far a restored matrix is from the first one, in weights and in what it answers to typical inputs. */
#include "kernels/represent/represent.h"

typedef struct measure {
    pith_ctx *ctx;
    const repr_matrix *w;
    const float *restored;
    const repr_stats *stats;
    double *rows; /* [rows][4]: |w - r|^2, |w|^2, and the same weighed by H */
} measure;

/* x^T H x from the packed lower triangle: sum of x_i (2 * (sum of H_ij x_j, j < i) + H_ii x_i). */
static double weighed(const repr_stats *s, const float *x, size_t n) {
    double sum = 0;
    if (!s->gram) {
        for (size_t i = 0; i < n; i++) sum += (double)x[i] * x[i] * (s->h ? s->h[i] : 1);
        return sum;
    }
    for (size_t i = 0; i < n; i++) {
        const float *row = s->gram + i * (i + 1) / 2;
        float lane[16] = {0};
        size_t j = 0;
        for (; j + 16 <= i; j += 16)
            for (size_t k = 0; k < 16; k++) lane[k] += row[j + k] * x[j + k];
        double dot = 0;
        for (; j < i; j++) dot += (double)row[j] * x[j];
        for (size_t k = 0; k < 16; k++) dot += lane[k];
        sum += x[i] * (2 * dot + (double)row[i] * x[i]);
    }
    return sum;
}

static pith_status measure_row(void *arg, size_t r) {
    const measure *m = arg;
    size_t n = m->w->cols;
    const float *w = m->w->data + r * n, *back = m->restored + r * n;
    double *out = m->rows + 4 * r;
    float *d = pith_alloc(m->ctx, n * sizeof *d);
    if (!d) return pith_alloc_status(m->ctx);
    for (size_t i = 0; i < n; i++) {
        d[i] = w[i] - back[i];
        out[0] += (double)d[i] * d[i];
        out[1] += (double)w[i] * w[i];
    }
    if (m->stats && (m->stats->h || m->stats->gram)) {
        out[2] = weighed(m->stats, d, n);
        out[3] = weighed(m->stats, w, n);
    } else {
        out[2] = out[0];
        out[3] = out[1];
    }
    pith_free(m->ctx, d);
    return PITH_OK;
}

static double share(double part, double whole) { return whole > 0 ? part / whole : part > 0 ? 1 : 0; }

pith_status repr_measure(pith_ctx *ctx, const repr_matrix *w, const float *restored, const repr_stats *stats,
                         repr_error *out) {
    *out = (repr_error){0};
    measure m = {.ctx = ctx, .w = w, .restored = restored, .stats = stats};
    m.rows = pith_zalloc(ctx, (w->rows + 1) * 4 * sizeof *m.rows);
    if (!m.rows) return pith_alloc_status(ctx);
    pith_status status = pith_parallel(ctx, w->rows, measure_row, &m);
    double sum[4] = {0};
    for (size_t r = 0; r < w->rows; r++)
        for (size_t k = 0; k < 4; k++) sum[k] += m.rows[4 * r + k];
    pith_free(ctx, m.rows);
    out->weights = share(sum[0], sum[1]);
    out->outputs = share(sum[2], sum[3]);
    return status;
}
