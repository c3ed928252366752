/* pith bench subspace: matrices projected on the principal components of their outputs, W = V V^T W with V from
 * C_y = W H W^T, which is the whitened singular value decomposition (lowrank(white=eig)) seen from the other side:
 * ROM-LLM (S033), LORD (S052), atomic feature mimicking for embeddings (S290). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "faces/cli/bench_cuts.h"

static const char subspace_help[] =
    "Usage: pith bench subspace [OPTIONS]\n\n"
    "Projects the matrices of a model's layers on the principal components of their outputs: at 90 and 80 % of the\n"
    "layers' parameters beside the matrices' own SVD and fewer neurons; then the least ranks at which perplexity\n"
    "rises by 1 %, on a text of one narrow kind and on a mixed one, and SpQR on top. At last a table of embeddings of\n"
    "a click-through model.\n\n"
    "      --mixed=FILE    the mixed text (default tests/data/lcet10.txt)\n"
    "      --narrow=FILE   the narrow text (default: C sources of pith)\n"
    "      --bytes=N       of each that calibrate (default 49152)\n"
    "      --judge=N       bytes at the end of each that are judged (default 12288)\n"
    "      --seed=N        of the click log (default 1)\n"
    "      --model=FILE    the language model (default: the built-in pith-mini)\n" EXP_HELP "\nExamples:\n"
    "  pith bench subspace\n"
    "  pith bench subspace --model=model.gguf --narrow=code.txt\n";

static const char *const sources[] = {"src/artefacts/file/decoder.c", "src/kernels/predict/suffix_tree.c",
                                      "src/artefacts/file/archive.c", "src/base/recipe.c",
                                      "src/artefacts/file/frame.c"};

typedef struct subspace {
    cuts by[2]; /* mixed, narrow */
} subspace;
enum { MIXED, NARROW };
enum { ATTENTION, FEED_FORWARD };

static int read_sources(experiment *e, cuts *c) {
    for (size_t i = 0; i < PITH_COUNT(sources); i++) {
        pith_buffer one = {0};
        int result = exp_read(e, NULL, sources[i], 0, &one);
        if (result == CLI_OK && pith_buffer_append(e->ctx, &c->text, one.data, one.size)) result = exp_failed(e);
        pith_buffer_free(e->ctx, &one);
        if (result != CLI_OK) return result;
    }
    return CLI_OK;
}

/* ---- budgets (S033) ---------------------------------------------------------------------------------------- */

/* "blk.3.*.weight,blk.4.*.weight": the later half of the layers. */
static void later_half(const cut_shape *s, char *out, size_t size) {
    size_t used = 0;
    out[0] = 0;
    for (uint32_t l = s->n_layers / 2; l < s->n_layers && used < size; l++)
        used += (size_t)snprintf(out + used, size - used, "%sblk.%u.*.weight", used ? "," : "", (unsigned)l);
}

static int budgets(experiment *e, cuts *c) {
    static const double budget[] = {0.9, 0.8};
    const cut_shape *s = &c->shape;
    double layers = cuts_layer_parameters(s), whole = (double)lm_about(c->m)->n_parameters, ff = cuts_ff_parameters(s);
    char later[1024], text[1200], label[64];
    later_half(s, later, sizeof later);
    exp_table(e, "Of the layers' parameters stay 90 and 80 % (S033)", "what is left, made by" CUTS_COLUMNS);
    for (size_t b = 0; b < PITH_COUNT(budget); b++) {
        double part = (double)(s->n_layers - s->n_layers / 2) / s->n_layers, gone = 1 - budget[b], kl[5];
        const struct {
            const char *name, *pattern, *white;
            double ratio;
        } ways[] = {{"outputs, later layers", later, "eig", 1 - gone / part},
                    {"outputs, all layers", "blk.*.weight", "eig", budget[b]},
                    {"weights' SVD, later layers", later, "none", 1 - gone / part},
                    {"weights' SVD, all layers", "blk.*.weight", "none", budget[b]}};
        for (size_t w = 0; w < PITH_COUNT(ways); w++) {
            cuts_result r = {0};
            snprintf(text, sizeof text, "%s -> lowrank(ratio=%.6f, white=%s)", ways[w].pattern, ways[w].ratio,
                     ways[w].white);
            if (cuts_recipe(e, c, text, &r) != CLI_OK) return CLI_FAIL;
            r.parameters = whole - gone * layers;
            snprintf(label, sizeof label, "%.0f %%, %s", 100 * budget[b], ways[w].name);
            cuts_row(e, c, label, &r);
            kl[w] = r.kl;
        }
        cuts_result r = {0};
        prune_request request = {.method = PRUNE_MAGNITUDE,
                                 .keep.n_ff = (uint32_t)(s->n_ff * (1 - gone * layers / ff) + 0.5)};
        if (cuts_prune(e, c, &request, 0, false, &r) != CLI_OK) return CLI_FAIL;
        snprintf(label, sizeof label, "%.0f %%, neurons by magnitude", 100 * budget[b]);
        cuts_row(e, c, label, &r);
        kl[4] = r.kl;
        double best = PITH_MIN(kl[0], kl[1]);
        exp_claim(e, best < kl[2] && best < kl[3] && best < kl[4],
                  "S033: at %.0f %% outputs (KL %.3f) before weights' SVD (%.3f) and before neurons (%.3f)",
                  100 * budget[b], best, PITH_MIN(kl[2], kl[3]), kl[4]);
    }
    return CLI_OK;
}

/* ---- ranks (S052) ------------------------------------------------------------------------------------------ */

static const char *const group_pattern[] = {"blk.*.attn_*.weight", "blk.*.ffn_*.weight"};

/* The least rank, in sixteenths of the width, at which perplexity is at most 1 % above the model's. */
static int least_rank(experiment *e, cuts *c, int group, unsigned *sixteenths) {
    unsigned low = 0, high = 16; /* low is too low, high is enough */
    char text[200];
    while (high - low > 1) {
        cuts_result r = {0};
        unsigned middle = (low + high) / 2;
        snprintf(text, sizeof text, "%s -> lowrank(rank=%u, white=eig)", group_pattern[group],
                 (unsigned)(middle * c->shape.n_embd / 16));
        if (cuts_recipe(e, c, text, &r) != CLI_OK) return CLI_FAIL;
        if (r.ratio <= 1.01)
            high = middle;
        else
            low = middle;
    }
    *sixteenths = high;
    return CLI_OK;
}

/* Whole-rank matrices stay as they are. */
static void both_groups(const cuts *c, const unsigned *sixteenths, const char *factors, char *out, size_t size) {
    size_t used = 0;
    out[0] = 0;
    for (int g = 0; g < 2; g++) {
        unsigned rank = sixteenths[g] * c->shape.n_embd / 16;
        if (sixteenths[g] == 16 && !*factors) continue;
        used += (size_t)snprintf(out + used, size - used, "%s%s -> ", used ? " ; " : "", group_pattern[g]);
        if (sixteenths[g] == 16)
            used += (size_t)snprintf(out + used, size - used, "%s", factors);
        else if (*factors)
            used += (size_t)snprintf(out + used, size - used, "lowrank(rank=%u, white=eig, factors=%s)", rank, factors);
        else
            used += (size_t)snprintf(out + used, size - used, "lowrank(rank=%u, white=eig)", rank);
    }
}

static int ranks(experiment *e, subspace *s) {
    static const char *const kinds[] = {"mixed", "narrow"};
    static const char spqr[] = "outliers(threshold=0.2, inner=q(4, group=16, meta=q(4, group=16))) @ obs";
    unsigned rank[2][2];
    double extra[2];
    char text[600];
    exp_table(e, "Ranks of outputs that cost 1 % of perplexity (S052), in 16ths of the width",
              "text|attention.0|feed-fwd.0|PPL ratio.4|KL.4|with SpQR.4|KL then.4|bits.2");
    for (int k = 0; k < 2; k++) {
        cuts *c = &s->by[k];
        cuts_result plain = {.ratio = 1}, coded = {0};
        for (int g = 0; g < 2; g++)
            if (least_rank(e, c, g, &rank[k][g]) != CLI_OK) return CLI_FAIL;
        both_groups(c, rank[k], "", text, sizeof text);
        if (*text && cuts_recipe(e, c, text, &plain) != CLI_OK) return CLI_FAIL;
        both_groups(c, rank[k], spqr, text, sizeof text);
        if (cuts_recipe(e, c, text, &coded) != CLI_OK) return CLI_FAIL;
        extra[k] = coded.ratio / plain.ratio - 1;
        EXP_ROW(e, kinds[k], rank[k][0], rank[k][1], plain.ratio, plain.kl, coded.ratio, coded.kl, coded.bits);
    }
    exp_claim(e, rank[NARROW][0] + rank[NARROW][1] < rank[MIXED][0] + rank[MIXED][1],
              "S052: a narrow text admits lower ranks: %u and %u of 16, mixed %u and %u (one model, judged on each)",
              rank[NARROW][0], rank[NARROW][1], rank[MIXED][0], rank[MIXED][1]);
    exp_claim(e, extra[MIXED] <= 0.01 && extra[NARROW] <= 0.01,
              "S052: SpQR on the factors costs at most 1 %% more: %.2f %%, %.2f %%", 100 * extra[MIXED],
              100 * extra[NARROW]);
    return CLI_OK;
}

static int subspace_run(experiment *e, void *own) {
    subspace *s = own;
    cuts *mixed = &s->by[MIXED], *narrow = &s->by[NARROW];
    artefacts_register();
    narrow->model = mixed->model, narrow->bytes = mixed->bytes, narrow->judge = mixed->judge;
    int result = narrow->text_path ? CLI_OK : read_sources(e, narrow);
    if (result == CLI_OK) result = cuts_open(e, mixed);
    if (result == CLI_OK) result = cuts_open(e, narrow);
    if (result == CLI_OK) result = budgets(e, mixed);
    if (result == CLI_OK) result = ranks(e, s);
    if (result == CLI_OK) result = subspace_clicks(e, mixed->seed);
    cuts_close(e, mixed);
    cuts_close(e, narrow);
    return result;
}

int bench_subspace(int argc, char **argv) {
    subspace s = {.by = {{.bytes = 49152, .judge = 12288, .seed = 1}, {.seed = 1}}};
    cuts *c = &s.by[MIXED];
    const lm_option extra[] = {
        {"mixed", 0, LM_TEXT, &c->text_path, 0, 0},        {"narrow", 0, LM_TEXT, &s.by[NARROW].text_path, 0, 0},
        {"bytes", 0, LM_NUMBER, &c->bytes, 4096, 1 << 26}, {"judge", 0, LM_NUMBER, &c->judge, 2048, 1 << 26},
        {"seed", 0, LM_NUMBER, &c->seed, 0, UINT64_MAX},   {"model", 0, LM_TEXT, &c->model, 0, 0}};
    return exp_main(argc, argv, subspace_help, extra, PITH_COUNT(extra), 0, subspace_run, &s);
}
