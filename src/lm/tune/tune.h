/* The last matrix of a language model, trained further on one kind of text: the rest stays as it is, so one pass
 * gives the inputs of the matrix (the hidden states after the last norm) and what remains is softmax regression on
 * them, by minibatches with Adam (Kingma, Ba 2015). Its gradient is exact: (p - onehot) h^T.
 * The end of the text is held out; the matrix that codes it best is kept, the model's own among them.
 * Results are a model file, not a decoder: they may differ in the last bits from machine to machine. */
#ifndef LM_TUNE_TUNE_H
#define LM_TUNE_TUNE_H

#include "lm/lm.h"

typedef struct tune_options {
    uint32_t n_epochs;  /* 0: 8 */
    uint32_t n_ctx;     /* tokens of a window; 0: 512, or less where the model has less */
    uint32_t n_threads; /* of the pass through the model; 0: those of the session object */
    double rate;        /* of Adam's steps, relative to the root mean square of the matrix; 0: 0.01 */
    double held_out;    /* share of the tokens; 0: 0.1 */
} tune_options;

typedef struct tune_report {
    size_t n_tokens, n_held;             /* trained on, held out */
    double bits_before, bits_after;      /* of a held-out token */
    uint32_t n_epochs, best_epoch;       /* 0: nothing was better than the model's own */
} tune_report;

/* *head [n_vocab][n_embd] is the caller's to pith_free. PITH_E_ARGUMENT for a text of fewer than 64 tokens or a model
 * without a tokenizer. Takes 4 bytes for each token and channel, and 16 for each element of the matrix. Ticks by
 * tokens. */
pith_status tune_head(pith_ctx *ctx, const lm_model *m, const void *text, size_t size, const tune_options *options,
                      float **head, tune_report *report);
/* Writes the model as a GGUF file with `head` as its output matrix: floats stay what they were (F16 at least), other
 * types become Q8_0. PITH_E_ARGUMENT when the file the model came from holds layouts that GGUF does not have. */
pith_status tune_write(pith_ctx *ctx, const lm_model *m, const float *head, tensor_write_fn write, void *opaque);

#endif
