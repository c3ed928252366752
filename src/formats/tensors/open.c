/* Opening: maps the file, finds the format by its first bytes, runs the reader and then the
 * validator that all formats share. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "formats/tensors/view.h"

static pith_status add_map(pith_ctx *ctx, tensor_store *s, tensor_map map) {
    if (s->n_maps == s->maps_capacity) {
        size_t capacity = s->maps_capacity ? s->maps_capacity * 2 : 1;
        tensor_map *maps = pith_alloc(ctx, capacity * sizeof *maps);
        if (!maps) return pith_alloc_status(ctx);
        if (s->n_maps) memcpy(maps, s->maps, s->n_maps * sizeof *maps);
        pith_free(ctx, s->maps);
        s->maps = maps;
        s->maps_capacity = capacity;
    }
    s->maps[s->n_maps++] = map;
    s->file.file_bytes += map.size;
    return PITH_OK;
}

static pith_status map_descriptor(pith_ctx *ctx, tensor_store *s, int fd, const char *path) {
    struct stat st;
    if (fstat(fd, &st) != 0) return pith_fail(ctx, PITH_E_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode)) return pith_fail(ctx, PITH_E_FORMAT, "%s: not a regular file", path);
    if (st.st_size == 0) return pith_fail(ctx, PITH_E_TRUNCATED, "%s: magic at byte 0: the file is empty", path);
    if ((uint64_t)st.st_size > SIZE_MAX) return pith_fail(ctx, PITH_E_LIMIT, "%s: too big to map", path);
    void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) return pith_fail(ctx, PITH_E_IO, "%s: %s", path, strerror(errno));
    pith_status status = add_map(ctx, s, (tensor_map){data, (size_t)st.st_size, true});
    if (status) munmap(data, (size_t)st.st_size);
    return status;
}

pith_status store_map(pith_ctx *ctx, tensor_store *s, const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) return pith_fail(ctx, PITH_E_IO, "%s: %s", path, strerror(errno));
    pith_status status = map_descriptor(ctx, s, fd, path);
    close(fd);
    return status;
}

static pith_status read_map(pith_ctx *ctx, tensor_store *s) {
    const tensor_map *map = &s->maps[0];
    const uint8_t *p = map->data;
    if (map->size >= 4 && memcmp(p, "GGUF", 4) == 0) return gguf_read(ctx, s);
    if (map->size >= 4 && memcmp(p, "fmgg", 4) == 0) return rwkv_read(ctx, s); /* 0x67676d66, little-endian */
    if (map->size >= 6 && memcmp(p, "\x93NUMPY", 6) == 0) return npy_read(ctx, s);
    if (map->size >= 9 && p[8] == '{') return safetensors_read(ctx, s);
    if (llama2c_fits(p, map->size)) return llama2c_read(ctx, s);
    if (map->size < 4) return pith_fail(ctx, PITH_E_TRUNCATED, "magic at byte 0: the file has %zu bytes", map->size);
    if (memcmp(p, "FUGG", 4) == 0) return pith_fail(ctx, PITH_E_UNSUPPORTED, "magic at byte 0: big-endian GGUF");
    return pith_fail(ctx, PITH_E_FORMAT,
                     "magic at byte 0: neither GGUF, safetensors, NumPy, rwkv.cpp nor a llama2.c checkpoint of %zu bytes",
                     map->size);
}

static pith_status start(pith_ctx *ctx, tensor_store **out) {
    *out = pith_zalloc(ctx, sizeof **out);
    return *out ? PITH_OK : pith_alloc_status(ctx);
}

static pith_status done(pith_ctx *ctx, tensor_store *s, pith_status status, tensor_file **out) {
    if (!status) status = store_finish(ctx, s);
    if (status) {
        store_free(ctx, s);
        return status;
    }
    *out = &s->file;
    return PITH_OK;
}

pith_status tensor_file_open(pith_ctx *ctx, const char *path, tensor_file **out) {
    *out = NULL;
    tensor_store *s;
    pith_status status = start(ctx, &s);
    if (status) return status;
    struct stat st;
    static const char index_end[] = ".index.json";
    size_t n = strlen(path), end_n = sizeof index_end - 1;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        status = directory_read(ctx, s, path);
    } else if (n > end_n && strcmp(path + n - end_n, index_end) == 0) {
        status = shards_read(ctx, s, path);
    } else {
        status = store_map(ctx, s, path);
        if (!status) status = read_map(ctx, s);
    }
    return done(ctx, s, status, out);
}

pith_status tensor_file_open_memory(pith_ctx *ctx, const uint8_t *data, size_t size, tensor_file **out) {
    *out = NULL;
    tensor_store *s;
    pith_status status = start(ctx, &s);
    if (status) return status;
    status = add_map(ctx, s, (tensor_map){data, size, false});
    if (!status) status = read_map(ctx, s);
    return done(ctx, s, status, out);
}

void tensor_file_close(pith_ctx *ctx, tensor_file *f) { store_free(ctx, (tensor_store *)f); }

void tensor_bytes_hash(const void *data, size_t size, uint8_t hash[16]) {
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, size));
    memcpy(hash, canonical.digest, 16);
}

pith_status tensor_file_hash(pith_ctx *ctx, const tensor_file *f, uint8_t hash[16]) {
    const tensor_store *s = (const tensor_store *)f;
    XXH3_state_t *state = XXH3_createState();
    if (!state) return pith_fail(ctx, PITH_E_MEMORY, "no memory for a hash");
    XXH3_128bits_reset(state);
    const size_t step = (size_t)16 << 20;
    pith_status status = PITH_OK;
    for (size_t i = 0; i < s->n_maps && !status; i++)
        for (size_t at = 0; at < s->maps[i].size && !status; at += step) {
            size_t n = PITH_MIN(step, s->maps[i].size - at);
            XXH3_128bits_update(state, s->maps[i].data + at, n);
            if (pith_cancelled(ctx)) status = pith_fail(ctx, PITH_E_CANCELLED, "cancelled");
        }
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
    memcpy(hash, canonical.digest, 16);
    XXH3_freeState(state);
    return status;
}
