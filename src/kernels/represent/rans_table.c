/* Frequencies for rANS and how they are written: one by one, or, for few symbols, as a curve of three numbers.
 *
 * A table is: its kind, the first and the last symbol, then
 *   counts     bits, least significant first: for each symbol 4 bits, the length of its frequency (0: it does not
 *              occur; 13: nor do the next 2..17, four bits more), and the bits of the frequency but the highest;
 *   a curve    centre in 16ths of a symbol, two bytes; width, one byte: 2^((b - 64) / 16).
 * Curves at d symbols from the centre, with s the width: exp(-|d| / s); 1 / (2 + e^(d/s) + e^(-d/s)), the logistic
 * distribution; exp(-d^2 / 2 s^2). All symbols from the first to the last get at least 1 of 4096. */
#include <math.h>

#include "kernels/represent/rans.h"
#include "math/math.h"

enum { COUNTS, GEOMETRIC, LOGISTIC, GAUSSIAN, N_KINDS };

#define RUN 13
#define RUN_LEAST 2
#define RUN_MOST 17
#define CURVE_BYTES 6
#define CURVES_BELOW 65536 /* symbols; for more the counts are worth their bytes */
#define WIDTH_ZERO 64

/* ---- curves ---- */

/* Shares out 4096: at least 1 for each, the rest by weight, what rounding leaves to the heaviest. */
static void share_out(const double *weight, rans_table *t) {
    double sum = 0;
    unsigned heaviest = t->first, left = RANS_TOTAL;
    for (unsigned s = t->first; s <= t->last; s++) {
        sum += weight[s];
        if (weight[s] > weight[heaviest]) heaviest = s;
    }
    double scale = (double)(RANS_TOTAL - (t->last - t->first + 1)) / sum;
    for (unsigned s = t->first; s <= t->last; s++) {
        unsigned f = 1 + (unsigned)(weight[s] * scale);
        f = PITH_MIN(f, left - (t->last - s)); /* rounding never takes what the others need */
        t->freq[s] = (uint16_t)f;
        left -= f;
    }
    t->freq[heaviest] = (uint16_t)(t->freq[heaviest] + left);
}

void rans_table_curve(unsigned kind, unsigned centre16, unsigned width, rans_table *t) {
    static const double sixteenth = 1.0442737824274138; /* 2^(1/16) */
    double s = 1, weight[256];
    for (unsigned i = WIDTH_ZERO; i < width; i++) s *= sixteenth;
    for (unsigned i = width; i < WIDTH_ZERO; i++) s /= sixteenth;
    memset(t->freq, 0, sizeof t->freq);
    for (unsigned i = t->first; i <= t->last; i++) {
        double d = ((double)i - (double)centre16 / 16) / s;
        if (d < 0) d = -d;
        d = PITH_MIN(d, 30.0);
        switch (kind) {
        case GEOMETRIC: weight[i] = real_exp(-d); break;
        case LOGISTIC: weight[i] = 1 / (2 + real_exp(d) + real_exp(-d)); break;
        default: weight[i] = real_exp(-d * d / 2); break;
        }
    }
    share_out(weight, t);
}

/* ---- counts ---- */

static void scale_counts(const uint32_t count[256], size_t n, rans_table *t) {
    unsigned sum = 0;
    for (unsigned s = 0; s < 256; s++) {
        uint64_t f = (uint64_t)count[s] * RANS_TOTAL / n;
        t->freq[s] = (uint16_t)(count[s] ? PITH_MAX(f, 1) : 0);
        sum += t->freq[s];
    }
    /* One at a time where it changes the code least: a symbol's cost is -count log f. */
    while (sum != RANS_TOTAL) {
        unsigned best = 256;
        uint64_t best_count = 0, best_freq = 1;
        for (unsigned s = t->first; s <= t->last; s++) {
            uint64_t c = count[s], f = t->freq[s];
            if (!c || (sum > RANS_TOTAL && f == 1)) continue;
            bool better = sum < RANS_TOTAL ? c * best_freq > best_count * f : c * (best_freq - 1) < best_count * (f - 1);
            if (best == 256 || better) best = s, best_count = c, best_freq = f;
        }
        t->freq[best] = (uint16_t)(sum < RANS_TOTAL ? t->freq[best] + 1 : t->freq[best] - 1);
        sum += sum < RANS_TOTAL ? 1u : UINT32_MAX;
    }
}

typedef struct bits {
    uint8_t *p;
    size_t n;
} bits;

static void put_bits(bits *w, unsigned value, unsigned n) {
    for (unsigned i = 0; i < n; i++, w->n++) {
        if (w->n % 8 == 0) w->p[w->n / 8] = 0;
        w->p[w->n / 8] |= (uint8_t)((value >> i & 1) << w->n % 8);
    }
}

static bool take_bits(const repr_reader *r, size_t *at, unsigned n, unsigned *value) {
    *value = 0;
    if ((*at + n + 7) / 8 > (size_t)(r->end - r->p)) return false;
    for (unsigned i = 0; i < n; i++, ++*at) *value |= (r->p[*at / 8] >> *at % 8 & 1u) << i;
    return true;
}

static unsigned bit_length(unsigned v) { return v ? 32u - (unsigned)__builtin_clz(v) : 0; }

static size_t put_counts(const rans_table *t, uint8_t *dst) {
    bits w = {dst, 0};
    for (unsigned s = t->first; s <= t->last;) {
        unsigned f = t->freq[s], length = bit_length(f), run = 0;
        while (run < RUN_MOST && !t->freq[s + run]) run++;
        if (run >= RUN_LEAST) {
            put_bits(&w, RUN | (run - RUN_LEAST) << 4, 8);
            s += run;
            continue;
        }
        put_bits(&w, length, 4);
        if (length > 1) put_bits(&w, f & ((1u << (length - 1)) - 1), length - 1);
        s++;
    }
    return (w.n + 7) / 8;
}

static bool take_counts(repr_reader *r, rans_table *t) {
    size_t at = 0;
    unsigned sum = 0;
    memset(t->freq, 0, sizeof t->freq);
    for (unsigned s = t->first; s <= t->last;) {
        unsigned length, low = 0;
        if (!take_bits(r, &at, 4, &length)) return false;
        if (length == RUN) {
            if (!take_bits(r, &at, 4, &length)) return false;
            s += length + RUN_LEAST;
            if (s > t->last) return false;
            continue;
        }
        if (length > RANS_BITS || (length > 1 && !take_bits(r, &at, length - 1, &low))) return false;
        t->freq[s] = (uint16_t)(length ? 1u << (length - 1) | low : 0);
        sum += t->freq[s++];
    }
    r->p += (at + 7) / 8;
    return sum == RANS_TOTAL;
}

/* ---- the choice ---- */

static double cost(const uint32_t count[256], const rans_table *t) {
    double sum = 0;
    for (unsigned s = t->first; s <= t->last; s++)
        if (count[s]) sum += (double)count[s] * (RANS_BITS - log2((double)t->freq[s]));
    return sum;
}

typedef struct fit {
    unsigned kind, centre16, width;
    double bits;
} fit;

static void try_curve(const uint32_t count[256], unsigned kind, unsigned centre16, unsigned width, rans_table *t,
                      fit *best) {
    rans_table_curve(kind, centre16, width, t);
    double b = cost(count, t);
    if (b < best->bits) *best = (fit){kind, centre16, width, b};
}

/* Downhill in centre and width, from the moments. */
static fit fit_curve(const uint32_t count[256], size_t n, unsigned kind, rans_table *t) {
    double mean = 0, variance = 0;
    for (unsigned s = t->first; s <= t->last; s++) mean += (double)count[s] * s / (double)n;
    for (unsigned s = t->first; s <= t->last; s++) variance += (double)count[s] * (s - mean) * (s - mean) / (double)n;
    static const double spread[N_KINDS] = {0, 1.414, 1.814, 1}; /* standard deviation of a curve of width 1 */
    double s = sqrt(variance + 0.01) / spread[kind];
    double steps = WIDTH_ZERO + 16 * log2(s);
    unsigned centre16 = (unsigned)(mean * 16 + 0.5), width = (unsigned)PITH_MIN(PITH_MAX(steps, 0.0), 255.0);
    fit best = {kind, 0, 0, 1e300};
    try_curve(count, kind, centre16, width, t, &best);
    for (int step = 4; step > 0; step /= 2)
        for (bool moved = true; moved;) {
            fit from = best;
            for (int way = -1; way <= 1; way += 2) {
                int w = (int)from.width + way * step, c = (int)from.centre16 + way * step;
                if (w >= 0 && w <= 255) try_curve(count, kind, from.centre16, (unsigned)w, t, &best);
                if (c >= 0 && c <= 16 * 255) try_curve(count, kind, (unsigned)c, from.width, t, &best);
            }
            moved = best.bits < from.bits;
        }
    return best;
}

static fit fit_curves(const uint32_t count[256], size_t n, rans_table *t) {
    fit best = {.bits = 1e300};
    for (unsigned kind = GEOMETRIC; kind < N_KINDS; kind++) {
        fit c = fit_curve(count, n, kind, t);
        if (c.bits < best.bits) best = c;
    }
    return best;
}

void rans_table_fit_curve(const uint32_t count[256], size_t n, rans_table *t, unsigned *kind, unsigned *centre16,
                          unsigned *width) {
    fit best = fit_curves(count, n, t);
    *kind = best.kind;
    *centre16 = best.centre16;
    *width = best.width;
}

bool rans_table_is_curve(unsigned kind, unsigned centre16) {
    return kind >= GEOMETRIC && kind < N_KINDS && centre16 <= 16 * 255;
}

double rans_table_fit(const uint32_t count[256], size_t n, rans_table *t, uint8_t *dst, size_t *n_bytes) {
    t->first = 0;
    t->last = 255;
    while (!count[t->first]) t->first++;
    while (!count[t->last]) t->last--;
    fit best = {COUNTS, 0, 0, 0};
    scale_counts(count, n, t);
    size_t size = 3 + put_counts(t, dst + 3);
    best.bits = cost(count, t) + 8.0 * (double)size;
    if (n < CURVES_BELOW) {
        fit c = fit_curves(count, n, t);
        c.bits += 8 * CURVE_BYTES;
        if (c.bits < best.bits) best = c;
    }
    dst[0] = (uint8_t)best.kind;
    dst[1] = (uint8_t)t->first;
    dst[2] = (uint8_t)t->last;
    if (best.kind == COUNTS) {
        scale_counts(count, n, t);
    } else {
        store16(dst + 3, (uint16_t)best.centre16);
        dst[5] = (uint8_t)best.width;
        size = CURVE_BYTES;
        rans_table_curve(best.kind, best.centre16, best.width, t);
    }
    *n_bytes = size;
    return best.bits;
}

bool rans_table_take(repr_reader *in, rans_table *t) {
    const uint8_t *head = repr_take(in, 3);
    if (!head || head[0] >= N_KINDS || head[1] >= head[2]) return false;
    t->first = head[1];
    t->last = head[2];
    if (head[0] == COUNTS) return take_counts(in, t);
    const uint8_t *curved = repr_take(in, 3);
    if (!curved || !rans_table_is_curve(head[0], load16(curved))) return false;
    rans_table_curve(head[0], load16(curved), curved[2], t);
    return true;
}
