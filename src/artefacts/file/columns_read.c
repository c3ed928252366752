/* The way back from columns to lines. Nothing is kept but the words of dictionaries: every column has a place in the
 * stream from which its next value is written to where it belongs. */
#include "artefacts/file/codec.h"
#include "artefacts/file/columns.h"

typedef struct node {
    uint8_t kind, format, width, bytes; /* NUMBER: as in the stream; WORDS: bytes of a number */
    uint8_t depth, n_parts;
    uint16_t child;          /* first of its columns, one behind the other's `next` */
    uint16_t next;           /* node behind this one and all within */
    uint16_t source;         /* COPY */
    uint32_t n, at;          /* values; next one */
    uint32_t words, n_words; /* WORDS: first offset, number */
    uint64_t before;         /* NUMBER: the value before */
    const uint8_t *texts;    /* PARTS: its texts, in the directory */
    const uint8_t *p, *end;  /* its bytes */
} node;

typedef struct reader {
    pith_ctx *ctx;
    const uint8_t *p, *end; /* of the directory and what follows */
    uint8_t *dst;
    size_t room, out; /* bytes of dst, and those written */
    uint64_t visits;  /* still allowed */
    node *nodes;
    uint32_t n_nodes, nodes_most;
    uint16_t *column;    /* node of each column */
    uint32_t *last;      /* [2 * columns]: place and length of its last value in the output */
    uint32_t *last_line; /* and its line + 1 */
    uint32_t n_columns, line;
    uint8_t *words;                         /* bytes, from the front; offsets, 4 bytes each, from the back */
    size_t words_most, words_used, words_n; /* bytes of all; bytes of words; offsets */
} reader;

uint64_t columns_read_memory(size_t raw_n) {
    uint64_t columns = PITH_MIN(COLUMNS_NODES_MAX(raw_n), (size_t)COLUMNS_MAX);
    return COLUMNS_NODES_MAX(raw_n) * sizeof(node) + columns * (sizeof(uint16_t) + 3 * sizeof(uint32_t)) +
           (COLUMNS_TEMPLATES_MAX(raw_n) + 1) * 2 * sizeof(uint32_t) +
           (COLUMNS_SLOTS_MAX(raw_n) + 1) * sizeof(uint16_t) + COLUMNS_WORDS_MAX(raw_n);
}

static bool take_varint(reader *r, uint64_t most, uint64_t *v) {
    size_t used = pith_varint_get(r->p, (size_t)(r->end - r->p), v);
    r->p += used;
    return used && *v <= most;
}

static uint8_t *offset_at(const reader *r, size_t i) { return r->words + r->words_most - 4 * (i + 1); }

/* ---- descriptions ---- */

static bool describe(reader *r, unsigned depth);

static bool describe_number(reader *r, node *c) {
    uint64_t format, width, bytes, n;
    if (!take_varint(r, NUMBER_FLAGS - 1, &format) || !take_varint(r, NUMBER_WIDTH_MAX, &width) ||
        !take_varint(r, 8, &bytes) || bytes == 0 || !take_varint(r, UINT32_MAX / 8, &n))
        return false;
    bool both = (format & NUMBER_ZEROS) && (format & NUMBER_BLANKS);
    if (both || ((format & NUMBER_DELTA) && !(format & NUMBER_SIGNED))) return false;
    c->format = (uint8_t)format;
    c->width = (uint8_t)width;
    c->bytes = (uint8_t)bytes;
    c->n = (uint32_t)n;
    return true;
}

static bool describe_hex(reader *r, node *c) {
    uint64_t ten, bytes, n;
    if (!take_varint(r, 'a', &ten) || (ten != 'a' && ten != 'A') || !take_varint(r, 32, &bytes) || bytes == 0 ||
        !take_varint(r, UINT32_MAX / 64, &n))
        return false;
    c->format = (uint8_t)ten;
    c->bytes = (uint8_t)bytes;
    c->n = (uint32_t)n;
    return true;
}

static bool describe_parts(reader *r, node *c) {
    uint64_t n_parts, length;
    if (!take_varint(r, COLUMNS_PARTS_MAX, &n_parts)) return false;
    c->n_parts = (uint8_t)n_parts;
    c->texts = r->p;
    for (unsigned k = 0; k <= n_parts; k++) {
        if (!take_varint(r, (uint64_t)(r->end - r->p), &length) || length > (size_t)(r->end - r->p)) return false;
        r->p += length;
    }
    for (unsigned k = 0; k < n_parts; k++)
        if (!describe(r, c->depth + 1u)) return false;
    return true;
}

/* One description, and those of the columns within. The length of its bytes is c->n times what each takes, for text
 * c->n itself. */
static bool describe(reader *r, unsigned depth) {
    uint64_t kind, v = 0;
    if (depth > COLUMNS_DEPTH_MAX || r->n_nodes == r->nodes_most || !take_varint(r, COLUMN_KINDS - 1, &kind))
        return false;
    uint32_t own = r->n_nodes++;
    node *c = &r->nodes[own];
    *c = (node){.kind = (uint8_t)kind, .depth = (uint8_t)depth, .child = (uint16_t)(own + 1)};
    bool good = true;
    switch (kind) {
    case COLUMN_TEXT:
        good = take_varint(r, UINT32_MAX, &v);
        c->n = (uint32_t)v;
        c->bytes = 1;
        break;
    case COLUMN_NUMBER: good = describe_number(r, c); break;
    case COLUMN_HEX: good = describe_hex(r, c); break;
    case COLUMN_WORDS:
        good = take_varint(r, UINT32_MAX / 2, &v);
        c->n = (uint32_t)v;
        good = good && take_varint(r, 65536, &v);
        c->n_words = (uint32_t)v;
        c->bytes = c->n_words > 256 ? 2 : 1;
        good = good && describe(r, depth + 1);
        break;
    case COLUMN_PARTS: good = describe_parts(r, c); break;
    default:
        good = depth == 0 && take_varint(r, COLUMNS_MAX - 1, &v) && v < r->n_columns;
        c->source = (uint16_t)v;
        break;
    }
    c->next = (uint16_t)r->n_nodes;
    return good;
}

/* ---- values ---- */

static bool emit(reader *r, node *c);

static bool put(reader *r, const uint8_t *p, size_t n) {
    if (n > r->room - r->out) return false;
    memcpy(r->dst + r->out, p, n);
    r->out += n;
    return true;
}

static bool emit_text(reader *r, node *c) {
    const uint8_t *end = memchr(c->p, COLUMNS_END, (size_t)(c->end - c->p));
    if (!end || !put(r, c->p, (size_t)(end - c->p))) return false;
    c->p = end + 1;
    return true;
}

static bool emit_number(reader *r, node *c) {
    if (c->at == c->n) return false;
    uint64_t v = 0;
    for (unsigned k = 0; k < c->bytes; k++)
        v |=
            (uint64_t)
                c->p[c->format & NUMBER_PLANES ? (size_t)k * c->n + c->at : (size_t)c->at * c->bytes + c->bytes - 1 - k]
            << 8 * k;
    c->at++;
    if (c->format & NUMBER_SIGNED) v = (uint64_t)number_unfold(v);
    if (c->format & NUMBER_DELTA) v += c->before;
    c->before = v;
    if (v == (uint64_t)INT64_MIN) return false; /* has no counterpart */
    uint8_t text[NUMBER_TEXT_MAX];
    number_style style = {c->format & (NUMBER_ZEROS | NUMBER_BLANKS), c->width};
    return put(r, text, number_write(&style, (int64_t)v, text));
}

static bool emit_hex(reader *r, node *c) {
    if (c->at == c->n || 2u * c->bytes > r->room - r->out) return false;
    for (unsigned k = 0; k < c->bytes; k++)
        for (unsigned half = 0; half < 2; half++) {
            unsigned digit = half ? c->p[k] & 15 : c->p[k] >> 4;
            r->dst[r->out++] = (uint8_t)(digit < 10 ? '0' + digit : c->format + digit - 10);
        }
    c->p += c->bytes;
    c->at++;
    return true;
}

static bool emit_word(reader *r, node *c) {
    if (c->at == c->n) return false;
    uint32_t number = c->bytes == 2 ? (uint32_t)(c->p[0] << 8 | c->p[1]) : c->p[0];
    c->p += c->bytes;
    c->at++;
    if (number >= c->n_words) return false;
    uint32_t from = load32(offset_at(r, c->words + number)), to = load32(offset_at(r, c->words + number + 1));
    return put(r, r->words + from, to - from);
}

static bool emit_parts(reader *r, node *c) {
    const uint8_t *text = c->texts;
    uint32_t child = c->child;
    for (unsigned k = 0; k <= c->n_parts; k++) {
        uint64_t length;
        text += pith_varint_get(text, PITH_VARINT_MAX, &length); /* was read before */
        if (!put(r, text, length)) return false;
        text += length;
        if (k == c->n_parts) break;
        if (!emit(r, &r->nodes[child])) return false;
        child = r->nodes[child].next;
    }
    return true;
}

static bool emit_copy(reader *r, const node *c) {
    uint32_t from = r->last[2 * c->source], n = r->last[2 * c->source + 1];
    return r->last_line[c->source] == r->line + 1 && put(r, r->dst + from, n);
}

static bool emit(reader *r, node *c) {
    if (r->visits == 0) return false;
    r->visits--;
    switch (c->kind) {
    case COLUMN_TEXT: return emit_text(r, c);
    case COLUMN_NUMBER: return emit_number(r, c);
    case COLUMN_HEX: return emit_hex(r, c);
    case COLUMN_WORDS: return emit_word(r, c);
    case COLUMN_PARTS: return emit_parts(r, c);
    default: return emit_copy(r, c);
    }
}

/* ---- bytes of the columns ---- */

/* Hands every column its bytes, in the order of the descriptions. */
static bool hand_out(reader *r) {
    for (uint32_t i = 0; i < r->n_nodes; i++) {
        node *c = &r->nodes[i];
        if (c->kind == COLUMN_PARTS || c->kind == COLUMN_COPY) continue;
        uint64_t bytes = (uint64_t)c->n * c->bytes;
        if (bytes > (size_t)(r->end - r->p)) return false;
        c->p = r->p;
        c->end = r->p += bytes;
    }
    return r->p == r->end;
}

/* The words of one dictionary are written to the dictionaries' own memory, as if that were the output. */
static bool read_dictionary(reader *r, node *c) {
    c->words = (uint32_t)r->words_n;
    for (uint32_t k = 0;; k++) {
        size_t offsets = 4 * (r->words_n + 1);
        if (offsets + r->words_used > r->words_most) return false;
        store32(offset_at(r, r->words_n++), (uint32_t)r->words_used);
        if (k == c->n_words) return true;
        r->out = r->words_used;
        r->room = r->words_most - offsets;
        if (!emit(r, &r->nodes[c->child])) return false;
        r->words_used = r->out;
    }
}

/* A dictionary within a dictionary comes later in the order of nodes, and is read first. */
static bool read_words(reader *r, size_t raw_n) {
    uint8_t *dst = r->dst;
    bool good = true;
    r->dst = r->words;
    for (uint32_t i = r->n_nodes; i-- > 0 && good;)
        if (r->nodes[i].kind == COLUMN_WORDS) good = read_dictionary(r, &r->nodes[i]);
    r->dst = dst;
    r->out = 0;
    r->room = raw_n;
    return good;
}

/* ---- lines ---- */

typedef struct line_reader {
    uint64_t ends, n_columns, n_templates, n_lines, templates_n, slots_n, loose_n; /* in the order of the stream */
    size_t slots_most;
    uint32_t *template_at, *first_slot; /* [n_templates + 1] */
    uint16_t *slot_column;
    const uint8_t *templates, *ids, *loose, *loose_end;
} line_reader;

static bool read_head(reader *r, line_reader *l, size_t raw_n) {
    return take_varint(r, 1, &l->ends) &&
           take_varint(r, PITH_MIN(r->nodes_most, (uint32_t)COLUMNS_MAX), &l->n_columns) &&
           take_varint(r, COLUMNS_TEMPLATES_MAX(raw_n), &l->n_templates) && take_varint(r, raw_n, &l->n_lines) &&
           take_varint(r, UINT32_MAX, &l->templates_n) && take_varint(r, UINT32_MAX, &l->slots_n) &&
           take_varint(r, UINT32_MAX, &l->loose_n);
}

/* The n bytes that come next. */
static bool take_bytes(reader *r, uint64_t n, const uint8_t **p) {
    if (n > (size_t)(r->end - r->p)) return false;
    *p = r->p;
    r->p += n;
    return true;
}

static bool find_templates(reader *r, line_reader *l) {
    if (!take_bytes(r, l->templates_n, &l->templates)) return false;
    uint32_t t = 0, slots = 0;
    for (uint32_t i = 0; i < l->templates_n; i++) {
        slots += l->templates[i] == COLUMNS_SLOT;
        if (slots > l->slots_most) return false;
        if (l->templates[i] != COLUMNS_END) continue;
        if (t == l->n_templates) return false;
        t++;
        l->template_at[t] = i + 1;
        l->first_slot[t] = slots;
    }
    if (t != l->n_templates || l->template_at[t] != l->templates_n) return false;
    const uint8_t *end = r->end;
    if (l->slots_n > (size_t)(end - r->p)) return false;
    r->end = r->p + l->slots_n;
    uint64_t next = 0, v;
    for (uint32_t k = 0; k < slots; k++) {
        if (!take_varint(r, l->n_columns, &v)) return false;
        v = v ? v - 1 : next++;
        if (v >= l->n_columns) return false;
        l->slot_column[k] = (uint16_t)v;
    }
    bool whole = r->p == r->end;
    r->end = end;
    return whole;
}

static bool emit_line(reader *r, line_reader *l, uint32_t t) {
    if (!t) {
        const uint8_t *end = memchr(l->loose, COLUMNS_END, (size_t)(l->loose_end - l->loose));
        if (!end || !put(r, l->loose, (size_t)(end - l->loose))) return false;
        l->loose = end + 1;
        return true;
    }
    const uint8_t *p = l->templates + l->template_at[t - 1], *end = l->templates + l->template_at[t] - 1;
    for (uint32_t slot = l->first_slot[t - 1]; slot < l->first_slot[t]; slot++) {
        const uint8_t *gap = memchr(p, COLUMNS_SLOT, (size_t)(end - p)); /* there are as many */
        if (!put(r, p, (size_t)(gap - p))) return false;
        p = gap + 1;
        uint32_t c = l->slot_column[slot], from = (uint32_t)r->out;
        if (!emit(r, &r->nodes[r->column[c]])) return false;
        r->last[2 * c] = from;
        r->last[2 * c + 1] = (uint32_t)r->out - from;
        r->last_line[c] = r->line + 1;
    }
    return put(r, p, (size_t)(end - p));
}

static bool emit_lines(reader *r, line_reader *l) {
    static const uint8_t line_end = COLUMNS_END;
    size_t bytes = l->n_templates > 255 ? 2 : 1;
    for (r->line = 0; r->line < l->n_lines; r->line++) {
        const uint8_t *id = l->ids + bytes * r->line;
        uint32_t t = bytes == 2 ? (uint32_t)(id[0] << 8 | id[1]) : id[0];
        if (t > l->n_templates || !emit_line(r, l, t)) return false;
        if ((l->ends || r->line + 1 < l->n_lines) && !put(r, &line_end, 1)) return false;
    }
    return r->out == r->room;
}

static bool read_all(reader *r, line_reader *l, size_t raw_n) {
    r->n_columns = (uint32_t)l->n_columns;
    for (uint32_t c = 0; c < l->n_columns; c++) {
        r->column[c] = (uint16_t)r->n_nodes;
        if (!describe(r, 0)) return false;
    }
    if (!find_templates(r, l) || !take_bytes(r, l->n_lines * (l->n_templates > 255 ? 2 : 1), &l->ids) ||
        !take_bytes(r, l->loose_n, &l->loose))
        return false;
    l->loose_end = l->loose + l->loose_n;
    return hand_out(r) && read_words(r, raw_n) && emit_lines(r, l);
}

pith_status columns_read(pith_ctx *ctx, const uint8_t *src, size_t n, uint8_t *dst, size_t raw_n, bool *good) {
    line_reader l = {.slots_most = COLUMNS_SLOTS_MAX(raw_n)};
    reader r = {.p = src,
                .end = src + n,
                .dst = dst,
                .room = raw_n,
                .visits = COLUMNS_VISITS_MAX(raw_n),
                .words_most = COLUMNS_WORDS_MAX(raw_n),
                .nodes_most = (uint32_t)COLUMNS_NODES_MAX(raw_n)};
    *good = raw_n <= UINT32_MAX / 2 && read_head(&r, &l, raw_n);
    if (!*good) return PITH_OK;
    r.nodes = pith_alloc(ctx, r.nodes_most * sizeof *r.nodes);
    r.column = pith_alloc(ctx, l.n_columns * sizeof *r.column);
    r.last = pith_alloc(ctx, l.n_columns * 2 * sizeof *r.last);
    r.last_line = pith_zalloc(ctx, l.n_columns * sizeof *r.last_line);
    r.words = pith_alloc(ctx, r.words_most);
    l.template_at = pith_zalloc(ctx, (l.n_templates + 1) * sizeof *l.template_at);
    l.first_slot = pith_zalloc(ctx, (l.n_templates + 1) * sizeof *l.first_slot);
    l.slot_column = pith_alloc(ctx, (l.slots_most + 1) * sizeof *l.slot_column);
    void *all[] = {r.nodes, r.column, r.last, r.last_line, r.words, l.template_at, l.first_slot, l.slot_column};
    pith_status status = PITH_OK;
    for (size_t i = 0; i < PITH_COUNT(all) && !status; i++)
        if (!all[i]) status = pith_alloc_status(ctx);
    if (!status) *good = read_all(&r, &l, raw_n);
    for (size_t i = 0; i < PITH_COUNT(all); i++) pith_free(ctx, all[i]);
    return status;
}
