/* PruneNet (S294): which rows of the first feed-forward matrix W stay is learnt without any text. A policy linear in a
 * row, alpha = sigmoid(p . w + c), draws rows; what it earns is 1 / KS, the two-sample Kolmogorov-Smirnov distance
 * between the singular values of W and those of the rows drawn; REINFORCE over all layers, 20 episodes. (The published
 * net, sigmoid((W P^T + b) r), has two layers without anything between them: p = P^T r.) Controls: rows at random, by
 * their norms, by their leverage, and a search that lowers KS itself. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faces/cli/bench_cuts.h"
#include "math/dense/dense.h"

#define EPISODES 20
#define SWAPS 80 /* of the search, each of SWAP_ROWS rows */
#define SWAP_ROWS 16

typedef struct policy {
    pith_ctx *ctx;
    size_t n, d; /* neurons, width */
    uint32_t layers;
    float *w;                    /* [layers][n][d] */
    float *values;               /* [layers][d] singular values of W, ascending */
    float *gram, *vectors, *own; /* [d][d], [d][d], [d] */
    float *some;                 /* [n][d] */
    double *p, *best, *moments;  /* [d + 1], twice, [2 * (d + 1)] */
    double *score;               /* [n] */
    uint8_t *mask;               /* [layers][n] */
    cut_list *lists;             /* [layers] over kept */
    uint32_t *kept;              /* [layers][n] */
    uint64_t random;
} policy;

static void policy_free(policy *p) {
    void *const owned[] = {p->w,    p->values,  p->gram,  p->vectors, p->own,   p->some, p->p,
                           p->best, p->moments, p->score, p->mask,    p->lists, p->kept};
    for (size_t i = 0; i < PITH_COUNT(owned); i++) pith_free(p->ctx, owned[i]);
}

/* Square roots of the eigenvalues of X^T X, ascending. */
static pith_status singular_values(policy *p, const float *x, size_t rows, float *out) {
    dense_gemm(true, false, p->d, p->d, rows, 1, x, p->d, x, p->d, 0, p->gram, p->d);
    pith_status status = dense_eigen(p->ctx, p->gram, p->d, p->vectors, out);
    for (size_t i = 0; i < p->d && !status; i++) out[i] = sqrtf(out[i] > 0 ? out[i] : 0);
    return status;
}

/* sup |F_a - F_b| of two ascending lists of n. */
static double ks_distance(const float *a, const float *b, size_t n) {
    size_t i = 0, j = 0;
    double most = 0;
    while (i < n && j < n) {
        float at = PITH_MIN(a[i], b[j]);
        while (i < n && a[i] <= at) i++;
        while (j < n && b[j] <= at) j++;
        most = fmax(most, fabs((double)i - (double)j) / (double)n);
    }
    return most;
}

static pith_status ks_of(policy *p, uint32_t layer, const uint8_t *mask, double *ks) {
    const float *w = p->w + layer * p->n * p->d;
    size_t rows = 0;
    for (size_t i = 0; i < p->n; i++)
        if (mask[i]) memcpy(p->some + rows++ * p->d, w + i * p->d, p->d * sizeof *w);
    pith_status status = singular_values(p, p->some, rows, p->own);
    if (!status) *ks = ks_distance(p->values + layer * p->d, p->own, p->d);
    return status;
}

/* mask = the `keep` highest scores. */
static void keep_highest(const policy *p, const double *score, size_t keep, uint8_t *mask) {
    memset(mask, 0, p->n);
    for (size_t k = 0; k < keep; k++) {
        size_t best = p->n;
        for (size_t i = 0; i < p->n; i++)
            if (!mask[i] && (best == p->n || score[i] > score[best])) best = i;
        mask[best] = 1;
    }
}

static double logit(const policy *p, const double *at, const float *row) {
    double sum = at[p->d];
    for (size_t j = 0; j < p->d; j++) sum += at[j] * row[j];
    return sum;
}

static double uniform(policy *p) { return PITH_MAX(cuts_random(&p->random), 1e-12); }
static double normal(policy *p) {
    double r = sqrt(-2 * log(uniform(p)));
    return r * cos(6.283185307179586 * cuts_random(&p->random));
}

/* The gradient of ln p(mask) under independent Bernoulli draws, times `gain`, added to g. */
static void add_gradient(const policy *p, uint32_t layer, const uint8_t *mask, double gain, double *g) {
    for (size_t i = 0; i < p->n; i++) {
        const float *row = p->w + (layer * p->n + i) * p->d;
        double miss = gain * (mask[i] - 1 / (1 + exp(-logit(p, p->p, row))));
        for (size_t j = 0; j < p->d; j++) g[j] += miss * row[j];
        g[p->d] += miss;
    }
}

/* AdamW, 1e-3, gradient clipped to length 1, ascending. */
static void climb(policy *p, double *g, unsigned step) {
    double length = 0, *first = p->moments, *second = p->moments + p->d + 1;
    for (size_t j = 0; j <= p->d; j++) length += g[j] * g[j];
    double scale = length > 1 ? 1 / sqrt(length) : 1;
    for (size_t j = 0; j <= p->d; j++) {
        g[j] *= scale;
        first[j] = 0.9 * first[j] + 0.1 * g[j];
        second[j] = 0.999 * second[j] + 0.001 * g[j] * g[j];
        p->p[j] += 1e-3 * (first[j] / (1 - pow(0.9, step)) / (sqrt(second[j] / (1 - pow(0.999, step))) + 1e-8) -
                           0.01 * p->p[j]);
    }
}

/* Leaves the policy of the best episode in p->best. */
static pith_status learn(policy *p, size_t keep, double *first, double *last) {
    double most = -1, *g = pith_alloc(p->ctx, (p->d + 1) * sizeof *g);
    double *reward = pith_alloc(p->ctx, p->layers * sizeof *reward);
    pith_status status = g && reward ? PITH_OK : pith_alloc_status(p->ctx);
    for (size_t j = 0; j <= p->d; j++) p->p[j] = j < p->d ? normal(p) / sqrt((double)p->d) : 0;
    for (unsigned step = 1; step <= EPISODES && !status; step++) {
        double sum = 0, later = 0;
        for (uint32_t l = 0; l < p->layers && !status; l++) {
            double ks = 0;
            for (size_t i = 0; i < p->n; i++) { /* without replacement: Gumbel noise on the logits */
                double u = uniform(p);
                p->score[i] = logit(p, p->p, p->w + (l * p->n + i) * p->d) + log(u / (1 - u + 1e-15));
            }
            keep_highest(p, p->score, keep, p->mask + l * p->n);
            status = ks_of(p, l, p->mask + l * p->n, &ks);
            reward[l] = ks > 0 ? 1 / ks : 99999;
            sum += reward[l];
        }
        if (status) break;
        if (step == 1) *first = sum / p->layers;
        *last = sum / p->layers;
        if (sum > most) {
            most = sum;
            memcpy(p->best, p->p, (p->d + 1) * sizeof *p->p);
        }
        memset(g, 0, (p->d + 1) * sizeof *g);
        for (uint32_t l = p->layers; l-- > 0;) {
            later = reward[l] + 0.99 * later;
            add_gradient(p, l, p->mask + l * p->n, later, g);
        }
        climb(p, g, step);
    }
    pith_free(p->ctx, g);
    pith_free(p->ctx, reward);
    return status;
}

/* Swaps rows while KS falls. */
static pith_status search(policy *p, uint32_t layer, size_t keep, uint8_t *mask) {
    double now, then;
    uint8_t *trial = pith_alloc(p->ctx, p->n);
    if (!trial) return pith_alloc_status(p->ctx);
    for (size_t i = 0; i < p->n; i++) p->score[i] = uniform(p);
    keep_highest(p, p->score, keep, mask);
    pith_status status = ks_of(p, layer, mask, &now);
    for (unsigned t = 0; t < SWAPS && !status; t++) {
        memcpy(trial, mask, p->n);
        for (unsigned s = 0; s < 2 * SWAP_ROWS;) {
            size_t i = (size_t)(cuts_random(&p->random) * (double)p->n);
            if (trial[i] != (s < SWAP_ROWS)) continue;
            trial[i] ^= 1;
            s++;
        }
        status = ks_of(p, layer, trial, &then);
        if (!status && then <= now) {
            now = then;
            memcpy(mask, trial, p->n);
        }
    }
    pith_free(p->ctx, trial);
    return status;
}

enum { RANDOM, NORMS, LEVERAGE, POLICY, SEARCH, RULES };
static const char *const rule_names[] = {"rows at random", "norms of rows", "leverage of rows", "policy (PruneNet)",
                                         "search for the least KS"};

static pith_status leverage(policy *p, const float *w) {
    float *inverse = pith_alloc(p->ctx, p->d * p->d * sizeof *inverse), *x = p->some;
    pith_status status = inverse ? PITH_OK : pith_alloc_status(p->ctx);
    if (!status) {
        dense_gemm(true, false, p->d, p->d, p->n, 1, w, p->d, w, p->d, 0, p->gram, p->d);
        memset(inverse, 0, p->d * p->d * sizeof *inverse);
        for (size_t i = 0; i < p->d; i++) inverse[i * p->d + i] = 1;
        status = dense_solve(p->ctx, p->gram, p->d, 1e-4, inverse, p->d);
    }
    if (!status) dense_gemm(false, false, p->n, p->d, p->d, 1, w, p->d, inverse, p->d, 0, x, p->d);
    for (size_t i = 0; i < p->n && !status; i++) {
        p->score[i] = 0;
        for (size_t j = 0; j < p->d; j++) p->score[i] += (double)x[i * p->d + j] * w[i * p->d + j];
    }
    pith_free(p->ctx, inverse);
    return status;
}

static pith_status choose(policy *p, int rule, size_t keep, double *mean_ks) {
    pith_status status = PITH_OK;
    *mean_ks = 0;
    for (uint32_t l = 0; l < p->layers && !status; l++) {
        const float *w = p->w + l * p->n * p->d;
        uint8_t *mask = p->mask + l * p->n;
        double ks;
        for (size_t i = 0; i < p->n; i++) {
            p->score[i] = rule == POLICY ? logit(p, p->best, w + i * p->d) : rule == RANDOM ? uniform(p) : 0;
            for (size_t j = 0; j < p->d && rule == NORMS; j++) p->score[i] += (double)w[i * p->d + j] * w[i * p->d + j];
        }
        if (rule == LEVERAGE) status = leverage(p, w);
        if (rule == SEARCH)
            status = search(p, l, keep, mask);
        else if (!status)
            keep_highest(p, p->score, keep, mask);
        if (!status) status = ks_of(p, l, mask, &ks);
        if (!status) *mean_ks += ks / p->layers;
        uint32_t n = 0;
        for (size_t i = 0; i < p->n; i++)
            if (mask[i]) p->kept[l * p->n + n++] = (uint32_t)i;
        p->lists[l] = (cut_list){p->kept + l * p->n, n};
    }
    return status;
}

static pith_status policy_open(experiment *e, const cuts *c, policy *p) {
    *p = (policy){
        .ctx = e->ctx, .n = c->shape.n_ff, .d = c->shape.n_embd, .layers = c->shape.n_layers, .random = c->seed};
    size_t n = p->n, d = p->d, layers = p->layers;
    p->w = pith_alloc(p->ctx, layers * n * d * sizeof *p->w);
    p->values = pith_alloc(p->ctx, layers * d * sizeof *p->values);
    p->gram = pith_alloc(p->ctx, d * d * sizeof *p->gram);
    p->vectors = pith_alloc(p->ctx, d * d * sizeof *p->vectors);
    p->own = pith_alloc(p->ctx, d * sizeof *p->own);
    p->some = pith_alloc(p->ctx, n * d * sizeof *p->some);
    p->p = pith_zalloc(p->ctx, (d + 1) * sizeof *p->p);
    p->best = pith_zalloc(p->ctx, (d + 1) * sizeof *p->best);
    p->moments = pith_zalloc(p->ctx, 2 * (d + 1) * sizeof *p->moments);
    p->score = pith_alloc(p->ctx, n * sizeof *p->score);
    p->mask = pith_alloc(p->ctx, layers * n);
    p->lists = pith_zalloc(p->ctx, layers * sizeof *p->lists);
    p->kept = pith_alloc(p->ctx, layers * n * sizeof *p->kept);
    if (!(p->w && p->values && p->gram && p->vectors && p->own && p->some && p->p && p->best && p->moments &&
          p->score && p->mask && p->lists && p->kept))
        return pith_alloc_status(p->ctx);
    for (uint32_t l = 0; l < p->layers; l++) {
        char full[64];
        snprintf(full, sizeof full, "blk.%u.ffn_gate.weight", (unsigned)l);
        const tensor_view *t = tensor_find(lm_file(c->m), full);
        snprintf(full, sizeof full, "blk.%u.ffn_up.weight", (unsigned)l);
        if (!t) t = tensor_find(lm_file(c->m), full);
        if (!t || t->n_elements != n * d)
            return pith_fail(p->ctx, PITH_E_UNSUPPORTED, "layer %u has no %s of %zu neurons", (unsigned)l, full, n);
        blocks_decode(t->type, t->data, p->w + l * n * d, n * d);
        pith_status status = singular_values(p, p->w + l * n * d, n, p->values + l * d);
        if (status) return status;
    }
    return PITH_OK;
}

static int judge(experiment *e, cuts *c, policy *p, int rule, double keep, unsigned runs, double *kl, double *mean_ks) {
    char label[64];
    double ks = 0, sum = 0;
    cuts_result r = {0};
    *kl = *mean_ks = 0;
    for (unsigned i = 0; i < runs; i++) {
        double one;
        if (choose(p, rule, (size_t)(keep * (double)p->n + 0.5), &ks) != PITH_OK) return exp_failed(e);
        cut_plan plan = {.neurons = p->lists};
        if (cuts_judge(e, c, &plan, 0, false, &r) != CLI_OK) return CLI_FAIL;
        one = r.kl;
        *kl += one / runs;
        sum += r.ratio / runs;
        *mean_ks += ks / runs;
    }
    snprintf(label, sizeof label, "%.0f %%, %s", 100 * keep, rule_names[rule]);
    EXP_ROW(e, label, *kl, sum, *mean_ks);
    return CLI_OK;
}

int cuts_policy(experiment *e, cuts *c) {
    policy p;
    double kl[2][RULES], ks[2][RULES], first = 0, last = 0;
    static const double keeps[] = {0.7, 0.8};
    exp_step(e, "learning a policy");
    pith_status status = policy_open(e, c, &p);
    if (!status) status = learn(&p, (size_t)(0.7 * (double)p.n + 0.5), &first, &last);
    int result = status ? exp_failed(e) : CLI_OK;
    if (result == CLI_OK) {
        exp_table(e, "Neurons without any text: the policy is learnt at 70 % and used at 80 % too",
                  "neurons kept, by|KL.4|PPL ratio.3|KS.4");
        exp_note(e, "mean reward 1 / KS: first episode %.2f, last of %d %.2f", first, EPISODES, last);
    }
    for (int k = 0; k < 2; k++)
        for (int rule = RANDOM; rule < RULES && result == CLI_OK; rule++)
            result = judge(e, c, &p, rule, keeps[k], rule == RANDOM ? 3 : 1, &kl[k][rule], &ks[k][rule]);
    if (result == CLI_OK) {
        exp_claim(e, kl[0][POLICY] < kl[0][RANDOM] && kl[1][POLICY] < kl[1][RANDOM],
                  "S294: the policy is nearer than random rows: KL %.3f and %.3f at 70 %%, %.3f and %.3f at 80 %%",
                  kl[0][POLICY], kl[0][RANDOM], kl[1][POLICY], kl[1][RANDOM]);
        exp_claim(e, kl[0][POLICY] < kl[0][NORMS], "S294: and than norms: KL %.3f at 70 %%", kl[0][NORMS]);
        exp_claim(e, ks[0][POLICY] < ks[0][RANDOM],
                  "S294: in %d episodes the policy learns rows of a lower KS than random ones have: %.3f, %.3f",
                  EPISODES, ks[0][POLICY], ks[0][RANDOM]);
        exp_claim(
            e, kl[0][SEARCH] < kl[0][RANDOM],
            "S294: rows searched for the least KS (%.3f) are nearer than random ones, so the reward matters: KL %.3f",
            ks[0][SEARCH], kl[0][SEARCH]);
    }
    policy_free(&p);
    return result;
}
