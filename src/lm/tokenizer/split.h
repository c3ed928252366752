/* Pre-tokenizers: where a byte-level vocabulary cuts a text into words before it merges. The
 * expressions are those of the models, by ggml's names for them, run by PCRE2. */
#ifndef LM_TOKENIZER_SPLIT_H
#define LM_TOKENIZER_SPLIT_H

#include "base/base.h"

typedef struct splitter splitter;

pith_status splitter_new(pith_ctx *ctx, const char *name, splitter **out);
void splitter_free(pith_ctx *ctx, splitter *s);

/* Calls `word` for every piece of text in order; together they are the text. Bytes that are no
 * UTF-8 count as U+FFFD, each by itself. */
typedef pith_status (*word_fn)(void *arg, const uint8_t *word, size_t size);
pith_status splitter_run(pith_ctx *ctx, const splitter *s, const uint8_t *text, size_t size, word_fn word, void *arg);

#endif
