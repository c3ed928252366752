/* Bits spread over matrices: what each costs, measured once; then any average is a sum. */
#include "artefacts/model/spread.h"

#include <math.h>
#include <stdio.h>

#include "artefacts/model/archive_parts.h"
#include "artefacts/model/budget.h"

#define LEVEL_BITS 3
#define LEVEL "step(bits=3) | ctxac @ obs"
#define LEAST MODEL_SPREAD_LEAST
#define MOST MODEL_SPREAD_MOST
#define GRID 4 /* levels of a bit */
#define N_LEVELS 45 /* from LEAST to MOST */

#define TRIED_EACH 30000000  /* weights up to which every matrix is tried by itself */
#define TRIALS 24            /* of larger models */

typedef struct spread_unit {
    size_t tensor;
    double weights, lift; /* bits above the average */
    double settled;       /* bits that it takes at LEVEL, with hardly an error: more would buy nothing; 0: they would */
} spread_unit;

struct model_spread {
    const tensor_file *base;
    uint32_t n;
    spread_unit *units; /* [n], in the order of base */
    double weights;
};

/* A matrix that step found to lie on few levels (step_lattice_find.c) has less error than its bits could leave, and takes
 * fewer than were asked for. */
static double settled(const model_variant *at, double weights) {
    double bits = 8 * (double)at->bytes / weights;
    return at->weights < 0.25 * exp2(-2.0 * LEVEL_BITS) && bits < 0.98 * LEVEL_BITS ? bits : 0;
}

/* 1/2 log2 of the divergence of each weight, less the mean. */
static void set_lifts(model_spread *s, const model_variants *v) {
    double mean = 0, least = HUGE_VAL, weights = 0;
    for (uint32_t u = 0; u < s->n; u++) {
        s->units[u].settled = settled(model_variants_at(v, u, 0), s->units[u].weights);
        if (s->units[u].settled > 0) continue;
        weights += s->units[u].weights;
        double kl = model_variants_at(v, u, 0)->outputs * model_variants_unit(v, u)->slope;
        s->units[u].lift = kl / s->units[u].weights;
        if (kl > 0) least = fmin(least, s->units[u].lift);
    }
    for (uint32_t u = 0; u < s->n; u++) { /* nothing to be seen counts as the least that was */
        if (s->units[u].settled > 0) continue;
        double each = s->units[u].lift > 0 ? s->units[u].lift : isfinite(least) ? least : 1;
        s->units[u].lift = 0.5 * log2(each);
        mean += s->units[u].lift * s->units[u].weights / weights;
    }
    for (uint32_t u = 0; u < s->n; u++)
        if (!(s->units[u].settled > 0)) s->units[u].lift -= mean;
}

pith_status model_spread_over(pith_ctx *ctx, const tensor_file *base, const char *only, const model_stats *stats,
                              model_overlay *o, const model_ruler *ruler, model_spread **out) {
    static const char *const levels[] = {LEVEL};
    uint64_t used = pith_memory_used(ctx), limit = pith_ctx_memory(ctx), left = limit > used ? limit - used : 0;
    uint64_t weights = 0;
    model_variants *v = NULL;
    *out = NULL;
    for (size_t i = 0; i < base->n_tensors; i++)
        if (model_overlay_takes(&base->tensors[i])) weights += base->tensors[i].n_elements;
    /* kept where that leaves room for the encoder; otherwise coded again when they are tried */
    const model_variants_options options = {
        .levels = levels, .n_levels = 1, .stats = stats, .only = only, .keep = weights <= left / 4 / sizeof(float)};
    pith_status status = model_variants_new(ctx, base, &options, &v);
    if (!status) status = model_variants_slopes_in(ctx, v, o, ruler, 0, weights > TRIED_EACH ? TRIALS : 0);
    model_spread *s = status ? NULL : pith_zalloc(ctx, sizeof *s);
    if (s) {
        s->base = base;
        s->n = model_variants_units(v);
        s->units = pith_zalloc(ctx, PITH_MAX(s->n, 1u) * sizeof *s->units);
    }
    if (!status && (!s || !s->units)) status = pith_alloc_status(ctx);
    for (uint32_t u = 0; !status && u < s->n; u++) {
        const model_unit *unit = model_variants_unit(v, u);
        s->units[u] = (spread_unit){.tensor = unit->tensor, .weights = (double)unit->weights};
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

pith_status model_spread_even(pith_ctx *ctx, const tensor_file *base, const char *only, model_spread **out) {
    *out = NULL;
    model_spread *s = pith_zalloc(ctx, sizeof *s);
    if (!s) return pith_alloc_status(ctx);
    s->base = base;
    s->units = pith_zalloc(ctx, PITH_MAX(base->n_tensors, 1u) * sizeof *s->units);
    pith_status status = s->units ? PITH_OK : pith_alloc_status(ctx);
    for (size_t i = 0; !status && i < base->n_tensors; i++) {
        const tensor_view *t = &base->tensors[i];
        if (!model_overlay_takes(t) || !archive_matches(only, t->name.data, t->name.size)) continue;
        s->units[s->n++] = (spread_unit){.tensor = i, .weights = (double)t->n_elements};
        s->weights += (double)t->n_elements;
    }
    if (!status && !s->n) status = pith_fail(ctx, PITH_E_ARGUMENT, "there is no matrix to spend a budget on");
    if (status)
        model_spread_free(ctx, s);
    else
        *out = s;
    return status;
}

pith_status model_spread_new(pith_ctx *ctx, const tensor_file *base, const model_stats *stats, model_judge *judge,
                             model_spread **out) {
    return model_spread_over(ctx, base, NULL, stats, model_judge_overlay(judge), model_judge_ruler(judge), out);
}

void model_spread_free(pith_ctx *ctx, model_spread *s) {
    if (!s) return;
    pith_free(ctx, s->units);
    pith_free(ctx, s);
}

uint32_t model_spread_sizes(const model_spread *s, uint64_t *weights, uint64_t *other_weights, uint64_t *other_bytes) {
    *weights = *other_weights = *other_bytes = 0;
    for (size_t i = 0, u = 0; i < s->base->n_tensors; i++) {
        const tensor_view *t = &s->base->tensors[i];
        if (u < s->n && s->units[u].tensor == i) {
            *weights += t->n_elements;
            u++;
        } else {
            *other_weights += t->n_elements;
            *other_bytes += t->bytes;
        }
    }
    return s->n;
}

/* ---- an average as a recipe ---- */

/* Of a unit, where the average is that without bounds and rounding, and `bits` are wanted. */
static uint32_t level_at(const spread_unit *u, double average, double bits) {
    if (u->settled > 0 && u->settled <= bits) return (LEVEL_BITS - (uint32_t)LEAST) * GRID;
    return (uint32_t)floor((fmin(fmax(u->lift + average, LEAST), MOST) - LEAST) * GRID + 0.5);
}

static double mean_bits(const model_spread *s, double average, double wanted) {
    double bits = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        const spread_unit *u = &s->units[i];
        double each = LEAST + (double)level_at(u, average, wanted) / GRID;
        if (u->settled > 0 && u->settled <= wanted) each = u->settled;
        bits += each * u->weights / s->weights;
    }
    return bits;
}

pith_status model_spread_recipe(pith_ctx *ctx, const model_spread *s, double bits, pith_buffer *out) {
    double low = -24, high = 36;
    char text[N_LEVELS][40];
    const char *levels[N_LEVELS];
    if (!(bits >= LEAST && bits <= MOST))
        return pith_fail(ctx, PITH_E_ARGUMENT, "%g bits per weight: from %g to %g", bits, LEAST, MOST);
    for (unsigned turn = 0; turn < 50; turn++) {
        double middle = (low + high) / 2;
        if (mean_bits(s, middle, bits) > bits)
            high = middle;
        else
            low = middle;
    }
    for (unsigned l = 0; l < N_LEVELS; l++) {
        snprintf(text[l], sizeof text[l], "step(bits=%g) | ctxac @ obs", LEAST + (double)l / GRID);
        levels[l] = text[l];
    }
    size_t *tensors = pith_alloc(ctx, s->n * sizeof *tensors);
    uint32_t *level = tensors ? pith_alloc(ctx, s->n * sizeof *level) : NULL;
    pith_status status = level ? PITH_OK : pith_alloc_status(ctx);
    for (uint32_t u = 0; u < s->n && !status; u++) {
        tensors[u] = s->units[u].tensor;
        level[u] = level_at(&s->units[u], low, bits);
    }
    if (!status) status = model_rules_print(ctx, s->base, tensors, NULL, level, s->n, levels, N_LEVELS, out);
    pith_free(ctx, level);
    pith_free(ctx, tensors);
    return status;
}

/* ---- an average for a target ---- */

static pith_status code_at(pith_ctx *ctx, const model_spread *s, const model_stats *stats, model_overlay *o, double bits,
                           uint64_t *bytes) {
    pith_buffer text = {0};
    pith_recipe *recipe = NULL;
    model_trial t;
    pith_status status = model_spread_recipe(ctx, s, bits, &text);
    if (!status) status = archive_recipe(ctx, (const char *)text.data, text.size, &recipe);
    if (!status) status = model_try_recipe(ctx, s->base, recipe, stats, o, &t);
    pith_recipe_free(ctx, recipe);
    pith_buffer_free(ctx, &text);
    if (!status) *bytes = t.bytes;
    return status;
}

static double within(double bits) { return fmin(fmax(bits, LEAST), MOST); }

/* Bits for bytes are near to a line: the next guess moves by what was missing. */
pith_status model_spread_for_bytes(pith_ctx *ctx, const model_spread *s, const model_stats *stats, model_overlay *o,
                                   uint64_t bytes, model_spread_fit *out) {
    double bits = within(8 * (double)bytes / s->weights), low = 0, high = HUGE_VAL;
    *out = (model_spread_fit){0};
    for (;;) {
        uint64_t took = 0;
        pith_status status = code_at(ctx, s, stats, o, bits, &took);
        if (status) return status;
        out->trials++;
        double missing = 8 * ((double)bytes - (double)took) / s->weights;
        if (took <= bytes) {
            low = out->bits = bits;
            out->bytes = took;
        } else {
            high = bits;
        }
        if (took > bytes && bits <= LEAST)
            return pith_fail(ctx, PITH_E_LIMIT, "the matrices take %llu bytes at least, of %llu", (unsigned long long)took,
                             (unsigned long long)bytes);
        if (took <= bytes && (bits >= MOST || (double)took >= 0.995 * (double)bytes)) return PITH_OK;
        if ((low > 0 && high - low < 0.02) || (low > 0 && out->trials >= 6)) return PITH_OK;
        /* a little less than the line says, so that the other side of it is not met again and again */
        double next = within(bits + missing - 0.005);
        if (next <= low || next >= high) next = high < HUGE_VAL ? (fmax(low, LEAST) + high) / 2 : within(low + missing / 2);
        if (low == 0 && out->trials >= 6) next = LEAST;
        bits = next;
    }
}

/* Divergence falls by four with each bit. */
pith_status model_spread_for_kl(pith_ctx *ctx, const model_spread *s, const model_stats *stats, model_overlay *o,
                                const model_ruler *ruler, double max_kl, model_spread_fit *out) {
    double bits = 4, low = 0, high = HUGE_VAL;
    *out = (model_spread_fit){0};
    for (;;) {
        uint64_t took = 0;
        double kl = 0;
        lm_model *m;
        pith_status status = code_at(ctx, s, stats, o, bits, &took);
        if (!status) status = model_overlay_open(ctx, o, &m);
        if (status) return status;
        status = model_ruler_kl(ctx, ruler, m, 0, &kl);
        lm_close(ctx, m);
        if (status) return status;
        out->trials++;
        if (kl <= max_kl) {
            *out = (model_spread_fit){.bits = high = bits, .bytes = took, .kl = kl, .trials = out->trials};
        } else {
            low = bits;
        }
        if (kl > max_kl && bits >= MOST)
            return pith_fail(ctx, PITH_E_LIMIT, "%g bits for each weight leave a divergence of %.3g, above %.3g", bits, kl,
                             max_kl);
        if (high < HUGE_VAL && (bits <= LEAST || high - low < 0.05 || out->trials >= 10)) return PITH_OK;
        double next = within(bits + 0.5 * log2(fmax(kl, 1e-12) / max_kl) + 0.02);
        if (next <= low || next >= high) next = high < HUGE_VAL ? (fmax(low, LEAST) + high) / 2 : within(low + 0.5);
        if (high == HUGE_VAL && out->trials >= 8) next = MOST;
        bits = next;
    }
}
