/* The coder kmeans: one book of 2^bits values for the matrix, each weight its nearest.
 *
 * The book has the least weighted squared error: dynamic programming over the weights in order (Wang and Song 2011),
 * those that agree in their upper 16 bits taken together; a value's error is what the prefix sums of costs, costs
 * times weights and so on say. With `zero`, 0 is a value of the book that the others make room for.
 *
 *   exponent of the halves, the book in order, then a plane */
#include <math.h>

#include "kernels/represent/scalar.h"

enum { P_BITS, P_ZERO };
const pith_param kmeans_params[2] = {
    {.name = "bits", .type = PITH_P_INT, .min = 1, .max = 8, .def = 4, .unit = "bits", .doc = "of one code"},
    {.name = "zero", .type = PITH_P_FLAG, .def = 0, .doc = "0 is a value of the book"},
};
enum { MOST = 256, BINS = 1 << 16 };

typedef struct kmeans_coder {
    repr_columns base;
    const repr_job *job;
    size_t rows, cols;
    unsigned n_values;
    scalar_halves unit;
    uint16_t half[MOST];
    float book[MOST], middle[MOST]; /* ascending; middle[k] between k and k + 1 */
    uint16_t *codes;                /* [cols][rows] */
} kmeans_coder;

/* Prefix sums over n bins in order: of the cost, cost x, cost x^2. */
typedef struct kmeans_sums {
    double *w, *x, *xx;
    size_t n;
} kmeans_sums;

static double stretch_error(const kmeans_sums *s, size_t from, size_t to) {
    double w = s->w[to] - s->w[from], x = s->x[to] - s->x[from], e = s->xx[to] - s->xx[from];
    return w > 0 ? PITH_MAX(e - x * x / w, 0) : 0;
}

typedef struct kmeans_rows {
    const kmeans_sums *s;
    const double *before; /* [n + 1] least error of the bins below with one value less */
    double *now;
    uint32_t *cut; /* [n + 1] where the last stretch begins */
} kmeans_rows;

/* now[i] for i in [low, high], whose cuts lie in [from, to]: cuts move one way only. */
static void fill(const kmeans_rows *k, size_t low, size_t high, size_t from, size_t to) {
    size_t middle = low + (high - low) / 2, best_at = from;
    double best = INFINITY;
    for (size_t j = from; j <= PITH_MIN(middle, to); j++) {
        double e = k->before[j] + stretch_error(k->s, j, middle);
        if (e < best) best = e, best_at = j;
    }
    k->now[middle] = best;
    k->cut[middle] = (uint32_t)best_at;
    if (middle > low) fill(k, low, middle - 1, from, best_at);
    if (middle < high) fill(k, middle + 1, high, best_at, to);
}

/* The `want` values of the least error; fewer when there are fewer bins. */
static pith_status best_values(pith_ctx *ctx, const kmeans_sums *s, unsigned want, float *values, unsigned *n_values) {
    size_t n = s->n;
    unsigned k = (unsigned)PITH_MIN(want, n);
    *n_values = k;
    if (k == 0) return PITH_OK;
    double *error = pith_alloc(ctx, 2 * (n + 1) * sizeof *error);
    uint32_t *cuts = pith_alloc(ctx, (n + 1) * k * sizeof *cuts);
    pith_status status = error && cuts ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        double *before = error, *now = error + n + 1;
        for (size_t i = 0; i <= n; i++) now[i] = stretch_error(s, 0, i), cuts[i] = 0;
        for (unsigned v = 1; v < k; v++) {
            double *t = before;
            before = now, now = t;
            kmeans_rows rows = {s, before, now, cuts + v * (n + 1)};
            fill(&rows, 0, n, 0, n);
        }
        for (size_t v = k, to = n; v-- > 0;) {
            size_t from = cuts[v * (n + 1) + to];
            double w = s->w[to] - s->w[from];
            values[v] = w > 0 ? (float)((s->x[to] - s->x[from]) / w) : 0;
            to = from;
        }
    }
    pith_free(ctx, error);
    pith_free(ctx, cuts);
    return status;
}

/* Floats in the order of their bits, negative ones below. */
static unsigned bin_of(float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return (bits >> 31 ? ~bits : bits | UINT32_C(1) << 31) >> 16;
}

static void book_set(kmeans_coder *c, float *values, unsigned n) {
    if (c->job->args->value[P_ZERO] != 0) {
        unsigned at = n;
        while (at > 0 && values[at - 1] > 0) values[at] = values[at - 1], at--;
        values[at] = 0;
        n++;
    }
    for (unsigned k = 0; k < c->n_values; k++) {
        c->half[k] = scalar_half(&c->unit, n ? values[PITH_MIN(k, n - 1)] : 0);
        c->book[k] = scalar_widen(&c->unit, c->half[k]);
    }
    for (unsigned k = 0; k + 1 < c->n_values; k++) c->middle[k] = 0.5f * (c->book[k] + c->book[k + 1]);
}

static pith_status kmeans_enter(repr_columns *self, size_t first, size_t n, const float *w, const float *cost) {
    kmeans_coder *c = (kmeans_coder *)self;
    pith_ctx *ctx = c->job->ctx;
    (void)first;
    bool zero = c->job->args->value[P_ZERO] != 0;
    double *sums = pith_zalloc(ctx, 3 * (BINS + 1) * sizeof *sums);
    if (!sums) return pith_alloc_status(ctx);
    double total = 0;
    for (size_t j = 0; j < n; j++) total += (double)cost[j];
    kmeans_sums s = {sums, sums + BINS + 1, sums + 2 * (BINS + 1), 0};
    for (size_t j = 0; j < n; j++) {
        double each = total > 0 ? (double)cost[j] : 1;
        for (size_t r = 0; r < c->rows; r++) {
            double x = (double)w[j * c->rows + r];
            if (zero && w[j * c->rows + r] == 0) continue;
            size_t bin = bin_of(w[j * c->rows + r]) + 1;
            s.w[bin] += each, s.x[bin] += each * x, s.xx[bin] += each * x * x;
        }
    }
    for (size_t i = 1; i <= BINS; i++) {
        if (!(s.w[i] > 0)) continue;
        size_t k = ++s.n;
        s.w[k] = s.w[k - 1] + s.w[i], s.x[k] = s.x[k - 1] + s.x[i], s.xx[k] = s.xx[k - 1] + s.xx[i];
    }
    float values[MOST + 1];
    unsigned n_values = 0;
    pith_status status = best_values(ctx, &s, c->n_values - zero, values, &n_values);
    if (!status) book_set(c, values, n_values);
    pith_free(ctx, sums);
    return status;
}

static void kmeans_code(repr_columns *self, size_t column, const float *in, float *out) {
    kmeans_coder *c = (kmeans_coder *)self;
    uint16_t *codes = c->codes + column * c->rows;
    for (size_t r = 0; r < c->rows; r++) {
        unsigned code = 0;
        for (unsigned step = c->n_values / 2; step; step /= 2) code += in[r] > c->middle[code + step - 1] ? step : 0;
        codes[r] = (uint16_t)code;
        out[r] = c->book[code];
    }
}

static pith_status kmeans_finish(repr_columns *self, pith_buffer *out) {
    kmeans_coder *c = (kmeans_coder *)self;
    pith_status status = scalar_halves_put(c->job->ctx, &c->unit, out);
    if (!status) status = scalar_put_shorts(c->job->ctx, c->half, c->n_values, out);
    if (!status) status = scalar_put_plane(c->job, c->codes, c->rows, c->cols, c->n_values, out);
    return status;
}

static void kmeans_free(repr_columns *self) {
    kmeans_coder *c = (kmeans_coder *)self;
    pith_ctx *ctx = c->job->ctx;
    pith_free(ctx, c->codes);
    pith_free(ctx, c);
}

static pith_status kmeans_columns(const repr_job *job, const repr_matrix *w, repr_columns **out) {
    pith_ctx *ctx = job->ctx;
    size_t n;
    pith_status status = scalar_room(ctx, w->rows, w->cols, sizeof(float), &n);
    if (status) return status;
    kmeans_coder *c = pith_zalloc(ctx, sizeof *c);
    if (!c) return pith_alloc_status(ctx);
    c->base = (repr_columns){0, kmeans_enter, kmeans_code, kmeans_finish, kmeans_free};
    c->job = job;
    c->rows = w->rows, c->cols = w->cols;
    c->n_values = 1u << (unsigned)job->args->value[P_BITS];
    float largest = 0;
    for (size_t i = 0; i < n; i++) largest = PITH_MAX(largest, fabsf(w->data[i]));
    scalar_halves_for(&c->unit, largest);
    c->codes = pith_alloc(ctx, n * sizeof *c->codes);
    if (!c->codes) {
        status = pith_alloc_status(ctx);
        kmeans_free(&c->base);
        return status;
    }
    *out = &c->base;
    return PITH_OK;
}

static pith_status kmeans_decode(const repr_job *job, repr_reader *in, repr_matrix *w) {
    pith_ctx *ctx = job->ctx;
    size_t n, n_values = (size_t)1 << (unsigned)job->args->value[P_BITS];
    scalar_halves unit;
    pith_status status = scalar_room(ctx, w->rows, w->cols, sizeof(float), &n);
    if (status) return status;
    if (!scalar_halves_take(in, &unit)) return repr_cut_off(ctx);
    const uint8_t *p = repr_take(in, 2 * n_values);
    if (!p) return repr_cut_off(ctx);
    float book[MOST];
    for (size_t k = 0; k < n_values; k++) book[k] = scalar_widen(&unit, load16(p + 2 * k));
    uint16_t *codes = pith_alloc(ctx, n * sizeof *codes);
    if (!codes) return pith_alloc_status(ctx);
    status = scalar_take_plane(job, in, codes, n, w->cols, (uint32_t)n_values);
    for (size_t i = 0; !status && i < n; i++) w->data[i] = book[codes[i]];
    pith_free(ctx, codes);
    return status;
}

const repr_ops kmeans_ops = {.kind = REPR_CODER, .columns = kmeans_columns, .decode = kmeans_decode};
