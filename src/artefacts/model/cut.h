/* Cutting a model smaller: layers, neurons, attention heads and embedding channels taken out of every tensor that has
 * them, metadata to match, written as GGUF that any reader of the architecture loads (S312 Minitron's axes).
 *
 *   channels  the width of the stream: columns of what reads it, rows of what writes it, norms, embeddings
 *   neurons   rows of ffn_gate and ffn_up, columns of ffn_down; in a mixture of experts of each expert
 *   heads     groups of rows of attn_q (a key head and the query heads that share it: of attn_k and attn_v too),
 *             groups of columns of attn_output
 *   experts   of a mixture: matrices of ffn_gate_exps, ffn_up_exps and ffn_down_exps, rows of the router
 *   layers    tensors blk.N.*, the others renumbered
 * Architectures llama and qwen2 for all; gpt2 for neurons and layers. Layers of a llama may keep different numbers of
 * neurons and heads: then the result is of architecture "deci", which is llama with lists for these sizes, as llama.cpp
 * reads it. Not those of mixtures, whose experts keep one number of neurons: llama.cpp's "deci" has no experts, and its
 * "llama" reads the first layer's number for all. */
#ifndef MODEL_CUT_H
#define MODEL_CUT_H

#include "formats/tensors/tensors.h"

/* Ascending numbers of what stays; at NULL: all. */
typedef struct cut_list {
    const uint32_t *at;
    uint32_t n;
} cut_list;

/* What the model is made of; where layers differ, n_ff and heads are the most of any. */
typedef struct cut_shape {
    uint32_t n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim;
    uint32_t n_experts; /* 0: a dense model */
} cut_shape;

/* Lists by layer are of the input's layers [n_layers], those of dropped layers not looked at; NULL: all stay. Every
 * key head of a layer that stays must keep the same number of its query heads. */
typedef struct cut_plan {
    cut_list layers, channels;
    /* heads: query heads; key heads that have none left go. neurons of a mixture: [n_layers][n_experts] */
    const cut_list *neurons, *heads;
    /* Of a mixture, [n_layers]: as many in each, no fewer than a token is sent to, and two at least. NULL: all. */
    const cut_list *experts;
    /* Key heads are merged into so many, each the mean of its neighbours, and all query heads stay (grouped queries,
     * Ainslie et al. 2023); a divisor of their number, not together with `heads`. 0: as they are. */
    uint32_t shared_keys;
    /* Values other than the old ones in their new places: whether tensor `from` gets them, and then they are put into
     * values[rows][cols], which holds the sliced old ones. The lists that were applied: cols and rows (of elements).
     * May be NULL. */
    bool (*edits)(void *opaque, const tensor_view *from);
    pith_status (*edit)(void *opaque, const tensor_view *from, cut_list cols, cut_list rows, size_t n_cols,
                        size_t n_rows, float *values);
    void *opaque;
} cut_plan;

/* PITH_E_UNSUPPORTED for other architectures, PITH_E_FORMAT when the metadata do not say. */
pith_status cut_shape_of(pith_ctx *ctx, const tensor_file *f, cut_shape *out);

typedef struct model_cut model_cut;
/* Everything is checked here: PITH_E_ARGUMENT for a plan that does not fit the model, PITH_E_UNSUPPORTED for tensors
 * that no one knows how to cut. f and what the plan points to must outlive it. */
pith_status model_cut_new(pith_ctx *ctx, const tensor_file *f, const cut_plan *plan, model_cut **out);
void model_cut_free(pith_ctx *ctx, model_cut *c);
typedef struct cut_size {
    cut_shape shape;
    uint64_t n_parameters, tensor_bytes;
    /* [shape.n_layers] where layers differ, else NULL; the cut's */
    const uint32_t *layer_ff, *layer_heads, *layer_kv_heads;
} cut_size;
cut_size model_cut_size(const model_cut *c);
/* The GGUF file, in pieces, in order. Matrices of blocks whose columns changed are coded anew: in their own type where
 * the new width allows it and the type has an encoder, else as Q8_0 or F16. Ticks in bytes. */
pith_status model_cut_write(pith_ctx *ctx, model_cut *c, tensor_write_fn write, void *opaque);

#endif
