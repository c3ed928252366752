/* The unfinished file of statistics. A unit counts as there when its check, which is written after its data are on
 * the disk, is that of the data: so a process may be killed at any time, and the next one goes on. */
#include "artefacts/model/stats_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE ((size_t)1 << 20)
#define ALIGNMENT 32u /* of GGUF, unless the head says otherwise; ours never does */

struct stats_out {
    pith_ctx *ctx;
    char *path, *part;
    int fd;
    stats_place *places;
    size_t n_places;
    uint32_t n_units;
    uint64_t checks_at, size;
    uint64_t *checks; /* [n_units] */
    bool ours;        /* opened, locked, and to be removed if nothing gets done */
    /* of the unit being put */
    pith_hash *hash;
    size_t place;
    uint64_t put; /* bytes of that place */
};

static pith_status io_failed(stats_out *o, const char *what) {
    return pith_fail(o->ctx, PITH_E_IO, "%s: %s: %s", o->part, what, strerror(errno));
}

static pith_status read_at(stats_out *o, uint64_t at, void *data, size_t size) {
    uint8_t *p = data;
    while (size) {
        ssize_t n = pread(o->fd, p, size, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return io_failed(o, "cannot be read");
        if (n == 0) return pith_fail(o->ctx, PITH_E_IO, "%s: became shorter", o->part);
        p += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return PITH_OK;
}

static pith_status write_at(stats_out *o, uint64_t at, const void *data, size_t size) {
    const uint8_t *p = data;
    while (size) {
        ssize_t n = pwrite(o->fd, p, size, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return io_failed(o, "cannot be written");
        p += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return PITH_OK;
}

static void measure(stats_out *o, uint64_t head) {
    uint64_t at = head;
    for (size_t i = 0; i < o->n_places; i++) {
        o->places[i].at = at;
        if (o->places[i].unit == UINT32_MAX) o->checks_at = at;
        at += (o->places[i].bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    o->size = at;
}

/* The file from the start: head, zeros. */
static pith_status begin(stats_out *o, const pith_buffer *head) {
    if (ftruncate(o->fd, 0) != 0) return io_failed(o, "cannot be emptied");
    pith_status status = write_at(o, 0, head->data, head->size);
    if (!status && ftruncate(o->fd, (off_t)o->size) != 0) status = io_failed(o, "cannot be made large enough");
    return status;
}

/* Whether the data of a unit are those its check was made of. */
static pith_status verify(stats_out *o, uint32_t unit, uint8_t *piece, bool *good) {
    pith_hash *h = pith_hash_new(o->ctx);
    if (!h) return pith_alloc_status(o->ctx);
    pith_status status = PITH_OK;
    for (size_t i = 0; i < o->n_places && !status; i++) {
        const stats_place *p = &o->places[i];
        for (uint64_t at = 0; p->unit == unit && at < p->bytes && !status; at += PIECE) {
            size_t n = (size_t)PITH_MIN((uint64_t)PIECE, p->bytes - at);
            status = read_at(o, p->at + at, piece, n);
            if (!status) pith_hash_update(h, piece, n);
        }
    }
    uint64_t value = pith_hash_value(h);
    *good = (value ? value : 1) == o->checks[unit];
    pith_hash_free(o->ctx, h);
    return status;
}

/* Looks at what an earlier run left. *fresh: nothing of use. */
static pith_status look(stats_out *o, const pith_buffer *head, uint64_t size, bool restart, bool *fresh) {
    *fresh = true;
    if (size == 0 || restart || size < PITH_MIN((uint64_t)head->size, o->size)) return PITH_OK;
    uint8_t *piece = pith_alloc(o->ctx, PITH_MAX(PIECE, head->size));
    if (!piece) return pith_alloc_status(o->ctx);
    pith_status status = read_at(o, 0, piece, head->size);
    if (!status && memcmp(piece, head->data, head->size) != 0)
        status = pith_fail(o->ctx, PITH_E_ARGUMENT,
                           "%s: left by a run over another model, text or options; go on with those, or start over",
                           o->part);
    if (!status && size == o->size) {
        *fresh = false;
        status = read_at(o, o->checks_at, o->checks, o->n_units * sizeof *o->checks);
        for (uint32_t u = 0; u < o->n_units && !status; u++) {
            bool good = false;
            o->checks[u] = load64((const uint8_t *)&o->checks[u]);
            if (o->checks[u]) status = verify(o, u, piece, &good);
            if (!good) o->checks[u] = 0;
        }
    }
    pith_free(o->ctx, piece);
    return status;
}

static pith_status open_part(stats_out *o, const pith_buffer *head, bool restart) {
    struct stat st, named;
    o->fd = open(o->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0666);
    if (o->fd < 0) return io_failed(o, "cannot be opened");
    if (fstat(o->fd, &st) != 0 || !S_ISREG(st.st_mode))
        return pith_fail(o->ctx, PITH_E_IO, "%s: is no regular file", o->part);
    if (flock(o->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return pith_fail(o->ctx, PITH_E_ARGUMENT, "%s: another run is writing it", o->part);
    if (stat(o->part, &named) != 0 || named.st_ino != st.st_ino || named.st_dev != st.st_dev)
        return pith_fail(o->ctx, PITH_E_ARGUMENT, "%s: another run has just finished it", o->part);
    bool fresh;
    pith_status status = look(o, head, (uint64_t)st.st_size, restart, &fresh);
    return status || !fresh ? status : begin(o, head);
}

static char *joined(pith_ctx *ctx, const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b) + 1;
    char *text = pith_alloc(ctx, n + m);
    if (!text) return NULL;
    memcpy(text, a, n);
    memcpy(text + n, b, m);
    return text;
}

pith_status stats_out_open(pith_ctx *ctx, const char *path, const pith_buffer *head, stats_place *places, size_t n,
                           uint32_t n_units, bool restart, stats_out **out) {
    *out = NULL;
    stats_out *o = pith_zalloc(ctx, sizeof *o);
    if (!o) return pith_alloc_status(ctx);
    o->ctx = ctx;
    o->fd = -1;
    o->places = places;
    o->n_places = n;
    o->n_units = n_units;
    o->path = joined(ctx, path, "");
    o->part = o->path ? joined(ctx, path, ".part") : NULL;
    o->checks = o->part ? pith_zalloc(ctx, n_units * sizeof *o->checks) : NULL;
    measure(o, head->size);
    pith_status status = o->checks ? open_part(o, head, restart) : pith_alloc_status(ctx);
    o->ours = !status;
    if (status)
        stats_out_close(o);
    else
        *out = o;
    return status;
}

bool stats_out_has(const stats_out *o, uint32_t unit) { return o->checks[unit] != 0; }
uint64_t stats_out_bytes(const stats_out *o) { return o->size; }

pith_status stats_out_put(stats_out *o, uint32_t unit, const void *data, size_t size) {
    const uint8_t *p = data;
    if (!o->hash) {
        if (!(o->hash = pith_hash_new(o->ctx))) return pith_alloc_status(o->ctx);
        o->place = 0;
        o->put = 0;
    }
    pith_hash_update(o->hash, data, size);
    while (size) {
        while (o->place < o->n_places && (o->places[o->place].unit != unit || o->put == o->places[o->place].bytes)) {
            o->place++;
            o->put = 0;
        }
        if (o->place == o->n_places) return pith_fail(o->ctx, PITH_E_INTERNAL, "more data than a unit holds");
        const stats_place *place = &o->places[o->place];
        size_t n = (size_t)PITH_MIN((uint64_t)size, place->bytes - o->put);
        pith_status status = write_at(o, place->at + o->put, p, n);
        if (status) return status;
        p += n;
        size -= n;
        o->put += n;
    }
    return PITH_OK;
}

void stats_out_done(stats_out *o, uint32_t unit) {
    uint64_t value = o->hash ? pith_hash_value(o->hash) : 0;
    pith_hash_free(o->ctx, o->hash);
    o->hash = NULL;
    o->checks[unit] = value ? value : 1;
}

pith_status stats_out_sign(stats_out *o) {
    uint8_t bytes[8];
    pith_status status = PITH_OK;
    if (fdatasync(o->fd) != 0 && errno != EINVAL) return io_failed(o, "cannot be written");
    for (uint32_t u = 0; u < o->n_units && !status; u++) {
        store64(bytes, o->checks[u]);
        status = write_at(o, o->checks_at + 8 * (uint64_t)u, bytes, 8);
    }
    return status;
}

/* So that the new name outlasts a power cut, where the file system can promise that. */
static void sync_directory(stats_out *o) {
    char *slash = strrchr(o->path, '/');
    if (slash) slash[slash == o->path ? 1 : 0] = 0;
    int fd = open(slash ? o->path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

pith_status stats_out_finish(stats_out *o) {
    for (uint32_t u = 0; u < o->n_units; u++)
        if (!o->checks[u]) return pith_fail(o->ctx, PITH_E_INTERNAL, "%s: unit %u is missing", o->part, u);
    if (fsync(o->fd) != 0 && errno != EINVAL) return io_failed(o, "cannot be written");
    if (rename(o->part, o->path) != 0) return io_failed(o, "cannot be renamed");
    o->ours = false;
    sync_directory(o);
    return PITH_OK;
}

void stats_out_close(stats_out *o) {
    if (!o) return;
    bool any = false;
    for (uint32_t u = 0; o->ours && u < o->n_units; u++) any |= o->checks[u] != 0;
    if (o->ours && !any) unlink(o->part);
    if (o->fd >= 0) close(o->fd);
    if (o->hash) pith_hash_free(o->ctx, o->hash);
    pith_free(o->ctx, o->path);
    pith_free(o->ctx, o->part);
    pith_free(o->ctx, o->checks);
    pith_free(o->ctx, o);
}
