/* What the recipe's reader and printer share. Only base/recipe*.c look in here. */
#ifndef BASE_RECIPE_PARTS_H
#define BASE_RECIPE_PARTS_H

#include "base/registry.h"

/* Characters of an unquoted value: number, choice or text. */
static inline bool recipe_word_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("_.:/*+-%^~#?", c) != NULL);
}

/* Characters of a stage's or parameter's name; the first one is not a digit. */
static inline bool recipe_name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}
static inline bool recipe_name_start(char c) { return recipe_name_char(c) && !(c >= '0' && c <= '9'); }

/* Characters of a pattern, blanks around its commas aside. */
static inline bool recipe_pattern_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("_.*?,:=/[]-", c) != NULL);
}

typedef enum recipe_number {
    NUMBER_OK,
    NUMBER_NONE,     /* not spelled like a number */
    NUMBER_RANGE,    /* beyond 2^53, or smaller than 22 decimals can say */
    NUMBER_FRACTION, /* K, M, G, T or B on something that is not whole */
    NUMBER_BYTES     /* a unit of bytes where bytes are not meant */
} recipe_number;
/* Reads all of s[n]: 12, -0.5, .5, 1e-3, 25%, 64K; with `bytes` also 64KB, 2.5GiB, 8B.
 * K, M, G, T are powers of 1024. Exact: the double nearest to the decimal written. */
recipe_number recipe_number_read(const char *s, size_t n, bool bytes, double *v);

#endif
