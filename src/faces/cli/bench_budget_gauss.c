/* pith bench gaussian: whether a code's error on normal noise foretells what it does to a model (Unified Scaling Laws
 * for Compressed Representations, 2025: a format's capacity is a function of its Gaussian mean square error alone). */
#include <math.h>

#include "faces/cli/bench_budget.h"

static const char gaussian_help[] =
    "Usage: pith bench gaussian [OPTIONS]\n\n"
    "Codes a matrix of normal noise and then the matrices of a model's layers by many recipes, all without data, and\n"
    "holds the relative square error on the noise against the divergence of the model's answers: the correlation of\n"
    "ranks, and some errors that are known.\n\n"
    "      --rows=N        of the noise (default 512); --cols=N (default 1024), --seed=N (default 1)\n" BUDGET_BENCH_HELP
    "\nExample:\n"
    "  pith bench gaussian --model=model.gguf\n";

typedef struct gaussian {
    budget_bench b;
    uint64_t rows, cols, seed;
    float *noise, *restored;
} gaussian;

/* known: relative error expected on the noise, from the catalogue's own measurements; 0: none. */
static const struct {
    const char *recipe;
    double known;
} codes[] = {
    {"gguf(q8_0)", 2.9e-5},
    {"gguf(q6_K)", 0},
    {"gguf(q5_0)", 0},
    {"gguf(q4_0)", 0.00739},
    {"gguf(q4_K)", 0},
    {"gguf(q3_K)", 0},
    {"gguf(q2_K)", 0},
    {"q(8, group=32)", 0},
    {"q(6, group=32)", 0},
    {"q(5, group=32)", 0},
    {"q(4, group=32)", 0},
    {"q(4, group=32, fit=mse)", 0},
    {"q(3, group=32)", 0},
    {"q(2, group=32)", 0},
    {"q(2, group=16, fit=mse)", 0},
    {"step(bits=2) | ctxac", 0},
    {"step(bits=2.5) | ctxac", 0},
    {"step(bits=3) | ctxac", 0},
    {"step(bits=4) | ctxac", 0},
    {"step(bits=5) | ctxac", 0},
    {"step(bits=6) | ctxac", 0},
    {"kmeans(2) | ctxac", 0},
    {"kmeans(3) | ctxac", 0},
    {"kmeans(4) | ctxac", 0},
    {"ternary | rans", 0.1905},
    {"prune(pattern=2:4)", 0.1324},
    {"prune(50%)", 0.0712},
    {"prune(75%)", 0.277},
    {"prune(90%)", 0.557},
    {"seed(8, 3, 16, 4)", 0.0149},
    {"seed(12, 4, 16, 4)", 0.0484},
    {"vq(dim=4, bits=2)", 0},
    {"hadamard(128) | q(4, group=32, grid=gauss)", 0},
    {"sum(q(2, group=32), q(2, group=32))", 0},
    {"stack(3, signlowrank(1))", 0},
    {"sum(q(3, group=32), lowrank(8, white=none))", 0},
};

static uint64_t next_random(uint64_t *state) { /* splitmix64 (Steele, Lea, Flood 2014) */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Box and Muller 1958. */
static void make_noise(gaussian *g) {
    uint64_t state = g->seed;
    size_t n = (size_t)(g->rows * g->cols);
    for (size_t i = 0; i < n; i += 2) {
        double u = ((double)(next_random(&state) >> 11) + 0.5) * 0x1p-53, v = (double)(next_random(&state) >> 11) * 0x1p-53;
        double radius = sqrt(-2 * log(u)), angle = 6.283185307179586 * v;
        g->noise[i] = (float)(radius * cos(angle));
        if (i + 1 < n) g->noise[i + 1] = (float)(radius * sin(angle));
    }
}

static pith_status code_noise(experiment *e, gaussian *g, const char *text, double *error, double *bits) {
    pith_recipe *r;
    repr_chain *chain = NULL;
    pith_buffer code = {0};
    repr_error measured = {0};
    repr_matrix w = {g->noise, (size_t)g->rows, (size_t)g->cols};
    pith_status status = pith_recipe_parse(e->ctx, "model", text, strlen(text), &r);
    if (status) return status;
    status = repr_chain_new(e->ctx, r->rules, &chain);
    if (!status) status = repr_encode(e->ctx, chain, &w, NULL, &code, g->restored);
    if (!status) status = repr_measure(e->ctx, &w, g->restored, NULL, &measured);
    *error = measured.weights;
    *bits = 8 * (double)code.size / (double)(g->rows * g->cols);
    pith_buffer_free(e->ctx, &code);
    repr_chain_free(e->ctx, chain);
    pith_recipe_free(e->ctx, r);
    return status;
}

static int try_codes(experiment *e, gaussian *g) {
    double error[PITH_COUNT(codes)], kl[PITH_COUNT(codes)], weights[PITH_COUNT(codes)], bits, rho = 0, by_weights = 0;
    unsigned known = 0, right = 0;
    model_stats *stats = g->b.stats;
    int result = CLI_OK;
    g->b.stats = NULL; /* none of them is told about inputs */
    exp_table(e, "error on normal noise, divergence of the model",
              "recipe|bits.3|error.6|known.6|shannon.6|model bits.3|its error.6|KL.5");
    for (size_t i = 0; i < PITH_COUNT(codes) && result == CLI_OK; i++) {
        char rule[160];
        model_trial t;
        snprintf(rule, sizeof rule, "blk.* -> %s", codes[i].recipe);
        exp_step(e, codes[i].recipe);
        if (code_noise(e, g, codes[i].recipe, &error[i], &bits) != PITH_OK) return exp_failed(e);
        result = budget_bench_recipe(e, &g->b, rule, &kl[i], &t);
        if (result != CLI_OK) break;
        weights[i] = t.error;
        if (codes[i].known > 0) {
            known++;
            right += error[i] < 1.05 * codes[i].known;
        }
        EXP_ROW(e, codes[i].recipe, bits, error[i], codes[i].known > 0 ? codes[i].known : NAN, pow(4, -bits),
                8 * (double)t.bytes / (double)t.weights, weights[i], kl[i]);
    }
    g->b.stats = stats;
    if (result != CLI_OK) return result;
    if (ruler_spearman(e->ctx, error, kl, PITH_COUNT(codes), &rho) ||
        ruler_spearman(e->ctx, weights, kl, PITH_COUNT(codes), &by_weights))
        return exp_failed(e);
    exp_claim(e, rho > 0.9, "error on noise ranks the divergence of %zu recipes: Spearman %.3f (by the error on the model's "
                            "own weights %.3f)",
              PITH_COUNT(codes), rho, by_weights);
    exp_claim(e, right == known, "%u of %u known errors are met or bettered (5 %% allowed)", right, known);
    return CLI_OK;
}

static int gaussian_run(experiment *e, void *own) {
    gaussian *g = own;
    size_t n = (size_t)(g->rows * g->cols);
    int result = budget_bench_open(e, &g->b, false);
    if (result == CLI_OK) {
        g->noise = pith_alloc(e->ctx, n * sizeof *g->noise);
        g->restored = g->noise ? pith_alloc(e->ctx, n * sizeof *g->restored) : NULL;
        if (!g->restored) result = exp_failed(e);
    }
    if (result == CLI_OK) {
        make_noise(g);
        result = try_codes(e, g);
    }
    pith_free(e->ctx, g->restored);
    pith_free(e->ctx, g->noise);
    budget_bench_close(e, &g->b);
    return result;
}

int bench_gaussian(int argc, char **argv) {
    gaussian g = {.b = {BUDGET_BENCH_DEFAULTS}, .rows = 512, .cols = 1024, .seed = 1};
    const lm_option extra[] = {BUDGET_BENCH_OPTIONS(g.b),
                               {"rows", 0, LM_NUMBER, &g.rows, 32, 1 << 16},
                               {"cols", 0, LM_NUMBER, &g.cols, 256, 1 << 16},
                               {"seed", 0, LM_NUMBER, &g.seed, 0, UINT64_MAX}};
    return exp_main(argc, argv, gaussian_help, extra, PITH_COUNT(extra), 0, gaussian_run, &g);
}
