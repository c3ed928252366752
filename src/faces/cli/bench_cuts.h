/* The parts of pith bench cuts and subspace: one model, one text, and what every way to make it smaller by whole units
 * costs. */
#ifndef CLI_BENCH_CUTS_H
#define CLI_BENCH_CUTS_H

#include "artefacts/artefacts.h"
#include "artefacts/model/model.h"
#include "faces/cli/bench_predict.h"

typedef struct cuts {
    const char *model, *text_path;
    uint64_t bytes, judge, seed;
    lm_model *m;
    cut_shape shape;
    pith_buffer text;
    model_stats *gathered;
    prune_stats *stats;
    model_ruler *ruler, *own_ruler; /* the text that judges; the beginning of that which calibrates */
    model_overlay *overlay;
} cuts;

/* A model after a change. */
typedef struct cuts_result {
    double parameters; /* all of them, embeddings too */
    double kl, ratio;  /* perplexity over the base's */
    double bits;       /* of a coded weight, by cuts_recipe */
    double speed;      /* tokens a second over the base's, by processor time of one thread; NAN: not measured */
} cuts_result;

/* The model, the text (unless it is there already), statistics, judges. cuts_close in any case. */
int cuts_open(experiment *e, cuts *c);
void cuts_close(experiment *e, cuts *c);
/* Cuts by a plan, in memory; `pairs` in (0, 1): queries, keys and values made so much thinner too (cuts_thin). */
int cuts_judge(experiment *e, cuts *c, const cut_plan *plan, double pairs, bool timed, cuts_result *out);
int cuts_prune(experiment *e, cuts *c, const prune_request *request, double pairs, bool timed, cuts_result *out);
/* A recipe through the overlay: every matrix it names in full size; parameters as the caller counts them. */
int cuts_recipe(experiment *e, cuts *c, const char *recipe, cuts_result *out);
void cuts_row(experiment *e, const cuts *c, const char *label, const cuts_result *r);
#define CUTS_COLUMNS "|parameters %.1f|KL.4|PPL ratio.3|speed.2"
/* Parameters of all layers, and of all feed-forward blocks. */
double cuts_layer_parameters(const cut_shape *s);
double cuts_ff_parameters(const cut_shape *s);
double cuts_random(uint64_t *state); /* [0, 1), splitmix64 */

/* MoDeGPT's two parts that are not neurons (S055), in the overlay's values, zeros where a dimension goes: of the
 * rotary pairs of a key head those with the most energy of queries times energy of keys stay, and values with the
 * output projection behind them become the product of so low a rank that serves the inputs best.
 * (bench_cuts_pairs.c) */
pith_status cuts_thin(experiment *e, const cuts *c, const tensor_file *file, model_overlay *overlay, double keep);
bool cuts_can_thin(const cuts *c);
/* PruneNet (S294) beside its controls. (bench_cuts_policy.c) */
int cuts_policy(experiment *e, cuts *c);
/* A table of embeddings for click-through, cut by its output's covariance (S290). (bench_subspace_clicks.c) */
int subspace_clicks(experiment *e, uint64_t seed);

#endif
