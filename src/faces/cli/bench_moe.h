/* The parts of `pith bench moe`: one mixture, what its experts see, and a ruler made of it. */
#ifndef CLI_BENCH_MOE_H
#define CLI_BENCH_MOE_H

#include "artefacts/model/model.h"
#include "faces/cli/bench_predict.h"
#include "lm/ruler/ruler.h"

/* A mixture made of a dense model. (bench_moe_split.c) */
typedef struct moe_split {
    lm_model *m;
    tensor_file *file;
    pith_buffer bytes;
} moe_split;
/* moe_split_close in any case. */
pith_status moe_split_open(pith_ctx *ctx, const lm_model *dense, const token_list *tokens, const experts_options *o,
                           moe_split *out);
void moe_split_close(pith_ctx *ctx, moe_split *s);

typedef struct moe_bench {
    const char *model, *text;
    uint64_t n_experts, n_used, n_tokens, n_chunks;
    double sharpness;
    lm_model *dense, *m; /* dense: NULL when the model is a mixture as it is */
    moe_split made;      /* m, when it is made here */
    token_list calibrate, judge;
    pith_buffer judge_text;
    experts_stats *stats;
    model_overlay *overlay;
    model_ruler *ruler;
    experts_code *codes; /* [n_layers * n_experts] */
} moe_bench;

#define MOE_CTX 256u

typedef struct moe_score {
    double bits, zeros, entropy, loss, kl, ratio, decode; /* per weight; part; bits; part of energy; nats; PPL; GB/s */
} moe_score;
/* Codes the experts (choice NULL: all by recipes[0]) and measures the model with them; informed: by their own tokens'
 * statistics. */
int moe_try(experiment *e, moe_bench *b, const char *const *recipes, unsigned n_recipes, const uint32_t *choice,
            bool informed, moe_score *out);
/* Recipes parsed for experts_try. */
int moe_codes(experiment *e, moe_bench *b, const char *const *recipes, unsigned n_recipes, const uint32_t *choice,
              bool informed, bool into_overlay);

int moe_ternary(experiment *e, moe_bench *b); /* bench_moe.c */
int moe_bits(experiment *e, moe_bench *b);    /* bench_moe_bits.c */
int moe_skip(experiment *e, moe_bench *b);    /* bench_moe_skip.c */

#endif
