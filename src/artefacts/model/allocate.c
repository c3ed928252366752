/* The table: codes of all matrices at all levels, weighed by what the model minds, put in and taken out of a judge. */
#include "artefacts/model/allocate.h"

#include <math.h>

typedef struct code {
    pith_buffer bytes;
    double error; /* of the outputs, relative */
} code;

typedef struct unit {
    size_t tensor;
    double minds;   /* divergence per error */
    uint32_t shown; /* row in the overlay now; UINT32_MAX: the base's */
} unit;

struct model_table {
    pith_ctx *ctx;
    const tensor_file *base;
    const pith_recipe *levels;
    const model_stats *stats;
    repr_chain **chains; /* [n_levels] */
    unit *units;         /* [n_units] */
    code *codes;         /* [n_units][n_levels] */
    alloc_row *rows;     /* the same; row = unit * n_levels + level */
    alloc_table table;
    uint64_t n_weights;
    size_t first; /* of the batch at work */
};

static pith_status stats_of(const model_table *t, const tensor_view *v, repr_stats *out) {
    char name[256];
    *out = (repr_stats){0};
    if (!t->stats || v->name.size >= sizeof name) return PITH_OK;
    memcpy(name, v->name.data, v->name.size);
    name[v->name.size] = 0;
    return model_stats_find(t->ctx, t->stats, name, 0, (size_t)v->ne[0], out);
}

/* One matrix at one level. */
static pith_status encode_row(void *arg, size_t i) {
    model_table *t = arg;
    size_t row = t->first + i, n_levels = t->levels->n_rules;
    const tensor_view *v = &t->base->tensors[t->units[row / n_levels].tensor];
    code *c = &t->codes[row];
    repr_stats stats;
    repr_error error;
    repr_matrix w = {NULL, (size_t)v->ne[1], (size_t)v->ne[0]};
    pith_status status = stats_of(t, v, &stats);
    float *restored = status ? NULL : pith_alloc(t->ctx, v->n_elements * sizeof *restored);
    w.data = restored ? pith_alloc(t->ctx, v->n_elements * sizeof *w.data) : NULL;
    if (!status && !w.data) status = pith_alloc_status(t->ctx);
    if (!status) {
        blocks_decode(v->type, v->data, w.data, v->n_elements);
        status = repr_encode(t->ctx, t->chains[row % n_levels], &w, &stats, &c->bytes, restored);
    }
    if (!status) status = repr_measure(t->ctx, &w, restored, &stats, &error);
    if (!status) c->error = error.outputs > 0 ? error.outputs : error.weights;
    pith_free(t->ctx, w.data);
    pith_free(t->ctx, restored);
    return status;
}

static pith_status encode_all(model_table *t) {
    size_t n = t->table.n_rows, at_once = 4 * (size_t)pith_ctx_threads(t->ctx);
    pith_status status = PITH_OK;
    for (t->first = 0; t->first < n && !status; t->first += at_once) {
        status = pith_parallel(t->ctx, PITH_MIN(at_once, n - t->first), encode_row, t);
        if (!status) status = pith_tick(t->ctx, PITH_MIN(t->first + at_once, n), n);
    }
    return status;
}

static void fill_rows(model_table *t) {
    size_t n_levels = t->levels->n_rules;
    for (size_t i = 0; i < t->table.n_rows; i++)
        t->rows[i] = (alloc_row){.unit = (uint32_t)(i / n_levels),
                                 .level = (uint32_t)(i % n_levels),
                                 .bytes = t->codes[i].bytes.size,
                                 .loss = t->codes[i].error * t->units[i / n_levels].minds};
}

static pith_status make_room(model_table *t) {
    size_t n_levels = t->levels->n_rules, n = 0;
    for (size_t i = 0; i < t->base->n_tensors; i++) n += model_overlay_takes(&t->base->tensors[i]);
    if (n == 0 || n > UINT32_MAX / PITH_MAX(n_levels, 1u))
        return pith_fail(t->ctx, PITH_E_ARGUMENT, "allocation: the model has no matrices, or too many");
    t->units = pith_zalloc(t->ctx, n * sizeof *t->units);
    t->codes = pith_zalloc(t->ctx, n * n_levels * sizeof *t->codes);
    t->rows = pith_alloc(t->ctx, n * n_levels * sizeof *t->rows);
    t->chains = pith_zalloc(t->ctx, n_levels * sizeof *t->chains);
    if (!t->units || !t->codes || !t->rows || !t->chains) return pith_alloc_status(t->ctx);
    t->table = (alloc_table){t->rows, n * n_levels, (uint32_t)n};
    n = 0;
    for (size_t i = 0; i < t->base->n_tensors; i++) {
        const tensor_view *v = &t->base->tensors[i];
        if (!model_overlay_takes(v)) continue;
        if (v->n_elements != v->ne[0] * v->ne[1])
            return pith_fail(t->ctx, PITH_E_UNSUPPORTED, "allocation: stacks of matrices have no levels of their own");
        t->units[n++] = (unit){.tensor = i, .minds = 1, .shown = UINT32_MAX};
        t->n_weights += v->n_elements;
    }
    return PITH_OK;
}

pith_status model_table_new(pith_ctx *ctx, const tensor_file *base, const pith_recipe *levels, const model_stats *stats,
                            model_table **out) {
    *out = NULL;
    model_table *t = pith_zalloc(ctx, sizeof *t);
    if (!t) return pith_alloc_status(ctx);
    *t = (model_table){.ctx = ctx, .base = base, .levels = levels, .stats = stats};
    pith_status status = make_room(t);
    for (unsigned i = 0; i < levels->n_rules && !status; i++) {
        if (levels->rules[i].pattern)
            status = pith_fail(ctx, PITH_E_ARGUMENT, "allocation: level %u has a pattern", i + 1);
        else
            status = repr_chain_new(ctx, &levels->rules[i], &t->chains[i]);
    }
    if (!status) status = encode_all(t);
    if (status) {
        model_table_free(ctx, t);
        return status;
    }
    fill_rows(t);
    *out = t;
    return PITH_OK;
}

void model_table_free(pith_ctx *ctx, model_table *t) {
    if (!t) return;
    for (size_t i = 0; t->codes && i < t->table.n_rows; i++) pith_buffer_free(ctx, &t->codes[i].bytes);
    for (unsigned i = 0; t->chains && i < t->levels->n_rules; i++) repr_chain_free(ctx, t->chains[i]);
    pith_free(ctx, t->chains);
    pith_free(ctx, t->units);
    pith_free(ctx, t->codes);
    pith_free(ctx, t->rows);
    pith_free(ctx, t);
}

const alloc_table *model_table_rows(const model_table *t) { return &t->table; }
uint64_t model_table_weights(const model_table *t) { return t->n_weights; }

/* ---- in the judge ------------------------------------------------------------------------------------ */

static pith_status show(model_table *t, model_judge *judge, uint32_t u, uint32_t row) {
    size_t tensor = t->units[u].tensor;
    const tensor_view *v = &t->base->tensors[tensor];
    if (t->units[u].shown == row) return PITH_OK;
    t->units[u].shown = row;
    if (row == UINT32_MAX) return model_overlay_reset(t->ctx, model_judge_overlay(judge), tensor);
    const code *c = &t->codes[row];
    repr_reader r = {.p = c->bytes.data, .end = c->bytes.data + c->bytes.size};
    repr_matrix w = {pith_alloc(t->ctx, v->n_elements * sizeof(float)), (size_t)v->ne[1], (size_t)v->ne[0]};
    pith_status status = w.data ? PITH_OK : pith_alloc_status(t->ctx);
    if (!status) status = repr_decode(t->ctx, t->chains[row % t->levels->n_rules], &r, 0, &w);
    if (!status)
        status = model_overlay_put(t->ctx, model_judge_overlay(judge), tensor, 0, w.data, v->n_elements);
    pith_free(t->ctx, w.data);
    return status;
}

pith_status model_table_put(pith_ctx *ctx, model_table *t, model_judge *judge, const uint32_t *rows) {
    (void)ctx;
    pith_status status = PITH_OK;
    for (uint32_t u = 0; u < t->table.n_units && !status; u++) status = show(t, judge, u, rows[u]);
    return status;
}

void model_table_forget(model_table *t) {
    for (uint32_t u = 0; u < t->table.n_units; u++) t->units[u].shown = UINT32_MAX;
}

static pith_status divergence(pith_ctx *ctx, model_judge *judge, size_t n_chunks, double *kl) {
    lm_model *m;
    pith_status status = model_overlay_open(ctx, model_judge_overlay(judge), &m);
    if (status) return status;
    status = model_ruler_kl(ctx, model_judge_ruler(judge), m, n_chunks, kl);
    lm_close(ctx, m);
    return status;
}

pith_status model_table_weigh(pith_ctx *ctx, model_table *t, model_judge *judge, size_t n_chunks) {
    uint32_t n_levels = t->levels->n_rules;
    pith_status status = PITH_OK;
    for (uint32_t u = 0; u < t->table.n_units && !status; u++) status = show(t, judge, u, UINT32_MAX);
    for (uint32_t u = 0; u < t->table.n_units && !status; u++) {
        uint32_t best = u * n_levels;
        double kl = 0;
        for (uint32_t i = u * n_levels; i < (u + 1) * n_levels; i++)
            if (fabs(log(t->codes[i].error * 50 + 1e-30)) < fabs(log(t->codes[best].error * 50 + 1e-30))) best = i;
        status = show(t, judge, u, best);
        if (!status) status = divergence(ctx, judge, n_chunks, &kl);
        if (!status) status = show(t, judge, u, UINT32_MAX);
        if (t->codes[best].error > 0) t->units[u].minds = PITH_MAX(kl, 1e-9) / t->codes[best].error;
        if (!status) status = pith_tick(ctx, u + 1, t->table.n_units);
    }
    fill_rows(t);
    return status;
}

typedef struct fitness {
    pith_ctx *ctx;
    model_table *t;
    model_judge *judge;
} fitness;

static pith_status measure(void *opaque, const uint32_t *rows, size_t n, uint64_t effort, double *losses) {
    fitness *f = opaque;
    pith_status status = PITH_OK;
    for (size_t i = 0; i < n && !status; i++) {
        status = model_table_put(f->ctx, f->t, f->judge, rows + i * f->t->table.n_units);
        if (!status) status = divergence(f->ctx, f->judge, (size_t)effort, &losses[i]);
    }
    return status;
}

pith_status model_table_evolve(pith_ctx *ctx, model_table *t, model_judge *judge, const alloc_budget *budget,
                               uint32_t generations, uint32_t offspring, uint64_t seed, alloc_choice *choice) {
    size_t chunks = model_ruler_chunks(model_judge_ruler(judge));
    const alloc_round rounds[] = {{PITH_MAX(chunks / 8, 1u), PITH_MAX(offspring / 4, 1u)}, {chunks, 1}};
    fitness f = {ctx, t, judge};
    uint32_t *start = pith_alloc(ctx, t->table.n_units * sizeof *start);
    if (!start) return pith_alloc_status(ctx);
    memcpy(start, choice->rows, t->table.n_units * sizeof *start);
    alloc_evolution how = {.seed = seed, .generations = generations, .offspring = offspring, .rounds = rounds,
                           .n_rounds = 2, .start = start, .fitness = measure, .opaque = &f};
    pith_status status = alloc_evo(ctx, &t->table, budget, &how, choice);
    pith_free(ctx, start);
    return status;
}

pith_status model_table_recipe(pith_ctx *ctx, const model_table *t, const uint32_t *rows, pith_buffer *out) {
    pith_status status = PITH_OK;
    bool any = false;
    for (unsigned level = 0; level < t->levels->n_rules && !status; level++) {
        const pith_recipe chain = {.rules = &t->levels->rules[level], .n_rules = 1};
        bool first = true;
        for (uint32_t u = 0; u < t->table.n_units && !status; u++) {
            const tensor_view *v = &t->base->tensors[t->units[u].tensor];
            if (t->rows[rows[u]].level != level) continue;
            if (!first) status = pith_buffer_append(ctx, out, ", ", 2);
            else if (any) status = pith_buffer_append(ctx, out, " ; ", 3);
            if (!status) status = pith_buffer_append(ctx, out, v->name.data, v->name.size);
            first = false;
            any = true;
        }
        if (first || status) continue;
        status = pith_buffer_append(ctx, out, " -> ", 4);
        if (!status) status = pith_recipe_print(ctx, &chain, out);
    }
    return status;
}
