/* pith lm cloze: multiple-choice items from a text or a file, and who answers them how. */
#include <string.h>

#include "faces/cli/cmd_lm.h"
#include "lm/ruler/ruler.h"

static const char cloze_help[] =
    "Usage: pith lm cloze [OPTIONS] [FILE]\n\n"
    "Makes items from the text of FILE (-: standard input; none: a built-in text): some words, and four\n"
    "runs of words, one of which goes on there. The model takes the likeliest; its share of right\n"
    "answers is printed. With --against, also how many answers change (flips).\n\n"
    "  -n N, --count=N      items (default 200)\n"
    "      --context=N      words before the choice (default 24)\n"
    "      --words=N        words of a choice (default 3)\n"
    "      --seed=N         of what is chosen (default 1)\n"
    "      --items=FILE     items from FILE instead: lines of JSON with \"context\" or \"question\",\n"
    "                       \"choices\" and the index \"answer\"\n"
    "      --print          print the items as such lines, run nothing\n"
    "      --per-byte       log-probabilities divided by the bytes of the choice\n"
    "      --against=MODEL  another model to compare with\n" LM_CACHE_HELP LM_COMMON_HELP;

typedef struct cloze_options {
    uint64_t count, context, words, seed;
    const char *items, *against;
    bool print, per_byte;
    lm_cache_choice cache; /* of both models */
} cloze_options;

static int get_items(pith_ctx *ctx, const lm_options *o, const cloze_options *co, ruler_items *items) {
    pith_buffer text = {0};
    int result = co->items ? lm_read_text(ctx, co->items, &text)
                           : lm_text_or_default(ctx, o->n_names ? o->names[0] : NULL, &text);
    pith_status status = PITH_OK;
    if (result == CLI_OK && co->items)
        status = ruler_items_read(ctx, (const char *)text.data, text.size, items);
    else if (result == CLI_OK)
        status = ruler_cloze(ctx, (const char *)text.data, text.size, (size_t)co->count, (uint32_t)co->context,
                             (uint32_t)co->words, co->seed, items);
    pith_buffer_free(ctx, &text);
    return status ? lm_failed(ctx, co->items) : result;
}

static int choose(pith_ctx *ctx, const char *path, const lm_cache_choice *cache, const ruler_items *items,
                  const ruler_choice_options *options, uint32_t *chosen) {
    lm_model *m;
    lm_progress progress;
    if (lm_open_named(ctx, path, &m) != CLI_OK) return CLI_FAIL;
    if (lm_cache_choose(cache, "cloze", ctx, m) != CLI_OK) {
        lm_close(ctx, m);
        return CLI_FAIL;
    }
    lm_progress_start(&progress, ctx, "cloze", "items");
    pith_status status = ruler_choose(ctx, m, items, options, chosen, NULL);
    lm_progress_clear(&progress, ctx);
    int result = status ? lm_failed(ctx, NULL) : CLI_OK;
    lm_close(ctx, m);
    return result;
}

static int report(const lm_options *o, const cloze_options *co, const ruler_flips *f) {
    const char *against = co->against ? lm_model_path(co->against) : NULL;
    if (o->json) {
        json_t *all = json_pack("{s:o,s:I,s:f}", "model", cli_json_text(lm_model_label(o->model)), "items",
                                (json_int_t)f->n, "accuracy", f->accuracy_base);
        if (co->against)
            json_object_update_new(
                all, json_pack("{s:o,s:f,s:I,s:I,s:I,s:f,s:f}", "against", cli_json_text(lm_model_label(against)),
                               "against_accuracy", f->accuracy, "right_to_wrong", (json_int_t)f->right_to_wrong,
                               "wrong_to_right", (json_int_t)f->wrong_to_right, "wrong_to_wrong",
                               (json_int_t)f->wrong_to_wrong, "flips", f->flips, "all_flips", f->all_flips));
        return cli_json_print(stdout, all, JSON_INDENT(1));
    }
    printf("%s: %zu of %zu right (%.1f %%)\n", lm_model_label(o->model), f->right_base, f->n, f->accuracy_base * 100);
    if (!co->against) return CLI_OK;
    printf("%s: %zu of %zu right (%.1f %%, %+.1f)\n", lm_model_label(against), f->right, f->n, f->accuracy * 100,
           (f->accuracy - f->accuracy_base) * 100);
    printf("flips %.1f %% (right to wrong %zu, wrong to right %zu), all flips %.1f %% (wrong to another wrong %zu)\n",
           f->flips * 100, f->right_to_wrong, f->wrong_to_right, f->all_flips * 100, f->wrong_to_wrong);
    return CLI_OK;
}

static int cloze(const lm_options *o, const cloze_options *co) {
    pith_ctx *ctx = lm_session_of(o);
    ruler_items items = {0};
    uint32_t *chosen = NULL;
    if (!ctx) return CLI_FAIL;
    int result = get_items(ctx, o, co, &items);
    if (result == CLI_OK && co->print) {
        pith_buffer lines = {0};
        if (ruler_items_write(ctx, &items, &lines) != PITH_OK)
            result = lm_failed(ctx, NULL);
        else
            fwrite(lines.data, 1, lines.size, stdout);
        pith_buffer_free(ctx, &lines);
    } else if (result == CLI_OK) {
        ruler_choice_options options = {.per_byte = co->per_byte, .n_threads = o->n_threads};
        ruler_flips flips;
        chosen = calloc(items.n, 2 * sizeof *chosen);
        if (!chosen) result = cli_error("out of memory");
        if (result == CLI_OK) result = choose(ctx, o->model, &co->cache, &items, &options, chosen);
        if (result == CLI_OK && co->against)
            result = choose(ctx, lm_model_path(co->against), &co->cache, &items, &options, chosen + items.n);
        if (result == CLI_OK) {
            ruler_flips_of(&items, chosen, co->against ? chosen + items.n : chosen, &flips);
            result = report(o, co, &flips);
        }
    }
    free(chosen);
    ruler_items_free(ctx, &items);
    pith_ctx_free(ctx);
    return result;
}

int lm_cloze_main(int argc, char **argv) {
    cloze_options co = {.count = 200, .context = 24, .words = 3, .seed = 1};
    const lm_option extra[] = {
        {"count", 'n', LM_NUMBER, &co.count, 1, 1 << 24}, {"context", 0, LM_NUMBER, &co.context, 1, 4096},
        {"words", 0, LM_NUMBER, &co.words, 1, 256},       {"seed", 0, LM_NUMBER, &co.seed, 0, UINT64_MAX},
        {"items", 0, LM_TEXT, &co.items, 0, 0},           {"against", 0, LM_TEXT, &co.against, 0, 0},
        {"print", 0, LM_FLAG, &co.print, 0, 0},           {"per-byte", 0, LM_FLAG, &co.per_byte, 0, 0},
        LM_CACHE_OPTIONS(co.cache)};
    lm_options o;
    int result = lm_options_parse(&o, argc, argv, extra, sizeof extra / sizeof *extra, 1);
    if (result == CLI_OK) result = o.help ? cli_help(cloze_help) : cloze(&o, &co);
    lm_options_free(&o);
    return result;
}
