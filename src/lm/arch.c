/* The architectures. Names of keys and tensors are GGUF's, as llama.cpp writes them. */
#include "lm/arch.h"

#define ATTENTION (1 << MIX_ATTENTION)
#define MAMBA (1 << MIX_MAMBA)
#define RWKV4 (1 << MIX_RWKV4)
#define ALL (ATTENTION | MAMBA | RWKV4)

const arch_key arch_keys[] = {
    {"block_count", DIM_LAYERS, 1, 1024, ALL, ALL},
    {"embedding_length", DIM_EMBD, 1, 1 << 17, ALL, ALL},
    {"vocab_size", DIM_VOCAB, 1, 1 << 24, 0, ALL},
    {"context_length", DIM_CTX, 1, 1 << 24, ATTENTION, ALL},
    {"feed_forward_length", DIM_FF, 1, 1 << 20, ATTENTION | RWKV4, ATTENTION | RWKV4},
    {"expert_count", DIM_EXPERTS, 0, 512, 0, ATTENTION},
    {"expert_used_count", DIM_USED, 0, 512, 0, ATTENTION},
    {"attention.head_count", DIM_HEADS, 1, 1024, ATTENTION, ATTENTION},
    {"attention.head_count_kv", DIM_KV_HEADS, 1, 1024, 0, ATTENTION},
    {"attention.key_length", DIM_HEAD, 1, 1024, 0, ATTENTION},
    {"attention.value_length", DIM_VALUE_HEAD, 1, 1024, 0, ATTENTION},
    {"rope.dimension_count", DIM_ROPE, 2, 1024, 0, ATTENTION},
    {"ssm.inner_size", DIM_INNER, 1, 1 << 18, MAMBA, MAMBA},
    {"ssm.state_size", DIM_STATE, 1, 1024, MAMBA, MAMBA},
    {"ssm.conv_kernel", DIM_CONV, 1, 64, MAMBA, MAMBA},
    {"ssm.time_step_rank", DIM_RANK, 1, 1 << 16, MAMBA, MAMBA},
};
const size_t arch_n_keys = PITH_COUNT(arch_keys);

#define VALUES(role, dim, name)                                                                                        \
    { role, TENSOR_VALUES, dim, DIM_ONE, 0, 0, name }
#define MAYBE_VALUES(role, dim, name)                                                                                  \
    { role, TENSOR_VALUES | TENSOR_OPTIONAL, dim, DIM_ONE, 0, 0, name }
#define TABLE(role, cols, rows, name)                                                                                  \
    { role, TENSOR_VALUES, cols, rows, 0, 0, name }
#define LOOKUP(role, cols, rows, name)                                                                                 \
    { role, TENSOR_LOOKUP, cols, rows, 0, 0, name }
#define MATRIX(role, cols, rows, name)                                                                                 \
    { role, 0, cols, rows, 0, 0, name }
#define STACK(role, cols, rows, name)                                                                                  \
    { role, TENSOR_STACK, cols, rows, 0, 0, name }

static const tensor_row plain_model[] = {
    LOOKUP(W_EMBD, DIM_EMBD, DIM_VOCAB, "token_embd.weight"),
    VALUES(W_OUT_NORM, DIM_EMBD, "output_norm.weight"),
    {W_OUTPUT, TENSOR_OPTIONAL, DIM_EMBD, DIM_VOCAB, 0, 0, "output.weight"},
    MAYBE_VALUES(W_ROPE_FACTORS, DIM_HALF_ROPE, "rope_freqs.weight"),
};
static const tensor_row gpt2_model[] = {
    LOOKUP(W_EMBD, DIM_EMBD, DIM_VOCAB, "token_embd.weight"),
    LOOKUP(W_POSITION, DIM_EMBD, DIM_CTX, "position_embd.weight"),
    VALUES(W_OUT_NORM, DIM_EMBD, "output_norm.weight"),
    VALUES(W_OUT_NORM_BIAS, DIM_EMBD, "output_norm.bias"),
    {W_OUTPUT, TENSOR_OPTIONAL, DIM_EMBD, DIM_VOCAB, 0, 0, "output.weight"},
};
static const tensor_row rwkv4_model[] = {
    LOOKUP(W_EMBD, DIM_EMBD, DIM_VOCAB, "token_embd.weight"),   VALUES(W_EMBD_NORM, DIM_EMBD, "token_embd_norm.weight"),
    VALUES(W_EMBD_NORM_BIAS, DIM_EMBD, "token_embd_norm.bias"), VALUES(W_OUT_NORM, DIM_EMBD, "output_norm.weight"),
    VALUES(W_OUT_NORM_BIAS, DIM_EMBD, "output_norm.bias"),      MATRIX(W_OUTPUT, DIM_EMBD, DIM_VOCAB, "output.weight"),
};

static const tensor_row plain_attention[] = {
    VALUES(L_NORM, DIM_EMBD, "attn_norm.weight"),         MATRIX(L_Q, DIM_EMBD, DIM_Q, "attn_q.weight"),
    MAYBE_VALUES(L_Q_BIAS, DIM_Q, "attn_q.bias"),         MATRIX(L_K, DIM_EMBD, DIM_KV, "attn_k.weight"),
    MAYBE_VALUES(L_K_BIAS, DIM_KV, "attn_k.bias"),        MATRIX(L_V, DIM_EMBD, DIM_KV, "attn_v.weight"),
    MAYBE_VALUES(L_V_BIAS, DIM_KV, "attn_v.bias"),        MATRIX(L_O, DIM_Q, DIM_EMBD, "attn_output.weight"),
    MAYBE_VALUES(L_O_BIAS, DIM_EMBD, "attn_output.bias"),
};
/* queries, keys and values in one tensor */
static const tensor_row joint_attention[] = {
    VALUES(L_NORM, DIM_EMBD, "attn_norm.weight"),
    VALUES(L_NORM_BIAS, DIM_EMBD, "attn_norm.bias"),
    {L_Q, 0, DIM_EMBD, DIM_Q, DIM_QKV, 0, "attn_qkv.weight"},
    {L_K, 0, DIM_EMBD, DIM_KV, DIM_QKV, DIM_Q, "attn_qkv.weight"},
    {L_V, 0, DIM_EMBD, DIM_KV, DIM_QKV, DIM_Q_KV, "attn_qkv.weight"},
    {L_Q_BIAS, TENSOR_VALUES, DIM_Q, DIM_ONE, DIM_QKV, 0, "attn_qkv.bias"},
    {L_K_BIAS, TENSOR_VALUES, DIM_KV, DIM_ONE, DIM_QKV, DIM_Q, "attn_qkv.bias"},
    {L_V_BIAS, TENSOR_VALUES, DIM_KV, DIM_ONE, DIM_QKV, DIM_Q_KV, "attn_qkv.bias"},
    MATRIX(L_O, DIM_Q, DIM_EMBD, "attn_output.weight"),
    VALUES(L_O_BIAS, DIM_EMBD, "attn_output.bias"),
};
static const tensor_row swiglu[] = {
    VALUES(L_FFN_NORM, DIM_EMBD, "ffn_norm.weight"),
    MATRIX(L_GATE, DIM_EMBD, DIM_FF, "ffn_gate.weight"),
    MATRIX(L_UP, DIM_EMBD, DIM_FF, "ffn_up.weight"),
    MATRIX(L_DOWN, DIM_FF, DIM_EMBD, "ffn_down.weight"),
};
static const tensor_row experts[] = {
    VALUES(L_FFN_NORM, DIM_EMBD, "ffn_norm.weight"),
    MATRIX(L_ROUTER, DIM_EMBD, DIM_EXPERTS, "ffn_gate_inp.weight"),
    STACK(L_GATE, DIM_EMBD, DIM_FF, "ffn_gate_exps.weight"),
    STACK(L_UP, DIM_EMBD, DIM_FF, "ffn_up_exps.weight"),
    STACK(L_DOWN, DIM_FF, DIM_EMBD, "ffn_down_exps.weight"),
};
static const tensor_row gelu_ffn[] = {
    VALUES(L_FFN_NORM, DIM_EMBD, "ffn_norm.weight"),     VALUES(L_FFN_NORM_BIAS, DIM_EMBD, "ffn_norm.bias"),
    MATRIX(L_UP, DIM_EMBD, DIM_FF, "ffn_up.weight"),     VALUES(L_UP_BIAS, DIM_FF, "ffn_up.bias"),
    MATRIX(L_DOWN, DIM_FF, DIM_EMBD, "ffn_down.weight"), VALUES(L_DOWN_BIAS, DIM_EMBD, "ffn_down.bias"),
};
static const tensor_row mamba_mixer[] = {
    VALUES(L_NORM, DIM_EMBD, "attn_norm.weight"),
    MATRIX(L_SSM_IN, DIM_EMBD, DIM_INNER_2, "ssm_in.weight"),
    TABLE(L_SSM_CONV, DIM_CONV, DIM_INNER, "ssm_conv1d.weight"),
    VALUES(L_SSM_CONV_BIAS, DIM_INNER, "ssm_conv1d.bias"),
    MATRIX(L_SSM_X, DIM_INNER, DIM_RANK_STATES, "ssm_x.weight"),
    MATRIX(L_SSM_DT, DIM_RANK, DIM_INNER, "ssm_dt.weight"),
    VALUES(L_SSM_DT_BIAS, DIM_INNER, "ssm_dt.bias"),
    TABLE(L_SSM_A, DIM_STATE, DIM_INNER, "ssm_a"),
    VALUES(L_SSM_D, DIM_INNER, "ssm_d"),
    MATRIX(L_SSM_OUT, DIM_INNER, DIM_EMBD, "ssm_out.weight"),
};
static const tensor_row rwkv4_time[] = {
    VALUES(L_NORM, DIM_EMBD, "attn_norm.weight"),
    VALUES(L_NORM_BIAS, DIM_EMBD, "attn_norm.bias"),
    VALUES(L_MIX_K, DIM_EMBD, "time_mix_lerp_k.weight"),
    VALUES(L_MIX_V, DIM_EMBD, "time_mix_lerp_v.weight"),
    VALUES(L_MIX_R, DIM_EMBD, "time_mix_lerp_r.weight"),
    VALUES(L_DECAY, DIM_EMBD, "time_mix_decay.weight"),
    VALUES(L_FIRST, DIM_EMBD, "time_mix_first.weight"),
    MATRIX(L_KEY, DIM_EMBD, DIM_EMBD, "time_mix_key.weight"),
    MATRIX(L_VALUE, DIM_EMBD, DIM_EMBD, "time_mix_value.weight"),
    MATRIX(L_RECEPTANCE, DIM_EMBD, DIM_EMBD, "time_mix_receptance.weight"),
    MATRIX(L_MIX_OUT, DIM_EMBD, DIM_EMBD, "time_mix_output.weight"),
};
static const tensor_row rwkv4_channel[] = {
    VALUES(L_FFN_NORM, DIM_EMBD, "attn_norm_2.weight"),
    VALUES(L_FFN_NORM_BIAS, DIM_EMBD, "attn_norm_2.bias"),
    VALUES(L_CHANNEL_K, DIM_EMBD, "channel_mix_lerp_k.weight"),
    VALUES(L_CHANNEL_R, DIM_EMBD, "channel_mix_lerp_r.weight"),
    MATRIX(L_CHANNEL_KEY, DIM_EMBD, DIM_FF, "channel_mix_key.weight"),
    MATRIX(L_CHANNEL_VALUE, DIM_FF, DIM_EMBD, "channel_mix_value.weight"),
    MATRIX(L_CHANNEL_RECEPTANCE, DIM_EMBD, DIM_EMBD, "channel_mix_receptance.weight"),
};

#define LIST(rows)                                                                                                     \
    { rows, PITH_COUNT(rows) }
#define RMS_KEY "attention.layer_norm_rms_epsilon"
#define LAYER_KEY "attention.layer_norm_epsilon"
static const lm_arch archs[] = {
    {"llama", NORM_RMS, ROPE_PAIRS, MIX_ATTENTION, FFN_SWIGLU, RMS_KEY, LIST(plain_model), LIST(plain_attention),
     LIST(swiglu)},
    {"llama", NORM_RMS, ROPE_PAIRS, MIX_ATTENTION, FFN_EXPERTS, RMS_KEY, LIST(plain_model), LIST(plain_attention),
     LIST(experts)},
    /* llama whose layers have shapes of their own, as llama.cpp has it (first for DeciLM) */
    {"deci", NORM_RMS, ROPE_PAIRS, MIX_ATTENTION, FFN_SWIGLU, RMS_KEY, LIST(plain_model), LIST(plain_attention),
     LIST(swiglu)},
    {"qwen2", NORM_RMS, ROPE_HALVES, MIX_ATTENTION, FFN_SWIGLU, RMS_KEY, LIST(plain_model), LIST(plain_attention),
     LIST(swiglu)},
    {"gpt2", NORM_LAYER, ROPE_NONE, MIX_ATTENTION, FFN_GELU, LAYER_KEY, LIST(gpt2_model), LIST(joint_attention),
     LIST(gelu_ffn)},
    {"mamba", NORM_RMS, ROPE_NONE, MIX_MAMBA, FFN_NONE, RMS_KEY, LIST(plain_model), LIST(mamba_mixer), {NULL, 0}},
    {"rwkv4", NORM_LAYER, ROPE_NONE, MIX_RWKV4, FFN_RWKV4, LAYER_KEY, LIST(rwkv4_model), LIST(rwkv4_time),
     LIST(rwkv4_channel)},
};

/* The dense one of several of a name is the first. */
const lm_arch *arch_find(meta_string name) {
    for (size_t i = 0; i < PITH_COUNT(archs); i++)
        if (strlen(archs[i].name) == name.size && !memcmp(archs[i].name, name.data, name.size)) return &archs[i];
    return NULL;
}

const lm_arch *arch_with_experts(const lm_arch *arch) {
    for (size_t i = 0; i < PITH_COUNT(archs); i++)
        if (strcmp(archs[i].name, arch->name) == 0 && archs[i].ffn == FFN_EXPERTS) return &archs[i];
    return NULL;
}

bool arch_differs(const lm_arch *arch, dim_id dim) {
    return arch->mixer == MIX_ATTENTION && (dim == DIM_FF || dim == DIM_HEADS || dim == DIM_KV_HEADS);
}

const char *arch_names(void) { return "llama, deci, qwen2, gpt2, mamba, rwkv4"; }
