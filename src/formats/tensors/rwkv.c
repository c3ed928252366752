/* rwkv.cpp files: magic 0x67676d66, version 100 or 101, n_vocab, n_embed, n_layer, data type, then
 * parameters to the end of the file: dimensions, key length, type, shape (contiguous first), key,
 * data. Source of the layout: RWKV/rwkv.cpp, docs/FILE_FORMAT.md. Blocks of version 100 have a
 * layout that ggml dropped; plain floats are the same in both. */
#include "formats/tensors/names.h"

#define HEAD_BYTES 24u

static const name_pair pairs[] = {
    {"emb", "token_embd", false},
    {"blocks.0.ln0", "token_embd_norm", false},
    {"blocks.%.ln1", "blk.%.attn_norm", false},
    {"blocks.%.ln2", "blk.%.attn_norm_2", false},
    {"blocks.%.att.time_decay", "blk.%.time_mix_decay", false},
    {"blocks.%.att.time_first", "blk.%.time_mix_first", false},
    {"blocks.%.att.time_mix_k", "blk.%.time_mix_lerp_k", false},
    {"blocks.%.att.time_mix_v", "blk.%.time_mix_lerp_v", false},
    {"blocks.%.att.time_mix_r", "blk.%.time_mix_lerp_r", false},
    {"blocks.%.att.key", "blk.%.time_mix_key", false},
    {"blocks.%.att.value", "blk.%.time_mix_value", false},
    {"blocks.%.att.receptance", "blk.%.time_mix_receptance", false},
    {"blocks.%.att.output", "blk.%.time_mix_output", false},
    {"blocks.%.ffn.time_mix_k", "blk.%.channel_mix_lerp_k", false},
    {"blocks.%.ffn.time_mix_r", "blk.%.channel_mix_lerp_r", false},
    {"blocks.%.ffn.key", "blk.%.channel_mix_key", false},
    {"blocks.%.ffn.value", "blk.%.channel_mix_value", false},
    {"blocks.%.ffn.receptance", "blk.%.channel_mix_receptance", false},
    {"ln_out", "output_norm", false},
    {"head", "output", false},
};

/* The types by rwkv.cpp's numbers; those it dropped are -1. */
static const int types[] = {TENSOR_F32,  TENSOR_F16,  TENSOR_Q4_0, TENSOR_Q4_1, -1,
                            -1,          -1,          TENSOR_Q5_0, TENSOR_Q5_1, TENSOR_Q8_0};

static pith_status find_type(pith_ctx *ctx, const tensor_store *s, uint32_t number, const char *what, uint64_t at,
                             tensor_type *type) {
    if (number >= PITH_COUNT(types) || types[number] < 0)
        return pith_fail(ctx, PITH_E_FORMAT, "data type of %s at byte %llu: %u is not known", what,
                         (unsigned long long)at, number);
    if (number > 1 && s->file.version == 100)
        return pith_fail(ctx, PITH_E_UNSUPPORTED,
                         "data type of %s at byte %llu: %u, whose blocks in version 100 nobody reads any more", what,
                         (unsigned long long)at, number);
    *type = (tensor_type)types[number];
    return PITH_OK;
}

static pith_status take_parameter(pith_ctx *ctx, tensor_store *s, head_cursor *c) {
    uint64_t at = c->at;
    char shown[SHOWN_MAX];
    const uint8_t *p = head_take(ctx, c, 12, "parameter");
    if (!p) return PITH_E_TRUNCATED;
    tensor_view t = {.n_dims = load32(p)};
    uint32_t key_n = load32(p + 4), type = load32(p + 8);
    if (t.n_dims < 1 || t.n_dims > 3)
        return pith_fail(ctx, PITH_E_FORMAT, "dim_count at byte %llu: %u, should be 1 to 3", (unsigned long long)at,
                         t.n_dims);
    if (!(p = head_take(ctx, c, 4 * t.n_dims, "shape"))) return PITH_E_TRUNCATED;
    for (unsigned i = 0; i < TENSOR_MAX_DIMS; i++) t.ne[i] = i < t.n_dims ? load32(p + 4 * i) : 1;
    if (!(t.name.data = (const char *)head_take(ctx, c, key_n, "key"))) return PITH_E_TRUNCATED;
    t.name.size = key_n;
    text_shown(shown, t.name);
    for (unsigned i = 0; i < t.n_dims; i++)
        if (t.ne[i] > INT32_MAX)
            return pith_fail(ctx, PITH_E_FORMAT, "shape of %s at byte %llu: %lld is negative", shown,
                             (unsigned long long)at + 12 + 4 * i, (long long)(int32_t)(uint32_t)t.ne[i]);
    pith_status status = find_type(ctx, s, type, shown, at + 8, &t.type);
    if (!status) status = tensor_measure(ctx, &t, at + 12);
    if (status) return status;
    t.offset = c->at;
    if (!head_take(ctx, c, t.bytes, "data of a parameter")) return PITH_E_TRUNCATED;
    return store_tensor(ctx, s, &t, at);
}

static bool has(const tensor_store *s, const char *name) {
    size_t n = strlen(name);
    for (size_t i = 0; i < s->n_tensors; i++)
        if (s->tensors[i].name.size == n && memcmp(s->tensors[i].name.data, name, n) == 0) return true;
    return false;
}

/* GGUF's names and keys for version 4; the later ones have parameters of other kinds. */
static pith_status describe(pith_ctx *ctx, tensor_store *s, const uint32_t head[3]) {
    bool v4 = has(s, "blocks.0.att.time_mix_k") && !has(s, "blocks.0.att.ln_x.weight");
    const char *arch = v4 ? "rwkv4" : "rwkv";
    uint64_t hidden = 0;
    for (size_t i = 0; i < s->n_tensors; i++) {
        static const char key[] = "blocks.0.ffn.key.weight";
        if (s->tensors[i].name.size == sizeof key - 1 && memcmp(s->tensors[i].name.data, key, sizeof key - 1) == 0)
            hidden = s->tensors[i].ne[1];
    }
    pith_status status = v4 ? names_apply(ctx, s, NULL, pairs, PITH_COUNT(pairs)) : PITH_OK;
    if (!status) status = store_text(ctx, s, NULL, "general.architecture", arch, strlen(arch));
    if (!status) status = store_u32(ctx, s, arch, "vocab_size", head[0]);
    if (!status) status = store_u32(ctx, s, arch, "embedding_length", head[1]);
    if (!status) status = store_u32(ctx, s, arch, "block_count", head[2]);
    if (!status && hidden) status = store_u32(ctx, s, arch, "feed_forward_length", (uint32_t)hidden);
    if (!status) status = store_f32(ctx, s, arch, "attention.layer_norm_epsilon", 1e-5f);
    return status;
}

pith_status rwkv_read(pith_ctx *ctx, tensor_store *s) {
    const tensor_map *map = &s->maps[0];
    head_cursor c = {map->data, map->size, 0};
    const uint8_t *p = head_take(ctx, &c, HEAD_BYTES, "head");
    if (!p) return PITH_E_TRUNCATED;
    s->file.format = "rwkv";
    s->file.version = load32(p + 4);
    s->file.data_offset = HEAD_BYTES;
    s->file.alignment = 1;
    if (s->file.version < 100 || s->file.version > 101)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "version at byte 4: %u is not known, 100 and 101 are",
                         s->file.version);
    uint32_t head[3];
    static const char *const fields[] = {"n_vocab", "n_embed", "n_layer"};
    for (unsigned i = 0; i < 3; i++) {
        head[i] = load32(p + 8 + 4 * i);
        if (head[i] == 0 || head[i] > INT32_MAX)
            return pith_fail(ctx, PITH_E_FORMAT, "%s at byte %u: %d is not above zero", fields[i], 8 + 4 * i,
                             (int)(int32_t)head[i]);
    }
    tensor_type type;
    pith_status status = find_type(ctx, s, load32(p + 20), "the file", 20, &type);
    while (!status && head_left(&c) > 0) status = take_parameter(ctx, s, &c);
    if (!status) status = describe(ctx, s, head);
    return status ? status : tensor_check_ranges(ctx, s, 0, s->n_tensors, map);
}
