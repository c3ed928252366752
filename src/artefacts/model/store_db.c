/* The index of a store: SQLite, opened as a file of strangers. What it says is checked where it is used. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "artefacts/model/store_parts.h"

enum { APPLICATION = 0x70697468, VERSION = 1, BUSY_MS = 60000 };

static const char schema[] =
    "CREATE TABLE file(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, bytes INTEGER NOT NULL,"
    " tensors INTEGER NOT NULL, hash BLOB NOT NULL, base INTEGER REFERENCES file(id) ON DELETE SET NULL);"
    "CREATE TABLE object(id INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL, type INTEGER NOT NULL,"
    " raw INTEGER NOT NULL, coded INTEGER NOT NULL, coding INTEGER NOT NULL,"
    " base INTEGER REFERENCES object(id), sketch BLOB);"
    "CREATE INDEX object_hash ON object(hash);"
    "CREATE INDEX object_base ON object(base) WHERE base IS NOT NULL;"
    "CREATE TABLE part(file INTEGER NOT NULL REFERENCES file(id) ON DELETE CASCADE, place INTEGER NOT NULL,"
    " name TEXT, gap INTEGER NOT NULL, shape INTEGER NOT NULL, object INTEGER NOT NULL REFERENCES object(id),"
    " PRIMARY KEY(file, place)) WITHOUT ROWID;"
    "CREATE INDEX part_object ON part(object);"
    "PRAGMA application_id = 1885959272;" /* "pith" */
    "PRAGMA user_version = 1;";

pith_status store_sql_failed(model_store *s) {
    int code = s->db ? sqlite3_errcode(s->db) : SQLITE_NOMEM;
    switch (code & 0xFF) {
    case SQLITE_NOMEM: return pith_fail(s->ctx, PITH_E_MEMORY, "%s: no memory for the index", s->path);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return pith_fail(s->ctx, PITH_E_IO, "%s: others are writing to the store; try again later", s->path);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
    case SQLITE_FULL: return pith_fail(s->ctx, PITH_E_IO, "%s/store.db: %s", s->path, sqlite3_errmsg(s->db));
    case SQLITE_CONSTRAINT:
        return pith_fail(s->ctx, PITH_E_CHECK, "%s: the store has changed meanwhile: %s", s->path,
                         sqlite3_errmsg(s->db));
    default:
        return pith_fail(s->ctx, PITH_E_FORMAT, "%s/store.db: not an index of ours: %s", s->path,
                         sqlite3_errmsg(s->db));
    }
}

pith_status store_prepare(model_store *s, sqlite3_stmt **st, const char *sql, size_t n, const int64_t *values) {
    *st = NULL;
    if (sqlite3_prepare_v2(s->db, sql, -1, st, NULL) != SQLITE_OK) return store_sql_failed(s);
    for (size_t i = 0; i < n; i++)
        if (sqlite3_bind_int64(*st, (int)i + 1, values[i]) != SQLITE_OK) return store_sql_failed(s);
    return PITH_OK;
}

pith_status store_step(model_store *s, sqlite3_stmt *st, bool *row) {
    int code = sqlite3_step(st);
    *row = code == SQLITE_ROW;
    return code == SQLITE_ROW || code == SQLITE_DONE ? PITH_OK : store_sql_failed(s);
}

pith_status store_run(model_store *s, const char *sql, size_t n, const int64_t *values) {
    sqlite3_stmt *st;
    bool row = true;
    pith_status status = store_prepare(s, &st, sql, n, values);
    while (!status && row) status = store_step(s, st, &row);
    sqlite3_finalize(st);
    return status;
}

pith_status store_begin(model_store *s) { return store_run(s, "BEGIN IMMEDIATE", 0, NULL); }

pith_status store_end(model_store *s, pith_status status) {
    if (!status) status = store_run(s, "COMMIT", 0, NULL);
    if (status && !sqlite3_get_autocommit(s->db)) sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

bool store_column(sqlite3_stmt *st, int column, uint64_t most, uint64_t *value) {
    int64_t v = sqlite3_column_int64(st, column);
    *value = (uint64_t)v;
    return sqlite3_column_type(st, column) == SQLITE_INTEGER && v >= 0 && (uint64_t)v <= most;
}

pith_status store_find(model_store *s, const char *name, int64_t *id) {
    sqlite3_stmt *st;
    bool row = false;
    pith_status status = store_prepare(s, &st, "SELECT id FROM file WHERE name = ?1", 0, NULL);
    if (!status && sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC) != SQLITE_OK) status = store_sql_failed(s);
    if (!status) status = store_step(s, st, &row);
    if (!status && row) *id = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    if (!status && !row) status = pith_fail(s->ctx, PITH_E_ARGUMENT, "%s: no file '%s' in the store", s->path, name);
    return status;
}

pith_status store_object_next(model_store *s, sqlite3_stmt *st, store_object *o, bool *row) {
    pith_status status = store_step(s, st, row);
    if (status || !*row) return status;
    uint64_t id, type, coding, base;
    bool good = store_column(st, 0, INT64_MAX, &id) && sqlite3_column_bytes(st, 1) == (int)sizeof o->hash &&
                store_column(st, 2, UINT32_MAX, &type) && tensor_type_of((uint32_t)type) &&
                store_column(st, 3, ARCHIVE_PIECE_BYTES, &o->raw) && store_column(st, 4, o->raw, &o->coded) &&
                store_column(st, 5, DIFFERENCE_CODINGS - 1, &coding) && o->raw > 0;
    if (good && sqlite3_column_type(st, 6) == SQLITE_NULL)
        base = 0;
    else if (good)
        good = store_column(st, 6, INT64_MAX, &base) && base != id;
    if (good) good = (base != 0) == difference_has_base((unsigned)coding);
    if (!good) return pith_fail(s->ctx, PITH_E_FORMAT, "%s/store.db: an object that makes no sense", s->path);
    o->id = (int64_t)id;
    memcpy(o->hash, sqlite3_column_blob(st, 1), sizeof o->hash);
    o->type = (uint32_t)type;
    o->coding = (unsigned)coding;
    o->base = (int64_t)base;
    return PITH_OK;
}

pith_status store_object_get(model_store *s, int64_t id, store_object *o) {
    sqlite3_stmt *st;
    bool row = false;
    pith_status status = store_prepare(s, &st, "SELECT " STORE_OBJECT_COLUMNS " FROM object WHERE id = ?1", 1, &id);
    if (!status) status = store_object_next(s, st, o, &row);
    sqlite3_finalize(st);
    if (!status && !row) status = pith_fail(s->ctx, PITH_E_FORMAT, "%s/store.db: an object is missing", s->path);
    return status;
}

/* ---- opening ---- */

static pith_status system_failed(model_store *s, const char *what) {
    return pith_fail(s->ctx, PITH_E_IO, "%s%s: %s", s->path, what, strerror(errno));
}

static pith_status open_directory(model_store *s, model_store_mode mode) {
    if (mode == MODEL_STORE_ADD && mkdir(s->path, 0777) != 0 && errno != EEXIST) return system_failed(s, "");
    s->dir = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir < 0) return system_failed(s, "");
    if (mode != MODEL_STORE_ADD && faccessat(s->dir, "store.db", F_OK, 0) != 0)
        return pith_fail(s->ctx, PITH_E_ARGUMENT, "%s: not a store of models: it has no store.db", s->path);
    if (mode == MODEL_STORE_ADD && mkdirat(s->dir, "objects", 0777) != 0 && errno != EEXIST)
        return system_failed(s, "/objects");
    s->objects = openat(s->dir, "objects", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->objects < 0) return system_failed(s, "/objects");
    s->lock = openat(s->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    /* who may only read finds nobody to collect garbage but one who may write */
    if (s->lock < 0 && mode == MODEL_STORE_READ) s->lock = openat(s->dir, "lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (s->lock < 0) return mode == MODEL_STORE_READ ? PITH_OK : system_failed(s, "/lock");
    int how = mode == MODEL_STORE_COLLECT ? LOCK_EX : LOCK_SH;
    while (flock(s->lock, how | (how == LOCK_EX ? LOCK_NB : 0)) != 0) {
        if (errno == EWOULDBLOCK)
            return pith_fail(s->ctx, PITH_E_IO, "%s: others are at work in the store; collect when they are done",
                             s->path);
        if (errno != EINTR) return system_failed(s, "/lock");
    }
    return PITH_OK;
}

static pith_status number_of(model_store *s, const char *sql, int64_t *value) {
    sqlite3_stmt *st;
    bool row = false;
    pith_status status = store_prepare(s, &st, sql, 0, NULL);
    if (!status) status = store_step(s, st, &row);
    *value = !status && row ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_finalize(st);
    return status;
}

static pith_status check_schema(model_store *s, bool may_make) {
    int64_t application, version, tables;
    pith_status status = number_of(s, "PRAGMA application_id", &application);
    if (!status) status = number_of(s, "PRAGMA user_version", &version);
    if (!status) status = number_of(s, "SELECT count(*) FROM sqlite_master", &tables);
    if (status) return status;
    if (application == 0 && tables == 0 && may_make) {
        if (sqlite3_exec(s->db, schema, NULL, NULL, NULL) != SQLITE_OK) return store_sql_failed(s);
        return PITH_OK;
    }
    if (application != APPLICATION)
        return pith_fail(s->ctx, PITH_E_FORMAT, "%s/store.db: not an index of a store of models", s->path);
    if (version != VERSION)
        return pith_fail(s->ctx, PITH_E_UNSUPPORTED, "%s/store.db: version %lld of the index is not known", s->path,
                         (long long)version);
    return PITH_OK;
}

static pith_status open_index(model_store *s, model_store_mode mode) {
    static const char settings[] = "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
                                   "PRAGMA synchronous = FULL;";
    size_t n = strlen(s->path) + sizeof "/store.db";
    char *path = pith_alloc(s->ctx, n);
    if (!path) return pith_alloc_status(s->ctx);
    snprintf(path, n, "%s/store.db", s->path);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (mode == MODEL_STORE_ADD ? SQLITE_OPEN_CREATE : 0);
    int code = sqlite3_open_v2(path, &s->db, flags, NULL);
    pith_free(s->ctx, path);
    if (code != SQLITE_OK) return store_sql_failed(s);
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_timeout(s->db, BUSY_MS);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    if (sqlite3_exec(s->db, settings, NULL, NULL, NULL) != SQLITE_OK) return store_sql_failed(s);
    if (mode != MODEL_STORE_ADD) return check_schema(s, false);
    pith_status status = store_begin(s);
    if (!status) status = check_schema(s, true);
    return store_end(s, status);
}

pith_status model_store_open(pith_ctx *ctx, const char *dir, model_store_mode mode, model_store **out) {
    pith_begin(ctx);
    *out = NULL;
    model_store *s = pith_zalloc(ctx, sizeof *s);
    if (!s) return pith_alloc_status(ctx);
    s->ctx = ctx;
    s->dir = s->objects = s->lock = -1;
    size_t n = strlen(dir) + 1;
    pith_status status = (s->path = pith_alloc(ctx, n)) ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        memcpy(s->path, dir, n);
        status = open_directory(s, mode);
    }
    if (!status) status = open_index(s, mode);
    if (status)
        model_store_close(s);
    else
        *out = s;
    return status;
}

void model_store_close(model_store *s) {
    if (!s) return;
    sqlite3_close(s->db);
    if (s->objects >= 0) close(s->objects);
    if (s->dir >= 0) close(s->dir);
    if (s->lock >= 0) close(s->lock);
    pith_free(s->ctx, s->path);
    pith_free(s->ctx, s);
}
