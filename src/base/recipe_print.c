/* Recipes back to text, compared and freed. The canonical text is one line, defaults left
 * out: leading values that speak for themselves (choices, texts, recipes) stand without
 * their name, all others as name=value, flags that are on by their name alone. */
#include "base/recipe_parts.h"

typedef struct printer {
    pith_ctx *ctx;
    pith_buffer *out;
    pith_status status;
} printer;

static void put(printer *p, const char *text, size_t n) {
    if (p->status == PITH_OK) p->status = pith_buffer_append(p->ctx, p->out, text, n);
}

static void put_text(printer *p, const char *text) { put(p, text, strlen(text)); }

static bool is_word(const char *text) {
    for (const char *c = text; *c; c++)
        if (!recipe_word_char(*c)) return false;
    return *text != 0;
}

/* Standing alone, a word that names a parameter could be taken for a flag that is switched on. */
static bool names_param(const pith_recipe_stage *st, const char *word, size_t n) {
    return pith_param_index(st->stage, word, n) < st->stage->n_params;
}

static void put_chain(printer *p, const pith_recipe_rule *rule);

static void put_value(printer *p, const pith_recipe_stage *st, unsigned i) {
    const pith_param *param = &st->stage->params[i];
    char number[PITH_NUMBER_MAX];
    size_t n;
    switch (param->type) {
    case PITH_P_RECIPE: put_chain(p, &st->branch[i]->rules[0]); return;
    case PITH_P_CHOICE: {
        const char *name = pith_choice_name(param->choices, (unsigned)st->value[i], &n);
        if (name) put(p, name, n);
        return;
    }
    case PITH_P_TEXT:
        if (is_word(st->text[i])) {
            put_text(p, st->text[i]);
            return;
        }
        put_text(p, "\"");
        for (const char *c = st->text[i]; *c; c++) {
            if (*c == '"' || *c == '\\') put_text(p, "\\");
            put(p, c, 1);
        }
        put_text(p, "\"");
        return;
    case PITH_P_FLAG:
    case PITH_P_INT:
    case PITH_P_REAL:
    default: n = pith_number_print(st->value[i], number); put(p, number, n);
    }
}

static bool worth_printing(const pith_recipe_stage *st, unsigned i) {
    const pith_param *param = &st->stage->params[i];
    if (param->type == PITH_P_TEXT) return st->text[i] != NULL;
    if (param->type == PITH_P_RECIPE) return st->branch[i] != NULL;
    return st->value[i] != param->def;
}

/* May stand without its name: not a number, and nothing that reads like a flag. */
static bool speaks_for_itself(const pith_recipe_stage *st, unsigned i) {
    const pith_param *param = &st->stage->params[i];
    const char *word = NULL;
    size_t n = 0;
    if (param->type == PITH_P_CHOICE) {
        word = pith_choice_name(param->choices, (unsigned)st->value[i], &n);
    } else if (param->type == PITH_P_TEXT) {
        word = st->text[i];
        n = strlen(word);
    } else if (param->type == PITH_P_RECIPE) {
        word = st->branch[i]->rules[0].stages[0].stage->name;
        n = strlen(word);
    }
    return word && !names_param(st, word, n);
}

static void put_stage(printer *p, const pith_recipe_stage *st) {
    bool leading = true, any = false;
    put_text(p, st->stage->name);
    for (unsigned i = 0; i < st->stage->n_params; i++) {
        const pith_param *param = &st->stage->params[i];
        if (param->type == PITH_P_FLAG) continue; /* unnamed values pass flags by */
        if (!worth_printing(st, i)) {
            leading = false;
            continue;
        }
        leading = leading && speaks_for_itself(st, i);
        put_text(p, any ? ", " : "(");
        any = true;
        if (!leading) {
            put_text(p, param->name);
            put_text(p, "=");
        }
        put_value(p, st, i);
    }
    for (unsigned i = 0; i < st->stage->n_params; i++) {
        const pith_param *param = &st->stage->params[i];
        if (param->type != PITH_P_FLAG || !worth_printing(st, i)) continue;
        put_text(p, any ? ", " : "(");
        any = true;
        put_text(p, param->name);
        if (st->value[i] == 0) put_text(p, "=no");
    }
    if (any) put_text(p, ")");
}

static void put_chain(printer *p, const pith_recipe_rule *rule) {
    for (unsigned i = 0; i < rule->n_stages; i++) {
        if (i) put_text(p, " | ");
        put_stage(p, &rule->stages[i]);
    }
    for (unsigned i = 0; i < rule->n_solvers; i++) {
        put_text(p, " @ ");
        put_stage(p, &rule->solvers[i]);
    }
}

pith_status pith_recipe_print(pith_ctx *ctx, const pith_recipe *recipe, pith_buffer *out) {
    printer p = {ctx, out, PITH_OK};
    size_t start = out->size;
    for (unsigned i = 0; i < recipe->n_rules; i++) {
        if (i) put_text(&p, " ; ");
        if (recipe->rules[i].pattern) {
            put_text(&p, recipe->rules[i].pattern);
            put_text(&p, " -> ");
        }
        put_chain(&p, &recipe->rules[i]);
    }
    if (p.status == PITH_OK && out->size - start > PITH_RECIPE_MAX_BYTES) /* 1G was shorter than 1073741824 */
        p.status =
            pith_fail(ctx, PITH_E_ARGUMENT, "the recipe needs more than %d bytes in full", PITH_RECIPE_MAX_BYTES);
    return p.status;
}

/* ---- equality --------------------------------------------------------------- */

static bool same_text(const char *a, const char *b) { return a && b ? strcmp(a, b) == 0 : a == b; }

static bool same_stages(const pith_recipe_stage *a, const pith_recipe_stage *b, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        if (a[i].stage != b[i].stage) return false;
        for (unsigned k = 0; k < a[i].stage->n_params; k++) {
            if (a[i].value[k] != b[i].value[k] || !same_text(a[i].text[k], b[i].text[k])) return false;
            const pith_recipe *x = a[i].branch[k], *y = b[i].branch[k];
            if (x && y ? !pith_recipe_equal(x, y) : x != y) return false;
        }
    }
    return true;
}

bool pith_recipe_equal(const pith_recipe *a, const pith_recipe *b) {
    if (a->n_rules != b->n_rules) return false;
    for (unsigned i = 0; i < a->n_rules; i++) {
        const pith_recipe_rule *x = &a->rules[i], *y = &b->rules[i];
        if (!same_text(x->pattern, y->pattern) || x->n_stages != y->n_stages || x->n_solvers != y->n_solvers)
            return false;
        if (!same_stages(x->stages, y->stages, x->n_stages)) return false;
        if (!same_stages(x->solvers, y->solvers, x->n_solvers)) return false;
    }
    return true;
}

/* ---- freeing ------------------------------------------------------------------ */

static void free_stages(pith_ctx *ctx, pith_recipe_stage *stages, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < PITH_STAGE_MAX_PARAMS; k++) {
            pith_free(ctx, stages[i].text[k]);
            pith_recipe_free(ctx, stages[i].branch[k]);
        }
    pith_free(ctx, stages);
}

void pith_recipe_free(pith_ctx *ctx, pith_recipe *recipe) {
    if (!recipe) return;
    for (unsigned i = 0; i < recipe->n_rules; i++) {
        pith_free(ctx, recipe->rules[i].pattern);
        free_stages(ctx, recipe->rules[i].stages, recipe->rules[i].n_stages);
        free_stages(ctx, recipe->rules[i].solvers, recipe->rules[i].n_solvers);
    }
    pith_free(ctx, recipe->rules);
    pith_free(ctx, recipe);
}
