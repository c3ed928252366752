/* Renaming tensors by tables of patterns. */
#include "formats/tensors/names.h"

/* Whether `name` fits the pattern; `number` is then what stood for "%". */
static bool fits(const char *pattern, const char *name, size_t n, meta_string *number) {
    size_t at = 0;
    for (const char *p = pattern; *p; p++) {
        if (*p == '*') return true;
        if (*p != '%') {
            if (at >= n || name[at++] != *p) return false;
            continue;
        }
        size_t start = at;
        while (at < n && name[at] >= '0' && name[at] <= '9') at++;
        *number = (meta_string){name + start, at - start};
        if (at == start || at - start > 9 || (name[start] == '0' && at - start > 1)) return false;
    }
    return at == n;
}

static size_t put(char *out, size_t at, size_t room, const char *text, size_t n) {
    for (size_t i = 0; i < n && at < room; i++) out[at++] = text[i];
    return at;
}

static meta_string without(meta_string name, const char *prefix) {
    size_t n = prefix ? strlen(prefix) : 0;
    if (name.size > n && n && memcmp(name.data, prefix, n) == 0) name = (meta_string){name.data + n, name.size - n};
    return name;
}

pith_status names_apply(pith_ctx *ctx, tensor_store *s, const char *prefix, const name_pair *pairs, size_t n_pairs) {
    static const meta_string ends[] = {{".weight", 7}, {".bias", 5}};
    for (size_t i = 0; i < s->n_tensors; i++) {
        meta_string name = without(s->tensors[i].name, prefix), end = ends[0], number = {"", 0};
        size_t stem = name.size;
        for (unsigned e = 0; e < PITH_COUNT(ends); e++)
            if (stem == name.size && stem > ends[e].size &&
                memcmp(name.data + stem - ends[e].size, ends[e].data, ends[e].size) == 0) {
                stem -= ends[e].size;
                end = ends[e];
            }
        for (size_t k = 0; k < n_pairs; k++) {
            if (!fits(pairs[k].from, name.data, stem, &number)) continue;
            char out[128];
            size_t n = 0;
            for (const char *p = pairs[k].to; *p; p++)
                n = *p == '%' ? put(out, n, sizeof out, number.data, number.size) : put(out, n, sizeof out, p, 1);
            if (!pairs[k].bare) n = put(out, n, sizeof out, end.data, end.size);
            pith_status status = store_copy(ctx, s, out, n, &s->tensors[i].name);
            if (status) return status;
            break;
        }
    }
    return PITH_OK;
}

void names_drop(tensor_store *s, const char *prefix, const char *const *patterns, size_t n_patterns) {
    size_t kept = 0;
    for (size_t i = 0; i < s->n_tensors; i++) {
        meta_string name = without(s->tensors[i].name, prefix), number;
        bool drop = false;
        for (size_t k = 0; k < n_patterns && !drop; k++) drop = fits(patterns[k], name.data, name.size, &number);
        if (drop) continue;
        s->where[kept] = s->where[i];
        s->tensors[kept++] = s->tensors[i];
    }
    s->n_tensors = kept;
}
