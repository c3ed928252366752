/* The latency table: models of several widths made in memory from the first neurons of each layer, and timed. */
#include "artefacts/model/prune_speed.h"
#include "base/sink.h"

#include "lm/ruler/ruler.h"

#define PROMPT 8
#define OUTPUT 32
#define RUNS 6

static pith_status one_run(pith_ctx *ctx, const lm_model *m, double *least) {
    ruler_timing timings[2] = {{.prompt = PROMPT, .output = 1}, {.prompt = PROMPT, .output = 1 + OUTPUT}};
    pith_status status = ruler_runtime_measure(ctx, m, timings, 2, 1, NULL);
    double seconds = (timings[1].seconds - timings[0].seconds) / OUTPUT;
    if (!status && seconds > 0) *least = *least > 0 ? PITH_MIN(*least, seconds) : seconds;
    return status;
}

pith_status prune_speed_of(pith_ctx *ctx, const lm_model *a, const lm_model *b, double *seconds_a, double *seconds_b) {
    pith_status status = PITH_OK;
    *seconds_a = *seconds_b = 0;
    for (unsigned run = 0; run < RUNS && !status; run++) {
        status = one_run(ctx, a, seconds_a);
        if (!status) status = one_run(ctx, b, seconds_b);
    }
    if (!status && !(*seconds_a > 0 && *seconds_b > 0))
        status = pith_fail(ctx, PITH_E_UNSUPPORTED, "timing: the clock is too coarse for so small a model");
    return status;
}

/* Which neurons stay does not matter here. */
static pith_status measure_width(pith_ctx *ctx, const lm_model *own, const prune_request *request, uint32_t n_ff,
                                 double *own_seconds, double *seconds) {
    prune_request want = {.method = PRUNE_RANDOM, .keep = request->keep};
    pith_buffer file = {0};
    tensor_file *opened = NULL;
    lm_model *m = NULL;
    prune_plan *plan = NULL;
    model_cut *cut = NULL;
    want.keep.n_ff = n_ff;
    pith_status status = prune_plan_new(ctx, lm_file(own), &want, NULL, &plan);
    if (!status) status = model_cut_new(ctx, lm_file(own), prune_cut(plan), &cut);
    if (!status) status = pith_buffer_reserve(ctx, &file, model_cut_size(cut).tensor_bytes);
    if (!status) status = model_cut_write(ctx, cut, pith_sink_write, &(pith_sink){ctx, &file});
    if (!status) status = tensor_file_open_memory(ctx, file.data, file.size, &opened);
    if (!status) status = lm_open_file(ctx, opened, &m);
    if (!status) status = prune_speed_of(ctx, own, m, own_seconds, seconds);
    if (m) lm_close(ctx, m);
    if (opened) tensor_file_close(ctx, opened);
    model_cut_free(ctx, cut);
    prune_plan_free(ctx, plan);
    pith_buffer_free(ctx, &file);
    return status;
}

/* seconds = fixed + per_neuron * n_ff */
static void fit(prune_speed *s) {
    double x = 0, y = 0, xx = 0, xy = 0, n = (double)s->n;
    for (size_t i = 0; i < s->n; i++) {
        x += s->n_ff[i];
        y += s->seconds[i];
        xx += (double)s->n_ff[i] * s->n_ff[i];
        xy += s->n_ff[i] * s->seconds[i];
    }
    double spread = n * xx - x * x;
    s->per_neuron = spread > 0 ? (n * xy - x * y) / spread : 0;
    s->fixed = (y - s->per_neuron * x) / n;
}

pith_status prune_speed_measure(pith_ctx *ctx, const lm_model *m, const prune_request *request, prune_speed *out) {
    cut_shape shape;
    double own[PRUNE_SPEED_ROWS];
    pith_status status = cut_shape_of(ctx, lm_file(m), &shape);
    *out = (prune_speed){0};
    for (uint32_t i = 0; i < PRUNE_SPEED_ROWS && !status; i++) {
        uint32_t n_ff = shape.n_ff * (PRUNE_SPEED_ROWS - i) / PRUNE_SPEED_ROWS;
        if (i && n_ff > 32) n_ff -= n_ff % 32;
        if (n_ff == 0 || (i && n_ff == out->n_ff[out->n - 1])) continue;
        out->n_ff[out->n] = n_ff;
        status = measure_width(ctx, m, request, n_ff, &own[out->n], &out->seconds[out->n]);
        out->n++;
        if (!status) status = pith_tick(ctx, i + 1, PRUNE_SPEED_ROWS);
    }
    if (status) return status;
    out->own = own[0];
    for (size_t i = 1; i < out->n; i++) out->own = PITH_MIN(out->own, own[i]);
    for (size_t i = 0; i < out->n; i++) out->seconds[i] *= out->own / own[i];
    fit(out);
    return PITH_OK;
}

uint32_t prune_speed_neurons(const prune_speed *s, double seconds) {
    if (!(s->per_neuron > 0) || seconds <= s->fixed) return 0;
    double n = (seconds - s->fixed) / s->per_neuron;
    if (n >= s->n_ff[0]) return s->n_ff[0];
    uint32_t whole = (uint32_t)n;
    return whole >= 32 ? whole - whole % 32 : whole;
}

#define TRIES 4
#define NEAR 0.02

pith_status prune_speed_search(pith_ctx *ctx, const lm_model *m, const prune_request *request, const prune_speed *s,
                               double factor, uint32_t *n_ff) {
    double nearest = 0;
    uint32_t n = prune_speed_neurons(s, s->own / factor);
    *n_ff = n;
    for (unsigned i = 0; i < TRIES && n; i++) {
        double own, seconds;
        pith_status status = measure_width(ctx, m, request, n, &own, &seconds);
        if (status) return status;
        double amiss = own / seconds / factor - 1, off = amiss < 0 ? -amiss : amiss;
        if (i == 0 || off < nearest) {
            nearest = off;
            *n_ff = n;
        }
        if (off <= NEAR) break;
        /* the line's slope in the time of this moment */
        double more = (own / factor - seconds) / (s->per_neuron * own / s->own) + n;
        uint32_t step = n >= 32 ? 32 : 1, next = more < step ? step : more < s->n_ff[0] ? (uint32_t)more : s->n_ff[0];
        next -= next % step;
        if (next == n) break;
        n = next;
    }
    return PITH_OK;
}
