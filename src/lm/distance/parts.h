/* What the families of coders share. Private to distance/. */
#ifndef LM_DISTANCE_PARTS_H
#define LM_DISTANCE_PARTS_H

#include "lm/distance/distance.h"

/* A family embeds this as its first member. */
typedef struct codelen_ops {
    pith_status (*prime)(codelen *, const uint8_t *prior, size_t n);
    pith_status (*bits)(codelen *, const uint8_t *text, size_t n, double *bits);
    void (*free)(codelen *);
} codelen_ops;
struct codelen {
    const codelen_ops *ops;
    pith_ctx *ctx;
    codelen_options options;
};

pith_status codelen_classic_new(pith_ctx *ctx, const codelen_options *o, codelen **out);
pith_status codelen_predictor_new(pith_ctx *ctx, const codelen_options *o, codelen **out);
pith_status codelen_ssm_new(pith_ctx *ctx, const codelen_options *o, codelen **out);
pith_status codelen_model_new(pith_ctx *ctx, const codelen_options *o, codelen **out);

#endif
