/* Reading GGUF, versions 2 and 3: magic, version, two counts, metadata, tensor records, padding,
 * data (ggml-org/ggml, docs/gguf.md). No count is believed before the bytes behind it are there. */
#include "formats/tensors/view.h"

#define ALIGNMENT_DEFAULT 32u
#define ALIGNMENT_MAX ((uint32_t)1 << 20)
/* The least a record can take: key length + key + type + value; name length + name + n_dims + type + offset. */
#define META_BYTES_MIN 14u
#define TENSOR_BYTES_MIN 25u
#define GGUF_NAME_MAX 63u
#define GGUF_DIMS_MAX 4u

static pith_status take32(pith_ctx *ctx, head_cursor *c, const char *field, uint32_t *value) {
    const uint8_t *p = head_take(ctx, c, 4, field);
    if (!p) return PITH_E_TRUNCATED;
    *value = load32(p);
    return PITH_OK;
}

static pith_status take64(pith_ctx *ctx, head_cursor *c, const char *field, uint64_t *value) {
    const uint8_t *p = head_take(ctx, c, 8, field);
    if (!p) return PITH_E_TRUNCATED;
    *value = load64(p);
    return PITH_OK;
}

static pith_status take_string(pith_ctx *ctx, head_cursor *c, const char *field, meta_string *s) {
    uint64_t n, at = c->at;
    pith_status status = take64(ctx, c, field, &n);
    if (status) return status;
    if (n > head_left(c))
        return pith_fail(ctx, PITH_E_TRUNCATED, "%s at byte %llu: length %llu, the file has %llu bytes left", field,
                         (unsigned long long)at, (unsigned long long)n, (unsigned long long)head_left(c));
    s->data = (const char *)c->data + c->at;
    s->size = (size_t)n;
    c->at += n;
    return PITH_OK;
}

/* A count of records, `least` bytes each. */
static pith_status take_count(pith_ctx *ctx, head_cursor *c, const char *field, uint64_t least, uint64_t *count) {
    uint64_t at = c->at;
    pith_status status = take64(ctx, c, field, count);
    if (status) return status;
    if (*count >> 63)
        return pith_fail(ctx, PITH_E_FORMAT, "%s at byte %llu: %lld is negative", field, (unsigned long long)at,
                         (long long)*count);
    if (*count > head_left(c) / least)
        return pith_fail(ctx, PITH_E_TRUNCATED, "%s at byte %llu: %llu do not fit in the %llu bytes left", field,
                         (unsigned long long)at, (unsigned long long)*count, (unsigned long long)head_left(c));
    return PITH_OK;
}

static pith_status check_bools(pith_ctx *ctx, const head_cursor *c, const meta_value *v) {
    for (uint64_t i = 0; i < v->count; i++)
        if (v->data[i] > 1) {
            char shown[SHOWN_MAX];
            return pith_fail(ctx, PITH_E_FORMAT, "value of %s at byte %llu: a bool is 0 or 1, not %u",
                             text_shown(shown, v->key), (unsigned long long)(v->data - c->data) + i, v->data[i]);
        }
    return PITH_OK;
}

static pith_status take_array(pith_ctx *ctx, head_cursor *c, meta_value *v) {
    char shown[SHOWN_MAX];
    uint32_t element;
    uint64_t at = c->at;
    pith_status status = take32(ctx, c, "element type of an array", &element);
    if (status) return status;
    bool text = element == META_STRING;
    size_t size = element == META_ARRAY ? 0 : meta_type_bytes((meta_type)element);
    if (!size && !text)
        return pith_fail(ctx, PITH_E_FORMAT, "element type of %s at byte %llu: %u %s", text_shown(shown, v->key),
                         (unsigned long long)at, element,
                         element == META_ARRAY ? "would be an array of arrays" : "is not known");
    v->element = (meta_type)element;
    status = take_count(ctx, c, "count of an array", text ? 8 : size, &v->count);
    if (status) return status;
    v->data = c->data + c->at;
    if (text) {
        meta_string s;
        for (uint64_t i = 0; i < v->count; i++)
            if ((status = take_string(ctx, c, "string of an array", &s))) return status;
    } else {
        c->at += v->count * size; /* fits: take_count looked */
    }
    v->bytes = (uint64_t)(c->data + c->at - v->data);
    return v->element == META_BOOL ? check_bools(ctx, c, v) : PITH_OK;
}

static pith_status take_meta(pith_ctx *ctx, head_cursor *c, meta_value *v) {
    char shown[SHOWN_MAX];
    uint64_t at = c->at;
    pith_status status = take_string(ctx, c, "key", &v->key);
    if (status) return status;
    if (v->key.size == 0 || v->key.size > META_KEY_MAX)
        return pith_fail(ctx, PITH_E_FORMAT, "key at byte %llu: %zu bytes, should be 1 to %d", (unsigned long long)at,
                         v->key.size, META_KEY_MAX);
    if (memchr(v->key.data, 0, v->key.size))
        return pith_fail(ctx, PITH_E_FORMAT, "key at byte %llu: holds a NUL", (unsigned long long)at);
    uint32_t type;
    at = c->at;
    if ((status = take32(ctx, c, "type of a value", &type))) return status;
    if (type > META_F64)
        return pith_fail(ctx, PITH_E_FORMAT, "type of %s at byte %llu: %u is not known", text_shown(shown, v->key),
                         (unsigned long long)at, type);
    v->type = (meta_type)type;
    v->count = 1;
    if (v->type == META_ARRAY) return take_array(ctx, c, v);
    at = c->at;
    if (v->type == META_STRING) {
        meta_string s;
        status = take_string(ctx, c, "value of a string", &s);
    } else if (!head_take(ctx, c, meta_type_bytes(v->type), "value")) {
        status = PITH_E_TRUNCATED;
    }
    v->data = c->data + at;
    v->bytes = c->at - at;
    if (!status && v->type == META_BOOL) status = check_bools(ctx, c, v);
    return status;
}

static pith_status take_tensor(pith_ctx *ctx, head_cursor *c, tensor_view *t) {
    char shown[SHOWN_MAX];
    uint64_t at = c->at;
    pith_status status = take_string(ctx, c, "tensor name", &t->name);
    if (status) return status;
    if (t->name.size > GGUF_NAME_MAX)
        return pith_fail(ctx, PITH_E_FORMAT, "tensor name at byte %llu: %zu bytes, at most %u are allowed",
                         (unsigned long long)at, t->name.size, GGUF_NAME_MAX);
    text_shown(shown, t->name);
    at = c->at;
    if ((status = take32(ctx, c, "n_dims", &t->n_dims))) return status;
    if (t->n_dims > GGUF_DIMS_MAX)
        return pith_fail(ctx, PITH_E_FORMAT, "n_dims of %s at byte %llu: %u, at most %u are allowed", shown,
                         (unsigned long long)at, t->n_dims, GGUF_DIMS_MAX);
    uint64_t dims_at = c->at;
    for (unsigned i = 0; i < TENSOR_MAX_DIMS; i++) t->ne[i] = 1;
    for (unsigned i = 0; i < t->n_dims; i++)
        if ((status = take64(ctx, c, "ne", &t->ne[i]))) return status;
    uint32_t type;
    at = c->at;
    if ((status = take32(ctx, c, "tensor type", &type))) return status;
    const tensor_type_info *info = tensor_type_of(type);
    if (!info || !info->in_gguf)
        return pith_fail(ctx, PITH_E_FORMAT, "type of %s at byte %llu: %u is not known", shown, (unsigned long long)at,
                         type);
    t->type = (tensor_type)type;
    if ((status = tensor_measure(ctx, t, dims_at))) return status;
    return take64(ctx, c, "tensor offset", &t->offset);
}

/* general.alignment, which must be a u32 and a power of two. */
static pith_status find_alignment(pith_ctx *ctx, tensor_store *s, const head_cursor *c) {
    static const char key[] = "general.alignment";
    s->file.alignment = ALIGNMENT_DEFAULT;
    for (size_t i = 0; i < s->n_meta; i++) {
        const meta_value *v = &s->meta[i];
        if (v->key.size != sizeof key - 1 || memcmp(v->key.data, key, v->key.size) != 0) continue;
        uint32_t value = v->type == META_U32 ? load32(v->data) : 0;
        if (value == 0 || (value & (value - 1)) != 0 || value > ALIGNMENT_MAX)
            return pith_fail(ctx, PITH_E_FORMAT,
                             "%s at byte %llu: should be a u32 that is a power of two up to %u", key,
                             (unsigned long long)(v->data - c->data), ALIGNMENT_MAX);
        s->file.alignment = value;
    }
    return PITH_OK;
}

/* Offsets of the records count from the start of the data; the view's from that of the file. */
static pith_status place(pith_ctx *ctx, tensor_store *s, const head_cursor *c) {
    uint64_t alignment = s->file.alignment, start = c->at + (alignment - c->at % alignment) % alignment;
    s->file.data_offset = start;
    for (size_t i = 0; i < s->n_tensors; i++) {
        tensor_view *t = &s->tensors[i];
        char shown[SHOWN_MAX];
        if (t->offset % alignment != 0)
            return pith_fail(ctx, PITH_E_FORMAT, "offset of %s, record at byte %llu: %llu is no multiple of %llu",
                             text_shown(shown, t->name), (unsigned long long)s->where[i],
                             (unsigned long long)t->offset, (unsigned long long)alignment);
        if (t->offset > UINT64_MAX - start)
            return pith_fail(ctx, PITH_E_FORMAT, "offset of %s, record at byte %llu: %llu is beyond any file",
                             text_shown(shown, t->name), (unsigned long long)s->where[i],
                             (unsigned long long)t->offset);
        t->offset += start;
    }
    return PITH_OK;
}

pith_status gguf_read(pith_ctx *ctx, tensor_store *s) {
    head_cursor c = {s->maps[0].data, s->maps[0].size, 4};
    uint64_t n_tensors, n_meta;
    s->file.format = "gguf";
    pith_status status = take32(ctx, &c, "version", &s->file.version);
    if (status) return status;
    if (s->file.version != 0 && (s->file.version & 0xffff) == 0)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "version at byte 4: the file is big-endian");
    if (s->file.version == 0 || s->file.version > 3)
        return pith_fail(ctx, PITH_E_FORMAT, "version at byte 4: %u is not known, 2 and 3 are", s->file.version);
    if (s->file.version == 1)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "version at byte 4: version 1 is no longer in use, 2 and 3 are");
    if ((status = take_count(ctx, &c, "n_tensors", TENSOR_BYTES_MIN, &n_tensors))) return status;
    if ((status = take_count(ctx, &c, "n_kv", META_BYTES_MIN, &n_meta))) return status;
    /* Both kinds of records must fit behind one another. */
    if (n_tensors * TENSOR_BYTES_MIN + n_meta * META_BYTES_MIN > head_left(&c))
        return pith_fail(ctx, PITH_E_TRUNCATED, "n_tensors at byte 8: %llu with %llu keys do not fit in %llu bytes",
                         (unsigned long long)n_tensors, (unsigned long long)n_meta, (unsigned long long)head_left(&c));
    if ((status = store_reserve_meta(ctx, s, (size_t)n_meta))) return status;
    for (uint64_t i = 0; i < n_meta; i++) {
        meta_value v = {0};
        if ((status = take_meta(ctx, &c, &v))) return status;
        if ((status = store_meta(ctx, s, &v))) return status;
    }
    if ((status = store_reserve_tensors(ctx, s, (size_t)n_tensors))) return status;
    for (uint64_t i = 0; i < n_tensors; i++) {
        uint64_t at = c.at;
        tensor_view t = {0};
        if ((status = take_tensor(ctx, &c, &t))) return status;
        if ((status = store_tensor(ctx, s, &t, at))) return status;
    }
    if ((status = find_alignment(ctx, s, &c))) return status;
    if ((status = place(ctx, s, &c))) return status;
    return tensor_check_ranges(ctx, s, 0, s->n_tensors, &s->maps[0]);
}
