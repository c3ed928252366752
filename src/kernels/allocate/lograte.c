/* Bits that follow the logarithm of a score, rounded to widths that exist without passing the average. */
#include "kernels/allocate/allocate.h"

#include <math.h>

typedef struct rating {
    const double *bits;
    const uint64_t *weights;
    uint32_t n_units, n_levels, *level;
    double *wanted;
    double room; /* bits left */
} rating;

static double step_bits(const rating *r, uint32_t u, uint32_t to) {
    return (r->bits[to] - r->bits[to - 1]) * (double)r->weights[u];
}

/* The unit furthest above what it wants goes down a level, until the budget holds. */
static void lower(rating *r) {
    while (r->room < 0) {
        uint32_t worst = UINT32_MAX;
        double most = -INFINITY;
        for (uint32_t u = 0; u < r->n_units; u++) {
            double above = r->bits[r->level[u]] - r->wanted[u];
            if (r->level[u] && r->weights[u] && above > most) {
                most = above;
                worst = u;
            }
        }
        if (worst == UINT32_MAX) return;
        r->room += step_bits(r, worst, r->level[worst]);
        r->level[worst]--;
    }
}

/* The unit furthest below what it wants goes up a level, as long as some still want more and it fits. */
static void raise_levels(rating *r) {
    for (;;) {
        uint32_t best = UINT32_MAX;
        double most = 0;
        for (uint32_t u = 0; u < r->n_units; u++) {
            double below = r->wanted[u] - r->bits[r->level[u]];
            if (r->level[u] + 1 < r->n_levels && below > most && step_bits(r, u, r->level[u] + 1) <= r->room) {
                most = below;
                best = u;
            }
        }
        if (best == UINT32_MAX) return;
        r->level[best]++;
        r->room -= step_bits(r, best, r->level[best]);
    }
}

static pith_status check(pith_ctx *ctx, const double *scores, const uint64_t *weights, uint32_t n_units,
                         const double *bits, uint32_t n_levels, double *sum, double *logs) {
    *sum = *logs = 0;
    for (uint32_t u = 0; u < n_units; u++) {
        if (!(scores[u] > 0) || !isfinite(scores[u]))
            return pith_fail(ctx, PITH_E_ARGUMENT, "allocation: the score of unit %u is not above 0", (unsigned)u);
        *sum += (double)weights[u];
        *logs += (double)weights[u] * log2(scores[u]);
    }
    for (uint32_t i = 0; i < n_levels; i++)
        if (!isfinite(bits[i]) || (i && !(bits[i] > bits[i - 1])))
            return pith_fail(ctx, PITH_E_ARGUMENT, "allocation: the bit widths do not rise");
    if (!(*sum > 0) || *sum > 9e15 || n_levels == 0)
        return pith_fail(ctx, PITH_E_ARGUMENT, "allocation: no weights or no bit widths");
    return PITH_OK;
}

pith_status alloc_lograte(pith_ctx *ctx, const double *scores, const uint64_t *weights, uint32_t n_units,
                          const double *bits, uint32_t n_levels, double average, double slope, uint32_t *level) {
    double sum, logs;
    pith_status status = check(ctx, scores, weights, n_units, bits, n_levels, &sum, &logs);
    if (status) return status;
    if (!(bits[0] <= average))
        return pith_fail(ctx, PITH_E_LIMIT, "allocation: an average of %g bits is asked for; the least width is %g",
                         average, bits[0]);
    rating r = {.bits = bits, .weights = weights, .n_units = n_units, .n_levels = n_levels, .level = level};
    r.wanted = pith_alloc(ctx, n_units * sizeof *r.wanted);
    if (!r.wanted) return pith_alloc_status(ctx);
    r.room = average * sum;
    for (uint32_t u = 0; u < n_units; u++) {
        r.wanted[u] = average + slope * (log2(scores[u]) - logs / sum);
        level[u] = 0;
        for (uint32_t i = 1; i < n_levels; i++)
            if (fabs(bits[i] - r.wanted[u]) < fabs(bits[level[u]] - r.wanted[u])) level[u] = i;
        r.room -= bits[level[u]] * (double)weights[u];
    }
    lower(&r);
    raise_levels(&r);
    pith_free(ctx, r.wanted);
    return PITH_OK;
}
