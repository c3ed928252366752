/* pith bench moe, third part: the second of two experts left out of a token where its weight is small beside the
 * first's, unless the token is one that others attend to (MC-MoE, 2024: online dynamic pruning). The importance of
 * token j is |x_j|_1 times the mean attention that tokens from j on pay to it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "faces/cli/bench_moe.h"

typedef enum skip_rule { SKIP_NONE, SKIP_RATIO, SKIP_RANDOM } skip_rule;

typedef struct skip_work {
    moe_bench *b;
    const lm_shape *shape;
    lm_session *session;
    float *base; /* [n_rows][n_vocab] log-probabilities of the mixture itself */
    size_t n_chunks;
    lm_token *batch;
    float *row;
    /* of a rule at work */
    skip_rule rule;
    double quantile, protect; /* of the ratios below which is skipped; share of tokens that keep both */
    double importance[MOE_CTX], norm[MOE_CTX];
    bool kept[MOE_CTX];
    uint64_t n_routes, n_skipped, seed;
} skip_work;

static void on_hidden(void *opaque, uint32_t layer, uint32_t sequence, uint32_t first, size_t n, const float *h) {
    skip_work *w = opaque;
    (void)layer, (void)sequence, (void)first;
    for (size_t t = 0; t < n; t++) {
        w->importance[t] = w->norm[t] = 0;
        for (size_t j = 0; j < w->shape->n_embd; j++) w->norm[t] += fabs((double)h[t * w->shape->n_embd + j]);
    }
}

static void on_attention(void *opaque, uint32_t layer, uint32_t head, uint32_t sequence, uint32_t position,
                         const float *weights) {
    skip_work *w = opaque;
    (void)layer, (void)head, (void)sequence;
    for (uint32_t j = 0; j <= position; j++) w->importance[j] += (double)weights[j];
}

static int descending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

static void protect(skip_work *w, size_t n) {
    double sorted[MOE_CTX];
    size_t most = (size_t)ceil(w->protect * (double)n);
    for (size_t t = 0; t < n; t++) {
        w->importance[t] *= w->norm[t] / (double)(n - t);
        sorted[t] = w->importance[t];
    }
    qsort(sorted, n, sizeof *sorted, descending);
    for (size_t t = 0; t < n; t++) w->kept[t] = most && w->importance[t] >= sorted[most - 1];
}

static bool skipped(skip_work *w, uint32_t layer, const float *weights) {
    if (w->rule == SKIP_NONE) return false;
    if (w->rule == SKIP_RATIO)
        return (double)(weights[1] / weights[0]) < experts_stats_ratio(w->b->stats, layer, w->quantile);
    w->seed = w->seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(w->seed >> 40) / 16777216.0 < w->quantile;
}

static void on_route(void *opaque, uint32_t layer, uint32_t sequence, uint32_t first, size_t n, size_t n_used,
                     const uint32_t *experts, float *weights) {
    skip_work *w = opaque;
    (void)sequence, (void)first, (void)experts;
    if (w->protect > 0) protect(w, n);
    for (size_t t = 0; t < n; t++) {
        float *pair = weights + t * n_used;
        w->n_routes++;
        if ((w->protect > 0 && w->kept[t]) || !skipped(w, layer, pair)) continue;
        pair[0] = 1;
        pair[1] = 0;
        w->n_skipped++;
    }
}

/* One chunk; the second half is scored against the base, or becomes it. */
static pith_status read_chunk(skip_work *w, size_t chunk, double *kl) {
    const uint32_t *ids = w->b->judge.id + chunk * MOE_CTX;
    size_t half = MOE_CTX / 2, v = w->shape->n_vocab;
    for (size_t i = 0; i < MOE_CTX; i++) w->batch[i] = (lm_token){.id = ids[i], .want_logits = i >= half};
    pith_status status = lm_truncate(w->session, 0, 0);
    if (!status) status = lm_eval(w->session, w->batch, MOE_CTX);
    for (size_t i = 0; i < half && !status; i++) {
        float *base = w->base + (chunk * half + i) * v;
        if (w->rule == SKIP_NONE) {
            lm_log_softmax(lm_logits(w->session, i), base, v);
            continue;
        }
        lm_log_softmax(lm_logits(w->session, i), w->row, v);
        for (size_t j = 0; j < v; j++) *kl += exp((double)base[j]) * ((double)base[j] - (double)w->row[j]);
    }
    return status;
}

static int try_rule(experiment *e, skip_work *w, skip_rule rule, double quantile, double share, double *active,
                    double *kl) {
    bool attends = share > 0;
    lm_probe probe = {.opaque = w,
                      .route = on_route,
                      .hidden = attends ? on_hidden : NULL,
                      .attention = attends ? on_attention : NULL};
    pith_status status = PITH_OK;
    w->rule = rule, w->quantile = quantile, w->protect = share;
    w->n_routes = w->n_skipped = 0;
    w->seed = 1;
    *kl = 0;
    lm_set_probe(w->session, &probe);
    for (size_t c = 0; c < w->n_chunks && !status; c++) {
        status = read_chunk(w, c, kl);
        if (!status) status = pith_tick(e->ctx, c + 1, w->n_chunks);
    }
    lm_set_probe(w->session, NULL);
    *kl /= (double)(w->n_chunks * (MOE_CTX / 2));
    *active = w->n_routes ? 2 - (double)w->n_skipped / (double)w->n_routes : 2;
    return status ? exp_failed(e) : CLI_OK;
}

static int skip_table(experiment *e, skip_work *w) {
    static const double quantiles[] = {0.125, 0.25, 0.5, 0.75, 1};
    enum { MEDIAN = 2 };
    double active, kl, at_median[3], active_median[3], ignored;
    if (try_rule(e, w, SKIP_NONE, 0, 0, &active, &ignored) != CLI_OK) return CLI_FAIL;
    exp_table(e, "The second expert left out where its weight is small: experts computed for a token, KL",
              "part of tokens below|ratio: experts.3|KL.4|2 % kept: experts.3|KL.4|10 % kept: experts.3|KL.4|"
              "at random: KL.4");
    for (size_t q = 0; q < PITH_COUNT(quantiles); q++) {
        static const double shares[] = {0, 0.02, 0.10};
        double row[7];
        char label[32];
        snprintf(label, sizeof label, "%.1f %%", 100 * quantiles[q]);
        exp_step(e, label);
        for (size_t k = 0; k < PITH_COUNT(shares); k++) {
            /* everything is below the last quantile */
            double quantile = quantiles[q];
            if (try_rule(e, w, quantile < 1 ? SKIP_RATIO : SKIP_RANDOM, quantile, shares[k], &active, &kl) != CLI_OK)
                return CLI_FAIL;
            row[2 * k] = active, row[2 * k + 1] = kl;
            if (q == MEDIAN) at_median[k] = kl, active_median[k] = active;
        }
        if (try_rule(e, w, SKIP_RANDOM, 2 - row[0], 0, &active, &row[6]) != CLI_OK) return CLI_FAIL;
        EXP_ROW(e, label, row[0], row[1], row[2], row[3], row[4], row[5], row[6]);
        if (q == MEDIAN)
            exp_claim(e, row[1] < 0.8 * row[6],
                      "left out below the median ratio, the KL is at least 20 %% below that of as many at random: %.4f "
                      "against %.4f",
                      row[1], row[6]);
    }
    double plain = at_median[0] / (2 - active_median[0]), kept = at_median[1] / (2 - active_median[1]);
    exp_claim(e, kept < plain,
              "protecting the 2 %% of tokens most attended to lowers the KL by more than its share of experts: KL for "
              "each expert left out %.4f against %.4f",
              kept, plain);
    return CLI_OK;
}

int moe_skip(experiment *e, moe_bench *b) {
    skip_work w = {.b = b, .shape = lm_about(b->m)};
    w.n_chunks = PITH_MIN(b->judge.n / MOE_CTX, (size_t)b->n_chunks);
    if (w.shape->n_used != 2) {
        exp_note(e, "the second expert can be left out where there are two: here are %u", (unsigned)w.shape->n_used);
        return CLI_OK;
    }
    if (!w.n_chunks) return cli_error("moe: the text has too few tokens to be judged");
    lm_session_options o = {
        .n_ctx = MOE_CTX, .max_batch = MOE_CTX, .max_logits = MOE_CTX / 2, .n_threads = e->o.n_threads};
    size_t v = w.shape->n_vocab;
    w.base = pith_alloc(e->ctx, w.n_chunks * (MOE_CTX / 2) * v * sizeof *w.base);
    w.batch = pith_alloc(e->ctx, MOE_CTX * sizeof *w.batch);
    w.row = pith_alloc(e->ctx, v * sizeof *w.row);
    int result =
        w.base && w.batch && w.row && lm_session_new(e->ctx, b->m, &o, &w.session) == PITH_OK ? CLI_OK : exp_failed(e);
    if (result == CLI_OK) result = skip_table(e, &w);
    lm_session_free(w.session);
    pith_free(e->ctx, w.base);
    pith_free(e->ctx, w.batch);
    pith_free(e->ctx, w.row);
    return result;
}
