/* The one range coder of the project: binary, 16-bit probabilities, carry-safe.
 *
 * The interval is [low, low + range) with a 32-bit range kept >= 2^24 by shifting bytes out;
 * a carry out of low runs back into the one pending byte and the 0xFF bytes behind it
 * (G. N. N. Martin, "Range encoding", 1979; the carry handling is that of LZMA).
 * The split is (range * p) >> 16 in 64 bits, so no precision is lost to a coarse range, and
 * trailing zero bytes are not written: a decoder reads zeros past the end. */
#ifndef PREDICT_RC_H
#define PREDICT_RC_H

#include "base/base.h"

typedef struct rc_enc {
    uint64_t low;
    uint32_t range;
    uint8_t cache;
    uint64_t n_pending; /* bytes of 0xFF waiting behind cache, plus cache itself */
    uint8_t *dst;
    size_t cap, pos;
    bool first; /* the first byte out of a carry coder is always zero: not written */
    bool full;
} rc_enc;

PITH_INLINE void rc_enc_init(rc_enc *e, uint8_t *dst, size_t cap) {
    *e = (rc_enc){.range = 0xFFFFFFFFu, .n_pending = 1, .dst = dst, .cap = cap, .first = true};
}

PITH_INLINE void rc_enc_put(rc_enc *e, uint8_t byte) {
    if (e->first) {
        e->first = false;
        return;
    }
    /* zeros past the end cost nothing as long as nothing else follows them */
    if (e->pos < e->cap)
        e->dst[e->pos] = byte;
    else
        e->full |= byte != 0;
    e->pos++;
}

static inline void rc_enc_shift(rc_enc *e) {
    if ((uint32_t)e->low < 0xFF000000u || e->low >> 32) {
        uint8_t carry = (uint8_t)(e->low >> 32), byte = e->cache;
        for (; e->n_pending; e->n_pending--) {
            rc_enc_put(e, (uint8_t)(byte + carry));
            byte = 0xFF;
        }
        e->cache = (uint8_t)(e->low >> 24);
    }
    e->n_pending++;
    e->low = (e->low & 0x00FFFFFFu) << 8;
}

/* p16: probability that bit is 1, in 1/65536ths, 1..65535. */
PITH_INLINE void rc_enc_bit(rc_enc *e, unsigned p16, unsigned bit) {
    uint32_t split = (uint32_t)(((uint64_t)e->range * p16) >> 16);
    if (bit) {
        e->range = split;
    } else {
        e->low += split;
        e->range -= split;
    }
    while (PITH_UNLIKELY(e->range < 1u << 24)) {
        e->range <<= 8;
        rc_enc_shift(e);
    }
}

/* The same for bits that are hard to foresee: without a branch on them. */
PITH_INLINE void rc_enc_bit_even(rc_enc *e, unsigned p16, unsigned bit) {
    uint32_t split = (uint32_t)(((uint64_t)e->range * p16) >> 16), rest = e->range - split, zero = bit - 1;
    e->range = split ^ ((split ^ rest) & zero);
    e->low += split & zero;
    while (PITH_UNLIKELY(e->range < 1u << 24)) {
        e->range <<= 8;
        rc_enc_shift(e);
    }
}

/* A symbol of a distribution with total 2^total_bits <= 2^16: its interval [lo, lo + freq), freq >= 1. */
PITH_INLINE void rc_enc_sym(rc_enc *e, uint32_t lo, uint32_t freq, unsigned total_bits) {
    uint32_t r = e->range >> total_bits;
    e->low += (uint64_t)r * lo;
    /* the last symbol takes what the division left over */
    e->range = lo + freq == 1u << total_bits ? e->range - r * lo : r * freq;
    while (PITH_UNLIKELY(e->range < 1u << 24)) {
        e->range <<= 8;
        rc_enc_shift(e);
    }
}

/* Ends the stream. Returns its size, or SIZE_MAX when it did not fit. */
static inline size_t rc_enc_finish(rc_enc *e) {
    /* the value in [low, low + range) with the most trailing zero bits: fewest bytes to write */
    uint64_t top = e->low + e->range - 1;
    for (unsigned zeros = 32; zeros > 0; zeros--) {
        uint64_t value = top >> zeros << zeros;
        if (value >= e->low) {
            e->low = value;
            break;
        }
    }
    for (int i = 0; i < 5; i++) rc_enc_shift(e);
    if (e->full) return SIZE_MAX;
    while (e->pos > 0 && (e->pos > e->cap || e->dst[e->pos - 1] == 0)) e->pos--;
    return e->pos;
}

typedef struct rc_dec {
    uint32_t code, range;
    const uint8_t *src;
    size_t n, pos;
} rc_dec;

PITH_INLINE uint8_t rc_dec_next(rc_dec *d) {
    uint8_t byte = d->pos < d->n ? d->src[d->pos] : 0;
    d->pos++;
    return byte;
}

PITH_INLINE void rc_dec_init(rc_dec *d, const uint8_t *src, size_t n) {
    *d = (rc_dec){.range = 0xFFFFFFFFu, .src = src, .n = n};
    for (int i = 0; i < 4; i++) d->code = d->code << 8 | rc_dec_next(d);
}

PITH_INLINE void rc_dec_normalise(rc_dec *d) {
    while (PITH_UNLIKELY(d->range < 1u << 24)) {
        d->range <<= 8;
        d->code = d->code << 8 | rc_dec_next(d);
    }
}

PITH_INLINE unsigned rc_dec_bit(rc_dec *d, unsigned p16) {
    uint32_t split = (uint32_t)(((uint64_t)d->range * p16) >> 16);
    unsigned bit = d->code < split;
    if (bit) {
        d->range = split;
    } else {
        d->code -= split;
        d->range -= split;
    }
    rc_dec_normalise(d);
    return bit;
}

/* As rc_enc_bit_even. */
PITH_INLINE unsigned rc_dec_bit_even(rc_dec *d, unsigned p16) {
    uint32_t split = (uint32_t)(((uint64_t)d->range * p16) >> 16), rest = d->range - split;
    uint32_t zero = (uint32_t)(d->code < split) - 1; /* all ones when the bit is 0 */
    d->range = split ^ ((split ^ rest) & zero);
    d->code -= split & zero;
    rc_dec_normalise(d);
    return zero + 1;
}

/* Where in [0, 2^total_bits) the next symbol lies; then rc_dec_sym with its interval. */
PITH_INLINE uint32_t rc_dec_target(const rc_dec *d, unsigned total_bits) {
    uint32_t r = d->range >> total_bits, t = d->code / r;
    return PITH_MIN(t, (1u << total_bits) - 1);
}

PITH_INLINE void rc_dec_sym(rc_dec *d, uint32_t lo, uint32_t freq, unsigned total_bits) {
    uint32_t r = d->range >> total_bits;
    d->code -= r * lo;
    d->range = lo + freq == 1u << total_bits ? d->range - r * lo : r * freq;
    rc_dec_normalise(d);
}

/* Whether everything that was written has been read. How far beyond says nothing: the zero bytes
 * left out may be any number, so a cut stream shows only in the check value of what it gives. More decoded symbols than were
 * encoded run on zeros: callers stop by count and ask this. */
PITH_INLINE bool rc_dec_ok(const rc_dec *d) { return d->pos >= d->n; }

#endif
