/* allocate: one budget spent over many units. The room's door.
 *
 * A table says what every unit (a matrix, a layer, an expert) takes and loses at every level (a recipe, a bit width, a
 * rank, a share of neurons); a choice takes one row for each unit. Losses add up, or a callback measures whole choices:
 *   alloc_lagrange  one exchange rate of bytes for loss for all units: the convex hulls, steepest steps first
 *   alloc_mckp      the exact optimum by dynamic programming, or how far from it the answer may be
 *   alloc_small     the same with side conditions (so many units at such a level), by branch and bound
 *   alloc_order     steps of stacks in the order of gain per byte, so that every budget is a prefix
 *   alloc_lograte   bits by the logarithm of a score
 *   alloc_evo       evolution of level vectors under a measured loss
 *   alloc_assign    pairs: one column for each row
 *   alloc_share     which matrices code one basis together, within a tolerance
 * Nothing here depends on the number of threads; what is random comes from a seed. */
#ifndef ALLOCATE_ALLOCATE_H
#define ALLOCATE_ALLOCATE_H

#include "base/base.h"

typedef struct alloc_row {
    uint32_t unit;  /* from 0, without gaps */
    uint32_t level; /* any number; of a stack, how many of its layers are kept */
    uint64_t bytes;
    double loss; /* finite; may be negative */
} alloc_row;

typedef struct alloc_table {
    const alloc_row *rows; /* in any order; every unit has one at least */
    size_t n_rows;         /* < 2^32 */
    uint32_t n_units;
} alloc_table;

/* What may not be passed. The other of the two is made as small as it gets. */
typedef struct alloc_budget {
    bool by_loss;
    uint64_t bytes; /* when !by_loss: the loss is minimised */
    double loss;    /* when by_loss: the bytes are minimised */
} alloc_budget;

typedef struct alloc_choice {
    uint32_t *rows; /* [n_units], the caller's: the row of the table for each unit */
    uint64_t bytes;
    double loss;  /* sum over the units in their order; under alloc_evo what the callback said */
    double bound; /* no choice within the budget has less of what is minimised (loss or bytes) */
    bool exact;   /* this one is the best there is */
} alloc_choice;

/* Bytes that `bits_per_weight` allows for so many weights, rounded down. */
uint64_t alloc_bytes_of(double bits_per_weight, uint64_t n_weights);
/* PITH_E_ARGUMENT names the row that is wrong: a unit out of range or missing, a loss that is not finite, more than
 * 2^53 bytes in all. The functions below call it themselves. */
pith_status alloc_check(pith_ctx *ctx, const alloc_table *table);
/* bytes and loss of choice->rows. */
void alloc_total(const alloc_table *table, alloc_choice *choice);

/* All of these fail with PITH_E_LIMIT when even the smallest choice does not fit the budget: the message says how much
 * it takes. */

/* Rows on each unit's convex hull of loss over bytes, steps taken from the cheapest rows on in the order of their
 * gain per byte, those that no longer fit left out (Shoham and Gersho 1988, "Efficient bit allocation for an arbitrary
 * set of quantizers"). O(n log n). */
pith_status alloc_lagrange(pith_ctx *ctx, const alloc_table *table, const alloc_budget *budget, alloc_choice *out);

/* Multiple-choice knapsack: dynamic programming over the undominated sums of bytes and loss (Nemhauser and Ullmann
 * 1969), cut by the bound of alloc_lagrange. When more than max_states (0: 16384) sums are alive they are put into so
 * many bins of equal width and the best of each bin goes on; then out->exact may be false, and out->loss - out->bound
 * says how much better a choice could be. */
pith_status alloc_mckp(pith_ctx *ctx, const alloc_table *table, const alloc_budget *budget, uint32_t max_states,
                       alloc_choice *out);

/* At least and at most so many units take a row of this level. */
typedef struct alloc_side {
    uint32_t level, at_least, at_most; /* at_most 0: any number */
} alloc_side;
/* Branch and bound; n_sides <= 16. Stops after max_nodes (0: 2^24) with the best so far and exact = false.
 * PITH_E_LIMIT when no choice keeps the sides within the budget (or none was found in time). */
pith_status alloc_small(pith_ctx *ctx, const alloc_table *table, const alloc_budget *budget, const alloc_side *sides,
                        size_t n_sides, uint64_t max_nodes, alloc_choice *out);

/* The rows of stacks in the order in which they are worth loading: order[n_rows] gets the rows by number, each unit's
 * own in ascending level, its first ones in front of all. by_level: all units' first, then all units' second and so
 * on, by loss within each (S089 BitStack); otherwise by gain per byte on the convex hull. bytes of a row are those of
 * its whole prefix and must not fall with the level. */
pith_status alloc_order(pith_ctx *ctx, const alloc_table *table, bool by_level, uint32_t *order);
/* The longest prefix of an order that fits so many bytes. */
pith_status alloc_prefix(pith_ctx *ctx, const alloc_table *table, const uint32_t *order, uint64_t bytes,
                         alloc_choice *out);

/* b = average + slope * log2(score / geometric mean of scores), then the nearest of bits[n_levels] (ascending) below
 * the budget of average * sum of weights, room left over going to those furthest below their b (slope 1/2: reverse
 * water-filling for variances; S037 CASP for layers by block influence). scores > 0; level[n_units] gets indices into
 * bits. PITH_E_LIMIT when bits[0] everywhere is above the average. */
pith_status alloc_lograte(pith_ctx *ctx, const double *scores, const uint64_t *weights, uint32_t n_units,
                          const double *bits, uint32_t n_levels, double average, double slope, uint32_t *level);

/* ---- evolution (evolve.c): S011 EvoPress ------------------------------------------------------------- */

/* losses[n] of n choices, rows[n][n_units] each, measured with so much effort (tokens, say). */
typedef pith_status (*alloc_fitness_fn)(void *opaque, const uint32_t *rows, size_t n, uint64_t effort, double *losses);
/* One round of selection within a generation: so many go on. */
typedef struct alloc_round {
    uint64_t effort;
    uint32_t survivors;
} alloc_round;
typedef struct alloc_evolution {
    uint64_t seed;
    uint32_t generations, offspring;
    uint32_t most_switches;    /* per child: the smaller of two dice from 1 to this; 0: 3 */
    const alloc_round *rounds; /* survivors fall to 1 in the last, in which the parent takes part */
    size_t n_rounds;
    const uint32_t *start; /* [n_units] rows within the budget; NULL: alloc_lagrange of the table */
    alloc_fitness_fn fitness;
    void *opaque;
    /* After each generation, with its parent-to-be; may be NULL. */
    void (*each)(void *opaque, uint32_t generation, double loss);
} alloc_evolution;
/* A switch lowers one unit by a level (by bytes) and raises others, 10 at most, while they fit the room there is;
 * children that leave more than a fifth of the freed bytes unused are drawn again. Never above
 * budget->bytes (by_loss is PITH_E_ARGUMENT). Ticks by generations. */
pith_status alloc_evo(pith_ctx *ctx, const alloc_table *table, const alloc_budget *budget, const alloc_evolution *how,
                      alloc_choice *out);

/* ---- pairs (assign.c) ---------------------------------------------------------------------------------- */

/* The one-to-one assignment of columns to the rows of cost[rows][cols] with the least sum: column[rows], all different.
 * rows <= cols; costs are finite. Successive shortest paths (Jonker and Volgenant 1987, without their start), at most
 * rows^2 cols steps. *sum may be NULL. */
pith_status alloc_assign(pith_ctx *ctx, const float *cost, size_t rows, size_t cols, uint32_t *column, double *sum);

/* ---- bases that matrices share (basis.c): S337 concatenated-matrix SVD --------------------------------- */

/* Matrices A_i [rows][cols_i] with the same rows: [A_1 A_2 ...] cut to rank r has one basis [rows][r] for all. Below,
 * la and lb are squared singular values of A and B, descending, [rows]; |M|^2 is the sum of both. */

/* At least the squared Frobenius error of the best rank-r approximation of [A B], from the values alone: the k-th of
 * A A^T + B B^T is at least la[i] + lb[j] for i + j = k + rows, counted from 1 (Weyl 1912). 0 <= r <= rows. */
double alloc_basis_weyl(const double *la, const double *lb, size_t rows, size_t r);
/* The same, sharper, with `beyond` [rows], the squared singular values of what is left of B outside the span of the
 * first p of A's left vectors: those p and the first r - p beyond them are one basis of rank r. p <= r. */
double alloc_basis_beyond(const double *la, const double *beyond, size_t rows, size_t p, size_t r);

typedef struct alloc_matrix {
    const float *data; /* [rows][cols] */
    size_t cols;
} alloc_matrix;
typedef struct alloc_sharing {
    uint64_t alone, together, shared; /* bytes: a basis for each matrix, one for all, one for each cluster */
    uint32_t n_clusters;
    uint32_t n_tried; /* pairs of clusters whose joint spectrum was computed */
} alloc_sharing;
/* Merges clusters while that saves bytes: of all pairs the `tries` (0: 6) most alike, by the cosine of their Gram
 * matrices, are looked at, and the one that saves most is taken. Each cluster is cut to the least rank whose relative
 * Frobenius error is within `tolerance` (0 to 1), basis and coefficients as halves, or left as halves itself where that
 * is smaller. cluster[n] numbers from 0. Ticks by merges. */
pith_status alloc_share(pith_ctx *ctx, const alloc_matrix *matrices, size_t n, size_t rows, double tolerance,
                        uint32_t tries, uint32_t *cluster, alloc_sharing *out);

#endif
