/* Elements as planes of bytes. Private to this folder. */
#ifndef REPRESENT_PLANES_H
#define REPRESENT_PLANES_H

#include "kernels/represent/represent.h"

#define PLANES_PIECE ((size_t)1 << 18) /* bytes of elements that decode without the others */
#define PLANES_MOST 8                  /* bytes of an element */

/* As repr_floats_decode and repr_delta_decode (base is NULL or [bytes]), but only bytes [first, first + n) of the
 * `bytes` there are. *in is left after the code of all of them. */
pith_status planes_decode_range(pith_ctx *ctx, uint32_t type, repr_reader *in, const uint8_t *base, size_t bytes,
                                size_t first, size_t n, uint8_t *dst);

/* ---- one for each instruction set (planes_core.h); bytes are little-endian, planes the highest byte first ---- */

typedef struct planes_ops {
    /* n elements of `width` bytes (1, 2, 4 or 8) into planes[width][n]. Of the highest 16 bits, the eight from bit `cut`
     * on (5 to 8) are plane 0, the others plane 1. */
    void (*split)(const uint8_t *src, size_t n, unsigned width, unsigned cut, uint8_t *const *planes);
    void (*merge)(const uint8_t *const *planes, size_t n, unsigned width, unsigned cut, uint8_t *dst);
    /* What was split, from b to a: a ^ b; and the difference of the places in the order of numbers (floats: of sign and
     * magnitude), zigzag. n elements; `undo` gives a, from d and b; d may be a. */
    void (*exclusive)(const uint8_t *a, const uint8_t *b, size_t n_bytes, uint8_t *d);
    void (*subtract)(const uint8_t *a, const uint8_t *b, size_t n, unsigned width, bool floats, uint8_t *d);
    void (*add)(const uint8_t *d, const uint8_t *b, size_t n, unsigned width, bool floats, uint8_t *a);
} planes_ops;
extern const planes_ops planes_ops_scalar, planes_ops_avx2, planes_ops_avx512;

#endif
