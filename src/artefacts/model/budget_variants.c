/* Every matrix of a model at every level: bytes, errors and what decoding gives. */
#include "artefacts/model/archive_parts.h"
#include "artefacts/model/budget_parts.h"
#include "math/dense/dense.h"

#include <math.h>

#define NAME_MAX_BYTES 256

const char *const model_loss_names[MODEL_LOSSES] = {"weights", "outputs", "energy", "share", "kl"};

void model_variants_free(pith_ctx *ctx, model_variants *v) {
    if (!v) return;
    for (size_t i = 0; v->kept && i < (size_t)v->n_units * v->n_levels; i++) pith_free(ctx, v->kept[i]);
    for (uint32_t i = 0; i < v->n_levels; i++) {
        if (v->chains) repr_chain_free(ctx, v->chains[i]);
        if (v->recipes) pith_recipe_free(ctx, v->recipes[i]);
        if (v->texts) pith_free(ctx, v->texts[i]);
    }
    void *const owned[] = {v->kept, v->chains, v->recipes, v->texts, v->units, v->at};
    for (size_t i = 0; i < PITH_COUNT(owned); i++) pith_free(ctx, owned[i]);
    pith_free(ctx, v);
}

uint32_t model_variants_units(const model_variants *v) { return v->n_units; }
uint32_t model_variants_levels(const model_variants *v) { return v->n_levels; }
const tensor_file *model_variants_base(const model_variants *v) { return v->base; }
const char *model_variants_text(const model_variants *v, uint32_t level) { return v->texts[level]; }
const model_unit *model_variants_unit(const model_variants *v, uint32_t unit) { return &v->units[unit]; }
const model_variant *model_variants_at(const model_variants *v, uint32_t unit, uint32_t level) {
    return &v->at[(size_t)unit * v->n_levels + level];
}
uint64_t model_variants_weights(const model_variants *v) { return v->weights; }
uint64_t model_variants_other_weights(const model_variants *v) { return v->other_weights; }
uint64_t model_variants_other_bytes(const model_variants *v) { return v->other_bytes; }

/* ---- one matrix at one level ---- */

typedef struct variant_job {
    uint32_t unit, level, part; /* part: of the tensor */
    uint64_t bytes;
    double weights, outputs; /* relative errors */
    double norm, energy;     /* what they are relative to */
} variant_job;

static uint32_t parts_of(const tensor_view *t) { return (uint32_t)(t->n_elements / (t->ne[0] * t->ne[1])); }

static pith_status stats_of(pith_ctx *ctx, const model_variants *v, const variant_job *j, repr_stats *out) {
    const tensor_view *t = variants_view(v, j->unit);
    char name[NAME_MAX_BYTES];
    *out = (repr_stats){0};
    if (!v->stats || t->name.size >= sizeof name) return PITH_OK;
    memcpy(name, t->name.data, t->name.size);
    name[t->name.size] = 0;
    return model_stats_find(ctx, v->stats, name, j->part, (size_t)t->ne[0], out);
}

static float *floats_of(pith_ctx *ctx, const tensor_view *t, uint32_t part) {
    size_t n = (size_t)(t->ne[0] * t->ne[1]);
    uint64_t before = 0;
    tensor_type_bytes(t->type, (uint64_t)part * n, &before);
    float *w = n <= SIZE_MAX / sizeof *w ? pith_alloc(ctx, n * sizeof *w) : NULL;
    if (w) blocks_decode(t->type, t->data + before, w, n);
    return w;
}

static double squares(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    return sum;
}

/* tr(W H W^T). */
static pith_status energy_of(pith_ctx *ctx, const repr_matrix *w, const repr_stats *s, double *out) {
    size_t n = w->cols;
    *out = 0;
    if (!s->gram) {
        for (size_t r = 0; r < w->rows; r++)
            for (size_t c = 0; c < n; c++) {
                double x = (double)w->data[r * n + c];
                *out += x * x * (s->h ? (double)s->h[c] : 1);
            }
        return PITH_OK;
    }
    float *full = pith_alloc(ctx, n * n * sizeof *full), *y = full ? pith_alloc(ctx, w->rows * n * sizeof *y) : NULL;
    if (y) {
        dense_unpack(s->gram, n, full);
        dense_gemm(false, false, w->rows, n, n, 1, w->data, n, full, n, 0, y, n);
        for (size_t i = 0; i < w->rows * n; i++) *out += (double)y[i] * w->data[i];
    }
    pith_free(ctx, full);
    pith_status status = y ? PITH_OK : pith_alloc_status(ctx);
    pith_free(ctx, y);
    return status;
}

/* Of all tokens, those that were sent to a matrix of a stack. */
static double share_of(const model_variants *v, const tensor_view *t, uint32_t part) {
    char name[NAME_MAX_BYTES];
    double all = 0;
    if (!v->stats || t->name.size >= sizeof name || parts_of(t) == 1) return 1;
    memcpy(name, t->name.data, t->name.size);
    name[t->name.size] = 0;
    const model_stats_entry *e = model_stats_entry_of(v->stats, name);
    for (size_t i = 0; i < model_stats_count(v->stats); i++) all = fmax(all, model_stats_at(v->stats, i)->seen[0]);
    return e && part < e->parts && all > 0 ? fmin(e->seen[part] / all, 1) : 1;
}

/* restored [rows][cols] */
static pith_status code_matrix(pith_ctx *ctx, const model_variants *v, variant_job *j, bool judge, float *restored) {
    const tensor_view *t = variants_view(v, j->unit);
    repr_stats stats;
    pith_buffer code = {0};
    pith_status status = stats_of(ctx, v, j, &stats);
    if (status) return status;
    repr_matrix w = {floats_of(ctx, t, j->part), (size_t)t->ne[1], (size_t)t->ne[0]};
    if (!w.data) return pith_alloc_status(ctx);
    status = repr_encode(ctx, v->chains[j->level], &w, &stats, &code, restored);
    j->bytes = code.size;
    pith_buffer_free(ctx, &code);
    if (!status && judge) {
        repr_error e;
        status = repr_measure(ctx, &w, restored, &stats, &e);
        j->weights = e.weights;
        j->outputs = e.outputs;
        j->norm = squares(w.data, w.rows * w.cols);
        if (!status) status = energy_of(ctx, &w, &stats, &j->energy);
        j->energy *= share_of(v, t, j->part);
    }
    pith_free(ctx, w.data);
    return status;
}

/* ---- all of them ---- */

typedef struct build {
    pith_ctx *ctx;
    model_variants *v;
    variant_job *jobs;
    size_t n_jobs, first;
} build;

static pith_status run_job(void *arg, size_t i) {
    const build *b = arg;
    variant_job *j = &b->jobs[b->first + i];
    const model_variants *v = b->v;
    const tensor_view *t = variants_view(v, j->unit);
    size_t n = (size_t)(t->ne[0] * t->ne[1]);
    if (v->kept) {
        float *kept = v->kept[(size_t)j->unit * v->n_levels + j->level];
        return code_matrix(b->ctx, v, j, true, kept + (j->part - v->units[j->unit].part) * n);
    }
    float *restored = n <= SIZE_MAX / sizeof *restored ? pith_alloc(b->ctx, n * sizeof *restored) : NULL;
    if (!restored) return pith_alloc_status(b->ctx);
    pith_status status = code_matrix(b->ctx, v, j, true, restored);
    pith_free(b->ctx, restored);
    return status;
}

static pith_status list_units(pith_ctx *ctx, model_variants *v, const model_variants_options *o) {
    const tensor_file *f = v->base;
    uint64_t n = 1;
    for (size_t i = 0; i < f->n_tensors; i++)
        n += o->experts && model_overlay_takes(&f->tensors[i]) ? parts_of(&f->tensors[i]) : 1;
    if (n > UINT32_MAX / MODEL_MAX_LEVELS)
        return pith_fail(ctx, PITH_E_LIMIT, "a budget over %llu matrices", (unsigned long long)n);
    v->units = pith_zalloc(ctx, (size_t)n * sizeof *v->units);
    if (!v->units) return pith_alloc_status(ctx);
    for (size_t i = 0; i < f->n_tensors; i++) {
        const tensor_view *t = &f->tensors[i];
        if (model_overlay_takes(t) && archive_matches(o->only, t->name.data, t->name.size)) {
            uint32_t parts = parts_of(t), each = o->experts ? 1 : parts;
            for (uint32_t k = 0; k < parts; k += each)
                v->units[v->n_units++] = (model_unit){.tensor = i,
                                                      .part = k,
                                                      .n_parts = each,
                                                      .single = parts > each,
                                                      .weights = t->n_elements / parts * each,
                                                      .share = parts > each ? share_of(v, t, k) : 1};
            v->weights += t->n_elements;
        } else {
            v->other_weights += t->n_elements;
            v->other_bytes += t->bytes;
        }
    }
    return v->n_units ? PITH_OK : pith_fail(ctx, PITH_E_ARGUMENT, "there is no matrix to spend a budget on");
}

static pith_status read_levels(pith_ctx *ctx, model_variants *v, const model_variants_options *o) {
    if (!o->n_levels || o->n_levels > MODEL_MAX_LEVELS)
        return pith_fail(ctx, PITH_E_ARGUMENT, "a budget takes 1 to %d levels, not %zu", MODEL_MAX_LEVELS, o->n_levels);
    v->n_levels = (uint32_t)o->n_levels;
    v->texts = pith_zalloc(ctx, o->n_levels * sizeof *v->texts);
    v->recipes = pith_zalloc(ctx, o->n_levels * sizeof *v->recipes);
    v->chains = pith_zalloc(ctx, o->n_levels * sizeof *v->chains);
    if (!v->texts || !v->recipes || !v->chains) return pith_alloc_status(ctx);
    for (uint32_t i = 0; i < v->n_levels; i++) {
        size_t n = strlen(o->levels[i]);
        v->texts[i] = pith_alloc(ctx, n + 1);
        if (!v->texts[i]) return pith_alloc_status(ctx);
        memcpy(v->texts[i], o->levels[i], n + 1);
        pith_status status = pith_recipe_parse(ctx, "model", o->levels[i], n, &v->recipes[i]);
        if (!status && (v->recipes[i]->n_rules != 1 || v->recipes[i]->rules[0].pattern))
            status = pith_fail(ctx, PITH_E_ARGUMENT, "a level of a budget is one chain without a pattern");
        if (!status) status = repr_chain_new(ctx, &v->recipes[i]->rules[0], &v->chains[i]);
        if (status) return status;
    }
    return PITH_OK;
}

static pith_status keep_room(pith_ctx *ctx, model_variants *v) {
    v->kept = pith_zalloc(ctx, (size_t)v->n_units * v->n_levels * sizeof *v->kept);
    if (!v->kept) return pith_alloc_status(ctx);
    for (size_t i = 0; i < (size_t)v->n_units * v->n_levels; i++) {
        uint64_t n = v->units[i / v->n_levels].weights;
        v->kept[i] = n <= SIZE_MAX / sizeof(float) ? pith_alloc(ctx, (size_t)n * sizeof(float)) : NULL;
        if (!v->kept[i]) return pith_alloc_status(ctx);
    }
    return PITH_OK;
}

static int by_size(const void *a, const void *b) {
    const model_unit *x = a, *y = b;
    if (x->weights != y->weights) return x->weights > y->weights ? -1 : 1;
    return x->tensor < y->tensor ? -1 : x->tensor > y->tensor;
}

static pith_status list_jobs(build *b) {
    model_variants *v = b->v;
    size_t n = 0;
    for (uint32_t u = 0; u < v->n_units; u++) n += (size_t)v->units[u].n_parts * v->n_levels;
    b->jobs = pith_zalloc(b->ctx, n * sizeof *b->jobs);
    if (!b->jobs) return pith_alloc_status(b->ctx);
    /* largest first, so that the last thread to finish is not the one with the most to do */
    model_unit *order = pith_alloc(b->ctx, v->n_units * sizeof *order);
    if (!order) return pith_alloc_status(b->ctx);
    for (uint32_t u = 0; u < v->n_units; u++) order[u] = (model_unit){.tensor = u, .weights = v->units[u].weights};
    qsort(order, v->n_units, sizeof *order, by_size);
    for (uint32_t i = 0; i < v->n_units; i++) {
        uint32_t unit = (uint32_t)order[i].tensor;
        for (uint32_t k = 0; k < v->units[unit].n_parts * v->n_levels; k++)
            b->jobs[b->n_jobs++] = (variant_job){
                .unit = unit, .level = k % v->n_levels, .part = v->units[unit].part + k / v->n_levels};
    }
    pith_free(b->ctx, order);
    return PITH_OK;
}

/* Errors of parts add up as squares. */
static void collect(build *b) {
    model_variants *v = b->v;
    for (size_t i = 0; i < b->n_jobs; i++) {
        const variant_job *j = &b->jobs[i];
        model_variant *to = &v->at[(size_t)j->unit * v->n_levels + j->level];
        to->bytes += j->bytes;
        to->weights += j->weights * j->norm;
        to->outputs += j->outputs * j->energy;
        if (j->level == 0) v->units[j->unit].energy += j->energy;
        if (j->level == 0) v->units[j->unit].norm += j->norm;
    }
    for (size_t i = 0; i < (size_t)v->n_units * v->n_levels; i++) {
        const model_unit *u = &v->units[i / v->n_levels];
        v->at[i].weights = u->norm > 0 ? v->at[i].weights / u->norm : 0;
        v->at[i].outputs = u->energy > 0 ? v->at[i].outputs / u->energy : 0;
    }
}

static pith_status run_jobs(build *b) {
    size_t at_once = 4 * (size_t)pith_ctx_threads(b->ctx);
    uint64_t done = 0, total = b->v->weights * b->v->n_levels;
    pith_status status = PITH_OK;
    for (b->first = 0; b->first < b->n_jobs && !status; b->first += at_once) {
        size_t n = PITH_MIN(at_once, b->n_jobs - b->first);
        status = pith_parallel(b->ctx, n, run_job, b);
        for (size_t i = b->first; i < b->first + n; i++) {
            const tensor_view *t = variants_view(b->v, b->jobs[i].unit);
            done += t->ne[0] * t->ne[1];
        }
        if (!status) status = pith_tick(b->ctx, done, total);
    }
    return status;
}

pith_status model_variants_new(pith_ctx *ctx, const tensor_file *base, const model_variants_options *options,
                               model_variants **out) {
    *out = NULL;
    model_variants *v = pith_zalloc(ctx, sizeof *v);
    if (!v) return pith_alloc_status(ctx);
    v->base = base;
    v->stats = options->stats;
    build b = {.ctx = ctx, .v = v};
    pith_status status = list_units(ctx, v, options);
    if (!status) status = read_levels(ctx, v, options);
    if (!status) {
        v->at = pith_zalloc(ctx, (size_t)v->n_units * v->n_levels * sizeof *v->at);
        if (!v->at) status = pith_alloc_status(ctx);
    }
    for (uint32_t u = 0; u < v->n_units && !status; u++)
        if (u == 0 || v->units[u].tensor != v->units[u - 1].tensor) status = tensor_check(ctx, variants_view(v, u));
    if (!status && options->keep) status = keep_room(ctx, v);
    if (!status) status = list_jobs(&b);
    if (!status) status = run_jobs(&b);
    if (!status) collect(&b);
    pith_free(ctx, b.jobs);
    if (status)
        model_variants_free(ctx, v);
    else
        *out = v;
    return status;
}

/* ---- what decoding gives ---- */

static pith_status put_again(pith_ctx *ctx, const model_variants *v, uint32_t unit, uint32_t level, model_overlay *o) {
    const tensor_view *t = variants_view(v, unit);
    size_t n = (size_t)(t->ne[0] * t->ne[1]);
    float *restored = n <= SIZE_MAX / sizeof *restored ? pith_alloc(ctx, n * sizeof *restored) : NULL;
    pith_status status = restored ? PITH_OK : pith_alloc_status(ctx);
    const model_unit *u = &v->units[unit];
    for (uint32_t part = u->part; part < u->part + u->n_parts && !status; part++) {
        variant_job j = {.unit = unit, .level = level, .part = part};
        status = code_matrix(ctx, v, &j, false, restored);
        if (!status) status = model_overlay_put(ctx, o, u->tensor, (uint64_t)part * n, restored, n);
    }
    pith_free(ctx, restored);
    return status;
}

pith_status model_variants_put(pith_ctx *ctx, const model_variants *v, uint32_t unit, uint32_t level, model_overlay *o) {
    const model_unit *u = &v->units[unit];
    uint64_t at = u->part * (u->weights / u->n_parts);
    if (level >= v->n_levels && u->single) {
        float *w = floats_of(ctx, variants_view(v, unit), u->part);
        if (!w) return pith_alloc_status(ctx);
        pith_status status = model_overlay_put(ctx, o, u->tensor, at, w, (size_t)u->weights);
        pith_free(ctx, w);
        return status;
    }
    if (level >= v->n_levels) return model_overlay_reset(ctx, o, u->tensor);
    if (!v->kept) return put_again(ctx, v, unit, level, o);
    return model_overlay_put(ctx, o, u->tensor, at, v->kept[(size_t)unit * v->n_levels + level], (size_t)u->weights);
}

typedef struct put_job {
    pith_ctx *ctx;
    const model_variants *v;
    const uint32_t *rows, *before;
    model_overlay *o;
} put_job;

static pith_status put_one(void *arg, size_t i) {
    const put_job *j = arg;
    uint32_t unit = (uint32_t)i, levels = model_variants_levels(j->v);
    if (j->before && j->before[unit] == j->rows[unit]) return PITH_OK;
    uint32_t level = j->rows[unit] == UINT32_MAX ? levels : j->rows[unit] - unit * levels;
    return model_variants_put(j->ctx, j->v, unit, level, j->o);
}

pith_status model_variants_put_all(pith_ctx *ctx, const model_variants *v, const uint32_t *rows, const uint32_t *before,
                                   model_overlay *o) {
    put_job j = {ctx, v, rows, before, o};
    return pith_parallel(ctx, model_variants_units(v), put_one, &j);
}

/* ---- losses ---- */

static double loss_of(const model_variants *v, uint32_t unit, uint32_t level, model_loss loss) {
    const model_unit *u = &v->units[unit];
    const model_variant *a = model_variants_at(v, unit, level);
    switch (loss) {
    case MODEL_LOSS_WEIGHTS: return a->weights;
    case MODEL_LOSS_ENERGY: return a->outputs * u->energy;
    case MODEL_LOSS_SHARE: return a->outputs * (double)u->weights / (double)v->weights;
    case MODEL_LOSS_KL: return a->outputs * u->slope;
    default: return a->outputs;
    }
}

void model_variants_rows(const model_variants *v, model_loss loss, alloc_row *rows) {
    for (uint32_t u = 0; u < v->n_units; u++)
        for (uint32_t l = 0; l < v->n_levels; l++)
            rows[(size_t)u * v->n_levels + l] =
                (alloc_row){.unit = u, .level = l, .bytes = model_variants_at(v, u, l)->bytes, .loss = loss_of(v, u, l, loss)};
}
