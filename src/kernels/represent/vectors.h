/* Inside the room: coders that take weights together, not one by one - products of factors, vectors from codebooks,
 * pseudo-random bases, signs. What they share, and the order of their parameters (vectors.c). */
#ifndef REPRESENT_VECTORS_H
#define REPRESENT_VECTORS_H

#include "kernels/represent/represent.h"

extern const repr_ops lowrank_ops, signlowrank_ops, svid_ops, vq_ops, additive_ops, seed_ops, dictionary_ops, atoms_ops,
    hash_ops;

enum { LOWRANK_RANK, LOWRANK_RATIO, LOWRANK_WHITE, LOWRANK_FACTORS, LOWRANK_PARAMS };
enum { SIGNLOWRANK_RANK, SIGNLOWRANK_PARAMS };
enum { SVID_RANK, SVID_BITS, SVID_REFIT, SVID_PARAMS };
enum { VQ_DIM, VQ_BITS, VQ_ITERATIONS, VQ_PARAMS };
enum { AQ_CODEBOOKS, AQ_BITS, AQ_DIM, AQ_BEAM, AQ_ROUNDS, AQ_TOLERANCE, AQ_DAMP, AQ_PARAMS };
enum { SEED_BLOCK, SEED_COEFFICIENTS, SEED_LFSR, SEED_BITS, SEED_PARAMS };
enum { DICT_KEEP, DICT_KS, DICT_RANK, DICT_NONZEROS, DICT_LAMBDA, DICT_ROUNDS, DICT_PARAMS };
enum { ATOMS_ATOMS, ATOMS_NONZEROS, ATOMS_DIM, ATOMS_BITS, ATOMS_ROUNDS, ATOMS_PARAMS };
enum { HASH_RATIO, HASH_PARTS, HASH_TABLE, HASH_PARAMS };

/* ---- what encoders share (vectors.c) ------------------------------------------------------------- */

/* PITH_E_UNSUPPORTED when a weight is not finite. */
pith_status vectors_check(const repr_job *job, const repr_matrix *w);
/* Each value becomes the half nearest to it (beyond the largest half: that one), what repr_put_halves will write. */
pith_status vectors_round(pith_ctx *ctx, float *v, size_t n);
/* Appends n values as halves: vectors_round and repr_put_halves. v is rounded. */
pith_status vectors_put(pith_ctx *ctx, pith_buffer *out, float *v, size_t n);
/* n finite halves into a new array, *v, which is the caller's, on failure too (then it may be NULL). Checks that they
 * are there before it allocates. */
pith_status vectors_take(pith_ctx *ctx, repr_reader *in, size_t n, const char *what, float **v);
/* What decode makes of out's bytes from `start` on, into restored. */
pith_status vectors_restore(const repr_job *job, pith_status (*decode)(const repr_job *, repr_reader *, repr_matrix *),
                            const pith_buffer *out, size_t start, const repr_matrix *w, float *restored);
/* Bits (true: 1) as a plane of alphabet 2 through the packer, and back: n values of 1 or -1. */
pith_status vectors_put_signs(const repr_job *job, pith_buffer *out, const float *v, size_t n, size_t row);
pith_status vectors_take_signs(const repr_job *job, repr_reader *in, float *v, size_t n, size_t row);
/* cost[cols]: mean square of each input relative to their mean, at least 1e-6 (inputs never seen); false when there
 * are no statistics: all are 1. */
bool vectors_costs(const repr_stats *stats, size_t cols, float *cost);
/* The next pseudo-random number (splitmix64); any state is a good start. */
static inline uint64_t vectors_random(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* ---- products of two factors (lowrank_fit.c) --------------------------------------------------- */

typedef enum lowrank_white { LOWRANK_NONE, LOWRANK_DIAG, LOWRANK_EIG, LOWRANK_CHOL } lowrank_white;
/* a[rows][r] b[r][cols], the product of rank r nearest to w in tr((W - AB) H (W - AB)^T), with H the identity, the
 * diagonal or all of stats as `white` says and stats has; column k of a and row k of b are equally long. */
pith_status lowrank_fit(pith_ctx *ctx, const float *w, size_t rows, size_t cols, size_t r, lowrank_white white,
                        const repr_stats *stats, float *a, float *b);
/* b = (A^T A + eps * mean diag * I)^-1 A^T W: for eps = 0 the best b for this a, whatever H is. */
pith_status lowrank_refit(pith_ctx *ctx, const float *w, size_t rows, size_t cols, size_t r, double eps, const float *a,
                          float *b);
/* Lengths of column k of a and row k of b are made equal: halves have the same room for both. */
void lowrank_balance(size_t rows, size_t cols, size_t r, float *a, float *b);
/* us[rows][r] = U diag(s) and vt[r][cols] of the r largest singular values. Randomised for few
 * of very many: then what is left is up to 1 % more than it need be. */
pith_status lowrank_svd(pith_ctx *ctx, const float *w, size_t rows, size_t cols, size_t r, float *us, float *vt);

/* S and S^-1 with S S^T = H: whole matrices, or diagonals. */
typedef struct lowrank_metric {
    size_t cols;
    bool full;
    float *s, *inverse;
} lowrank_metric;
/* As far as stats go. On failure too *out is to be freed. */
pith_status lowrank_whiten(pith_ctx *ctx, lowrank_white white, const repr_stats *stats, size_t cols,
                           lowrank_metric *out);
void lowrank_metric_free(pith_ctx *ctx, lowrank_metric *m);
/* y = x S and x = y S^-1, both [rows][cols]; different arrays. */
void lowrank_into(const lowrank_metric *m, const float *x, size_t rows, float *y);
void lowrank_back(const lowrank_metric *m, const float *y, size_t rows, float *x);
/* full[ld][ld] = H of the statistics (the diagonal alone when there is no Gram matrix), zeros past cols. */
void lowrank_gram(const repr_stats *stats, size_t cols, size_t ld, float *full);

/* ---- codebooks (vq_fit.c) ------------------------------------------------------------------------ */

/* Vectors x[n][dim]; the squared error in coordinate j of vector v costs cost[v % groups][j]. */
typedef struct vq_set {
    pith_ctx *ctx;
    const float *x, *cost;
    size_t n, dim, groups;
} vq_set;
/* codebook[k][dim], k <= 65536: weighted Lloyd from k-means++ (Arthur, Vassilvitskii 2007), on at most 32 k of them. */
pith_status vq_fit(const vq_set *set, size_t k, unsigned iterations, uint64_t seed, float *codebook);
/* codes[n]: the nearest entry, the first of equals. */
pith_status vq_assign(const vq_set *set, const float *codebook, size_t k, uint16_t *codes);
/* The index of the smallest of v[n], the first of equals; n >= 1. */
size_t vq_smallest(const float *v, size_t n);

#endif
