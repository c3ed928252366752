/* pith model budget: which recipe each matrix of a model gets, so that all together take so many bytes, or diverge so
 * much. */
#include "faces/cli/model_budget.h"

#include <math.h>

#include "artefacts/artefacts.h"
#include "faces/cli/model.h"

static const char budget_help[] =
    "Usage: pith model budget MODEL (--size=BYTES | --bpw=X | --max-kl=X) [OPTIONS]\n\n"
    "Codes every matrix of MODEL at every level, chooses a level for each, and prints the choice as a recipe, for\n"
    "pith model compress --recipe. Vectors stay exact. MODEL may be 'default'.\n\n"
    "      --size=BYTES        of the whole archive at most, all else counted as it is in the file\n"
    "      --bpw=X             bits for each weight of the model, all tensors counted\n"
    "      --max-kl=X          nats a token by which answers may differ, measured on the second text\n"
    "      --levels='A; B'     chains to choose from (default: step | ctxac @ obs at 2, 2.5, 3, 3.5, 4, 5, 6, 8 bits)\n"
    "      --only=PATTERNS     tensors that take part (default: all matrices)\n"
    "      --method=METHOD     lagrange (default): one rate of bytes for loss; mckp: exact; evo: evolution under the\n"
    "                          measured divergence from lagrange on; lograte: bits by the logarithm of losses; uniform\n"
    "      --loss=LOSS         what adds up: kl (default up to 100 million weights): relative errors of outputs, each\n"
    "                          times what an error of that matrix alone does to the answers; outputs: without that;\n"
    "                          share, energy, weights\n"
    "      --stats=FILE        what the inputs of matrices are like: pith model stats\n"
    "      --text=FILE         to weigh and search with (default: half of a built-in text)\n"
    "      --eval-text=FILE    to measure the choice with (default: the other half, of FILE too)\n"
    "      --chunks=N          of either, at most (default 8); matrices are weighed with a quarter of them\n"
    "      --generations=N     of evo (default 60); --offspring=N (default 16), --seed=N (default 1)\n"
    "  -o FILE, --output=FILE  write the recipe there\n"
    "  -f, --force             overwrite FILE\n"
    "      --ctx=N             tokens of a chunk (default 512)\n"
    "  -T#, --threads=#        threads (default: one for each processor)\n"
    "  -M#, --memory=#         memory limit (default 1G; mapped files do not count)\n"
    "      --json              one JSON object\n"
    "  -q                      no progress and no notes\n\n"
    "Examples:\n"
    "  pith model budget default --stats=stats.gguf --bpw=3.1\n"
    "  pith model budget model.gguf --levels='q(3) @ obs; q(4) @ obs' --max-kl=0.02 -o recipe.txt\n";

static const char default_levels[] =
    "step(bits=2) | ctxac @ obs; step(bits=2.5) | ctxac @ obs; step(bits=3) | ctxac @ obs; step(bits=3.5) | ctxac @ obs; "
    "step(bits=4) | ctxac @ obs; step(bits=5) | ctxac @ obs; step(bits=6) | ctxac @ obs; step(bits=8) | ctxac @ obs";

#define WEIGHED_MOST 100000000 /* weights up to which matrices are tried one by one without being asked for */

typedef struct budget_run {
    pith_ctx *ctx;
    const lm_options *common;
    const budget_request *r;
    const char *name; /* of the model, for messages */
    tensor_file *file;
    lm_model *model; /* owner of file when it is the built-in one */
    model_stats *stats;
    model_budget_method method;
    uint64_t size; /* of --size */
    char *levels[MODEL_MAX_LEVELS];
    size_t n_levels;
    model_overlay *overlay;
    model_ruler *search, *judge;
    model_variants *v;
    model_fitness fitness;
    alloc_row *rows;
    alloc_choice choice;
    budget_answer *out;
} budget_run;

bool budget_requested(const budget_request *r) { return r->size || r->bpw > 0 || r->max_kl > 0; }

/* ---- what is asked for ---- */

static int find_name(const char *text, const char *const *names, int n, int otherwise) {
    for (int i = 0; text && i < n; i++)
        if (strcmp(text, names[i]) == 0) return i;
    return text ? -1 : otherwise;
}

/* 2500000, 900M, 2.5GB: a decimal and a unit of 1024s. */
static bool read_size(const char *text, uint64_t *bytes) {
    char *end, unit[16];
    const char *rest;
    uint64_t scale;
    if (!strchr("0123456789.", *text)) return false;
    double value = strtod(text, &end);
    int n = snprintf(unit, sizeof unit, "1%s", end);
    if (end == text || n >= (int)sizeof unit || !cli_parse_size(unit, &rest, &scale) || *rest) return false;
    value *= (double)scale;
    *bytes = value < 0x1p53 ? (uint64_t)value : 0;
    return *bytes > 0;
}

/* Chains apart, in canonical text. */
static int read_levels(budget_run *b) {
    const char *text = b->r->levels ? b->r->levels : default_levels;
    pith_recipe *all;
    int result = CLI_OK;
    if (pith_recipe_parse(b->ctx, "model", text, strlen(text), &all) != PITH_OK) return lm_failed(b->ctx, "--levels");
    if (all->n_rules > MODEL_MAX_LEVELS) result = cli_error("--levels: %d at most", MODEL_MAX_LEVELS);
    for (unsigned i = 0; i < all->n_rules && result == CLI_OK; i++) {
        pith_recipe one = {.rules = &all->rules[i], .n_rules = 1};
        pith_buffer printed = {0};
        if (all->rules[i].pattern) {
            result = cli_error("--levels: chains without patterns");
        } else if (pith_recipe_print(b->ctx, &one, &printed) != PITH_OK ||
                   pith_buffer_append(b->ctx, &printed, "", 1) != PITH_OK) {
            result = lm_failed(b->ctx, "--levels");
            pith_buffer_free(b->ctx, &printed);
        } else {
            b->levels[b->n_levels++] = (char *)printed.data;
        }
    }
    pith_recipe_free(b->ctx, all);
    return result;
}

static int read_request(budget_run *b) {
    const budget_request *r = b->r;
    int method = find_name(r->method, model_budget_names, MODEL_BUDGET_METHODS, MODEL_BUDGET_LAGRANGE);
    int loss = find_name(r->loss, model_loss_names, MODEL_LOSSES, MODEL_LOSSES);
    if ((r->bpw > 0) + (r->max_kl > 0) + (r->size != NULL) != 1)
        return cli_error("one of --size, --bpw and --max-kl, above 0");
    if (r->size && !read_size(r->size, &b->size)) return cli_error("--size: a size such as 2.5GB, not '%s'", r->size);
    if (method < 0) return cli_error("--method: lagrange, mckp, evo, lograte or uniform, not '%s'", r->method);
    if (loss < 0) return cli_error("--loss: kl, outputs, share, energy or weights, not '%s'", r->loss);
    if (method == MODEL_BUDGET_EVO && r->max_kl > 0)
        return cli_error("--max-kl is searched by sums of losses: not with --method=evo");
    b->method = (model_budget_method)method;
    b->out->loss_kind = (model_loss)loss;
    return read_levels(b);
}

static int open_model(budget_run *b) {
    const char *path = lm_model_path(b->name);
    if (!path) {
        int result = lm_open_named(b->ctx, NULL, &b->model);
        if (result == CLI_OK) b->file = (tensor_file *)lm_file(b->model);
        if (result != CLI_OK) return result;
    } else if (tensor_file_open(b->ctx, path, &b->file) != PITH_OK) {
        return lm_failed(b->ctx, path);
    }
    uint64_t weights = 0, bytes = 0;
    for (size_t i = 0; i < b->file->n_tensors; i++) {
        weights += b->file->tensors[i].n_elements;
        bytes += b->file->tensors[i].bytes;
    }
    b->out->head_bytes = b->file->file_bytes > bytes ? b->file->file_bytes - bytes : 0;
    if (b->out->loss_kind == MODEL_LOSSES) b->out->loss_kind = weights <= WEIGHED_MOST ? MODEL_LOSS_KL : MODEL_LOSS_OUTPUTS;
    if (b->r->stats && model_stats_open(b->ctx, b->r->stats, &b->stats) != PITH_OK) return lm_failed(b->ctx, b->r->stats);
    return CLI_OK;
}

/* ---- texts ---- */

static pith_status ruler_over(budget_run *b, const lm_model *m, const uint8_t *text, size_t size, model_ruler **out) {
    model_ruler_options o = {
        .n_ctx = b->common->n_ctx, .n_chunks = (size_t)b->r->chunks, .n_threads = b->common->n_threads};
    pith_status status = model_ruler_new(b->ctx, m, text, size, &o, out);
    if (!status && !model_ruler_forget_base(*out))
        status = pith_fail(b->ctx, PITH_E_LIMIT, "the model's answers do not fit the memory limit: fewer --chunks, or -M");
    return status;
}

static int open_rulers(budget_run *b) {
    pith_buffer text = {0}, second = {0};
    lm_model *m = NULL;
    const char *what = b->r->text ? b->r->text : "the built-in text";
    int result = lm_text_or_default(b->ctx, b->r->text, &text);
    if (result == CLI_OK && b->r->eval_text) result = lm_read_text(b->ctx, b->r->eval_text, &second);
    size_t half = b->r->eval_text ? text.size : text.size / 2;
    const pith_buffer *last = b->r->eval_text ? &second : &text;
    if (result == CLI_OK && b->stats && model_stats_saw(b->stats, last->data, last->size))
        cli_warn("%s was calibrated on too: what is measured on it is too good", b->r->eval_text ? b->r->eval_text : what);
    if (result == CLI_OK && (model_overlay_new(b->ctx, b->file, NULL, false, &b->overlay) != PITH_OK ||
                             model_overlay_open(b->ctx, b->overlay, &m) != PITH_OK))
        result = lm_failed(b->ctx, b->name);
    if (result == CLI_OK && ruler_over(b, m, text.data, half, &b->search) != PITH_OK) result = lm_failed(b->ctx, what);
    if (result == CLI_OK && ruler_over(b, m, b->r->eval_text ? second.data : text.data + half,
                                       b->r->eval_text ? second.size : text.size - half, &b->judge) != PITH_OK)
        result = lm_failed(b->ctx, b->r->eval_text ? b->r->eval_text : what);
    lm_close(b->ctx, m);
    pith_buffer_free(b->ctx, &text);
    pith_buffer_free(b->ctx, &second);
    return result;
}

/* ---- the table ---- */

static int make_table(budget_run *b) {
    lm_progress progress;
    bool many = b->method == MODEL_BUDGET_EVO; /* put again and again */
    model_variants_options o = {.levels = (const char *const *)b->levels, .n_levels = b->n_levels, .stats = b->stats,
                                .only = b->r->only, .keep = many};
    lm_progress_start(&progress, b->ctx, "coding", "weights");
    pith_status status = model_variants_new(b->ctx, b->file, &o, &b->v);
    lm_progress_clear(&progress, b->ctx);
    if (!status && b->out->loss_kind == MODEL_LOSS_KL) {
        lm_progress_start(&progress, b->ctx, "weighing", "matrices");
        status = model_variants_slopes(b->ctx, b->v, b->overlay, b->search, PITH_MAX((size_t)b->r->chunks / 4, 1u));
        lm_progress_clear(&progress, b->ctx);
    }
    if (status) return lm_failed(b->ctx, b->name);
    uint32_t units = model_variants_units(b->v), levels = model_variants_levels(b->v);
    b->rows = pith_alloc(b->ctx, (size_t)units * levels * sizeof *b->rows);
    b->choice.rows = pith_alloc(b->ctx, units * sizeof *b->choice.rows);
    if (!b->rows || !b->choice.rows) return lm_failed(b->ctx, b->name);
    model_variants_rows(b->v, b->out->loss_kind, b->rows);
    b->out->n_units = units;
    b->out->n_levels = levels;
    b->out->weights = model_variants_weights(b->v);
    b->out->other_weights = model_variants_other_weights(b->v);
    b->out->other_bytes = model_variants_other_bytes(b->v);
    return CLI_OK;
}

static int budget_bytes(budget_run *b, uint64_t *bytes) {
    const budget_answer *a = b->out;
    uint64_t all = b->size, taken = a->other_bytes;
    if (b->r->size) {
        taken += a->head_bytes;
    } else {
        all = alloc_bytes_of(b->r->bpw, a->weights + a->other_weights);
    }
    if (all <= taken)
        return cli_error("%s: what is not coded takes %llu bytes, more than all may", b->name, (unsigned long long)taken);
    *bytes = all - taken;
    return CLI_OK;
}

static int choose(budget_run *b) {
    lm_progress progress;
    model_budget budget = {.method = b->method, .seed = b->r->seed, .generations = (uint32_t)b->r->generations,
                           .offspring = (uint32_t)b->r->offspring};
    model_fitness *f = b->overlay ? &b->fitness : NULL;
    double kl;
    pith_status status = f ? model_fitness_new(b->ctx, b->v, b->overlay, b->search, f) : PITH_OK;
    if (status) return lm_failed(b->ctx, b->name);
    if (b->r->max_kl > 0) {
        b->fitness.ruler = b->judge;
        lm_progress_start(&progress, b->ctx, "searching", "bytes");
        status = model_budget_for_kl(b->ctx, b->v, b->rows, &budget, f, b->r->max_kl, &b->choice, &kl);
    } else {
        if (budget_bytes(b, &budget.bytes) != CLI_OK) return CLI_FAIL;
        lm_progress_start(&progress, b->ctx, b->method == MODEL_BUDGET_EVO ? "evolving" : "choosing", "generations");
        status = model_budget_choose(b->ctx, b->v, b->rows, &budget, f, &b->choice);
    }
    lm_progress_clear(&progress, b->ctx);
    return status ? lm_failed(b->ctx, b->name) : CLI_OK;
}

static int answer(budget_run *b) {
    budget_answer *a = b->out;
    double sum = 0;
    for (uint32_t u = 0; u < a->n_units; u++) sum += b->rows[b->choice.rows[u]].loss;
    a->bytes = b->choice.bytes;
    a->loss = sum;
    a->exact = b->choice.exact;
    if (model_variants_recipe(b->ctx, b->v, b->choice.rows, &a->recipe) != PITH_OK ||
        pith_buffer_append(b->ctx, &a->recipe, "", 1) != PITH_OK)
        return lm_failed(b->ctx, b->name);
    if (!b->overlay) return CLI_OK;
    b->fitness.ruler = b->judge;
    if (model_fitness_score(&b->fitness, b->choice.rows, &a->score) != PITH_OK) return lm_failed(b->ctx, b->name);
    a->measured = true;
    a->base_perplexity = model_ruler_perplexity(b->judge);
    return CLI_OK;
}

void budget_answer_free(pith_ctx *ctx, budget_answer *a) { pith_buffer_free(ctx, &a->recipe); }

int budget_find(pith_ctx *ctx, const char *model, const lm_options *common, const budget_request *r, bool measure,
                budget_answer *out) {
    budget_run b = {.ctx = ctx, .common = common, .r = r, .name = model, .out = out};
    double before = model_cpu_seconds();
    *out = (budget_answer){0};
    artefacts_register();
    int result = read_request(&b);
    if (result == CLI_OK) result = open_model(&b);
    bool text = measure || r->max_kl > 0 || b.method == MODEL_BUDGET_EVO || out->loss_kind == MODEL_LOSS_KL;
    if (result == CLI_OK && text) result = open_rulers(&b);
    if (result == CLI_OK) result = make_table(&b);
    if (result == CLI_OK) result = choose(&b);
    if (result == CLI_OK) result = answer(&b);
    out->seconds = model_cpu_seconds() - before;
    if (result != CLI_OK) budget_answer_free(ctx, out);
    model_fitness_free(&b.fitness);
    model_variants_free(ctx, b.v);
    model_ruler_free(ctx, b.search);
    model_ruler_free(ctx, b.judge);
    model_overlay_free(ctx, b.overlay);
    model_stats_close(ctx, b.stats);
    pith_free(ctx, b.rows);
    pith_free(ctx, b.choice.rows);
    for (size_t i = 0; i < b.n_levels; i++) pith_free(ctx, b.levels[i]);
    if (b.file && !b.model) tensor_file_close(ctx, b.file);
    if (b.model) lm_close(ctx, b.model);
    return result;
}

/* ---- the command ---- */

static int report_json(const budget_answer *a) {
    json_t *all = json_pack("{s:s, s:I, s:I, s:I, s:f, s:s, s:f, s:b, s:f}", "recipe", (const char *)a->recipe.data, "bytes",
                            (json_int_t)a->bytes, "other_bytes", (json_int_t)a->other_bytes, "head_bytes",
                            (json_int_t)a->head_bytes, "bits_per_weight",
                            8 * (double)(a->bytes + a->other_bytes) / (double)(a->weights + a->other_weights), "loss_kind",
                            model_loss_names[a->loss_kind], "loss", a->loss, "exact", a->exact, "cpu_seconds", a->seconds);
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

int model_budget_main(int argc, char **argv) {
    budget_request r = {BUDGET_REQUEST_DEFAULTS};
    const char *output = NULL;
    lm_options o;
    const lm_option extra[] = {BUDGET_REQUEST_OPTIONS(r),
                               {"only", 0, LM_TEXT, &r.only, 0, 0},
                               {"loss", 0, LM_TEXT, &r.loss, 0, 0},
                               {"stats", 0, LM_TEXT, &r.stats, 0, 0},
                               {"eval-text", 0, LM_TEXT, &r.eval_text, 0, 0},
                               {"chunks", 0, LM_NUMBER, &r.chunks, 1, 1u << 20},
                               {"generations", 0, LM_NUMBER, &r.generations, 1, 1u << 20},
                               {"offspring", 0, LM_NUMBER, &r.offspring, 1, 1u << 16},
                               {"seed", 0, LM_NUMBER, &r.seed, 0, UINT64_MAX},
                               {"output", 'o', LM_TEXT, &output, 0, 0}};
    int result = lm_options_parse(&o, argc, argv, extra, PITH_COUNT(extra), 1);
    if (result == CLI_OK && o.help) {
        result = cli_help(budget_help);
    } else if (result == CLI_OK && o.n_names == 0) {
        result = cli_error("model budget: which model?");
    } else if (result == CLI_OK) {
        budget_answer a = {0};
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
