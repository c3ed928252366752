/* The parts of `pith model`: what the command line says, and one function for each verb. */
#ifndef CLI_MODEL_H
#define CLI_MODEL_H

#include "faces/cli/cli.h"
#include "formats/tensors/tensors.h"

typedef struct model_options {
    const char *verb, *in, *out;
    const char *type;      /* --type: an element type, NULL to keep what there is */
    const char *to;        /* --to: gguf, safetensors, npy; NULL: by the output's name */
    const char *tensor;    /* --tensor: the one for npy */
    const char *tokenizer; /* --tokenizer: a file to take the vocabulary from */
    bool json, list_tensors, force;
    unsigned n_threads;
    uint64_t memory_bytes;
} model_options;

/* Each prints its own messages and returns the exit status. */
int model_info(pith_ctx *ctx, const tensor_file *f, const model_options *o);
int model_convert(pith_ctx *ctx, const tensor_file *f, const model_options *o);
/* Verbs with options of their own. */
int model_stats_main(int argc, char **argv);
int model_diff_main(int argc, char **argv);
int model_eval_main(int argc, char **argv);
int model_quantize_main(int argc, char **argv);
int model_compress_main(int argc, char **argv);
int model_decompress_main(int argc, char **argv);
int model_explain_size_main(int argc, char **argv);
int model_prune_main(int argc, char **argv);
int model_allocate_main(int argc, char **argv);
int model_store_main(int argc, char **argv);
int model_split_main(int argc, char **argv);
int model_delta_main(int argc, char **argv);
int model_apply_main(int argc, char **argv);
int model_series_main(int argc, char **argv);

/* ---- conversion's parts ------------------------------------------------------ */

/* What is done to the elements on the way. */
typedef enum model_move {
    MODEL_KEEP,
    MODEL_INTERLEAVE, /* rows of each head: half i, half j -> pairs */
    MODEL_TRANSPOSE,
    MODEL_NEGATE_EXP /* x -> -exp(x) */
} model_move;

typedef struct model_tensor {
    const tensor_view *from;
    tensor_view to; /* name, type and shape as written; data NULL */
    model_move move;
    uint64_t n_heads; /* of MODEL_INTERLEAVE */
} model_tensor;

/* Hands the bytes of one converted tensor to `write`, a batch of rows at a time on all threads. */
pith_status model_stream(pith_ctx *ctx, const model_tensor *t, tensor_write_fn write, void *opaque);
/* Puts tokenizer.ggml.* from a tokenizer file: tokenizer.json, a SentencePiece .model or llama2.c's .bin.
 * Pads the list to n_vocab entries. */
pith_status model_put_tokenizer(pith_ctx *ctx, gguf_writer *w, const char *path, uint32_t n_vocab);

#endif
