/* One budget over all matrices of a model: every matrix coded at every level (a recipe each), what that takes and
 * loses in one table, and a choice by the solvers of kernels/allocate.
 *
 * The loss of a row is the relative error of the matrix's outputs times how much the model minds: the divergence that
 * an error of this matrix alone makes, per error (KL is about linear in it while errors are small: Malinovskii et al.
 * 2024, "Pushing the limits of large language model quantization via the linearity theorem"). So losses add up to an
 * estimate of the divergence of the whole, and evolution measures the divergence itself (S011 EvoPress). */
#ifndef ARTEFACTS_MODEL_ALLOCATE_H
#define ARTEFACTS_MODEL_ALLOCATE_H

#include "artefacts/model/evaluate.h"
#include "kernels/allocate/allocate.h"

typedef struct model_table model_table;

/* Codes every matrix that the overlay of the judge replaces (model_overlay_takes) with the chain of each rule of
 * `levels`, which have no patterns, in parallel; the codes stay in memory. `levels` and `stats` (may be NULL) must
 * outlive it. Ticks by matrices. */
pith_status model_table_new(pith_ctx *ctx, const tensor_file *base, const pith_recipe *levels, const model_stats *stats,
                            model_table **out);
void model_table_free(pith_ctx *ctx, model_table *t);
/* Unit: a matrix; level: a rule. In bytes of codes. */
const alloc_table *model_table_rows(const model_table *t);
uint64_t model_table_weights(const model_table *t); /* in all the matrices */

/* Measures for each matrix the divergence (mean KL over n_chunks chunks) that its row with the relative error nearest
 * to 1/50 makes by itself, and scales its losses by it. Ticks by matrices. */
pith_status model_table_weigh(pith_ctx *ctx, model_table *t, model_judge *judge, size_t n_chunks);
/* Puts the matrices of a choice into the judge's overlay. */
pith_status model_table_put(pith_ctx *ctx, model_table *t, model_judge *judge, const uint32_t *rows);
/* What was put where is forgotten: the next judge is another one, fresh. */
void model_table_forget(model_table *t);
/* Evolution from a choice within the budget; rounds in chunks of the judge's text. */
pith_status model_table_evolve(pith_ctx *ctx, model_table *t, model_judge *judge, const alloc_budget *budget,
                               uint32_t generations, uint32_t offspring, uint64_t seed, alloc_choice *choice);
/* The recipe of a choice: one rule for each level, its pattern the names of the matrices. Appended without a NUL. */
pith_status model_table_recipe(pith_ctx *ctx, const model_table *t, const uint32_t *rows, pith_buffer *out);

#endif
