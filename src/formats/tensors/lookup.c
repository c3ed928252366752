/* Finding tensors and values by name, and reading values whatever their exact type. */
#include <math.h>

#include "formats/tensors/view.h"

static size_t slot_of(const char *text, size_t n, size_t n_slots) { return pith_hash64(text, n) & (n_slots - 1); }

const tensor_view *tensor_find(const tensor_file *f, const char *name) {
    const tensor_store *s = (const tensor_store *)f;
    size_t n = strlen(name), mask = s->n_tensor_slots - 1;
    for (size_t at = slot_of(name, n, s->n_tensor_slots); s->tensor_slots[at]; at = (at + 1) & mask) {
        const tensor_view *t = &s->tensors[s->tensor_slots[at] - 1];
        if (t->name.size == n && memcmp(t->name.data, name, n) == 0) return t;
    }
    return NULL;
}

const meta_value *meta_find(const tensor_file *f, const char *key) {
    const tensor_store *s = (const tensor_store *)f;
    size_t n = strlen(key), mask = s->n_meta_slots - 1;
    for (size_t at = slot_of(key, n, s->n_meta_slots); s->meta_slots[at]; at = (at + 1) & mask) {
        const meta_value *v = &s->meta[s->meta_slots[at] - 1];
        if (v->key.size == n && memcmp(v->key.data, key, n) == 0) return v;
    }
    return NULL;
}

/* An integer at p: false when it is none or below zero. */
static bool whole(meta_type type, const uint8_t *p, uint64_t *value) {
    int64_t number;
    switch (type) {
    case META_U8: *value = p[0]; return true;
    case META_U16: *value = load16(p); return true;
    case META_U32: *value = load32(p); return true;
    case META_U64: *value = load64(p); return true;
    case META_I8: number = (int8_t)p[0]; break;
    case META_I16: number = (int16_t)load16(p); break;
    case META_I32: number = (int32_t)load32(p); break;
    case META_I64: number = (int64_t)load64(p); break;
    default: return false;
    }
    *value = (uint64_t)number;
    return number >= 0;
}

static bool number_at(meta_type type, const uint8_t *p, double *value) {
    uint64_t bits;
    uint32_t bits32;
    float single;
    switch (type) {
    case META_F32:
        bits32 = load32(p);
        memcpy(&single, &bits32, 4);
        *value = (double)single;
        return true;
    case META_F64:
        bits = load64(p);
        memcpy(value, &bits, 8);
        return true;
    case META_I8: *value = (int8_t)p[0]; return true;
    case META_I16: *value = (int16_t)load16(p); return true;
    case META_I32: *value = (int32_t)load32(p); return true;
    case META_I64: *value = (double)(int64_t)load64(p); return true;
    case META_BOOL: return false;
    default:
        if (!whole(type, p, &bits)) return false;
        *value = (double)bits;
        return true;
    }
}

bool meta_u64(const tensor_file *f, const char *key, uint64_t *value) {
    const meta_value *v = meta_find(f, key);
    uint64_t found;
    if (!v || !whole(v->type, v->data, &found)) return false;
    *value = found;
    return true;
}

bool meta_f64(const tensor_file *f, const char *key, double *value) {
    const meta_value *v = meta_find(f, key);
    return v && number_at(v->type, v->data, value);
}

bool meta_bool(const tensor_file *f, const char *key, bool *value) {
    const meta_value *v = meta_find(f, key);
    if (!v || v->type != META_BOOL) return false;
    *value = v->data[0] != 0;
    return true;
}

bool meta_text(const tensor_file *f, const char *key, meta_string *value) {
    const meta_value *v = meta_find(f, key);
    if (!v || v->type != META_STRING) return false;
    *value = (meta_string){(const char *)v->data + 8, (size_t)load64(v->data)};
    return true;
}

bool meta_next_string(const meta_value *array, uint64_t *cursor, meta_string *value) {
    if (array->type != META_ARRAY || array->element != META_STRING || *cursor >= array->bytes) return false;
    uint64_t n = load64(array->data + *cursor);
    *value = (meta_string){(const char *)array->data + *cursor + 8, (size_t)n};
    *cursor += 8 + n;
    return true;
}

size_t meta_type_bytes(meta_type type) {
    static const uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return (unsigned)type < PITH_COUNT(bytes) ? bytes[type] : 0;
}

double meta_number_at(const meta_value *array, uint64_t i) {
    double value = 0;
    meta_type type = array->type == META_ARRAY ? array->element : array->type;
    size_t size = meta_type_bytes(type);
    if (size && i < array->count) number_at(type, array->data + i * size, &value);
    return value;
}
