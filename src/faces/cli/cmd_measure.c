/* pith measure MODEL_A MODEL_B TEXT: how far one model is from another, over a text. */
#include <string.h>

#include "faces/cli/cmd_lm.h"
#include "lm/ruler/ruler.h"

const char cli_measure_help[] =
    "Usage: pith measure [OPTIONS] MODEL_A MODEL_B TEXT\n"
    "       pith measure [OPTIONS] --base=FILE MODEL_B\n\n"
    "Compares model B with model A over a text (-: standard input), token by token: perplexities and\n"
    "their ratio, Kullback-Leibler and Jensen-Shannon divergence with percentiles, the share of equal\n"
    "likeliest tokens, the change of the probability of what came. Chunks as llama.cpp makes them:\n"
    "--ctx tokens (default 512) with the start token in front, the second half scored. A model is a\n"
    "file, or `default`. Both must have one vocabulary.\n\n"
    "      --chunks=N      only the first N chunks\n"
    "      --save-base=F   write the log-probabilities of A, in the file of llama-perplexity\n"
    "      --base=F        take A's from such a file: its text and chunks count\n"
    "      --cloze=N       also N multiple-choice items from TEXT: accuracy and flips\n"
    "      --cache-type=T  keys and values of B's context kept as T: f32, f16 (default), bf16, q8_0, q5_1,\n"
    "                      q5_0, q4_1, q4_0, iq4_nl; --cache-type-k=T, --cache-type-v=T: one of the two.\n"
    "                      Those of A are f16\n"
    "  -f, --force         overwrite F\n"
    "      --ctx=N         tokens of a chunk\n"
    "  -T#, --threads=#    threads (default: one for each processor)\n"
    "  -M#, --memory=#     memory limit (default 1G; mapped files do not count)\n"
    "      --json          one JSON object\n"
    "  -q                  no progress\n\n"
    "Examples:\n"
    "  pith measure model.f16.gguf model.q4_K.gguf book.txt\n"
    "  pith measure --cache-type=q8_0 model.f16.gguf model.f16.gguf book.txt\n"
    "  pith measure --save-base=book.base model.f16.gguf model.q4_K.gguf book.txt\n"
    "  pith measure --base=book.base model.q2_K.gguf\n";

typedef struct measure_options {
    uint64_t chunks, cloze;
    const char *save, *base;
    lm_cache_choice cache;
} measure_options;

typedef struct measured {
    ruler_comparison c;
    ruler_flips flips;
    uint32_t n_ctx;
    size_t n_chunks;
    bool has_flips;
    lm_cache_type cache; /* of B */
} measured;

static int compare(pith_ctx *ctx, const lm_options *o, const measure_options *mo, const lm_model *a, ruler_base *base,
                   const lm_model *b, const pith_buffer *text, measured *r) {
    token_list tokens = {0};
    ruler_chunks chunks = {0};
    lm_progress progress;
    lm_writer writer;
    bool open = false;
    int result = CLI_OK;
    if (base)
        chunks = ruler_base_chunks(base);
    else if (ruler_tokens(ctx, a, text->data, text->size, &tokens) != PITH_OK ||
             ruler_chunks_of(ctx, a, &tokens, o->n_ctx, (size_t)mo->chunks, &chunks) != PITH_OK)
        result = lm_failed(ctx, NULL);
    if (result == CLI_OK && mo->save) {
        result = lm_writer_open(&writer, ctx, mo->save, o->force);
        open = result == CLI_OK;
    }
    if (result == CLI_OK) {
        r->n_ctx = chunks.n_ctx;
        r->n_chunks = chunks.n_chunks;
        lm_progress_start(&progress, ctx, "measure", "chunks");
        pith_status status =
            ruler_compare(ctx, a, base, b, &chunks, o->n_threads, mo->save ? lm_write_piece : NULL, &writer, &r->c);
        lm_progress_clear(&progress, ctx);
        if (status) result = lm_failed(ctx, NULL);
    }
    if (open && lm_writer_close(&writer, result == CLI_OK, o->force) != CLI_OK) result = CLI_FAIL;
    token_list_free(ctx, &tokens);
    return result;
}

static int count_flips(pith_ctx *ctx, const lm_options *o, const lm_model *a, const lm_model *b, size_t n,
                       const pith_buffer *text, measured *r) {
    ruler_items items = {0};
    ruler_choice_options options = {.n_threads = o->n_threads};
    lm_progress progress;
    pith_status status = ruler_cloze(ctx, (const char *)text->data, text->size, n, 0, 0, 1, &items);
    uint32_t *chosen = status ? NULL : calloc(items.n, 2 * sizeof *chosen);
    if (!status && !chosen) status = pith_fail(ctx, PITH_E_MEMORY, "out of memory");
    lm_progress_start(&progress, ctx, "measure", "items");
    if (!status) status = ruler_choose(ctx, a, &items, &options, chosen, NULL);
    if (!status) status = ruler_choose(ctx, b, &items, &options, chosen + items.n, NULL);
    lm_progress_clear(&progress, ctx);
    if (!status) ruler_flips_of(&items, chosen, chosen + items.n, &r->flips);
    r->has_flips = true;
    free(chosen);
    ruler_items_free(ctx, &items);
    return status ? lm_failed(ctx, NULL) : CLI_OK;
}

/* ---- what is said ---- */

static json_t *spread_json(const ruler_spread *s) {
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "mean", cli_json_number(s->mean), "error",
                     cli_json_number(s->error), "median", cli_json_number(s->median), "p90", cli_json_number(s->p90),
                     "p95", cli_json_number(s->p95), "p99", cli_json_number(s->p99), "p99_9", cli_json_number(s->p999),
                     "max", cli_json_number(s->max));
}

static int print_json(const measured *r, const char *a, const char *b) {
    const ruler_comparison *c = &r->c;
    json_t *all = json_pack("{s:o,s:o,s:I,s:I,s:I}", "base", cli_json_text(a), "model", cli_json_text(b), "ctx",
                            (json_int_t)r->n_ctx, "chunks", (json_int_t)r->n_chunks, "scored", (json_int_t)c->n);
    json_object_set_new(all, "cache_keys", json_string(tensor_type_of(r->cache.keys)->name));
    json_object_set_new(all, "cache_values", json_string(tensor_type_of(r->cache.values)->name));
    json_object_update_new(
        all, json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "perplexity_base", cli_json_number(c->perplexity_base),
                       "perplexity_base_error", cli_json_number(c->perplexity_base_error), "perplexity",
                       cli_json_number(c->perplexity), "perplexity_error", cli_json_number(c->perplexity_error),
                       "correlation", cli_json_number(c->correlation), "log_ratio", cli_json_number(c->log_ratio),
                       "log_ratio_error", cli_json_number(c->log_ratio_error), "ratio", cli_json_number(c->ratio),
                       "ratio_error", cli_json_number(c->ratio_error)));
    json_object_update_new(
        all, json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "kl_nats", spread_json(&c->kl), "js_nats",
                       spread_json(&c->js), "same_top", cli_json_number(c->same_top), "same_top_error",
                       cli_json_number(c->same_top_error), "delta_p", cli_json_number(c->delta_p), "delta_p_error",
                       cli_json_number(c->delta_p_error), "rms_delta_p", cli_json_number(c->rms_delta_p),
                       "rms_delta_p_error", cli_json_number(c->rms_delta_p_error)));
    if (r->has_flips)
        json_object_set_new(
            all, "cloze",
            json_pack("{s:I,s:o,s:o,s:I,s:I,s:I,s:o,s:o}", "items", (json_int_t)r->flips.n, "accuracy_base",
                      cli_json_number(r->flips.accuracy_base), "accuracy", cli_json_number(r->flips.accuracy),
                      "right_to_wrong", (json_int_t)r->flips.right_to_wrong, "wrong_to_right",
                      (json_int_t)r->flips.wrong_to_right, "wrong_to_wrong", (json_int_t)r->flips.wrong_to_wrong,
                      "flips", cli_json_number(r->flips.flips), "all_flips", cli_json_number(r->flips.all_flips)));
    return cli_json_print(stdout, all, JSON_INDENT(1));
}

static void print_spread(const char *name, const ruler_spread *s) {
    printf("%-22s %.6f +- %.6f\n", name, s->mean, s->error);
    printf("  median %.6f  90 %% %.6f  95 %% %.6f  99 %% %.6f  99.9 %% %.6f  largest %.6f\n", s->median, s->p90, s->p95,
           s->p99, s->p999, s->max);
}

static int print_table(const measured *r, const char *a, const char *b) {
    const ruler_comparison *c = &r->c;
    char shown[200];
    printf("A: %s\n", cli_safe_text(shown, sizeof shown, a));
    printf("B: %s", cli_safe_text(shown, sizeof shown, b));
    if (r->cache.keys != TENSOR_F16 || r->cache.values != TENSOR_F16)
        printf(", keys cached as %s, values as %s", tensor_type_of(r->cache.keys)->name,
               tensor_type_of(r->cache.values)->name);
    putchar('\n');
    printf("%zu tokens scored in %zu chunks of %u\n\n", c->n, r->n_chunks, r->n_ctx);
    printf("%-22s %.6f +- %.6f\n", "perplexity of A", c->perplexity_base, c->perplexity_base_error);
    printf("%-22s %.6f +- %.6f\n", "perplexity of B", c->perplexity, c->perplexity_error);
    printf("%-22s %.6f +- %.6f\n", "ratio B/A", c->ratio, c->ratio_error);
    printf("%-22s %.6f +- %.6f\n", "ln of the ratio", c->log_ratio, c->log_ratio_error);
    printf("%-22s %.2f %%\n", "correlation of ln p", c->correlation * 100);
    print_spread("KL(A||B), nats", &c->kl);
    print_spread("Jensen-Shannon, nats", &c->js);
    printf("%-22s %.3f +- %.3f %%\n", "same likeliest token", c->same_top * 100, c->same_top_error * 100);
    printf("%-22s %.3f +- %.3f %%\n", "mean change of p", c->delta_p * 100, c->delta_p_error * 100);
    printf("%-22s %.3f +- %.3f %%\n", "rms change of p", c->rms_delta_p * 100, c->rms_delta_p_error * 100);
    if (!r->has_flips) return CLI_OK;
    const ruler_flips *f = &r->flips;
    printf("\n%zu cloze items: accuracy %.1f %% and %.1f %% (%+.1f)\n", f->n, f->accuracy_base * 100, f->accuracy * 100,
           (f->accuracy - f->accuracy_base) * 100);
    printf("flips %.1f %% (right to wrong %zu, wrong to right %zu), all flips %.1f %% (wrong to another wrong %zu)\n",
           f->flips * 100, f->right_to_wrong, f->wrong_to_right, f->all_flips * 100, f->wrong_to_wrong);
    return CLI_OK;
}

static int measure(const lm_options *o, const measure_options *mo) {
    const char *name_a = mo->base ? mo->base : lm_model_path(o->names[0]);
    const char *name_b = lm_model_path(o->names[mo->base ? 0 : 1]);
    const char *label_a = mo->base ? mo->base : lm_model_label(name_a), *label_b = lm_model_label(name_b);
    pith_ctx *ctx = lm_session_of(o);
    if (!ctx) return CLI_FAIL;
    lm_model *a = NULL, *b = NULL;
    ruler_base *base = NULL;
    pith_buffer text = {0};
    measured r = {0};
    int result = CLI_OK;
    if (mo->base)
        result = ruler_base_open(ctx, mo->base, &base) == PITH_OK ? CLI_OK : lm_failed(ctx, mo->base);
    else
        result = lm_open_named(ctx, name_a, &a);
    if (result == CLI_OK) result = lm_open_named(ctx, name_b, &b);
    if (result == CLI_OK) result = lm_cache_choose(&mo->cache, "measure", ctx, b);
    if (result == CLI_OK) r.cache = lm_cache_of(b);
    if (result == CLI_OK && !mo->base) result = lm_read_text(ctx, o->names[2], &text);
    if (result == CLI_OK) result = compare(ctx, o, mo, a, base, b, &text, &r);
    if (result == CLI_OK && mo->cloze) result = count_flips(ctx, o, a, b, (size_t)mo->cloze, &text, &r);
    if (result == CLI_OK) result = o->json ? print_json(&r, label_a, label_b) : print_table(&r, label_a, label_b);
    pith_buffer_free(ctx, &text);
    ruler_base_close(ctx, base);
    if (a) lm_close(ctx, a);
    if (b) lm_close(ctx, b);
    pith_ctx_free(ctx);
    return result;
}

int cmd_measure(int argc, char **argv) {
    measure_options mo = {0};
    const lm_option extra[] = {{"chunks", 0, LM_NUMBER, &mo.chunks, 1, 1 << 30},
                               {"cloze", 0, LM_NUMBER, &mo.cloze, 1, 1 << 24},
                               {"save-base", 0, LM_TEXT, &mo.save, 0, 0},
                               {"base", 0, LM_TEXT, &mo.base, 0, 0},
                               LM_CACHE_OPTIONS(mo.cache)};
    lm_options o;
    int result = lm_options_parse(&o, argc, argv, extra, sizeof extra / sizeof *extra, 3);
    if (result == CLI_OK && o.help) {
        result = cli_help(cli_measure_help);
    } else if (result == CLI_OK) {
        if (mo.base && (mo.save || mo.cloze || mo.chunks || o.n_ctx))
            result =
                cli_error("measure: --base brings its own text and chunks: no --save-base, --cloze, --chunks, --ctx");
        else if (o.n_names != (mo.base ? 1u : 3u))
            result = cli_error(mo.base ? "measure: --base and one model"
                                       : "measure: two models and a text; --help says more");
        else
            result = measure(&o, &mo);
    }
    lm_options_free(&o);
    return cli_finish(result);
}
