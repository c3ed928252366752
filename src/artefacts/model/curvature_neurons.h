/* Hidden neurons of feed-forward blocks and of experts ("atomic experts": a row of gate, a row of up, a column w of
 * down) ranked over the whole net by what the loss feels of them: with M the mean of g g^T over the gradients by the
 * expert's output, removing neuron k of activation a_k costs 1/2 mean a_k^2 w_k^T M w_k in the second order (HEAPr,
 * 2025). The identity for M is Wanda's score. */
#ifndef MODEL_CURVATURE_NEURONS_H
#define MODEL_CURVATURE_NEURONS_H

#include "artefacts/model/curvature.h"

typedef enum heapr_rule {
    HEAPR_SUMS,      /* means over all tokens: an expert that gets few tokens counts less */
    HEAPR_MEANS,     /* means over the tokens that came to the expert, as published */
    HEAPR_WANDA,     /* mean a_k^2 |w_k|^2, over the expert's tokens */
    HEAPR_MAGNITUDE, /* squares of all three vectors */
    HEAPR_FREQUENCY, /* tokens that came to the expert: whole experts go */
    N_HEAPR_RULES
} heapr_rule;
extern const char *const heapr_rule_names[N_HEAPR_RULES];

/* The neurons of one block or of one expert. */
typedef struct heapr_group {
    uint32_t layer;
    int expert;      /* -1: a dense block */
    size_t first, n; /* its neurons, in the list of all */
} heapr_group;
typedef struct heapr_list {
    heapr_group *at;
    size_t n_groups, n; /* n: neurons */
    size_t n_embd;
} heapr_list;

/* PITH_E_UNSUPPORTED for a net without gated feed-forward blocks. */
pith_status heapr_list_new(pith_ctx *ctx, train_net *net, heapr_list **out);
void heapr_list_free(pith_ctx *ctx, heapr_list *l);

/* Mean a_k^2 and M of all down projections: what the rules need. */
pith_status heapr_curvature(pith_ctx *ctx, train_net *net, const uint32_t *tokens, size_t n_windows, size_t n_ctx,
                            curvature **out);
/* scores[l->n]; -1 where no token came, whatever the rule needs tokens for. c may be NULL for HEAPR_MAGNITUDE. */
pith_status heapr_scores(pith_ctx *ctx, train_net *net, const heapr_list *l, const curvature *c, heapr_rule rule,
                         double *scores);
/* gone[l->n] = 1 for the n_gone lowest of all; of equal ones the last goes first. PITH_E_ARGUMENT for NaN. */
pith_status heapr_choose(pith_ctx *ctx, const heapr_list *l, const double *scores, size_t n_gone, uint8_t *gone);
/* The same for the n_gone lowest of each block or expert: all keep as many as before, less n_gone. */
pith_status heapr_choose_each(pith_ctx *ctx, const heapr_list *l, const double *scores, size_t n_gone, uint8_t *gone);
/* gone[l->n] = 1 for neurons that give nothing: their row of gate or of up, or their column of down, is zeros. */
void heapr_find_idle(train_net *net, const heapr_list *l, uint8_t *gone);
/* Zeros for what is gone. */
void heapr_remove(train_net *net, const heapr_list *l, const uint8_t *gone);

#endif
