/* pith model compress: a model file to its archive, without loss or by a recipe, checked by decoding it again. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "artefacts/model/model.h"
#include "faces/cli/model.h"
#include "faces/cli/model_budget.h"
#include "faces/cli/model_job.h"

#define DEFAULT_BITS 4.0 /* of --lossy alone */

static const char compress_help[] =
    "Usage: pith model compress [OPTIONS] MODEL [ARCHIVE]\n\n"
    "Writes MODEL (GGUF, safetensors, NumPy, llama2.c, rwkv.cpp) to ARCHIVE (default: MODEL" MODEL_JOB_SUFFIX ")\n"
    "without loss, decodes it again and compares before it says so.\n\n"
    "      --lossy[=BITS]  code matrices with so many bits per weight on average (default 4), spread by\n"
    "                      what errors in each do to the answers: step(bits=...) | ctxac @ obs, which is\n"
    "                      one step for a matrix, errors fed forward, and an adaptive arithmetic code.\n"
    "                      A model that cannot be run here gets the same bits everywhere\n"
    "      --size=BYTES    the same with as many bits as fit an archive of so many bytes; or --bpw=X bits\n"
    "                      a weight, vectors counted; or --max-kl=X, as few as let answers differ by so\n"
    "                      many nats\n"
    "      --method=METHOD, --levels='A; B'\n"
    "                      how bits are chosen: rate, as above, greedy, knapsack, evolve, uniform; as in\n"
    "                      pith model allocate, which prints the recipe\n"
    "      --text=FILE     what answers are measured on (default: a built-in text)\n"
    "      --recipe=TEXT   code matrices by a recipe: rules of PATTERN -> STAGES, by names of tensors.\n"
    "                      Vectors, what no pattern names, and matrices with NaN or infinity stay exact\n"
    "      --stats=FILE    what the inputs of matrices are like (pith model stats): errors go where\n"
    "                      they matter least\n"
    "  -o, --output=FILE   the same as ARCHIVE\n"
    "      --rm            remove MODEL once the archive is verified and on disk\n"
    "  -f, --force         overwrite ARCHIVE\n"
    "  -T#, --threads=#    threads (default: one for each processor)\n"
    "  -M#, --memory=#     memory limit (default 1G; mapped files do not count). A recipe takes\n"
    "                      four times the floats of the largest matrix, and more when it nests\n"
    "      --json          one JSON object\n"
    "  -q                  no progress and no notes\n\n"
    "Examples:\n"
    "  pith model compress model.bf16.gguf\n"
    "  pith model compress --lossy=4.5 --stats=model.stats model.f16.gguf small.pith\n"
    "  pith model compress --size=2.5GB --stats=model.stats model.f16.gguf small.pith\n"
    "  pith model compress --recipe='*attn* -> q(4, group=128) | rans ; * -> step' model.f16.gguf\n";

typedef struct compression {
    model_job j; /* first: run functions get it */
    const char *recipe, *lossy, *stats;
    char even_recipe[64];
    budget_request budget;
    budget_answer answer;
    pith_model_loss loss;
    pith_model_info info;
    repr_parts parts; /* of what the recipe coded */
} compression;

static double share(uint64_t part, uint64_t whole) { return whole ? (double)part / (double)whole : 0; }

static double bits(uint64_t bytes, uint64_t weights) { return 8 * share(bytes, weights); }

/* ---- the work -------------------------------------------------------------------------------------------- */

/* What --lossy, --size and so on stand for. */
static int choose_recipe(compression *c) {
    budget_request *r = &c->budget;
    if (c->lossy) {
        char *end;
        r->bits = *c->lossy ? strtod(c->lossy, &end) : DEFAULT_BITS;
        if (*c->lossy && (*end || !(r->bits >= 0.25 && r->bits <= 16)))
            return cli_error("model compress: --lossy: bits per weight from 0.25 to 16, not '%s'", c->lossy);
    }
    bool wanted = budget_requested(r);
    if (wanted && c->recipe)
        return cli_error("model compress: --lossy, --size and so on choose the recipe; not beside --recipe");
    if (c->stats && !wanted && !c->recipe)
        return cli_error("model compress: --stats serves --lossy, a --recipe or a budget");
    if (!wanted && (r->method || r->levels || r->text))
        return cli_error("model compress: --method, --levels and --text serve --lossy, --size, --bpw or --max-kl");
    if (!wanted) return CLI_OK;
    if (!c->stats)
        cli_warn("without --stats all inputs count the same; pith model stats MODEL TEXT -o FILE makes them");
    bool spreads = !r->levels && (!r->method || strcmp(r->method, "rate") == 0);
    bool uniform = !r->levels && r->method && strcmp(r->method, "uniform") == 0;
    if (c->lossy && (uniform || (spreads && !(r->bits >= MODEL_SPREAD_LEAST && r->bits <= MODEL_SPREAD_MOST)))) {
        snprintf(c->even_recipe, sizeof c->even_recipe, "step(bits=%g) | ctxac @ obs", r->bits);
        c->recipe = c->even_recipe;
        return CLI_OK;
    }
    r->stats = c->stats;
    r->or_even = true;
    if (budget_find(c->j.ctx, c->j.in, &c->j.o, r, false, &c->answer) != CLI_OK) return CLI_FAIL;
    c->recipe = (const char *)c->answer.recipe.data;
    return CLI_OK;
}

/* Decodes everything from what was written, and counts what the bytes are. */
static int verify(compression *c) {
    cli_progress progress;
    model_archive *a;
    archive_wish wish = {.parts = &c->parts};
    const char *path = c->j.file.temp;
    pith_ctx *ctx = c->j.ctx;
    model_job_watch(&c->j, &progress, "verifying");
    pith_begin(ctx);
    pith_status status = archive_open(ctx, path, INFINITY, &a); /* our own archive: no limit of time */
    if (!status) {
        status = archive_restore(ctx, a, &wish, NULL, NULL);
        archive_close(ctx, a);
    }
    if (!status) status = pith_model_info_get(ctx, path, &c->info);
    model_job_unwatch(&c->j, &progress);
    if (!status) return CLI_OK;
    return cli_error("%s: the archive does not decode to it: %s", c->j.in, pith_error(ctx));
}

static int compress(compression *c) {
    cli_progress progress;
    model_job *j = &c->j;
    pith_model_options options;
    pith_model_options_init(&options);
    options.recipe = c->recipe;
    options.stats = c->stats;
    options.loss = c->recipe ? &c->loss : NULL;
    int result = model_job_start(j);
    if (result != CLI_OK) return result;
    double begun = cli_now();
    model_job_watch(j, &progress, "compressing");
    pith_status status = pith_model_compress(j->ctx, &options, j->in, model_job_write, j);
    model_job_unwatch(j, &progress);
    j->seconds = cli_now() - begun;
    if (status) result = model_job_failed(j, status);
    if (result == CLI_OK && !j->file.temp) result = cli_error("%s: is no file that could be read back", j->out);
    if (result == CLI_OK) result = cli_output_finish(&j->file, &j->st);
    if (result == CLI_OK) result = verify(c);
    if (result == CLI_OK) result = cli_output_commit(&j->file, j->o.force);
    if (result == CLI_OK && j->remove) result = model_job_remove_input(j);
    return result;
}

/* ---- the report -------------------------------------------------------------------------------------------- */

static const char *kind_name(repr_part_kind kind) {
    return kind == REPR_PART_CODES ? "codes" : kind == REPR_PART_NUMBERS ? "numbers" : "side";
}

static void loss_json(const compression *c, json_t *object) {
    const pith_model_info *i = &c->info;
    json_t *parts = json_array();
    for (size_t k = 0; k < c->parts.n; k++)
        json_array_append_new(parts, json_pack("{s:s, s:s, s:I, s:f}", "stage", c->parts.list[k].stage, "kind",
                                               kind_name(c->parts.list[k].kind), "bytes",
                                               (json_int_t)c->parts.list[k].bytes, "bits_per_weight",
                                               bits(c->parts.list[k].bytes, c->loss.weights)));
    json_object_set_new(object, "recipe", cli_json_text(c->recipe));
    json_object_set_new(object, "coded_weights", json_integer((json_int_t)i->weights));
    json_object_set_new(object, "coded_archive_bytes", json_integer((json_int_t)i->weights_coded));
    json_object_set_new(object, "coded_bits_per_weight", json_real(bits(i->weights_coded, i->weights)));
    json_object_set_new(object, "parts", parts);
    json_object_set_new(object, "weights_error", json_real(c->loss.weights_error));
    json_object_set_new(object, "outputs_error", cli_json_number(c->loss.outputs_error));
    json_object_set_new(object, "worst_error", json_real(c->loss.worst_error));
    json_object_set_new(object, "worst_tensor", cli_json_text(c->loss.worst));
}

static int report_json(const compression *c) {
    const pith_model_info *i = &c->info;
    json_t *object = json_pack(
        "{s:o, s:I, s:I, s:f, s:b, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "file", cli_json_text(c->j.in),
        "bytes", (json_int_t)i->content_size, "archive_bytes", (json_int_t)i->archive_size, "share",
        share(i->archive_size, i->content_size), "lossless", !i->lossy, "xxh3", cli_json_hash(i->hash), "tensors",
        (json_int_t)i->n_tensors, "same_tensors", (json_int_t)i->n_same, "rest_bytes", (json_int_t)i->rest_size,
        "rest_archive_bytes", (json_int_t)i->rest_coded, "exact_bytes", (json_int_t)i->exact_size,
        "exact_archive_bytes", (json_int_t)i->exact_coded, "coded_tensors", (json_int_t)i->n_coded, "seconds",
        c->j.seconds);
    if (object && i->lossy) loss_json(c, object);
    return cli_json_print(stdout, object, JSON_COMPACT);
}

static void report_loss(const compression *c) {
    const pith_model_info *i = &c->info;
    char shown[64];
    printf("  coded by the recipe  %" PRIu64 " tensors, %" PRIu64 " weights, %.3f bits per weight\n", i->n_coded,
           i->weights, bits(i->weights_coded, i->weights));
    for (size_t k = 0; k < c->parts.n; k++) {
        char what[64];
        snprintf(what, sizeof what, "%s: %s", c->parts.list[k].stage, kind_name(c->parts.list[k].kind));
        printf("    %-18s %12" PRIu64 " bytes, %.4f bits per weight\n", what, c->parts.list[k].bytes,
               bits(c->parts.list[k].bytes, c->loss.weights));
    }
    printf("  relative error       weights %.3e (%.1f dB)", c->loss.weights_error, -10 * log10(c->loss.weights_error));
    if (!isnan(c->loss.outputs_error)) printf(", outputs %.3e", c->loss.outputs_error);
    if (c->loss.worst[0])
        printf("; most in %s, %.3e", cli_safe_text(shown, sizeof shown, c->loss.worst), c->loss.worst_error);
    printf("\n");
}

static int report(const compression *c) {
    const pith_model_info *i = &c->info;
    char a[16], b[16];
    if (c->j.o.json) return report_json(c);
    if (cli_verbosity < 0) return CLI_OK;
    printf("%s: %s -> %s, %.1f %%, %s; %.2f s\n", c->j.in, cli_size_text(a, i->content_size),
           cli_size_text(b, i->archive_size), 100 * share(i->archive_size, i->content_size),
           i->lossy ? "lossy" : "lossless, checked", c->j.seconds);
    if (i->lossy) report_loss(c);
    if (i->exact_size)
        printf("  exact                %" PRIu64 " tensors, %" PRIu64 " -> %" PRIu64 " bytes, %.1f %%\n",
               i->n_tensors - i->n_coded, i->exact_size, i->exact_coded, 100 * share(i->exact_coded, i->exact_size));
    if (i->n_same) printf("  stored once          %" PRIu64 " tensors that equal another\n", i->n_same);
    return CLI_OK;
}

static int run(model_job *j) {
    compression *c = (compression *)(void *)j;
    int result = choose_recipe(c);
    if (result != CLI_OK) return result;
    if (!j->out) {
        size_t n = strlen(j->in);
        j->derived = malloc(n + sizeof MODEL_JOB_SUFFIX);
        if (!j->derived) {
            budget_answer_free(j->ctx, &c->answer);
            return cli_error("out of memory");
        }
        memcpy(j->derived, j->in, n);
        memcpy(j->derived + n, MODEL_JOB_SUFFIX, sizeof MODEL_JOB_SUFFIX);
        j->out = j->derived;
    }
    result = compress(c);
    if (result == CLI_OK && c->recipe && !c->info.lossy)
        cli_warn("%s: the recipe names no matrix that it could code; nothing is lost", j->in);
    if (result == CLI_OK) result = report(c);
    budget_answer_free(j->ctx, &c->answer);
    return result;
}

int model_compress_main(int argc, char **argv) {
    compression c = {.j = {.verb = argv[0], .file = {.fd = -1}}, .budget = {BUDGET_REQUEST_DEFAULTS}};
    const lm_option options[] = {BUDGET_REQUEST_OPTIONS(c.budget),
                                 {.name = "recipe", .kind = LM_TEXT, .value = &c.recipe},
                                 {.name = "lossy", .kind = LM_OPTIONAL, .value = &c.lossy},
                                 {.name = "stats", .kind = LM_TEXT, .value = &c.stats},
                                 {.name = "output", .letter = 'o', .kind = LM_TEXT, .value = &c.j.out},
                                 {.name = "rm", .kind = LM_FLAG, .value = &c.j.remove}};
    int result = lm_options_parse(&c.j.o, argc, argv, options, PITH_COUNT(options), 2);
    if (result == CLI_OK) result = model_job_run(&c.j, compress_help, run);
    lm_options_free(&c.j.o);
    return result;
}
