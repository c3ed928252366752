/* W = V D: a dictionary D[r][cols] of directions, of which each row of V[rows][r] combines few (ROCKET).
 *
 * With S S^T = H the dictionary starts as the r largest right singular vectors of W S, where coefficients are exact
 * without solving; those worth least are dropped, the dictionary is solved for what is left of them (closed form), and
 * the better of both dictionaries is kept. The bytes are a bitmap of V, its numbers as halves, D as halves. */
#include <math.h>

#include "kernels/represent/vectors.h"
#include "math/dense/dense.h"
#include "math/math.h"

static const double POOL = 0.005; /* part of the coefficients that go to whichever row needs them most */

static size_t rank_of(const repr_job *job, const repr_matrix *w, double *nonzeros) {
    const double *value = job->args->value;
    double rows = (double)w->rows, cols = (double)w->cols, least = PITH_MIN(rows, cols),
           kept = value[DICT_KEEP] * rows * cols,
           rank = value[DICT_RANK] > 0 ? value[DICT_RANK] : floor(kept / (cols + rows / value[DICT_KS]));
    rank = PITH_MAX(PITH_MIN(rank, least), 1);
    double n = value[DICT_NONZEROS] > 0 ? value[DICT_NONZEROS] : (kept - rank * cols) / rows;
    *nonzeros = PITH_MAX(PITH_MIN(n, rank), 1);
    return (size_t)rank;
}

static pith_status decode(const repr_job *job, repr_reader *in, repr_matrix *w) {
    pith_ctx *ctx = job->ctx;
    double nonzeros;
    size_t r = rank_of(job, w, &nonzeros), n = w->rows * r, n_kept = 0;
    uint16_t *mask = pith_alloc(ctx, n * sizeof *mask);
    float *v = pith_zalloc(ctx, n * sizeof *v), *values = NULL, *d = NULL;
    pith_status status = mask && v ? PITH_OK : pith_alloc_status(ctx);
    if (!status) status = repr_unpack(job, in, mask, n, r, 2);
    for (size_t i = 0; !status && i < n; i++) n_kept += mask[i];
    if (!status) status = vectors_take(ctx, in, n_kept, "the coefficients of dict", &values);
    if (!status) status = vectors_take(ctx, in, r * w->cols, "the dictionary of dict", &d);
    if (!status) {
        for (size_t i = 0, at = 0; i < n; i++)
            if (mask[i]) v[i] = values[at++];
        memset(w->data, 0, w->rows * w->cols * sizeof *w->data);
        exact()->matmul(w->data, w->cols, v, r, 1, d, w->cols, w->rows, w->cols, r);
    }
    pith_free(ctx, mask);
    pith_free(ctx, v);
    pith_free(ctx, values);
    pith_free(ctx, d);
    return status;
}

/* ---- choosing coefficients ------------------------------------------------------------------------- */

/* The n-th largest of v[size], n >= 1; v is reordered (Hoare's selection). */
static float nth_largest(float *v, size_t size, size_t n) {
    size_t low = 0, high = size - 1, want = n - 1;
    while (low < high) {
        float pivot = v[low + (high - low) / 2];
        size_t i = low, j = high;
        for (;;) {
            while (v[i] > pivot) i++;
            while (v[j] < pivot) j--;
            if (i >= j) break;
            float x = v[i];
            v[i++] = v[j];
            v[j--] = x;
            if (i > j) break;
        }
        /* low..j are >= pivot, j+1..high are <= pivot */
        size_t split = j < high ? j : high - 1;
        if (want <= split)
            high = split;
        else
            low = split + 1;
    }
    return v[want];
}

/* Marks in mask[size] the n largest of worth[size] that are not marked, the first of equals. */
static pith_status mark(pith_ctx *ctx, const float *worth, size_t size, size_t n, uint16_t *mask) {
    float *copy = pith_alloc(ctx, PITH_MAX(size, 1u) * sizeof *copy);
    if (!copy) return pith_alloc_status(ctx);
    size_t open = 0, above = 0;
    for (size_t i = 0; i < size; i++)
        if (!mask[i]) copy[open++] = worth[i];
    n = PITH_MIN(n, open);
    if (n) {
        float least = nth_largest(copy, open, n);
        for (size_t i = 0; i < size; i++) above += !mask[i] && worth[i] > least;
        size_t equal = n - above;
        for (size_t i = 0; i < size; i++) {
            if (mask[i] || worth[i] < least || (worth[i] == least && !equal)) continue;
            equal -= worth[i] == least;
            mask[i] = 1;
        }
    }
    pith_free(ctx, copy);
    return PITH_OK;
}

/* Rows keep their most valuable ones, and the pool goes to the most valuable of all. */
static pith_status choose(pith_ctx *ctx, const float *v, const float *atom, size_t rows, size_t r, double nonzeros,
                          double lambda, uint16_t *mask) {
    float *worth = pith_alloc(ctx, rows * r * sizeof *worth);
    if (!worth) return pith_alloc_status(ctx);
    for (size_t i = 0; i < rows * r; i++) worth[i] = fabsf(v[i]) * (float)pow((double)atom[i % r], lambda);
    memset(mask, 0, rows * r * sizeof *mask);
    size_t own = (size_t)PITH_MAX(floor(nonzeros - POOL * (double)r), 0), all = (size_t)(nonzeros * (double)rows + 0.5);
    pith_status status = PITH_OK;
    for (size_t i = 0; i < rows && !status; i++) status = mark(ctx, worth + i * r, r, own, mask + i * r);
    if (!status && all > own * rows) status = mark(ctx, worth, rows * r, all - own * rows, mask);
    pith_free(ctx, worth);
    return status;
}

/* ---- fitting ------------------------------------------------------------------------------------------ */

typedef struct dict_fit {
    pith_ctx *ctx;
    size_t rows, cols, r;
    const float *w;
    lowrank_metric metric;
    float *v, *d;    /* [rows][r], [r][cols] */
    uint16_t *mask;  /* [rows][r] */
    float *y, *left; /* [rows][cols]: W S; scratch */
} dict_fit;

/* |(W - V D) S|^2 */
static double loss(dict_fit *f, const float *d) {
    float *e = pith_alloc(f->ctx, f->rows * f->cols * sizeof *e);
    if (!e) return INFINITY;
    memcpy(e, f->w, f->rows * f->cols * sizeof *e);
    dense_gemm(false, false, f->rows, f->cols, f->r, -1, f->v, f->r, d, f->cols, 1, e, f->cols);
    lowrank_into(&f->metric, e, f->rows, f->left);
    double sum = 0;
    for (size_t i = 0; i < f->rows * f->cols; i++) sum += (double)f->left[i] * (double)f->left[i];
    pith_free(f->ctx, e);
    return sum;
}

/* The kept coefficients of one row by least squares: G[J][J] x = b[J] (Cholesky in doubles). The row stays as it is
 * when G is singular there. */
static void solve_row(const float *g, const float *b, const uint16_t *mask, size_t r, double *work, size_t *index,
                      float *v) {
    size_t n = 0;
    for (size_t k = 0; k < r; k++)
        if (mask[k]) index[n++] = k;
    double *l = work, *x = work + n * n;
    for (size_t i = 0; i < n; i++) {
        x[i] = (double)b[index[i]];
        for (size_t j = 0; j <= i; j++) {
            double sum = (double)g[index[i] * r + index[j]] * (i == j ? 1 + 1e-6 : 1);
            for (size_t k = 0; k < j; k++) sum -= l[i * n + k] * l[j * n + k];
            if (i == j && !(sum > 0)) return;
            l[i * n + j] = i == j ? sqrt(sum) : sum / l[j * n + j];
        }
        for (size_t k = 0; k < i; k++) x[i] -= l[i * n + k] * x[k];
        x[i] /= l[i * n + i];
    }
    for (size_t i = n; i-- > 0;) {
        for (size_t k = i + 1; k < n; k++) x[i] -= l[k * n + i] * x[k];
        x[i] /= l[i * n + i];
    }
    for (size_t i = 0; i < n; i++) v[index[i]] = (float)x[i];
}

static pith_status refit_coefficients(dict_fit *f) {
    pith_ctx *ctx = f->ctx;
    size_t r = f->r, cols = f->cols;
    float *ds = pith_alloc(ctx, r * cols * sizeof *ds), *g = pith_alloc(ctx, r * r * sizeof *g),
          *b = pith_alloc(ctx, f->rows * r * sizeof *b);
    double *work = pith_alloc(ctx, (r * r + r) * sizeof *work);
    size_t *index = pith_alloc(ctx, r * sizeof *index);
    pith_status status = ds && g && b && work && index ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        lowrank_into(&f->metric, f->d, r, ds);
        dense_gemm(false, true, r, r, cols, 1, ds, cols, ds, cols, 0, g, r);
        dense_gemm(false, true, f->rows, r, cols, 1, f->y, cols, ds, cols, 0, b, r);
        for (size_t i = 0; i < f->rows; i++) solve_row(g, b + i * r, f->mask + i * r, r, work, index, f->v + i * r);
        status = vectors_round(ctx, f->v, f->rows * r);
    }
    pith_free(ctx, ds);
    pith_free(ctx, g);
    pith_free(ctx, b);
    pith_free(ctx, work);
    pith_free(ctx, index);
    return status;
}

/* The dictionary in closed form for the coefficients kept; the one there was when that one is better. */
static pith_status refit_dictionary(dict_fit *f) {
    float *d = pith_alloc(f->ctx, f->r * f->cols * sizeof *d);
    pith_status status =
        d ? lowrank_refit(f->ctx, f->w, f->rows, f->cols, f->r, 1e-3, f->v, d) : pith_alloc_status(f->ctx);
    if (!status) status = vectors_round(f->ctx, d, f->r * f->cols);
    if (!status && loss(f, d) <= loss(f, f->d)) memcpy(f->d, d, f->r * f->cols * sizeof *d);
    pith_free(f->ctx, d);
    return status;
}

static pith_status fit(const repr_job *job, dict_fit *f, double nonzeros) {
    pith_ctx *ctx = f->ctx;
    size_t r = f->r, cols = f->cols;
    float *vt = pith_alloc(ctx, r * cols * sizeof *vt), *atom = pith_alloc(ctx, r * sizeof *atom);
    pith_status status = vt && atom ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        lowrank_into(&f->metric, f->w, f->rows, f->y);
        status = lowrank_svd(ctx, f->y, f->rows, cols, r, f->v, vt);
    }
    if (!status) {
        lowrank_back(&f->metric, vt, r, f->d);
        for (size_t k = 0; k < r; k++) {
            double sum = 0;
            for (size_t j = 0; j < cols; j++) sum += (double)f->d[k * cols + j] * (double)f->d[k * cols + j];
            atom[k] = (float)sqrt(sum);
        }
        status = choose(ctx, f->v, atom, f->rows, r, nonzeros, job->args->value[DICT_LAMBDA], f->mask);
    }
    pith_free(ctx, vt);
    pith_free(ctx, atom);
    if (status) return status;
    for (size_t i = 0; i < f->rows * r; i++) f->v[i] = f->mask[i] ? f->v[i] : 0;
    lowrank_balance(f->rows, cols, r, f->v, f->d);
    status = vectors_round(ctx, f->v, f->rows * r);
    if (!status) status = vectors_round(ctx, f->d, r * cols);
    if (!status) status = refit_dictionary(f);
    unsigned rounds = (unsigned)job->args->value[DICT_ROUNDS];
    for (unsigned i = 0; i < rounds && !status; i++) {
        status = refit_coefficients(f);
        if (!status) status = refit_dictionary(f);
    }
    return status;
}

static pith_status write_codes(const repr_job *job, dict_fit *f, pith_buffer *out) {
    size_t n = f->rows * f->r, n_kept = 0;
    pith_status status = repr_pack(job, &(repr_plane){f->mask, n, f->r, 2}, out);
    for (size_t i = 0; i < n; i++)
        if (f->mask[i]) f->v[n_kept++] = f->v[i];
    if (!status) status = vectors_put(f->ctx, out, f->v, n_kept);
    return status ? status : vectors_put(f->ctx, out, f->d, f->r * f->cols);
}

static pith_status encode(const repr_job *job, const repr_matrix *w, pith_buffer *out, float *restored) {
    pith_ctx *ctx = job->ctx;
    double nonzeros;
    size_t r = rank_of(job, w, &nonzeros), start = out->size;
    pith_status status = vectors_check(job, w);
    if (status) return status;
    dict_fit f = {.ctx = ctx, .rows = w->rows, .cols = w->cols, .r = r, .w = w->data};
    status = lowrank_whiten(ctx, LOWRANK_EIG, job->stats, w->cols, &f.metric);
    f.v = pith_alloc(ctx, w->rows * r * sizeof *f.v);
    f.d = pith_alloc(ctx, r * w->cols * sizeof *f.d);
    f.mask = pith_alloc(ctx, w->rows * r * sizeof *f.mask);
    f.y = pith_alloc(ctx, w->rows * w->cols * sizeof *f.y);
    f.left = pith_alloc(ctx, w->rows * w->cols * sizeof *f.left);
    if (!status && (!f.v || !f.d || !f.mask || !f.y || !f.left)) status = pith_alloc_status(ctx);
    if (!status) status = fit(job, &f, nonzeros);
    if (!status) status = write_codes(job, &f, out);
    lowrank_metric_free(ctx, &f.metric);
    pith_free(ctx, f.v);
    pith_free(ctx, f.d);
    pith_free(ctx, f.mask);
    pith_free(ctx, f.y);
    pith_free(ctx, f.left);
    return status ? status : vectors_restore(job, decode, out, start, w, restored);
}

const repr_ops dictionary_ops = {.kind = REPR_CODER, .encode = encode, .decode = decode};
