/* How far other models are from one base, over one text: perplexity, divergence, top-1 and flips, the base having
 * been read once. Log-probabilities of the base stay in memory as floats (the file that llama-perplexity keeps them in
 * rounds to 16 bits, more than a good code loses); where they do not fit, the base is read again each time. */
#ifndef ARTEFACTS_MODEL_EVALUATE_H
#define ARTEFACTS_MODEL_EVALUATE_H

#include "artefacts/model/overlay.h"
#include "artefacts/model/stats.h"
#include "lm/ruler/ruler.h"

typedef struct model_ruler model_ruler;

typedef struct model_ruler_options {
    uint32_t n_ctx;     /* tokens a chunk; 0: 512 or less */
    size_t n_chunks;    /* at most; 0: all */
    size_t n_items;     /* cloze items for flips, made of the text; 0: none */
    uint64_t seed;      /* of the items */
    uint32_t n_threads; /* 0: those of the session */
    uint64_t memory;    /* bytes for the base's logits at most; 0: half of what the session has left */
} model_ruler_options;

typedef struct model_score {
    ruler_comparison c;
    ruler_flips f;  /* all 0 without items */
    double seconds; /* processor time */
} model_score;

/* Reads `base`, which must stay open, over the text. Ticks by chunks and items. */
pith_status model_ruler_new(pith_ctx *ctx, const lm_model *base, const void *text, size_t size,
                            const model_ruler_options *options, model_ruler **out);
void model_ruler_free(pith_ctx *ctx, model_ruler *r);
/* A model of the same vocabulary. */
pith_status model_ruler_measure(pith_ctx *ctx, const model_ruler *r, const lm_model *other, model_score *out);
/* The same, and the divergence of each row: kl[model_ruler_tokens(r)], in nats. */
pith_status model_ruler_measure_rows(pith_ctx *ctx, const model_ruler *r, const lm_model *other, model_score *out,
                                     double *kl);
/* Only mean KL over the first n_chunks chunks (0: all), for searches. */
pith_status model_ruler_kl(pith_ctx *ctx, const model_ruler *r, const lm_model *other, size_t n_chunks, double *kl);

size_t model_ruler_chunks(const model_ruler *r);
size_t model_ruler_tokens(const model_ruler *r); /* that count: rows compared */
size_t model_ruler_items(const model_ruler *r);
double model_ruler_perplexity(const model_ruler *r); /* of the base */
bool model_ruler_in_memory(const model_ruler *r);
/* The base may be closed from here on; false, and it may not, when its logits are not in memory. */
bool model_ruler_forget_base(model_ruler *r);

/* Processor seconds of the process so far. */
double model_cpu_seconds(void);

/* ---- what a code makes of a model (evaluate_code.c) -------------------------------------------------- */

/* Matrices are what model_overlay_takes says, embedding and output among them, unless the recipe's patterns leave them
 * out; of a tensor with more dimensions each matrix by itself. */
typedef struct model_trial {
    size_t n_matrices;
    uint64_t weights, bytes;               /* in the matrices that were coded, and of their codes */
    uint64_t other_weights, other_bytes;   /* of all other tensors, as they are in the file */
    repr_parts parts;                      /* what the bytes of a recipe are; of blocks none */
    double error;                          /* sum (w - r)^2 / sum w^2 over all coded matrices */
    double output_error;                   /* the same weighted with h_j (1 where nothing is known) */
    double encode_seconds, decode_seconds; /* processor time */
} model_trial;

/* Codes all matrices of `base` by a recipe of the artefact "model", in parallel, checks that decoding gives what the
 * encoder said, and puts that into the overlay (of base, all matrices replaced; no model open over it); matrices that
 * no rule names become base's again. stats may be NULL. Ticks by weights. */
pith_status model_try_recipe(pith_ctx *ctx, const tensor_file *base, const pith_recipe *recipe,
                             const model_stats *stats, model_overlay *o, model_trial *out);
/* The same with blocks of a type for all matrices, or those whose names match the patterns of `only` as in a recipe, weighted by the statistics' h where they are given and the type knows weights. Rows
 * that the blocks do not divide get llama.cpp's substitute: q5_0 for q4_K and so on; f16 where none fits. */
pith_status model_try_type(pith_ctx *ctx, const tensor_file *base, tensor_type type, const char *only,
                           const model_stats *stats, model_overlay *o, model_trial *out);
/* ---- a judge: one model whose matrices are changed and changed back (evaluate_judge.c) ------------------ */

/* The dequantised base as an overlay, and a ruler made of it. */
typedef struct model_judge model_judge;
/* Floats where memory allows, else halves. PITH_E_LIMIT says how much it takes. */
pith_status model_judge_new(pith_ctx *ctx, const tensor_file *base, const void *text, size_t size,
                            const model_ruler_options *options, model_judge **out);
void model_judge_free(pith_ctx *ctx, model_judge *j);
model_overlay *model_judge_overlay(model_judge *j); /* to be changed between scores; vectors are replaced too */
const model_ruler *model_judge_ruler(const model_judge *j);
bool model_judge_halves(const model_judge *j);
/* How far what is in the overlay now is from the base. */
pith_status model_judge_score(pith_ctx *ctx, model_judge *j, model_score *out);
/* The same, and of each row: kl[model_ruler_tokens(model_judge_ruler(j))], in nats; NULL: not wanted. */
pith_status model_judge_score_rows(pith_ctx *ctx, model_judge *j, model_score *out, double *kl);

/* 8 * all bytes / all weights; the head of a file, the same for all, is not in it. */
double model_trial_bits(const model_trial *t);

#endif
