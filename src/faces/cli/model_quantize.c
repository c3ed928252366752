/* pith model quantize: a GGUF file with fewer bits for llama.cpp and its like, in its mixes of types. */
#include <inttypes.h>
#include <string.h>

#include "artefacts/model/model.h"
#include "faces/cli/cmd_lm.h"
#include "faces/cli/model.h"
#include "faces/cli/model_quantize.h"

static const char quantize_help[] =
    "Usage: pith model quantize IN.gguf OUT.gguf --type=MIX [OPTIONS]\n"
    "\n"
    "Writes IN with its matrices in blocks of fewer bits, for llama.cpp and whatever reads its files. The mix\n"
    "says which tensors get a few bits more; with the same options the bytes are those of llama-quantize.\n"
    "\n"
    "      --type=MIX              q4_K_M, q4_K_S, q5_K_M, q5_K_S, q3_K_S, q3_K_M, q3_K_L, q2_K, q2_K_S, q6_K,\n"
    "                              q8_0, q4_0, q4_1, q5_0, q5_1, iq4_nl, iq4_xs, iq3_xxs and so on, f16, bf16\n"
    "      --imatrix=FILE          importance of the inputs: a file of pith model stats, or an importance matrix\n"
    "                              of llama.cpp (GGUF or .dat); --stats=FILE says the same\n"
    "      --method=METHOD         rtn: each block is rounded for itself (default); gptq: errors are fed forward\n"
    "                              over each row, where the statistics have the Gram matrix of the inputs\n"
    "      --tensor-type=P=TYPE    tensors in whose name the expression P is found get TYPE; may be said again\n"
    "      --recipe=TEXT           which tensors get which type, as pith model allocate --for=quantize prints it:\n"
    "                              PATTERNS -> gguf(TYPE); '@ obs' means --method=gptq. Tensors that it does not name\n"
    "                              get --type (default q8_0)\n"
    "      --output-type=TYPE      for output.weight (for the embedding where the two are one)\n"
    "      --token-embedding-type=TYPE\n"
    "                              for token_embd.weight\n"
    "      --pure                  every matrix gets the type of the mix\n"
    "      --requantize            also take tensors that are in blocks already\n"
    "      --dry-run               print types and sizes, write nothing; OUT may be left out\n"
    "      --json                  one JSON object\n"
    "  -f, --force                 overwrite OUT\n"
    "  -T#, --threads=#            threads (default: one for each processor); the bytes do not depend on it\n"
    "  -M#, --memory=#             memory limit (default 1G; mapped files do not count)\n"
    "  -q, --quiet                 no progress and no notes\n"
    "\n"
    "Examples:\n"
    "  pith model quantize model.f16.gguf model.q4_K_M.gguf --type=q4_K_M\n"
    "  pith model stats model.f16.gguf text.txt -o model.stats\n"
    "  pith model quantize model.f16.gguf model.q4_K.gguf --type=q4_K_S --stats=model.stats --method=gptq\n";

typedef struct quantize_command {
    lm_options o;
    const char *in, *out;
    const char *mix, *imatrix, *stats_path, *method, *output_type, *embedding_type;
    bool pure, requantize, dry_run;
    quantize_choice *choices; /* owned */
    size_t n_choices;
    const char *recipe;
    quantize_choice *recipe_choices; /* owned */
    size_t n_recipe_choices;
    bool recipe_feeds;

    pith_ctx *ctx;
    tensor_file *file;
    model_stats *stats;
    quantize_plan *plan;
    cli_output output;
    int write_error; /* errno of the first failed write */
} quantize_command;

/* ---- the command line ----------------------------------------------------------------------------- */

static int type_named(const char *option, const char *name, size_t n, const tensor_type_info **out) {
    *out = tensor_type_named(name, n);
    if (*out && (*out)->in_gguf) return CLI_OK;
    return cli_error("quantize: %s: no element type '%.*s'", option, (int)n, name);
}

static int add_choice(quantize_command *c, const char *text) {
    const char *sign = strrchr(text, '=');
    const tensor_type_info *type;
    if (!sign || sign == text || !sign[1])
        return cli_error("quantize: --tensor-type: an expression, '=' and a type, not '%s'", text);
    if (type_named("--tensor-type", sign + 1, strlen(sign + 1), &type) != CLI_OK) return CLI_FAIL;
    c->choices[c->n_choices++] = (quantize_choice){text, (size_t)(sign - text), type->type};
    return CLI_OK;
}

/* Takes every --tensor-type out of the arguments, which the common reader knows once only. */
static int take_choices(quantize_command *c, int *argc, char **argv) {
    static const char name[] = "--tensor-type";
    int kept = 0;
    c->choices = calloc((size_t)*argc + 1, sizeof *c->choices);
    if (!c->choices) return cli_error("out of memory");
    for (int i = 0; i < *argc; i++) {
        size_t n = sizeof name - 1;
        bool named = strncmp(argv[i], name, n) == 0 && (argv[i][n] == '=' || !argv[i][n]);
        if (strcmp(argv[i], "--") == 0) {
            while (i < *argc) argv[kept++] = argv[i++];
        } else if (!named) {
            argv[kept++] = argv[i];
        } else if (argv[i][n] == '=') {
            if (add_choice(c, argv[i] + n + 1) != CLI_OK) return CLI_FAIL;
        } else if (i + 1 == *argc) {
            return cli_error("quantize: --tensor-type wants a value");
        } else if (add_choice(c, argv[++i]) != CLI_OK) {
            return CLI_FAIL;
        }
    }
    argv[kept] = NULL;
    *argc = kept;
    return CLI_OK;
}

static int mix_error(const char *name) {
    char known[512] = "";
    size_t n = 0;
    for (const quantize_mix *m = quantize_mixes; m->name && n < sizeof known; m++)
        n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "", m->name);
    return cli_error("quantize: --type: no mix '%s'; there are %s", name, known);
}

static int make_options(quantize_command *c, quantize_options *q) {
    *q = (quantize_options){.pure = c->pure, .requantize = c->requantize, .choices = c->choices,
                            .n_choices = c->n_choices, .stats = c->stats, .stats_name = c->imatrix};
    if (c->recipe) {
        q->choices = c->recipe_choices;
        q->n_choices = c->n_recipe_choices;
        if (c->recipe_feeds && !c->method) q->method = QUANTIZE_GPTQ;
        if (!c->mix) c->mix = "q8_0";
    }
    if (!c->mix) return cli_error("quantize: to what? --type=q4_K_M, for example");
    q->mix = quantize_mix_named(c->mix);
    if (!q->mix) return mix_error(c->mix);
    if (c->method && strcmp(c->method, "gptq") == 0)
        q->method = QUANTIZE_GPTQ;
    else if (c->method && strcmp(c->method, "rtn") != 0)
        return cli_error("quantize: --method: rtn or gptq, not '%s'", c->method);
    if (q->method == QUANTIZE_GPTQ && !c->imatrix)
        return cli_error("quantize: --method=gptq needs --stats=FILE, of pith model stats");
    const char *names[2] = {c->output_type, c->embedding_type};
    const tensor_type_info **types[2] = {&q->output, &q->embedding};
    for (unsigned i = 0; i < 2; i++)
        if (names[i] && type_named(i ? "--token-embedding-type" : "--output-type", names[i], strlen(names[i]),
                                   types[i]) != CLI_OK)
            return CLI_FAIL;
    return CLI_OK;
}

static int parse(quantize_command *c, int argc, char **argv) {
    const lm_option extra[] = {{"type", 0, LM_TEXT, &c->mix, 0, 0},
                               {"imatrix", 0, LM_TEXT, &c->imatrix, 0, 0},
                               {"stats", 0, LM_TEXT, &c->stats_path, 0, 0},
                               {"method", 0, LM_TEXT, &c->method, 0, 0},
                               {"recipe", 0, LM_TEXT, &c->recipe, 0, 0},
                               {"output-type", 0, LM_TEXT, &c->output_type, 0, 0},
                               {"output-tensor-type", 0, LM_TEXT, &c->output_type, 0, 0},
                               {"token-embedding-type", 0, LM_TEXT, &c->embedding_type, 0, 0},
                               {"pure", 0, LM_FLAG, &c->pure, 0, 0},
                               {"requantize", 0, LM_FLAG, &c->requantize, 0, 0},
                               {"allow-requantize", 0, LM_FLAG, &c->requantize, 0, 0},
                               {"dry-run", 0, LM_FLAG, &c->dry_run, 0, 0}};
    if (take_choices(c, &argc, argv) != CLI_OK) return CLI_FAIL;
    if (lm_options_parse(&c->o, argc, argv, extra, sizeof extra / sizeof *extra, 2) != CLI_OK) return CLI_FAIL;
    if (c->o.help) return CLI_OK;
    if (c->imatrix && c->stats_path) return cli_error("quantize: --imatrix and --stats are the same: one of them");
    if (c->stats_path) c->imatrix = c->stats_path;
    if (c->recipe && c->n_choices) return cli_error("quantize: --recipe says what --tensor-type does: one of them");
    c->in = c->o.n_names > 0 ? c->o.names[0] : NULL;
    c->out = c->o.n_names > 1 ? c->o.names[1] : NULL;
    if (!c->in) return cli_error("quantize: which file?");
    if (!c->out && !c->dry_run) return cli_error("quantize: to which file?");
    return CLI_OK;
}

/* ---- what is said ------------------------------------------------------------------------------------ */

static const char *name_of(const tensor_view *t, char shown[80]) {
    char whole[128];
    snprintf(whole, sizeof whole, "%.*s", (int)PITH_MIN(t->name.size, sizeof whole - 1), t->name.data);
    return cli_safe_text(shown, 80, whole);
}

static double bits_per_weight(const quantize_plan *p, uint64_t bytes) {
    return p->n_elements ? 8 * (double)bytes / (double)p->n_elements : 0;
}

static const char *method_of(const quantize_plan *p, const quantize_tensor *q) {
    return q->type == q->from->type ? "copy" : quantize_is_ahead(p, q) ? "gptq" : q->importance ? "weighted" : "rtn";
}

static void print_plan(const quantize_plan *p) {
    for (size_t i = 0; i < p->n; i++) {
        const quantize_tensor *q = &p->list[i];
        char name[80];
        printf("%-32s %-8s -> %-8s %12" PRIu64 " bytes  %s%s\n", name_of(q->from, name),
               tensor_type_of(q->from->type)->name, tensor_type_of(q->type)->name, q->bytes, method_of(p, q),
               q->fell_back ? ", its rows fit no other" : "");
    }
}

static int print_json(const quantize_command *c, double seconds) {
    const quantize_plan *p = c->plan;
    json_t *list = json_array();
    for (size_t i = 0; i < p->n; i++) {
        const quantize_tensor *q = &p->list[i];
        char name[80];
        json_array_append_new(list, json_pack("{s:o, s:s, s:s, s:I, s:s, s:b}", "name",
                                              cli_json_text(name_of(q->from, name)), "from",
                                              tensor_type_of(q->from->type)->name, "type",
                                              tensor_type_of(q->type)->name, "bytes", (json_int_t)q->bytes, "method",
                                              method_of(p, q), "fallback", q->fell_back));
    }
    json_t *o = json_pack("{s:o, s:s, s:I, s:I, s:f, s:I, s:o}", "file", cli_json_text(c->in), "type",
                          p->options.mix->name, "bytes_before", (json_int_t)p->bytes_before, "bytes_after",
                          (json_int_t)p->bytes_after, "bits_per_weight", bits_per_weight(p, p->bytes_after), "fallbacks",
                          (json_int_t)p->n_fallbacks, "tensors", list);
    if (o && !c->dry_run) {
        json_object_set_new(o, "output", cli_json_text(c->out));
        json_object_set_new(o, "file_bytes", json_integer((json_int_t)c->output.bytes));
        json_object_set_new(o, "seconds", json_real(seconds));
    }
    return cli_json_print(stdout, o, JSON_INDENT(2));
}

static void print_sum(const quantize_command *c) {
    const quantize_plan *p = c->plan;
    char before[16], after[16];
    printf("%s -> %s: %zu of %zu tensors to %s, %s -> %s, %.2f -> %.2f bits per weight\n", c->in,
           c->dry_run ? "(not written)" : c->out, p->n_changed, p->n, p->options.mix->name,
           cli_size_text(before, p->bytes_before), cli_size_text(after, p->bytes_after),
           bits_per_weight(p, p->bytes_before), bits_per_weight(p, p->bytes_after));
}

static void note(const quantize_command *c) {
    const quantize_plan *p = c->plan;
    size_t n_fed = 0, n_without = 0;
    for (size_t i = 0; i < p->n; i++) {
        const quantize_tensor *q = &p->list[i];
        if (q->type == q->from->type || tensor_type_of(q->type)->block == 1) continue;
        n_fed += quantize_is_ahead(p, q);
        n_without += !q->importance;
    }
    if (p->n_fallbacks)
        cli_warn("tensors whose rows are no multiple of the block, so that they got another type: %zu", p->n_fallbacks);
    if (c->stats && n_without) cli_warn("%s: tensors it says nothing of: %zu", c->imatrix, n_without);
    if (p->options.method == QUANTIZE_GPTQ && n_fed == 0)
        cli_warn("%s: has no Gram matrix that gptq could use; everything is rounded", c->imatrix);
}

/* ---- the work ------------------------------------------------------------------------------------------ */

static pith_status put_bytes(void *opaque, const void *data, size_t size) {
    quantize_command *c = opaque;
    c->write_error = cli_output_write(&c->output, data, size);
    return c->write_error ? PITH_E_IO : PITH_OK;
}

static int write_file(quantize_command *c) {
    struct stat st, in;
    if (stat(c->out, &st) == 0 && stat(c->in, &in) == 0 && st.st_dev == in.st_dev && st.st_ino == in.st_ino)
        return cli_error("%s: is what is read", c->out);
    if (!c->o.force && lstat(c->out, &st) == 0 && S_ISREG(st.st_mode))
        return cli_error("%s: already exists; not overwritten (-f does)", c->out);
    cli_progress progress;
    if (cli_output_open(&c->output, c->out) != CLI_OK) return CLI_FAIL;
    cli_progress_start(&progress, "quantising", c->in, c->plan->bytes_after);
    pith_ctx_set_progress(c->ctx, cli_progress_show, &progress);
    pith_status status = quantize_write(c->ctx, c->plan, put_bytes, c);
    cli_progress_clear(&progress);
    int result = CLI_OK;
    if (status)
        result = c->write_error ? cli_error("%s: %s", c->out, strerror(c->write_error)) : lm_failed(c->ctx, c->in);
    if (result == CLI_OK) result = cli_output_finish(&c->output, NULL);
    if (result == CLI_OK) return cli_output_commit(&c->output, c->o.force);
    cli_output_discard(&c->output);
    return result;
}

static int run(quantize_command *c) {
    quantize_options options;
    double started = cli_now();
    if (c->recipe && quantize_recipe_read(c->ctx, c->recipe, &c->recipe_choices, &c->n_recipe_choices, &c->recipe_feeds))
        return CLI_FAIL;
    if (make_options(c, &options) != CLI_OK) return CLI_FAIL;
    if (c->imatrix && model_stats_open(c->ctx, c->imatrix, &c->stats) != PITH_OK) return lm_failed(c->ctx, c->imatrix);
    options.stats = c->stats;
    if (tensor_file_open(c->ctx, c->in, &c->file) != PITH_OK ||
        quantize_plan_new(c->ctx, c->file, &options, &c->plan) != PITH_OK)
        return lm_failed(c->ctx, c->in);
    note(c);
    if (!c->dry_run && write_file(c) != CLI_OK) return CLI_FAIL;
    if (c->o.json) return print_json(c, cli_now() - started);
    if (c->dry_run) print_plan(c->plan);
    if (cli_verbosity >= 0) print_sum(c);
    return CLI_OK;
}

int model_quantize_main(int argc, char **argv) {
    quantize_command c = {.output = {.fd = -1}};
    int result = parse(&c, argc, argv);
    if (result == CLI_OK && c.o.help) {
        result = cli_help(quantize_help);
    } else if (result == CLI_OK) {
        c.ctx = lm_session_of(&c.o);
        result = c.ctx ? run(&c) : CLI_FAIL;
        if (c.plan) quantize_plan_free(c.ctx, c.plan);
        if (c.ctx) quantize_recipe_free(c.ctx, c.recipe_choices, c.n_recipe_choices);
        if (c.stats) model_stats_close(c.ctx, c.stats);
        if (c.file) tensor_file_close(c.ctx, c.file);
        if (c.ctx) pith_ctx_free(c.ctx);
    }
    lm_options_free(&c.o);
    free(c.choices);
    return result;
}
