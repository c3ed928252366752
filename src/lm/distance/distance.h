/* distance: how near texts are, by the lengths of their codes. The room's door.
 *
 * K(x) is the code length of x in bits under some coder, K(x | y) that of x for one who has read
 * y, C(xy) that of y put behind x. From them: the normalized compression distance (R. Cilibrasi
 * and P. Vitanyi, Clustering by compression, 2005), information distances with a predictor's conditional
 * lengths (C. Huang et al., Approximating human-like few-shot learning with GPT-based compression, 2023),
 * ranking, nearest neighbours, and data selection by alignment (E. Obbad et al., ZIP-FIT, 2024).
 *
 * Pairs are shared out among the threads of the session; no result depends on their number. */
#ifndef LM_DISTANCE_DISTANCE_H
#define LM_DISTANCE_DISTANCE_H

#include "lm/lm.h"

/* ---- code length (codelen.c and one file for each family of coders) ---------------------------- */

typedef enum codelen_kind {
    CODELEN_ZSTD,     /* level 19; a prior is a prefix to copy from */
    CODELEN_LZMA,     /* preset 9e without container; a prior is a preset dictionary */
    CODELEN_CM,       /* the context mixer, small */
    CODELEN_CM_LARGE, /* and large */
    CODELEN_SSM,      /* the online state-space model alone */
    CODELEN_LM        /* a language model */
} codelen_kind;
#define CODELEN_KINDS 6
const char *codelen_name(codelen_kind kind); /* "zstd", "lzma", "cm", "cm-large", "ssm", "lm" */
/* False when no kind has that name. */
bool codelen_named(const char *name, codelen_kind *kind);

typedef struct codelen_options {
    codelen_kind kind;
    const lm_model *model; /* of CODELEN_LM; must outlive every use */
    uint32_t window;       /* tokens of context, CODELEN_LM; 0: what the model was trained with */
    size_t max_bytes;      /* the longest prior and the longest text together */
} codelen_options;

/* One coder on one thread. What it has read can be read once and used for many texts: after
 * codelen_prime(y), each codelen_bits(x) costs the time of x alone with the predicting coders. */
typedef struct codelen codelen;
pith_status codelen_new(pith_ctx *ctx, const codelen_options *options, codelen **out);
void codelen_free(codelen *c); /* NULL is fine */
/* From now on lengths are K(. | prior); n 0: K(.). The prior must stay until the next call. A language
 * model keeps the end of it that fits half its window. */
pith_status codelen_prime(codelen *c, const uint8_t *prior, size_t n);
/* Bits; of the classic coders whole bytes, zstd's frame header included. */
pith_status codelen_bits(codelen *c, const uint8_t *text, size_t n, double *bits);

/* ---- many at once (matrix.c) --------------------------------------------------------------------- */

typedef struct distance_text {
    const uint8_t *data;
    size_t n;
} distance_text;

/* bits[i][j] = K(texts[j] | priors[i]), row-major [n_priors][n_texts]; priors NULL (n_priors 1): K(texts[j]).
 * Between prior and text stands a line feed where the prior does not end with one. options->max_bytes
 * is ignored: it is found from the texts. */
pith_status distance_lengths(pith_ctx *ctx, const codelen_options *options, const distance_text *priors,
                             size_t n_priors, const distance_text *texts, size_t n_texts, double *bits);
/* bits[i][j] = C(a[i] b[j]), the line feed included. */
pith_status distance_joint(pith_ctx *ctx, const codelen_options *options, const distance_text *a, size_t n_a,
                           const distance_text *b, size_t n_b, double *bits);

typedef enum distance_kind {
    DISTANCE_NCD, /* (C(xy) - min(K(x), K(y))) / max(K(x), K(y)) */
    DISTANCE_MAX, /* max(K(x|y), K(y|x)) / max(K(x), K(y)) */
    DISTANCE_SUM, /* (K(x|y) + K(y|x)) / (K(x) + K(y)) */
    DISTANCE_MIN  /* min(K(x|y), K(y|x)) / min(K(x), K(y)) */
} distance_kind;
const char *distance_name(distance_kind kind); /* "ncd", "max", "sum", "min" */
bool distance_named(const char *name, distance_kind *kind);

/* Everything about one pair, in bits. */
typedef struct distance_parts {
    double x, y;           /* K(x), K(y) */
    double x_of_y, y_of_x; /* K(x|y), K(y|x); 0 for DISTANCE_NCD */
    double joint;          /* C(xy); 0 for the others */
} distance_parts;
/* 0 for two empty texts. */
double distance_of(distance_kind kind, const distance_parts *p);

/* d[i][j] = distance of a[i] and b[j], [n_a][n_b]. b NULL: of a with itself, and n_b is n_a. */
pith_status distance_matrix(pith_ctx *ctx, const codelen_options *options, distance_kind kind, const distance_text *a,
                            size_t n_a, const distance_text *b, size_t n_b, double *d);

/* ---- what is done with them (order.c) --------------------------------------------------------------- */

/* The indices 0..n-1 by rising key (falling: `largest`), the lower index first among equals. */
pith_status distance_order(pith_ctx *ctx, const double *key, size_t n, bool largest, size_t *order);
/* The label most frequent among the k texts of smallest distance; among equals the one whose nearest is nearest.
 * labels below n_labels. */
pith_status distance_vote(pith_ctx *ctx, const double *d, const uint32_t *labels, size_t n, size_t k, uint32_t n_labels,
                          uint32_t *label);
/* Spearman's rank correlation, ties by mean rank; 0 when one side is constant. */
pith_status distance_spearman(pith_ctx *ctx, const double *a, const double *b, size_t n, double *rho);

/* ---- data selection (select.c) -------------------------------------------------------------------------- */

/* score[i] = mean over the targets of 1 - NCD(source[i], target[j]): n_source * n_target codes. */
pith_status select_alignment(pith_ctx *ctx, const codelen_options *options, const distance_text *source,
                             size_t n_source, const distance_text *target, size_t n_target, double *score);
/* score[i] = (K(source[i]) - K(source[i] | all targets)) / max(K(source[i]), mean K(target)): 2 n_source + n_target
 * codes. With coders that predict it orders much as the above does with the same coder. */
pith_status select_primed(pith_ctx *ctx, const codelen_options *options, const distance_text *source, size_t n_source,
                          const distance_text *target, size_t n_target, double *score);

/* ---- coders turned into generators (continue.c) ------------------------------------------------------------ */

/* Appends n bytes to out, each drawn from p(b | x) ~ 2^(-(C(x b) - C(x)) / temperature), x being prompt and
 * what was drawn before; temperature 0: the byte of the shortest code, the lowest value among equals. */
pith_status codelen_continue(pith_ctx *ctx, const codelen_options *options, const uint8_t *prompt, size_t prompt_n,
                             size_t n, double temperature, uint64_t seed, pith_buffer *out);

/* ---- equal-info windows (equal_info.c) ---------------------------------------------------------------------- */

/* Text cut into windows of exactly `bits` coded bits, the model and the coder starting anew in each (B. Lester et
 * al., Training LLMs over neurally compressed text, 2024). The model counts bits under the last 0 to 5 bytes; it
 * learns from `primer` and then stays as it is. Here the value v of a window stands for the longest string of whole
 * bytes whose interval contains [v, v + 1) / 2^bits; the lowest 256 values are single bytes as they are, so that every
 * text can be written. Hence decoding needs no mark of an end. */
typedef struct equal_info equal_info;
/* bits 16..64, a multiple of 8. */
pith_status equal_info_new(pith_ctx *ctx, unsigned bits, const uint8_t *primer, size_t primer_n, equal_info **out);
void equal_info_free(equal_info *e);
/* Appends windows of bits/8 bytes each, most significant byte first. */
pith_status equal_info_encode(equal_info *e, const uint8_t *text, size_t n, pith_buffer *windows);
/* Appends exactly raw_n bytes; PITH_E_FORMAT when the windows do not end together with them. */
pith_status equal_info_decode(equal_info *e, const uint8_t *windows, size_t n, size_t raw_n, pith_buffer *text);

/* ---- byte pairs merged (pairs.c) ------------------------------------------------------------------------------ */

/* Learns n_merges merges of the most frequent neighbours in train[n] (P. Gage 1994; R. Sennrich et al. 2016; the
 * lower pair of ids among equals, none seen once) and writes text as ids: 0..255 bytes, 256 + i merge i. No split into
 * words first. Appends to *ids; *n_vocab is 256 and the merges learnt. */
pith_status pairs_encode(pith_ctx *ctx, const uint8_t *train, size_t train_n, size_t n_merges, const uint8_t *text,
                         size_t n, token_list *ids, uint32_t *n_vocab);

#endif
