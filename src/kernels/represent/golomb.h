/* Golomb codes of sparse planes. Private to this folder. */
#ifndef REPRESENT_GOLOMB_H
#define REPRESENT_GOLOMB_H

#include "kernels/represent/represent.h"

/* The best parameter when n_common of n symbols are the commonest. */
uint64_t golomb_parameter(uint64_t n_common, uint64_t n);
/* m = 0: the best. */
pith_status golomb_encode(pith_ctx *ctx, const repr_plane *plane, uint64_t m, pith_buffer *out);
pith_status golomb_decode(pith_ctx *ctx, repr_reader *in, uint16_t *codes, size_t n, uint32_t alphabet);

#endif
