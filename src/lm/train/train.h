/* A llama-like language model (dense or a mixture of experts) in floats, with the exact gradient of its code length.
 *
 * Takes any model of the runtime whose layers are RMS norm, RoPE, attention, SwiGLU or experts: architectures llama,
 * deci and qwen2. The loss is the runtime's own code length up to rounding (tests/lm/train holds it to 1e-4). Work is
 * shared by the threads of the session, and no result depends on how many there are. */
#ifndef LM_TRAIN_TRAIN_H
#define LM_TRAIN_TRAIN_H

#include "lm/lm.h"

typedef struct train_net train_net; /* calls of one thread at a time */

/* F32 copies of every weight. m must outlive the net (its metadata and tokenizer are written with it).
 * PITH_E_UNSUPPORTED for other architectures. */
pith_status train_net_open(pith_ctx *ctx, const lm_model *m, train_net **out);

/* What stands for experts that are left out. */
typedef enum train_vectors {
    TRAIN_VECTORS_NONE,
    TRAIN_VECTORS_INPUT, /* vectors that change what the kept experts read */
    TRAIN_VECTORS_OUTPUT, /* what they give */
    TRAIN_VECTORS_KEPT /* nothing: vectors of the kept experts change what they read, to compare with */
} train_vectors;
/* The same of a mixture of which a token gets its n_kept best experts alone, fewer than the model's own; for each other
 * one that it would have got a vector, learned, weighed as the expert would be (learn_modulate): tensors
 * "blk.N.ffn_left.weight" [n_experts][n_embd], zeros at first. Such a net cannot be written. */
pith_status train_net_open_fewer(pith_ctx *ctx, const lm_model *m, uint32_t n_kept, train_vectors vectors,
                                 train_net **out);

/* The same with layers that share their weights: layer i has those of layer like[i] (like[n_layers], like[i] <= i and
 * like[like[i]] == like[i]), which begin as the mean of all that have them. It is written with each layer in full, equal
 * layers of equal bytes. PITH_E_ARGUMENT for layers of different shapes. */
pith_status train_net_open_shared(pith_ctx *ctx, const lm_model *m, const uint32_t *like, train_net **out);

typedef struct train_shape {
    uint32_t n_embd, n_layers, n_heads, n_kv_heads, n_ff, n_ctx;
    uint32_t n_experts, n_used; /* 0: dense; n_ff is each expert's */
    double rope_base;           /* 0: 10000 */
    bool untied;                /* a matrix of its own for the output */
    uint32_t n_vocab;           /* of a net without a tokenizer */
    double spread;              /* standard deviation of the weights; 0: 0.02. Narrow nets want 1 / sqrt(n_embd) */
} train_shape;
/* A new net with random weights: normal, of shape->spread, divided by sqrt(2 n_layers) for the matrices that write to
 * the stream (attn_output, ffn_down); norms 1. Vocabulary and tokenizer are those of another model,
 * which must outlive the net; without one (NULL) there are shape->n_vocab tokens, which are bytes when they are 256. */
pith_status train_net_new(pith_ctx *ctx, const train_shape *shape, const lm_model *tokenizer_from, uint64_t seed,
                          train_net **out);
void train_net_free(train_net *net); /* NULL is fine */

/* ---- weights: by GGUF's names, "blk.3.ffn_down.weight" ---------------------------------------------- */

size_t train_n_tensors(const train_net *net);
const char *train_tensor_name(const train_net *net, size_t i);
/* [rows][cols], writable; NULL when the net has no such (tied: the output is token_embd.weight). Stacks of experts are
 * one below the other: rows is n_experts times those of one. rows, cols may be NULL. */
float *train_net_tensor(train_net *net, const char *name, size_t *rows, size_t *cols);
/* Gradient of the mean loss of the last pass that wanted weight gradients; NULL as above, and of frozen ones. */
const float *train_gradient(const train_net *net, const char *name);
/* Which tensors are trained: those for which wanted(opaque, name) is true; NULL: all. Of the others no gradient is
 * worked out, and layers below the lowest one are not walked back through. */
void train_net_choose(train_net *net, bool (*wanted)(void *opaque, const char *name), void *opaque);
/* Steps of a tensor are of `times` the rate from now on. False when the net has no such. */
bool train_net_hasten(train_net *net, const char *name, double times);
/* Which weights of a tensor there are, 1 each at first, [rows][cols], writable: those set to 0 are made zeros by the next
 * step and by all after it (masks of pruning). NULL as above, or for want of memory. */
uint8_t *train_net_kept(train_net *net, const char *name);
/* A copy of all weights from or to values[train_n_weights], to keep the best of a training. */
size_t train_n_weights(const train_net *net);
void train_net_save(const train_net *net, float *values);
void train_net_restore(train_net *net, const float *values);

/* ---- one pass ------------------------------------------------------------------------------------------ */

#define TRAIN_NO_TARGET UINT32_MAX

/* Zero-initialise; all may be left so. */
typedef struct train_hooks {
    void *opaque;
    /* In the backward pass, on the calling thread, for every weight matrix, last layer first, for some windows at a
     * time: its inputs x[n_rows][n_in] and the gradient of the SUM of the losses by its outputs g[n_rows][n_out], one
     * row for each token that went through it. expert: -1 of plain matrices. Names as GGUF has them (tied:
     * token_embd.weight). The order of calls and the rows in each do not depend on the number of threads. */
    void (*linear)(void *opaque, const char *name, int expert, const float *x, const float *g, size_t n_rows,
                   size_t n_in, size_t n_out);
    /* [n_windows][n_ctx]: the token to score behind each one, TRAIN_NO_TARGET: none; NULL: the next one of the window
     */
    const uint32_t *target;
    /* Targets are drawn from the model's own distribution instead (where there is a target at all): then the outer
     * product of gradients is the Fisher information. */
    bool sample;
    uint64_t seed;
    /* [n_windows][n_ctx][n_vocab] logits of another model, NULL: none: the loss is then (1 - mix) times the code length
     * and mix T^2 times the divergence of the net from that model, both at temperature T (0: 1). */
    const float *teacher;
    double mix, temperature;
} train_hooks;

/* Forward pass over tokens[n_windows][n_ctx], windows apart from each other, and, when weight gradients are wanted or
 * hooks->linear is there, backward. *nats: mean over the scored tokens. hooks may be NULL. Tokens are fed as they are:
 * put the start token in front of each window where the model expects one. PITH_E_ARGUMENT for ids out of range.
 * Memory: some tens of megabytes for each of up to 4 parts at work, kept between passes of the same n_ctx. */
pith_status train_pass(pith_ctx *ctx, train_net *net, const uint32_t *tokens, size_t n_windows, size_t n_ctx,
                       const train_hooks *hooks, bool want_weight_gradients, double *nats);

typedef struct train_step_options {
    double rate;         /* 0: 3e-4 */
    double beta1, beta2; /* 0: 0.9, 0.95 */
    double decay;        /* of matrices, decoupled */
    double clip;         /* of the norm over all tensors; 0: 1; negative: never */
} train_step_options;
/* One step of AdamW down the last pass's gradient. *norm (may be NULL): the gradient's before clipping. PITH_E_CHECK
 * when it is not finite; then nothing has changed. */
pith_status train_step(pith_ctx *ctx, train_net *net, const train_step_options *o, double *norm);
/* Warm-up in a line, then half a cosine down to a tenth of peak; t from 1. */
double train_rate_at(uint64_t t, uint64_t warm, uint64_t total, double peak);

/* Windows of n_ctx tokens from a text, one after the other, each begun with the start token where the tokenizer has
 * one; what does not fill a window is left out. tokens[n_windows][n_ctx] is the caller's to pith_free. */
pith_status train_windows(pith_ctx *ctx, const train_net *net, const void *text, size_t size, size_t n_ctx,
                          uint32_t **tokens, size_t *n_windows);

/* ---- a teacher: any model of the same tokens, for train_hooks.teacher (teacher.c) ----------------------------------- */

typedef struct train_teacher train_teacher;
/* For windows of n_ctx tokens; m must outlive it. PITH_E_ARGUMENT when its vocabulary is not the net's. */
pith_status train_teacher_new(pith_ctx *ctx, const train_net *net, const lm_model *m, size_t n_ctx,
                              train_teacher **out);
void train_teacher_free(train_teacher *t); /* NULL is fine */
/* What it says to windows [n_windows][n_ctx]: *logits [n_windows][n_ctx][n_vocab], its own, until the next call. Takes
 * 4 bytes for each of them, so ask for what one pass takes. */
pith_status train_teacher_ask(train_teacher *t, const uint32_t *tokens, size_t n_windows, const float **logits);

/* ---- results ------------------------------------------------------------------------------------------- */

/* GGUF that lm_open and llama.cpp read, tokenizer included; matrices as TENSOR_F32 or TENSOR_F16, values as F32. */
pith_status train_net_write(pith_ctx *ctx, const train_net *net, tensor_type matrices, tensor_write_fn write,
                            void *opaque);
/* The same in memory, opened (F32): for the ruler and all else that takes a model. */
pith_status train_net_model(pith_ctx *ctx, const train_net *net, tensor_type matrices, lm_model **out);
/* Closes a model that train_net_model gave. */
void train_model_close(pith_ctx *ctx, lm_model *m);

#endif
