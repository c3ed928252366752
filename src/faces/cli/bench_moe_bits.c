/* pith bench moe, second part: bits for each expert. cost(e, b) = frequency * weight^1.5 * loss(e, b), the bits of a
 * block's experts chosen together (MC-MoE: Mixture Compressor for Mixture-of-Experts LLMs Gains More, 2024). */
#include <math.h>
#include <stdio.h>

#include "faces/cli/bench_moe.h"
#include "kernels/allocate/allocate.h"

#define LEVELS 3u
#define MOST_EXPERTS 64u
static const char *const level_recipes[LEVELS] = {"sign(group=128) @ obs", "q(2, group=128) @ obs",
                                                  "q(3, group=128) @ obs"};

typedef enum moe_rule { RULE_FREQUENCY, RULE_MIXED, RULE_ERROR, N_RULES } moe_rule;
static const char *const rule_names[N_RULES] = {"frequency alone", "frequency weight^1.5 loss", "expected error"};

typedef struct bits_work {
    moe_bench *b;
    const lm_shape *shape;
    double *loss; /* [levels][n_layers * n_experts] */
    uint32_t *choice;
} bits_work;

/* Frequency alone: every expert is taken to lose as much as the mean of its block. */
static double cost_of(const bits_work *w, moe_rule rule, uint32_t layer, uint32_t expert, unsigned level) {
    size_t n = w->shape->n_experts, all = n * w->shape->n_layers, first = (size_t)layer * n;
    const experts_seen *seen = experts_stats_at(w->b->stats, layer, expert);
    double tokens = 0, weight = 0, mean = 0, loss = w->loss[level * all + first + expert];
    for (uint32_t i = 0; i < n; i++) {
        tokens += (double)experts_stats_at(w->b->stats, layer, i)->tokens;
        weight += experts_stats_at(w->b->stats, layer, i)->weight;
        mean += w->loss[level * all + first + i] / (double)n;
    }
    double f = (double)seen->tokens / tokens, g = seen->weight / weight;
    double own = seen->tokens ? seen->weight / (double)seen->tokens : 0; /* mean weight where it is chosen */
    return rule == RULE_FREQUENCY ? f * mean : rule == RULE_MIXED ? f * pow(g, 1.5) * loss : f * own * own * loss;
}

static pith_status choose(experiment *e, bits_work *w, moe_rule rule, unsigned budget) {
    uint32_t n = w->shape->n_experts;
    alloc_row rows[MOST_EXPERTS * LEVELS];
    uint32_t taken[MOST_EXPERTS];
    const alloc_side sides[] = {{.level = 3, .at_least = 1}, {.level = 2, .at_least = 1}};
    pith_status status = PITH_OK;
    for (uint32_t l = 0; l < w->shape->n_layers && !status; l++) {
        for (uint32_t x = 0; x < n; x++)
            for (unsigned k = 0; k < LEVELS; k++)
                rows[x * LEVELS + k] =
                    (alloc_row){.unit = x, .level = k + 1, .bytes = k + 1, .loss = cost_of(w, rule, l, x, k)};
        alloc_choice c = {.rows = taken};
        status = alloc_small(e->ctx, &(alloc_table){rows, (size_t)n * LEVELS, n}, &(alloc_budget){.bytes = budget},
                             sides, PITH_COUNT(sides), 0, &c);
        for (uint32_t x = 0; x < n && !status; x++) w->choice[l * n + x] = rows[taken[x]].level - 1;
    }
    return status;
}

static int measure_levels(experiment *e, bits_work *w, moe_score uniform[LEVELS]) {
    size_t all = (size_t)w->shape->n_layers * w->shape->n_experts;
    for (unsigned k = 0; k < LEVELS; k++) {
        char label[32];
        snprintf(label, sizeof label, "%u everywhere", k + 1);
        exp_step(e, label);
        if (moe_try(e, w->b, &level_recipes[k], 1, NULL, true, &uniform[k]) != CLI_OK) return CLI_FAIL;
        for (size_t i = 0; i < all; i++) w->loss[k * all + i] = w->b->codes[i].loss;
        EXP_ROW(e, label, k + 1, uniform[k].bits, uniform[k].loss, uniform[k].kl, uniform[k].ratio);
    }
    return CLI_OK;
}

static int measure_rules(experiment *e, bits_work *w, const moe_score uniform[LEVELS]) {
    uint32_t n = w->shape->n_experts;
    const unsigned budgets[] = {3 * n / 2, 2 * n, 5 * n / 2};
    double kl[3][N_RULES];
    for (unsigned i = 0; i < PITH_COUNT(budgets); i++)
        for (moe_rule rule = 0; rule < N_RULES; rule++) {
            char label[64];
            moe_score s;
            snprintf(label, sizeof label, "%.2f, %s", (double)budgets[i] / n, rule_names[rule]);
            exp_step(e, label);
            if (choose(e, w, rule, budgets[i]) != PITH_OK) return exp_failed(e);
            if (moe_try(e, w->b, level_recipes, LEVELS, w->choice, true, &s) != CLI_OK) return CLI_FAIL;
            kl[i][rule] = s.kl;
            EXP_ROW(e, label, (double)budgets[i] / n, s.bits, s.loss, s.kl, s.ratio);
        }
    exp_claim(e, kl[1][RULE_MIXED] < uniform[1].kl,
              "at 2 bits on average the solver's choice has a lower KL than 2 bits everywhere: %.4f against %.4f",
              kl[1][RULE_MIXED], uniform[1].kl);
    exp_claim(e,
              kl[0][RULE_MIXED] < kl[0][RULE_FREQUENCY] && kl[1][RULE_MIXED] < kl[1][RULE_FREQUENCY] &&
                  kl[2][RULE_MIXED] < kl[2][RULE_FREQUENCY],
              "and than frequency alone, at 1.5, 2 and 2.5 bits: %.4f, %.4f, %.4f against %.4f, %.4f, %.4f",
              kl[0][RULE_MIXED], kl[1][RULE_MIXED], kl[2][RULE_MIXED], kl[0][RULE_FREQUENCY], kl[1][RULE_FREQUENCY],
              kl[2][RULE_FREQUENCY]);
    return CLI_OK;
}

int moe_bits(experiment *e, moe_bench *b) {
    bits_work w = {.b = b, .shape = lm_about(b->m)};
    size_t all = (size_t)w.shape->n_layers * w.shape->n_experts;
    moe_score uniform[LEVELS];
    if (w.shape->n_experts > MOST_EXPERTS)
        return cli_error("moe: bits are chosen for %u experts at most, these are %u", MOST_EXPERTS,
                         (unsigned)w.shape->n_experts);
    w.loss = pith_alloc(e->ctx, LEVELS * all * sizeof *w.loss);
    w.choice = pith_alloc(e->ctx, all * sizeof *w.choice);
    int result = w.loss && w.choice ? CLI_OK : exp_failed(e);
    exp_table(e, "Bits for each expert: signs, 2 or 3 bits by error feedback, in groups of 128",
              "choice|nominal.2|bits.3|error.4|KL.4|PPL ratio.3");
    if (result == CLI_OK) result = measure_levels(e, &w, uniform);
    if (result == CLI_OK) result = measure_rules(e, &w, uniform);
    pith_free(e->ctx, w.loss);
    pith_free(e->ctx, w.choice);
    return result;
}
