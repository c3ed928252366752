/* One column of values, in whichever of the kinds a fast coder of repeats makes smallest. */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include "artefacts/file/codec.h"
#include "artefacts/file/columns.h"

enum { TRIAL_LEVEL = 3, TRIAL_HEAD = 9, FEW = 4, WORDS_NUMBERS_MAX = 65536 };

struct columns_coder {
    pith_ctx *ctx;
    const uint8_t *src;
    ZSTD_CCtx *zstd;
    pith_buffer scratch;
    size_t words_bytes; /* what dictionaries may still take */
};

/* A column as it might be written. */
typedef struct attempt {
    pith_buffer directory, data;
    size_t cost; /* bytes, about, after the codec behind */
} attempt;

static void *take(void *opaque, size_t size) { return pith_alloc(opaque, PITH_MAX(size, 1)); }
static void give(void *opaque, void *ptr) { pith_free(opaque, ptr); }

pith_status columns_coder_new(pith_ctx *ctx, const uint8_t *src, size_t n, columns_coder **out) {
    columns_coder *c = pith_alloc(ctx, sizeof *c);
    if (!c) return pith_alloc_status(ctx);
    *c = (columns_coder){.ctx = ctx, .src = src, .words_bytes = COLUMNS_WORDS_MAX(n)};
    c->zstd = ZSTD_createCCtx_advanced((ZSTD_customMem){take, give, ctx});
    *out = c;
    return c->zstd ? PITH_OK : pith_alloc_status(ctx);
}

void columns_coder_free(pith_ctx *ctx, columns_coder *c) {
    if (!c) return;
    ZSTD_freeCCtx(c->zstd);
    pith_buffer_free(ctx, &c->scratch);
    pith_free(ctx, c);
}

static void attempt_free(columns_coder *c, attempt *a) {
    pith_buffer_free(c->ctx, &a->directory);
    pith_buffer_free(c->ctx, &a->data);
    *a = (attempt){0};
}

/* Keeps the better of the two; the other is freed. */
static void keep_better(columns_coder *c, attempt *best, attempt *a) {
    if (a->cost >= best->cost) {
        attempt_free(c, a);
        return;
    }
    attempt_free(c, best);
    *best = *a;
}

/* What data[n] comes to, without what a frame of its own costs. */
static pith_status price(columns_coder *c, const uint8_t *data, size_t n, size_t *cost) {
    *cost = n;
    if (n < 16) return PITH_OK;
    size_t bound = ZSTD_compressBound(n);
    c->scratch.size = 0;
    pith_status status = pith_buffer_reserve(c->ctx, &c->scratch, bound);
    if (status) return status;
    size_t got = ZSTD_compressCCtx(c->zstd, c->scratch.data, bound, data, n, TRIAL_LEVEL);
    if (ZSTD_isError(got)) return pith_fail(c->ctx, PITH_E_MEMORY, "no memory for zstd");
    *cost = PITH_MIN(n, PITH_MAX(got, TRIAL_HEAD) - TRIAL_HEAD + 1);
    return PITH_OK;
}

pith_status columns_put(pith_ctx *ctx, pith_buffer *b, uint64_t v) {
    uint8_t bytes[PITH_VARINT_MAX];
    return pith_buffer_append(ctx, b, bytes, pith_varint_put(bytes, v));
}

static pith_status put_text(columns_coder *c, pith_buffer *b, const uint8_t *p, size_t n) {
    pith_status status = columns_put(c->ctx, b, n);
    return status ? status : pith_buffer_append(c->ctx, b, p, n);
}

/* ---- kinds without columns inside ---- */

static pith_status try_text(columns_coder *c, const column_value *v, size_t n, attempt *a) {
    size_t bytes = n;
    for (size_t i = 0; i < n; i++) bytes += v[i].n;
    pith_status status = pith_buffer_reserve(c->ctx, &a->data, bytes);
    if (status) return status;
    uint8_t *out = a->data.data;
    for (size_t i = 0; i < n; i++) {
        memcpy(out, c->src + v[i].at, v[i].n);
        out += v[i].n;
        *out++ = COLUMNS_END;
    }
    a->data.size = bytes;
    status = columns_put(c->ctx, &a->directory, COLUMN_TEXT);
    if (!status) status = columns_put(c->ctx, &a->directory, bytes);
    if (!status) status = price(c, a->data.data, bytes, &a->cost);
    a->cost += a->directory.size;
    return status;
}

/* The style in which all values may be written: one with leading zeros or blanks tells. */
static bool find_style(columns_coder *c, const column_value *v, size_t n, number_style *style) {
    *style = (number_style){0};
    for (size_t i = 0; i < n && !style->flags; i++) {
        uint8_t first = v[i].n ? c->src[v[i].at] : 0;
        if (v[i].n < 2 || v[i].n > NUMBER_WIDTH_MAX || (first != '0' && first != ' ')) continue;
        *style = (number_style){first == '0' ? NUMBER_ZEROS : NUMBER_BLANKS, v[i].n};
    }
    for (size_t i = 0; i < n; i++) {
        int64_t value;
        if (!number_read(style, c->src + v[i].at, v[i].n, &value)) return false;
    }
    return true;
}

static unsigned bytes_of(uint64_t most) {
    unsigned bytes = 1;
    while (bytes < 8 && most >> 8 * bytes) bytes++;
    return bytes;
}

/* What stands for value i. */
static uint64_t number_for(const int64_t *value, size_t i, unsigned format) {
    uint64_t v = (uint64_t)value[i];
    if (format & NUMBER_DELTA) v -= i ? (uint64_t)value[i - 1] : 0;
    return format & NUMBER_SIGNED ? number_fold((int64_t)v) : v;
}

/* value[n] in this format. */
static pith_status write_numbers(columns_coder *c, const int64_t *value, size_t n, const number_style *style,
                                 unsigned format, unsigned bytes, attempt *a) {
    pith_status status = pith_buffer_reserve(c->ctx, &a->data, n * bytes);
    if (status) return status;
    for (size_t i = 0; i < n; i++) {
        uint64_t v = number_for(value, i, format);
        for (unsigned k = 0; k < bytes; k++)
            a->data.data[format & NUMBER_PLANES ? k * n + i : i * bytes + (bytes - 1 - k)] = (uint8_t)(v >> 8 * k);
    }
    a->data.size = n * bytes;
    uint64_t head[] = {COLUMN_NUMBER, format | style->flags, style->width, bytes, n};
    for (size_t i = 0; i < PITH_COUNT(head) && !status; i++) status = columns_put(c->ctx, &a->directory, head[i]);
    if (!status) status = price(c, a->data.data, a->data.size, &a->cost);
    a->cost += a->directory.size;
    return status;
}

/* `most`: bytes they may take at all. */
static pith_status try_formats(columns_coder *c, const int64_t *value, size_t n, const number_style *style, size_t most,
                               attempt *best) {
    pith_status status = PITH_OK;
    bool negative = false;
    for (size_t i = 0; i < n; i++) negative |= value[i] < 0;
    for (unsigned delta = 0; delta <= 1 && !status; delta++) {
        unsigned format = delta ? NUMBER_DELTA | NUMBER_SIGNED : negative ? NUMBER_SIGNED : 0;
        uint64_t all = 0;
        for (size_t i = 0; i < n; i++) all |= number_for(value, i, format);
        unsigned bytes = bytes_of(all);
        for (unsigned planes = 0; planes <= (bytes > 1) && !status && n * bytes <= most; planes++) {
            attempt a = {0};
            status = write_numbers(c, value, n, style, format | planes * NUMBER_PLANES, bytes, &a);
            if (status)
                attempt_free(c, &a);
            else
                keep_better(c, best, &a);
        }
    }
    return status;
}

static pith_status try_numbers(columns_coder *c, const column_value *v, size_t n, const number_style *style,
                               attempt *best) {
    int64_t *value = pith_alloc(c->ctx, n * sizeof *value);
    if (!value) return pith_alloc_status(c->ctx);
    size_t bytes = n;
    for (size_t i = 0; i < n; i++) {
        number_read(style, c->src + v[i].at, v[i].n, &value[i]);
        bytes += v[i].n;
    }
    pith_status status = try_formats(c, value, n, style, bytes + bytes / 2, best);
    pith_free(c->ctx, value);
    return status;
}

static int hex_digit(uint8_t ch, uint8_t ten) {
    if (column_is_digit(ch)) return ch - '0';
    return ch >= ten && ch < ten + 6 ? ch - ten + 10 : -1;
}

/* All values of the same even length, in digits of one case. */
static pith_status try_hex(columns_coder *c, const column_value *v, size_t n, attempt *best) {
    size_t length = v[0].n, letters = 0;
    uint8_t ten = 'a';
    if (length < 4 || length % 2 || length > 64) return PITH_OK;
    for (size_t i = 0; i < n; i++) {
        if (v[i].n != length) return PITH_OK;
        for (size_t k = 0; k < length; k++) {
            uint8_t ch = c->src[v[i].at + k];
            if (!letters && column_is_letter(ch)) ten = ch < 'a' ? 'A' : 'a';
            if (hex_digit(ch, ten) < 0) return PITH_OK;
            letters += !column_is_digit(ch);
        }
    }
    attempt a = {0};
    pith_status status = pith_buffer_reserve(c->ctx, &a.data, n * length / 2);
    if (status) return status;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < length; k += 2) {
            const uint8_t *p = c->src + v[i].at + k;
            a.data.data[a.data.size++] = (uint8_t)(hex_digit(p[0], ten) << 4 | hex_digit(p[1], ten));
        }
    uint64_t head[] = {COLUMN_HEX, ten, length / 2, n};
    for (size_t i = 0; i < PITH_COUNT(head) && !status; i++) status = columns_put(c->ctx, &a.directory, head[i]);
    if (!status) status = price(c, a.data.data, a.data.size, &a.cost);
    a.cost += a.directory.size;
    if (status)
        attempt_free(c, &a);
    else
        keep_better(c, best, &a);
    return status;
}

/* ---- kinds with columns inside ---- */

static pith_status code_best(columns_coder *c, const column_value *v, size_t n, unsigned depth, attempt *best);

static pith_status append(columns_coder *c, attempt *to, attempt *from) {
    pith_status status = pith_buffer_append(c->ctx, &to->directory, from->directory.data, from->directory.size);
    if (!status) status = pith_buffer_append(c->ctx, &to->data, from->data.data, from->data.size);
    to->cost += from->cost;
    attempt_free(c, from);
    return status;
}

/* Numbers the values in the order they first come: number[n], word[*n_words]. */
static pith_status number_words(columns_coder *c, const column_value *v, size_t n, uint16_t *number, column_value *word,
                                size_t most, size_t *n_words) {
    size_t size = 4;
    while (size < 2 * most) size *= 2;
    uint32_t *table = pith_zalloc(c->ctx, size * sizeof *table); /* number + 1 */
    if (!table) return pith_alloc_status(c->ctx);
    *n_words = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = c->src + v[i].at;
        size_t at = pith_hash64(p, v[i].n) & (size - 1);
        for (; table[at]; at = (at + 1) & (size - 1)) {
            const column_value *w = &word[table[at] - 1];
            if (w->n == v[i].n && memcmp(c->src + w->at, p, w->n) == 0) break;
        }
        if (!table[at]) {
            if (*n_words == most) {
                *n_words = SIZE_MAX; /* too many */
                break;
            }
            word[(*n_words)++] = v[i];
            table[at] = (uint32_t)*n_words;
        }
        number[i] = (uint16_t)(table[at] - 1);
    }
    pith_free(c->ctx, table);
    return PITH_OK;
}

static pith_status write_words(columns_coder *c, const uint16_t *number, size_t n, const column_value *word,
                               size_t n_words, unsigned depth, attempt *a) {
    unsigned bytes = n_words > 256 ? 2 : 1;
    pith_status status = pith_buffer_reserve(c->ctx, &a->data, n * bytes);
    if (status) return status;
    for (size_t i = 0; i < n; i++) {
        a->data.data[i * bytes + bytes - 1] = (uint8_t)number[i];
        if (bytes == 2) a->data.data[2 * i] = (uint8_t)(number[i] >> 8);
    }
    a->data.size = n * bytes;
    uint64_t head[] = {COLUMN_WORDS, n, n_words};
    for (size_t i = 0; i < PITH_COUNT(head) && !status; i++) status = columns_put(c->ctx, &a->directory, head[i]);
    if (!status) status = price(c, a->data.data, a->data.size, &a->cost);
    a->cost += a->directory.size;
    attempt words = {.cost = SIZE_MAX};
    if (!status) status = code_best(c, word, n_words, depth + 1, &words);
    if (!status) status = append(c, a, &words);
    attempt_free(c, &words);
    return status;
}

static pith_status try_words(columns_coder *c, const column_value *v, size_t n, unsigned depth, attempt *best) {
    size_t most = PITH_MIN(n / 2, (size_t)WORDS_NUMBERS_MAX), n_words = 0, bytes = 0;
    column_value *word = pith_alloc(c->ctx, most * sizeof *word + n * sizeof(uint16_t));
    if (!word) return pith_alloc_status(c->ctx);
    uint16_t *number = (uint16_t *)(void *)(word + most);
    pith_status status = number_words(c, v, n, number, word, most, &n_words);
    attempt a = {0};
    for (size_t i = 0; i < n_words && n_words != SIZE_MAX; i++) bytes += word[i].n + sizeof(uint32_t);
    bool room = n_words != SIZE_MAX && bytes <= c->words_bytes;
    if (!status && room) {
        c->words_bytes -= bytes;
        status = write_words(c, number, n, word, n_words, depth, &a);
        bool better = a.cost < best->cost;
        if (!better) c->words_bytes += bytes;
        if (status)
            attempt_free(c, &a);
        else
            keep_better(c, best, &a);
    }
    pith_free(c->ctx, word);
    return status;
}

/* The end of the part that begins at p + at: letters and digits, a sign in front where nothing like
 * that stands before. */
static size_t part_end(const uint8_t *p, size_t n, size_t at) {
    if (p[at] == '-') at++;
    while (at < n && (column_is_digit(p[at]) || column_is_letter(p[at]))) at++;
    return at;
}

static bool part_begins(const uint8_t *p, size_t n, size_t at) {
    if (column_is_digit(p[at]) || column_is_letter(p[at])) return true;
    return p[at] == '-' && at + 1 < n && column_is_digit(p[at + 1]) &&
           (at == 0 || !(column_is_digit(p[at - 1]) || column_is_letter(p[at - 1]) || p[at - 1] == '-'));
}

/* Where the parts of a value are; gives back their number, COLUMNS_PARTS_MAX + 1: too many. */
static unsigned find_parts(const uint8_t *src, column_value v, column_value *part) {
    unsigned n_parts = 0;
    const uint8_t *p = src + v.at;
    for (size_t at = 0; at < v.n;) {
        if (!part_begins(p, v.n, at)) {
            at++;
            continue;
        }
        if (n_parts == COLUMNS_PARTS_MAX) return COLUMNS_PARTS_MAX + 1;
        size_t end = part_end(p, v.n, at);
        part[n_parts++] = (column_value){v.at + (uint32_t)at, (uint32_t)(end - at)};
        at = end;
    }
    return n_parts;
}

/* Whether what stands between the parts of v is what stands between those of w. */
static bool same_between(const uint8_t *src, column_value v, const column_value *part, column_value w,
                         const column_value *part_w, unsigned n_parts) {
    uint32_t at = v.at, at_w = w.at;
    for (unsigned k = 0; k <= n_parts; k++) {
        uint32_t end = k < n_parts ? part[k].at : v.at + v.n, end_w = k < n_parts ? part_w[k].at : w.at + w.n;
        if (end - at != end_w - at_w || memcmp(src + at, src + at_w, end - at) != 0) return false;
        if (k < n_parts) {
            at = part[k].at + part[k].n;
            at_w = part_w[k].at + part_w[k].n;
        }
    }
    return true;
}

/* Fixed texts around n_parts columns: all[k * n + i] is part k of value i. */
static pith_status write_parts(columns_coder *c, column_value first, const column_value *all, size_t n,
                               unsigned n_parts, unsigned depth, attempt *a) {
    pith_status status = columns_put(c->ctx, &a->directory, COLUMN_PARTS);
    if (!status) status = columns_put(c->ctx, &a->directory, n_parts);
    uint32_t at = first.at;
    for (unsigned k = 0; k <= n_parts && !status; k++) {
        uint32_t end = k < n_parts ? all[k * n].at : first.at + first.n;
        status = put_text(c, &a->directory, c->src + at, end - at);
        if (k < n_parts) at = all[k * n].at + all[k * n].n;
    }
    a->cost = a->directory.size;
    for (unsigned k = 0; k < n_parts && !status; k++) {
        attempt part = {.cost = SIZE_MAX};
        status = code_best(c, all + k * n, n, depth + 1, &part);
        if (!status) status = append(c, a, &part);
        attempt_free(c, &part);
    }
    return status;
}

static pith_status try_all_parts(columns_coder *c, const column_value *v, const column_value *all, size_t n,
                                 unsigned n_parts, unsigned depth, attempt *best) {
    attempt a = {0};
    size_t words_before = c->words_bytes;
    pith_status status = write_parts(c, v[0], all, n, n_parts, depth, &a);
    if (!status && a.cost >= best->cost) c->words_bytes = words_before;
    if (status)
        attempt_free(c, &a);
    else
        keep_better(c, best, &a);
    return status;
}

static pith_status try_parts(columns_coder *c, const column_value *v, size_t n, unsigned depth, attempt *best) {
    column_value first[COLUMNS_PARTS_MAX], part[COLUMNS_PARTS_MAX];
    unsigned n_parts = find_parts(c->src, v[0], first);
    if (n_parts == 0 || n_parts > COLUMNS_PARTS_MAX || first[0].n == v[0].n) return PITH_OK;
    column_value *all = pith_alloc(c->ctx, n * n_parts * sizeof *all);
    if (!all) return pith_alloc_status(c->ctx);
    bool same = true;
    for (size_t i = 0; i < n && same; i++) {
        same = find_parts(c->src, v[i], part) == n_parts && same_between(c->src, v[0], first, v[i], part, n_parts);
        for (unsigned k = 0; k < n_parts && same; k++) all[k * n + i] = part[k];
    }
    pith_status status = same ? try_all_parts(c, v, all, n, n_parts, depth, best) : PITH_OK;
    pith_free(c->ctx, all);
    return status;
}

/* What all values begin and end with, digits left out. */
static pith_status try_ends(columns_coder *c, const column_value *v, size_t n, unsigned depth, attempt *best) {
    size_t head = v[0].n, tail = v[0].n, least = v[0].n;
    const uint8_t *first = c->src + v[0].at;
    for (size_t i = 1; i < n; i++) {
        const uint8_t *p = c->src + v[i].at;
        least = PITH_MIN(least, (size_t)v[i].n);
        head = PITH_MIN(head, least);
        for (size_t k = 0; k < head; k++)
            if (p[k] != first[k]) head = k;
        tail = PITH_MIN(tail, least);
        for (size_t k = 0; k < tail; k++)
            if (p[v[i].n - 1 - k] != first[v[0].n - 1 - k]) tail = k;
    }
    while (head && (column_is_digit(first[head - 1]) || first[head - 1] == ' ')) head--;
    tail = PITH_MIN(tail, least - head);
    while (tail && column_is_digit(first[v[0].n - tail])) tail--;
    if (head + tail == 0) return PITH_OK;
    column_value *all = pith_alloc(c->ctx, n * sizeof *all);
    if (!all) return pith_alloc_status(c->ctx);
    for (size_t i = 0; i < n; i++) all[i] = (column_value){v[i].at + (uint32_t)head, v[i].n - (uint32_t)(head + tail)};
    pith_status status = try_all_parts(c, v, all, n, 1, depth, best);
    pith_free(c->ctx, all);
    return status;
}

static bool all_equal(columns_coder *c, const column_value *v, size_t n) {
    for (size_t i = 1; i < n; i++)
        if (v[i].n != v[0].n || memcmp(c->src + v[i].at, c->src + v[0].at, v[0].n) != 0) return false;
    return true;
}

static pith_status code_best(columns_coder *c, const column_value *v, size_t n, unsigned depth, attempt *best) {
    if (all_equal(c, v, n)) return try_all_parts(c, v, NULL, n, 0, depth, best);
    attempt text = {0};
    pith_status status = try_text(c, v, n, &text);
    if (status) {
        attempt_free(c, &text);
        return status;
    }
    keep_better(c, best, &text);
    if (n < FEW) return PITH_OK;
    number_style style;
    bool numbers = find_style(c, v, n, &style);
    if (numbers) status = try_numbers(c, v, n, &style, best);
    if (!status) status = try_hex(c, v, n, best);
    if (status || depth + 1 >= COLUMNS_DEPTH_MAX) return status;
    status = try_words(c, v, n, depth, best);
    if (!status && !numbers) status = try_parts(c, v, n, depth, best);
    return status || numbers ? status : try_ends(c, v, n, depth, best);
}

pith_status columns_code(columns_coder *c, const column_value *value, size_t n, pith_buffer *directory,
                         pith_buffer *data) {
    attempt best = {.cost = SIZE_MAX};
    pith_status status = code_best(c, value, n, 0, &best);
    if (!status) status = pith_buffer_append(c->ctx, directory, best.directory.data, best.directory.size);
    if (!status) status = pith_buffer_append(c->ctx, data, best.data.data, best.data.size);
    attempt_free(c, &best);
    return status;
}
