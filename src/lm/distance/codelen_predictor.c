/* Code lengths by predictors that learn while they read: the context mixer and the state-space
 * model. What the prior has taught is kept as a snapshot, from which each text starts. */
#include <math.h>

#include "kernels/predict/predict.h"
#include "lm/distance/parts.h"

#define SSM_SCALE 22 /* log2 of what its probabilities sum to */

/* ---- context mixing ---- */

typedef struct mixer {
    codelen base;
    predictor *primed, *work;
    size_t prior_n;
} mixer;

/* The tables are made for max_bytes. */
static pith_status fits(const mixer *c, size_t n) {
    size_t most = c->base.options.max_bytes;
    if (n <= most && c->prior_n <= most - n) return PITH_OK;
    return pith_fail(c->base.ctx, PITH_E_ARGUMENT, "%zu bytes of prior and %zu of text where %zu were announced",
                     c->prior_n, n, most);
}

static pith_status cm_prime(codelen *base, const uint8_t *prior, size_t n) {
    mixer *c = (mixer *)(void *)base;
    c->prior_n = n;
    pith_status status = fits(c, 0);
    if (!status) status = c->primed->ops->reset(c->primed);
    if (!status) predictor_codelen(c->primed, prior, n);
    return status;
}

static pith_status cm_bits(codelen *base, const uint8_t *text, size_t n, double *bits) {
    mixer *c = (mixer *)(void *)base;
    pith_status status = fits(c, n);
    if (!status) status = c->work->ops->copy(c->work, c->primed);
    if (!status) *bits = predictor_codelen(c->work, text, n);
    return status;
}

static void cm_free(codelen *base) {
    mixer *c = (mixer *)(void *)base;
    if (c->primed) c->primed->ops->free(c->primed);
    if (c->work) c->work->ops->free(c->work);
    pith_free(base->ctx, c);
}

static const codelen_ops cm_ops = {cm_prime, cm_bits, cm_free};

pith_status codelen_predictor_new(pith_ctx *ctx, const codelen_options *o, codelen **out) {
    mixer *c = pith_zalloc(ctx, sizeof *c);
    if (!c) return pith_alloc_status(ctx);
    c->base = (codelen){&cm_ops, ctx, *o};
    cm_params params = {.inputs = o->kind == CODELEN_CM ? CM_SMALL : CM_LARGE};
    pith_status status = cm_predictor_new(ctx, &params, o->max_bytes, &c->primed);
    if (!status) status = cm_predictor_new(ctx, &params, o->max_bytes, &c->work);
    if (status) {
        cm_free(&c->base);
        return status;
    }
    *out = &c->base;
    return PITH_OK;
}

/* ---- the state-space model ---- */

typedef struct space {
    codelen base;
    ssm *fresh, *primed, *work;
} space;

static double read_text(ssm *s, const uint8_t *text, size_t n) {
    double bits = 0;
    for (size_t i = 0; i < n; i++) {
        bits += SSM_SCALE - log2((double)ssm_predict(s)[text[i]]);
        ssm_update(s, text[i]);
    }
    return bits;
}

static pith_status ssm_prime(codelen *base, const uint8_t *prior, size_t n) {
    space *c = (space *)(void *)base;
    ssm_copy(c->primed, c->fresh);
    read_text(c->primed, prior, n);
    return PITH_OK;
}

static pith_status ssm_bits(codelen *base, const uint8_t *text, size_t n, double *bits) {
    space *c = (space *)(void *)base;
    ssm_copy(c->work, c->primed);
    *bits = read_text(c->work, text, n);
    return PITH_OK;
}

static void ssm_close(codelen *base) {
    space *c = (space *)(void *)base;
    ssm_free(c->fresh);
    ssm_free(c->primed);
    ssm_free(c->work);
    pith_free(base->ctx, c);
}

static const codelen_ops ssm_ops = {ssm_prime, ssm_bits, ssm_close};

pith_status codelen_ssm_new(pith_ctx *ctx, const codelen_options *o, codelen **out) {
    space *c = pith_zalloc(ctx, sizeof *c);
    if (!c) return pith_alloc_status(ctx);
    c->base = (codelen){&ssm_ops, ctx, *o};
    ssm_params params = ssm_params_for(o->max_bytes);
    params.width = 32;
    pith_status status = ssm_new(ctx, &params, &c->fresh);
    if (!status) status = ssm_new(ctx, &params, &c->primed);
    if (!status) status = ssm_new(ctx, &params, &c->work);
    if (status) {
        ssm_close(&c->base);
        return status;
    }
    *out = &c->base;
    return PITH_OK;
}
