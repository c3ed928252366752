/* Codes on trial: every matrix of a model encoded and decoded in memory, largest first, on all threads. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <time.h>

#include "artefacts/model/archive_parts.h"
#include "artefacts/model/evaluate.h"
#include "artefacts/model/quantize.h"

#define NAME_MAX_BYTES 256

/* One matrix: part `part` of a tensor. */
typedef struct matrix_job {
    size_t tensor;
    uint32_t part;
    unsigned rule; /* of the recipe */
    size_t rows, cols;
    uint64_t bytes;
    repr_parts parts;
    double error, norm, h_error, h_norm, decode_seconds;
} matrix_job;

typedef struct trial {
    pith_ctx *ctx;
    const tensor_file *base;
    const model_stats *stats;
    model_overlay *overlay;
    repr_chain **chains; /* [rules]; NULL: blocks of a type */
    tensor_type type;
    const char *only; /* patterns, for blocks; NULL: all */
    matrix_job *jobs;
    size_t n_jobs, first; /* of this batch */
} trial;

static double thread_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- one matrix ---- */

static pith_status stats_of(const trial *t, const matrix_job *j, repr_stats *out) {
    const tensor_view *v = &t->base->tensors[j->tensor];
    char name[NAME_MAX_BYTES];
    *out = (repr_stats){0};
    if (!t->stats || v->name.size >= sizeof name) return PITH_OK;
    memcpy(name, v->name.data, v->name.size);
    name[v->name.size] = 0;
    return model_stats_find(t->ctx, t->stats, name, j->part, j->cols, out);
}

/* Where the file's matrix begins, in bytes: whole blocks. */
static const uint8_t *matrix_data(const trial *t, const matrix_job *j) {
    const tensor_view *v = &t->base->tensors[j->tensor];
    uint64_t before = 0;
    tensor_type_bytes(v->type, (uint64_t)j->part * j->rows * j->cols, &before);
    return v->data + before;
}

static pith_status by_recipe(const trial *t, matrix_job *j, const repr_stats *stats, float *w, float *restored) {
    pith_buffer code = {0};
    size_t n = j->rows * j->cols;
    repr_matrix matrix = {w, j->rows, j->cols}, back = {NULL, j->rows, j->cols};
    pith_status status = repr_encode(t->ctx, t->chains[j->rule], &matrix, stats, &code, restored);
    if (!status && !(back.data = pith_alloc(t->ctx, n * sizeof(float)))) status = pith_alloc_status(t->ctx);
    if (!status) {
        repr_reader r = {.p = code.data, .end = code.data + code.size};
        double before = thread_seconds();
        status = repr_decode_parts(t->ctx, t->chains[j->rule], &r, &j->parts, &back);
        j->decode_seconds = thread_seconds() - before;
        if (!status && (r.p != r.end || memcmp(back.data, restored, n * sizeof(float)) != 0))
            status = pith_fail(t->ctx, PITH_E_INTERNAL, "the decoder does not give what the encoder said");
    }
    j->bytes = code.size;
    pith_free(t->ctx, back.data);
    pith_buffer_free(t->ctx, &code);
    return status;
}

static pith_status by_type(const trial *t, matrix_job *j, const repr_stats *stats, const float *w, float *restored) {
    tensor_type type = quantize_fallback(t->type, j->cols);
    size_t n = j->rows * j->cols;
    if (!tensor_type_bytes(type, n, &j->bytes)) return pith_fail(t->ctx, PITH_E_LIMIT, "a matrix is too large");
    uint8_t *blocks = pith_alloc(t->ctx, (size_t)j->bytes);
    if (!blocks) return pith_alloc_status(t->ctx);
    pith_status status = PITH_OK;
    if (!blocks_encode_weighted(type, w, stats->h, blocks, j->rows, j->cols))
        status =
            pith_fail(t->ctx, PITH_E_UNSUPPORTED, "blocks of type %s cannot be made here", tensor_type_of(type)->name);
    double before = thread_seconds();
    if (!status) blocks_decode(type, blocks, restored, n);
    j->decode_seconds = thread_seconds() - before;
    pith_free(t->ctx, blocks);
    return status;
}

static void measure(matrix_job *j, const repr_stats *stats, const float *w, const float *restored) {
    for (size_t r = 0; r < j->rows; r++) {
        double error = 0, norm = 0, h_error = 0, h_norm = 0;
        for (size_t c = 0; c < j->cols; c++) {
            double x = (double)w[r * j->cols + c], d = x - (double)restored[r * j->cols + c];
            double h = stats->h ? (double)stats->h[c] : 1;
            error += d * d;
            norm += x * x;
            h_error += h * d * d;
            h_norm += h * x * x;
        }
        j->error += error;
        j->norm += norm;
        j->h_error += h_error;
        j->h_norm += h_norm;
    }
}

static pith_status run_job(void *arg, size_t i) {
    const trial *t = arg;
    matrix_job *j = &t->jobs[t->first + i];
    const tensor_view *v = &t->base->tensors[j->tensor];
    size_t n = j->rows * j->cols;
    repr_stats stats;
    pith_status status = stats_of(t, j, &stats);
    float *w = status ? NULL : pith_alloc(t->ctx, n * sizeof *w);
    float *restored = w ? pith_alloc(t->ctx, n * sizeof *restored) : NULL;
    if (!status && !restored) status = pith_alloc_status(t->ctx);
    if (!status) {
        blocks_decode(v->type, matrix_data(t, j), w, n);
        status = t->chains ? by_recipe(t, j, &stats, w, restored) : by_type(t, j, &stats, w, restored);
    }
    if (!status) {
        measure(j, &stats, w, restored);
        status = model_overlay_put(t->ctx, t->overlay, j->tensor, (uint64_t)j->part * n, restored, n);
    }
    pith_free(t->ctx, w);
    pith_free(t->ctx, restored);
    return status;
}

/* ---- all of them ---- */

static bool larger(const matrix_job *a, const matrix_job *b) {
    uint64_t x = (uint64_t)a->rows * a->cols, y = (uint64_t)b->rows * b->cols;
    return x != y ? x > y : a->tensor != b->tensor ? a->tensor < b->tensor : a->part < b->part;
}

static void sift(matrix_job *jobs, size_t at, size_t n) {
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && larger(&jobs[child], &jobs[child + 1])) child++;
        if (!larger(&jobs[at], &jobs[child])) return;
        matrix_job t = jobs[at];
        jobs[at] = jobs[child];
        jobs[child] = t;
    }
}

/* Largest first, so that the last thread to finish is not the one with the most to do. */
static void sort_jobs(matrix_job *jobs, size_t n) {
    for (size_t i = n / 2; i-- > 0;) sift(jobs, i, n);
    for (size_t end = n; end-- > 1;) {
        matrix_job t = jobs[0];
        jobs[0] = jobs[end];
        jobs[end] = t;
        sift(jobs, 0, end);
    }
}

static uint64_t matrices_of(const tensor_view *t) { return t->n_elements / (t->ne[0] * t->ne[1]); }

/* Whether matrix k is coded, and by which rule. */
static bool takes_part(const trial *t, const pith_recipe *recipe, const tensor_view *v, uint64_t k, unsigned *rule) {
    *rule = 0;
    if (!recipe) return archive_matches(t->only, v->name.data, v->name.size);
    *rule = (unsigned)archive_rule_for(recipe, v->name, k, matrices_of(v));
    return *rule < recipe->n_rules;
}

static pith_status list_jobs(trial *t, const pith_recipe *recipe, model_trial *out) {
    const tensor_file *f = t->base;
    uint64_t n = 0;
    for (size_t i = 0; i < f->n_tensors; i++)
        if (model_overlay_takes(&f->tensors[i])) n += matrices_of(&f->tensors[i]);
    if (n > SIZE_MAX / sizeof *t->jobs) return pith_fail(t->ctx, PITH_E_LIMIT, "too many matrices");
    t->jobs = pith_zalloc(t->ctx, PITH_MAX((size_t)n, 1u) * sizeof *t->jobs);
    if (!t->jobs) return pith_alloc_status(t->ctx);
    pith_status status = PITH_OK;
    for (size_t i = 0; i < f->n_tensors && !status; i++) {
        const tensor_view *v = &f->tensors[i];
        uint64_t parts = model_overlay_takes(v) ? matrices_of(v) : 0, left = parts;
        for (uint32_t k = 0; k < parts; k++) {
            matrix_job job = {.tensor = i, .part = k, .rows = (size_t)v->ne[1], .cols = (size_t)v->ne[0]};
            if (!takes_part(t, recipe, v, k, &job.rule)) continue;
            t->jobs[t->n_jobs++] = job;
            out->weights += v->ne[0] * v->ne[1];
            left--;
        }
        if (left || !parts) {
            out->other_weights += parts ? left * (v->ne[0] * v->ne[1]) : v->n_elements;
            out->other_bytes += parts ? v->bytes / parts * left : v->bytes;
        }
        if (left) status = model_overlay_reset(t->ctx, t->overlay, i);
        if (!status && left < parts) status = tensor_check(t->ctx, v);
    }
    sort_jobs(t->jobs, t->n_jobs);
    return status;
}

static pith_status run_jobs(trial *t, uint64_t total) {
    size_t at_once = 4 * (size_t)pith_ctx_threads(t->ctx);
    uint64_t done = 0;
    pith_status status = PITH_OK;
    for (t->first = 0; t->first < t->n_jobs && !status; t->first += at_once) {
        size_t n = PITH_MIN(at_once, t->n_jobs - t->first);
        status = pith_parallel(t->ctx, n, run_job, t);
        for (size_t i = t->first; i < t->first + n; i++) done += (uint64_t)t->jobs[i].rows * t->jobs[i].cols;
        if (!status) status = pith_tick(t->ctx, done, total);
    }
    return status;
}

static pith_status run(trial *t, const pith_recipe *recipe, model_trial *out) {
    double norm = 0, h_norm = 0, before = model_cpu_seconds();
    *out = (model_trial){0};
    pith_status status = list_jobs(t, recipe, out);
    if (!status) status = run_jobs(t, out->weights);
    for (size_t i = 0; i < t->n_jobs && !status; i++) {
        const matrix_job *j = &t->jobs[i];
        out->bytes += j->bytes;
        out->error += j->error;
        out->output_error += j->h_error;
        norm += j->norm;
        h_norm += j->h_norm;
        out->decode_seconds += j->decode_seconds;
        for (size_t k = 0; k < j->parts.n; k++)
            repr_parts_add(&out->parts, j->parts.list[k].stage, j->parts.list[k].kind, j->parts.list[k].bytes);
    }
    out->n_matrices = t->n_jobs;
    out->error = norm > 0 ? out->error / norm : 0;
    out->output_error = h_norm > 0 ? out->output_error / h_norm : 0;
    out->encode_seconds = model_cpu_seconds() - before - out->decode_seconds;
    pith_free(t->ctx, t->jobs);
    return status;
}

pith_status model_try_recipe(pith_ctx *ctx, const tensor_file *base, const pith_recipe *recipe,
                             const model_stats *stats, model_overlay *o, model_trial *out) {
    trial t = {.ctx = ctx, .base = base, .stats = stats, .overlay = o};
    *out = (model_trial){0};
    t.chains = pith_zalloc(ctx, recipe->n_rules * sizeof *t.chains);
    pith_status status = t.chains ? PITH_OK : pith_alloc_status(ctx);
    for (unsigned i = 0; i < recipe->n_rules && !status; i++)
        status = repr_chain_new(ctx, &recipe->rules[i], &t.chains[i]);
    if (!status) status = run(&t, recipe, out);
    for (unsigned i = 0; t.chains && i < recipe->n_rules; i++) repr_chain_free(ctx, t.chains[i]);
    pith_free(ctx, t.chains);
    return status;
}

pith_status model_try_type(pith_ctx *ctx, const tensor_file *base, tensor_type type, const char *only,
                           const model_stats *stats, model_overlay *o, model_trial *out) {
    trial t = {.ctx = ctx, .base = base, .stats = stats, .overlay = o, .type = type, .only = only};
    *out = (model_trial){0};
    if (!tensor_type_of(type)) return pith_fail(ctx, PITH_E_ARGUMENT, "type %d is not known", (int)type);
    return run(&t, NULL, out);
}

double model_trial_bits(const model_trial *t) {
    uint64_t weights = t->weights + t->other_weights;
    return weights ? 8.0 * (double)(t->bytes + t->other_bytes) / (double)weights : 0;
}
