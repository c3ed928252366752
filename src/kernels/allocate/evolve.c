/* Evolution of level vectors: one parent, children by level switches within the budget, several rounds of selection
 * that measure fewer and fewer children with more and more effort; the parent takes part in the last (S011 EvoPress:
 * Sieberling, Kuznedelev, Kurtic, Alistarh 2024). */
#include "kernels/allocate/parts.h"

#include <math.h>

#define MOST_RAISES 10
#define MOST_DRAWS 200 /* of one child; then it is as it came */

typedef struct evolution {
    pith_ctx *ctx;
    const alloc_problem *p; /* rows by bytes; dominated ones stay: a measured loss may see them otherwise */
    const alloc_evolution *how;
    uint64_t random, capacity;
    uint32_t *parent;   /* [n_units] items */
    uint32_t *children; /* [offspring + 1][n_units] items; in the last round the parent comes first */
    uint32_t *rows;     /* [offspring + 1][n_units] what the callback sees */
    double *losses;     /* [offspring + 1] */
    uint32_t *rank;     /* [offspring + 1] children by loss */
    uint32_t *able;     /* [n_units] units that could be raised */
} evolution;

/* splitmix64 (Steele, Lea, Flood 2014), a number below n. */
static uint32_t draw(evolution *e, uint32_t n) {
    uint64_t z = e->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)(((z ^ z >> 31) >> 32) * n >> 32);
}

static uint64_t bytes_at(const evolution *e, uint32_t unit, uint32_t item) {
    return (uint64_t)e->p->items[e->p->first[unit] + item].cost;
}

static uint64_t bytes_of(const evolution *e, const uint32_t *items) {
    uint64_t sum = 0;
    for (uint32_t u = 0; u < e->p->n_units; u++) sum += bytes_at(e, u, items[u]);
    return sum;
}

static uint32_t levels_of(const evolution *e, uint32_t unit) {
    return (uint32_t)(e->p->first[unit + 1] - e->p->first[unit]);
}

/* Units other than `but` whose next level fits into the room. */
static uint32_t raisable(evolution *e, const uint32_t *items, uint32_t but, uint64_t room) {
    uint32_t n = 0;
    for (uint32_t u = 0; u < e->p->n_units; u++)
        if (u != but && items[u] + 1 < levels_of(e, u) &&
            bytes_at(e, u, items[u] + 1) - bytes_at(e, u, items[u]) <= room)
            e->able[n++] = u;
    return n;
}

/* One switch. False when it cannot be had this time. */
static bool switch_levels(evolution *e, uint32_t *items) {
    uint32_t n = 0, lowered, raises = 0;
    for (uint32_t u = 0; u < e->p->n_units; u++)
        if (items[u] > 0) e->able[n++] = u;
    if (n == 0) return false;
    lowered = e->able[draw(e, n)];
    uint64_t before = bytes_of(e, items);
    items[lowered]--;
    uint64_t after = bytes_of(e, items), room = e->capacity - after, freed = before - after;
    while (raises < MOST_RAISES && (n = raisable(e, items, lowered, room)) > 0) {
        uint32_t u = e->able[draw(e, n)];
        room -= bytes_at(e, u, items[u] + 1) - bytes_at(e, u, items[u]);
        items[u]++;
        raises++;
    }
    /* what was free before may stay so */
    return raises > 0 && room <= e->capacity - before + freed / 5;
}

static void make_child(evolution *e, uint32_t *child) {
    size_t bytes = e->p->n_units * sizeof *child;
    uint32_t most = e->how->most_switches ? e->how->most_switches : 3;
    for (unsigned tries = 0; tries < MOST_DRAWS; tries++) {
        uint32_t a = draw(e, most), b = draw(e, most), n = PITH_MIN(a, b) + 1;
        memcpy(child, e->parent, bytes);
        bool good = true;
        while (good && n--) good = switch_levels(e, child);
        if (good && memcmp(child, e->parent, bytes) != 0) return;
    }
    memcpy(child, e->parent, bytes);
}

/* Measures the first n of rank[] and sorts them by loss, the earlier child first among equals. */
static pith_status measure(evolution *e, size_t n, uint64_t effort) {
    size_t units = e->p->n_units;
    for (size_t i = 0; i < n; i++)
        for (size_t u = 0; u < units; u++)
            e->rows[i * units + u] = e->p->items[e->p->first[u] + e->children[e->rank[i] * units + u]].row;
    pith_status status = e->how->fitness(e->how->opaque, e->rows, n, effort, e->losses);
    if (status) return status;
    for (size_t i = 0; i < n; i++) {
        if (isnan(e->losses[i])) e->losses[i] = INFINITY;
        double loss = e->losses[i];
        uint32_t child = e->rank[i];
        size_t j = i;
        for (; j > 0 && (e->losses[j - 1] > loss || (e->losses[j - 1] == loss && e->rank[j - 1] > child)); j--) {
            e->losses[j] = e->losses[j - 1];
            e->rank[j] = e->rank[j - 1];
        }
        e->losses[j] = loss;
        e->rank[j] = child;
    }
    return PITH_OK;
}

static pith_status generation(evolution *e, double *loss) {
    const alloc_evolution *how = e->how;
    size_t n = how->offspring, units = e->p->n_units;
    for (uint32_t i = 0; i < how->offspring; i++) {
        make_child(e, e->children + i * units);
        e->rank[i] = i;
    }
    for (size_t r = 0; r < how->n_rounds; r++) {
        if (r + 1 == how->n_rounds) { /* equal children do not replace it */
            for (size_t i = n; i > 0; i--) e->rank[i] = e->rank[i - 1] + 1;
            memmove(e->children + units, e->children, how->offspring * units * sizeof *e->children);
            memcpy(e->children, e->parent, units * sizeof *e->parent);
            e->rank[0] = 0;
            n++;
        }
        pith_status status = measure(e, n, how->rounds[r].effort);
        if (status) return status;
        n = PITH_MIN(n, (size_t)how->rounds[r].survivors);
    }
    memcpy(e->parent, e->children + e->rank[0] * units, units * sizeof *e->parent);
    *loss = e->losses[0];
    return PITH_OK;
}

static pith_status begin(evolution *e, const alloc_table *table, const alloc_budget *budget, alloc_choice *out) {
    const uint32_t *start = e->how->start;
    pith_status status = start ? PITH_OK : alloc_lagrange(e->ctx, table, budget, out);
    if (status) return status;
    for (uint32_t u = 0; u < e->p->n_units; u++) {
        uint32_t row = start ? start[u] : out->rows[u], levels = levels_of(e, u), i = 0;
        while (i < levels && e->p->items[e->p->first[u] + i].row != row) i++;
        if (i == levels)
            return pith_fail(e->ctx, PITH_E_ARGUMENT, "allocation: row %u to start from is not one of unit %u",
                             (unsigned)row, (unsigned)u);
        e->parent[u] = i;
    }
    if (bytes_of(e, e->parent) > e->capacity)
        return pith_fail(e->ctx, PITH_E_LIMIT, "allocation: the start takes %llu bytes of %llu",
                         (unsigned long long)bytes_of(e, e->parent), (unsigned long long)e->capacity);
    return PITH_OK;
}

static pith_status run(evolution *e, const alloc_table *table, const alloc_budget *budget, alloc_choice *out) {
    double loss = 0;
    pith_status status = begin(e, table, budget, out);
    for (uint32_t g = 0; g < e->how->generations && !status; g++) {
        status = generation(e, &loss);
        if (!status && e->how->each) e->how->each(e->how->opaque, g, loss);
        if (!status) status = pith_tick(e->ctx, g + 1, e->how->generations);
    }
    if (status) return status;
    alloc_settle(e->p, table, e->parent, out);
    if (e->how->generations) out->loss = loss;
    out->bound = -INFINITY;
    out->exact = false;
    return PITH_OK;
}

static pith_status check(pith_ctx *ctx, const alloc_budget *budget, const alloc_evolution *how) {
    if (budget->by_loss) return pith_fail(ctx, PITH_E_ARGUMENT, "allocation: evolution keeps to a budget of bytes");
    if (!how->n_rounds || how->rounds[how->n_rounds - 1].survivors != 1)
        return pith_fail(ctx, PITH_E_ARGUMENT, "allocation: evolution needs rounds, the last of which leaves one");
    if (!how->offspring || how->offspring >= 1u << 20)
        return pith_fail(ctx, PITH_E_ARGUMENT, "allocation: %u children are too few or too many",
                         (unsigned)how->offspring);
    for (size_t r = 0; r < how->n_rounds; r++)
        if (how->rounds[r].survivors == 0)
            return pith_fail(ctx, PITH_E_ARGUMENT, "allocation: round %zu leaves nothing", r + 1);
    return PITH_OK;
}

pith_status alloc_evo(pith_ctx *ctx, const alloc_table *table, const alloc_budget *budget, const alloc_evolution *how,
                      alloc_choice *out) {
    alloc_problem p;
    pith_status status = check(ctx, budget, how);
    if (!status) status = alloc_problem_new(ctx, table, budget, true, &p);
    if (status) return status;
    evolution e = {.ctx = ctx, .p = &p, .how = how, .random = how->seed, .capacity = budget->bytes};
    size_t units = p.n_units, family = (size_t)how->offspring + 1;
    if (units > SIZE_MAX / sizeof *e.children / family)
        status = pith_fail(ctx, PITH_E_LIMIT, "allocation: too many children");
    if (!status) {
        e.parent = pith_alloc(ctx, units * sizeof *e.parent);
        e.able = pith_alloc(ctx, units * sizeof *e.able);
        e.children = pith_alloc(ctx, family * units * sizeof *e.children);
        e.rows = pith_alloc(ctx, family * units * sizeof *e.rows);
        e.losses = pith_alloc(ctx, family * sizeof *e.losses);
        e.rank = pith_alloc(ctx, family * sizeof *e.rank);
        bool room = e.parent && e.able && e.children && e.rows && e.losses && e.rank;
        status = room ? run(&e, table, budget, out) : pith_alloc_status(ctx);
    }
    void *const owned[] = {e.parent, e.able, e.children, e.rows, e.losses, e.rank};
    for (size_t i = 0; i < PITH_COUNT(owned); i++) pith_free(ctx, owned[i]);
    alloc_problem_free(ctx, &p);
    return status;
}
