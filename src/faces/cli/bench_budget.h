/* What the experiments on budgets share: a model, statistics over one text, another text to judge by, and an overlay
 * in which matrices are changed and changed back. */
#ifndef CLI_BENCH_BUDGET_H
#define CLI_BENCH_BUDGET_H

#include "artefacts/model/model.h"
#include "faces/cli/bench_predict.h"

typedef struct budget_bench {
    /* command line */
    const char *model, *calibration, *text;
    uint64_t bytes, chunks;
    /* opened */
    lm_model *m;
    const tensor_file *base;
    pith_buffer calibration_text, judge_text;
    model_stats *stats;    /* over the first `bytes` of the calibration text */
    model_overlay *overlay; /* all of its floats can be replaced */
    model_ruler *search;    /* on the calibration text behind those bytes */
    model_ruler *judge;     /* on the other text */
} budget_bench;

#define BUDGET_BENCH_DEFAULTS .bytes = 49152, .chunks = 8
#define BUDGET_BENCH_OPTIONS(b)                                                                                        \
    {"model", 0, LM_TEXT, &(b).model, 0, 0}, {"calibration", 0, LM_TEXT, &(b).calibration, 0, 0},                      \
        {"text", 0, LM_TEXT, &(b).text, 0, 0}, {"bytes", 0, LM_NUMBER, &(b).bytes, 4096, 1 << 26},                     \
        {"chunks", 0, LM_NUMBER, &(b).chunks, 1, 1 << 20}
#define BUDGET_BENCH_HELP                                                                                              \
    "      --model=FILE    the language model (default: the built-in pith-mini)\n"                                     \
    "      --calibration=FILE  its beginning makes the statistics, what follows serves searches\n"                     \
    "                      (default tests/data/lcet10.txt)\n"                                                          \
    "      --bytes=N       of its beginning (default 49152)\n"                                                         \
    "      --text=FILE     to judge by, another document (default tests/data/alice29.txt)\n"                           \
    "      --chunks=N      of it, and of what serves searches (default 8)\n"                                          \
    "      --ctx=N         tokens of a chunk (default 256)\n" EXP_HELP

/* Opens all of that, says what was read. search: whether that ruler is wanted. */
int budget_bench_open(experiment *e, budget_bench *b, bool search);
void budget_bench_close(experiment *e, budget_bench *b);
/* Replaces tensors by a recipe, measures on the judge's text. bytes, when not NULL: of the codes. */
int budget_bench_recipe(experiment *e, budget_bench *b, const char *recipe, double *kl, model_trial *trial);
/* KL of what is in the overlay. */
int budget_bench_kl(experiment *e, budget_bench *b, const model_ruler *r, double *kl);
/* Everything in the overlay is base's again. */
int budget_bench_reset(experiment *e, budget_bench *b);
/* The tensor blk.LAYER.NAME.weight, or SIZE_MAX. */
size_t budget_bench_tensor(const budget_bench *b, unsigned layer, const char *name);

int bench_evopress(int argc, char **argv);
int bench_casp(int argc, char **argv);
int bench_pd_quant(int argc, char **argv);
int bench_gaussian(int argc, char **argv);
int bench_bitstack(int argc, char **argv);
int bench_rocket(int argc, char **argv);

#endif
