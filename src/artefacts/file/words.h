/* The static dictionary of the text front end: models/prime/words.txt, one lower-case word a line,
 * most frequent first. Its words are part of the format. */
#ifndef FILE_WORDS_H
#define FILE_WORDS_H

#include "base/base.h"

enum {
    WORDS_MAX = 4096,    /* numbers that two bytes of code have room for, and more than there are */
    WORDS_SLOTS = 16384, /* of the table that finds them */
    WORD_LENGTH_MIN = 2,
    WORD_LENGTH_MAX = 31
};

typedef struct words {
    const uint8_t *at[WORDS_MAX];
    uint8_t length[WORDS_MAX];
    unsigned n;
    uint16_t slots[WORDS_SLOTS]; /* number + 1, 0 empty, by hash */
} words;

void words_init(words *w);
/* Number of the lower-case word p[n], or -1. */
int words_find(const words *w, const uint8_t *p, size_t n);

#endif
