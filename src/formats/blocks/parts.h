/* Private to the room: the types' places in its tables, and one decoder and encoder per type. */
#ifndef FORMATS_BLOCKS_PARTS_H
#define FORMATS_BLOCKS_PARTS_H

#include "formats/blocks/blocks.h"
#include "formats/blocks/half.h"
#include "formats/blocks/layout.h"

/* ggml's numbers come first, then those that GGUF lacks. */
enum { GGUF_SLOTS = 40, OTHER_FIRST = 1000, OTHER_SLOTS = 7, TYPE_SLOTS = GGUF_SLOTS + OTHER_SLOTS };
#define TYPE_SLOT(t) ((unsigned)(t) < OTHER_FIRST ? (unsigned)(t) : (unsigned)(t)-OTHER_FIRST + GGUF_SLOTS)

/* Both take whole blocks; src and dst do not overlap. NULL where a type has none. */
typedef void (*block_decoder)(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
/* importance [n_blocks][block], NULL without: those blocks are one row then. */
typedef void (*block_encoder)(const float *restrict src, const float *restrict importance, uint8_t *restrict dst,
                              size_t n_blocks);

extern const block_decoder decoders_scalar[TYPE_SLOTS];
extern const block_encoder encoders_scalar[TYPE_SLOTS];
#if defined(__x86_64__) && !defined(PITH_NO_X86)
#define BLOCKS_HAVE_X86 1
extern const block_decoder decoders_avx2[TYPE_SLOTS];
extern const block_encoder encoders_avx2[TYPE_SLOTS], encoders_avx512[TYPE_SLOTS];
#endif

/* The scale of an IQ1_M block, whose 16 bits are the top nibbles of its four 16-bit scale words. */
PITH_INLINE uint16_t iq1_m_scale(const iq1_m_block *b) {
    return (uint16_t)(b->scales[1] >> 4 | (b->scales[3] & 0xf0) | (b->scales[5] & 0xf0) << 4 |
                      (b->scales[7] & 0xf0) << 8);
}

extern const int8_t mxfp4_values[16]; /* OCP E2M1, doubled */

#endif
