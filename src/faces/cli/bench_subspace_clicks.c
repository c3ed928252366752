/* Embeddings of a click-through model cut to fewer columns (S290: atomic feature mimicking). A log with Zipf-like
 * categories and interactions of low rank, a factorisation machine (Rendle 2010) trained on it by adaptive
 * gradient steps (Duchi et al. 2011), which move rare rows as far as frequent ones, and by plain ones:
 *   logit = b + sum_i w[x_i] + sum_(i<j) <v[x_i], v[x_j]>
 * Then every v is replaced by mean + U U^T (v - mean) with the leading eigenvectors of the covariance of what the table
 * gives out, so every row counts as often as it occurs. Beside it: singular vectors of the table itself, and
 * a table of a quarter of the rows which categories share by a hash, trained alike. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "faces/cli/bench_cuts.h"
#include "kernels/measure/measure.h"
#include "math/dense/dense.h"

enum { FIELDS = 8, VALUES = 6000, K = 16, TRUE_RANK = 3, LEFT = 4, TRAIN = 160000, TEST = 60000, EPOCHS = 4 };

typedef struct click_model {
    size_t rows;     /* of each field */
    float b, *w, *v; /* [FIELDS * rows], [FIELDS * rows][K] */
    float *seen;     /* [FIELDS * rows][K] sums of squared gradients, in training */
} click_model;

typedef struct click_log {
    uint16_t *x; /* [n][FIELDS] */
    uint8_t *y;  /* [n] */
} click_log;

typedef struct clicks {
    pith_ctx *ctx;
    uint64_t random;
    click_log log; /* TRAIN, then TEST */
    float *truth;  /* [FIELDS * VALUES][TRUE_RANK + 1] */
    double *often; /* [FIELDS * VALUES] in training */
} clicks;

static float normal(clicks *c) {
    double u = PITH_MAX(cuts_random(&c->random), 1e-12);
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * cuts_random(&c->random)));
}

static float pairs_of(const float *const *v, size_t k) {
    float sum = 0;
    for (size_t d = 0; d < k; d++) {
        float s = 0, squares = 0;
        for (size_t f = 0; f < FIELDS; f++) s += v[f][d], squares += v[f][d] * v[f][d];
        sum += (s * s - squares) / 2;
    }
    return sum;
}

/* Ranks with probability falling as 1 / (rank + 3). */
static void draw_log(clicks *c) {
    double sums[VALUES], all = 0;
    for (size_t i = 0; i < VALUES; i++) sums[i] = all += 1 / ((double)i + 3);
    for (size_t i = 0; i < (size_t)FIELDS * VALUES * (TRUE_RANK + 1); i++) c->truth[i] = 0.6f * normal(c);
    for (size_t n = 0; n < TRAIN + TEST; n++) {
        const float *v[FIELDS];
        float logit = -1;
        for (size_t f = 0; f < FIELDS; f++) {
            double u = cuts_random(&c->random) * all;
            size_t low = 0, high = VALUES - 1;
            while (low < high) {
                size_t middle = (low + high) / 2;
                if (sums[middle] > u)
                    high = middle;
                else
                    low = middle + 1;
            }
            c->log.x[n * FIELDS + f] = (uint16_t)low;
            v[f] = c->truth + (f * VALUES + low) * (TRUE_RANK + 1);
            logit += 0.5f * v[f][TRUE_RANK];
            if (n < TRAIN) c->often[f * VALUES + low] += 1;
        }
        logit += pairs_of(v, TRUE_RANK);
        c->log.y[n] = cuts_random(&c->random) < 1 / (1 + exp(-(double)logit));
    }
}

static size_t row_of(const click_model *m, size_t field, uint32_t value) {
    size_t at = m->rows == VALUES ? value : (size_t)((value * 2654435761u >> 8) % m->rows);
    return field * m->rows + at;
}

static float logit_of(const click_model *m, const uint16_t *x, size_t *row) {
    const float *v[FIELDS];
    float sum = m->b;
    for (size_t f = 0; f < FIELDS; f++) {
        row[f] = row_of(m, f, x[f]);
        v[f] = m->v + row[f] * K;
        sum += m->w[row[f]];
    }
    return sum + pairs_of(v, K);
}

static pith_status train(clicks *c, size_t rows, bool adaptive, click_model *m) {
    *m = (click_model){.rows = rows};
    m->w = pith_zalloc(c->ctx, FIELDS * rows * sizeof *m->w);
    m->v = pith_alloc(c->ctx, FIELDS * rows * K * sizeof *m->v);
    m->seen = pith_zalloc(c->ctx, FIELDS * rows * K * sizeof *m->seen);
    if (!m->w || !m->v || !m->seen) return pith_alloc_status(c->ctx);
    for (size_t i = 0; i < FIELDS * rows * K; i++) m->v[i] = 0.1f * normal(c);
    for (unsigned epoch = 0; epoch < EPOCHS; epoch++) {
        float rate = 0.05f / (float)(1 + epoch);
        for (size_t n = 0; n < TRAIN; n++) {
            size_t row[FIELDS];
            float sums[K] = {0};
            float g = 1 / (1 + expf(-logit_of(m, c->log.x + n * FIELDS, row))) - c->log.y[n];
            for (size_t f = 0; f < FIELDS; f++)
                for (size_t d = 0; d < K; d++) sums[d] += m->v[row[f] * K + d];
            m->b -= rate * g;
            for (size_t f = 0; f < FIELDS; f++) {
                float *v = m->v + row[f] * K;
                m->w[row[f]] -= rate * g;
                for (size_t d = 0; d < K; d++) {
                    float slope = g * (sums[d] - v[d]) + 1e-4f * v[d], *seen = &m->seen[row[f] * K + d];
                    *seen += slope * slope;
                    v[d] -= rate * (adaptive ? slope / sqrtf(*seen + 1e-4f) : slope);
                }
            }
        }
    }
    pith_free(c->ctx, m->seen);
    m->seen = NULL;
    return PITH_OK;
}

static pith_status measure(clicks *c, const click_model *m, double *auc, double *loss) {
    float *score = pith_alloc(c->ctx, TEST * sizeof *score);
    size_t row[FIELDS];
    if (!score) return pith_alloc_status(c->ctx);
    *loss = 0;
    for (size_t i = 0; i < TEST; i++) {
        size_t n = TRAIN + i;
        score[i] = logit_of(m, c->log.x + n * FIELDS, row);
        *loss += log1p(exp(c->log.y[n] ? -(double)score[i] : (double)score[i])) / TEST;
    }
    pith_status status = measure_auc(c->ctx, score, c->log.y + TRAIN, TEST, auc);
    pith_free(c->ctx, score);
    return status;
}

/* All rows onto LEFT directions, one basis for the table: weighted by how often they occur and about their mean, or
 * neither. */
static pith_status project(clicks *c, const click_model *from, bool outputs, click_model *to) {
    size_t n = (size_t)FIELDS * VALUES;
    double mean[K] = {0}, second[K * K] = {0}, all = 0;
    float cov[K * K], q[K * K], values[K];
    *to = (click_model){.rows = VALUES, .b = from->b, .w = from->w};
    to->v = pith_alloc(c->ctx, n * K * sizeof *to->v);
    if (!to->v) return pith_alloc_status(c->ctx);
    for (size_t i = 0; i < n; i++) {
        const float *v = from->v + i * K;
        double count = outputs ? c->often[i] : 1;
        all += count;
        for (size_t a = 0; a < K; a++) {
            if (outputs) mean[a] += count * v[a];
            for (size_t b = 0; b <= a; b++) second[a * K + b] += count * v[a] * v[b];
        }
    }
    for (size_t a = 0; a < K; a++) mean[a] /= all;
    for (size_t a = 0; a < K; a++)
        for (size_t b = 0; b <= a; b++)
            cov[a * K + b] = cov[b * K + a] = (float)(second[a * K + b] / all - mean[a] * mean[b]);
    pith_status status = dense_eigen(c->ctx, cov, K, q, values);
    for (size_t i = 0; i < n && !status; i++)
        for (size_t a = 0; a < K; a++) {
            double sum = mean[a];
            for (size_t r = K - LEFT; r < K; r++) {
                double x = 0;
                for (size_t b = 0; b < K; b++) x += q[b * K + r] * (from->v[i * K + b] - mean[b]);
                sum += q[a * K + r] * x;
            }
            to->v[i * K + a] = (float)sum;
        }
    return status;
}

enum { FULL, OUTPUTS, TABLE, HASHED, WAYS };

static pith_status one_training(experiment *e, clicks *c, bool adaptive, double *auc) {
    static const char *const names[] = {"all 16 columns", "4 by covariance of outputs", "4 by the table's own SVD",
                                        "a hashed quarter of rows"};
    double n = (double)FIELDS * VALUES, basis = K * LEFT, loss = 0;
    const double numbers[] = {n * K, n * LEFT + basis + K, n * LEFT + basis, n / 4 * K};
    click_model m[WAYS] = {{.rows = 0}};
    pith_status status = train(c, VALUES, adaptive, &m[FULL]);
    if (!status) status = project(c, &m[FULL], true, &m[OUTPUTS]);
    if (!status) status = project(c, &m[FULL], false, &m[TABLE]);
    if (!status) status = train(c, VALUES / 4, adaptive, &m[HASHED]);
    for (int i = 0; i < WAYS && !status; i++) {
        char label[64];
        status = measure(c, &m[i], &auc[i], &loss);
        snprintf(label, sizeof label, "%s, %s", adaptive ? "adaptive" : "plain", names[i]);
        if (!status) EXP_ROW(e, label, 4 * numbers[i], auc[i], loss);
    }
    for (int i = 0; i < WAYS; i++) {
        pith_free(c->ctx, m[i].v);
        pith_free(c->ctx, m[i].seen);
    }
    pith_free(c->ctx, m[FULL].w);
    pith_free(c->ctx, m[HASHED].w);
    return status;
}

int subspace_clicks(experiment *e, uint64_t seed) {
    double auc[2][WAYS] = {{0}};
    clicks c = {.ctx = e->ctx, .random = seed};
    c.log.x = pith_alloc(c.ctx, (TRAIN + TEST) * FIELDS * sizeof *c.log.x);
    c.log.y = pith_alloc(c.ctx, TRAIN + TEST);
    c.truth = pith_alloc(c.ctx, (size_t)FIELDS * VALUES * (TRUE_RANK + 1) * sizeof *c.truth);
    c.often = pith_zalloc(c.ctx, (size_t)FIELDS * VALUES * sizeof *c.often);
    pith_status status = c.log.x && c.log.y && c.truth && c.often ? PITH_OK : pith_alloc_status(c.ctx);
    exp_step(e, "learning clicks");
    exp_table(e, "A table of embeddings for click-through (S290), not trained again after the cut",
              "steps, embeddings|bytes.0|AUC.4|log loss.4");
    if (!status) draw_log(&c);
    for (int plain = 0; plain < 2 && !status; plain++) status = one_training(e, &c, !plain, auc[plain]);
    for (int plain = 0; plain < 2 && !status; plain++)
        exp_claim(
            e, auc[plain][OUTPUTS] > auc[plain][TABLE] && auc[plain][OUTPUTS] > auc[plain][HASHED],
            "S290: %s steps, a quarter of the bytes: AUC by covariance of outputs %.4f > the table's SVD %.4f and "
            "hashed %.4f",
            plain ? "plain" : "adaptive", auc[plain][OUTPUTS], auc[plain][TABLE], auc[plain][HASHED]);
    if (!status)
        exp_claim(e, auc[0][OUTPUTS] >= auc[0][FULL] && auc[1][OUTPUTS] >= auc[1][FULL],
                  "S290: and above the whole table without training again: %.4f, %.4f", auc[0][FULL], auc[1][FULL]);
    void *const owned[] = {c.log.x, c.log.y, c.truth, c.often};
    for (size_t i = 0; i < PITH_COUNT(owned); i++) pith_free(c.ctx, owned[i]);
    return status ? exp_failed(e) : CLI_OK;
}
