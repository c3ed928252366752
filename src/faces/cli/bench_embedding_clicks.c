/* A log of clicks and a model that learns from it, for tables of embeddings. Eight fields of 400 to 12000 values,
 * Zipf's law in each, values numbered at random; a click's odds are a sum over fields and over pairs of them: logit = b
 * + sum_i v[x_i][0] + sum_(i<j) <v[x_i], v[x_j]> over the other columns (a factorisation machine, Rendle 2010), trained
 * by adaptive gradient steps (Duchi et al. 2011). A row v is one of the table's, or is made of others that rows share:
 * what is trained are those. One thread, the same for the same seed. */
#include "faces/cli/bench_embedding.h"
#include "kernels/measure/measure.h"

#include <math.h>
#include <stdlib.h>

enum { K = CLICK_COLUMNS, RANK = 3 };
static const unsigned values_of[CLICK_FIELDS] = {12000, 8000, 5000, 3000, 2000, 1000, 600, 400};

const char *const click_sharing_names[CLICKS_WAYS] = {"fewer columns",
                                                      "hash",
                                                      "sum of two hashes",
                                                      "quotient x remainder",
                                                      "own rows for frequent, hash",
                                                      "mixed dimensions, by frequency"};

/* How a row is made of parameters. */
typedef enum made { ALONE, ADDED, MULTIPLIED, PROJECTED } made;
typedef struct row_rule {
    size_t a, b;     /* where its numbers begin; b: of the other entry, or of the projection [n][K] */
    uint8_t made, n; /* PROJECTED: n numbers */
} row_rule;

typedef struct click_model {
    size_t n, cols; /* parameters; columns in use */
    float bias, *p, *seen;
    row_rule *rule; /* [rows] */
} click_model;

struct clicks {
    pith_ctx *ctx;
    uint64_t random;
    size_t rows, train, test;
    unsigned epochs;
    uint32_t *x; /* [train + test][CLICK_FIELDS] rows of the table */
    uint8_t *y;
    uint32_t *by_count; /* [rows] the most frequent first */
    float *counts, *table, bias;
};

static uint64_t next_random(uint64_t *state) { /* splitmix64 (Steele, Lea, Flood 2014) */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static double uniform(uint64_t *state) { return ((double)(next_random(state) >> 11) + 0.5) * 0x1p-53; }

static float normal(uint64_t *state) {
    double u = uniform(state);
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * uniform(state)));
}

/* ---- the log ---- */

/* Value number k of a field with probability as 1 / (k + 3): sums[k] of all up to it. */
static size_t draw(const double *sums, size_t n, uint64_t *state) {
    double u = uniform(state) * sums[n - 1];
    size_t low = 0, high = n - 1;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (sums[middle] > u)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static float pairs_of(const float *const *v, size_t from, size_t to) {
    float sum = 0;
    for (size_t d = from; d < to; d++) {
        float s = 0, squares = 0;
        for (size_t f = 0; f < CLICK_FIELDS; f++) s += v[f][d], squares += v[f][d] * v[f][d];
        sum += (s * s - squares) / 2;
    }
    return sum;
}

static pith_status draw_log(clicks *c) {
    double *sums = pith_alloc(c->ctx, c->rows * sizeof *sums);
    float *truth = pith_alloc(c->ctx, c->rows * (RANK + 1) * sizeof *truth);
    uint32_t *number = pith_alloc(c->ctx, c->rows * sizeof *number); /* of a field's k-th likeliest value */
    pith_status status = sums && truth && number ? PITH_OK : pith_alloc_status(c->ctx);
    for (size_t f = 0, at = 0; f < CLICK_FIELDS && !status; at += values_of[f++]) {
        double all = 0;
        for (size_t k = 0; k < values_of[f]; k++) {
            sums[at + k] = all += 1 / ((double)k + 3);
            size_t other = (size_t)(next_random(&c->random) % (k + 1)); /* Fisher and Yates */
            number[at + k] = number[at + other];
            number[at + other] = (uint32_t)(at + k);
        }
    }
    for (size_t i = 0; i < c->rows * (RANK + 1) && !status; i++) truth[i] = 0.6f * normal(&c->random);
    for (size_t n = 0; n < c->train + c->test && !status; n++) {
        const float *v[CLICK_FIELDS];
        float logit = -1;
        for (size_t f = 0, at = 0; f < CLICK_FIELDS; at += values_of[f++]) {
            uint32_t row = number[at + draw(sums + at, values_of[f], &c->random)];
            c->x[n * CLICK_FIELDS + f] = row;
            v[f] = truth + row * (RANK + 1);
            logit += 0.5f * v[f][RANK];
            if (n < c->train) c->counts[row] += 1;
        }
        logit += pairs_of(v, 0, RANK);
        c->y[n] = uniform(&c->random) < 1 / (1 + exp(-(double)logit));
    }
    pith_free(c->ctx, sums);
    pith_free(c->ctx, truth);
    pith_free(c->ctx, number);
    return status;
}

/* ---- rows and their slopes ---- */

static void row_of(const click_model *m, uint32_t row, float *v) {
    const row_rule *r = &m->rule[row];
    const float *a = m->p + r->a, *b = m->p + r->b;
    switch ((made)r->made) {
    case ADDED:
        for (size_t d = 0; d < m->cols; d++) v[d] = a[d] + b[d];
        break;
    case MULTIPLIED:
        for (size_t d = 0; d < m->cols; d++) v[d] = a[d] * b[d];
        break;
    case PROJECTED:
        for (size_t d = 0; d < m->cols; d++) {
            v[d] = 0;
            for (size_t k = 0; k < r->n; k++) v[d] += a[k] * b[k * K + d];
        }
        break;
    default: memcpy(v, a, m->cols * sizeof *v);
    }
}

static void descend(click_model *m, size_t at, float slope, float rate) {
    m->seen[at] += slope * slope;
    m->p[at] -= rate * slope / sqrtf(m->seen[at] + 1e-4f);
}

/* `slope` of the loss by the row's numbers becomes one by the parameters behind them. */
static void push(click_model *m, uint32_t row, const float *slope, float rate) {
    const row_rule *r = &m->rule[row];
    float a[K], b[K];
    switch ((made)r->made) {
    case MULTIPLIED:
        memcpy(a, m->p + r->a, m->cols * sizeof *a);
        memcpy(b, m->p + r->b, m->cols * sizeof *b);
        for (size_t d = 0; d < m->cols; d++) descend(m, r->a + d, slope[d] * b[d], rate);
        for (size_t d = 0; d < m->cols; d++) descend(m, r->b + d, slope[d] * a[d], rate);
        break;
    case PROJECTED:
        for (size_t k = 0; k < r->n; k++) {
            float sum = 0, was = m->p[r->a + k];
            for (size_t d = 0; d < m->cols; d++) sum += slope[d] * m->p[r->b + k * K + d];
            descend(m, r->a + k, sum, rate);
            for (size_t d = 0; d < m->cols; d++) descend(m, r->b + k * K + d, slope[d] * was, rate);
        }
        break;
    case ADDED:
        for (size_t d = 0; d < m->cols; d++) descend(m, r->a + d, slope[d], rate);
        for (size_t d = 0; d < m->cols; d++) descend(m, r->b + d, slope[d], rate);
        break;
    default:
        for (size_t d = 0; d < m->cols; d++) descend(m, r->a + d, slope[d], rate);
    }
}

static float logit_of(float bias, size_t cols, float v[CLICK_FIELDS][K]) {
    const float *rows[CLICK_FIELDS];
    float sum = bias;
    for (size_t f = 0; f < CLICK_FIELDS; f++) {
        rows[f] = v[f];
        sum += v[f][0];
    }
    return sum + pairs_of(rows, 1, cols);
}

static void train(const clicks *c, click_model *m) {
    for (unsigned epoch = 0; epoch < c->epochs; epoch++) {
        float rate = 0.05f / (float)(1 + epoch);
        for (size_t n = 0; n < c->train; n++) {
            const uint32_t *x = c->x + n * CLICK_FIELDS;
            float v[CLICK_FIELDS][K], sums[K] = {0};
            for (size_t f = 0; f < CLICK_FIELDS; f++) row_of(m, x[f], v[f]);
            for (size_t f = 0; f < CLICK_FIELDS; f++)
                for (size_t d = 1; d < m->cols; d++) sums[d] += v[f][d];
            float g = 1 / (1 + expf(-logit_of(m->bias, m->cols, v))) - c->y[n];
            m->bias -= 0.1f * rate * g;
            for (size_t f = 0; f < CLICK_FIELDS; f++) {
                float slope[K];
                slope[0] = g + 1e-4f * v[f][0];
                for (size_t d = 1; d < m->cols; d++) slope[d] = g * (sums[d] - v[f][d]) + 1e-4f * v[f][d];
                push(m, x[f], slope, rate);
            }
        }
    }
}

/* ---- what comes of it ---- */

pith_status clicks_auc(const clicks *c, const float *table, double *auc) {
    float *score = pith_alloc(c->ctx, c->test * sizeof *score);
    if (!score) return pith_alloc_status(c->ctx);
    for (size_t i = 0; i < c->test; i++) {
        float v[CLICK_FIELDS][K];
        for (size_t f = 0; f < CLICK_FIELDS; f++)
            memcpy(v[f], table + c->x[(c->train + i) * CLICK_FIELDS + f] * K, sizeof v[f]);
        score[i] = logit_of(0, K, v);
    }
    pith_status status = measure_auc(c->ctx, score, c->y + c->train, c->test, auc);
    pith_free(c->ctx, score);
    return status;
}

static void model_free(pith_ctx *ctx, click_model *m) {
    pith_free(ctx, m->p);
    pith_free(ctx, m->seen);
    pith_free(ctx, m->rule);
}

static pith_status model_new(const clicks *c, size_t n, size_t cols, click_model *m) {
    *m = (click_model){.n = n, .cols = cols};
    m->p = pith_alloc(c->ctx, n * sizeof *m->p);
    m->seen = pith_zalloc(c->ctx, n * sizeof *m->seen);
    m->rule = pith_zalloc(c->ctx, c->rows * sizeof *m->rule);
    uint64_t state = 77;
    for (size_t i = 0; i < n && m->p; i++) m->p[i] = 0.1f * normal(&state);
    return m->p && m->seen && m->rule ? PITH_OK : pith_alloc_status(c->ctx);
}

/* The table it stands for: columns that are not in use are 0. */
static void table_of(const clicks *c, const click_model *m, float *table) {
    memset(table, 0, c->rows * K * sizeof *table);
    for (size_t i = 0; i < c->rows; i++) row_of(m, (uint32_t)i, table + i * K);
}

typedef struct counted {
    float count;
    uint32_t row;
} counted;

static int by_count(const void *a, const void *b) {
    const counted *x = a, *y = b;
    return x->count != y->count ? (x->count < y->count) - (x->count > y->count) : (x->row > y->row) - (x->row < y->row);
}

static pith_status sort_rows(clicks *c) {
    counted *rows = pith_alloc(c->ctx, c->rows * sizeof *rows);
    if (!rows) return pith_alloc_status(c->ctx);
    for (size_t i = 0; i < c->rows; i++) rows[i] = (counted){c->counts[i], (uint32_t)i};
    qsort(rows, c->rows, sizeof *rows, by_count);
    for (size_t i = 0; i < c->rows; i++) c->by_count[i] = rows[i].row;
    pith_free(c->ctx, rows);
    return PITH_OK;
}

pith_status clicks_new(pith_ctx *ctx, uint64_t seed, size_t n_train, size_t n_test, unsigned epochs, clicks **out) {
    clicks *c = *out = pith_zalloc(ctx, sizeof *c);
    if (!c) return pith_alloc_status(ctx);
    *c = (clicks){.ctx = ctx, .random = seed, .train = n_train, .test = n_test, .epochs = epochs};
    for (size_t f = 0; f < CLICK_FIELDS; f++) c->rows += values_of[f];
    c->x = pith_alloc(ctx, (n_train + n_test) * CLICK_FIELDS * sizeof *c->x);
    c->y = pith_alloc(ctx, n_train + n_test);
    c->counts = pith_zalloc(ctx, c->rows * sizeof *c->counts);
    c->by_count = pith_alloc(ctx, c->rows * sizeof *c->by_count);
    c->table = pith_alloc(ctx, c->rows * K * sizeof *c->table);
    bool got = c->x && c->y && c->counts && c->by_count && c->table;
    pith_status status = got ? draw_log(c) : pith_alloc_status(ctx);
    click_model m = {0};
    if (!status) status = sort_rows(c);
    if (!status) status = model_new(c, c->rows * K, K, &m);
    if (!status) {
        for (size_t i = 0; i < c->rows; i++) m.rule[i].a = i * K;
        train(c, &m);
        table_of(c, &m, c->table);
        /* so that rows never seen do not count as nothing at all */
        for (size_t i = 0; i < c->rows; i++) c->counts[i] += 0.5f;
    }
    model_free(ctx, &m);
    return status;
}

void clicks_free(clicks *c) {
    if (!c) return;
    void *const owned[] = {c->x, c->y, c->counts, c->by_count, c->table};
    for (size_t i = 0; i < PITH_COUNT(owned); i++) pith_free(c->ctx, owned[i]);
    pith_free(c->ctx, c);
}

size_t clicks_rows(const clicks *c) { return c->rows; }
const float *clicks_table(const clicks *c) { return c->table; }
const float *clicks_counts(const clicks *c) { return c->counts; }

/* ---- smaller ones ---- */

static size_t hashed(size_t row, unsigned part, size_t n) {
    uint64_t state = row * 2 + part;
    return (size_t)(next_random(&state) % n);
}

/* The bytes of the marks that say which rows are the first of by_count: parts[n] of all rows. */
static pith_status mark_bytes(const clicks *c, const size_t *ends, size_t n, uint64_t *bytes) {
    uint16_t *codes = pith_alloc(c->ctx, c->rows * sizeof *codes);
    pith_buffer out = {0};
    pith_status status = codes ? PITH_OK : pith_alloc_status(c->ctx);
    for (size_t i = 0, band = 0; i < c->rows && !status; i++) {
        while (band + 1 < n && i >= ends[band]) band++;
        codes[c->by_count[i]] = (uint16_t)band;
    }
    repr_plane plane = {codes, c->rows, c->rows, (uint32_t)PITH_MAX(n, 2u)};
    if (!status) status = repr_plane_encode(c->ctx, "ctxac", &plane, NULL, &out);
    *bytes = out.size;
    pith_buffer_free(c->ctx, &out);
    pith_free(c->ctx, codes);
    return status;
}

static pith_status hash_model(const clicks *c, click_sharing way, size_t numbers, click_model *m, uint64_t *marks) {
    size_t n = numbers / K, own = way == CLICKS_OWN ? n / 2 : 0, shared = n - own, half = shared;
    *marks = 0;
    if (shared < 2 || (way == CLICKS_PRODUCT && (double)shared < 2.1 * sqrt((double)c->rows))) return PITH_OK;
    if (way == CLICKS_SUM) half = (shared + 1) / 2;
    if (way == CLICKS_PRODUCT)
        while (half + (c->rows + half - 1) / half > shared) half--;
    pith_status status = model_new(c, n * K, K, m);
    if (!status && way == CLICKS_OWN) status = mark_bytes(c, (size_t[]){own, c->rows}, 2, marks);
    for (size_t k = 0; k < c->rows && !status; k++) {
        size_t i = c->by_count[k];
        row_rule *r = &m->rule[i];
        if (k < own)
            *r = (row_rule){.a = k * K};
        else if (way == CLICKS_SUM)
            *r = (row_rule){hashed(i, 0, half) * K, (half + hashed(i, 1, shared - half)) * K, ADDED, 0};
        else if (way == CLICKS_PRODUCT)
            *r = (row_rule){i % half * K, (half + i / half) * K, MULTIPLIED, 0};
        else
            *r = (row_rule){.a = (own + hashed(i, 0, shared)) * K};
    }
    for (size_t i = half * K; i < n * K && way == CLICKS_PRODUCT && !status; i++) m->p[i] += 1;
    return status;
}

/* Four bands of rows with fewer and fewer columns, as bench_embedding_codes.c has them. */
static pith_status mixed_model(const clicks *c, size_t numbers, click_model *m, uint64_t *marks) {
    static const double part[4] = {0.02, 0.08, 0.3, 0.6}, wide[4] = {1, 0.58, 0.38, 0.28};
    size_t ends[4], rank[4] = {0}, n = 0;
    double below = 0;
    for (int k = 0; k < 4; k++) ends[k] = (size_t)((below += part[k]) * (double)c->rows + 0.5);
    ends[3] = c->rows;
    for (double t = 0.1; t < 8 * K; t += 0.1) {
        size_t r[4], all = 0;
        for (int k = 0; k < 4; k++) {
            r[k] = (size_t)fmin(floor(t * wide[k]), K);
            all += r[k] * (ends[k] - (k ? ends[k - 1] : 0) + K);
        }
        if (all > numbers) break;
        memcpy(rank, r, sizeof rank);
        n = all;
    }
    *marks = 0;
    if (!rank[0]) return PITH_OK;
    pith_status status = model_new(c, n + K, K, m); /* a row of zeros for those that get no column */
    if (!status) status = mark_bytes(c, ends, 4, marks);
    size_t at = 0;
    for (size_t k = 0, i = 0; k < 4 && !status; k++) {
        size_t projection = at;
        for (size_t j = 0; j < rank[k] * K; j++) m->p[at + j] *= 3;
        at += rank[k] * K;
        for (; i < ends[k]; i++, at += rank[k])
            m->rule[c->by_count[i]] = (row_rule){at, projection, PROJECTED, (uint8_t)rank[k]};
    }
    return status;
}

static pith_status to_halves(pith_ctx *ctx, float *p, size_t n) {
    pith_buffer b = {0};
    pith_status status = repr_put_halves(ctx, &b, p, n);
    repr_reader r = {b.data, b.data + b.size};
    if (!status && !repr_take_halves(&r, p, n)) status = repr_cut_off(ctx);
    pith_buffer_free(ctx, &b);
    return status;
}

pith_status clicks_train(const clicks *c, click_sharing way, double bits, uint64_t *bytes, double *auc) {
    size_t numbers = (size_t)(bits / 16 * (double)c->rows * K), cols = PITH_MIN(numbers / c->rows, (size_t)K);
    click_model m = {0};
    uint64_t marks = 0;
    pith_status status = PITH_OK;
    *bytes = 0;
    if (way == CLICKS_NARROW) {
        if (cols) status = model_new(c, c->rows * cols, cols, &m);
        for (size_t i = 0; i < c->rows && m.rule && !status; i++) m.rule[i].a = i * cols;
    } else if (way == CLICKS_MIXED) {
        status = mixed_model(c, numbers, &m, &marks);
    } else {
        status = hash_model(c, way, numbers, &m, &marks);
    }
    float *table = !status && m.p ? pith_alloc(c->ctx, c->rows * K * sizeof *table) : NULL;
    if (!status && m.p && !table) status = pith_alloc_status(c->ctx);
    if (!status && table) {
        train(c, &m);
        status = to_halves(c->ctx, m.p, m.n);
        if (!status) {
            table_of(c, &m, table);
            status = clicks_auc(c, table, auc);
        }
        *bytes = 2 * m.n + marks;
    }
    pith_free(c->ctx, table);
    model_free(c->ctx, &m);
    return status;
}
