/* predict: the probability of the next symbol, then arithmetic coding. The room's door.
 *
 * Everything here decodes to the same bytes on every machine, instruction set and thread
 * count: integers only, except the SSM, whose floats keep math/'s fixed order. */
#ifndef PREDICT_PREDICT_H
#define PREDICT_PREDICT_H

#include "base/base.h"
#include "kernels/predict/rc.h" /* the range coder itself, for loops that code bit by bit */

/* ---- a predictor of bytes, bit by bit ------------------------------------ */

/* One interface behind every model. `p` is the probability that the next bit is 1 in
 * 1/65536ths, 1..65535; bits come most significant first. */
typedef struct predictor predictor;
typedef struct predictor_ops {
    const char *name;
    unsigned (*p)(predictor *);
    void (*update)(predictor *, unsigned bit);
    pith_status (*reset)(predictor *); /* back to the start */
    /* Snapshot of the whole state, so that conditional code lengths cost only their own
     * bytes: copies into / from a predictor of the same parameters. */
    pith_status (*copy)(predictor *dst, const predictor *src);
    void (*free)(predictor *);
} predictor_ops;
struct predictor {
    const predictor_ops *ops;
    pith_ctx *ctx;
};

/* Code length in bits of data[n] under p, which learns as it goes (bits, not bytes). */
double predictor_codelen(predictor *p, const uint8_t *data, size_t n);

/* ---- context mixing (cm.c) ------------------------------------------------- */

typedef enum cm_inputs { CM_SMALL, CM_LARGE } cm_inputs; /* about 10 and about 42 models mixed */
typedef struct cm_params {
    cm_inputs inputs;
    unsigned ssm_width;      /* 0: none; else an online state-space model of that width joins in (large only) */
    unsigned record;         /* width of fixed-width records, 2..65535 bytes; 0 when there are none */
    const uint8_t *primer;   /* text both sides learn first, not owned; may be NULL */
    size_t primer_n;
    bool no_fields;          /* lines' fields and their likes above are no contexts; to measure what they are worth */
} cm_params;
/* Bytes at the end of the primer that the state-space model hears too; it is slow. */
#define CM_SSM_PRIMER ((size_t)24 << 10)
/* Memory in bytes that coding n bytes takes. */
uint64_t cm_memory(const cm_params *, size_t n);
/* src[n] into at most cap bytes; *out_n is the size, SIZE_MAX when it does not fit. Coding looks now and then
 * whether the session is cancelled: PITH_E_CANCELLED. */
pith_status cm_encode(pith_ctx *, const cm_params *, const uint8_t *src, size_t n, uint8_t *dst, size_t cap,
                      size_t *out_n);
/* Exactly n bytes from all of src[src_n]; PITH_E_FORMAT when they do not end together. */
pith_status cm_decode(pith_ctx *, const cm_params *, const uint8_t *src, size_t src_n, uint8_t *dst, size_t n);
/* The same model as a predictor of up to max_bytes bytes. */
pith_status cm_predictor_new(pith_ctx *, const cm_params *, size_t max_bytes, predictor **);

/* ---- online selective state-space byte model (ssm.c) ---------------------- */

/* It starts knowing nothing and learns from every byte; no weights are needed. */
typedef struct ssm ssm;
typedef struct ssm_params {
    unsigned width;    /* model width d, 16..256, a multiple of 16 */
    unsigned layers;   /* state-space layers, 0..4 */
    unsigned state;    /* state size per channel, 1..64; there are 2 d channels */
    unsigned chunk;    /* bytes between optimiser steps, 1..256; gradients reach back as far */
    unsigned row_bits; /* 2^row_bits rows of d floats for hashed contexts, 8..24 */
} ssm_params;
/* Good for a file of n bytes at level 9: 73 MB at most, less for small n. */
ssm_params ssm_params_for(uint64_t n_bytes);
/* Bytes of memory; 0 for parameters that make no sense. */
uint64_t ssm_memory(const ssm_params *);
pith_status ssm_new(pith_ctx *, const ssm_params *, ssm **);
void ssm_free(ssm *);
/* dst becomes as src is; both of the same parameters. */
void ssm_copy(ssm *dst, const ssm *src);
/* Probabilities of the next byte in 1/2^22ths, every one >= 1, not normalised exactly: their
 * sum is 2^22 - 256 to 2^22 + 512, and callers halve sums of them. Valid until the next ssm_update. */
const uint32_t *ssm_predict(ssm *); /* [256] */
void ssm_update(ssm *, uint8_t byte);

/* ---- symbols of any alphabet, by distributions handed in (pmf_coder.c) ------- */

/* Codes symbols 0 .. n_symbols - 1 by a distribution that the caller computes before each, and
 * single bits by a probability, into one stream of the range coder. */
typedef struct pmf_coder pmf_coder;
/* n_symbols 1 .. 2^24. */
pith_status pmf_coder_new(pith_ctx *, size_t n_symbols, pmf_coder **);
void pmf_coder_free(pith_ctx *, pmf_coder *);
/* Bytes a coder takes. */
uint64_t pmf_coder_memory(size_t n_symbols);
/* p[n_symbols], none negative, sum about 1; equal floats give equal codes on every machine. No
 * symbol gets less than 2^-31 or so: a NaN or a sum far from 1 costs size, never exactness. */
void pmf_coder_set(pmf_coder *, const float *p);
void pmf_coder_encode(pmf_coder *, uint8_t *dst, size_t cap); /* starts a stream */
void pmf_coder_put(pmf_coder *, uint32_t symbol);
void pmf_coder_put_bit(pmf_coder *, unsigned p16, unsigned bit); /* p16: of a 1, 1..65535 */
/* Ends it: its size, SIZE_MAX when it did not fit. */
size_t pmf_coder_finish(pmf_coder *);
void pmf_coder_decode(pmf_coder *, const uint8_t *src, size_t n); /* starts reading one; n bytes must stay */
uint32_t pmf_coder_get(pmf_coder *);
unsigned pmf_coder_get_bit(pmf_coder *, unsigned p16);
/* Whether all of the stream has been read; ask when the last symbol is. */
bool pmf_coder_end(const pmf_coder *);

/* ---- suffix tree: what followed the same tokens before (suffix_tree.c) ---------- */

/* Exact counts of every string of up to `depth` tokens among the last `capacity` tokens. */
typedef struct suffix_tree suffix_tree;
/* Bytes it takes, all of them at the start; 0 unless depth is 1..255 and capacity 2*depth..2^28. */
uint64_t suffix_tree_memory(unsigned depth, size_t capacity);
pith_status suffix_tree_new(pith_ctx *, unsigned depth, size_t capacity, suffix_tree **);
void suffix_tree_free(pith_ctx *, suffix_tree *); /* NULL is fine */
void suffix_tree_clear(suffix_tree *);
/* One more token, below UINT32_MAX; when it is full, the oldest goes. */
void suffix_tree_append(suffix_tree *, uint32_t token);
/* Ends a sequence: no string reaches over it. Takes the room of one token. */
void suffix_tree_end(suffix_tree *);
uint32_t suffix_tree_count(const suffix_tree *, const uint32_t *tokens, size_t n);
/* Tokens held, ends of sequences included. */
uint32_t suffix_tree_tokens(const suffix_tree *);

#define SUFFIX_DRAFT_MOST 64
typedef struct suffix_rule {
    unsigned max_tokens;   /* SUFFIX_DRAFT_MOST at most */
    float factor, offset;  /* after m equal tokens at most factor * m + offset are drafted */
    float min_probability; /* the draft ends where the product of count ratios falls below */
} suffix_rule;
typedef struct suffix_draft {
    uint32_t n, matched; /* tokens; length of the context that led to them */
    double score;        /* the sum of p[] */
    uint32_t token[SUFFIX_DRAFT_MOST];
    float p[SUFFIX_DRAFT_MOST];
} suffix_draft;
/* What may follow context[n_context] (NULL: the sequence that is being appended): from every
 * suffix of it, the most frequent way on; among equal counts the latest. The one with the
 * highest score, the longest context among equals. */
void suffix_tree_draft(suffix_tree *, const uint32_t *context, size_t n_context, const suffix_rule *, suffix_draft *);

/* ---- latent labels of a table (latent.c) ------------------------------------ */

#define LATENT_MAX 16
/* Labels below k_rows and k_columns for the rows and columns of a[m][n], by k-means over its `rank` leading singular
 * vectors, the mean taken off; all three 1..LATENT_MAX. The same labels every time on one machine. */
pith_status latent_cluster(pith_ctx *, const float *a, size_t m, size_t n, unsigned rank, unsigned k_rows,
                           unsigned k_columns, uint8_t *row_label, uint8_t *column_label);

/* ---- bwt coder: the output of a Burrows-Wheeler transform (bwt_coder.c) ---- */

/* Codes symbols[n] into at most cap bytes; *out_n is the size, SIZE_MAX when it does not fit. */
pith_status bwt_coder_encode(pith_ctx *, const uint8_t *symbols, size_t n, uint8_t *dst, size_t cap, size_t *out_n);
/* Decodes exactly symbols_n symbols from all of src[n]; PITH_E_FORMAT when bytes are left over. */
pith_status bwt_coder_decode(pith_ctx *, const uint8_t *src, size_t n, uint8_t *symbols, size_t symbols_n);
/* Working memory of either, in bytes. */
uint64_t bwt_coder_memory(void);

/* ---- lzp: removal of long repeats (lzp.c) ---------------------------------- */

/* Splits src[n] (n < 2^32) into literals[<= n] and a coded list of the repeats of at least
 * min_length >= 1 bytes, in at most cap bytes; *tokens_n is its size, SIZE_MAX when it does not fit. */
pith_status lzp_encode(pith_ctx *, uint32_t min_length, const uint8_t *src, size_t n, uint8_t *literals,
                       size_t *literals_n, uint8_t *tokens, size_t cap, size_t *tokens_n);
/* The inverse; PITH_E_FORMAT unless all literals and tokens give exactly n bytes. */
pith_status lzp_decode(pith_ctx *, uint32_t min_length, const uint8_t *literals, size_t literals_n,
                       const uint8_t *tokens, size_t tokens_n, uint8_t *dst, size_t n);
/* Working memory of either, in bytes. */
uint64_t lzp_memory(size_t n);

#endif
