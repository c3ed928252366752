/* pith bench bitstack: stacks of signs and low-rank magnitudes, loaded as far as memory goes (BitStack: Any-Size
 * Compression of Large Language Models in Variable Memory Environments, 2024). */
#include <math.h>

#include "faces/cli/bench_budget.h"

static const char bitstack_help[] =
    "Usage: pith bench bitstack [OPTIONS]\n\n"
    "Codes every matrix of a model's layers as a stack of levels, each the signs of what is left and its magnitudes of\n"
    "low rank, and puts the levels of all matrices into one order: level by level as in the paper, by what raising one\n"
    "matrix does to the divergence on a calibration text; or by gain per byte. Then loads a prefix of that order for one\n"
    "budget after the other and judges it on another text, beside files of groups with error feedback.\n\n"
    "      --levels=N      of a stack (default 8, at most 16)\n"
    "      --rank=N        of a level's magnitudes (default 1)\n"
    "      --search=N      chunks to measure a raise on (default 2)\n" BUDGET_BENCH_HELP "\nExample:\n"
    "  pith bench bitstack --levels=6\n";

#define LEVELS_MOST 16

typedef struct bitstack {
    budget_bench b;
    uint64_t levels, rank, search;
    model_variants *v;
    model_fitness fitness;
    alloc_row *rows;   /* loss: relative error of outputs times the slope */
    alloc_row *raised; /* loss: KL of that raise, the paper's measure */
    uint32_t *order;
    alloc_choice choice;
} bitstack;

static int code_all(experiment *e, bitstack *s) {
    char text[LEVELS_MOST][80];
    const char *levels[LEVELS_MOST];
    for (size_t l = 0; l < s->levels; l++) {
        snprintf(text[l], sizeof text[l], "scale | stack(%zu, signlowrank(%llu))", l + 1, (unsigned long long)s->rank);
        levels[l] = text[l];
    }
    model_variants_options o = {
        .levels = levels, .n_levels = (size_t)s->levels, .stats = s->b.stats, .only = "blk.*", .keep = true};
    exp_step(e, "coding stacks");
    if (model_variants_new(e->ctx, s->b.base, &o, &s->v) != PITH_OK) return exp_failed(e);
    size_t n = (size_t)model_variants_units(s->v) * model_variants_levels(s->v);
    s->rows = pith_alloc(e->ctx, n * sizeof *s->rows);
    s->raised = pith_alloc(e->ctx, n * sizeof *s->raised);
    s->order = pith_alloc(e->ctx, n * sizeof *s->order);
    s->choice.rows = pith_alloc(e->ctx, model_variants_units(s->v) * sizeof *s->choice.rows);
    if (!s->rows || !s->raised || !s->order || !s->choice.rows) return exp_failed(e);
    exp_step(e, "slopes");
    if (model_variants_slopes(e->ctx, s->v, s->b.overlay, s->b.search, (size_t)s->search) != PITH_OK) return exp_failed(e);
    model_variants_rows(s->v, MODEL_LOSS_KL, s->rows);
    return model_fitness_new(e->ctx, s->v, s->b.overlay, s->b.search, &s->fitness) == PITH_OK ? CLI_OK : exp_failed(e);
}

/* All at level b, one raised to b + 1: the lower the divergence the earlier that raise. */
static int measure_raises(experiment *e, bitstack *s) {
    uint32_t units = model_variants_units(s->v), levels = model_variants_levels(s->v);
    memcpy(s->raised, s->rows, (size_t)units * levels * sizeof *s->raised);
    for (uint32_t l = 1; l < levels; l++) {
        char what[48];
        snprintf(what, sizeof what, "raises to level %u of %u", l + 1, levels);
        exp_step(e, what);
        for (uint32_t u = 0; u < units; u++) {
            for (uint32_t k = 0; k < units; k++) s->choice.rows[k] = k * levels + l - (k != u);
            double kl;
            if (model_fitness_of(&s->fitness, s->choice.rows, 1, s->search, &kl) != PITH_OK) return exp_failed(e);
            s->raised[u * levels + l].loss = kl;
        }
    }
    return CLI_OK;
}

/* The divergence at so many bytes of files of groups, a line in its logarithm between them. */
typedef struct file_point {
    double bytes, kl;
} file_point;
static double files_at(const file_point *p, size_t n, double bytes) {
    for (size_t i = 0; i + 1 < n; i++)
        if (bytes >= p[i].bytes && bytes <= p[i + 1].bytes) {
            double t = (bytes - p[i].bytes) / (p[i + 1].bytes - p[i].bytes);
            return exp((1 - t) * log(p[i].kl) + t * log(p[i + 1].kl));
        }
    return NAN;
}

static int separate_files(experiment *e, bitstack *s, file_point *points, size_t *n) {
    static const char *const recipes[] = {"blk.* -> q(2, group=32) @ obs", "blk.* -> q(3, group=32) @ obs",
                                          "blk.* -> q(4, group=32) @ obs"};
    exp_table(e, "files of their own", "recipe|bits.3|KL held out.4");
    for (*n = 0; *n < PITH_COUNT(recipes); ++*n) {
        model_trial t;
        int result = budget_bench_recipe(e, &s->b, recipes[*n], &points[*n].kl, &t);
        if (result != CLI_OK) return result;
        points[*n].bytes = (double)t.bytes;
        EXP_ROW(e, recipes[*n] + 9, 8 * (double)t.bytes / (double)t.weights, points[*n].kl);
    }
    return CLI_OK;
}

#define BUDGETS 14
static int load_prefixes(experiment *e, bitstack *s, const char *name, const alloc_row *rows, bool by_level, double *kl,
                         double *bytes) {
    uint32_t units = model_variants_units(s->v), levels = model_variants_levels(s->v);
    alloc_table table = {rows, (size_t)units * levels, units};
    uint64_t low = 0, high = 0;
    if (alloc_order(e->ctx, &table, by_level, s->order) != PITH_OK) return exp_failed(e);
    for (uint32_t u = 0; u < units; u++) {
        low += rows[u * levels].bytes;
        high += rows[u * levels + levels - 1].bytes;
    }
    for (unsigned i = 0; i < BUDGETS; i++) {
        model_score score;
        uint64_t budget = low + (high - low) * i / (BUDGETS - 1);
        exp_step(e, name);
        pith_status status = alloc_prefix(e->ctx, &table, s->order, budget, &s->choice);
        if (!status) status = model_fitness_score(&s->fitness, s->choice.rows, &score);
        if (status) return exp_failed(e);
        kl[i] = score.c.kl.mean;
        bytes[i] = (double)s->choice.bytes;
    }
    return CLI_OK;
}

static unsigned rises(const double *kl) {
    unsigned n = 0;
    for (unsigned i = 1; i < BUDGETS; i++) n += kl[i] > kl[i - 1];
    return n;
}

static int stack_run(experiment *e, bitstack *s) {
    double paper[BUDGETS], gain[BUDGETS], bytes[BUDGETS], gain_bytes[BUDGETS];
    file_point files[4];
    size_t n_files = 0;
    char label[40];
    int result = separate_files(e, s, files, &n_files);
    if (result == CLI_OK) result = budget_bench_reset(e, &s->b);
    if (result == CLI_OK) result = code_all(e, s);
    if (result == CLI_OK) result = measure_raises(e, s);
    s->fitness.ruler = s->b.judge;
    if (result == CLI_OK) result = load_prefixes(e, s, "level by level", s->raised, true, paper, bytes);
    if (result == CLI_OK) result = load_prefixes(e, s, "gain per byte", s->rows, false, gain, gain_bytes);
    if (result != CLI_OK) return result;
    exp_table(e, "prefixes of one order; KL held out", "bytes|bits.3|level by level.4|gain per byte.4|files, between.4");
    unsigned better = 0, compared = 0, gains = 0;
    for (unsigned i = 0; i < BUDGETS; i++) {
        double file = files_at(files, n_files, bytes[i]);
        snprintf(label, sizeof label, "%.0f", bytes[i]);
        EXP_ROW(e, label, 8 * bytes[i] / (double)model_variants_weights(s->v), paper[i], gain[i], file);
        compared += isfinite(file);
        better += isfinite(file) && fmin(paper[i], gain[i]) <= file;
        gains += gain[i] <= paper[i];
    }
    exp_claim(e, rises(paper) == 0, "level by level: divergence falls with every byte loaded (rises %u times of %u)",
              rises(paper), BUDGETS - 1);
    exp_claim(e, rises(gain) == 0, "gain per byte: the same (rises %u times)", rises(gain));
    exp_claim(e, better == compared && compared > 0, "no worse than separate files of 2 to 4 bits at the same bytes (%u of %u)",
              better, compared);
    exp_note(e, "gain per byte is at least as near as level by level at %u of %u budgets", gains, BUDGETS);
    return CLI_OK;
}

static int bitstack_run(experiment *e, void *own) {
    bitstack *s = own;
    int result = budget_bench_open(e, &s->b, true);
    if (result == CLI_OK) result = stack_run(e, s);
    model_fitness_free(&s->fitness);
    pith_free(e->ctx, s->rows);
    pith_free(e->ctx, s->raised);
    pith_free(e->ctx, s->order);
    pith_free(e->ctx, s->choice.rows);
    model_variants_free(e->ctx, s->v);
    budget_bench_close(e, &s->b);
    return result;
}

int bench_bitstack(int argc, char **argv) {
    bitstack s = {.b = {BUDGET_BENCH_DEFAULTS}, .levels = 8, .rank = 1, .search = 2};
    const lm_option extra[] = {BUDGET_BENCH_OPTIONS(s.b),
                               {"levels", 0, LM_NUMBER, &s.levels, 2, LEVELS_MOST},
                               {"rank", 0, LM_NUMBER, &s.rank, 1, 1024},
                               {"search", 0, LM_NUMBER, &s.search, 1, 1 << 20}};
    return exp_main(argc, argv, bitstack_help, extra, PITH_COUNT(extra), 0, bitstack_run, &s);
}
