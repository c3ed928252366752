/* Keeping track of words, lines, fields and brackets. */
#include "kernels/predict/cm_history.h"

const uint8_t cm_class[256] = {
    /* control */ 12, 12, 12, 12, 12, 12, 12, 12, 12, 4, 5, 12, 12, 5, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12,
    12, 12, 12, 12, 12, 12,
    /*  !"#$%&' */ 4, 6, 8, 0, 0, 0, 15, 8,
    /* ()*+,-./ */ 9, 10, 0, 0, 7, 13, 6, 14,
    /* 0-9 */ 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
    /* :;<=>?@ */ 14, 7, 15, 14, 15, 6, 0,
    /* A-Z */ 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    /* [\]^_` */ 9, 14, 10, 0, 13, 8,
    /* a-z */ 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    /* {|}~ del */ 9, 0, 10, 0, 12,
    /* high */ 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11,
    11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11,
    11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11,
    11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11,
    11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11};

void cm_history_init(cm_history *h, const uint8_t *buf, uint32_t record) {
    memset(h, 0, sizeof *h);
    h->buf = buf;
    h->record = record;
}

static void word_update(cm_history *h, uint8_t c, uint8_t class) {
    cm_words words = cm_words_after(h, c);
    if (cm_word_letter(c)) {
        if (h->word_len == 0) {
            h->word[3] = h->word[2];
            h->word[2] = h->word[1];
        }
        h->word_len++;
    } else {
        if (h->word_len > 0 && h->sentence == 0) h->sentence = h->word[0];
        h->word_len = 0;
        if (class == 6) h->sentence = 0;
    }
    h->word[0] = words.now;
    h->word[1] = words.before;
    h->gap = words.gap;
}

static void line_update(cm_history *h, uint8_t c, uint8_t class) {
    uint32_t next = h->n; /* position of the byte to come */
    bool separator = class == 4 || class == 5 || c == ',' || c == ';' || c == '|' || c == '"' || c == '=' ||
                     c == ':' || c == '/' || c == '(' || c == '[' || c == '&' || c == '<' || c == '>';
    if (class == 5) {
        if (c == '\n' || h->line_start + 1 < next) {
            h->above_start = h->line_start;
            h->above_end = next;
        }
        h->line_start = next;
        h->field = 0;
        h->skeleton = 0;
    } else if (separator) {
        h->field++;
        h->skeleton = cm_hash3(h->skeleton, h->field_digits ? 0 : h->field_skeleton, c);
    } else {
        h->field_skeleton = cm_hash2(h->field_skeleton + c + 1, 0x85EBCA6Bu);
        h->field_digits |= class == 3;
        return;
    }
    h->field_skeleton = 0;
    h->field_digits = false;
    h->field_start = next;
    if (h->no_fields) {
        h->skeleton = 0;
        return;
    }
    uint32_t *place = &h->field_place[h->skeleton % HISTORY_SLOTS];
    h->field_above = *place;
    *place = next;
}

static void nest_update(cm_history *h, uint8_t c) {
    uint8_t close = c == '(' ? ')' : c == '[' ? ']' : c == '{' ? '}' : c == '<' ? '>' : 0;
    if (close) {
        h->nest[h->nest_depth++ % HISTORY_NEST] = close;
    } else if ((c == ')' || c == ']' || c == '}' || c == '>') && h->nest_depth > 0) {
        /* a close that fits none of the last few opens is text, not structure */
        for (uint32_t back = 1; back <= 4 && back <= h->nest_depth; back++)
            if (h->nest[(h->nest_depth - back) % HISTORY_NEST] == c) {
                h->nest_depth -= back;
                break;
            }
    }
    uint32_t d = h->nest_depth;
    h->nest_hash = d == 0 ? 0 : h->nest[(d - 1) % HISTORY_NEST] | (d > 1 ? h->nest[(d - 2) % HISTORY_NEST] << 8 : 0) | d << 16;
}

void cm_history_follow(cm_history *h) {
    uint8_t c = h->buf[h->n];
    uint32_t c1 = h->c4 & 0xFF, c2 = h->c4 & 0xFFFF;
    uint32_t c3 = cm_hash2(h->c4 & 0xFFFFFF, 3) & 0xFFFF;
    h->after1[c1] = (uint16_t)(h->after1[c1] << 8 | c);
    h->after2[c2] = (uint16_t)(h->after2[c2] << 8 | c);
    h->after3[c3] = c;
}

void cm_history_update(cm_history *h) {
    uint8_t c = h->buf[h->n++];
    uint8_t class = cm_class[c];
    h->c8 = h->c8 << 8 | h->c4 >> 24;
    h->c4 = h->c4 << 8 | c;
    h->shape = h->shape << 4 | class;
    word_update(h, c, class);
    line_update(h, c, class);
    nest_update(h, c);
}
