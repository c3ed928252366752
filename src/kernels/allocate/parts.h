/* A table made ready for the solvers: each unit's rows that nothing beats, in ascending cost. Private to allocate.
 * "Cost" is what the budget bounds, "value" what is minimised: bytes and loss, or the reverse. */
#ifndef ALLOCATE_PARTS_H
#define ALLOCATE_PARTS_H

#include "kernels/allocate/allocate.h"

typedef struct alloc_item {
    double cost, value;
    uint32_t row, level;
} alloc_item;

typedef struct alloc_problem {
    alloc_item *items; /* by unit, ascending cost */
    size_t *first;     /* [n_units + 1] */
    uint32_t n_units;
    double capacity;
} alloc_problem;

/* keep_all: dominated rows stay (side conditions may want them). */
pith_status alloc_problem_new(pith_ctx *ctx, const alloc_table *table, const alloc_budget *budget, bool keep_all,
                              alloc_problem *out);
void alloc_problem_free(pith_ctx *ctx, alloc_problem *p);
/* Sums over item[n_units] in the order of the units. */
double alloc_cost_of(const alloc_problem *p, const uint32_t *item);
double alloc_value_of(const alloc_problem *p, const uint32_t *item);

/* item[n_units] of alloc_lagrange; *rate is the exchange rate at the budget, *bound the value of the relaxed problem.
 * The problem has no dominated rows. */
pith_status alloc_relaxed(pith_ctx *ctx, const alloc_problem *p, uint32_t *item, double *rate, double *bound);
/* Rows from items, and the sums. */
void alloc_settle(const alloc_problem *p, const alloc_table *table, const uint32_t *item, alloc_choice *out);
/* The hull of items[n] (ascending cost, falling value): hull[] gets indices, their number is returned. */
size_t alloc_hull(const alloc_item *items, size_t n, uint32_t *hull);

#endif
