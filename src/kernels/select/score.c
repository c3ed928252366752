/* Scores of weights and of rows and columns of them. */
#include "kernels/select/select.h"

#include <math.h>

/* Factors by which |w_ij| is multiplied: of the column, and of row and column for the normalised rule. */
typedef struct factors {
    double *column, *row;
} factors;

static void free_factors(pith_ctx *ctx, factors *f) {
    pith_free(ctx, f->column);
    pith_free(ctx, f->row);
}

static double of_column(select_rule rule, const select_matrix *m, size_t j) {
    double h = m->h ? m->h[j] : 1;
    if (rule == SELECT_MAGNITUDE) return 1;
    if (rule == SELECT_OBS && m->inverse_diagonal)
        return m->inverse_diagonal[j] > 0 ? sqrt(1 / (double)m->inverse_diagonal[j]) : 0;
    return sqrt(PITH_MAX(h, 0.0));
}

/* Columns are normed first, rows of what comes out second, as NoWag does. */
static void norms(const select_matrix *m, factors *f) {
    for (size_t j = 0; j < m->cols; j++) {
        double sum = 0;
        for (size_t i = 0; i < m->rows; i++) sum += (double)m->w[i * m->cols + j] * m->w[i * m->cols + j];
        f->column[j] = sum > 0 ? 1 / sqrt(sum) : 0;
    }
    for (size_t i = 0; i < m->rows; i++) {
        double sum = 0;
        for (size_t j = 0; j < m->cols; j++) {
            double x = m->w[i * m->cols + j] * f->column[j];
            sum += x * x;
        }
        f->row[i] = sum > 0 ? 1 / sqrt(sum) : 0;
    }
}

static pith_status find_factors(pith_ctx *ctx, select_rule rule, const select_matrix *m, factors *f) {
    f->column = pith_alloc(ctx, m->cols * sizeof *f->column + 1);
    f->row = pith_alloc(ctx, m->rows * sizeof *f->row + 1);
    if (!f->column || !f->row) {
        free_factors(ctx, f);
        return pith_alloc_status(ctx);
    }
    for (size_t i = 0; i < m->rows; i++) f->row[i] = 1;
    for (size_t j = 0; j < m->cols; j++) f->column[j] = 1;
    if (rule == SELECT_NOWAG) norms(m, f);
    for (size_t j = 0; j < m->cols; j++) f->column[j] *= of_column(rule, m, j);
    return PITH_OK;
}

pith_status select_score_weights(pith_ctx *ctx, select_rule rule, const select_matrix *m, float *scores) {
    factors f;
    pith_status status = find_factors(ctx, rule, m, &f);
    if (status) return status;
    for (size_t i = 0; i < m->rows; i++)
        for (size_t j = 0; j < m->cols; j++)
            scores[i * m->cols + j] = (float)(fabs(m->w[i * m->cols + j]) * f.row[i] * f.column[j]);
    free_factors(ctx, &f);
    return PITH_OK;
}

pith_status select_score_columns(pith_ctx *ctx, select_rule rule, const select_matrix *m, float *scores) {
    factors f;
    double *sums = pith_zalloc(ctx, m->cols * sizeof *sums + 1);
    if (!sums) return pith_alloc_status(ctx);
    pith_status status = find_factors(ctx, rule, m, &f);
    if (!status) {
        for (size_t i = 0; i < m->rows; i++)
            for (size_t j = 0; j < m->cols; j++) {
                double x = m->w[i * m->cols + j] * f.row[i];
                sums[j] += x * x;
            }
        for (size_t j = 0; j < m->cols; j++) scores[j] = (float)(sqrt(sums[j]) * f.column[j]);
        free_factors(ctx, &f);
    }
    pith_free(ctx, sums);
    return status;
}

pith_status select_score_rows(pith_ctx *ctx, select_rule rule, const select_matrix *m, float *scores) {
    factors f;
    pith_status status = find_factors(ctx, rule, m, &f);
    if (status) return status;
    for (size_t i = 0; i < m->rows; i++) {
        double sum = 0;
        for (size_t j = 0; j < m->cols; j++) {
            double x = m->w[i * m->cols + j] * f.column[j];
            sum += x * x;
        }
        scores[i] = (float)(sqrt(sum) * f.row[i]);
    }
    free_factors(ctx, &f);
    return PITH_OK;
}

void select_score_groups(const float *scores, size_t n, size_t group, float *out) {
    for (size_t g = 0; g < n / group; g++) {
        double sum = 0;
        for (size_t i = 0; i < group; i++) sum += (double)scores[g * group + i] * scores[g * group + i];
        out[g] = (float)sqrt(sum);
    }
}

void select_influence_add(select_influence *s, const float *in, const float *out, size_t n_tokens, size_t n) {
    for (size_t t = 0; t < n_tokens; t++) {
        double xy = 0, xx = 0, yy = 0;
        for (size_t i = 0; i < n; i++) {
            double x = in[t * n + i], y = out[t * n + i];
            xy += x * y;
            xx += x * x;
            yy += y * y;
        }
        if (xx != 0 && yy != 0) s->cosines += xy / sqrt(xx * yy); /* a NaN shows in the score */
    }
    s->n_tokens += n_tokens;
}

double select_influence_of(const select_influence *s) {
    return s->n_tokens ? 1 - s->cosines / (double)s->n_tokens : 0;
}
