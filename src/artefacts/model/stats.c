/* Statistics of inputs, open: looking entries up and giving them out. Small numbers are kept in memory, Gram
 * matrices in the file; they are looked through each time one is asked for, which costs little beside its use. */
#include "artefacts/model/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "artefacts/model/stats_parts.h"

#define DAT_MAX ((uint64_t)1 << 32)

/* ---- names and checks ---- */

uint64_t stats_check_of(const void *data, size_t size) {
    uint64_t h = pith_hash64(data, size);
    return h ? h : 1;
}

void stats_hex(const uint8_t *bytes, size_t n, char *out) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * n] = 0;
}

void stats_text_key(const void *text, size_t size, char out[17]) {
    uint8_t bytes[8];
    store64(bytes, pith_hash64(text, size));
    stats_hex(bytes, 8, out);
}

static int compare_names(const char *a, size_t a_n, const char *b, size_t b_n) {
    int c = memcmp(a, b, PITH_MIN(a_n, b_n));
    return c ? c : a_n < b_n ? -1 : a_n > b_n;
}

static int by_name(const model_stats *s, uint32_t a, uint32_t b) {
    const char *x = s->entries[a].name, *y = s->entries[b].name;
    return compare_names(x, strlen(x), y, strlen(y));
}

static void sift(model_stats *s, size_t at, size_t n) {
    uint32_t *order = s->order;
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && by_name(s, order[child], order[child + 1]) < 0) child++;
        if (by_name(s, order[at], order[child]) >= 0) return;
        uint32_t t = order[at];
        order[at] = order[child];
        order[child] = t;
    }
}

pith_status stats_sort(pith_ctx *ctx, model_stats *s) {
    for (size_t i = 0; i < s->n; i++) s->order[i] = (uint32_t)i;
    for (size_t i = s->n / 2; i-- > 0;) sift(s, i, s->n);
    for (size_t end = s->n; end-- > 1;) {
        uint32_t t = s->order[0];
        s->order[0] = s->order[end];
        s->order[end] = t;
        sift(s, 0, end);
    }
    for (size_t i = 1; i < s->n; i++)
        if (by_name(s, s->order[i - 1], s->order[i]) == 0)
            return pith_fail(ctx, PITH_E_FORMAT, "statistics: two entries are called %.60s",
                             s->entries[s->order[i]].name);
    return PITH_OK;
}

size_t stats_index(const model_stats *s, const char *name, size_t name_n) {
    size_t low = 0, high = s->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const char *at = s->entries[s->order[middle]].name;
        int c = compare_names(at, strlen(at), name, name_n);
        if (c == 0) return s->order[middle];
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return SIZE_MAX;
}

/* ---- opening ---- */

pith_status stats_reserve(pith_ctx *ctx, model_stats *s, size_t n, size_t n_values, bool means, size_t n_parts,
                          size_t name_bytes) {
    if (n > UINT32_MAX - 1 || n_values > SIZE_MAX / 16)
        return pith_fail(ctx, PITH_E_LIMIT, "statistics: too many entries");
    s->n = n;
    s->entries = pith_zalloc(ctx, PITH_MAX(n, 1u) * sizeof *s->entries);
    s->order = s->entries ? pith_alloc(ctx, PITH_MAX(n, 1u) * sizeof *s->order) : NULL;
    s->gram = s->order ? pith_alloc(ctx, PITH_MAX(n, 1u) * sizeof *s->gram) : NULL;
    s->values = s->gram ? pith_alloc(ctx, PITH_MAX(n_values, 1u) * (means ? 2 : 1) * sizeof *s->values) : NULL;
    s->seen = s->values ? pith_alloc(ctx, PITH_MAX(n_parts, 1u) * sizeof *s->seen) : NULL;
    s->names = s->seen ? pith_alloc(ctx, PITH_MAX(name_bytes, 1u)) : NULL;
    if (!s->names) return pith_alloc_status(ctx);
    memset(s->gram, 0xff, PITH_MAX(n, 1u) * sizeof *s->gram);
    return PITH_OK;
}

void model_stats_close(pith_ctx *ctx, model_stats *s) {
    if (!s) return;
    if (s->file) tensor_file_close(ctx, s->file);
    pith_free(ctx, s->entries);
    pith_free(ctx, s->order);
    pith_free(ctx, s->gram);
    pith_free(ctx, s->grams);
    pith_free(ctx, s->values);
    pith_free(ctx, s->seen);
    pith_free(ctx, s->names);
    pith_free(ctx, s->influence);
    pith_free(ctx, s->tokens);
    pith_free(ctx, s);
}

/* Names of the matrices whose rows are tokens. */
static const char *const embedding_names[] = {"token_embd.weight", "model.embed_tokens.weight"},
                  *const output_names[] = {"output.weight", "lm_head.weight"};

static bool is_one_of(const char *name, const char *const names[2]) {
    return strcmp(name, names[0]) == 0 || strcmp(name, names[1]) == 0;
}

/* An embedding that multiplies is the output matrix too: an error in a row is met in both places. */
static void settle_tokens(model_stats *s) {
    for (size_t i = 0; i < s->n; i++) s->tied |= is_one_of(s->entries[i].name, embedding_names);
    for (size_t i = 0; i < s->n_tokens && s->tied; i++) s->tokens[i] += s->tokens[s->n_tokens + i];
}

/* What errors of each output count. */
static void find_outputs(const model_stats *s, const char *name, repr_stats *out) {
    bool embedding = s->tokens && is_one_of(name, embedding_names);
    if (!embedding && !(s->tokens && is_one_of(name, output_names))) return;
    out->outputs = s->tokens + (embedding && !s->tied ? s->n_tokens : 0);
    out->n_outputs = s->n_tokens;
}

static pith_status finish(pith_ctx *ctx, model_stats *s, pith_status status, model_stats **out) {
    if (!status) status = stats_sort(ctx, s);
    if (!status && s->file) status = stats_read_grams(ctx, s);
    if (!status && s->tokens) settle_tokens(s);
    if (status)
        model_stats_close(ctx, s);
    else
        *out = s;
    return status;
}

pith_status model_stats_open_memory(pith_ctx *ctx, const uint8_t *data, size_t size, model_stats **out) {
    *out = NULL;
    model_stats *s = pith_zalloc(ctx, sizeof *s);
    if (!s) return pith_alloc_status(ctx);
    pith_status status;
    if (size >= 4 && memcmp(data, "GGUF", 4) == 0) {
        status = tensor_file_open_memory(ctx, data, size, &s->file);
        if (!status) status = stats_read_gguf(ctx, s);
    } else {
        status = stats_read_dat(ctx, s, data, size);
    }
    return finish(ctx, s, status, out);
}

/* The whole of a .dat file; they hold a few numbers per input. */
static pith_status read_all(pith_ctx *ctx, int fd, const char *path, uint64_t size, uint8_t **out) {
    uint8_t *data = pith_alloc(ctx, PITH_MAX((size_t)size, 1u));
    if (!data) return pith_alloc_status(ctx);
    for (size_t at = 0; at < size;) {
        ssize_t n = pread(fd, data + at, (size_t)size - at, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            pith_free(ctx, data);
            return pith_fail(ctx, PITH_E_IO, "%s: %s", path, n < 0 ? strerror(errno) : "became shorter");
        }
        at += (size_t)n;
    }
    *out = data;
    return PITH_OK;
}

pith_status model_stats_open(pith_ctx *ctx, const char *path, model_stats **out) {
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) return pith_fail(ctx, PITH_E_IO, "%s: %s", path, strerror(errno));
    struct stat st;
    char magic[4] = "";
    model_stats *s = NULL;
    uint8_t *data = NULL;
    pith_status status = PITH_OK;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        status = pith_fail(ctx, PITH_E_IO, "%s: is no regular file", path);
    else if ((uint64_t)st.st_size > DAT_MAX || pread(fd, magic, 4, 0) < 0 || memcmp(magic, "GGUF", 4) == 0)
        memcpy(magic, "GGUF", 4); /* or an error that opening will find again */
    if (!status && !(s = pith_zalloc(ctx, sizeof *s))) status = pith_alloc_status(ctx);
    if (!status && memcmp(magic, "GGUF", 4) == 0) {
        status = tensor_file_open(ctx, path, &s->file);
        if (!status) status = stats_read_gguf(ctx, s);
    } else if (!status) {
        status = read_all(ctx, fd, path, (uint64_t)st.st_size, &data);
        if (!status) status = stats_read_dat(ctx, s, data, (size_t)st.st_size);
        pith_free(ctx, data);
    }
    close(fd);
    return s ? finish(ctx, s, status, out) : status;
}

/* ---- looking things up ---- */

size_t model_stats_count(const model_stats *s) { return s->n; }
const model_stats_entry *model_stats_at(const model_stats *s, size_t i) { return i < s->n ? &s->entries[i] : NULL; }
const model_stats_about *model_stats_info(const model_stats *s) { return &s->about; }

const model_stats_entry *model_stats_entry_of(const model_stats *s, const char *name) {
    size_t i = stats_index(s, name, strlen(name));
    return i == SIZE_MAX ? NULL : &s->entries[i];
}

static pith_status look_through(pith_ctx *ctx, const model_stats_entry *e, const stats_gram *g) {
    const float *p = (const float *)(const void *)g->view->data;
    if (g->check && stats_check_of(g->view->data, (size_t)g->view->bytes) != g->check)
        return pith_fail(ctx, PITH_E_CHECK, "statistics: the Gram matrix of %.60s is damaged", e->name);
    for (size_t i = 0; i < e->cols; i++) {
        float worst = 0; /* a sum of zeros times x is zero unless one x is not finite */
        for (size_t j = 0; j <= i; j++) worst += p[j] * 0.0f;
        if (!(worst == 0) || p[i] < 0)
            return pith_fail(ctx, PITH_E_FORMAT, "statistics: the Gram matrix of %.60s is none at row %zu", e->name, i);
        p += i + 1;
    }
    return PITH_OK;
}

pith_status model_stats_find(pith_ctx *ctx, const model_stats *s, const char *name, uint32_t part, size_t cols,
                             repr_stats *out) {
    *out = (repr_stats){0};
    find_outputs(s, name, out);
    size_t i = stats_index(s, name, strlen(name));
    if (i == SIZE_MAX) return PITH_OK;
    const model_stats_entry *e = &s->entries[i];
    size_t parts = e->parts, width = e->cols;
    if (s->by_calls && cols && width % cols == 0) {
        parts = width / cols; /* an old file does not say that it holds experts */
        width = cols;
    }
    if (width != cols || part >= parts)
        return pith_fail(ctx, PITH_E_ARGUMENT,
                         "statistics of %.60s: part %u of %zu inputs is asked for, there are %zu of %zu", name, part,
                         cols, parts, width);
    out->h = e->h + part * width;
    out->n_tokens = e->seen[s->by_calls ? 0 : part];
    if (s->gram[i] == UINT32_MAX) return PITH_OK;
    const stats_gram *g = &s->grams[s->gram[i]];
    pith_status status = look_through(ctx, e, g);
    if (!status) out->gram = (const float *)(const void *)g->view->data;
    return status;
}

bool model_stats_saw(const model_stats *s, const void *text, size_t size) {
    char key[17];
    meta_string known;
    uint64_t cursor = 0;
    stats_text_key(text, size, key);
    while (s->about.texts && meta_next_string(s->about.texts, &cursor, &known))
        if (known.size == 16 && memcmp(known.data, key, 16) == 0) return true;
    return false;
}
