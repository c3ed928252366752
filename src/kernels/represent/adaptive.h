/* Adaptive coding of codes of quantised matrices: every code by the decisions down a tree, every decision by the mixed
 * probabilities of some contexts. Private to this folder. */
#ifndef REPRESENT_ADAPTIVE_H
#define REPRESENT_ADAPTIVE_H

#include "kernels/predict/predict.h"
#include "kernels/represent/represent.h"

/* A plane known to both sides, the one before in a series, for more contexts. */
typedef struct adaptive_before {
    const uint16_t *codes; /* [n], NULL: there is none */
    bool around;           /* also the eight codes around the place */
} adaptive_before;

/* Appends codes[n], each < alphabet, in rows of `row`. Not for n = 0. */
pith_status adaptive_encode(pith_ctx *ctx, const repr_plane *plane, adaptive_before before, pith_buffer *out);
pith_status adaptive_decode(pith_ctx *ctx, repr_reader *in, adaptive_before before, uint16_t *codes, size_t n, size_t row,
                            uint32_t alphabet);

/* ---- the model (adaptive_model.c) ---- */

#define ADAPTIVE_INPUTS 4        /* contexts of a plane alone, */
#define ADAPTIVE_INPUTS_SAME 6   /* with the code that stood there before, */
#define ADAPTIVE_INPUTS_AROUND 7 /* and those around it */
#define ADAPTIVE_INPUTS_MOST 7
#define ADAPTIVE_WEIGHT_MOST 524287
#define ADAPTIVE_COUNT_MOST 500
#define ADAPTIVE_ROW_CODES 64 /* an average of a row or column reaches back about so far */
#define ADAPTIVE_SYMBOLS 256 /* alphabets above: a plain tree, one context */

/* The tree: a prefix code of the symbols. Nodes are numbered from the likeliest, so that most decisions of most codes are
 * among the first eight; node 0 is the root. */
typedef struct adaptive_tree {
    unsigned n_nodes;
    int16_t child[ADAPTIVE_SYMBOLS][2]; /* a node, or ~symbol */
    uint16_t code[ADAPTIVE_SYMBOLS];    /* first decision in the highest of `length` bits */
    uint8_t length[ADAPTIVE_SYMBOLS];
    uint16_t start[ADAPTIVE_SYMBOLS];   /* of a 1, in 1/65536ths, before anything is known */
} adaptive_tree;

/* Eight nodes of one context: what one line of the cache holds. */
#define ADAPTIVE_LANES 8
typedef struct adaptive_cells {
    uint32_t counter[ADAPTIVE_LANES]; /* probability of a 1 (22 bits), times seen (10) */
    int32_t stretched[ADAPTIVE_LANES]; /* of the probability */
} adaptive_cells;
/* Of eight nodes; 65536 is 1, +-ADAPTIVE_WEIGHT_MOST. */
typedef struct adaptive_weights {
    int32_t of[ADAPTIVE_INPUTS_MOST][ADAPTIVE_LANES];
} adaptive_weights;

/* The logistic domain; the same for all. */
typedef struct adaptive_tables {
    int32_t stretch[4096];  /* 256 ln(p / (1 - p)) of p in 4096ths, +-2047 */
    uint16_t squash[4096];  /* of -2048..2047, in 65536ths */
} adaptive_tables;

typedef struct adaptive_model {
    adaptive_tree tree;
    const adaptive_tables *tables;
    size_t n_blocks;           /* of eight nodes */
    unsigned n_inputs;
    adaptive_cells *cells[ADAPTIVE_INPUTS_MOST]; /* [contexts][n_blocks] */
    adaptive_weights *weights;              /* [n_blocks] */
    /* what contexts are made of; averages are in 65536ths of a code */
    unsigned centre;
    uint32_t mean;           /* of |code - centre| in the plane */
    int log_mean;
    uint64_t signed_scale;   /* turns a signed average into thirds of the mean */
    uint8_t level[ADAPTIVE_SYMBOLS]; /* a code in such thirds, 0..14 */
    size_t row, column, n_rows;      /* where the next code stands, and rows before it */
    uint32_t inverse[ADAPTIVE_ROW_CODES + 1]; /* 65536 / n */
    uint32_t inverse_down, inverse_drift;     /* in this row */
    uint32_t across;                 /* average magnitude in this row so far */
    uint32_t *down;                  /* [row] average magnitude of columns */
    int32_t *drift;                  /* [row] average of columns */
    uint16_t *above;                 /* [row] the code above */
    const uint16_t *before;          /* [n] */
    size_t n;
} adaptive_model;

/* What a plane says first. */
typedef struct adaptive_head {
    uint8_t first, last;      /* symbols */
    uint8_t kind, width;      /* of the curve the tree is made for (rans_table.c) */
    uint16_t centre16;
    uint32_t mean;
} adaptive_head;

pith_status adaptive_model_init(pith_ctx *ctx, adaptive_model *m, const adaptive_head *head, adaptive_before before,
                                size_t n, size_t row);
void adaptive_model_free(pith_ctx *ctx, adaptive_model *m);
void adaptive_rates(int32_t rate[1024]);

/* A counter goes towards what happened by 1 / (times seen + 1.5). */
PITH_INLINE uint32_t adaptive_counted(uint32_t v, unsigned bit, const int32_t *rate) {
    int32_t n = (int32_t)(v & 1023), p = (int32_t)(v >> 10), goal = bit ? 4194303 : 0;
    p += ((goal - p) >> 3) * rate[n] >> 9;
    return (uint32_t)p << 10 | (uint32_t)(n + (n < ADAPTIVE_COUNT_MOST));
}

/* ---- one for each instruction set (adaptive_core.h) ---- */

typedef struct adaptive_ops {
    void (*encode)(adaptive_model *m, rc_enc *c, const uint16_t *codes, size_t n);
    void (*decode)(adaptive_model *m, rc_dec *c, uint16_t *codes, size_t n);
} adaptive_ops;
extern const adaptive_ops adaptive_ops_scalar, adaptive_ops_avx2, adaptive_ops_avx512;

#endif
