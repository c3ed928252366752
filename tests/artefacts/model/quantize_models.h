/* Small GGUF files that have every kind of tensor the mixes tell apart, and importance for them: the same bytes for
 * whoever asked llama-quantize about them and whoever checks the answers. Shapes are far smaller than the
 * hyper-parameters say, which a quantiser does not look at. */
#ifndef TESTS_ARTEFACTS_MODEL_QUANTIZE_MODELS_H
#define TESTS_ARTEFACTS_MODEL_QUANTIZE_MODELS_H

#include <stdio.h>

#include "base/sink.h"
#include "formats/tensors/tensors.h"

typedef struct sample_model {
    const char *arch;
    uint32_t n_layers, n_heads, n_key_heads, n_experts;
    uint32_t columns;
    bool tied, fused; /* no output.weight; attn_qkv in the place of q, k and v */
} sample_model;

static const sample_model sample_models[] = {
    {"llama", 24, 8, 2, 0, 256, false, false},  {"llama", 17, 8, 8, 0, 512, true, false},
    {"llama", 6, 8, 8, 8, 256, false, false},   {"llama", 16, 6, 6, 0, 288, false, false},
    {"llama", 9, 4, 4, 0, 36, true, false},     {"llama", 80, 64, 8, 0, 256, false, false},
    {"falcon", 16, 71, 1, 0, 256, true, true},  {"llama", 9, 16, 4, 4, 256, false, false},
};
enum { SAMPLE_MODELS = sizeof sample_models / sizeof *sample_models };

static uint32_t sample_next(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

typedef struct sample_tensor {
    char name[64];
    uint32_t n_dims;
    uint64_t ne[3];
} sample_tensor;

/* In an order that is not that of the result. */
static size_t sample_tensors(const sample_model *m, sample_tensor *list) {
    static const char *const matrices[] = {"ffn_up",   "attn_v", "attn_q", "attn_output",
                                           "ffn_down", "attn_k", "ffn_gate"};
    size_t n = 0;
    list[n++] = (sample_tensor){"output_norm.weight", 1, {m->columns, 1, 1}};
    if (!m->tied) list[n++] = (sample_tensor){"output.weight", 2, {m->columns, 3, 1}};
    list[n++] = (sample_tensor){"token_embd.weight", 2, {m->columns, 3, 1}};
    for (uint32_t layer = m->n_layers; layer-- > 0;) {
        for (size_t k = 0; k < sizeof matrices / sizeof *matrices; k++) {
            bool ffn = matrices[k][0] == 'f', stacked = ffn && m->n_experts;
            sample_tensor t = {.n_dims = stacked ? 3 : 2, .ne = {m->columns, 2, stacked ? m->n_experts : 1}};
            if (m->fused && (k == 2 || k == 5 || k == 6)) continue; /* and no gate */
            snprintf(t.name, sizeof t.name, "blk.%u.%s%s.weight", layer, m->fused && k == 1 ? "attn_qkv" : matrices[k],
                     stacked ? "_exps" : "");
            list[n++] = t;
        }
        sample_tensor t = {.n_dims = 1, .ne = {m->columns, 1, 1}};
        snprintf(t.name, sizeof t.name, "blk.%u.attn_norm.weight", layer);
        list[n++] = t;
        if (m->n_experts) {
            t = (sample_tensor){.n_dims = 2, .ne = {m->columns, m->n_experts, 1}};
            snprintf(t.name, sizeof t.name, "blk.%u.ffn_gate_inp.weight", layer);
            list[n++] = t;
        }
    }
    return n;
}

enum { SAMPLE_TENSORS_MAX = 80 * 9 + 3 };

static pith_status sample_keys(pith_ctx *ctx, gguf_writer *w, const sample_model *m) {
    const struct {
        const char *key;
        uint32_t value;
    } numbers[] = {{"context_length", 64},           {"embedding_length", m->columns},
                   {"block_count", m->n_layers},     {"feed_forward_length", 512},
                   {"attention.head_count", m->n_heads}, {"attention.head_count_kv", m->n_key_heads},
                   {"expert_count", m->n_experts},   {"expert_used_count", m->n_experts ? 2 : 0},
                   {"vocab_size", 3}};
    char key[64];
    pith_status status = gguf_put_text(ctx, w, "general.architecture", m->arch, strlen(m->arch));
    if (!status) status = gguf_put_u32(ctx, w, "general.file_type", 1);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && !status; i++) {
        snprintf(key, sizeof key, "%s.%s", m->arch, numbers[i].key);
        status = gguf_put_u32(ctx, w, key, numbers[i].value);
    }
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", m->arch);
    if (!status) status = gguf_put_f32(ctx, w, key, 1e-5f);
    snprintf(key, sizeof key, "%s.attention.layer_norm_epsilon", m->arch);
    if (!status) status = gguf_put_f32(ctx, w, key, 1e-5f);
    return status ? status : gguf_put_text(ctx, w, "something.of.ours", "kept", 4);
}

/* The file: matrices F16, every third F32; vectors F32. */
static pith_status sample_file(pith_ctx *ctx, const sample_model *m, pith_buffer *out) {
    static sample_tensor list[SAMPLE_TENSORS_MAX];
    static uint8_t bytes[4 * 512 * 16];
    static float x[512 * 16];
    pith_sink to = {ctx, out};
    uint32_t seed = 88675123u + m->n_layers;
    size_t n = sample_tensors(m, list);
    gguf_writer *w = NULL;
    pith_status status = gguf_writer_new(ctx, &w);
    if (!status) status = sample_keys(ctx, w, m);
    for (size_t i = 0; i < n && !status; i++)
        status = gguf_put_tensor(ctx, w, list[i].name, strlen(list[i].name),
                                 list[i].n_dims == 1 || i % 3 == 1 ? TENSOR_F32 : TENSOR_F16, list[i].n_dims, list[i].ne);
    if (!status) status = gguf_write_head(ctx, w, pith_sink_write, &to);
    for (size_t i = 0; i < n && !status; i++) {
        size_t count = (size_t)(list[i].ne[0] * list[i].ne[1] * list[i].ne[2]);
        bool f32 = list[i].n_dims == 1 || i % 3 == 1;
        for (size_t j = 0; j < count; j++) {
            float u = (float)((int32_t)(sample_next(&seed) >> 8) - 0x800000) * 0x1p-23f;
            x[j] = u * u * u * 0.25f;
        }
        blocks_encode(f32 ? TENSOR_F32 : TENSOR_F16, x, bytes, count);
        status = gguf_write_data(ctx, w, bytes, count * (f32 ? 4 : 2), pith_sink_write, &to);
    }
    gguf_writer_free(ctx, w);
    return status;
}

/* llama.cpp's older form of an importance matrix; nothing for the embedding. */
static pith_status sample_importance(pith_ctx *ctx, const sample_model *m, pith_buffer *out) {
    static sample_tensor list[SAMPLE_TENSORS_MAX];
    uint32_t seed = 123456789u + m->n_layers, n_entries = 0;
    size_t n = sample_tensors(m, list);
    uint8_t word[4];
    pith_status status = pith_buffer_append(ctx, out, "\0\0\0\0", 4);
    for (size_t i = 0; i < n && !status; i++) {
        if (list[i].n_dims == 1 || strcmp(list[i].name, "token_embd.weight") == 0) continue;
        uint32_t count = (uint32_t)(list[i].ne[0] * list[i].ne[2]);
        const uint32_t head[] = {(uint32_t)strlen(list[i].name), 4, count};
        store32(word, head[0]);
        status = pith_buffer_append(ctx, out, word, 4);
        if (!status) status = pith_buffer_append(ctx, out, list[i].name, head[0]);
        for (size_t k = 1; k < 3 && !status; k++) {
            store32(word, head[k]);
            status = pith_buffer_append(ctx, out, word, 4);
        }
        for (uint32_t j = 0; j < count && !status; j++) {
            float u = (float)(sample_next(&seed) >> 8) * 0x1p-24f, v = 0.02f + 40 * u * u * u;
            uint32_t bits;
            memcpy(&bits, &v, 4);
            store32(word, bits);
            status = pith_buffer_append(ctx, out, word, 4);
        }
        n_entries++;
    }
    if (status) return status;
    store32(out->data, n_entries);
    store32(word, 11); /* chunks */
    return pith_buffer_append(ctx, out, word, 4);
}

#endif
