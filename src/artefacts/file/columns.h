/* Lines taken apart into columns: what front_columns.c, its miner, its coder of columns and its
 * reader share. The stream they make is described in docs/format.md, "Front end 5". Private to them.
 *
 * A line is a template with slots; a slot's values, from line to line, are a column. A column is
 * one of a few kinds, some of which are made of further columns: words of a dictionary, parts between
 * fixed separators. */
#ifndef FILE_COLUMNS_H
#define FILE_COLUMNS_H

#include "base/base.h"

/* Kinds of columns, as they stand in the stream. */
enum {
    COLUMN_TEXT,   /* each value and a line end */
    COLUMN_NUMBER, /* decimal numbers, plain or as differences */
    COLUMN_HEX,    /* hexadecimal digits, so many bytes each */
    COLUMN_WORDS,  /* numbers of words, and a column of the words */
    COLUMN_PARTS,  /* fixed texts and columns in turn; with no columns: one text */
    COLUMN_COPY,   /* the value this line already has in another column */
    COLUMN_KINDS
};
/* Format byte of a COLUMN_NUMBER. */
enum {
    NUMBER_DELTA = 1,   /* differences to the value before */
    NUMBER_SIGNED = 2,  /* folded: 0, -1, 1, -2, ... ; always with NUMBER_DELTA */
    NUMBER_PLANES = 4,  /* all lowest bytes first; otherwise number by number, highest byte first */
    NUMBER_ZEROS = 8,   /* padded to the width by zeros */
    NUMBER_BLANKS = 16, /* padded to the width by blanks */
    NUMBER_FLAGS = 32
};
enum {
    COLUMNS_MAX = 4096,    /* of a block */
    COLUMNS_DEPTH_MAX = 4, /* columns within columns */
    COLUMNS_PARTS_MAX = 255,
    NUMBER_TEXT_MAX = 32,
    NUMBER_WIDTH_MAX = 19
};
#define COLUMNS_SLOT 0x00 /* in a template */
#define COLUMNS_END 0x0A  /* of lines and values */
/* Columns and columns within, templates, and slots of all templates of a block of n bytes. */
#define COLUMNS_NODES_MAX(n) PITH_MIN((size_t)(n) / 16 + 64, (size_t)16384)
#define COLUMNS_TEMPLATES_MAX(n) PITH_MIN((size_t)(n) / 4 + 1, (size_t)65535)
#define COLUMNS_SLOTS_MAX(n) PITH_MIN((size_t)(n), (size_t)65535)
/* Words of all dictionaries together, bytes and offsets, of a block of n bytes. */
#define COLUMNS_WORDS_MAX(n) ((n) / 4 + 1024)
/* Visits to columns that a block of n bytes may take. */
#define COLUMNS_VISITS_MAX(n) (4 * (uint64_t)(n) + 4096)

/* A value: bytes of the block. */
typedef struct column_value {
    uint32_t at, n;
} column_value;

PITH_INLINE bool column_is_digit(uint8_t c) { return c >= '0' && c <= '9'; }
PITH_INLINE bool column_is_letter(uint8_t c) { return ((c | 32) >= 'a' && (c | 32) <= 'z') || c >= 0x80; }

/* ---- numbers (columns_number.c) ---- */

/* How a column's numbers are written: flags ZEROS or BLANKS, and the width they pad to (0: none). */
typedef struct number_style {
    unsigned flags, width;
} number_style;
/* The number p[n] if it is written in this style, no longer than 19 digits and below 2^63 in size. */
bool number_read(const number_style *style, const uint8_t *p, size_t n, int64_t *value);
/* Into text[NUMBER_TEXT_MAX]; gives back its length. */
size_t number_write(const number_style *style, int64_t value, uint8_t *text);
PITH_INLINE uint64_t number_fold(int64_t v) { return (uint64_t)v << 1 ^ (uint64_t)(v >> 63); }
PITH_INLINE int64_t number_unfold(uint64_t v) { return (int64_t)(v >> 1 ^ (0 - (v & 1))); }

/* ---- one column (columns_code.c) ---- */

typedef struct columns_coder columns_coder; /* keeps what all columns of a block share */
pith_status columns_coder_new(pith_ctx *ctx, const uint8_t *src, size_t n, columns_coder **out);
void columns_coder_free(pith_ctx *ctx, columns_coder *c);
/* Appends the smallest description of value[n], n > 0, to `directory` and its bytes to `data`. */
pith_status columns_code(columns_coder *c, const column_value *value, size_t n, pith_buffer *directory,
                         pith_buffer *data);
pith_status columns_put(pith_ctx *ctx, pith_buffer *b, uint64_t v); /* appends a varint */

/* ---- templates (columns_mine.c) ---- */

/* What the lines of a block are made of. */
typedef struct columns_mined {
    uint32_t n_lines, n_templates, n_columns;
    uint16_t *line_template; /* [n_lines]: 0 none, else number of the template, from 1 */
    pith_buffer templates;   /* their text, as in the stream */
    uint16_t *slot_column;   /* column of each slot, template by template */
    uint32_t *first_slot;    /* [n_templates + 1] */
    column_value *value;     /* all values, column by column */
    uint32_t *first_value;   /* [n_columns + 1] */
    uint16_t *copy_of;       /* [n_columns]: column it always repeats; itself: none */
    column_value *loose;     /* lines without a template, each with its end */
    uint32_t n_loose;
} columns_mined;

/* `separator`: between the values of all lines; 0: blanks and brackets between words of which the templates
 * are mined. n_columns = 0 when nothing is to be gained. Free in any case. */
pith_status columns_mine(pith_ctx *ctx, const uint8_t *src, size_t n, uint8_t separator, columns_mined *out);
void columns_mined_free(pith_ctx *ctx, columns_mined *m);

/* ---- back (columns_read.c) ---- */

/* *good: whether src[n] was a stream of raw_n bytes, which then are in dst; any failure is one of memory. */
pith_status columns_read(pith_ctx *ctx, const uint8_t *src, size_t n, uint8_t *dst, size_t raw_n, bool *good);
/* At most so much is allocated. */
uint64_t columns_read_memory(size_t raw_n);

#endif
