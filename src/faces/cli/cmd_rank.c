/* pith rank --query TEXT FILE...: texts in the order in which they make the query cheap to code. */
#include <string.h>

#include "faces/cli/cmd_distance.h"

const char cli_rank_help[] =
    "Usage: pith rank [OPTIONS] --query=TEXT FILE...\n"
    "       pith rank [OPTIONS] --query-file=FILE FILE...\n\n"
    "Ranks texts by what they tell about a query: by K(query|text), the length of the query's code\n"
    "for who has read the text, or by a distance between both. FILE may be a folder.\n\n"
    "  -Q, --query=TEXT    the query\n"
    "      --query-file=F  the query is what F holds\n"
    "      --lines         each line of a file is a text\n"
    "  -n N, --count=N     only the first N (default 10)\n"
    "      --by=NAME       given (default), or a distance: ncd, max, sum, min\n" CODER_HELP
    "  -T#, --threads=#    threads (default: one for each processor)\n"
    "  -M#, --memory=#     memory limit (default 1G)\n"
    "      --json          one JSON object\n"
    "  -q                  no notes\n\n"
    "Examples:\n"
    "  pith rank --query='who invented the light bulb?' articles/\n"
    "  pith rank --lines -Q 'disk is full' --coder=lm answers.txt\n"
    "  pith rank --query-file=patch.diff --by=ncd --coder=lzma -n3 src/*.c\n";

typedef struct rank_options {
    const char *query, *query_file, *by;
    uint64_t count;
    bool lines;
    coder_choice coder;
} rank_options;

static int report(const lm_options *o, const rank_options *own, const text_list *l, const double *score,
                  const size_t *order, double alone) {
    char name[200];
    const char *label = coder_label(&own->coder, name, sizeof name), *by = own->by ? own->by : "given";
    bool given = strcmp(by, "given") == 0;
    size_t n = own->count < l->n ? (size_t)own->count : l->n;
    if (o->json) {
        json_t *all = json_pack("{s:o,s:s,s:f,s:I}", "coder", cli_json_text(label), "by", by, "query_bits", alone,
                                "texts", (json_int_t)l->n);
        json_t *rows = json_array();
        for (size_t i = 0; i < n; i++)
            json_array_append_new(rows, json_pack("{s:o,s:f}", "text", cli_json_text(l->label[order[i]]),
                                                  given ? "bits" : "distance", score[order[i]]));
        json_object_set_new(all, "ranking", rows);
        return cli_json_print(stdout, all, JSON_INDENT(1));
    }
    if (given) printf("%10.1f  bytes of code by %s, knowing nothing\n", alone / 8, label);
    for (size_t i = 0; i < n; i++) {
        char shown[200];
        printf(given ? "%10.1f  %s\n" : "%10.4f  %s\n", given ? score[order[i]] / 8 : score[order[i]],
               cli_safe_text(shown, sizeof shown, l->label[order[i]]));
    }
    return CLI_OK;
}

static int rank(pith_ctx *ctx, const lm_options *o, const rank_options *own, const distance_text *query,
                const text_list *l) {
    distance_kind by = DISTANCE_MAX;
    bool given = !own->by || strcmp(own->by, "given") == 0;
    double alone, *score = malloc(l->n * sizeof *score);
    size_t *order = malloc(l->n * sizeof *order);
    int result = CLI_OK;
    if (!score || !order) result = cli_error("out of memory");
    if (result == CLI_OK && !given && !distance_named(own->by, &by))
        result = cli_error("rank: no order '%s'; there are given, ncd, max, sum, min", own->by);
    if (result == CLI_OK) {
        const codelen_options *coder = &own->coder.options;
        pith_status status = distance_lengths(ctx, coder, NULL, 1, query, 1, &alone);
        if (!status && given) status = distance_lengths(ctx, coder, l->text, l->n, query, 1, score);
        if (!status && !given) status = distance_matrix(ctx, coder, by, query, 1, l->text, l->n, score);
        if (!status) status = distance_order(ctx, score, l->n, false, order);
        result = status ? lm_failed(ctx, NULL) : report(o, own, l, score, order, alone);
    }
    free(score);
    free(order);
    return result;
}

static int run(const lm_options *o, rank_options *own) {
    if (!own->query == !own->query_file) return cli_error("rank: one query: --query=TEXT or --query-file=FILE");
    if (!o->n_names) return cli_error("rank: which texts? pith rank --help");
    pith_ctx *ctx = lm_session_of(o);
    text_list l = {0};
    pith_buffer query = {0};
    if (!ctx) return CLI_FAIL;
    int result = CLI_OK;
    if (own->query_file)
        result = lm_read_text(ctx, own->query_file, &query);
    else if (pith_buffer_append(ctx, &query, own->query, strlen(own->query)) != PITH_OK)
        result = lm_failed(ctx, NULL);
    for (size_t i = 0; i < o->n_names && result == CLI_OK; i++) result = texts_add(ctx, &l, o->names[i], own->lines);
    if (result == CLI_OK && !l.n) result = cli_error("rank: no text in what was named");
    if (result == CLI_OK) result = coder_open(ctx, o, "rank", &own->coder);
    distance_text q = {query.data, query.size};
    if (result == CLI_OK) result = rank(ctx, o, own, &q, &l);
    coder_close(ctx, &own->coder);
    pith_buffer_free(ctx, &query);
    texts_free(ctx, &l);
    pith_ctx_free(ctx);
    return result;
}

int cmd_rank(int argc, char **argv) {
    rank_options own = {.count = 10};
    const lm_option extra[] = {{"query", 'Q', LM_TEXT, &own.query, 0, 0},
                               {"query-file", 0, LM_TEXT, &own.query_file, 0, 0},
                               {"count", 'n', LM_NUMBER, &own.count, 1, UINT64_MAX},
                               {"by", 0, LM_TEXT, &own.by, 0, 0},
                               {"lines", 0, LM_FLAG, &own.lines, 0, 0},
                               CODER_OPTIONS(own.coder)};
    lm_options o;
    int result = lm_options_parse(&o, argc, argv, extra, PITH_COUNT(extra), SIZE_MAX);
    if (result == CLI_OK) result = o.help ? cli_help(cli_rank_help) : run(&o, &own);
    lm_options_free(&o);
    return cli_finish(result);
}
