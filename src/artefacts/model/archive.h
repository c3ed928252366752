/* One archive for a whole model file (GGUF, safetensors, NumPy, llama2.c, rwkv.cpp), docs/format.md, "Model archive".
 *
 * The file is cut into its tensors and the rest (head, padding, gaps). The rest is exact always. A tensor is
 *   exact   its bytes in pieces, each coded by what suits its type: the file comes back byte for byte;
 *   same    as an earlier tensor, stored once;
 *   coded   by a rule of a recipe (kernels/represent): matrices come back as near as the recipe keeps them.
 * Every piece has a hash of what it decodes to; the index stands last, so that one tensor can be read alone. */
#ifndef MODEL_ARCHIVE_H
#define MODEL_ARCHIVE_H

#include "base/registry.h"
#include "formats/tensors/tensors.h"
#include "kernels/represent/represent.h"

typedef enum archive_coding {
    ARCHIVE_STORED,  /* the bytes */
    ARCHIVE_PLANES,  /* repr_floats_encode by the tensor's type */
    ARCHIVE_ZSTD,    /* one zstd frame */
    ARCHIVE_COLUMNS, /* blocks transposed: the bytes at each place of a block together, each such column as planes */
    ARCHIVE_CODINGS
} archive_coding;

typedef enum archive_mode { ARCHIVE_EXACT, ARCHIVE_SAME, ARCHIVE_CODED } archive_mode;

#define ARCHIVE_REST SIZE_MAX
#define ARCHIVE_NO_RULE SIZE_MAX
typedef struct archive_piece {
    size_t tensor;         /* whose, or ARCHIVE_REST */
    size_t rule;           /* of a coded matrix: number in the recipe; ARCHIVE_NO_RULE: exact bytes */
    uint64_t at;           /* byte in the tensor or the rest; of a coded matrix its number */
    uint64_t raw_n;        /* bytes it decodes to; of a coded matrix as F32 */
    uint64_t offset;       /* in the archive */
    uint64_t coded_n, hash; /* XXH3-64 of the raw bytes */
    archive_coding coding; /* not of coded matrices */
} archive_piece;

typedef struct archive_tensor {
    meta_string name;
    tensor_type type; /* in the original */
    uint32_t n_dims;
    uint64_t ne[TENSOR_MAX_DIMS];
    uint64_t n_elements, bytes;
    uint64_t gap; /* bytes of the rest that stand before it in the original */
    archive_mode mode;
    size_t rule;  /* of ARCHIVE_CODED: number in the recipe; ARCHIVE_NO_RULE: its matrices have rules of their own, or
                   * none and are exact */
    size_t like;  /* of ARCHIVE_SAME: number of the tensor it equals, which is not ARCHIVE_SAME */
    size_t first_piece, n_pieces;
} archive_tensor;

typedef struct archive_index {
    uint64_t original_n, original_hash; /* bytes and XXH3-64 of the file it was made from */
    bool lossy;                         /* some tensor is coded */
    uint64_t rest_n;                    /* bytes of the rest */
    size_t n_rest_pieces;               /* the first of the pieces */
    archive_piece *pieces;              /* in the order of the archive */
    size_t n_pieces;
    archive_tensor *tensors; /* in the order of their data in the original */
    size_t n_tensors;
    char *recipe; /* canonical text, not ended by NUL; NULL without */
    size_t recipe_n;
    uint8_t *names; /* what the names point into, when read */
} archive_index;

/* ---- writing ------------------------------------------------------------------------------------------- */

/* What a recipe lost. */
typedef struct archive_loss {
    uint64_t weights;      /* that it coded, each stored tensor once */
    double weights_error;  /* sum (w - r)^2 / sum w^2 over all of them */
    double outputs_error;  /* E |Wx - Rx|^2 / E |Wx|^2, the mean over weights with statistics, from up to ARCHIVE_LOSS_ROWS
                            * rows of each matrix; NAN when there are none */
    double worst_error;    /* the largest weights_error of one tensor's matrix, and its name */
    char worst[64];
} archive_loss;
#define ARCHIVE_LOSS_ROWS 32

typedef struct archive_options {
    const char *recipe; /* NULL: everything exact */
    const struct model_stats *stats; /* of the inputs of matrices (stats.h); NULL: none */
    archive_loss *loss; /* filled; NULL: not wanted */
} archive_options;

/* Whether the rules of a recipe suit a model: one rule for all tensors, or rules with patterns. */
pith_status archive_recipe(pith_ctx *ctx, const char *text, size_t size, pith_recipe **recipe);
/* The archive of the model file data[size] through `write`. Memory: some pieces per thread, and of matrices that a
 * recipe codes a few copies. Depends on data, options and version only. */
pith_status archive_write(pith_ctx *ctx, const uint8_t *data, size_t size, const archive_options *options,
                          tensor_write_fn write, void *opaque);

/* ---- reading -------------------------------------------------------------------------------------------- */

typedef struct model_archive model_archive;
/* Whether these first bytes begin a model archive. */
bool archive_magic(const uint8_t *data, size_t n);
#define ARCHIVE_MAGIC_BYTES 8
/* Reads header and index, checks both, decodes nothing. max_seconds as in pith_decode_options. */
pith_status archive_open(pith_ctx *ctx, const char *path, double max_seconds, model_archive **out);
/* From bytes that outlive it. */
pith_status archive_open_memory(pith_ctx *ctx, const uint8_t *data, size_t size, double max_seconds,
                                model_archive **out);
void archive_close(pith_ctx *ctx, model_archive *a);
const archive_index *archive_about(const model_archive *a);
uint64_t archive_bytes(const model_archive *a);
/* The rule of a coded tensor, of the first coded matrix where they differ; NULL when it is none. */
const pith_recipe_rule *archive_rule(const model_archive *a, size_t tensor);
/* Rule number `rule` of the recipe of a lossy archive. */
const pith_recipe_rule *archive_rule_at(const model_archive *a, size_t rule);
/* SIZE_MAX when there is none. */
size_t archive_find(const model_archive *a, const char *name, size_t name_n);

/* Tensor i as floats, all of them, in parallel. levels: of stacks, 0: all. */
pith_status archive_floats(pith_ctx *ctx, model_archive *a, size_t i, unsigned levels, float *out);
/* Tensor i in the original's type: its bytes, or coded ones encoded again (PITH_E_UNSUPPORTED for types without an
 * encoder). */
pith_status archive_tensor_bytes(pith_ctx *ctx, model_archive *a, size_t i, unsigned levels, uint8_t *out);
/* The rest; rest_n bytes. */
pith_status archive_rest(pith_ctx *ctx, model_archive *a, uint8_t *out);

/* How a whole file is restored. Zero: all levels, types of the original. */
typedef struct archive_wish {
    const tensor_type_info *type; /* coded tensors in this type; rows that are no multiple of its block in F16. NULL: in
                                   * the original's */
    const uint16_t *levels;       /* [n_tensors] of the stacks of each (archive_prefix), 0: all; NULL: all of all */
    repr_parts *parts;            /* what the bytes of coded tensors are is added; NULL: not wanted */
} archive_wish;
/* Whether coded tensors can be written in a type. */
bool archive_writes(tensor_type type);
/* Some coded tensor was of a type that cannot be written; NULL: none. */
const tensor_type_info *archive_unwritten(const model_archive *a);
/* The whole file through `write`, laid out as the original (`type` is not looked at); the original byte for byte unless
 * the archive is lossy, checked by its hash. write = NULL: decodes and checks. wish may be NULL. */
pith_status archive_restore(pith_ctx *ctx, model_archive *a, const archive_wish *wish, tensor_write_fn write,
                            void *opaque);
/* The same model with coded tensors in wish->type (not NULL), as a new file of the original's format: GGUF, where that
 * also goes into general.file_type, or safetensors (F32, F16, BF16). PITH_E_UNSUPPORTED for others; PITH_E_CHECK when a
 * weight is too large for the type. */
pith_status archive_export(pith_ctx *ctx, model_archive *a, const archive_wish *wish, tensor_write_fn write,
                           void *opaque);
/* The levels of all stacks that so many bytes of archive hold: of each tensor the first, then the second, ..., tensors
 * in order, as long as the next one fits. levels[n_tensors], 0 for tensors without. */
typedef struct archive_prefix_info {
    uint64_t bytes;              /* of the archive that are needed */
    uint64_t whole, least;       /* for all levels; for the first alone */
    uint64_t stacks;             /* tensors that are stacks; 0: nothing to choose */
    unsigned fewest, most, of;   /* levels chosen, and the most there are */
} archive_prefix_info;
pith_status archive_prefix(pith_ctx *ctx, model_archive *a, uint64_t bytes, unsigned most, uint16_t *levels,
                           archive_prefix_info *info);
/* Adds up what the bytes of coded tensor i are, decoding it. */
pith_status archive_parts(pith_ctx *ctx, model_archive *a, size_t i, repr_parts *parts);

#endif
