/* What to cut from a model: units scored by weights and by what the model does on a text, the least of them taken out,
 * and the matrices behind them fitted anew where the method says so. Every layer loses the same share,
 * or (uneven) what loses least in all.
 *
 *   magnitude  norm of a unit's weights; no text needed
 *   minitron   norm of a unit's activations (S312: Muralidharan et al. 2024)
 *   wanda      norm of its activations times the norm of the weights that read it (S331 HEAPr with the identity for the
 *              curvature of the output)
 *   ziplm      one at a time what costs the outputs least, the rest making up for it (S289: Kurtic et al. 2023)
 *   modegpt    the highest ridge leverage scores, then a Nystrom fit (S055: Lin et al. 2024)
 *   random     the control
 * Layers go by block influence, channels by the norm of their normed activations. */
#ifndef MODEL_PRUNE_H
#define MODEL_PRUNE_H

#include "artefacts/model/cut.h"
#include "artefacts/model/stats.h"
#include "lm/lm.h"

typedef enum prune_method {
    PRUNE_MAGNITUDE,
    PRUNE_MINITRON,
    PRUNE_WANDA,
    PRUNE_ZIPLM,
    PRUNE_MODEGPT,
    PRUNE_RANDOM,
    N_PRUNE_METHODS
} prune_method;
/* "magnitude" and so on. */
extern const char *const prune_method_names[N_PRUNE_METHODS];

/* ---- what a model does on a text (prune_stats.c) --------------------------------------------------- */

/* Means over tokens. Any array of an absent kind is NULL. */
typedef struct prune_layer {
    const float *neurons_gram, *heads_gram; /* packed lower triangles of x x^T, inputs of ffn_down and attn_output */
    double *neurons, *heads;          /* [n_ff], [n_heads * head_dim] of x^2 */
    double influence;                 /* 1 - mean cosine of the layer's input and output */
} prune_layer;
typedef struct prune_stats {
    cut_shape shape;
    prune_layer *layers; /* [n_layers] */
    double *channels;    /* [n_embd] sum over all normed inputs of blocks of x^2 */
    uint64_t n_tokens;
    bool has_influence;
    bool borrowed; /* the Gram matrices belong to a model_stats */
} prune_stats;
/* Runs the tokens in pieces of n_ctx (0: 512). grams: bit 0 of neurons, bit 1 of heads; they take doubles while they
 * are gathered. Ticks in tokens. */
pith_status prune_stats_new(pith_ctx *ctx, const lm_model *m, const uint32_t *tokens, size_t n, uint32_t n_ctx,
                            unsigned grams, prune_stats **out);
/* The same from a file of statistics, which must outlive it. PITH_E_ARGUMENT when it lacks what `grams` and the
 * methods ask for. */
pith_status prune_stats_of(pith_ctx *ctx, const model_stats *from, const cut_shape *shape, unsigned grams,
                           prune_stats **out);
void prune_stats_free(pith_ctx *ctx, prune_stats *s);

/* ---- plans (prune.c) --------------------------------------------------------------------------------- */

typedef struct prune_request {
    prune_method method;
    cut_shape keep; /* how much of each stays; 0: all. Heads: n_heads query heads, as many of each key head */
    /* PRUNE_ZIPLM: keep.n_ff is a mean, and layers keep as many neurons as lose least in all: the sum of the squared
     * errors of what they add to the stream (architecture llama) */
    bool uneven;
    uint32_t shared_keys; /* key heads that all are merged into (cut.h); 0: none are */
    double damp;    /* of Gram matrices, relative to their mean diagonal; 0: 0.01 */
    uint64_t seed;  /* of PRUNE_RANDOM */
} prune_request;
/* Whether a request needs statistics, and which Gram matrices (as above). */
bool prune_needs(const prune_request *request, const cut_shape *shape, unsigned *grams);

typedef struct prune_plan prune_plan;
/* stats may be NULL when the request needs none. f and stats must outlive the plan. Ticks by layers. */
pith_status prune_plan_new(pith_ctx *ctx, const tensor_file *f, const prune_request *request, const prune_stats *stats,
                           prune_plan **out);
void prune_plan_free(pith_ctx *ctx, prune_plan *p);
/* For model_cut_new; lives with the plan. */
const cut_plan *prune_cut(const prune_plan *p);

#endif
