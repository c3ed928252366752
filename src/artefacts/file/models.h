/* The language models a session codes files with: found by hash, the built-in one always there. */
#ifndef FILE_MODELS_H
#define FILE_MODELS_H

#include "lm/coding/coding.h"

#define MODEL_HASH_WORDS 4

typedef struct file_model {
    const lm_model *model;
    uint32_t hash[MODEL_HASH_WORDS]; /* XXH3-128 of its file, as little-endian numbers */
} file_model;

/* The model given last, the built-in one when none was. Thread-safe. */
pith_status models_newest(pith_ctx *ctx, file_model *out);
/* Whether pith_lm_use has given the session a model. */
bool models_given(pith_ctx *ctx);
/* PITH_E_UNSUPPORTED with the hash in the message when the session has no such model. Thread-safe. */
pith_status models_find(pith_ctx *ctx, const uint32_t hash[MODEL_HASH_WORDS], file_model *out);

#endif
