/* Huffman codes of bytes, none longer than 11 bits: a table of 2^11 entries finds a symbol, and one load of 64 bits
 * holds five. Symbols go round robin to eight streams, so that eight searches are under way at once. */
#ifndef REPRESENT_HUFFMAN_H
#define REPRESENT_HUFFMAN_H

#include "kernels/represent/represent.h"

#define HUFFMAN_BITS 11
#define HUFFMAN_LANES 8
#define HUFFMAN_PER_LOAD 5                                   /* 5 * 11 + 7 <= 64 - 1 */
#define HUFFMAN_ROUND (HUFFMAN_LANES * HUFFMAN_PER_LOAD)     /* symbols of one round */
#define HUFFMAN_TABLE ((size_t)1 << HUFFMAN_BITS)
#define HUFFMAN_MOST ((size_t)1 << 24)                       /* symbols of one code */

/* Lengths of an optimal code: of symbols that occur 1..11 bits, else 0. Gives the sum of bits of all symbols;
 * 0 when fewer than two different ones occur, for which there is no code. */
uint64_t huffman_lengths(const uint32_t count[256], uint8_t length[256]);
/* Bytes that huffman_encode appends for n symbols at most. */
size_t huffman_bound(size_t n, uint64_t bits);
/* Appends the code of src[n], 2 <= n <= HUFFMAN_MOST, by the lengths of huffman_lengths. */
pith_status huffman_encode(pith_ctx *ctx, const uint8_t *src, size_t n, const uint8_t length[256], pith_buffer *out);
/* Exactly n symbols; false when the bytes are no such code. */
bool huffman_decode(repr_reader *in, uint8_t *dst, size_t n);

/* ---- one for each instruction set (huffman_core.h) ---- */

typedef struct huffman_lanes {
    const uint8_t *base[HUFFMAN_LANES];
    uint64_t bit[HUFFMAN_LANES]; /* read so far */
} huffman_lanes;

typedef struct huffman_ops {
    /* Rounds of HUFFMAN_ROUND symbols; the caller has seen to it that no load passes the end. Table entries:
     * length in the low byte, symbol in the high one. */
    void (*rounds)(const uint16_t *table, huffman_lanes *lanes, uint8_t *dst, size_t n_rounds);
    /* Codes every HUFFMAN_LANES-th (stride) symbol; entries are code | length << 16. Writes up to 8 bytes past the
     * end it gives back. */
    uint8_t *(*stream)(const uint32_t *codes, const uint8_t *src, size_t n, size_t stride, uint8_t *dst);
} huffman_ops;
extern const huffman_ops huffman_ops_scalar, huffman_ops_avx2;

#endif
