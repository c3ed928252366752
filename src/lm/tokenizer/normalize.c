/* What SentencePiece does to a text before it looks for pieces: replacements from the file's
 * precompiled_charsmap, runs of spaces to one, a space in front, spaces to U+2581. The charsmap is
 * a Darts-clone double array (unit: bits 0-7 label, 8 has-leaf, 9 and 10-30 offset, 31 leaf) whose
 * leaves point at NUL-ended replacements; the longest key at each place wins. */
#include "lm/tokenizer/vocabulary.h"

pith_status charsmap_open(pith_ctx *ctx, tokenizer *t, const char *where, const void *data, size_t size) {
    const uint8_t *p = data;
    if (size == 0) return PITH_OK;
    if (size < 4 || load32(p) % 4 != 0 || load32(p) > size - 4)
        return pith_fail(ctx, PITH_E_FORMAT, "%s: the length of its trie does not fit", where);
    uint32_t trie = load32(p);
    if (trie == 0) return PITH_OK;
    if (size - 4 == trie || p[size - 1] != 0)
        return pith_fail(ctx, PITH_E_FORMAT, "%s: its replacements do not end with a zero byte", where);
    /* The units in the machine's order, then the replacements. */
    t->map_bytes = pith_alloc(ctx, size);
    if (!t->map_bytes) return pith_alloc_status(ctx);
    uint32_t *unit = (uint32_t *)(void *)t->map_bytes;
    for (size_t i = 0; i < trie / 4; i++) unit[i] = load32(p + 4 + 4 * i);
    memcpy(t->map_bytes + trie, p + 4 + trie, size - 4 - trie);
    t->map = (charsmap){unit, trie / 4, (const char *)t->map_bytes + trie, size - 4 - trie};
    for (size_t i = 0; i < t->map.n_units; i++)
        if (unit[i] >> 31 && (unit[i] & 0x7FFFFFFF) >= t->map.text_size) {
            /* A label of 0 with bit 31 is a leaf; others have no such bit. */
            return pith_fail(ctx, PITH_E_FORMAT, "%s: unit %zu points outside the replacements", where, i);
        }
    return PITH_OK;
}

PITH_INLINE uint32_t unit_offset(uint32_t unit) { return unit >> 10 << ((unit & 1u << 9) >> 6); }

/* The longest key of the map at p; its length, 0 when there is none. */
static size_t map_longest(const charsmap *m, const uint8_t *p, size_t size, const char **replacement) {
    size_t length = 0;
    if (m->n_units == 0) return 0;
    uint32_t at = unit_offset(m->unit[0]);
    for (size_t i = 0; i < size && p[i]; i++) {
        at ^= p[i];
        if (at >= m->n_units || (m->unit[at] & (1u << 31 | 0xFFu)) != p[i]) break;
        uint32_t unit = m->unit[at];
        at ^= unit_offset(unit);
        if (at >= m->n_units) break;
        if (unit >> 8 & 1 && (m->unit[at] & 0x7FFFFFFF) < m->text_size) {
            length = i + 1;
            *replacement = m->text + (m->unit[at] & 0x7FFFFFFF);
        }
    }
    return length;
}

/* Bytes of the longest user-defined piece at p, which no replacement touches; 0 when there is none. */
static size_t user_longest(const tokenizer *t, const uint8_t *p, size_t size) {
    size_t length = 0;
    uint32_t node = 0;
    if (!t->user_marks_kept || !t->user.n) return 0;
    for (size_t i = 0; i < size && (node = piece_trie_step(&t->user.trie, node, p[i])) != 0; i++)
        if (t->user.trie.value[node] != TOKEN_NONE) length = i + 1;
    return length;
}

typedef struct normal_out {
    pith_ctx *ctx;
    const tokenizer *t;
    pith_buffer *out;
    bool drop_spaces; /* right now: at the start, or after a space */
} normal_out;

/* One unit of normalised text: after a space its own leading spaces go, those inside stay. */
static pith_status put_text(normal_out *o, const uint8_t *p, size_t size) {
    pith_status st = PITH_OK;
    size_t i = 0;
    while (o->drop_spaces && i < size && p[i] == ' ') i++;
    if (i == size) return st;
    for (; i < size && st == PITH_OK; i++) {
        if (p[i] == ' ' && o->t->escape_spaces)
            st = pith_buffer_append(o->ctx, o->out, SPACE_MARK, 3);
        else
            st = pith_buffer_append(o->ctx, o->out, p + i, 1);
    }
    o->drop_spaces = (o->t->remove_extra_spaces || o->t->collapse_spaces) && p[size - 1] == ' ';
    return st;
}

static pith_status put_prefix(normal_out *o) {
    bool had = o->drop_spaces;
    o->drop_spaces = false;
    pith_status st = put_text(o, (const uint8_t *)" ", 1);
    o->drop_spaces = had;
    return st;
}

static pith_status normalize_mapped(normal_out *o, const uint8_t *text, size_t size, bool prefix) {
    const tokenizer *t = o->t;
    size_t begin = o->out->size;
    pith_status st = prefix ? put_prefix(o) : PITH_OK;
    o->drop_spaces = t->remove_extra_spaces || (t->collapse_spaces && prefix);
    size_t after_prefix = o->out->size;
    for (size_t i = 0; i < size && st == PITH_OK;) {
        const char *replacement = NULL;
        uint32_t code;
        size_t n = user_longest(t, text + i, size - i);
        if (n) {
            st = put_text(o, text + i, n);
        } else if ((n = map_longest(&t->map, text + i, size - i, &replacement)) != 0) {
            st = put_text(o, (const uint8_t *)replacement, strlen(replacement));
        } else if ((n = utf8_read(text + i, size - i, &code)) != 0) {
            st = put_text(o, text + i, n);
        } else {
            n = 1;
            st = put_text(o, (const uint8_t *)"\xEF\xBF\xBD", 3);
        }
        i += n;
    }
    if (st != PITH_OK || !t->remove_extra_spaces) return st;
    size_t mark = t->escape_spaces ? 3 : 1;
    if (o->out->size == after_prefix) o->out->size = begin; /* nothing but spaces */
    while (o->out->size >= after_prefix + mark &&
           memcmp(o->out->data + o->out->size - mark, t->escape_spaces ? SPACE_MARK : " ", mark) == 0)
        o->out->size -= mark;
    if (o->out->size == after_prefix) o->out->size = begin;
    return PITH_OK;
}

pith_status normalize_text(pith_ctx *ctx, const tokenizer *t, const uint8_t *text, size_t size, bool front,
                           pith_buffer *out) {
    bool prefix = front && t->info.add_space_prefix;
    bool marked = size && (*text == ' ' || (size >= 3 && memcmp(text, SPACE_MARK, 3) == 0));
    if (prefix && t->prefix_unless_there && marked) prefix = false;
    normal_out o = {.ctx = ctx, .t = t, .out = out};
    if (t->map.n_units || t->remove_extra_spaces || t->collapse_spaces || !t->escape_spaces)
        return normalize_mapped(&o, text, size, prefix);
    if (size > SIZE_MAX / 3 - 1) return pith_fail(ctx, PITH_E_LIMIT, "a text of %zu bytes is too long", size);
    /* Nothing but spaces to mark: any bytes pass as they are. */
    size_t spaces = prefix;
    for (size_t i = 0; i < size; i++) spaces += text[i] == ' ';
    pith_status st = pith_buffer_reserve(ctx, out, size + 3 * spaces);
    if (st != PITH_OK) return st;
    uint8_t *w = out->data + out->size;
    if (prefix) {
        memcpy(w, SPACE_MARK, 3);
        w += 3;
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] != ' ') {
            *w++ = text[i];
        } else {
            memcpy(w, SPACE_MARK, 3);
            w += 3;
        }
    }
    out->size = (size_t)(w - out->data);
    return PITH_OK;
}
