/* pith bench moe: codes for mixtures of experts, on a small mixture made of a dense model. Here: the mixture, and
 * ternary experts in words of a fixed dictionary (Frantar and Alistarh 2023, QMoE). */
#include <math.h>
#include <string.h>

#include "artefacts/artefacts.h"
#include "faces/cli/bench_moe.h"

static const char moe_help[] =
    "Usage: pith bench moe [OPTIONS]\n\n"
    "Experiments on a mixture of experts. A dense model is first split into one (pith model split --help): small, not\n"
    "trained as one, so that figures say how methods compare, not what large mixtures give.\n"
    "  ternary   experts of three values by rounding and by error feedback on their own tokens; the fixed dictionary\n"
    "            of QMoE against an entropy coder\n"
    "  bits      1, 2 or 3 bits for each expert by the exact solver, against uniform bits and against frequency alone\n"
    "  skip      the second expert left out where its weight is small, with and without protected tokens\n\n"
    "      --experts=N     of each block (default 8)\n"
    "      --used=N        a token is sent to (default 2)\n"
    "      --sharpness=X   of the router's scores (default 1)\n"
    "      --tokens=N      that split and calibrate (default 8192)\n"
    "      --chunks=N      of 256 tokens that are judged at most (default 32)\n"
    "      --text=FILE     the first half calibrates, the second is judged (default: the built-in text)\n"
    "      --model=FILE    a dense llama model or a mixture (default: the built-in pith-mini)\n" EXP_HELP
    "\nExamples:\n"
    "  pith bench moe\n"
    "  pith bench moe --model=mixture.gguf --text=news.txt\n";

int moe_codes(experiment *e, moe_bench *b, const char *const *recipes, unsigned n_recipes, const uint32_t *choice,
              bool informed, bool into_overlay) {
    pith_recipe *parsed[8] = {NULL};
    pith_status status = PITH_OK;
    for (unsigned i = 0; i < n_recipes && !status; i++)
        status = pith_recipe_parse(e->ctx, "model", recipes[i], strlen(recipes[i]), &parsed[i]);
    if (!status)
        status = experts_try(e->ctx, b->m, informed ? b->stats : NULL, (const pith_recipe *const *)parsed, choice,
                             into_overlay ? b->overlay : NULL, b->codes);
    for (unsigned i = 0; i < n_recipes; i++) pith_recipe_free(e->ctx, parsed[i]);
    return status ? exp_failed(e) : CLI_OK;
}

int moe_try(experiment *e, moe_bench *b, const char *const *recipes, unsigned n_recipes, const uint32_t *choice,
            bool informed, moe_score *out) {
    const lm_shape *shape = lm_about(b->m);
    lm_model *coded = NULL;
    model_score score;
    if (moe_codes(e, b, recipes, n_recipes, choice, informed, true) != CLI_OK) return CLI_FAIL;
    double weights = 0, bytes = 0, zeros = 0, entropy = 0, loss = 0, energy = 0, seconds = 0;
    for (size_t i = 0; i < (size_t)shape->n_layers * shape->n_experts; i++) {
        const experts_code *c = &b->codes[i];
        weights += (double)c->weights, bytes += (double)c->bytes, zeros += (double)c->zeros;
        entropy += c->entropy, loss += c->loss, energy += c->energy, seconds += c->decode_seconds;
    }
    pith_status status = model_overlay_open(e->ctx, b->overlay, &coded);
    if (!status) status = model_ruler_measure(e->ctx, b->ruler, coded, &score);
    lm_close(e->ctx, coded);
    if (status) return exp_failed(e);
    *out = (moe_score){.bits = 8 * bytes / weights,
                       .zeros = zeros / weights,
                       .entropy = entropy / weights,
                       .loss = energy > 0 ? loss / energy : 0,
                       .kl = score.c.kl.mean,
                       .ratio = score.c.ratio,
                       .decode = seconds > 0 ? weights / seconds / 1e9 : 0};
    return CLI_OK;
}

/* ---- ternary experts ---- */

int moe_ternary(experiment *e, moe_bench *b) {
    static const struct {
        const char *label, *recipe;
        bool informed;
    } rows[] = {
        {"rounded, dictionary", "ternary(minmax) | dict16", false},
        {"error feedback, dictionary", "ternary(minmax) | dict16 @ obs(damp=10%)", true},
        {"error feedback, rans", "ternary(minmax) | rans @ obs(damp=10%)", true},
        {"error feedback, 2 bits each", "ternary(minmax) | pack @ obs(damp=10%)", true},
        {"best scale, rounded, rans", "ternary(scale) | rans", false},
        {"best scale, error feedback, rans", "ternary(scale) | rans @ obs(damp=10%)", true},
    };
    enum { ROUNDED, DICTIONARY, RANS, PACKED, BEST_ROUNDED, BEST };
    moe_score s[PITH_COUNT(rows)];
    exp_table(e, "Ternary experts: nothing else is coded; G/s: weights decoded by one thread",
              "code of the experts|bits.3|entropy.3|zeros.3|error.4|KL.4|PPL ratio.3|G/s.3");
    for (size_t i = 0; i < PITH_COUNT(rows); i++) {
        exp_step(e, rows[i].label);
        if (moe_try(e, b, &rows[i].recipe, 1, NULL, rows[i].informed, &s[i]) != CLI_OK) return CLI_FAIL;
        EXP_ROW(e, rows[i].label, s[i].bits, s[i].entropy, s[i].zeros, s[i].loss, s[i].kl, s[i].ratio, s[i].decode);
    }
    exp_claim(e, s[DICTIONARY].kl < 0.9 * s[ROUNDED].kl,
              "ternary by error feedback on each expert's own tokens has a KL at least 10 %% lower than by rounding: "
              "%.3f against %.3f",
              s[DICTIONARY].kl, s[ROUNDED].kl);
    exp_claim(e, s[DICTIONARY].bits < 1, "the dictionary takes less than 1 bit a weight: %.3f, at %.1f %% zeros",
              s[DICTIONARY].bits, 100 * s[DICTIONARY].zeros);
    exp_claim(e, s[RANS].bits < s[DICTIONARY].bits, "rans takes fewer bits than the dictionary: %.3f against %.3f",
              s[RANS].bits, s[DICTIONARY].bits);
    return CLI_OK;
}

/* ---- the mixture ---- */

static pith_status split(experiment *e, moe_bench *b) {
    experts_options o = {.n_experts = (uint32_t)b->n_experts, .n_used = (uint32_t)b->n_used, .sharpness = b->sharpness};
    b->dense = b->m;
    exp_step(e, "splitting");
    pith_status status = moe_split_open(e->ctx, b->dense, &b->calibrate, &o, &b->made);
    b->m = b->made.m;
    return status;
}

static pith_status open_ruler(experiment *e, moe_bench *b) {
    model_ruler_options o = {.n_ctx = MOE_CTX, .n_chunks = (size_t)b->n_chunks, .n_threads = e->o.n_threads};
    model_score score;
    exp_step(e, "measuring the mixture");
    pith_status status = model_ruler_new(e->ctx, b->m, b->judge_text.data, b->judge_text.size, &o, &b->ruler);
    if (!status && b->dense) status = model_ruler_measure(e->ctx, b->ruler, b->dense, &score);
    if (status) return status;
    if (b->dense)
        exp_note(e,
                 "perplexity of the dense model %.3f, of the mixture of %llu experts of which a token gets %llu: %.3f",
                 score.c.perplexity, (unsigned long long)b->n_experts, (unsigned long long)b->n_used,
                 model_ruler_perplexity(b->ruler));
    else
        exp_note(e, "perplexity of the mixture %.3f", model_ruler_perplexity(b->ruler));
    return PITH_OK;
}

static int prepare(experiment *e, moe_bench *b) {
    pith_buffer text = {0};
    int result = lm_open_named(e->ctx, lm_model_path(b->model ? b->model : "default"), &b->m);
    if (result == CLI_OK) result = lm_text_or_default(e->ctx, b->text, &text);
    if (result != CLI_OK) return result;
    size_t half = text.size / 2;
    pith_status status = ruler_tokens(e->ctx, b->m, text.data, half, &b->calibrate);
    if (!status) status = pith_buffer_append(e->ctx, &b->judge_text, text.data + half, text.size - half);
    if (!status) status = ruler_tokens(e->ctx, b->m, b->judge_text.data, b->judge_text.size, &b->judge);
    pith_buffer_free(e->ctx, &text);
    b->calibrate.n = PITH_MIN(b->calibrate.n, (size_t)b->n_tokens);
    if (!status && !lm_about(b->m)->n_experts) status = split(e, b);
    if (!status) status = open_ruler(e, b);
    if (!status) status = model_overlay_new(e->ctx, lm_file(b->m), NULL, false, &b->overlay);
    exp_step(e, "calibrating");
    if (!status) status = experts_stats_new(e->ctx, b->m, b->calibrate.id, b->calibrate.n, 0, &b->stats);
    size_t all = status ? 0 : (size_t)lm_about(b->m)->n_layers * lm_about(b->m)->n_experts;
    if (!status && !(b->codes = pith_alloc(e->ctx, all * sizeof *b->codes))) status = pith_alloc_status(e->ctx);
    return status ? exp_failed(e) : CLI_OK;
}

static int moe_run(experiment *e, void *own) {
    moe_bench *b = own;
    artefacts_register();
    int result = prepare(e, b);
    if (result == CLI_OK) result = moe_ternary(e, b);
    if (result == CLI_OK) result = moe_bits(e, b);
    if (result == CLI_OK) result = moe_skip(e, b);
    pith_free(e->ctx, b->codes);
    experts_stats_free(e->ctx, b->stats);
    model_ruler_free(e->ctx, b->ruler);
    model_overlay_free(e->ctx, b->overlay);
    lm_close(e->ctx, b->dense ? b->dense : b->m);
    moe_split_close(e->ctx, &b->made);
    pith_buffer_free(e->ctx, &b->judge_text);
    token_list_free(e->ctx, &b->calibrate);
    token_list_free(e->ctx, &b->judge);
    return result;
}

int bench_moe(int argc, char **argv) {
    moe_bench b = {.n_experts = 8, .n_used = 2, .n_tokens = 8192, .n_chunks = 32, .sharpness = 1};
    const lm_option extra[] = {{"experts", 0, LM_NUMBER, &b.n_experts, 2, 512},
                               {"used", 0, LM_NUMBER, &b.n_used, 1, 512},
                               {"sharpness", 0, LM_REAL, &b.sharpness, 0, 0},
                               {"tokens", 0, LM_NUMBER, &b.n_tokens, 64, 1u << 24},
                               {"chunks", 0, LM_NUMBER, &b.n_chunks, 1, 1u << 20},
                               {"text", 0, LM_TEXT, &b.text, 0, 0},
                               {"model", 0, LM_TEXT, &b.model, 0, 0}};
    return exp_main(argc, argv, moe_help, extra, PITH_COUNT(extra), 0, moe_run, &b);
}
