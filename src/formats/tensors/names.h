/* One table form for all renaming: a pattern of the format's names against GGUF's. */
#ifndef FORMATS_TENSORS_NAMES_H
#define FORMATS_TENSORS_NAMES_H

#include "formats/tensors/view.h"

typedef struct name_pair {
    const char *from, *to; /* "%" stands for the number of the block */
    bool bare;             /* `to` gets no .weight */
} name_pair;

/* Gives the tensors new names: what the pairs say of the name without `prefix` (where it has it;
 * NULL: none) and its ".weight" or ".bias", which stays (and is ".weight" where there is none).
 * Names that no pair has stay as they are. */
pith_status names_apply(pith_ctx *ctx, tensor_store *s, const char *prefix, const name_pair *pairs, size_t n_pairs);
/* Takes tensors out whose name without `prefix` fits one of the patterns: "%" is a number, a "*" at the end anything. */
void names_drop(tensor_store *s, const char *prefix, const char *const *patterns, size_t n_patterns);

#endif
