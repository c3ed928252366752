/* scale, norm2, unit: rows and columns divided by factors that are written and multiplied back.
 *   scale  W' = W diag(s) for inputs x / s: what large inputs meet is kept in more detail.
 *          act: s = sqrt(h) (BitStack); awq: s = sqrt(h)^alpha, with the alpha whose rounding to `bits` in groups does
 *          the least harm, sum of h_j (w - w')^2 (AWQ, Lin et al. 2023: a grid of 20 on the outputs' error)
 *   norm2  every column by its root mean square, then every row, or the other way round (NoWag)
 *   unit   rows or columns alone
 * side of scale: 0, or 1 and 1 / s; of the others: the factors in the order of division. */
#include <math.h>

#include "kernels/represent/transform_parts.h"

static void multiply_rows(repr_matrix *w, const float *f) {
    for (size_t i = 0; i < w->rows; i++)
        for (size_t j = 0; j < w->cols; j++) w->data[i * w->cols + j] *= f[i];
}

static void multiply_cols(repr_matrix *w, const float *f) {
    for (size_t i = 0; i < w->rows; i++)
        for (size_t j = 0; j < w->cols; j++) w->data[i * w->cols + j] *= f[j];
}

static void divide_rows(repr_matrix *w, const float *f) {
    for (size_t i = 0; i < w->rows; i++)
        for (size_t j = 0; j < w->cols; j++) w->data[i * w->cols + j] /= f[i];
}

static void divide_cols(repr_matrix *w, const float *f) {
    for (size_t i = 0; i < w->rows; i++)
        for (size_t j = 0; j < w->cols; j++) w->data[i * w->cols + j] /= f[j];
}

/* ---- scale ------------------------------------------------------------------------------------------------ */

#define ALPHAS 20
#define SAMPLE_ROWS 256 /* that the search looks at, spread over the matrix */

/* 1 / s for s = sqrt(h)^alpha, no s below 1e-4 of the largest, s normalised by sqrt(max s * min s). */
static void inverse_scales(const float *h, size_t n, double alpha, float *f) {
    double most = 0, least = HUGE_VAL;
    for (size_t j = 0; j < n; j++) most = PITH_MAX(most, (double)h[j]);
    for (size_t j = 0; j < n; j++) least = PITH_MIN(least, PITH_MAX((double)h[j], 1e-8 * most));
    if (!(most > 0)) most = least = 1;
    double middle = pow(most * least, alpha / 4);
    for (size_t j = 0; j < n; j++) f[j] = (float)(middle / pow(PITH_MAX((double)h[j], least), alpha / 2));
}

/* sum of h_j (w_j - rounded w_j)^2 over rows every `step`, rounding w / f to 2^bits levels between least and most of
 * each group. */
static double rounding_error(const repr_matrix *w, const float *h, const float *f, size_t step, unsigned bits,
                             size_t group) {
    double error = 0;
    float levels = (float)((1u << bits) - 1);
    for (size_t i = 0; i < w->rows; i += step)
        for (size_t j0 = 0; j0 < w->cols; j0 += group) {
            const float *row = w->data + i * w->cols;
            size_t end = PITH_MIN(w->cols, j0 + group);
            float least = row[j0] / f[j0], most = least, sum = 0;
            for (size_t j = j0; j < end; j++) {
                float v = row[j] / f[j];
                least = PITH_MIN(least, v);
                most = PITH_MAX(most, v);
            }
            float unit = (most - least) / levels, per = unit > 0 ? 1 / unit : 0;
            for (size_t j = j0; j < end; j++) {
                float v = row[j] / f[j], d = (v - (least + unit * floorf((v - least) * per + 0.5f))) * f[j];
                sum += h[j] * (d * d);
            }
            error += (double)sum;
        }
    return error;
}

static double best_alpha(const repr_job *job, const repr_matrix *w, const float *h, float *f) {
    const double *value = job->args->value;
    size_t group = value[SCALE_GROUP] > 0 ? (size_t)value[SCALE_GROUP] : w->cols,
           step = PITH_MAX(w->rows / SAMPLE_ROWS, (size_t)1);
    double best = 0, least = HUGE_VAL;
    for (unsigned i = 0; i < ALPHAS; i++) {
        double alpha = (double)i / ALPHAS;
        inverse_scales(h, w->cols, alpha, f);
        double error = rounding_error(w, h, f, step, (unsigned)value[SCALE_BITS], group);
        if (error < least) least = error, best = alpha;
    }
    return best;
}

static pith_status scale_forward(const repr_job *job, repr_matrix *w, repr_stats *stats, pith_buffer *side) {
    const float *h;
    float *own, *f = NULL;
    pith_status status = transform_powers(job, w->cols, &h, &own);
    if (status) return status;
    double alpha = 1;
    if (h) {
        f = pith_alloc(job->ctx, w->cols * sizeof *f);
        if (!f) status = pith_alloc_status(job->ctx);
        for (size_t j = 0; j < w->cols && !status; j++)
            if (!(h[j] >= 0 && h[j] <= 3.4e38f))
                status =
                    pith_fail(job->ctx, PITH_E_CHECK, "scale: the statistics of input %zu are those of no input", j);
        if (!status && (int)job->args->value[SCALE_BY] == SCALE_AWQ) {
            alpha = job->args->value[SCALE_ALPHA];
            if (alpha == 0) alpha = best_alpha(job, w, h, f);
        }
    }
    uint8_t flag = h && alpha > 0;
    if (!status) status = pith_buffer_append(job->ctx, side, &flag, 1);
    if (!status && flag) {
        inverse_scales(h, w->cols, alpha, f);
        status = transform_put_factors(job, side, f, w->cols);
        if (!status) {
            divide_cols(w, f);
            status = transform_stats_scale(job, w->cols, f, stats);
        }
    }
    pith_free(job->ctx, f);
    pith_free(job->ctx, own);
    return status;
}

/* Reads factors and multiplies by them. */
static pith_status undo(const repr_job *job, repr_reader *side, repr_matrix *w, bool rows) {
    size_t n = rows ? w->rows : w->cols;
    float *f = pith_alloc(job->ctx, n * sizeof *f);
    if (!f) return pith_alloc_status(job->ctx);
    pith_status status = transform_take_factors(job, side, f, n);
    if (!status) (rows ? multiply_rows : multiply_cols)(w, f);
    pith_free(job->ctx, f);
    return status;
}

static pith_status scale_inverse(const repr_job *job, repr_reader *side, repr_matrix *w) {
    const uint8_t *flag = repr_take(side, 1);
    if (!flag) return repr_cut_off(job->ctx);
    if (*flag > 1) return pith_fail(job->ctx, PITH_E_FORMAT, "scale: neither factors nor none");
    return *flag ? undo(job, side, w, false) : PITH_OK;
}

/* ---- norms ------------------------------------------------------------------------------------------------- */

/* Divides every row, or column, by its root mean square. Those that are zero get the smallest factor there is. */
static pith_status normalise(const repr_job *job, repr_matrix *w, bool rows, bool keep, repr_stats *stats,
                             pith_buffer *side) {
    size_t n = rows ? w->rows : w->cols;
    double *sums = pith_zalloc(job->ctx, n * sizeof *sums);
    float *f = pith_alloc(job->ctx, n * sizeof *f);
    pith_status status = sums && f ? PITH_OK : pith_alloc_status(job->ctx);
    if (!status) {
        for (size_t i = 0; i < w->rows; i++)
            for (size_t j = 0; j < w->cols; j++) {
                double v = (double)w->data[i * w->cols + j];
                sums[rows ? i : j] += v * v;
            }
        for (size_t i = 0; i < n; i++) f[i] = (float)sqrt(sums[i] / (double)(rows ? w->cols : w->rows));
        status = transform_put_factors(job, side, f, n);
    }
    if (!status) {
        (rows ? divide_rows : divide_cols)(w, f);
        if (!rows && !keep) status = transform_stats_scale(job, n, f, stats);
    }
    pith_free(job->ctx, f);
    pith_free(job->ctx, sums);
    return status;
}

static pith_status norm2_forward(const repr_job *job, repr_matrix *w, repr_stats *stats, pith_buffer *side) {
    int first = (int)job->args->value[NORM_FIRST], then = (int)job->args->value[NORM_THEN];
    bool keep = job->args->value[NORM_KEEP] != 0;
    pith_status status = normalise(job, w, first == NORM_ROW, keep, stats, side);
    if (!status && then != first) status = normalise(job, w, then == NORM_ROW, keep, stats, side);
    return status;
}

static pith_status norm2_inverse(const repr_job *job, repr_reader *side, repr_matrix *w) {
    int first = (int)job->args->value[NORM_FIRST], then = (int)job->args->value[NORM_THEN];
    size_t bytes = 4 + 2 * (first == NORM_ROW ? w->rows : w->cols);
    repr_reader inner = {.p = repr_take(side, bytes)};
    if (!inner.p) return repr_cut_off(job->ctx);
    inner.end = inner.p + bytes;
    pith_status status = then != first ? undo(job, side, w, then == NORM_ROW) : PITH_OK;
    return status ? status : undo(job, &inner, w, first == NORM_ROW);
}

static pith_status unit_forward(const repr_job *job, repr_matrix *w, repr_stats *stats, pith_buffer *side) {
    return normalise(job, w, (int)job->args->value[UNIT_BY] == NORM_ROW, false, stats, side);
}

static pith_status unit_inverse(const repr_job *job, repr_reader *side, repr_matrix *w) {
    return undo(job, side, w, (int)job->args->value[UNIT_BY] == NORM_ROW);
}

const repr_ops transform_scale = {.kind = REPR_TRANSFORM, .forward = scale_forward, .inverse = scale_inverse};
const repr_ops transform_norm2 = {.kind = REPR_TRANSFORM, .forward = norm2_forward, .inverse = norm2_inverse};
const repr_ops transform_unit = {.kind = REPR_TRANSFORM, .forward = unit_forward, .inverse = unit_inverse};
