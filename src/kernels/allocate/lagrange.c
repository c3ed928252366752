/* One exchange rate for all units: the steps between corners of the units' convex hulls, steepest first. The rate at
 * which the budget is used up gives the value of the relaxed problem, in which steps may be taken in part. */
#include "kernels/allocate/parts.h"

typedef struct step {
    double rate, cost; /* value saved per cost; cost added */
    uint32_t unit, from, to;
} step;

static int steepest(const void *a, const void *b) {
    const step *x = a, *y = b;
    if (x->rate != y->rate) return x->rate > y->rate ? -1 : 1;
    if (x->unit != y->unit) return x->unit < y->unit ? -1 : 1;
    return x->from < y->from ? -1 : x->from > y->from;
}

static size_t list_steps(const alloc_problem *p, uint32_t *hull, step *steps) {
    size_t n = 0;
    for (uint32_t u = 0; u < p->n_units; u++) {
        const alloc_item *items = p->items + p->first[u];
        size_t corners = alloc_hull(items, p->first[u + 1] - p->first[u], hull);
        for (size_t i = 1; i < corners; i++) {
            const alloc_item *a = &items[hull[i - 1]], *b = &items[hull[i]];
            double cost = b->cost - a->cost;
            steps[n++] = (step){(a->value - b->value) / cost, cost, u, hull[i - 1], hull[i]};
        }
    }
    qsort(steps, n, sizeof *steps, steepest);
    return n;
}

/* A step whose unit was passed over stays out: its corners come in order. */
static void climb(const alloc_problem *p, const step *steps, size_t n, uint32_t *item, double *rate, double *bound) {
    double used = alloc_cost_of(p, item), value = alloc_value_of(p, item);
    bool full = false;
    *rate = 0;
    for (size_t i = 0; i < n; i++) {
        const step *s = &steps[i];
        if (item[s->unit] != s->from) continue;
        if (used + s->cost <= p->capacity) {
            item[s->unit] = s->to;
            used += s->cost;
            if (!full) value -= s->rate * s->cost;
        } else if (!full) {
            full = true;
            *rate = s->rate;
            value -= s->rate * (p->capacity - used);
        }
    }
    *bound = value;
    /* Sums of losses round; the sum in the order of the units is the one that counts. */
    for (size_t i = n; i > 0 && alloc_cost_of(p, item) > p->capacity; i--)
        if (item[steps[i - 1].unit] == steps[i - 1].to) item[steps[i - 1].unit] = steps[i - 1].from;
}

pith_status alloc_relaxed(pith_ctx *ctx, const alloc_problem *p, uint32_t *item, double *rate, double *bound) {
    size_t n = p->first[p->n_units];
    step *steps = pith_alloc(ctx, n * sizeof *steps);
    uint32_t *hull = pith_alloc(ctx, n * sizeof *hull);
    pith_status status = steps && hull ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        memset(item, 0, p->n_units * sizeof *item);
        climb(p, steps, list_steps(p, hull, steps), item, rate, bound);
    }
    pith_free(ctx, steps);
    pith_free(ctx, hull);
    return status;
}

pith_status alloc_lagrange(pith_ctx *ctx, const alloc_table *table, const alloc_budget *budget, alloc_choice *out) {
    alloc_problem p;
    double rate;
    pith_status status = alloc_problem_new(ctx, table, budget, false, &p);
    if (status) return status;
    uint32_t *item = pith_alloc(ctx, p.n_units * sizeof *item);
    status = item ? alloc_relaxed(ctx, &p, item, &rate, &out->bound) : pith_alloc_status(ctx);
    if (!status) {
        alloc_settle(&p, table, item, out);
        out->exact = alloc_value_of(&p, item) <= out->bound;
    }
    pith_free(ctx, item);
    alloc_problem_free(ctx, &p);
    return status;
}
