/* Objects of a store: one file each, which holds the code alone. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "artefacts/model/store_parts.h"

void store_hash(const uint8_t *data, size_t n, uint64_t shape, uint8_t hash[16]) {
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_withSeed(data, n, shape));
    memcpy(hash, canonical.digest, 16);
}

uint64_t store_shape(const tensor_view *v, uint64_t piece) {
    uint8_t bytes[8 * (TENSOR_MAX_DIMS + 2)];
    store64(bytes, v->type);
    store64(bytes + 8, piece);
    for (unsigned i = 0; i < TENSOR_MAX_DIMS; i++) store64(bytes + 16 + 8 * i, v->ne[i]);
    return pith_hash64(bytes, sizeof bytes) | 1; /* the rest has 0 */
}

void store_object_path(const store_object *o, char path[STORE_PATH_MAX]) {
    int n = snprintf(path, STORE_PATH_MAX, "%02x/", o->hash[0]);
    for (unsigned i = 1; i < 16; i++) n += snprintf(path + n, STORE_PATH_MAX - (size_t)n, "%02x", o->hash[i]);
    snprintf(path + n, STORE_PATH_MAX - (size_t)n, "-%lld", (long long)o->id);
}

pith_status store_say_where(pith_ctx *ctx, const char *name, size_t name_n, pith_status status) {
    char shown[160], why[400];
    if (!status || status == PITH_E_CANCELLED) return status;
    size_t n = PITH_MIN(name_n, sizeof shown - 1);
    for (size_t i = 0; i < n; i++) shown[i] = name[i] >= ' ' && name[i] <= '~' ? name[i] : '?';
    shown[n] = 0;
    snprintf(why, sizeof why, "%s", pith_error(ctx));
    pith_begin(ctx);
    return pith_fail(ctx, status, "%s: %s", shown, why);
}

/* ---- reading ---- */

static pith_status read_all(model_store *s, int fd, uint8_t *dst, size_t n) {
    while (n) {
        ssize_t got = read(fd, dst, n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return pith_fail(s->ctx, PITH_E_IO, "its object cannot be read: %s", strerror(errno));
        if (got == 0) return pith_fail(s->ctx, PITH_E_TRUNCATED, "its object is cut off");
        dst += got;
        n -= (size_t)got;
    }
    return PITH_OK;
}

static pith_status read_code(model_store *s, const store_object *o, uint8_t **code) {
    char path[STORE_PATH_MAX];
    struct stat st;
    store_object_path(o, path);
    int fd = openat(s->objects, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? pith_fail(s->ctx, PITH_E_CHECK, "its object %s is missing", path)
                               : pith_fail(s->ctx, PITH_E_IO, "objects/%s: %s", path, strerror(errno));
    pith_status status = PITH_OK;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != o->coded)
        status = pith_fail(s->ctx, PITH_E_CHECK, "its object %s is damaged: not %llu bytes", path,
                           (unsigned long long)o->coded);
    if (!status && !(*code = pith_alloc(s->ctx, (size_t)o->coded + 1))) status = pith_alloc_status(s->ctx);
    if (!status) status = read_all(s, fd, *code, (size_t)o->coded);
    close(fd);
    return status;
}

static pith_status load_base(model_store *s, const store_object *o, uint8_t **data) {
    store_object base;
    pith_status status = store_object_get(s, o->base, &base);
    if (!status && (base.raw != o->raw || base.type != o->type || base.base))
        status = pith_fail(s->ctx, PITH_E_FORMAT, "its object is the difference from one that is not like it");
    if (!status && !(*data = pith_alloc(s->ctx, (size_t)base.raw))) status = pith_alloc_status(s->ctx);
    return status ? status : store_object_load(s, &base, *data);
}

pith_status store_object_load(model_store *s, const store_object *o, uint8_t *dst) {
    uint8_t *code = NULL, *base = NULL;
    pith_status status = read_code(s, o, &code);
    if (!status && o->base) status = load_base(s, o, &base);
    if (!status)
        status = difference_decode(s->ctx, o->type, o->coding, code, (size_t)o->coded, base, dst, (size_t)o->raw);
    pith_free(s->ctx, code);
    pith_free(s->ctx, base);
    return status;
}

/* ---- writing ---- */

pith_status store_object_code(model_store *s, store_object *o, const uint8_t *src, bool rest, const uint8_t *base_data,
                              int64_t base, pith_buffer *out) {
    size_t at = out->size;
    pith_status status = difference_encode(s->ctx, o->type, rest, src, base_data, (size_t)o->raw, &o->coding, out);
    o->base = difference_has_base(o->coding) ? base : 0;
    o->coded = out->size - at;
    return status;
}

static pith_status write_all(model_store *s, int fd, const uint8_t *src, size_t n) {
    while (n) {
        ssize_t put = write(fd, src, n);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return pith_fail(s->ctx, PITH_E_IO, "%s/objects: %s", s->path, strerror(errno));
        src += put;
        n -= (size_t)put;
    }
    return PITH_OK;
}

pith_status store_object_write(model_store *s, const store_object *o, const pith_buffer *code, char *temp) {
    char folder[4];
    uint64_t random;
    temp[0] = 0;
    snprintf(folder, sizeof folder, "%02x", o->hash[0]);
    if (mkdirat(s->objects, folder, 0777) != 0 && errno != EEXIST)
        return pith_fail(s->ctx, PITH_E_IO, "%s/objects/%s: %s", s->path, folder, strerror(errno));
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return pith_fail(s->ctx, PITH_E_IO, "no random number to be had: %s", strerror(errno));
    snprintf(temp, STORE_PATH_MAX, "%s/new-%016llx", folder, (unsigned long long)random);
    int fd = openat(s->objects, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0444);
    if (fd < 0) {
        pith_status status = pith_fail(s->ctx, PITH_E_IO, "%s/objects/%s: %s", s->path, temp, strerror(errno));
        temp[0] = 0;
        return status;
    }
    pith_status status = write_all(s, fd, code->data, code->size);
    if (close(fd) != 0 && !status)
        status = pith_fail(s->ctx, PITH_E_IO, "%s/objects/%s: %s", s->path, temp, strerror(errno));
    return status;
}

pith_status store_object_place(model_store *s, const store_object *o, const char *temp) {
    char path[STORE_PATH_MAX];
    store_object_path(o, path);
    if (renameat(s->objects, temp, s->objects, path) != 0)
        return pith_fail(s->ctx, PITH_E_IO, "%s/objects/%s: %s", s->path, path, strerror(errno));
    return PITH_OK;
}

pith_status store_objects_sync(model_store *s) {
    return syncfs(s->objects) == 0 ? PITH_OK : pith_fail(s->ctx, PITH_E_IO, "%s/objects: %s", s->path, strerror(errno));
}
