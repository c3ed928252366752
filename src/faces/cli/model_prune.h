/* The parts of `pith model prune`: what the command line says, and what both ways to choose share. */
#ifndef CLI_MODEL_PRUNE_H
#define CLI_MODEL_PRUNE_H

#include "faces/cli/cmd_lm.h"
#include "lm/ruler/ruler.h"

typedef struct prune_options {
    lm_options common;
    const char *neurons, *heads, *kv_heads, *layers, *channels, *shared_keys, *method, *text, *stats, *eval_text, *share;
    const char *experts;
    uint64_t tokens, seed, chunks, shots;
    double damp, speedup;
    bool eval, uneven;
} prune_options;

/* "75%" or "576" of n there are, 1 to n; 0 without text. CLI_FAIL with the message printed. */
int prune_read_share(const char *option, const char *text, uint32_t n, uint32_t *out);
/* Opens what came out, from `path` or when that is NULL from memory, as any model is opened: a file that does not load is
 * an error here and now. CLI_FAIL with the message printed; both are to be closed when not NULL. */
int prune_reopen(pith_ctx *ctx, const char *path, const pith_buffer *bytes, tensor_file **file, lm_model **m);
/* The new model against the old one on the text that --eval or --eval-text names; *compared false: neither. */
int prune_compare(pith_ctx *ctx, const prune_options *o, const lm_model *old, const lm_model *now,
                  ruler_comparison *out, bool *compared);
void prune_print_comparison(const ruler_comparison *c);
void prune_json_comparison(json_t *all, const ruler_comparison *c);

/* Methods that take a pass with gradients: surgeon, heapr (model_prune_curved.c). */
bool prune_is_curved(const char *method);
int prune_curved(pith_ctx *ctx, const prune_options *o);

#endif
