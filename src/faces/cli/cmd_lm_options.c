/* The command line of `pith lm` verbs and `pith measure`: what all of them know, and a table of
 * what one verb adds. */
#include <math.h>
#include <string.h>

#include "faces/cli/cmd_lm.h"

typedef struct reader {
    lm_options *o;
    const char *verb;
    char **rest;
    const lm_option *options;
    size_t n_options;
} reader;

static int set_value(const lm_option *option, const char *verb, const char *text) {
    char *end;
    double real;
    switch (option->kind) {
    case LM_FLAG: *(bool *)option->value = true; return CLI_OK;
    case LM_OPTIONAL: *(const char **)option->value = text; return CLI_OK;
    case LM_TEXT:
        if (!*text) return cli_error("%s: --%s wants a value", verb, option->name);
        *(const char **)option->value = text;
        return CLI_OK;
    case LM_NUMBER:
        if (!cli_parse_number(text, option->low, option->high, option->value))
            return cli_error("%s: --%s: a number from %llu to %llu, not '%s'", verb, option->name,
                             (unsigned long long)option->low, (unsigned long long)option->high, text);
        return CLI_OK;
    case LM_REAL:
        real = strtod(text, &end);
        if (end == text || *end || !isfinite(real))
            return cli_error("%s: --%s: not a number: '%s'", verb, option->name, text);
        *(double *)option->value = real;
        return CLI_OK;
    }
    return CLI_FAIL;
}

static int take_long(reader *r, const char *arg) {
    const char *name = arg + 2;
    size_t n = strcspn(name, "=");
    for (size_t i = 0; i < r->n_options; i++) {
        const lm_option *option = &r->options[i];
        if (strlen(option->name) != n || strncmp(option->name, name, n) != 0) continue;
        if (option->kind == LM_FLAG)
            return name[n] ? cli_error("%s: --%s takes no value", r->verb, option->name)
                           : set_value(option, r->verb, "");
        if (option->kind == LM_OPTIONAL && !name[n]) return set_value(option, r->verb, "");
        if (name[n] == '=') return set_value(option, r->verb, name + n + 1);
        if (!*r->rest) return cli_error("%s: --%s wants a value", r->verb, option->name);
        return set_value(option, r->verb, *r->rest++);
    }
    return cli_error("%s: unknown option '%s'; --help lists them", r->verb, arg);
}

static const lm_option *option_of_letter(const reader *r, char letter) {
    for (size_t i = 0; i < r->n_options; i++)
        if (letter && r->options[i].letter == letter) return &r->options[i];
    return NULL;
}

/* -f, -fq, -T2, -T 2, -fT2: flags may stand together, the last one may take a value. */
static int take_short(reader *r, const char *arg) {
    for (const char *letter = arg + 1; *letter; letter++) {
        const lm_option *option = option_of_letter(r, *letter);
        if (!option) return cli_error("%s: unknown option '%s'; --help lists them", r->verb, arg);
        if (option->kind != LM_FLAG) {
            if (letter[1]) return set_value(option, r->verb, letter + 1);
            if (!*r->rest) return cli_error("%s: -%c wants a value", r->verb, *letter);
            return set_value(option, r->verb, *r->rest++);
        }
        if (set_value(option, r->verb, "") != CLI_OK) return CLI_FAIL;
    }
    return CLI_OK;
}

int lm_options_parse(lm_options *o, int argc, char **argv, const lm_option *extra, size_t n_extra, size_t max_names) {
    uint64_t n_ctx = 0, n_threads = 0;
    const char *memory = NULL, *end;
    bool quiet = false;
    const lm_option common[] = {{"model", 0, LM_TEXT, &o->model, 0, 0},
                                {"ctx", 0, LM_NUMBER, &n_ctx, 1, 1 << 24},
                                {"threads", 'T', LM_NUMBER, &n_threads, 0, 256},
                                {"memory", 'M', LM_TEXT, &memory, 0, 0},
                                {"json", 0, LM_FLAG, &o->json, 0, 0},
                                {"force", 'f', LM_FLAG, &o->force, 0, 0},
                                {"quiet", 'q', LM_FLAG, &quiet, 0, 0},
                                {"help", 'h', LM_FLAG, &o->help, 0, 0}};
    const size_t n_common = sizeof common / sizeof *common;
    *o = (lm_options){0};
    lm_option *all = malloc((n_common + n_extra) * sizeof *all);
    o->names = calloc((size_t)argc + 1, sizeof *o->names);
    if (!o->names || !all) {
        free(all);
        return cli_error("out of memory");
    }
    if (n_extra) memcpy(all, extra, n_extra * sizeof *all); /* a verb may mean something else by a name */
    memcpy(all + n_extra, common, sizeof common);
    reader r = {o, argv[0], argv + 1, all, n_common + n_extra};
    bool only_names = false;
    int result = CLI_OK;
    while (*r.rest && result == CLI_OK) {
        const char *arg = *r.rest++;
        if (only_names || arg[0] != '-' || !arg[1])
            o->names[o->n_names++] = arg;
        else if (strcmp(arg, "--") == 0)
            only_names = true;
        else
            result = arg[1] == '-' ? take_long(&r, arg) : take_short(&r, arg);
    }
    free(all);
    if (result != CLI_OK) return result;
    o->n_ctx = (uint32_t)n_ctx;
    o->n_threads = (unsigned)n_threads;
    if (memory && (!cli_parse_size(memory, &end, &o->memory_bytes) || *end || o->memory_bytes < 1 << 20))
        return cli_error("%s: --memory: a size of at least 1M, not '%s'", argv[0], memory);
    if (quiet) cli_verbosity--;
    o->model = lm_model_path(o->model);
    if (o->n_names > max_names && !o->help)
        return cli_error("%s: '%s' is one name too many; --help says what is taken", argv[0], o->names[max_names]);
    return CLI_OK;
}

void lm_options_free(lm_options *o) {
    free(o->names);
    o->names = NULL;
}

static int take_type(const char *verb, const char *option, const char *name, tensor_type *type) {
    if (!name) return CLI_OK;
    const tensor_type_info *info = tensor_type_named(name, strlen(name));
    char shown[80];
    if (!info || !lm_cache_takes(info->type))
        return cli_error("%s: --%s: f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0 or iq4_nl, not '%s'", verb, option,
                         cli_safe_text(shown, sizeof shown, name));
    *type = info->type;
    return CLI_OK;
}

int lm_cache_choose(const lm_cache_choice *c, const char *verb, pith_ctx *ctx, lm_model *m) {
    if (!c->both && !c->keys && !c->values) return CLI_OK;
    lm_cache_type type = lm_cache_of(m);
    int result = take_type(verb, "cache-type", c->both, &type.keys);
    type.values = c->both ? type.keys : type.values;
    if (result == CLI_OK) result = take_type(verb, "cache-type-k", c->keys, &type.keys);
    if (result == CLI_OK) result = take_type(verb, "cache-type-v", c->values, &type.values);
    return result == CLI_OK && lm_set_cache(ctx, m, type) != PITH_OK ? lm_failed(ctx, NULL) : result;
}
