/* What the files of the store share. Private. */
#ifndef MODEL_STORE_PARTS_H
#define MODEL_STORE_PARTS_H

#include <sqlite3.h>
#include <stdio.h>

#include "artefacts/model/difference.h"
#include "artefacts/model/layout.h"
#include "artefacts/model/store.h"

struct model_store {
    pith_ctx *ctx;
    sqlite3 *db;
    int dir, objects, lock; /* descriptors, -1 when closed */
    char *path;
};

typedef struct store_object {
    int64_t id;
    uint8_t hash[16];
    uint32_t type; /* TENSOR_U8 for the rest */
    uint64_t raw, coded;
    unsigned coding; /* difference.h */
    int64_t base;    /* 0: none */
} store_object;

/* ---- the index (store_db.c) ---- */

/* The last failure of SQLite, in one line. */
pith_status store_sql_failed(model_store *s);
/* Prepares sql and binds `n` integers to ?1, ?2, ... */
pith_status store_prepare(model_store *s, sqlite3_stmt **st, const char *sql, size_t n, const int64_t *values);
/* *row: whether there is one. */
pith_status store_step(model_store *s, sqlite3_stmt *st, bool *row);
/* Prepares, runs to the end, finalizes. */
pith_status store_run(model_store *s, const char *sql, size_t n, const int64_t *values);
/* One transaction that may write; every end but `good` undoes it. */
pith_status store_begin(model_store *s);
pith_status store_end(model_store *s, pith_status status);
/* Columns as numbers in a range; false when what the index holds is none. */
bool store_column(sqlite3_stmt *st, int column, uint64_t most, uint64_t *value);
/* The file's id by its name; PITH_E_ARGUMENT when there is none. */
pith_status store_find(model_store *s, const char *name, int64_t *id);
/* The next object that a query for STORE_OBJECT_COLUMNS gives; *row = false at the end. */
#define STORE_OBJECT_COLUMNS "object.id, object.hash, object.type, object.raw, object.coded, object.coding, object.base"
pith_status store_object_next(model_store *s, sqlite3_stmt *st, store_object *o, bool *row);
pith_status store_object_get(model_store *s, int64_t id, store_object *o);

/* ---- objects (store_object.c) ---- */

void store_hash(const uint8_t *data, size_t n, uint64_t shape, uint8_t hash[16]);
/* What must agree besides bytes: type, dimensions, number of the piece. */
uint64_t store_shape(const tensor_view *v, uint64_t piece);
#define STORE_REST_SHAPE 0
/* dst[o->raw] = the object. Everything but the hash is checked. */
pith_status store_object_load(model_store *s, const store_object *o, uint8_t *dst);
/* Codes src[o->raw] the best way and fills coded, coding and base; base_data may be NULL. */
pith_status store_object_code(model_store *s, store_object *o, const uint8_t *src, bool rest, const uint8_t *base_data,
                              int64_t base, pith_buffer *out);
/* Writes a new file whose name nobody else has; temp[STORE_PATH_MAX]. */
#define STORE_PATH_MAX 96
pith_status store_object_write(model_store *s, const store_object *o, const pith_buffer *code, char *temp);
/* Gives it its name. */
pith_status store_object_place(model_store *s, const store_object *o, const char *temp);
/* Puts all that was written and placed on the disk, in one go: hundreds of fsync would take longer. */
pith_status store_objects_sync(model_store *s);
void store_object_path(const store_object *o, char path[STORE_PATH_MAX]);

/* "name: why" instead of the message of the last failure; printable characters only. */
pith_status store_say_where(pith_ctx *ctx, const char *name, size_t name_n, pith_status status);

/* ---- families (store_family.c) ---- */

#define STORE_SKETCH 256 /* bytes */
/* Bytes from places that depend on n only. false: the piece is too small to tell anything. */
bool store_sketch(const uint8_t *data, size_t n, uint8_t sketch[STORE_SKETCH]);

typedef struct store_piece {
    const tensor_view *tensor; /* NULL: the rest */
    const uint8_t *data;
    size_t n;
    uint64_t number, gap, shape;
    bool sketched;
    uint8_t sketch[STORE_SKETCH];
    store_object object; /* id 0: new */
    size_t like;         /* of new ones: the piece of this file that it equals, or its own number */
    int64_t repairs;     /* id of the damaged object it replaces */
    char temp[STORE_PATH_MAX];
} store_piece;

/* The pieces of one file of the store, by shape. */
typedef struct store_relative {
    uint64_t shape;
    int64_t object;
    bool sketched;
    uint8_t sketch[STORE_SKETCH];
    uint64_t name_hash;
} store_relative;
typedef struct store_family {
    int64_t file; /* 0: none */
    store_relative *list;
    size_t n;
} store_family;

/* Chooses the base among all files, or takes the one declared; fills `family` and the report's base. */
pith_status store_choose_base(model_store *s, const store_piece *pieces, size_t n,
                              const model_store_add_options *options, store_family *family, model_store_added *report);
void store_family_free(pith_ctx *ctx, store_family *family);
/* The object of the base that piece p may be a difference from; o->id = 0: none. */
pith_status store_counterpart(model_store *s, const store_family *family, const store_piece *p, store_object *o);

#endif
