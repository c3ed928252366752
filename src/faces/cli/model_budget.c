/* One budget over all matrices of a model: which recipe each gets, so that all together take so many bytes, or diverge
 * so much. Either bits of one coder are spread (spread.h), or levels are chosen out of a table (budget.h). */
#include "faces/cli/model_budget.h"

#include <math.h>

#include "artefacts/artefacts.h"
#include "artefacts/model/model.h"
#include "faces/cli/model.h"

static const char default_levels[] =
    "step(bits=2) | ctxac @ obs; step(bits=2.5) | ctxac @ obs; step(bits=3) | ctxac @ obs; step(bits=3.5) | ctxac @ obs; "
    "step(bits=4) | ctxac @ obs; step(bits=5) | ctxac @ obs; step(bits=6) | ctxac @ obs; step(bits=8) | ctxac @ obs";

#define WEIGHED_MOST 100000000 /* weights up to which matrices are tried one by one without being asked for */
#define WEIGHED_TRIALS 512     /* with more matrices than that, layers together */

typedef struct budget_run {
    pith_ctx *ctx;
    const lm_options *common;
    const budget_request *r;
    const char *name; /* of the model, for messages */
    tensor_file *file;
    lm_model *model; /* owner of file when it is the built-in one */
    model_stats *stats;
    model_budget_method method;
    bool spreads; /* bits of one coder, not levels of a table */
    bool even;    /* the same of them for all */
    uint64_t weights;
    uint64_t size; /* of --size */
    char *levels[MODEL_MAX_LEVELS];
    size_t n_levels;
    model_overlay *overlay;
    model_ruler *search, *judge;
    model_spread *spread;
    model_variants *v;
    model_fitness fitness;
    alloc_row *rows;
    alloc_choice choice;
    budget_answer *out;
} budget_run;

bool budget_requested(const budget_request *r) { return r->size || r->bpw > 0 || r->max_kl > 0 || r->bits > 0; }

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
    int method = find_name(r->method, model_budget_names, MODEL_BUDGET_METHODS,
                           r->levels || r->experts ? MODEL_BUDGET_GREEDY : MODEL_BUDGET_RATE);
    int loss = find_name(r->loss, model_loss_names, MODEL_LOSSES, MODEL_LOSSES);
    if ((r->bpw > 0) + (r->max_kl > 0) + (r->size != NULL) + (r->bits > 0) != 1)
        return cli_error("one of %s--size, --bpw and --max-kl, above 0", r->bits > 0 ? "--lossy, " : "");
    if (r->size && !read_size(r->size, &b->size)) return cli_error("--size: a size such as 2.5GB, not '%s'", r->size);
    if (method < 0) return cli_error("--method: rate, greedy, knapsack, evolve or uniform, not '%s'", r->method);
    if (loss < 0) return cli_error("--loss: kl, outputs, share, energy or weights, not '%s'", r->loss);
    if (method == MODEL_BUDGET_EVOLVE && r->max_kl > 0)
        return cli_error("--max-kl is searched by sums of losses: not with --method=evolve");
    b->method = (model_budget_method)method;
    b->out->loss_kind = (model_loss)loss;
    b->spreads = b->method == MODEL_BUDGET_RATE && !r->levels && !r->experts;
    return b->spreads ? CLI_OK : read_levels(b);
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
    uint64_t bytes = 0;
    for (size_t i = 0; i < b->file->n_tensors; i++) {
        b->weights += b->file->tensors[i].n_elements;
        bytes += b->file->tensors[i].bytes;
    }
    b->out->head_bytes = b->file->file_bytes > bytes ? b->file->file_bytes - bytes : 0;
    if (b->out->loss_kind == MODEL_LOSSES) b->out->loss_kind = b->weights <= WEIGHED_MOST ? MODEL_LOSS_KL : MODEL_LOSS_OUTPUTS;
    if (b->r->stats && model_stats_open(b->ctx, b->r->stats, &b->stats) != PITH_OK) return lm_failed(b->ctx, b->r->stats);
    return CLI_OK;
}

/* ---- texts ---- */

static pith_status ruler_over(budget_run *b, const lm_model *m, const uint8_t *text, size_t size, uint64_t chunks,
                              model_ruler **out) {
    model_ruler_options o = {.n_ctx = b->common->n_ctx, .n_chunks = (size_t)chunks, .n_threads = b->common->n_threads};
    pith_status status = model_ruler_new(b->ctx, m, text, size, &o, out);
    if (!status && !model_ruler_forget_base(*out))
        status = pith_fail(b->ctx, PITH_E_LIMIT, "the model's answers do not fit the memory limit: fewer --chunks, or -M");
    return status;
}

/* Floats where they take a third of what memory is left at most, else halves. */
static pith_status open_overlay(budget_run *b) {
    uint64_t used = pith_memory_used(b->ctx), limit = pith_ctx_memory(b->ctx), left = limit > used ? limit - used : 0;
    bool half = model_overlay_bytes(b->file, NULL, false) > left / 3;
    return model_overlay_new(b->ctx, b->file, NULL, half, &b->overlay);
}

typedef struct budget_texts {
    pith_buffer first, second; /* second: only when it is a file of its own */
    const uint8_t *judge;
    size_t search_size, judge_size;
} budget_texts;

static int read_texts(budget_run *b, budget_texts *t) {
    const budget_request *r = b->r;
    int result = lm_text_or_default(b->ctx, r->text, &t->first);
    if (result == CLI_OK && r->eval_text) result = lm_read_text(b->ctx, r->eval_text, &t->second);
    if (result != CLI_OK) return result;
    t->search_size = r->eval_text ? t->first.size : t->first.size / 2;
    t->judge = r->eval_text ? t->second.data : t->first.data + t->search_size;
    t->judge_size = r->eval_text ? t->second.size : t->first.size - t->search_size;
    return CLI_OK;
}

/* The model is read once for each matrix that is weighed; more text than this does not make the choice better. */
static uint64_t search_chunks(const budget_run *b) { return b->spreads ? PITH_MAX(b->r->chunks / 8, 1u) : b->r->chunks; }

/* judged: whether the second text is wanted. */
static pith_status open_rulers(budget_run *b, const budget_texts *t, bool judged) {
    lm_model *m = NULL;
    pith_status status = open_overlay(b);
    if (!status) status = model_overlay_open(b->ctx, b->overlay, &m);
    if (!status) status = ruler_over(b, m, t->first.data, t->search_size, search_chunks(b), &b->search);
    if (!status && judged) status = ruler_over(b, m, t->judge, t->judge_size, b->r->chunks, &b->judge);
    if (m) lm_close(b->ctx, m);
    return status;
}

static int open_texts(budget_run *b, bool judged) {
    budget_texts t = {0};
    const char *last = b->r->eval_text ? b->r->eval_text : b->r->text ? b->r->text : "the built-in text";
    int result = read_texts(b, &t);
    if (result == CLI_OK && judged && b->stats && model_stats_saw(b->stats, t.judge, t.judge_size))
        cli_warn("%s was calibrated on too: what is measured on it is too good", last);
    pith_status status = result == CLI_OK ? open_rulers(b, &t, judged) : PITH_OK;
    if (status && status != PITH_E_CANCELLED && b->spreads && b->r->or_even && !judged) {
        cli_warn("%s: the same bits for every matrix, as answers cannot be measured: %s", b->name, pith_error(b->ctx));
        pith_begin(b->ctx);
        b->even = true;
    } else if (status) {
        result = lm_failed(b->ctx, b->name);
    }
    pith_buffer_free(b->ctx, &t.first);
    pith_buffer_free(b->ctx, &t.second);
    return result;
}

/* ---- the table ---- */

static int make_table(budget_run *b) {
    lm_progress progress;
    bool many = b->method == MODEL_BUDGET_EVOLVE; /* put again and again */
    model_variants_options o = {.levels = (const char *const *)b->levels, .n_levels = b->n_levels, .stats = b->stats,
                                .only = b->r->only, .experts = b->r->experts, .keep = many};
    lm_progress_start(&progress, b->ctx, "coding", "weights");
    pith_status status = model_variants_new(b->ctx, b->file, &o, &b->v);
    lm_progress_clear(&progress, b->ctx);
    if (!status && b->out->loss_kind == MODEL_LOSS_KL) {
        lm_progress_start(&progress, b->ctx, "weighing", "matrices");
        status = model_variants_slopes_in(b->ctx, b->v, b->overlay, b->search, PITH_MAX((size_t)b->r->chunks / 4, 1u),
                                          WEIGHED_TRIALS);
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
    if (b->r->bits > 0) {
        *bytes = alloc_bytes_of(b->r->bits, a->weights);
        return CLI_OK;
    }
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
        lm_progress_start(&progress, b->ctx, b->method == MODEL_BUDGET_EVOLVE ? "evolving" : "choosing", "generations");
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
    if (model_variants_recipe(b->ctx, b->v, b->choice.rows, &a->recipe) != PITH_OK) return lm_failed(b->ctx, b->name);
    if (!b->judge) return CLI_OK;
    b->fitness.ruler = b->judge;
    if (model_fitness_score(&b->fitness, b->choice.rows, &a->score) != PITH_OK) return lm_failed(b->ctx, b->name);
    a->measured = true;
    return CLI_OK;
}

/* ---- bits spread ---- */

static int make_spread(budget_run *b) {
    lm_progress progress;
    lm_progress_start(&progress, b->ctx, "weighing", "matrices");
    pith_status status = b->even ? model_spread_even(b->ctx, b->file, b->r->only, &b->spread)
                                 : model_spread_over(b->ctx, b->file, b->r->only, b->stats, b->overlay, b->search, &b->spread);
    lm_progress_clear(&progress, b->ctx);
    if (!status && !b->overlay && !(b->r->bits > 0)) status = open_overlay(b); /* to code into */
    if (status) return lm_failed(b->ctx, b->name);
    budget_answer *a = b->out;
    a->n_units = model_spread_sizes(b->spread, &a->weights, &a->other_weights, &a->other_bytes);
    return CLI_OK;
}

/* Names no tensor, so that any bits will do. */
static pith_status even_recipe(budget_run *b) {
    char text[64];
    int n = snprintf(text, sizeof text, "step(bits=%g) | ctxac @ obs", b->r->bits);
    return pith_buffer_append(b->ctx, &b->out->recipe, text, (size_t)n);
}

static int choose_bits(budget_run *b) {
    model_spread_fit fit = {.bits = b->r->bits};
    pith_status status = PITH_OK;
    uint64_t bytes = 0;
    lm_progress progress;
    if (!(b->r->bits > 0 || b->r->max_kl > 0) && budget_bytes(b, &bytes) != CLI_OK) return CLI_FAIL;
    lm_progress_start(&progress, b->ctx, "fitting", "weights");
    if (b->r->max_kl > 0)
        status = model_spread_for_kl(b->ctx, b->spread, b->stats, b->overlay, b->judge, b->r->max_kl, &fit);
    else if (!(b->r->bits > 0))
        status = model_spread_for_bytes(b->ctx, b->spread, b->stats, b->overlay, bytes, &fit);
    lm_progress_clear(&progress, b->ctx);
    if (!status && b->even && b->r->bits > 0) status = even_recipe(b);
    else if (!status) status = model_spread_recipe(b->ctx, b->spread, fit.bits, &b->out->recipe);
    b->out->bits = fit.bits;
    b->out->bytes = fit.bytes;
    return status ? lm_failed(b->ctx, b->name) : CLI_OK;
}

/* What a recipe takes, and what the model answers with it. */
static pith_status judge_recipe(budget_run *b) {
    pith_recipe *recipe;
    model_trial t;
    lm_model *m;
    pith_status status = archive_recipe(b->ctx, (const char *)b->out->recipe.data, b->out->recipe.size, &recipe);
    if (status) return status;
    status = model_try_recipe(b->ctx, b->file, recipe, b->stats, b->overlay, &t);
    pith_recipe_free(b->ctx, recipe);
    if (!status) status = model_overlay_open(b->ctx, b->overlay, &m);
    if (status) return status;
    b->out->bytes = t.bytes;
    status = model_ruler_measure(b->ctx, b->judge, m, &b->out->score);
    lm_close(b->ctx, m);
    b->out->measured = !status;
    return status;
}

static int spread(budget_run *b, bool measure) {
    lm_progress progress;
    int result = make_spread(b);
    if (result == CLI_OK) result = choose_bits(b);
    if (result != CLI_OK || !measure || !b->judge) return result;
    lm_progress_start(&progress, b->ctx, "measuring", "weights");
    pith_status status = judge_recipe(b);
    lm_progress_clear(&progress, b->ctx);
    return status ? lm_failed(b->ctx, b->name) : CLI_OK;
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
    bool judged = measure || r->max_kl > 0;
    bool text = judged || b.spreads || b.method == MODEL_BUDGET_EVOLVE || out->loss_kind == MODEL_LOSS_KL;
    if (result == CLI_OK && text) result = open_texts(&b, judged);
    if (result == CLI_OK && b.spreads) {
        result = spread(&b, measure);
    } else if (result == CLI_OK) {
        result = make_table(&b);
        if (result == CLI_OK) result = choose(&b);
        if (result == CLI_OK) result = answer(&b);
    }
    if (result == CLI_OK && b.judge) out->base_perplexity = model_ruler_perplexity(b.judge);
    if (result == CLI_OK && pith_buffer_append(ctx, &out->recipe, "", 1) != PITH_OK) result = lm_failed(ctx, NULL);
    out->seconds = model_cpu_seconds() - before;
    if (result != CLI_OK) budget_answer_free(ctx, out);
    model_fitness_free(&b.fitness);
    model_variants_free(ctx, b.v);
    model_spread_free(ctx, b.spread);
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
