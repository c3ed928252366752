/* AdamW: Adam (Kingma, Ba 2015) with decay beside the gradient's step (Loshchilov, Hutter 2019), and the norm's clip.
 */
#include <math.h>

#include "kernels/learn/ops.h"

#define PIECE ((size_t)1 << 16) /* elements of one job */

typedef struct adamw_job {
    const learn_graph *g;
    const learn_adamw *o;
    float *w, *m, *v;
    const float *gradient;
    double *sums;              /* [n_pieces] */
    float scale, rate1, rate2; /* of the gradient; bias corrections */
} adamw_job;

typedef void (*range_fn)(const adamw_job *j, const learn_param *p, size_t first, size_t n, double *sum);

/* The parts of parameters that are not frozen in piece i of the flat block. */
static void in_piece(const adamw_job *j, size_t i, range_fn fn, double *sum) {
    size_t first = i * PIECE, end = first + PIECE;
    for (size_t k = 0; k < j->g->n_params; k++) {
        const learn_param *p = &j->g->params[k];
        size_t from = PITH_MAX(first, p->at), to = PITH_MIN(end, p->at + p->rows * p->cols);
        if (!p->frozen && from < to) fn(j, p, from, to - from, sum);
    }
}

static void add_squares(const adamw_job *j, const learn_param *p, size_t first, size_t n, double *sum) {
    (void)p;
    const uint8_t *kept = j->o->kept;
    for (size_t i = first; i < first + n; i++)
        if (!kept || kept[i]) *sum += (double)j->gradient[i] * (double)j->gradient[i];
}

static void step(const adamw_job *j, const learn_param *p, size_t first, size_t n, double *sum) {
    (void)sum;
    const learn_adamw *o = j->o;
    float b1 = (float)o->beta1, b2 = (float)o->beta2, rate = (float)(o->rate * p->speed), epsilon = (float)o->epsilon;
    float keep = p->rows == 1 ? 1 : (float)(1 - o->rate * p->speed * o->decay);
    for (size_t i = first; i < first + n; i++) {
        float g = j->gradient[i] * j->scale;
        j->m[i] = b1 * j->m[i] + (1 - b1) * g;
        j->v[i] = b2 * j->v[i] + (1 - b2) * g * g;
        j->w[i] = j->w[i] * keep - rate * (j->m[i] * j->rate1) / (sqrtf(j->v[i] * j->rate2) + epsilon);
    }
    for (size_t i = first; o->kept && i < first + n; i++)
        if (!o->kept[i]) j->w[i] = j->m[i] = j->v[i] = 0;
}

static pith_status sum_piece(void *arg, size_t i) {
    const adamw_job *j = arg;
    j->sums[i] = 0;
    in_piece(j, i, add_squares, &j->sums[i]);
    return PITH_OK;
}

static pith_status step_piece(void *arg, size_t i) {
    in_piece(arg, i, step, NULL);
    return PITH_OK;
}

pith_status learn_adamw_step(pith_ctx *ctx, const learn_graph *g, const learn_adamw *o, uint64_t t, float *weights,
                             const float *gradient, float *moment1, float *moment2, double *norm) {
    size_t n_pieces = (g->n_weights + PIECE - 1) / PIECE;
    adamw_job j = {.g = g, .o = o, .w = weights, .m = moment1, .v = moment2, .gradient = gradient};
    j.sums = pith_alloc(ctx, PITH_MAX(n_pieces, (size_t)1) * sizeof *j.sums);
    if (!j.sums) return pith_alloc_status(ctx);
    pith_status status = pith_parallel(ctx, n_pieces, sum_piece, &j);
    double sum = 0;
    for (size_t i = 0; i < n_pieces && !status; i++) sum += j.sums[i];
    pith_free(ctx, j.sums);
    if (status) return status;
    double length = sqrt(sum);
    if (norm) *norm = length;
    if (!isfinite(length)) return pith_fail(ctx, PITH_E_CHECK, "the gradient is not finite: the rate may be too high");
    j.scale = o->clip > 0 && length > o->clip ? (float)(o->clip / length) : 1;
    j.rate1 = (float)(1 / (1 - pow(o->beta1, (double)t)));
    j.rate2 = (float)(1 / (1 - pow(o->beta2, (double)t)));
    return pith_parallel(ctx, n_pieces, step_piece, &j);
}

double learn_rate_at(uint64_t t, uint64_t warm, uint64_t total, double peak, double least) {
    if (t <= warm) return peak * (double)t / (double)PITH_MAX(warm, 1u);
    if (t >= total) return peak * least;
    double part = (double)(t - warm) / (double)(total - warm);
    return peak * (least + (1 - least) * 0.5 * (1 + cos(3.14159265358979323846 * part)));
}
