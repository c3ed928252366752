/* pith model info: what a file of weights holds, as a page or as JSON. */
#include <inttypes.h>
#include <string.h>

#include "faces/cli/json.h"
#include "faces/cli/model.h"

#define TYPES_MAX 64

typedef struct type_total {
    tensor_type type;
    uint64_t n_tensors, n_elements, bytes;
} type_total;

typedef struct totals {
    type_total types[TYPES_MAX];
    unsigned n_types;
    uint64_t n_parameters, bytes;
} totals;

static const char *type_name(tensor_type type) {
    const tensor_type_info *info = tensor_type_of(type);
    return info ? info->name : "?";
}

static void add_up(totals *t, const tensor_file *f) {
    *t = (totals){.n_types = 0};
    for (size_t i = 0; i < f->n_tensors; i++) {
        const tensor_view *v = &f->tensors[i];
        unsigned k = 0;
        while (k < t->n_types && t->types[k].type != v->type) k++;
        if (k == TYPES_MAX) continue; /* there are not that many types */
        if (k == t->n_types) t->types[t->n_types++].type = v->type;
        t->types[k].n_tensors++;
        t->types[k].n_elements += v->n_elements;
        t->types[k].bytes += v->bytes;
        t->n_parameters += v->n_elements;
        t->bytes += v->bytes;
    }
}

static double bits_per_weight(uint64_t bytes, uint64_t n) { return n ? 8 * (double)bytes / (double)n : 0; }

/* Bytes of a file as text that a terminal and JSON can take: `text` is cut to its size. */
static const char *shown(char *text, size_t size, meta_string s) {
    char whole[512];
    size_t n = PITH_MIN(s.size, sizeof whole - 1);
    for (size_t i = 0; i < n; i++) whole[i] = s.data[i] ? s.data[i] : '?';
    whole[n] = 0;
    return cli_safe_text(text, size, whole);
}

static bool has_prefix(meta_string s, const char *prefix) {
    return s.size >= strlen(prefix) && memcmp(s.data, prefix, strlen(prefix)) == 0;
}

/* A value in at most one line; arrays as their count. */
static void value_text(const meta_value *v, char *out, size_t size) {
    meta_string text;
    switch (v->type) {
    case META_STRING:
        text = (meta_string){(const char *)v->data + 8, (size_t)v->bytes - 8};
        shown(out, size, text);
        break;
    case META_BOOL: snprintf(out, size, "%s", v->data[0] ? "true" : "false"); break;
    case META_ARRAY: snprintf(out, size, "[%" PRIu64 "]", v->count); break;
    case META_U64: snprintf(out, size, "%" PRIu64, load64(v->data)); break;
    case META_I64: snprintf(out, size, "%" PRId64, (int64_t)load64(v->data)); break;
    case META_F64: snprintf(out, size, "%.17g", meta_number_at(v, 0)); break;
    case META_F32: snprintf(out, size, "%.7g", meta_number_at(v, 0)); break;
    default: snprintf(out, size, "%.0f", meta_number_at(v, 0));
    }
}

static json_t *value_json(const meta_value *v) {
    char text[512];
    switch (v->type) {
    case META_BOOL: return json_boolean(v->data[0]);
    case META_F32:
    case META_F64: {
        json_t *real = json_real(meta_number_at(v, 0));
        return real ? real : json_null(); /* NaN and infinity have no JSON */
    }
    case META_U64:
        if (load64(v->data) > INT64_MAX) return json_real((double)load64(v->data));
        return json_integer((json_int_t)load64(v->data));
    case META_I64: return json_integer((json_int_t)load64(v->data));
    case META_STRING:
    case META_ARRAY:
        value_text(v, text, sizeof text);
        return cli_json_text(text);
    default: return json_integer((json_int_t)meta_number_at(v, 0));
    }
}

/* "256 x 4096": the contiguous dimension first, as GGUF has it. */
static void shape_text(const tensor_view *t, char *out, size_t size) {
    size_t n = 0;
    snprintf(out, size, "scalar");
    for (unsigned i = 0; i < t->n_dims && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%" PRIu64, i ? " x " : "", t->ne[i]);
}

static const char *arch_of(const tensor_file *f, char *text, size_t size) {
    meta_string arch;
    return meta_text(f, "general.architecture", &arch) ? shown(text, size, arch) : NULL;
}

/* ---- as JSON ----------------------------------------------------------------- */

static json_t *tensors_json(const tensor_file *f) {
    json_t *list = json_array();
    for (size_t i = 0; i < f->n_tensors; i++) {
        const tensor_view *t = &f->tensors[i];
        char name[128];
        json_t *shape = json_array();
        for (unsigned k = 0; k < t->n_dims; k++) json_array_append_new(shape, json_integer((json_int_t)t->ne[k]));
        json_array_append_new(
            list, json_pack("{s:o, s:s, s:o, s:I, s:I}", "name", cli_json_text(shown(name, sizeof name, t->name)),
                            "type", type_name(t->type), "shape", shape, "bytes", (json_int_t)t->bytes, "offset",
                            (json_int_t)t->offset));
    }
    return list;
}

static json_t *tokenizer_json(const tensor_file *f) {
    meta_string kind;
    const meta_value *tokens = meta_find(f, "tokenizer.ggml.tokens");
    char text[64];
    if (!meta_text(f, "tokenizer.ggml.model", &kind)) return json_null();
    return json_pack("{s:o, s:I}", "kind", cli_json_text(shown(text, sizeof text, kind)), "tokens",
                     (json_int_t)(tokens ? tokens->count : 0));
}

static int print_json(const tensor_file *f, const totals *t, const model_options *o) {
    json_t *types = json_object(), *metadata = json_object();
    for (unsigned i = 0; i < t->n_types; i++)
        json_object_set_new(types, type_name(t->types[i].type),
                            json_pack("{s:I, s:I, s:I}", "tensors", (json_int_t)t->types[i].n_tensors, "elements",
                                      (json_int_t)t->types[i].n_elements, "bytes", (json_int_t)t->types[i].bytes));
    for (size_t i = 0; i < f->n_meta; i++) {
        char key[256];
        json_t *name = cli_json_text(shown(key, sizeof key, f->meta[i].key));
        if (name) json_object_set_new(metadata, json_string_value(name), value_json(&f->meta[i]));
        json_decref(name);
    }
    char arch[64];
    json_t *object = json_pack(
        "{s:o, s:s, s:I, s:s?, s:I, s:I, s:I, s:I, s:f, s:o, s:o, s:o}", "file", cli_json_text(o->in), "format",
        f->format, "version", (json_int_t)f->version, "architecture", arch_of(f, arch, sizeof arch), "file_bytes",
        (json_int_t)f->file_bytes, "tensors", (json_int_t)f->n_tensors, "parameters", (json_int_t)t->n_parameters,
        "tensor_bytes", (json_int_t)t->bytes, "bits_per_weight", bits_per_weight(t->bytes, t->n_parameters), "types",
        types, "tokenizer", tokenizer_json(f), "metadata", metadata);
    if (object && o->list_tensors) json_object_set_new(object, "list", tensors_json(f));
    return cli_json_print(stdout, object, JSON_INDENT(1));
}

/* ---- as a page ------------------------------------------------------------------ */

static void print_metadata(const tensor_file *f) {
    for (size_t i = 0; i < f->n_meta; i++) {
        const meta_value *v = &f->meta[i];
        char key[96], value[120];
        if (has_prefix(v->key, "tokenizer.")) continue;
        value_text(v, value, sizeof value);
        printf("  %-42s %s\n", shown(key, sizeof key, v->key), value);
    }
}

static void print_tokenizer(const tensor_file *f) {
    meta_string kind, pre = {"", 0};
    char text[64], pre_text[64];
    const meta_value *tokens = meta_find(f, "tokenizer.ggml.tokens");
    if (!meta_text(f, "tokenizer.ggml.model", &kind)) {
        printf("tokenizer     none in the file\n");
        return;
    }
    meta_text(f, "tokenizer.ggml.pre", &pre);
    printf("tokenizer     %s%s%s, %" PRIu64 " tokens\n", shown(text, sizeof text, kind), pre.size ? ", " : "",
           shown(pre_text, sizeof pre_text, pre), tokens ? tokens->count : 0);
}

static int print_page(const tensor_file *f, const totals *t, const model_options *o) {
    char text[128], size[16];
    printf("%s\n", cli_safe_text(text, sizeof text, o->in));
    printf("format        %s", f->format);
    if (f->version) printf(" %u", f->version);
    printf(", %s\n", cli_size_text(size, f->file_bytes));
    const char *arch = arch_of(f, text, sizeof text);
    printf("architecture  %s\n", arch ? arch : "unknown");
    print_tokenizer(f);
    printf("parameters    %" PRIu64 " in %zu tensors, %s, %.3f bits per weight\n", t->n_parameters, f->n_tensors,
           cli_size_text(size, t->bytes), bits_per_weight(t->bytes, t->n_parameters));
    if (f->n_meta) printf("metadata\n");
    print_metadata(f);
    printf("types         tensors       elements          bytes   bits\n");
    for (unsigned i = 0; i < t->n_types; i++)
        printf("  %-10s %8" PRIu64 " %14" PRIu64 " %14" PRIu64 " %6.3f\n", type_name(t->types[i].type),
               t->types[i].n_tensors, t->types[i].n_elements, t->types[i].bytes,
               bits_per_weight(t->types[i].bytes, t->types[i].n_elements));
    if (!o->list_tensors) return CLI_OK;
    printf("%-40s %-8s %14s  %s\n", "tensors", "type", "bytes", "shape");
    for (size_t i = 0; i < f->n_tensors; i++) {
        const tensor_view *v = &f->tensors[i];
        char shape[128];
        shape_text(v, shape, sizeof shape);
        printf("  %-38s %-8s %14" PRIu64 "  %s\n", shown(text, sizeof text, v->name), type_name(v->type), v->bytes,
               shape);
    }
    return CLI_OK;
}

int model_info(pith_ctx *ctx, const tensor_file *f, const model_options *o) {
    (void)ctx;
    totals t;
    add_up(&t, f);
    return o->json ? print_json(f, &t, o) : print_page(f, &t, o);
}
