/* A recipe as the caller wrote it -> the one front end and the codec every block is tried with. */
#include "artefacts/artefacts.h"
#include "artefacts/file/file.h"
#include "artefacts/file/select.h"

static void take_args(const pith_recipe_stage *s, file_args *args) {
    args->n = s->stage->n_params;
    for (unsigned i = 0; i < args->n; i++) args->v[i] = (uint32_t)s->value[i];
}

static pith_status take_stage(pith_ctx *ctx, const pith_recipe_stage *s, bool last, select_plan *plan) {
    bool is_codec = strcmp(s->stage->role, "codec") == 0;
    if (last != is_codec)
        return pith_fail(ctx, PITH_E_ARGUMENT,
                         "recipe column %u: \"%s\" is a %s; a file recipe is one front end or none, "
                         "then one codec",
                         s->column, s->stage->name, s->stage->role);
    if (s->stage->n_params > FILE_MAX_ARGS)
        return pith_fail(ctx, PITH_E_INTERNAL, "stage \"%s\" has too many parameters for a block", s->stage->name);
    if (is_codec) {
        select_codec *c = &plan->own.codec;
        c->codec = s->stage->impl;
        take_args(s, &c->args);
        plan->own.when = WHEN_ALWAYS;
        plan->candidates = &plan->own;
        plan->n_candidates = 1;
        pith_status status = c->codec->complete ? c->codec->complete(ctx, &c->args) : PITH_OK;
        plan->block_size = c->codec->block_size;
        plan->floats = c->codec->floats && c->codec->floats(&c->args);
        return status ? status : c->codec->check(ctx, &c->args);
    }
    plan->front = s->stage->impl;
    take_args(s, &plan->front_args);
    return PITH_OK;
}

pith_status select_recipe(pith_ctx *ctx, const char *text, select_plan *plan, pith_buffer *canonical) {
    pith_recipe *recipe = NULL;
    artefacts_register();
    pith_status status = pith_recipe_parse(ctx, "file", text, strlen(text), &recipe);
    if (status) return status;
    const pith_recipe_rule *rule = &recipe->rules[0];
    if (recipe->n_rules != 1 || rule->pattern || rule->n_solvers || rule->n_stages > 2)
        status = pith_fail(ctx, PITH_E_ARGUMENT, "a file recipe is one chain: one front end or none, then one codec");
    *plan = (select_plan){.level = 0};
    for (unsigned i = 0; i < rule->n_stages && !status; i++)
        status = take_stage(ctx, &rule->stages[i], i + 1 == rule->n_stages, plan);
    if (!status) status = pith_recipe_print(ctx, recipe, canonical);
    pith_recipe_free(ctx, recipe);
    return status;
}
