/* What an architecture is made of, as data: one row per architecture says which blocks its
 * layers have, and lists say which tensors those blocks need, in which shape and under which
 * name. Loader and forward pass are the same code for all. Private to lm. */
#ifndef LM_ARCH_H
#define LM_ARCH_H

#include "formats/tensors/tensors.h"

typedef enum norm_kind { NORM_RMS, NORM_LAYER } norm_kind;
typedef enum rope_kind { ROPE_NONE, ROPE_PAIRS, ROPE_HALVES } rope_kind; /* x[2i] with x[2i+1]; x[i] with x[i + n/2] */
typedef enum mixer_kind { MIX_ATTENTION, MIX_MAMBA, MIX_RWKV4 } mixer_kind;
typedef enum ffn_kind { FFN_NONE, FFN_SWIGLU, FFN_GELU, FFN_RWKV4, FFN_EXPERTS } ffn_kind;

/* Sizes of a model, by name; hyper-parameters first, then what follows from them. */
typedef enum dim_id {
    DIM_ONE,
    DIM_LAYERS,
    DIM_EMBD,
    DIM_VOCAB,
    DIM_CTX,
    DIM_FF, /* of one expert, where there are experts */
    DIM_EXPERTS, /* 0: a dense model */
    DIM_USED,    /* experts a token is sent to */
    DIM_HEADS,
    DIM_KV_HEADS,
    DIM_HEAD,
    DIM_VALUE_HEAD,
    DIM_ROPE,
    DIM_INNER,
    DIM_STATE,
    DIM_CONV,
    DIM_RANK, /* of mamba */
    DIM_Q,
    DIM_KV,
    DIM_Q_KV,
    DIM_QKV,
    DIM_HALF_ROPE,
    DIM_INNER_2,
    DIM_RANK_STATES,
    N_DIMS
} dim_id;

/* A number in the metadata: key (behind "ARCHITECTURE."), range, and who needs it. */
typedef struct arch_key {
    const char *key;
    dim_id into;
    uint32_t least, most;
    uint8_t needed_by, read_by; /* bits 1 << mixer_kind */
} arch_key;
extern const arch_key arch_keys[];
extern const size_t arch_n_keys;

/* Places of weights. Those of the whole model, then those of a layer. */
typedef enum weight_role {
    W_EMBD,
    W_POSITION,
    W_EMBD_NORM,
    W_EMBD_NORM_BIAS,
    W_OUT_NORM,
    W_OUT_NORM_BIAS,
    W_OUTPUT,
    W_ROPE_FACTORS,
    N_MODEL_WEIGHTS
} weight_role;
typedef enum layer_role {
    L_NORM,
    L_NORM_BIAS,
    L_FFN_NORM,
    L_FFN_NORM_BIAS,
    L_Q,
    L_Q_BIAS,
    L_K,
    L_K_BIAS,
    L_V,
    L_V_BIAS,
    L_O,
    L_O_BIAS,
    L_ROUTER,
    L_GATE,
    L_UP,
    L_UP_BIAS,
    L_DOWN,
    L_DOWN_BIAS,
    L_SSM_IN,
    L_SSM_CONV,
    L_SSM_CONV_BIAS,
    L_SSM_X,
    L_SSM_DT,
    L_SSM_DT_BIAS,
    L_SSM_A,
    L_SSM_D,
    L_SSM_OUT,
    L_MIX_K,
    L_MIX_V,
    L_MIX_R,
    L_DECAY,
    L_FIRST,
    L_KEY,
    L_VALUE,
    L_RECEPTANCE,
    L_MIX_OUT,
    L_CHANNEL_K,
    L_CHANNEL_R,
    L_CHANNEL_KEY,
    L_CHANNEL_VALUE,
    L_CHANNEL_RECEPTANCE,
    N_LAYER_WEIGHTS
} layer_role;

enum {
    TENSOR_OPTIONAL = 1,
    TENSOR_VALUES = 2, /* kept as F32 values, not as a matrix */
    TENSOR_LOOKUP = 4, /* single rows are read, nothing is multiplied */
    TENSOR_STACK = 8   /* one such matrix for each expert, in a third dimension */
};
/* One tensor: [rows][cols] with cols contiguous. Where `whole` is set, it is the part that
 * starts at row (of values: at element) `from` of a tensor of `whole` such. */
typedef struct tensor_row {
    uint8_t role, flags;
    uint8_t cols, rows, whole, from; /* of enum dim_id */
    const char *name;                /* of a layer: behind "blk.N." */
} tensor_row;

typedef struct tensor_list {
    const tensor_row *rows;
    size_t n;
} tensor_list;

typedef struct lm_arch {
    const char *name; /* general.architecture */
    norm_kind norm;
    rope_kind rope;
    mixer_kind mixer;
    ffn_kind ffn;
    const char *epsilon_key;
    tensor_list model, mixer_tensors, ffn_tensors; /* the last two once per layer */
} lm_arch;

/* NULL when there is none of that name. */
const lm_arch *arch_find(meta_string name);
/* The same architecture with experts for a feed-forward block; NULL when there is none. */
const lm_arch *arch_with_experts(const lm_arch *arch);
/* Whether a size may be another in each layer: feed-forward blocks and heads of attention. */
bool arch_differs(const lm_arch *arch, dim_id dim);
/* "llama, qwen2, ..." for messages. */
const char *arch_names(void);

#endif
