/* Range asymmetric numeral systems (J. Duda, "Asymmetric numeral systems", arXiv:1311.2540): bytes by fixed frequencies
 * of 12 bits. 32 states of [2^15, 2^31) take turns and share one stream of 16-bit words, so that vectors decode it. */
#ifndef REPRESENT_RANS_H
#define REPRESENT_RANS_H

#include "kernels/represent/represent.h"

#define RANS_BITS 12
#define RANS_TOTAL (1u << RANS_BITS)
#define RANS_LOW (1u << 15)
#define RANS_LANES 32
#define RANS_MOST ((size_t)1 << 24)

/* Frequencies of a table: 0..4095, sum 4096, the first and last symbol that have any. */
typedef struct rans_table {
    uint16_t freq[256];
    unsigned first, last;
} rans_table;

/* The table that makes src with these counts (n in all, at least two different symbols) smallest, its own description
 * (appended to *bytes, RANS_TABLE_BYTES at most) included. Gives the estimate in bits of both together. */
#define RANS_TABLE_BYTES 520
double rans_table_fit(const uint32_t count[256], size_t n, rans_table *t, uint8_t *bytes, size_t *n_bytes);
bool rans_table_take(repr_reader *in, rans_table *t);
/* A curve between t->first and t->last; the one that suits counts best; whether its numbers are such. */
void rans_table_curve(unsigned kind, unsigned centre16, unsigned width, rans_table *t);
void rans_table_fit_curve(const uint32_t count[256], size_t n, rans_table *t, unsigned *kind, unsigned *centre16,
                          unsigned *width);
bool rans_table_is_curve(unsigned kind, unsigned centre16);

/* Appends table and code of src[n], 2 <= n <= RANS_MOST, with at least two different symbols. */
pith_status rans_encode(pith_ctx *ctx, const uint8_t *src, size_t n, const uint32_t count[256], pith_buffer *out);
/* Exactly n symbols; false when the bytes are no such code. */
bool rans_decode(repr_reader *in, uint8_t *dst, size_t n);

/* ---- one for each instruction set ---- */

/* What coding symbols takes: the division by a frequency is a multiplication, exact below 2^31 (R. Alverson, "Integer
 * division using reciprocals", ARITH 1991): q = x * inverse >> (32 + shift); then x + offset + q * (4096 - frequency). */
typedef struct rans_coder {
    uint32_t rest[256];    /* frequency | offset << 12 | shift << 25 */
    uint32_t inverse[256];
} rans_coder;

typedef struct rans_ops {
    /* Rounds of RANS_LANES symbols; 2 * RANS_LANES bytes are there for each round, and 32 more. Entries of the table, by
     * the low 12 bits of a state: frequency | offset in it << 12 | symbol << 24. Gives the words' end. */
    const uint8_t *(*decode)(const uint32_t *table, uint32_t *states, const uint8_t *words, uint8_t *dst,
                             size_t n_rounds);
    /* The rounds of src[n_rounds * RANS_LANES], last symbol first; words go downwards from `words`, with room for all and
     * 32 bytes more. Gives the lowest. */
    uint8_t *(*encode)(const rans_coder *coder, uint32_t *states, const uint8_t *src, size_t n_rounds, uint8_t *words);
} rans_ops;
extern const rans_ops rans_ops_scalar, rans_ops_avx2, rans_ops_avx512;

/* One symbol, for what is left over; words as above. */
PITH_INLINE uint32_t rans_put(const rans_coder *c, unsigned symbol, uint32_t x, uint8_t **words) {
    uint32_t e = c->rest[symbol], f = e & 0xFFF;
    store16(*words - 2, (uint16_t)x);
    uint32_t out = 1 - ((x - (f << 19)) >> 31); /* both below 2^31; no branch, it could not be foretold */
    *words -= 2 * out;
    x >>= 16 * out;
    uint32_t q = (uint32_t)((uint64_t)x * c->inverse[symbol] >> (32 + (e >> 25)));
    return x + (e >> 12 & 0x1FFF) + q * (RANS_TOTAL - f);
}

#endif
