/* The algebra of a curvature that is a product of two. */
#include "kernels/select/kronecker.h"

#include <math.h>

#include "math/dense/dense.h"

/* One factor, damped, in full; NULL matrices for the identity. What is gone touches nothing and has diagonal 1. */
typedef struct factor {
    size_t n;
    float *m, *inverse; /* [n][n] */
    uint8_t *gone;      /* [n] */
} factor;

struct select_kronecker {
    factor g, a; /* of the rows, of the columns */
};

static void free_factor(pith_ctx *ctx, factor *f) {
    pith_free(ctx, f->m);
    pith_free(ctx, f->inverse);
    pith_free(ctx, f->gone);
}

/* packed[] = the damped factor without what is gone. */
static void prepare(const float *from, const factor *f, double damp, float *packed) {
    double mean = 0;
    size_t n_live = 0;
    for (size_t i = 0; i < f->n; i++)
        if (!f->gone[i]) mean += (double)from[DENSE_PACKED(i) + i], n_live++;
    mean = n_live ? mean / (double)n_live : 0;
    if (!(mean > 0)) mean = 1; /* nothing was seen: all count the same */
    for (size_t i = 0; i < f->n; i++) {
        for (size_t j = 0; j < i; j++)
            packed[DENSE_PACKED(i) + j] = f->gone[i] || f->gone[j] ? 0 : from[DENSE_PACKED(i) + j];
        packed[DENSE_PACKED(i) + i] = (float)(f->gone[i] ? mean : (double)from[DENSE_PACKED(i) + i] + damp * mean);
    }
}

/* The factorisation may have to damp more: then so does everything. */
static void damp_more(factor *f, double used) {
    double mean = 0;
    for (size_t i = 0; i < f->n; i++) mean += (double)f->m[i * f->n + i] / (double)f->n;
    for (size_t i = 0; i < f->n; i++) f->m[i * f->n + i] += (float)(used * mean);
}

static pith_status make_factor(pith_ctx *ctx, const float *from, double damp, const uint8_t *gone, factor *f) {
    size_t n = f->n;
    f->gone = pith_zalloc(ctx, n);
    if (!f->gone) return pith_alloc_status(ctx);
    if (gone) memcpy(f->gone, gone, n);
    if (!from) return PITH_OK;
    float *packed = pith_alloc(ctx, DENSE_PACKED(n) * sizeof *packed), *u = pith_alloc(ctx, n * n * sizeof *u);
    f->m = pith_alloc(ctx, n * n * sizeof *f->m);
    f->inverse = pith_alloc(ctx, n * n * sizeof *f->inverse);
    double used = 0;
    pith_status status = packed && u && f->m && f->inverse ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        prepare(from, f, damp, packed);
        status = dense_cholesky_inverse(ctx, packed, n, 0, u, NULL, &used);
    }
    if (!status) {
        dense_unpack(packed, n, f->m);
        if (used > 0) damp_more(f, used);
        dense_gemm(true, false, n, n, n, 1, u, n, u, n, 0, f->inverse, n);
    }
    pith_free(ctx, packed);
    pith_free(ctx, u);
    return status;
}

pith_status select_kronecker_new(pith_ctx *ctx, const float *a, const float *g, size_t rows, size_t cols, double damp_a,
                                 double damp_g, const uint8_t *row_gone, const uint8_t *col_gone,
                                 select_kronecker **out) {
    *out = NULL;
    if (!(damp_a >= 0 && damp_a <= 1 && damp_g >= 0 && damp_g <= 1))
        return pith_fail(ctx, PITH_E_ARGUMENT, "dampings of %g and %g, expected 0 to 1", damp_a, damp_g);
    if (rows == 0 || cols == 0) return pith_fail(ctx, PITH_E_ARGUMENT, "curvature of an empty matrix");
    select_kronecker *k = pith_zalloc(ctx, sizeof *k);
    if (!k) return pith_alloc_status(ctx);
    k->g.n = rows;
    k->a.n = cols;
    pith_status status = make_factor(ctx, g, damp_g, row_gone, &k->g);
    if (!status) status = make_factor(ctx, a, damp_a, col_gone, &k->a);
    if (status)
        select_kronecker_free(ctx, k);
    else
        *out = k;
    return status;
}

void select_kronecker_free(pith_ctx *ctx, select_kronecker *k) {
    if (!k) return;
    free_factor(ctx, &k->g);
    free_factor(ctx, &k->a);
    pith_free(ctx, k);
}

/* ---- costs -------------------------------------------------------------------------------------------- */

static double diagonal(const factor *f, size_t i) { return f->m ? (double)f->m[i * f->n + i] : 1; }
static double inverse_diagonal(const factor *f, size_t i) { return f->inverse ? (double)f->inverse[i * f->n + i] : 1; }

/* out = G w and w A, for a factor that is not the identity; else w itself. */
static const float *times_g(const select_kronecker *k, const float *w, float *out) {
    size_t rows = k->g.n, cols = k->a.n;
    if (!k->g.m) return w;
    dense_gemm(false, false, rows, cols, rows, 1, k->g.m, rows, w, cols, 0, out, cols);
    return out;
}
static const float *times_a(const select_kronecker *k, const float *w, float *out) {
    size_t rows = k->g.n, cols = k->a.n;
    if (!k->a.m) return w;
    dense_gemm(false, false, rows, cols, cols, 1, w, cols, k->a.m, cols, 0, out, cols);
    return out;
}

static void diagonal_costs(const select_kronecker *k, const float *w, double *by_row, double *by_col) {
    for (size_t i = 0; i < k->g.n; i++)
        for (size_t j = 0; j < k->a.n; j++) {
            double x = w[i * k->a.n + j], cost = 0.5 * x * x * diagonal(&k->g, i) * diagonal(&k->a, j);
            by_row[i] += cost;
            by_col[j] += cost;
        }
}

pith_status select_kronecker_costs(pith_ctx *ctx, const select_kronecker *k, kronecker_rule rule, const float *w,
                                   double *by_row, double *by_col) {
    size_t rows = k->g.n, cols = k->a.n;
    memset(by_row, 0, rows * sizeof *by_row);
    memset(by_col, 0, cols * sizeof *by_col);
    if (rule == KRONECKER_DIAGONAL) {
        diagonal_costs(k, w, by_row, by_col);
    } else {
        float *room = pith_alloc(ctx, rows * cols * sizeof *room);
        if (!room) return pith_alloc_status(ctx);
        const float *wa = times_a(k, w, room);
        for (size_t i = 0; i < rows * cols; i++) by_row[i / cols] += 0.5 * (double)wa[i] * w[i];
        const float *gw = times_g(k, w, room);
        for (size_t i = 0; i < rows * cols; i++) by_col[i % cols] += 0.5 * (double)gw[i] * w[i];
        pith_free(ctx, room);
        bool obs = rule == KRONECKER_OBS;
        for (size_t i = 0; i < rows; i++) by_row[i] *= obs ? 1 / inverse_diagonal(&k->g, i) : diagonal(&k->g, i);
        for (size_t j = 0; j < cols; j++) by_col[j] *= obs ? 1 / inverse_diagonal(&k->a, j) : diagonal(&k->a, j);
    }
    for (size_t i = 0; i < rows; i++)
        if (k->g.gone[i]) by_row[i] = 0;
    for (size_t j = 0; j < cols; j++)
        if (k->a.gone[j]) by_col[j] = 0;
    return PITH_OK;
}

void select_kronecker_elements(const select_kronecker *k, kronecker_rule rule, const float *w, float *costs) {
    size_t cols = k->a.n;
    for (size_t i = 0; i < k->g.n; i++)
        for (size_t j = 0; j < cols; j++) {
            double x = w[i * cols + j], weight = diagonal(&k->g, i) * diagonal(&k->a, j);
            if (rule == KRONECKER_OBS) weight = 1 / (inverse_diagonal(&k->g, i) * inverse_diagonal(&k->a, j));
            costs[i * cols + j] = k->g.gone[i] || k->a.gone[j] ? 0 : (float)(0.5 * x * x * weight);
        }
}

/* ---- removal ------------------------------------------------------------------------------------------ */

/* x[n][k] with the marked rows made zero and the others, but for those gone before, changed to make up for it:
 * x_f += M_ff^-1 M_fr x_r. */
static pith_status remove_rows(pith_ctx *ctx, const factor *f, const uint8_t *go, float *x, size_t k) {
    size_t n = f->n, n_kept = 0, n_gone = 0;
    uint32_t *kept = pith_alloc(ctx, n * sizeof *kept), *gone = pith_alloc(ctx, n * sizeof *gone);
    for (size_t i = 0; i < n && kept && gone; i++) {
        if (f->gone[i]) continue;
        if (go[i])
            gone[n_gone++] = (uint32_t)i;
        else
            kept[n_kept++] = (uint32_t)i;
    }
    bool solve = f->m && n_kept && n_gone;
    float *square = solve ? pith_alloc(ctx, n_kept * n_kept * sizeof *square) : NULL;
    float *cross = solve ? pith_alloc(ctx, n_kept * n_gone * sizeof *cross) : NULL;
    float *out = solve ? pith_alloc(ctx, n_gone * k * sizeof *out) : NULL;
    float *b = solve ? pith_alloc(ctx, n_kept * k * sizeof *b) : NULL;
    pith_status status = kept && gone && (!solve || (square && cross && out && b)) ? PITH_OK : pith_alloc_status(ctx);
    for (size_t i = 0; i < n_kept && solve && !status; i++) {
        const float *row = f->m + kept[i] * n;
        for (size_t j = 0; j < n_kept; j++) square[i * n_kept + j] = row[kept[j]];
        for (size_t j = 0; j < n_gone; j++) cross[i * n_gone + j] = row[gone[j]];
    }
    if (solve && !status) {
        for (size_t i = 0; i < n_gone; i++) memcpy(out + i * k, x + gone[i] * k, k * sizeof *x);
        dense_gemm(false, false, n_kept, k, n_gone, 1, cross, n_gone, out, k, 0, b, k);
        status = dense_solve(ctx, square, n_kept, 0, b, k);
    }
    for (size_t i = 0; i < n_kept && solve && !status; i++)
        for (size_t j = 0; j < k; j++) x[kept[i] * k + j] += b[i * k + j];
    for (size_t i = 0; i < n && !status; i++)
        if (go[i] || f->gone[i]) memset(x + i * k, 0, k * sizeof *x);
    void *const owned[] = {kept, gone, square, cross, out, b};
    for (size_t i = 0; i < PITH_COUNT(owned); i++) pith_free(ctx, owned[i]);
    return status;
}

static void transpose(const float *from, size_t rows, size_t cols, float *to) {
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++) to[j * rows + i] = from[i * cols + j];
}

pith_status select_kronecker_remove(pith_ctx *ctx, const select_kronecker *k, const uint8_t *rows_go,
                                    const uint8_t *cols_go, float *w) {
    size_t rows = k->g.n, cols = k->a.n;
    float *turned = pith_alloc(ctx, rows * cols * sizeof *turned);
    if (!turned) return pith_alloc_status(ctx);
    pith_status status = remove_rows(ctx, &k->g, rows_go, w, cols);
    if (!status) {
        transpose(w, rows, cols, turned);
        status = remove_rows(ctx, &k->a, cols_go, turned, rows);
    }
    if (!status) transpose(turned, cols, rows, w);
    pith_free(ctx, turned);
    return status;
}

static double inverse_at(const factor *f, size_t i, size_t j) {
    return f->inverse ? (double)f->inverse[i * f->n + j] : i == j;
}

pith_status select_kronecker_remove_elements(pith_ctx *ctx, const select_kronecker *k, const uint32_t *at, size_t n,
                                             float *w) {
    size_t rows = k->g.n, cols = k->a.n;
    if (n == 0) return PITH_OK;
    float *square = pith_alloc(ctx, n * n * sizeof *square), *l = pith_alloc(ctx, n * sizeof *l);
    pith_status status = square && l ? PITH_OK : pith_alloc_status(ctx);
    for (size_t i = 0; i < n && !status; i++) {
        l[i] = w[at[i]];
        for (size_t j = 0; j < n; j++)
            square[i * n + j] =
                (float)(inverse_at(&k->g, at[i] / cols, at[j] / cols) * inverse_at(&k->a, at[i] % cols, at[j] % cols));
    }
    if (!status) status = dense_solve(ctx, square, n, 0, l, 1);
    for (size_t s = 0; s < n && !status; s++)
        for (size_t i = 0; i < rows; i++) {
            double x = l[s] * inverse_at(&k->g, i, at[s] / cols);
            if (x == 0) continue;
            for (size_t j = 0; j < cols; j++) w[i * cols + j] -= (float)(x * inverse_at(&k->a, at[s] % cols, j));
        }
    for (size_t s = 0; s < n && !status; s++) w[at[s]] = 0;
    pith_free(ctx, square);
    pith_free(ctx, l);
    return status;
}

pith_status select_kronecker_loss(pith_ctx *ctx, const select_kronecker *k, const float *from, const float *to,
                                  double *out) {
    size_t n = k->g.n * k->a.n;
    float *d = pith_alloc(ctx, n * sizeof *d), *left = pith_alloc(ctx, n * sizeof *left),
          *right = pith_alloc(ctx, n * sizeof *right);
    pith_status status = d && left && right ? PITH_OK : pith_alloc_status(ctx);
    *out = 0;
    if (!status) {
        for (size_t i = 0; i < n; i++) d[i] = to[i] - from[i];
        const float *gd = times_g(k, d, left), *da = times_a(k, d, right);
        for (size_t i = 0; i < n; i++) *out += 0.5 * (double)gd[i] * da[i];
    }
    pith_free(ctx, d);
    pith_free(ctx, left);
    pith_free(ctx, right);
    return status;
}

/* ---- one threshold ------------------------------------------------------------------------------------- */

typedef struct unit {
    double cost;
    uint32_t matrix, index;
    bool column;
} unit;

static int by_cost(const void *x, const void *y) {
    const unit *a = x, *b = y;
    if (a->cost != b->cost) return a->cost < b->cost ? -1 : 1;
    if (a->matrix != b->matrix) return a->matrix < b->matrix ? -1 : 1;
    if (a->column != b->column) return a->column ? 1 : -1;
    return (a->index > b->index) - (a->index < b->index);
}

/* Units that are there still. false: a cost is NaN. */
static bool list_units(const select_units *m, uint32_t number, unit *units, size_t *n) {
    for (size_t i = 0; i < m->rows; i++) {
        if (isnan(m->by_row[i])) return false;
        if (!m->rows_go[i]) units[(*n)++] = (unit){m->by_row[i], number, (uint32_t)i, false};
    }
    for (size_t j = 0; j + m->fixed < m->cols; j++) {
        if (isnan(m->by_col[j])) return false;
        if (!m->cols_go[j]) units[(*n)++] = (unit){m->by_col[j], number, (uint32_t)j, true};
    }
    return true;
}

static size_t count(const uint8_t *marks, size_t n) {
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += marks[i] != 0;
    return sum;
}

pith_status select_units_cut(pith_ctx *ctx, const select_units *matrices, size_t n, uint64_t target, uint64_t *gone) {
    size_t most = 0, n_units = 0;
    bool good = true;
    *gone = 0;
    for (size_t i = 0; i < n; i++) most += matrices[i].rows + matrices[i].cols;
    unit *units = pith_alloc(ctx, most * sizeof *units + 1);
    size_t *left = pith_alloc(ctx, 2 * n * sizeof *left + 1); /* rows and columns of each matrix */
    if (!units || !left) {
        pith_free(ctx, units);
        pith_free(ctx, left);
        return pith_alloc_status(ctx);
    }
    for (size_t i = 0; i < n; i++) {
        const select_units *m = &matrices[i];
        size_t cols = m->cols - m->fixed;
        left[2 * i] = m->rows - count(m->rows_go, m->rows);
        left[2 * i + 1] = cols - count(m->cols_go, cols);
        *gone += (uint64_t)m->rows * cols - (uint64_t)left[2 * i] * left[2 * i + 1];
        good = good && list_units(m, (uint32_t)i, units, &n_units);
    }
    qsort(units, n_units, sizeof *units, by_cost);
    for (size_t i = 0; i < n_units && good; i++) {
        const unit *u = &units[i];
        size_t *sides = left + 2 * u->matrix;
        uint64_t here = sides[!u->column]; /* a row has as many parameters as there are columns left */
        if (*gone + here > target) break;
        *gone += here;
        sides[u->column]--;
        (u->column ? matrices[u->matrix].cols_go : matrices[u->matrix].rows_go)[u->index] = 1;
    }
    pith_free(ctx, units);
    pith_free(ctx, left);
    return good ? PITH_OK : pith_fail(ctx, PITH_E_ARGUMENT, "selection: a cost that is no number");
}
