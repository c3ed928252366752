/* pith bench codecs: five published codes of weights held to their own claims, matrix by matrix, by the error of the
 * outputs at equal bytes: AQLM (S023), NoWag (S048), SpQR (S073), SeedLM (S087), EoRA (S305). `pith bench model` holds
 * them and many others against whole models. */
#include <math.h>
#include <string.h>

#include "artefacts/artefacts.h"
#include "faces/cli/bench_budget.h"
#include "faces/cli/bench_cuts.h"
#include "math/dense/dense.h"

static const char codecs_help[] =
    "Usage: pith bench codecs [OPTIONS]\n\n"
    "Codes the matrices of some layers of a model, and a made matrix whose inputs are correlated, by the codes of five\n"
    "publications and by rounding and GPTQ at the same bytes: error of weights and of outputs, divergence of the model\n"
    "with these layers coded, processor seconds of encoding for a million weights. Then whether what is claimed of the\n"
    "order holds.\n\n"
    "      --layers=N      of the model, evenly spread (default 1)\n"
    "      --rows=N, --cols=N  of the made matrix (default 512, 1024)\n"
    "      --seed=N        of it (default 1)\n" BUDGET_BENCH_HELP "(--chunks is 4 here.)\n"
    "\nExamples:\n"
    "  pith bench codecs\n"
    "  pith bench codecs --layers=12\n";

enum { CURVES_NONE, RTN, GPTQ, BOOK };
typedef struct codec {
    const char *name, *recipe;
    int curve;                /* for what others have in the same bytes */
    bool blind, judged, made; /* no data; KL is wanted; on the made matrix too */
} codec;
#define META3 "meta=q(3, group=16)"
static const codec codecs[] = {
    {"rtn-2-g64", "q(2, group=64, meta=q(4, group=32))", RTN, false, false, true},
    {"rtn-2-g32", "q(2, group=32, meta=q(3, group=32))", RTN, false, false, true},
    {"rtn-2-g16", "q(2, group=16)", RTN, false, false, true},
    {"rtn-3-g32", "q(3, group=32)", RTN, false, true, true},
    {"rtn-3-g16", "q(3, group=16, " META3 ")", RTN, false, true, true},
    {"rtn-4-g32", "q(4, group=32)", RTN, false, true, true},
    {"rtn-4-g16", "q(4, group=16)", RTN, false, false, true},
    {"gptq-2-g64", "q(2, group=64, meta=q(4, group=32)) @ obs", GPTQ, false, false, true},
    {"gptq-2-g32", "q(2, group=32, meta=q(3, group=32)) @ obs", GPTQ, false, false, true},
    {"gptq-2-g16", "q(2, group=16) @ obs", GPTQ, false, false, true},
    {"gptq-3-g16", "q(3, group=16, " META3 ") @ obs", GPTQ, false, true, true},
    {"gptq-3-g8", "q(3, group=8, " META3 ") @ obs", GPTQ, false, true, true},
    {"gptq-4-g16", "q(4, group=16, " META3 ") @ obs", GPTQ, false, false, true},
    {"book-1.75", "vq(dim=4, bits=1.75)", BOOK, false, false, true},
    {"book-2", "vq(dim=4, bits=2)", BOOK, false, false, true},
    {"book-2.25", "vq(dim=4, bits=2.25)", BOOK, false, false, true},
    {"book-2.5", "vq(dim=4, bits=2.5)", BOOK, false, false, true},
    {"book-2, no data", "vq(dim=4, bits=2)", CURVES_NONE, true, false, true},
    {"nowag-vq-2", "norm2(keep) | vq(dim=4, bits=2)", CURVES_NONE, false, false, true},
    {"aqlm-2x8", "unit(row) | aq(2, 8, 8)", CURVES_NONE, false, false, true},
    {"aqlm-4x4", "unit(row) | aq(4, 4, 8)", CURVES_NONE, false, false, true},
    {"spqr-3", "outliers(q(3, group=16, " META3 "), threshold=0.2) @ obs", CURVES_NONE, false, true, true},
    {"seed-4", "seed(8, 3, 16, 4)", CURVES_NONE, true, false, false},
    {"seed-3", "seed(12, 4, 16, 4)", CURVES_NONE, true, false, false},
    {"q3-svd", "sum(q(3, group=32), lowrank(8, white=none))", CURVES_NONE, false, true, false},
    {"q3-diag", "sum(q(3, group=32), lowrank(8, white=diag))", CURVES_NONE, false, true, false},
    {"q3-eora", "sum(q(3, group=32), lowrank(8, white=eig))", CURVES_NONE, false, true, false},
    {"q3-eora-q4", "sum(q(3, group=32), lowrank(8, white=eig, factors=q(4, group=32)))", CURVES_NONE, false, true,
     false},
    {"magnitude-50", "prune(50%)", CURVES_NONE, true, true, false},
    {"wanda-50", "prune(50%, score=wanda)", CURVES_NONE, false, true, false},
    {"nowag-50", "norm2 | prune(50%, score=nowag)", CURVES_NONE, false, true, false},
};
enum { CODECS = PITH_COUNT(codecs), MATRICES = 512 };
static const codec noise_codecs[] = {
    {"seed-4", "seed(8, 3, 16, 4)", CURVES_NONE, true, false, false},
    {"seed-3", "seed(12, 4, 16, 4)", CURVES_NONE, true, false, false},
    {"16 values", "kmeans(4)", CURVES_NONE, true, false, false},
};

typedef struct code_result {
    double bytes, weights, outputs, kl, seconds; /* errors relative, averaged by numbers; seconds for a million */
} code_result;

typedef struct codecs_bench {
    budget_bench b;
    uint64_t layers, rows, cols, seed;
    size_t tensor[MATRICES], n_tensors;
    double numbers[2]; /* of the model's matrices, of the made one */
    code_result r[2][CODECS];
    float *outputs[CODECS]; /* [n_tensors] of the model's */
    code_result noise[3];   /* on normal noise: noise_codecs */
} codecs_bench;

static size_t number_of(const char *name) {
    size_t i = 0;
    while (i < CODECS && strcmp(codecs[i].name, name) != 0) i++;
    return i;
}

/* ---- coding ---- */

/* One matrix: adds to *r what it takes, weighted by its numbers. */
static pith_status code(pith_ctx *ctx, const codec *c, const repr_matrix *w, const repr_stats *stats, float *restored,
                        code_result *r, double *outputs) {
    pith_recipe *recipe;
    repr_chain *chain = NULL;
    pith_buffer out = {0};
    repr_error error = {0};
    pith_status status = pith_recipe_parse(ctx, "model", c->recipe, strlen(c->recipe), &recipe);
    if (status) return status;
    status = repr_chain_new(ctx, recipe->rules, &chain);
    double before = model_cpu_seconds();
    if (!status) status = repr_encode(ctx, chain, w, c->blind ? NULL : stats, &out, restored);
    r->seconds += model_cpu_seconds() - before;
    if (!status) status = repr_measure(ctx, w, restored, stats, &error);
    double n = (double)w->rows * (double)w->cols;
    r->bytes += (double)out.size;
    r->weights += n * error.weights;
    r->outputs += n * error.outputs;
    *outputs = error.outputs;
    pith_buffer_free(ctx, &out);
    repr_chain_free(ctx, chain);
    pith_recipe_free(ctx, recipe);
    return status;
}

static void finish(code_result *r, double numbers) {
    r->weights /= numbers;
    r->outputs /= numbers;
    r->seconds *= 1e6 / numbers;
}

static int choose_matrices(experiment *e, codecs_bench *t) {
    uint32_t n_layers = lm_about(t->b.m)->n_layers;
    uint64_t layers = PITH_MIN(t->layers, (uint64_t)n_layers);
    for (uint64_t k = 0; k < layers; k++) {
        char prefix[32];
        int n = snprintf(prefix, sizeof prefix, "blk.%u.", (unsigned)((2 * k + 1) * n_layers / (2 * layers)));
        for (size_t i = 0; i < t->b.base->n_tensors; i++) {
            const tensor_view *v = &t->b.base->tensors[i];
            if (v->n_dims != 2 || !model_overlay_takes(v) || v->name.size < (size_t)n ||
                memcmp(v->name.data, prefix, (size_t)n) != 0 || t->n_tensors == MATRICES)
                continue;
            t->tensor[t->n_tensors++] = i;
            t->numbers[0] += (double)v->n_elements;
        }
    }
    for (size_t i = 0; i < CODECS; i++)
        if (!(t->outputs[i] = pith_zalloc(e->ctx, PITH_MAX(t->n_tensors, 1u) * sizeof *t->outputs[i])))
            return exp_failed(e);
    if (!t->n_tensors) return cli_error("codecs: the model's layers have no matrices");
    exp_note(e, "%zu matrices of %llu layers, %.0f weights", t->n_tensors, (unsigned long long)layers, t->numbers[0]);
    return CLI_OK;
}

static pith_status code_layers(experiment *e, codecs_bench *t, size_t i) {
    pith_status status = PITH_OK;
    for (size_t k = 0; k < t->n_tensors && !status; k++) {
        const tensor_view *v = &t->b.base->tensors[t->tensor[k]];
        char name[128];
        size_t n = (size_t)v->n_elements;
        repr_stats stats;
        double outputs = 0;
        float *w = pith_alloc(e->ctx, n * sizeof *w), *restored = w ? pith_alloc(e->ctx, n * sizeof *restored) : NULL;
        snprintf(name, sizeof name, "%.*s", (int)v->name.size, (const char *)v->name.data);
        status = restored ? model_stats_find(e->ctx, t->b.stats, name, 0, (size_t)v->ne[0], &stats)
                          : pith_alloc_status(e->ctx);
        if (!status) {
            blocks_decode(v->type, v->data, w, n);
            repr_matrix m = {w, (size_t)v->ne[1], (size_t)v->ne[0]};
            status = code(e->ctx, &codecs[i], &m, &stats, restored, &t->r[0][i], &outputs);
        }
        if (!status) status = model_overlay_put(e->ctx, t->b.overlay, t->tensor[k], 0, restored, n);
        t->outputs[i][k] = (float)outputs;
        pith_free(e->ctx, w);
        pith_free(e->ctx, restored);
    }
    return status;
}

static int model_part(experiment *e, codecs_bench *t) {
    exp_table(e, "Matrices of the model", "code|bits.3|weights.5|outputs.5|KL.5|s/M.2");
    for (size_t i = 0; i < CODECS; i++) {
        code_result *r = &t->r[0][i];
        exp_step(e, codecs[i].name);
        if (code_layers(e, t, i) != PITH_OK) return exp_failed(e);
        finish(r, t->numbers[0]);
        r->kl = NAN;
        if (codecs[i].judged && budget_bench_kl(e, &t->b, t->b.judge, &r->kl) != CLI_OK) return CLI_FAIL;
        EXP_ROW(e, codecs[i].name, 8 * r->bytes / t->numbers[0], r->weights, r->outputs, r->kl, r->seconds);
    }
    return CLI_OK;
}

/* ---- a made matrix ---- */

static float normal(uint64_t *state) { /* Box and Muller 1958 */
    double u = PITH_MAX(1 - cuts_random(state), 1e-300);
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * cuts_random(state)));
}

/* Inputs are a few directions in common and noise, channels being of different sizes; weights are normal. */
static pith_status make_inputs(pith_ctx *ctx, size_t n, uint64_t *state, float *gram) {
    size_t latent = n / 16 + 1, tokens = 2 * n;
    float *mix = pith_alloc(ctx, latent * n * sizeof *mix), *z = pith_alloc(ctx, tokens * latent * sizeof *z),
          *x = pith_alloc(ctx, tokens * n * sizeof *x), *size = pith_alloc(ctx, n * sizeof *size);
    double *sum = pith_zalloc(ctx, DENSE_PACKED(n) * sizeof *sum);
    pith_status status = mix && z && x && size && sum ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        for (size_t i = 0; i < latent * n; i++) mix[i] = normal(state) / sqrtf((float)latent);
        for (size_t i = 0; i < tokens * latent; i++) z[i] = normal(state);
        for (size_t i = 0; i < tokens * n; i++) x[i] = 0.5f * normal(state);
        for (size_t j = 0; j < n; j++) size[j] = expf(0.6f * normal(state));
        dense_gemm(false, false, tokens, n, latent, 1, z, latent, mix, n, 1, x, n);
        for (size_t i = 0; i < tokens * n; i++) x[i] *= size[i % n];
        status = dense_gram_add(ctx, sum, x, tokens, n);
        for (size_t i = 0; i < DENSE_PACKED(n); i++) gram[i] = (float)(sum[i] / (double)tokens);
    }
    void *const owned[] = {mix, z, x, size, sum};
    for (size_t i = 0; i < PITH_COUNT(owned); i++) pith_free(ctx, owned[i]);
    return status;
}

static int made_part(experiment *e, codecs_bench *t) {
    pith_ctx *ctx = e->ctx;
    size_t rows = (size_t)t->rows, cols = (size_t)t->cols;
    uint64_t state = t->seed;
    float *w = pith_alloc(ctx, rows * cols * sizeof *w), *restored = pith_alloc(ctx, rows * cols * sizeof *restored),
          *gram = pith_alloc(ctx, DENSE_PACKED(cols) * sizeof *gram), *h = pith_alloc(ctx, cols * sizeof *h);
    pith_status status = w && restored && gram && h ? PITH_OK : pith_alloc_status(ctx);
    exp_step(e, "the made matrix");
    if (!status) status = make_inputs(ctx, cols, &state, gram);
    for (size_t j = 0; j < cols && !status; j++) h[j] = gram[j * (j + 1) / 2 + j];
    for (size_t i = 0; i < rows * cols && !status; i++) w[i] = 0.02f * normal(&state);
    const repr_matrix m = {w, rows, cols};
    const repr_stats stats = {.h = h, .gram = gram, .n_tokens = 2 * (double)cols};
    t->numbers[1] = (double)rows * (double)cols;
    if (!status) exp_table(e, "A made matrix, inputs correlated", "code|bits.3|weights.5|outputs.5|s/M.2");
    for (size_t i = 0; i < CODECS && !status; i++) {
        code_result *r = &t->r[1][i];
        double outputs;
        if (!codecs[i].made) continue;
        exp_step(e, codecs[i].name);
        status = code(ctx, &codecs[i], &m, &stats, restored, r, &outputs);
        finish(r, t->numbers[1]);
        if (!status) EXP_ROW(e, codecs[i].name, 8 * r->bytes / t->numbers[1], r->weights, r->outputs, r->seconds);
    }
    const repr_matrix part = {w, PITH_MIN(rows, 64u), PITH_MIN(cols, 240u)}; /* a part of W, read as rows of these */
    const double n = (double)part.rows * (double)part.cols;
    if (!status) exp_table(e, "Normal noise", "code|bits.3|weights.5|s/M.2");
    for (size_t i = 0; i < PITH_COUNT(noise_codecs) && !status; i++) {
        code_result *r = &t->noise[i];
        double outputs;
        status = code(ctx, &noise_codecs[i], &part, NULL, restored, r, &outputs);
        finish(r, n);
        if (!status) EXP_ROW(e, noise_codecs[i].name, 8 * r->bytes / n, r->weights, r->seconds);
    }
    void *const owned[] = {w, restored, gram, h};
    for (size_t i = 0; i < PITH_COUNT(owned); i++) pith_free(ctx, owned[i]);
    return status ? exp_failed(e) : CLI_OK;
}

/* ---- claims ---- */

typedef enum figure { OUTPUTS, KL, WEIGHTS } figure;

static double figure_of(const code_result *r, figure f) {
    return f == OUTPUTS ? r->outputs : f == KL ? r->kl : r->weights;
}

/* What a curve has in so many bytes: ln of the figure is taken to be straight between the codes on both sides. NAN
 * when all take more, or all take less. */
static double curve_at(const codecs_bench *t, int part, int curve, double bytes, figure f) {
    double low = 0, high = INFINITY, at_low = NAN, at_high = NAN;
    for (size_t i = 0; i < CODECS; i++) {
        const code_result *r = &t->r[part][i];
        double v = figure_of(r, f);
        if (codecs[i].curve != curve || !(v > 0)) continue;
        if (r->bytes <= bytes && r->bytes > low) low = r->bytes, at_low = log(v);
        if (r->bytes >= bytes && r->bytes < high) high = r->bytes, at_high = log(v);
    }
    if (isnan(at_low) || isnan(at_high)) return NAN;
    return exp(high > low ? at_low + (at_high - at_low) * (bytes - low) / (high - low) : at_low);
}

static const code_result *result_of(const codecs_bench *t, int part, const char *name) {
    return &t->r[part][number_of(name)];
}

static double bits_of(const codecs_bench *t, int part, const char *name) {
    return 8 * result_of(t, part, name)->bytes / t->numbers[part];
}

static void claim_aqlm(experiment *e, const codecs_bench *t, int part, const char *name) {
    const code_result *r = result_of(t, part, name);
    double rtn = curve_at(t, part, RTN, r->bytes, OUTPUTS), gptq = curve_at(t, part, GPTQ, r->bytes, OUTPUTS),
           book = curve_at(t, part, BOOK, r->bytes, OUTPUTS);
    exp_claim(
        e, rtn > gptq && gptq > book && book > r->outputs,
        "S023, %s: at the %.2f bits of %s errors of outputs order rounding %.4f > GPTQ %.4f > one codebook %.4f > "
        "sums %.4f",
        part ? "made matrix" : "model", bits_of(t, part, name), name, rtn, gptq, book, r->outputs);
}

static void claim_nowag(experiment *e, const codecs_bench *t, int part) {
    const code_result *norm = result_of(t, part, "nowag-vq-2"), *with = result_of(t, part, "book-2"),
                      *without = result_of(t, part, "book-2, no data");
    double equal = curve_at(t, part, BOOK, norm->bytes, OUTPUTS);
    exp_claim(e, with->outputs < without->outputs,
              "S048, %s: weighing by the inputs lowers the error of outputs: %.4f, %.4f",
              part ? "made matrix" : "model", with->outputs, without->outputs);
    exp_claim(e, norm->outputs < equal, "S048, %s: normalising lowers it at equal bytes: %.4f, %.4f",
              part ? "made matrix" : "model", norm->outputs, equal);
}

static void claims(experiment *e, const codecs_bench *t) {
    claim_aqlm(e, t, 1, "aqlm-2x8");
    claim_aqlm(e, t, 0, "aqlm-4x4");
    claim_nowag(e, t, 1);
    claim_nowag(e, t, 0);
    const code_result *magnitude = result_of(t, 0, "magnitude-50"), *wanda = result_of(t, 0, "wanda-50"),
                      *nowag = result_of(t, 0, "nowag-50");
    exp_claim(e, magnitude->kl > wanda->kl && wanda->kl > nowag->kl,
              "S048: half of the weights gone, KL magnitude %.4f > Wanda %.4f > NoWag %.4f", magnitude->kl, wanda->kl,
              nowag->kl);

    const code_result *rtn = result_of(t, 0, "rtn-3-g16"), *gptq = result_of(t, 0, "gptq-3-g16"),
                      *spqr = result_of(t, 0, "spqr-3");
    double outputs = curve_at(t, 0, GPTQ, spqr->bytes, OUTPUTS), kl = curve_at(t, 0, GPTQ, spqr->bytes, KL);
    exp_claim(e, rtn->kl > gptq->kl && rtn->outputs > gptq->outputs && kl > spqr->kl && outputs > spqr->outputs,
              "S073: rounding > GPTQ (KL %.4f, %.4f) > SpQR at its %.2f bits (KL %.4f, %.4f; outputs %.4f, %.4f)",
              rtn->kl, gptq->kl, bits_of(t, 0, "spqr-3"), kl, spqr->kl, outputs, spqr->outputs);
    exp_claim(e, spqr->kl <= 0.8 * kl, "S073: its KL at least 20 %% lower than with smaller groups: %.1f %%",
              100 * (1 - spqr->kl / kl));

    static const char *const seeds[] = {"seed-4", "seed-3"};
    for (size_t i = 0; i < PITH_COUNT(seeds); i++) {
        const code_result *seed = result_of(t, 0, seeds[i]);
        double even = curve_at(t, 0, RTN, seed->bytes, WEIGHTS);
        exp_claim(e, seed->weights < even, "S087: at %.2f bits seeds have less error than rounded groups: %.4f, %.4f",
                  bits_of(t, 0, seeds[i]), seed->weights, even);
    }
    const code_result *four = &t->noise[0], *three = &t->noise[1], *book = &t->noise[2];
    exp_claim(e, four->weights < 1.05 * 0.0149 && three->weights < 1.05 * 0.0484,
              "S087: on normal noise the errors known, 0.0149 and 0.0484 at 4 and 3 bits: %.4f, %.4f", four->weights,
              three->weights);
    exp_claim(e, four->weights < book->weights,
              "S087: and below that of the best 16 values for single weights: %.4f, %.4f", four->weights,
              book->weights);

    size_t svd = number_of("q3-svd"), diag = number_of("q3-diag"), eora = number_of("q3-eora");
    size_t right = 0;
    for (size_t k = 0; k < t->n_tensors; k++)
        right += t->outputs[eora][k] <= t->outputs[diag][k] && t->outputs[diag][k] <= t->outputs[svd][k];
    exp_claim(e, right == t->n_tensors, "S305: errors of outputs EoRA <= diagonal <= plain SVD in %zu of %zu matrices",
              right, t->n_tensors);
    exp_claim(e, t->r[0][eora].kl < t->r[0][diag].kl && t->r[0][diag].kl < t->r[0][svd].kl,
              "S305: and so KL: %.4f, %.4f, %.4f", t->r[0][eora].kl, t->r[0][diag].kl, t->r[0][svd].kl);
    const code_result *coded = result_of(t, 0, "q3-eora-q4");
    double spent = curve_at(t, 0, RTN, coded->bytes, KL);
    exp_claim(e, coded->kl < spent,
              "S305: its factors in 4 bits, better than the same bytes in more bits (rounding): %.4f, %.4f", coded->kl,
              spent);
}

static int codecs_run(experiment *e, void *own) {
    codecs_bench *t = own;
    artefacts_register();
    int result = budget_bench_open(e, &t->b, false);
    if (result == CLI_OK) result = choose_matrices(e, t);
    if (result == CLI_OK) result = model_part(e, t);
    if (result == CLI_OK) result = made_part(e, t);
    if (result == CLI_OK) claims(e, t);
    for (size_t i = 0; i < CODECS; i++) pith_free(e->ctx, t->outputs[i]);
    budget_bench_close(e, &t->b);
    return result;
}

int bench_codecs(int argc, char **argv) {
    static codecs_bench t = {.b = {.bytes = 49152, .chunks = 4}, .layers = 1, .rows = 512, .cols = 1024, .seed = 1};
    const lm_option extra[] = {BUDGET_BENCH_OPTIONS(t.b),
                               {"layers", 0, LM_NUMBER, &t.layers, 1, 1000},
                               {"rows", 0, LM_NUMBER, &t.rows, 16, 1 << 14},
                               {"cols", 0, LM_NUMBER, &t.cols, 64, 1 << 13},
                               {"seed", 0, LM_NUMBER, &t.seed, 0, UINT64_MAX}};
    return exp_main(argc, argv, codecs_help, extra, PITH_COUNT(extra), 0, codecs_run, &t);
}
