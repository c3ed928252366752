/* Codebooks and scales of `aq`, their codes being fixed: least squares on tr(E H E^T), E = W - diag(s) sum of entries.
 *
 * The equations for all entries of all codebooks are never written down: a step of conjugate gradients needs their
 * product with a direction, which is one sum of entries, one product with H and one gathering per code. */
#include <math.h>

#include "kernels/represent/additive.h"
#include "math/dense/dense.h"

enum { STEPS = 12 };

void additive_sum(const additive *a, const float *codebook, bool scaled, float *x) {
    size_t dim = a->dim, n = a->rows * a->groups;
    for (size_t i = 0; i < n; i++) {
        float *to = x + i * dim;
        memcpy(to, codebook + a->codes[i] * dim, dim * sizeof *to);
        for (size_t m = 1; m < a->n_books; m++) {
            const float *entry = codebook + (m * a->k + a->codes[m * n + i]) * dim;
            for (size_t j = 0; j < dim; j++) to[j] += entry[j];
        }
        if (scaled)
            for (size_t j = 0; j < dim; j++) to[j] *= a->scale[i / a->groups];
    }
}

/* Its transpose: sums of x[rows][n], times the scales, over the places of each entry. */
static void gather(const additive *a, const float *x, double *sums) {
    size_t dim = a->dim, n = a->rows * a->groups;
    memset(sums, 0, a->n_books * a->k * dim * sizeof *sums);
    for (size_t m = 0; m < a->n_books; m++)
        for (size_t i = 0; i < n; i++) {
            double *to = sums + (m * a->k + a->codes[m * n + i]) * dim, s = (double)a->scale[i / a->groups];
            for (size_t j = 0; j < dim; j++) to[j] += s * (double)x[i * dim + j];
        }
}

typedef struct times {
    const additive *a;
    const float *x;
    float *y;
} times;

enum { ROWS_AT_ONCE = 256 };

static pith_status times_part(void *opaque, size_t part) {
    const times *t = opaque;
    size_t first = part * ROWS_AT_ONCE, rows = PITH_MIN((size_t)ROWS_AT_ONCE, t->a->rows - first), n = t->a->n;
    dense_gemm(false, false, rows, n, n, 1, t->x + first * n, n, t->a->gram, n, 0, t->y + first * n, n);
    return PITH_OK;
}

void additive_times_gram(const additive *a, const float *x, float *y) {
    if (a->gram) {
        times t = {a, x, y};
        pith_parallel(a->ctx, (a->rows + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE, times_part, &t);
        return;
    }
    for (size_t i = 0; i < a->rows; i++)
        for (size_t j = 0; j < a->n; j++) y[i * a->n + j] = x[i * a->n + j] * a->diagonal[j];
}

pith_status additive_init(additive *a, unsigned iterations) {
    size_t n = a->rows * a->groups, size = n * a->dim;
    float *left = pith_alloc(a->ctx, size * sizeof *left), *cost = pith_alloc(a->ctx, a->n * sizeof *cost);
    pith_status status = left && cost ? PITH_OK : pith_alloc_status(a->ctx);
    double mean = 0;
    for (size_t j = 0; j < a->n; j++) mean += (double)a->diagonal[j] / (double)a->n;
    for (size_t j = 0; !status && j < a->n; j++) cost[j] = mean > 0 ? (float)((double)a->diagonal[j] / mean) : 1;
    for (size_t i = 0; !status && i < size; i++) {
        float s = a->scale[i / a->n];
        left[i] = s > 0 ? a->w[i] / s : 0;
    }
    for (size_t m = 0; m < a->n_books && !status; m++) {
        const vq_set set = {a->ctx, left, cost, n, a->dim, a->groups};
        float *codebook = a->codebook + m * a->k * a->dim;
        uint16_t *codes = a->codes + m * n;
        status = vq_fit(&set, a->k, iterations, vectors_random(&a->random), codebook);
        if (!status) status = vectors_round(a->ctx, codebook, a->k * a->dim);
        if (!status) status = vq_assign(&set, codebook, a->k, codes);
        for (size_t i = 0; i < n && !status; i++)
            for (size_t j = 0; j < a->dim; j++) left[i * a->dim + j] -= codebook[codes[i] * a->dim + j];
    }
    pith_free(a->ctx, left);
    pith_free(a->ctx, cost);
    return status;
}

static double dot(const double *x, const double *y, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

static double float_dot(const float *x, const float *y, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)y[i];
    return sum;
}

typedef struct gradients {
    double *r, *z, *p, *ap, *c, *weight; /* [n_books * k * dim] */
    float *direction;                    /* the same size */
    float *x, *y;                        /* [rows][n] */
} gradients;

/* E = W - diag(s) sum, into x; E H into y. */
static void residual(const additive *a, float *x, float *y) {
    additive_sum(a, a->codebook, true, x);
    for (size_t i = 0; i < a->rows * a->n; i++) x[i] = a->w[i] - x[i];
    additive_times_gram(a, x, y);
}

/* Conjugate gradients from where the codebooks are, each unknown divided by its own share of the matrix's diagonal. */
static void solve_codebooks(additive *a, gradients *g) {
    size_t size = a->n_books * a->k * a->dim, cells = a->rows * a->n;
    residual(a, g->x, g->y);
    gather(a, g->y, g->r);
    for (size_t i = 0; i < a->rows; i++)
        for (size_t j = 0; j < a->n; j++) g->x[i * a->n + j] = a->scale[i] * a->diagonal[j];
    gather(a, g->x, g->weight);
    double most = 0;
    for (size_t i = 0; i < size; i++) most = PITH_MAX(most, g->weight[i]);
    if (!(most > 0)) return;
    for (size_t i = 0; i < size; i++) {
        g->weight[i] = 1 / PITH_MAX(g->weight[i], 1e-9 * most);
        g->c[i] = (double)a->codebook[i];
        g->p[i] = g->z[i] = g->r[i] * g->weight[i];
    }
    double rz = dot(g->r, g->z, size), first = rz;
    for (int step = 0; step < STEPS && rz > 1e-10 * first; step++) {
        for (size_t i = 0; i < size; i++) g->direction[i] = (float)g->p[i];
        additive_sum(a, g->direction, true, g->x);
        additive_times_gram(a, g->x, g->y);
        gather(a, g->y, g->ap);
        double curve = float_dot(g->x, g->y, cells);
        if (!(curve > 0)) break;
        double alpha = rz / curve, next = 0;
        for (size_t i = 0; i < size; i++) {
            g->c[i] += alpha * g->p[i];
            g->r[i] -= alpha * g->ap[i];
            g->z[i] = g->r[i] * g->weight[i];
            next += g->r[i] * g->z[i];
        }
        for (size_t i = 0; i < size; i++) g->p[i] = g->z[i] + next / rz * g->p[i];
        rz = next;
    }
    for (size_t i = 0; i < size; i++) a->codebook[i] = (float)g->c[i];
}

/* s_i = w H v^T / v H v^T, v the row's sum of entries. */
static void solve_scales(additive *a, gradients *g) {
    additive_sum(a, a->codebook, false, g->x);
    additive_times_gram(a, g->x, g->y);
    for (size_t i = 0; i < a->rows; i++) {
        double up = float_dot(a->w + i * a->n, g->y + i * a->n, a->n),
               down = float_dot(g->x + i * a->n, g->y + i * a->n, a->n);
        if (down > 0) a->scale[i] = (float)(up / down);
    }
}

pith_status additive_refit(additive *a, double *loss) {
    size_t size = a->n_books * a->k * a->dim, cells = a->rows * a->n;
    gradients g = {0};
    double *doubles = pith_alloc(a->ctx, 6 * size * sizeof *doubles);
    g.direction = pith_alloc(a->ctx, size * sizeof *g.direction);
    g.x = pith_alloc(a->ctx, cells * sizeof *g.x);
    g.y = pith_alloc(a->ctx, cells * sizeof *g.y);
    pith_status status = doubles && g.direction && g.x && g.y ? PITH_OK : pith_alloc_status(a->ctx);
    if (!status) {
        double **parts[] = {&g.r, &g.z, &g.p, &g.ap, &g.c, &g.weight};
        for (size_t i = 0; i < PITH_COUNT(parts); i++) *parts[i] = doubles + i * size;
        solve_codebooks(a, &g);
        status = vectors_round(a->ctx, a->codebook, size);
    }
    if (!status) {
        solve_scales(a, &g);
        status = vectors_round(a->ctx, a->scale, a->rows);
    }
    if (!status) {
        residual(a, g.x, g.y);
        *loss = float_dot(g.x, g.y, cells);
    }
    pith_free(a->ctx, doubles);
    pith_free(a->ctx, g.direction);
    pith_free(a->ctx, g.x);
    pith_free(a->ctx, g.y);
    return status;
}
