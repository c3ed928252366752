/* llama2.c checkpoints: seven i32 (dim, hidden, layers, heads, kv_heads, vocab, seq_len; a negative
 * vocab says that the output matrix is its own), then F32 tensors in a fixed order, each for all
 * layers. There is no magic: a file is one when its size is exactly what the seven numbers give.
 * Source of the layout: karpathy/llama2.c, run.c. Rows of wq and wk are interleaved, as GGUF's. */
#include <stdio.h>

#include "formats/tensors/view.h"

#define HEAD_BYTES 28u

typedef struct llama2c_head {
    uint64_t dim, hidden, layers, heads, kv_heads, vocab, seq_len, head_dim, kv_dim;
    bool tied;
} llama2c_head;

/* True when the numbers make sense together. */
static bool parse(const uint8_t *p, llama2c_head *h) {
    int64_t v[7];
    for (unsigned i = 0; i < 7; i++) v[i] = (int32_t)load32(p + 4 * i);
    h->tied = v[5] > 0;
    if (!h->tied) v[5] = -v[5];
    for (unsigned i = 0; i < 7; i++)
        if (v[i] <= 0 || v[i] > 1 << 24) return false;
    *h = (llama2c_head){.dim = (uint64_t)v[0], .hidden = (uint64_t)v[1], .layers = (uint64_t)v[2],
                        .heads = (uint64_t)v[3], .kv_heads = (uint64_t)v[4], .vocab = (uint64_t)v[5],
                        .seq_len = (uint64_t)v[6], .tied = h->tied};
    if (h->dim % h->heads || h->heads % h->kv_heads || h->layers > 4096) return false;
    h->head_dim = h->dim / h->heads;
    h->kv_dim = h->head_dim * h->kv_heads;
    return h->head_dim % 2 == 0;
}

typedef struct part {
    const char *name; /* with "blk.N." in front where layers is not 0 */
    uint64_t layers, columns, rows; /* rows 0: a vector */
} part;

/* In file order. */
static unsigned parts_of(const llama2c_head *h, part out[14]) {
    uint64_t L = h->layers, d = h->dim;
    part all[] = {{"token_embd.weight", 0, d, h->vocab},
                  {"attn_norm.weight", L, d, 0},
                  {"attn_q.weight", L, d, d},
                  {"attn_k.weight", L, d, h->kv_dim},
                  {"attn_v.weight", L, d, h->kv_dim},
                  {"attn_output.weight", L, d, d},
                  {"ffn_norm.weight", L, d, 0},
                  {"ffn_gate.weight", L, d, h->hidden},
                  {"ffn_down.weight", L, h->hidden, d},
                  {"ffn_up.weight", L, d, h->hidden},
                  {"output_norm.weight", 0, d, 0},
                  {NULL, 0, h->seq_len * h->head_dim, 0}, /* two tables of RoPE, unused: sines and cosines of halves */
                  {"output.weight", 0, d, h->vocab}};
    unsigned n = PITH_COUNT(all) - (h->tied ? 1 : 0);
    memcpy(out, all, n * sizeof *all);
    return n;
}

/* Sizes are below 2^24 each and layers below 2^12: products of three with 4 fit in 64 bits. */
static uint64_t bytes_of(const part *p) {
    return 4 * p->columns * (p->rows ? p->rows : 1) * (p->layers ? p->layers : 1);
}

static uint64_t size_of(const llama2c_head *h) {
    part parts[14];
    uint64_t size = HEAD_BYTES;
    for (unsigned i = 0, n = parts_of(h, parts); i < n; i++) size += bytes_of(&parts[i]);
    return size;
}

bool llama2c_fits(const uint8_t *data, uint64_t size) {
    llama2c_head h;
    return size >= HEAD_BYTES && parse(data, &h);
}

static pith_status put_metadata(pith_ctx *ctx, tensor_store *s, const llama2c_head *h) {
    static const char arch[] = "llama";
    pith_status status = store_text(ctx, s, NULL, "general.architecture", arch, sizeof arch - 1);
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {{"vocab_size", h->vocab},
                   {"context_length", h->seq_len},
                   {"embedding_length", h->dim},
                   {"block_count", h->layers},
                   {"feed_forward_length", h->hidden},
                   {"rope.dimension_count", h->head_dim},
                   {"attention.head_count", h->heads},
                   {"attention.head_count_kv", h->kv_heads}};
    for (unsigned i = 0; i < PITH_COUNT(numbers) && !status; i++)
        status = store_u32(ctx, s, arch, numbers[i].key, (uint32_t)numbers[i].value);
    if (!status) status = store_f32(ctx, s, arch, "attention.layer_norm_rms_epsilon", 1e-5f);
    if (!status) status = store_f32(ctx, s, arch, "rope.freq_base", 10000.0f);
    return status;
}

static pith_status put_part(pith_ctx *ctx, tensor_store *s, const part *p, uint64_t at) {
    for (uint64_t layer = 0; layer < (p->layers ? p->layers : 1); layer++) {
        char name[64];
        int n = p->layers ? snprintf(name, sizeof name, "blk.%u.%s", (unsigned)layer, p->name)
                          : snprintf(name, sizeof name, "%s", p->name);
        tensor_view t = {.type = TENSOR_F32, .n_dims = p->rows ? 2 : 1, .offset = at};
        for (unsigned i = 0; i < TENSOR_MAX_DIMS; i++) t.ne[i] = 1;
        t.ne[0] = p->columns;
        if (p->rows) t.ne[1] = p->rows;
        pith_status status = store_copy(ctx, s, name, (size_t)n, &t.name);
        if (!status) status = tensor_measure(ctx, &t, at);
        if (!status) status = store_tensor(ctx, s, &t, at);
        if (status) return status;
        at += t.bytes;
    }
    return PITH_OK;
}

pith_status llama2c_read(pith_ctx *ctx, tensor_store *s) {
    llama2c_head h;
    part parts[14];
    const tensor_map *map = &s->maps[0];
    if (!parse(map->data, &h)) return pith_fail(ctx, PITH_E_INTERNAL, "llama2.c: the head changed under our hands");
    uint64_t size = size_of(&h);
    if (size != map->size)
        return pith_fail(ctx, map->size < size ? PITH_E_TRUNCATED : PITH_E_FORMAT,
                         "data at byte %u: no magic, and a llama2.c checkpoint of the sizes it begins with would have "
                         "%llu bytes, this file has %zu",
                         HEAD_BYTES, (unsigned long long)size, map->size);
    s->file.format = "llama2.c";
    s->file.data_offset = HEAD_BYTES;
    s->file.alignment = 4;
    pith_status status = put_metadata(ctx, s, &h);
    uint64_t at = HEAD_BYTES;
    for (unsigned i = 0, n = parts_of(&h, parts); i < n && !status; i++) {
        if (parts[i].name) status = put_part(ctx, s, &parts[i], at);
        at += bytes_of(&parts[i]);
    }
    return status ? status : tensor_check_ranges(ctx, s, 0, s->n_tensors, map);
}
