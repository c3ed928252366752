/* pith lm needle and time: what a model finds again, and how long it takes. */
#include <string.h>

#include "faces/cli/cmd_lm.h"
#include "lm/ruler/ruler.h"

static const char needle_help[] =
    "Usage: pith lm needle [OPTIONS]\n\n"
    "Plants facts in a text, asks for them, answers by greedy generation, counts exact matches.\n\n"
    "      --kind=KIND      single (default), multikey, multivalue, tracking (a chain of variables)\n"
    "      --phrasing=HOW   special (default), secret, value: as pith-mini knows them; ruler\n"
    "      --length=N       tokens of a prompt (default 512)\n"
    "      --depth=X        place of the fact: 0 the beginning, 1 the end (default: anywhere)\n"
    "      --count=N        facts, values or variables of a prompt (default 4, single 1)\n"
    "      --digits=N       digits of a value (default 5)\n"
    "  -n N, --prompts=N    prompts (default 20)\n"
    "      --seed=N         of everything that is chosen (default 1)\n"
    "      --haystack=FILE  the text around the facts (default: a built-in one)\n"
    "      --print          print the prompts and their answers as lines of JSON, run nothing\n"
    "      --show           print every answer\n" LM_CACHE_HELP LM_COMMON_HELP;

typedef struct needle_options {
    ruler_needle_options task;
    uint64_t length, count, digits, prompts, seed;
    const char *kind, *phrasing, *haystack;
    double depth;
    bool print, show;
    lm_cache_choice cache;
    json_t *list; /* with --json */
} needle_options;

static json_t *answers_json(const ruler_needle *needle) {
    json_t *answers = json_array();
    for (uint32_t i = 0; i < needle->n_answers; i++) json_array_append_new(answers, json_string(needle->answers[i]));
    return answers;
}

static void show_answer(void *opaque, const ruler_needle *needle, const char *text, size_t size, double grade) {
    needle_options *no = opaque;
    char said[200], safe[200];
    snprintf(said, sizeof said, "%.*s", (int)PITH_MIN(size, sizeof said - 1), text);
    cli_safe_text(safe, sizeof safe, said);
    if (no->list)
        json_array_append_new(no->list, json_pack("{s:o,s:o,s:f}", "answers", answers_json(needle), "said",
                                                  cli_json_text(safe), "grade", grade));
    if (!no->show) return;
    printf("%5.2f  ", grade);
    for (uint32_t i = 0; i < needle->n_answers; i++) printf("%s%s", i ? "," : "", needle->answers[i]);
    printf("  <- %s\n", safe);
}

static int print_prompts(pith_ctx *ctx, const lm_model *m, const needle_options *no) {
    for (uint32_t i = 0; i < no->prompts; i++) {
        ruler_needle needle;
        if (ruler_needle_make(ctx, lm_tokenizer(m), &no->task, no->seed, i, &needle) != PITH_OK)
            return lm_failed(ctx, NULL);
        json_t *line =
            json_pack("{s:o,s:o}", "prompt", json_stringn((const char *)needle.prompt.data, needle.prompt.size),
                      "answers", answers_json(&needle));
        ruler_needle_free(ctx, &needle);
        if (!line) return cli_error("needle: the haystack is no UTF-8");
        if (cli_json_print(stdout, line, JSON_COMPACT) != CLI_OK) return CLI_FAIL;
    }
    return CLI_OK;
}

static int run_needles(pith_ctx *ctx, const lm_model *m, const lm_options *o, needle_options *no) {
    ruler_needle_score score;
    lm_progress progress;
    if (no->print) return print_prompts(ctx, m, no);
    if (o->json) no->list = json_array();
    lm_progress_start(&progress, ctx, "needle", "prompts");
    pith_status status =
        ruler_needle_test(ctx, m, &no->task, no->seed, (uint32_t)no->prompts, o->n_threads, show_answer, no, &score);
    lm_progress_clear(&progress, ctx);
    if (status) {
        json_decref(no->list);
        return lm_failed(ctx, NULL);
    }
    double n = (double)score.n;
    if (o->json)
        return cli_json_print(stdout,
                              json_pack("{s:o,s:s,s:I,s:I,s:I,s:f,s:f,s:o}", "model",
                                        cli_json_text(lm_model_label(o->model)), "kind",
                                        ruler_needle_kind_name(no->task.kind), "length", (json_int_t)no->task.length,
                                        "prompts", (json_int_t)score.n, "exact", (json_int_t)score.exact, "exact_share",
                                        (double)score.exact / n, "recall", score.recall, "answers", no->list),
                              JSON_INDENT(1));
    printf("%s, %u tokens: exact %zu of %zu (%.3f), recall %.3f\n", ruler_needle_kind_name(no->task.kind),
           no->task.length, score.exact, score.n, (double)score.exact / n, score.recall);
    return CLI_OK;
}

/* No place that could be asked for. */
#define ANYWHERE (-1e300)

static int set_task(needle_options *no) {
    if (no->kind && !ruler_needle_kind_named(no->kind, &no->task.kind))
        return cli_error("needle: no kind '%s'; there are single, multikey, multivalue, tracking", no->kind);
    if (no->phrasing && !ruler_phrasing_named(no->phrasing, &no->task.phrasing))
        return cli_error("needle: no phrasing '%s'; there are special, secret, value, ruler", no->phrasing);
    if (no->depth != ANYWHERE && !(no->depth >= 0 && no->depth <= 1)) return cli_error("needle: --depth: 0 to 1");
    no->task.depth = no->depth == ANYWHERE ? -1 : no->depth;
    no->task.length = (uint32_t)no->length;
    no->task.count = (uint32_t)no->count;
    no->task.digits = (uint32_t)no->digits;
    return CLI_OK;
}

int lm_needle_main(int argc, char **argv) {
    needle_options no = {.length = 512, .prompts = 20, .seed = 1, .depth = ANYWHERE};
    const lm_option extra[] = {{"kind", 0, LM_TEXT, &no.kind, 0, 0},
                               {"phrasing", 0, LM_TEXT, &no.phrasing, 0, 0},
                               {"length", 0, LM_NUMBER, &no.length, 16, 1 << 22},
                               {"depth", 0, LM_REAL, &no.depth, 0, 0},
                               {"count", 0, LM_NUMBER, &no.count, 1, RULER_MAX_NEEDLES},
                               {"digits", 0, LM_NUMBER, &no.digits, 2, 15},
                               {"prompts", 'n', LM_NUMBER, &no.prompts, 1, 1 << 20},
                               {"seed", 0, LM_NUMBER, &no.seed, 0, UINT64_MAX},
                               {"haystack", 0, LM_TEXT, &no.haystack, 0, 0},
                               {"print", 0, LM_FLAG, &no.print, 0, 0},
                               {"show", 0, LM_FLAG, &no.show, 0, 0},
                               LM_CACHE_OPTIONS(no.cache)};
    lm_options o;
    int result = lm_options_parse(&o, argc, argv, extra, sizeof extra / sizeof *extra, 0);
    if (result == CLI_OK && o.help) {
        result = cli_help(needle_help);
    } else if (result == CLI_OK && (result = set_task(&no)) == CLI_OK) {
        pith_ctx *ctx = lm_session_of(&o);
        lm_model *m = NULL;
        pith_buffer text = {0};
        result = ctx ? lm_open_named(ctx, o.model, &m) : CLI_FAIL;
        if (result == CLI_OK) result = lm_cache_choose(&no.cache, "needle", ctx, m);
        if (result == CLI_OK && no.haystack) result = lm_read_text(ctx, no.haystack, &text);
        if (no.haystack) {
            no.task.text = text.data ? (const char *)text.data : "";
            no.task.text_size = text.size;
        }
        if (result == CLI_OK) result = run_needles(ctx, m, &o, &no);
        if (ctx) pith_buffer_free(ctx, &text);
        if (m) lm_close(ctx, m);
        pith_ctx_free(ctx);
    }
    lm_options_free(&o);
    return result;
}

/* ---- time ---- */

static const char time_help[] =
    "Usage: pith lm time [OPTIONS]\n\n"
    "Times some requests of p prompt and o generated tokens (processor seconds, one thread, the best\n"
    "of --repeats), fits t(p, o) = overhead + prefill(p) + (o - 1) g with prefill in three straight\n"
    "pieces, predicts other requests and says how far off that is; once more with a term for the\n"
    "position of generated tokens, which counts where attention does.\n\n"
    "      --repeats=N     times each request is run (default 3)\n" LM_CACHE_HELP LM_COMMON_HELP;

#define FIT_POINTS 12
#define CHECK_POINTS 30

#define ALL_POINTS (FIT_POINTS + CHECK_POINTS)

/* Those that are fitted on stand among the others, so that both kinds see the same machine. */
static bool to_fit(unsigned i) { return i % 7 == 0 || i % 7 == 3; }

/* Requests spread over what the model can hold, in an order of no pattern. */
static void choose_requests(uint32_t most, ruler_timing *all) {
    for (unsigned i = 0, fit = 0, check = 0; i < ALL_POINTS; i++) {
        uint32_t rank = to_fit(i) ? fit++ * 5 % FIT_POINTS * CHECK_POINTS : check++ * 7 % CHECK_POINTS * FIT_POINTS;
        all[i] =
            (ruler_timing){PITH_MAX(most * (rank + 30) / (FIT_POINTS * CHECK_POINTS + 30), 2u), 1 + i * 11 % 64, 0};
    }
}

static void split_requests(const ruler_timing *all, ruler_timing *fit, ruler_timing *check) {
    for (unsigned i = 0; i < ALL_POINTS; i++) *(to_fit(i) ? fit++ : check++) = all[i];
}

static json_t *runtime_json(const ruler_runtime *r, const ruler_runtime_error *e) {
    json_t *knots = json_array(), *bends = json_array();
    for (uint32_t k = 0; k < r->n_knots; k++) {
        json_array_append_new(knots, json_real(r->knot[k]));
        json_array_append_new(bends, json_real(r->bend[k]));
    }
    return json_pack("{s:f,s:f,s:o,s:o,s:f,s:f,s:f,s:f,s:f}", "overhead", r->overhead, "prefill_per_token", r->prefill,
                     "knots", knots, "bends", bends, "per_generated_token", r->per_token, "per_position",
                     r->per_position, "error_mean", e->mean, "error_p90", e->p90, "error_max", e->max);
}

static void print_runtime(const char *what, const ruler_runtime *r, const ruler_runtime_error *e) {
    printf("%-16s overhead %.3f ms, prefill %.4f ms a token", what, r->overhead * 1e3, r->prefill * 1e3);
    for (uint32_t k = 0; k < r->n_knots; k++) printf(", %+.4f beyond %.0f", r->bend[k] * 1e3, r->knot[k]);
    printf(", generated %.4f ms", r->per_token * 1e3);
    if (r->positions) printf(" + %.3f us a token for each 1000 tokens before it", r->per_position * 1e9);
    printf("\n%-16s error of %d other requests: mean %.2f %%, 90 %% within %.2f %%, largest %.2f %%\n", "",
           CHECK_POINTS, e->mean * 100, e->p90 * 100, e->max * 100);
}

static int time_model(pith_ctx *ctx, const lm_model *m, const lm_options *o, unsigned repeats) {
    ruler_timing all[ALL_POINTS], fit[FIT_POINTS], check[CHECK_POINTS];
    ruler_runtime plain, with;
    ruler_runtime_error plain_error, with_error;
    lm_progress progress;
    uint32_t most = o->n_ctx ? o->n_ctx : PITH_MIN(lm_about(m)->n_ctx_train, 960u);
    if (most < 128) return cli_error("time: --ctx: at least 128");
    choose_requests(most - 64, all);
    lm_progress_start(&progress, ctx, "time", "requests");
    pith_status status = ruler_runtime_measure(ctx, m, all, ALL_POINTS, repeats, NULL);
    lm_progress_clear(&progress, ctx);
    split_requests(all, fit, check);
    if (!status) status = ruler_runtime_fit(ctx, fit, FIT_POINTS, RULER_KNOTS, false, &plain);
    if (!status) status = ruler_runtime_fit(ctx, fit, FIT_POINTS, 0, true, &with);
    if (!status) status = ruler_runtime_check(ctx, &plain, check, CHECK_POINTS, &plain_error);
    if (!status) status = ruler_runtime_check(ctx, &with, check, CHECK_POINTS, &with_error);
    if (status) return lm_failed(ctx, NULL);
    if (!o->json) {
        printf("%s, one thread, %d requests fitted\n", lm_model_label(o->model), FIT_POINTS);
        print_runtime("in pieces", &plain, &plain_error);
        print_runtime("with positions", &with, &with_error);
        return CLI_OK;
    }
    json_t *list = json_array();
    for (unsigned i = 0; i < FIT_POINTS + CHECK_POINTS; i++) {
        const ruler_timing *t = i < FIT_POINTS ? &fit[i] : &check[i - FIT_POINTS];
        json_array_append_new(
            list, json_pack("{s:s,s:I,s:I,s:f,s:f,s:f}", "use", i < FIT_POINTS ? "fit" : "check", "prompt",
                            (json_int_t)t->prompt, "output", (json_int_t)t->output, "seconds", t->seconds, "predicted",
                            ruler_runtime_predict(&plain, t->prompt, t->output), "predicted_with_positions",
                            ruler_runtime_predict(&with, t->prompt, t->output)));
    }
    return cli_json_print(stdout,
                          json_pack("{s:o,s:o,s:o,s:o}", "model", cli_json_text(lm_model_label(o->model)), "plain",
                                    runtime_json(&plain, &plain_error), "with_positions",
                                    runtime_json(&with, &with_error), "requests", list),
                          JSON_INDENT(1));
}

int lm_time_main(int argc, char **argv) {
    uint64_t repeats = 3;
    lm_cache_choice cache = {0};
    const lm_option extra[] = {{"repeats", 0, LM_NUMBER, &repeats, 1, 100}, LM_CACHE_OPTIONS(cache)};
    lm_options o;
    int result = lm_options_parse(&o, argc, argv, extra, sizeof extra / sizeof *extra, 0);
    if (result == CLI_OK && o.help) {
        result = cli_help(time_help);
    } else if (result == CLI_OK) {
        pith_ctx *ctx = lm_session_of(&o);
        lm_model *m = NULL;
        result = ctx ? lm_open_named(ctx, o.model, &m) : CLI_FAIL;
        if (result == CLI_OK) result = lm_cache_choose(&cache, "time", ctx, m);
        if (result == CLI_OK) result = time_model(ctx, m, &o, (unsigned)repeats);
        if (m) lm_close(ctx, m);
        pith_ctx_free(ctx);
    }
    lm_options_free(&o);
    return result;
}
