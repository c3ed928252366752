/* pith model compress, decompress, explain-size: model files to archives and back, and where their bytes are. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faces/cli/cmd_lm.h"
#include "faces/cli/model.h"
#include "pith/model.h"

#define SUFFIX ".pith"

static const char compress_help[] =
    "Usage: pith model compress [OPTIONS] MODEL [ARCHIVE]\n\n"
    "Writes MODEL (GGUF, safetensors, NumPy, llama2.c, rwkv.cpp) to ARCHIVE (default: MODEL" SUFFIX ")\n"
    "without loss, decodes it again and compares before it says so.\n\n"
    "      --recipe=TEXT   code matrices by a recipe, which loses something: rules of\n"
    "                      PATTERN -> STAGES, by names of tensors. Vectors, and what no pattern\n"
    "                      names, stay exact\n"
    "      --stats=FILE    what the inputs of matrices are like (pith model stats): weighs errors\n"
    "      --rm            remove MODEL once the archive is verified and on disk\n"
    "  -f, --force         overwrite ARCHIVE\n"
    "  -T#, --threads=#    threads (default: one for each processor)\n"
    "  -M#, --memory=#     memory limit (default 1G; mapped files do not count)\n"
    "      --json          one JSON object\n"
    "  -q                  no progress and no notes\n\n"
    "Examples:\n"
    "  pith model compress model.bf16.gguf\n"
    "  pith model compress --recipe='*.weight -> q(4, group=128) | rans' model.f16.gguf small.pith\n";

static const char decompress_help[] =
    "Usage: pith model decompress [OPTIONS] ARCHIVE [MODEL]\n\n"
    "Restores a model file (default: ARCHIVE without " SUFFIX "): the very bytes of the original, or,\n"
    "where a recipe coded it, the same file with its matrices as the archive keeps them.\n\n"
    "      --test          decode and check everything, write nothing\n"
    "      --max-time=SEC  refuse what would take more processor seconds\n"
    "      --rm            remove ARCHIVE once MODEL is on disk\n"
    "  -f, --force         overwrite MODEL\n"
    "  -T#, --threads=#    threads (default: one for each processor)\n"
    "  -M#, --memory=#     memory limit (default 1G; mapped files do not count)\n"
    "      --json          one JSON object\n"
    "  -q                  no progress and no notes\n";

static double share(uint64_t part, uint64_t whole) { return whole ? (double)part / (double)whole : 0; }

static double bits(uint64_t bytes, uint64_t weights) { return 8 * share(bytes, weights); }

/* ---- what both directions share --------------------------------------------------------------------------- */

typedef struct job {
    lm_options o;
    pith_ctx *ctx;
    const char *in, *out;
    char *derived; /* owned name behind `out` when it was not given */
    struct stat st;
    cli_output file;
    bool remove, test;
    double max_seconds, seconds;
    const char *recipe, *stats;
    pith_model_info info;
} job;

static int sink(void *opaque, const void *data, size_t size) {
    job *j = opaque;
    int error = cli_output_write(&j->file, data, size);
    if (error) cli_error("%s: %s", j->out, strerror(error));
    return error;
}

/* The session's message unless a write has told its own already. */
static int failed(job *j, pith_status status) {
    if (status == PITH_E_IO && strcmp(pith_error(j->ctx), "the output could not be written") == 0) return CLI_FAIL;
    if (status == PITH_E_CANCELLED && cli_stop_signal()) return CLI_FAIL;
    return cli_error("%s: %s%s", j->in, pith_error(j->ctx), status == PITH_E_LIMIT ? " (-M and --max-time set limits)" : "");
}

static int start(job *j) {
    if (stat(j->in, &j->st) != 0) return cli_error("%s: %s", j->in, strerror(errno));
    if (!S_ISREG(j->st.st_mode)) return cli_error("%s: not a regular file", j->in);
    if (j->test) return CLI_OK;
    struct stat st;
    bool there = stat(j->out, &st) == 0;
    if (there && st.st_dev == j->st.st_dev && st.st_ino == j->st.st_ino)
        return cli_error("%s: is input and output at once", j->in);
    if (there && S_ISREG(st.st_mode) && !j->o.force)
        return cli_error("%s: already exists; not overwritten (-f does)", j->out);
    return cli_output_open(&j->file, j->out);
}

/* The input goes only when it is still the file that was read. */
static int remove_input(const job *j) {
    struct stat st;
    if (lstat(j->in, &st) == 0 && S_ISLNK(st.st_mode)) return cli_error("%s: is a symbolic link; not removed", j->in);
    if (stat(j->in, &st) != 0 || st.st_dev != j->st.st_dev || st.st_ino != j->st.st_ino ||
        st.st_size != j->st.st_size || st.st_mtim.tv_sec != j->st.st_mtim.tv_sec ||
        st.st_mtim.tv_nsec != j->st.st_mtim.tv_nsec)
        return cli_error("%s: has changed meanwhile; not removed", j->in);
    return unlink(j->in) == 0 ? CLI_OK : cli_error("%s: cannot remove it: %s", j->in, strerror(errno));
}

static void watch(job *j, cli_progress *progress, const char *verb) {
    cli_progress_start(progress, verb, j->in, 0);
    pith_ctx_set_progress(j->ctx, cli_progress_show, progress);
}

static void unwatch(job *j, cli_progress *progress) {
    cli_progress_clear(progress);
    pith_ctx_set_progress(j->ctx, NULL, NULL);
}

/* ---- compress ------------------------------------------------------------------------------------------------ */

static int verify(job *j) {
    cli_progress progress;
    pith_decode_options options;
    pith_decode_options_init(&options);
    options.max_seconds = INFINITY; /* our own archive */
    watch(j, &progress, "verifying");
    pith_status status = pith_model_decompress(j->ctx, &options, j->file.temp, NULL, NULL);
    if (!status) status = pith_model_info_get(j->ctx, j->file.temp, &j->info);
    unwatch(j, &progress);
    if (!status) return CLI_OK;
    return cli_error("%s: the archive does not decode to it: %s", j->in, pith_error(j->ctx));
}

static int compress(job *j) {
    cli_progress progress;
    pith_model_options options;
    pith_model_options_init(&options);
    options.recipe = j->recipe;
    options.stats = j->stats;
    int result = j->stats && !j->recipe ? cli_error("model compress: --stats serves a --recipe") : start(j);
    if (result != CLI_OK) return result;
    double begun = cli_now();
    watch(j, &progress, "compressing");
    pith_status status = pith_model_compress(j->ctx, &options, j->in, sink, j);
    unwatch(j, &progress);
    j->seconds = cli_now() - begun;
    if (status) result = failed(j, status);
    if (result == CLI_OK && !j->file.temp) result = cli_error("%s: is no file that could be read back", j->out);
    if (result == CLI_OK) result = cli_output_finish(&j->file, &j->st);
    if (result == CLI_OK) result = verify(j);
    if (result == CLI_OK) result = cli_output_commit(&j->file, j->o.force);
    if (result == CLI_OK && j->remove) result = remove_input(j);
    return result;
}

static int report_json(const job *j) {
    const pith_model_info *i = &j->info;
    json_t *object = json_pack(
        "{s:o, s:I, s:I, s:f, s:b, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "file", cli_json_text(j->in),
        "bytes", (json_int_t)i->content_size, "archive_bytes", (json_int_t)i->archive_size, "share",
        share(i->archive_size, i->content_size), "lossless", !i->lossy, "xxh3", cli_json_hash(i->hash), "tensors",
        (json_int_t)i->n_tensors, "same_tensors", (json_int_t)i->n_same, "rest_bytes", (json_int_t)i->rest_size,
        "rest_archive_bytes", (json_int_t)i->rest_coded, "exact_bytes", (json_int_t)i->exact_size,
        "exact_archive_bytes", (json_int_t)i->exact_coded, "coded_tensors", (json_int_t)i->n_coded, "seconds", j->seconds);
    if (object && i->lossy) {
        json_object_set_new(object, "coded_weights", json_integer((json_int_t)i->weights));
        json_object_set_new(object, "coded_archive_bytes", json_integer((json_int_t)i->weights_coded));
        json_object_set_new(object, "coded_bits_per_weight", json_real(bits(i->weights_coded, i->weights)));
    }
    return cli_json_print(stdout, object, JSON_COMPACT);
}

static int report(const job *j) {
    const pith_model_info *i = &j->info;
    char a[16], b[16];
    if (j->o.json) return report_json(j);
    if (cli_verbosity < 0) return CLI_OK;
    printf("%s: %s -> %s, %.1f %%, %s; %.2f s\n", j->in, cli_size_text(a, i->content_size),
           cli_size_text(b, i->archive_size), 100 * share(i->archive_size, i->content_size),
           i->lossy ? "lossy" : "lossless, checked", j->seconds);
    if (i->lossy)
        printf("  coded by the recipe  %" PRIu64 " tensors, %" PRIu64 " weights, %.3f bits per weight\n", i->n_coded,
               i->weights, bits(i->weights_coded, i->weights));
    if (i->exact_size)
        printf("  exact                %" PRIu64 " tensors, %" PRIu64 " -> %" PRIu64 " bytes, %.1f %%\n",
               i->n_tensors - i->n_coded, i->exact_size, i->exact_coded, 100 * share(i->exact_coded, i->exact_size));
    if (i->n_same) printf("  stored once          %" PRIu64 " tensors that equal another\n", i->n_same);
    return CLI_OK;
}

static int run_compress(job *j) {
    if (!j->out) {
        size_t n = strlen(j->in);
        j->derived = malloc(n + sizeof SUFFIX);
        if (!j->derived) return cli_error("out of memory");
        memcpy(j->derived, j->in, n);
        memcpy(j->derived + n, SUFFIX, sizeof SUFFIX);
        j->out = j->derived;
    }
    int result = compress(j);
    return result == CLI_OK ? report(j) : result;
}

/* ---- decompress -------------------------------------------------------------------------------------------------- */

static int decompress(job *j) {
    cli_progress progress;
    pith_decode_options options;
    pith_decode_options_init(&options);
    options.max_seconds = j->max_seconds;
    int result = start(j);
    if (result != CLI_OK) return result;
    double begun = cli_now();
    watch(j, &progress, j->test ? "testing" : "decompressing");
    pith_status status = pith_model_decompress(j->ctx, &options, j->in, j->test ? NULL : sink, j);
    if (!status) status = pith_model_info_get(j->ctx, j->in, &j->info);
    unwatch(j, &progress);
    j->seconds = cli_now() - begun;
    if (status) return failed(j, status);
    if (j->test) return CLI_OK;
    result = cli_output_finish(&j->file, &j->st);
    if (result == CLI_OK) result = cli_output_commit(&j->file, j->o.force);
    if (result == CLI_OK && j->remove) result = remove_input(j);
    return result;
}

static int run_decompress(job *j) {
    size_t n = strlen(j->in), suffix_n = strlen(SUFFIX);
    if (!j->out && !j->test) {
        if (n <= suffix_n || strcmp(j->in + n - suffix_n, SUFFIX) != 0)
            return cli_error("%s: unknown suffix (" SUFFIX " expected); name the output too", j->in);
        j->derived = strdup(j->in);
        if (!j->derived) return cli_error("out of memory");
        j->derived[n - suffix_n] = 0;
        j->out = j->derived;
    }
    int result = decompress(j);
    if (result != CLI_OK) return result;
    if (j->o.json) return report_json(j);
    char a[16];
    if (cli_verbosity >= 0)
        printf("%s: %s, %s; %.2f s\n", j->in, cli_size_text(a, j->info.content_size),
               j->info.lossy ? "lossy, as its recipe keeps it" : "lossless, checked", j->seconds);
    return CLI_OK;
}

/* ---- the verbs ------------------------------------------------------------------------------------------------------ */

static int run_verb(job *j, const char *verb, const char *help, int (*run)(job *)) {
    int result = CLI_OK;
    if (j->o.help) return cli_help(help);
    if (j->o.n_names == 0) return cli_error("model %s: which file?", verb);
    j->in = j->o.names[0];
    j->out = j->o.n_names > 1 ? j->o.names[1] : NULL;
    j->file.fd = -1;
    j->ctx = lm_session_of(&j->o);
    if (!j->ctx) return CLI_FAIL;
    result = run(j);
    cli_output_discard(&j->file);
    free(j->derived);
    pith_ctx_free(j->ctx);
    return result;
}

int model_compress_main(int argc, char **argv) {
    job j = {.file = {.fd = -1}};
    const lm_option options[] = {{.name = "recipe", .kind = LM_TEXT, .value = &j.recipe},
                                 {.name = "stats", .kind = LM_TEXT, .value = &j.stats},
                                 {.name = "rm", .kind = LM_FLAG, .value = &j.remove}};
    int result = lm_options_parse(&j.o, argc, argv, options, PITH_COUNT(options), 2);
    if (result == CLI_OK) result = run_verb(&j, argv[0], compress_help, run_compress);
    lm_options_free(&j.o);
    return result;
}

int model_decompress_main(int argc, char **argv) {
    job j = {.file = {.fd = -1}};
    const lm_option options[] = {{.name = "test", .kind = LM_FLAG, .value = &j.test},
                                 {.name = "max-time", .kind = LM_REAL, .value = &j.max_seconds},
                                 {.name = "rm", .kind = LM_FLAG, .value = &j.remove}};
    int result = lm_options_parse(&j.o, argc, argv, options, PITH_COUNT(options), 2);
    if (result == CLI_OK) result = run_verb(&j, argv[0], decompress_help, run_decompress);
    lm_options_free(&j.o);
    return result;
}
