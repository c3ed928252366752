/* Experiments on models that were taught something first: lessons made of items and text, a training, and codes tried
 * on what came of it. */
#ifndef CLI_BENCH_TAUGHT_H
#define CLI_BENCH_TAUGHT_H

#include "artefacts/model/model.h"
#include "faces/cli/bench_predict.h"
#include "lm/ruler/ruler.h"
#include "lm/train/train.h"

/* ---- lessons (bench_taught.c) ---- */

/* Windows of one length, and which of their tokens are to be learned. */
typedef struct lessons {
    uint32_t n_ctx;
    uint32_t share; /* windows of a batch that are drawn from here */
    uint32_t *tokens, *targets;
    size_t n, capacity;
} lessons;
void lessons_free(pith_ctx *ctx, lessons *l);
#define LESSONS_BYTES 256 /* tokens of nets whose tokens are bytes */
/* A model whose tokens are bytes, for the tokens' sake; train_model_close. */
int lessons_byte_model(experiment *e, lm_model **out);
/* Items, as many to a window as fit, each behind the start token as ruler_choose puts it; the right choice is what is
 * learned. */
int lessons_of_items(experiment *e, const lm_model *m, const ruler_items *items, lessons *l);
/* Running text; every stride-th token is learned. */
int lessons_of_text(experiment *e, const lm_model *m, const void *text, size_t size, uint32_t stride, lessons *l);

typedef struct teaching {
    uint64_t steps;
    double rate, decay;
    uint64_t seed;                                     /* of the order of the windows */
    pith_status (*each)(void *opaque, train_net *net); /* after some steps and the last one; may be NULL */
    uint64_t every;                                    /* how many; 0: a twelfth of them */
    void *opaque;
    const lm_model *teacher; /* learned from as well, NULL: none; train_hooks says what these two are */
    double mix, temperature;
    /* Changes the weights for the time in which a gradient is worked out; the step is then made from what they were
     * (straight through, Bengio et al. 2013): nets that are to be coded. May be NULL. */
    pith_status (*coded)(void *opaque, train_net *net);
    double nats;    /* out: of the last eighth of the steps */
    double seconds; /* out: processor time */
} teaching;
/* Steps of AdamW (warm-up over a tenth, then half a cosine), the windows of each kind in an order of the seed's, again
 * and again. All kinds have one n_ctx. */
int teach(experiment *e, train_net *net, const lessons *kinds, size_t n_kinds, teaching *t);
/* As a model file, over another one with -f. */
int taught_save(experiment *e, const train_net *net, const char *path);
void taught_shuffle(uint32_t *order, size_t n, uint64_t *seed);

/* ---- codes on trial (bench_taught_codes.c) ---- */

typedef struct taught_code {
    const char *name;
    const char *recipe; /* of the matrices of the layers; NULL: the model as it is */
    bool informed;      /* takes statistics */
    double level;       /* part that is zero, or bits */
} taught_code;

typedef struct taught_bed {
    experiment *e;
    const lm_model *base;
    model_stats *stats;
    model_overlay *overlay;
} taught_bed;
/* Codes are for the matrices of the layers, calibrated on the text where they take statistics. */
int taught_bed_open(experiment *e, const lm_model *base, const void *text, size_t size, taught_bed *b);
void taught_bed_close(taught_bed *b);
/* *coded must be closed before the next one; *bits of a coded weight. */
int taught_bed_try(taught_bed *b, const taught_code *code, lm_model **coded, double *bits);
/* chosen[items->n] and how many are right. */
int taught_ask(experiment *e, const lm_model *m, const ruler_items *items, uint32_t *chosen, size_t *right);

#endif
