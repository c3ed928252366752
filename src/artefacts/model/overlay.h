/* A model with some of its matrices replaced, without a file: a GGUF in memory whose replaced tensors are plain floats
 * that can be written over again and again. What encoders leave (repr_decode's floats) is judged through this, so that
 * all codes are measured by the same products, whatever they would be expanded to in use. */
#ifndef ARTEFACTS_MODEL_OVERLAY_H
#define ARTEFACTS_MODEL_OVERLAY_H

#include "lm/lm.h"

typedef struct model_overlay model_overlay;

/* A copy of `base` (open longer than the overlay) in which every tensor that `replace[i]` marks (NULL: all matrices,
 * that is floats or blocks of two dimensions with more than one row) is F32, matrices F16 with `half`; all start as
 * what base holds, decoded, so that an untouched overlay is the dequantised base. PITH_E_LIMIT says what it takes. */
pith_status model_overlay_new(pith_ctx *ctx, const tensor_file *base, const bool *replace, bool half,
                              model_overlay **out);
void model_overlay_free(pith_ctx *ctx, model_overlay *o);

/* Bytes an overlay takes. */
uint64_t model_overlay_bytes(const tensor_file *base, const bool *replace, bool half);
/* Whether a tensor is one of what `replace` NULL stands for. */
bool model_overlay_takes(const tensor_view *t);

/* values[n] in place of elements at .. at + n of tensor i, which must be replaced; not while a model over it is open,
 * but from several threads for different places. */
pith_status model_overlay_put(pith_ctx *ctx, model_overlay *o, size_t i, uint64_t at, const float *values, size_t n);
/* What base holds again. */
pith_status model_overlay_reset(pith_ctx *ctx, model_overlay *o, size_t i);
/* A model over what is there now; it must be closed before the next put, and before the overlay. */
pith_status model_overlay_open(pith_ctx *ctx, model_overlay *o, lm_model **out);
/* The same as a file of tensors, which belongs to the overlay. */
const tensor_file *model_overlay_file(const model_overlay *o);

#endif
