/* pith bench model: recipes for weights side by side. One model, one calibration text, one other text to judge by;
 * every recipe codes all matrices, and bytes are those written. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "artefacts/artefacts.h"
#include "faces/cli/bench_lm.h"
#include "faces/cli/bench_model.h"

static const char bench_model_help[] =
    "Usage: pith bench model [MODEL] [OPTIONS]\n"
    "\n"
    "Codes all matrices of MODEL (default: the built-in one) by one recipe after the other, embedding and output\n"
    "among them, and measures over a text how far the model that comes back is from the base: KL in nats,\n"
    "perplexity, how often the likeliest token is the same, flips of cloze answers. Bytes are what was\n"
    "written, side information included, with vectors as they are in the file. Both sides run with plain\n"
    "floats for weights. Then what published systems claim about the order is held against the table.\n"
    "\n"
    "      --text=FILE         to judge by (default: a built-in text)\n"
    "      --calibration=FILE  for statistics; must be another text\n"
    "      --stats=FILE        statistics made before: pith model stats\n"
    "      --generate=N        without either: so many tokens that the model says itself (default 32768)\n"
    "      --group=LIST        blocks, flagship, spread, allocate, scalar, vector, prune, repair; or all\n"
    "                          (default: some of each kind, about a minute for the built-in model)\n"
    "      --recipes=LIST      only these, by name: rtn-4,gptq-4\n"
    "      --recipe=RECIPE     this one too; up to 16 times\n"
    "      --matrices=NAMES    code only matrices whose names match these patterns: 'blk.9.*, blk.10.*'\n"
    "      --resume=FILE       keep results in FILE, and take from it what an earlier run has finished\n"
    "      --chunks=N          chunks of the text (default 4; 0: all)\n"
    "      --items=N           cloze items (default 100; 0: none)\n"
    "      --seed=N            of items and generated text (default 1)\n"
    "      --list              the table of recipes, nothing else\n"
    "      --needs             what recipes ask for (default: of all): data, gradients, seconds; nothing else. Each\n"
    "                          codes a small matrix with statistics of its inputs and without: a code that changes\n"
    "                          uses data, and its time with what it takes is of the processor, for a million weights\n"
    "      --plot=FILE.svg     draw size against KL\n"
    "  -f, --force             overwrite FILE.svg\n"
    "      --ctx=N             tokens of a chunk (default 512)\n"
    "  -T#, --threads=#        threads (default: one for each processor)\n"
    "  -M#, --memory=#         memory limit (default 1G; mapped files do not count)\n"
    "      --json              one JSON object\n"
    "  -q, --quiet             no progress and no notes\n"
    "\n"
    "Example:\n"
    "  pith bench model --group=blocks,flagship --plot=curve.svg\n";

#define RECIPES_MOST 16

typedef struct bench_options {
    lm_options common;
    const char *text, *calibration, *stats, *group, *names, *plot, *resume, *matrices;
    uint64_t generate, chunks, items, seed;
    bool list, needs;
    const char *recipes[RECIPES_MOST];
    unsigned n_recipes;
} bench_options;

/* ---- what is tried ---- */

static bool in_list(const char *list, const char *name) {
    size_t n = strlen(name);
    for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
        if (strcspn(p, ",") == n && strncmp(p, name, n) == 0) return true;
    return false;
}

/* Every word of a list must name something. */
static int check_list(const char *list, const char *what, bool groups) {
    for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',') {
        size_t n = strcspn(p, ",");
        bool known = groups && n == 3 && strncmp(p, "all", n) == 0;
        for (unsigned i = 0; i < bench_n_codes && !known; i++) {
            const char *name = groups ? bench_codes[i].group : bench_codes[i].name;
            known = strlen(name) == n && strncmp(name, p, n) == 0;
        }
        if (!known) return cli_error("bench model: no %s '%.*s'; --list shows them", what, (int)n, p);
    }
    return CLI_OK;
}

static int choose(bench_models *b, const bench_options *o) {
    if (o->group && check_list(o->group, "group", true) != CLI_OK) return CLI_FAIL;
    if (o->names && check_list(o->names, "recipe", false) != CLI_OK) return CLI_FAIL;
    b->results = calloc(bench_n_codes + o->n_recipes, sizeof *b->results);
    if (!b->results) return cli_error("out of memory");
    const char *names = o->names || o->group || o->n_recipes ? o->names : bench_few;
    bool all = o->group && in_list(o->group, "all");
    b->matrices = o->matrices;
    for (unsigned i = 0; i < bench_n_codes; i++) {
        if (!all && !(o->group && in_list(o->group, bench_codes[i].group)) &&
            !(names && in_list(names, bench_codes[i].name)))
            continue;
        const bench_code *c = &bench_codes[i];
        if (o->matrices && c->spread > 0 && !c->method) continue; /* the closed form is of all matrices */
        b->results[b->n++].code = bench_codes[i];
    }
    for (unsigned i = 0; i < o->n_recipes; i++) { /* what is wrong with one is said before any work */
        pith_recipe *recipe;
        if (archive_recipe(b->ctx, o->recipes[i], strlen(o->recipes[i]), &recipe) != PITH_OK)
            return lm_failed(b->ctx, NULL);
        pith_recipe_free(b->ctx, recipe);
        b->results[b->n++].code = (bench_code){.name = "given", .group = "given", .recipe = o->recipes[i], .data = true};
    }
    return o->resume ? bench_resume_read(b, o->resume) : CLI_OK;
}

static int list_codes(void) {
    for (unsigned i = 0; i < bench_n_codes; i++) {
        const bench_code *c = &bench_codes[i];
        char text[80];
        printf("%-15s %-9s %-5s %s%s\n", c->name, c->group, c->systems ? c->systems : "",
               bench_code_text(c, text, sizeof text), c->data ? "" : "  (no data)");
    }
    return CLI_OK;
}

/* ---- calibration ---- */

/* Gathers into a file that is gone once it is open. */
static int gather(bench_models *b, const bench_options *o, const lm_model *m, const model_stats_text *text) {
    const char *base = getenv("TMPDIR");
    char directory[512], path[544];
    int n = snprintf(directory, sizeof directory, "%s/pith-bench-XXXXXX", base && *base ? base : "/tmp");
    if (n < 0 || (size_t)n >= sizeof directory || !mkdtemp(directory))
        return cli_error("bench model: no temporary directory");
    snprintf(path, sizeof path, "%s/stats", directory);
    model_stats_options so = {.n_ctx = o->common.n_ctx, .n_threads = o->common.n_threads};
    model_stats_result r;
    lm_progress progress;
    lm_progress_start(&progress, b->ctx, "statistics", "tokens");
    pith_status status = model_stats_gather(b->ctx, m, text, 1, &so, path, &r);
    if (!status) status = model_stats_open(b->ctx, path, &b->stats);
    lm_progress_clear(&progress, b->ctx);
    unlink(path);
    strcat(path, ".part");
    unlink(path);
    rmdir(directory);
    b->calibration_tokens = r.n_tokens;
    return status ? lm_failed(b->ctx, NULL) : CLI_OK;
}

/* Leaves the calibration text in *text, where there is one. */
static int calibrate(bench_models *b, const bench_options *o, const lm_model *m, const pith_buffer *judge,
                     pith_buffer *text) {
    if (o->stats) {
        if (model_stats_open(b->ctx, o->stats, &b->stats) != PITH_OK) return lm_failed(b->ctx, o->stats);
        const model_stats_about *a = model_stats_info(b->stats);
        b->calibration = o->stats;
        b->calibration_tokens = a->chunks * a->chunk_tokens;
    } else {
        int result = CLI_OK;
        if (o->calibration) {
            result = lm_read_text(b->ctx, o->calibration, text);
        } else {
            lm_progress progress;
            lm_progress_start(&progress, b->ctx, "generating", "tokens");
            if (model_stats_own_text(b->ctx, m, o->generate, o->seed, o->common.n_threads, text) != PITH_OK)
                result = lm_failed(b->ctx, NULL);
            lm_progress_clear(&progress, b->ctx);
        }
        b->calibration = o->calibration ? o->calibration : "the model's own text";
        model_stats_text named = {.name = b->calibration, .data = text->data, .size = text->size};
        if (result == CLI_OK) result = gather(b, o, m, &named);
        if (result != CLI_OK) return result;
    }
    if (model_stats_saw(b->stats, judge->data, judge->size))
        return cli_error("bench model: calibrated on the very text to judge by; name another one");
    return CLI_OK;
}

static bool wants_data(const bench_models *b) {
    for (unsigned i = 0; i < b->n; i++)
        if (b->results[i].code.data) return true;
    return false;
}

/* ---- trials ---- */

static pith_status code_model(bench_models *b, model_judge *j, bench_result *r) {
    const model_stats *stats = r->code.data ? b->stats : NULL;
    if (r->code.type) {
        const tensor_type_info *info = tensor_type_named(r->code.type, strlen(r->code.type));
        return model_try_type(b->ctx, b->base, info->type, b->matrices, stats, model_judge_overlay(j), &r->trial);
    }
    pith_recipe *recipe;
    pith_buffer text = {0};
    pith_status status = PITH_OK;
    const char *code = r->made ? r->made : r->code.recipe;
    if (b->matrices && !r->made && !(status = pith_buffer_append(b->ctx, &text, b->matrices, strlen(b->matrices))))
        status = pith_buffer_append(b->ctx, &text, " -> ", 4);
    if (!status)
        status = pith_buffer_append(b->ctx, &text, code, strlen(code));
    if (!status) status = archive_recipe(b->ctx, (const char *)text.data, text.size, &recipe);
    pith_buffer_free(b->ctx, &text);
    if (status) return status;
    status = model_try_recipe(b->ctx, b->base, recipe, stats, model_judge_overlay(j), &r->trial);
    pith_recipe_free(b->ctx, recipe);
    return status;
}

/* Recipes that fail say why in the table; only a cancel ends it all. */
static int try_all(bench_models *b, model_judge *j) {
    lm_progress progress;
    char label[64];
    for (unsigned i = 0; i < b->n; i++) {
        bench_result *r = &b->results[i];
        if (r->done) {
            bench_model_row(b, i);
            continue;
        }
        pith_begin(b->ctx);
        snprintf(label, sizeof label, "%u of %u, %s", i + 1, b->n, r->code.name);
        lm_progress_start(&progress, b->ctx, label, "steps");
        pith_status status = code_model(b, j, r);
        r->kl = status ? NULL : calloc(b->positions, sizeof *r->kl);
        if (!status && !r->kl) status = pith_fail(b->ctx, PITH_E_MEMORY, "out of memory");
        if (!status) status = model_judge_score_rows(b->ctx, j, &r->score, r->kl);
        lm_progress_clear(&progress, b->ctx);
        r->done = !status;
        r->n_kl = status ? 0 : b->positions;
        if (b->matrices) r->trial.other_weights = r->trial.other_bytes = 0;
        if (status) cli_safe_text(r->message, sizeof r->message, pith_error(b->ctx));
        if (status == PITH_E_CANCELLED) return lm_failed(b->ctx, NULL);
        bench_model_row(b, i);
        if (!status && bench_resume_add(b, r) != CLI_OK) return CLI_FAIL;
    }
    return CLI_OK;
}

static int judge(bench_models *b, const bench_options *o, const pith_buffer *text) {
    model_ruler_options ro = {.n_ctx = o->common.n_ctx,
                              .n_chunks = (size_t)o->chunks,
                              .n_items = (size_t)o->items,
                              .seed = o->seed,
                              .n_threads = o->common.n_threads};
    model_judge *j;
    lm_progress progress;
    lm_progress_start(&progress, b->ctx, "base", "chunks");
    pith_status status = model_judge_new(b->ctx, b->base, text->data, text->size, &ro, &j);
    lm_progress_clear(&progress, b->ctx);
    if (status) return lm_failed(b->ctx, NULL);
    const model_ruler *ruler = model_judge_ruler(j);
    b->chunks = model_ruler_chunks(ruler);
    b->positions = model_ruler_tokens(ruler);
    b->items = model_ruler_items(ruler);
    b->perplexity = model_ruler_perplexity(ruler);
    b->halves = model_judge_halves(j);
    int result = bench_resume_begin(b);
    if (result == CLI_OK) bench_model_head(b);
    if (result == CLI_OK) result = try_all(b, j);
    model_judge_free(b->ctx, j);
    return result;
}

static int run(bench_models *b, const bench_options *o) {
    lm_model *m = NULL;
    pith_buffer text = {0}, calibration = {0};
    const char *path = lm_model_path(o->common.n_names ? o->common.names[0] : NULL);
    b->model_name = lm_model_label(path);
    b->text_name = o->text ? o->text : "the built-in text";
    b->calibration = "nothing";
    int result = lm_open_named(b->ctx, path, &m);
    if (result == CLI_OK) result = lm_text_or_default(b->ctx, o->text, &text);
    if (result == CLI_OK && wants_data(b)) result = calibrate(b, o, m, &text, &calibration);
    b->base = m ? (tensor_file *)lm_file(m) : NULL;
    if (result == CLI_OK) result = bench_model_allocate(b, m, o->seed, &calibration);
    pith_buffer_free(b->ctx, &calibration);
    if (result == CLI_OK) result = judge(b, o, &text);
    if (result == CLI_OK) result = bench_model_report(b);
    if (result == CLI_OK && o->plot) result = bench_model_plot(b, o->plot, o->common.force);
    model_stats_close(b->ctx, b->stats);
    pith_buffer_free(b->ctx, &text);
    if (m) lm_close(b->ctx, m);
    return result;
}

/* --recipe may be given several times: taken out of the arguments before the rest is read. */
static int take_recipes(bench_options *o, int *argc, char **argv) {
    int n = 0;
    for (int i = 0; i < *argc; i++) {
        const char *value = NULL;
        if (strncmp(argv[i], "--recipe=", 9) == 0)
            value = argv[i] + 9;
        else if (strcmp(argv[i], "--recipe") == 0)
            value = i + 1 < *argc ? argv[++i] : "";
        if (!value) {
            argv[n++] = argv[i];
            continue;
        }
        if (o->n_recipes == RECIPES_MOST) return cli_error("bench model: at most %d recipes", RECIPES_MOST);
        o->recipes[o->n_recipes++] = value;
    }
    argv[n] = NULL;
    *argc = n;
    return CLI_OK;
}

int bench_model_main(int argc, char **argv) {
    bench_options o = {.generate = 32768, .chunks = 4, .items = 100, .seed = 1};
    const lm_option extra[] = {{"text", 0, LM_TEXT, &o.text, 0, 0},
                               {"calibration", 0, LM_TEXT, &o.calibration, 0, 0},
                               {"stats", 0, LM_TEXT, &o.stats, 0, 0},
                               {"group", 0, LM_TEXT, &o.group, 0, 0},
                               {"recipes", 0, LM_TEXT, &o.names, 0, 0},
                               {"plot", 0, LM_TEXT, &o.plot, 0, 0},
                               {"resume", 0, LM_TEXT, &o.resume, 0, 0},
                               {"matrices", 0, LM_TEXT, &o.matrices, 0, 0},
                               {"generate", 0, LM_NUMBER, &o.generate, 512, 1 << 30},
                               {"chunks", 0, LM_NUMBER, &o.chunks, 0, 1 << 30},
                               {"items", 0, LM_NUMBER, &o.items, 0, 1 << 20},
                               {"seed", 0, LM_NUMBER, &o.seed, 0, UINT64_MAX},
                               {"list", 0, LM_FLAG, &o.list, 0, 0},
                               {"needs", 0, LM_FLAG, &o.needs, 0, 0}};
    int result = take_recipes(&o, &argc, argv);
    if (result != CLI_OK) return cli_finish(result);
    result = lm_options_parse(&o.common, argc, argv, extra, sizeof extra / sizeof *extra, 1);
    if (result == CLI_OK && o.common.help) {
        result = cli_help(bench_model_help);
    } else if (result == CLI_OK && o.list) {
        result = list_codes();
    } else if (result == CLI_OK && o.stats && o.calibration) {
        result = cli_error("bench model: statistics or a calibration text, not both");
    } else if (result == CLI_OK) {
        artefacts_register();
        if (o.needs && !o.group && !o.names && !o.n_recipes) o.group = "all";
        bench_models b = {.common = &o.common, .ctx = lm_session_of(&o.common)};
        result = b.ctx ? choose(&b, &o) : CLI_FAIL;
        if (result == CLI_OK) result = o.needs ? bench_model_needs(&b) : run(&b, &o);
        bench_resume_end(&b);
        for (unsigned i = 0; b.results && i < b.n; i++) {
            free(b.results[i].kl);
            free(b.results[i].made);
            json_decref(b.results[i].kept);
        }
        free(b.results);
        pith_ctx_free(b.ctx);
    }
    lm_options_free(&o.common);
    return cli_finish(result);
}
