/* Private parts of the online state-space byte model: sizes, parameters, and the record of the
 * last few steps that training runs back over. ssm.c says what the model is. */
#ifndef PREDICT_SSM_H
#define PREDICT_SSM_H

#include "kernels/predict/predict.h"
#include "math/math.h"

#define SSM_HEADS 16 /* decay rates per layer; channel i belongs to head i % SSM_HEADS */
#define SSM_TAPS 4   /* width of the short convolution */
#define SSM_SYMBOLS 256
#define SSM_MAX_LAYERS 4
#define SSM_WAYS 4    /* rows a context may take */
#define SSM_COUNTS 16 /* a row's age, 0..15, is one half of what chooses its gate */
#define SSM_DEPTHS 4  /* how many of the orders 2, 3, 4, 6 have been seen is the other half */

/* ---- what the model sees of the past (ssm_context.c) ---------------------- */

#define SSM_CONTEXTS 12

typedef struct ssm_context {
    uint8_t *history;          /* the last history_mask + 1 bytes, as a ring */
    uint32_t *last_seen;       /* [SSM_MATCH_CELLS] hash of the last bytes -> position after them */
    uint64_t n;                /* bytes seen */
    uint64_t line, line_above; /* where this line and the one above begin */
    uint64_t match;            /* position of the byte that followed the matching past */
    uint32_t match_length;     /* 0: none */
    uint64_t recent;           /* the last 8 bytes, newest lowest */
    uint32_t word[3];          /* hashes: the word begun, the one before, the one before that */
} ssm_context;

#define SSM_HISTORY ((uint64_t)1 << 20)
#define SSM_MATCH_CELLS ((uint32_t)1 << 18)

void ssm_context_add(ssm_context *c, uint8_t byte);
void ssm_context_hashes(const ssm_context *c, uint32_t hash[SSM_CONTEXTS]);

/* ---- rows: a vector learnt for each context (ssm_rows.c) -------------------- */

typedef struct ssm_row_info {
    uint16_t check; /* 0: free */
    uint16_t count; /* times trained */
    float moment;   /* sum of mean squared gradients */
} ssm_row_info;

typedef struct ssm_rows {
    unsigned bits; /* 2^bits rows */
    size_t width;
    ssm_row_info *info;
    float *vector; /* [2^bits][width] */
} ssm_rows;

/* A row as it was found. */
typedef struct ssm_found {
    uint32_t row;
    uint16_t check;
    uint16_t age; /* its count then, at most SSM_COUNTS - 1 */
} ssm_found;

/* The row of a context; takes over the least used of four when it has none. */
ssm_found ssm_rows_find(ssm_rows *r, uint32_t hash);
/* Starts fetching what ssm_rows_find will look at. */
void ssm_rows_prefetch(const ssm_rows *r, uint32_t hash);
/* Adagrad with one rate per row; `gate` is what the row was multiplied by. A row that has
 * been taken over since is left alone. */
void ssm_rows_train(ssm_rows *r, const exact_ops *x, ssm_found f, const float *gradient, float gradient_mean_square,
                    float gate);

/* ---- the network (ssm_net.c) ------------------------------------------------- */

/* Where the parameters of a layer begin in the one array of all. */
typedef struct ssm_layer {
    size_t norm;      /* [width] */
    size_t in;        /* [width][columns] */
    size_t conv;      /* [SSM_TAPS][conv_columns] */
    size_t conv_bias; /* [conv_columns] */
    size_t dt_bias;   /* [SSM_HEADS] */
    size_t log_rate;  /* [SSM_HEADS] */
    size_t skip;      /* [channels] */
    size_t out_norm;  /* [channels] */
    size_t out;       /* [channels][width] */
    size_t end;
} ssm_layer;

/* Sizes, and the parameters by offset. Columns of the in-projection are x[channels], b[state],
 * c[state], z[channels], dt[SSM_HEADS]; the first three go through the convolution. */
typedef struct ssm_shape {
    size_t width, layers, state, chunk;
    size_t channels, conv_columns, columns;
    size_t embedding; /* [SSM_SYMBOLS][width] */
    ssm_layer layer[SSM_MAX_LAYERS];
    size_t norm;  /* [width] */
    size_t head;  /* [width][SSM_SYMBOLS] */
    size_t bias;  /* [SSM_SYMBOLS] */
    size_t gates; /* [SSM_DEPTHS][SSM_CONTEXTS][SSM_COUNTS] */
    size_t n_params;
} ssm_shape;

/* What forward leaves behind for backward, rows by step of the chunk. */
typedef struct ssm_trace_layer {
    float *input;      /* [chunk][width] */
    float *root;       /* [chunk] 1/rms of input */
    float *normed;     /* [chunk][width] */
    float *projected;  /* [chunk][columns] */
    float *window;     /* [SSM_TAPS - 1 + chunk][conv_columns] what the convolution sees */
    float *mixed;      /* [chunk][conv_columns] after the convolution */
    float *active;     /* [chunk][conv_columns] SiLU of it */
    float *dt_raw;     /* [chunk][SSM_HEADS] before softplus */
    float *dt;         /* [chunk][SSM_HEADS] */
    float *decay;      /* [chunk][SSM_HEADS] exp(-dt * exp(log_rate)) */
    float *decay_wide; /* [chunk][channels] */
    float *dt_wide;    /* [chunk][channels] */
    float *fed;        /* [chunk][channels] dt * x */
    float *state;      /* [1 + chunk][state][channels] */
    float *read;       /* [chunk][channels] what the state gives, and the skip */
    float *gate;       /* [chunk][channels] SiLU(z) */
    float *gated;      /* [chunk][channels] read * gate */
    float *gated_root; /* [chunk] */
    float *output;     /* [chunk][channels] */
} ssm_trace_layer;

typedef struct ssm_net {
    const exact_ops *x;
    ssm_shape shape;
    float *param, *first, *second, *gradient; /* [n_params] */
    float *in_turned[SSM_MAX_LAYERS];         /* transposed copies for the way back */
    float *out_turned[SSM_MAX_LAYERS];
    float *head_turned;
    ssm_trace_layer trace[SSM_MAX_LAYERS];
    float *last, *last_root, *last_normed; /* [chunk][width], [chunk], [chunk][width] */
    float *probability;                    /* [chunk][SSM_SYMBOLS]; becomes the gradient of the logits */
    /* scratch of backward */
    float *back_x, *back_normed;                           /* [chunk][width] */
    float *back_out, *back_projected, *back_conv;          /* [chunk][channels | columns | conv_columns] */
    float *back_state, *back_decay, *back_fed, *back_read; /* [state][channels], [channels] x 3 */
    float beta1_power, beta2_power;
    uint32_t n_steps;
} ssm_net;

/* Where the model's input vector of step t is to be put: [width]. */
float *ssm_net_input(ssm_net *net, size_t t);
/* Probabilities of step t from its input. Steps go 0, 1, ... chunk - 1. */
void ssm_net_forward(ssm_net *net, size_t t);
/* Gradients of all parameters but the embedding and the gates for a full chunk, given the
 * bytes that came; the gradient of the inputs is left in back_x. */
void ssm_net_backward(ssm_net *net, const uint8_t *came);
/* An optimiser step; then the state after the chunk becomes the state before the next. */
void ssm_net_step(ssm_net *net);
/* Renews the transposed copies. */
void ssm_net_turn(ssm_net *net);

/* ---- all of it (ssm.c) --------------------------------------------------------- */

struct ssm {
    pith_ctx *ctx;
    ssm_context context;
    ssm_rows rows;
    ssm_net net;
    size_t t;                         /* step within the chunk */
    uint8_t *fed, *came;              /* [chunk] the byte before and the byte to be told */
    ssm_found (*found)[SSM_CONTEXTS]; /* [chunk] */
    uint32_t pmf[SSM_SYMBOLS];
    bool pmf_ready;
    float *arena; /* all arrays of net */
    size_t arena_n;
};

/* ssm_new on given kernels, for the tests. */
pith_status ssm_new_on(pith_ctx *ctx, const ssm_params *p, const exact_ops *x, ssm **out);

#endif
