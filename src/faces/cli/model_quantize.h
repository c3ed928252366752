/* Choices of `pith model quantize` out of a recipe (model_quantize_recipe.c). */
#ifndef CLI_MODEL_QUANTIZE_H
#define CLI_MODEL_QUANTIZE_H

#include "artefacts/model/model.h"

/* Rules "PATTERNS -> gguf(TYPE)", the first that names a tensor decides. *feeds: whether one has "@ obs". CLI_FAIL with
 * the message printed; what was read is to be freed in any case. */
int quantize_recipe_read(pith_ctx *ctx, const char *text, quantize_choice **choices, size_t *n, bool *feeds);
void quantize_recipe_free(pith_ctx *ctx, quantize_choice *choices, size_t n);

#endif
