/* pith model delta, pith model apply: what makes one model of another, as a file. */
#include <string.h>

#include "artefacts/model/model.h"
#include "faces/cli/cmd_lm.h"
#include "faces/cli/model.h"

static const char delta_help[] =
    "Usage: pith model delta [OPTIONS] BASE FINE OUT\n"
    "       pith model apply BASE DELTA OUT\n\n"
    "Writes what makes the model FINE of the model BASE. Without --keep it is exact: FINE comes back byte for byte.\n"
    "With --keep it is ternary (ComPEFT): of the differences of all floats, the largest of that share become one\n"
    "number with a sign, the others nothing; BASE comes back with those added.\n\n"
    "      --keep=SHARE    share of the differences to keep, such as 10%\n"
    "      --alpha=X       the number: times what --scale says (default 1)\n"
    "      --scale=WHAT    std (of all differences, the default), mean (magnitude of those kept)\n"
    "      --pack=STAGE    how signs are packed: golomb (the default), ctxac, rans, huff or pack\n"
    "  -f, --force         overwrite OUT\n"
    "      --json          one JSON object\n"
    "  -T#, --threads=#    threads (default: one for each processor)\n"
    "  -M#, --memory=#     memory limit (default 1G; mapped files do not count)\n"
    "  -q                  no progress and no notes\n"
    "\nExamples:\n"
    "  pith model delta base.gguf tuned.gguf tuned.delta\n"
    "  pith model delta --keep=10% base.gguf tuned.gguf tuned.delta\n"
    "  pith model apply base.gguf tuned.delta tuned.gguf\n";

typedef struct delta_command {
    lm_options common;
    const char *keep, *scale;
    model_delta_options options;
} delta_command;

/* "10%" or "0.1" */
static int parse_share(const char *text, double *share) {
    char *end;
    *share = strtod(text, &end);
    if (end != text && *end == '%' && !end[1])
        *share /= 100;
    else if (end == text || *end)
        *share = -1;
    if (!(*share > 0 && *share <= 1)) return cli_error("delta: --keep: a share such as 10%%, not '%s'", text);
    return CLI_OK;
}

static void report_json(const delta_command *c, const model_delta_report *r, double seconds) {
    json_t *o = json_pack("{s:s,s:I,s:I,s:I,s:f}", "kind", c->options.exact ? "exact" : "ternary", "base_bytes",
                          (json_int_t)r->base_bytes, "bytes", (json_int_t)r->bytes, "delta_bytes",
                          (json_int_t)r->delta_bytes, "seconds", seconds);
    json_t *more =
        c->options.exact
            ? json_pack("{s:I,s:I,s:I,s:I}", "tensors", (json_int_t)r->tensors, "same", (json_int_t)r->same,
                        "differences", (json_int_t)r->differences, "plain", (json_int_t)r->plain)
            : json_pack("{s:I,s:I,s:f,s:f,s:f,s:f,s:f,s:f,s:I}", "elements", (json_int_t)r->elements, "kept",
                        (json_int_t)r->kept, "std", r->std, "value", r->value, "bits_per_element",
                        r->elements ? 8 * (double)r->delta_bytes / (double)r->elements : 0, "entropy_bits",
                        r->entropy_bits, "lost", r->lost, "update", r->update, "skipped", (json_int_t)r->skipped);
    if (o && more) json_object_update(o, more);
    json_decref(more);
    cli_json_print(stdout, o, JSON_INDENT(1));
}

static void report(const delta_command *c, const model_delta_report *r, double seconds) {
    char bytes[16], delta[16];
    if (c->common.json) {
        report_json(c, r, seconds);
        return;
    }
    if (cli_verbosity < 0) return;
    printf("%s: %s for a model of %s, %.2f %%, %.1f s\n", c->common.names[2], cli_size_text(delta, r->delta_bytes),
           cli_size_text(bytes, r->bytes), 100 * (double)r->delta_bytes / (double)r->bytes, seconds);
    if (c->options.exact) {
        printf("%llu tensors: %llu as in the base, %llu as differences, %llu by themselves\n",
               (unsigned long long)r->tensors, (unsigned long long)r->same, (unsigned long long)r->differences,
               (unsigned long long)r->plain);
        return;
    }
    printf("%llu differences, %.3g of the base; %llu kept as +-%.4g (std %.4g); %.1f %% of their energy is lost\n",
           (unsigned long long)r->elements, r->update, (unsigned long long)r->kept, r->value, r->std, 100 * r->lost);
    printf("%.4f bits for each; the entropy of places and signs is %.4f\n",
           8 * (double)r->delta_bytes / (double)r->elements, r->entropy_bits);
    if (r->skipped)
        cli_warn("%llu tensors differ and are no floats that both models have: they stay those of the base",
                 (unsigned long long)r->skipped);
}

/* BASE, FINE or DELTA, OUT */
static int run(delta_command *c, bool apply) {
    const char *const *names = c->common.names;
    if (c->common.n_names != 3)
        return cli_error("model %s: name the base, %s, and the file to write", apply ? "apply" : "delta",
                         apply ? "the delta" : "the other model");
    pith_ctx *ctx = lm_session_of(&c->common);
    if (!ctx) return CLI_FAIL;
    lm_writer w;
    model_delta_report r;
    cli_progress progress;
    double started = cli_now();
    int result = lm_writer_open(&w, ctx, names[2], c->common.force);
    if (result == CLI_OK) {
        cli_progress_start(&progress, apply ? "applying" : "comparing", names[1], 0);
        pith_ctx_set_progress(ctx, cli_progress_show, &progress);
        pith_status status = apply
                                 ? model_delta_apply_file(ctx, names[0], names[1], lm_write_piece, &w)
                                 : model_delta_make_file(ctx, names[0], names[1], &c->options, lm_write_piece, &w, &r);
        cli_progress_clear(&progress);
        if (status) cli_error("%s", pith_error(ctx));
        result = lm_writer_close(&w, status == PITH_OK, c->common.force);
        if (status) result = CLI_FAIL;
    }
    if (result == CLI_OK && !apply) report(c, &r, cli_now() - started);
    if (result == CLI_OK && apply && c->common.json)
        result = cli_json_print(stdout,
                                json_pack("{s:o,s:I,s:f}", "file", cli_json_text(names[2]), "bytes",
                                          (json_int_t)w.out.bytes, "seconds", cli_now() - started),
                                JSON_COMPACT);
    pith_ctx_free(ctx);
    return result;
}

int model_delta_main(int argc, char **argv) {
    delta_command c = {0};
    const lm_option extra[] = {{"keep", 0, LM_TEXT, &c.keep, 0, 0},
                               {"alpha", 0, LM_REAL, &c.options.alpha, 0, 0},
                               {"scale", 0, LM_TEXT, &c.scale, 0, 0},
                               {"pack", 0, LM_TEXT, &c.options.packer, 0, 0}};
    int result = lm_options_parse(&c.common, argc, argv, extra, sizeof extra / sizeof *extra, 3);
    c.options.exact = !c.keep;
    if (result == CLI_OK && c.common.help)
        result = cli_help(delta_help);
    else if (result == CLI_OK && !c.keep && (c.scale || c.options.packer || c.options.alpha != 0))
        result = cli_error("delta: --alpha, --scale and --pack are for --keep");
    else if (result == CLI_OK && c.scale && strcmp(c.scale, "std") != 0 && strcmp(c.scale, "mean") != 0)
        result = cli_error("delta: --scale: std or mean, not '%s'", c.scale);
    else if (result == CLI_OK && (!c.keep || (result = parse_share(c.keep, &c.options.keep)) == CLI_OK)) {
        if (c.scale && strcmp(c.scale, "mean") == 0) c.options.scale = MODEL_DELTA_MEAN;
        result = run(&c, false);
    }
    lm_options_free(&c.common);
    return cli_finish(result);
}

int model_apply_main(int argc, char **argv) {
    delta_command c = {0};
    int result = lm_options_parse(&c.common, argc, argv, NULL, 0, 3);
    if (result == CLI_OK) result = c.common.help ? cli_help(delta_help) : run(&c, true);
    lm_options_free(&c.common);
    return cli_finish(result);
}
