/* Choosing a level for every matrix: by sums of losses, by measured divergence, or so that the divergence is at most
 * so much. */
#include "artefacts/model/budget.h"

#include <math.h>

const char *const model_budget_names[MODEL_BUDGET_METHODS] = {"greedy", "knapsack", "evolve", "rate", "uniform"};

/* ---- a model with a choice in it, measured ---- */

pith_status model_fitness_new(pith_ctx *ctx, const model_variants *v, model_overlay *o, const model_ruler *r,
                              model_fitness *out) {
    uint32_t n = model_variants_units(v);
    *out = (model_fitness){.ctx = ctx, .v = v, .overlay = o, .ruler = r, .there = pith_alloc(ctx, n * sizeof *out->there)};
    if (!out->there) return pith_alloc_status(ctx);
    for (uint32_t u = 0; u < n; u++) out->there[u] = UINT32_MAX;
    return PITH_OK;
}

void model_fitness_free(model_fitness *f) {
    if (f->there) pith_free(f->ctx, f->there);
    f->there = NULL;
}

static pith_status open_choice(model_fitness *f, const uint32_t *rows, lm_model **m) {
    pith_status status = model_variants_put_all(f->ctx, f->v, rows, f->there, f->overlay);
    if (status) return status;
    memcpy(f->there, rows, model_variants_units(f->v) * sizeof *rows);
    return model_overlay_open(f->ctx, f->overlay, m);
}

static pith_status measure(model_fitness *f, const uint32_t *rows, size_t chunks, double *kl) {
    size_t bytes = model_variants_units(f->v) * sizeof *rows;
    uint64_t key[3] = {pith_hash64(rows, bytes), chunks, (uint64_t)(uintptr_t)f->ruler}, hash = pith_hash64(key, sizeof key);
    for (size_t i = 0; i < PITH_COUNT(f->seen); i++)
        if (f->seen[i] == hash) {
            *kl = f->seen_kl[i];
            return PITH_OK;
        }
    lm_model *m;
    pith_status status = open_choice(f, rows, &m);
    if (status) return status;
    status = model_ruler_kl(f->ctx, f->ruler, m, chunks, kl);
    lm_close(f->ctx, m);
    size_t at = f->evaluated++ % PITH_COUNT(f->seen);
    f->seen[at] = status ? 0 : hash;
    f->seen_kl[at] = *kl;
    f->tokens += model_ruler_tokens(f->ruler) / model_ruler_chunks(f->ruler) * chunks;
    return status;
}

pith_status model_fitness_of(void *fitness, const uint32_t *rows, size_t n, uint64_t effort, double *losses) {
    model_fitness *f = fitness;
    size_t all = model_ruler_chunks(f->ruler), chunks = effort && effort < all ? (size_t)effort : all;
    pith_status status = PITH_OK;
    for (size_t i = 0; i < n && !status; i++)
        status = measure(f, rows + i * model_variants_units(f->v), chunks, &losses[i]);
    return status;
}

pith_status model_fitness_score(model_fitness *f, const uint32_t *rows, model_score *out) {
    lm_model *m;
    pith_status status = open_choice(f, rows, &m);
    if (status) return status;
    status = model_ruler_measure(f->ctx, f->ruler, m, out);
    lm_close(f->ctx, m);
    return status;
}

/* ---- the methods ---- */

static alloc_table table_of(const model_variants *v, const alloc_row *rows) {
    return (alloc_table){rows, (size_t)model_variants_units(v) * model_variants_levels(v), model_variants_units(v)};
}

static pith_status uniform(pith_ctx *ctx, const model_variants *v, const alloc_row *rows, uint64_t bytes,
                           alloc_choice *out) {
    uint32_t units = model_variants_units(v), levels = model_variants_levels(v), best = levels;
    uint64_t least = UINT64_MAX;
    double best_loss = INFINITY;
    for (uint32_t l = 0; l < levels; l++) {
        uint64_t sum = 0;
        double loss = 0;
        for (uint32_t u = 0; u < units; u++) {
            sum += rows[(size_t)u * levels + l].bytes;
            loss += rows[(size_t)u * levels + l].loss;
        }
        least = PITH_MIN(least, sum);
        if (sum > bytes || !(loss < best_loss)) continue;
        best = l;
        best_loss = loss;
    }
    if (best == levels)
        return pith_fail(ctx, PITH_E_LIMIT, "the smallest level for all takes %llu bytes of %llu",
                         (unsigned long long)least, (unsigned long long)bytes);
    for (uint32_t u = 0; u < units; u++) out->rows[u] = u * levels + best;
    return PITH_OK;
}

/* Mean bits of the levels in ascending order, and which they are. */
static void level_bits(const model_variants *v, double *bits, uint32_t *order) {
    uint32_t units = model_variants_units(v), levels = model_variants_levels(v);
    for (uint32_t l = 0; l < levels; l++) {
        uint64_t sum = 0;
        for (uint32_t u = 0; u < units; u++) sum += model_variants_at(v, u, l)->bytes;
        double b = 8 * (double)sum / (double)model_variants_weights(v);
        uint32_t i = l;
        for (; i > 0 && bits[i - 1] > b; i--) {
            bits[i] = bits[i - 1];
            order[i] = order[i - 1];
        }
        bits[i] = b;
        order[i] = l;
    }
    for (uint32_t l = 1; l < levels; l++) /* levels of one size are one width, and the next a hair above */
        if (!(bits[l] > bits[l - 1])) bits[l] = nextafter(bits[l - 1], INFINITY);
}

/* D(b) = c 4^-b for each unit: the sum is least where the slopes are equal, b = B + log4(c / weights) - mean. */
static pith_status lograte(pith_ctx *ctx, const model_variants *v, const alloc_row *rows, uint64_t bytes,
                           alloc_choice *out) {
    uint32_t units = model_variants_units(v), levels = model_variants_levels(v), order[MODEL_MAX_LEVELS];
    double bits[MODEL_MAX_LEVELS], average = 8 * (double)bytes / (double)model_variants_weights(v);
    double *scores = pith_alloc(ctx, units * sizeof *scores);
    uint64_t *weights = scores ? pith_alloc(ctx, units * sizeof *weights) : NULL;
    uint32_t *level = weights ? pith_alloc(ctx, units * sizeof *level) : NULL;
    pith_status status = level ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        level_bits(v, bits, order);
        for (uint32_t u = 0; u < units; u++) {
            weights[u] = model_variants_unit(v, u)->weights;
            scores[u] = rows[(size_t)u * levels + order[0]].loss / (double)weights[u];
            if (!(scores[u] > 0)) scores[u] = 1e-300;
        }
    }
    /* a level's bytes differ from matrix to matrix, so the average is lowered until the sum of bytes fits */
    for (unsigned tries = 0; !status; tries++) {
        status = alloc_lograte(ctx, scores, weights, units, bits, levels, average, 0.5, level);
        if (status) break;
        uint64_t sum = 0;
        for (uint32_t u = 0; u < units; u++) {
            out->rows[u] = u * levels + order[level[u]];
            sum += rows[out->rows[u]].bytes;
        }
        if (sum <= bytes) break;
        average -= 8 * (double)(sum - bytes) / (double)model_variants_weights(v) + 1e-6;
        if (tries == 100 || average < bits[0])
            status = pith_fail(ctx, PITH_E_LIMIT, "bits by logarithms do not come down to %llu bytes",
                               (unsigned long long)bytes);
    }
    pith_free(ctx, scores);
    pith_free(ctx, weights);
    pith_free(ctx, level);
    return status;
}

/* Rounds as in the published search: most children on little text, a quarter on a quarter, two on all. */
static pith_status evolve(pith_ctx *ctx, const alloc_table *table, const alloc_budget *bytes,
                          const model_budget *b, model_fitness *f, alloc_choice *out) {
    if (!f) return pith_fail(ctx, PITH_E_ARGUMENT, "evolution needs a text to measure on");
    size_t chunks = model_ruler_chunks(f->ruler);
    uint32_t offspring = b->offspring ? b->offspring : 16;
    alloc_round rounds[3] = {{PITH_MAX(chunks / 16, 1u), PITH_MAX(offspring / 4, 2u)},
                             {PITH_MAX(chunks / 4, 1u), PITH_MAX(offspring / 16, 1u)},
                             {chunks, 1}};
    alloc_evolution how = {.seed = b->seed,
                           .generations = b->generations ? b->generations : 60,
                           .offspring = offspring,
                           .rounds = rounds,
                           .n_rounds = PITH_COUNT(rounds),
                           .fitness = model_fitness_of,
                           .opaque = f};
    return alloc_evo(ctx, table, bytes, &how, out);
}

pith_status model_budget_choose(pith_ctx *ctx, const model_variants *v, const alloc_row *rows, const model_budget *b,
                                model_fitness *fitness, alloc_choice *out) {
    alloc_table table = table_of(v, rows);
    alloc_budget bytes = {.bytes = b->bytes};
    pith_status status = alloc_check(ctx, &table);
    if (status) return status;
    switch (b->method) {
    case MODEL_BUDGET_GREEDY: return alloc_lagrange(ctx, &table, &bytes, out);
    case MODEL_BUDGET_KNAPSACK: return alloc_mckp(ctx, &table, &bytes, 0, out);
    case MODEL_BUDGET_EVOLVE: return evolve(ctx, &table, &bytes, b, fitness, out);
    case MODEL_BUDGET_RATE: status = lograte(ctx, v, rows, b->bytes, out); break;
    default: status = uniform(ctx, v, rows, b->bytes, out); break;
    }
    if (!status) alloc_total(&table, out);
    return status;
}

/* ---- the other way round ---- */

static uint64_t extreme(const model_variants *v, bool most) {
    uint64_t sum = 0;
    for (uint32_t u = 0; u < model_variants_units(v); u++) {
        uint64_t best = model_variants_at(v, u, 0)->bytes;
        for (uint32_t l = 1; l < model_variants_levels(v); l++) {
            uint64_t bytes = model_variants_at(v, u, l)->bytes;
            best = most ? PITH_MAX(best, bytes) : PITH_MIN(best, bytes);
        }
        sum += best;
    }
    return sum;
}

typedef struct kl_search {
    const model_variants *v;
    const alloc_row *rows;
    model_budget b;
    model_fitness *f;
    alloc_choice *now;
    double kl;
} kl_search;

static pith_status try_bytes(pith_ctx *ctx, kl_search *s, uint64_t bytes) {
    s->b.bytes = bytes;
    pith_status status = model_budget_choose(ctx, s->v, s->rows, &s->b, s->f, s->now);
    return status ? status : model_fitness_of(s->f, s->now->rows, 1, 0, &s->kl);
}

pith_status model_budget_for_kl(pith_ctx *ctx, const model_variants *v, const alloc_row *rows, const model_budget *b,
                                model_fitness *fitness, double max_kl, alloc_choice *out, double *kl) {
    uint32_t units = model_variants_units(v);
    uint64_t low = extreme(v, false), high = extreme(v, true), slack = high / 500 + 1;
    alloc_choice now = {.rows = pith_alloc(ctx, units * sizeof *now.rows)};
    kl_search s = {.v = v, .rows = rows, .b = *b, .f = fitness, .now = &now};
    pith_status status = now.rows ? PITH_OK : pith_alloc_status(ctx);
    if (!status && b->method == MODEL_BUDGET_EVOLVE)
        status = pith_fail(ctx, PITH_E_ARGUMENT, "a divergence to keep to is searched by sums of losses, not by evolution");
    if (!status) status = try_bytes(ctx, &s, high);
    if (!status && !(s.kl <= max_kl))
        status = pith_fail(ctx, PITH_E_LIMIT, "the largest levels leave a divergence of %.3g, above %.3g: add a larger one",
                           s.kl, max_kl);
    uint32_t *rows_out = out->rows;
    for (bool good = true; !status;) {
        if (good) { /* what was tried is the best so far */
            memcpy(rows_out, now.rows, units * sizeof *rows_out);
            *out = now;
            out->rows = rows_out;
            *kl = s.kl;
            high = PITH_MIN(high, now.bytes);
        }
        if (high <= low || high - low <= slack) break;
        uint64_t middle = low + (high - low) / 2;
        status = try_bytes(ctx, &s, middle);
        good = !status && s.kl <= max_kl;
        if (!status && !good) low = middle;
        if (!status) status = pith_tick(ctx, 0, 0);
    }
    pith_free(ctx, now.rows);
    return status;
}
