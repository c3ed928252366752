/* Adaptive coding of codes of quantised matrices: every code by the decisions down a tree, every decision by the mixed
 * probabilities of four contexts. Private to this folder. */
#ifndef REPRESENT_ADAPTIVE_H
#define REPRESENT_ADAPTIVE_H

#include "kernels/represent/represent.h"

/* Appends codes[n], each < alphabet, in rows of `row`. Not for n = 0. */
pith_status adaptive_encode(pith_ctx *ctx, const repr_plane *plane, pith_buffer *out);
pith_status adaptive_decode(pith_ctx *ctx, repr_reader *in, uint16_t *codes, size_t n, size_t row, uint32_t alphabet);

/* ---- the model (adaptive_model.c) ---- */

#define ADAPTIVE_INPUTS 4
#define ADAPTIVE_WEIGHT_MOST 524287
#define ADAPTIVE_COUNT_MOST 500
#define ADAPTIVE_ROW_CODES 64 /* an average of a row or column reaches back about so far */
#define ADAPTIVE_SYMBOLS 256 /* alphabets above: a plain tree, one context */

/* The tree: a prefix code of the symbols; node 0 is its root. */
typedef struct adaptive_tree {
    unsigned n_nodes;
    int16_t child[ADAPTIVE_SYMBOLS][2]; /* a node, or ~symbol */
    uint16_t code[ADAPTIVE_SYMBOLS];    /* first decision in the highest of `length` bits */
    uint8_t length[ADAPTIVE_SYMBOLS];
    uint16_t start[ADAPTIVE_SYMBOLS];   /* of a 1, in 1/65536ths, before anything is known */
} adaptive_tree;

typedef struct adaptive_model {
    adaptive_tree tree;
    int16_t stretch[4096];     /* 256 ln(p / (1 - p)) of p in 4096ths, +-2047 */
    uint16_t squash[4096];     /* of -2048..2047, in 65536ths */
    int32_t rate[1024];        /* of a counter that has seen so many, in 4096ths */
    uint32_t *counters[ADAPTIVE_INPUTS]; /* [contexts][n_nodes]: probability of a 1 (22 bits), count (10) */
    int32_t (*weights)[ADAPTIVE_INPUTS]; /* [n_nodes], 65536 is 1, +-ADAPTIVE_WEIGHT_MOST */
    /* what contexts are made of; averages are in 65536ths of a code */
    unsigned centre;
    uint32_t mean;           /* of |code - centre| in the plane */
    int log_mean;
    uint64_t signed_scale;   /* turns a signed average into thirds of the mean */
    uint8_t level[ADAPTIVE_SYMBOLS]; /* a code in such thirds, 0..14 */
    size_t row, column, n_rows;      /* where the next code stands, and rows before it */
    uint32_t inverse[ADAPTIVE_ROW_CODES + 1]; /* 65536 / n */
    uint32_t across;                 /* average magnitude in this row so far */
    uint32_t *down;                  /* [row] average magnitude of columns */
    int32_t *drift;                  /* [row] average of columns */
    uint16_t *above;                 /* [row] the code above */
} adaptive_model;

/* What a plane says first. */
typedef struct adaptive_head {
    uint8_t first, last;      /* symbols */
    uint8_t kind, width;      /* of the curve the tree is made for (rans_table.c) */
    uint16_t centre16;
    uint32_t mean;
} adaptive_head;

pith_status adaptive_model_init(pith_ctx *ctx, adaptive_model *m, const adaptive_head *head, size_t n, size_t row);
void adaptive_model_free(pith_ctx *ctx, adaptive_model *m);
void adaptive_rates(int32_t rate[1024]);

/* A counter goes towards what happened by 1 / (times seen + 1.5). */
PITH_INLINE uint32_t adaptive_counted(uint32_t v, unsigned bit, const int32_t *rate) {
    int32_t n = (int32_t)(v & 1023), p = (int32_t)(v >> 10), goal = bit ? 4194303 : 0;
    p += ((goal - p) >> 3) * rate[n] >> 9;
    return (uint32_t)p << 10 | (uint32_t)(n + (n < ADAPTIVE_COUNT_MOST));
}

/* ---- one for each instruction set (adaptive_core.h) ---- */

struct pmf_coder;
typedef struct adaptive_ops {
    void (*encode)(adaptive_model *m, struct pmf_coder *c, const uint16_t *codes, size_t n);
    void (*decode)(adaptive_model *m, struct pmf_coder *c, uint16_t *codes, size_t n);
} adaptive_ops;
extern const adaptive_ops adaptive_ops_scalar, adaptive_ops_avx2;

#endif
