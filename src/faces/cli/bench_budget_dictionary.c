/* pith bench rocket: how much of every matrix goes, by the exact knapsack (ROCKET: Rapid Optimization via
 * Calibration-guided Knapsack Enhanced Truncation for Efficient Model Compression). */
#include <math.h>

#include "faces/cli/bench_budget.h"

static const char rocket_help[] =
    "Usage: pith bench rocket [OPTIONS]\n\n"
    "Cuts the matrices of a model's layers to 80, 70 and 60 % of their size: by a whitened singular value decomposition,\n"
    "by a dictionary with sparse coefficients, the same part of each matrix; by such dictionaries of different sizes that\n"
    "the knapsack chooses by their relative errors, and by errors weighed by what they do to the answers. All take at\n"
    "most the bytes of the equal dictionaries, positions of coefficients counted. Judges each on another text.\n\n"
    BUDGET_BENCH_HELP "\nExample:\n"
    "  pith bench rocket --model=model.gguf\n";

#define LEVELS 9
#define FINEST 1.0
#define STEP 0.1

typedef struct rocket {
    budget_bench b;
    model_variants *v;
    model_fitness fitness;
    alloc_row *rows[2]; /* relative errors; weighed */
    alloc_choice choice;
} rocket;

static int code_all(experiment *e, rocket *r) {
    static const model_loss losses[2] = {MODEL_LOSS_OUTPUTS, MODEL_LOSS_KL};
    char text[LEVELS][32];
    const char *levels[LEVELS];
    for (unsigned i = 0; i < LEVELS; i++) {
        snprintf(text[i], sizeof text[i], "dict(%.2f)", FINEST - STEP * (LEVELS - 1 - i));
        levels[i] = text[i];
    }
    model_variants_options o = {.levels = levels, .n_levels = LEVELS, .stats = r->b.stats, .only = "blk.*", .keep = true};
    exp_step(e, "coding dictionaries");
    if (model_variants_new(e->ctx, r->b.base, &o, &r->v) != PITH_OK) return exp_failed(e);
    exp_step(e, "slopes");
    if (model_variants_slopes(e->ctx, r->v, r->b.overlay, r->b.search, 2) != PITH_OK) return exp_failed(e);
    uint32_t units = model_variants_units(r->v);
    for (int i = 0; i < 2; i++) {
        r->rows[i] = pith_alloc(e->ctx, (size_t)units * LEVELS * sizeof *r->rows[i]);
        if (!r->rows[i]) return exp_failed(e);
        model_variants_rows(r->v, losses[i], r->rows[i]);
    }
    r->choice.rows = pith_alloc(e->ctx, units * sizeof *r->choice.rows);
    if (!r->choice.rows) return exp_failed(e);
    return model_fitness_new(e->ctx, r->v, r->b.overlay, r->b.judge, &r->fitness) == PITH_OK ? CLI_OK : exp_failed(e);
}

static int choose(experiment *e, rocket *r, const alloc_row *rows, uint64_t bytes, const char *label, double *kl) {
    model_budget budget = {.method = MODEL_BUDGET_KNAPSACK, .bytes = bytes};
    model_score score;
    exp_step(e, label);
    pith_status status = model_budget_choose(e->ctx, r->v, rows, &budget, NULL, &r->choice);
    if (!status) status = model_fitness_score(&r->fitness, r->choice.rows, &score);
    if (status) return exp_failed(e);
    *kl = score.c.kl.mean;
    EXP_ROW(e, label, 8 * (double)r->choice.bytes / (double)model_variants_weights(r->v), *kl);
    return CLI_OK;
}

static int compare(experiment *e, rocket *r, unsigned level) {
    double keep = FINEST - STEP * (LEVELS - 1 - level), svd, equal, knapsack, weighed;
    uint32_t units = model_variants_units(r->v);
    uint64_t bytes = 0;
    char title[80], recipe[96];
    model_trial t;
    model_score score;
    snprintf(title, sizeof title, "%.0f %% of the layers removed", 100 * (1 - keep));
    exp_table(e, title, "method|bits.3|KL held out.4");
    for (uint32_t u = 0; u < units; u++) {
        r->choice.rows[u] = u * LEVELS + level;
        bytes += model_variants_at(r->v, u, level)->bytes;
    }
    if (model_fitness_score(&r->fitness, r->choice.rows, &score) != PITH_OK) return exp_failed(e);
    equal = score.c.kl.mean;
    int result = choose(e, r, r->rows[0], bytes, "dictionaries, knapsack on errors", &knapsack);
    if (result == CLI_OK) result = choose(e, r, r->rows[1], bytes, "dictionaries, knapsack weighed", &weighed);
    snprintf(recipe, sizeof recipe, "blk.* -> lowrank(ratio=%.6f, white=chol)",
             8 * (double)bytes / 16 / (double)model_variants_weights(r->v));
    if (result == CLI_OK) result = budget_bench_recipe(e, &r->b, recipe, &svd, &t);
    for (uint32_t u = 0; u < units; u++) r->fitness.there[u] = UINT32_MAX - 1; /* the overlay holds something else now */
    if (result != CLI_OK) return result;
    EXP_ROW(e, "dictionaries, the same part of each", 8 * (double)bytes / (double)model_variants_weights(r->v), equal);
    EXP_ROW(e, "whitened decomposition", 8 * (double)t.bytes / (double)t.weights, svd);
    exp_claim(e, equal < svd, "%s: dictionaries below the decomposition: %.4f, %.4f", title, equal, svd);
    exp_claim(e, knapsack < equal, "with the knapsack on errors lower: %.4f", knapsack);
    exp_claim(e, weighed < equal, "weighed: %.4f", weighed);
    return CLI_OK;
}

static int rocket_run(experiment *e, void *own) {
    static const unsigned at[] = {6, 5, 4}; /* 0.8, 0.7, 0.6 */
    rocket *r = own;
    int result = budget_bench_open(e, &r->b, true);
    if (result == CLI_OK) result = code_all(e, r);
    for (unsigned i = 0; i < PITH_COUNT(at) && result == CLI_OK; i++) result = compare(e, r, at[i]);
    model_fitness_free(&r->fitness);
    for (int i = 0; i < 2; i++) pith_free(e->ctx, r->rows[i]);
    pith_free(e->ctx, r->choice.rows);
    model_variants_free(e->ctx, r->v);
    budget_bench_close(e, &r->b);
    return result;
}

int bench_rocket(int argc, char **argv) {
    rocket r = {.b = {BUDGET_BENCH_DEFAULTS}};
    const lm_option extra[] = {BUDGET_BENCH_OPTIONS(r.b)};
    return exp_main(argc, argv, rocket_help, extra, PITH_COUNT(extra), 0, rocket_run, &r);
}
