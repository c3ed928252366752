/* predict: the probability of the next symbol, then arithmetic coding. The room's door.
 *
 * Everything here decodes to the same bytes on every machine, instruction set and thread
 * count: integers only, except the SSM, whose floats keep math/'s fixed order. */
#ifndef PREDICT_PREDICT_H
#define PREDICT_PREDICT_H

#include "base/base.h"

/* ---- a predictor of bytes, bit by bit ------------------------------------ */

/* One interface behind every model. `p` is the probability that the next bit is 1 in
 * 1/65536ths, 1..65535; bits come most significant first. */
typedef struct predictor predictor;
typedef struct predictor_ops {
    const char *name;
    unsigned (*p)(predictor *);
    void (*update)(predictor *, unsigned bit);
    void (*reset)(predictor *);
    /* Snapshot of the whole state, so that conditional code lengths cost only their own
     * bytes: copies into / from a predictor of the same parameters. */
    pith_status (*copy)(predictor *dst, const predictor *src);
    void (*free)(predictor *);
} predictor_ops;
struct predictor {
    const predictor_ops *ops;
    pith_ctx *ctx;
};

/* Code length in bits of data[n] under p, which learns as it goes (bits, not bytes). */
double predictor_codelen(predictor *p, const uint8_t *data, size_t n);

/* ---- online selective state-space byte model (ssm.c) ---------------------- */

typedef struct ssm ssm;
typedef struct ssm_params {
    unsigned width;  /* model width d, a multiple of 16 */
    unsigned layers;
    unsigned state;  /* state size per channel */
    unsigned chunk;  /* bytes between optimiser steps */
} ssm_params;
uint64_t ssm_memory(const ssm_params *);
pith_status ssm_new(pith_ctx *, const ssm_params *, ssm **);
void ssm_free(ssm *);
/* Probabilities of the next byte in 1/65536ths, every one >= 1, not normalised exactly:
 * callers halve sums of them. Valid until the next ssm_update. */
const uint32_t *ssm_predict(ssm *); /* [256] */
void ssm_update(ssm *, uint8_t byte);

#endif
