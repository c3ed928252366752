/* pith bench combined: weights and the cache of keys and values made smaller together: bytes of both, speed, and
 * whether what they cost adds up (Contemporary Model Compression on Large Language Models Inference, 2024, which asks
 * for one evaluation of both levels). */
#include <math.h>
#include <string.h>

#include "artefacts/artefacts.h"
#include "artefacts/model/model.h"
#include "faces/cli/bench_lm.h"
#include "faces/cli/bench_predict.h"

static const char combined_help[] =
    "Usage: pith bench combined [OPTIONS]\n\n"
    "A model as it is, in types of GGUF and out of an archive of `pith model compress --lossy`, each with keys and values\n"
    "of its context in several types: bytes of the weights, of the cache for 1000 tokens, tokens a processor second read\n"
    "and generated after them on one thread, divergence from the model as it is with an f16 cache. Then keys and values\n"
    "apart, and whether divergences of weights and cache add up.\n\n"
    "      --model=FILE    the model (default: the built-in pith-mini)\n"
    "      --text=FILE     text that is judged on (default tests/data/lcet10.txt)\n"
    "      --chunks=N      chunks of it (default 8)\n"
    "      --ctx=N         tokens of a chunk (default 512)\n"
    "      --types=LIST    types of weights beside the model's own (default q8_0,q4_K; or none)\n"
    "      --bits=X        of the archive's weights (default 4; 0: no archive)\n"
    "      --caches=LIST   types of keys and values beside f16 (default q8_0,q4_0)\n"
    "      --prompt=N      tokens read when timing (default 512)\n"
    "      --output=N      tokens generated then (default 384)\n"
    "      --repeats=N     timings, the best counts (default 5)\n" EXP_HELP "\nExamples:\n"
    "  pith bench combined\n"
    "  pith bench combined --model=model.gguf --types=q6_K,q4_K --bits=0 --caches=q8_0,q5_0,q4_0,iq4_nl\n";

enum { WEIGHTS_MOST = 8, CACHES_MOST = 6, COUNTED_CTX = 1024 };

typedef struct weights {
    char name[64];
    lm_model *model;
    double bytes; /* of the file */
    double kl[CACHES_MOST], error[CACHES_MOST];
    double seconds[CACHES_MOST][2]; /* the prompt and a token, the prompt and all tokens */
    bench_model made;               /* what the model stands on; empty for the model as it is */
} weights;

typedef struct combined {
    const char *model, *text, *types, *caches;
    uint64_t chunks, n_ctx, prompt, output, repeats;
    double bits;
    pith_buffer judged;
    lm_model *base;
    model_ruler *ruler;
    tensor_type cache[CACHES_MOST];
    double cache_bytes[CACHES_MOST]; /* of a token */
    unsigned n_caches, n_sizes_right;
    weights w[WEIGHTS_MOST];
    unsigned n_weights;
} combined;

static const char *type_name(tensor_type type) { return tensor_type_of(type)->name; }

/* ---- weights ---- */

static int read_caches(combined *c) {
    c->cache[c->n_caches++] = TENSOR_F16;
    for (const char *p = c->caches; *p; p += *p == ',') {
        size_t n = strcspn(p, ",");
        const tensor_type_info *info = tensor_type_named(p, n);
        if (!info || !lm_cache_takes(info->type))
            return cli_error("combined: --caches: '%.*s' is no type of a cache", (int)n, p);
        if (c->n_caches == CACHES_MOST) return cli_error("combined: --caches: at most %d", CACHES_MOST - 1);
        c->cache[c->n_caches++] = info->type;
        p += n;
    }
    return CLI_OK;
}

typedef struct sink {
    pith_ctx *ctx;
    pith_buffer *out;
} sink;

static pith_status keep(void *opaque, const void *data, size_t size) {
    sink *s = opaque;
    return pith_buffer_append(s->ctx, s->out, data, size);
}

/* The recipe of --lossy without statistics: bits spread by what errors do to the built-in text. */
static pith_status lossy_recipe(experiment *e, const combined *c, pith_buffer *recipe) {
    size_t size;
    const char *text = ruler_prose(&size);
    const model_ruler_options o = {.n_chunks = 2, .n_threads = e->o.n_threads};
    model_judge *judge = NULL;
    model_spread *spread = NULL;
    pith_status status = model_judge_new(e->ctx, lm_file(c->base), text, size, &o, &judge);
    if (!status) status = model_spread_new(e->ctx, lm_file(c->base), NULL, judge, &spread);
    if (!status) status = model_spread_recipe(e->ctx, spread, c->bits, recipe);
    if (!status) status = pith_buffer_append(e->ctx, recipe, "", 1);
    model_spread_free(e->ctx, spread);
    model_judge_free(e->ctx, judge);
    return status;
}

/* Compressed and expanded again, in halves. */
static int open_archive(experiment *e, combined *c) {
    const bench_type halves = {.info = tensor_type_of(TENSOR_F16), .part = "", .name = "f16"};
    weights *w = &c->w[c->n_weights++];
    pith_buffer file = {0}, recipe = {0}, archive = {0};
    model_archive *a = NULL;
    snprintf(w->name, sizeof w->name, "archive, %g bits", c->bits);
    exp_step(e, w->name);
    pith_status status = bench_requantise(e->ctx, lm_file(c->base), &halves, &file);
    if (!status) status = lossy_recipe(e, c, &recipe);
    if (!status) {
        const archive_options o = {.recipe = (const char *)recipe.data};
        status = archive_write(e->ctx, file.data, file.size, &o, keep, &(sink){e->ctx, &archive});
    }
    pith_buffer_free(e->ctx, &file);
    pith_buffer_free(e->ctx, &recipe);
    if (!status) status = archive_open_memory(e->ctx, archive.data, archive.size, INFINITY, &a);
    if (!status) {
        w->bytes = (double)archive_bytes(a);
        status = archive_restore(e->ctx, a, NULL, keep, &(sink){e->ctx, &w->made.bytes});
        archive_close(e->ctx, a);
    }
    pith_buffer_free(e->ctx, &archive);
    if (!status) status = tensor_file_open_memory(e->ctx, w->made.bytes.data, w->made.bytes.size, &w->made.file);
    if (!status) status = lm_open_file(e->ctx, w->made.file, &w->made.model);
    w->model = w->made.model;
    return status ? exp_failed(e) : CLI_OK;
}

static int open_weights(experiment *e, combined *c) {
    bench_type types[WEIGHTS_MOST];
    unsigned n = 0;
    const char *path = lm_model_path(c->model);
    int result = strcmp(c->types, "none") ? bench_types(c->types, types, WEIGHTS_MOST - 2, &n) : CLI_OK;
    if (result == CLI_OK) result = lm_open_named(e->ctx, path, &c->base);
    if (result == CLI_OK) result = lm_open_named(e->ctx, path, &c->w[0].model);
    if (result != CLI_OK) return result;
    snprintf(c->w[0].name, sizeof c->w[0].name, "as it is");
    c->w[0].bytes = (double)lm_file(c->base)->file_bytes;
    c->n_weights = 1;
    for (unsigned i = 0; i < n; i++) {
        weights *w = &c->w[c->n_weights++];
        snprintf(w->name, sizeof w->name, "%s", types[i].name);
        if (bench_model_as(e->ctx, c->base, &types[i], &w->made) != PITH_OK) return exp_failed(e);
        w->model = w->made.model;
        w->bytes = (double)w->made.bytes.size;
    }
    return c->bits > 0 ? open_archive(e, c) : CLI_OK;
}

static void close_weights(experiment *e, combined *c) {
    if (c->n_weights) lm_close(e->ctx, c->w[0].model);
    for (unsigned i = 0; i < c->n_weights; i++) bench_model_close(e->ctx, &c->w[i].made);
    lm_close(e->ctx, c->base);
}

/* ---- measuring ---- */

static int use_cache(experiment *e, lm_model *m, tensor_type keys, tensor_type values) {
    return lm_set_cache(e->ctx, m, (lm_cache_type){keys, values}) == PITH_OK ? CLI_OK : exp_failed(e);
}

/* What a session really takes: its own count and the memory that is used then, which a cache of floats sets apart from
 * everything else. */
static int count_cache(experiment *e, combined *c, unsigned i) {
    uint64_t used[2], counted[2], row;
    for (int k = 0; k < 2; k++) {
        const lm_session_options o = {.n_ctx = COUNTED_CTX,
                                      .max_batch = 1,
                                      .n_threads = 1,
                                      .cache = k ? LM_CACHE_F32 : (lm_cache_type){c->cache[i], c->cache[i]}};
        lm_session *s = NULL;
        uint64_t before = pith_memory_used(e->ctx);
        if (lm_session_new(e->ctx, c->base, &o, &s) != PITH_OK) return exp_failed(e);
        used[k] = pith_memory_used(e->ctx) - before;
        counted[k] = lm_cache_bytes(s);
        lm_session_free(s);
    }
    const lm_shape *shape = lm_about(c->base);
    uint64_t said = 0;
    for (uint32_t l = 0; l < shape->n_layers; l++) {
        uint64_t heads = shape->layer_kv_heads ? shape->layer_kv_heads[l] : shape->n_kv_heads;
        if (tensor_type_bytes((uint32_t)c->cache[i], heads * shape->head_dim, &row)) said += 2 * row;
    }
    c->cache_bytes[i] = (double)counted[0] / COUNTED_CTX;
    c->n_sizes_right += counted[0] == said * COUNTED_CTX && counted[1] - counted[0] == used[1] - used[0];
    return CLI_OK;
}

/* All in turn, several times over, so that a change of the machine's mood meets all; the best counts. */
static int time_all(experiment *e, combined *c) {
    for (unsigned r = 0; r < c->repeats; r++)
        for (unsigned k = 0; k < c->n_weights; k++)
            for (unsigned i = 0; i < c->n_caches; i++) {
                weights *w = &c->w[k];
                ruler_timing t[2] = {{.prompt = (uint32_t)c->prompt, .output = 1},
                                     {.prompt = (uint32_t)c->prompt, .output = (uint32_t)c->output + 1}};
                exp_step(e, "timing");
                if (use_cache(e, w->model, c->cache[i], c->cache[i]) != CLI_OK) return CLI_FAIL;
                if (ruler_runtime_measure(e->ctx, w->model, t, 2, 1, NULL) != PITH_OK) return exp_failed(e);
                for (int n = 0; n < 2; n++)
                    w->seconds[i][n] = r ? PITH_MIN(w->seconds[i][n], t[n].seconds) : t[n].seconds;
            }
    return CLI_OK;
}

static double generated(const combined *c, const weights *w, unsigned i) { /* tokens a second */
    return (double)c->output / PITH_MAX(w->seconds[i][1] - w->seconds[i][0], 1e-9);
}

static int measure_one(experiment *e, combined *c, weights *w, unsigned i) {
    char label[100];
    model_score score;
    double sum = c->w[0].kl[i] + w->kl[0];
    snprintf(label, sizeof label, "%s, cache %s", w->name, type_name(c->cache[i]));
    exp_step(e, label);
    int result = use_cache(e, w->model, c->cache[i], c->cache[i]);
    if (result != CLI_OK) return result;
    if (model_ruler_measure(e->ctx, c->ruler, w->model, &score) != PITH_OK) return exp_failed(e);
    w->kl[i] = score.c.kl.mean, w->error[i] = score.c.kl.error;
    EXP_ROW(e, label, w->bytes * 1e-6, c->cache_bytes[i], (double)c->prompt / w->seconds[i][0], generated(c, w, i),
            w->kl[i], w->error[i], w == c->w || i == 0 ? (double)NAN : sum, 100 * score.c.same_top);
    return CLI_OK;
}

/* Keys in one type, values in another, weights as they are. */
static int measure_sides(experiment *e, combined *c, double kl[CACHES_MOST][CACHES_MOST]) {
    char columns[CACHES_MOST * 32 + 16] = "keys";
    for (unsigned v = 0; v < c->n_caches; v++) {
        size_t at = strlen(columns);
        snprintf(columns + at, sizeof columns - at, "|values %s.5", type_name(c->cache[v]));
    }
    exp_table(e, "KL of keys and values in types of their own, weights as they are", columns);
    for (unsigned k = 0; k < c->n_caches; k++) {
        for (unsigned v = 0; v < c->n_caches; v++) {
            kl[k][v] = c->w[0].kl[k];
            if (k == v) continue;
            if (use_cache(e, c->w[0].model, c->cache[k], c->cache[v]) != CLI_OK) return CLI_FAIL;
            if (model_ruler_kl(e->ctx, c->ruler, c->w[0].model, 0, &kl[k][v]) != PITH_OK) return exp_failed(e);
        }
        exp_row(e, type_name(c->cache[k]), kl[k]);
    }
    return CLI_OK;
}

static unsigned cache_named(const combined *c, tensor_type type) {
    unsigned i = 0;
    while (i < c->n_caches && c->cache[i] != type) i++;
    return i;
}

static void claims(experiment *e, const combined *c, double kl[CACHES_MOST][CACHES_MOST]) {
    double low = HUGE_VAL, high = 0, slowest = HUGE_VAL;
    unsigned four = cache_named(c, TENSOR_Q4_0);
    exp_claim(e, c->n_sizes_right == c->n_caches,
              "a cache takes the bytes its type says, by the memory in use: %u of %u types", c->n_sizes_right,
              c->n_caches);
    for (unsigned w = 0; w < c->n_weights; w++)
        for (unsigned i = 1; i < c->n_caches; i++) {
            double ratio = c->w[w].kl[i] / (c->w[w].kl[0] + c->w[0].kl[i]);
            slowest = PITH_MIN(slowest, generated(c, &c->w[w], i) / generated(c, &c->w[w], 0));
            if (w) low = PITH_MIN(low, ratio), high = PITH_MAX(high, ratio);
        }
    if (c->n_weights > 1 && c->n_caches > 1)
        exp_claim(e, low >= 0.8 && high <= 1.25,
                  "divergences of weights and of cache add up to within a quarter: together %.3f to %.3f of the sum",
                  low, high);
    for (unsigned w = 1; w < c->n_weights && four < c->n_caches; w++)
        if (strncmp(c->w[w].name, "q4_", 3) == 0)
            exp_claim(e, c->w[w].kl[four] < 2 * c->w[w].kl[0],
                      "a q4_0 cache on %s weights less than doubles their divergence: %.5f to %.5f", c->w[w].name,
                      c->w[w].kl[0], c->w[w].kl[four]);
    if (four < c->n_caches)
        exp_claim(e, kl[four][0] > kl[0][four], "4 bits cost keys more than values: KL %.5f and %.5f", kl[four][0],
                  kl[0][four]);
    if (c->n_caches > 1)
        exp_claim(e, slowest >= 0.95,
                  "generation is no slower with a smaller cache: at worst %.3f of the speed with f16", slowest);
}

static int combined_run(experiment *e, void *own) {
    combined *c = own;
    double kl[CACHES_MOST][CACHES_MOST];
    char title[160];
    if (c->bits != 0 && !(c->bits >= MODEL_SPREAD_LEAST && c->bits <= MODEL_SPREAD_MOST))
        return cli_error("combined: --bits: 0, or %g to %g", MODEL_SPREAD_LEAST, MODEL_SPREAD_MOST);
    artefacts_register();
    int result = read_caches(c);
    if (result == CLI_OK) result = exp_read(e, c->text, "tests/data/lcet10.txt", 0, &c->judged);
    if (result == CLI_OK) result = open_weights(e, c);
    if (result == CLI_OK) {
        const model_ruler_options o = {
            .n_threads = e->o.n_threads, .n_ctx = (uint32_t)c->n_ctx, .n_chunks = (size_t)c->chunks};
        exp_step(e, "reading");
        if (model_ruler_new(e->ctx, c->base, c->judged.data, c->judged.size, &o, &c->ruler) != PITH_OK)
            result = exp_failed(e);
    }
    for (unsigned i = 0; i < c->n_caches && result == CLI_OK; i++) result = count_cache(e, c, i);
    if (result == CLI_OK) result = time_all(e, c);
    if (result == CLI_OK) {
        snprintf(title, sizeof title, "%zu tokens judged; KL in nats from the model as it is with an f16 cache",
                 model_ruler_tokens(c->ruler));
        exp_table(
            e, title,
            "weights, cache|file MB.3|cache KB/1000.1|read/s.0|generated/s.0|KL.5|+-.5|sum of both.5|same top %.1");
    }
    for (unsigned w = 0; w < c->n_weights; w++)
        for (unsigned i = 0; i < c->n_caches && result == CLI_OK; i++) result = measure_one(e, c, &c->w[w], i);
    if (result == CLI_OK) result = measure_sides(e, c, kl);
    if (result == CLI_OK) claims(e, c, kl);
    model_ruler_free(e->ctx, c->ruler);
    close_weights(e, c);
    pith_buffer_free(e->ctx, &c->judged);
    return result;
}

int bench_combined(int argc, char **argv) {
    combined c = {.types = "q8_0,q4_K",
                  .caches = "q8_0,q4_0",
                  .chunks = 8,
                  .n_ctx = 512,
                  .prompt = 512,
                  .output = 384,
                  .repeats = 5,
                  .bits = 4};
    const lm_option extra[] = {
        {"model", 0, LM_TEXT, &c.model, 0, 0},           {"text", 0, LM_TEXT, &c.text, 0, 0},
        {"chunks", 0, LM_NUMBER, &c.chunks, 1, 1 << 20}, {"ctx", 0, LM_NUMBER, &c.n_ctx, 8, 1 << 20},
        {"types", 0, LM_TEXT, &c.types, 0, 0},           {"bits", 0, LM_REAL, &c.bits, 0, 0},
        {"caches", 0, LM_TEXT, &c.caches, 0, 0},         {"prompt", 0, LM_NUMBER, &c.prompt, 1, 1 << 20},
        {"output", 0, LM_NUMBER, &c.output, 1, 1 << 20}, {"repeats", 0, LM_NUMBER, &c.repeats, 1, 1000}};
    return exp_main(argc, argv, combined_help, extra, PITH_COUNT(extra), 0, combined_run, &c);
}
