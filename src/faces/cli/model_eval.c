/* pith model eval: what a smaller model, or a recipe, costs: bytes by part, and how far its answers are from the
 * base's. */
#include <math.h>
#include <string.h>
#include <sys/resource.h>

#include "artefacts/artefacts.h"
#include "artefacts/model/model.h"
#include "faces/cli/cmd_lm.h"
#include "faces/cli/model.h"

static const char eval_help[] =
    "Usage: pith model eval BASE SMALLER [TEXT]                  another file, or archive, of the same model\n"
    "       pith model eval BASE --recipe=RECIPE [TEXT]          a recipe, in memory\n"
    "       pith model eval BASE --type=TYPE [TEXT]              GGUF blocks, in memory\n"
    "\n"
    "Prints bytes and bits per weight by part, then, over TEXT (default: a built-in one): perplexity, divergence\n"
    "from the base (KL, in nats), how often the likeliest token is the same, flips of cloze answers; and time\n"
    "and memory. Both models are run with plain floats for weights, so that it is the weights that are judged;\n"
    "BASE's own products are used with --native, and SMALLER's too.\n"
    "\n"
    "      --recipe=RECIPE    such as 'q(4, group=128) | rans @ obs' or '*ffn* -> q(3) ; * -> q(5)'\n"
    "      --type=TYPE        q8_0, q4_K, ...: rows that its blocks do not divide take llama.cpp's substitute\n"
    "      --stats=FILE       statistics for the recipe, or importance for the type: pith model stats\n"
    "      --chunks=N         chunks of TEXT at most (default 16; 0: all)\n"
    "      --items=N          cloze items for flips (default 400; 0: none)\n"
    "      --seed=N           of the items (default 1)\n"
    "      --native           each file by its own products, weights in blocks and activations rounded\n"
    "      --ctx=N            tokens of a chunk (default 512)\n"
    "  -T#, --threads=#       threads (default: one for each processor)\n"
    "  -M#, --memory=#        memory limit (default 1G; mapped files do not count)\n"
    "      --json             one JSON object\n"
    "  -q, --quiet            no progress and no notes\n"
    "\n"
    "Example:\n"
    "  pith model eval default --recipe='q(4, group=32)' text.txt\n";

typedef struct eval_options {
    lm_options common;
    const char *recipe, *type, *stats;
    uint64_t chunks, items, seed;
    bool native;
} eval_options;

typedef struct eval {
    const eval_options *o;
    pith_ctx *ctx;
    const char *base_name, *other_name, *text_name;
    tensor_file *base, *other;
    model_archive *archive; /* SMALLER, when it is one */
    uint64_t file_bytes;    /* of SMALLER */
    lm_model *base_model;   /* owner of base when that is the built-in one */
    model_stats *stats;
    pith_recipe *recipe;
    const tensor_type_info *type;
    pith_buffer text;
    model_score score;
    model_trial trial;
    double perplexity, seconds;
    size_t chunks, tokens;
    bool halves, native;
    const char *missing; /* why SMALLER was run natively after all */
} eval;

/* ---- opening ---- */

static int open_base(eval *e) {
    const char *path = lm_model_path(e->base_name);
    if (!path) { /* the built-in model's file comes with the model */
        int result = lm_open_named(e->ctx, NULL, &e->base_model);
        if (result == CLI_OK) e->base = (tensor_file *)lm_file(e->base_model);
        return result;
    }
    return tensor_file_open(e->ctx, path, &e->base) == PITH_OK ? CLI_OK : lm_failed(e->ctx, path);
}

/* An archive of pith, or a plain file of weights. */
static int open_other(eval *e) {
    uint8_t first[ARCHIVE_MAGIC_BYTES];
    FILE *f = fopen(e->other_name, "rb");
    size_t n = f ? fread(first, 1, sizeof first, f) : 0;
    bool archive = n == sizeof first && archive_magic(first, n);
    if (f) fclose(f);
    pith_status status = archive ? archive_open(e->ctx, e->other_name, 0, &e->archive)
                                 : tensor_file_open(e->ctx, e->other_name, &e->other);
    if (status) return lm_failed(e->ctx, e->other_name);
    e->file_bytes = archive ? archive_bytes(e->archive) : e->other->file_bytes;
    return CLI_OK;
}

static int open_all(eval *e) {
    int result = open_base(e);
    if (result == CLI_OK && e->other_name) result = open_other(e);
    if (result == CLI_OK && e->o->stats && model_stats_open(e->ctx, e->o->stats, &e->stats) != PITH_OK)
        result = lm_failed(e->ctx, e->o->stats);
    if (result == CLI_OK) result = lm_text_or_default(e->ctx, e->text_name, &e->text);
    if (result == CLI_OK && e->stats && model_stats_saw(e->stats, e->text.data, e->text.size))
        cli_warn("the statistics were gathered over this very text: the figures flatter the recipe");
    return result;
}

static void close_all(eval *e) {
    pith_recipe_free(e->ctx, e->recipe);
    pith_buffer_free(e->ctx, &e->text);
    model_stats_close(e->ctx, e->stats);
    if (e->other) tensor_file_close(e->ctx, e->other);
    if (e->archive) archive_close(e->ctx, e->archive);
    if (e->base_model)
        lm_close(e->ctx, e->base_model);
    else if (e->base)
        tensor_file_close(e->ctx, e->base);
}

/* ---- measuring ---- */

static model_ruler_options ruler_options(const eval *e) {
    return (model_ruler_options){.n_ctx = e->o->common.n_ctx,
                                 .n_chunks = (size_t)e->o->chunks,
                                 .n_items = (size_t)e->o->items,
                                 .seed = e->o->seed,
                                 .n_threads = e->o->common.n_threads};
}

/* The name of a base's tensor that the other file has not, or in another shape; NULL when there is none. */
static const char *differs(const eval *e, char *name, size_t size) {
    for (size_t i = 0; i < e->base->n_tensors; i++) {
        const tensor_view *a = &e->base->tensors[i];
        snprintf(name, size, "%.*s", (int)PITH_MIN(a->name.size, size - 1), a->name.data);
        const tensor_view *b = tensor_find(e->other, name);
        if (!b || memcmp(a->ne, b->ne, sizeof a->ne) != 0) return name;
    }
    return NULL;
}

/* What the other file holds, decoded, into the overlay; sizes into the trial. */
static pith_status put_file(eval *e, model_overlay *o) {
    pith_status status = PITH_OK;
    for (size_t i = 0; i < e->base->n_tensors && !status; i++) {
        char name[256];
        const tensor_view *a = &e->base->tensors[i];
        snprintf(name, sizeof name, "%.*s", (int)PITH_MIN(a->name.size, sizeof name - 1), a->name.data);
        const tensor_view *b = tensor_find(e->other, name);
        if (model_overlay_file(o)->tensors[i].type != TENSOR_F32 &&
            model_overlay_file(o)->tensors[i].type != TENSOR_F16)
            continue; /* no weights */
        float *values = pith_alloc(e->ctx, (size_t)b->n_elements * sizeof *values);
        if (!values) return pith_alloc_status(e->ctx);
        blocks_decode(b->type, b->data, values, (size_t)b->n_elements);
        status = model_overlay_put(e->ctx, o, i, 0, values, (size_t)b->n_elements);
        pith_free(e->ctx, values);
    }
    return status;
}

static void count_file(const tensor_file *f, model_trial *t) {
    *t = (model_trial){0};
    for (size_t i = 0; i < f->n_tensors; i++) {
        const tensor_view *v = &f->tensors[i];
        bool matrix = model_overlay_takes(v);
        *(matrix ? &t->weights : &t->other_weights) += v->n_elements;
        *(matrix ? &t->bytes : &t->other_bytes) += v->bytes;
        t->n_matrices += matrix;
    }
}

/* The tensors of an archive; what its recipe coded counts as matrices. */
static pith_status put_archive(eval *e, model_overlay *o) {
    const archive_index *x = archive_about(e->archive);
    model_trial *t = &e->trial;
    pith_status status = PITH_OK;
    double before = model_cpu_seconds();
    for (size_t i = 0; i < e->base->n_tensors && !status; i++) {
        const tensor_view *v = &e->base->tensors[i];
        size_t k = archive_find(e->archive, v->name.data, v->name.size);
        if (k == SIZE_MAX || memcmp(x->tensors[k].ne, v->ne, sizeof v->ne) != 0)
            return pith_fail(e->ctx, PITH_E_ARGUMENT, "%.*s is not the same tensor in both", (int)v->name.size,
                             v->name.data);
        bool coded = x->tensors[k].mode == ARCHIVE_CODED;
        uint64_t *bytes = coded ? &t->bytes : &t->other_bytes;
        for (size_t p = 0; p < x->tensors[k].n_pieces; p++) *bytes += x->pieces[x->tensors[k].first_piece + p].coded_n;
        *(coded ? &t->weights : &t->other_weights) += v->n_elements;
        t->n_matrices += coded;
        tensor_type type = model_overlay_file(o)->tensors[i].type;
        if (type != TENSOR_F32 && type != TENSOR_F16) continue; /* no weights */
        float *values = pith_alloc(e->ctx, (size_t)v->n_elements * sizeof *values);
        if (!values) return pith_alloc_status(e->ctx);
        status = archive_floats(e->ctx, e->archive, k, 0, values);
        if (!status) status = model_overlay_put(e->ctx, o, i, 0, values, (size_t)v->n_elements);
        pith_free(e->ctx, values);
    }
    t->decode_seconds = model_cpu_seconds() - before;
    for (size_t k = 0; k < x->n_tensors && !status; k++)
        if (x->tensors[k].mode == ARCHIVE_CODED) status = archive_parts(e->ctx, e->archive, k, &t->parts);
    return status;
}

static pith_status put_code(eval *e, model_overlay *o) {
    if (e->archive) return put_archive(e, o);
    if (e->other) {
        count_file(e->other, &e->trial);
        return put_file(e, o);
    }
    return e->type ? model_try_type(e->ctx, e->base, e->type->type, NULL, e->stats, o, &e->trial)
                   : model_try_recipe(e->ctx, e->base, e->recipe, e->stats, o, &e->trial);
}

/* What is wrong with a recipe or a type is said before any work. */
static int read_code(eval *e) {
    const eval_options *o = e->o;
    if (o->type && !(e->type = tensor_type_named(o->type, strlen(o->type))))
        return cli_error("eval: --type: '%s' is no element type", o->type);
    if (o->recipe && archive_recipe(e->ctx, o->recipe, strlen(o->recipe), &e->recipe) != PITH_OK)
        return lm_failed(e->ctx, NULL);
    return CLI_OK;
}

static pith_status judge(eval *e) {
    model_judge *j;
    model_ruler_options options = ruler_options(e);
    lm_progress progress;
    lm_progress_start(&progress, e->ctx, "base", "chunks");
    pith_status status = model_judge_new(e->ctx, e->base, e->text.data, e->text.size, &options, &j);
    if (!status) {
        progress.line.verb = "coding";
        progress.unit = "weights";
        status = put_code(e, model_judge_overlay(j));
        progress.line.verb = "smaller model";
        progress.unit = "chunks";
        if (!status) status = model_judge_score(e->ctx, j, &e->score);
        e->chunks = model_ruler_chunks(model_judge_ruler(j));
        e->tokens = model_ruler_tokens(model_judge_ruler(j));
        e->halves = model_judge_halves(j);
        model_judge_free(e->ctx, j);
    }
    lm_progress_clear(&progress, e->ctx);
    return status;
}

static pith_status judge_natively(eval *e) {
    lm_model *a = e->base_model, *b = NULL;
    model_ruler *r = NULL;
    model_ruler_options options = ruler_options(e);
    lm_progress progress;
    lm_progress_start(&progress, e->ctx, "comparing", "chunks");
    pith_status status = a ? PITH_OK : lm_open_file(e->ctx, e->base, &a);
    if (!status) status = lm_open_file(e->ctx, e->other, &b);
    if (!status) status = model_ruler_new(e->ctx, a, e->text.data, e->text.size, &options, &r);
    if (!status) status = model_ruler_measure(e->ctx, r, b, &e->score);
    count_file(e->other, &e->trial);
    if (r) {
        e->chunks = model_ruler_chunks(r);
        e->tokens = model_ruler_tokens(r);
    }
    lm_progress_clear(&progress, e->ctx);
    model_ruler_free(e->ctx, r);
    if (b) lm_close(e->ctx, b);
    if (a && a != e->base_model) lm_close(e->ctx, a);
    e->native = true;
    return status;
}

/* ---- reporting ---- */

static const char *part_kind(repr_part_kind kind) {
    return kind == REPR_PART_CODES ? "codes" : kind == REPR_PART_NUMBERS ? "numbers" : "side";
}

static double peak_mib(void) {
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0 ? (double)u.ru_maxrss / 1024 : 0;
}

static double bits(uint64_t bytes, uint64_t weights) { return weights ? 8.0 * (double)bytes / (double)weights : 0; }

static json_t *parts_json(const model_trial *t) {
    json_t *list = json_array();
    for (size_t i = 0; i < t->parts.n; i++)
        json_array_append_new(list,
                              json_pack("{s:s,s:s,s:I,s:f}", "stage", t->parts.list[i].stage, "kind",
                                        part_kind(t->parts.list[i].kind), "bytes", (json_int_t)t->parts.list[i].bytes,
                                        "bits_per_weight", bits(t->parts.list[i].bytes, t->weights)));
    return list;
}

static json_t *spread_json(const ruler_spread *s) {
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "mean", cli_json_number(s->mean), "error", cli_json_number(s->error),
                     "median", cli_json_number(s->median), "p90", cli_json_number(s->p90), "p99",
                     cli_json_number(s->p99), "max", cli_json_number(s->max));
}

static int report_json(const eval *e, const model_trial *base) {
    const model_trial *t = &e->trial;
    const ruler_comparison *c = &e->score.c;
    const ruler_flips *f = &e->score.f;
    json_t *all = json_pack(
        "{s:o,s:o,s:I,s:I,s:I,s:f,s:I,s:f,s:o,s:b,s:b}", "base",
        cli_json_text(lm_model_label(lm_model_path(e->base_name))), "smaller",
        e->other_name ? cli_json_text(e->other_name) : cli_json_text(e->o->type ? e->o->type : e->o->recipe),
        "base_bytes", (json_int_t)(base->bytes + base->other_bytes), "bytes", (json_int_t)(t->bytes + t->other_bytes),
        "matrix_bytes", (json_int_t)t->bytes, "bits_per_weight", model_trial_bits(t), "matrices",
        (json_int_t)t->n_matrices, "matrix_bits_per_weight", bits(t->bytes, t->weights), "parts", parts_json(t),
        "native", (int)e->native, "halves", (int)e->halves);
    json_object_update_new(
        all,
        json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:I,s:I}", "perplexity_base", cli_json_number(c->perplexity_base),
                  "perplexity", cli_json_number(c->perplexity), "perplexity_error",
                  cli_json_number(c->perplexity_error), "perplexity_ratio", cli_json_number(c->ratio),
                  "perplexity_ratio_error", cli_json_number(c->ratio_error), "kl_nats", spread_json(&c->kl), "same_top",
                  cli_json_number(c->same_top), "chunks", (json_int_t)e->chunks, "tokens", (json_int_t)e->tokens));
    if (f->n)
        json_object_update_new(all, json_pack("{s:I,s:o,s:o,s:o,s:o}", "items", (json_int_t)f->n, "accuracy_base",
                                              cli_json_number(f->accuracy_base), "accuracy",
                                              cli_json_number(f->accuracy), "flips", cli_json_number(f->flips),
                                              "all_flips", cli_json_number(f->all_flips)));
    json_object_update_new(all, json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "weight_error", cli_json_number(t->error),
                                          "output_error", cli_json_number(t->output_error), "encode_seconds",
                                          cli_json_number(t->encode_seconds), "decode_seconds",
                                          cli_json_number(t->decode_seconds), "score_seconds",
                                          cli_json_number(e->score.seconds), "seconds", cli_json_number(e->seconds),
                                          "peak_mib", cli_json_number(peak_mib())));
    return cli_json_print(stdout, all, JSON_INDENT(1));
}

static void print_size(const char *what, uint64_t bytes, uint64_t weights) {
    char size[16];
    printf("  %-22s %12llu bytes  %9s  %8.4f bits per weight\n", what, (unsigned long long)bytes,
           cli_size_text(size, bytes), bits(bytes, weights));
}

static int report(const eval *e) {
    const model_trial *t = &e->trial;
    const ruler_comparison *c = &e->score.c;
    model_trial base;
    count_file(e->base, &base);
    if (e->o->common.json) return report_json(e, &base);
    printf("base     %s\n", lm_model_label(lm_model_path(e->base_name)));
    print_size("tensors", base.bytes + base.other_bytes, base.weights + base.other_weights);
    printf("smaller  %s\n", e->other_name ? e->other_name : e->o->type ? e->o->type : e->o->recipe);
    if (e->file_bytes) print_size("file", e->file_bytes, t->weights + t->other_weights);
    print_size("tensors", t->bytes + t->other_bytes, t->weights + t->other_weights);
    char label[48];
    snprintf(label, sizeof label, "%zu matrices", t->n_matrices);
    print_size(label, t->bytes, t->weights);
    for (size_t i = 0; i < t->parts.n; i++) {
        snprintf(label, sizeof label, "  %s, %s", t->parts.list[i].stage, part_kind(t->parts.list[i].kind));
        print_size(label, t->parts.list[i].bytes, t->weights);
    }
    if (t->other_bytes) print_size("the rest, exact", t->other_bytes, t->other_weights);
    printf("%zu chunks, %zu positions, %s\n", e->chunks, e->tokens,
           e->native   ? "each file by its own products"
           : e->halves ? "weights as halves"
                       : "weights as floats");
    if (e->missing && cli_verbosity >= 0) printf("  (%s is not the same tensor in both)\n", e->missing);
    printf("perplexity   %.4f, base %.4f, ratio %.5f +- %.5f\n", c->perplexity, c->perplexity_base, c->ratio,
           c->ratio_error);
    printf("KL           %.6f +- %.6f nats; median %.6f, 90 %% %.6f, 99 %% %.6f, most %.4f\n", c->kl.mean, c->kl.error,
           c->kl.median, c->kl.p90, c->kl.p99, c->kl.max);
    printf("same top     %.2f +- %.2f %%\n", c->same_top * 100, c->same_top_error * 100);
    if (e->score.f.n)
        printf("flips        %.2f %% of %zu items (%.2f %% with changes among wrong ones); "
               "accuracy %.2f %%, base %.2f %%\n",
               e->score.f.flips * 100, e->score.f.n, e->score.f.all_flips * 100, e->score.f.accuracy * 100,
               e->score.f.accuracy_base * 100);
    if (!e->other_name) printf("errors       weights %.3e, outputs %.3e of their squares\n", t->error, t->output_error);
    printf("seconds      ");
    if (e->archive) printf("decoding %.3f, ", t->decode_seconds);
    if (!e->other_name) printf("encoding %.2f, decoding %.3f, ", t->encode_seconds, t->decode_seconds);
    printf("scoring %.2f, in all %.2f of processor time; peak %.0f MiB\n", e->score.seconds, e->seconds, peak_mib());
    return CLI_OK;
}

/* ---- the command line ---- */

static int run(eval *e) {
    char name[256];
    double before = model_cpu_seconds();
    int result = read_code(e);
    if (result == CLI_OK) result = open_all(e);
    if (result == CLI_OK) {
        if (e->archive && e->o->native) return close_all(e), cli_error("eval: --native is for plain files of weights");
        if (e->other && !e->o->native) e->missing = differs(e, name, sizeof name);
        bool native = e->o->native || e->missing;
        if ((native ? judge_natively(e) : judge(e)) != PITH_OK) result = lm_failed(e->ctx, NULL);
    }
    e->seconds = model_cpu_seconds() - before;
    if (result == CLI_OK) result = report(e);
    close_all(e);
    return result;
}

int model_eval_main(int argc, char **argv) {
    eval_options o = {.chunks = 16, .items = 400, .seed = 1};
    const lm_option extra[] = {
        {"recipe", 0, LM_TEXT, &o.recipe, 0, 0},       {"type", 0, LM_TEXT, &o.type, 0, 0},
        {"stats", 0, LM_TEXT, &o.stats, 0, 0},         {"chunks", 0, LM_NUMBER, &o.chunks, 0, 1 << 30},
        {"items", 0, LM_NUMBER, &o.items, 0, 1 << 20}, {"seed", 0, LM_NUMBER, &o.seed, 0, UINT64_MAX},
        {"native", 0, LM_FLAG, &o.native, 0, 0}};
    int result = lm_options_parse(&o.common, argc, argv, extra, sizeof extra / sizeof *extra, 3);
    bool code = o.recipe || o.type;
    size_t n = o.common.n_names;
    if (result == CLI_OK && o.common.help) {
        result = cli_help(eval_help);
    } else if (result == CLI_OK && o.recipe && o.type) {
        result = cli_error("eval: a recipe or a type, not both");
    } else if (result == CLI_OK && (n < (code ? 1u : 2u) || n > (code ? 2u : 3u))) {
        result = cli_error("eval: BASE and SMALLER, or BASE and --recipe or --type; --help says more");
    } else if (result == CLI_OK && code && o.native) {
        result = cli_error("eval: --native is for files: what a recipe makes is floats");
    } else if (result == CLI_OK) {
        artefacts_register();
        eval e = {.o = &o, .ctx = lm_session_of(&o.common), .base_name = o.common.names[0]};
        e.other_name = code ? NULL : o.common.names[1];
        e.text_name = n > (code ? 1u : 2u) ? o.common.names[n - 1] : NULL;
        result = e.ctx ? run(&e) : CLI_FAIL;
        pith_ctx_free(e.ctx);
    }
    lm_options_free(&o.common);
    return cli_finish(result);
}
