/* Text built into the program that a context mixer may learn before it codes. */
#ifndef FILE_PRIMER_H
#define FILE_PRIMER_H

#include "base/base.h"

/* Part of the format: numbers are never reused, texts never change. */
typedef enum primer_id {
    PRIMER_NONE,
    PRIMER_PROSE_SHORT, /* the last pages of the prose */
    PRIMER_PROSE,
    PRIMER_MARKUP, /* a page of prose, then markup */
    PRIMER_CODE,   /* the same and code behind it */
    PRIMER_LOG,
    PRIMER_PROSE_PAGES,  /* the last pages, fewer of them */
    PRIMER_PROSE_LEAVES, /* and fewer still */
    PRIMER_COUNT
} primer_id;

/* How long a text may be: for a quick model it is kept shorter before blocks that would wait for it. */
typedef enum primer_effort { PRIMER_QUICK, PRIMER_BRIEF, PRIMER_WHOLE } primer_effort;

/* The text of a primer; *n is 0 for none. */
const uint8_t *primer_text(primer_id id, size_t *n);
/* The longest there is, in bytes. */
size_t primer_longest(void);
/* The primer most like data[n], PRIMER_NONE when none is like it. */
pith_status primer_choose(pith_ctx *ctx, const uint8_t *data, size_t n, primer_effort effort, primer_id *id);

#endif
