/* The search for a block's seed: exact, over all states of the register.
 *
 * What a basis U leaves of w before its coefficients are rounded is |w|^2 - w^T P w, P projecting onto U's columns; it
 * is no more than what is left after rounding. w^T P w is linear in the products w_i w_j, so that one product of
 * matrices has it for many blocks and seeds, and coefficients are rounded only where it beats the best so far. */
#include <math.h>

#include "kernels/represent/seed.h"
#include "math/dense/dense.h"

enum { MOST_BLOCK = 16, MOST_COEFFICIENTS = 8, PART = 64, SEEDS_AT_ONCE = 4096, STRIPE = 64 };

struct seed_search {
    pith_ctx *ctx;
    size_t block, n_coefficients, n_pairs, n_seeds;
    unsigned lfsr, bits;
    float *projections; /* [n_seeds][n_pairs]: P_ij, twice that for i != j */
    float *inverses;    /* [n_seeds][n_coefficients][block]: least squares */
};

/* The orthonormal basis of U's columns and its pseudo-inverse, by modified Gram-Schmidt in doubles: U = Q R. False when
 * the columns are dependent. */
static bool factor(const double *u, size_t rows, size_t cols, double *q, double *inverse) {
    double r[MOST_COEFFICIENTS][MOST_COEFFICIENTS] = {{0}};
    memcpy(q, u, rows * cols * sizeof *q);
    for (size_t k = 0; k < cols; k++) {
        for (size_t l = 0; l < k; l++) {
            double dot = 0;
            for (size_t i = 0; i < rows; i++) dot += q[i * cols + l] * q[i * cols + k];
            for (size_t i = 0; i < rows; i++) q[i * cols + k] -= dot * q[i * cols + l];
            r[l][k] = dot;
        }
        double length = 0;
        for (size_t i = 0; i < rows; i++) length += q[i * cols + k] * q[i * cols + k];
        if (!(length > 1e-12)) return false;
        r[k][k] = sqrt(length);
        for (size_t i = 0; i < rows; i++) q[i * cols + k] /= r[k][k];
    }
    for (size_t i = 0; i < rows; i++) /* R x = Q^T: from the last row up */
        for (size_t k = cols; k-- > 0;) {
            double sum = q[i * cols + k];
            for (size_t l = k + 1; l < cols; l++) sum -= r[k][l] * inverse[l * rows + i];
            inverse[k * rows + i] = sum / r[k][k];
        }
    return true;
}

pith_status seed_search_new(pith_ctx *ctx, size_t block, size_t n_coefficients, unsigned lfsr, unsigned bits,
                            seed_search **out) {
    seed_search *s = pith_zalloc(ctx, sizeof *s);
    if (!s) return pith_alloc_status(ctx);
    *s = (seed_search){.ctx = ctx,
                       .block = block,
                       .n_coefficients = n_coefficients,
                       .n_pairs = block * (block + 1) / 2,
                       .n_seeds = ((size_t)1 << lfsr) - 1,
                       .lfsr = lfsr,
                       .bits = bits};
    s->projections = pith_zalloc(ctx, s->n_seeds * s->n_pairs * sizeof *s->projections);
    s->inverses = pith_zalloc(ctx, s->n_seeds * n_coefficients * block * sizeof *s->inverses);
    if (!s->projections || !s->inverses) {
        pith_status status = pith_alloc_status(ctx);
        seed_search_free(ctx, s);
        return status;
    }
    for (size_t at = 0; at < s->n_seeds; at++) { /* dependent columns: zeros, no block chooses it */
        int32_t values[MOST_BLOCK * MOST_COEFFICIENTS];
        double u[MOST_BLOCK * MOST_COEFFICIENTS], q[MOST_BLOCK * MOST_COEFFICIENTS],
            inverse[MOST_BLOCK * MOST_COEFFICIENTS];
        size_t n = block * n_coefficients;
        seed_values(lfsr, (uint32_t)at + 1, values, n);
        for (size_t i = 0; i < n; i++) u[i] = (double)values[i] / (double)((1 << (lfsr - 1)) - 1);
        if (!factor(u, block, n_coefficients, q, inverse)) continue;
        float *p = s->projections + at * s->n_pairs;
        for (size_t i = 0; i < block; i++)
            for (size_t j = 0; j <= i; j++) {
                double dot = 0;
                for (size_t k = 0; k < n_coefficients; k++)
                    dot += q[i * n_coefficients + k] * q[j * n_coefficients + k];
                *p++ = (float)(i == j ? dot : 2 * dot);
            }
        for (size_t i = 0; i < n; i++) s->inverses[at * n + i] = (float)inverse[i];
    }
    *out = s;
    return PITH_OK;
}

void seed_search_free(pith_ctx *ctx, seed_search *s) {
    pith_free(ctx, s->projections);
    pith_free(ctx, s->inverses);
    pith_free(ctx, s);
}

/* Rounds the coefficients of one seed in the two or three likeliest exponents; keeps the best in *best. */
static void try_seed(const seed_search *s, const float *w, size_t at, int base, seed_code *best) {
    size_t block = s->block, n = s->n_coefficients;
    const float *inverse = s->inverses + at * n * block;
    float t[MOST_COEFFICIENTS], most = 0;
    for (size_t k = 0; k < n; k++) {
        t[k] = 0;
        for (size_t i = 0; i < block; i++) t[k] += inverse[k * block + i] * w[i];
        most = PITH_MAX(most, fabsf(t[k]));
    }
    int low = -(1 << (s->bits - 1)), high = -low - 1, exponent;
    if (!(most > 0)) return;
    frexpf(most / (float)high, &exponent); /* most <= high * 2^exponent */
    int32_t u[MOST_BLOCK * MOST_COEFFICIENTS];
    seed_values(s->lfsr, (uint32_t)at + 1, u, block * n);
    for (int e = exponent; e >= exponent - 1; e--) {
        int shared = PITH_MAX(PITH_MIN(e - base, SEED_EXPONENTS - 1), 0);
        float unit = ldexpf(1, base + shared), scale = seed_scale(s->lfsr, base + shared);
        int32_t c[MOST_COEFFICIENTS];
        for (size_t k = 0; k < n; k++) {
            float x = rintf(t[k] / unit);
            c[k] = x < (float)low ? low : x > (float)high ? high : (int32_t)x;
        }
        double error = 0;
        for (size_t i = 0; i < block && error < best->error; i++) {
            int32_t sum = 0;
            for (size_t k = 0; k < n; k++) sum += u[i * n + k] * c[k];
            double d = (double)w[i] - (double)((float)sum * scale);
            error += d * d;
        }
        if (error >= best->error) continue;
        *best = (seed_code){.seed = (uint32_t)at + 1, .exponent = shared, .error = error};
        for (size_t k = 0; k < n; k++) best->c[k] = (int8_t)c[k];
    }
}

typedef struct searching {
    const seed_search *s;
    const float *blocks;
    size_t n;
    int base;
    seed_code *codes;
} searching;

/* Seeds from `first` on whose projections keep enough of the block. */
static void scan(const seed_search *s, const float *w, double length, const float *kept, size_t first, size_t n,
                 int base, seed_code *best) {
    size_t likeliest = 0;
    float most = kept[0];
    for (size_t i = 0; i < n; i += STRIPE) {
        float top[STRIPE / 4] = {0};
        size_t end = PITH_MIN(i + STRIPE, n), j = i;
        for (; j + STRIPE / 4 <= end; j += STRIPE / 4)
            for (size_t l = 0; l < STRIPE / 4; l++) top[l] = kept[j + l] > top[l] ? kept[j + l] : top[l];
        float m = 0;
        for (size_t l = 0; l < STRIPE / 4; l++) m = top[l] > m ? top[l] : m;
        if (m <= most && j == end) continue;
        for (j = i; j < end; j++)
            if (kept[j] > most) {
                most = kept[j];
                likeliest = j;
            }
    }
    /* floats leave an error of some 1e-6 of the length in `kept` */
    if (length - (double)most > best->error + 1e-5 * length) return;
    try_seed(s, w, first + likeliest, base, best);
    for (size_t i = 0; i < n; i++)
        if (length - (double)kept[i] < best->error + 1e-5 * length && i != likeliest)
            try_seed(s, w, first + i, base, best);
}

static pith_status search_part(void *opaque, size_t part) {
    const searching *a = opaque;
    const seed_search *s = a->s;
    size_t first = part * PART, n = PITH_MIN((size_t)PART, a->n - first);
    float *pairs = pith_alloc(s->ctx, PART * s->n_pairs * sizeof *pairs),
          *kept = pith_alloc(s->ctx, PART * SEEDS_AT_ONCE * sizeof *kept);
    if (!pairs || !kept) {
        pith_status status = pith_alloc_status(s->ctx);
        pith_free(s->ctx, pairs);
        pith_free(s->ctx, kept);
        return status;
    }
    double lengths[PART];
    for (size_t b = 0; b < n; b++) {
        const float *w = a->blocks + (first + b) * s->block;
        float *p = pairs + b * s->n_pairs;
        lengths[b] = 0;
        for (size_t i = 0; i < s->block; i++) {
            for (size_t j = 0; j <= i; j++) *p++ = w[i] * w[j];
            lengths[b] += (double)w[i] * (double)w[i];
        }
        a->codes[first + b] = (seed_code){.seed = 1, .error = lengths[b]}; /* all coefficients 0 */
    }
    for (size_t at = 0; at < s->n_seeds; at += SEEDS_AT_ONCE) {
        size_t m = PITH_MIN((size_t)SEEDS_AT_ONCE, s->n_seeds - at);
        dense_gemm(false, true, n, m, s->n_pairs, 1, pairs, s->n_pairs, s->projections + at * s->n_pairs, s->n_pairs, 0,
                   kept, m);
        for (size_t b = 0; b < n; b++)
            if (lengths[b] > 0)
                scan(s, a->blocks + (first + b) * s->block, lengths[b], kept + b * m, at, m, a->base,
                     &a->codes[first + b]);
    }
    pith_free(s->ctx, pairs);
    pith_free(s->ctx, kept);
    return PITH_OK;
}

pith_status seed_search_run(const seed_search *s, const float *blocks, size_t n, int base, seed_code *codes) {
    searching a = {s, blocks, n, base, codes};
    return pith_parallel(s->ctx, (n + PART - 1) / PART, search_part, &a);
}
