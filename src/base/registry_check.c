/* Holds the tables to their own rules, so that a wrong row fails a test and not a user. */
#include "base/recipe_parts.h"

static bool is_name(const char *name) {
    if (!name || !recipe_name_start(*name)) return false;
    while (recipe_name_char(*name)) name++;
    return *name == 0;
}

/* Lower-case letters, digits and single hyphens inside: statesmix, kv-adaquant. */
static bool is_method_name(const char *name) {
    bool hyphen = true;
    if (!name) return false;
    for (; *name; name++) {
        bool plain = (*name >= 'a' && *name <= 'z') || (*name >= '0' && *name <= '9');
        if (!plain && (*name != '-' || hyphen)) return false;
        hyphen = !plain;
    }
    return !hyphen;
}

/* A word that stands alone may mean only one thing: a flag switched on, or a value. */
static bool names_flag(const pith_stage *stage, const char *word, size_t n) {
    unsigned i = pith_param_index(stage, word, n);
    return i < stage->n_params && stage->params[i].type == PITH_P_FLAG;
}

static bool flag_names_stage(const pith_stage *stage, const pith_param *flag) {
    for (unsigned i = 0; i < stage->n_params; i++)
        if (stage->params[i].type == PITH_P_RECIPE) return pith_stage_find(stage->artefact, flag->name) != NULL;
    return false;
}

static pith_status check_choices(pith_ctx *ctx, const pith_stage *stage, const pith_param *param) {
    size_t n;
    const char *name;
    for (unsigned i = 0; (name = pith_choice_name(param->choices, i, &n)) != NULL; i++) {
        bool word = n > 0;
        for (size_t k = 0; k < n; k++) word = word && recipe_word_char(name[k]);
        if (names_flag(stage, name, n))
            return pith_fail(ctx, PITH_E_INTERNAL, "stage %s: choice %u of %s names a flag", stage->name, i,
                             param->name);
        if (!word)
            return pith_fail(ctx, PITH_E_INTERNAL, "stage %s: choice %u of %s is not a word", stage->name, i,
                             param->name);
    }
    if (param->def == param->def && !(param->def >= 0 && param->def < (double)pith_choice_count(param->choices)))
        return pith_fail(ctx, PITH_E_INTERNAL, "stage %s: the default of %s is not a choice", stage->name, param->name);
    return PITH_OK;
}

static pith_status check_param(pith_ctx *ctx, const pith_stage *stage, unsigned i) {
    const pith_param *param = &stage->params[i];
    bool has_default = param->def == param->def;
    if (!is_name(param->name) || !param->doc)
        return pith_fail(ctx, PITH_E_INTERNAL, "stage %s: parameter %u has no name or no doc", stage->name, i);
    if (pith_param_index(stage, param->name, strlen(param->name)) != i)
        return pith_fail(ctx, PITH_E_INTERNAL, "stage %s: parameter %s is there twice", stage->name, param->name);
    if ((param->type == PITH_P_CHOICE) != (param->choices != NULL))
        return pith_fail(ctx, PITH_E_INTERNAL, "stage %s: choices and type of %s disagree", stage->name, param->name);
    if (param->type == PITH_P_CHOICE) return check_choices(ctx, stage, param);
    if (param->type == PITH_P_FLAG && flag_names_stage(stage, param))
        return pith_fail(ctx, PITH_E_INTERNAL, "stage %s: the flag %s names a stage", stage->name, param->name);
    if (param->type == PITH_P_FLAG && has_default && param->def != 0 && param->def != 1)
        return pith_fail(ctx, PITH_E_INTERNAL, "stage %s: the default of %s is not 0 or 1", stage->name, param->name);
    if (param->type != PITH_P_INT && param->type != PITH_P_REAL) return PITH_OK;
    if (!(param->min <= param->max) || (has_default && !(param->def >= param->min && param->def <= param->max)))
        return pith_fail(ctx, PITH_E_INTERNAL, "stage %s: the default of %s is out of range", stage->name, param->name);
    return PITH_OK;
}

static pith_status check_stage(pith_ctx *ctx, const pith_stage *stage) {
    if (!is_name(stage->name) || !stage->artefact || !stage->role || !stage->summary)
        return pith_fail(ctx, PITH_E_INTERNAL, "stage %s lacks a field", stage->name);
    if (stage->n_params > PITH_STAGE_MAX_PARAMS || (stage->n_params && !stage->params))
        return pith_fail(ctx, PITH_E_INTERNAL, "stage %s: %u parameters", stage->name, stage->n_params);
    if (pith_stage_find(stage->artefact, stage->name) != stage)
        return pith_fail(ctx, PITH_E_INTERNAL, "stage %s is there twice in %s", stage->name, stage->artefact);
    for (unsigned i = 0; i < stage->n_params; i++) {
        pith_status status = check_param(ctx, stage, i);
        if (status) return status;
    }
    return PITH_OK;
}

static pith_status check_method(pith_ctx *ctx, const pith_method *m) {
    if (!is_method_name(m->name) || !m->title || !m->paper || !m->systems || !m->artefact || !m->status)
        return pith_fail(ctx, PITH_E_INTERNAL, "method %s lacks a field", m->name);
    if (pith_method_find(m->name) != m) return pith_fail(ctx, PITH_E_INTERNAL, "method %s is there twice", m->name);
    if (m->categories >> PITH_N_CATEGORIES)
        return pith_fail(ctx, PITH_E_INTERNAL, "method %s is of a class that there is not", m->name);
    bool works = strcmp(m->status, "works") == 0;
    if (!works && strcmp(m->status, "planned") != 0)
        return pith_fail(ctx, PITH_E_INTERNAL, "method %s: status %s", m->name, m->status);
    if (works && (!m->claim || !m->check || !m->result))
        return pith_fail(ctx, PITH_E_INTERNAL, "method %s is said to work without claim, check and result",
                         m->name);
    if (!m->recipe) return PITH_OK;
    pith_recipe *recipe;
    pith_status status = pith_recipe_parse(ctx, m->artefact, m->recipe, strlen(m->recipe), &recipe);
    if (status == PITH_OK) pith_recipe_free(ctx, recipe);
    return status;
}

pith_status pith_registry_check(pith_ctx *ctx) {
    const pith_stage *stage;
    const pith_method *method;
    pith_status status = PITH_OK;
    for (pith_cursor c = {0, 0}; status == PITH_OK && (stage = pith_stage_next(&c)) != NULL;)
        status = check_stage(ctx, stage);
    for (pith_cursor c = {0, 0}; status == PITH_OK && (method = pith_method_next(&c)) != NULL;)
        status = check_method(ctx, method);
    return status;
}
