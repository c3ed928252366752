/* The context-mixing model, as its parts see it. Private to predict/.
 *
 * Every context keeps a 16-bit cell per node of the byte's binary tree (4-bit count,
 * 12-bit probability). A map per context turns (count, probability) into what such cells were worth
 * so far, as a stretched probability; that and the raw cell are inputs of gated mixers, whose votes a
 * second mixer weighs; APM stages refine the result (M. Mahoney's PAQ family is the ancestor). */
#ifndef PREDICT_CM_H
#define PREDICT_CM_H

#include "kernels/predict/cm_history.h"
#include "kernels/predict/cm_parts.h"
#include "kernels/predict/predict.h"
#include "kernels/predict/rc.h"

#define CM_MAX_CTX 32    /* hashed contexts */
#define CM_MAX_LANES 48  /* hashed contexts and all other models, a multiple of 16 */
#define CM_MAX_IN 96     /* mixer inputs: two a lane */
#define CM_MAX_SETS 9    /* weight sets of the first layer */
#define CM_VOTES 16      /* inputs of the second layer, padded */
#define CM_MAX_RUN 8     /* contexts that also remember the byte that followed last */
#define CM_N_MATCH 2
#define CM_N_APM 4
#define CM_MAP_SIZE 1024 /* (count << 6 | probability >> 6) of a cell */
#define CM_SMALL_BIT 384 /* bytes for a bit of the small size */
#define CM_POLL 4096     /* bytes between reports of progress, which say whether to go on */

typedef struct cm_match {
    uint32_t at, length;   /* where the bytes to come are expected to stand; 0: no match */
    uint32_t found;        /* a place to try at the next byte; 0: none */
    uint32_t min_length;
    uint32_t mask;         /* of table: positions by hash of min_length - 2 bytes */
    uint32_t *table;
    uint32_t place;        /* in table, of the hash of the newest bytes */
    int expected_bit;      /* -1 none */
    unsigned expected_byte;
} cm_match;

/* One lane a model: see cm_cells.h. */
typedef struct cm_row {
    uint16_t value[CM_MAX_LANES] __attribute__((aligned(64))); /* the cell, or one made up for other models */
    uint16_t key[CM_MAX_LANES] __attribute__((aligned(64)));   /* value >> 6: which entry of the lane's map */
    int16_t st[CM_MAX_LANES] __attribute__((aligned(64)));     /* that entry */
    int16_t p[CM_MAX_LANES] __attribute__((aligned(64)));      /* its probability, less a half */
} cm_row;

typedef struct cm_size cm_size;

struct cm {
    predictor base; /* first: a cm is a predictor */
    const cm_size *size;
    cm_params params;
    size_t max_bytes;
    /* tables that never change */
    logistic logistic;
    step_table steps;
    /* what has been seen */
    uint8_t *buf; /* [primer + max_bytes + slack] */
    cm_history history;
    unsigned c0, bit, node; /* the byte so far behind a leading 1; bits of it; node in the nibble */
    /* contexts */
    uint16_t *table;
    uint32_t table_mask;
    uint32_t hash[CM_MAX_CTX];
    uint32_t slot[CM_MAX_CTX + 1]; /* offsets into table */
    uint32_t order1;           /* offset behind the slots: [256][17] slots of order 1 */
    int16_t *map;              /* [lanes][CM_MAP_SIZE] */
    uint16_t dither;           /* changes with every bit */
    cm_row row;
    uint16_t other[CM_MAX_LANES]; /* values of the lanes that are not cells */
    cm_bytes16 cell_steps __attribute__((aligned(16)));
    cm_squash squash __attribute__((aligned(16)));
    cm_match match[CM_N_MATCH];
    uint32_t *run_table; /* as many as the table has lines: check << 16 | byte << 8 | count */
    uint32_t *run[CM_MAX_RUN];
    unsigned run_rank[CM_MAX_RUN], run_expected[CM_MAX_RUN]; /* for the coming byte */
    /* mixing */
    int16_t x[CM_MAX_IN] __attribute__((aligned(64)));
    int16_t votes[CM_VOTES] __attribute__((aligned(64)));
    int16_t *weights[CM_MAX_SETS], *final_weights[2];
    uint32_t selected[CM_MAX_SETS], final_selected[2];
    unsigned vote_p[CM_MAX_SETS], final_p[2];
    uint32_t n_bytes; /* coded, saturating: the learning rate falls with it */
    int rate;
    uint16_t *apm[CM_N_APM];
    uint32_t apm_mask; /* rows of each but one */
    uint32_t apm_at[CM_N_APM];
    unsigned p; /* the answer, 1..65535 */
    /* cm_small.h: the match for the coming byte, 256 + the expected byte or 0 for none; what it says besides */
    unsigned match_byte, match_key, match_length;
    uint8_t small_bit[CM_SMALL_BIT] __attribute__((aligned(64))); /* between a prediction and its bit */
    /* the online state-space model's say */
    ssm *ssm;
    uint32_t ssm_tree[256];                      /* mass of the bytes below every node of the byte's tree */
    uint32_t ssm_by_match[1024], ssm_by_c0[8192]; /* its probability refined in two small contexts */
    uint32_t ssm_at[2];
    unsigned ssm_row; /* of the weight set it selects */
};
typedef struct cm cm;

/* A size of the model, compiled for one instruction set. */
struct cm_size {
    unsigned n_ctx, n_in, n_sets, n_run, n_match, lanes;
    uint32_t set_rows[CM_MAX_SETS];
    void (*start)(cm *); /* contexts of an empty history */
    unsigned (*p)(cm *);
    void (*update)(cm *, unsigned bit);
    void (*encode)(cm *, rc_enc *, const uint8_t *src, size_t n); /* both stop early when the session is cancelled */
    void (*decode)(cm *, rc_dec *, uint8_t *dst, size_t n);
    void (*learn)(cm *, const uint8_t *src, size_t n, size_t whole);
};

extern const cm_size cm_small_scalar, cm_small_avx2, cm_small_avx512;
extern const cm_size cm_large_scalar, cm_large_avx2, cm_large_avx512;
extern const cm_size cm_neural_scalar, cm_neural_avx2, cm_neural_avx512;

#endif
