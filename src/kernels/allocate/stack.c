/* Stacks of layers, each worth something only above those under it: an order of loading of which every prefix is a
 * choice (S089 BitStack). */
#include "kernels/allocate/parts.h"

typedef struct piece {
    uint32_t row, unit, level;
    uint32_t place; /* among its unit's levels, 0 for the first */
    bool by_level;
    double worth; /* comes before less */
} piece;

static int in_stacks(const void *a, const void *b) {
    const piece *x = a, *y = b;
    if (x->unit != y->unit) return x->unit < y->unit ? -1 : 1;
    if (x->level != y->level) return x->level < y->level ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static int in_order(const void *a, const void *b) {
    const piece *x = a, *y = b;
    bool first = x->place == 0 || y->place == 0;
    if ((first || x->by_level) && x->place != y->place) return x->place < y->place ? -1 : 1;
    if (!first && x->worth != y->worth) return x->worth > y->worth ? -1 : 1;
    if (x->unit != y->unit) return x->unit < y->unit ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

/* Gain per byte of the steps of one stack: that of the best run of steps that begins with it, so that a poor step in
 * front of a good one is taken for what both are worth. Falls from step to step. */
static void rate_stack(const alloc_table *table, piece *stack, size_t n) {
    for (size_t i = 0; i + 1 < n;) {
        const alloc_row *from = &table->rows[stack[i].row];
        double best = 0;
        size_t end = i + 1;
        for (size_t j = i + 1; j < n; j++) {
            const alloc_row *to = &table->rows[stack[j].row];
            double bytes = (double)(to->bytes - from->bytes), gain = from->loss - to->loss;
            double rate = bytes > 0 ? gain / bytes : gain > 0 ? 1e300 : 0;
            if (j == i + 1 || rate > best) {
                best = rate;
                end = j;
            }
        }
        for (size_t j = i + 1; j <= end; j++) stack[j].worth = best;
        i = end;
    }
}

static pith_status rate_all(pith_ctx *ctx, const alloc_table *table, bool by_level, piece *pieces) {
    for (size_t first = 0, end; first < table->n_rows; first = end) {
        for (end = first; end < table->n_rows && pieces[end].unit == pieces[first].unit; end++) {
            piece *p = &pieces[end];
            p->place = (uint32_t)(end - first);
            p->worth = -table->rows[p->row].loss;
            if (end == first) continue;
            const alloc_row *below = &table->rows[p[-1].row], *row = &table->rows[p->row];
            if (row->level == below->level || row->bytes < below->bytes)
                return pith_fail(ctx, PITH_E_ARGUMENT,
                                 "allocation: level %u of unit %u must be one, and no smaller than the level below",
                                 (unsigned)row->level, (unsigned)row->unit);
            if (by_level) p->worth = below->loss - row->loss;
        }
        if (!by_level) rate_stack(table, pieces + first, end - first);
    }
    return PITH_OK;
}

pith_status alloc_order(pith_ctx *ctx, const alloc_table *table, bool by_level, uint32_t *order) {
    pith_status status = alloc_check(ctx, table);
    if (status) return status;
    piece *pieces = pith_alloc(ctx, table->n_rows * sizeof *pieces);
    if (!pieces) return pith_alloc_status(ctx);
    for (size_t i = 0; i < table->n_rows; i++) {
        const alloc_row *row = &table->rows[i];
        pieces[i] = (piece){.row = (uint32_t)i, .unit = row->unit, .level = row->level, .by_level = by_level};
    }
    qsort(pieces, table->n_rows, sizeof *pieces, in_stacks);
    status = rate_all(ctx, table, by_level, pieces);
    if (!status) {
        qsort(pieces, table->n_rows, sizeof *pieces, in_order);
        for (size_t i = 0; i < table->n_rows; i++) order[i] = pieces[i].row;
    }
    pith_free(ctx, pieces);
    return status;
}

pith_status alloc_prefix(pith_ctx *ctx, const alloc_table *table, const uint32_t *order, uint64_t bytes,
                         alloc_choice *out) {
    pith_status status = alloc_check(ctx, table);
    if (status) return status;
    uint64_t used = 0;
    for (uint32_t i = 0; i < table->n_units; i++) used += table->rows[order[i]].bytes;
    if (used > bytes)
        return pith_fail(ctx, PITH_E_LIMIT, "allocation: %llu bytes are asked for; the first levels take %llu",
                         (unsigned long long)bytes, (unsigned long long)used);
    for (uint32_t i = 0; i < table->n_units; i++) out->rows[table->rows[order[i]].unit] = order[i];
    for (size_t i = table->n_units; i < table->n_rows; i++) {
        const alloc_row *row = &table->rows[order[i]];
        uint64_t more = row->bytes - table->rows[out->rows[row->unit]].bytes;
        if (more > bytes - used) break;
        used += more;
        out->rows[row->unit] = order[i];
    }
    alloc_total(table, out);
    out->bound = out->loss;
    out->exact = false;
    return PITH_OK;
}
