/* Nets as GGUF: what was trained, and nets that begin with random weights. */
#include <math.h>
#include <stdio.h>

#include "base/sink.h"
#include "lm/train/parts.h"
#include "math/math.h"

/* ---- writing ---- */

static bool starts(meta_string s, const char *with) {
    return s.size >= strlen(with) && memcmp(s.data, with, strlen(with)) == 0;
}

/* Routers stay exact, as llama.cpp has them. */
static tensor_type type_of(const learn_param *p, tensor_type matrices) {
    return p->rows == 1 || strstr(p->name, "ffn_gate_inp") ? TENSOR_F32 : matrices;
}

static const learn_param *param_of(const train_net *net, const tensor_view *t) {
    return train_param_find(net, t->name.data, t->name.size);
}

static pith_status put_floats(pith_ctx *ctx, gguf_writer *w, const float *x, size_t n, tensor_type type,
                              tensor_write_fn write, void *opaque) {
    enum { PIECE = 4096 }; /* elements */
    uint8_t bytes[PIECE * sizeof(float)];
    pith_status status = PITH_OK;
    for (size_t at = 0; at < n && !status; at += PIECE) {
        size_t k = PITH_MIN((size_t)PIECE, n - at);
        blocks_encode(type, x + at, bytes, k);
        status = gguf_write_data(ctx, w, bytes, k * (type == TENSOR_F32 ? 4 : 2), write, opaque);
    }
    return status;
}

pith_status train_net_write(pith_ctx *ctx, const train_net *net, tensor_type matrices, tensor_write_fn write,
                            void *opaque) {
    const tensor_file *f = lm_file(net->source);
    gguf_writer *w = NULL;
    if (matrices != TENSOR_F32 && matrices != TENSOR_F16)
        return pith_fail(ctx, PITH_E_ARGUMENT, "trained matrices are written as F32 or F16");
    if (net->n_kept)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "a net of which experts are left out cannot be written as GGUF");
    for (size_t i = 0; i < f->n_meta; i++)
        if (starts(f->meta[i].key, "pith."))
            return pith_fail(ctx, PITH_E_ARGUMENT, "the model's file has other layouts than GGUF: convert it first");
    pith_status status = gguf_writer_new(ctx, &w);
    for (size_t i = 0; i < f->n_meta && !status; i++) status = gguf_put_value(ctx, w, &f->meta[i]);
    if (!status) status = gguf_put_u32(ctx, w, "general.file_type", matrices == TENSOR_F16);
    for (size_t i = 0; i < f->n_tensors && !status; i++) {
        const tensor_view *t = &f->tensors[i];
        const learn_param *p = param_of(net, t);
        status =
            gguf_put_tensor(ctx, w, t->name.data, t->name.size, p ? type_of(p, matrices) : t->type, t->n_dims, t->ne);
    }
    if (!status) status = gguf_write_head(ctx, w, write, opaque);
    for (size_t i = 0; i < f->n_tensors && !status; i++) {
        const tensor_view *t = &f->tensors[i];
        const learn_param *p = param_of(net, t);
        status = p ? put_floats(ctx, w, net->weights + p->at, p->rows * p->cols, type_of(p, matrices), write, opaque)
                   : gguf_write_data(ctx, w, t->data, (size_t)t->bytes, write, opaque);
    }
    gguf_writer_free(ctx, w);
    return status;
}

/* ---- models in memory ---- */

pith_status train_model_from(pith_ctx *ctx, pith_buffer *bytes, lm_model **out) {
    tensor_file *f = NULL;
    *out = NULL;
    pith_status status = tensor_file_open_memory(ctx, bytes->data, bytes->size, &f);
    if (!status) status = lm_open_file(ctx, f, out);
    if (status) {
        if (f) tensor_file_close(ctx, f);
        pith_buffer_free(ctx, bytes);
    } else {
        (*out)->own_file = f;
    }
    return status;
}

/* The bytes were made here: they begin where the first tensor's offset counts from. */
void train_model_close(pith_ctx *ctx, lm_model *m) {
    if (!m) return;
    const tensor_view *first = &lm_file(m)->tensors[0];
    pith_buffer bytes = {.data = (uint8_t *)(uintptr_t)(first->data - first->offset)};
    lm_close(ctx, m);
    pith_buffer_free(ctx, &bytes);
}

pith_status train_net_model(pith_ctx *ctx, const train_net *net, tensor_type matrices, lm_model **out) {
    pith_buffer bytes = {0};
    *out = NULL;
    pith_status status = pith_buffer_reserve(ctx, &bytes, net->n_weights * (matrices == TENSOR_F32 ? 4 : 2));
    if (!status) status = train_net_write(ctx, net, matrices, pith_sink_write, &(pith_sink){ctx, &bytes});
    if (status) {
        pith_buffer_free(ctx, &bytes);
        return status;
    }
    return train_model_from(ctx, &bytes, out);
}

/* ---- random nets ---- */

typedef struct tensor_plan {
    char name[64];
    uint64_t ne[3];
    double spread; /* standard deviation; 0: ones */
} tensor_plan;

typedef struct maker {
    pith_ctx *ctx;
    gguf_writer *w;
    tensor_plan *tensors;
    size_t n;
} maker;

static void plan(maker *k, int layer, const char *name, uint64_t cols, uint64_t rows, uint64_t parts, double spread) {
    tensor_plan *t = &k->tensors[k->n++];
    *t = (tensor_plan){.ne = {cols, rows, parts}, .spread = spread};
    if (layer < 0)
        snprintf(t->name, sizeof t->name, "%s.weight", name);
    else
        snprintf(t->name, sizeof t->name, "blk.%d.%s.weight", layer, name);
}

static void plan_all(maker *k, const train_shape *s, uint64_t n_vocab) {
    uint64_t d = s->n_embd, kv = d / s->n_heads * s->n_kv_heads, ff = s->n_ff, e = s->n_experts;
    double spread = s->spread > 0 ? s->spread : 0.02, out = spread / sqrt(2.0 * s->n_layers);
    plan(k, -1, "token_embd", d, n_vocab, 1, spread);
    for (int l = 0; l < (int)s->n_layers; l++) {
        plan(k, l, "attn_norm", d, 1, 1, 0);
        plan(k, l, "attn_q", d, d, 1, spread);
        plan(k, l, "attn_k", d, kv, 1, spread);
        plan(k, l, "attn_v", d, kv, 1, spread);
        plan(k, l, "attn_output", d, d, 1, out);
        plan(k, l, "ffn_norm", d, 1, 1, 0);
        if (e > 1) plan(k, l, "ffn_gate_inp", d, e, 1, spread);
        plan(k, l, e > 1 ? "ffn_gate_exps" : "ffn_gate", d, ff, PITH_MAX(e, 1u), spread);
        plan(k, l, e > 1 ? "ffn_up_exps" : "ffn_up", d, ff, PITH_MAX(e, 1u), spread);
        plan(k, l, e > 1 ? "ffn_down_exps" : "ffn_down", ff, d, PITH_MAX(e, 1u), out);
    }
    plan(k, -1, "output_norm", d, 1, 1, 0);
    if (s->untied) plan(k, -1, "output", d, n_vocab, 1, spread);
}

static pith_status put_keys(maker *k, const train_shape *s, const lm_model *from, uint64_t n_vocab) {
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {
        {"llama.block_count", s->n_layers},
        {"llama.context_length", s->n_ctx},
        {"llama.embedding_length", s->n_embd},
        {"llama.feed_forward_length", s->n_ff},
        {"llama.attention.head_count", s->n_heads},
        {"llama.attention.head_count_kv", s->n_kv_heads},
        {"llama.rope.dimension_count", s->n_embd / s->n_heads},
        {"llama.vocab_size", n_vocab},
        {"llama.expert_count", s->n_experts > 1 ? s->n_experts : 0},
        {"llama.expert_used_count", s->n_experts > 1 ? s->n_used : 0},
        {"general.file_type", 0},
    };
    const tensor_file *f = from ? lm_file(from) : NULL;
    pith_status status = gguf_put_text(k->ctx, k->w, "general.architecture", "llama", 5);
    for (size_t i = 0; i < PITH_COUNT(numbers) && !status; i++)
        if (numbers[i].value || strstr(numbers[i].key, "file_type"))
            status = gguf_put_u32(k->ctx, k->w, numbers[i].key, (uint32_t)numbers[i].value);
    if (!status) status = gguf_put_f32(k->ctx, k->w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    if (!status)
        status = gguf_put_f32(k->ctx, k->w, "llama.rope.freq_base", s->rope_base > 0 ? (float)s->rope_base : 10000.0f);
    for (size_t i = 0; f && i < f->n_meta && !status; i++)
        if (starts(f->meta[i].key, "tokenizer.")) status = gguf_put_value(k->ctx, k->w, &f->meta[i]);
    return status;
}

/* Pair number i of standard normal numbers of a stream (Box, Muller 1958). */
static void normal_pair(uint64_t seed, uint64_t stream, uint64_t i, float spread, float out[2]) {
    uint64_t key[3] = {seed, stream, i}, a = pith_hash64(key, sizeof key);
    key[2] = ~i;
    uint64_t b = pith_hash64(key, sizeof key);
    double u = ((double)(a >> 11) + 0.5) * 0x1p-53, sine, cosine, r = sqrt(-2 * real_log(u));
    real_sin_cos((double)(b >> 11) * 0x1p-53 * 6.283185307179586477, &sine, &cosine);
    out[0] = spread * (float)(r * cosine);
    out[1] = spread * (float)(r * sine);
}

static pith_status put_random(maker *k, size_t tensor, uint64_t seed, tensor_write_fn write, void *opaque) {
    enum { PIECE = 1024 };
    const tensor_plan *t = &k->tensors[tensor];
    float x[PIECE];
    uint64_t n = t->ne[0] * t->ne[1] * t->ne[2];
    pith_status status = PITH_OK;
    for (uint64_t at = 0; at < n && !status; at += PIECE) {
        for (size_t i = 0; i < PIECE; i += 2) {
            if (t->spread > 0)
                normal_pair(seed, tensor, (at + i) / 2, (float)t->spread, x + i);
            else
                x[i] = x[i + 1] = 1;
        }
        status = put_floats(k->ctx, k->w, x, (size_t)PITH_MIN((uint64_t)PIECE, n - at), TENSOR_F32, write, opaque);
    }
    return status;
}

static pith_status check_shape(pith_ctx *ctx, const train_shape *s) {
    if (!s->n_embd || !s->n_layers || !s->n_heads || !s->n_kv_heads || !s->n_ff || !s->n_ctx || s->n_layers > 1024 ||
        s->n_embd > 1 << 17 || s->n_ff > 1 << 20 || s->n_experts > 512)
        return pith_fail(ctx, PITH_E_ARGUMENT, "a net with a size of 0 or too large a one");
    if (s->n_embd % s->n_heads || s->n_heads % s->n_kv_heads || s->n_embd / s->n_heads % 2)
        return pith_fail(ctx, PITH_E_ARGUMENT, "%u channels are not %u heads of even width, in %u groups", s->n_embd,
                         s->n_heads, s->n_kv_heads);
    if (s->n_experts > 1 && (!s->n_used || s->n_used > s->n_experts))
        return pith_fail(ctx, PITH_E_ARGUMENT, "%u of %u experts cannot be used", s->n_used, s->n_experts);
    return PITH_OK;
}

pith_status train_random_file(pith_ctx *ctx, const train_shape *shape, const lm_model *tokenizer_from, uint64_t seed,
                              pith_buffer *out) {
    uint64_t n_vocab = tokenizer_from ? lm_about(tokenizer_from)->n_vocab : shape->n_vocab;
    pith_sink to = {ctx, out};
    maker k = {.ctx = ctx};
    pith_status status = check_shape(ctx, shape);
    if (!status && (!n_vocab || n_vocab > 1 << 24))
        status = pith_fail(ctx, PITH_E_ARGUMENT, "a net with a vocabulary of %llu", (unsigned long long)n_vocab);
    if (status) return status;
    k.tensors = pith_alloc(ctx, (3 + 10 * (size_t)shape->n_layers) * sizeof *k.tensors);
    status = k.tensors ? gguf_writer_new(ctx, &k.w) : pith_alloc_status(ctx);
    if (!status) status = put_keys(&k, shape, tokenizer_from, n_vocab);
    if (!status) plan_all(&k, shape, n_vocab);
    for (size_t i = 0; i < k.n && !status; i++) {
        const tensor_plan *t = &k.tensors[i];
        uint32_t n_dims = t->ne[2] > 1 ? 3 : t->spread > 0 ? 2 : 1;
        status = gguf_put_tensor(ctx, k.w, t->name, strlen(t->name), TENSOR_F32, n_dims, t->ne);
    }
    if (!status) status = gguf_write_head(ctx, k.w, pith_sink_write, &to);
    for (size_t i = 0; i < k.n && !status; i++) status = put_random(&k, i, seed, pith_sink_write, &to);
    gguf_writer_free(ctx, k.w);
    pith_free(ctx, k.tensors);
    return status;
}
