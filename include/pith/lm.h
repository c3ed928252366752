/* pith/lm.h: language models as compressors of files.
 *
 * A session that has been given a model can make archives with the recipe "lm" (pith/file.h),
 * and restore archives that name one of its models. The model is no part of the archive: its
 * hash is, and a decoder without it says which one is missing. The built-in model needs no giving.
 */
#ifndef PITH_LM_H
#define PITH_LM_H

#include "pith/pith.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Opens the model at `path` (a GGUF file, a llama2.c checkpoint, an rwkv.cpp file or a folder of safetensors; NULL: the
 * built-in model) and keeps it in the session. The recipe "lm" codes with the model given last. A model file without a
 * vocabulary takes tokenizer.json, tokenizer.model or tokenizer.bin beside it; what it codes needs both again.
 * The file must not change while the session lives. Fails as opening it fails, and with
 * PITH_E_ARGUMENT for a model without a tokenizer. Not while an encoder or decoder is open. */
PITH_API pith_status pith_lm_use(pith_ctx *ctx, const char *path);

#ifdef __cplusplus
}
#endif
#endif
