/* The head of a safetensors file: JSON, then blanks to a multiple of 8. */
#include <stdio.h>

#include "formats/json/json.h"
#include "formats/tensors/view.h"

static pith_status no_memory(pith_ctx *ctx) { return pith_fail(ctx, PITH_E_MEMORY, "no memory for a JSON header"); }

/* Sets a member whose name is any bytes; what is no UTF-8 cannot be written. */
static pith_status set(pith_ctx *ctx, json_t *object, meta_string name, json_t *value) {
    char shown[SHOWN_MAX], key[TENSOR_NAME_MAX + 1];
    if (!value) return no_memory(ctx);
    json_t *text = json_stringn(name.data, name.size);
    bool fine = text && name.size < sizeof key && !memchr(name.data, 0, name.size);
    json_decref(text);
    if (!fine) {
        json_decref(value);
        return pith_fail(ctx, PITH_E_ARGUMENT, "%s: safetensors needs names in UTF-8", text_shown(shown, name));
    }
    memcpy(key, name.data, name.size);
    key[name.size] = 0;
    return json_object_set_new_nocheck(object, key, value) == 0 ? PITH_OK : no_memory(ctx);
}

static json_t *describe(const tensor_view *t, const char *dtype, uint64_t at) {
    json_t *shape = json_array();
    for (unsigned i = t->n_dims; i-- > 0;) json_array_append_new(shape, json_integer((json_int_t)t->ne[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype, "shape", shape, "data_offsets", (json_int_t)at,
                     (json_int_t)(at + t->bytes));
}

/* Strings as they are, numbers as text; arrays have no place in __metadata__. */
static pith_status put_metadata(pith_ctx *ctx, json_t *head, const meta_value *meta, size_t n_meta) {
    json_t *object = json_object();
    if (!object) return no_memory(ctx);
    pith_status status = PITH_OK;
    for (size_t i = 0; i < n_meta && !status; i++) {
        const meta_value *v = &meta[i];
        meta_string key = v->key;
        static const char own[] = "safetensors.";
        if (key.size > sizeof own - 1 && memcmp(key.data, own, sizeof own - 1) == 0)
            key = (meta_string){key.data + sizeof own - 1, key.size - (sizeof own - 1)};
        char number[40];
        json_t *value = NULL;
        if (v->type == META_STRING) {
            value = json_stringn((const char *)v->data + 8, (size_t)v->bytes - 8);
            if (!value) continue; /* no UTF-8 */
        } else if (v->type == META_BOOL) {
            value = json_string(v->data[0] ? "true" : "false");
        } else if (v->type != META_ARRAY) {
            snprintf(number, sizeof number, v->type == META_F64 ? "%.17g" : "%.9g", meta_number_at(v, 0));
            if (v->type == META_U64) snprintf(number, sizeof number, "%llu", (unsigned long long)load64(v->data));
            if (v->type == META_U32) snprintf(number, sizeof number, "%u", load32(v->data));
            if (v->type == META_I64) snprintf(number, sizeof number, "%lld", (long long)load64(v->data));
            if (v->type == META_I32) snprintf(number, sizeof number, "%d", (int)load32(v->data));
            value = json_string(number);
        } else {
            continue;
        }
        status = set(ctx, object, key, value);
    }
    if (!status && json_object_size(object) > 0)
        status = json_object_set(head, "__metadata__", object) == 0 ? PITH_OK : no_memory(ctx);
    json_decref(object);
    return status;
}

static pith_status put_tensors(pith_ctx *ctx, json_t *head, const tensor_view *tensors, size_t n_tensors) {
    uint64_t at = 0;
    for (size_t i = 0; i < n_tensors; i++) {
        const char *dtype = safetensors_dtype(tensors[i].type);
        char shown[SHOWN_MAX];
        const tensor_type_info *info = tensor_type_of(tensors[i].type);
        if (!dtype)
            return pith_fail(ctx, PITH_E_ARGUMENT, "%s: safetensors has no element type for %s",
                             text_shown(shown, tensors[i].name), info ? info->name : "it");
        pith_status status = set(ctx, head, tensors[i].name, describe(&tensors[i], dtype, at));
        if (status) return status;
        at += tensors[i].bytes;
    }
    return PITH_OK;
}

pith_status safetensors_head(pith_ctx *ctx, const tensor_view *tensors, size_t n_tensors, const meta_value *meta,
                             size_t n_meta, pith_buffer *out) {
    json_t *head = json_object();
    if (!head) return no_memory(ctx);
    pith_status status = put_metadata(ctx, head, meta, n_meta);
    if (!status) status = put_tensors(ctx, head, tensors, n_tensors);
    size_t n = status ? 0 : json_dumpb(head, NULL, 0, JSON_COMPACT), padded = (n + 7) & ~(size_t)7;
    if (!status && n == 0) status = no_memory(ctx);
    if (!status) status = pith_buffer_reserve(ctx, out, 8 + padded);
    if (!status) {
        store64(out->data + out->size, padded);
        char *text = (char *)out->data + out->size + 8;
        memset(text, ' ', padded);
        if (json_dumpb(head, text, padded, JSON_COMPACT) != n) status = no_memory(ctx);
        out->size += status ? 0 : 8 + padded;
    }
    json_decref(head);
    return status;
}
