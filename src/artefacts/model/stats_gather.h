/* One gathering of statistics at work. Private. */
#ifndef ARTEFACTS_MODEL_STATS_GATHER_H
#define ARTEFACTS_MODEL_STATS_GATHER_H

#include "artefacts/model/stats_file.h"
#include "lm/ruler/ruler.h"
#include "math/dense/dense.h"

#define STATS_MAX_CALLS 16384u

typedef struct stats_input {
    char name[72];
    uint32_t cols;
    uint32_t parts; /* experts of a stack, told apart but for Gram matrices, which they have none of; else 1 */
    uint32_t owner; /* the first that reads the same input; itself */
    uint32_t gram;  /* 1 + number of the owner's Gram matrix; 0: none */
    size_t sums_at; /* of owners, in gatherer.sums: [parts][cols] sums, [parts][cols] sums of squares */
    size_t counts_at; /* of owners, in gatherer.counts */
} stats_input;

/* Matrices in the order in which the model asks for them; experts, which it asks for as they are needed, by name. */
typedef struct stats_plan {
    stats_input *at;
    uint32_t *calls; /* [n_calls] of one evaluation: which matrix, or UINT32_MAX for another part of one */
    uint32_t n, n_calls, n_grams;
    uint32_t last_layer; /* the highest number the probe of hidden states is called with */
} stats_plan;

typedef struct gatherer {
    pith_ctx *ctx;
    const lm_model *model;
    const model_stats_text *texts;
    size_t n_texts;
    const model_stats_options *options;
    ruler_chunks chunks;
    uint32_t start, batch; /* token in front of a chunk, TOKEN_NONE: none; tokens of one evaluation */
    lm_session *session;
    lm_token *tokens; /* [batch] */
    stats_plan plan;
    stats_out *out;
    /* of a pass */
    pith_status status;
    uint32_t call;
    double *sums;     /* NULL: the small tensors are done */
    uint64_t *counts; /* [parts] of each owner */
    uint32_t at_expert; /* the stack that was met last */
    float *before;    /* [batch][n_embd] */
    double *cosines;
    double *use; /* [2][n_vocab] sums of p (1 - p) over what was predicted, of tokens read; NULL: without logits */
    float *odds; /* [n_vocab] */
    uint64_t rows, scored;
    double nats;
    pith_buffer small; /* the small tensors, on their way to the file */
    double **grams;    /* [n_grams] those of this pass */
    uint64_t *seen;    /* [n_grams] tokens */
    bool grams_of_output;
    uint64_t done, total;
} gatherer;

uint32_t gather_token(const gatherer *g, const uint32_t *chunk, uint32_t at);
/* Numbers the Gram matrices and makes the head of the file and the list of its tensors (*places from pith_alloc). */
pith_status stats_head_make(gatherer *g, pith_buffer *head, stats_place **places, size_t *n_places);
pith_status stats_run(gatherer *g, const char *path, model_stats_result *result);

#endif
