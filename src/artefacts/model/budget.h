/* One budget of bytes over all matrices of a model: every matrix is coded at every level, and an allocator says which
 * level each gets. What comes out is an ordinary recipe, a rule of patterns for each level that is used. */
#ifndef ARTEFACTS_MODEL_BUDGET_H
#define ARTEFACTS_MODEL_BUDGET_H

#include "artefacts/model/evaluate.h"
#include "kernels/allocate/allocate.h"

/* ---- every matrix at every level (budget_variants.c) ------------------------------------------------------ */

typedef struct model_variants model_variants;

#define MODEL_MAX_LEVELS 64
typedef struct model_variants_options {
    const char *const *levels; /* [n_levels] chains: recipes without a pattern */
    size_t n_levels;           /* at most MODEL_MAX_LEVELS */
    const model_stats *stats;  /* NULL: none */
    const char *only;          /* patterns of the tensors that take part; NULL: all matrices */
    bool experts;              /* every matrix of a stack, as experts are, is a unit of its own */
    bool keep;                 /* what decoding gives stays in memory, for many a put; else put codes again */
} model_variants_options;

/* A tensor, whose matrices all get one level, or one matrix of a stack. */
typedef struct model_unit {
    size_t tensor; /* in the base */
    uint32_t part, n_parts; /* its matrices of the tensor */
    bool single;            /* one of a stack */
    uint64_t weights;
    double norm;   /* |W|^2 */
    double energy; /* tr(W H W^T): mean square of the outputs over all tokens, summed; the norm where nothing is known */
    double share;  /* of the tokens that reach it: 1 but for experts, whose popularity it is */
    double slope;  /* KL in nats for each unit of relative output error; 0 until measured */
} model_unit;

typedef struct model_variant {
    uint64_t bytes;
    double weights, outputs; /* errors relative to the weights', the outputs' own squares */
} model_variant;

/* Codes all, in parallel over matrices and levels. `options` is read during the call only, but stats must outlive the
 * variants that were not kept. Ticks by weights. */
pith_status model_variants_new(pith_ctx *ctx, const tensor_file *base, const model_variants_options *options,
                               model_variants **out);
void model_variants_free(pith_ctx *ctx, model_variants *v);
uint32_t model_variants_units(const model_variants *v);
uint32_t model_variants_levels(const model_variants *v);
const tensor_file *model_variants_base(const model_variants *v);
/* A level as text: options->levels[level], copied. */
const char *model_variants_text(const model_variants *v, uint32_t level);
const model_unit *model_variants_unit(const model_variants *v, uint32_t unit);
const model_variant *model_variants_at(const model_variants *v, uint32_t unit, uint32_t level);
/* Weights in the units and out of them; bytes out of them, as they are in the file. */
uint64_t model_variants_weights(const model_variants *v);
uint64_t model_variants_other_weights(const model_variants *v);
uint64_t model_variants_other_bytes(const model_variants *v);

/* A unit as a level leaves it, or with level = model_variants_levels(v) as base has it, into an overlay of base. */
pith_status model_variants_put(pith_ctx *ctx, const model_variants *v, uint32_t unit, uint32_t level, model_overlay *o);
/* All units by the rows of a choice (row = unit * levels + level); those that `before` (NULL: none known) says are
 * there already are passed over. In parallel. */
pith_status model_variants_put_all(pith_ctx *ctx, const model_variants *v, const uint32_t *rows, const uint32_t *before,
                                   model_overlay *o);

/* Measures the slopes: KL of the model with one unit coded and all else as it is, over the relative error of outputs
 * that makes; KL is about linear in it while it is small (V. Malinovskii et al., Pushing the Limits of Large Language
 * Model Quantization via the Linearity Theorem, 2024). Takes the level with the error nearest to 1/50, and the first
 * n_chunks chunks of the ruler (0: all). o is an overlay of base, and base again afterwards. Ticks by units. */
pith_status model_variants_slopes(pith_ctx *ctx, model_variants *v, model_overlay *o, const model_ruler *r,
                                  size_t n_chunks);
/* The same in about so many trials (0: any number) where there are more units: those of neighbouring layers that differ
 * in the layer alone, and neighbouring experts, are tried together, and their slopes are one times the share. */
pith_status model_variants_slopes_in(pith_ctx *ctx, model_variants *v, model_overlay *o, const model_ruler *r,
                                     size_t n_chunks, uint32_t trials);

/* What the error of a unit counts as. */
typedef enum model_loss {
    MODEL_LOSS_WEIGHTS, /* |W - R|^2 / |W|^2 */
    MODEL_LOSS_OUTPUTS, /* tr((W - R) H (W - R)^T) / tr(W H W^T) */
    MODEL_LOSS_ENERGY,  /* tr((W - R) H (W - R)^T) */
    MODEL_LOSS_SHARE,   /* the second times the unit's part of all weights */
    MODEL_LOSS_KL,      /* the second times the slope */
    MODEL_LOSSES
} model_loss;
extern const char *const model_loss_names[MODEL_LOSSES]; /* "weights", "outputs", "energy", "share", "kl" */
/* rows[units * levels] for the allocators. */
void model_variants_rows(const model_variants *v, model_loss loss, alloc_row *rows);

/* ---- a choice as a recipe (budget_recipe.c) ----------------------------------------------------------------- */

/* Appends the recipe of a choice: for each level that is used a rule whose patterns name its tensors, layers together
 * where they can be. It is checked to give every tensor what was chosen, and no rule to any other matrix. */
pith_status model_variants_recipe(pith_ctx *ctx, const model_variants *v, const uint32_t *rows, pith_buffer *out);
/* The same for tensors[n] of base, in their order there, which get levels[level[n]], at most MODEL_MAX_LEVELS. parts
 * (NULL: none) are numbers of single matrices of stacks, all of a stack in a row, or UINT32_MAX for whole tensors. */
pith_status model_rules_print(pith_ctx *ctx, const tensor_file *base, const size_t *tensors, const uint32_t *parts,
                              const uint32_t *level, uint32_t n, const char *const *levels, uint32_t n_levels, pith_buffer *out);

/* ---- choosing (budget.c) -------------------------------------------------------------------------------------- */

typedef enum model_budget_method {
    MODEL_BUDGET_GREEDY,   /* one exchange rate of bytes for loss, steepest steps first */
    MODEL_BUDGET_KNAPSACK, /* the exact optimum of the sum of losses */
    MODEL_BUDGET_EVOLVE,   /* from the greedy choice on, by measured KL */
    MODEL_BUDGET_RATE,     /* bits by half the logarithm of the loss at the lowest level */
    MODEL_BUDGET_UNIFORM,  /* the best level that fits for all */
    MODEL_BUDGET_METHODS
} model_budget_method;
extern const char *const model_budget_names[MODEL_BUDGET_METHODS];

/* Choices in a model, measured. */
typedef struct model_fitness {
    pith_ctx *ctx;
    const model_variants *v;
    model_overlay *overlay;
    const model_ruler *ruler; /* may be another one at any time */
    uint32_t *there;          /* [units] rows that the overlay holds; UINT32_MAX: base */
    uint64_t seen[64];        /* hashes of choices measured last, and what came out: a parent is measured once */
    double seen_kl[64];
    uint64_t evaluated, tokens; /* choices, and tokens read for them */
} model_fitness;
/* o holds base. */
pith_status model_fitness_new(pith_ctx *ctx, const model_variants *v, model_overlay *o, const model_ruler *r,
                              model_fitness *out);
void model_fitness_free(model_fitness *f);
/* For alloc_evo: mean KL of n choices over the first `effort` chunks (0: all). */
pith_status model_fitness_of(void *fitness, const uint32_t *rows, size_t n, uint64_t effort, double *losses);
/* All of what the ruler knows of one choice. */
pith_status model_fitness_score(model_fitness *f, const uint32_t *rows, model_score *out);

typedef struct model_budget {
    model_budget_method method;
    uint64_t bytes; /* of the units' codes at most */
    uint64_t seed;  /* the rest is evolution's */
    uint32_t generations, offspring;
} model_budget;
/* rows_of_table as model_variants_rows gives them. fitness serves evolution only. */
pith_status model_budget_choose(pith_ctx *ctx, const model_variants *v, const alloc_row *rows_of_table,
                                const model_budget *budget, model_fitness *fitness, alloc_choice *out);
/* The fewest bytes whose measured KL is at most max_kl: bisection on the budget. PITH_E_LIMIT when even the most
 * bytes leave more. *kl is that of the choice. */
pith_status model_budget_for_kl(pith_ctx *ctx, const model_variants *v, const alloc_row *rows_of_table,
                                const model_budget *budget, model_fitness *fitness, double max_kl, alloc_choice *out,
                                double *kl);

#endif
