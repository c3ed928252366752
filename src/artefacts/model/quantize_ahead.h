/* Tensors whose blocks error feedback chooses (GPTQ, Frantar et al. 2022): whole matrices at a time, as many as there
 * are threads, ahead of the writing. */
#ifndef ARTEFACTS_MODEL_QUANTIZE_AHEAD_H
#define ARTEFACTS_MODEL_QUANTIZE_AHEAD_H

#include "artefacts/model/quantize.h"

typedef struct quantize_ahead quantize_ahead;
pith_status quantize_ahead_new(pith_ctx *ctx, const quantize_plan *plan, quantize_ahead **out);
/* The blocks of tensor i of the plan, valid until the next call; NULL where rounding alone will do: no Gram matrix of
 * its inputs, or a type the feedback does not write. Tensors are asked for in order. */
pith_status quantize_ahead_get(pith_ctx *ctx, quantize_ahead *a, size_t i, const uint8_t **blocks);
void quantize_ahead_free(pith_ctx *ctx, quantize_ahead *a);
/* Whether a tensor of the plan is done this way. */
bool quantize_is_ahead(const quantize_plan *plan, const quantize_tensor *q);

#endif
