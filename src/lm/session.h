/* A session: its sequences, what the current batch needs, and the steps that blocks are made of.
 * A batch is sorted by sequence into rows, one per token; a span is the rows of one sequence.
 * Private to lm. */
#ifndef LM_SESSION_H
#define LM_SESSION_H

#include "lm/cache.h"
#include "lm/model.h"

typedef struct lm_span {
    uint32_t sequence, first; /* position of the first row */
    size_t row, n;
} lm_span;

struct lm_session {
    pith_ctx *ctx;
    const lm_model *m;
    pith_team *team;
    lm_activations *activations;
    lm_cache *cache; /* NULL in recurrent models */
    const lm_probe *probe;
    uint32_t n_ctx, n_sequences, max_batch, max_logits;
    uint32_t *length; /* [n_sequences] */
    float *state;     /* [n_sequences][n_layers][state_floats] of recurrent models */
    size_t state_floats;
    /* of the batch; arrays of max_batch */
    size_t n_rows, n_spans, n_logits;
    lm_span *spans;
    cache_queries *queries;
    uint32_t *ids, *positions;
    uint32_t *logit_row; /* [max_logits] row of the i-th token that wants logits */
    uint32_t *cursor;    /* [n_sequences] */
    float *x, *h, *y;    /* [row][n_embd]: the stream, a normed copy, what a block gives */
    float *room;         /* [row][room_floats] of the block at work */
    size_t room_floats;
    float *rope; /* [row][n_rope] cosines and sines */
    float *hidden, *logits;
};

/* A block reads s->h, writes s->y. */
typedef struct block_ops {
    size_t (*room)(const lm_model *m);              /* floats per row */
    size_t (*state)(const lm_model *m);             /* floats per sequence and layer; NULL: none */
    void (*start)(const lm_model *m, float *state); /* the state before the first token, from zeros; NULL: zeros */
    pith_status (*run)(lm_session *s, uint32_t layer);
} block_ops;
extern const block_ops attention_block, mamba_block, rwkv4_time_block;
extern const block_ops swiglu_block, gelu_block, rwkv4_channel_block, experts_block;
/* NULL for FFN_NONE. A layer's state is the mixer's, then the ffn's. */
const block_ops *mixer_of(const lm_model *m);
const block_ops *ffn_of(const lm_model *m);
size_t state_floats_of(const lm_model *m);
PITH_INLINE float *state_at(const lm_session *s, uint32_t sequence, uint32_t layer) {
    return s->state + ((size_t)sequence * s->m->dim[DIM_LAYERS] + layer) * s->state_floats;
}

/* Runs the model over the rows of the batch. */
pith_status forward(lm_session *s);

/* ---- steps ---- */

typedef struct product {
    const lm_weight *w;
    float *y; /* [n][n_rows of w], no gaps */
} product;
/* y[t] = w * x[t] of several matrices that read the same x[n][n_cols], rows `stride` floats apart. */
void products(lm_session *s, const float *x, size_t stride, size_t n, const product *list, size_t count);
/* The same without telling the probe. */
void products_unseen(lm_session *s, const float *x, size_t stride, size_t n, const product *list, size_t count);
/* Splits n items into pieces, fn(arg, first, count), over the team when they are many;
 * `cost` is about how many simple operations one item takes. */
typedef void (*piece_fn)(void *arg, size_t first, size_t n);
void in_pieces(lm_session *s, size_t n, size_t cost, piece_fn fn, void *arg);
/* y[t] = norm of x[t]; bias may be absent, weight too (then 1). */
void norm_rows(const lm_model *m, const lm_weight *weight, const lm_weight *bias, const float *x, float *y, size_t n);
/* gate[i] = silu(gate[i]) * up[i], n of them. */
void gate_values(lm_session *s, float *gate, const float *up, size_t n);
/* y[t] += bias, when it is there. */
void add_bias(const lm_weight *bias, float *y, size_t n, size_t width);

#endif
