/* Files of named tensors, whatever their format: GGUF, safetensors, NumPy, llama2.c checkpoints,
 * rwkv.cpp files. Opening maps the file, checks every count, length and offset against its size
 * (one validator for all formats: names unique, ranges inside the file and apart from each
 * other, products checked), and gives one view: typed metadata and tensors.
 *
 * Formats without metadata get it made up in GGUF's words: a llama2.c file has
 * general.architecture = "llama", llama.block_count and so on, and GGUF's tensor names
 * (token_embd.weight, blk.0.attn_q.weight, ...), so that readers know one vocabulary.
 *
 * rwkv.cpp files of version 4 get general.architecture = "rwkv4" and the keys rwkv4.block_count,
 * .embedding_length, .feed_forward_length, .vocab_size, .attention.layer_norm_epsilon (1e-5); their
 * tensors are named as llama.cpp names those of its RWKV models:
 *   emb.weight                        token_embd.weight
 *   blocks.0.ln0.{weight,bias}        token_embd_norm.{weight,bias}
 *   blocks.N.ln1.{weight,bias}        blk.N.attn_norm.{weight,bias}
 *   blocks.N.ln2.{weight,bias}        blk.N.attn_norm_2.{weight,bias}
 *   blocks.N.att.time_decay           blk.N.time_mix_decay.weight  (holds -exp(raw), as the file does: < 0)
 *   blocks.N.att.time_first           blk.N.time_mix_first.weight
 *   blocks.N.att.time_mix_{k,v,r}     blk.N.time_mix_lerp_{k,v,r}.weight
 *   blocks.N.att.{key,value,receptance,output}.weight
 *                                     blk.N.time_mix_{key,value,receptance,output}.weight
 *   blocks.N.ffn.time_mix_{k,r}       blk.N.channel_mix_lerp_{k,r}.weight
 *   blocks.N.ffn.{key,value,receptance}.weight
 *                                     blk.N.channel_mix_{key,value,receptance}.weight
 *   ln_out.{weight,bias}              output_norm.{weight,bias}
 *   head.weight                       output.weight
 * Later RWKV versions keep their names and get general.architecture = "rwkv".
 *
 * A view cannot move data, so a Hugging Face directory says what is still to be done before its
 * tensors are what GGUF means by their names (`pith model convert` does it and drops the key):
 *   pith.rope_layout = "half"   rows of attn_q and attn_k (llama) pair i with i + head_dim/2;
 *                               GGUF's llama pairs 2i with 2i+1
 *   pith.transposed = true      attn_qkv, attn_output, ffn_up and ffn_down weights (gpt2) are
 *                               stored input by output: ne[0] is the output
 *   pith.ssm_a = "log"          ssm_a (mamba) holds log(-a) */
#ifndef FORMATS_TENSORS_TENSORS_H
#define FORMATS_TENSORS_TENSORS_H

#include "formats/blocks/blocks.h"

/* GGUF's numbers. */
typedef enum meta_type {
    META_U8, META_I8, META_U16, META_I16, META_U32, META_I32, META_F32, META_BOOL, META_STRING, META_ARRAY,
    META_U64, META_I64, META_F64
} meta_type;

typedef struct meta_string {
    const char *data; /* not ended by NUL; valid while the file is open */
    size_t size;
} meta_string;

typedef struct meta_value {
    meta_string key;
    meta_type type;
    meta_type element;   /* of an array */
    uint64_t count;      /* elements of an array, else 1 */
    const uint8_t *data; /* the value(s) as GGUF stores them, little-endian; strings as u64 length + bytes */
    uint64_t bytes;      /* of data */
} meta_value;

#define TENSOR_MAX_DIMS 8 /* GGUF itself stops at 4 */

typedef struct tensor_view {
    meta_string name;
    tensor_type type;
    uint32_t n_dims;
    uint64_t ne[TENSOR_MAX_DIMS]; /* ne[0] is contiguous (GGUF's order, the reverse of NumPy's); the rest are 1 */
    uint64_t n_elements;
    uint64_t bytes;
    uint64_t offset;     /* in the file (or its shard); 0 when made up from config.json (rope_freqs.weight) */
    const uint8_t *data; /* mapped; aligned to nothing in rwkv.cpp and safetensors files */
} tensor_view;

typedef struct tensor_file {
    const char *format; /* "gguf", "safetensors", "npy", "llama2.c", "rwkv" */
    uint32_t version;   /* of the format, 0 when it has none */
    uint64_t file_bytes, data_offset;
    uint32_t alignment;
    const meta_value *meta;
    size_t n_meta;
    const tensor_view *tensors; /* in the order of the file's list */
    size_t n_tensors;
} tensor_file;

/* Finds the format by the first bytes (the name's end only where there is no magic: .bin of
 * llama2.c, checked by the exact size). PITH_E_FORMAT/TRUNCATED name the field and its offset.
 * A directory with model.safetensors(.index.json) and config.json opens as one safetensors file
 * whose metadata come from config.json under GGUF's keys and whose tensors carry GGUF's names. */
pith_status tensor_file_open(pith_ctx *ctx, const char *path, tensor_file **out);
/* The same from memory that outlives the view (the built-in model, fuzzing). */
pith_status tensor_file_open_memory(pith_ctx *ctx, const uint8_t *data, size_t size, tensor_file **out);
void tensor_file_close(pith_ctx *ctx, tensor_file *f);

/* NULL when there is none. O(1). */
const tensor_view *tensor_find(const tensor_file *f, const char *name);
const meta_value *meta_find(const tensor_file *f, const char *key);
/* True and the value when the key is there with a type that holds it (any integer type for u64,
 * when not negative; any number for f64). */
bool meta_u64(const tensor_file *f, const char *key, uint64_t *value);
bool meta_f64(const tensor_file *f, const char *key, double *value);
bool meta_bool(const tensor_file *f, const char *key, bool *value);
bool meta_text(const tensor_file *f, const char *key, meta_string *value);
/* Walks an array of strings in order: start with cursor = 0; false at the end. */
bool meta_next_string(const meta_value *array, uint64_t *cursor, meta_string *value);
/* Bytes of one value of a type; 0 for strings, arrays and unknown numbers. */
size_t meta_type_bytes(meta_type type);
/* Element i of an array of numbers as a double / an integer; 0 when it is none. */
double meta_number_at(const meta_value *array, uint64_t i);

/* XXH3-128 of the whole file, the identity of a model. */
pith_status tensor_file_hash(pith_ctx *ctx, const tensor_file *f, uint8_t hash[16]);
/* The same of bytes in memory. */
void tensor_bytes_hash(const void *data, size_t size, uint8_t hash[16]);

/* ---- writing ---- */

/* A GGUF writer: metadata first, then the list of tensors, then their data in that order, all
 * through `write`. The bytes written follow ggml's layout exactly (offsets padded to alignment). */
typedef struct gguf_writer gguf_writer;
typedef pith_status (*tensor_write_fn)(void *opaque, const void *data, size_t size);
pith_status gguf_writer_new(pith_ctx *ctx, gguf_writer **out);
void gguf_writer_free(pith_ctx *ctx, gguf_writer *w);
pith_status gguf_put_value(pith_ctx *ctx, gguf_writer *w, const meta_value *value); /* as read; replaces one of the same key */
pith_status gguf_put_u32(pith_ctx *ctx, gguf_writer *w, const char *key, uint32_t value);
pith_status gguf_put_f32(pith_ctx *ctx, gguf_writer *w, const char *key, float value);
pith_status gguf_put_bool(pith_ctx *ctx, gguf_writer *w, const char *key, bool value);
pith_status gguf_put_text(pith_ctx *ctx, gguf_writer *w, const char *key, const char *value, size_t size);
pith_status gguf_put_strings(pith_ctx *ctx, gguf_writer *w, const char *key, const meta_string *values, size_t n);
pith_status gguf_put_array(pith_ctx *ctx, gguf_writer *w, const char *key, meta_type element, const void *data,
                           uint64_t count); /* numbers, little-endian */
pith_status gguf_put_tensor(pith_ctx *ctx, gguf_writer *w, const char *name, size_t name_n, tensor_type type,
                            uint32_t n_dims, const uint64_t *ne);
/* Everything before the data; call once all of the above is said. */
pith_status gguf_write_head(pith_ctx *ctx, gguf_writer *w, tensor_write_fn write, void *opaque);
/* Data of the next tensor in pieces; the last piece is followed by the padding. */
pith_status gguf_write_data(pith_ctx *ctx, gguf_writer *w, const void *data, size_t size, tensor_write_fn write,
                            void *opaque);

/* Whether the blocks and floats of all tensors are finite (blocks_valid); otherwise PITH_E_CHECK
 * with the tensor, the block and its offset. Reads the whole file, in parallel, and ticks. */
pith_status tensor_file_check(pith_ctx *ctx, const tensor_file *f);
/* The same of one tensor. */
pith_status tensor_check(pith_ctx *ctx, const tensor_view *t);

/* safetensors and npy: head bytes for given tensors (names, types, shapes); the data follow in order. */
pith_status safetensors_head(pith_ctx *ctx, const tensor_view *tensors, size_t n_tensors, const meta_value *meta,
                             size_t n_meta, pith_buffer *out);
pith_status npy_head(pith_ctx *ctx, tensor_type type, uint32_t n_dims, const uint64_t *ne, pith_buffer *out);

#endif
