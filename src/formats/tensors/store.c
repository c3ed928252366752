/* The store behind a tensor_file: growing lists of values and tensors, memory for what no file
 * holds, and the cursor over a head. Everything is counted against the session. */
#include <sys/mman.h>

#include "formats/tensors/view.h"

struct store_chunk {
    store_chunk *next;
    size_t used, size;
    uint8_t data[];
};

#define CHUNK_BYTES ((size_t)16 << 10)

uint8_t *store_bytes(pith_ctx *ctx, tensor_store *s, size_t size) {
    size = (size + 7) & ~(size_t)7;
    if (!s->chunks || s->chunks->size - s->chunks->used < size) {
        size_t room = PITH_MAX(size, CHUNK_BYTES);
        store_chunk *chunk = pith_alloc(ctx, sizeof *chunk + room);
        if (!chunk) return NULL;
        *chunk = (store_chunk){.next = s->chunks, .size = room};
        s->chunks = chunk;
    }
    uint8_t *p = s->chunks->data + s->chunks->used;
    s->chunks->used += size;
    return p;
}

void store_free(pith_ctx *ctx, tensor_store *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n_maps; i++)
        if (s->maps[i].mapped) munmap((void *)(uintptr_t)s->maps[i].data, s->maps[i].size);
    while (s->chunks) {
        store_chunk *next = s->chunks->next;
        pith_free(ctx, s->chunks);
        s->chunks = next;
    }
    pith_free(ctx, s->maps);
    pith_free(ctx, s->meta);
    pith_free(ctx, s->tensors);
    pith_free(ctx, s->where);
    pith_free(ctx, s->meta_slots);
    pith_free(ctx, s->tensor_slots);
    pith_free(ctx, s);
}

/* A list of n items of `item` bytes, moved to where `capacity` have room. */
static void *moved(pith_ctx *ctx, void *old, size_t n, size_t item, size_t capacity) {
    if (capacity > SIZE_MAX / item) return NULL;
    void *list = pith_alloc(ctx, capacity * item);
    if (!list) return NULL;
    if (n) memcpy(list, old, n * item);
    pith_free(ctx, old);
    return list;
}

pith_status store_reserve_meta(pith_ctx *ctx, tensor_store *s, size_t n) {
    if (s->meta_capacity - s->n_meta >= n) return PITH_OK;
    size_t capacity = s->n_meta + PITH_MAX(n, s->n_meta / 2);
    meta_value *meta = moved(ctx, s->meta, s->n_meta, sizeof *meta, capacity);
    if (!meta) return pith_alloc_status(ctx);
    s->meta = meta;
    s->meta_capacity = capacity;
    return PITH_OK;
}

pith_status store_reserve_tensors(pith_ctx *ctx, tensor_store *s, size_t n) {
    if (s->tensors_capacity - s->n_tensors >= n) return PITH_OK;
    size_t capacity = s->n_tensors + PITH_MAX(n, s->n_tensors / 2);
    tensor_view *tensors = moved(ctx, s->tensors, s->n_tensors, sizeof *tensors, capacity);
    if (!tensors) return pith_alloc_status(ctx);
    s->tensors = tensors;
    uint64_t *where = moved(ctx, s->where, s->n_tensors, sizeof *where, capacity);
    if (!where) return pith_alloc_status(ctx);
    s->where = where;
    s->tensors_capacity = capacity;
    return PITH_OK;
}

pith_status store_meta(pith_ctx *ctx, tensor_store *s, const meta_value *value) {
    pith_status status = store_reserve_meta(ctx, s, s->meta_capacity == s->n_meta ? 16 : 1);
    if (!status) s->meta[s->n_meta++] = *value;
    return status;
}

pith_status store_tensor(pith_ctx *ctx, tensor_store *s, const tensor_view *t, uint64_t where) {
    pith_status status = store_reserve_tensors(ctx, s, s->tensors_capacity == s->n_tensors ? 16 : 1);
    if (status) return status;
    s->where[s->n_tensors] = where;
    s->tensors[s->n_tensors++] = *t;
    return PITH_OK;
}

pith_status store_copy(pith_ctx *ctx, tensor_store *s, const char *text, size_t size, meta_string *out) {
    uint8_t *copy = store_bytes(ctx, s, size);
    if (!copy) return pith_alloc_status(ctx);
    if (size) memcpy(copy, text, size);
    *out = (meta_string){(const char *)copy, size};
    return PITH_OK;
}

/* ---- values no file holds ---------------------------------------------------- */

/* `size` bytes for a value under a new key. */
static uint8_t *made_up(pith_ctx *ctx, tensor_store *s, const char *arch, const char *key, meta_type type, size_t size) {
    size_t n = strlen(key), arch_n = arch ? strlen(arch) + 1 : 0;
    uint8_t *name = store_bytes(ctx, s, arch_n + n), *data = store_bytes(ctx, s, size);
    if (!name || !data) return NULL;
    if (arch) {
        memcpy(name, arch, arch_n - 1);
        name[arch_n - 1] = '.';
    }
    memcpy(name + arch_n, key, n);
    meta_value value = {.key = {(const char *)name, arch_n + n}, .type = type, .count = 1, .data = data, .bytes = size};
    return store_meta(ctx, s, &value) ? NULL : data;
}

pith_status store_u32(pith_ctx *ctx, tensor_store *s, const char *arch, const char *key, uint32_t value) {
    uint8_t *data = made_up(ctx, s, arch, key, META_U32, 4);
    if (!data) return pith_alloc_status(ctx);
    store32(data, value);
    return PITH_OK;
}

pith_status store_f32(pith_ctx *ctx, tensor_store *s, const char *arch, const char *key, float value) {
    uint8_t *data = made_up(ctx, s, arch, key, META_F32, 4);
    uint32_t bits;
    if (!data) return pith_alloc_status(ctx);
    memcpy(&bits, &value, 4);
    store32(data, bits);
    return PITH_OK;
}

pith_status store_bool(pith_ctx *ctx, tensor_store *s, const char *arch, const char *key, bool value) {
    uint8_t *data = made_up(ctx, s, arch, key, META_BOOL, 1);
    if (!data) return pith_alloc_status(ctx);
    data[0] = value;
    return PITH_OK;
}

pith_status store_text(pith_ctx *ctx, tensor_store *s, const char *arch, const char *key, const char *text,
                       size_t size) {
    uint8_t *data = made_up(ctx, s, arch, key, META_STRING, 8 + size);
    if (!data) return pith_alloc_status(ctx);
    store64(data, size);
    memcpy(data + 8, text, size);
    return PITH_OK;
}

/* ---- the cursor ---------------------------------------------------------------- */

const uint8_t *head_take(pith_ctx *ctx, head_cursor *c, uint64_t n, const char *field) {
    if (n > head_left(c)) {
        pith_fail(ctx, PITH_E_TRUNCATED, "%s at byte %llu: needs %llu bytes, the file ends at byte %llu", field,
                  (unsigned long long)c->at, (unsigned long long)n, (unsigned long long)c->size);
        return NULL;
    }
    const uint8_t *p = c->data + c->at;
    c->at += n;
    return p;
}
