/* Tiny models with random weights, as GGUF files in memory, for every architecture. */
#ifndef TESTS_LM_TINY_MODEL_H
#define TESTS_LM_TINY_MODEL_H

#include <math.h>
#include <stdio.h>

#include "formats/tensors/tensors.h"

typedef struct tiny_variant {
    const char *label, *architecture;
    uint32_t n_heads, n_kv_heads, head_dim; /* head_dim 0: n_embd / n_heads, not written */
    uint32_t rope_dims;                     /* 0: not written */
    bool tied, biases, rope_factors, normed_ssm;
    float rope_base, rope_scale; /* 0: not written */
    uint32_t n_experts, n_used;
    uint32_t first_heads, first_kv_heads, first_ff; /* of layer 0 where layers differ; 0: they are alike */
} tiny_variant;

enum { TINY_EMBD = 32, TINY_FF = 48, TINY_VOCAB = 40, TINY_LAYERS = 2, TINY_CTX = 80 };
enum { TINY_INNER = 64, TINY_STATE = 5, TINY_CONV = 4, TINY_RANK = 3 };

static const tiny_variant tiny_variants[] = {
    {"llama", "llama", 4, 2, 0, 8, false, false, false, false, 10000.0f, 0, 0, 0, 0, 0, 0},
    {"llama, tied, one key head, base 500000, factors", "llama", 4, 1, 0, 0, true, false, true, false, 500000.0f, 0, 0,
     0, 0, 0, 0},
    {"llama, wide heads, part turned, scaled", "llama", 3, 3, 12, 6, false, true, false, false, 0, 4.0f, 0, 0, 0, 0, 0},
    {"qwen2", "qwen2", 4, 2, 0, 0, true, true, false, false, 1000000.0f, 0, 0, 0, 0, 0, 0},
    {"gpt2", "gpt2", 4, 4, 0, 0, true, true, false, false, 0, 0, 0, 0, 0, 0, 0},
    {"gpt2, own output", "gpt2", 2, 2, 0, 0, false, true, false, false, 0, 0, 0, 0, 0, 0, 0},
    {"mamba", "mamba", 0, 0, 0, 0, true, true, false, false, 0, 0, 0, 0, 0, 0, 0},
    {"mamba, normed steps", "mamba", 0, 0, 0, 0, false, true, false, true, 0, 0, 0, 0, 0, 0, 0},
    {"rwkv4", "rwkv4", 0, 0, 0, 0, false, true, false, false, 0, 0, 0, 0, 0, 0, 0},
    {"llama, experts", "llama", 4, 2, 0, 0, true, false, false, false, 10000.0f, 0, 4, 2, 0, 0, 0},
    {"llama, all experts used", "llama", 4, 4, 0, 0, false, false, false, false, 0, 0, 3, 3, 0, 0, 0},
    {"deci, the first layer smaller", "deci", 4, 4, 8, 0, false, false, false, false, 0, 0, 0, 0, 3, 1, 20},
    {"gpt2, the first layer larger", "gpt2", 2, 2, 0, 0, true, true, false, false, 0, 0, 0, 0, 4, 4, 70},
    {"llama, experts, layers of two widths", "llama", 4, 2, 0, 0, true, false, false, false, 0, 0, 4, 2, 4, 4, 20},
};

typedef struct tiny_file {
    pith_ctx *ctx;
    gguf_writer *writer;
    pith_buffer out;
    uint64_t seed;
    struct {
        char name[96];
        uint64_t ne[3];
        float centre, spread;
    } tensors[96];
    size_t n_tensors;
    tensor_type type;     /* of matrices whose rows are whole blocks of it; the rest is F32 */
    const char *without;  /* a tensor left out */
    const char *reshaped; /* a tensor one element longer */
    const char *poisoned; /* a tensor with a NaN in its middle */
} tiny_file;

static pith_status tiny_write(void *opaque, const void *data, size_t size) {
    tiny_file *t = opaque;
    return pith_buffer_append(t->ctx, &t->out, data, size);
}

static float tiny_random(uint64_t *seed) { /* in [-1, 1) */
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (float)(*seed >> 40) / 8388608.0f - 1.0f;
}

static void tiny_add(tiny_file *t, const char *name, uint64_t cols, uint64_t rows, float centre, float spread) {
    if (t->without && !strcmp(t->without, name)) return;
    size_t i = t->n_tensors++;
    snprintf(t->tensors[i].name, sizeof t->tensors[i].name, "%s", name);
    t->tensors[i].ne[0] = cols + (t->reshaped && !strcmp(t->reshaped, name));
    t->tensors[i].ne[1] = rows;
    t->tensors[i].ne[2] = 1;
    t->tensors[i].centre = centre;
    t->tensors[i].spread = spread;
}

static void tiny_matrix(tiny_file *t, const char *name, uint64_t cols, uint64_t rows) {
    tiny_add(t, name, cols, rows, 0.0f, 2.0f / sqrtf((float)cols));
}

/* One matrix for each expert. */
static void tiny_stack(tiny_file *t, const char *name, uint64_t cols, uint64_t rows, uint64_t n_experts) {
    size_t i = t->n_tensors;
    tiny_matrix(t, name, cols, rows);
    if (t->n_tensors > i) t->tensors[i].ne[2] = n_experts;
}

static void tiny_norm(tiny_file *t, const char *name, bool bias) {
    char full[80];
    snprintf(full, sizeof full, "%s.weight", name);
    tiny_add(t, full, TINY_EMBD, 1, 1.0f, 0.3f);
    snprintf(full, sizeof full, "%s.bias", name);
    if (bias) tiny_add(t, full, TINY_EMBD, 1, 0.0f, 0.3f);
}

static const char *tiny_name(char out[64], unsigned layer, const char *name) {
    snprintf(out, 64, "blk.%u.%s", layer, name);
    return out;
}

static bool tiny_first(const tiny_variant *v, unsigned l) { return l == 0 && v->first_heads; }
static uint32_t tiny_heads(const tiny_variant *v, unsigned l) { return tiny_first(v, l) ? v->first_heads : v->n_heads; }
static uint32_t tiny_kv_heads(const tiny_variant *v, unsigned l) {
    return tiny_first(v, l) ? v->first_kv_heads : v->n_kv_heads;
}
static uint32_t tiny_ff(const tiny_variant *v, unsigned l) { return tiny_first(v, l) ? v->first_ff : TINY_FF; }

static void tiny_attention_layer(tiny_file *t, const tiny_variant *v, unsigned l, bool joint) {
    char n[64];
    uint64_t head = v->head_dim ? v->head_dim : TINY_EMBD / tiny_heads(v, 0), q = head * tiny_heads(v, l),
             kv = head * tiny_kv_heads(v, l), ff = tiny_ff(v, l);
    tiny_norm(t, tiny_name(n, l, "attn_norm"), joint);
    tiny_norm(t, tiny_name(n, l, "ffn_norm"), joint);
    if (joint) {
        tiny_matrix(t, tiny_name(n, l, "attn_qkv.weight"), TINY_EMBD, q + 2 * kv);
        tiny_add(t, tiny_name(n, l, "attn_qkv.bias"), q + 2 * kv, 1, 0, 0.3f);
        tiny_add(t, tiny_name(n, l, "attn_output.bias"), TINY_EMBD, 1, 0, 0.3f);
        tiny_add(t, tiny_name(n, l, "ffn_up.bias"), ff, 1, 0, 0.3f);
        tiny_add(t, tiny_name(n, l, "ffn_down.bias"), TINY_EMBD, 1, 0, 0.3f);
    } else {
        tiny_matrix(t, tiny_name(n, l, "attn_q.weight"), TINY_EMBD, q);
        tiny_matrix(t, tiny_name(n, l, "attn_k.weight"), TINY_EMBD, kv);
        tiny_matrix(t, tiny_name(n, l, "attn_v.weight"), TINY_EMBD, kv);
        if (!v->n_experts) tiny_matrix(t, tiny_name(n, l, "ffn_gate.weight"), TINY_EMBD, ff);
        if (v->biases) {
            tiny_add(t, tiny_name(n, l, "attn_q.bias"), q, 1, 0, 0.3f);
            tiny_add(t, tiny_name(n, l, "attn_k.bias"), kv, 1, 0, 0.3f);
            tiny_add(t, tiny_name(n, l, "attn_v.bias"), kv, 1, 0, 0.3f);
        }
    }
    tiny_matrix(t, tiny_name(n, l, "attn_output.weight"), q, TINY_EMBD);
    if (v->n_experts) {
        tiny_matrix(t, tiny_name(n, l, "ffn_gate_inp.weight"), TINY_EMBD, v->n_experts);
        tiny_stack(t, tiny_name(n, l, "ffn_gate_exps.weight"), TINY_EMBD, ff, v->n_experts);
        tiny_stack(t, tiny_name(n, l, "ffn_up_exps.weight"), TINY_EMBD, ff, v->n_experts);
        tiny_stack(t, tiny_name(n, l, "ffn_down_exps.weight"), ff, TINY_EMBD, v->n_experts);
        return;
    }
    tiny_matrix(t, tiny_name(n, l, "ffn_up.weight"), TINY_EMBD, ff);
    tiny_matrix(t, tiny_name(n, l, "ffn_down.weight"), ff, TINY_EMBD);
}

static void tiny_mamba_layer(tiny_file *t, unsigned l) {
    char n[64];
    tiny_norm(t, tiny_name(n, l, "attn_norm"), false);
    tiny_matrix(t, tiny_name(n, l, "ssm_in.weight"), TINY_EMBD, 2 * TINY_INNER);
    tiny_add(t, tiny_name(n, l, "ssm_conv1d.weight"), TINY_CONV, TINY_INNER, 0, 0.7f);
    tiny_add(t, tiny_name(n, l, "ssm_conv1d.bias"), TINY_INNER, 1, 0, 0.3f);
    tiny_matrix(t, tiny_name(n, l, "ssm_x.weight"), TINY_INNER, TINY_RANK + 2 * TINY_STATE);
    tiny_matrix(t, tiny_name(n, l, "ssm_dt.weight"), TINY_RANK, TINY_INNER);
    tiny_add(t, tiny_name(n, l, "ssm_dt.bias"), TINY_INNER, 1, -1.0f, 1.0f);
    tiny_add(t, tiny_name(n, l, "ssm_a"), TINY_STATE, TINY_INNER, -1.5f, 1.4f);
    tiny_add(t, tiny_name(n, l, "ssm_d"), TINY_INNER, 1, 1.0f, 0.5f);
    tiny_matrix(t, tiny_name(n, l, "ssm_out.weight"), TINY_INNER, TINY_EMBD);
}

static void tiny_rwkv4_layer(tiny_file *t, unsigned l) {
    static const char *const mixes[] = {"time_mix_lerp_k.weight", "time_mix_lerp_v.weight", "time_mix_lerp_r.weight",
                                        "channel_mix_lerp_k.weight", "channel_mix_lerp_r.weight"};
    static const char *const squares[] = {"time_mix_key.weight", "time_mix_value.weight", "time_mix_receptance.weight",
                                          "time_mix_output.weight", "channel_mix_receptance.weight"};
    char n[64];
    tiny_norm(t, tiny_name(n, l, "attn_norm"), true);
    tiny_norm(t, tiny_name(n, l, "attn_norm_2"), true);
    for (size_t i = 0; i < PITH_COUNT(mixes); i++) tiny_add(t, tiny_name(n, l, mixes[i]), TINY_EMBD, 1, 0.5f, 0.5f);
    for (size_t i = 0; i < PITH_COUNT(squares); i++) tiny_matrix(t, tiny_name(n, l, squares[i]), TINY_EMBD, TINY_EMBD);
    tiny_add(t, tiny_name(n, l, "time_mix_decay.weight"), TINY_EMBD, 1, -1.0f, 0.9f);
    tiny_add(t, tiny_name(n, l, "time_mix_first.weight"), TINY_EMBD, 1, 0, 1.0f);
    tiny_matrix(t, tiny_name(n, l, "channel_mix_key.weight"), TINY_EMBD, TINY_FF);
    tiny_matrix(t, tiny_name(n, l, "channel_mix_value.weight"), TINY_FF, TINY_EMBD);
}

static pith_status tiny_key(tiny_file *t, const char *architecture, const char *key, uint32_t value) {
    char full[96];
    snprintf(full, sizeof full, "%s.%s", architecture, key);
    return gguf_put_u32(t->ctx, t->writer, full, value);
}

/* One number, or a list where layers differ. */
static pith_status tiny_layer_key(tiny_file *t, const tiny_variant *v, const char *key,
                                  uint32_t (*of)(const tiny_variant *v, unsigned l)) {
    char full[96];
    uint32_t list[TINY_LAYERS];
    if (!v->first_heads) return tiny_key(t, v->architecture, key, of(v, 0));
    for (unsigned l = 0; l < TINY_LAYERS; l++) list[l] = of(v, l);
    snprintf(full, sizeof full, "%s.%s", v->architecture, key);
    return gguf_put_array(t->ctx, t->writer, full, META_U32, list, TINY_LAYERS);
}

static pith_status tiny_number(tiny_file *t, const char *architecture, const char *key, float value) {
    char full[96];
    snprintf(full, sizeof full, "%s.%s", architecture, key);
    return gguf_put_f32(t->ctx, t->writer, full, value);
}

static pith_status tiny_keys(tiny_file *t, const tiny_variant *v) {
    const char *a = v->architecture;
    bool layer_norm = !strcmp(a, "gpt2") || !strcmp(a, "rwkv4"), mamba = !strcmp(a, "mamba");
    pith_status s = gguf_put_text(t->ctx, t->writer, "general.architecture", a, strlen(a));
    if (!s) s = tiny_key(t, a, "block_count", TINY_LAYERS);
    if (!s) s = tiny_key(t, a, "embedding_length", TINY_EMBD);
    if (!s) s = tiny_key(t, a, "context_length", TINY_CTX);
    if (!s && !mamba) s = tiny_layer_key(t, v, "feed_forward_length", tiny_ff);
    if (!s)
        s = tiny_number(t, a, layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", 1e-5f);
    if (!s && v->n_heads) s = tiny_layer_key(t, v, "attention.head_count", tiny_heads);
    if (!s && v->n_heads) s = tiny_layer_key(t, v, "attention.head_count_kv", tiny_kv_heads);
    if (!s && v->head_dim) s = tiny_key(t, a, "attention.key_length", v->head_dim);
    if (!s && v->rope_dims) s = tiny_key(t, a, "rope.dimension_count", v->rope_dims);
    if (!s && v->rope_base > 0) s = tiny_number(t, a, "rope.freq_base", v->rope_base);
    if (!s && v->rope_scale > 0) {
        char key[64];
        snprintf(key, sizeof key, "%s.rope.scaling.type", a);
        s = gguf_put_text(t->ctx, t->writer, key, "linear", 6);
        if (!s) s = tiny_number(t, a, "rope.scaling.factor", v->rope_scale);
    }
    if (!s && v->n_experts) s = tiny_key(t, a, "expert_count", v->n_experts);
    if (!s && v->n_experts) s = tiny_key(t, a, "expert_used_count", v->n_used);
    if (!s && mamba) s = tiny_key(t, a, "ssm.inner_size", TINY_INNER);
    if (!s && mamba) s = tiny_key(t, a, "ssm.state_size", TINY_STATE);
    if (!s && mamba) s = tiny_key(t, a, "ssm.conv_kernel", TINY_CONV);
    if (!s && mamba) s = tiny_key(t, a, "ssm.time_step_rank", TINY_RANK);
    if (!s && v->normed_ssm) s = gguf_put_bool(t->ctx, t->writer, "mamba.ssm.dt_b_c_rms", true);
    return s;
}

static void tiny_tensors(tiny_file *t, const tiny_variant *v) {
    bool gpt2 = !strcmp(v->architecture, "gpt2"), rwkv4 = !strcmp(v->architecture, "rwkv4");
    tiny_add(t, "token_embd.weight", TINY_EMBD, TINY_VOCAB, 0, 1.0f);
    if (gpt2) tiny_add(t, "position_embd.weight", TINY_EMBD, TINY_CTX, 0, 0.5f);
    if (rwkv4) tiny_norm(t, "token_embd_norm", true);
    tiny_norm(t, "output_norm", gpt2 || rwkv4);
    if (!v->tied) tiny_matrix(t, "output.weight", TINY_EMBD, TINY_VOCAB);
    uint32_t turned = v->rope_dims ? v->rope_dims : v->n_heads ? TINY_EMBD / v->n_heads : 0;
    if (v->rope_factors) tiny_add(t, "rope_freqs.weight", turned / 2, 1, 4.0f, 3.0f);
    for (unsigned l = 0; l < TINY_LAYERS; l++) {
        if (v->n_heads)
            tiny_attention_layer(t, v, l, gpt2);
        else if (rwkv4)
            tiny_rwkv4_layer(t, l);
        else
            tiny_mamba_layer(t, l);
    }
}

static tensor_type tiny_type(const tiny_file *t, size_t i) {
    return t->tensors[i].ne[1] > 1 && t->tensors[i].ne[0] % tensor_type_of(t->type)->block == 0 ? t->type : TENSOR_F32;
}

/* The file's bytes in t->out, to be freed with pith_buffer_free. `more` may add or replace keys.
 * t may come with `type`, `without`, `reshaped` or `poisoned` set, the rest zero. */
static pith_status tiny_build(pith_ctx *ctx, tiny_file *t, const tiny_variant *v,
                              pith_status (*more)(tiny_file *t, const tiny_variant *v)) {
    t->ctx = ctx;
    t->seed = 88172645463325252u;
    pith_status s = gguf_writer_new(ctx, &t->writer);
    if (s) return s;
    s = tiny_keys(t, v);
    if (!s && more) s = more(t, v);
    tiny_tensors(t, v);
    for (size_t i = 0; !s && i < t->n_tensors; i++)
        s = gguf_put_tensor(ctx, t->writer, t->tensors[i].name, strlen(t->tensors[i].name), tiny_type(t, i),
                            t->tensors[i].ne[2] > 1   ? 3
                            : t->tensors[i].ne[1] > 1 ? 2
                                                      : 1,
                            t->tensors[i].ne);
    if (!s) s = gguf_write_head(ctx, t->writer, tiny_write, t);
    for (size_t i = 0; !s && i < t->n_tensors; i++) {
        static float data[TINY_EMBD * 256];
        size_t n = (size_t)(t->tensors[i].ne[0] * t->tensors[i].ne[1] * t->tensors[i].ne[2]);
        for (size_t k = 0; k < n; k++) data[k] = t->tensors[i].centre + t->tensors[i].spread * tiny_random(&t->seed);
        if (t->poisoned && !strcmp(t->poisoned, t->tensors[i].name)) data[n / 2] = NAN;
        static uint8_t blocks[sizeof data];
        const tensor_type_info *type = tensor_type_of(tiny_type(t, i));
        blocks_encode(type->type, data, blocks, n);
        s = gguf_write_data(ctx, t->writer, blocks, n / type->block * type->block_bytes, tiny_write, t);
    }
    gguf_writer_free(ctx, t->writer);
    t->writer = NULL;
    return s;
}

#endif
