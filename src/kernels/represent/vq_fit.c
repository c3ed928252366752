/* Weighted k-means over vectors, by products of matrices: the cost of entry c for vector x with coordinate costs h is
 * sum h x^2 - 2 sum (h x) c + sum h c^2, so one product of [h x, h] with [-2 c, c^2] ranks all entries. */
#include "kernels/represent/vectors.h"
#include "math/dense/dense.h"

enum {
    SCORES = 1 << 18, /* costs worked on at once: they stay in the second-level cache */
    PER_ENTRY = 32,   /* vectors the codebook is fitted to, for each of its entries */
    SEEDS_PER_ENTRY = 8,
    SEEDS_MOST = 4096 /* larger codebooks start from vectors drawn at random */
};

size_t vq_smallest(const float *v, size_t n) {
    enum { LANES = 16 };
    float least[LANES], m = v[0];
    size_t i = 0;
    if (n >= LANES) {
        memcpy(least, v, sizeof least);
        for (i = LANES; i + LANES <= n; i += LANES)
            for (size_t l = 0; l < LANES; l++) least[l] = v[i + l] < least[l] ? v[i + l] : least[l];
        for (size_t l = 0; l < LANES; l++) m = least[l] < m ? least[l] : m;
    }
    for (; i < n; i++) m = v[i] < m ? v[i] : m;
    for (i = 0; i + 1 < n && v[i] != m;) i++;
    return i;
}

typedef struct assigning {
    const vq_set *set;
    const uint32_t *pick; /* NULL: all */
    size_t n, k, chunk, per_job;
    float *entries; /* [k][2 * dim]: -2 c, c^2 */
    uint16_t *codes;
} assigning;

static const float *costs_of(const vq_set *set, size_t v) {
    return set->cost ? set->cost + v % set->groups * set->dim : NULL;
}

static pith_status assign_part(void *opaque, size_t part) {
    const assigning *a = opaque;
    const vq_set *set = a->set;
    size_t dim = set->dim, wide = 2 * dim, first = part * a->per_job, end = PITH_MIN(first + a->per_job, a->n);
    float *rows = pith_alloc(set->ctx, a->chunk * wide * sizeof *rows),
          *scores = pith_alloc(set->ctx, a->chunk * a->k * sizeof *scores);
    pith_status status = rows && scores ? PITH_OK : pith_alloc_status(set->ctx);
    for (size_t at = first; !status && at < end; at += a->chunk) {
        size_t n = PITH_MIN(a->chunk, end - at);
        for (size_t i = 0; i < n; i++) {
            size_t v = a->pick ? a->pick[at + i] : at + i;
            const float *x = set->x + v * dim, *h = costs_of(set, v);
            for (size_t j = 0; j < dim; j++) {
                rows[i * wide + j] = h ? h[j] * x[j] : x[j];
                rows[i * wide + dim + j] = h ? h[j] : 1;
            }
        }
        dense_gemm(false, true, n, a->k, wide, 1, rows, wide, a->entries, wide, 0, scores, a->k);
        for (size_t i = 0; i < n; i++) a->codes[at + i] = (uint16_t)vq_smallest(scores + i * a->k, a->k);
    }
    pith_free(set->ctx, rows);
    pith_free(set->ctx, scores);
    return status;
}

static pith_status assign(const vq_set *set, const uint32_t *pick, size_t n, const float *codebook, size_t k,
                          uint16_t *codes) {
    size_t dim = set->dim;
    assigning a = {.set = set, .pick = pick, .n = n, .k = k, .codes = codes};
    a.chunk = PITH_MAX(SCORES / k, 16u);
    a.per_job = a.chunk * 16;
    a.entries = pith_alloc(set->ctx, k * 2 * dim * sizeof *a.entries);
    if (!a.entries) return pith_alloc_status(set->ctx);
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < dim; j++) {
            float c = codebook[i * dim + j];
            a.entries[i * 2 * dim + j] = -2 * c;
            a.entries[i * 2 * dim + dim + j] = c * c;
        }
    pith_status status = pith_parallel(set->ctx, (n + a.per_job - 1) / a.per_job, assign_part, &a);
    pith_free(set->ctx, a.entries);
    return status;
}

pith_status vq_assign(const vq_set *set, const float *codebook, size_t k, uint16_t *codes) {
    return assign(set, NULL, set->n, codebook, k, codes);
}

static double distance(const float *x, const float *c, const float *h, size_t dim) {
    double sum = 0;
    for (size_t j = 0; j < dim; j++) {
        double d = (double)x[j] - (double)c[j];
        sum += h ? d * d * (double)h[j] : d * d;
    }
    return sum;
}

static double uniform(uint64_t *state) { return (double)(vectors_random(state) >> 11) * 0x1p-53; }

/* n different numbers below `of`, in a random order; all when n == of. */
static void draw(uint32_t *pick, size_t n, size_t of, uint64_t *state) {
    for (size_t i = 0; i < n; i++) { /* Floyd's way would need a set; a random stride through all is enough */
        size_t low = (size_t)((double)i / (double)n * (double)of),
               high = (size_t)((double)(i + 1) / (double)n * (double)of);
        pick[i] = (uint32_t)(low + vectors_random(state) % PITH_MAX(high - low, 1u));
    }
}

/* k-means++ on m picked vectors: each next entry is one of them, chosen by its cost so far. */
static pith_status plus_plus(const vq_set *set, const uint32_t *pick, size_t m, size_t k, uint64_t *state,
                             float *codebook) {
    size_t dim = set->dim;
    float *cost = pith_alloc(set->ctx, m * sizeof *cost), *x = pith_alloc(set->ctx, m * dim * sizeof *x),
          *h = pith_alloc(set->ctx, m * dim * sizeof *h), *sum = pith_alloc(set->ctx, m * sizeof *sum);
    pith_status status = cost && x && h && sum ? PITH_OK : pith_alloc_status(set->ctx);
    for (size_t i = 0; !status && i < m; i++) { /* by coordinates: the loop over vectors is the inner one */
        const float *xi = set->x + pick[i] * dim, *hi = costs_of(set, pick[i]);
        for (size_t j = 0; j < dim; j++) {
            x[j * m + i] = xi[j];
            h[j * m + i] = hi ? hi[j] : 1;
        }
        cost[i] = 3.4e38f;
    }
    size_t next = status ? 0 : vectors_random(state) % m;
    for (size_t c = 0; !status && c < k; c++) {
        const float *entry = set->x + pick[next] * dim;
        memcpy(codebook + c * dim, entry, dim * sizeof *entry);
        memset(sum, 0, m * sizeof *sum);
        for (size_t j = 0; j < dim; j++)
            for (size_t i = 0; i < m; i++) {
                float d = x[j * m + i] - entry[j];
                sum[i] += d * d * h[j * m + i];
            }
        double total = 0;
        for (size_t i = 0; i < m; i++) {
            cost[i] = sum[i] < cost[i] ? sum[i] : cost[i];
            total += (double)cost[i];
        }
        double left = uniform(state) * total;
        next = 0;
        while (next + 1 < m && (left -= (double)cost[next]) >= 0) next++;
        if (!(total > 0)) next = vectors_random(state) % m;
    }
    pith_free(set->ctx, cost);
    pith_free(set->ctx, x);
    pith_free(set->ctx, h);
    pith_free(set->ctx, sum);
    return status;
}

typedef struct lloyd {
    const vq_set *set;
    const uint32_t *pick;
    size_t n, k;
    uint16_t *codes;
    double *above, *below; /* [k][dim]: sums of h x and of h */
    float *codebook;
} lloyd;

/* Entries become the weighted means of their vectors; those without any move to the vectors that cost most. The loss
 * before the move is returned. */
static double lloyd_move(lloyd *s) {
    const vq_set *set = s->set;
    size_t dim = set->dim;
    double loss = 0, worst = -1;
    size_t at = 0;
    memset(s->above, 0, s->k * dim * sizeof *s->above);
    memset(s->below, 0, s->k * dim * sizeof *s->below);
    for (size_t i = 0; i < s->n; i++) {
        const float *x = set->x + s->pick[i] * dim, *h = costs_of(set, s->pick[i]);
        double *above = s->above + s->codes[i] * dim, *below = s->below + s->codes[i] * dim,
               cost = distance(x, s->codebook + s->codes[i] * dim, h, dim);
        for (size_t j = 0; j < dim; j++) {
            double weight = h ? (double)h[j] : 1;
            above[j] += weight * (double)x[j];
            below[j] += weight;
        }
        loss += cost;
        if (cost > worst) {
            worst = cost;
            at = i;
        }
    }
    for (size_t c = 0; c < s->k; c++) {
        bool used = false;
        for (size_t j = 0; j < dim; j++) used = used || s->below[c * dim + j] > 0;
        for (size_t j = 0; j < dim; j++)
            if (s->below[c * dim + j] > 0)
                s->codebook[c * dim + j] = (float)(s->above[c * dim + j] / s->below[c * dim + j]);
        if (used) continue;
        memcpy(s->codebook + c * dim, set->x + s->pick[at] * dim, dim * sizeof *s->codebook);
        at = (at + s->n / s->k + 1) % s->n;
    }
    return loss;
}

pith_status vq_fit(const vq_set *set, size_t k, unsigned iterations, uint64_t seed, float *codebook) {
    pith_ctx *ctx = set->ctx;
    size_t n = PITH_MIN(set->n, k * PER_ENTRY), m = k > SEEDS_MOST ? k : PITH_MIN(set->n, k * SEEDS_PER_ENTRY);
    uint64_t state = seed ^ 0x5651u;
    lloyd s = {.set = set, .n = n, .k = k, .codebook = codebook};
    uint32_t *pick = pith_alloc(ctx, PITH_MAX(n, m) * sizeof *pick);
    s.codes = pith_alloc(ctx, n * sizeof *s.codes);
    s.above = pith_alloc(ctx, k * set->dim * sizeof *s.above);
    s.below = pith_alloc(ctx, k * set->dim * sizeof *s.below);
    pith_status status = pick && s.codes && s.above && s.below ? PITH_OK : pith_alloc_status(ctx);
    if (!status) draw(pick, m, set->n, &state);
    if (!status && k > SEEDS_MOST)
        for (size_t c = 0; c < k; c++)
            memcpy(codebook + c * set->dim, set->x + pick[c] * set->dim, set->dim * sizeof *codebook);
    else if (!status)
        status = plus_plus(set, pick, m, k, &state, codebook);
    if (!status) draw(pick, n, set->n, &state);
    s.pick = pick;
    double last = 0;
    for (unsigned i = 0; !status && i < iterations; i++) {
        status = assign(set, pick, n, codebook, k, s.codes);
        if (status) break;
        double loss = lloyd_move(&s);
        if (i && last - loss <= 1e-4 * last) break;
        last = loss;
    }
    pith_free(ctx, pick);
    pith_free(ctx, s.codes);
    pith_free(ctx, s.above);
    pith_free(ctx, s.below);
    return status;
}
