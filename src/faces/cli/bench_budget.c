/* pith bench evopress: one budget over all matrices by the sums of what each loses, and by evolution under measured
 * divergence (EvoPress: Accurate Dynamic Model Compression via Evolutionary Search, 2024; the knapsack of ROCKET:
 * Rapid Optimization via Calibration-guided Knapsack Enhanced Truncation for Efficient Model Compression). */
#include <math.h>

#include "faces/cli/bench_budget.h"

static const char evopress_help[] =
    "Usage: pith bench evopress [OPTIONS]\n\n"
    "Codes every matrix of a model's layers at several levels and spends one budget of bytes: the same level for all,\n"
    "greedily by errors of layers, by one exchange rate (Lagrange), by the exact knapsack, and by evolution under the\n"
    "divergence that is measured on a calibration text; then judges each on another text. Says which error foretells\n"
    "the divergence of mixed choices best. Then drops pairs of sublayers and looks for one whose harm is less although\n"
    "each of its parts does more.\n\n"
    "      --bits=X        budget, in bits per weight of the layers (default: what the 3-bit level takes)\n"
    "      --generations=N of evolution (default 10)\n"
    "      --offspring=N   of a generation (default 16)\n"
    "      --seed=N        of evolution and random choices (default 1)\n"
    "      --levels=WHICH  q, step or both (default q)\n" BUDGET_BENCH_HELP
    "\nHere --chunks is 4 by default, and some of what the published search does in minutes is left out. In full:\n"
    "  pith bench evopress --levels=both --generations=60 --chunks=8\n";

typedef struct evopress {
    budget_bench b;
    double bits;
    uint64_t generations, offspring, seed;
    const char *levels;
} evopress;

static const char *const q_levels[] = {"q(2, group=32) @ obs", "q(3, group=32) @ obs", "q(4, group=32) @ obs",
                                       "q(6, group=32) @ obs"};
static const char *const step_levels[] = {"step(bits=2) | ctxac @ obs", "step(bits=3) | ctxac @ obs",
                                          "step(bits=4) | ctxac @ obs", "step(bits=6) | ctxac @ obs"};
#define N_LEVELS 4

/* One set of levels at work. */
typedef struct contest {
    experiment *e;
    evopress *x;
    const char *name;
    model_variants *v;
    alloc_row *rows[MODEL_LOSSES];
    alloc_choice choice;
    model_fitness fitness;
    uint64_t bytes; /* the budget */
} contest;

static size_t n_rows(const contest *c) { return (size_t)model_variants_units(c->v) * N_LEVELS; }

/* ---- which loss foretells the divergence ---- */

static uint64_t next_random(uint64_t *state) { /* splitmix64 (Steele, Lea, Flood 2014) */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

#define RANDOM_CHOICES 24
static int foretell(contest *c) {
    experiment *e = c->e;
    double kl[RANDOM_CHOICES], sums[MODEL_LOSSES][RANDOM_CHOICES] = {{0}}, rho[MODEL_LOSSES], seen[RANDOM_CHOICES];
    uint64_t state = c->x->seed;
    uint32_t units = model_variants_units(c->v);
    model_score score;
    for (unsigned i = 0; i < RANDOM_CHOICES; i++) {
        /* about equal bytes: half of the units one level up, half one down, from 3 bits */
        for (uint32_t u = 0; u < units; u++) {
            uint32_t level = next_random(&state) & 1 ? 0 : 2;
            c->choice.rows[u] = u * N_LEVELS + level;
            for (int l = 0; l < MODEL_LOSSES; l++) sums[l][i] += c->rows[l][c->choice.rows[u]].loss;
        }
        exp_step(e, "random choices");
        c->fitness.ruler = c->x->b.judge;
        if (model_fitness_score(&c->fitness, c->choice.rows, &score) != PITH_OK) return exp_failed(e);
        kl[i] = seen[i] = score.c.kl.mean;
    }
    char title[120];
    snprintf(title, sizeof title, "%s: %d random choices of 2 or 4 bits; how the sum of losses ranks their KL", c->name,
             RANDOM_CHOICES);
    exp_table(e, title, "loss of a matrix|Spearman.3|sum / KL.3|spread.3");
    for (int l = 0; l < MODEL_LOSSES; l++) {
        double mean = 0, square = 0;
        if (ruler_spearman(e->ctx, sums[l], seen, RANDOM_CHOICES, &rho[l])) return exp_failed(e);
        for (unsigned i = 0; i < RANDOM_CHOICES; i++) {
            double ratio = log(sums[l][i] / kl[i]);
            mean += ratio / RANDOM_CHOICES;
            square += ratio * ratio / RANDOM_CHOICES;
        }
        EXP_ROW(e, model_loss_names[l], rho[l], l == MODEL_LOSS_KL ? exp(mean) : NAN, sqrt(fmax(square - mean * mean, 0)));
    }
    return CLI_OK;
}

/* ---- the methods ---- */

/* From the lowest level up, always the matrix with the largest error next. */
static void greedy(contest *c) {
    uint32_t units = model_variants_units(c->v);
    const alloc_row *rows = c->rows[MODEL_LOSS_OUTPUTS];
    uint64_t bytes = 0;
    for (uint32_t u = 0; u < units; u++) {
        c->choice.rows[u] = u * N_LEVELS;
        bytes += rows[c->choice.rows[u]].bytes;
    }
    for (;;) {
        uint32_t worst = UINT32_MAX;
        for (uint32_t u = 0; u < units; u++) {
            uint32_t row = c->choice.rows[u];
            if (row % N_LEVELS + 1 == N_LEVELS || bytes - rows[row].bytes + rows[row + 1].bytes > c->bytes) continue;
            if (worst == UINT32_MAX || rows[row].loss > rows[c->choice.rows[worst]].loss) worst = u;
        }
        if (worst == UINT32_MAX) return;
        uint32_t row = c->choice.rows[worst]++;
        bytes += rows[row + 1].bytes - rows[row].bytes;
    }
}

static int show(contest *c, const char *label, double *kl) {
    experiment *e = c->e;
    model_score held;
    double search, sum = 0;
    uint64_t bytes = 0;
    for (uint32_t u = 0; u < model_variants_units(c->v); u++) {
        bytes += c->rows[0][c->choice.rows[u]].bytes;
        sum += c->rows[MODEL_LOSS_KL][c->choice.rows[u]].loss;
    }
    c->fitness.ruler = c->x->b.search;
    pith_status status = model_fitness_of(&c->fitness, c->choice.rows, 1, 0, &search);
    c->fitness.ruler = c->x->b.judge;
    if (!status) status = model_fitness_score(&c->fitness, c->choice.rows, &held);
    if (status) return exp_failed(e);
    *kl = held.c.kl.mean;
    EXP_ROW(e, label, 8 * (double)bytes / (double)model_variants_weights(c->v), sum, search, held.c.kl.mean,
            held.c.perplexity, 100 * held.c.same_top);
    return CLI_OK;
}

enum { UNIFORM, GREEDY, LAGRANGE, MCKP_OUTPUTS, MCKP_KL, EVO, EVO_ON, METHODS };
static const char *const method_names[METHODS] = {"uniform",          "greedy by error",   "Lagrange, weighed by KL",
                                                  "MCKP, errors only", "MCKP, weighed by KL", "evolution",
                                                  "a third of it, from weighed"};

static int choose(contest *c, int method, double *kl) {
    static const model_budget_method methods[METHODS] = {[UNIFORM] = MODEL_BUDGET_UNIFORM,
                                                         [LAGRANGE] = MODEL_BUDGET_GREEDY,
                                                         [MCKP_OUTPUTS] = MODEL_BUDGET_KNAPSACK,
                                                         [MCKP_KL] = MODEL_BUDGET_KNAPSACK,
                                                         [EVO] = MODEL_BUDGET_EVOLVE,
                                                         [EVO_ON] = MODEL_BUDGET_EVOLVE};
    model_budget b = {.method = methods[method],
                      .bytes = c->bytes,
                      .seed = c->x->seed,
                      .generations = (uint32_t)(method == EVO_ON ? (c->x->generations + 2) / 3 : c->x->generations),
                      .offspring = (uint32_t)c->x->offspring};
    bool weighed = method == LAGRANGE || method == MCKP_KL || method == EVO_ON;
    const alloc_row *rows = c->rows[weighed ? MODEL_LOSS_KL : MODEL_LOSS_OUTPUTS];
    exp_step(c->e, method_names[method]);
    c->fitness.ruler = c->x->b.search;
    pith_status status = PITH_OK;
    if (method == GREEDY)
        greedy(c);
    else
        status = model_budget_choose(c->e->ctx, c->v, rows, &b, &c->fitness, &c->choice);
    return status ? exp_failed(c->e) : show(c, method_names[method], kl);
}

static int run_contest(contest *c, const char *const *levels) {
    experiment *e = c->e;
    budget_bench *b = &c->x->b;
    double kl[METHODS], before = model_cpu_seconds();
    char title[160];
    model_variants_options o = {.levels = levels, .n_levels = N_LEVELS, .stats = b->stats, .only = "blk.*", .keep = true};
    exp_step(e, "coding every matrix at every level");
    if (model_variants_new(e->ctx, b->base, &o, &c->v) != PITH_OK) return exp_failed(e);
    double coded = model_cpu_seconds();
    if (model_variants_slopes(e->ctx, c->v, b->overlay, b->search, 4) != PITH_OK) return exp_failed(e);
    double sloped = model_cpu_seconds();
    c->choice.rows = pith_alloc(e->ctx, model_variants_units(c->v) * sizeof *c->choice.rows);
    for (int l = 0; l < MODEL_LOSSES; l++) {
        c->rows[l] = pith_alloc(e->ctx, n_rows(c) * sizeof *c->rows[l]);
        if (!c->rows[l]) return exp_failed(e);
        model_variants_rows(c->v, (model_loss)l, c->rows[l]);
    }
    if (!c->choice.rows || model_fitness_new(e->ctx, c->v, b->overlay, b->judge, &c->fitness) != PITH_OK)
        return exp_failed(e);
    /* the paper's budget is that of the middle level for all */
    c->bytes = 0;
    for (uint32_t u = 0; u < model_variants_units(c->v); u++) c->bytes += model_variants_at(c->v, u, 1)->bytes;
    if (c->x->bits > 0) c->bytes = alloc_bytes_of(c->x->bits, model_variants_weights(c->v));
    int result = foretell(c);
    if (result != CLI_OK) return result;
    snprintf(title, sizeof title, "%s: levels of 2, 3, 4 and 6 bits within %.3f bits per weight of the layers", c->name,
             8 * (double)c->bytes / (double)model_variants_weights(c->v));
    exp_table(e, title, "method|bits.3|estimate.4|KL search.4|KL held out.4|perplexity.2|same top %.2");
    double evolution = 0;
    for (int m = 0; m < METHODS && result == CLI_OK; m++) {
        double start = model_cpu_seconds();
        result = choose(c, m, &kl[m]);
        if (m == EVO) evolution = model_cpu_seconds() - start;
    }
    if (result != CLI_OK) return result;
    exp_note(e, "%s: %.0f s to code, %.0f s for the slopes, %.0f s of evolution (%llu choices measured, %llu positions)",
             c->name, coded - before, sloped - coded, evolution, (unsigned long long)c->fitness.evaluated,
             (unsigned long long)c->fitness.tokens);
    exp_claim(e, kl[EVO] < kl[UNIFORM], "%s: evolution below uniform: %.4f, %.4f", c->name, kl[EVO], kl[UNIFORM]);
    exp_claim(e, kl[EVO] < kl[GREEDY] && kl[EVO] < kl[MCKP_OUTPUTS],
              "%s: evolution below greedy and knapsack on summed errors: %.4f, %.4f", c->name, kl[GREEDY], kl[MCKP_OUTPUTS]);
    exp_claim(e, kl[EVO] < kl[MCKP_KL], "%s: evolution below the knapsack with measured weights: %.4f", c->name, kl[MCKP_KL]);
    exp_claim(e, kl[EVO_ON] < kl[MCKP_KL], "%s: evolution from there betters it: %.4f", c->name, kl[EVO_ON]);
    exp_claim(e, kl[MCKP_KL] < kl[UNIFORM], "%s: that knapsack below uniform", c->name);
    return CLI_OK;
}

static int contest_of(experiment *e, evopress *x, const char *name, const char *const *levels) {
    contest c = {.e = e, .x = x, .name = name};
    int result = run_contest(&c, levels);
    model_fitness_free(&c.fitness);
    for (int l = 0; l < MODEL_LOSSES; l++) pith_free(e->ctx, c.rows[l]);
    pith_free(e->ctx, c.choice.rows);
    model_variants_free(e->ctx, c.v);
    return result == CLI_OK ? budget_bench_reset(e, &x->b) : result;
}

/* ---- dropping ---- */

/* Sublayer 2 l is the attention of layer l, 2 l + 1 its feed-forward network. */
#define DROPS_MOST 64
static int set_dropped(experiment *e, budget_bench *b, unsigned sub, bool dropped) {
    size_t i = budget_bench_tensor(b, sub / 2, sub & 1 ? "ffn_down" : "attn_output");
    if (i == SIZE_MAX) return cli_error("evopress: layer %u has no attn_output and ffn_down to drop", sub / 2);
    if (!dropped) return model_overlay_reset(e->ctx, b->overlay, i) == PITH_OK ? CLI_OK : exp_failed(e);
    size_t n = (size_t)b->base->tensors[i].n_elements;
    float *zeros = pith_zalloc(e->ctx, n * sizeof *zeros);
    if (!zeros) return exp_failed(e);
    pith_status status = model_overlay_put(e->ctx, b->overlay, i, 0, zeros, n);
    pith_free(e->ctx, zeros);
    return status ? exp_failed(e) : CLI_OK;
}

static int kl_of_drops(experiment *e, budget_bench *b, unsigned x, unsigned y, double *kl) {
    int result = set_dropped(e, b, x, true);
    if (result == CLI_OK && y != x) result = set_dropped(e, b, y, true);
    if (result == CLI_OK) result = budget_bench_kl(e, b, b->judge, kl);
    if (result == CLI_OK) result = set_dropped(e, b, x, false);
    if (result == CLI_OK && y != x) result = set_dropped(e, b, y, false);
    return result;
}

typedef struct drop_pair {
    unsigned i, k;
    double sum, kl;
} drop_pair;

static void drop_label(char *label, size_t size, const drop_pair *p, const char *what) {
    snprintf(label, size, "%c%u %c%u%s", p->i & 1 ? 'F' : 'A', p->i / 2, p->k & 1 ? 'F' : 'A', p->k / 2, what);
}

/* Two ways to be not monotone: more dropped harms less; or the pair with the smaller sum of harms does more harm. */
static int drop_pairs(experiment *e, evopress *x) {
    budget_bench *b = &x->b;
    unsigned n = PITH_MIN(2 * lm_about(b->m)->n_layers, (unsigned)DROPS_MOST), n_pairs = 0;
    double alone[DROPS_MOST];
    char label[80];
    int result = CLI_OK;
    drop_pair *pairs = pith_zalloc(e->ctx, (size_t)n * n * sizeof *pairs);
    if (!pairs) return exp_failed(e);
    exp_step(e, "dropping sublayers");
    for (unsigned i = 0; i < n && result == CLI_OK; i++) result = kl_of_drops(e, b, i, i, &alone[i]);
    for (unsigned i = 0; i < n && result == CLI_OK; i++)
        for (unsigned k = i + 1; k < n && result == CLI_OK; k++) {
            pairs[n_pairs] = (drop_pair){i, k, alone[i] + alone[k], 0};
            result = kl_of_drops(e, b, i, k, &pairs[n_pairs++].kl);
        }
    unsigned less = 0, against = 0, compared = 0;
    double most = 0;
    const drop_pair *best = pairs, *first = NULL, *second = NULL, *relief = NULL;
    for (const drop_pair *p = pairs; p < pairs + n_pairs && result == CLI_OK; p++) {
        if (p->kl < best->kl) best = p;
        if (p->kl < fmax(alone[p->i], alone[p->k])) {
            less++;
            relief = p;
        }
        for (const drop_pair *q = pairs; q < pairs + n_pairs; q++) {
            if (!(p->sum < q->sum)) continue;
            compared++;
            if (!(p->kl > q->kl)) continue;
            against++;
            if (p->kl / q->kl <= most) continue;
            most = p->kl / q->kl;
            first = p;
            second = q;
        }
    }
    if (result == CLI_OK) {
        const drop_pair *const shown[] = {best, relief, first, second};
        static const char *const what[] = {": least harm", ": less than one of them alone", ": smaller sum, more harm",
                                           ": larger sum, less harm"};
        exp_table(e, "dropping two sublayers (A attention, F feed-forward), KL held out",
                  "dropped|first alone.4|second alone.4|sum.4|both.4");
        for (unsigned i = 0; i < PITH_COUNT(shown); i++) {
            if (!shown[i]) continue;
            drop_label(label, sizeof label, shown[i], what[i]);
            EXP_ROW(e, label, alone[shown[i]->i], alone[shown[i]->k], shown[i]->sum, shown[i]->kl);
        }
        exp_claim(e, most > 1.02,
                  "errors are not monotone: %u of %u comparisons of pairs go against their sums, by up to %.2f times", against,
                  compared, most);
        exp_claim(e, less > 0, "dropping more can harm less: %u of %u pairs", less, n_pairs);
    }
    pith_free(e->ctx, pairs);
    return result;
}

static int evopress_run(experiment *e, void *own) {
    evopress *x = own;
    bool both = strcmp(x->levels, "both") == 0;
    if (!both && strcmp(x->levels, "q") != 0 && strcmp(x->levels, "step") != 0)
        return cli_error("evopress: --levels is q, step or both");
    int result = budget_bench_open(e, &x->b, true);
    if (result == CLI_OK && (both || x->levels[0] == 'q')) result = contest_of(e, x, "groups", q_levels);
    if (result == CLI_OK && (both || x->levels[0] == 's')) result = contest_of(e, x, "steps", step_levels);
    if (result == CLI_OK) result = drop_pairs(e, x);
    budget_bench_close(e, &x->b);
    return result;
}

int bench_evopress(int argc, char **argv) {
    evopress x = {.b = {BUDGET_BENCH_DEFAULTS}, .generations = 10, .offspring = 16, .seed = 1, .levels = "q"};
    x.b.chunks = 4;
    const lm_option extra[] = {BUDGET_BENCH_OPTIONS(x.b),
                               {"bits", 0, LM_REAL, &x.bits, 0, 0},
                               {"generations", 0, LM_NUMBER, &x.generations, 1, 100000},
                               {"offspring", 0, LM_NUMBER, &x.offspring, 1, 4096},
                               {"seed", 0, LM_NUMBER, &x.seed, 0, UINT64_MAX},
                               {"levels", 0, LM_TEXT, &x.levels, 0, 0}};
    return exp_main(argc, argv, evopress_help, extra, PITH_COUNT(extra), 0, evopress_run, &x);
}
