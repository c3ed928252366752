/* config.json of Hugging Face models in GGUF's words: keys and tensor names as llama.cpp's
 * converter gives them (ggml-org/llama.cpp, convert_hf_to_gguf.py, gguf-py). One row of tables for
 * each architecture. */
#include <math.h>

#include "formats/json/json.h"
#include "formats/tensors/names.h"
#include "math/math.h"

typedef struct config_key {
    const char *from[3]; /* the first of these that is there */
    const char *to;
    meta_type type;  /* META_U32 or META_F32 */
    double otherwise; /* when none is there; NAN: then the key is left out, unless it is required */
    bool required;
} config_key;

typedef struct config_arch {
    const char *model_type, *name; /* config.json's and GGUF's */
    const char *prefix;            /* that tensor names may have */
    const config_key *keys;
    size_t n_keys;
    const name_pair *names;
    size_t n_names;
    const char *const *drop;
    size_t n_drop;
    /* What a table cannot say. */
    pith_status (*finish)(pith_ctx *ctx, tensor_store *s, const json_t *config, const char *arch);
} config_arch;

static double number(const json_t *config, const char *key, double otherwise) {
    const json_t *value = json_object_get(config, key);
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

/* ---- tables -------------------------------------------------------------------- */

#define SAME_DECODER_KEYS                                                                            \
    {{"num_hidden_layers"}, "block_count", META_U32, NAN, true},                                     \
    {{"max_position_embeddings"}, "context_length", META_U32, NAN, true},                            \
    {{"hidden_size"}, "embedding_length", META_U32, NAN, true},                                      \
    {{"intermediate_size"}, "feed_forward_length", META_U32, NAN, true},                             \
    {{"num_attention_heads"}, "attention.head_count", META_U32, NAN, true},                          \
    {{"num_key_value_heads", "num_attention_heads"}, "attention.head_count_kv", META_U32, NAN, true}, \
    {{"rms_norm_eps"}, "attention.layer_norm_rms_epsilon", META_F32, 1e-6, false},                   \
    {{"rope_theta"}, "rope.freq_base", META_F32, 10000, false},                                      \
    {{"vocab_size"}, "vocab_size", META_U32, NAN, true},                                             \
    {{"head_dim"}, "attention.key_length", META_U32, NAN, false},                                    \
    {{"head_dim"}, "attention.value_length", META_U32, NAN, false}

static const config_key decoder_keys[] = {SAME_DECODER_KEYS};

static const name_pair decoder_names[] = {
    {"embed_tokens", "token_embd", false},
    {"layers.%.input_layernorm", "blk.%.attn_norm", false},
    {"layers.%.self_attn.q_proj", "blk.%.attn_q", false},
    {"layers.%.self_attn.k_proj", "blk.%.attn_k", false},
    {"layers.%.self_attn.v_proj", "blk.%.attn_v", false},
    {"layers.%.self_attn.o_proj", "blk.%.attn_output", false},
    {"layers.%.post_attention_layernorm", "blk.%.ffn_norm", false},
    {"layers.%.mlp.gate_proj", "blk.%.ffn_gate", false},
    {"layers.%.mlp.up_proj", "blk.%.ffn_up", false},
    {"layers.%.mlp.down_proj", "blk.%.ffn_down", false},
    {"norm", "output_norm", false},
    {"lm_head", "output", false},
};
static const char *const decoder_drop[] = {"layers.%.self_attn.rotary_emb.inv_freq"};

static const config_key gpt2_keys[] = {
    {{"n_layer"}, "block_count", META_U32, NAN, true},
    {{"n_ctx", "n_positions"}, "context_length", META_U32, NAN, true},
    {{"n_embd"}, "embedding_length", META_U32, NAN, true},
    {{"n_head"}, "attention.head_count", META_U32, NAN, true},
    {{"layer_norm_epsilon"}, "attention.layer_norm_epsilon", META_F32, 1e-5, false},
    {{"vocab_size"}, "vocab_size", META_U32, NAN, true},
};
static const name_pair gpt2_names[] = {
    {"wte", "token_embd", false},
    {"wpe", "position_embd", false},
    {"h.%.ln_1", "blk.%.attn_norm", false},
    {"h.%.attn.c_attn", "blk.%.attn_qkv", false},
    {"h.%.attn.c_proj", "blk.%.attn_output", false},
    {"h.%.ln_2", "blk.%.ffn_norm", false},
    {"h.%.mlp.c_fc", "blk.%.ffn_up", false},
    {"h.%.mlp.c_proj", "blk.%.ffn_down", false},
    {"ln_f", "output_norm", false},
    {"lm_head", "output", false},
};
static const char *const gpt2_drop[] = {"h.%.attn.bias", "h.%.attn.masked_bias"};

static const config_key mamba_keys[] = {
    {{"num_hidden_layers", "n_layer"}, "block_count", META_U32, NAN, true},
    {{"hidden_size", "d_model"}, "embedding_length", META_U32, NAN, true},
    {{"conv_kernel", "d_conv"}, "ssm.conv_kernel", META_U32, 4, false},
    {{"state_size", "d_state"}, "ssm.state_size", META_U32, 16, false},
    {{"layer_norm_epsilon", "rms_norm_eps"}, "attention.layer_norm_rms_epsilon", META_F32, 1e-5, false},
    {{"vocab_size"}, "vocab_size", META_U32, NAN, true},
};
static const name_pair mamba_names[] = {
    {"embeddings", "token_embd", false},
    {"embedding", "token_embd", false},
    {"layers.%.norm", "blk.%.attn_norm", false},
    {"layers.%.mixer.in_proj", "blk.%.ssm_in", false},
    {"layers.%.mixer.conv1d", "blk.%.ssm_conv1d", false},
    {"layers.%.mixer.x_proj", "blk.%.ssm_x", false},
    {"layers.%.mixer.dt_proj", "blk.%.ssm_dt", false},
    {"layers.%.mixer.A_log", "blk.%.ssm_a", true},
    {"layers.%.mixer.D", "blk.%.ssm_d", true},
    {"layers.%.mixer.out_proj", "blk.%.ssm_out", false},
    {"norm_f", "output_norm", false},
    {"lm_head", "output", false},
};

static const config_key bert_keys[] = {
    {{"num_hidden_layers"}, "block_count", META_U32, NAN, true},
    {{"max_position_embeddings"}, "context_length", META_U32, NAN, true},
    {{"hidden_size"}, "embedding_length", META_U32, NAN, true},
    {{"intermediate_size"}, "feed_forward_length", META_U32, NAN, true},
    {{"num_attention_heads"}, "attention.head_count", META_U32, NAN, true},
    {{"layer_norm_eps"}, "attention.layer_norm_epsilon", META_F32, 1e-12, false},
    {{"vocab_size"}, "vocab_size", META_U32, NAN, true},
};
static const name_pair bert_names[] = {
    {"embeddings.word_embeddings", "token_embd", false},
    {"embeddings.position_embeddings", "position_embd", false},
    {"embeddings.token_type_embeddings", "token_types", false},
    {"embeddings.LayerNorm", "token_embd_norm", false},
    {"encoder.layer.%.attention.self.query", "blk.%.attn_q", false},
    {"encoder.layer.%.attention.self.key", "blk.%.attn_k", false},
    {"encoder.layer.%.attention.self.value", "blk.%.attn_v", false},
    {"encoder.layer.%.attention.output.dense", "blk.%.attn_output", false},
    {"encoder.layer.%.attention.output.LayerNorm", "blk.%.attn_output_norm", false},
    {"encoder.layer.%.intermediate.dense", "blk.%.ffn_up", false},
    {"encoder.layer.%.output.dense", "blk.%.ffn_down", false},
    {"encoder.layer.%.output.LayerNorm", "blk.%.layer_output_norm", false},
};
static const char *const bert_drop[] = {"embeddings.position_ids", "pooler.*", "cls.*"};

/* ---- what tables cannot say ---------------------------------------------------------- */

/* rope_scaling of kind llama3 becomes factors for each pair, as llama.cpp wants them: frequencies
 * whose wave is longer than low are divided by factor, shorter than high kept, between them mixed. */
static pith_status put_rope_factors(pith_ctx *ctx, tensor_store *s, const json_t *config, const json_t *scaling) {
    double heads = number(config, "num_attention_heads", 1), dim = number(config, "head_dim", 0);
    if (dim == 0) dim = number(config, "hidden_size", 0) / heads;
    double base = number(config, "rope_theta", 10000), factor = number(scaling, "factor", 8);
    double low = number(scaling, "low_freq_factor", 1), high = number(scaling, "high_freq_factor", 4);
    double context = number(scaling, "original_max_position_embeddings", 8192);
    if (!(dim >= 2 && dim <= 65536 && base > 0 && factor > 0 && low > 0 && high > low && context > 0))
        return pith_fail(ctx, PITH_E_FORMAT, "config.json: rope_scaling makes no sense");
    tensor_view t = {.name = {"rope_freqs.weight", 17}, .type = TENSOR_F32, .n_dims = 1};
    for (unsigned i = 0; i < TENSOR_MAX_DIMS; i++) t.ne[i] = 1;
    t.ne[0] = (uint64_t)dim / 2;
    pith_status status = tensor_measure(ctx, &t, 0);
    uint8_t *data = status ? NULL : store_bytes(ctx, s, (size_t)t.bytes);
    if (!data) return status ? status : pith_alloc_status(ctx);
    for (uint64_t i = 0; i < t.ne[0]; i++) {
        double wave = 2 * 3.14159265358979323846 * real_pow(base, 2 * (double)i / dim), value = factor;
        if (wave < context / high) {
            value = 1;
        } else if (wave <= context / low) {
            double smooth = (context / wave - low) / (high - low);
            value = 1 / ((1 - smooth) / factor + smooth);
        }
        float single = (float)value;
        uint32_t bits;
        memcpy(&bits, &single, 4);
        store32(data + 4 * i, bits);
    }
    t.data = data;
    return store_tensor(ctx, s, &t, 0);
}

static pith_status put_scaling(pith_ctx *ctx, tensor_store *s, const json_t *config, const char *arch) {
    const json_t *scaling = json_object_get(config, "rope_scaling");
    if (!json_is_object(scaling)) return PITH_OK;
    const char *type = json_string_value(json_object_get(scaling, "rope_type"));
    if (!type) type = json_string_value(json_object_get(scaling, "type"));
    if (!type || strcmp(type, "default") == 0) return PITH_OK;
    if (strcmp(type, "llama3") == 0) return put_rope_factors(ctx, s, config, scaling);
    char shown[SHOWN_MAX];
    if (strcmp(type, "linear") != 0 && strcmp(type, "yarn") != 0)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "config.json: rope_scaling of type %s is not known",
                         text_shown(shown, (meta_string){type, strlen(type)}));
    pith_status status = store_text(ctx, s, arch, "rope.scaling.type", type, strlen(type));
    if (!status) status = store_f32(ctx, s, arch, "rope.scaling.factor", (float)number(scaling, "factor", 1));
    uint64_t context;
    if (!status && json_whole(json_object_get(scaling, "original_max_position_embeddings"), &context) &&
        context <= UINT32_MAX)
        status = store_u32(ctx, s, arch, "rope.scaling.original_context_length", (uint32_t)context);
    return status;
}

static pith_status finish_qwen2(pith_ctx *ctx, tensor_store *s, const json_t *config, const char *arch) {
    return put_scaling(ctx, s, config, arch);
}

static pith_status finish_llama(pith_ctx *ctx, tensor_store *s, const json_t *config, const char *arch) {
    double heads = number(config, "num_attention_heads", 0), dim = number(config, "head_dim", 0);
    if (dim == 0 && heads > 0) dim = floor(number(config, "hidden_size", 0) / heads);
    pith_status status = PITH_OK;
    if (dim >= 1 && dim <= UINT32_MAX) status = store_u32(ctx, s, arch, "rope.dimension_count", (uint32_t)dim);
    if (!status) status = put_scaling(ctx, s, config, arch);
    return status ? status : store_text(ctx, s, NULL, "pith.rope_layout", "half", 4);
}

static pith_status finish_gpt2(pith_ctx *ctx, tensor_store *s, const json_t *config, const char *arch) {
    double hidden = number(config, "n_inner", 4 * number(config, "n_embd", 0));
    if (!(hidden >= 1 && hidden <= UINT32_MAX))
        return pith_fail(ctx, PITH_E_FORMAT, "config.json: n_inner is out of range");
    pith_status status = store_u32(ctx, s, arch, "feed_forward_length", (uint32_t)hidden);
    return status ? status : store_bool(ctx, s, NULL, "pith.transposed", true);
}

static pith_status finish_mamba(pith_ctx *ctx, tensor_store *s, const json_t *config, const char *arch) {
    double width = number(config, "hidden_size", number(config, "d_model", 0));
    double inner = number(config, "intermediate_size", number(config, "d_inner", 2 * width));
    double rank = number(config, "time_step_rank", number(config, "dt_rank", ceil(width / 16)));
    if (!(inner >= 1 && inner <= UINT32_MAX && rank >= 1 && rank <= UINT32_MAX))
        return pith_fail(ctx, PITH_E_FORMAT, "config.json: intermediate_size or time_step_rank is out of range");
    for (size_t i = 0; i < s->n_tensors; i++) { /* a convolution of one channel each: [inner][1][kernel] */
        tensor_view *t = &s->tensors[i];
        static const char end[] = ".ssm_conv1d.weight";
        const size_t n = sizeof end - 1;
        if (t->n_dims == 3 && t->ne[1] == 1 && t->name.size > n &&
            memcmp(t->name.data + t->name.size - n, end, n) == 0) {
            t->n_dims = 2;
            t->ne[1] = t->ne[2];
            t->ne[2] = 1;
        }
    }
    pith_status status = store_u32(ctx, s, arch, "ssm.inner_size", (uint32_t)inner);
    if (!status) status = store_u32(ctx, s, arch, "ssm.time_step_rank", (uint32_t)rank);
    if (!status) status = store_u32(ctx, s, arch, "context_length", 1 << 20); /* without bound, as llama.cpp puts it */
    if (!status) status = store_u32(ctx, s, arch, "feed_forward_length", 0);
    if (!status) status = store_u32(ctx, s, arch, "attention.head_count", 0);
    return status ? status : store_text(ctx, s, NULL, "pith.ssm_a", "log", 3);
}

static pith_status finish_bert(pith_ctx *ctx, tensor_store *s, const json_t *config, const char *arch) {
    uint64_t types;
    pith_status status = store_bool(ctx, s, arch, "attention.causal", false);
    if (!status && json_whole(json_object_get(config, "type_vocab_size"), &types) && types <= UINT32_MAX)
        status = store_u32(ctx, s, NULL, "tokenizer.ggml.token_type_count", (uint32_t)types);
    return status;
}

#define TABLE(table) table, PITH_COUNT(table)
static const config_arch archs[] = {
    {"llama", "llama", "model.", TABLE(decoder_keys), TABLE(decoder_names), TABLE(decoder_drop), finish_llama},
    {"mistral", "llama", "model.", TABLE(decoder_keys), TABLE(decoder_names), TABLE(decoder_drop), finish_llama},
    {"qwen2", "qwen2", "model.", TABLE(decoder_keys), TABLE(decoder_names), TABLE(decoder_drop), finish_qwen2},
    {"gpt2", "gpt2", "transformer.", TABLE(gpt2_keys), TABLE(gpt2_names), TABLE(gpt2_drop), finish_gpt2},
    {"mamba", "mamba", "backbone.", TABLE(mamba_keys), TABLE(mamba_names), NULL, 0, finish_mamba},
    {"bert", "bert", "bert.", TABLE(bert_keys), TABLE(bert_names), TABLE(bert_drop), finish_bert},
};

pith_status config_apply_pooling(pith_ctx *ctx, tensor_store *s, const char *path) {
    static const struct {
        const char *key;
        uint32_t number; /* llama.h, llama_pooling_type */
    } modes[] = {{"pooling_mode_mean_tokens", 1}, {"pooling_mode_cls_token", 2}, {"pooling_mode_lasttoken", 3}};
    const meta_value *arch = NULL;
    for (size_t i = 0; i < s->n_meta; i++)
        if (s->meta[i].key.size == 20 && memcmp(s->meta[i].key.data, "general.architecture", 20) == 0) arch = &s->meta[i];
    if (!arch || arch->bytes != 12 || memcmp(arch->data + 8, "bert", 4) != 0) return PITH_OK;
    json_t *pooling;
    pith_status status = json_read_file(ctx, path, &pooling);
    if (status) return status;
    for (unsigned i = 0; i < PITH_COUNT(modes) && !status; i++)
        if (json_is_true(json_object_get(pooling, modes[i].key))) {
            status = store_u32(ctx, s, "bert", "pooling_type", modes[i].number);
            break;
        }
    json_decref(pooling);
    return status;
}

/* ---- applying them ---------------------------------------------------------------------- */

static pith_status put_key(pith_ctx *ctx, tensor_store *s, const json_t *config, const char *path, const char *arch,
                           const config_key *key) {
    const json_t *value = NULL;
    for (unsigned i = 0; i < PITH_COUNT(key->from) && key->from[i] && !value; i++) {
        value = json_object_get(config, key->from[i]);
        if (json_is_null(value)) value = NULL;
    }
    if (!value && key->required)
        return pith_fail(ctx, PITH_E_FORMAT, "%s: %s is missing", path, key->from[0]);
    if (!value && key->otherwise != key->otherwise) return PITH_OK;
    if (key->type == META_F32) {
        if (value && !json_is_number(value))
            return pith_fail(ctx, PITH_E_FORMAT, "%s: %s should be a number", path, key->from[0]);
        return store_f32(ctx, s, arch, key->to, (float)(value ? json_number_value(value) : key->otherwise));
    }
    uint64_t whole = value ? 0 : (uint64_t)key->otherwise;
    if (value && (!json_whole(value, &whole) || whole > UINT32_MAX))
        return pith_fail(ctx, PITH_E_FORMAT, "%s: %s should be a whole number", path, key->from[0]);
    return store_u32(ctx, s, arch, key->to, (uint32_t)whole);
}

static pith_status apply(pith_ctx *ctx, tensor_store *s, const json_t *config, const char *path) {
    const char *type = json_string_value(json_object_get(config, "model_type"));
    const config_arch *arch = NULL;
    for (unsigned i = 0; type && i < PITH_COUNT(archs); i++)
        if (strcmp(type, archs[i].model_type) == 0) arch = &archs[i];
    char shown[SHOWN_MAX];
    if (!arch)
        return pith_fail(ctx, PITH_E_UNSUPPORTED,
                         "%s: model_type %s is not one of llama, mistral, qwen2, gpt2, mamba, bert", path,
                         type ? text_shown(shown, (meta_string){type, strlen(type)}) : "(none)");
    pith_status status = store_text(ctx, s, NULL, "general.architecture", arch->name, strlen(arch->name));
    for (size_t i = 0; i < arch->n_keys && !status; i++)
        status = put_key(ctx, s, config, path, arch->name, &arch->keys[i]);
    if (status) return status;
    names_drop(s, arch->prefix, arch->drop, arch->n_drop);
    status = names_apply(ctx, s, arch->prefix, arch->names, arch->n_names);
    return status ? status : arch->finish(ctx, s, config, arch->name);
}

pith_status config_apply(pith_ctx *ctx, tensor_store *s, const char *config_path) {
    json_t *config;
    pith_status status = json_read_file(ctx, config_path, &config);
    if (status) return status;
    status = apply(ctx, s, config, config_path);
    json_decref(config);
    return status;
}
