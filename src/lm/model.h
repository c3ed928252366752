/* An open model: sizes, weights in their places, RoPE's frequencies. Private to lm. */
#ifndef LM_MODEL_H
#define LM_MODEL_H

#include "lm/arch.h"
#include "lm/lm.h"
#include "lm/matmul/matmul.h"

/* A weight that is not there has neither matrix.data nor values. */
typedef struct lm_weight {
    char name[72];
    lm_matrix matrix; /* in the file or in `packed`, or on `values` where its type has no kernel */
    float *values;    /* F32, owned */
} lm_weight;

typedef struct lm_layer {
    size_t dim[N_DIMS]; /* its own sizes; those of the model are the most of any layer */
    lm_weight w[N_LAYER_WEIGHTS];
} lm_layer;

struct lm_model {
    const lm_arch *arch;
    const tensor_file *file;
    tensor_file *own_file; /* to close with the model; NULL when it is the caller's */
    tokenizer *tokenizer;
    lm_shape shape;
    size_t dim[N_DIMS];
    uint32_t *layer_sizes; /* [3][n_layers] that the shape shows; NULL: layers are alike */
    float epsilon;
    rope_kind rope;
    lm_cache_type cache; /* of its readers */
    bool normed_ssm;    /* dt, B and C of mamba pass an RMS norm without weights */
    double *rope_turns; /* [n_rope / 2] radians per position */
    lm_weight w[N_MODEL_WEIGHTS];
    lm_layer *layers;
    uint8_t *packed; /* a copy of the matrices; NULL: they stay in the file */
};

/* Bytes of the built-in model. */
const uint8_t *default_model(size_t *size);

/* m->tokenizer from a vocabulary file beside the model at `path`; none there: PITH_OK, and none. */
pith_status model_find_tokenizer(pith_ctx *ctx, const char *path, lm_model *m);

/* m->rope_turns from the metadata and the factors among the weights. */
pith_status rope_open(pith_ctx *ctx, lm_model *m);
/* table[n_rope / 2][2] = cosine and sine of the angles at `position`. */
void rope_angles(const lm_model *m, uint32_t position, float *table);
/* Turns x[n_heads][head_dim] in place; channels past n_rope stay. */
void rope_turn(const lm_model *m, const float *table, float *x, size_t n_heads);

/* dim[] and numbers from the metadata; makes the layers, without weights. */
pith_status hyper_read(pith_ctx *ctx, lm_model *m);
/* A key of this architecture: "llama.block_count". */
const char *hyper_key(const lm_model *m, const char *key, char out[96]);

#endif
