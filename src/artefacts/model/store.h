/* A repository of model files in a directory: what files share is kept once, what is like something else as the
 * difference from it (Z. Su et al., "ZipLLM", arXiv:2505.06252).
 *
 *   DIR/store.db   SQLite: files, their tensors in order, objects
 *   DIR/objects/   one file for each object, its code
 *   DIR/lock       shared by those who read and add, alone held by who collects garbage
 *
 * A file is cut into its tensors, these into pieces of 16 MiB, and the rest (head, padding). A piece is an object,
 * named by its content: XXH3-128 over the bytes, seeded with type, shape and place. Two pieces are one object only when
 * their bytes are equal: whoever adds compares them, so that nobody can make two tensors one by a collision. An object
 * is coded by itself (archive_piece_encode) or as the difference from another of the same type and shape, which is
 * never a difference itself. References are counted when asked for, by index: a count that is kept could be wrong.
 *
 * What is added becomes known in one transaction, after all its objects are on the disk. A process that dies leaves
 * the store as it was and files that model_store_collect removes. Any number of processes may add and read at once. */
#ifndef MODEL_STORE_H
#define MODEL_STORE_H

#include "formats/tensors/tensors.h"

typedef struct model_store model_store;

typedef enum model_store_mode {
    MODEL_STORE_READ,   /* the store is there */
    MODEL_STORE_ADD,    /* it is made when it is not */
    MODEL_STORE_COLLECT /* alone: PITH_E_IO when others are at work */
} model_store_mode;

pith_status model_store_open(pith_ctx *ctx, const char *dir, model_store_mode mode, model_store **out);
void model_store_close(model_store *s); /* NULL is fine */

#define MODEL_STORE_NAME_MAX 255 /* bytes of a file's name; no control characters, no slash */

typedef struct model_store_add_options {
    const char *base; /* a file of the store; NULL: the nearest, if any is near */
    bool no_base;     /* no differences */
} model_store_add_options;

/* Bytes of pieces before and after. */
typedef struct model_store_share {
    uint64_t pieces, raw, coded;
} model_store_share;

typedef struct model_store_added {
    uint64_t bytes, tensors;
    model_store_share same, delta, plain, rest; /* same.coded is 0: nothing was written */
    uint64_t repaired;                          /* objects that were damaged and are whole again */
    char base[MODEL_STORE_NAME_MAX + 1];        /* "" when there is none */
    /* Share of bits that differ in samples from the base and, for comparison, from other elements of the same
     * tensors; 0 when nothing was compared. */
    double distance, unrelated;
} model_store_added;

/* Adds the model file at `path` as `name`. Memory: some pieces. Ticks by bytes. PITH_E_ARGUMENT when another
 * file has the name; the same file under it is no error: nothing is new then but objects that were damaged. */
pith_status model_store_add(pith_ctx *ctx, model_store *s, const char *name, const char *path,
                            const model_store_add_options *options, model_store_added *report);

/* Writes the file, byte for byte what was added: each piece and the whole are held against their hashes. write = NULL:
 * only that. */
pith_status model_store_get(pith_ctx *ctx, model_store *s, const char *name, tensor_write_fn write, void *opaque);

/* Forgets a file; what only it used stays until garbage is collected. */
pith_status model_store_remove(pith_ctx *ctx, model_store *s, const char *name);

typedef struct model_store_collected {
    uint64_t objects, bytes; /* of objects without references */
    uint64_t strays;         /* files of no object */
} model_store_collected;
/* Opened by MODEL_STORE_COLLECT. */
pith_status model_store_collect(pith_ctx *ctx, model_store *s, model_store_collected *report);

typedef struct model_store_file {
    const char *name, *base; /* base: NULL when it has none */
    uint64_t bytes, tensors;
    uint64_t own; /* bytes of the store that only this file uses */
    uint8_t hash[16];
} model_store_file;
/* All files by name. */
pith_status model_store_list(pith_ctx *ctx, model_store *s,
                             pith_status (*each)(void *opaque, const model_store_file *file), void *opaque);

/* raw = stored + saved_same + saved_delta + saved_coding. */
typedef struct model_store_totals {
    uint64_t files, objects, deltas;
    uint64_t raw, stored; /* of all files; of the objects they use */
    uint64_t saved_same, saved_delta, saved_coding;
    uint64_t bases, garbage; /* bytes of objects kept for others only, and for nobody */
    uint64_t index;          /* bytes of store.db */
} model_store_totals;
pith_status model_store_stat(pith_ctx *ctx, model_store *s, model_store_totals *totals);

#endif
