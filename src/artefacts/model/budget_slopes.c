/* What an error of one unit alone does to the answers. */
#include "artefacts/model/budget_parts.h"

#include <math.h>

/* The level whose error is nearest to 1/50, by ratio. */
static uint32_t probe_level(const model_variants *v, uint32_t unit) {
    uint32_t best = 0;
    double least = INFINITY;
    for (uint32_t l = 0; l < v->n_levels; l++) {
        double error = model_variants_at(v, unit, l)->outputs, off = error > 0 ? fabs(log(error * 50)) : INFINITY;
        if (off >= least) continue;
        best = l;
        least = off;
    }
    return best;
}

/* Where the number of the layer stands in a name: the first between dots; its value, -1 when there is none. */
static int64_t layer_of(meta_string name, size_t *at, size_t *n) {
    for (size_t i = 1; i < name.size; i++) {
        int64_t value = 0;
        for (*n = 0; i + *n < name.size && name.data[i + *n] >= '0' && name.data[i + *n] <= '9' && *n < 9; ++*n)
            value = 10 * value + (name.data[i + *n] - '0');
        *at = i;
        if (*n && name.data[i - 1] == '.' && i + *n < name.size && name.data[i + *n] == '.') return value;
    }
    return -1;
}

/* Of two units whose tensors' names differ in the layer alone. */
static bool same_kind(const model_variants *v, uint32_t a, uint32_t b) {
    meta_string x = variants_view(v, a)->name, y = variants_view(v, b)->name;
    if (v->units[a].tensor == v->units[b].tensor) return true;
    size_t at, n, at_y, n_y;
    if (layer_of(x, &at, &n) < 0 || layer_of(y, &at_y, &n_y) < 0 || at != at_y) return false;
    size_t rest = x.size - at - n;
    return rest == y.size - at - n_y && memcmp(x.data, y.data, at) == 0 &&
           memcmp(x.data + at + n, y.data + at + n_y, rest) == 0;
}

/* trial[u]: the first unit of those that are tried with u. Each kind is cut into as many runs of layers as there are
 * trials for, so that all kinds get as many. */
static void list_trials(const model_variants *v, uint32_t trials, uint32_t *trial) {
    uint32_t kinds = 0;
    for (uint32_t u = 0; u < v->n_units; u++) trial[u] = u;
    if (!trials || v->n_units <= trials) return;
    for (uint32_t u = 0; u < v->n_units; u++) {
        for (uint32_t k = 0; k < u && trial[u] == u; k++)
            if (same_kind(v, k, u)) trial[u] = trial[k];
        kinds += trial[u] == u;
    }
    uint32_t runs = PITH_MAX(trials / kinds, 1u);
    for (uint32_t u = 0; u < v->n_units; u++) {
        uint32_t members = 0, before = 0;
        for (uint32_t k = 0; k < v->n_units; k++)
            if (same_kind(v, k, u)) {
                members++;
                before += k < u;
            }
        if (members < 2) continue;
        uint32_t run = (uint32_t)((uint64_t)before * runs / members), seen = 0;
        for (uint32_t k = 0; k < v->n_units; k++) {
            if (!same_kind(v, k, u)) continue;
            if ((uint32_t)((uint64_t)seen++ * runs / members) != run) continue;
            trial[u] = k;
            break;
        }
    }
}

/* Units of one trial coded together, all others as base has them. rows[units] is what the overlay holds, and holds
 * then. */
static pith_status try_together(pith_ctx *ctx, const model_variants *v, const uint32_t *trial, uint32_t first,
                                uint32_t *rows, model_overlay *o, const model_ruler *r, size_t n_chunks, double *slope) {
    double kl = 0, error = 0;
    lm_model *m;
    uint32_t *before = pith_alloc(ctx, v->n_units * sizeof *before);
    if (!before) return pith_alloc_status(ctx);
    memcpy(before, rows, v->n_units * sizeof *before);
    for (uint32_t u = 0; u < v->n_units; u++) {
        uint32_t level = probe_level(v, u);
        rows[u] = trial[u] == first ? u * v->n_levels + level : UINT32_MAX;
        if (trial[u] == first) error += model_variants_at(v, u, level)->outputs * v->units[u].share;
    }
    pith_status status = model_variants_put_all(ctx, v, rows, before, o);
    pith_free(ctx, before);
    if (!status) status = model_overlay_open(ctx, o, &m);
    if (status) return status;
    status = model_ruler_kl(ctx, r, m, n_chunks, &kl);
    lm_close(ctx, m);
    *slope = error > 0 && kl > 0 ? kl / error : 0;
    return status;
}

pith_status model_variants_slopes(pith_ctx *ctx, model_variants *v, model_overlay *o, const model_ruler *r,
                                  size_t n_chunks) {
    return model_variants_slopes_in(ctx, v, o, r, n_chunks, 0);
}

pith_status model_variants_slopes_in(pith_ctx *ctx, model_variants *v, model_overlay *o, const model_ruler *r,
                                     size_t n_chunks, uint32_t trials) {
    uint32_t *trial = pith_alloc(ctx, 2 * (size_t)v->n_units * sizeof *trial), *rows = trial + v->n_units, done = 0;
    pith_status status = trial ? PITH_OK : pith_alloc_status(ctx);
    if (status) return status;
    list_trials(v, trials, trial);
    for (uint32_t u = 0; u < v->n_units; u++) rows[u] = UINT32_MAX;
    for (uint32_t first = 0; first < v->n_units && !status; first++) {
        double slope = 0;
        if (trial[first] != first) continue;
        status = try_together(ctx, v, trial, first, rows, o, r, n_chunks, &slope);
        for (uint32_t u = first; u < v->n_units; u++)
            if (trial[u] == first) {
                v->units[u].slope = slope * v->units[u].share;
                done++;
            }
        if (!status) status = pith_tick(ctx, done, v->n_units);
    }
    for (uint32_t u = 0; u < v->n_units && !status; u++)
        if (rows[u] != UINT32_MAX) status = model_variants_put(ctx, v, u, v->n_levels, o);
    pith_free(ctx, trial);
    return status;
}

