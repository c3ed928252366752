/* What the readers of this room share: the store behind a tensor_file, into which each format
 * puts its metadata and tensors, and the cursor that reads a head without passing its end.
 * Failures name the field and its offset: "n_tensors at byte 8: ...". */
#ifndef FORMATS_TENSORS_VIEW_H
#define FORMATS_TENSORS_VIEW_H

#include "formats/tensors/tensors.h"

#define TENSOR_NAME_MAX 65535
#define META_KEY_MAX 65535

typedef struct tensor_map {
    const uint8_t *data;
    size_t size;
    bool mapped; /* to be unmapped; otherwise the caller's memory */
} tensor_map;

typedef struct store_chunk store_chunk;

typedef struct tensor_store {
    tensor_file file; /* what callers see; first */
    tensor_map *maps; /* one, or one for each shard */
    size_t n_maps, maps_capacity;
    meta_value *meta;
    size_t n_meta, meta_capacity;
    tensor_view *tensors;
    uint64_t *where; /* offset of each tensor's record, for messages */
    size_t n_tensors, tensors_capacity;
    uint32_t *meta_slots, *tensor_slots; /* open addressing: index + 1, 0 free */
    size_t n_meta_slots, n_tensor_slots; /* powers of two */
    store_chunk *chunks;                 /* keys, values and names that no file holds */
} tensor_store;

/* ---- the store (store.c) -------------------------------------------------- */

/* Bytes that live as long as the store; NULL with the failure recorded. */
uint8_t *store_bytes(pith_ctx *ctx, tensor_store *s, size_t size);
pith_status store_reserve_meta(pith_ctx *ctx, tensor_store *s, size_t n);
pith_status store_reserve_tensors(pith_ctx *ctx, tensor_store *s, size_t n);
/* Appends a value or a tensor as it is; `where` is the offset of its record. */
pith_status store_meta(pith_ctx *ctx, tensor_store *s, const meta_value *value);
pith_status store_tensor(pith_ctx *ctx, tensor_store *s, const tensor_view *t, uint64_t where);
/* Values that no file holds. The key's name is `key` with `arch` and a point in front (NULL: as it is). */
pith_status store_u32(pith_ctx *ctx, tensor_store *s, const char *arch, const char *key, uint32_t value);
pith_status store_f32(pith_ctx *ctx, tensor_store *s, const char *arch, const char *key, float value);
pith_status store_bool(pith_ctx *ctx, tensor_store *s, const char *arch, const char *key, bool value);
pith_status store_text(pith_ctx *ctx, tensor_store *s, const char *arch, const char *key, const char *text,
                       size_t size);
/* Unmaps and frees all of it, the store too. NULL is fine. */
void store_free(pith_ctx *ctx, tensor_store *s);
/* A copy of `size` bytes as a string of the store. */
pith_status store_copy(pith_ctx *ctx, tensor_store *s, const char *text, size_t size, meta_string *out);

/* ---- the validator (validate.c) -------------------------------------------- */

/* Fills n_elements and bytes of t from its type and ne, with checked products, one dimension at a
 * time. `where` is for the message. */
pith_status tensor_measure(pith_ctx *ctx, tensor_view *t, uint64_t where);
/* Tensors first .. first+n-1 lie within `map`, apart from each other; sets their data. */
pith_status tensor_check_ranges(pith_ctx *ctx, tensor_store *s, size_t first, size_t n, const tensor_map *map);
/* All the rest: names and keys unique and well-formed, hyper-parameters that fit the shapes.
 * Builds the hash tables and fills s->file. */
pith_status store_finish(pith_ctx *ctx, tensor_store *s);

/* Text of a file as a message may show it: one line, cut to 60 bytes. Returns out. */
#define SHOWN_MAX 64
const char *text_shown(char out[SHOWN_MAX], meta_string text);

/* ---- the cursor (store.c) ------------------------------------------------------ */

typedef struct head_cursor {
    const uint8_t *data;
    uint64_t size, at;
} head_cursor;

/* Bytes left. */
PITH_INLINE uint64_t head_left(const head_cursor *c) { return c->size - c->at; }
/* The next n bytes, or NULL with PITH_E_TRUNCATED recorded. */
const uint8_t *head_take(pith_ctx *ctx, head_cursor *c, uint64_t n, const char *field);

/* ---- formats: each fills the store from its first map ----------------------------- */

pith_status gguf_read(pith_ctx *ctx, tensor_store *s);
pith_status llama2c_read(pith_ctx *ctx, tensor_store *s);
pith_status rwkv_read(pith_ctx *ctx, tensor_store *s);
pith_status npy_read(pith_ctx *ctx, tensor_store *s);
pith_status safetensors_read(pith_ctx *ctx, tensor_store *s);
/* Whether these bytes can be one: 28 bytes of plausible sizes whose formula gives `size`. */
bool llama2c_fits(const uint8_t *data, uint64_t size);

/* A directory, or model.safetensors.index.json: shards and config.json (directory.c). */
pith_status directory_read(pith_ctx *ctx, tensor_store *s, const char *path);
pith_status shards_read(pith_ctx *ctx, tensor_store *s, const char *index_path);
/* The tensors of one more map, names as the file has them; *metadata true also takes __metadata__. */
pith_status safetensors_map_read(pith_ctx *ctx, tensor_store *s, size_t map, bool metadata);
/* The name safetensors has for a type, or NULL. */
const char *safetensors_dtype(tensor_type type);
/* Metadata and names in GGUF's words from config.json (config.c). */
pith_status config_apply(pith_ctx *ctx, tensor_store *s, const char *config_path);
/* bert.pooling_type from 1_Pooling/config.json, which sentence encoders have beside it. */
pith_status config_apply_pooling(pith_ctx *ctx, tensor_store *s, const char *path);

/* Maps a file; PITH_E_IO with the system's reason, PITH_E_FORMAT when it is no regular file. */
pith_status store_map(pith_ctx *ctx, tensor_store *s, const char *path);

#endif
