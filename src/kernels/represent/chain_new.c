/* From a rule of a recipe to a chain: which stage is what, whether they fit, and what the rule leaves open. */
#include "kernels/represent/chain.h"

static const repr_ops *ops_of(const pith_recipe_stage *args) { return args->stage->impl; }

static pith_status refuse(pith_ctx *ctx, const pith_recipe_stage *at, const char *why) {
    return pith_fail(ctx, PITH_E_ARGUMENT, "column %u: %s %s", at->column, at->stage->name, why);
}

static void free_branches(pith_ctx *ctx, chain_link *link) {
    for (unsigned i = 0; i < PITH_STAGE_MAX_PARAMS; i++) repr_chain_free(ctx, link->branch[i]);
}

void repr_chain_free(pith_ctx *ctx, repr_chain *chain) {
    if (!chain) return;
    for (unsigned i = 0; i < chain->n_transforms; i++) free_branches(ctx, &chain->transforms[i]);
    free_branches(ctx, &chain->coder);
    pith_recipe_free(ctx, chain->default_coder);
    pith_recipe_free(ctx, chain->default_packer);
    pith_free(ctx, chain->transforms);
    pith_free(ctx, chain);
}

static pith_status chain_build(pith_ctx *ctx, const pith_recipe_rule *rule, const repr_chain *around, repr_chain **out);

/* A chain for each argument that is one. They know the packer and the solver of `around`, when it lends them. */
static pith_status link_branches(pith_ctx *ctx, chain_link *link, const repr_chain *around) {
    for (unsigned i = 0; i < link->args->stage->n_params; i++) {
        const pith_recipe *recipe = link->args->branch[i];
        if (!recipe) continue;
        pith_status status = chain_build(ctx, &recipe->rules[0], around, &link->branch[i]);
        if (status) return status;
    }
    return PITH_OK;
}

static pith_status parse_default(pith_ctx *ctx, const char *text, pith_recipe **recipe, chain_link *link) {
    if (!pith_stage_find("model", text))
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "this build has no stage %s, which the recipe leaves open", text);
    pith_status status = pith_recipe_parse(ctx, "model", text, strlen(text), recipe);
    if (status) return status;
    link->args = &(*recipe)->rules[0].stages[0];
    link->ops = ops_of(link->args);
    return PITH_OK;
}

/* transform | ... | coder | packer, where each of them may be missing. */
static pith_status sort_stages(pith_ctx *ctx, const pith_recipe_rule *rule, repr_chain *c) {
    for (unsigned i = 0; i < rule->n_stages; i++) {
        const pith_recipe_stage *s = &rule->stages[i];
        const repr_ops *ops = ops_of(s);
        if (!ops) return refuse(ctx, s, "is no stage of a chain");
        if (ops->kind == REPR_TRANSFORM) {
            if (c->coder.args || c->packer.args) return refuse(ctx, s, "changes floats and stands before what codes them");
            c->transforms[c->n_transforms++] = (chain_link){.args = s, .ops = ops};
        } else if (ops->kind == REPR_CODER) {
            if (c->coder.args) return refuse(ctx, s, "would code what is coded already; sum(a, b) joins two coders");
            if (c->packer.args) return refuse(ctx, s, "stands before what packs its codes");
            c->coder = (chain_link){.args = s, .ops = ops};
        } else if (ops->kind == REPR_PACKER) {
            if (c->packer.args) return refuse(ctx, s, "would pack what is packed already");
            c->packer = (chain_link){.args = s, .ops = ops};
        } else {
            return refuse(ctx, s, "is a solver and stands after @");
        }
    }
    for (unsigned i = 0; i < rule->n_solvers; i++) {
        const pith_recipe_stage *s = &rule->solvers[i];
        if (!ops_of(s) || ops_of(s)->kind != REPR_SOLVER) return refuse(ctx, s, "is no solver of chains");
        if (c->solver.args) return refuse(ctx, s, "is one solver more than a chain takes");
        c->solver = (chain_link){.args = s, .ops = ops_of(s)};
    }
    return PITH_OK;
}

/* Whether a solver has something to drive. */
static bool takes_solver(const repr_chain *c) {
    if (!c->coder.ops->is_branch) return c->coder.ops->columns != NULL;
    for (unsigned i = 0; i < PITH_STAGE_MAX_PARAMS; i++)
        if (c->coder.branch[i] && c->coder.branch[i]->solver.args) return true;
    return false;
}

/* What decoding costs, in matrices. */
static unsigned count_leaves(const repr_chain *c) {
    uint64_t n = 0;
    for (unsigned i = 0; i < PITH_STAGE_MAX_PARAMS; i++)
        if (c->coder.branch[i]) n += c->coder.branch[i]->leaves;
    n = PITH_MAX(n, 1);
    for (unsigned i = 0; c->coder.ops->is_branch && i < c->coder.args->stage->n_params; i++)
        if (c->coder.args->stage->params[i].type == PITH_P_INT) n *= (uint64_t)PITH_MAX(c->coder.args->value[i], 1);
    return (unsigned)PITH_MIN(n, (uint64_t)CHAIN_MAX_LEAVES + 1);
}

static pith_status complete(pith_ctx *ctx, const pith_recipe_rule *rule, const repr_chain *around, repr_chain *c) {
    pith_status status = sort_stages(ctx, rule, c);
    if (!status && !c->coder.args) {
        bool pruned = c->n_transforms && !c->transforms[c->n_transforms - 1].ops->inverse;
        status = parse_default(ctx, pruned ? "sparse" : "raw", &c->default_coder, &c->coder);
    }
    if (!status && !c->packer.args && around) c->packer = around->packer;
    if (!status && !c->packer.args) status = parse_default(ctx, "pack", &c->default_packer, &c->packer);
    for (unsigned i = 0; i < c->n_transforms && !status; i++) status = link_branches(ctx, &c->transforms[i], NULL);
    if (status) return status;
    bool own_solver = c->solver.args != NULL;
    if (!own_solver && around && (c->coder.ops->columns || c->coder.ops->is_branch)) c->solver = around->solver;
    const repr_chain lent = {.packer = c->packer, .solver = c->coder.ops->is_branch ? c->solver : (chain_link){0}};
    status = link_branches(ctx, &c->coder, &lent);
    if (status) return status;
    if (own_solver && !takes_solver(c))
        return refuse(ctx, c->coder.args, "does not go column by column, so no solver can drive it");
    if (!own_solver && c->coder.ops->is_branch && !takes_solver(c)) c->solver = (chain_link){0};
    c->leaves = count_leaves(c);
    if (c->leaves > CHAIN_MAX_LEAVES) return refuse(ctx, c->coder.args, "would add up more than 1024 matrices");
    return PITH_OK;
}

static pith_status chain_build(pith_ctx *ctx, const pith_recipe_rule *rule, const repr_chain *around, repr_chain **out) {
    *out = NULL;
    repr_chain *c = pith_zalloc(ctx, sizeof *c);
    if (!c) return pith_alloc_status(ctx);
    c->transforms = pith_zalloc(ctx, (rule->n_stages + 1) * sizeof *c->transforms);
    pith_status status = c->transforms ? complete(ctx, rule, around, c) : pith_alloc_status(ctx);
    if (status)
        repr_chain_free(ctx, c);
    else
        *out = c;
    return status;
}

pith_status repr_chain_new(pith_ctx *ctx, const pith_recipe_rule *rule, repr_chain **out) {
    return chain_build(ctx, rule, NULL, out);
}

unsigned repr_chain_cost(const repr_chain *chain) { return chain->leaves; }
