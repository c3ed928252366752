/* Recipes for a table of embeddings at a given rate: numbers in fewer bits, vectors from codebooks, fewer dimensions,
 * fewer numbers, fewer rows; and some of them by how often rows occur. */
#include "faces/cli/bench_embedding.h"

#include <math.h>
#include <stdio.h>

#define SLACK 1.03 /* of a budget */

enum {
    INTEGERS,
    STEPS,
    STEPS_COUNTED,
    CODEBOOK,
    CODEBOOK_COUNTED,
    SUMS,
    LOW_RANK,
    MIXED,
    PRUNED,
    HASH,
    HASH_SUM,
    HASH_PRODUCT,
    HASH_SHORT,
    OWN_ROWS
};
const embedding_method embedding_methods[EMBEDDING_METHODS] = {
    [INTEGERS] = {"integers", false, NULL},
    [STEPS] = {"entropy-coded steps", false, NULL},
    [STEPS_COUNTED] = {"steps by frequency", true, "entropy-coded steps"},
    [CODEBOOK] = {"codebook of vectors", false, NULL},
    [CODEBOOK_COUNTED] = {"two codebooks, by frequency", true, "codebook of vectors"},
    [SUMS] = {"sums from two codebooks", false, NULL},
    [LOW_RANK] = {"low rank, 8-bit factors", false, NULL},
    [MIXED] = {"mixed dimensions, by frequency", true, "low rank, 8-bit factors"},
    [PRUNED] = {"pruned by magnitude", false, NULL},
    [HASH] = {"hash", false, NULL},
    [HASH_SUM] = {"sum of two hashes", false, NULL},
    [HASH_PRODUCT] = {"quotient x remainder", false, NULL},
    [HASH_SHORT] = {"hash, 4-bit table", false, NULL},
    [OWN_ROWS] = {"own rows for frequent, hash", true, "hash"},
};

/* The index of most bits, and the length of vectors, whose codebook included fit the rate. */
static bool codebook_for(double bits, size_t rows, size_t cols, char *text, size_t size) {
    double best = 0;
    unsigned best_dim = 0, best_k = 0;
    for (unsigned dim = 1; dim <= PITH_MIN(cols, (size_t)16); dim++)
        for (unsigned k = 1; k <= 10; k++) {
            double groups = ceil((double)cols / dim), rate = k * groups / (double)cols,
                   book = ldexp(16 * dim, (int)k) / ((double)rows * (double)cols);
            if (rate + book > bits || rate < best) continue;
            best = rate;
            best_dim = dim;
            best_k = k;
        }
    if (!best_dim) return false;
    snprintf(text, size, "vq(dim=%u, bits=%.9f, iterations=8)", best_dim, (double)best_k / best_dim);
    return true;
}

/* The same rate, the index cut in two; a scale for each row. */
static bool sums_for(double bits, size_t rows, size_t cols, char *text, size_t size) {
    double best = 0;
    unsigned best_dim = 0, best_k = 0;
    for (unsigned dim = 2; dim <= PITH_MIN(cols, (size_t)32); dim++)
        for (unsigned k = 2; k <= 8; k++) {
            double groups = ceil((double)cols / dim), rate = 2 * k * groups / (double)cols,
                   book = ldexp(32 * dim, (int)k) / ((double)rows * (double)cols) + 16 / (double)cols;
            if (rate + book > bits || rate < best) continue;
            best = rate;
            best_dim = dim;
            best_k = k;
        }
    if (!best_dim) return false;
    snprintf(text, size, "unit(row) | aq(2, %u, %u, rounds=1)", best_k, best_dim);
    return true;
}

/* Dimensions proportional to the 0.3rd power of how often a row occurs, in four bands of rows (Ginart et al. 2019). */
static bool mixed_for(double bits, size_t rows, size_t cols, char *text, size_t size) {
    static const double part[4] = {0.02, 0.08, 0.3, 0.6}, wide[4] = {1, 0.58, 0.38, 0.28};
    unsigned rank[4] = {0};
    char band[4][64];
    double room = bits * (double)rows * (double)cols / 8;
    for (double t = 0.1; t < 8 * (double)cols; t += 0.1) {
        unsigned r[4];
        double bytes = 0;
        for (int k = 0; k < 4; k++) {
            double n = part[k] * (double)rows;
            r[k] = (unsigned)fmin(floor(t * wide[k]), fmin((double)cols, n));
            bytes += r[k] ? r[k] * (n + (double)cols) + 1024 : 2 * (double)cols;
        }
        if (bytes > room) break;
        memcpy(rank, r, sizeof rank);
    }
    if (!rank[0]) return false;
    for (int k = 0; k < 4; k++) {
        if (rank[k])
            snprintf(band[k], sizeof band[k], "lowrank(rank=%u, white=none, factors=kmeans(8))", rank[k]);
        else
            snprintf(band[k], sizeof band[k], "hash(0.000001)");
    }
    snprintf(text, size, "bands(%.6f, %s, bands(%.6f, %s, bands(%.6f, %s, %s))) | ctxac", part[0], band[0],
             part[1] / (1 - part[0]), band[1], part[2] / (part[2] + part[3]), band[2], band[3]);
    return true;
}

/* What stays, as halves, and where: their number by the entropy of the positions. */
static double kept_of(double bits) {
    double low = 0, high = 1;
    for (int i = 0; i < 40; i++) {
        double p = (low + high) / 2, entropy = -p * log2(p) - (1 - p) * log2(1 - p);
        if (16 * p + 1.06 * entropy > bits)
            high = p;
        else
            low = p;
    }
    return low;
}

bool embedding_recipe(unsigned method, double bits, size_t rows, size_t cols, char *text, size_t size) {
    char a[96], b[96];
    double whole = floor(SLACK * bits - 7 / (double)cols), part = bits / 32;
    bool fine = bits > 0;
    if (!fine) return false;
    switch (method) {
    case INTEGERS:
        if (bits >= 16) return snprintf(text, size, "raw(f16)") > 0;
        return whole >= 1 &&
               snprintf(text, size, "q(%.0f, group=0, sym, fit=mse, meta=q(6, group=64))", fmin(whole, 8)) > 0;
    case STEPS: return snprintf(text, size, "step(bits=%.4f, rows=0) | ctxac", fmin(bits, 10)) > 0;
    case STEPS_COUNTED: return snprintf(text, size, "step(bits=%.4f) | ctxac", fmin(bits, 10)) > 0;
    case CODEBOOK: return codebook_for(bits, rows, cols, text, size);
    case CODEBOOK_COUNTED: /* a tenth of the rows at 2.5 times the rate of all others */
        fine = codebook_for(2.5 * bits / 1.15, rows / 10, cols, a, sizeof a) &&
               codebook_for(bits / 1.15, rows - rows / 10, cols, b, sizeof b);
        return fine && snprintf(text, size, "bands(0.1, %s, %s)", a, b) > 0;
    case SUMS: return sums_for(bits, rows, cols, text, size);
    case LOW_RANK:
        if (bits >= 16) return snprintf(text, size, "lowrank(ratio=%.5f, white=none)", fmin(bits / 16, 1)) > 0;
        return snprintf(text, size, "lowrank(ratio=%.5f, white=none, factors=kmeans(8))", fmin(bits / 8, 1)) > 0;
    case MIXED: return mixed_for(bits, rows, cols, text, size);
    case PRUNED: return snprintf(text, size, "sparse(keep=%.6f, score=magnitude)", kept_of(bits)) > 0;
    case HASH: return snprintf(text, size, "hash(%.6f)", fmin(bits / 16, 1)) > 0;
    case HASH_SUM: return snprintf(text, size, "hash(%.6f, sum)", fmin(bits / 16, 1)) > 0;
    case HASH_PRODUCT: return snprintf(text, size, "hash(%.6f, product)", fmin(bits / 16, 1)) > 0;
    case HASH_SHORT: return snprintf(text, size, "hash(%.6f, table=kmeans(4))", fmin(bits / 4, 1)) > 0;
    default:
        return snprintf(text, size, "bands(%.6f, raw(f16), hash(%.6f)) | ctxac", part, fmin(part / (1 - part), 1)) > 0;
    }
}

static pith_status code(pith_ctx *ctx, const char *text, const repr_matrix *w, const repr_stats *stats, float *restored,
                        uint64_t *bytes) {
    pith_recipe *r;
    repr_chain *chain = NULL;
    pith_buffer out = {0};
    pith_status status = pith_recipe_parse(ctx, "model", text, strlen(text), &r);
    if (status) return status;
    status = repr_chain_new(ctx, r->rules, &chain);
    if (!status) status = repr_encode(ctx, chain, w, stats, &out, restored);
    *bytes = out.size;
    pith_buffer_free(ctx, &out);
    repr_chain_free(ctx, chain);
    pith_recipe_free(ctx, r);
    return status;
}

pith_status embedding_code(pith_ctx *ctx, unsigned method, double bits, const repr_matrix *w, const float *counts,
                           float *restored, uint64_t *bytes) {
    const double numbers = (double)w->rows * (double)w->cols;
    const repr_stats told = {.outputs = counts, .n_outputs = w->rows};
    const bool any = method == STEPS || method == STEPS_COUNTED; /* comes in all sizes: as near as may be */
    double ask = bits, low = 0, high = bits;
    char text[600];
    *bytes = 0;
    for (int i = 0; i < 7; i++) {
        uint64_t n;
        if (!embedding_recipe(method, ask, w->rows, w->cols, text, sizeof text)) return PITH_OK;
        pith_status status = code(ctx, text, w, embedding_methods[method].counted ? &told : NULL, restored, &n);
        if (status) return status;
        double got = 8 * (double)n / numbers;
        if (got <= SLACK * bits && (!any || got >= 0.96 * bits || bits >= 16 || i == 6)) {
            *bytes = n;
            return PITH_OK;
        }
        if (!any && i == 3) return PITH_OK;
        if (got > SLACK * bits) {
            high = ask;
        } else {
            high = PITH_MAX(high, 1.2 * ask);
            low = ask;
        }
        ask = !any ? ask - 1.2 * (got - bits) : i == 5 ? low : (low + high) / 2;
    }
    return PITH_OK;
}
