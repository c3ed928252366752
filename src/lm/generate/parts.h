/* Drafts: tokens that may come next, for the model to check in one pass. Private to the room. */
#ifndef LM_GENERATE_PARTS_H
#define LM_GENERATE_PARTS_H

#include "lm/generate/generate.h"

typedef struct drafter drafter;
/* Options with their defaults filled in; for DRAFT_NONE *out is NULL, which all of these take. */
pith_status drafter_new(pith_ctx *ctx, const generate_options *options, const lm_model *m, drafter **out);
void drafter_free(drafter *d);
/* A new text begins with its prompt; tokens are added to it; it is over. */
void drafter_start(drafter *d, const uint32_t *prompt, size_t n);
void drafter_add(drafter *d, uint32_t id);
void drafter_finish(drafter *d, const uint32_t *text, size_t n, size_t n_prompt);
/* At most `most` tokens (of max_draft) that may follow text[n] into draft[]. s: how the target chooses. */
pith_status drafter_propose(drafter *d, sampler *s, const uint32_t *text, size_t n, size_t most, uint32_t *draft,
                            size_t *n_draft);
void drafter_remember(drafter *d, const uint32_t *ids, size_t n);
void drafter_forget(drafter *d);

/* Whether two models speak of the same tokens. */
pith_status same_vocabulary(pith_ctx *ctx, const lm_model *a, const lm_model *b);

#endif
