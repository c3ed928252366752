/* Siblings of a model, for the experiment on families. */
#ifndef CLI_BENCH_FAMILY_H
#define CLI_BENCH_FAMILY_H

#include "faces/cli/bench_predict.h"
#include "formats/tensors/tensors.h"
#include "lm/tune/tune.h"

typedef struct family_sibling {
    double update; /* |s B A| / |W| of an adapter of rank 8 merged into each matrix; 0: none */
    uint64_t seed;
    const float *head; /* in the place of the output matrix, or of the embedding where there is none; NULL: its own */
    bool strange;      /* matrices have other entries, of the same mean square */
} family_sibling;

/* Appends a GGUF file with matrices in bf16. */
pith_status family_make(pith_ctx *ctx, const tensor_file *from, const family_sibling *how, pith_buffer *out);

#endif
