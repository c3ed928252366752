/* The contexts of the two sizes: what each hashes of the history. */
#ifndef PREDICT_CM_CONTEXTS_H
#define PREDICT_CM_CONTEXTS_H

#include "kernels/predict/cm_history.h"

#define CM_SMALL_CTX 7
#define CM_LARGE_CTX 30

/* What stands above, in the line before and in the field before that is like this one. */
typedef struct cm_around {
    uint32_t column, above, above_next;
    uint32_t field_at, field_above, field_above_next;
    bool field_agrees; /* the byte before was as in the field above */
} cm_around;

PITH_INLINE cm_around cm_look_around(const cm_history *h) {
    const uint8_t *buf = h->buf;
    uint32_t n = h->n;
    cm_around a = {.column = n - h->line_start, .field_at = n - h->field_start};
    uint32_t up = h->above_start + a.column;
    if (up < h->above_end) a.above = buf[up];
    if (up + 1 < h->above_end) a.above_next = buf[up + 1];
    if (h->field_above) {
        uint32_t at = h->field_above + a.field_at;
        if (at < n) a.field_above = buf[at];
        if (at + 1 < n) a.field_above_next = buf[at + 1];
        a.field_agrees = a.field_at > 0 && buf[at - 1] == (h->c4 & 0xFF);
    }
    return a;
}

#define CTX(a, b) (out[i] = cm_hash3((a), (b), i), i++)

/* The first five of the small size: orders 2 to 4 and words. */
PITH_INLINE void cm_small_text(uint32_t c4, cm_words w, bool in_word, uint32_t *out) {
    unsigned i = 0;
    CTX(c4 & 0xFFFF, 0);
    CTX(c4 & 0xFFFFFF, 0);
    CTX(c4, 0);
    CTX(w.now, in_word ? 0 : c4 & 0xFF);
    CTX(w.now + w.gap, w.before);
}

/* The other two, of lines. */
PITH_INLINE void cm_small_line(uint32_t column, uint32_t above, uint32_t skeleton, uint32_t field_at,
                               uint32_t field_above, uint32_t *out) {
    unsigned i = 5;
    CTX(PITH_MIN(column, 255u), above);
    CTX(skeleton, PITH_MIN(field_at, 31u) | field_above << 8);
}

PITH_INLINE void cm_small_contexts(const cm_history *h, uint32_t *out) {
    cm_small_text(h->c4, (cm_words){h->word[0], h->word[1], h->gap}, h->word_len > 0, out);
    if (h->record && h->n > 2 * h->record) {
        const uint8_t *up = h->buf + h->n - h->record;
        uint32_t c1 = h->c4 & 0xFF;
        unsigned i = 5;
        CTX(up[0] | up[1] << 8 | c1 << 16, h->n % h->record);
        CTX(up[0] | up[-(ptrdiff_t)h->record] << 8, cm_hash2(h->n % h->record, c1));
    } else {
        cm_around a = cm_look_around(h);
        cm_small_line(a.column, a.above, h->skeleton, a.field_at, a.field_above, out);
    }
}

/* What they will be when c comes next, if it ends no line or field and there are no records: a guess at little cost,
 * good for asking for memory. */
PITH_INLINE void cm_small_contexts_after(const cm_history *h, uint8_t c, uint32_t *out) {
    cm_around a = cm_look_around(h);
    cm_small_text(h->c4 << 8 | c, cm_words_after(h, c), cm_word_letter(c) != 0, out);
    cm_small_line(a.column + 1, a.above_next, h->skeleton, a.field_at + 1, a.field_above_next, out);
}

PITH_INLINE void cm_large_contexts(const cm_history *h, uint32_t *out) {
    const uint8_t *buf = h->buf;
    uint32_t n = h->n, c4 = h->c4, c8 = h->c8, c1 = c4 & 0xFF;
    cm_around a = cm_look_around(h);
    uint32_t column = PITH_MIN(a.column, 255u);
    uint32_t after1 = h->after1[c1], after2 = h->after2[c4 & 0xFFFF];
    uint32_t after3 = h->after3[cm_hash2(c4 & 0xFFFFFF, 3) & 0xFFFF];
    uint32_t word = h->word[0] + h->gap;
    unsigned i = 0;
    /* orders 2 to 6, 8 and 12; the first eight also remember the last byte */
    CTX(c4 & 0xFFFF, 0);
    CTX(c4 & 0xFFFFFF, 0);
    CTX(c4, 0);
    CTX(c4, c8 & 0xFF);
    CTX(c4, c8 & 0xFFFF);
    CTX(cm_hash2(a.field_above | a.field_above_next << 8 | c1 << 16, a.field_agrees), h->field_digits);
    CTX(h->skeleton, cm_hash2(h->field_skeleton, a.field_at));
    CTX(h->word[0], c1 * (h->word_len == 0));
    CTX(c4, c8);
    CTX(cm_hash2(c4, c8), n >= 12 ? load32(buf + n - 12) : 0);
    /* words */
    CTX(word, h->word[1]);
    CTX(word, h->word[2] + 77);
    CTX(word, cm_hash2(h->word[1], h->word[2]));
    CTX(h->word[0], cm_hash2(c1, h->gap));
    CTX(h->sentence, h->word[0]);
    CTX(h->word_len, h->shape & 0xFFF);
    /* with gaps */
    CTX(c4 & 0xFFFF00, 1);
    CTX(c4 & 0xFF00FF, 2);
    CTX(c4 & 0xFFFF0000, 3);
    CTX(h->shape & 0xFFFFFF, c1);
    /* lines, fields, brackets */
    CTX(column, a.above);
    CTX(column, c1 | 0x100);
    CTX(column, cm_hash2(h->shape & 0xFF, h->word_len));
    CTX(a.above | c1 << 8, a.above_next | 0x100);
    CTX(h->skeleton, PITH_MIN(a.field_at, 31u) | a.field_above << 8);
    CTX(h->nest_hash, cm_hash2(c1, h->word[0]));
    /* what followed before */
    CTX(c1 | after1 << 8, 1);
    CTX(c4 & 0xFFFF, after2);
    if (h->record && n > 2 * h->record) {
        const uint8_t *up = buf + n - h->record;
        CTX(up[0] | up[-(ptrdiff_t)h->record] << 8, cm_hash2(c1, n % h->record));
        CTX(up[0] | up[1] << 8, cm_hash2(n % h->record, 5));
    } else {
        CTX(after2 & 0xFF, cm_hash2(after3, c1));
        CTX(h->shape, 7);
    }
}

#undef CTX

#endif
