/* The multiple-choice knapsack: unit after unit, all sums of cost and value that no other beats. Sums that cannot
 * come below the best choice known, even if the rest of the way were paid at the exchange rate of the relaxed problem,
 * are left out, and so are rows of which that is true by themselves; what remains is small unless the table is
 * contrived. Sums are formed in the order of the units, so they are the sums that are reported. */
#include "kernels/allocate/parts.h"

#include <math.h>

#define DEFAULT_STATES 16384u
#define MOST_STATES (1u << 22)

typedef struct state {
    double cost, value;
    uint32_t node, item; /* while merging: the node it comes from, and the item added; then node is its own */
} state;

/* How a state came about. */
typedef struct node {
    uint32_t parent, item;
} node;
#define ROOT UINT32_MAX

/* What states are merged from: all of the last ones plus one item. */
typedef struct source {
    double cost; /* of its next state */
    size_t next;
    uint32_t item;
} source;

typedef struct knapsack {
    pith_ctx *ctx;
    const alloc_problem *p;
    uint32_t max_states;
    double rate, limit;   /* value + rate * cost above the limit is no better than the choice known */
    double *rest_reduced; /* [n_units + 1] from this unit on, the least sum of value + rate * cost */
    double *rest_cost;    /* the least sum of costs */
    source *heap;
    state *now, *then;
    size_t n_now, n_then, room;
    pith_buffer nodes;
    bool exact;
} knapsack;

static void sink(source *heap, size_t n, size_t i) {
    source moved = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && heap[child + 1].cost < heap[child].cost) child++;
        if (!(heap[child].cost < moved.cost)) break;
        heap[i] = heap[child];
    }
    heap[i] = moved;
}

/* Both lists twice as long. */
static pith_status grow(knapsack *k) {
    size_t room = k->room ? k->room * 2 : 256;
    state *now = pith_alloc(k->ctx, room * sizeof *now), *then = pith_alloc(k->ctx, room * sizeof *then);
    if (!now || !then) {
        pith_free(k->ctx, now);
        pith_free(k->ctx, then);
        return pith_alloc_status(k->ctx);
    }
    if (k->n_now) memcpy(now, k->now, k->n_now * sizeof *now);
    if (k->n_then) memcpy(then, k->then, k->n_then * sizeof *then);
    pith_free(k->ctx, k->now);
    pith_free(k->ctx, k->then);
    k->now = now;
    k->then = then;
    k->room = room;
    return PITH_OK;
}

/* Bins of equal width, the least value of each: its last, as values fall. */
static void thin(knapsack *k) {
    double low = k->then[0].cost, scale = (double)k->max_states / (k->then[k->n_then - 1].cost - low), bin = -1;
    size_t kept = 0;
    for (size_t i = 0; i < k->n_then; i++) {
        double b = floor((k->then[i].cost - low) * scale);
        if (b != bin) kept++;
        k->then[kept - 1] = k->then[i];
        bin = b;
    }
    k->n_then = kept;
    k->exact = false;
}

/* The items of a unit that may stand in a better choice, each with the first state it is added to. */
static size_t open_sources(knapsack *k, uint32_t u) {
    const alloc_item *items = k->p->items + k->p->first[u];
    size_t n_items = k->p->first[u + 1] - k->p->first[u], n = 0;
    double lowest = INFINITY;
    for (size_t i = 0; i < k->n_now; i++) lowest = PITH_MIN(lowest, k->now[i].value + k->rate * k->now[i].cost);
    for (size_t i = 0; i < n_items; i++)
        if (lowest + items[i].value + k->rate * items[i].cost + k->rest_reduced[u + 1] <= k->limit)
            k->heap[n++] = (source){k->now[0].cost + items[i].cost, 0, (uint32_t)i};
    for (size_t i = n / 2; i-- > 0;) sink(k->heap, n, i);
    return n;
}

/* Merges the sources in ascending cost into `then`, dominated sums left out. */
static pith_status merge(knapsack *k, uint32_t u) {
    const alloc_item *items = k->p->items + k->p->first[u];
    double best = INFINITY, most = k->p->capacity - k->rest_cost[u + 1];
    most += 1e-12 * (fabs(k->p->capacity) + fabs(k->rest_cost[u + 1])); /* what another order of sums may round to */
    k->n_then = 0;
    for (size_t n = open_sources(k, u); n; sink(k->heap, n, 0)) {
        source *top = &k->heap[0];
        const alloc_item *item = &items[top->item];
        state next = {top->cost, k->now[top->next].value + item->value, k->now[top->next].node, top->item};
        if (next.cost > most) break;
        if (next.value < best && next.value + k->rate * next.cost + k->rest_reduced[u + 1] <= k->limit) {
            pith_status status = k->n_then == k->room ? grow(k) : PITH_OK;
            if (status) return status;
            best = next.value;
            if (k->n_then && k->then[k->n_then - 1].cost == next.cost) k->n_then--;
            k->then[k->n_then++] = next;
        }
        if (++top->next < k->n_now)
            top->cost = k->now[top->next].cost + item->cost;
        else
            k->heap[0] = k->heap[--n];
        if (n == 0) break;
    }
    return PITH_OK;
}

/* Nodes for the states of `then`, which become the present ones. */
static pith_status commit(knapsack *k) {
    size_t n = k->nodes.size / sizeof(node);
    if (n + k->n_then >= ROOT) return pith_fail(k->ctx, PITH_E_LIMIT, "allocation: too many sums; allow fewer states");
    for (size_t i = 0; i < k->n_then; i++) {
        node added = {k->then[i].node, k->then[i].item};
        pith_status status = pith_buffer_append(k->ctx, &k->nodes, &added, sizeof added);
        if (status) return status;
        k->then[i].node = (uint32_t)(n + i);
    }
    state *swap = k->now;
    k->now = k->then;
    k->then = swap;
    k->n_now = k->n_then;
    return PITH_OK;
}

/* Runs over all units; item[] is replaced when something better comes out. */
static pith_status sums(knapsack *k, uint32_t *item) {
    const alloc_problem *p = k->p;
    pith_status status = grow(k);
    if (status) return status;
    k->now[0] = (state){.node = ROOT};
    k->n_now = 1;
    for (uint32_t u = 0; u < p->n_units; u++) {
        if ((status = merge(k, u)) != PITH_OK) return status;
        if (k->n_then == 0) return PITH_OK; /* nothing better */
        if (k->n_then > k->max_states) thin(k);
        if ((status = commit(k)) != PITH_OK) return status;
        if ((status = pith_tick(k->ctx, u + 1, p->n_units)) != PITH_OK) return status;
    }
    size_t i = k->n_now; /* values fall as costs rise */
    while (i > 0 && k->now[i - 1].cost > p->capacity) i--;
    if (i == 0 || !(k->now[i - 1].value < alloc_value_of(p, item))) return PITH_OK;
    uint32_t at = k->now[i - 1].node;
    for (uint32_t u = p->n_units; u-- > 0;) {
        node came;
        memcpy(&came, k->nodes.data + (size_t)at * sizeof came, sizeof came);
        item[u] = came.item;
        at = came.parent;
    }
    return PITH_OK;
}

static pith_status prepare(knapsack *k) {
    const alloc_problem *p = k->p;
    size_t widest = 0;
    k->rest_reduced = pith_zalloc(k->ctx, ((size_t)p->n_units + 1) * sizeof *k->rest_reduced);
    k->rest_cost = pith_zalloc(k->ctx, ((size_t)p->n_units + 1) * sizeof *k->rest_cost);
    if (!k->rest_reduced || !k->rest_cost) return pith_alloc_status(k->ctx);
    for (uint32_t u = p->n_units; u-- > 0;) {
        double least = INFINITY;
        for (size_t i = p->first[u]; i < p->first[u + 1]; i++)
            least = PITH_MIN(least, p->items[i].value + k->rate * p->items[i].cost);
        k->rest_reduced[u] = k->rest_reduced[u + 1] + least;
        k->rest_cost[u] = k->rest_cost[u + 1] + p->items[p->first[u]].cost;
        widest = PITH_MAX(widest, p->first[u + 1] - p->first[u]);
    }
    k->heap = pith_alloc(k->ctx, widest * sizeof *k->heap);
    return k->heap ? PITH_OK : pith_alloc_status(k->ctx);
}

static pith_status solve(pith_ctx *ctx, const alloc_problem *p, uint32_t max_states, uint32_t *item, double *bound,
                         bool *exact) {
    knapsack k = {.ctx = ctx, .p = p, .exact = true};
    k.max_states = max_states ? PITH_MIN(max_states, MOST_STATES) : DEFAULT_STATES;
    pith_status status = alloc_relaxed(ctx, p, item, &k.rate, bound);
    if (!status && k.rate > 0 && alloc_value_of(p, item) > *bound) {
        double known = alloc_value_of(p, item), crossing = k.rate * p->capacity;
        k.limit = known + crossing;
        k.limit += 1e-12 * (fabs(known) + fabs(crossing)); /* sums round */
        status = prepare(&k);
        if (!status) status = sums(&k, item);
    }
    if (k.exact) *bound = alloc_value_of(p, item);
    *exact = k.exact;
    pith_free(ctx, k.rest_reduced);
    pith_free(ctx, k.rest_cost);
    pith_free(ctx, k.heap);
    pith_free(ctx, k.now);
    pith_free(ctx, k.then);
    pith_buffer_free(ctx, &k.nodes);
    return status;
}

pith_status alloc_mckp(pith_ctx *ctx, const alloc_table *table, const alloc_budget *budget, uint32_t max_states,
                       alloc_choice *out) {
    alloc_problem p;
    pith_status status = alloc_problem_new(ctx, table, budget, false, &p);
    if (status) return status;
    uint32_t *item = pith_alloc(ctx, p.n_units * sizeof *item);
    status = item ? solve(ctx, &p, max_states, item, &out->bound, &out->exact) : pith_alloc_status(ctx);
    if (!status) alloc_settle(&p, table, item, out);
    pith_free(ctx, item);
    alloc_problem_free(ctx, &p);
    return status;
}
