/* pith select --target=FILE SOURCE...: the texts to train on, by how well they compress together with the target. */
#include <string.h>

#include "faces/cli/cmd_distance.h"

const char cli_select_help[] =
    "Usage: pith select [OPTIONS] --target=FILE SOURCE...\n\n"
    "Chooses among source texts those most like the target texts, as training data for them: by the\n"
    "mean of 1 - NCD over all targets (ZIP-FIT), or by how much the code of a source shrinks for who\n"
    "has read all targets, which costs one code for each source instead of one for each pair. FILE and\n"
    "SOURCE may be folders. Prints score and name, the best first.\n\n"
    "      --target=FILE   the target texts\n"
    "  -n N, --count=N     only the first N (default: a tenth of the sources)\n"
    "      --lines         each line of a file is a text\n"
    "      --primed        the cheap score\n"
    "      --print         print the chosen texts instead of scores and names\n" CODER_HELP
    "  -T#, --threads=#    threads (default: one for each processor)\n"
    "  -M#, --memory=#     memory limit (default 1G)\n"
    "      --json          one JSON object\n"
    "  -q                  no notes\n\n"
    "Without --coder the full score uses zstd, the cheap one cm.\n\n"
    "Examples:\n"
    "  pith select --target=examples/ -n100 corpus/\n"
    "  pith select --primed --lines --target=questions.txt --print web.txt > chosen.txt\n";

typedef struct select_options {
    const char *target;
    uint64_t count;
    bool lines, primed, print;
    coder_choice coder;
} select_options;

static int report(const lm_options *o, const select_options *own, const text_list *source, size_t n_target,
                  const double *score, const size_t *order) {
    char name[200];
    size_t n = own->count ? (size_t)PITH_MIN(own->count, (uint64_t)source->n) : (source->n + 9) / 10;
    if (o->json) {
        json_t *all = json_pack(
            "{s:o,s:s,s:I,s:I}", "coder", cli_json_text(coder_label(&own->coder, name, sizeof name)), "score",
            own->primed ? "primed" : "alignment", "targets", (json_int_t)n_target, "sources", (json_int_t)source->n);
        json_t *rows = json_array();
        for (size_t i = 0; i < n; i++)
            json_array_append_new(
                rows, json_pack("{s:o,s:f}", "text", cli_json_text(source->label[order[i]]), "score", score[order[i]]));
        json_object_set_new(all, "chosen", rows);
        return cli_json_print(stdout, all, JSON_INDENT(1));
    }
    for (size_t i = 0; i < n; i++) {
        char shown[200];
        const distance_text *t = &source->text[order[i]];
        if (!own->print) {
            printf("%9.5f  %s\n", score[order[i]], cli_safe_text(shown, sizeof shown, source->label[order[i]]));
            continue;
        }
        fwrite(t->data, 1, t->n, stdout);
        if (t->n && t->data[t->n - 1] != '\n') putchar('\n');
    }
    return CLI_OK;
}

static int choose(pith_ctx *ctx, const lm_options *o, const select_options *own, const text_list *source,
                  const text_list *target) {
    double *score = malloc(source->n * sizeof *score);
    size_t *order = malloc(source->n * sizeof *order);
    int result = score && order ? CLI_OK : cli_error("out of memory");
    if (result == CLI_OK) {
        pith_status status = (own->primed ? select_primed : select_alignment)(
            ctx, &own->coder.options, source->text, source->n, target->text, target->n, score);
        if (!status) status = distance_order(ctx, score, source->n, true, order);
        result = status ? lm_failed(ctx, NULL) : report(o, own, source, target->n, score, order);
    }
    free(score);
    free(order);
    return result;
}

static int run(const lm_options *o, select_options *own) {
    if (!own->target) return cli_error("select: which target? --target=FILE");
    if (!o->n_names) return cli_error("select: which sources? pith select --help");
    if (own->print && o->json) return cli_error("select: --print and --json do not go together");
    pith_ctx *ctx = lm_session_of(o);
    text_list source = {0}, target = {0};
    if (!ctx) return CLI_FAIL;
    int result = texts_add(ctx, &target, own->target, own->lines);
    for (size_t i = 0; i < o->n_names && result == CLI_OK; i++)
        result = texts_add(ctx, &source, o->names[i], own->lines);
    if (result == CLI_OK && (!source.n || !target.n))
        result = cli_error("select: no text in what was named as %s", source.n ? "target" : "source");
    if (!own->coder.coder && !own->coder.model && !own->primed) own->coder.coder = "zstd";
    if (result == CLI_OK) result = coder_open(ctx, o, "select", &own->coder);
    if (result == CLI_OK) result = choose(ctx, o, own, &source, &target);
    coder_close(ctx, &own->coder);
    texts_free(ctx, &source);
    texts_free(ctx, &target);
    pith_ctx_free(ctx);
    return result;
}

int cmd_select(int argc, char **argv) {
    select_options own = {0};
    const lm_option extra[] = {
        {"target", 0, LM_TEXT, &own.target, 0, 0}, {"count", 'n', LM_NUMBER, &own.count, 1, UINT64_MAX},
        {"lines", 0, LM_FLAG, &own.lines, 0, 0},   {"primed", 0, LM_FLAG, &own.primed, 0, 0},
        {"print", 0, LM_FLAG, &own.print, 0, 0},   CODER_OPTIONS(own.coder)};
    lm_options o;
    int result = lm_options_parse(&o, argc, argv, extra, PITH_COUNT(extra), SIZE_MAX);
    if (result == CLI_OK) result = o.help ? cli_help(cli_select_help) : run(&o, &own);
    lm_options_free(&o);
    return cli_finish(result);
}
