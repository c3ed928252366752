/* Tables checked and sorted, sums, convex hulls. */
#include "kernels/allocate/parts.h"

#include <math.h>

#define MOST_BYTES 9007199254740992.0 /* 2^53: sums of bytes stay exact in doubles */

uint64_t alloc_bytes_of(double bits_per_weight, uint64_t n_weights) {
    double bytes = bits_per_weight * (double)n_weights / 8;
    if (!(bytes > 0)) return 0;
    return bytes >= MOST_BYTES ? (uint64_t)MOST_BYTES : (uint64_t)bytes;
}

pith_status alloc_check(pith_ctx *ctx, const alloc_table *table) {
    double sum = 0;
    if (table->n_units == 0 || table->n_rows >= UINT32_MAX)
        return pith_fail(ctx, PITH_E_ARGUMENT, "allocation: %u units and %zu rows are not a table",
                         (unsigned)table->n_units, table->n_rows);
    uint8_t *seen = pith_zalloc(ctx, table->n_units);
    if (!seen) return pith_alloc_status(ctx);
    pith_status status = PITH_OK;
    for (size_t i = 0; i < table->n_rows && !status; i++) {
        const alloc_row *r = &table->rows[i];
        sum += (double)r->bytes;
        if (r->unit >= table->n_units)
            status = pith_fail(ctx, PITH_E_ARGUMENT, "allocation: row %zu is of unit %u of %u", i, (unsigned)r->unit,
                               (unsigned)table->n_units);
        else if (!isfinite(r->loss))
            status = pith_fail(ctx, PITH_E_ARGUMENT, "allocation: the loss of row %zu is not finite", i);
        else if (sum > MOST_BYTES)
            status = pith_fail(ctx, PITH_E_ARGUMENT, "allocation: more than 2^53 bytes up to row %zu", i);
        else
            seen[r->unit] = 1;
    }
    for (uint32_t u = 0; u < table->n_units && !status; u++)
        if (!seen[u]) status = pith_fail(ctx, PITH_E_ARGUMENT, "allocation: unit %u has no row", (unsigned)u);
    pith_free(ctx, seen);
    return status;
}

void alloc_total(const alloc_table *table, alloc_choice *choice) {
    choice->bytes = 0;
    choice->loss = 0;
    for (uint32_t u = 0; u < table->n_units; u++) {
        choice->bytes += table->rows[choice->rows[u]].bytes;
        choice->loss += table->rows[choice->rows[u]].loss;
    }
}

static int by_cost(const void *a, const void *b) {
    const alloc_item *x = a, *y = b;
    if (x->cost != y->cost) return x->cost < y->cost ? -1 : 1;
    if (x->value != y->value) return x->value < y->value ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* Leaves out what costs as much as another and is worth no less; the number left. */
static size_t undominated(alloc_item *items, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || items[i].value < items[kept - 1].value) items[kept++] = items[i];
    return kept;
}

static void fill(alloc_problem *p, const alloc_table *table, bool by_loss, bool keep_all) {
    for (size_t i = 0; i < table->n_rows; i++) p->first[table->rows[i].unit + 1]++;
    for (uint32_t u = 0; u < p->n_units; u++) p->first[u + 1] += p->first[u];
    for (size_t i = 0; i < table->n_rows; i++) { /* first[u] walks to its unit's end */
        const alloc_row *r = &table->rows[i];
        double bytes = (double)r->bytes;
        p->items[p->first[r->unit]++] = (alloc_item){.cost = by_loss ? r->loss : bytes,
                                                     .value = by_loss ? bytes : r->loss,
                                                     .row = (uint32_t)i,
                                                     .level = r->level};
    }
    memmove(p->first + 1, p->first, p->n_units * sizeof *p->first);
    p->first[0] = 0;
    size_t to = 0;
    for (uint32_t u = 0, from = 0; u < p->n_units; u++) {
        size_t end = p->first[u + 1], n = end - from;
        qsort(p->items + from, n, sizeof *p->items, by_cost);
        if (!keep_all) n = undominated(p->items + from, n);
        memmove(p->items + to, p->items + from, n * sizeof *p->items);
        from = (uint32_t)end;
        p->first[u] = to;
        to += n;
    }
    p->first[p->n_units] = to;
}

pith_status alloc_problem_new(pith_ctx *ctx, const alloc_table *table, const alloc_budget *budget, bool keep_all,
                              alloc_problem *out) {
    *out = (alloc_problem){.n_units = table->n_units};
    out->capacity = budget->by_loss ? budget->loss : (double)budget->bytes;
    pith_status status = alloc_check(ctx, table);
    if (status) return status;
    if (isnan(out->capacity)) return pith_fail(ctx, PITH_E_ARGUMENT, "allocation: the budget is not a number");
    out->items = pith_alloc(ctx, table->n_rows * sizeof *out->items);
    out->first = pith_zalloc(ctx, ((size_t)table->n_units + 1) * sizeof *out->first);
    if (!out->items || !out->first) {
        alloc_problem_free(ctx, out);
        return pith_alloc_status(ctx);
    }
    fill(out, table, budget->by_loss, keep_all);
    double least = 0;
    for (uint32_t u = 0; u < out->n_units; u++) least += out->items[out->first[u]].cost;
    if (least > out->capacity) {
        alloc_problem_free(ctx, out);
        if (budget->by_loss)
            return pith_fail(ctx, PITH_E_LIMIT, "allocation: a loss of %g is asked for; the least there is is %g",
                             budget->loss, least);
        return pith_fail(ctx, PITH_E_LIMIT, "allocation: %llu bytes are asked for; the smallest choice takes %.0f",
                         (unsigned long long)budget->bytes, least);
    }
    return PITH_OK;
}

void alloc_problem_free(pith_ctx *ctx, alloc_problem *p) {
    pith_free(ctx, p->items);
    pith_free(ctx, p->first);
    p->items = NULL;
    p->first = NULL;
}

double alloc_cost_of(const alloc_problem *p, const uint32_t *item) {
    double sum = 0;
    for (uint32_t u = 0; u < p->n_units; u++) sum += p->items[p->first[u] + item[u]].cost;
    return sum;
}

double alloc_value_of(const alloc_problem *p, const uint32_t *item) {
    double sum = 0;
    for (uint32_t u = 0; u < p->n_units; u++) sum += p->items[p->first[u] + item[u]].value;
    return sum;
}

size_t alloc_hull(const alloc_item *items, size_t n, uint32_t *hull) {
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        while (m >= 2) { /* the last corner goes when the line past it runs below */
            const alloc_item *a = &items[hull[m - 2]], *b = &items[hull[m - 1]], *c = &items[i];
            if ((a->value - b->value) * (c->cost - a->cost) > (a->value - c->value) * (b->cost - a->cost)) break;
            m--;
        }
        hull[m++] = (uint32_t)i;
    }
    return m;
}

void alloc_settle(const alloc_problem *p, const alloc_table *table, const uint32_t *item, alloc_choice *out) {
    for (uint32_t u = 0; u < p->n_units; u++) out->rows[u] = p->items[p->first[u] + item[u]].row;
    alloc_total(table, out);
}
