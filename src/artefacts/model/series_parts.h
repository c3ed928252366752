/* What the files of a series share. Private to this folder. */
#ifndef MODEL_SERIES_PARTS_H
#define MODEL_SERIES_PARTS_H

#include "artefacts/model/delta_parts.h"
#include "artefacts/model/series.h"

#define SERIES_MOST_BITS 8

/* One lossy frame being made or read: floats that continue those of the base, in the order of the frame. Numbers of
 * levels are a byte for each float of the checkpoint, 0 where nothing was coded or the level is zero. */
struct series_coder {
    unsigned bits; /* of a level */
    series_context context;
    const pith_buffer *before; /* numbers of the base */
    pith_buffer now;
    uint64_t elements, changed;
};

/* ---- tensors (series_levels.c) ---- */

bool series_is_float(uint32_t type);
/* Tensor v, which continues view k of the base. */
pith_status series_encode(pith_ctx *ctx, series_coder *s, const model_layout *base, size_t k, const tensor_view *v,
                          delta_sink *out);
/* Puts its bytes as they come back. */
pith_status series_decode(pith_ctx *ctx, series_coder *s, const model_layout *base, size_t k, repr_reader *in,
                          delta_sink *out);
/* A tensor that is not coded so has zeros. */
pith_status series_skip(pith_ctx *ctx, series_coder *s, uint32_t type, uint64_t n_elements);

/* ---- numbers (series_code.c) ---- */

/* Numbers now[n] in rows of `row` and those before, NULL when there are none. Number 0 is the level zero; of the others
 * the first half is below zero, ascending, the rest above. */
typedef struct series_plane {
    uint8_t *now;
    const uint8_t *before;
    size_t n, row;
    unsigned n_levels; /* odd */
} series_plane;
pith_status series_numbers_encode(pith_ctx *ctx, series_context context, const series_plane *plane, pith_buffer *out);
pith_status series_numbers_decode(pith_ctx *ctx, series_context context, const series_plane *plane, repr_reader *in);

#endif
