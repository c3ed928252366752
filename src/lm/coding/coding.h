/* Text as code under a language model: tokens coded with the model's own probabilities by the
 * range coder of predict/, any bytes, exactly restored; and the lengths of such codes as a measure.
 *
 * A text becomes items: tokens, and single bytes where the tokenizer cannot give the text back
 * (an escape). Before each item one adaptive decision says which; a token is coded by
 * binary decisions down the tree of ids, from sums of whole-number frequencies (pmf.c), a byte by
 * an adaptive order-1 model. The model starts at its start token; when its window is full it starts
 * again from the later half of the window, so that each token is seen with at least half a window
 * of context. (C. S. K. Valmeekam et al., LLMZip, 2023; G. Deletang et al., Language
 * Modeling Is Compression, 2024.) */
#ifndef LM_CODING_CODING_H
#define LM_CODING_CODING_H

#include "lm/lm.h"

/* One model at work on one thread at a time: its session and buffers. Reusable. */
typedef struct lm_coder lm_coder;

typedef struct lm_coder_options {
    uint32_t window;    /* tokens of context at most; 0: what the model was trained with */
    uint32_t n_threads; /* 0: those of the session object */
} lm_coder_options;

/* An upper bound of what a coder takes, in bytes, for a window of so many tokens (0: the model's);
 * besides, coding a text takes LM_CODER_TEXT_BYTES for each of its bytes at most. */
uint64_t lm_coder_memory(const lm_model *m, uint32_t window);
#define LM_CODER_TEXT_BYTES 24

/* options NULL: defaults. The model must have a tokenizer; it and ctx must outlive the coder. */
pith_status lm_coder_new(pith_ctx *ctx, const lm_model *m, const lm_coder_options *options, lm_coder **out);
void lm_coder_free(lm_coder *c);

/* src[n] into at most cap bytes of dst; *out_n = SIZE_MAX when it does not fit. */
pith_status lm_coder_encode(lm_coder *c, const uint8_t *src, size_t n, uint8_t *dst, size_t cap, size_t *out_n);
/* Exactly raw_n bytes from all of src[n]; PITH_E_FORMAT when they do not end together. */
pith_status lm_coder_decode(lm_coder *c, const uint8_t *src, size_t n, uint8_t *dst, size_t raw_n);

/* ---- code length as a measure ------------------------------------------------------------------ */

typedef struct lm_length {
    double bits;        /* sum of -log2 p of the tokens, and of the escapes under their model */
    double escape_bits; /* of it: escape decisions and escaped bytes */
    size_t n_tokens, n_escapes;
} lm_code_length;

/* One item of a text, for those who want to see each. */
typedef struct lm_item {
    uint32_t token; /* TOKEN_NONE: an escaped byte */
    size_t offset, n; /* its bytes in the text */
    double bits;
    uint32_t rank;  /* of the token among all, 0 the likeliest */
} lm_item;
typedef void (*lm_item_fn)(void *opaque, const lm_item *item);

/* The length of text[n] after prior[prior_n] has been read (its code is not counted): K(text | prior).
 * prior_n 0: K(text). A prior longer than half the window counts by its end. `each` may be NULL; asking for ranks
 * costs a pass over the vocabulary a token. */
pith_status lm_coder_length(lm_coder *c, const uint8_t *prior, size_t prior_n, const uint8_t *text, size_t n,
                            lm_item_fn each, void *opaque, lm_code_length *out);

#endif
