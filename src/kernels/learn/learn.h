/* Learning: nets as lists of coarse operations, their exact gradients, and AdamW. The room's door.
 *
 * A graph is an array of nodes in the order they were made, which is an order they can be computed in; it says nothing
 * about sizes of batches. Parameters are parts of one flat block of numbers, gradients of another of the same layout.
 * A run has the memory of one batch: rows are tokens, in windows of `segment` rows each, and a node's value is
 * [rows][width]. Backward walks the nodes from the end; each operation adds to the gradients of its inputs.
 *
 * Every operation is one row of a table (ops.h) and is compiled twice from the same text (ops_core.h): in float for use
 * and in double for the tests, where central differences hold its gradient.
 *
 * Deterministic on one machine: no result depends on threads. Not the same bits on every machine (BLAS): what is
 * learned is stored, never learned again by a decoder. */
#ifndef KERNELS_LEARN_LEARN_H
#define KERNELS_LEARN_LEARN_H

#include "base/base.h"

typedef uint32_t learn_id; /* number of a node, or of a parameter */
#define LEARN_NONE UINT32_MAX

typedef struct learn_param {
    char name[72];
    size_t rows, cols; /* [rows][cols]: outputs by inputs; values are one row */
    size_t parts;      /* matrices of equal size one below the other: experts; else 1 */
    size_t at;         /* in the flat block, in elements */
    bool frozen;       /* gets no gradient and does not change */
    double speed;      /* its steps are of so many times the rate; 1 at first */
} learn_param;

/* ---- building ---------------------------------------------------------------------------------------- */

typedef struct learn_graph learn_graph;
pith_status learn_graph_new(pith_ctx *ctx, learn_graph **out);
void learn_graph_free(learn_graph *g); /* NULL is fine */
/* The first failure of the calls below: memory, or sizes that do not fit. They give LEARN_NONE from then on. */
pith_status learn_graph_status(const learn_graph *g);

learn_id learn_param_add(learn_graph *g, const char *name, size_t rows, size_t cols, size_t parts);
size_t learn_n_params(const learn_graph *g);
learn_param *learn_param_at(const learn_graph *g, learn_id param);
learn_param *learn_param_find(const learn_graph *g, const char *name); /* NULL when there is none */
size_t learn_n_weights(const learn_graph *g);                          /* elements of the flat block */

/* A row of the table for each token of the batch. */
learn_id learn_embed(learn_graph *g, learn_id table);
/* x / sqrt(mean x^2 + epsilon) * weight */
learn_id learn_norm(learn_graph *g, learn_id x, learn_id weight, double epsilon);
/* W x + b; bias may be LEARN_NONE */
learn_id learn_linear(learn_graph *g, learn_id x, learn_id weight, learn_id bias);
/* Every head of x turned by its position in the window: pair i by position * turns[i] radians, n_turns pairs; pairs are
 * 2i with 2i + 1, or i with i + n_turns when `halves`. Channels past 2 n_turns stay. turns is copied. */
learn_id learn_rope(learn_graph *g, learn_id x, size_t head, const double *turns, size_t n_turns, bool halves);
/* Causal attention within windows; widths of q: n_heads * head, of k and v: n_kv * head, n_kv divides n_heads. */
learn_id learn_attention(learn_graph *g, learn_id q, learn_id k, learn_id v, size_t head);
/* silu(gate) * up */
learn_id learn_gate(learn_graph *g, learn_id gate, learn_id up);
learn_id learn_add(learn_graph *g, learn_id a, learn_id b);
/* Of the experts down(silu(gate x) * up x) the n_used with the highest scores (the lowest number among equals), weighed
 * by the softmax of the scores made to sum to 1 over them. gate, up, down: parameters of n_experts parts. The choice
 * counts as given in the gradient. */
learn_id learn_experts(learn_graph *g, learn_id x, learn_id scores, learn_id gate, learn_id up, learn_id down,
                       size_t n_used);
/* x, element by element, times 1 + sum of w_k vectors[e_k], over those of the n_used experts with the highest scores
 * that come behind the first n_kept: what stands for experts that are not run (He et al. 2025, compressed experts). w as
 * above for n_used experts; vectors[n_experts][width], zeros change nothing. */
learn_id learn_modulate(learn_graph *g, learn_id x, learn_id scores, learn_id vectors, size_t n_kept, size_t n_used);
/* The end: cross entropy of the batch's targets under the softmax of the logits, summed; with a teacher, what
 * learn_batch says. */
learn_id learn_cross_entropy(learn_graph *g, learn_id logits);

/* ---- running ------------------------------------------------------------------------------------------- */

typedef struct learn_kernels learn_kernels; /* arithmetic */
extern const learn_kernels learn_float;
size_t learn_real_bytes(const learn_kernels *k); /* of one number: weights, gradients and values are arrays of such */

#define LEARN_NO_TARGET UINT32_MAX    /* this row's logits are not scored */
#define LEARN_SAMPLE (UINT32_MAX - 1) /* its target is drawn from the softmax itself */
typedef struct learn_batch {
    const uint32_t *tokens, *targets; /* [rows] */
    size_t rows;                      /* a whole number of windows */
    uint64_t seed, first_row;         /* of drawn targets: row i is drawn by hash(seed, first_row + i) */
    /* Another net's logits [rows][width of the logits], arrays of reals of the kernels; NULL: none. With them the loss
     * of a scored row is (1 - mix) times the cross entropy plus mix T^2 KL(softmax(teacher / T) | softmax(logits / T)),
     * T the temperature: distillation (Hinton, Vinyals, Dean 2015). */
    const void *teacher;
    double mix, temperature;
} learn_batch;

typedef enum learn_mode {
    LEARN_FORWARD,  /* the loss alone */
    LEARN_BACKWARD, /* and gradients; memory is used again as soon as nobody reads it */
    LEARN_KEEP      /* inputs and output gradients of all matrices stay for learn_linears, of frozen ones as well */
} learn_mode;

typedef struct learn_run learn_run;
/* Takes the graph as it is now (frozen parameters too); g must outlive the run. PITH_E_LIMIT says how much is needed.
 */
pith_status learn_run_new(pith_ctx *ctx, const learn_graph *g, const learn_kernels *k, size_t max_rows, size_t segment,
                          learn_mode mode, learn_run **out);
void learn_run_free(learn_run *r); /* NULL is fine */
size_t learn_run_bytes(const learn_run *r);
/* *nats: the sum over the scored rows; *n_scored: how many. Allocates nothing, so it can be called on any thread.
 * Tokens and targets must be below the heights of the table and of the logits. */
void learn_forward(learn_run *r, const void *weights, const learn_batch *b, double *nats, size_t *n_scored);
/* After learn_forward with the same weights and batch: adds the gradient of the sum of the losses to `gradient` (NULL:
 * gradients of values alone). Frozen parameters' parts are not touched. */
void learn_backward(learn_run *r, const void *weights, void *gradient);
/* After learn_backward of a LEARN_KEEP run: every matrix with its inputs x[n][n_in] and the gradient by its outputs
 * g[n][n_out], last node first; of a mixture each expert that got rows, `part` is its number (0 of plain matrices). */
typedef void (*learn_linear_fn)(void *opaque, const learn_param *weight, size_t part, const void *x, const void *g,
                                size_t n, size_t n_in, size_t n_out);
void learn_linears(const learn_run *r, learn_linear_fn fn, void *opaque);
/* A node's value; of LEARN_KEEP runs only those of nodes without a reader are sure to be whole. */
const void *learn_value(const learn_run *r, learn_id node);

/* ---- AdamW (Loshchilov, Hutter 2019) ---------------------------------------------------------------------- */

typedef struct learn_adamw {
    double rate;         /* of a step, about */
    double beta1, beta2; /* of the moments */
    double epsilon;
    double decay; /* w -= rate * decay * w, not of values of one row */
    double clip;  /* gradients whose norm over all parameters is more are scaled down to that; 0: never */
    const uint8_t *kept; /* [learn_n_weights] of pruned nets: where it is 0 the weight and its moments become and stay 0,
                            and its gradient does not count; NULL: all are kept */
} learn_adamw;
/* One step, the t-th (from 1), of all parameters that are not frozen. Moments begin as zeros. *norm (may be NULL): the
 * gradient's norm before clipping. PITH_E_CHECK when it is not finite; then nothing has changed. Threads of ctx. */
pith_status learn_adamw_step(pith_ctx *ctx, const learn_graph *g, const learn_adamw *o, uint64_t t, float *weights,
                             const float *gradient, float *moment1, float *moment2, double *norm);
/* Up in a line over `warm` steps, then half a cosine down to `least` * peak at the end. t from 1. */
double learn_rate_at(uint64_t t, uint64_t warm, uint64_t total, double peak, double least);

#endif
