/* A recipe of blocks, as pith model allocate --for=quantize prints them, as the choices that quantising takes: globs
 * become expressions, the stage gguf(TYPE) a type. */
#include <string.h>

#include "artefacts/artefacts.h"
#include "faces/cli/cmd_lm.h"
#include "faces/cli/model_quantize.h"

static pith_status put(pith_ctx *ctx, pith_buffer *out, const char *text) {
    return pith_buffer_append(ctx, out, text, strlen(text));
}

/* One character of a glob, or a whole set; *glob is moved behind it. */
static pith_status put_piece(pith_ctx *ctx, pith_buffer *out, const char **glob) {
    const char *p = (*glob)++;
    size_t set = *p == '[' ? strcspn(p, "]") : 0;
    if (set && p[set]) {
        *glob = p + set + 1;
        bool not = p[1] == '!';
        pith_status status = put(ctx, out, not ? "[^" : "[");
        return status ? status : pith_buffer_append(ctx, out, p + 1 + not, set - not );
    }
    if (*p == '*') return put(ctx, out, ".*");
    if (*p == '?') return put(ctx, out, ".");
    pith_status status = strchr("\\.^$|()[]{}+", *p) ? put(ctx, out, "\\") : PITH_OK;
    return status ? status : pith_buffer_append(ctx, out, p, 1);
}

/* "a.*, b" becomes (?-i)^(?:a\..*|b)$ with a NUL that counts. */
static pith_status put_expression(pith_ctx *ctx, const char *pattern, pith_buffer *out) {
    pith_status status = put(ctx, out, "(?-i)^(?:");
    for (const char *p = pattern ? pattern : "*"; *p && !status;) {
        if (strchr(" \n\t\r", *p))
            p++;
        else if (*p == ',')
            status = put(ctx, out, "|"), p++;
        else
            status = put_piece(ctx, out, &p);
    }
    return status ? status : pith_buffer_append(ctx, out, ")$", 3);
}

static pith_status read_rule(pith_ctx *ctx, const pith_recipe_rule *rule, quantize_choice *out, bool *feeds) {
    const pith_recipe_stage *s = rule->stages;
    pith_buffer expression = {0};
    size_t n;
    if (rule->n_stages != 1 || strcmp(s->stage->name, "gguf") != 0 || rule->n_solvers > 1)
        return pith_fail(ctx, PITH_E_ARGUMENT, "quantising takes the stage gguf(TYPE), alone or @ obs");
    if (rule->pattern && strchr(rule->pattern, ':'))
        return pith_fail(ctx, PITH_E_ARGUMENT,
                         "column %u: a pattern with a colon names single experts, but a GGUF tensor has one type for all; "
                         "pith model compress can", s->column);
    const char *name = pith_choice_name(s->stage->params[0].choices, (unsigned)s->value[0], &n);
    const tensor_type_info *type = tensor_type_named(name, n);
    if (!type) return pith_fail(ctx, PITH_E_ARGUMENT, "no element type '%.*s'", (int)n, name);
    *feeds = *feeds || rule->n_solvers == 1;
    pith_status status = put_expression(ctx, rule->pattern, &expression);
    if (status)
        pith_buffer_free(ctx, &expression);
    else
        *out = (quantize_choice){(const char *)expression.data, expression.size - 1, type->type};
    return status;
}

int quantize_recipe_read(pith_ctx *ctx, const char *text, quantize_choice **choices, size_t *n, bool *feeds) {
    pith_recipe *recipe;
    *choices = NULL;
    *n = 0;
    *feeds = false;
    artefacts_register();
    pith_status status = pith_recipe_parse(ctx, "model", text, strlen(text), &recipe);
    if (status) return lm_failed(ctx, "--recipe");
    *choices = pith_zalloc(ctx, recipe->n_rules * sizeof **choices);
    if (!*choices) status = pith_alloc_status(ctx);
    for (unsigned i = 0; i < recipe->n_rules && !status; i++) {
        status = read_rule(ctx, &recipe->rules[i], &(*choices)[*n], feeds);
        *n += !status;
    }
    pith_recipe_free(ctx, recipe);
    return status ? lm_failed(ctx, "--recipe") : CLI_OK;
}

void quantize_recipe_free(pith_ctx *ctx, quantize_choice *choices, size_t n) {
    for (size_t i = 0; i < n; i++) pith_free(ctx, (void *)choices[i].pattern);
    pith_free(ctx, choices);
}
