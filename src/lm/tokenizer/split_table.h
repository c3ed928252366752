/* The table of pre-tokenizers (split_table.c). */
#ifndef LM_TOKENIZER_SPLIT_TABLE_H
#define LM_TOKENIZER_SPLIT_TABLE_H

#include <stdbool.h>

#define SPLIT_STEPS_MAX 5
#define SPLIT_NAMES_MAX 12

typedef struct split_rule {
    const char *name[SPLIT_NAMES_MAX]; /* ggml's names, the canonical one first; NULL after the last */
    bool whole_words;                  /* a word that is a piece needs no merges */
    bool add_bos;
    const char *step[SPLIT_STEPS_MAX]; /* PCRE2, each on the words of the one before */
} split_rule;

/* NULL when there is none. */
const split_rule *split_find(const char *name);
/* The canonical name of the expression a tokenizer.json writes, or NULL. */
const char *split_name_of(const char *expression);

#endif
