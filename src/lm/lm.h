/* The language-model runtime: a model read from a tensor file, sequences with their caches, and
 * logits. Deterministic: the logits of a token depend on the model, its sequence's tokens and the
 * cache type alone, not on the instruction set, the number of threads, what else is in the batch
 * or how the prompt was cut into batches. */
#ifndef LM_LM_H
#define LM_LM_H

#include "formats/tensors/tensors.h"
#include "lm/tokenizer/tokenizer.h"

typedef struct lm_model lm_model;     /* weights: immutable once open, may be shared by sessions on many threads */
typedef struct lm_session lm_session; /* sequences, caches and scratch: one thread at a time */

typedef struct lm_shape {
    const char *architecture; /* "llama", "deci", "qwen2", "gpt2", "mamba", "rwkv4" */
    uint32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab, n_ctx_train;
    /* [n_layers] each layer's own where they differ: n_heads, n_kv_heads and n_ff are the most of any layer then, and
     * what a probe sees of a layer has that layer's heads. NULL: all layers are alike. The model's. */
    const uint32_t *layer_heads, *layer_kv_heads, *layer_ff;
    uint32_t n_experts, n_used; /* feed-forward blocks of n_ff each, and how many a token is sent to; 0: dense */
    bool recurrent;           /* state of fixed size instead of a cache of keys and values */
    uint64_t n_parameters, weight_bytes;
} lm_shape;

/* Opens model file `path` (anything tensor_file_open takes); NULL: the built-in default model.
 * Weights stay in the mapped file, unless their matrices take no more than half of the memory that the
 * session still has: then they are copied to big pages, from which they are read faster. Shapes and
 * hyper-parameters are cross-checked first, and the message names the key or tensor that is wrong. The
 * tokenizer is opened with it when it has one, or when a vocabulary file lies beside it (lm/beside.c says
 * under which names); one that does not fit the model is an error. */
pith_status lm_open(pith_ctx *ctx, const char *path, lm_model **out);
/* From an open file, which must outlive the model. */
pith_status lm_open_file(pith_ctx *ctx, const tensor_file *f, lm_model **out);
void lm_close(pith_ctx *ctx, lm_model *m);
/* tensor_file_hash of the built-in model, without opening it. */
void lm_default_hash(uint8_t hash[16]);
const lm_shape *lm_about(const lm_model *m);
const tensor_file *lm_file(const lm_model *m);
const tokenizer *lm_tokenizer(const lm_model *m); /* NULL when it has none */
/* For those who need one: records what to do about it, and gives PITH_E_ARGUMENT. */
pith_status lm_no_tokenizer(pith_ctx *ctx);
/* What coder and decoder must have in common: the tensor_file_hash; of a model whose tokenizer lies beside it the
 * tensor_bytes_hash of that and the tokenizer_file_hash, 32 bytes. */
pith_status lm_hash(pith_ctx *ctx, const lm_model *m, uint8_t hash[16]);
/* And which rules the model's products follow, where these have changed: 1 if the model has weights in blocks of 32,
 * since the scales of the activations that meet them are halves (lm/matmul/round.h); else 0. */
uint32_t lm_rules(const lm_model *m);

/* In what types keys and values are kept: f32, f16, bf16, or blocks of 32 numbers of a token's row with their scale,
 * as ggml's of that name: q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl. Blocks take rows that are whole blocks long. Sums of
 * attention are of floats, whatever the type. */
typedef struct lm_cache_type {
    tensor_type keys, values;
} lm_cache_type;
#define LM_CACHE_F32 ((lm_cache_type){TENSOR_F32, TENSOR_F32})
#define LM_CACHE_F16 ((lm_cache_type){TENSOR_F16, TENSOR_F16})
bool lm_cache_takes(tensor_type type); /* whether it is one of them */
/* What a model's readers and rulers (lm/ruler) keep its keys and values in: f16, unless something else was set
 * before they began. PITH_E_ARGUMENT when the model's rows do not fit, or it keeps none. What is coded
 * with the model (lm/coding) has f16 always. */
pith_status lm_set_cache(pith_ctx *ctx, lm_model *m, lm_cache_type type);
lm_cache_type lm_cache_of(const lm_model *m);

typedef struct lm_session_options {
    uint32_t n_ctx;           /* tokens a sequence may hold; 0: what the model was trained with */
    uint32_t n_sequences;     /* 0: 1 */
    uint32_t max_batch;       /* tokens of one lm_eval; 0: 512 */
    uint32_t max_logits;      /* rows of logits of one lm_eval; 0: max_batch */
    lm_cache_type cache;      /* zeros: f32 */
    uint32_t n_threads;       /* 0: those of the session object */
    const struct lm_cache_maker *maker; /* another store of keys and values (lm/cache.h); NULL: the plain one */
} lm_session_options;

/* options NULL: defaults. Uses the threads of ctx; keeps ctx. PITH_E_LIMIT says how much is needed. */
pith_status lm_session_new(pith_ctx *ctx, const lm_model *m, const lm_session_options *options, lm_session **out);
void lm_session_free(lm_session *s);

typedef struct lm_token {
    uint32_t id;
    uint32_t sequence;
    bool want_logits;
} lm_token;

/* Appends tokens to their sequences, in order, and computes the logits that are wanted.
 * Positions count from 0 within a sequence. PITH_E_LIMIT when a sequence is full (recurrent models have no end),
 * PITH_E_ARGUMENT when an id or sequence is out of range; then nothing has changed. */
pith_status lm_eval(lm_session *s, const lm_token *tokens, size_t n);
/* Row i of the logits wanted by the last lm_eval, [n_vocab], in order of their tokens; NULL past the last. */
const float *lm_logits(const lm_session *s, size_t i);
/* The final hidden state (after the last norm) of the i-th such token, [n_embd]. */
const float *lm_hidden(const lm_session *s, size_t i);

uint32_t lm_length(const lm_session *s, uint32_t sequence); /* tokens held */
uint64_t lm_cache_bytes(const lm_session *s); /* memory for keys and values of n_ctx tokens of all sequences; 0: none */
/* Forgets tokens from position `length` on. Recurrent models can only go to 0 or to a saved state. */
pith_status lm_truncate(lm_session *s, uint32_t sequence, uint32_t length);
/* Makes `to` a copy of `from`. */
pith_status lm_copy(lm_session *s, uint32_t from, uint32_t to);

/* ---- probes: what attention sees, for the kernels that select and compress ------------------- */

typedef struct lm_probe {
    void *opaque;
    /* Any may be NULL. Called on the evaluating thread, layer by layer, for the tokens of one batch of one
     * sequence: positions [first, first + n). Arrays may be read during the call only. */
    /* Input of the layer, [n][n_embd]; of layer n_layers: what leaves the last one */
    void (*hidden)(void *opaque, uint32_t layer, uint32_t sequence, uint32_t first, size_t n, const float *h);
    /* [n][n_heads][head_dim] after RoPE */
    void (*queries)(void *opaque, uint32_t layer, uint32_t sequence, uint32_t first, size_t n, const float *q);
    void (*keys)(void *opaque, uint32_t layer, uint32_t sequence, uint32_t first, size_t n, const float *before_rope,
                 const float *values); /* [n][n_kv_heads][head_dim] each */
    /* One row of attention after softmax, of one head: weights[0..position] */
    void (*attention)(void *opaque, uint32_t layer, uint32_t head, uint32_t sequence, uint32_t position,
                      const float *weights);
    /* Input of a weight matrix, by its tensor's name: x[n][n_cols] (for calibration) */
    void (*input)(void *opaque, const char *tensor, size_t n, size_t n_cols, const float *x);
    /* The same of expert number `expert` of a stack of matrices: the n tokens of the batch that are sent to it */
    void (*expert_input)(void *opaque, const char *tensor, uint32_t expert, size_t n, size_t n_cols, const float *x);
    /* Where tokens are sent: experts[n][n_used] with the highest weight first, weights[n][n_used], which may be
     * changed: an expert of weight 0 is not computed */
    void (*route)(void *opaque, uint32_t layer, uint32_t sequence, uint32_t first, size_t n, size_t n_used,
                  const uint32_t *experts, float *weights);
} lm_probe;
void lm_set_probe(lm_session *s, const lm_probe *probe); /* NULL: none; the probe must live as long */

/* ---- from logits to probabilities (exact: same bits everywhere) ------------------------------- */

/* -log2 of the softmax probability of `id`, in bits: terms with pith's own exp in single precision, their sum and
 * log in double; within 1e-6 bits. */
double lm_bits(const float *logits, size_t n_vocab, uint32_t id);
/* log p of all, natural; out may be logits. */
void lm_log_softmax(const float *logits, float *out, size_t n_vocab);
uint32_t lm_argmax(const float *logits, size_t n_vocab); /* the lowest id among equals */

#endif
