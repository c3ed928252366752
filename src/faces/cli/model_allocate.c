/* pith model allocate: which recipe each matrix of a model gets, so that all together take so many bytes, or diverge so
 * much. */
#include <string.h>

#include "faces/cli/model.h"
#include "faces/cli/model_budget.h"

static const char allocate_help[] =
    "Usage: pith model allocate MODEL (--size=BYTES | --bpw=X | --max-kl=X) [OPTIONS]\n\n"
    "Chooses a code for every matrix of MODEL so that all together keep to one budget, and prints the choice as a\n"
    "recipe, for --recipe of pith model compress or pith model quantize. Vectors stay exact. MODEL may be 'default'.\n\n"
    "      --size=BYTES        of the whole archive at most, all else counted as it is in the file\n"
    "      --bpw=X             bits for each weight of the model, all tensors counted\n"
    "      --max-kl=X          nats a token by which answers may differ, measured on the second text\n"
    "      --levels='A; B'     chains to choose from, of any kind: bits, ranks, parts that stay (default with a method\n"
    "                          of a table: step | ctxac @ obs at 2, 2.5, 3, 3.5, 4, 5, 6, 8 bits)\n"
    "      --for=quantize      levels are the blocks q2_K to q6_K and q8_0 (with --stats: @ obs), for GGUF files\n"
    "      --only=PATTERNS     tensors that take part (default: all matrices)\n"
    "      --experts           every expert of a mixture gets a level of its own, out of a table; losses of an expert\n"
    "                          count as often as tokens are sent to it (kl, energy). For archives: the experts of a\n"
    "                          GGUF tensor have one type\n"
    "      --method=METHOD     rate: bits by half the logarithm of what each weight's error costs; without --levels, where\n"
    "                          it is the default, any number of bits for step | ctxac @ obs, and every matrix is coded\n"
    "                          a few times only. The others choose out of a table, every matrix at every level: greedy\n"
    "                          (default with --levels): steepest gain per byte first; knapsack: the exact optimum;\n"
    "                          evolve: evolution under the measured divergence, from greedy on; uniform\n"
    "      --loss=LOSS         what adds up in a table: kl (default up to 100 million weights): relative errors of\n"
    "                          outputs, each times what an error of that matrix alone does to the answers; outputs:\n"
    "                          without that; share, energy, weights\n"
    "      --stats=FILE        what the inputs of matrices are like: pith model stats\n"
    "      --text=FILE         to weigh and search with (default: half of a built-in text)\n"
    "      --eval-text=FILE    to measure the choice with (default: the other half, of FILE too)\n"
    "      --chunks=N          of either, at most (default 8); matrices are weighed with a quarter of them, an eighth\n"
    "                          by rate, above 30 million weights layers together\n"
    "      --generations=N     of evolve (default 60); --offspring=N (default 16), --seed=N (default 1)\n"
    "  -o FILE, --output=FILE  write the recipe there\n"
    "  -f, --force             overwrite FILE\n"
    "      --ctx=N             tokens of a chunk (default 512)\n"
    "  -T#, --threads=#        threads (default: one for each processor)\n"
    "  -M#, --memory=#         memory limit (default 1G; mapped files do not count)\n"
    "      --json              one JSON object\n"
    "  -q                      no progress and no notes\n\n"
    "Examples:\n"
    "  pith model allocate default --stats=stats.gguf --bpw=3.1\n"
    "  pith model allocate model.gguf --levels='q(3) @ obs; q(4) @ obs; lowrank(ratio=0.3)' --max-kl=0.02 -o recipe.txt\n"
    "  pith model quantize model.gguf small.gguf --recipe=\"$(pith model allocate -q model.gguf --for=quantize --bpw=4)\"\n";

/* Chains that pith model quantize writes. */
static const char block_levels[] = "gguf(q2_K); gguf(q3_K); gguf(q4_K); gguf(q5_K); gguf(q6_K); gguf(q8_0)";
static const char block_levels_obs[] = "gguf(q2_K) @ obs; gguf(q3_K) @ obs; gguf(q4_K) @ obs; gguf(q5_K) @ obs; "
                                       "gguf(q6_K) @ obs; gguf(q8_0) @ obs";


static int report_json(const budget_answer *a) {
    json_t *all = json_pack("{s:s, s:I, s:I, s:I, s:f, s:s, s:f, s:b, s:f}", "recipe", (const char *)a->recipe.data, "bytes",
                            (json_int_t)a->bytes, "other_bytes", (json_int_t)a->other_bytes, "head_bytes",
                            (json_int_t)a->head_bytes, "bits_per_weight",
                            8 * (double)(a->bytes + a->other_bytes) / (double)(a->weights + a->other_weights), "loss_kind",
                            model_loss_names[a->loss_kind], "loss", a->loss, "exact", a->exact, "cpu_seconds", a->seconds);
    if (all && a->bits > 0) json_object_set_new(all, "bits", json_real(a->bits));
    if (all && a->measured) {
        json_object_set_new(all, "kl", json_real(a->score.c.kl.mean));
        json_object_set_new(all, "kl_error", json_real(a->score.c.kl.error));
        json_object_set_new(all, "perplexity", json_real(a->score.c.perplexity));
        json_object_set_new(all, "perplexity_base", json_real(a->base_perplexity));
    }
    return cli_json_print(stdout, all, JSON_INDENT(1));
}

static int report(const budget_answer *a) {
    printf("%s\n", (const char *)a->recipe.data);
    if (cli_verbosity < 0) return CLI_OK;
    printf("\ncodes        %llu bytes, %.4f bits a weight in %u tensors\n", (unsigned long long)a->bytes,
           8 * (double)a->bytes / (double)a->weights, (unsigned)a->n_units);
    printf("with others  %llu bytes, %.4f bits a weight\n", (unsigned long long)(a->bytes + a->other_bytes),
           8 * (double)(a->bytes + a->other_bytes) / (double)(a->weights + a->other_weights));
    if (a->bits > 0)
        printf("spread       around %.3f bits a weight\n", a->bits);
    else
        printf("%s  %.5f%s\n", a->loss_kind == MODEL_LOSS_KL ? "estimate   " : "sum of loss", a->loss,
               a->exact ? ", the least there is" : "");
    if (a->measured) {
        printf("KL           %.5f +- %.5f nats (%zu positions)\n", a->score.c.kl.mean, a->score.c.kl.error, a->score.c.n);
        printf("perplexity   %.4f, before %.4f\n", a->score.c.perplexity, a->base_perplexity);
    }
    printf("time         %.1f s of processor\n", a->seconds);
    return CLI_OK;
}

static int write_recipe(pith_ctx *ctx, const budget_answer *a, const char *path, bool force) {
    lm_writer writer;
    if (!path) return CLI_OK;
    if (lm_writer_open(&writer, ctx, path, force) != CLI_OK) return CLI_FAIL;
    pith_status status = lm_write_piece(&writer, a->recipe.data, a->recipe.size - 1);
    return lm_writer_close(&writer, status == PITH_OK, force);
}

int model_allocate_main(int argc, char **argv) {
    budget_request r = {BUDGET_REQUEST_DEFAULTS};
    const char *output = NULL, *whom = NULL;
    lm_options o;
    const lm_option extra[] = {BUDGET_REQUEST_OPTIONS(r),
                               {"only", 0, LM_TEXT, &r.only, 0, 0},
                               {"experts", 0, LM_FLAG, &r.experts, 0, 0},
                               {"loss", 0, LM_TEXT, &r.loss, 0, 0},
                               {"stats", 0, LM_TEXT, &r.stats, 0, 0},
                               {"eval-text", 0, LM_TEXT, &r.eval_text, 0, 0},
                               {"chunks", 0, LM_NUMBER, &r.chunks, 1, 1u << 20},
                               {"generations", 0, LM_NUMBER, &r.generations, 1, 1u << 20},
                               {"offspring", 0, LM_NUMBER, &r.offspring, 1, 1u << 16},
                               {"seed", 0, LM_NUMBER, &r.seed, 0, UINT64_MAX},
                               {"for", 0, LM_TEXT, &whom, 0, 0},
                               {"output", 'o', LM_TEXT, &output, 0, 0}};
    int result = lm_options_parse(&o, argc, argv, extra, PITH_COUNT(extra), 1);
    if (result == CLI_OK && o.help) {
        result = cli_help(allocate_help);
    } else if (result == CLI_OK && o.n_names == 0) {
        result = cli_error("model allocate: which model?");
    } else if (result == CLI_OK && whom && strcmp(whom, "compress") != 0 && strcmp(whom, "quantize") != 0) {
        result = cli_error("model allocate: --for: compress or quantize, not '%s'", whom);
    } else if (result == CLI_OK && whom && *whom == 'q' && r.experts) {
        result = cli_error("model allocate: --experts: the experts of a GGUF tensor have one type; archives only");
    } else if (result == CLI_OK) {
        budget_answer a = {0};
        if (whom && *whom == 'q' && !r.levels) r.levels = r.stats ? block_levels_obs : block_levels;
        pith_ctx *ctx = lm_session_of(&o);
        result = ctx ? budget_find(ctx, o.names[0], &o, &r, true, &a) : CLI_FAIL;
        if (result == CLI_OK) result = write_recipe(ctx, &a, output, o.force);
        if (result == CLI_OK) result = o.json ? report_json(&a) : report(&a);
        if (ctx) budget_answer_free(ctx, &a);
        pith_ctx_free(ctx);
    }
    lm_options_free(&o);
    return result;
}
