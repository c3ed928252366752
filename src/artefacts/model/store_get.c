/* Taking files out of a store: whole ones, and off its list. */
#include <xxhash.h>

#include "artefacts/model/store_parts.h"

typedef struct getting {
    model_store *s;
    pith_ctx *ctx;
    uint64_t bytes, done; /* of the file */
    uint8_t hash[16];
    pith_buffer rest;
    size_t rest_at; /* of it is written */
    uint8_t *piece;
    XXH3_state_t *state;
    tensor_write_fn write;
    void *opaque;
} getting;

static pith_status put(getting *g, const uint8_t *data, uint64_t n) {
    if (n > g->bytes - g->done)
        return pith_fail(g->ctx, PITH_E_FORMAT, "%s/store.db: parts longer than their file", g->s->path);
    XXH3_128bits_update(g->state, data, (size_t)n);
    pith_status status = g->write && n ? g->write(g->opaque, data, (size_t)n) : PITH_OK;
    return status ? status : pith_tick(g->ctx, g->done += n, g->bytes);
}

static pith_status put_rest(getting *g, uint64_t n) {
    if (n > g->rest.size - g->rest_at)
        return pith_fail(g->ctx, PITH_E_FORMAT, "%s/store.db: gaps longer than what was between tensors", g->s->path);
    if (n == 0) return PITH_OK;
    const uint8_t *p = g->rest.data + g->rest_at;
    g->rest_at += (size_t)n;
    return put(g, p, n);
}

static pith_status load(getting *g, const store_object *o, uint64_t shape) {
    uint8_t hash[16];
    pith_status status = store_object_load(g->s, o, g->piece);
    if (status) return status;
    store_hash(g->piece, (size_t)o->raw, shape, hash);
    if (memcmp(hash, o->hash, sizeof hash) == 0) return PITH_OK;
    return pith_fail(g->ctx, PITH_E_CHECK, "its object does not match its hash");
}

/* One part: its columns are those of the object, then shape, gap, name. */
static pith_status put_part(getting *g, sqlite3_stmt *st, const store_object *o) {
    uint64_t shape = (uint64_t)sqlite3_column_int64(st, 7), gap;
    if (!store_column(st, 8, INT64_MAX, &gap))
        return pith_fail(g->ctx, PITH_E_FORMAT, "%s/store.db: a part that makes no sense", g->s->path);
    if (shape == STORE_REST_SHAPE) {
        pith_status status = load(g, o, shape);
        if (status) return store_say_where(g->ctx, "what stands between the tensors", 31, status);
        if (g->rest.size + o->raw > g->bytes)
            return pith_fail(g->ctx, PITH_E_FORMAT, "%s/store.db: parts longer than their file", g->s->path);
        return pith_buffer_append(g->ctx, &g->rest, g->piece, (size_t)o->raw);
    }
    pith_status status = put_rest(g, gap);
    if (!status && (status = load(g, o, shape)) != PITH_OK) {
        const char *name = (const char *)sqlite3_column_text(st, 9);
        return store_say_where(g->ctx, name ? name : "a tensor", (size_t)(name ? sqlite3_column_bytes(st, 9) : 8),
                               status);
    }
    return status ? status : put(g, g->piece, o->raw);
}

static pith_status put_parts(getting *g, int64_t file) {
    static const char sql[] = "SELECT " STORE_OBJECT_COLUMNS ", part.shape, part.gap, part.name FROM part"
                              " JOIN object ON object.id = part.object WHERE part.file = ?1 ORDER BY part.place";
    sqlite3_stmt *st;
    bool row = true;
    pith_status status = store_prepare(g->s, &st, sql, 1, &file);
    while (!status && row) {
        store_object o;
        status = store_object_next(g->s, st, &o, &row);
        if (!status && row) status = put_part(g, st, &o);
    }
    sqlite3_finalize(st);
    if (!status) status = put_rest(g, g->rest.size - g->rest_at);
    if (status) return status;
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(g->state));
    if (g->done != g->bytes || memcmp(canonical.digest, g->hash, sizeof g->hash) != 0)
        return pith_fail(g->ctx, PITH_E_CHECK, "the restored file does not match its hash");
    return PITH_OK;
}

static pith_status about_file(getting *g, int64_t file) {
    sqlite3_stmt *st;
    bool row = false;
    pith_status status = store_prepare(g->s, &st, "SELECT bytes, hash FROM file WHERE id = ?1", 1, &file);
    if (!status) status = store_step(g->s, st, &row);
    if (!status && (!row || !store_column(st, 0, INT64_MAX, &g->bytes) || sqlite3_column_bytes(st, 1) != 16))
        status = pith_fail(g->ctx, PITH_E_FORMAT, "%s/store.db: a file that makes no sense", g->s->path);
    if (!status) memcpy(g->hash, sqlite3_column_blob(st, 1), 16);
    sqlite3_finalize(st);
    return status;
}

pith_status model_store_get(pith_ctx *ctx, model_store *s, const char *name, tensor_write_fn write, void *opaque) {
    getting g = {.s = s, .ctx = ctx, .write = write, .opaque = opaque};
    int64_t file;
    pith_begin(ctx);
    pith_status status = store_find(s, name, &file);
    if (!status) status = about_file(&g, file);
    if (!status && !(g.piece = pith_alloc(ctx, ARCHIVE_PIECE_BYTES))) status = pith_alloc_status(ctx);
    if (!status && !(g.state = XXH3_createState())) status = pith_fail(ctx, PITH_E_MEMORY, "no memory for a hash");
    if (!status) {
        XXH3_128bits_reset(g.state);
        status = put_parts(&g, file);
    }
    XXH3_freeState(g.state);
    pith_free(ctx, g.piece);
    pith_buffer_free(ctx, &g.rest);
    return status;
}

pith_status model_store_remove(pith_ctx *ctx, model_store *s, const char *name) {
    int64_t file;
    pith_begin(ctx);
    pith_status status = store_begin(s);
    if (status) return status;
    status = store_find(s, name, &file);
    if (!status) status = store_run(s, "DELETE FROM file WHERE id = ?1", 1, &file);
    return store_end(s, status);
}
