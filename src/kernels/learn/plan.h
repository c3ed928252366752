/* Where the values and gradients of a run lie. Private to learn. */
#ifndef KERNELS_LEARN_PLAN_H
#define KERNELS_LEARN_PLAN_H

#include "kernels/learn/ops.h"

/* Of one node. Places are in reals per row: times max_rows they are offsets into the arena. */
typedef struct learn_place {
    size_t value, gradient, saved;
    size_t saved_width, ints, ints_width;
    bool active;                /* backward runs for it: its value's gradient is worked out and somebody uses it */
    bool add[LEARN_MAX_INPUTS]; /* somebody wrote to the input's gradient before */
} learn_place;

typedef struct learn_plan {
    learn_place *place;                /* [n_nodes] */
    size_t width, ints_width, scratch; /* of the arena per row, whole numbers per row, reals in all */
} learn_plan;

/* Memory is planned by who reads what when: the schedule is node 0 to n - 1 forward, then n - 1 to 0 backward; a buffer
 * lives from its first writing to its last reading, and the largest are placed first, as low as they fit. */
pith_status learn_plan_make(pith_ctx *ctx, const learn_graph *g, size_t max_rows, size_t segment, learn_mode mode,
                            learn_plan *plan);
void learn_plan_free(pith_ctx *ctx, learn_plan *plan);

#endif
