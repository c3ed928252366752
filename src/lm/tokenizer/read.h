/* The readers of vocabulary files, one per format. On failure *out may hold a half-made tokenizer,
 * which the caller frees. */
#ifndef LM_TOKENIZER_READ_H
#define LM_TOKENIZER_READ_H

#include "lm/tokenizer/tokenizer.h"

pith_status read_tokenizer_json(pith_ctx *ctx, const char *text, size_t size, tokenizer **out);
/* Whether the bytes start with a piece of a SentencePiece model. */
bool looks_like_sentencepiece(const uint8_t *data, size_t size);
pith_status read_sentencepiece(pith_ctx *ctx, const uint8_t *data, size_t size, tokenizer **out);
/* n_vocab 0: to the end of the file. */
pith_status read_llama2c_vocabulary(pith_ctx *ctx, const uint8_t *data, size_t size, uint32_t n_vocab, tokenizer **out);

#endif
