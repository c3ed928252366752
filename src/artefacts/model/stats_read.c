/* Statistics from GGUF: llama.cpp's importance matrices and what pith adds to them. Everything is believed only after
 * it was held against the shapes of the tensors; the file itself was checked when it was opened. */
#include <math.h>

#include "artefacts/model/stats_parts.h"

#define LARGEST_GRAM 131072 /* inputs: more are no matrix that anybody works with */

/* "NAME.in_sum2" without the suffix; 0 when it ends otherwise. */
static size_t stem(const tensor_view *t, const char *suffix) {
    size_t n = strlen(suffix);
    bool has = t->name.size > n && memcmp(t->name.data + t->name.size - n, suffix, n) == 0;
    return has ? t->name.size - n : 0;
}

static const tensor_view *sibling(const tensor_file *f, const char *name, size_t n, const char *suffix) {
    char full[128];
    if (n + strlen(suffix) >= sizeof full) return NULL;
    memcpy(full, name, n);
    memcpy(full + n, suffix, strlen(suffix) + 1);
    return tensor_find(f, full);
}

static float value_at(const tensor_view *t, uint64_t i) {
    float v;
    uint32_t bits = load32(t->data + 4 * i);
    memcpy(&v, &bits, 4);
    return v;
}

/* Numbers >= 0 (or any finite ones) as they are. */
static pith_status take(pith_ctx *ctx, const tensor_view *t, bool negative, float *out) {
    for (uint64_t i = 0; i < t->n_elements; i++) {
        out[i] = value_at(t, i);
        if (!isfinite(out[i]) || (!negative && out[i] < 0))
            return pith_fail(ctx, PITH_E_FORMAT, "statistics: %.*s[%llu] is %g", (int)t->name.size, t->name.data,
                             (unsigned long long)i, (double)out[i]);
    }
    return PITH_OK;
}

typedef struct entry_views {
    const tensor_view *sum2, *sum, *counts;
} entry_views;

static pith_status views_of(pith_ctx *ctx, const tensor_file *f, const tensor_view *sum2, size_t n, entry_views *out) {
    *out = (entry_views){sum2, sibling(f, sum2->name.data, n, STATS_SUM), sibling(f, sum2->name.data, n, STATS_COUNTS)};
    if (n > STATS_NAME_MAX || memchr(sum2->name.data, 0, n))
        return pith_fail(ctx, PITH_E_FORMAT, "statistics: the name of an entry is not one of a tensor");
    const char *name = sum2->name.data;
    int shown = (int)n;
    if (!out->counts) return pith_fail(ctx, PITH_E_FORMAT, "statistics: %.*s has no counts", shown, name);
    if (sum2->type != TENSOR_F32 || out->counts->type != TENSOR_F32 || (out->sum && out->sum->type != TENSOR_F32))
        return pith_fail(ctx, PITH_E_FORMAT, "statistics: sums and counts of %.*s should be f32", shown, name);
    if (sum2->ne[0] == 0 || sum2->n_elements == 0 || sum2->n_elements / sum2->ne[0] != out->counts->n_elements ||
        sum2->n_elements / sum2->ne[0] > UINT32_MAX)
        return pith_fail(ctx, PITH_E_FORMAT, "statistics: %.*s has sums in %llu parts and %llu counts", shown, name,
                         (unsigned long long)(sum2->ne[0] ? sum2->n_elements / sum2->ne[0] : 0),
                         (unsigned long long)out->counts->n_elements);
    if (out->sum && (out->sum->ne[0] != sum2->ne[0] || out->sum->n_elements != sum2->n_elements))
        return pith_fail(ctx, PITH_E_FORMAT, "statistics: in_sum of %.*s has another shape than in_sum2", shown, name);
    return PITH_OK;
}

/* Means instead of sums. As llama.cpp does, a part that no token reached counts everything the same. */
static pith_status take_entry(pith_ctx *ctx, const entry_views *v, model_stats_entry *e, float *h, float *mean,
                              double *seen) {
    pith_status status = take(ctx, v->sum2, false, h);
    if (!status && mean) status = take(ctx, v->sum, true, mean);
    for (uint32_t p = 0; p < e->parts && !status; p++) {
        float count = value_at(v->counts, p);
        if (!isfinite(count) || count < 0)
            return pith_fail(ctx, PITH_E_FORMAT, "statistics: %.*s[%u] is %g", (int)v->counts->name.size,
                             v->counts->name.data, p, (double)count);
        seen[p] = (double)count;
        for (size_t i = p * e->cols; i < (p + 1) * e->cols; i++) {
            h[i] = count > 0 ? h[i] / count : 1;
            if (mean) mean[i] = count > 0 ? mean[i] / count : 0;
            if (!isfinite(h[i]) || (mean && !isfinite(mean[i])))
                return pith_fail(ctx, PITH_E_FORMAT, "statistics: %.*s[%zu] is too large for its count",
                                 (int)v->sum2->name.size, v->sum2->name.data, i);
        }
    }
    e->h = h;
    e->mean = mean;
    e->seen = seen;
    return status;
}

static void text_key(const tensor_file *f, const char *key, char out[33]) {
    meta_string text;
    out[0] = 0;
    if (!meta_text(f, key, &text) || text.size > 32) return;
    for (size_t i = 0; i < text.size; i++)
        if (!strchr("0123456789abcdef", text.data[i]) || !text.data[i]) return;
    memcpy(out, text.data, text.size);
    out[text.size] = 0;
}

static const meta_value *strings_key(const tensor_file *f, const char *key) {
    const meta_value *v = meta_find(f, key);
    return v && v->type == META_ARRAY && v->element == META_STRING ? v : NULL;
}

static pith_status take_tokens(pith_ctx *ctx, model_stats *s, const tensor_view *t) {
    if (!t) return PITH_OK;
    if (t->type != TENSOR_F32 || t->ne[1] != 2 || t->n_elements != 2 * t->ne[0])
        return pith_fail(ctx, PITH_E_FORMAT, "statistics: " STATS_TOKENS " is not two numbers a token");
    s->tokens = pith_alloc(ctx, PITH_MAX((size_t)t->n_elements, 1u) * sizeof(float));
    if (!s->tokens) return pith_alloc_status(ctx);
    s->n_tokens = (size_t)t->ne[0];
    return take(ctx, t, false, s->tokens);
}

static pith_status take_about(pith_ctx *ctx, model_stats *s) {
    uint64_t n;
    const tensor_file *f = s->file;
    model_stats_about *a = &s->about;
    a->ours = meta_find(f, "pith.stats.names") != NULL;
    if (meta_u64(f, "imatrix.chunk_size", &n) && n <= UINT32_MAX) a->chunk_tokens = (uint32_t)n;
    if (meta_u64(f, "imatrix.chunk_count", &n)) a->chunks = n;
    a->datasets = strings_key(f, "imatrix.datasets");
    a->texts = strings_key(f, "pith.stats.texts");
    text_key(f, "pith.stats.model", a->model_hash);
    text_key(f, "pith.stats.tokens", a->tokens_hash);
    const tensor_view *nats = tensor_find(f, STATS_NATS), *influence = tensor_find(f, STATS_INFLUENCE);
    if (nats) {
        float pair[2];
        if (nats->type != TENSOR_F32 || nats->n_elements != 2 || take(ctx, nats, false, pair))
            return pith_fail(ctx, PITH_E_FORMAT, "statistics: " STATS_NATS " is not two numbers");
        a->nats = (double)pair[0];
        a->tokens_scored = (double)pair[1];
    }
    pith_status tokens = take_tokens(ctx, s, tensor_find(f, STATS_TOKENS));
    if (tokens || !influence || influence->n_elements == 0) return tokens;
    if (influence->type != TENSOR_F32 || influence->n_elements > 65536)
        return pith_fail(ctx, PITH_E_FORMAT, "statistics: " STATS_INFLUENCE " is not one number a layer");
    s->influence = pith_alloc(ctx, (size_t)influence->n_elements * sizeof(float));
    if (!s->influence) return pith_alloc_status(ctx);
    a->influence = s->influence;
    a->n_influence = (size_t)influence->n_elements;
    return take(ctx, influence, true, s->influence);
}

pith_status stats_read_gguf(pith_ctx *ctx, model_stats *s) {
    const tensor_file *f = s->file;
    size_t n = 0, n_values = 0, n_parts = 0, name_bytes = 0, k = 0;
    bool means = false;
    for (size_t i = 0; i < f->n_tensors; i++) {
        const tensor_view *t = &f->tensors[i];
        size_t name_n = stem(t, STATS_SUM2);
        entry_views v;
        if (!name_n) continue;
        pith_status status = views_of(ctx, f, t, name_n, &v);
        if (status) return status;
        n++; /* none of the sums can overflow: the tensors lie apart in the file */
        n_values += (size_t)t->n_elements;
        n_parts += (size_t)v.counts->n_elements;
        name_bytes += name_n + 1;
        means |= v.sum != NULL;
    }
    if (!n) return pith_fail(ctx, PITH_E_FORMAT, "no statistics: the file has no tensor called NAME" STATS_SUM2);
    pith_status status = stats_reserve(ctx, s, n, n_values, means, n_parts, name_bytes);
    float *h = s->values, *mean = means ? s->values + n_values : NULL;
    double *seen = s->seen;
    char *name = s->names;
    for (size_t i = 0; i < f->n_tensors && !status; i++) {
        const tensor_view *t = &f->tensors[i];
        size_t name_n = stem(t, STATS_SUM2);
        entry_views v;
        if (!name_n || views_of(ctx, f, t, name_n, &v)) continue;
        model_stats_entry *e = &s->entries[k++];
        memcpy(name, t->name.data, name_n);
        name[name_n] = 0;
        *e = (model_stats_entry){.name = name, .parts = (uint32_t)v.counts->n_elements, .cols = (size_t)t->ne[0]};
        status = take_entry(ctx, &v, e, h, v.sum ? mean : NULL, seen);
        name += name_n + 1;
        h += t->n_elements;
        mean = mean ? mean + t->n_elements : NULL;
        seen += e->parts;
    }
    return status ? status : take_about(ctx, s);
}

/* ---- Gram matrices ---- */

static pith_status take_gram(pith_ctx *ctx, model_stats *s, size_t i, const tensor_view *t) {
    const model_stats_entry *e = &s->entries[i];
    uint64_t cols = e->cols;
    if (t->type != TENSOR_F32 || e->parts != 1 || cols > LARGEST_GRAM || t->n_elements != cols * (cols + 1) / 2)
        return pith_fail(ctx, PITH_E_FORMAT, "statistics: the Gram matrix of %.60s does not fit its %zu inputs",
                         e->name, e->cols);
    if ((uintptr_t)t->data % sizeof(float) != 0)
        return pith_fail(ctx, PITH_E_FORMAT, "statistics: the Gram matrix of %.60s is not aligned", e->name);
    s->gram[i] = (uint32_t)s->n_grams;
    s->grams[s->n_grams++] = (stats_gram){.view = t};
    return PITH_OK;
}

/* pith.stats.names and .owners: who shares whose matrix. */
static pith_status take_owners(pith_ctx *ctx, model_stats *s) {
    const meta_value *names = strings_key(s->file, "pith.stats.names"),
                     *owners = meta_find(s->file, "pith.stats.owners");
    if (!names) return PITH_OK;
    if (names->count != s->n || !owners || owners->type != META_ARRAY || owners->element != META_U32 ||
        owners->count != names->count)
        return pith_fail(ctx, PITH_E_FORMAT, "statistics: pith.stats.names and .owners do not fit the %zu entries",
                         s->n);
    uint32_t *at = pith_alloc(ctx, s->n * sizeof *at);
    if (!at) return pith_alloc_status(ctx);
    pith_status status = PITH_OK;
    meta_string name;
    uint64_t cursor = 0;
    for (size_t i = 0; i < s->n && !status; i++) {
        size_t found = meta_next_string(names, &cursor, &name) ? stats_index(s, name.data, name.size) : SIZE_MAX;
        at[i] = (uint32_t)found;
        if (found == SIZE_MAX)
            status = pith_fail(ctx, PITH_E_FORMAT, "statistics: pith.stats.names[%zu] has no entry", i);
    }
    for (size_t i = 0; i < s->n && !status; i++) {
        uint32_t owner = load32(owners->data + 4 * i);
        if (owner >= s->n || s->entries[at[owner]].cols != s->entries[at[i]].cols)
            status = pith_fail(ctx, PITH_E_FORMAT, "statistics: pith.stats.owners[%zu] is %u", i, owner);
        else if (s->gram[at[i]] == UINT32_MAX)
            s->gram[at[i]] = s->gram[at[owner]];
    }
    pith_free(ctx, at);
    return status;
}

/* One check for all small tensors in the order of the file, one for each Gram matrix. */
static pith_status take_checks(pith_ctx *ctx, model_stats *s) {
    const tensor_file *f = s->file;
    const tensor_view *checks = tensor_find(f, STATS_CHECKS);
    if (!checks) return PITH_OK;
    if (checks->type != TENSOR_I64 || checks->n_elements != s->n_grams + 1)
        return pith_fail(ctx, PITH_E_FORMAT, "statistics: " STATS_CHECKS " does not fit %zu Gram matrices", s->n_grams);
    for (size_t i = 0; i <= s->n_grams; i++) {
        uint64_t check = load64(checks->data + 8 * i);
        if (!check) return pith_fail(ctx, PITH_E_FORMAT, "statistics: the file is unfinished");
        if (i) s->grams[i - 1].check = check;
    }
    pith_hash *h = pith_hash_new(ctx);
    if (!h) return pith_alloc_status(ctx);
    for (size_t i = 0; i < f->n_tensors; i++)
        if (&f->tensors[i] != checks && !stem(&f->tensors[i], STATS_GRAM))
            pith_hash_update(h, f->tensors[i].data, (size_t)f->tensors[i].bytes);
    uint64_t value = pith_hash_value(h);
    pith_hash_free(ctx, h);
    return (value ? value : 1) == load64(checks->data)
               ? PITH_OK
               : pith_fail(ctx, PITH_E_CHECK, "statistics: the sums are damaged");
}

pith_status stats_read_grams(pith_ctx *ctx, model_stats *s) {
    const tensor_file *f = s->file;
    size_t n = 0;
    for (size_t i = 0; i < f->n_tensors; i++) n += stem(&f->tensors[i], STATS_GRAM) != 0;
    s->grams = pith_alloc(ctx, PITH_MAX(n, 1u) * sizeof *s->grams);
    pith_status status = s->grams ? PITH_OK : pith_alloc_status(ctx);
    for (size_t i = 0; i < f->n_tensors && !status; i++) {
        const tensor_view *t = &f->tensors[i];
        size_t name_n = stem(t, STATS_GRAM);
        if (!name_n) continue;
        size_t entry = stats_index(s, t->name.data, name_n);
        if (entry == SIZE_MAX)
            return pith_fail(ctx, PITH_E_FORMAT, "statistics: the Gram matrix of %.*s has no sums",
                             (int)PITH_MIN(name_n, 60u), t->name.data);
        status = take_gram(ctx, s, entry, t);
    }
    if (!status) status = take_owners(ctx, s);
    if (!status) status = take_checks(ctx, s);
    for (size_t i = 0; i < s->n && !status; i++) s->entries[i].has_gram = s->gram[i] != UINT32_MAX;
    return status;
}
