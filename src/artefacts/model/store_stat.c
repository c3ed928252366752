/* What a store holds, and what it need not hold any more. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "artefacts/model/store_parts.h"

/* Objects that files use, bases of those, and nobody's. Bases are never differences, so one step is all. */
#define USED "EXISTS(SELECT 1 FROM part WHERE part.object = object.id)"
#define BASE_OF_USED "EXISTS(SELECT 1 FROM object AS o JOIN part ON part.object = o.id WHERE o.base = object.id)"

static pith_status sums(model_store *s, const char *sql, const int64_t *file, uint64_t *values, unsigned n) {
    sqlite3_stmt *st;
    bool row = false;
    pith_status status = store_prepare(s, &st, sql, file ? 1 : 0, file);
    if (!status) status = store_step(s, st, &row);
    for (unsigned i = 0; i < n; i++) {
        values[i] = 0;
        if (!status && (!row || !store_column(st, (int)i, INT64_MAX, &values[i])))
            status = pith_fail(s->ctx, PITH_E_FORMAT, "%s/store.db: numbers that make no sense", s->path);
    }
    sqlite3_finalize(st);
    return status;
}

pith_status model_store_stat(pith_ctx *ctx, model_store *s, model_store_totals *t) {
    uint64_t files[2], used[4], deltas[3], others[2], raw_of_used;
    pith_begin(ctx);
    *t = (model_store_totals){0};
    pith_status status = sums(s, "SELECT count(*), ifnull(sum(bytes), 0) FROM file", NULL, files, 2);
    if (!status)
        status =
            sums(s, "SELECT count(*), ifnull(sum(raw), 0), ifnull(sum(coded), 0), count(base) FROM object WHERE " USED,
                 NULL, used, 4);
    if (!status)
        status = sums(s,
                      "SELECT count(*), ifnull(sum(raw), 0), ifnull(sum(coded), 0) FROM object"
                      " WHERE base IS NOT NULL AND " USED,
                      NULL, deltas, 3);
    if (!status)
        status = sums(s,
                      "SELECT ifnull(sum(CASE WHEN " BASE_OF_USED " THEN coded ELSE 0 END), 0), ifnull(sum(coded), 0)"
                      " FROM object WHERE NOT " USED,
                      NULL, others, 2);
    struct stat st;
    if (!status && fstatat(s->dir, "store.db", &st, 0) != 0)
        status = pith_fail(ctx, PITH_E_IO, "%s/store.db: %s", s->path, strerror(errno));
    if (status) return status;
    raw_of_used = used[1];
    if (files[1] < raw_of_used || raw_of_used < used[2] || deltas[1] < deltas[2] || others[1] < others[0])
        return pith_fail(ctx, PITH_E_FORMAT, "%s/store.db: numbers that make no sense", s->path);
    *t = (model_store_totals){.files = files[0],
                              .objects = used[0],
                              .deltas = deltas[0],
                              .raw = files[1],
                              .stored = used[2],
                              .saved_same = files[1] - raw_of_used,
                              .saved_delta = deltas[1] - deltas[2],
                              .bases = others[0],
                              .garbage = others[1] - others[0],
                              .index = (uint64_t)st.st_size};
    t->saved_coding = raw_of_used - used[2] - t->saved_delta;
    return PITH_OK;
}

/* ---- the list ---- */

static pith_status show(model_store *s, sqlite3_stmt *st, pith_status (*each)(void *, const model_store_file *),
                        void *opaque) {
    /* a difference keeps its base too, but others may use that: it is not counted */
    static const char own[] =
        "SELECT ifnull(sum(coded), 0) FROM object WHERE id IN (SELECT object FROM part WHERE file = ?1) AND NOT EXISTS"
        "(SELECT 1 FROM part WHERE part.object = object.id AND part.file <> ?1) AND NOT EXISTS"
        "(SELECT 1 FROM object AS o JOIN part ON part.object = o.id WHERE o.base = object.id AND part.file <> ?1)";
    model_store_file f = {.name = (const char *)sqlite3_column_text(st, 1),
                          .base = (const char *)sqlite3_column_text(st, 2)};
    int64_t id = sqlite3_column_int64(st, 0);
    if (!f.name || !store_column(st, 3, INT64_MAX, &f.bytes) || !store_column(st, 4, INT64_MAX, &f.tensors) ||
        sqlite3_column_bytes(st, 5) != sizeof f.hash)
        return pith_fail(s->ctx, PITH_E_FORMAT, "%s/store.db: a file that makes no sense", s->path);
    memcpy(f.hash, sqlite3_column_blob(st, 5), sizeof f.hash);
    pith_status status = sums(s, own, &id, &f.own, 1);
    return status ? status : each(opaque, &f);
}

pith_status model_store_list(pith_ctx *ctx, model_store *s,
                             pith_status (*each)(void *opaque, const model_store_file *file), void *opaque) {
    static const char sql[] = "SELECT f.id, f.name, b.name, f.bytes, f.tensors, f.hash FROM file AS f"
                              " LEFT JOIN file AS b ON b.id = f.base ORDER BY f.name";
    sqlite3_stmt *st;
    bool row = true;
    pith_begin(ctx);
    pith_status status = store_prepare(s, &st, sql, 0, NULL);
    while (!status && !(status = store_step(s, st, &row)) && row) status = show(s, st, each, opaque);
    sqlite3_finalize(st);
    return status;
}

/* ---- garbage ---- */

/* Files of a folder of objects which the index does not know. */
static pith_status remove_strays(model_store *s, const char *folder, model_store_collected *report) {
    int fd = openat(s->objects, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return PITH_OK; /* no folder of ours */
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return pith_fail(s->ctx, PITH_E_MEMORY, "no memory for a folder");
    }
    pith_status status = PITH_OK;
    for (struct dirent *e; !status && (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.') continue;
        bool known = false;
        const char *dash = strchr(e->d_name, '-');
        if (strncmp(e->d_name, "new-", 4) != 0 && dash) {
            char *end;
            int64_t id = strtoll(dash + 1, &end, 10);
            sqlite3_stmt *st;
            status = store_prepare(s, &st, "SELECT " STORE_OBJECT_COLUMNS " FROM object WHERE id = ?1", 1, &id);
            store_object o;
            char path[STORE_PATH_MAX];
            if (!status) status = store_object_next(s, st, &o, &known);
            sqlite3_finalize(st);
            if (!status && known) {
                store_object_path(&o, path);
                known = strncmp(path, folder, 2) == 0 && strcmp(path + 3, e->d_name) == 0;
            }
        }
        if (!status && !known && unlinkat(dirfd(d), e->d_name, 0) == 0) report->strays++;
    }
    closedir(d);
    return status;
}

pith_status model_store_collect(pith_ctx *ctx, model_store *s, model_store_collected *report) {
    static const char unused[] = " FROM object WHERE NOT " USED " AND NOT " BASE_OF_USED;
    char sql[512];
    uint64_t values[2];
    pith_begin(ctx);
    *report = (model_store_collected){0};
    pith_status status = store_begin(s);
    if (status) return status;
    snprintf(sql, sizeof sql, "SELECT count(*), ifnull(sum(coded), 0)%s", unused);
    status = sums(s, sql, NULL, values, 2);
    /* differences first: what they were taken from is free then */
    snprintf(sql, sizeof sql, "DELETE%s AND base IS NOT NULL", unused);
    if (!status) status = store_run(s, sql, 0, NULL);
    snprintf(sql, sizeof sql, "DELETE%s", unused);
    if (!status) status = store_run(s, sql, 0, NULL);
    status = store_end(s, status);
    if (status) return status;
    report->objects = values[0];
    report->bytes = values[1];
    for (unsigned i = 0; i < 256 && !status; i++) {
        char folder[4];
        snprintf(folder, sizeof folder, "%02x", i);
        status = remove_strays(s, folder, report);
        if (!status) status = pith_tick(ctx, i, 256);
    }
    report->strays -= PITH_MIN(report->strays, report->objects);
    return status ? status : store_run(s, "VACUUM", 0, NULL);
}
