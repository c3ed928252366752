/* Output matrices judged by the loss they give on a text that was read once: hidden states do not depend on them.
 * Shared by the experiments on fine-tuned siblings. */
#ifndef CLI_BENCH_HEADS_H
#define CLI_BENCH_HEADS_H

#include "faces/cli/bench_predict.h"
#include "formats/tensors/tensors.h"

/* Hidden states before each token of a text, and the token. */
typedef struct head_text {
    float *hidden; /* [n][n_embd] */
    uint32_t *target;
    size_t n, n_embd, n_vocab;
} head_text;

/* In windows of 256 tokens. */
pith_status head_text_read(pith_ctx *ctx, const lm_model *m, const void *text, size_t size, unsigned n_threads,
                           head_text *t);
void head_text_free(pith_ctx *ctx, head_text *t);
/* Nats a token by the matrix head[n_vocab][n_embd]; NAN when memory fails. */
double head_text_loss(pith_ctx *ctx, const head_text *t, const float *head);

/* The output matrix of a model as floats, to be freed; NULL with the failure recorded. */
float *head_of_file(pith_ctx *ctx, const tensor_file *f, size_t n);

#endif
