/* safetensors: u64 header length, a JSON object of that length (name -> dtype, shape, data_offsets;
 * strings under __metadata__), data. The data tile the rest of the file exactly, in the order of
 * their offsets (huggingface/safetensors, README). */
#include "formats/json/json.h"
#include "formats/tensors/view.h"

#define METADATA "__metadata__"
#define METADATA_PREFIX "safetensors"

static const struct st_type {
    const char *dtype;
    tensor_type type;
} st_types[] = {{"F32", TENSOR_F32},   {"F16", TENSOR_F16},         {"BF16", TENSOR_BF16},       {"F64", TENSOR_F64},
                {"I8", TENSOR_I8},     {"I16", TENSOR_I16},         {"I32", TENSOR_I32},         {"I64", TENSOR_I64},
                {"U8", TENSOR_U8},     {"U16", TENSOR_U16},         {"U32", TENSOR_U32},         {"U64", TENSOR_U64},
                {"BOOL", TENSOR_BOOL}, {"F8_E4M3", TENSOR_F8_E4M3}, {"F8_E5M2", TENSOR_F8_E5M2}};

const char *safetensors_dtype(tensor_type type) {
    for (unsigned i = 0; i < PITH_COUNT(st_types); i++)
        if (st_types[i].type == type) return st_types[i].dtype;
    return NULL;
}

typedef struct st_reader {
    const uint8_t *header;
    uint64_t n, data_size;
    uint64_t at; /* where the entry being read stands in the file; the header's start when escapes hide it */
    unsigned misses;
} st_reader;

/* Entries come in the order of the text, so the search goes on where the last one ended. */
static void find_entry(st_reader *r, meta_string name) {
    uint64_t i = r->at - 8;
    while (r->misses < 8 && i + name.size + 2 <= r->n) {
        const uint8_t *quote = memchr(r->header + i, '"', r->n - i - name.size - 1);
        if (!quote) break;
        i = (uint64_t)(quote - r->header);
        if (quote[1 + name.size] == '"' && memcmp(quote + 1, name.data, name.size) == 0) {
            r->at = 8 + i;
            return;
        }
        i++;
    }
    r->misses++;
}

static pith_status bad_entry(pith_ctx *ctx, const st_reader *r, meta_string name, const char *field, const char *what) {
    char shown[SHOWN_MAX];
    return pith_fail(ctx, PITH_E_FORMAT, "%s of %s at byte %llu: %s", field, text_shown(shown, name),
                     (unsigned long long)r->at, what);
}

static pith_status read_dtype(pith_ctx *ctx, const st_reader *r, meta_string name, const json_t *value,
                              tensor_type *type) {
    const char *dtype = json_string_value(value);
    if (!dtype) return bad_entry(ctx, r, name, "dtype", "should be a string");
    for (unsigned i = 0; i < PITH_COUNT(st_types); i++)
        if (strcmp(dtype, st_types[i].dtype) == 0) {
            *type = st_types[i].type;
            return PITH_OK;
        }
    char shown[SHOWN_MAX], shown_type[SHOWN_MAX];
    return pith_fail(ctx, PITH_E_UNSUPPORTED, "dtype of %s at byte %llu: %s is no element type pith reads",
                     text_shown(shown, name), (unsigned long long)r->at,
                     text_shown(shown_type, (meta_string){dtype, strlen(dtype)}));
}

static pith_status read_entry(pith_ctx *ctx, tensor_store *s, const st_reader *r, meta_string name, const json_t *entry) {
    tensor_view t = {0};
    uint64_t offsets[2];
    const json_t *shape = json_object_get(entry, "shape"), *range = json_object_get(entry, "data_offsets");
    if (!json_is_object(entry)) return bad_entry(ctx, r, name, "entry", "should be an object");
    if (json_object_size(entry) != 3) return bad_entry(ctx, r, name, "entry", "should hold dtype, shape, data_offsets");
    pith_status status = read_dtype(ctx, r, name, json_object_get(entry, "dtype"), &t.type);
    if (status) return status;
    if (!json_is_array(shape) || json_array_size(shape) > TENSOR_MAX_DIMS)
        return bad_entry(ctx, r, name, "shape", "should be an array of at most 8 numbers");
    t.n_dims = (uint32_t)json_array_size(shape);
    for (unsigned i = 0; i < TENSOR_MAX_DIMS; i++) {
        t.ne[i] = 1;
        if (i < t.n_dims && !json_whole(json_array_get(shape, t.n_dims - 1 - i), &t.ne[i]))
            return bad_entry(ctx, r, name, "shape", "should hold whole numbers not below zero");
    }
    if (!json_is_array(range) || json_array_size(range) != 2 || !json_whole(json_array_get(range, 0), &offsets[0]) ||
        !json_whole(json_array_get(range, 1), &offsets[1]) || offsets[1] < offsets[0])
        return bad_entry(ctx, r, name, "data_offsets", "should be two whole numbers in order");
    if ((status = store_copy(ctx, s, name.data, name.size, &t.name))) return status;
    if ((status = tensor_measure(ctx, &t, r->at))) return status;
    if (t.bytes != offsets[1] - offsets[0])
        return bad_entry(ctx, r, name, "data_offsets", "the range does not have the bytes of the shape");
    if (offsets[1] > r->data_size) {
        char shown[SHOWN_MAX];
        return pith_fail(ctx, PITH_E_TRUNCATED,
                         "data_offsets of %s at byte %llu: ends at byte %llu of the data, there are %llu",
                         text_shown(shown, name), (unsigned long long)r->at, (unsigned long long)offsets[1],
                         (unsigned long long)r->data_size);
    }
    t.offset = 8 + r->n + offsets[0];
    return store_tensor(ctx, s, &t, r->at);
}

static pith_status read_metadata(pith_ctx *ctx, tensor_store *s, const st_reader *r, json_t *entry) {
    static const meta_string name = {METADATA, sizeof METADATA - 1};
    const char *key;
    json_t *value;
    if (!json_is_object(entry)) return bad_entry(ctx, r, name, "entry", "should be an object");
    json_object_foreach(entry, key, value) {
        if (!json_is_string(value)) return bad_entry(ctx, r, name, "entry", "should hold strings only");
        pith_status status =
            store_text(ctx, s, METADATA_PREFIX, key, json_string_value(value), json_string_length(value));
        if (status) return status;
    }
    return PITH_OK;
}

/* The reference asks that the data tile the file without holes. */
static pith_status check_tiling(pith_ctx *ctx, const tensor_store *s, size_t first, const st_reader *r) {
    uint64_t sum = 0;
    for (size_t i = first; i < s->n_tensors; i++) sum += s->tensors[i].bytes; /* each within data_size, all apart */
    if (sum == r->data_size) return PITH_OK;
    return pith_fail(ctx, PITH_E_FORMAT, "data at byte %llu: %llu bytes, but the tensors have %llu",
                     (unsigned long long)(8 + r->n), (unsigned long long)r->data_size, (unsigned long long)sum);
}

static pith_status read_header(pith_ctx *ctx, tensor_store *s, st_reader *r, bool metadata, json_t *header) {
    const char *key;
    json_t *value;
    json_object_foreach(header, key, value) {
        meta_string name = {key, strlen(key)};
        pith_status status = PITH_OK;
        find_entry(r, name);
        if (strcmp(key, METADATA) != 0)
            status = read_entry(ctx, s, r, name, value);
        else if (metadata)
            status = read_metadata(ctx, s, r, value);
        if (status) return status;
    }
    return PITH_OK;
}

pith_status safetensors_map_read(pith_ctx *ctx, tensor_store *s, size_t map_index, bool metadata) {
    const tensor_map *map = &s->maps[map_index];
    if (map->size < 8)
        return pith_fail(ctx, PITH_E_TRUNCATED, "header length at byte 0: the file has %zu bytes", map->size);
    st_reader r = {.header = map->data + 8, .n = load64(map->data), .at = 8};
    if (r.n > map->size - 8)
        return pith_fail(ctx, PITH_E_TRUNCATED, "header length at byte 0: %llu, the file has %zu bytes left",
                         (unsigned long long)r.n, map->size - 8);
    r.data_size = map->size - 8 - r.n;
    json_t *header;
    pith_status status = json_read(ctx, "header", (const char *)r.header, (size_t)r.n, 8, &header);
    if (status) return status;
    size_t first = s->n_tensors;
    status = store_reserve_tensors(ctx, s, json_object_size(header));
    if (!status) status = read_header(ctx, s, &r, metadata, header);
    json_decref(header);
    if (status) return status;
    if (map_index == 0) s->file.data_offset = 8 + r.n;
    size_t n = s->n_tensors - first;
    if ((status = tensor_check_ranges(ctx, s, first, n, map))) return status;
    return check_tiling(ctx, s, first, &r);
}

pith_status safetensors_read(pith_ctx *ctx, tensor_store *s) {
    s->file.format = "safetensors";
    s->file.alignment = 1;
    return safetensors_map_read(ctx, s, 0, true);
}
