/* NumPy arrays: \x93NUMPY, version, header length (u16 in version 1, u32 in 2 and 3), a Python
 * dictionary with descr, fortran_order and shape, then the elements (NEP 1). The one tensor is
 * called "array". */
#include <stdio.h>

#include "formats/tensors/view.h"

#define MAGIC_BYTES 8u

static const struct npy_type {
    const char *descr; /* without the byte order */
    tensor_type type;
} npy_types[] = {{"f4", TENSOR_F32}, {"f2", TENSOR_F16}, {"f8", TENSOR_F64}, {"i1", TENSOR_I8},
                 {"i2", TENSOR_I16}, {"i4", TENSOR_I32}, {"i8", TENSOR_I64}, {"u1", TENSOR_U8},
                 {"u2", TENSOR_U16}, {"u4", TENSOR_U32}, {"u8", TENSOR_U64}, {"b1", TENSOR_BOOL}};

static void skip_blanks(head_cursor *c) {
    while (head_left(c) && (c->data[c->at] == ' ' || c->data[c->at] == '\n' || c->data[c->at] == '\t')) c->at++;
}

static bool accept(head_cursor *c, char what) {
    skip_blanks(c);
    if (!head_left(c) || c->data[c->at] != (uint8_t)what) return false;
    c->at++;
    return true;
}

static pith_status expected(pith_ctx *ctx, const head_cursor *c, const char *what) {
    return pith_fail(ctx, PITH_E_FORMAT, "header at byte %llu: expected %s", (unsigned long long)c->at, what);
}

/* 'text' or "text", without escapes. */
static bool quoted(head_cursor *c, meta_string *text) {
    skip_blanks(c);
    if (!head_left(c) || (c->data[c->at] != '\'' && c->data[c->at] != '"')) return false;
    uint8_t quote = c->data[c->at++];
    text->data = (const char *)c->data + c->at;
    uint64_t start = c->at;
    while (head_left(c) && c->data[c->at] != quote && c->data[c->at] != '\\') c->at++;
    text->size = (size_t)(c->at - start);
    return accept(c, (char)quote);
}

static bool is(meta_string text, const char *word) {
    return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

static pith_status take_descr(pith_ctx *ctx, head_cursor *c, tensor_view *t) {
    meta_string text;
    char shown[SHOWN_MAX];
    uint64_t at = c->at;
    if (!quoted(c, &text)) return expected(ctx, c, "a quoted descr (records are not tensors)");
    if (text.size == 3 && (text.data[0] == '<' || text.data[0] == '|' || text.data[0] == '='))
        for (unsigned i = 0; i < PITH_COUNT(npy_types); i++)
            if (memcmp(text.data + 1, npy_types[i].descr, 2) == 0) {
                t->type = npy_types[i].type;
                return PITH_OK;
            }
    return pith_fail(ctx, PITH_E_UNSUPPORTED, "descr at byte %llu: %s is no element type pith reads",
                     (unsigned long long)at, text_shown(shown, text));
}

static pith_status take_order(pith_ctx *ctx, head_cursor *c) {
    skip_blanks(c);
    if (head_left(c) >= 5 && memcmp(c->data + c->at, "False", 5) == 0) {
        c->at += 5;
        return PITH_OK;
    }
    if (head_left(c) >= 4 && memcmp(c->data + c->at, "True", 4) == 0)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "fortran_order at byte %llu: columns first is not read",
                         (unsigned long long)c->at);
    return expected(ctx, c, "False or True");
}

/* (a, b, c), the last dimension contiguous. */
static pith_status take_shape(pith_ctx *ctx, head_cursor *c, tensor_view *t) {
    uint64_t shape[TENSOR_MAX_DIMS];
    if (!accept(c, '(')) return expected(ctx, c, "a shape in brackets");
    while (!accept(c, ')')) {
        uint64_t value = 0, start = c->at;
        if (t->n_dims == TENSOR_MAX_DIMS)
            return pith_fail(ctx, PITH_E_FORMAT, "shape at byte %llu: more than %d dimensions",
                             (unsigned long long)c->at, TENSOR_MAX_DIMS);
        for (; head_left(c) && c->data[c->at] >= '0' && c->data[c->at] <= '9'; c->at++) {
            unsigned digit = (unsigned)(c->data[c->at] - '0');
            if (value > ((uint64_t)INT64_MAX - digit) / 10)
                return pith_fail(ctx, PITH_E_FORMAT, "shape at byte %llu: the dimension is too big",
                                 (unsigned long long)start);
            value = value * 10 + digit;
        }
        if (c->at == start) return expected(ctx, c, "a dimension");
        shape[t->n_dims++] = value;
        if (!accept(c, ',')) {
            if (accept(c, ')')) break;
            return expected(ctx, c, "a comma or a closing bracket");
        }
    }
    for (unsigned i = 0; i < TENSOR_MAX_DIMS; i++) t->ne[i] = i < t->n_dims ? shape[t->n_dims - 1 - i] : 1;
    return PITH_OK;
}

static pith_status take_dictionary(pith_ctx *ctx, head_cursor *c, tensor_view *t) {
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    unsigned seen = 0;
    if (!accept(c, '{')) return expected(ctx, c, "a dictionary");
    while (!accept(c, '}')) {
        meta_string key;
        unsigned k = 0;
        if (!quoted(c, &key)) return expected(ctx, c, "a quoted key");
        while (k < 3 && !is(key, keys[k])) k++;
        if (k == 3 || (seen & 1u << k)) return expected(ctx, c, "descr, fortran_order and shape, each once");
        seen |= 1u << k;
        if (!accept(c, ':')) return expected(ctx, c, "a colon");
        skip_blanks(c);
        pith_status status = k == 0 ? take_descr(ctx, c, t) : k == 1 ? take_order(ctx, c) : take_shape(ctx, c, t);
        if (status) return status;
        if (!accept(c, ',')) {
            if (accept(c, '}')) break;
            return expected(ctx, c, "a comma or a closing brace");
        }
    }
    return seen == 7 ? PITH_OK : expected(ctx, c, "descr, fortran_order and shape, each once");
}

pith_status npy_read(pith_ctx *ctx, tensor_store *s) {
    const tensor_map *map = &s->maps[0];
    head_cursor c = {map->data, map->size, 0};
    const uint8_t *p = head_take(ctx, &c, MAGIC_BYTES, "magic and version");
    if (!p) return PITH_E_TRUNCATED;
    s->file.format = "npy";
    s->file.version = p[6];
    s->file.alignment = 1;
    if (p[6] < 1 || p[6] > 3 || p[7] != 0)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "version at byte 6: %u.%u is not known, 1.0 to 3.0 are", p[6], p[7]);
    bool wide = p[6] > 1;
    if (!(p = head_take(ctx, &c, wide ? 4 : 2, "header length"))) return PITH_E_TRUNCATED;
    uint64_t n = wide ? load32(p) : load16(p);
    if (n > head_left(&c))
        return pith_fail(ctx, PITH_E_TRUNCATED, "header length at byte 8: %llu, the file has %llu bytes left",
                         (unsigned long long)n, (unsigned long long)head_left(&c));
    s->file.data_offset = c.at + n;
    c.size = c.at + n;
    tensor_view t = {.name = {"array", 5}, .offset = s->file.data_offset};
    pith_status status = take_dictionary(ctx, &c, &t);
    if (status) return status;
    skip_blanks(&c);
    if (head_left(&c)) return expected(ctx, &c, "blanks to the end of the header");
    if ((status = tensor_measure(ctx, &t, MAGIC_BYTES))) return status;
    if ((status = store_tensor(ctx, s, &t, MAGIC_BYTES))) return status;
    if ((status = tensor_check_ranges(ctx, s, 0, 1, map))) return status;
    if (t.bytes != map->size - t.offset)
        return pith_fail(ctx, PITH_E_FORMAT, "data at byte %llu: %llu bytes by the shape, but %llu are there",
                         (unsigned long long)t.offset, (unsigned long long)t.bytes,
                         (unsigned long long)(map->size - t.offset));
    return PITH_OK;
}

pith_status npy_head(pith_ctx *ctx, tensor_type type, uint32_t n_dims, const uint64_t *ne, pith_buffer *out) {
    const char *descr = NULL;
    for (unsigned i = 0; i < PITH_COUNT(npy_types); i++)
        if (npy_types[i].type == type) descr = npy_types[i].descr;
    if (!descr || n_dims > TENSOR_MAX_DIMS) {
        const tensor_type_info *info = tensor_type_of(type);
        return pith_fail(ctx, PITH_E_ARGUMENT, "NumPy has no element type for %s", info ? info->name : "this type");
    }
    char text[512];
    int n = snprintf(text, sizeof text, "{'descr': '%c%s', 'fortran_order': False, 'shape': (", descr[1] == '1' ? '|' : '<',
                     descr);
    for (unsigned i = n_dims; i-- > 0;)
        n += snprintf(text + n, sizeof text - (size_t)n, "%llu%s", (unsigned long long)ne[i],
                      i ? ", " : n_dims == 1 ? "," : "");
    n += snprintf(text + n, sizeof text - (size_t)n, "), }");
    /* Data start at a multiple of 64; the header ends in a line feed. */
    uint8_t head[1024] = "\x93NUMPY\x01";
    size_t total = (10 + (size_t)n + 1 + 63) & ~(size_t)63;
    store16(head + 8, (uint16_t)(total - 10));
    memset(head + 10, ' ', total - 10);
    memcpy(head + 10, text, (size_t)n);
    head[total - 1] = '\n';
    return pith_buffer_append(ctx, out, head, total);
}
