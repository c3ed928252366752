/* Checkpoints as codes of four bits: what changed in the weights since the checkpoint before *as decoded*, so that
 * errors do not add up, and Adam's moments, pruned together (W. Li et al., "ExCP: Extreme LLM Checkpoint Compression via
 * Weight-Momentum Joint Shrinking", arXiv:2406.11257), each with 15 levels of its own and zero by k-means.
 *
 *   a change d of a weight is kept where |d| sqrt(v) is among the largest of the matrix (the published rule |d| > alpha
 *   median|W| / sqrt(v) with alpha chosen for a share), the mean of its gradient where the change is kept and the mean
 *   is not small; the mean square v is kept everywhere, its levels lie on the logarithm of
 *   sqrt(v) + epsilon, which is what steps are divided by. */
#include "faces/cli/bench_checkpoints.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/represent/represent.h"

#define SAMPLE ((size_t)1 << 16)
#define CENTRES (SERIES_LEVELS - 1)
#define ROUNDS 40
#define FLOOR 1e-5f /* of sqrt(v): what Adam adds to it */

pith_status series_new(pith_ctx *ctx, const float *weights, size_t rows, size_t cols, series *out) {
    *out = (series){.ctx = ctx, .n = rows * cols, .rows = rows, .cols = cols};
    bool good = (out->room = pith_alloc(ctx, out->n * sizeof *out->room)) != NULL;
    for (int k = 0; k < SERIES_KINDS && good; k++) {
        out->decoded[k] = pith_zalloc(ctx, out->n * sizeof *out->decoded[k]);
        out->plane[k].codes = pith_zalloc(ctx, out->n * sizeof *out->plane[k].codes);
        out->plane[k].before = pith_zalloc(ctx, out->n * sizeof *out->plane[k].before);
        good = out->decoded[k] && out->plane[k].codes && out->plane[k].before;
    }
    if (good) memcpy(out->decoded[SERIES_WEIGHTS], weights, out->n * sizeof *weights);
    return good ? PITH_OK : pith_alloc_status(ctx);
}

void series_free(series *s) {
    if (!s->ctx) return;
    for (int k = 0; k < SERIES_KINDS; k++) {
        pith_free(s->ctx, s->decoded[k]);
        pith_free(s->ctx, s->plane[k].codes);
        pith_free(s->ctx, s->plane[k].before);
    }
    pith_free(s->ctx, s->room);
    *s = (series){0};
}

/* ---- levels ---- */

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* A sample of the values that are not zero, sorted; its size. */
static size_t sample_of(const float *x, size_t n, float *sample) {
    size_t n_all = 0, n_sample = 0;
    for (size_t i = 0; i < n; i++) n_all += x[i] != 0;
    size_t step = n_all / SAMPLE + 1, seen = 0;
    for (size_t i = 0; i < n; i++)
        if (x[i] != 0 && seen++ % step == 0) sample[n_sample++] = x[i];
    qsort(sample, n_sample, sizeof *sample, by_value);
    return n_sample;
}

/* Lloyd's rounds on a sorted sample, from its quantiles. */
static void find_centres(const float *sample, size_t n, float centre[CENTRES]) {
    for (size_t k = 0; k < CENTRES; k++) centre[k] = n ? sample[(2 * k + 1) * n / (2 * CENTRES)] : 0;
    for (int round = 0; round < ROUNDS && n; round++) {
        size_t at = 0;
        for (size_t k = 0; k < CENTRES; k++) {
            float end = k + 1 < CENTRES ? (centre[k] + centre[k + 1]) / 2 : INFINITY;
            double sum = 0;
            size_t begin = at;
            while (at < n && sample[at] <= end) sum += sample[at++];
            if (at > begin) centre[k] = (float)(sum / (double)(at - begin));
        }
    }
}

/* Codes of x[n]: zero by itself, all else by the nearest centre. */
static pith_status quantise(series *s, const float *x, series_plane *p) {
    float *sample = pith_alloc(s->ctx, SAMPLE * sizeof *sample + sizeof *sample), centre[CENTRES];
    if (!sample) return pith_alloc_status(s->ctx);
    find_centres(sample, sample_of(x, s->n, sample), centre);
    pith_free(s->ctx, sample);
    uint16_t zero = 0; /* its place among the centres */
    while (zero < CENTRES && centre[zero] < 0) zero++;
    for (uint16_t k = 0; k < SERIES_LEVELS; k++) p->level[k] = k == zero ? 0 : centre[k - (k > zero)];
    for (size_t i = 0; i < s->n; i++) {
        uint16_t low = 0, high = CENTRES - 1;
        while (low < high) { /* the first centre whose upper end is not passed */
            uint16_t middle = (uint16_t)((low + high) / 2);
            if (x[i] <= (centre[middle] + centre[middle + 1]) / 2) high = middle;
            else low = (uint16_t)(middle + 1);
        }
        p->codes[i] = x[i] == 0 ? zero : (uint16_t)(low + (low >= zero));
    }
    return PITH_OK;
}

/* ---- pruning ---- */

/* The value that a share of |x| lies above. */
static pith_status bound_of(series *s, const float *x, double share, float *bound) {
    float *sample = pith_alloc(s->ctx, (SAMPLE + 1) * sizeof *sample);
    if (!sample) return pith_alloc_status(s->ctx);
    size_t step = s->n / SAMPLE + 1, n = 0;
    for (size_t i = 0; i < s->n; i += step) sample[n++] = x[i];
    qsort(sample, n, sizeof *sample, by_value);
    *bound = n ? sample[PITH_MIN((size_t)((1 - share) * (double)n), n - 1)] : 0;
    pith_free(s->ctx, sample);
    return PITH_OK;
}

static pith_status code_weights(series *s, const tune_state *t) {
    float bound = 0, *known = s->decoded[SERIES_WEIGHTS];
    series_plane *p = &s->plane[SERIES_WEIGHTS];
    for (size_t i = 0; i < s->n; i++) s->room[i] = fabsf(t->weights[i] - known[i]) * sqrtf(t->square[i]);
    pith_status status = bound_of(s, s->room, s->keep, &bound);
    if (status) return status;
    for (size_t i = 0; i < s->n; i++) s->room[i] = s->room[i] > bound ? t->weights[i] - known[i] : 0;
    status = quantise(s, s->room, p);
    for (size_t i = 0; i < s->n && !status; i++) known[i] += p->level[p->codes[i]];
    return status;
}

/* After the weights: s->room says which changes are kept. */
static pith_status code_mean(series *s, const tune_state *t) {
    double sum = 0;
    series_plane *p = &s->plane[SERIES_MEAN];
    for (size_t i = 0; i < s->n; i++) sum += fabsf(t->mean[i]);
    float least = (float)(s->least_mean * sum / (double)s->n);
    for (size_t i = 0; i < s->n; i++) s->room[i] = s->room[i] != 0 && fabsf(t->mean[i]) > least ? t->mean[i] : 0;
    pith_status status = quantise(s, s->room, p);
    for (size_t i = 0; i < s->n && !status; i++) s->decoded[SERIES_MEAN][i] = p->level[p->codes[i]];
    return status;
}

static pith_status code_square(series *s, const tune_state *t) {
    series_plane *p = &s->plane[SERIES_SQUARE];
    /* 0 stands for zero; the logarithms of all others are below it */
    for (size_t i = 0; i < s->n; i++) s->room[i] = t->square[i] > 0 ? logf(sqrtf(t->square[i]) + FLOOR) - 100 : 0;
    pith_status status = quantise(s, s->room, p);
    for (unsigned k = 0; k < SERIES_LEVELS && !status; k++) {
        float root = p->level[k] < 0 ? expf(p->level[k] + 100) - FLOOR : 0;
        p->level[k] = root > 0 ? root * root : 0;
    }
    for (size_t i = 0; i < s->n && !status; i++) s->decoded[SERIES_SQUARE][i] = p->level[p->codes[i]];
    return status;
}

pith_status series_next(series *s, const tune_state *state) {
    for (int k = 0; k < SERIES_KINDS; k++) {
        uint16_t *codes = s->plane[k].codes;
        s->plane[k].codes = s->plane[k].before;
        s->plane[k].before = codes;
    }
    pith_status status = code_weights(s, state);
    if (!status) status = code_mean(s, state);
    if (!status) status = code_square(s, state);
    s->count++;
    return status;
}

pith_status series_bytes(series *s, int kind, const char *packer, bool with_before, uint64_t *bytes) {
    const series_plane *p = &s->plane[kind];
    const uint16_t *before = with_before && s->count > 1 ? p->before : NULL;
    repr_plane plane = {p->codes, s->n, s->cols, SERIES_LEVELS};
    pith_buffer out = {0};
    uint16_t *back = pith_alloc(s->ctx, s->n * sizeof *back);
    pith_status status = back ? repr_plane_encode(s->ctx, packer, &plane, before, &out) : pith_alloc_status(s->ctx);
    repr_reader in = {out.data, out.data + out.size};
    if (!status) status = repr_plane_decode(s->ctx, packer, &in, before, back, s->n, s->cols, SERIES_LEVELS);
    if (!status && memcmp(back, p->codes, s->n * sizeof *back) != 0)
        status = pith_fail(s->ctx, PITH_E_CHECK, "%s gave back other codes", packer);
    *bytes = out.size + sizeof p->level;
    pith_buffer_free(s->ctx, &out);
    pith_free(s->ctx, back);
    return status;
}
