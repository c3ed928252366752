/* Codes of 0 to 16 bits behind each other, least significant bit first. Private to this folder. */
#ifndef REPRESENT_PACK_BITS_H
#define REPRESENT_PACK_BITS_H

#include "kernels/represent/represent.h"

/* ceil(log2 alphabet) */
unsigned pack_width(uint32_t alphabet);
/* Bytes of n codes; n is below 2^58. */
size_t pack_bits_size(size_t n, unsigned width);
pith_status pack_bits_put(pith_ctx *ctx, const uint16_t *codes, size_t n, unsigned width, pith_buffer *out);
/* n codes below the alphabet, of width pack_width(alphabet); false otherwise. */
bool pack_bits_take(repr_reader *in, uint16_t *codes, size_t n, uint32_t alphabet);

typedef struct pack_bits_ops {
    /* n codes, a multiple of 8; n / 8 * width + 8 bytes may be read. */
    void (*unpack)(const uint8_t *src, uint16_t *codes, size_t n, unsigned width);
} pack_bits_ops;
extern const pack_bits_ops pack_bits_ops_scalar, pack_bits_ops_avx2;

#endif
