/* The steps blocks are made of: products over the team, norms, biases. */
#include <math.h>

#include "lm/session.h"
#include "math/math.h"

#define SMALL 32768 /* operations that are not worth waking anybody */

typedef struct product_job {
    const lm_session *s;
    const product *list;
    size_t count, n_tiles, n_parts;
} product_job;

static size_t tiles_of(const lm_matrix *w) { return (w->n_rows + MATMUL_ROW_TILE - 1) / MATMUL_ROW_TILE; }

static void product_part(void *arg, size_t part, unsigned member) {
    (void)member;
    const product_job *j = arg;
    size_t begin = j->n_tiles * part / j->n_parts, end = j->n_tiles * (part + 1) / j->n_parts, at = 0;
    for (size_t i = 0; i < j->count && at < end; i++) {
        const lm_matrix *w = &j->list[i].w->matrix;
        size_t tiles = tiles_of(w), from = PITH_MAX(begin, at), to = PITH_MIN(end, at + tiles);
        if (from < to)
            matmul_rows(w, j->s->activations, j->list[i].y, w->n_rows, (from - at) * MATMUL_ROW_TILE,
                        PITH_MIN((to - at) * MATMUL_ROW_TILE, w->n_rows));
        at += tiles;
    }
}

/* Rows that lie apart are brought together for the probe; where there is no memory they are shown one by one. */
static void show_input(const lm_session *s, const float *x, size_t stride, size_t n, const lm_weight *w) {
    const lm_probe *probe = s->probe;
    size_t n_cols = w->matrix.n_cols;
    float *rows = stride == n_cols ? NULL : pith_alloc(s->ctx, n * n_cols * sizeof *rows);
    if (rows) {
        for (size_t i = 0; i < n; i++) memcpy(rows + i * n_cols, x + i * stride, n_cols * sizeof *rows);
        probe->input(probe->opaque, w->name, n, n_cols, rows);
        pith_free(s->ctx, rows);
    } else if (stride == n_cols) {
        probe->input(probe->opaque, w->name, n, n_cols, x);
    } else {
        for (size_t i = 0; i < n; i++) probe->input(probe->opaque, w->name, 1, n_cols, x + i * stride);
    }
}

void products(lm_session *s, const float *x, size_t stride, size_t n, const product *list, size_t count) {
    if (n == 0) return;
    if (s->probe && s->probe->input)
        for (size_t i = 0; i < count; i++) show_input(s, x, stride, n, list[i].w);
    products_unseen(s, x, stride, n, list, count);
}

void products_unseen(lm_session *s, const float *x, size_t stride, size_t n, const product *list, size_t count) {
    if (n == 0) return;
    for (size_t i = 0, end; i < count; i = end) {
        const lm_matrix *w = &list[i].w->matrix;
        size_t work = 0;
        product_job job = {.s = s, .list = list + i};
        for (end = i; end < count && list[end].w->matrix.type == w->type; end++) {
            job.n_tiles += tiles_of(&list[end].w->matrix);
            work += list[end].w->matrix.n_rows * w->n_cols;
        }
        job.count = end - i;
        matmul_prepare(s->activations, w->type, x, stride, n, w->n_cols);
        unsigned team = pith_team_size(s->team);
        job.n_parts = team == 1 || work * n < SMALL ? 1 : PITH_MIN(job.n_tiles, 4 * (size_t)team);
        pith_team_run(s->team, product_part, &job, job.n_parts);
    }
}

typedef struct piece_job {
    piece_fn fn;
    void *arg;
    size_t n, n_parts;
} piece_job;

static void piece_part(void *arg, size_t part, unsigned member) {
    (void)member;
    const piece_job *j = arg;
    size_t first = j->n * part / j->n_parts, end = j->n * (part + 1) / j->n_parts;
    if (end > first) j->fn(j->arg, first, end - first);
}

void in_pieces(lm_session *s, size_t n, size_t cost, piece_fn fn, void *arg) {
    unsigned team = pith_team_size(s->team);
    piece_job job = {fn, arg, n, team == 1 || n * cost < SMALL ? 1 : PITH_MIN(n, 4 * (size_t)team)};
    pith_team_run(s->team, piece_part, &job, job.n_parts);
}

static void plain_scale(float *y, float a, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = a * x[i];
}

void norm_rows(const lm_model *m, const lm_weight *weight, const lm_weight *bias, const float *x, float *y, size_t n) {
    const exact_ops *ops = exact();
    size_t width = m->dim[DIM_EMBD];
    float count = (float)width;
    for (size_t t = 0; t < n; t++, x += width, y += width) {
        const float *centred = x;
        if (m->arch->norm == NORM_LAYER) {
            float mean = ops->sum(x, width) / count;
            for (size_t i = 0; i < width; i++) y[i] = x[i] - mean;
            centred = y;
        }
        float a = 1.0f / sqrtf(ops->dot(centred, centred, width) / count + m->epsilon);
        if (weight->values)
            ops->scale(y, a, centred, weight->values, width);
        else
            plain_scale(y, a, centred, width);
        if (bias) add_bias(bias, y, 1, width);
    }
}

void add_bias(const lm_weight *bias, float *y, size_t n, size_t width) {
    if (!bias->values) return;
    for (size_t t = 0; t < n; t++, y += width)
        for (size_t i = 0; i < width; i++) y[i] = y[i] + bias->values[i];
}
