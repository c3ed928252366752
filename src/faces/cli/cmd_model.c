/* pith model info|convert|validate: files of model weights, looked at, converted, checked. */
#include <string.h>

#include "faces/cli/json.h"
#include "faces/cli/model.h"

const char cli_model_help[] =
    "Usage: pith model info FILE [--json] [--tensors]\n"
    "       pith model convert IN OUT [--type=TYPE] [--to=FORMAT] [OPTIONS]\n"
    "       pith model validate FILE\n"
    "       pith model VERB [OPTIONS] ...      (the others; pith model VERB --help says more)\n"
    "\n"
    "Reads GGUF, safetensors (one file, an index, or a Hugging Face directory with config.json),\n"
    "NumPy arrays, llama2.c checkpoints and rwkv.cpp files.\n"
    "\n"
    "info          format, architecture, hyper-parameters, tokenizer, bytes and bits per weight\n"
    "convert       to GGUF, safetensors or one NumPy array, by the name of OUT\n"
    "validate      checks every count, range and name, and that all scales and floats are finite\n"
    "quantize      a GGUF file in llama.cpp's mixes of block types, with importance or error feedback\n"
    "stats         what the inputs of a model's matrices look like over a text, for recipes and llama.cpp\n"
    "eval          what a smaller file or a recipe costs: bytes by part, perplexity, divergence, flips\n"
    "diff          two files of weights, tensor by tensor\n"
    "compress      to an archive: without loss, or by a recipe that loses something\n"
    "decompress    from an archive; load is the same\n"
    "explain-size  where the bytes of a model file or an archive are\n"
    "allocate      a recipe that keeps to a size, to bits per weight or to a divergence\n"
    "prune         fewer neurons, heads, layers or channels, as a smaller ordinary GGUF file\n"
    "store         many models in one folder, what they share kept once\n"
    "delta         what makes one model of another; apply is the way back\n"
    "split         a mixture of experts out of a dense model, to try things on\n"
    "\n"
    "      --tensors         info: list every tensor too\n"
    "      --json            info, validate: one JSON object\n"
    "      --type=TYPE       convert: f32, f16, bf16, q8_0, q4_0, q4_K, q6_K and so on; vectors\n"
    "                        and norms stay f32 in GGUF (default: types as they are)\n"
    "      --to=FORMAT       convert: gguf, safetensors or npy, whatever the name of OUT\n"
    "      --tensor=NAME     convert: the tensor that a .npy gets\n"
    "      --tokenizer=FILE  convert to GGUF: take the vocabulary from a tokenizer.json, a\n"
    "                        SentencePiece .model or a llama2.c tokenizer .bin\n"
    "  -f, --force           overwrite OUT\n"
    "  -T#, --threads=#      threads (default: one for each processor)\n"
    "  -M#, --memory=#       memory limit (default 1G; mapped files do not count)\n"
    "  -q, --quiet           no progress and no notes\n"
    "\n"
    "Examples:\n"
    "  pith model info --tensors model.gguf\n"
    "  pith model convert stories15M.bin stories15M.gguf --tokenizer=tokenizer.bin --type=q8_0\n"
    "  pith model convert my-model/ my-model.f16.gguf --type=f16\n";

/* Verbs with options of their own: `pith model VERB --help` prints their help. */
static const struct model_verb {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the verb */
} own_verbs[] = {
    {"stats", model_stats_main},
    {"quantize", model_quantize_main},
    {"compress", model_compress_main},
    {"decompress", model_decompress_main},
    {"load", model_decompress_main},
    {"explain-size", model_explain_size_main},
    {"prune", model_prune_main},
    {"allocate", model_allocate_main},
    {"eval", model_eval_main},
    {"diff", model_diff_main},
    {"store", model_store_main},
    {"split", model_split_main},
    {"delta", model_delta_main},
    {"apply", model_apply_main},
    {"series", model_series_main},
    {NULL, NULL},
};

/* The value of --NAME=VALUE or --NAME VALUE; NULL when argv[*i] is not it. */
static const char *long_value(int argc, char **argv, int *i, const char *name) {
    size_t n = strlen(name);
    if (strncmp(argv[*i], name, n) != 0) return NULL;
    if (argv[*i][n] == '=') return argv[*i] + n + 1;
    if (argv[*i][n] != 0) return NULL;
    return *i + 1 < argc ? argv[++*i] : "";
}

static int set_number(model_options *o, const char *what, const char *text) {
    uint64_t value;
    const char *end;
    if (strcmp(what, "--threads") == 0) {
        if (!cli_parse_number(text, 0, 256, &value)) return cli_error("--threads: a number from 0 to 256, not '%s'", text);
        o->n_threads = (unsigned)value;
    } else {
        if (!cli_parse_size(text, &end, &value) || *end) return cli_error("--memory: a size, not '%s'", text);
        o->memory_bytes = value;
    }
    return CLI_OK;
}

static int parse_option(model_options *o, int argc, char **argv, int *i) {
    const struct {
        const char *name;
        const char **value;
    } texts[] = {{"--type", &o->type}, {"--to", &o->to}, {"--tensor", &o->tensor}, {"--tokenizer", &o->tokenizer}};
    const char *arg = argv[*i], *value;
    if (strcmp(arg, "--json") == 0) {
        o->json = true;
    } else if (strcmp(arg, "--tensors") == 0) {
        o->list_tensors = true;
    } else if (strcmp(arg, "-f") == 0 || strcmp(arg, "--force") == 0) {
        o->force = true;
    } else if (strcmp(arg, "-q") == 0 || strcmp(arg, "--quiet") == 0) {
        cli_verbosity--;
    } else if ((value = long_value(argc, argv, i, "--threads")) != NULL) {
        return set_number(o, "--threads", value);
    } else if ((value = long_value(argc, argv, i, "--memory")) != NULL) {
        return set_number(o, "--memory", value);
    } else if (strncmp(arg, "-T", 2) == 0) {
        return set_number(o, "--threads", arg + 2);
    } else if (strncmp(arg, "-M", 2) == 0) {
        return set_number(o, "--memory", arg + 2);
    } else {
        for (unsigned k = 0; k < sizeof texts / sizeof *texts; k++)
            if ((value = long_value(argc, argv, i, texts[k].name)) != NULL) {
                if (!*value) return cli_error("%s wants a value", texts[k].name);
                *texts[k].value = value;
                return CLI_OK;
            }
        return cli_error("model: unknown option '%s'; pith help model lists them", arg);
    }
    return CLI_OK;
}

static int parse(model_options *o, int argc, char **argv) {
    bool only_names = false;
    for (int i = 1; i < argc; i++) {
        if (!only_names && strcmp(argv[i], "--") == 0) {
            only_names = true;
        } else if (!only_names && argv[i][0] == '-' && argv[i][1]) {
            if (parse_option(o, argc, argv, &i) != CLI_OK) return CLI_FAIL;
        } else if (!o->verb) {
            o->verb = argv[i];
        } else if (!o->in) {
            o->in = argv[i];
        } else if (!o->out) {
            o->out = argv[i];
        } else {
            return cli_error("model %s: too many names: '%s'", o->verb, argv[i]);
        }
    }
    if (!o->verb) return cli_error("model: info, convert or validate? See pith help model");
    bool convert = strcmp(o->verb, "convert") == 0;
    if (!convert && strcmp(o->verb, "info") != 0 && strcmp(o->verb, "validate") != 0)
        return cli_error("model: no verb '%s'; there are info, convert, validate", o->verb);
    if (!o->in) return cli_error("model %s: which file?", o->verb);
    if (convert && !o->out) return cli_error("model convert: to which file?");
    if (!convert && o->out) return cli_error("model %s: too many names: '%s'", o->verb, o->out);
    return CLI_OK;
}

static int validate(pith_ctx *ctx, const tensor_file *f, const model_options *o) {
    cli_progress progress;
    cli_progress_start(&progress, "checking", o->in, f->file_bytes);
    pith_ctx_set_progress(ctx, cli_progress_show, &progress);
    pith_status status = tensor_file_check(ctx, f);
    cli_progress_clear(&progress);
    if (status) return cli_error("%s: %s", o->in, pith_error(ctx));
    if (o->json)
        return cli_json_print(stdout,
                              json_pack("{s:o,s:s,s:I,s:b}", "file", cli_json_text(o->in), "format", f->format,
                                        "tensors", (json_int_t)f->n_tensors, "good", 1),
                              JSON_COMPACT);
    if (cli_verbosity >= 0) printf("%s: %s, %zu tensors, all in order\n", o->in, f->format, f->n_tensors);
    return CLI_OK;
}

static int run(const model_options *o) {
    pith_ctx *ctx = pith_ctx_new(NULL);
    if (!ctx) return cli_error("no memory for a session");
    pith_ctx_set_threads(ctx, o->n_threads);
    pith_ctx_set_memory(ctx, o->memory_bytes);
    tensor_file *f;
    int result;
    if (tensor_file_open(ctx, o->in, &f) != PITH_OK) {
        const char *said = pith_error(ctx);
        size_t n = strlen(o->in);
        /* Messages about reading name the file already. */
        bool named = strncmp(said, o->in, n) == 0;
        result = named ? cli_error("%s", said) : cli_error("%s: %s", o->in, said);
    } else {
        if (strcmp(o->verb, "info") == 0)
            result = model_info(ctx, f, o);
        else
            result = strcmp(o->verb, "convert") == 0 ? model_convert(ctx, f, o) : validate(ctx, f, o);
        tensor_file_close(ctx, f);
    }
    pith_ctx_free(ctx);
    return cli_finish(result);
}

int cmd_model(int argc, char **argv) {
    for (unsigned i = 0; argc > 1 && own_verbs[i].name; i++)
        if (strcmp(argv[1], own_verbs[i].name) == 0) return cli_finish(own_verbs[i].run(argc - 1, argv + 1));
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return cli_help(cli_model_help);
    model_options o = {0};
    return parse(&o, argc, argv) == CLI_OK ? run(&o) : CLI_FAIL;
}
