/* Bits spread over matrices: what each costs, measured once; then any average is a sum. */
#include "artefacts/model/spread.h"

#include <math.h>
#include <stdio.h>

#include "artefacts/model/budget.h"

#define LEVEL "step(bits=3) | ctxac @ obs"
#define LEAST 1.0
#define MOST 12.0
#define GRID 4.0 /* levels of a bit */

typedef struct spread_unit {
    const tensor_view *tensor;
    double weights, lift; /* bits above the average */
} spread_unit;

struct model_spread {
    uint32_t n;
    spread_unit *units; /* [n] */
    double weights;
};

/* 1/2 log2 of the divergence of each weight, less the mean. */
static void set_lifts(model_spread *s, const model_variants *v) {
    double mean = 0, least = HUGE_VAL;
    for (uint32_t u = 0; u < s->n; u++) {
        double kl = model_variants_at(v, u, 0)->outputs * model_variants_unit(v, u)->slope;
        s->units[u].lift = kl / s->units[u].weights;
        if (kl > 0) least = fmin(least, s->units[u].lift);
    }
    for (uint32_t u = 0; u < s->n; u++) { /* nothing to be seen counts as the least that was */
        double each = s->units[u].lift > 0 ? s->units[u].lift : isfinite(least) ? least : 1;
        s->units[u].lift = 0.5 * log2(each);
        mean += s->units[u].lift * s->units[u].weights / s->weights;
    }
    for (uint32_t u = 0; u < s->n; u++) s->units[u].lift -= mean;
}

pith_status model_spread_new(pith_ctx *ctx, const tensor_file *base, const model_stats *stats, model_judge *judge,
                             model_spread **out) {
    static const char *const levels[] = {LEVEL};
    const model_variants_options options = {.levels = levels, .n_levels = 1, .stats = stats};
    model_variants *v = NULL;
    *out = NULL;
    pith_status status = model_variants_new(ctx, base, &options, &v);
    if (!status) status = model_variants_slopes(ctx, v, model_judge_overlay(judge), model_judge_ruler(judge), 0);
    model_spread *s = status ? NULL : pith_zalloc(ctx, sizeof *s);
    if (s) {
        s->n = model_variants_units(v);
        s->units = pith_zalloc(ctx, PITH_MAX(s->n, 1u) * sizeof *s->units);
    }
    if (!status && (!s || !s->units)) status = pith_alloc_status(ctx);
    for (uint32_t u = 0; !status && u < s->n; u++) {
        const model_unit *unit = model_variants_unit(v, u);
        s->units[u] = (spread_unit){.tensor = &base->tensors[unit->tensor], .weights = (double)unit->weights};
        s->weights += s->units[u].weights;
    }
    if (!status) set_lifts(s, v);
    model_variants_free(ctx, v);
    if (status)
        model_spread_free(ctx, s);
    else
        *out = s;
    return status;
}

void model_spread_free(pith_ctx *ctx, model_spread *s) {
    if (!s) return;
    pith_free(ctx, s->units);
    pith_free(ctx, s);
}

static double bits_at(const spread_unit *u, double level) {
    return floor(fmin(fmax(u->lift + level, LEAST), MOST) * GRID + 0.5) / GRID;
}

static double mean_bits(const model_spread *s, double level) {
    double bits = 0;
    for (uint32_t u = 0; u < s->n; u++) bits += bits_at(&s->units[u], level) * s->units[u].weights / s->weights;
    return bits;
}

static pith_status put_rule(pith_ctx *ctx, const model_spread *s, double level, double bits, pith_buffer *out) {
    char text[64];
    bool any = false;
    pith_status status = PITH_OK;
    for (uint32_t u = 0; u < s->n && !status; u++) {
        if (bits_at(&s->units[u], level) != bits) continue;
        const char *before = any ? ", " : out->size ? " ; " : "";
        status = pith_buffer_append(ctx, out, before, strlen(before));
        if (!status)
            status = pith_buffer_append(ctx, out, s->units[u].tensor->name.data, s->units[u].tensor->name.size);
        any = true;
    }
    int n = snprintf(text, sizeof text, " -> step(bits=%g) | ctxac @ obs", bits);
    return status || !any ? status : pith_buffer_append(ctx, out, text, (size_t)n);
}

pith_status model_spread_recipe(pith_ctx *ctx, const model_spread *s, double bits, pith_buffer *out) {
    double low = -24, high = 36;
    if (!(bits >= LEAST && bits <= MOST))
        return pith_fail(ctx, PITH_E_ARGUMENT, "%g bits per weight: from %g to %g", bits, LEAST, MOST);
    for (unsigned turn = 0; turn < 50; turn++) {
        double middle = (low + high) / 2;
        if (mean_bits(s, middle) > bits)
            high = middle;
        else
            low = middle;
    }
    pith_status status = PITH_OK;
    for (double b = LEAST; b <= MOST && !status; b += 1 / GRID) status = put_rule(ctx, s, low, b, out);
    return status;
}
