/* Whether weights lie on few levels, and which. Groups of weights as they were trained hold as many magnitudes as
 * weights; groups that were quantised hold few, in the same ratios everywhere. The book of levels grows from the
 * sampled group with the most magnitudes, by those of the others that agree with it up to a scale; then scales and
 * levels are fitted in turn by least squares. */
#include <math.h>

#include "kernels/represent/step_lattice.h"

enum { LEAST_SEEN = 8, ROUNDS = 4, LEANS = 6, REFINED = 1 << 15 }; /* the last: weights that levels are fitted to */
#define SAME 0.01f /* magnitudes this near, relative, are one: floats of 16 bits were rounded */
#define EXACT 2e-5 /* relative squared error of a group that lies on levels */

typedef struct level_book {
    unsigned n;
    float level[LATTICE_LEVELS]; /* rising */
    double use[LATTICE_LEVELS];
    float bits[LATTICE_LEVELS]; /* what one costs, for the choice between scales that all fit */
    float lean[LATTICE_LEVELS]; /* log odds of a level above 0 in a group that is not turned over */
    bool leans;
} level_book;

/* One group's distinct magnitudes above 0, rising; more than `most` are not counted. */
typedef struct group_levels {
    const float *w;
    unsigned n;
    float value[LATTICE_LEVELS];
} group_levels;

static bool same(float a, float b) { return fabsf(a - b) <= SAME * b; }

/* False: they are too many. *seen: weights above 0. */
static bool levels_of(const float *w, size_t n, unsigned most, group_levels *g, size_t *seen) {
    g->w = w;
    g->n = 0;
    *seen = 0;
    for (size_t i = 0; i < n; i++) {
        float v = fabsf(w[i]);
        unsigned at = g->n;
        if (!(v > 0)) continue;
        (*seen)++;
        while (at > 0 && g->value[at - 1] > v) at--;
        if ((at > 0 && same(v, g->value[at - 1])) || (at < g->n && same(v, g->value[at]))) continue;
        if (g->n == most) return false;
        memmove(g->value + at + 1, g->value + at, (g->n - at) * sizeof *g->value);
        g->value[at] = v;
        g->n++;
    }
    return true;
}

/* The groups of the sample that say something; false when they do not look as if on levels. */
static bool take_sample(const repr_matrix *w, size_t group, group_levels *sample, size_t *n_sample) {
    size_t n_groups = (w->cols + group - 1) / group, total = w->rows * n_groups, many = 0;
    size_t take = PITH_MIN(total, (size_t)LATTICE_SAMPLED);
    unsigned most = (unsigned)PITH_MIN(group / 2, (size_t)LATTICE_LEVELS);
    *n_sample = 0;
    for (size_t i = 0; i < take; i++) {
        size_t at = lattice_sampled(i, take, total), first = at % n_groups * group, seen;
        size_t width = PITH_MIN(group, w->cols - first);
        bool few = levels_of(w->data + at / n_groups * w->cols + first, width, most, &sample[*n_sample], &seen);
        if (width < group || (few && seen < LEAST_SEEN)) continue;
        if (few && 2 * sample[*n_sample].n <= seen)
            ++*n_sample;
        else if ((double)++many > LATTICE_MISSES * (double)take)
            return false;
    }
    return *n_sample >= LATTICE_LEAST_GROUPS && (double)many <= LATTICE_MISSES * (double)*n_sample;
}

/* How many magnitudes of g are levels of the book at its best scale. */
static unsigned match(const level_book *b, const group_levels *g, float *scale) {
    unsigned best = 0;
    double best_use = -1;
    for (unsigned anchor = g->n; anchor-- > 0 && anchor + 2 >= g->n;)
        for (unsigned k = 0; k < b->n; k++) {
            float s = g->value[anchor] / b->level[k];
            unsigned met = 0, at = 0;
            double use = 0;
            for (unsigned i = 0; i < g->n; i++) {
                float x = g->value[i] / s;
                while (at < b->n && b->level[at] < x && !same(b->level[at], x)) at++;
                if (at == b->n || !same(b->level[at], x)) continue;
                met++;
                use += log(1 + b->use[at]);
            }
            if (met > best || (met == best && use > best_use)) best = met, best_use = use, *scale = s;
        }
    return best;
}

/* Levels of g that the book has not; false when it has no room. */
static bool book_grow(level_book *b, const group_levels *g, float scale) {
    for (unsigned i = 0; i < g->n; i++) {
        float x = g->value[i] / scale;
        unsigned at = b->n;
        while (at > 0 && b->level[at - 1] > x) at--;
        if (at < b->n && same(b->level[at], x)) {
            b->use[at]++;
        } else if (at > 0 && same(b->level[at - 1], x)) {
            b->use[at - 1]++;
        } else {
            if (b->n == LATTICE_LEVELS) return false;
            memmove(b->level + at + 1, b->level + at, (b->n - at) * sizeof *b->level);
            memmove(b->use + at + 1, b->use + at, (b->n - at) * sizeof *b->use);
            b->level[at] = x;
            b->use[at] = 1;
            b->n++;
        }
    }
    return true;
}

/* False: the groups have no levels in common. */
static bool book_find(const group_levels *sample, size_t n, level_book *b) {
    size_t misses = 0;
    b->n = 0;
    for (unsigned size = LATTICE_LEVELS; size > 0; size--)
        for (size_t i = 0; i < n; i++) {
            const group_levels *g = &sample[i];
            float scale = 1;
            if (g->n != size) continue;
            unsigned met = b->n ? match(b, g, &scale) : 0;
            if (!b->n) scale = g->value[g->n - 1];
            bool agrees = !b->n || met == g->n || (met >= 2 && 2 * met >= g->n);
            if (!agrees || !book_grow(b, g, scale)) misses++;
        }
    return b->n > 0 && (double)misses <= LATTICE_MISSES * (double)n;
}

static void book_costs(level_book *b) {
    double all = 0;
    for (unsigned k = 0; k < b->n; k++) all += b->use[k] + 1;
    for (unsigned k = 0; k < b->n; k++) b->bits[k] = (float)-log2((b->use[k] + 1) / all);
}

/* x[n] magnitudes of a group, in the levels of the book times a scale: value[n], the levels. */
static void to_levels(const level_book *b, const float *x, size_t n, float inverse, float *value) {
    float last = 0;
    memset(value, 0, n * sizeof *value);
    for (unsigned k = 0; k < b->n; last = b->level[k++]) {
        float from = (last + b->level[k]) * 0.5f, level = b->level[k];
        for (size_t i = 0; i < n; i++) value[i] = x[i] * inverse > from ? level : value[i];
    }
}

typedef struct group_fit {
    float scale;
    double error, norm; /* squared; of the levels */
} group_fit;

static double level_bits(const level_book *b, const float *value, size_t n) {
    double bits = 0;
    for (unsigned k = 0; k < b->n; k++) {
        size_t count = 0;
        for (size_t i = 0; i < n; i++) count += value[i] == b->level[k];
        bits += (double)count * (double)b->bits[k];
    }
    return bits;
}

/* The scale for w[n]: of those that are exact the one whose levels are likeliest, else the nearest. Leaves levels in
 * value. x, value: [n]. */
static group_fit fit(const level_book *b, const float *w, size_t n, float *x, float *value) {
    float most = 0, squares = 0, nearest = INFINITY, best = 0;
    double likeliest = HUGE_VAL;
    for (size_t i = 0; i < n; i++) {
        x[i] = fabsf(w[i]);
        most = PITH_MAX(most, x[i]);
        squares += x[i] * x[i];
    }
    memset(value, 0, n * sizeof *value);
    if (!(squares > 0) || !(squares < INFINITY)) return (group_fit){.error = (double)squares};
    for (unsigned k = b->n; k-- > 0;) {
        float scale = most / b->level[k], inverse = b->level[k] / most, error = 0;
        to_levels(b, x, n, inverse, value);
        for (size_t i = 0; i < n; i++) {
            float d = x[i] - scale * value[i];
            error += d * d;
        }
        bool exact = error <= (float)EXACT * squares;
        double bits = exact ? level_bits(b, value, n) : HUGE_VAL;
        if (exact ? bits < likeliest : likeliest == HUGE_VAL && error < nearest)
            nearest = error, likeliest = bits, best = scale;
    }
    if (!(best > 0)) return (group_fit){.error = (double)squares};
    to_levels(b, x, n, 1 / best, value);
    double cross = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        cross += (double)x[i] * (double)value[i];
        norm += (double)value[i] * (double)value[i];
    }
    group_fit f = {.norm = norm};
    if (norm > 0) f.scale = (float)(cross / norm);
    for (size_t i = 0; i < n; i++) {
        double d = (double)(x[i] - f.scale * value[i]);
        f.error += d * d;
    }
    return f;
}

/* Levels by least squares over the sample; what is never used goes. */
static void book_refine(level_book *b, const group_levels *sample, size_t n, size_t group, float *x, float *value) {
    for (unsigned round = 0; round < ROUNDS; round++) {
        double cross[LATTICE_LEVELS] = {0}, norm[LATTICE_LEVELS] = {0}, use[LATTICE_LEVELS] = {0};
        book_costs(b);
        for (size_t i = 0; i < n; i++) {
            double scale = (double)fit(b, sample[i].w, group, x, value).scale;
            for (size_t j = 0; j < group; j++)
                for (unsigned k = 0; k < b->n; k++) {
                    if (value[j] != b->level[k]) continue;
                    cross[k] += scale * (double)x[j];
                    norm[k] += scale * scale;
                    use[k]++;
                }
        }
        unsigned kept = 0;
        for (unsigned k = 0; k < b->n; k++) {
            float level = norm[k] > 0 ? (float)(cross[k] / norm[k]) : 0;
            if (!(level > (kept ? b->level[kept - 1] : 0))) continue;
            b->level[kept] = level;
            b->use[kept++] = use[k];
        }
        b->n = kept;
    }
    book_costs(b);
}

/* Whether a group is more like the others turned over. */
static bool is_turned(const level_book *b, const float *w, const float *value, size_t n) {
    float odds = 0;
    for (unsigned k = 0; k < b->n; k++)
        for (size_t i = 0; i < n; i++) odds += value[i] == b->level[k] ? (w[i] < 0 ? -b->lean[k] : b->lean[k]) : 0;
    return odds < 0;
}

/* Levels that are seldom met on both sides of 0 (those of iq4_nl, of which every other block is turned over): which
 * groups are turned and which levels stand where, each from the other in turn, the largest level above 0 at first. */
static void book_lean(level_book *b, const group_levels *sample, size_t n, size_t group, float *x, float *value) {
    double saved = 0;
    memset(b->lean, 0, sizeof b->lean);
    b->lean[b->n - 1] = 1;
    for (unsigned round = 0; round < LEANS; round++) {
        double above[LATTICE_LEVELS] = {0}, all[LATTICE_LEVELS] = {0};
        for (size_t g = 0; g < n; g++) {
            (void)fit(b, sample[g].w, group, x, value);
            bool turned = is_turned(b, sample[g].w, value, group);
            for (unsigned k = 0; k < b->n; k++)
                for (size_t i = 0; i < group; i++) {
                    if (value[i] != b->level[k]) continue;
                    all[k]++;
                    above[k] += (sample[g].w[i] < 0) == turned;
                }
        }
        saved = -(double)n;
        for (unsigned k = 0; k < b->n; k++) {
            double p = (above[k] + 1) / (all[k] + 2);
            b->lean[k] = (float)log2(p / (1 - p));
            saved += all[k] * (1 + p * log2(p) + (1 - p) * log2(1 - p));
        }
    }
    b->leans = saved > 0.05 * (double)(n * group); /* bits; chance finds a few */
}

/* ---- the matrix ---- */

typedef struct lattice_cost {
    double squares, error, rounding; /* of all weights; of those and scales before, and by, rounding these */
    double bits;
} lattice_cost;

/* Scales of all groups, and the cost. fits[rows * n_groups], counts[65536]. */
static void code_scales(const repr_matrix *w, const level_book *b, step_lattice *l, group_fit *fits, uint32_t *counts,
                        float *x, float *value, lattice_cost *cost) {
    double zeros = 0, n = (double)(l->rows * l->cols);
    double use[2][LATTICE_LEVELS] = {{0}};
    *cost = (lattice_cost){0};
    l->base = 0;
    for (size_t r = 0; r < l->rows; r++)
        for (size_t g = 0; g < l->n_groups; g++) {
            size_t width = PITH_MIN(l->group, l->cols - g * l->group);
            const float *from = w->data + r * l->cols + g * l->group;
            group_fit f = fits[r * l->n_groups + g] = fit(b, from, width, x, value);
            l->base = PITH_MAX(l->base, f.scale);
            cost->error += f.error;
            bool turned = l->flip && is_turned(b, from, value, width);
            if (l->flip) l->flip[r * l->n_groups + g] = turned;
            for (size_t i = 0; i < width; i++) cost->squares += (double)x[i] * (double)x[i], zeros += value[i] == 0;
            for (unsigned k = 0; k < b->n; k++) {
                unsigned met = 0, below = 0;
                for (size_t i = 0; i < width; i++) met += value[i] == b->level[k];
                for (size_t i = 0; i < width; i++) below += value[i] == b->level[k] && (from[i] < 0) != turned;
                use[0][k] += met - below;
                use[1][k] += below;
            }
        }
    memset(counts, 0, 65536 * sizeof *counts);
    l->n_scales = 1;
    for (size_t i = 0; i < l->rows * l->n_groups; i++) {
        unsigned code = lattice_scale_code(l, fits[i].scale);
        l->scale[i] = (uint16_t)code;
        double d = (double)fits[i].scale - (double)fabsf(lattice_scale(l, i));
        cost->rounding += d * d * fits[i].norm;
        counts[code]++;
        l->n_scales = PITH_MAX(l->n_scales, code + 1);
    }
    cost->bits = lattice_entropy(counts, 65536, (double)(l->rows * l->n_groups));
    if (l->flip) cost->bits += (double)(l->rows * l->n_groups);
    for (unsigned k = 0; k < 2 * b->n; k++)
        if (use[k % 2][k / 2] > 0) cost->bits += use[k % 2][k / 2] * log2(n / use[k % 2][k / 2]);
    if (zeros > 0) cost->bits += zeros * log2(n / zeros);
    cost->bits += 8.0 * (16 + 4 * b->n) + 16.0 * b->n; /* what packers need to know, roughly */
}

static pith_status code_matrix(pith_ctx *ctx, const repr_matrix *w, const level_book *b, double bits, step_lattice *l,
                               float *x, float *value, bool *found) {
    size_t n = w->rows * l->n_groups;
    lattice_cost cost;
    l->fine = lattice_fine(bits);
    l->n_levels = b->n;
    l->low = -(int)b->n;
    l->n_codes = 2 * b->n + 1;
    memcpy(l->level, b->level, b->n * sizeof *b->level);
    group_fit *fits = pith_alloc(ctx, n * sizeof *fits);
    uint32_t *counts = pith_alloc(ctx, 65536 * sizeof *counts);
    l->scale = pith_alloc(ctx, n * sizeof *l->scale);
    l->flip = b->leans ? pith_alloc(ctx, n * sizeof *l->flip) : NULL;
    pith_status status = fits && counts && l->scale && (l->flip || !b->leans) ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        code_scales(w, b, l, fits, counts, x, value, &cost);
        *found = lattice_pays(l, bits, cost.bits, cost.error + cost.rounding, cost.squares);
    }
    pith_free(ctx, fits);
    pith_free(ctx, counts);
    return status;
}

/* Bits of a weight in groups of this size, roughly, by what the sample used. */
static double sample_bits(const level_book *b, size_t n_sample, size_t group) {
    double n = (double)n_sample * (double)group, rest = n, bits = LATTICE_SCALE_BITS / (double)group;
    for (unsigned k = 0; k < b->n; k++) {
        rest -= b->use[k];
        if (b->use[k] > 0) bits += b->use[k] / n * (1 + log2(n / b->use[k]));
    }
    return rest > 0 ? bits + rest / n * log2(n / rest) : bits;
}

/* As many groups as levels are fitted to. */
static void thin_out(group_levels *sample, size_t *n_sample, size_t group) {
    size_t some = PITH_MIN(*n_sample, PITH_MAX(REFINED / group, (size_t)LATTICE_LEAST_GROUPS));
    for (size_t k = 0; k < some; k++) sample[k] = sample[lattice_sampled(k, some, *n_sample)];
    *n_sample = some;
}

pith_status step_lattice_find_levels(pith_ctx *ctx, const repr_matrix *w, double bits, step_lattice *l, bool *found) {
    size_t n, group = 0;
    double least = HUGE_VAL;
    level_book best = {.n = 0};
    *found = false;
    pith_status status = scalar_room(ctx, w->rows, w->cols, sizeof(group_fit), &n);
    group_levels *sample = status ? NULL : pith_alloc(ctx, LATTICE_SAMPLED * sizeof *sample);
    float *room = status ? NULL : pith_alloc(ctx, 2 * w->cols * sizeof *room);
    if (!status && (!sample || !room)) status = pith_alloc_status(ctx);
    for (size_t i = 0; !status && i <= PITH_COUNT(lattice_groups); i++) {
        size_t size = i ? lattice_groups[i - 1] : w->cols, n_sample;
        level_book book;
        if (size > w->cols || (i && size == w->cols) || !take_sample(w, size, sample, &n_sample) ||
            !book_find(sample, n_sample, &book))
            continue;
        thin_out(sample, &n_sample, size);
        book_refine(&book, sample, n_sample, size, room, room + w->cols);
        double each = sample_bits(&book, n_sample, size);
        if (book.n && each < least) least = each, best = book, group = size;
    }
    if (!status && best.n) {
        size_t n_sample;
        (void)take_sample(w, group, sample, &n_sample);
        thin_out(sample, &n_sample, group);
        book_lean(&best, sample, n_sample, group, room, room + w->cols);
        *l =
            (step_lattice){.rows = w->rows, .cols = w->cols, .group = group, .n_groups = (w->cols + group - 1) / group};
        status = code_matrix(ctx, w, &best, bits, l, room, room + w->cols, found);
        if (!*found) step_lattice_free(ctx, l);
    }
    pith_free(ctx, sample);
    pith_free(ctx, room);
    return status;
}
