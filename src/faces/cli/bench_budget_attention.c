/* pith bench casp: whether attention that is sparse bears coarse queries and keys, and bits per layer by block
 * influence (CASP: Compression of Large Multimodal Models Based on Attention Sparsity, 2025). */
#include <math.h>

#include "faces/cli/bench_budget.h"

static const char casp_help[] =
    "Usage: pith bench casp [OPTIONS]\n\n"
    "Measures for each layer which part of its attention is above 0.001 over long prompts, and what it does to the\n"
    "model's answers when queries and keys, or values and outputs, or the feed-forward network of that layer are cut to\n"
    "low rank, the same number of bytes saved each time. Then gives layers different bits by the logarithm of their\n"
    "block influence at one average, with and without queries and keys of a quarter of the rank.\n\n"
    "      --rank=X        numbers kept in queries and keys (default 0.25)\n"
    "      --bits=X        average of the layers (default 2.5)\n"
    "      --prompt=N      tokens of the prompts for the attention (default 512)\n" BUDGET_BENCH_HELP "\nExample:\n"
    "  pith bench casp --bits=3\n";

#define LAYERS_MOST 64
#define ABOVE 1e-3f

typedef struct casp {
    budget_bench b;
    double rank, bits;
    uint64_t prompt;
    unsigned n_layers;
    double above[LAYERS_MOST], entries[LAYERS_MOST];
} casp;

/* ---- attention ---- */

static void count(void *opaque, uint32_t layer, uint32_t head, uint32_t sequence, uint32_t position, const float *weights) {
    casp *c = opaque;
    (void)head, (void)sequence;
    if (layer >= c->n_layers) return;
    unsigned above = 0;
    for (uint32_t i = 0; i <= position; i++) above += weights[i] > ABOVE;
    c->above[layer] += above;
    c->entries[layer] += position + 1;
}

static pith_status read_prompt(lm_session *s, const uint32_t *ids, size_t n) {
    lm_token tokens[256];
    pith_status status = lm_truncate(s, 0, 0);
    for (size_t at = 0; at < n && !status; at += PITH_COUNT(tokens)) {
        size_t here = PITH_MIN(n - at, PITH_COUNT(tokens));
        for (size_t i = 0; i < here; i++) tokens[i] = (lm_token){.id = ids[at + i]};
        status = lm_eval(s, tokens, here);
    }
    return status;
}

static int measure_attention(experiment *e, casp *c) {
    token_list tokens = {0};
    lm_session *s = NULL;
    lm_probe probe = {.opaque = c, .attention = count};
    size_t prompt = (size_t)c->prompt;
    lm_session_options o = {.n_ctx = (uint32_t)prompt, .max_batch = 256, .max_logits = 1, .n_threads = e->o.n_threads};
    exp_step(e, "attention");
    pith_status status = ruler_tokens(e->ctx, c->b.m, c->b.judge_text.data, c->b.judge_text.size, &tokens);
    if (!status && tokens.n < prompt) status = pith_fail(e->ctx, PITH_E_ARGUMENT, "the text is shorter than a prompt");
    if (!status) status = lm_session_new(e->ctx, c->b.m, &o, &s);
    if (!status) lm_set_probe(s, &probe);
    for (size_t i = 0; i < 4 && (i + 1) * prompt <= tokens.n && !status; i++)
        status = read_prompt(s, tokens.id + i * prompt, prompt);
    lm_session_free(s);
    token_list_free(e->ctx, &tokens);
    return status ? exp_failed(e) : CLI_OK;
}

/* ---- low rank, layer by layer ---- */

enum { QK, VO, MLP, PARTS };

static uint64_t weights_of(const casp *c, unsigned layer, int part) {
    static const char *const names[PARTS][3] = {{"attn_q", "attn_k"}, {"attn_v", "attn_output"},
                                                {"ffn_gate", "ffn_up", "ffn_down"}};
    uint64_t n = 0;
    for (unsigned i = 0; i < 3 && names[part][i]; i++) {
        size_t t = budget_bench_tensor(&c->b, layer, names[part][i]);
        n += t == SIZE_MAX ? 0 : c->b.base->tensors[t].n_elements;
    }
    return n;
}

/* Of `layer`, or of all with layer = n_layers; as many numbers go as from queries and keys, or the same part of them. */
static int low_rank(experiment *e, casp *c, unsigned layer, int part, bool same_ratio, double *kl) {
    char number[16] = "*", pattern[160], recipe[320];
    uint64_t qk = weights_of(c, 0, QK), own = weights_of(c, 0, part);
    double ratio = 1 - (1 - c->rank) * (double)qk / (double)PITH_MAX(own, 1u);
    if (same_ratio) ratio = c->rank;
    if (!qk || ratio <= 0) return cli_error("casp: the layers are none that can be cut so");
    if (layer < c->n_layers) snprintf(number, sizeof number, "%u", layer);
    if (part == VO)
        snprintf(pattern, sizeof pattern, "blk.%s.attn_v.weight,blk.%s.attn_output.weight", number, number);
    else
        snprintf(pattern, sizeof pattern, "blk.%s.%s.weight", number, part == QK ? "attn_[qk]" : "ffn_*");
    snprintf(recipe, sizeof recipe, "%s -> lowrank(ratio=%.6f, white=chol)", pattern, ratio);
    return budget_bench_recipe(e, &c->b, recipe, kl, NULL);
}

static int cut_parts(experiment *e, casp *c) {
    double density[LAYERS_MOST], kl[PARTS][LAYERS_MOST + 1], rho = 0;
    char label[32];
    int result = CLI_OK;
    exp_table(e, "low rank with equal bytes saved; KL held out",
              "layer|attention above 0.001.3|block influence.4|queries, keys.4|values, outputs.4|feed-forward.4");
    const model_stats_about *about = model_stats_info(c->b.stats);
    for (unsigned l = 0; l <= c->n_layers && result == CLI_OK; l++) {
        for (int p = 0; p < PARTS && result == CLI_OK; p++) result = low_rank(e, c, l, p, false, &kl[p][l]);
        if (result != CLI_OK) return result;
        snprintf(label, sizeof label, l < c->n_layers ? "%u" : "all", l);
        if (l < c->n_layers) density[l] = c->above[l] / fmax(c->entries[l], 1);
        EXP_ROW(e, label, l < c->n_layers ? density[l] : NAN, l < about->n_influence ? (double)about->influence[l] : NAN,
                kl[QK][l], kl[VO][l], kl[MLP][l]);
    }
    double same[PARTS];
    for (int p = 0; p < PARTS && result == CLI_OK; p++) result = low_rank(e, c, c->n_layers, p, true, &same[p]);
    if (result != CLI_OK) return result;
    EXP_ROW(e, "all, the same part of the numbers", NAN, NAN, same[QK], same[VO], same[MLP]);
    unsigned n = c->n_layers, cheapest = 0;
    for (unsigned l = 0; l < n; l++) cheapest += kl[QK][l] < kl[VO][l] && kl[QK][l] < kl[MLP][l];
    if (ruler_spearman(e->ctx, density, kl[QK], n, &rho)) return exp_failed(e);
    exp_claim(e, kl[QK][n] < kl[VO][n], "at equal bytes saved queries and keys bear low rank better than values and outputs: "
              "KL %.4f, %.4f", kl[QK][n], kl[VO][n]);
    exp_claim(e, kl[QK][n] < kl[MLP][n], "and than the feed-forward network: %.4f (best of the three in %u of %u layers; with "
              "the same part of the numbers %.4f, %.4f, %.4f)", kl[MLP][n], cheapest, n, same[QK], same[VO], same[MLP]);
    exp_claim(e, rho > 0, "the denser a layer's attention the more its queries and keys matter: Spearman %.2f over %u layers",
              rho, n);
    return CLI_OK;
}

/* ---- bits per layer ---- */

/* Levels an eighth of a bit apart; widths[n] of the layers for an average. */
static pith_status widths_of(experiment *e, const casp *c, double average, double slope, double *widths) {
    const model_stats_about *about = model_stats_info(c->b.stats);
    double scores[LAYERS_MOST], bits[57];
    uint64_t weights[LAYERS_MOST];
    uint32_t level[LAYERS_MOST];
    for (unsigned i = 0; i < PITH_COUNT(bits); i++) bits[i] = 1 + i / 8.0;
    for (unsigned l = 0; l < c->n_layers; l++) {
        scores[l] = l < about->n_influence ? fmax((double)about->influence[l], 1e-9) : 1;
        weights[l] = weights_of(c, l, QK) + weights_of(c, l, VO) + weights_of(c, l, MLP);
    }
    pith_status status = alloc_lograte(e->ctx, scores, weights, c->n_layers, bits, PITH_COUNT(bits), average, slope, level);
    for (unsigned l = 0; l < c->n_layers && !status; l++) widths[l] = bits[level[l]];
    return status;
}

/* Tries an average until the bytes are those of `target` (0: once). */
static int try_bits(experiment *e, casp *c, const char *label, double slope, bool rank, uint64_t *target, double *kl) {
    double average = c->bits, widths[LAYERS_MOST];
    pith_buffer text = {0};
    model_trial t;
    int result = CLI_OK;
    for (unsigned tries = 0; tries < 4 && result == CLI_OK; tries++) {
        char rule[320];
        text.size = 0;
        pith_status status = widths_of(e, c, average, slope, widths);
        for (unsigned l = 0; l < c->n_layers && !status; l++) {
            if (slope == 0) widths[l] = average;
            int n = 0;
            if (rank)
                n = snprintf(rule, sizeof rule,
                             "blk.%u.attn_[qk].weight -> lowrank(ratio=%.6f, white=chol, factors=step(bits=%.4f) | ctxac) ; ",
                             l, c->rank, widths[l]);
            n += snprintf(rule + n, sizeof rule - (size_t)n, "blk.%u.*.weight -> step(bits=%.4f) | ctxac @ obs%s", l,
                          widths[l], l + 1 < c->n_layers ? " ; " : "");
            status = pith_buffer_append(e->ctx, &text, rule, (size_t)n);
        }
        if (!status) status = pith_buffer_append(e->ctx, &text, "", 1);
        if (status) {
            result = exp_failed(e);
            break;
        }
        result = budget_bench_recipe(e, &c->b, (const char *)text.data, kl, &t);
        double off = *target ? ((double)*target - (double)t.bytes) / (double)*target : 0;
        if (fabs(off) < 0.003) break;
        average *= 1 + off;
    }
    pith_buffer_free(e->ctx, &text);
    if (result != CLI_OK) return result;
    if (!*target) *target = t.bytes;
    EXP_ROW(e, label, 8 * (double)t.bytes / (double)t.weights, *kl);
    return CLI_OK;
}

static int spend(experiment *e, casp *c) {
    double plain, half, full, cut, both;
    uint64_t target = 0;
    exp_table(e, "bits of the layers, step | ctxac @ obs", "bits by|bits.3|KL held out.4");
    int result = try_bits(e, c, "the same for all", 0, false, &target, &plain);
    if (result == CLI_OK) result = try_bits(e, c, "1/2 log2(influence)", 0.5, false, &target, &half);
    if (result == CLI_OK) result = try_bits(e, c, "log2(influence)", 1, false, &target, &full);
    if (result == CLI_OK) result = try_bits(e, c, "the same, low rank queries, keys", 0, true, &target, &cut);
    if (result == CLI_OK) result = try_bits(e, c, "1/2 log2(influence), low rank", 0.5, true, &target, &both);
    if (result != CLI_OK) return result;
    exp_claim(e, fmin(half, full) < plain, "bits by block influence beat equal bits: %.4f, %.4f", fmin(half, full), plain);
    exp_claim(e, fmin(cut, both) < fmin(plain, fmin(half, full)),
              "what low rank queries and keys save pays in the rest: %.4f", fmin(cut, both));
    return CLI_OK;
}

static int casp_run(experiment *e, void *own) {
    casp *c = own;
    if (!(c->rank > 0 && c->rank < 1)) return cli_error("casp: --rank is between 0 and 1");
    if (!(c->bits >= 1 && c->bits <= 8)) return cli_error("casp: --bits is from 1 to 8");
    int result = budget_bench_open(e, &c->b, false);
    if (result == CLI_OK) {
        c->n_layers = lm_about(c->b.m)->n_layers;
        if (c->n_layers > LAYERS_MOST) result = cli_error("casp: more than %d layers", LAYERS_MOST);
    }
    if (result == CLI_OK) result = measure_attention(e, c);
    if (result == CLI_OK) result = cut_parts(e, c);
    if (result == CLI_OK) result = spend(e, c);
    budget_bench_close(e, &c->b);
    return result;
}

int bench_casp(int argc, char **argv) {
    casp c = {.b = {BUDGET_BENCH_DEFAULTS}, .rank = 0.25, .bits = 2.5, .prompt = 512};
    const lm_option extra[] = {BUDGET_BENCH_OPTIONS(c.b),
                               {"rank", 0, LM_REAL, &c.rank, 0, 0},
                               {"bits", 0, LM_REAL, &c.bits, 0, 0},
                               {"prompt", 0, LM_NUMBER, &c.prompt, 32, 1 << 20}};
    return exp_main(argc, argv, casp_help, extra, PITH_COUNT(extra), 0, casp_run, &c);
}
