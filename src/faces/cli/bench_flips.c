/* pith bench flips: what quantised weights change, seen three ways. Every type of a list is made of
 * one model in memory; for each the change of accuracy on cloze items, the flips behind it, and
 * the divergence from the original (A. Dutta et al., Accuracy Is Not All You Need, 2024). */
#include <math.h>
#include <string.h>

#include "base/sink.h"
#include "faces/cli/bench_lm.h"
#include "lm/ruler/ruler.h"

static const char flips_help[] =
    "Usage: pith bench flips [OPTIONS] [TEXT]\n\n"
    "Quantises a model in memory to one type after the other and measures against the original, over\n"
    "TEXT (default: a built-in one): accuracy on cloze items, flips (answers that changed between right\n"
    "and wrong), KL divergence. Then Spearman's correlation of KL and flips over all types, and whether\n"
    "there is a type whose accuracy hardly moves (under 1 %) while over 5 % of the answers flip.\n\n"
    "  -n N, --count=N     cloze items (default 600)\n"
    "      --words=N       words of a choice (default 3)\n"
    "      --chunks=N      chunks of text for KL (default 8)\n"
    "      --types=LIST    such as q8_0,q4_K,q2_K:ffn, the last for tensors with that in their names\n"
    "                      alone (default: 17 of them)\n"
    "      --seed=N        of the items (default 1)\n" LM_COMMON_HELP;

#define MAX_TYPES 32
static const char default_types[] = "q8_0,q6_K,q5_K,q5_1,q5_0,q4_K,q4_1,q4_0,iq4_nl,iq4_xs,mxfp4,q3_K,q2_K:token_embd,"
                                    "q2_K:attn,q2_K:ffn,q2_K:blk,q2_K";

/* ---- one model from another (door: bench_lm.h) ---- */

static bool has_part(const tensor_view *t, const char *part, size_t part_n) {
    for (size_t i = 0; i + part_n <= t->name.size; i++)
        if (memcmp(t->name.data + i, part, part_n) == 0) return true;
    return false;
}

static bool worth_it(const tensor_view *t, const bench_type *to) {
    bool floats = t->type != TENSOR_I8 && t->type != TENSOR_I16 && t->type != TENSOR_I32 && t->type != TENSOR_I64;
    return t->n_dims >= 2 && t->ne[1] > 1 && floats && t->ne[0] % to->info->block == 0 &&
           has_part(t, to->part, to->part_n);
}

static pith_status put_data(pith_ctx *ctx, gguf_writer *w, const tensor_view *t, const bench_type *type, pith_sink *s) {
    const tensor_type_info *from = tensor_type_of(t->type), *to = type->info;
    if (!worth_it(t, type)) return gguf_write_data(ctx, w, t->data, (size_t)t->bytes, pith_sink_write, s);
    size_t n = (size_t)t->ne[0], rows = (size_t)(t->n_elements / t->ne[0]);
    size_t row_in = n / from->block * from->block_bytes, row_out = n / to->block * to->block_bytes;
    float *values = pith_alloc(ctx, n * sizeof *values);
    uint8_t *blocks = values ? pith_alloc(ctx, row_out) : NULL;
    pith_status status = blocks ? PITH_OK : pith_alloc_status(ctx);
    for (size_t r = 0; r < rows && !status; r++) {
        blocks_decode(t->type, t->data + r * row_in, values, n);
        if (!blocks_encode(to->type, values, blocks, n))
            status = pith_fail(ctx, PITH_E_UNSUPPORTED, "%s cannot be made here", to->name);
        else
            status = gguf_write_data(ctx, w, blocks, row_out, pith_sink_write, s);
    }
    pith_free(ctx, values);
    pith_free(ctx, blocks);
    return status;
}

pith_status bench_requantise(pith_ctx *ctx, const tensor_file *f, const bench_type *to, pith_buffer *out) {
    gguf_writer *w;
    pith_sink s = {ctx, out};
    pith_status status = gguf_writer_new(ctx, &w);
    if (status) return status;
    for (size_t i = 0; i < f->n_meta && !status; i++) status = gguf_put_value(ctx, w, &f->meta[i]);
    for (size_t i = 0; i < f->n_tensors && !status; i++) {
        const tensor_view *t = &f->tensors[i];
        status = gguf_put_tensor(ctx, w, t->name.data, t->name.size, worth_it(t, to) ? to->info->type : t->type,
                                 t->n_dims, t->ne);
    }
    if (!status) status = gguf_write_head(ctx, w, pith_sink_write, &s);
    for (size_t i = 0; i < f->n_tensors && !status; i++) status = put_data(ctx, w, &f->tensors[i], to, &s);
    gguf_writer_free(ctx, w);
    return status;
}

pith_status bench_model_as(pith_ctx *ctx, const lm_model *from, const bench_type *to, bench_model *out) {
    *out = (bench_model){0};
    pith_status status = bench_requantise(ctx, lm_file(from), to, &out->bytes);
    if (!status) status = tensor_file_open_memory(ctx, out->bytes.data, out->bytes.size, &out->file);
    if (!status) status = lm_open_file(ctx, out->file, &out->model);
    if (status) bench_model_close(ctx, out);
    return status;
}

void bench_model_close(pith_ctx *ctx, bench_model *m) {
    if (m->model) lm_close(ctx, m->model);
    if (m->file) tensor_file_close(ctx, m->file);
    pith_buffer_free(ctx, &m->bytes);
    *m = (bench_model){0};
}

int bench_types(const char *list, bench_type *types, unsigned most, unsigned *n) {
    for (const char *p = list; *p; p += *p == ',') {
        size_t length = strcspn(p, ","), name_n = strcspn(p, ",:");
        const tensor_type_info *info = tensor_type_named(p, name_n);
        if (!info || info->block < 2) return cli_error("bench: '%.*s' is no block type", (int)name_n, p);
        if (*n == most) return cli_error("bench: at most %u types", most);
        bench_type *t = &types[(*n)++];
        *t = (bench_type){.info = info, .part = p + name_n, .part_n = 0};
        if (name_n < length) t->part++, t->part_n = length - name_n - 1;
        snprintf(t->name, sizeof t->name, "%.*s", (int)length, p);
        p += length;
    }
    return *n ? CLI_OK : cli_error("bench: no type given");
}

/* ---- flips ---- */

typedef struct flip_row {
    const bench_type *type;
    double bits_per_weight;
    ruler_comparison c;
    ruler_flips f;
} flip_row;

typedef struct flip_run {
    pith_ctx *ctx;
    const lm_model *base;
    ruler_items items;
    ruler_chunks chunks;
    uint32_t *chosen; /* [2][items.n] */
    unsigned n_threads;
} flip_run;

static pith_status measure_type(flip_run *r, flip_row *row) {
    bench_model m;
    ruler_choice_options options = {.n_threads = r->n_threads};
    pith_status status = bench_model_as(r->ctx, r->base, row->type, &m);
    if (status) return status;
    const lm_shape *shape = lm_about(m.model);
    row->bits_per_weight = 8.0 * (double)shape->weight_bytes / (double)PITH_MAX(shape->n_parameters, 1u);
    status = ruler_compare(r->ctx, r->base, NULL, m.model, &r->chunks, r->n_threads, NULL, NULL, &row->c);
    if (!status) status = ruler_choose(r->ctx, m.model, &r->items, &options, r->chosen + r->items.n, NULL);
    if (!status) ruler_flips_of(&r->items, r->chosen, r->chosen + r->items.n, &row->f);
    bench_model_close(r->ctx, &m);
    return status;
}

static int report(const lm_options *o, const flip_row *rows, unsigned n, double rho) {
    const flip_row *quiet = NULL;
    for (unsigned i = 0; i < n; i++)
        if (fabs(rows[i].f.accuracy - rows[i].f.accuracy_base) < 0.01 && rows[i].f.flips > 0.05 &&
            (!quiet || rows[i].f.flips > quiet->f.flips))
            quiet = &rows[i];
    if (o->json) {
        json_t *list = json_array();
        for (unsigned i = 0; i < n; i++) {
            const flip_row *r = &rows[i];
            json_array_append_new(list,
                                  json_pack("{s:s,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f}", "type", r->type->name,
                                            "bits_per_weight", r->bits_per_weight, "accuracy", r->f.accuracy,
                                            "accuracy_delta", r->f.accuracy - r->f.accuracy_base, "flips", r->f.flips,
                                            "all_flips", r->f.all_flips, "kl_nats", r->c.kl.mean, "js_nats",
                                            r->c.js.mean, "same_top", r->c.same_top, "perplexity_ratio", r->c.ratio));
        }
        return cli_json_print(stdout,
                              json_pack("{s:o,s:I,s:f,s:o,s:f,s:s?}", "model", cli_json_text(lm_model_label(o->model)),
                                        "items", (json_int_t)rows[0].f.n, "accuracy", rows[0].f.accuracy_base, "rows",
                                        list, "spearman_kl_flips", rho, "quiet_type", quiet ? quiet->type->name : NULL),
                              JSON_INDENT(1));
    }
    printf("%s, %zu cloze items, %.1f %% right\n", lm_model_label(o->model), rows[0].f.n,
           rows[0].f.accuracy_base * 100);
    printf("%-15s %6s %9s %7s %7s %10s %9s %9s %9s %8s\n", "type", "bits", "accuracy", "delta", "flips", "all flips",
           "KL nats", "JS nats", "same top", "ppl");
    for (unsigned i = 0; i < n; i++) {
        const flip_row *r = &rows[i];
        printf("%-15s %6.2f %7.1f %% %+6.1f %5.1f %% %8.1f %% %9.5f %9.5f %7.1f %% %8.4f\n", r->type->name,
               r->bits_per_weight, r->f.accuracy * 100, (r->f.accuracy - r->f.accuracy_base) * 100, r->f.flips * 100,
               r->f.all_flips * 100, r->c.kl.mean, r->c.js.mean, r->c.same_top * 100, r->c.ratio);
    }
    printf("Spearman(KL, flips) = %.3f over %u types: %s 0.9\n", rho, n, rho > 0.9 ? "above" : "not above");
    if (quiet)
        printf("%s: accuracy moves by %+.2f %%, yet %.1f %% of the answers flip\n", quiet->type->name,
               (quiet->f.accuracy - quiet->f.accuracy_base) * 100, quiet->f.flips * 100);
    else
        printf("no type with an accuracy within 1 %% and more than 5 %% flips\n");
    return CLI_OK;
}

static int run_types(flip_run *r, const lm_options *o, flip_row *rows, unsigned n) {
    double kl[MAX_TYPES], flips[MAX_TYPES], rho = 0;
    lm_progress progress;
    lm_progress_start(&progress, r->ctx, "flips", "steps");
    ruler_choice_options options = {.n_threads = r->n_threads};
    pith_status status = ruler_choose(r->ctx, r->base, &r->items, &options, r->chosen, NULL);
    for (unsigned i = 0; i < n && !status; i++) {
        progress.line.verb = rows[i].type->name;
        status = measure_type(r, &rows[i]);
        kl[i] = rows[i].c.kl.mean;
        flips[i] = rows[i].f.flips;
    }
    lm_progress_clear(&progress, r->ctx);
    if (!status) status = ruler_spearman(r->ctx, kl, flips, n, &rho);
    return status ? lm_failed(r->ctx, NULL) : report(o, rows, n, rho);
}

typedef struct flip_options {
    uint64_t count, words, chunks, seed;
    const char *types;
} flip_options;

static int flips(const lm_options *o, const flip_options *fo) {
    bench_type types[MAX_TYPES];
    flip_row rows[MAX_TYPES] = {0};
    unsigned n = 0;
    if (bench_types(fo->types, types, MAX_TYPES, &n) != CLI_OK) return CLI_FAIL;
    for (unsigned i = 0; i < n; i++) rows[i].type = &types[i];
    flip_run r = {.ctx = lm_session_of(o), .n_threads = o->n_threads};
    lm_model *base = NULL;
    pith_buffer text = {0};
    token_list tokens = {0};
    if (!r.ctx) return CLI_FAIL;
    int result = lm_open_named(r.ctx, o->model, &base);
    r.base = base;
    if (result == CLI_OK) result = lm_text_or_default(r.ctx, o->n_names ? o->names[0] : NULL, &text);
    if (result == CLI_OK && (ruler_cloze(r.ctx, (const char *)text.data, text.size, (size_t)fo->count, 0,
                                         (uint32_t)fo->words, fo->seed, &r.items) != PITH_OK ||
                             ruler_tokens(r.ctx, base, text.data, text.size, &tokens) != PITH_OK ||
                             ruler_chunks_of(r.ctx, base, &tokens, o->n_ctx, (size_t)fo->chunks, &r.chunks) != PITH_OK))
        result = lm_failed(r.ctx, NULL);
    if (result == CLI_OK && !(r.chosen = calloc(r.items.n, 2 * sizeof *r.chosen))) result = cli_error("out of memory");
    if (result == CLI_OK) result = run_types(&r, o, rows, n);
    free(r.chosen);
    ruler_items_free(r.ctx, &r.items);
    token_list_free(r.ctx, &tokens);
    pith_buffer_free(r.ctx, &text);
    if (base) lm_close(r.ctx, base);
    pith_ctx_free(r.ctx);
    return result;
}

int bench_flips(int argc, char **argv) {
    flip_options fo = {.count = 600, .words = 3, .chunks = 8, .seed = 1, .types = default_types};
    const lm_option extra[] = {{"count", 'n', LM_NUMBER, &fo.count, 1, 1 << 20},
                               {"words", 0, LM_NUMBER, &fo.words, 1, 64},
                               {"chunks", 0, LM_NUMBER, &fo.chunks, 1, 1 << 20},
                               {"seed", 0, LM_NUMBER, &fo.seed, 0, UINT64_MAX},
                               {"types", 0, LM_TEXT, &fo.types, 0, 0}};
    lm_options o;
    int result = lm_options_parse(&o, argc, argv, extra, sizeof extra / sizeof *extra, 1);
    if (result == CLI_OK) result = o.help ? cli_help(flips_help) : flips(&o, &fo);
    lm_options_free(&o);
    return cli_finish(result);
}
