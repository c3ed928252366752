/* pith model decompress: an archive back to the model file, to one with matrices in another type, to a coarser one from
 * fewer levels, or one tensor of it to a NumPy array. */
#include <inttypes.h>
#include <string.h>

#include "faces/cli/model.h"
#include "faces/cli/model_job.h"

static const char decompress_help[] =
    "Usage: pith model decompress [OPTIONS] ARCHIVE [MODEL]\n"
    "       pith model decompress --tensor=NAME -o ARRAY.npy ARCHIVE\n\n"
    "Restores a model file (default: ARCHIVE without " MODEL_JOB_SUFFIX "): the very bytes of the original, or,\n"
    "where a recipe coded it, the same file with its matrices as the archive keeps them.\n"
    "`pith model load` is the same.\n\n"
    "      --type=TYPE     matrices that a recipe coded come as f16, f32 or bf16, in GGUF also as\n"
    "                      q8_0, q4_K and so on (default: as they were; f16 when they were in\n"
    "                      blocks that are not written)\n"
    "      --levels=N      of stack(...): the first N levels alone, a coarser model\n"
    "      --bytes=SIZE    of stack(...): as many levels as SIZE bytes of the archive hold\n"
    "      --tensor=NAME   this tensor alone, as a NumPy array; nothing else is decoded\n"
    "  -o, --output=FILE   the same as naming MODEL (-: standard output)\n"
    "      --test          decode and check everything, write nothing\n"
    "      --max-time=SEC  refuse what would take more processor seconds\n"
    "      --rm            remove ARCHIVE once MODEL is on disk; only when all of it was restored\n"
    "  -f, --force         overwrite MODEL\n"
    "  -T#, --threads=#    threads (default: one for each processor)\n"
    "  -M#, --memory=#     memory limit (default 1G; mapped files do not count)\n"
    "      --json          one JSON object\n"
    "  -q                  no progress and no notes\n\n"
    "Examples:\n"
    "  pith model decompress model.gguf.pith\n"
    "  pith model decompress --type=q8_0 small.pith model.q8_0.gguf\n"
    "  pith model load --bytes=600M stack.pith coarse.gguf\n";

typedef struct decompression {
    model_job j; /* first: run functions get it */
    bool test;
    double max_seconds;
    const char *type, *tensor, *output, *bytes;
    uint64_t levels;
    pith_decode_options limits;
    pith_model_expand_options wish;
    pith_model_expanded done;
    pith_model_info info;
} decompression;

static int check_options(decompression *d) {
    const char *end;
    pith_decode_options_init(&d->limits);
    d->limits.max_seconds = d->max_seconds;
    pith_model_expand_options_init(&d->wish);
    d->wish.limits = &d->limits;
    d->wish.type = d->type;
    d->wish.levels = (unsigned)d->levels;
    if (d->bytes && (!cli_parse_size(d->bytes, &end, &d->wish.bytes) || *end || !d->wish.bytes))
        return cli_error("model %s: --bytes: a size, not '%s'", d->j.verb, d->bytes);
    if (d->output && d->j.out) return cli_error("model %s: -o and a second name say the same", d->j.verb);
    if (d->output) d->j.out = d->output;
    d->j.to_stdout = d->j.out && strcmp(d->j.out, "-") == 0;
    if (d->j.to_stdout && d->j.o.json)
        return cli_error("model %s: --json and the model cannot both go to standard output", d->j.verb);
    if (d->j.to_stdout && d->j.remove)
        return cli_error("model %s: --rm wants the model in a file", d->j.verb);
    bool partly = d->type || d->tensor || d->levels || d->bytes;
    if (d->test && (partly || d->j.out)) return cli_error("model %s: --test writes nothing and checks all", d->j.verb);
    if (d->j.remove && (d->tensor || d->levels || d->bytes))
        return cli_error("model %s: --rm wants all of the archive restored", d->j.verb);
    if (d->tensor && !d->j.out) return cli_error("model %s: --tensor: to which file? -o says it", d->j.verb);
    return CLI_OK;
}

/* The archive's name without its suffix. */
static int derive_name(decompression *d) {
    model_job *j = &d->j;
    size_t n = strlen(j->in), suffix_n = strlen(MODEL_JOB_SUFFIX);
    if (j->out || d->test) return CLI_OK;
    if (n <= suffix_n || strcmp(j->in + n - suffix_n, MODEL_JOB_SUFFIX) != 0)
        return cli_error("%s: unknown suffix (" MODEL_JOB_SUFFIX " expected); name the output too", j->in);
    j->derived = strdup(j->in);
    if (!j->derived) return cli_error("out of memory");
    j->derived[n - suffix_n] = 0;
    j->out = j->derived;
    return CLI_OK;
}

static pith_status restore(decompression *d) {
    model_job *j = &d->j;
    if (d->test) return pith_model_decompress(j->ctx, &d->limits, j->in, NULL, NULL);
    if (d->tensor) return pith_model_tensor(j->ctx, &d->wish, j->in, d->tensor, model_job_write, j, &d->done);
    return pith_model_expand(j->ctx, &d->wish, j->in, model_job_write, j, &d->done);
}

static int decompress(decompression *d) {
    cli_progress progress;
    model_job *j = &d->j;
    int result = model_job_start(j);
    if (result != CLI_OK) return result;
    double begun = cli_now();
    model_job_watch(j, &progress, d->test ? "testing" : "decompressing");
    pith_status status = restore(d);
    if (!status) status = pith_model_info_get(j->ctx, j->in, &d->info);
    model_job_unwatch(j, &progress);
    j->seconds = cli_now() - begun;
    if (status) return model_job_failed(j, status);
    if (d->test) return CLI_OK;
    result = cli_output_finish(&j->file, &j->st);
    if (result == CLI_OK) result = cli_output_commit(&j->file, j->o.force);
    if (result == CLI_OK && j->remove) result = model_job_remove_input(j);
    return result;
}

/* ---- the report ---------------------------------------------------------------------------------------------- */

static bool is_partial(const decompression *d) { return d->done.stacks && d->done.bytes < d->done.whole; }

static int report_json(const decompression *d) {
    const pith_model_info *i = &d->info;
    json_t *object = json_pack("{s:o, s:I, s:I, s:b, s:o, s:f}", "file", cli_json_text(d->j.in), "bytes",
                               (json_int_t)i->content_size, "archive_bytes", (json_int_t)i->archive_size, "lossless",
                               !i->lossy, "xxh3", cli_json_hash(i->hash), "seconds", d->j.seconds);
    if (object && d->done.type[0]) json_object_set_new(object, "type", json_string(d->done.type));
    if (object && d->tensor) json_object_set_new(object, "tensor", cli_json_text(d->tensor));
    if (object && d->done.stacks) {
        json_object_set_new(object, "loaded_bytes", json_integer((json_int_t)d->done.bytes));
        json_object_set_new(object, "loaded_levels", json_pack("[i, i]", (int)d->done.fewest, (int)d->done.most));
        json_object_set_new(object, "levels", json_integer((json_int_t)d->done.n_levels));
    }
    return cli_json_print(stdout, object, JSON_COMPACT);
}

static int report(const decompression *d) {
    const pith_model_expanded *e = &d->done;
    char a[16], b[16];
    if (d->j.o.json) return report_json(d);
    if (cli_verbosity < 0 || d->j.to_stdout) return CLI_OK;
    if (d->tensor)
        printf("%s: tensor %s; %.2f s\n", d->j.in, d->tensor, d->j.seconds);
    else
        printf("%s: %s, %s; %.2f s\n", d->j.in, cli_size_text(a, d->test ? d->info.content_size : d->j.file.bytes),
               d->info.lossy ? "lossy, as its recipe keeps it" : "lossless, checked", d->j.seconds);
    if (is_partial(d)) {
        printf("  loaded %s of %s: ", cli_size_text(a, e->bytes), cli_size_text(b, e->whole));
        if (e->fewest == e->most)
            printf("%u of %u levels\n", e->most, e->n_levels);
        else
            printf("%u to %u of %u levels of %" PRIu64 " tensors\n", e->fewest, e->most, e->n_levels, e->stacks);
    }
    return CLI_OK;
}

static int run(model_job *j) {
    decompression *d = (decompression *)(void *)j;
    int result = check_options(d);
    if (result == CLI_OK) result = derive_name(d);
    if (result == CLI_OK) result = decompress(d);
    if (result != CLI_OK) return result;
    if (!d->type && d->done.type[0] && !d->tensor)
        cli_warn("%s: its matrices were in blocks that are not written; they are in %s now (--type says otherwise)", j->in,
                 d->done.type);
    if (d->type && !d->info.lossy && !d->tensor)
        cli_warn("%s: nothing in it was coded by a recipe, so --type changes nothing; pith model convert does", j->in);
    return report(d);
}

int model_decompress_main(int argc, char **argv) {
    decompression d = {.j = {.verb = argv[0], .file = {.fd = -1}}};
    const lm_option options[] = {{.name = "type", .kind = LM_TEXT, .value = &d.type},
                                 {.name = "levels", .kind = LM_NUMBER, .value = &d.levels, .low = 1, .high = 64},
                                 {.name = "bytes", .kind = LM_TEXT, .value = &d.bytes},
                                 {.name = "tensor", .kind = LM_TEXT, .value = &d.tensor},
                                 {.name = "output", .letter = 'o', .kind = LM_TEXT, .value = &d.output},
                                 {.name = "test", .kind = LM_FLAG, .value = &d.test},
                                 {.name = "max-time", .kind = LM_REAL, .value = &d.max_seconds},
                                 {.name = "rm", .kind = LM_FLAG, .value = &d.j.remove}};
    int result = lm_options_parse(&d.j.o, argc, argv, options, PITH_COUNT(options), 2);
    if (result == CLI_OK) result = model_job_run(&d.j, decompress_help, run);
    lm_options_free(&d.j.o);
    return result;
}
