/* Mixtures of experts: made out of dense models, and looked at. A mixture made here is a small one for experiments: it
 * has the neurons of the dense model and no others, put together by what fires together (Zhang et al. 2022,
 * MoEfication), and a router fitted to which of them carry the output. */
#ifndef MODEL_EXPERTS_H
#define MODEL_EXPERTS_H

#include "artefacts/model/overlay.h"
#include "kernels/represent/represent.h"
#include "lm/lm.h"

/* ---- a dense model split (experts_split.c, experts_cluster.c, experts_write.c) ------------------------- */

typedef struct experts_options {
    uint32_t n_experts, n_used; /* 2 to 512; the first divides the neurons of a block */
    uint32_t n_ctx;             /* tokens of a chunk of the text; 0: 512 */
    double sharpness;           /* standard deviation of the router's scores; 0: all weights are alike */
    double ridge;               /* of the fits, relative to the mean diagonal; 0: 0.01 */
    bool keep_down;             /* the down projections are only scaled, not fitted anew */
} experts_options;

/* Of one block, over the text: parts of the output's energy. */
typedef struct experts_block_report {
    double scale;   /* what the down projection was multiplied by */
    double scaled;  /* 1 - |y - s y'|^2 / |y|^2 with the chosen experts as they are */
    double fitted;  /* the same with the down projections fitted anew */
    double balance; /* share of tokens of the busiest expert, 1 / n_experts when all are alike */
} experts_block_report;

typedef struct experts_split experts_split;
/* Splits every feed-forward block of a dense model of architecture llama. Its text tokens[n] tells which neurons fire
 * together; what was chosen depends on nothing else. The router's weights are those of ridge regression of each
 * expert's share of the output; a token's weights then sum to 1, so that each expert's output is scaled up to make up
 * for that. With n_used = n_experts and sharpness 0 the mixture is the dense model, up to rounding; with any other
 * sharpness it is not, because softmax weighs the experts unequally. m must outlive the split. Ticks by tokens. */
pith_status experts_split_new(pith_ctx *ctx, const lm_model *m, const uint32_t *tokens, size_t n,
                              const experts_options *options, experts_split **out);
void experts_split_free(pith_ctx *ctx, experts_split *s);
const experts_block_report *experts_split_report(const experts_split *s, uint32_t layer);
/* As GGUF, with llama.cpp's names: router in F32, gate and up rows as they were, down in the type it had (F16 when that
 * is none of floats). */
pith_status experts_split_write(pith_ctx *ctx, const experts_split *s, tensor_write_fn write, void *opaque);

/* ---- what the experts of a mixture see (experts_stats.c) ------------------------------------------------ */

typedef struct experts_seen {
    uint64_t tokens;    /* that were sent to the expert */
    double weight;      /* sum of the router's weights */
    repr_stats in, mid; /* of what gate and up read, of what down reads; all NULL when no token came */
} experts_seen;

typedef struct experts_stats experts_stats;
/* Runs tokens[n] in chunks of n_ctx (0: 512) through a mixture. Gram matrices of every expert stay in memory. Ticks by
 * tokens. PITH_E_UNSUPPORTED for a dense model. */
pith_status experts_stats_new(pith_ctx *ctx, const lm_model *m, const uint32_t *tokens, size_t n, uint32_t n_ctx,
                              experts_stats **out);
void experts_stats_free(pith_ctx *ctx, experts_stats *s);
const experts_seen *experts_stats_at(const experts_stats *s, uint32_t layer, uint32_t expert);
uint64_t experts_stats_tokens(const experts_stats *s);
/* Quantile q of second weight over first, over the tokens; 0 when a token is sent to one expert alone. */
double experts_stats_ratio(const experts_stats *s, uint32_t layer, double q);

/* ---- codes for each expert (experts_try.c) --------------------------------------------------------------- */

/* What one code makes of one expert: gate, up and down. */
typedef struct experts_code {
    uint64_t weights, bytes, zeros;
    uint64_t below, above; /* of 0, in what comes back */
    double loss;           /* sum of tr((W - R) H (W - R)^T) over the three, H of the expert's own tokens */
    double energy;         /* the same of W */
    double decode_seconds; /* processor time */
    double entropy;        /* bits: order-0 entropy of the signs below, zero, above in each matrix, summed */
} experts_code;

/* Codes every expert of `base` by recipes[choice[layer * n_experts + expert]] (choice NULL: recipes[0]), each with
 * the statistics of its own tokens (stats NULL: none), and puts what comes back into the overlay (NULL: nowhere), whose
 * other tensors become base's. codes[n_layers * n_experts]. In parallel over experts; ticks by experts. */
pith_status experts_try(pith_ctx *ctx, const lm_model *base, const experts_stats *stats,
                        const pith_recipe *const *recipes, const uint32_t *choice, model_overlay *o,
                        experts_code *codes);

#endif
