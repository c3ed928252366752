/* Masks: the highest scores that the share allows. */
#include "kernels/select/select.h"

#include <math.h>

typedef struct entry {
    double worth;
    size_t index;
    uint32_t scope;
} entry;

static int best_first(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->scope != y->scope) return x->scope < y->scope ? -1 : 1;
    if (x->worth != y->worth) return x->worth > y->worth ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static pith_status list(pith_ctx *ctx, const float *scores, const double *cost, const uint32_t *scope, size_t n,
                        uint32_t n_scopes, entry *entries) {
    for (size_t i = 0; i < n; i++) {
        double c = cost ? cost[i] : 1;
        if (isnan(scores[i])) return pith_fail(ctx, PITH_E_ARGUMENT, "selection: score %zu is not a number", i);
        if (!(c > 0) || !isfinite(c))
            return pith_fail(ctx, PITH_E_ARGUMENT, "selection: cost %zu is not above 0", i);
        if (scope && scope[i] >= n_scopes)
            return pith_fail(ctx, PITH_E_ARGUMENT, "selection: scope %u of %u", (unsigned)scope[i],
                             (unsigned)n_scopes);
        entries[i] = (entry){scores[i] / c, i, scope ? scope[i] : 0};
    }
    qsort(entries, n, sizeof *entries, best_first);
    return PITH_OK;
}

static void keep_scope(const entry *entries, size_t n, const double *cost, double keep, size_t at_least,
                       uint8_t *mask) {
    double total = 0, used = 0;
    for (size_t i = 0; i < n; i++) total += cost ? cost[entries[i].index] : 1;
    double most = keep * total * (1 + 1e-12); /* 0.7 of 10 is 7 */
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        double c = cost ? cost[entries[i].index] : 1;
        if (used + c > most && kept >= at_least) continue;
        used += c;
        kept++;
        mask[entries[i].index] = 1;
    }
}

pith_status select_mask(pith_ctx *ctx, const float *scores, const double *cost, const uint32_t *scope, size_t n,
                        uint32_t n_scopes, double keep, size_t at_least, uint8_t *mask) {
    if (!(keep >= 0 && keep <= 1)) return pith_fail(ctx, PITH_E_ARGUMENT, "selection: a share of %g to keep", keep);
    if (n == 0) return PITH_OK;
    entry *entries = pith_alloc(ctx, n * sizeof *entries);
    if (!entries) return pith_alloc_status(ctx);
    pith_status status = list(ctx, scores, cost, scope, n, n_scopes, entries);
    if (!status) {
        memset(mask, 0, n);
        for (size_t first = 0, end; first < n; first = end) {
            for (end = first; end < n && entries[end].scope == entries[first].scope;) end++;
            keep_scope(entries + first, end - first, cost, keep, at_least, mask);
        }
    }
    pith_free(ctx, entries);
    return status;
}

pith_status select_mask_n_of_m(pith_ctx *ctx, const float *scores, size_t rows, size_t cols, uint32_t n, uint32_t m,
                               uint8_t *mask) {
    if (n == 0 || m == 0 || n > m)
        return pith_fail(ctx, PITH_E_ARGUMENT, "selection: %u of %u", (unsigned)n, (unsigned)m);
    memset(mask, 0, rows * cols);
    for (size_t i = 0; i < rows; i++)
        for (size_t first = 0; first < cols; first += m) {
            const float *s = scores + i * cols + first;
            uint8_t *to = mask + i * cols + first;
            size_t here = PITH_MIN((size_t)m, cols - first);
            for (size_t kept = 0; kept < PITH_MIN((size_t)n, here); kept++) {
                size_t best = here;
                for (size_t j = 0; j < here; j++)
                    if (!to[j] && (best == here || s[j] > s[best])) best = j;
                to[best] = 1;
            }
        }
    return PITH_OK;
}

size_t select_indices(const uint8_t *mask, size_t n, uint32_t *indices) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (mask[i]) indices[kept++] = (uint32_t)i;
    return kept;
}
