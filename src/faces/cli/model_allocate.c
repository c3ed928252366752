/* pith model allocate: which code each matrix of a model gets, so that all together keep to one budget. */
#include <math.h>
#include <string.h>
#include <strings.h>

#include "artefacts/artefacts.h"
#include "artefacts/model/model.h"
#include "faces/cli/cmd_lm.h"
#include "faces/cli/model.h"
#include "lm/ruler/ruler.h"

static const char allocate_help[] =
    "Usage: pith model allocate MODEL --levels='CHAIN; CHAIN; ...' (--bpw=X | --size=BYTES | --max-kl=X) [OPTIONS]\n\n"
    "Codes every matrix of MODEL with every chain, and prints the recipe that gives each matrix one of them, for\n"
    "pith model compress --recipe. MODEL may be 'default'.\n\n"
    "      --levels='A; B'     chains of the recipe language, from the smallest code to the largest\n"
    "      --bpw=X             bits per weight of the matrices, all of the codes counted\n"
    "      --size=N            bytes of the model's tensors, those that are not coded as they are\n"
    "      --max-kl=X          nats a token, by the estimate; then the bytes are as few as can be\n"
    "      --method=METHOD     mckp (default): the exact optimum of the estimate; lagrange: nearly; evolve: from mckp\n"
    "                          on by measured divergence; error: mckp by the errors of outputs alone, unweighed\n"
    "      --stats=FILE        what pith model stats gathered\n"
    "      --text=FILE         to weigh and evolve with (default: half of the built-in text)\n"
    "      --chunks=N          chunks of --ctx tokens of it (default 8)\n"
    "      --generations=N     of evolve (default 30); --offspring=N (default 16), --seed=N (default 1)\n"
    "      --eval-text=FILE    to measure the result on (default: the other half of the built-in text)\n"
    "  -o FILE, --output=FILE  write the recipe there\n"
    "  -f, --force             overwrite FILE\n" LM_COMMON_HELP "\nExample:\n"
    "  pith model allocate default --levels='q(2, group=32); q(3, group=32); q(4, group=32)' --bpw=3.5\n";

typedef struct allocate_options {
    lm_options common;
    const char *levels, *method, *stats, *text, *eval_text, *output, *size;
    double bpw, max_kl;
    uint64_t chunks, generations, offspring, seed;
} allocate_options;

typedef struct allocate_run {
    pith_ctx *ctx;
    const allocate_options *o;
    lm_model *model;
    const tensor_file *file;
    pith_recipe *levels;
    model_stats *stats;
    model_table *table;
    model_judge *judge;
    uint64_t other_bytes;
    alloc_budget budget;
    alloc_choice choice;
    model_score score;
    double estimate; /* of the divergence, sum of the losses */
    double seconds;  /* processor time before the last measurement */
    pith_buffer recipe;
} allocate_run;

static int new_judge(allocate_run *r, const char *path, bool second) {
    pith_buffer text = {0};
    size_t size;
    const char *prose = ruler_prose(&size);
    model_ruler_options options = {.n_ctx = r->o->common.n_ctx, .n_chunks = (size_t)r->o->chunks,
                                   .n_threads = r->o->common.n_threads};
    if (path && lm_read_text(r->ctx, path, &text) != CLI_OK) return CLI_FAIL;
    const char *from = path ? (const char *)text.data : prose + (second ? size / 2 : 0);
    pith_status status = model_judge_new(r->ctx, r->file, from, path ? text.size : size / 2, &options, &r->judge);
    pith_buffer_free(r->ctx, &text);
    return status ? lm_failed(r->ctx, path) : CLI_OK;
}

static int read_budget(allocate_run *r) {
    const allocate_options *o = r->o;
    uint64_t bytes = 0;
    const char *end;
    for (size_t i = 0; i < r->file->n_tensors; i++)
        if (!model_overlay_takes(&r->file->tensors[i])) r->other_bytes += r->file->tensors[i].bytes;
    if ((o->bpw > 0) + (o->max_kl > 0) + (o->size != NULL) != 1)
        return cli_error("model allocate: one of --bpw, --size and --max-kl, above 0");
    if (o->size && (!cli_parse_size(o->size, &end, &bytes) || *end))
        return cli_error("model allocate: --size: a size, not '%s'", o->size);
    if (o->size && bytes <= r->other_bytes)
        return cli_error("model allocate: --size=%s: what is not coded takes as much", o->size);
    if (o->size) r->budget.bytes = bytes - r->other_bytes;
    else if (o->max_kl > 0) r->budget = (alloc_budget){.by_loss = true, .loss = o->max_kl};
    else r->budget.bytes = alloc_bytes_of(o->bpw, model_table_weights(r->table));
    return CLI_OK;
}

static bool method_is(const allocate_run *r, const char *name) {
    return strcasecmp(r->o->method ? r->o->method : "mckp", name) == 0;
}

static pith_status choose(allocate_run *r) {
    lm_progress progress;
    pith_status status = PITH_OK;
    if (!method_is(r, "error")) {
        lm_progress_start(&progress, r->ctx, "weighing", "matrices");
        status = model_table_weigh(r->ctx, r->table, r->judge, PITH_MAX((size_t)r->o->chunks / 2, 1u));
        lm_progress_clear(&progress, r->ctx);
    }
    const alloc_table *rows = model_table_rows(r->table);
    if (!status) status = method_is(r, "lagrange") ? alloc_lagrange(r->ctx, rows, &r->budget, &r->choice)
                                                   : alloc_mckp(r->ctx, rows, &r->budget, 0, &r->choice);
    r->estimate = r->choice.loss;
    if (!status && method_is(r, "evolve")) {
        lm_progress_start(&progress, r->ctx, "evolving", "generations");
        status = model_table_evolve(r->ctx, r->table, r->judge, &r->budget, (uint32_t)r->o->generations,
                                    (uint32_t)r->o->offspring, r->o->seed, &r->choice);
        lm_progress_clear(&progress, r->ctx);
    }
    return status;
}

static int write_recipe(allocate_run *r) {
    if (!r->o->output) return CLI_OK;
    lm_writer writer;
    if (lm_writer_open(&writer, r->ctx, r->o->output, r->o->common.force) != CLI_OK) return CLI_FAIL;
    pith_status status = lm_write_piece(&writer, r->recipe.data, r->recipe.size);
    return lm_writer_close(&writer, status == PITH_OK, r->o->common.force);
}

static int report(const allocate_run *r) {
    double weights = (double)model_table_weights(r->table), bits = 8 * (double)r->choice.bytes / weights;
    if (r->o->common.json) {
        json_t *all = json_pack("{s:s#,s:I,s:I,s:f,s:f,s:b,s:f,s:f,s:f,s:f,s:f}", "recipe",
                                (const char *)r->recipe.data, (int)r->recipe.size, "bytes",
                                (json_int_t)r->choice.bytes, "other_bytes",
                                (json_int_t)r->other_bytes, "bits_per_weight", bits, "estimate", r->estimate, "exact",
                                r->choice.exact, "kl", r->score.c.kl.mean, "kl_error", r->score.c.kl.error,
                                "perplexity", r->score.c.perplexity, "perplexity_before", r->score.c.perplexity_base,
                                "cpu_seconds", r->seconds);
        return cli_json_print(stdout, all, JSON_INDENT(1));
    }
    if (!r->o->output) printf("%.*s\n\n", (int)r->recipe.size, (const char *)r->recipe.data);
    printf("codes        %llu bytes, %.4f bits a weight\n", (unsigned long long)r->choice.bytes, bits);
    printf("estimate     %.5f%s\n", r->estimate, r->choice.exact ? ", the least there is" : "");
    printf("KL           %.5f +- %.5f nats (%zu tokens)\n", r->score.c.kl.mean, r->score.c.kl.error, r->score.c.n);
    printf("perplexity   %.4f, before %.4f\n", r->score.c.perplexity, r->score.c.perplexity_base);
    printf("time         %.1f s of processor\n", r->seconds);
    return CLI_OK;
}

static int read_inputs(allocate_run *r) {
    const allocate_options *o = r->o;
    if (!o->levels) return cli_error("model allocate: --levels: which codes are there to choose from?");
    if (!method_is(r, "mckp") && !method_is(r, "lagrange") && !method_is(r, "evolve") && !method_is(r, "error"))
        return cli_error("model allocate: no method '%s'; --help lists them", o->method);
    artefacts_register();
    if (pith_recipe_parse(r->ctx, "model", o->levels, strlen(o->levels), &r->levels) != PITH_OK)
        return lm_failed(r->ctx, "--levels");
    if (lm_open_named(r->ctx, lm_model_path(o->common.names[0]), &r->model) != CLI_OK) return CLI_FAIL;
    r->file = lm_file(r->model);
    if (o->stats && model_stats_open(r->ctx, o->stats, &r->stats) != PITH_OK) return lm_failed(r->ctx, o->stats);
    return CLI_OK;
}

static int make_table(allocate_run *r) {
    lm_progress progress;
    lm_progress_start(&progress, r->ctx, "coding", "matrices");
    pith_status status = model_table_new(r->ctx, r->file, r->levels, r->stats, &r->table);
    lm_progress_clear(&progress, r->ctx);
    if (status) return lm_failed(r->ctx, r->o->common.names[0]);
    r->choice.rows = pith_alloc(r->ctx, model_table_rows(r->table)->n_units * sizeof *r->choice.rows);
    return r->choice.rows ? CLI_OK : lm_failed(r->ctx, NULL);
}

static int allocate(allocate_run *r) {
    double started = model_cpu_seconds();
    int result = read_inputs(r);
    if (result == CLI_OK) result = make_table(r);
    if (result == CLI_OK) result = read_budget(r);
    if (result == CLI_OK) result = new_judge(r, r->o->text, false);
    if (result == CLI_OK && choose(r) != PITH_OK) result = lm_failed(r->ctx, NULL);
    if (result == CLI_OK && model_table_recipe(r->ctx, r->table, r->choice.rows, &r->recipe) != PITH_OK)
        result = lm_failed(r->ctx, NULL);
    r->seconds = model_cpu_seconds() - started;
    if (result == CLI_OK) { /* measured on another text */
        model_judge_free(r->ctx, r->judge);
        r->judge = NULL;
        model_table_forget(r->table);
        result = new_judge(r, r->o->eval_text, true);
    }
    if (result == CLI_OK && (model_table_put(r->ctx, r->table, r->judge, r->choice.rows) != PITH_OK ||
                             model_judge_score(r->ctx, r->judge, &r->score) != PITH_OK))
        result = lm_failed(r->ctx, NULL);
    if (result == CLI_OK) result = write_recipe(r);
    if (result == CLI_OK) result = report(r);
    model_judge_free(r->ctx, r->judge);
    model_table_free(r->ctx, r->table);
    if (r->stats) model_stats_close(r->ctx, r->stats);
    if (r->model) lm_close(r->ctx, r->model);
    pith_recipe_free(r->ctx, r->levels);
    pith_free(r->ctx, r->choice.rows);
    pith_buffer_free(r->ctx, &r->recipe);
    return result;
}

int model_allocate_main(int argc, char **argv) {
    allocate_options o = {.chunks = 8, .generations = 30, .offspring = 16, .seed = 1};
    const lm_option extra[] = {
        {"levels", 0, LM_TEXT, &o.levels, 0, 0},           {"method", 0, LM_TEXT, &o.method, 0, 0},
        {"stats", 0, LM_TEXT, &o.stats, 0, 0},             {"text", 0, LM_TEXT, &o.text, 0, 0},
        {"eval-text", 0, LM_TEXT, &o.eval_text, 0, 0},     {"output", 'o', LM_TEXT, &o.output, 0, 0},
        {"size", 0, LM_TEXT, &o.size, 0, 0},               {"bpw", 0, LM_REAL, &o.bpw, 0, 0},
        {"max-kl", 0, LM_REAL, &o.max_kl, 0, 0},           {"chunks", 0, LM_NUMBER, &o.chunks, 1, 1u << 20},
        {"generations", 0, LM_NUMBER, &o.generations, 0, 1u << 20},
        {"offspring", 0, LM_NUMBER, &o.offspring, 1, 1u << 16}, {"seed", 0, LM_NUMBER, &o.seed, 0, UINT64_MAX},
    };
    int result = lm_options_parse(&o.common, argc, argv, extra, sizeof extra / sizeof *extra, 1);
    if (result == CLI_OK && o.common.help) {
        result = cli_help(allocate_help);
    } else if (result == CLI_OK && o.common.n_names == 0) {
        result = cli_error("model allocate: which model? (by name, not by --model)");
    } else if (result == CLI_OK) {
        allocate_run r = {.ctx = lm_session_of(&o.common), .o = &o};
        result = r.ctx ? allocate(&r) : CLI_FAIL;
        pith_ctx_free(r.ctx);
    }
    lm_options_free(&o.common);
    return result;
}
