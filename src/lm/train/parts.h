/* What a net in training is made of. Private to train. */
#ifndef LM_TRAIN_PARTS_H
#define LM_TRAIN_PARTS_H

#include "kernels/learn/learn.h"
#include "lm/model.h"
#include "lm/train/train.h"

/* Sums of gradients that are made side by side, and added in this order at the end: as many whatever the threads. */
#define TRAIN_LANES 4
#define TRAIN_ROWS ((size_t)512) /* tokens of one chunk, about: what is worked on at once */

struct train_net {
    pith_ctx *ctx;
    const lm_model *source; /* metadata, tokenizer, and tensors that are not trained */
    lm_model *own_source;   /* of new nets */
    uint32_t *like; /* [n_layers] the layer whose weights each has; NULL: its own */
    learn_graph *graph;
    size_t n_vocab, n_weights;
    uint32_t n_kept; /* experts of a token that are run, of a mixture that has lost the others; else 0 */
    train_vectors vectors;
    float *weights, *moment1, *moment2; /* moments: NULL before the first step */
    uint8_t *kept; /* [n_weights] NULL: all are */
    float *gradient[TRAIN_LANES];       /* NULL before they are wanted; the sum ends up in the first */
    bool has_gradient;
    uint64_t n_steps;
    /* memory of passes of one shape */
    learn_run *run[TRAIN_LANES];
    size_t n_runs, run_rows, run_ctx;
    learn_mode run_mode;
    pith_team *team;
    unsigned team_size;
};

void train_forget_runs(train_net *net);
/* By a name of the file, which need not end with NUL; NULL when the net has no such. */
learn_param *train_param_find(const train_net *net, const char *name, size_t n);
/* Bytes of a random model as GGUF, appended to *out. */
pith_status train_random_file(pith_ctx *ctx, const train_shape *shape, const lm_model *tokenizer_from, uint64_t seed,
                              pith_buffer *out);
/* Opens a model from bytes, which are its own from then on (also on failure). */
pith_status train_model_from(pith_ctx *ctx, pith_buffer *bytes, lm_model **out);

#endif
