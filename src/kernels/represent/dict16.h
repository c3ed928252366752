/* A fixed dictionary for planes of three values. Private to this folder. */
#ifndef REPRESENT_DICT16_H
#define REPRESENT_DICT16_H

#include "kernels/represent/represent.h"

#define DICT16_PRIOR_ONE 65536u

/* prior: the share of the commonest value the dictionary is made for, in 65536ths, 32768..65535; 0: as in the plane. */
pith_status dict16_encode(pith_ctx *ctx, const repr_plane *plane, uint32_t prior, pith_buffer *out);
pith_status dict16_decode(pith_ctx *ctx, repr_reader *in, uint16_t *codes, size_t n, uint32_t alphabet);

#endif
