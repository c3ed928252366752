/* pith model stats: what the inputs of a model's matrices look like over a text, gathered, shown or rewritten. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "artefacts/model/model.h"
#include "faces/cli/cmd_lm.h"
#include "faces/cli/model.h"

static const char stats_help[] =
    "Usage: pith model stats MODEL TEXT... -o FILE [OPTIONS]   gather\n"
    "       pith model stats MODEL --generate=N -o FILE        gather over text that the model says itself\n"
    "       pith model stats FILE [--json]                     show\n"
    "       pith model stats FILE --format=FORMAT -o OUT       rewrite\n"
    "\n"
    "Runs MODEL (a file, or default) over the texts and writes, for every weight matrix, the mean square\n"
    "and mean of its inputs, their Gram matrix (once for matrices that share their input), tokens, the\n"
    "influence of each layer. Recipes with @ obs, awq and the like take it with --stats=FILE. FILE is GGUF\n"
    "and an importance matrix of llama.cpp as well: llama-quantize --imatrix reads it.\n"
    "\n"
    "Gram matrices are summed up as many at a time as the memory limit allows; the text is read again for\n"
    "the others. What is finished is kept in FILE.part: the same command goes on where it was stopped.\n"
    "\n"
    "  -o, --output=FILE   the file to write\n"
    "      --tokens=N      tokens of the texts at most, in whole chunks (default: all)\n"
    "      --generate=N    calibrate on N tokens sampled from the model (no TEXT)\n"
    "      --seed=N        of the sampling (default 1)\n"
    "      --no-gram       mean squares and means alone, one pass\n"
    "      --no-output     leave out the output matrix\n"
    "      --format=NAME   stats (default); imatrix: llama.cpp's GGUF without Gram matrices; dat: its older\n"
    "                      format. FILE may be any of the three\n"
    "  -f, --force         overwrite FILE, and forget an unfinished one of other settings\n"
    "      --ctx=N         tokens of a chunk (default 512)\n"
    "  -T#, --threads=#    threads (default: one for each processor)\n"
    "  -M#, --memory=#     memory limit (default 1G; mapped files do not count)\n"
    "      --json          one JSON object\n"
    "  -q, --quiet         no progress and no notes\n"
    "\n"
    "Examples:\n"
    "  pith model stats model.gguf calibration.txt -o model.stats\n"
    "  pith model stats tinyllama.gguf texts/*.txt --tokens=64K -M4G -o tinyllama.stats\n"
    "  pith model stats model.stats --format=dat -o model.imatrix.dat\n";

typedef struct stats_options {
    lm_options common;
    const char *output, *format_name, *tokens;
    uint64_t n_tokens, generate, seed;
    bool no_gram, no_output;
    model_stats_format format;
} stats_options;

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

/* ---- gathering ---- */

static int report_gathered(const stats_options *o, const model_stats_result *r, double seconds) {
    char size[16];
    if (o->common.json)
        return cli_json_print(stdout,
                              json_pack("{s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:f}", "output", cli_json_text(o->output),
                                        "bytes", (json_int_t)r->bytes, "tokens", (json_int_t)r->n_tokens, "chunks",
                                        (json_int_t)r->n_chunks, "matrices", (json_int_t)r->n_matrices, "grams",
                                        (json_int_t)r->n_grams, "grams_found", (json_int_t)r->grams_found, "passes",
                                        (json_int_t)r->passes, "nats_per_token", r->nats, "seconds", seconds),
                              JSON_INDENT(1));
    if (cli_verbosity < 0) return CLI_OK;
    printf("%s: %llu tokens in %llu chunks, %u matrices, %u Gram matrices, %s\n", o->output,
           (unsigned long long)r->n_tokens, (unsigned long long)r->n_chunks, r->n_matrices, r->n_grams,
           cli_size_text(size, r->bytes));
    printf("%u %s over the text", r->passes, r->passes == 1 ? "pass" : "passes");
    if (r->grams_found) printf(", %u Gram matrices from an earlier run", r->grams_found);
    if (r->nats > 0) printf(", perplexity of all its tokens %.3f", exp(r->nats));
    printf(", %.1f s\n", seconds);
    return CLI_OK;
}

static int gather(pith_ctx *ctx, stats_options *o, const model_stats_text *texts, size_t n, const lm_model *m) {
    model_stats_options so = {.n_ctx = o->common.n_ctx,
                              .n_tokens = o->n_tokens,
                              .n_threads = o->common.n_threads,
                              .no_gram = o->no_gram,
                              .no_output = o->no_output,
                              .restart = o->common.force};
    model_stats_result r;
    lm_progress progress;
    double started = cli_now();
    cli_defer_signals(true);
    lm_progress_start(&progress, ctx, "statistics", "tokens");
    pith_status status = model_stats_gather(ctx, m, texts, n, &so, o->output, &r);
    lm_progress_clear(&progress, ctx);
    cli_defer_signals(false);
    if (status == PITH_E_CANCELLED) {
        if (r.passes > 1 || r.grams_found) cli_warn("%s.part: the same command goes on from here", o->output);
        cli_end_by_signal();
    }
    return status ? lm_failed(ctx, NULL) : report_gathered(o, &r, cli_now() - started);
}

/* Into an importance matrix, by way of a file of statistics that nobody sees. */
static int rewrite(pith_ctx *ctx, const stats_options *o, const char *from) {
    model_stats *s;
    lm_writer w;
    if (model_stats_open(ctx, from, &s) != PITH_OK) return lm_failed(ctx, from);
    int result = lm_writer_open(&w, ctx, o->output, o->common.force);
    if (result == CLI_OK) {
        pith_status status = model_stats_write(ctx, s, o->format, lm_write_piece, &w);
        if (status) lm_failed(ctx, NULL);
        result = lm_writer_close(&w, status == PITH_OK, o->common.force);
    }
    model_stats_close(ctx, s);
    return result;
}

static int gather_as(pith_ctx *ctx, stats_options *o, const model_stats_text *texts, size_t n, const lm_model *m) {
    if (o->format == MODEL_STATS_OWN) return gather(ctx, o, texts, n, m);
    const char *final = o->output;
    size_t size = strlen(final) + 32;
    char *between = malloc(size);
    if (!between) return cli_error("out of memory");
    snprintf(between, size, "%s.stats-%ld", final, (long)getpid());
    stats_options inner = *o;
    inner.no_gram = true;
    inner.output = between;
    inner.common.force = true;
    int result = gather(ctx, &inner, texts, n, m);
    if (result == CLI_OK) result = rewrite(ctx, o, between);
    unlink(between);
    free(between);
    return result;
}

static int say_text(pith_ctx *ctx, const stats_options *o, const lm_model *m, pith_buffer *text) {
    lm_progress progress;
    lm_progress_start(&progress, ctx, "generating", "tokens");
    pith_status status = model_stats_own_text(ctx, m, o->generate, o->seed, o->common.n_threads, text);
    lm_progress_clear(&progress, ctx);
    return status ? lm_failed(ctx, NULL) : CLI_OK;
}

static int gather_main(pith_ctx *ctx, stats_options *o) {
    size_t n = o->generate ? 1 : o->common.n_names - 1;
    struct stat st;
    if (!o->output) return cli_error("stats: to which file? -o FILE says");
    if (!o->common.force && stat(o->output, &st) == 0)
        return cli_error("%s: already exists; not overwritten (-f overwrites)", o->output);
    lm_model *m = NULL;
    model_stats_text *texts = calloc(n, sizeof *texts);
    pith_buffer *data = calloc(n, sizeof *data);
    int result = texts && data ? lm_open_named(ctx, lm_model_path(o->common.names[0]), &m) : cli_error("out of memory");
    for (size_t i = 0; i < n && result == CLI_OK; i++) {
        const char *name = o->generate ? "the model's own text" : o->common.names[1 + i];
        result = o->generate ? say_text(ctx, o, m, &data[i]) : lm_read_text(ctx, name, &data[i]);
        texts[i] = (model_stats_text){.name = base_name(name), .data = data[i].data, .size = data[i].size};
    }
    if (result == CLI_OK) result = gather_as(ctx, o, texts, n, m);
    for (size_t i = 0; data && i < n; i++) pith_buffer_free(ctx, &data[i]);
    free(data);
    free(texts);
    if (m) lm_close(ctx, m);
    return result;
}

/* ---- showing ---- */

typedef struct summary {
    double mean, low, high;
} summary;

static summary summary_of(const model_stats_entry *e) {
    size_t n = e->parts * e->cols;
    summary s = {0, INFINITY, 0};
    for (size_t i = 0; i < n; i++) {
        double h = (double)e->h[i];
        s.mean += h / (double)n;
        s.low = h < s.low ? h : s.low;
        s.high = h > s.high ? h : s.high;
    }
    return s;
}

static json_t *strings_json(const meta_value *v) {
    json_t *list = json_array();
    meta_string text;
    for (uint64_t cursor = 0; v && meta_next_string(v, &cursor, &text);) {
        char *copy = malloc(text.size + 1);
        if (!copy) break;
        if (text.size) memcpy(copy, text.data, text.size);
        copy[text.size] = 0;
        json_array_append_new(list, cli_json_text(copy));
        free(copy);
    }
    return list;
}

static int show_json(const model_stats *s) {
    const model_stats_about *a = model_stats_info(s);
    json_t *entries = json_array(), *influence = json_array();
    for (size_t i = 0; i < model_stats_count(s); i++) {
        const model_stats_entry *e = model_stats_at(s, i);
        summary k = summary_of(e);
        json_array_append_new(entries, json_pack("{s:o,s:I,s:I,s:f,s:b,s:f,s:f,s:f}", "name", cli_json_text(e->name),
                                                 "inputs", (json_int_t)e->cols, "parts", (json_int_t)e->parts, "tokens",
                                                 e->seen[0], "gram", (int)e->has_gram, "mean_square", k.mean, "least",
                                                 k.low, "most", k.high));
    }
    for (size_t i = 0; i < a->n_influence; i++) json_array_append_new(influence, json_real((double)a->influence[i]));
    return cli_json_print(stdout,
                          json_pack("{s:b,s:I,s:I,s:f,s:s,s:s,s:o,s:o,s:o,s:o}", "ours", (int)a->ours, "chunk_tokens",
                                    (json_int_t)a->chunk_tokens, "chunks", (json_int_t)a->chunks, "nats_per_token",
                                    a->nats, "model_hash", a->model_hash, "tokens_hash", a->tokens_hash, "datasets",
                                    strings_json(a->datasets), "text_hashes", strings_json(a->texts), "block_influence",
                                    influence, "entries", entries),
                          JSON_INDENT(1));
}

static int show(pith_ctx *ctx, const stats_options *o) {
    model_stats *s;
    const char *path = o->common.names[0];
    if (model_stats_open(ctx, path, &s) != PITH_OK)
        return cli_error("%s: %s (to gather statistics, name a model and a text)", path, pith_error(ctx));
    int result = CLI_OK;
    if (o->common.json) {
        result = show_json(s);
    } else {
        const model_stats_about *a = model_stats_info(s);
        char name[64];
        printf("%s: %zu matrices, %llu chunks of %u tokens%s\n", path, model_stats_count(s),
               (unsigned long long)a->chunks, a->chunk_tokens, a->ours ? "" : ", an importance matrix");
        printf("%-36s %7s %6s %9s %5s %11s %11s %11s\n", "matrix", "inputs", "parts", "tokens", "gram", "mean square",
               "least", "most");
        for (size_t i = 0; i < model_stats_count(s); i++) {
            const model_stats_entry *e = model_stats_at(s, i);
            summary k = summary_of(e);
            printf("%-36s %7zu %6u %9.0f %5s %11.4g %11.4g %11.4g\n", cli_safe_text(name, sizeof name, e->name),
                   e->cols, e->parts, e->seen[0], e->has_gram ? "yes" : "no", k.mean, k.low, k.high);
        }
        for (size_t i = 0; i < a->n_influence; i++)
            printf("%s%.4f%s", i ? " " : "block influence: ", (double)a->influence[i],
                   i + 1 < a->n_influence ? "" : "\n");
    }
    model_stats_close(ctx, s);
    return result;
}

/* ---- the command line ---- */

static int check(stats_options *o) {
    const char *end;
    if (!model_stats_format_named(o->format_name ? o->format_name : "stats", &o->format))
        return cli_error("stats: --format: stats, imatrix or dat, not '%s'", o->format_name);
    if (o->tokens && (!cli_parse_size(o->tokens, &end, &o->n_tokens) || *end || !o->n_tokens))
        return cli_error("stats: --tokens: a number such as 65536 or 64K, not '%s'", o->tokens);
    if (!o->common.n_names) return cli_error("stats: which model, and which text? --help says more");
    if (o->generate && o->common.n_names > 1) return cli_error("stats: --generate takes the place of a text");
    return CLI_OK;
}

int model_stats_main(int argc, char **argv) {
    stats_options o = {.seed = 1};
    const lm_option extra[] = {
        {"output", 'o', LM_TEXT, &o.output, 0, 0},           {"tokens", 0, LM_TEXT, &o.tokens, 0, 0},
        {"generate", 0, LM_NUMBER, &o.generate, 1, 1 << 30}, {"seed", 0, LM_NUMBER, &o.seed, 0, UINT64_MAX},
        {"no-gram", 0, LM_FLAG, &o.no_gram, 0, 0},           {"no-output", 0, LM_FLAG, &o.no_output, 0, 0},
        {"format", 0, LM_TEXT, &o.format_name, 0, 0}};
    int result = lm_options_parse(&o.common, argc, argv, extra, sizeof extra / sizeof *extra, 4096);
    if (result == CLI_OK && o.common.help) {
        result = cli_help(stats_help);
    } else if (result == CLI_OK && (result = check(&o)) == CLI_OK) {
        pith_ctx *ctx = lm_session_of(&o.common);
        if (!ctx)
            result = CLI_FAIL;
        else if (o.common.n_names > 1 || o.generate)
            result = gather_main(ctx, &o);
        else if (o.output && o.format_name && o.format != MODEL_STATS_OWN)
            result = rewrite(ctx, &o, o.common.names[0]);
        else if (o.output)
            result = cli_error("stats: one name and -o: name a text too, or --generate=N, or --format=imatrix|dat");
        else
            result = show(ctx, &o);
        pith_ctx_free(ctx);
    }
    lm_options_free(&o.common);
    return cli_finish(result);
}
