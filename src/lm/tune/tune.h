/* The last matrix of a language model, trained further on one kind of text: the rest stays as it is, so one pass
 * gives the inputs of the matrix (the hidden states after the last norm) and what remains is softmax regression on
 * them, by minibatches with Adam (Kingma, Ba 2015). Its gradient is exact: (p - onehot) h^T.
 * The end of the text is held out; the matrix that codes it best is kept, the model's own among them.
 * Results are a model file, not a decoder: they may differ in the last bits from machine to machine. */
#ifndef LM_TUNE_TUNE_H
#define LM_TUNE_TUNE_H

#include "lm/lm.h"
#include "lm/train/train.h"

typedef struct tune_options {
    uint32_t n_epochs;  /* 0: 8 */
    uint32_t n_ctx;     /* tokens of a window; 0: 512, or less where the model has less */
    uint32_t n_threads; /* of the pass through the model; 0: those of the session object */
    double rate;        /* of Adam's steps, relative to the root mean square of the matrix; 0: 0.01 */
    double held_out;    /* share of the tokens; 0: 0.1 */
    /* tune_all alone: a model of the same tokens to learn from (open until it returns), NULL: none. The loss is then (1 -
     * mix) times the code length and mix T^2 times the divergence from the teacher at temperature T. */
    const lm_model *teacher;
    double mix, temperature; /* 0: 0.9, 0: 1 */
    uint32_t share;          /* tune_all alone: so many layers in a row have one set of weights (lm/train); 0: 1 */
} tune_options;

typedef struct tune_report {
    size_t n_tokens, n_held;             /* trained on, held out */
    double bits_before, bits_after;      /* of a held-out token */
    double kl_before, kl_after;          /* from the teacher, nats of a held-out token; 0 without one */
    uint32_t n_epochs, best_epoch;       /* 0: nothing was better than the model's own */
} tune_report;

/* *head [n_vocab][n_embd] is the caller's to pith_free. PITH_E_ARGUMENT for a text of fewer than 64 tokens or a model
 * without a tokenizer. Takes 4 bytes for each token and channel, and 16 for each element of the matrix. Ticks by
 * tokens. */
pith_status tune_head(pith_ctx *ctx, const lm_model *m, const void *text, size_t size, const tune_options *options,
                      float **head, tune_report *report);

/* All weights instead of the last matrix (lm/train): some ten times the work of an epoch, memory for four copies of
 * the weights in F32 and the windows at work. rate is that of AdamW (0: 1e-3), n_epochs 0: 4, n_ctx 0: 256, less for
 * a short text. The last windows are held out, and the weights that code them best (with a teacher: whose loss on them at
 * temperature 1 is least) are in *net, which the caller frees before m; the model's own when nothing was better. Errors as above, and PITH_E_UNSUPPORTED for architectures that
 * lm/train does not take. n_threads is not looked at: those of the session. */
pith_status tune_all(pith_ctx *ctx, const lm_model *m, const void *text, size_t size, const tune_options *options,
                     train_net **net, tune_report *report);

/* ---- step by step: what checkpoints are taken from ---- */

typedef struct tune_run tune_run;
/* What training has come to: the matrix and Adam's moments of its gradient, [rows][cols] each. They and the number of
 * steps may be written to: training goes on from there. */
typedef struct tune_state {
    float *weights, *mean, *square;
    size_t rows, cols;
    uint64_t steps;
} tune_state;
/* The model's last matrix before the first step. Options and errors as for tune_head. */
pith_status tune_run_new(pith_ctx *ctx, const lm_model *m, const void *text, size_t size, const tune_options *options,
                         tune_run **out);
void tune_run_free(tune_run *r); /* NULL is fine */
tune_state *tune_run_state(tune_run *r);
/* One step, the size of which stays what it is. The batch is drawn by `order` and the number of steps made: the same two
 * give the same batch. *bits, of a token of the batch before the step, may be NULL. */
void tune_run_step(tune_run *r, uint32_t order, double *bits);
/* Bits of a held-out token. */
double tune_run_held(tune_run *r);

/* Writes the model as a GGUF file with `head` as its output matrix: floats stay what they were (F16 at least), other
 * types become Q8_0. PITH_E_ARGUMENT when the file the model came from holds layouts that GGUF does not have. */
pith_status tune_write(pith_ctx *ctx, const lm_model *m, const float *head, tensor_write_fn write, void *opaque);

#endif
