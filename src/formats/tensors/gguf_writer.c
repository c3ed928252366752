/* Writing GGUF version 3 in ggml's layout: head, keys, tensor records, then the data, each part
 * padded to the alignment. A file that ggml wrote comes out identical when its values and tensors
 * are put in again. */
#include "formats/tensors/view.h"

typedef struct writer_tensor {
    size_t record, record_bytes; /* in `records`, all but the offset */
    uint64_t bytes;
} writer_tensor;

typedef struct writer_value {
    size_t at, bytes; /* in `values`: key, type, value */
    size_t key_n;
} writer_value;

struct gguf_writer {
    pith_buffer values, records;
    pith_buffer list;    /* of writer_value */
    pith_buffer tensors; /* of writer_tensor */
    uint32_t *slots;     /* value of each key: index + 1 */
    size_t n_slots, n_used;
    uint32_t alignment;
    size_t current; /* tensor whose data come next */
    uint64_t left;  /* bytes of it still to come */
    bool head_written;
};

pith_status gguf_writer_new(pith_ctx *ctx, gguf_writer **out) {
    *out = pith_zalloc(ctx, sizeof **out);
    if (!*out) return pith_alloc_status(ctx);
    (*out)->alignment = 32;
    return PITH_OK;
}

void gguf_writer_free(pith_ctx *ctx, gguf_writer *w) {
    if (!w) return;
    pith_buffer_free(ctx, &w->values);
    pith_buffer_free(ctx, &w->records);
    pith_buffer_free(ctx, &w->list);
    pith_buffer_free(ctx, &w->tensors);
    pith_free(ctx, w->slots);
    pith_free(ctx, w);
}

static size_t n_values(const gguf_writer *w) { return w->list.size / sizeof(writer_value); }
static writer_value *value_at(const gguf_writer *w, size_t i) { return (writer_value *)(void *)w->list.data + i; }
static size_t n_tensors(const gguf_writer *w) { return w->tensors.size / sizeof(writer_tensor); }
static writer_tensor *tensor_at(const gguf_writer *w, size_t i) { return (writer_tensor *)(void *)w->tensors.data + i; }

/* The slot of a key: that of the value which has it, or a free one. */
static uint32_t *slot_of(const gguf_writer *w, const char *key, size_t n) {
    size_t at = pith_hash64(key, n) & (w->n_slots - 1);
    for (; w->slots[at]; at = (at + 1) & (w->n_slots - 1)) {
        const writer_value *v = value_at(w, w->slots[at] - 1);
        if (v->key_n == n && memcmp(w->values.data + v->at + 8, key, n) == 0) break;
    }
    return &w->slots[at];
}

static pith_status grow_slots(pith_ctx *ctx, gguf_writer *w) {
    if (2 * (w->n_used + 1) <= w->n_slots) return PITH_OK;
    uint32_t *old = w->slots;
    size_t old_n = w->n_slots, n = PITH_MAX(old_n * 2, (size_t)64);
    uint32_t *slots = pith_zalloc(ctx, n * sizeof *slots);
    if (!slots) return pith_alloc_status(ctx);
    w->slots = slots;
    w->n_slots = n;
    for (size_t i = 0; i < old_n; i++)
        if (old[i]) {
            const writer_value *v = value_at(w, old[i] - 1);
            *slot_of(w, (const char *)w->values.data + v->at + 8, v->key_n) = old[i];
        }
    pith_free(ctx, old);
    return PITH_OK;
}

pith_status gguf_put_value(pith_ctx *ctx, gguf_writer *w, const meta_value *value) {
    uint8_t head[24];
    size_t n = value->key.size, head_n = 4;
    if (w->head_written) return pith_fail(ctx, PITH_E_ARGUMENT, "the head is already written");
    if (n == 0 || n > META_KEY_MAX) return pith_fail(ctx, PITH_E_ARGUMENT, "a key has 1 to %d bytes", META_KEY_MAX);
    pith_status status = grow_slots(ctx, w);
    writer_value v = {.at = w->values.size, .key_n = n};
    store32(head, (uint32_t)value->type);
    if (value->type == META_ARRAY) {
        store32(head + 4, (uint32_t)value->element);
        store64(head + 8, value->count);
        head_n = 16;
    }
    store64(head + 16, n);
    if (!status) status = pith_buffer_reserve(ctx, &w->list, sizeof v);
    if (!status) status = pith_buffer_reserve(ctx, &w->values, 8 + n + head_n + (size_t)value->bytes);
    if (status) return status;
    pith_buffer_append(ctx, &w->values, head + 16, 8); /* there is room for all of it */
    pith_buffer_append(ctx, &w->values, value->key.data, n);
    pith_buffer_append(ctx, &w->values, head, head_n);
    if (value->bytes) pith_buffer_append(ctx, &w->values, value->data, (size_t)value->bytes);
    v.bytes = w->values.size - v.at;
    if (n == 17 && memcmp(value->key.data, "general.alignment", 17) == 0 && value->type == META_U32)
        w->alignment = load32(value->data);
    uint32_t *slot = slot_of(w, value->key.data, n);
    if (*slot) { /* takes the place of the old one */
        *value_at(w, *slot - 1) = v;
        return PITH_OK;
    }
    pith_buffer_append(ctx, &w->list, &v, sizeof v);
    *slot = (uint32_t)n_values(w);
    w->n_used++;
    return PITH_OK;
}

static pith_status put_scalar(pith_ctx *ctx, gguf_writer *w, const char *key, meta_type type, const uint8_t *data,
                              size_t bytes) {
    meta_value value = {.key = {key, strlen(key)}, .type = type, .count = 1, .data = data, .bytes = bytes};
    return gguf_put_value(ctx, w, &value);
}

pith_status gguf_put_u32(pith_ctx *ctx, gguf_writer *w, const char *key, uint32_t value) {
    uint8_t data[4];
    store32(data, value);
    return put_scalar(ctx, w, key, META_U32, data, sizeof data);
}

pith_status gguf_put_f32(pith_ctx *ctx, gguf_writer *w, const char *key, float value) {
    uint8_t data[4];
    uint32_t bits;
    memcpy(&bits, &value, 4);
    store32(data, bits);
    return put_scalar(ctx, w, key, META_F32, data, sizeof data);
}

pith_status gguf_put_bool(pith_ctx *ctx, gguf_writer *w, const char *key, bool value) {
    uint8_t data = value;
    return put_scalar(ctx, w, key, META_BOOL, &data, 1);
}

pith_status gguf_put_text(pith_ctx *ctx, gguf_writer *w, const char *key, const char *value, size_t size) {
    uint8_t *data = pith_alloc(ctx, 8 + size);
    if (!data) return pith_alloc_status(ctx);
    store64(data, size);
    if (size) memcpy(data + 8, value, size);
    pith_status status = put_scalar(ctx, w, key, META_STRING, data, 8 + size);
    pith_free(ctx, data);
    return status;
}

pith_status gguf_put_strings(pith_ctx *ctx, gguf_writer *w, const char *key, const meta_string *values, size_t n) {
    pith_buffer data = {0};
    pith_status status = PITH_OK;
    for (size_t i = 0; i < n && !status; i++) {
        uint8_t length[8];
        store64(length, values[i].size);
        status = pith_buffer_append(ctx, &data, length, 8);
        if (!status && values[i].size) status = pith_buffer_append(ctx, &data, values[i].data, values[i].size);
    }
    meta_value value = {.key = {key, strlen(key)}, .type = META_ARRAY, .element = META_STRING, .count = n,
                        .data = data.data, .bytes = data.size};
    if (!status) status = gguf_put_value(ctx, w, &value);
    pith_buffer_free(ctx, &data);
    return status;
}

pith_status gguf_put_array(pith_ctx *ctx, gguf_writer *w, const char *key, meta_type element, const void *data,
                           uint64_t count) {
    size_t size = meta_type_bytes(element);
    if (!size || count > SIZE_MAX / 8) return pith_fail(ctx, PITH_E_ARGUMENT, "%s: not an array of numbers", key);
    meta_value value = {.key = {key, strlen(key)}, .type = META_ARRAY, .element = element, .count = count,
                        .data = data, .bytes = count * size};
    return gguf_put_value(ctx, w, &value);
}

pith_status gguf_put_tensor(pith_ctx *ctx, gguf_writer *w, const char *name, size_t name_n, tensor_type type,
                            uint32_t n_dims, const uint64_t *ne) {
    char shown[SHOWN_MAX];
    const tensor_type_info *info = tensor_type_of(type);
    tensor_view t = {.name = {name, name_n}, .type = type, .n_dims = n_dims};
    text_shown(shown, t.name);
    if (w->head_written) return pith_fail(ctx, PITH_E_ARGUMENT, "the head is already written");
    if (!info || !info->in_gguf)
        return pith_fail(ctx, PITH_E_ARGUMENT, "%s: GGUF has no element type for %s", shown, info ? info->name : "it");
    if (name_n == 0 || name_n > 63)
        return pith_fail(ctx, PITH_E_ARGUMENT, "%s: a GGUF tensor's name has 1 to 63 bytes, not %zu", shown, name_n);
    if (n_dims > 4) return pith_fail(ctx, PITH_E_ARGUMENT, "%s: GGUF has at most 4 dimensions, not %u", shown, n_dims);
    for (unsigned i = 0; i < TENSOR_MAX_DIMS; i++) t.ne[i] = i < n_dims ? ne[i] : 1;
    pith_status status = tensor_measure(ctx, &t, 0);
    if (status) return status;
    uint8_t record[8 + 63 + 4 + 32 + 4];
    size_t n = 8 + name_n;
    store64(record, name_n);
    memcpy(record + 8, name, name_n);
    store32(record + n, n_dims);
    for (unsigned i = 0; i < n_dims; i++) store64(record + n + 4 + 8 * i, ne[i]);
    n += 4 + 8 * n_dims;
    store32(record + n, (uint32_t)type);
    n += 4;
    writer_tensor entry = {w->records.size, n, t.bytes};
    status = pith_buffer_reserve(ctx, &w->tensors, sizeof entry);
    if (!status) status = pith_buffer_append(ctx, &w->records, record, n);
    return status ? status : pith_buffer_append(ctx, &w->tensors, &entry, sizeof entry);
}

static uint64_t padding(const gguf_writer *w, uint64_t at) { return (w->alignment - at % w->alignment) % w->alignment; }

static pith_status write_zeros(uint64_t n, tensor_write_fn write, void *opaque) {
    static const uint8_t zeros[256];
    pith_status status = PITH_OK;
    for (; n && !status; n -= PITH_MIN(n, sizeof zeros)) status = write(opaque, zeros, PITH_MIN(n, sizeof zeros));
    return status;
}

/* Goes on to the next tensor that has bytes at all. */
static void next_tensor(gguf_writer *w) {
    while (w->current < n_tensors(w) && tensor_at(w, w->current)->bytes == 0) w->current++;
    w->left = w->current < n_tensors(w) ? tensor_at(w, w->current)->bytes : 0;
}

pith_status gguf_write_head(pith_ctx *ctx, gguf_writer *w, tensor_write_fn write, void *opaque) {
    if (w->head_written) return pith_fail(ctx, PITH_E_ARGUMENT, "the head is already written");
    if (w->alignment == 0 || (w->alignment & (w->alignment - 1)) != 0)
        return pith_fail(ctx, PITH_E_ARGUMENT, "general.alignment should be a power of two");
    uint8_t head[24] = "GGUF";
    store32(head + 4, 3);
    store64(head + 8, n_tensors(w));
    store64(head + 16, n_values(w));
    uint64_t at = sizeof head, offset = 0;
    pith_status status = write(opaque, head, sizeof head);
    for (size_t i = 0; i < n_values(w) && !status; i++) {
        const writer_value *v = value_at(w, i);
        status = write(opaque, w->values.data + v->at, v->bytes);
        at += v->bytes;
    }
    for (size_t i = 0; i < n_tensors(w) && !status; i++) {
        const writer_tensor *t = tensor_at(w, i);
        uint8_t record[256];
        memcpy(record, w->records.data + t->record, t->record_bytes);
        store64(record + t->record_bytes, offset);
        status = write(opaque, record, t->record_bytes + 8);
        at += t->record_bytes + 8;
        offset += t->bytes + padding(w, t->bytes);
    }
    if (!status) status = write_zeros(padding(w, at), write, opaque);
    w->head_written = true;
    next_tensor(w);
    return status;
}

pith_status gguf_write_data(pith_ctx *ctx, gguf_writer *w, const void *data, size_t size, tensor_write_fn write,
                            void *opaque) {
    if (size == 0) return PITH_OK;
    if (!w->head_written || size > w->left)
        return pith_fail(ctx, PITH_E_ARGUMENT, "%zu bytes of data, where the tensor has %llu left", size,
                         (unsigned long long)w->left);
    pith_status status = write(opaque, data, size);
    w->left -= size;
    if (status || w->left) return status;
    status = write_zeros(padding(w, tensor_at(w, w->current)->bytes), write, opaque);
    w->current++;
    next_tensor(w);
    return status;
}
