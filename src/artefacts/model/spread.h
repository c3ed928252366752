/* Bits of one coder spread over the matrices of a model by what errors in each cost.
 *
 * At high rate the error of a matrix falls by four with every bit, and divergence is about the sum of what the errors
 * of single matrices cause (V. Malinovskii et al., Pushing the Limits of Large Language Model Quantization via the
 * Linearity Theorem, 2024). So the optimum is where a bit per weight buys the same everywhere: with KL_i the divergence
 * that matrix i of n_i weights causes alone at one rate, b_i = b + 1/2 log2(KL_i / n_i) - the mean of that over all
 * weights (reverse water-filling: Cover and Thomas, ch. 10). */
#ifndef ARTEFACTS_MODEL_SPREAD_H
#define ARTEFACTS_MODEL_SPREAD_H

#include "artefacts/model/evaluate.h"

typedef struct model_spread model_spread;

/* Codes each matrix of `base` with step(bits=3) and measures, one after the other, the divergence on the judge's text,
 * which is for calibration: not the one to judge by. `base` must outlive it; the judge's overlay is base again
 * afterwards. stats may be NULL. Ticks by matrices. */
pith_status model_spread_new(pith_ctx *ctx, const tensor_file *base, const model_stats *stats, model_judge *judge,
                             model_spread **out);
void model_spread_free(pith_ctx *ctx, model_spread *s);
/* Appends the recipe, "NAMES -> step(bits=B) | ctxac @ obs ; ...", with `bits` for each weight on average, in quarters
 * of a bit from 1 to 12. Without a NUL. */
pith_status model_spread_recipe(pith_ctx *ctx, const model_spread *s, double bits, pith_buffer *out);

#endif
