/* Lines cut into tokens, for columns_mine.c. Private to it. */
#ifndef FILE_COLUMNS_TOKENS_H
#define FILE_COLUMNS_TOKENS_H

#include "artefacts/file/columns.h"

enum { TOKENS_MAX = 128 };

typedef struct tokens {
    unsigned n; /* TOKENS_MAX + 1: more than that */
    column_value token[TOKENS_MAX + 1];
    bool variable[TOKENS_MAX + 1];
} tokens;

/* The first `most` tokens of the line src[at..end). With a separator every value between two of them is
 * one, and variable; otherwise what stands between blanks and brackets, and variable with a digit in it. */
void tokens_find(tokens *t, const uint8_t *src, size_t at, size_t end, uint8_t separator, unsigned most);

/* A hash of what kinds of bytes a token is made of, never 0: runs of digits, of letters, of both; all else as it is. */
uint64_t token_shape(const uint8_t *src, column_value v);

/* The separator between the values of most lines of a table, 0: none. */
uint8_t tokens_separator(const uint8_t *src, size_t n);

#endif
