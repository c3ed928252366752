/* Small problems with side conditions, by branch and bound: unit after unit, each unit's rows in the order of their
 * reduced value, a branch left when its relaxed value, its least cost or the units left to meet a condition rule it
 * out. The published form is an integer program over experts and bit widths (S295 MC-MoE). */
#include "kernels/allocate/parts.h"

#include <math.h>

#define MOST_SIDES 16
#define DEFAULT_NODES ((uint64_t)1 << 24)

typedef struct search {
    const alloc_problem *p;
    const alloc_side *sides;
    size_t n_sides;
    double rate;
    double *rest_reduced, *rest_cost; /* [n_units + 1] */
    uint32_t *rest_able;              /* [n_units + 1][n_sides] units from here on that have a row of the level */
    uint32_t *order;                  /* items by reduced value, within each unit, as indices into p->items */
    uint32_t *now, *best;             /* [n_units] places in `order`; the best so far */
    uint32_t taken[MOST_SIDES];
    double best_value;
    uint64_t nodes;
} search;

/* Whether the conditions can still be met from unit u on. */
static bool open_sides(const search *s, uint32_t u) {
    for (size_t i = 0; i < s->n_sides; i++) {
        const alloc_side *side = &s->sides[i];
        if (side->at_most && s->taken[i] > side->at_most) return false;
        if ((uint64_t)s->taken[i] + s->rest_able[(size_t)u * s->n_sides + i] < side->at_least) return false;
    }
    return true;
}

static void take(search *s, const alloc_item *item, uint32_t by) {
    for (size_t i = 0; i < s->n_sides; i++)
        if (s->sides[i].level == item->level) s->taken[i] += by;
}

/* Depth first without recursion: sums[u] is what units below u come to. False when the nodes ran out. */
static bool branch(search *s, double (*sums)[2]) {
    const alloc_problem *p = s->p;
    uint32_t u = 0;
    s->now[0] = (uint32_t)p->first[0];
    sums[0][0] = sums[0][1] = 0;
    for (;;) {
        if (s->now[u] == p->first[u + 1]) { /* all rows of this unit tried: back to the one before */
            if (u == 0) return true;
            u--;
            take(s, &p->items[s->order[s->now[u]]], (uint32_t)-1);
            s->now[u]++;
            continue;
        }
        if (s->nodes-- == 0) return false;
        const alloc_item *item = &p->items[s->order[s->now[u]]];
        double cost = sums[u][0] + item->cost, value = sums[u][1] + item->value;
        double relaxed = value + s->rest_reduced[u + 1] + s->rate * (cost - p->capacity);
        double slack = 1e-12 * (fabs(value) + fabs(s->rate * p->capacity) + fabs(s->rest_cost[u + 1]));
        take(s, item, 1);
        bool good = relaxed <= s->best_value + slack && cost + s->rest_cost[u + 1] <= p->capacity + slack &&
                    open_sides(s, u + 1);
        if (good && u + 1 < p->n_units) {
            u++;
            sums[u][0] = cost;
            sums[u][1] = value;
            s->now[u] = (uint32_t)p->first[u];
            continue;
        }
        if (good && cost <= p->capacity && value < s->best_value) {
            s->best_value = value;
            memcpy(s->best, s->now, p->n_units * sizeof *s->best);
        }
        take(s, item, (uint32_t)-1);
        s->now[u]++;
    }
}

static void sort_rows(search *s, uint32_t u) {
    const alloc_problem *p = s->p;
    for (size_t i = p->first[u]; i < p->first[u + 1]; i++) {
        double reduced = p->items[i].value + s->rate * p->items[i].cost;
        size_t j = i;
        for (; j > p->first[u]; j--) {
            const alloc_item *left = &p->items[s->order[j - 1]];
            if (left->value + s->rate * left->cost <= reduced) break;
            s->order[j] = s->order[j - 1];
        }
        s->order[j] = (uint32_t)i;
    }
}

static void prepare(search *s) {
    const alloc_problem *p = s->p;
    for (uint32_t u = p->n_units; u-- > 0;) {
        uint32_t *able = s->rest_able + (size_t)u * s->n_sides;
        sort_rows(s, u);
        const alloc_item *first = &p->items[s->order[p->first[u]]];
        s->rest_reduced[u] = s->rest_reduced[u + 1] + first->value + s->rate * first->cost;
        s->rest_cost[u] = s->rest_cost[u + 1] + p->items[p->first[u]].cost;
        for (size_t i = 0; i < s->n_sides; i++) {
            able[i] = able[s->n_sides + i];
            bool has = false;
            for (size_t j = p->first[u]; j < p->first[u + 1]; j++) has = has || p->items[j].level == s->sides[i].level;
            able[i] += has;
        }
    }
}

/* The exchange rate comes from the problem without dominated rows and without conditions. */
static pith_status rate_of(pith_ctx *ctx, const alloc_table *table, const alloc_budget *budget, double *rate,
                           double *bound) {
    alloc_problem plain;
    pith_status status = alloc_problem_new(ctx, table, budget, false, &plain);
    if (status) return status;
    uint32_t *item = pith_alloc(ctx, plain.n_units * sizeof *item);
    status = item ? alloc_relaxed(ctx, &plain, item, rate, bound) : pith_alloc_status(ctx);
    pith_free(ctx, item);
    alloc_problem_free(ctx, &plain);
    return status;
}

static pith_status run(pith_ctx *ctx, search *s, double (*sums)[2], const alloc_table *table, alloc_choice *out) {
    prepare(s);
    bool all = branch(s, sums);
    if (s->best_value == INFINITY)
        return pith_fail(ctx, PITH_E_LIMIT, "allocation: no choice within the budget keeps the side conditions%s",
                         all ? "" : ", as far as was searched");
    for (uint32_t u = 0; u < s->p->n_units; u++) out->rows[u] = s->p->items[s->order[s->best[u]]].row;
    alloc_total(table, out);
    out->exact = all;
    if (all) out->bound = s->best_value;
    return PITH_OK;
}

pith_status alloc_small(pith_ctx *ctx, const alloc_table *table, const alloc_budget *budget, const alloc_side *sides,
                        size_t n_sides, uint64_t max_nodes, alloc_choice *out) {
    alloc_problem p;
    search s = {.p = &p, .sides = sides, .n_sides = n_sides, .best_value = INFINITY};
    s.nodes = max_nodes ? max_nodes : DEFAULT_NODES;
    if (n_sides > MOST_SIDES)
        return pith_fail(ctx, PITH_E_ARGUMENT, "allocation: %zu side conditions; at most %d", n_sides, MOST_SIDES);
    pith_status status = rate_of(ctx, table, budget, &s.rate, &out->bound);
    if (!status) status = alloc_problem_new(ctx, table, budget, true, &p);
    if (status) return status;
    size_t n = p.n_units, places = n * sizeof *s.now;
    s.rest_reduced = pith_zalloc(ctx, (n + 1) * sizeof *s.rest_reduced);
    s.rest_cost = pith_zalloc(ctx, (n + 1) * sizeof *s.rest_cost);
    s.rest_able = pith_zalloc(ctx, (n + 1) * (n_sides + 1) * sizeof *s.rest_able);
    s.order = pith_alloc(ctx, p.first[n] * sizeof *s.order);
    s.now = pith_alloc(ctx, places);
    s.best = pith_alloc(ctx, places);
    double(*sums)[2] = pith_alloc(ctx, n * sizeof *sums);
    bool room = s.rest_reduced && s.rest_cost && s.rest_able && s.order && s.now && s.best && sums;
    status = room ? run(ctx, &s, sums, table, out) : pith_alloc_status(ctx);
    void *const owned[] = {s.rest_reduced, s.rest_cost, s.rest_able, s.order, s.now, s.best, sums};
    for (size_t i = 0; i < PITH_COUNT(owned); i++) pith_free(ctx, owned[i]);
    alloc_problem_free(ctx, &p);
    return status;
}
