/* Rows whose recipe is made for the model: one coder, its bits spread over the matrices by what each costs, measured
 * on the calibration text. As a closed form (model_spread), or by the allocators over levels of the coder. */
#include <stdlib.h>
#include <string.h>

#include "artefacts/model/model.h"
#include "faces/cli/bench_model.h"

#define CHUNKS 4 /* of the calibration text, read once for each matrix */

/* Six levels, as many as a search can look through; the allocators take any. */
static const char *const levels[] = {"step(bits=1.5) | ctxac @ obs", "step(bits=2) | ctxac @ obs",
                                     "step(bits=2.5) | ctxac @ obs", "step(bits=3) | ctxac @ obs",
                                     "step(bits=4) | ctxac @ obs",   "step(bits=5) | ctxac @ obs"};

static bool wanted(const bench_models *b, bool method) {
    for (unsigned i = 0; i < b->n; i++) {
        const bench_result *r = &b->results[i];
        if (!r->done && r->code.spread > 0 && (r->code.method != NULL) == method) return true;
    }
    return false;
}

/* Keeps a recipe with a row. */
static pith_status keep(bench_models *b, bench_result *r, const pith_buffer *text) {
    r->made = calloc(text->size + 1, 1);
    if (!r->made) return pith_fail(b->ctx, PITH_E_MEMORY, "out of memory");
    memcpy(r->made, text->data, text->size);
    return PITH_OK;
}

static pith_status spread(bench_models *b, model_judge *j) {
    model_spread *s = NULL;
    pith_status status = model_spread_new(b->ctx, b->base, b->stats, j, &s);
    for (unsigned i = 0; i < b->n && !status; i++) {
        bench_result *r = &b->results[i];
        pith_buffer text = {0};
        if (r->done || !(r->code.spread > 0) || r->code.method) continue;
        status = model_spread_recipe(b->ctx, s, r->code.spread, &text);
        if (!status) status = keep(b, r, &text);
        pith_buffer_free(b->ctx, &text);
    }
    model_spread_free(b->ctx, s);
    return status;
}

static pith_status choose_one(bench_models *b, const model_variants *v, const alloc_row *rows, model_fitness *f,
                              uint32_t *chosen, bench_result *r) {
    model_budget budget = {.seed = 1, .generations = 10, .offspring = 8};
    alloc_choice choice = {.rows = chosen};
    pith_buffer text = {0};
    while (budget.method < MODEL_BUDGET_METHODS && strcmp(model_budget_names[budget.method], r->code.method) != 0)
        budget.method++;
    budget.bytes = alloc_bytes_of(r->code.spread, model_variants_weights(v));
    pith_status status = model_budget_choose(b->ctx, v, rows, &budget, f, &choice);
    if (!status) status = model_variants_recipe(b->ctx, v, chosen, &text);
    if (!status) status = keep(b, r, &text);
    pith_buffer_free(b->ctx, &text);
    return status;
}

static pith_status allocate(bench_models *b, model_judge *j) {
    model_variants_options options = {
        .levels = levels, .n_levels = PITH_COUNT(levels), .stats = b->stats, .only = b->matrices};
    model_variants *v = NULL;
    model_fitness f = {0};
    uint32_t *chosen = NULL;
    alloc_row *rows = NULL;
    pith_status status = model_variants_new(b->ctx, b->base, &options, &v);
    if (!status) status = model_variants_slopes(b->ctx, v, model_judge_overlay(j), model_judge_ruler(j), 0);
    if (!status) status = model_fitness_new(b->ctx, v, model_judge_overlay(j), model_judge_ruler(j), &f);
    if (!status) {
        size_t units = model_variants_units(v);
        chosen = pith_alloc(b->ctx, units * sizeof *chosen);
        rows = chosen ? pith_alloc(b->ctx, units * PITH_COUNT(levels) * sizeof *rows) : NULL;
        if (!rows) status = pith_alloc_status(b->ctx);
    }
    if (!status) model_variants_rows(v, MODEL_LOSS_KL, rows);
    for (unsigned i = 0; i < b->n && !status; i++)
        if (!b->results[i].done && b->results[i].code.method)
            status = choose_one(b, v, rows, &f, chosen, &b->results[i]);
    pith_free(b->ctx, rows);
    pith_free(b->ctx, chosen);
    model_fitness_free(&f);
    model_variants_free(b->ctx, v);
    return status;
}

int bench_model_allocate(bench_models *b, const lm_model *m, uint64_t seed, pith_buffer *text) {
    uint32_t n_ctx = b->common->n_ctx ? b->common->n_ctx : 512, threads = b->common->n_threads;
    model_ruler_options ro = {.n_ctx = b->common->n_ctx, .n_chunks = CHUNKS, .n_threads = threads};
    bool by_form = wanted(b, false), by_search = wanted(b, true);
    model_judge *j = NULL;
    lm_progress progress;
    if (!by_form && !by_search) return CLI_OK;
    lm_progress_start(&progress, b->ctx, "spreading bits", "matrices");
    pith_status status = text->size
                             ? PITH_OK /* not the text to judge by */
                             : model_stats_own_text(b->ctx, m, CHUNKS * (uint64_t)n_ctx + 64, seed + 1, threads, text);
    if (!status) status = model_judge_new(b->ctx, b->base, text->data, text->size, &ro, &j);
    if (!status && by_form) status = spread(b, j);
    if (!status && by_search) status = allocate(b, j);
    model_judge_free(b->ctx, j);
    lm_progress_clear(&progress, b->ctx);
    return status ? lm_failed(b->ctx, NULL) : CLI_OK;
}
