/* Model of Burrows-Wheeler output, and the two calls that code it. Private to predict:
 * predict.h has the calls for other rooms. */
#ifndef PREDICT_BWT_CODER_H
#define PREDICT_BWT_CODER_H

#include "kernels/predict/logistic.h"

enum {
    BWT_RUN_CLASSES = 32, /* of the length of a run, logarithmic */
    BWT_FLAG_INPUTS = 4,  /* models of "the same symbol again" */
    BWT_BYTE_INPUTS = 5,  /* models of one bit of another symbol */
    BWT_AGREE = 81,       /* three states for each of the four most recent symbols */
    BWT_APM_BINS = 33
};

/* Probability of a one in the top 22 bits, visits in the low 10. */
typedef uint32_t bwt_cell;

typedef struct bwt_model {
    logistic tables;
    uint32_t step[256]; /* of a cell after i visits, in 1/65536ths */
    /* the same symbol again? */
    bwt_cell flag_history[256];
    bwt_cell flag_symbol[256][BWT_RUN_CLASSES];
    bwt_cell flag_runs[BWT_RUN_CLASSES][16][16];
    bwt_cell flag_pair[256][256];
    int32_t flag_weights[BWT_RUN_CLASSES][BWT_FLAG_INPUTS];
    uint16_t flag_apm[256][BWT_APM_BINS];
    /* if not, which one: eight binary decisions */
    bwt_cell byte_fast[256], byte_slow[256];
    bwt_cell byte_last[256][256], byte_before[256][256];
    bwt_cell byte_rank[BWT_AGREE][256];
    int32_t byte_weights[BWT_AGREE][BWT_BYTE_INPUTS];
    uint16_t byte_apm[256][BWT_APM_BINS];
    /* what was seen */
    uint32_t run;        /* symbols like this one so far in a row, less one */
    uint32_t flags;      /* the last answers, newest lowest */
    uint32_t ranks;      /* recency ranks of the last new symbols, two bits each */
    uint8_t run_before;  /* class of the run before this one */
    uint8_t run_of[256]; /* class of each symbol's last run */
    uint8_t recent[5];   /* the last symbol, then those before it that differed from their successor */
} bwt_model;

#endif
