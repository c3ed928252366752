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

#define MODEL_SPREAD_LEAST 1.0 /* bits of a matrix */
#define MODEL_SPREAD_MOST 12.0

/* Codes each matrix of `base` with step(bits=3) and measures, one after the other, the divergence on the judge's text,
 * which is for calibration: not the one to judge by. In models of more than 30 million weights neighbouring layers
 * are tried together, in 24 trials. `base` must outlive it; the judge's overlay is base again afterwards. stats may be
 * NULL. Ticks by matrices. */
pith_status model_spread_new(pith_ctx *ctx, const tensor_file *base, const model_stats *stats, model_judge *judge,
                             model_spread **out);
/* The same with matrices that patterns name (only, NULL: all), and a judge in parts: an overlay that holds base, and a
 * ruler of it. */
pith_status model_spread_over(pith_ctx *ctx, const tensor_file *base, const char *only, const model_stats *stats,
                              model_overlay *o, const model_ruler *ruler, model_spread **out);
/* The same bits for all, where nothing can be measured. */
pith_status model_spread_even(pith_ctx *ctx, const tensor_file *base, const char *only, model_spread **out);
void model_spread_free(pith_ctx *ctx, model_spread *s);
/* How many tensors take part, the weights in them and in all others, and the bytes of those in the file. */
uint32_t model_spread_sizes(const model_spread *s, uint64_t *weights, uint64_t *other_weights, uint64_t *other_bytes);
/* Appends the recipe, "NAMES -> step(bits=B) | ctxac @ obs ; ...", with `bits` for each weight on average, in quarters
 * of a bit from 1 to 12. Without a NUL. */
pith_status model_spread_recipe(pith_ctx *ctx, const model_spread *s, double bits, pith_buffer *out);

/* What a number of bits came to. */
typedef struct model_spread_fit {
    double bits;     /* as model_spread_recipe takes them */
    uint64_t bytes;  /* of the codes */
    double kl;       /* measured, when the target was that; else 0 */
    unsigned trials; /* models coded */
} model_spread_fit;
/* The most bits whose codes take at most `bytes`, to within half a percent or what rounding to quarters of a bit
 * allows; PITH_E_LIMIT when the least do not fit. The overlay holds whatever was tried last. */
pith_status model_spread_for_bytes(pith_ctx *ctx, const model_spread *s, const model_stats *stats, model_overlay *o,
                                   uint64_t bytes, model_spread_fit *out);
/* The fewest bits, to a twentieth, that leave a divergence of at most max_kl on the ruler's text; PITH_E_LIMIT when the
 * most leave more. */
pith_status model_spread_for_kl(pith_ctx *ctx, const model_spread *s, const model_stats *stats, model_overlay *o,
                                const model_ruler *ruler, double max_kl, model_spread_fit *out);

#endif
