/* pith distance A B...: how far texts are from each other by the lengths of their codes. */
#include <string.h>

#include "faces/cli/cmd_distance.h"

const char cli_distance_help[] =
    "Usage: pith distance [OPTIONS] FILE FILE...\n\n"
    "How far texts are from each other: what the code of one saves when the other is known. K(x) is\n"
    "the length of a code, K(x|y) that for who has read y, C(xy) that of y put behind x. Two texts:\n"
    "all lengths and distances. More, or a folder: a table of one distance for all pairs.\n"
    "About 0 for equal texts, about 1 for texts that have nothing in common.\n\n"
    "      --by=NAME       ncd: (C(xy) - min(K)) / max(K), by joint codes (default of zstd, lzma)\n"
    "                      max: max(K(x|y), K(y|x)) / max(K(x), K(y)) (default of the others)\n"
    "                      sum, min: the same with sums, with minima\n"
    "      --lines         each line of a file is a text\n" CODER_HELP
    "  -T#, --threads=#    threads (default: one for each processor)\n"
    "  -M#, --memory=#     memory limit (default 1G)\n"
    "      --json          one JSON object\n"
    "  -q                  no notes\n\n"
    "Examples:\n"
    "  pith distance letter.txt answer.txt\n"
    "  pith distance --coder=lzma --json songs/\n"
    "  pith distance --model=stories15M.gguf one.txt two.txt three.txt\n";

typedef struct distance_options {
    const char *by;
    bool lines;
    coder_choice coder;
} distance_options;

typedef struct pair {
    double x, y, x_of_y, y_of_x, joint, d[4];
} pair;

static pith_status measure_pair(pith_ctx *ctx, const codelen_options *o, const distance_text *t, pair *p) {
    double own[2];
    pith_status status = distance_lengths(ctx, o, NULL, 1, t, 2, own);
    if (!status) status = distance_lengths(ctx, o, &t[1], 1, &t[0], 1, &p->x_of_y);
    if (!status) status = distance_lengths(ctx, o, &t[0], 1, &t[1], 1, &p->y_of_x);
    if (!status) status = distance_joint(ctx, o, &t[0], 1, &t[1], 1, &p->joint);
    if (status) return status;
    p->x = own[0], p->y = own[1];
    for (unsigned kind = 0; kind < 4; kind++) {
        distance_parts parts = {p->x, p->y, p->x_of_y, p->y_of_x, p->joint};
        p->d[kind] = distance_of((distance_kind)kind, &parts);
    }
    return PITH_OK;
}

static int report_pair(const lm_options *o, const text_list *l, const char *coder, const pair *p) {
    if (o->json) {
        json_t *all = json_pack("{s:o,s:[o,o],s:f,s:f,s:f,s:f,s:f}", "coder", cli_json_text(coder), "texts",
                                cli_json_text(l->label[0]), cli_json_text(l->label[1]), "x_bits", p->x, "y_bits", p->y,
                                "x_given_y_bits", p->x_of_y, "y_given_x_bits", p->y_of_x, "joint_bits", p->joint);
        for (unsigned kind = 0; all && kind < 4; kind++)
            json_object_set_new(all, distance_name((distance_kind)kind), json_real(p->d[kind]));
        return cli_json_print(stdout, all, JSON_INDENT(1));
    }
    char shown[200];
    printf("x  %s\n", cli_safe_text(shown, sizeof shown, l->label[0]));
    printf("y  %s\n", cli_safe_text(shown, sizeof shown, l->label[1]));
    printf("coder   %s\n", coder);
    printf("K(x)    %12.1f bytes of %zu\nK(y)    %12.1f bytes of %zu\n", p->x / 8, l->text[0].n, p->y / 8,
           l->text[1].n);
    printf("K(x|y)  %12.1f bytes\nK(y|x)  %12.1f bytes\nC(xy)   %12.1f bytes\n", p->x_of_y / 8, p->y_of_x / 8,
           p->joint / 8);
    for (unsigned kind = 0; kind < 4; kind++)
        printf("%-4s    %12.4f\n", distance_name((distance_kind)kind), p->d[kind]);
    return CLI_OK;
}

static int report_matrix(const lm_options *o, const text_list *l, const char *coder, distance_kind by,
                         const double *d) {
    size_t n = l->n;
    if (o->json) {
        json_t *all = json_pack("{s:o,s:s}", "coder", cli_json_text(coder), "by", distance_name(by));
        json_t *names = json_array(), *rows = json_array();
        for (size_t i = 0; i < n; i++) {
            json_t *row = json_array();
            for (size_t j = 0; j < n; j++) json_array_append_new(row, json_real(d[i * n + j]));
            json_array_append_new(rows, row);
            json_array_append_new(names, cli_json_text(l->label[i]));
        }
        json_object_set_new(all, "texts", names);
        json_object_set_new(all, "distances", rows);
        return cli_json_print(stdout, all, JSON_INDENT(1));
    }
    printf("%s by %s\n%5s", distance_name(by), coder, "");
    for (size_t j = 0; j < n; j++) printf(" %6zu", j + 1);
    putchar('\n');
    for (size_t i = 0; i < n; i++) {
        char shown[200];
        printf("%5zu", i + 1);
        for (size_t j = 0; j < n; j++) printf(" %6.4f", d[i * n + j]);
        printf("  %s\n", cli_safe_text(shown, sizeof shown, l->label[i]));
    }
    return CLI_OK;
}

static int measure(pith_ctx *ctx, const lm_options *o, const distance_options *own, const text_list *l) {
    const codelen_options *coder = &own->coder.options;
    bool whole_bytes = coder->kind == CODELEN_ZSTD || coder->kind == CODELEN_LZMA;
    distance_kind by = whole_bytes ? DISTANCE_NCD : DISTANCE_MAX;
    char name[200];
    const char *label = coder_label(&own->coder, name, sizeof name);
    if (own->by && !distance_named(own->by, &by))
        return cli_error("distance: no distance '%s'; there are ncd, max, sum, min", own->by);
    if (l->n == 2 && !own->by) {
        pair p;
        return measure_pair(ctx, coder, l->text, &p) ? lm_failed(ctx, NULL) : report_pair(o, l, label, &p);
    }
    double *d = l->n < SIZE_MAX / sizeof *d / l->n ? malloc(l->n * l->n * sizeof *d) : NULL;
    if (!d) return cli_error("distance: no memory for %zu by %zu distances", l->n, l->n);
    int result = distance_matrix(ctx, coder, by, l->text, l->n, NULL, 0, d) ? lm_failed(ctx, NULL)
                                                                            : report_matrix(o, l, label, by, d);
    free(d);
    return result;
}

static int run(const lm_options *o, distance_options *own) {
    pith_ctx *ctx = lm_session_of(o);
    text_list l = {0};
    if (!ctx) return CLI_FAIL;
    int result = CLI_OK;
    for (size_t i = 0; i < o->n_names && result == CLI_OK; i++) result = texts_add(ctx, &l, o->names[i], own->lines);
    if (result == CLI_OK && l.n < 2)
        result = cli_error("distance: at least two texts are needed; pith distance --help");
    if (result == CLI_OK) result = coder_open(ctx, o, "distance", &own->coder);
    if (result == CLI_OK) result = measure(ctx, o, own, &l);
    coder_close(ctx, &own->coder);
    texts_free(ctx, &l);
    pith_ctx_free(ctx);
    return result;
}

int cmd_distance(int argc, char **argv) {
    distance_options own = {0};
    const lm_option extra[] = {
        {"by", 0, LM_TEXT, &own.by, 0, 0}, {"lines", 0, LM_FLAG, &own.lines, 0, 0}, CODER_OPTIONS(own.coder)};
    lm_options o;
    int result = lm_options_parse(&o, argc, argv, extra, PITH_COUNT(extra), SIZE_MAX);
    if (result == CLI_OK) result = o.help ? cli_help(cli_distance_help) : run(&o, &own);
    lm_options_free(&o);
    return cli_finish(result);
}
