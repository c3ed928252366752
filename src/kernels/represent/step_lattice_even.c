/* Whether the weights of each group are whole steps of the group's own from one of them to the next, as in blocks with
 * a scale and an offset. In a group of weights as they were trained the distances between them have no common unit of
 * which the range holds few dozen; scales and phases of those that do have one are fitted by least squares. */
#include <math.h>

#include "kernels/represent/step_lattice.h"

enum { MOST_STEPS = 63, PHASE_BITS_LEAST = 4 };
#define NEAR 0.03f     /* steps, root mean square: floats of 16 bits were rounded */
#define PHASE_BITS 5.0 /* of one phase, roughly */

/* w ~ unit * k + from, k from 0 to steps. */
typedef struct even_fit {
    float unit, from;
    unsigned steps; /* MOST_STEPS + 1: no number of them fits */
} even_fit;

static bool is_near(const float *w, size_t n, float from, float inverse) {
    float sum = 0;
    for (size_t i = 0; i < n; i++) {
        float t = (w[i] - from) * inverse, d = t - floorf(t + 0.5f);
        sum += d * d;
    }
    return sum <= NEAR * NEAR * (float)n;
}

static even_fit fit(const float *w, size_t n) {
    float low = w[0], high = w[0];
    for (size_t i = 1; i < n; i++) {
        low = PITH_MIN(low, w[i]);
        high = PITH_MAX(high, w[i]);
    }
    float range = high - low;
    if (!(range > 0) || !(range < INFINITY)) return (even_fit){.unit = fabsf(low), .from = low};
    even_fit f = {.from = low, .steps = 1};
    while (f.steps <= MOST_STEPS && !is_near(w, n, low, (float)f.steps / range)) f.steps++;
    f.unit = range / (float)PITH_MIN(f.steps, (unsigned)MOST_STEPS);
    double k1 = 0, k2 = 0, y = 0, ky = 0;
    for (size_t i = 0; i < n; i++) {
        double k = (double)(int)((w[i] - low) / f.unit + 0.5f), v = (double)w[i];
        k1 += k, k2 += k * k, y += v, ky += k * v;
    }
    double all = (double)n * k2 - k1 * k1;
    if (all > 0) {
        f.unit = (float)(((double)n * ky - k1 * y) / all);
        f.from = (float)((y - (double)f.unit * k1) / (double)n);
    }
    return f;
}

/* Bits of a weight in groups of this size, roughly, from a sample; infinity when they are not even. */
static double sample_bits(const repr_matrix *w, size_t group) {
    size_t n_groups = (w->cols + group - 1) / group, total = w->rows * n_groups, misses = 0, met = 0;
    size_t take = PITH_MIN(total, (size_t)LATTICE_SAMPLED);
    uint32_t count[MOST_STEPS + 1] = {0};
    for (size_t i = 0; i < take; i++) {
        size_t at = lattice_sampled(i, take, total), first = at % n_groups * group, n = 0;
        const float *x = w->data + at / n_groups * w->cols + first;
        if (w->cols - first < group) continue;
        for (size_t j = 0; j < group; j++) n += x[j] != 0;
        if (4 * n < 3 * group) continue; /* of few weights anything may be said */
        even_fit f = fit(x, group);
        met++;
        if (f.steps > MOST_STEPS && (double)++misses > LATTICE_MISSES * (double)take) return HUGE_VAL;
        if (f.steps > MOST_STEPS || !(f.unit > 0)) continue;
        for (size_t j = 0; j < group; j++) {
            float k = (x[j] - f.from) / f.unit + 0.5f;
            count[k > 0 ? PITH_MIN((unsigned)k, (unsigned)MOST_STEPS) : 0]++;
        }
    }
    double n = 0;
    for (size_t k = 0; k <= MOST_STEPS; k++) n += count[k];
    if (met < LATTICE_LEAST_GROUPS || (double)misses > LATTICE_MISSES * (double)met || !(n > 0)) return HUGE_VAL;
    return lattice_entropy(count, MOST_STEPS + 1, n) / n + (LATTICE_SCALE_BITS + PHASE_BITS) / (double)group;
}

/* Of one group, by the scale as it is coded: the phase, and counts[n] of the weights. */
static unsigned count_group(const step_lattice *l, size_t row_group, const even_fit *f, const float *w, size_t n,
                            int *counts) {
    float scale = lattice_scale(l, row_group);
    unsigned places = 1u << l->phase_bits;
    memset(counts, 0, n * sizeof *counts);
    if (!(scale > 0) || !(f->unit > 0)) return 0;
    double shift = 0;
    for (size_t i = 0; i < n; i++) {
        counts[i] = (int)lrintf((w[i] - f->from) / f->unit);
        shift += (double)w[i] / (double)scale - counts[i];
    }
    double places_off = shift / (double)n * places;
    if (!(fabs(places_off) < 1e6)) return memset(counts, 0, n * sizeof *counts), 0;
    long off = lrint(places_off), whole = off >= 0 ? off / places : -((-off + (long)places - 1) / (long)places);
    for (size_t i = 0; i < n; i++) counts[i] += (int)whole;
    return (unsigned)(off - whole * (long)places);
}

typedef struct even_cost {
    double squares, error, bits;
} even_cost;

/* The codes' ends hold all counts that are not too far out. */
static void set_ends(step_lattice *l, const uint32_t *seen) {
    int low = -LATTICE_LOW, high = LATTICE_LOW;
    while (low < high && !seen[low + LATTICE_LOW]) low++;
    while (high > low && !seen[high + LATTICE_LOW]) high--;
    while (high - low >= LATTICE_CODES) {
        if (seen[low + LATTICE_LOW] < seen[high + LATTICE_LOW])
            low++;
        else
            high--;
    }
    l->low = low;
    l->n_codes = (unsigned)(high - low) + 1;
}

/* seen: [2 * LATTICE_LOW + 1]; counts: [65536] */
static void code_phases(const repr_matrix *w, const even_fit *fits, step_lattice *l, int *numbers, uint32_t *seen,
                        uint32_t *counts, even_cost *cost) {
    size_t total = l->rows * l->n_groups;
    memset(seen, 0, (2 * LATTICE_LOW + 1) * sizeof *seen);
    memset(counts, 0, 65536 * sizeof *counts);
    *cost = (even_cost){0};
    for (size_t at = 0; at < total; at++) {
        size_t first = at % l->n_groups * l->group, n = PITH_MIN(l->group, l->cols - first);
        const float *x = w->data + at / l->n_groups * l->cols + first;
        unsigned phase = count_group(l, at, &fits[at], x, n, numbers);
        float scale = lattice_scale(l, at);
        l->phase[at] = (uint16_t)phase;
        counts[phase]++;
        for (size_t i = 0; i < n; i++) {
            int k = PITH_MIN(PITH_MAX(numbers[i], -LATTICE_LOW), LATTICE_LOW);
            double d = (double)x[i] - (double)lattice_value(l, k, scale, lattice_phase(l, at));
            seen[k + LATTICE_LOW]++;
            cost->error += d * d;
            cost->squares += (double)x[i] * (double)x[i];
        }
    }
    if (counts[0] == total) l->phase_bits = 0;
    cost->bits = lattice_entropy(counts, 65536, (double)total);
    cost->bits += lattice_entropy(seen, 2 * LATTICE_LOW + 1, (double)(l->rows * l->cols)) + 8 * 64;
    set_ends(l, seen);
}

static pith_status code_matrix(pith_ctx *ctx, const repr_matrix *w, double bits, step_lattice *l, bool *found) {
    size_t total = l->rows * l->n_groups;
    even_cost cost;
    even_fit *fits = pith_alloc(ctx, total * sizeof *fits);
    uint32_t *counts = pith_alloc(ctx, (65536 + 2 * LATTICE_LOW + 1) * sizeof *counts);
    int *numbers = pith_alloc(ctx, l->group * sizeof *numbers);
    l->scale = pith_alloc(ctx, total * sizeof *l->scale);
    l->phase = pith_alloc(ctx, total * sizeof *l->phase);
    pith_status status = fits && counts && numbers && l->scale && l->phase ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        for (size_t at = 0; at < total; at++) {
            size_t first = at % l->n_groups * l->group;
            fits[at] = fit(w->data + at / l->n_groups * l->cols + first, PITH_MIN(l->group, l->cols - first));
            l->base = PITH_MAX(l->base, fits[at].unit);
        }
        memset(counts, 0, 65536 * sizeof *counts);
        for (size_t at = 0; at < total; at++) {
            unsigned code = lattice_scale_code(l, fits[at].unit);
            l->scale[at] = (uint16_t)code;
            l->n_scales = PITH_MAX(l->n_scales, code + 1);
            counts[code]++;
        }
        double scales = lattice_entropy(counts, 65536, (double)total);
        code_phases(w, fits, l, numbers, counts + 65536, counts, &cost);
        *found = lattice_pays(l, bits, scales + cost.bits, cost.error, cost.squares);
    }
    pith_free(ctx, numbers);
    pith_free(ctx, counts);
    pith_free(ctx, fits);
    return status;
}

pith_status step_lattice_find_even(pith_ctx *ctx, const repr_matrix *w, double bits, step_lattice *l, bool *found) {
    size_t n, group = 0;
    double least = bits;
    *found = false;
    pith_status status = scalar_room(ctx, w->rows, w->cols, sizeof(even_fit), &n);
    if (status) return status;
    for (size_t i = 0; i <= PITH_COUNT(lattice_groups); i++) {
        size_t size = i ? lattice_groups[i - 1] : w->cols;
        double each = size < 8 || size > w->cols || (i && size == w->cols) ? HUGE_VAL : sample_bits(w, size);
        if (each <= least) least = each, group = size;
    }
    if (!group) return PITH_OK;
    *l = (step_lattice){.rows = w->rows,
                        .cols = w->cols,
                        .group = group,
                        .n_groups = (w->cols + group - 1) / group,
                        .n_scales = 1,
                        .fine = lattice_fine(bits),
                        .phase_bits = PITH_MIN(lattice_fine(bits), (unsigned)LATTICE_PHASE)};
    status = code_matrix(ctx, w, bits, l, found);
    if (!*found) step_lattice_free(ctx, l);
    return status;
}
