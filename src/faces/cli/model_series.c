/* pith model series: checkpoints of one model in one file. */
#include <string.h>

#include "artefacts/model/model.h"
#include "faces/cli/cmd_lm.h"
#include "faces/cli/model.h"

static const char series_help[] =
    "Usage: pith model series make OUT FILE... [--bits=N] [--context=WHAT]\n"
    "       pith model series get SERIES NUMBER OUT\n"
    "       pith model series test SERIES\n\n"
    "Puts checkpoints of one model, oldest first, into one file, each coded against the one before. Exact by default.\n"
    "With --bits, floats of all but the first become levels of what they differ by from the one before, as that comes\n"
    "back; what is lost is printed.\n\n"
    "      --bits=N        levels of N bits, 2 to 8\n"
    "      --context=WHAT  what the coder of levels knows: alone, same (the place before), around (the default)\n"
    "  -f, --force         overwrite OUT\n"
    "      --json          one JSON object\n"
    "  -T#, --threads=#    threads (default: one for each processor)\n"
    "  -M#, --memory=#     memory limit (default 1G): a checkpoint twice and some\n"
    "  -q                  no progress and no notes\n"
    "\nExamples:\n"
    "  pith model series make run.series step100.gguf step200.gguf step300.gguf\n"
    "  pith model series get run.series 2 step300.gguf\n";

typedef struct series_command {
    lm_options common;
    uint64_t bits;
    const char *context;
    series_options options;
    pith_ctx *ctx;
    json_t *list;
} series_command;

static int failed(series_command *c, const char *name) {
    return name ? cli_error("%s: %s", name, pith_error(c->ctx)) : cli_error("%s", pith_error(c->ctx));
}

static void report(series_command *c, const char *name, const series_report *r) {
    char shown[64], bytes[16], coded[16];
    if (c->common.json) {
        json_array_append_new(c->list, json_pack("{s:o,s:I,s:I,s:I,s:I,s:f,s:f}", "name", cli_json_text(name), "bytes",
                                                 (json_int_t)r->bytes, "coded", (json_int_t)r->coded, "elements",
                                                 (json_int_t)r->elements, "changed", (json_int_t)r->changed, "lost",
                                                 r->lost, "error", r->error));
        return;
    }
    if (cli_verbosity < 0) return;
    printf("%s: %s -> %s, %.2f %%", cli_safe_text(shown, sizeof shown, name), cli_size_text(bytes, r->bytes),
           cli_size_text(coded, r->coded), 100 * (double)r->coded / (double)r->bytes);
    if (r->elements)
        printf("; %.1f %% of floats change, %.2f %% of the step is lost, relative error %.2g",
               100 * (double)r->changed / (double)r->elements, 100 * r->lost, r->error);
    printf("\n");
}

static int make(series_command *c) {
    const char *const *names = c->common.names;
    lm_writer w;
    series_writer *s;
    if (c->common.n_names < 3) return cli_error("series make: which file to write, and which checkpoints?");
    int result = lm_writer_open(&w, c->ctx, names[1], c->common.force);
    if (result != CLI_OK) return result;
    if (series_writer_new(c->ctx, &c->options, lm_write_piece, &w, &s) != PITH_OK) {
        failed(c, NULL);
        return lm_writer_close(&w, false, false);
    }
    for (size_t i = 2; i < c->common.n_names && result == CLI_OK; i++) {
        pith_buffer data = {0};
        series_report r;
        result = lm_read_text(c->ctx, names[i], &data);
        if (result == CLI_OK && series_writer_add(c->ctx, s, data.data, data.size, &r) != PITH_OK)
            result = failed(c, names[i]);
        else if (result == CLI_OK)
            report(c, names[i], &r);
        pith_buffer_free(c->ctx, &data);
    }
    series_writer_free(c->ctx, s);
    int closed = lm_writer_close(&w, result == CLI_OK, c->common.force);
    return result == CLI_OK ? closed : CLI_FAIL;
}

static int get(series_command *c) {
    const char *const *names = c->common.names;
    pith_buffer data = {0};
    lm_writer w;
    uint64_t number;
    if (c->common.n_names != 4) return cli_error("series get: which series, which checkpoint, and to where?");
    if (!cli_parse_number(names[2], 0, UINT32_MAX, &number))
        return cli_error("series get: the number of a checkpoint, from 0, not '%s'", names[2]);
    int result = lm_read_text(c->ctx, names[1], &data);
    if (result == CLI_OK) result = lm_writer_open(&w, c->ctx, names[3], c->common.force);
    if (result == CLI_OK) {
        pith_status status = series_read(c->ctx, data.data, data.size, (size_t)number, lm_write_piece, &w);
        if (status) failed(c, names[1]);
        result = lm_writer_close(&w, status == PITH_OK, c->common.force);
        if (status) result = CLI_FAIL;
    }
    pith_buffer_free(c->ctx, &data);
    return result;
}

static int test(series_command *c) {
    pith_buffer data = {0};
    size_t count = 0;
    if (c->common.n_names != 2) return cli_error("series test: which series?");
    int result = lm_read_text(c->ctx, c->common.names[1], &data);
    if (result == CLI_OK && (series_count(c->ctx, data.data, data.size, &count) != PITH_OK ||
                             (count && series_read(c->ctx, data.data, data.size, count - 1, NULL, NULL) != PITH_OK)))
        result = failed(c, c->common.names[1]);
    if (result == CLI_OK && c->common.json)
        json_array_append_new(c->list, json_pack("{s:I}", "checkpoints", (json_int_t)count));
    else if (result == CLI_OK && cli_verbosity >= 0)
        printf("%s: %zu checkpoints, all good\n", c->common.names[1], count);
    pith_buffer_free(c->ctx, &data);
    return result;
}

static int run(series_command *c) {
    static const char *const contexts[] = {"alone", "same", "around"};
    const char *verb = c->common.n_names ? c->common.names[0] : "";
    c->options = (series_options){.exact = !c->bits, .bits = (unsigned)c->bits, .context = SERIES_AROUND};
    if (c->context) {
        unsigned i = 0;
        while (i < PITH_COUNT(contexts) && strcmp(c->context, contexts[i]) != 0) i++;
        if (i == PITH_COUNT(contexts))
            return cli_error("series: --context: alone, same or around, not '%s'", c->context);
        c->options.context = (series_context)i;
    }
    int (*const action)(series_command *) = strcmp(verb, "make") == 0   ? make
                                            : strcmp(verb, "get") == 0  ? get
                                            : strcmp(verb, "test") == 0 ? test
                                                                        : NULL;
    if (!action) return cli_error("series: make, get or test, not '%s'; --help says more", verb);
    c->list = json_array();
    c->ctx = lm_session_of(&c->common);
    int result = c->ctx && c->list ? action(c) : CLI_FAIL;
    if (result == CLI_OK && c->common.json) cli_json_print(stdout, json_incref(c->list), JSON_INDENT(1));
    json_decref(c->list);
    pith_ctx_free(c->ctx);
    return result;
}

int model_series_main(int argc, char **argv) {
    series_command c = {0};
    const lm_option extra[] = {{"bits", 0, LM_NUMBER, &c.bits, 2, 8}, {"context", 0, LM_TEXT, &c.context, 0, 0}};
    int result = lm_options_parse(&c.common, argc, argv, extra, sizeof extra / sizeof *extra, 4096);
    if (result == CLI_OK) result = c.common.help ? cli_help(series_help) : run(&c);
    lm_options_free(&c.common);
    return cli_finish(result);
}
