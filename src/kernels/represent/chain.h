/* What a chain is made of, for the files that build it (chain_new.c), run it (chain.c) and branch it (branch.c).
 * Private to the room. */
#ifndef REPRESENT_CHAIN_H
#define REPRESENT_CHAIN_H

#include "kernels/represent/represent.h"

/* Matrices that one decoding makes of one: a stack of stacks of stacks may not run for ever. */
#define CHAIN_MAX_LEAVES 1024

/* A stage in its place, with a chain for each argument that is a recipe. */
typedef struct chain_link {
    const pith_recipe_stage *args; /* NULL: there is none */
    const repr_ops *ops;
    struct repr_chain *branch[PITH_STAGE_MAX_PARAMS];
} chain_link;

struct repr_chain {
    chain_link *transforms;
    unsigned n_transforms;
    chain_link coder, packer, solver; /* packer and solver of a branch: its own or those of the chain around it */
    pith_recipe *default_coder, *default_packer; /* what the rule does not say */
    unsigned leaves;
};

/* The seed of part `i` of something that has `seed`. */
uint64_t chain_seed(uint64_t seed, unsigned i);
/* repr_encode and repr_decode with the seed of the place in the recipe. */
pith_status chain_encode(pith_ctx *ctx, const repr_chain *chain, uint64_t seed, const repr_matrix *w,
                         const repr_stats *stats, pith_buffer *out, float *restored);
pith_status chain_decode(pith_ctx *ctx, const repr_chain *chain, uint64_t seed, repr_reader *in, unsigned levels,
                         repr_parts *parts, repr_matrix *w);
/* chain_encode in w's own place, which is lost; restored is not NULL. */
pith_status chain_encode_over(pith_ctx *ctx, const repr_chain *chain, uint64_t seed, repr_matrix *w,
                              const repr_stats *stats, pith_buffer *out, float *restored);
/* Runs a coder that only knows columns, nothing spread (chain_sweep.c); like a solver it works in w's place. */
pith_status chain_sweep(const repr_job *job, repr_matrix *w, repr_columns *columns, float *restored);
/* The chain of argument `param`; NULL when the recipe does not give it. */
const repr_chain *chain_branch(const repr_job *job, unsigned param);

/* bands(part, often, rare) of rows.c, for the table of branches. */
enum { BANDS_PART, BANDS_OFTEN, BANDS_RARE, BANDS_PARAMS };
extern const repr_ops bands_ops;
extern const pith_param bands_params[BANDS_PARAMS];

#endif
