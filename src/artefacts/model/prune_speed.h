/* How fast a model would be with fewer neurons, measured: the table from which a wanted speed-up becomes a number of
 * neurons (S289 ZipLM measures its latency table on the machine that is to run the model). */
#ifndef MODEL_PRUNE_SPEED_H
#define MODEL_PRUNE_SPEED_H

#include "artefacts/model/prune.h"

#define PRUNE_SPEED_ROWS 7
typedef struct prune_speed {
    uint32_t n_ff[PRUNE_SPEED_ROWS];  /* descending from the model's own */
    double seconds[PRUNE_SPEED_ROWS]; /* processor time of one generated token, one thread */
    double own;                       /* of the model as it is */
    size_t n;
    double fixed, per_neuron; /* a line through them, least squares */
} prune_speed;

/* Cuts the model to several numbers of neurons in memory, everything else in `request` as it says, and times each in
 * turns with the model itself, so that what else the machine does falls on both. Ticks by sizes. */
pith_status prune_speed_measure(pith_ctx *ctx, const lm_model *m, const prune_request *request, prune_speed *out);
/* Processor seconds of one generated token behind a short prompt, of two models in turns, the least of several runs. */
pith_status prune_speed_of(pith_ctx *ctx, const lm_model *a, const lm_model *b, double *seconds_a, double *seconds_b);
/* The most neurons, a multiple of 32 (where there are as many), with which a token takes at most so many seconds by
 * the line; 0 when none has. */
uint32_t prune_speed_neurons(const prune_speed *s, double seconds);

/* The number of neurons with which a token takes 1 / factor of the model's own time: that of the line, then models of
 * about as many made and timed until one is within 2 % of it, or a few were tried; the nearest of them. 0 when none
 * are few enough. */
pith_status prune_speed_search(pith_ctx *ctx, const lm_model *m, const prune_request *request, const prune_speed *s,
                               double factor, uint32_t *n_ff);

#endif
