/* The one validator of all formats: checked products, ranges inside the file and apart from each
 * other, unique names, and hyper-parameters that fit the shapes. */
#include <stdio.h>

#include "formats/tensors/view.h"

const char *text_shown(char out[SHOWN_MAX], meta_string text) {
    size_t n = PITH_MIN(text.size, (size_t)SHOWN_MAX - 4);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text.data[i];
        out[i] = c < 32 || c > 126 ? '?' : (char)c;
    }
    memcpy(out + n, text.size > n ? "..." : "", text.size > n ? 4 : 1);
    return out;
}

pith_status tensor_measure(pith_ctx *ctx, tensor_view *t, uint64_t where) {
    char shown[SHOWN_MAX];
    uint64_t n = 1;
    text_shown(shown, t->name);
    for (unsigned i = 0; i < t->n_dims; i++) {
        if (t->ne[i] > INT64_MAX)
            return pith_fail(ctx, PITH_E_FORMAT, "ne[%u] of %s at byte %llu: %lld is negative", i, shown,
                             (unsigned long long)where, (long long)t->ne[i]);
        if (t->ne[i] && n > INT64_MAX / t->ne[i])
            return pith_fail(ctx, PITH_E_FORMAT, "ne[%u] of %s at byte %llu: the number of elements overflows", i,
                             shown, (unsigned long long)where);
        n *= t->ne[i];
    }
    const tensor_type_info *info = tensor_type_of(t->type);
    if (!info)
        return pith_fail(ctx, PITH_E_FORMAT, "type of %s at byte %llu: %d is not known", shown,
                         (unsigned long long)where, (int)t->type);
    if (t->ne[0] % info->block != 0)
        return pith_fail(ctx, PITH_E_FORMAT, "ne[0] of %s at byte %llu: %llu is no multiple of %u, the block of %s",
                         shown, (unsigned long long)where, (unsigned long long)t->ne[0], info->block, info->name);
    t->n_elements = n;
    if (!tensor_type_bytes(t->type, n, &t->bytes))
        return pith_fail(ctx, PITH_E_FORMAT, "shape of %s at byte %llu: %llu elements of %s have too many bytes", shown,
                         (unsigned long long)where, (unsigned long long)n, info->name);
    return PITH_OK;
}

/* ---- ranges ------------------------------------------------------------------ */

static bool before(const tensor_view *tensors, uint32_t a, uint32_t b) {
    return tensors[a].offset < tensors[b].offset ||
           (tensors[a].offset == tensors[b].offset && tensors[a].bytes < tensors[b].bytes);
}

static void sift(const tensor_view *tensors, uint32_t *order, size_t at, size_t n) {
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && before(tensors, order[child], order[child + 1])) child++;
        if (!before(tensors, order[at], order[child])) return;
        uint32_t t = order[at];
        order[at] = order[child];
        order[child] = t;
    }
}

/* Heap sort: no memory and n log n whatever the file. */
static void sort_by_offset(const tensor_view *tensors, uint32_t *order, size_t n) {
    for (size_t i = n / 2; i-- > 0;) sift(tensors, order, i, n);
    for (size_t end = n; end-- > 1;) {
        uint32_t t = order[0];
        order[0] = order[end];
        order[end] = t;
        sift(tensors, order, 0, end);
    }
}

static pith_status check_apart(pith_ctx *ctx, const tensor_store *s, size_t first, size_t n) {
    if (n < 2) return PITH_OK;
    const tensor_view *tensors = s->tensors + first;
    size_t i = 1;
    while (i < n && tensors[i].offset >= tensors[i - 1].offset + tensors[i - 1].bytes) i++;
    if (i >= n) return PITH_OK;
    uint32_t *order = pith_alloc(ctx, n * sizeof *order);
    if (!order) return pith_alloc_status(ctx);
    size_t m = 0;
    for (i = 0; i < n; i++)
        if (tensors[i].bytes) order[m++] = (uint32_t)i;
    sort_by_offset(tensors, order, m);
    pith_status status = PITH_OK;
    for (i = 1; i < m && !status; i++) {
        const tensor_view *a = &tensors[order[i - 1]], *b = &tensors[order[i]];
        char shown_a[SHOWN_MAX], shown_b[SHOWN_MAX];
        if (b->offset < a->offset + a->bytes)
            status = pith_fail(ctx, PITH_E_FORMAT, "offset of %s, record at byte %llu: overlaps %s at byte %llu",
                               text_shown(shown_b, b->name), (unsigned long long)s->where[first + order[i]],
                               text_shown(shown_a, a->name), (unsigned long long)b->offset);
    }
    pith_free(ctx, order);
    return status;
}

pith_status tensor_check_ranges(pith_ctx *ctx, tensor_store *s, size_t first, size_t n, const tensor_map *map) {
    for (size_t i = first; i < first + n; i++) {
        tensor_view *t = &s->tensors[i];
        if (t->bytes == 0) { /* may stand behind a file that ends early */
            t->data = map->data;
            continue;
        }
        char shown[SHOWN_MAX];
        if (t->offset > map->size || t->bytes > map->size - t->offset)
            return pith_fail(ctx, PITH_E_TRUNCATED, "data of %s at byte %llu: %llu bytes, the file ends at byte %zu",
                             text_shown(shown, t->name), (unsigned long long)t->offset, (unsigned long long)t->bytes,
                             map->size);
        t->data = map->data + t->offset;
    }
    return check_apart(ctx, s, first, n);
}

/* ---- names -------------------------------------------------------------------- */

static meta_string name_of(const tensor_store *s, bool tensors, size_t i) {
    return tensors ? s->tensors[i].name : s->meta[i].key;
}

static uint64_t place_of(const tensor_store *s, bool tensors, size_t i) {
    if (tensors) return s->where[i];
    const uint8_t *key = (const uint8_t *)s->meta[i].key.data, *start = s->maps[0].data;
    return key >= start && key < start + s->maps[0].size ? (uint64_t)(key - start) : 0;
}

/* A table of n names with open addressing. Hashes made to collide are refused, not searched for ever. */
static pith_status index_names(pith_ctx *ctx, const tensor_store *s, bool tensors, size_t n, uint32_t **slots,
                               size_t *n_slots) {
    const char *what = tensors ? "tensor name" : "key";
    if (n >= UINT32_MAX / 4) return pith_fail(ctx, PITH_E_LIMIT, "%zu of %s are too many", n, what);
    size_t size = 4;
    while (size < 2 * n) size *= 2;
    uint32_t *table = pith_zalloc(ctx, size * sizeof *table);
    if (!table) return pith_alloc_status(ctx);
    *slots = table;
    *n_slots = size;
    uint64_t probes = 64 * (uint64_t)n + 4096;
    for (size_t i = 0; i < n; i++) {
        char shown[SHOWN_MAX];
        meta_string name = name_of(s, tensors, i);
        unsigned long long place = place_of(s, tensors, i);
        if (name.size == 0 || name.size > TENSOR_NAME_MAX)
            return pith_fail(ctx, PITH_E_FORMAT, "%s at byte %llu: %zu bytes, should be 1 to %d", what, place,
                             name.size, TENSOR_NAME_MAX);
        if (memchr(name.data, 0, name.size))
            return pith_fail(ctx, PITH_E_FORMAT, "%s at byte %llu: holds a NUL", what, place);
        size_t at = pith_hash64(name.data, name.size) & (size - 1);
        for (; table[at]; at = (at + 1) & (size - 1)) {
            meta_string other = name_of(s, tensors, table[at] - 1);
            if (other.size == name.size && memcmp(other.data, name.data, name.size) == 0)
                return pith_fail(ctx, PITH_E_FORMAT, "%s at byte %llu: %s is there twice", what, place,
                                 text_shown(shown, name));
            if (probes-- == 0)
                return pith_fail(ctx, PITH_E_FORMAT, "%s at byte %llu: the names are made to collide", what, place);
        }
        table[at] = (uint32_t)i + 1;
    }
    return PITH_OK;
}

/* ---- hyper-parameters ------------------------------------------------------------- */

static pith_status check_finite(pith_ctx *ctx, const tensor_store *s, meta_string arch) {
    for (size_t i = 0; i < s->n_meta; i++) {
        const meta_value *v = &s->meta[i];
        if (v->key.size <= arch.size || memcmp(v->key.data, arch.data, arch.size) != 0 || v->key.data[arch.size] != '.')
            continue;
        if (v->type != META_F32 && v->type != META_F64) continue;
        double value = meta_number_at(v, 0);
        char shown[SHOWN_MAX];
        if (!(value - value == 0)) /* NaN and infinity */
            return pith_fail(ctx, PITH_E_FORMAT, "%s at byte %llu: not a finite number", text_shown(shown, v->key),
                             (unsigned long long)place_of(s, false, i));
    }
    return PITH_OK;
}

/* A number under ARCH.key: 0 when there is none. */
static uint64_t hyper(const tensor_store *s, meta_string arch, const char *key, char name[160]) {
    uint64_t value;
    int n = snprintf(name, 160, "%.*s.%s", (int)arch.size, arch.data, key);
    return n > 0 && n < 160 && meta_u64(&s->file, name, &value) ? value : 0;
}

static pith_status misfit(pith_ctx *ctx, const tensor_store *s, const char *key, uint64_t value, const char *why,
                          uint64_t other) {
    const meta_value *v = meta_find(&s->file, key);
    unsigned long long place = v ? place_of(s, false, (size_t)(v - s->meta)) : 0;
    return pith_fail(ctx, PITH_E_FORMAT, "%s at byte %llu: %llu %s %llu", key, place, (unsigned long long)value, why,
                     (unsigned long long)other);
}

/* Of the architectures this library runs; others may mean something else by the same words. */
static pith_status check_hyper(pith_ctx *ctx, const tensor_store *s, meta_string arch) {
    char name[160];
    uint64_t width = hyper(s, arch, "embedding_length", name);
    const tensor_view *embd = tensor_find(&s->file, "token_embd.weight");
    if (embd && width && embd->ne[0] != width)
        return misfit(ctx, s, name, width, "does not fit token_embd.weight, whose rows have", embd->ne[0]);
    uint64_t heads = hyper(s, arch, "attention.head_count", name);
    char key_length[160];
    if (heads && width % heads != 0 && !hyper(s, arch, "attention.key_length", key_length))
        return misfit(ctx, s, name, heads, "heads do not divide the width", width);
    uint64_t kv_heads = hyper(s, arch, "attention.head_count_kv", name);
    if (heads && kv_heads && heads % kv_heads != 0)
        return misfit(ctx, s, name, kv_heads, "key-value heads do not divide the heads", heads);
    uint64_t vocab = hyper(s, arch, "vocab_size", name);
    if (embd && vocab && embd->ne[1] != vocab)
        return misfit(ctx, s, name, vocab, "does not fit token_embd.weight, which has rows", embd->ne[1]);
    static const char tokens_key[] = "tokenizer.ggml.tokens";
    const meta_value *tokens = meta_find(&s->file, tokens_key);
    if (!tokens || tokens->type != META_ARRAY) return PITH_OK;
    if (embd && tokens->count != embd->ne[1])
        return misfit(ctx, s, tokens_key, tokens->count, "tokens do not fit token_embd.weight, which has rows",
                      embd->ne[1]);
    static const char *const ids[] = {"bos", "eos", "unknown", "separator", "seperator", "padding", "cls", "mask"};
    for (unsigned i = 0; i < PITH_COUNT(ids); i++) {
        uint64_t id;
        snprintf(name, sizeof name, "tokenizer.ggml.%s_token_id", ids[i]);
        /* Writers put -1 for "none". */
        if (meta_u64(&s->file, name, &id) && id >= tokens->count && id != UINT32_MAX)
            return misfit(ctx, s, name, id, "is no token, there are", tokens->count);
    }
    return PITH_OK;
}

pith_status store_finish(pith_ctx *ctx, tensor_store *s) {
    pith_status status = index_names(ctx, s, false, s->n_meta, &s->meta_slots, &s->n_meta_slots);
    if (!status) status = index_names(ctx, s, true, s->n_tensors, &s->tensor_slots, &s->n_tensor_slots);
    if (status) return status;
    s->file.meta = s->meta;
    s->file.n_meta = s->n_meta;
    s->file.tensors = s->tensors;
    s->file.n_tensors = s->n_tensors;
    meta_string arch;
    if (!meta_text(&s->file, "general.architecture", &arch)) return PITH_OK;
    if ((status = check_finite(ctx, s, arch))) return status;
    static const char *const known[] = {"llama", "deci", "qwen2", "gpt2", "mamba", "bert", "rwkv4"};
    for (unsigned i = 0; i < PITH_COUNT(known); i++)
        if (arch.size == strlen(known[i]) && memcmp(arch.data, known[i], arch.size) == 0)
            return check_hyper(ctx, s, arch);
    return PITH_OK;
}
