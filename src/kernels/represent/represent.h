/* Matrices of weights with fewer bits: one algebra of stages that compose.
 *
 * A chain is  transform | transform | coder | packer @ solver  (a rule of a recipe, docs/recipes.md):
 *   transform  turns the matrix into one that is easier to code, and back (hadamard, scale, norm2, perm);
 *              a transform may also lose something (prune), then it has nothing to undo;
 *   coder      turns floats into planes of small integers and a few numbers, and back (q, vq, lowrank, sparse);
 *   packer     turns planes of integers into bytes, and back (pack, huff, rans, ctxac, golomb, dict16);
 *   branch     a coder made of chains: sum(a, b): b codes what a left over; stack(n, a): a, n times over;
 *   solver     says how a coder's choices are made from statistics of the inputs (obs: error feedback).
 * Laws, which are the tests of the room (tests/kernels/represent/):
 *   1. decoding needs the bytes, the recipe and the shape: no calibration data;
 *   2. the rate is what was written, side information included;
 *   3. every coder takes statistics and does without;
 *   4. any chain can stand in a branch;
 *   5. a prefix of a stack decodes, to a coarser matrix;
 *   6. the same floats come out on every machine: decoders keep to + - * / and sqrt in a fixed order, or math/math.h.
 * W is [rows][cols] = [outputs][inputs], row-major, y = W x, as in GGUF (ne[0] = cols). */
#ifndef REPRESENT_REPRESENT_H
#define REPRESENT_REPRESENT_H

#include "base/registry.h"

typedef struct repr_matrix {
    float *data; /* [rows][cols] */
    size_t rows, cols;
} repr_matrix;

/* Of the inputs x of one matrix over the calibration text. Any pointer may be NULL; the whole may be NULL. */
typedef struct repr_stats {
    const float *h;    /* [cols] mean of x_j^2 (llama.cpp's importance matrix) */
    const float *gram; /* mean of x x^T, lower triangle by rows: (i, j <= i) at i * (i + 1) / 2 + j */
    double n_tokens;
    /* What a squared error of each output counts, where that is known to differ: of the tokens in an embedding or an
     * output matrix. Of the matrix as it is in the model: coders that find another number of rows leave it alone. */
    const float *outputs;
    size_t n_outputs;
} repr_stats;

/* Bytes of strangers, with an end. */
typedef struct repr_reader {
    const uint8_t *p, *end;
} repr_reader;
/* n bytes and past them; NULL when there are fewer. */
const uint8_t *repr_take(repr_reader *r, size_t n);
/* A varint of at most `most`; false when it is none. */
bool repr_take_number(repr_reader *r, uint64_t most, uint64_t *value);
pith_status repr_put_number(pith_ctx *ctx, pith_buffer *out, uint64_t value);
/* Says that bytes end too early; gives PITH_E_FORMAT. */
pith_status repr_cut_off(pith_ctx *ctx);

/* ---- what stages are (the implementations hang on pith_stage.impl) ------------------------------ */

/* Integers of one kind and one alphabet: what packers write. codes[n], each < alphabet <= 65536. Code number i
 * stands in row i / row of the matrix (row = n when rows mean nothing): packers may use it as context. */
typedef struct repr_plane {
    const uint16_t *codes;
    size_t n, row;
    uint32_t alphabet;
} repr_plane;

/* Where the bytes of matrices went, counted while they are decoded. */
typedef enum repr_part_kind {
    REPR_PART_CODES,  /* planes of integers: what repr_unpack read for a coder */
    REPR_PART_NUMBERS, /* all else of a coder: scales, codebooks, factors */
    REPR_PART_SIDE    /* what the inverses of transforms need; lengths of a stack's levels */
} repr_part_kind;
#define REPR_MAX_PARTS 48
typedef struct repr_parts {
    size_t n;
    struct {
        const char *stage; /* its name, from the table */
        repr_part_kind kind;
        uint64_t bytes;
    } list[REPR_MAX_PARTS]; /* parts that find no room go to the last */
} repr_parts;

typedef struct repr_job {
    pith_ctx *ctx;
    const pith_recipe_stage *args; /* of this stage; never NULL */
    const repr_stats *stats;       /* of the inputs as this stage sees them; never NULL, its members may be. Encoding only */
    const struct repr_chain *chain; /* for coders: their packer, through repr_pack and repr_unpack */
    uint64_t seed;                 /* for pseudo-random choices that both sides make: the same in both, from the recipe */
    unsigned levels;               /* decoding a stack: so many of its levels, 0: all */
    repr_parts *parts;             /* decoding: where bytes are counted, NULL: nowhere */
    const uint16_t *before;        /* packers: codes of the plane before in a series, as long; NULL: there is none */
} repr_job;

/* How a coder takes a matrix column by column, so that a solver can spread each column's error over those to come.
 * Columns come in order. All arrays are by columns: [n][rows]. */
typedef struct repr_columns {
    /* Columns that share parameters: before column j with j % group == 0, `enter` is called. 0: once, with all. */
    size_t group;
    /* Columns [first, first + n), as errors have left them, and what a squared error in each costs (1 / U_jj^2 under
     * obs, else h_j or 1): fit scales, choose what to drop. `cost` points into an array over all columns (cost - first
     * is column 0), complete when the first group is entered. May be NULL. */
    pith_status (*enter)(struct repr_columns *self, size_t first, size_t n, const float *w, const float *cost);
    /* Codes one column: out[rows] is what the decoder will have. */
    void (*code)(struct repr_columns *self, size_t column, const float *in, float *out);
    /* Writes everything. */
    pith_status (*finish)(struct repr_columns *self, pith_buffer *out);
    void (*free)(struct repr_columns *self);
} repr_columns;

typedef enum repr_kind { REPR_TRANSFORM, REPR_CODER, REPR_PACKER, REPR_SOLVER } repr_kind;

typedef struct repr_ops {
    repr_kind kind;

    /* Transforms change w in place (its shape stays) and, where they change what inputs mean, *stats: replace its
     * members by arrays from pith_alloc that the chain frees (stats->h and ->gram as given must not be written to or
     * freed). They write what inverse needs to `side`. inverse = NULL: nothing to undo. */
    pith_status (*forward)(const repr_job *job, repr_matrix *w, repr_stats *stats, pith_buffer *side);
    pith_status (*inverse)(const repr_job *job, repr_reader *side, repr_matrix *w);

    /* Coders have `encode`, or `columns`, or both (then encode is the faster way without a solver). encode leaves in
     * `restored` [rows][cols] what decode will give, bit for bit; w and restored are different arrays. `columns` looks
     * at w while it is called only: who drives the columns works in its place. */
    pith_status (*encode)(const repr_job *job, const repr_matrix *w, pith_buffer *out, float *restored);
    pith_status (*columns)(const repr_job *job, const repr_matrix *w, repr_columns **out);
    pith_status (*decode)(const repr_job *job, repr_reader *in, repr_matrix *w);

    /* Packers. unpack is told n, row and alphabet and must give codes below the alphabet or fail. */
    pith_status (*pack)(const repr_job *job, const repr_plane *plane, pith_buffer *out);
    pith_status (*unpack)(const repr_job *job, repr_reader *in, uint16_t *codes, size_t n, size_t row, uint32_t alphabet);

    /* Solvers: drive a coder's columns over w, errors fed forward. With `restored` w is room to work in and holds
     * nothing of use afterwards; without (NULL: not wanted) it is left alone. */
    pith_status (*solve)(const repr_job *job, repr_matrix *w, repr_columns *columns, float *restored);

    /* Coders made of chains: a packer or solver of theirs is that of the chains too which name none. */
    bool is_branch;
} repr_ops;

/* For coders: a plane through the chain's packer (`pack`, plain bits, when the recipe names none). */
pith_status repr_pack(const repr_job *job, const repr_plane *plane, pith_buffer *out);
pith_status repr_unpack(const repr_job *job, repr_reader *in, uint16_t *codes, size_t n, size_t row, uint32_t alphabet);
/* A plane on its own, by a packer as recipes write it ("rans", "ctxac(around=0)"). before: codes of the plane before it
 * in a series, same shape and alphabet, known to both sides, for contexts of ctxac; NULL: none. */
pith_status repr_plane_encode(pith_ctx *ctx, const char *packer, const repr_plane *plane, const uint16_t *before,
                              pith_buffer *out);
pith_status repr_plane_decode(pith_ctx *ctx, const char *packer, repr_reader *in, const uint16_t *before, uint16_t *codes,
                              size_t n, size_t row, uint32_t alphabet);
/* For stages with an argument that is a recipe: the job of the coder in it, which must be that chain's only stage
 * but a packer; its ops are inner->args->stage->impl. False when the argument is not given. PITH_E_ARGUMENT at
 * repr_chain_new is the place to refuse what does not fit, so `simple` says whether the chain is a coder alone. */
bool repr_branch_job(const repr_job *job, unsigned param, repr_job *inner, bool *simple);
/* Encodes and decodes with such an argument as a whole chain. PITH_E_ARGUMENT when it is not given. */
pith_status repr_branch_encode(const repr_job *job, unsigned param, const repr_matrix *w, pith_buffer *out,
                               float *restored);
pith_status repr_branch_decode(const repr_job *job, unsigned param, repr_reader *in, repr_matrix *w);
/* For coders: n floats as half floats (overflow is the caller's to avoid) or as they are. */
pith_status repr_put_halves(pith_ctx *ctx, pith_buffer *out, const float *values, size_t n);
bool repr_take_halves(repr_reader *r, float *values, size_t n);
pith_status repr_put_floats(pith_ctx *ctx, pith_buffer *out, const float *values, size_t n);
bool repr_take_floats(repr_reader *r, float *values, size_t n);

/* Tables of stages, each ending with a row whose name is NULL; their artefact is "model". */
extern const pith_stage represent_transforms[], represent_scalars[], represent_vectors[], represent_packers[],
    represent_branches[];

/* ---- chains (chain.c) ---------------------------------------------------------------------------- */

typedef struct repr_chain repr_chain;
/* Checks that the stages of a rule make a chain. The rule must outlive it. A rule without a coder gets `raw(f16)`;
 * after `prune` and nothing else, `sparse`. PITH_E_ARGUMENT names the column and what is wrong. The stages of the
 * artefact "model" must be registered. */
pith_status repr_chain_new(pith_ctx *ctx, const pith_recipe_rule *rule, repr_chain **out);
void repr_chain_free(pith_ctx *ctx, repr_chain *chain);

/* Appends the code of w to out. w is not changed. restored [rows][cols], may be NULL: what decoding gives. */
pith_status repr_encode(pith_ctx *ctx, const repr_chain *chain, const repr_matrix *w, const repr_stats *stats,
                        pith_buffer *out, float *restored);
/* The same, where w is not needed any more: room to work in, one copy less. restored is not NULL. */
pith_status repr_encode_over(pith_ctx *ctx, const repr_chain *chain, repr_matrix *w, const repr_stats *stats,
                             pith_buffer *out, float *restored);
/* Roughly how many times its floats encoding a matrix takes in memory, w and restored included. */
double repr_memory(const repr_chain *chain);
/* The reverse, from the front of *in, which is left after it. w->data [rows][cols] is filled. Of a stack, levels past
 * `levels` are skipped and may be cut off (0: all are read). PITH_E_FORMAT says what is wrong. */
pith_status repr_decode(pith_ctx *ctx, const repr_chain *chain, repr_reader *in, unsigned levels, repr_matrix *w);

/* The same with all levels, adding to *parts what the bytes are (not for two threads at once). */
pith_status repr_decode_parts(pith_ctx *ctx, const repr_chain *chain, repr_reader *in, repr_parts *parts,
                              repr_matrix *w);
void repr_parts_add(repr_parts *parts, const char *stage, repr_part_kind kind, uint64_t bytes);
/* How many matrices decoding makes, one after the other, for its one: a measure of its time. */
unsigned repr_chain_cost(const repr_chain *chain);
/* Levels of the chain's stack; 0 when it ends in no stack. */
#define REPR_MAX_LEVELS 64
unsigned repr_levels(const repr_chain *chain);
/* Adds to bytes[repr_levels(chain)] what each level of the stack in this code takes, its length included. */
pith_status repr_level_bytes(pith_ctx *ctx, const repr_chain *chain, repr_reader in, uint64_t *bytes);

/* sum of (w - r)^2, and tr((W - R) H (W - R)^T) when there are statistics, relative to W's own. */
typedef struct repr_error {
    double weights, outputs;
} repr_error;
pith_status repr_measure(pith_ctx *ctx, const repr_matrix *w, const float *restored, const repr_stats *stats,
                         repr_error *out);

/* ---- exact codes of floats as bytes (planes.c): the lossless half ------------------------------------- */

/* n elements of a float type (TENSOR_F32, F16, BF16 or another byte-wise type as its number) from src: the exponent
 * plane entropy-coded in pieces that decode apart, sign and mantissa as they are where nothing is to be had. Falls back to plain
 * bytes by itself. Appends to out. */
pith_status repr_floats_encode(pith_ctx *ctx, uint32_t type, const uint8_t *src, size_t bytes, pith_buffer *out);
/* The reverse: exactly `bytes` bytes. In parallel over pieces when there are threads free. */
pith_status repr_floats_decode(pith_ctx *ctx, uint32_t type, repr_reader *in, uint8_t *dst, size_t bytes);
/* The same with a base of the same type and size known to both sides: codes the difference of the bits. */
pith_status repr_delta_encode(pith_ctx *ctx, uint32_t type, const uint8_t *src, const uint8_t *base, size_t bytes,
                              pith_buffer *out);
pith_status repr_delta_decode(pith_ctx *ctx, uint32_t type, repr_reader *in, const uint8_t *base, uint8_t *dst,
                              size_t bytes);

/* ---- sparse codes of any vectors (dict_atoms_fit.c), what the stage atoms is made of ------------------------ */

#define REPR_ATOMS_NONZEROS 16
/* k atoms [k][dim] of length 1, of which each of the vectors x[n][dim] is nearly a sum of `nonzeros`: from k-means,
 * rounds of orthogonal matching pursuit and of least squares in turn. 2 <= k <= 4096, k <= n. */
pith_status repr_atoms_learn(pith_ctx *ctx, const float *x, size_t n, size_t dim, size_t k, size_t nonzeros,
                             unsigned rounds, uint64_t seed, float *atoms);
/* The atoms of each vector by pursuit, and their values by least squares: [n][nonzeros] each. */
pith_status repr_atoms_code(pith_ctx *ctx, const float *x, size_t n, size_t dim, const float *atoms, size_t k,
                            size_t nonzeros, uint16_t *index, float *value);

/* ---- blocks for other runtimes (scalar_gguf.c) --------------------------------------------------------- */

/* Blocks of a GGUF type [rows][bytes of a row], errors spread as `@ obs` does where there are statistics (damping 1 %),
 * each block on its own where there are none. cols is a multiple of the type's block. Types: Q4_0, Q4_1, Q5_0, Q5_1,
 * Q8_0, IQ4_NL and Q2_K to Q6_K; PITH_E_UNSUPPORTED for others. */
pith_status repr_gguf_blocks(pith_ctx *ctx, uint32_t type, const repr_matrix *w, const repr_stats *stats,
                             uint8_t *blocks);

#endif
