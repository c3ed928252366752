/* A text as tokens, and bytes where tokens cannot give the text back. Private to lm/coding/. */
#ifndef CODING_ITEMS_H
#define CODING_ITEMS_H

#include "lm/tokenizer/tokenizer.h"

#define ITEM_BYTE 0x80000000u /* item & 255 is a byte; other items are token ids */

/* Appends items that spell out text[n] exactly. The work is bounded whatever the text: after
 * too many places where the tokenizer changes it, the rest of a stretch is bytes. */
pith_status items_of(pith_ctx *ctx, const tokenizer *t, const uint8_t *text, size_t n, token_list *items);

#endif
