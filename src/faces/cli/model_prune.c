/* pith model prune: neurons, heads, layers and channels taken out of a model, and what that cost. */
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "artefacts/model/model.h"
#include "base/sink.h"
#include "faces/cli/model.h"
#include "faces/cli/model_prune.h"

static const char prune_help[] =
    "Usage: pith model prune MODEL [OUT.gguf] [OPTIONS]\n\n"
    "Cuts a llama, qwen2 or gpt2 model smaller. OUT is an ordinary GGUF file of the same architecture;\n"
    "without OUT the model is cut in memory, to see what --eval says. MODEL may be 'default'.\n\n"
    "      --neurons=N|N%     of each feed-forward block stay\n"
    "      --heads=N|N%       query heads stay, as many of each key head\n"
    "      --uneven           with ziplm, heapr or surgeon and a llama: layers keep different numbers of neurons;\n"
    "                         surgeon's neurons that give nothing any more are left out. Of a mixture of experts\n"
    "                         heapr then takes the lowest of all experts and leaves zeros: GGUF has one number of\n"
    "                         neurons for all experts, and without --uneven that is how many each keeps\n"
    "      --experts=N|N%     with heapr: experts of each layer of a mixture stay, those whose neurons cost most;\n"
    "                         all of their neurons, if --neurons does not say how many\n"
    "      --kv-heads=N|N%    key heads stay; the query heads of the others go with them\n"
    "      --share-keys=N     key heads are merged into N, means of neighbours; all query heads stay\n"
    "      --layers=N|N%      layers stay: those that change the stream most\n"
    "      --channels=N|N%    of the width stay\n"
    "      --speedup=X        so few neurons stay that a token takes 1/X of the time, by a table\n"
    "                         measured on this machine (one thread)\n"
    "      --method=METHOD    magnitude: norm of the weights\n"
    "                         minitron: norm of the activations\n"
    "                         wanda (default): both\n"
    "                         ziplm: one at a time, the rest making up for it (structured OBS)\n"
    "                         modegpt: ridge leverage scores, then a Nystrom fit\n"
    "                         random: the control\n"
    "                         heapr: neurons by the curvature of the loss at the block's output (gradients)\n"
    "                         surgeon: rows and columns of every matrix by the curvature of the loss, the\n"
    "                         rest making up for it; llama and qwen2, and mixtures of experts as heapr\n"
    "      --share=N%         with surgeon: of the weights of the layers' matrices go (default 20%)\n"
    "      --shots=N          with surgeon: in so many steps, each with gradients anew (default 5)\n"
    "      --stats=FILE       what pith model stats gathered, instead of reading a text\n"
    "      --text=FILE        text whose activations count (default: half of the built-in text)\n"
    "      --tokens=N         read at most N tokens of it (default 16384)\n"
    "      --damp=X           added to Gram matrices, relative to their mean diagonal (default 0.01)\n"
    "      --seed=N           of --method=random (default 1)\n"
    "      --eval             perplexity, KL and top-1 agreement with MODEL on the other half of the built-in text\n"
    "      --eval-text=FILE   the same on FILE\n"
    "      --chunks=N         at most N chunks of --ctx tokens of it (default 16)\n"
    "  -f, --force            overwrite OUT\n" LM_COMMON_HELP "\nExamples:\n"
    "  pith model prune model.gguf smaller.gguf --neurons=75% --method=ziplm --eval\n"
    "  pith model prune default --layers=5 --eval\n";

typedef struct prune_run {
    pith_ctx *ctx;
    const prune_options *o;
    lm_model *model;
    const tensor_file *file;
    prune_request request;
    cut_shape shape;
    model_stats *file_stats;
    prune_stats *stats;
    prune_plan *plan;
    model_cut *cut;
    pith_buffer bytes; /* without OUT */
    prune_speed speed;
    double seconds_before, seconds; /* of a token */
    ruler_comparison comparison;
    bool compared;
    double took; /* seconds */
} prune_run;

int prune_read_share(const char *option, const char *text, uint32_t n, uint32_t *out) {
    char *end;
    *out = 0;
    if (!text) return CLI_OK;
    double value = strtod(text, &end);
    if (end != text && strcmp(end, "%") == 0)
        value = value * n / 100 + 0.5;
    else if (end == text || *end)
        return cli_error("prune: --%s: a number or a percentage, not '%s'", option, text);
    if (!(value >= 1 && value < (double)n + 1))
        return cli_error("prune: --%s=%s: there are %u", option, text, (unsigned)n);
    *out = (uint32_t)value;
    return CLI_OK;
}

static int read_request(prune_run *r) {
    const prune_options *o = r->o;
    prune_request *q = &r->request;
    *q = (prune_request){.method = PRUNE_WANDA, .damp = o->damp, .seed = o->seed,
                         .uneven = o->uneven};
    if (o->method) {
        unsigned i = 0;
        while (i < N_PRUNE_METHODS && strcasecmp(prune_method_names[i], o->method) != 0) i++;
        if (i == N_PRUNE_METHODS) return cli_error("prune: no method '%s'; --help lists them", o->method);
        q->method = (prune_method)i;
    }
    if (cut_shape_of(r->ctx, r->file, &r->shape) != PITH_OK) return lm_failed(r->ctx, o->common.names[0]);
    const struct {
        const char *name, *text;
        uint32_t n, *into;
    } shares[] = {{"neurons", o->neurons, r->shape.n_ff, &q->keep.n_ff},
                  {"heads", o->heads, r->shape.n_heads, &q->keep.n_heads},
                  {"kv-heads", o->kv_heads, r->shape.n_kv_heads, &q->keep.n_kv_heads},
                  {"share-keys", o->shared_keys, r->shape.n_kv_heads, &q->shared_keys},
                  {"layers", o->layers, r->shape.n_layers, &q->keep.n_layers},
                  {"channels", o->channels, r->shape.n_embd, &q->keep.n_embd}};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++)
        if (prune_read_share(shares[i].name, shares[i].text, shares[i].n, shares[i].into) != CLI_OK) return CLI_FAIL;
    if (o->experts) return cli_error("prune: --experts goes with --method=heapr");
    if (o->speedup != 0 && (o->speedup < 1 || o->neurons))
        return cli_error("prune: --speedup is above 1, and takes the place of --neurons");
    return CLI_OK;
}

/* The first half of the built-in text is for choosing, the second for measuring. */
static int read_tokens(pith_ctx *ctx, const lm_model *m, const char *path, bool second, token_list *tokens) {
    pith_buffer text = {0};
    size_t size;
    const char *prose = ruler_prose(&size);
    int result = path ? lm_read_text(ctx, path, &text) : CLI_OK;
    if (result == CLI_OK) {
        const char *from = path ? (const char *)text.data : prose + (second ? size / 2 : 0);
        if (ruler_tokens(ctx, m, from, path ? text.size : size / 2, tokens) != PITH_OK) result = lm_failed(ctx, path);
    }
    pith_buffer_free(ctx, &text);
    return result;
}

static int gather(prune_run *r) {
    unsigned grams;
    token_list tokens = {0};
    lm_progress progress;
    if (!prune_needs(&r->request, &r->shape, &grams)) return CLI_OK;
    if (r->o->stats) {
        pith_status read = model_stats_open(r->ctx, r->o->stats, &r->file_stats);
        if (!read) read = prune_stats_of(r->ctx, r->file_stats, &r->shape, grams, &r->stats);
        return read ? lm_failed(r->ctx, r->o->stats) : CLI_OK;
    }
    if (read_tokens(r->ctx, r->model, r->o->text, false, &tokens) != CLI_OK) return CLI_FAIL;
    size_t n = PITH_MIN(tokens.n, (size_t)r->o->tokens);
    lm_progress_start(&progress, r->ctx, "reading", "tokens");
    pith_status status = prune_stats_new(r->ctx, r->model, tokens.id, n, r->o->common.n_ctx, grams, &r->stats);
    lm_progress_clear(&progress, r->ctx);
    token_list_free(r->ctx, &tokens);
    return status ? lm_failed(r->ctx, r->o->common.names[0]) : CLI_OK;
}

/* --speedup becomes a number of neurons. */
static int choose_speed(prune_run *r) {
    lm_progress progress;
    if (r->o->speedup == 0) return CLI_OK;
    lm_progress_start(&progress, r->ctx, "timing", "sizes");
    pith_status status = prune_speed_measure(r->ctx, r->model, &r->request, &r->speed);
    lm_progress_clear(&progress, r->ctx);
    if (!status)
        status = prune_speed_search(r->ctx, r->model, &r->request, &r->speed, r->o->speedup, &r->request.keep.n_ff);
    if (status) return lm_failed(r->ctx, r->o->common.names[0]);
    double own = r->speed.own;
    if (r->request.keep.n_ff == 0)
        return cli_error("prune: --speedup=%g: without any neurons a token takes %.1f %% of its time; "
                         "fewer --layers or --heads have to help",
                         r->o->speedup, 100 * r->speed.fixed / own);
    return CLI_OK;
}

static int write_model(prune_run *r) {
    const char *path = r->o->common.n_names > 1 ? r->o->common.names[1] : NULL;
    lm_writer writer;
    pith_sink memory = {r->ctx, &r->bytes};
    cli_progress progress;
    if (path && lm_writer_open(&writer, r->ctx, path, r->o->common.force) != CLI_OK) return CLI_FAIL;
    cli_progress_start(&progress, "writing", path ? path : "model", model_cut_size(r->cut).tensor_bytes);
    pith_ctx_set_progress(r->ctx, cli_progress_show, &progress);
    pith_status status = model_cut_write(r->ctx, r->cut, path ? lm_write_piece : pith_sink_write,
                                         path ? (void *)&writer : &memory);
    cli_progress_clear(&progress);
    pith_ctx_set_progress(r->ctx, NULL, NULL);
    if (status) lm_failed(r->ctx, path);
    if (path && lm_writer_close(&writer, status == PITH_OK, r->o->common.force) != CLI_OK) return CLI_FAIL;
    return status ? CLI_FAIL : CLI_OK;
}

static int make(prune_run *r) {
    lm_progress progress;
    double started = cli_now();
    lm_progress_start(&progress, r->ctx, "choosing", "steps");
    pith_status status = prune_plan_new(r->ctx, r->file, &r->request, r->stats, &r->plan);
    if (!status) status = model_cut_new(r->ctx, r->file, prune_cut(r->plan), &r->cut);
    lm_progress_clear(&progress, r->ctx);
    if (status) return lm_failed(r->ctx, r->o->common.names[0]);
    int result = write_model(r);
    r->took = cli_now() - started;
    return result;
}

int prune_compare(pith_ctx *ctx, const prune_options *o, const lm_model *old, const lm_model *now,
                  ruler_comparison *out, bool *compared) {
    token_list tokens = {0};
    ruler_chunks chunks;
    lm_progress progress;
    if (!o->eval && !o->eval_text) return CLI_OK;
    if (read_tokens(ctx, old, o->eval_text, true, &tokens) != CLI_OK) return CLI_FAIL;
    lm_progress_start(&progress, ctx, "measuring", "chunks");
    pith_status status = ruler_chunks_of(ctx, old, &tokens, o->common.n_ctx, (size_t)o->chunks, &chunks);
    if (!status) status = ruler_compare(ctx, old, NULL, now, &chunks, o->common.n_threads, NULL, NULL, out);
    lm_progress_clear(&progress, ctx);
    token_list_free(ctx, &tokens);
    *compared = status == PITH_OK;
    return status ? lm_failed(ctx, o->eval_text) : CLI_OK;
}

int prune_reopen(pith_ctx *ctx, const char *path, const pith_buffer *bytes, tensor_file **file, lm_model **m) {
    *file = NULL;
    *m = NULL;
    pith_status status =
        path ? tensor_file_open(ctx, path, file) : tensor_file_open_memory(ctx, bytes->data, bytes->size, file);
    if (!status) status = lm_open_file(ctx, *file, m);
    return status ? lm_failed(ctx, path) : CLI_OK;
}

static int look_at_result(prune_run *r) {
    const char *path = r->o->common.n_names > 1 ? r->o->common.names[1] : NULL;
    tensor_file *file;
    lm_model *m;
    int result = prune_reopen(r->ctx, path, &r->bytes, &file, &m);
    if (result == CLI_OK) result = prune_compare(r->ctx, r->o, r->model, m, &r->comparison, &r->compared);
    if (result == CLI_OK && r->o->speedup != 0 &&
        prune_speed_of(r->ctx, r->model, m, &r->seconds_before, &r->seconds) != PITH_OK)
        result = lm_failed(r->ctx, path);
    if (m) lm_close(r->ctx, m);
    if (file) tensor_file_close(r->ctx, file);
    return result;
}

/* ---- the report ------------------------------------------------------------------------------------- */

static json_t *shape_json(const cut_shape *s) {
    return json_pack("{s:i,s:i,s:i,s:i,s:i,s:i}", "layers", (int)s->n_layers, "channels", (int)s->n_embd, "neurons",
                     (int)s->n_ff, "heads", (int)s->n_heads, "kv_heads", (int)s->n_kv_heads, "head_dim",
                     (int)s->head_dim);
}

void prune_json_comparison(json_t *all, const ruler_comparison *c) {
    json_object_update_new(all, json_pack("{s:I,s:f,s:f,s:f,s:f,s:f}", "scored", (json_int_t)c->n, "perplexity_before",
                                          c->perplexity_base, "perplexity", c->perplexity, "kl", c->kl.mean, "kl_error",
                                          c->kl.error, "same_top", c->same_top));
}

void prune_print_comparison(const ruler_comparison *c) {
    printf("perplexity   %.4f, before %.4f (%zu tokens)\n", c->perplexity, c->perplexity_base, c->n);
    printf("KL           %.5f +- %.5f nats, median %.5f, 99 %% below %.4f\n", c->kl.mean, c->kl.error, c->kl.median,
           c->kl.p99);
    printf("same top     %.2f %%\n", 100 * c->same_top);
}

static int report_json(const prune_run *r, const lm_shape *old) {
    cut_size size = model_cut_size(r->cut);
    json_t *all = json_pack("{s:o,s:s,s:o,s:o,s:I,s:I,s:I,s:I,s:f}", "model", cli_json_text(r->o->common.names[0]),
                            "method", prune_method_names[r->request.method], "before", shape_json(&r->shape), "after",
                            shape_json(&size.shape), "parameters_before", (json_int_t)old->n_parameters, "parameters",
                            (json_int_t)size.n_parameters, "bytes_before", (json_int_t)old->weight_bytes, "bytes",
                            (json_int_t)size.tensor_bytes, "seconds", r->took);
    if (r->stats) json_object_set_new(all, "tokens", json_integer((json_int_t)r->stats->n_tokens));
    if (r->compared) prune_json_comparison(all, &r->comparison);
    if (r->o->speedup != 0)
        json_object_update_new(all, json_pack("{s:f,s:f,s:f,s:f}", "speedup_asked", r->o->speedup, "speedup",
                                              r->seconds_before / r->seconds, "token_seconds_before",
                                              r->seconds_before, "token_seconds", r->seconds));
    return cli_json_print(stdout, all, JSON_INDENT(1));
}

static void print_size(const char *name, uint32_t before, uint32_t after) {
    if (before != after) printf("%-12s %u of %u\n", name, (unsigned)after, (unsigned)before);
}

static int report(const prune_run *r) {
    const lm_shape *old = lm_about(r->model);
    cut_size size = model_cut_size(r->cut);
    char before[16], after[16];
    if (r->o->common.json) return report_json(r, old);
    printf("method       %s", prune_method_names[r->request.method]);
    if (r->stats) printf(", by %" PRIu64 " tokens", r->stats->n_tokens);
    printf(", %.1f s\n", r->took);
    print_size("layers", r->shape.n_layers, size.shape.n_layers);
    print_size("channels", r->shape.n_embd, size.shape.n_embd);
    print_size("neurons", r->shape.n_ff, size.shape.n_ff);
    for (uint32_t l = 0; size.layer_ff && l < size.shape.n_layers; l++)
        printf("%s%u%s", l ? ", " : "by layer     ", (unsigned)size.layer_ff[l],
               l + 1 < size.shape.n_layers ? "" : "\n");
    print_size("heads", r->shape.n_heads, size.shape.n_heads);
    print_size("key heads", r->shape.n_kv_heads, size.shape.n_kv_heads);
    printf("parameters   %" PRIu64 " of %" PRIu64 " (%.1f %%)\n", size.n_parameters, old->n_parameters,
           100.0 * (double)size.n_parameters / (double)old->n_parameters);
    cli_size_text(before, old->weight_bytes);
    printf("weights      %s of %s\n", cli_size_text(after, size.tensor_bytes), before);
    if (r->compared) prune_print_comparison(&r->comparison);
    if (r->o->speedup != 0) {
        printf("latency      neurons, microseconds a token:");
        for (size_t i = 0; i < r->speed.n; i++)
            printf("%s %u %.1f", i ? "," : "", (unsigned)r->speed.n_ff[i], 1e6 * r->speed.seconds[i]);
        printf("\n");
        printf("speed        %.2f times, asked for %.2f (%.1f, before %.1f microseconds a token)\n",
               r->seconds_before / r->seconds, r->o->speedup, 1e6 * r->seconds, 1e6 * r->seconds_before);
    }
    return CLI_OK;
}

static int prune(prune_run *r) {
    const prune_options *o = r->o;
    const char *path = lm_model_path(o->common.names[0]);
    if (lm_open_named(r->ctx, path, &r->model) != CLI_OK) return CLI_FAIL;
    r->file = lm_file(r->model);
    int result = read_request(r);
    if (result == CLI_OK) result = choose_speed(r);
    const cut_shape *k = &r->request.keep;
    if (result == CLI_OK && !k->n_layers && !k->n_embd && !k->n_ff && !k->n_heads && !k->n_kv_heads &&
        !r->request.shared_keys)
        result =
            cli_error("prune: what? --neurons, --heads, --kv-heads, --share-keys, --layers, --channels or --speedup");
    if (result == CLI_OK) result = gather(r);
    if (result == CLI_OK) result = make(r);
    if (result == CLI_OK) result = look_at_result(r);
    if (result == CLI_OK) result = report(r);
    model_cut_free(r->ctx, r->cut);
    prune_plan_free(r->ctx, r->plan);
    prune_stats_free(r->ctx, r->stats);
    if (r->file_stats) model_stats_close(r->ctx, r->file_stats);
    pith_buffer_free(r->ctx, &r->bytes);
    lm_close(r->ctx, r->model);
    return result;
}

int model_prune_main(int argc, char **argv) {
    prune_options o = {.tokens = 16384, .seed = 1, .chunks = 16, .shots = 5, .damp = 0.01};
    const lm_option extra[] = {
        {"neurons", 0, LM_TEXT, &o.neurons, 0, 0},   {"heads", 0, LM_TEXT, &o.heads, 0, 0},
        {"kv-heads", 0, LM_TEXT, &o.kv_heads, 0, 0}, {"layers", 0, LM_TEXT, &o.layers, 0, 0},
        {"channels", 0, LM_TEXT, &o.channels, 0, 0}, {"method", 0, LM_TEXT, &o.method, 0, 0},
        {"experts", 0, LM_TEXT, &o.experts, 0, 0},
        {"text", 0, LM_TEXT, &o.text, 0, 0},         {"eval-text", 0, LM_TEXT, &o.eval_text, 0, 0},
        {"stats", 0, LM_TEXT, &o.stats, 0, 0},
        {"tokens", 0, LM_NUMBER, &o.tokens, 1, 1u << 30}, {"seed", 0, LM_NUMBER, &o.seed, 0, UINT64_MAX},
        {"chunks", 0, LM_NUMBER, &o.chunks, 1, 1u << 30}, {"damp", 0, LM_REAL, &o.damp, 0, 0},
        {"speedup", 0, LM_REAL, &o.speedup, 0, 0},   {"eval", 0, LM_FLAG, &o.eval, 0, 0},
        {"uneven", 0, LM_FLAG, &o.uneven, 0, 0},     {"share", 0, LM_TEXT, &o.share, 0, 0},
        {"share-keys", 0, LM_TEXT, &o.shared_keys, 0, 0},
        {"shots", 0, LM_NUMBER, &o.shots, 1, 1000},
    };
    int result = lm_options_parse(&o.common, argc, argv, extra, sizeof extra / sizeof *extra, 2);
    if (result == CLI_OK && o.common.help) {
        result = cli_help(prune_help);
    } else if (result == CLI_OK && o.common.n_names == 0) {
        result = cli_error("model prune: which model? (by name, not by --model)");
    } else if (result == CLI_OK) {
        prune_run r = {.ctx = lm_session_of(&o.common), .o = &o};
        result = !r.ctx ? CLI_FAIL : prune_is_curved(o.method) ? prune_curved(r.ctx, &o) : prune(&r);
        pith_ctx_free(r.ctx);
    }
    lm_options_free(&o.common);
    return result;
}
