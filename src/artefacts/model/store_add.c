/* Adding a file to a store: its pieces are found or coded first, each to a file with a name of its own; then one
 * transaction names them and makes the file known. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

#include "artefacts/model/store_parts.h"

typedef struct adding {
    model_store *s;
    pith_ctx *ctx;
    model_layout layout;
    store_piece *pieces; /* of the rest first, then of the tensors in the order of the file */
    size_t n_pieces;
    uint8_t hash[16]; /* of the file */
    store_family family;
    model_store_added *report;
    uint8_t *known, *base; /* room for a piece each */
} adding;

/* ---- what there is ---- */

static void cut_rest(adding *a, store_piece **p) {
    for (size_t at = 0; at < a->layout.rest_n; at += ARCHIVE_PIECE_BYTES)
        *(*p)++ = (store_piece){.data = a->layout.rest + at,
                                .n = PITH_MIN(a->layout.rest_n - at, ARCHIVE_PIECE_BYTES),
                                .shape = STORE_REST_SHAPE};
}

static void cut_tensor(const tensor_view *v, uint64_t gap, store_piece **p) {
    uint64_t step = archive_piece_bytes(v->type), number = 0;
    for (uint64_t at = 0; at < v->bytes; at += step, number++)
        *(*p)++ = (store_piece){.tensor = v,
                                .data = v->data + at,
                                .n = (size_t)PITH_MIN(step, v->bytes - at),
                                .number = number,
                                .gap = number ? 0 : gap,
                                .shape = store_shape(v, number)};
}

static pith_status cut(adding *a) {
    const model_layout *l = &a->layout;
    a->report->tensors = l->n_views;
    a->n_pieces = (l->rest_n + ARCHIVE_PIECE_BYTES - 1) / ARCHIVE_PIECE_BYTES;
    for (size_t i = 0; i < l->n_views; i++)
        a->n_pieces += (size_t)((l->views[i]->bytes - 1) / archive_piece_bytes(l->views[i]->type) + 1);
    store_piece *p = a->pieces = pith_zalloc(a->ctx, (a->n_pieces + 1) * sizeof *a->pieces);
    if (!p) return pith_alloc_status(a->ctx);
    cut_rest(a, &p);
    for (size_t i = 0; i < l->n_views; i++) cut_tensor(l->views[i], model_layout_gap(l, i), &p);
    return PITH_OK;
}

static pith_status measure(void *arg, size_t i) {
    store_piece *p = &((adding *)arg)->pieces[i];
    store_hash(p->data, p->n, p->shape, p->object.hash);
    p->object.type = p->tensor ? p->tensor->type : TENSOR_U8;
    p->object.raw = p->n;
    p->like = i;
    p->sketched = p->tensor && store_sketch(p->data, p->n, p->sketch);
    return PITH_OK;
}

/* ---- finding what is there already ---- */

/* Whether an object of the store is the piece. One that cannot be decoded is to be replaced. */
static pith_status is_same(adding *a, store_piece *p, const store_object *o, bool *same) {
    *same = false;
    if (o->raw != p->n || o->type != p->object.type) return PITH_OK;
    pith_status status = store_object_load(a->s, o, a->known);
    uint8_t hash[16];
    if (!status) {
        *same = memcmp(a->known, p->data, p->n) == 0;
        if (*same) return PITH_OK;
        store_hash(a->known, p->n, p->shape, hash);
        if (memcmp(hash, o->hash, sizeof hash) == 0) return PITH_OK; /* another content of the same hash */
    } else if (status != PITH_E_CHECK && status != PITH_E_FORMAT && status != PITH_E_TRUNCATED) {
        return status;
    }
    pith_begin(a->ctx);
    p->repairs = o->id;
    return PITH_OK;
}

/* Objects of the hash newer than `after`. */
static pith_status find_object(adding *a, store_piece *p, int64_t after) {
    static const char sql[] = "SELECT " STORE_OBJECT_COLUMNS " FROM object WHERE hash = ?2 AND id > ?1 ORDER BY id";
    sqlite3_stmt *st;
    bool row = true, same = false;
    pith_status status = store_prepare(a->s, &st, sql, 1, &after);
    if (!status && sqlite3_bind_blob(st, 2, p->object.hash, 16, SQLITE_STATIC) != SQLITE_OK)
        status = store_sql_failed(a->s);
    while (!status && row && !same) {
        store_object o;
        status = store_object_next(a->s, st, &o, &row);
        if (!status && row) status = is_same(a, p, &o, &same);
        if (!status && same) p->object = o;
    }
    sqlite3_finalize(st);
    if (same) p->repairs = 0;
    return status;
}

/* An earlier piece of the same file. */
static bool find_earlier(adding *a, size_t i) {
    store_piece *p = &a->pieces[i];
    for (size_t k = 0; k < i; k++) {
        const store_piece *q = &a->pieces[k];
        if (memcmp(q->object.hash, p->object.hash, 16) == 0 && q->object.type == p->object.type && q->n == p->n &&
            memcmp(q->data, p->data, p->n) == 0) {
            p->like = q->like;
            p->object = q->object;
            return true;
        }
    }
    return false;
}

/* ---- coding what is new ---- */

static pith_status code_new(adding *a, store_piece *p) {
    store_object base = {0};
    const uint8_t *base_data = NULL;
    /* what repairs a base must not be a difference */
    pith_status status = p->repairs ? PITH_OK : store_counterpart(a->s, &a->family, p, &base);
    if (!status && base.id) {
        status = store_object_load(a->s, &base, a->base);
        uint8_t hash[16];
        if (!status) {
            store_hash(a->base, p->n, p->shape, hash);
            if (memcmp(hash, base.hash, sizeof hash) == 0) base_data = a->base;
        } else if (status == PITH_E_CHECK || status == PITH_E_FORMAT || status == PITH_E_TRUNCATED) {
            pith_begin(a->ctx); /* a damaged base is none */
            status = PITH_OK;
        }
    }
    pith_buffer code = {0};
    if (!status) status = store_object_code(a->s, &p->object, p->data, !p->tensor, base_data, base.id, &code);
    if (!status) status = store_object_write(a->s, &p->object, &code, p->temp);
    pith_buffer_free(a->ctx, &code);
    return status;
}

static void count(model_store_added *r, const store_piece *p, bool is_new) {
    model_store_share *share = !is_new ? &r->same : !p->tensor ? &r->rest : p->object.base ? &r->delta : &r->plain;
    share->pieces++;
    share->raw += p->n;
    if (is_new) share->coded += p->object.coded;
}

static pith_status code_all(adding *a) {
    uint64_t done = 0;
    for (size_t i = 0; i < a->n_pieces; i++) {
        store_piece *p = &a->pieces[i];
        bool there = find_earlier(a, i);
        pith_status status = there ? PITH_OK : find_object(a, p, 0);
        there = there || p->object.id;
        if (!status && !there) status = code_new(a, p);
        if (!status) status = pith_tick(a->ctx, done += p->n, a->layout.size);
        if (status)
            return p->tensor ? store_say_where(a->ctx, p->tensor->name.data, p->tensor->name.size, status) : status;
        count(a->report, p, !there);
        a->report->repaired += p->repairs != 0;
    }
    return PITH_OK;
}

/* ---- making it known ---- */

static pith_status insert_object(adding *a, store_piece *p) {
    static const char sql[] =
        "INSERT INTO object(type, raw, coded, coding, base, hash, sketch) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    int64_t values[] = {p->object.type, (int64_t)p->object.raw, (int64_t)p->object.coded, p->object.coding};
    sqlite3_stmt *st;
    bool row;
    pith_status status = store_prepare(a->s, &st, sql, PITH_COUNT(values), values);
    int code = status ? SQLITE_ERROR : sqlite3_bind_blob(st, 6, p->object.hash, 16, SQLITE_STATIC);
    if (code == SQLITE_OK && p->object.base) code = sqlite3_bind_int64(st, 5, p->object.base);
    if (code == SQLITE_OK && p->sketched) code = sqlite3_bind_blob(st, 7, p->sketch, STORE_SKETCH, SQLITE_STATIC);
    if (!status && code != SQLITE_OK) status = store_sql_failed(a->s);
    if (!status) status = store_step(a->s, st, &row);
    sqlite3_finalize(st);
    if (status) return status;
    p->object.id = sqlite3_last_insert_rowid(a->s->db);
    status = store_object_place(a->s, &p->object, p->temp);
    if (!status) p->temp[0] = 0;
    if (status || !p->repairs) return status;
    int64_t ids[] = {p->object.id, p->repairs};
    status = store_run(a->s, "UPDATE part SET object = ?1 WHERE object = ?2", 2, ids);
    return status ? status : store_run(a->s, "UPDATE object SET base = ?1 WHERE base = ?2", 2, ids);
}

static pith_status insert_part(adding *a, int64_t file, size_t place, const store_piece *p) {
    static const char sql[] = "INSERT INTO part(file, place, gap, shape, object, name) VALUES(?1, ?2, ?3, ?4, ?5, ?6)";
    int64_t values[] = {file, (int64_t)place, (int64_t)p->gap, (int64_t)p->shape, p->object.id};
    sqlite3_stmt *st;
    bool row;
    pith_status status = store_prepare(a->s, &st, sql, PITH_COUNT(values), values);
    if (!status && p->tensor &&
        sqlite3_bind_text(st, 6, p->tensor->name.data, (int)p->tensor->name.size, SQLITE_STATIC) != SQLITE_OK)
        status = store_sql_failed(a->s);
    if (!status) status = store_step(a->s, st, &row);
    sqlite3_finalize(st);
    return status;
}

static pith_status insert_file(adding *a, const char *name, int64_t *file) {
    static const char sql[] =
        "INSERT INTO file(bytes, tensors, base, name, hash) VALUES(?1, ?2, nullif(?3, 0), ?4, ?5)";
    int64_t values[] = {(int64_t)a->layout.size, (int64_t)a->layout.n_views, a->family.file};
    sqlite3_stmt *st;
    bool row;
    pith_status status = store_prepare(a->s, &st, sql, PITH_COUNT(values), values);
    if (!status && (sqlite3_bind_text(st, 4, name, -1, SQLITE_STATIC) != SQLITE_OK ||
                    sqlite3_bind_blob(st, 5, a->hash, 16, SQLITE_STATIC) != SQLITE_OK))
        status = store_sql_failed(a->s);
    if (!status) status = store_step(a->s, st, &row);
    sqlite3_finalize(st);
    *file = sqlite3_last_insert_rowid(a->s->db);
    return status;
}

/* Whether the very file is there under this name; another one of the name is an error. */
static pith_status look_for_name(const adding *a, const char *name, bool *there) {
    model_store *s = a->s;
    sqlite3_stmt *st;
    bool row = false;
    pith_status status = store_prepare(s, &st, "SELECT hash, bytes FROM file WHERE name = ?1", 0, NULL);
    if (!status && sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC) != SQLITE_OK) status = store_sql_failed(s);
    if (!status) status = store_step(s, st, &row);
    *there = !status && row && sqlite3_column_bytes(st, 0) == 16 &&
             memcmp(sqlite3_column_blob(st, 0), a->hash, 16) == 0 &&
             sqlite3_column_int64(st, 1) == (int64_t)a->layout.size;
    sqlite3_finalize(st);
    if (status || !row || *there) return status;
    return pith_fail(s->ctx, PITH_E_ARGUMENT, "%s: has a file '%s' already", s->path, name);
}

static pith_status last_object(model_store *s, int64_t *id) {
    sqlite3_stmt *st;
    bool row = false;
    pith_status status = store_prepare(s, &st, "SELECT ifnull(max(id), 0) FROM object", 0, NULL);
    if (!status) status = store_step(s, st, &row);
    *id = !status && row ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_finalize(st);
    return status;
}

/* `seen`: objects up to it have been looked at; others may have added some since. */
static pith_status make_known(adding *a, const char *name, int64_t seen) {
    int64_t file = 0;
    bool there = false; /* then its objects, which may have been damaged, are all that is new */
    pith_status status = store_begin(a->s);
    if (status) return status;
    status = look_for_name(a, name, &there);
    if (!status && !there) status = insert_file(a, name, &file);
    for (size_t i = 0; i < a->n_pieces && !status; i++) {
        store_piece *p = &a->pieces[i];
        if (!p->object.id && p->like < i) p->object = a->pieces[p->like].object;
        if (!p->object.id && !p->repairs) status = find_object(a, p, seen);
        if (!status && !p->object.id) status = insert_object(a, p);
        if (!status && !there) status = insert_part(a, file, i, p);
    }
    if (!status) status = store_objects_sync(a->s);
    return store_end(a->s, status);
}

static bool name_is_good(const char *name) {
    size_t n = strlen(name);
    if (n == 0 || n > MODEL_STORE_NAME_MAX) return false;
    for (size_t i = 0; i < n; i++)
        if ((uint8_t)name[i] < ' ' || name[i] == 0x7F || name[i] == '/') return false;
    return true;
}

static pith_status add(adding *a, const char *name, const model_store_add_options *options) {
    int64_t seen = 0;
    bool there;
    tensor_bytes_hash(a->layout.data, a->layout.size, a->hash);
    pith_status status = look_for_name(a, name, &there);
    if (!status) status = cut(a);
    if (!status) status = pith_parallel(a->ctx, a->n_pieces, measure, a);
    if (!status) status = last_object(a->s, &seen);
    if (!status) status = store_choose_base(a->s, a->pieces, a->n_pieces, options, &a->family, a->report);
    a->known = pith_alloc(a->ctx, ARCHIVE_PIECE_BYTES);
    a->base = pith_alloc(a->ctx, ARCHIVE_PIECE_BYTES);
    if (!status && (!a->known || !a->base)) status = pith_alloc_status(a->ctx);
    if (!status) status = code_all(a);
    if (!status) status = make_known(a, name, seen);
    for (size_t i = 0; i < a->n_pieces && a->pieces; i++)
        if (a->pieces[i].temp[0]) unlinkat(a->s->objects, a->pieces[i].temp, 0);
    pith_free(a->ctx, a->known);
    pith_free(a->ctx, a->base);
    pith_free(a->ctx, a->pieces);
    store_family_free(a->ctx, &a->family);
    return status;
}

pith_status model_store_add(pith_ctx *ctx, model_store *s, const char *name, const char *path,
                            const model_store_add_options *options, model_store_added *report) {
    static const model_store_add_options none = {0};
    model_store_added ignored;
    adding a = {.s = s, .ctx = ctx, .report = report ? report : &ignored};
    const uint8_t *data;
    size_t size;
    pith_begin(ctx);
    *a.report = (model_store_added){0};
    if (!name_is_good(name))
        return pith_fail(ctx, PITH_E_ARGUMENT,
                         "a name in the store has 1 to %d bytes, no slash and no control characters",
                         MODEL_STORE_NAME_MAX);
    pith_status status = archive_map(ctx, path, &data, &size);
    if (status) return store_say_where(ctx, path, strlen(path), status);
    status = model_layout_open(ctx, data, size, &a.layout);
    if (status) store_say_where(ctx, path, strlen(path), status);
    a.report->bytes = size;
    if (!status) status = add(&a, name, options ? options : &none);
    model_layout_free(ctx, &a.layout);
    munmap((void *)data, size);
    return status;
}
