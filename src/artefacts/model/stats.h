/* Statistics of the inputs of a model's weight matrices over a calibration text: what encoders take to know which
 * weights matter. One file per model and text, made in few passes over the text and read by every recipe.
 *
 * The file is GGUF, and llama.cpp's importance matrix at the same time (general.type = "imatrix"):
 *   NAME.in_sum2   F32 [cols, parts]  sum of x_j^2 over tokens, for the matrix called NAME (parts: experts, else 1)
 *   NAME.counts    F32 [1, parts]     tokens
 *   NAME.in_sum    F32 [cols, parts]  sum of x_j
 * and what is ours:
 *   OWNER.gram     F32 [cols (cols + 1) / 2]  mean of x x^T, lower triangle by rows; matrices that read the same
 *                                             input (q, k, v; gate, up) share that of the first of them
 *   pith.block_influence  F32 [layers]  1 - mean cosine of a layer's input and output (ShortGPT's BI, 2024)
 *   pith.tokens    F32 [tokens, 2]  mean p (1 - p) of each token over all predictions, and its share of the text: what
 *                                   errors in its row of the output matrix, and of the embedding, count
 *   pith.nats      F32 [2]  mean -ln p of the text's tokens, and how many
 *   pith.checks    I64 [1 + Grams]  XXH3-64 of the data before the first Gram, then of each Gram; 0: not there yet
 * with the keys imatrix.{datasets,chunk_count,chunk_size} and
 *   pith.stats.model, .tokens   XXH3-128 of the model file and of the token ids, in hexadecimal
 *   pith.stats.texts            XXH3-64 of each text, in hexadecimal: to tell calibration from evaluation
 *   pith.stats.names, .owners   matrices, and for each the number of that which owns its Gram
 * The experts of a stack have entries of their own (parts), over the tokens that are sent to them, and no Gram.
 * Means of y = W x and covariances of outputs need no entries of their own: they are W mean(x) and W H W^T. */
#ifndef ARTEFACTS_MODEL_STATS_H
#define ARTEFACTS_MODEL_STATS_H

#include "kernels/represent/represent.h"
#include "lm/lm.h"

/* ---- reading (stats.c, stats_read.c, stats_dat.c) ------------------------------------------------ */

typedef struct model_stats model_stats;

/* One matrix, or one expert's part of a stack of them. */
typedef struct model_stats_entry {
    const char *name;   /* of the tensor */
    uint32_t parts;     /* experts; 1 for plain matrices */
    size_t cols;        /* inputs */
    const float *h;     /* [parts][cols] mean of x_j^2; 1 throughout a part that no token reached */
    const float *mean;  /* [parts][cols] mean of x_j; NULL when the file does not say */
    const double *seen; /* [parts] tokens; of a .dat file calls */
    bool has_gram;
} model_stats_entry;

/* Reads a file made here, llama.cpp's importance matrix (GGUF), or its older .dat. Shapes, counts and sums are
 * checked (no NaN, nothing below zero); Gram matrices stay in the mapped file until asked for. PITH_E_FORMAT names
 * the entry that is wrong, and a file that is no statistics at all. */
pith_status model_stats_open(pith_ctx *ctx, const char *path, model_stats **out);
/* The same from memory that outlives it. */
pith_status model_stats_open_memory(pith_ctx *ctx, const uint8_t *data, size_t size, model_stats **out);
void model_stats_close(pith_ctx *ctx, model_stats *s);

size_t model_stats_count(const model_stats *s);
const model_stats_entry *model_stats_at(const model_stats *s, size_t i);
const model_stats_entry *model_stats_entry_of(const model_stats *s, const char *name); /* NULL: none */

/* What is known of the inputs of tensor `name` (part `part` of it), for a matrix of `cols` inputs. *out is all NULL
 * when there is nothing; its pointers live as long as s. A Gram matrix is looked through before it is given out:
 * PITH_E_FORMAT when it is not finite or has a diagonal below zero, PITH_E_ARGUMENT when cols differ. Any thread. */
pith_status model_stats_find(pith_ctx *ctx, const model_stats *s, const char *name, uint32_t part, size_t cols,
                             repr_stats *out);

typedef struct model_stats_about {
    bool ours;             /* gathered by pith, not an importance matrix of another program */
    uint32_t chunk_tokens; /* 0 when unknown */
    uint64_t chunks;       /* the same */
    double nats;           /* mean -ln p of the text under the model; 0 when unknown */
    double tokens_scored;
    const float *influence; /* [n_influence] block influence of each layer; NULL when unknown */
    size_t n_influence;
    char model_hash[33]; /* "" when unknown */
    char tokens_hash[33];
    const meta_value *datasets; /* array of strings, or NULL */
    const meta_value *texts;    /* hashes of texts, array of strings, or NULL */
} model_stats_about;
const model_stats_about *model_stats_info(const model_stats *s);
/* Whether a text was part of what the statistics were gathered from. */
bool model_stats_saw(const model_stats *s, const void *text, size_t size);

/* ---- writing in llama.cpp's formats (stats_write.c) ------------------------------------------------ */

typedef enum model_stats_format { MODEL_STATS_OWN, MODEL_STATS_IMATRIX, MODEL_STATS_DAT } model_stats_format;
/* "stats", "imatrix", "dat" */
bool model_stats_format_named(const char *name, model_stats_format *out);
/* Without Gram matrices. PITH_E_ARGUMENT for MODEL_STATS_OWN: that is what gathering writes. */
pith_status model_stats_write(pith_ctx *ctx, const model_stats *s, model_stats_format format, tensor_write_fn write,
                              void *opaque);

/* ---- gathering (stats_gather.c, stats_head.c, stats_file.c, stats_text.c) ---- */

typedef struct model_stats_text {
    const char *name; /* for imatrix.datasets */
    const void *data;
    size_t size;
    const uint32_t *ids; /* [n_ids] its tokens, for models without a tokenizer; NULL: data is tokenised */
    size_t n_ids;
} model_stats_text;

typedef struct model_stats_options {
    uint32_t n_ctx;    /* tokens a chunk; 0: 512, or less where the model has less */
    uint64_t n_tokens; /* at most, in whole chunks; 0: all there are */
    uint32_t n_threads;
    bool no_gram;   /* h and means alone */
    bool no_output; /* leave out the output matrix */
    bool restart;   /* forget an unfinished file instead of going on or refusing */
} model_stats_options;

typedef struct model_stats_result {
    uint64_t n_tokens, n_chunks;
    uint32_t n_matrices, n_grams;
    uint32_t passes, grams_found; /* over the text in this run; Grams an earlier run had finished */
    uint64_t bytes;               /* of the file */
    double nats;                  /* mean -ln p of the text's tokens */
} model_stats_result;

/* Text of about n_tokens that the model says itself, at temperature 1 from its start token, for when there is none to
 * calibrate on (data-free calibration: Z. Liu et al., LLM-QAT, 2023). The same for the same seed. Appends to out. */
pith_status model_stats_own_text(pith_ctx *ctx, const lm_model *m, uint64_t n_tokens, uint64_t seed, uint32_t n_threads,
                                 pith_buffer *out);

/* Runs the model over the texts, one behind the other in chunks of n_ctx tokens as perplexity takes them, and leaves
 * the statistics in `path`. Gram matrices are summed in doubles; as many at a time as fit the session's memory, so
 * that there are as many passes over the text as it takes (result->passes). What is finished lies in `path`.part,
 * from which a later call with the same model, text and options goes on: PITH_E_ARGUMENT when that file belongs to
 * others or is being written. Ticks by tokens over all passes. */
pith_status model_stats_gather(pith_ctx *ctx, const lm_model *m, const model_stats_text *texts, size_t n_texts,
                               const model_stats_options *options, const char *path, model_stats_result *result);

#endif
