/* A series of checkpoints of one model in one file, each coded against the one before as it comes back.
 *
 * Exact: differences as in delta.h; every checkpoint comes back byte for byte.
 * Lossy (after "ExCP", arXiv:2406.11257, and its successors with context modelling): what a float tensor differs by
 * from the checkpoint before, as that comes back, becomes one of 2^bits - 1 levels, zero among them, by k-means; the
 * numbers of levels are coded by an adaptive arithmetic coder whose contexts are those around the same place in the
 * checkpoint before, and those to the left and above. Errors do not add up: each checkpoint makes up for those of the
 * last. The first checkpoint is exact, and so is all that is no float.
 *
 *   head   magic, version
 *   frames, one after the other: kind, bits, contexts; lengths and XXH3-128 of what comes back; body length; check;
 * body */
#ifndef MODEL_SERIES_H
#define MODEL_SERIES_H

#include "formats/tensors/tensors.h"

/* What the coder of a number of a level knows. */
typedef enum series_context {
    SERIES_ALONE, /* nothing */
    SERIES_SAME,  /* the number at the same place before */
    SERIES_AROUND /* nine around it before, the ones to the left and above now */
} series_context;

typedef struct series_options {
    bool exact;
    unsigned bits; /* of a level, 2 to 8; 0: 4 */
    series_context context;
} series_options;

typedef struct series_report {
    uint64_t bytes, coded;      /* of one checkpoint and its frame */
    uint64_t elements, changed; /* lossy: floats coded by levels, and those whose level is not zero */
    double lost;                /* |checkpoint - what comes back|^2 / |checkpoint - the one before|^2 */
    double error;               /* the root of |checkpoint - what comes back|^2 / |checkpoint|^2 */
} series_report;

typedef struct series_writer series_writer;
/* Makes a series through `write`. */
pith_status series_writer_new(pith_ctx *ctx, const series_options *options, tensor_write_fn write, void *opaque,
                              series_writer **out);
/* The next checkpoint: a model file data[size]. Holds what comes back of it in memory. */
pith_status series_writer_add(pith_ctx *ctx, series_writer *s, const uint8_t *data, size_t size, series_report *report);
void series_writer_free(pith_ctx *ctx, series_writer *s);

/* Checkpoint number i, from 0, of a series in memory, with all before it; *count: how many there are. write = NULL:
 * only checks. PITH_E_ARGUMENT when there are not so many. */
pith_status series_read(pith_ctx *ctx, const uint8_t *series, size_t n, size_t i, tensor_write_fn write, void *opaque);
pith_status series_count(pith_ctx *ctx, const uint8_t *series, size_t n, size_t *count);

#endif
