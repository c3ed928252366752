/* What an operation is, and what it sees when it runs. Private to learn. */
#ifndef KERNELS_LEARN_OPS_H
#define KERNELS_LEARN_OPS_H

#include "kernels/learn/learn.h"

#define LEARN_MAX_INPUTS 3
#define LEARN_MAX_PARAMS 3
#define LEARN_MAX_EXPERTS 512

typedef enum learn_op_id {
    OP_EMBED,
    OP_NORM,
    OP_LINEAR,
    OP_ROPE,
    OP_ATTENTION,
    OP_GATE,
    OP_ADD,
    OP_EXPERTS,
    OP_MODULATE,
    OP_CROSS_ENTROPY,
    N_OPS
} learn_op_id;

typedef struct learn_node {
    learn_op_id op;
    size_t width;                     /* of the value; 0: none */
    learn_id x[LEARN_MAX_INPUTS];     /* LEARN_NONE behind the last */
    learn_id param[LEARN_MAX_PARAMS]; /* LEARN_NONE where there is none */
    double epsilon;                   /* of a norm */
    size_t head, n_used, n_kept, n_turns;
    bool halves;
    double *turns; /* owned */
} learn_node;

/* One node, one batch. Pointers are to arrays of reals of the kernels at work. */
typedef struct learn_call {
    const learn_node *node;
    size_t rows, segment;
    const learn_batch *batch;
    size_t width[LEARN_MAX_INPUTS]; /* of the inputs */
    size_t part_rows;               /* of the first parameter: rows of one part */
    const void *x[LEARN_MAX_INPUTS];
    void *y;
    const void *w[LEARN_MAX_PARAMS]; /* NULL where there is none */
    void *saved, *scratch;           /* kept from forward to backward; of the call alone */
    uint32_t *ints;                  /* the same as saved */
    const double *turned;            /* [segment][n_turns][2] cosines and sines of a RoPE */
    double nats;                     /* out: of a loss */
    size_t n_scored;
    /* backward */
    const void *gy;
    void *gx[LEARN_MAX_INPUTS]; /* NULL: nobody wants it */
    bool add[LEARN_MAX_INPUTS]; /* add to what is there; else write */
    void *gw[LEARN_MAX_PARAMS]; /* NULL: nobody wants it; always added to */
} learn_call;

/* A node as sizes are asked for. */
typedef struct learn_sizes {
    const learn_node *node;
    size_t width[LEARN_MAX_INPUTS];
    size_t parts, rows, segment;
    size_t param_rows, param_cols; /* of the first parameter */
} learn_sizes;

typedef struct learn_op {
    const char *name;
    unsigned reads_x, reads_y;               /* bits of inputs whose values backward reads; whether it reads the own */
    bool linear;                             /* has matrices that learn_linears shows */
    size_t (*saved)(const learn_sizes *s);   /* reals per row; NULL: none */
    size_t (*ints)(const learn_sizes *s);    /* the same of whole numbers */
    size_t (*scratch)(const learn_sizes *s); /* reals in all */
} learn_op;
extern const learn_op learn_ops[N_OPS];

typedef struct learn_kernel {
    void (*forward)(learn_call *c);
    void (*backward)(const learn_call *c);
} learn_kernel;
struct learn_kernels {
    size_t real_bytes;
    const learn_kernel *op; /* [N_OPS] */
};

/* Where a mixture keeps what backward and learn_linears read: in `saved`, one after the other, for all rows * n_used
 * pairs of row and expert, sorted by expert and row; widths in reals. `ints` has per row and place the expert chosen,
 * then by pair the row and the place. */
typedef struct learn_expert_room {
    size_t weight, x, gate, up, mid, out, g_out, g_gate, g_up; /* offsets per row */
    size_t total;
} learn_expert_room;
learn_expert_room learn_expert_room_of(size_t n_used, size_t width, size_t ff);
/* first[n_experts + 1]: pairs of expert e are [first[e], first[e + 1]). */
void learn_expert_ranges(const uint32_t *chosen, size_t n_pairs, size_t n_experts, size_t *first);

struct learn_graph {
    pith_ctx *ctx;
    pith_status status;
    learn_param *params;
    learn_node *nodes;
    size_t n_params, room_params, n_nodes, room_nodes, n_weights;
};

/* Rows of attention's tiles: about this many, over the heads of a group. */
#define LEARN_TILE 128
PITH_INLINE size_t learn_tile_rows(size_t group) { return PITH_MAX(LEARN_TILE / group, (size_t)1); }

#endif
