/* Removal of long repeats by prediction of their place (C. Bloom, "LZP", 1996).
 *
 * The last place where the 32 bytes before this one stood predicts what follows now. Where
 * such a place is known, one decision says whether at least `min_length` bytes agree; if so
 * their number follows and they are left out. No distances are stored: the decoder finds the
 * same places. After a mismatch the old place is asked again once enough bytes agree. */
#include "kernels/predict/predict.h"
#include "kernels/predict/rc.h"

enum {
    CONTEXT = 32,       /* bytes that must agree before a new place is believed */
    CONTEXT_AGAIN = 16, /* bytes that must agree after a mismatch */
    MISSES_MAX = 8,     /* mismatches until a place is forgotten */
    TABLE_BITS_MAX = 20,
    LENGTH_BITS = 32
};

typedef struct lzp {
    const uint8_t *data;
    uint32_t *table; /* hash of CONTEXT bytes -> the position behind them; 0: none */
    unsigned table_bits;
    uint32_t hash, hash_out; /* hash_out: multiplier of the byte that leaves the window */
    size_t place;            /* predicts the byte at the current position; 0: none */
    bool asked;              /* no agreement of min_length from here on: wait for a mismatch */
    unsigned misses, history;
    uint16_t p_match[4][8], p_class[LENGTH_BITS], p_length[LENGTH_BITS][8];
    rc_enc enc;
    rc_dec dec;
} lzp;

#define HASH_FACTOR 0x9E3779B1u

static unsigned table_bits(size_t n) {
    unsigned bits = 10;
    while (bits < TABLE_BITS_MAX && (size_t)1 << bits < n) bits++;
    return bits;
}

uint64_t lzp_memory(size_t n) { return sizeof(lzp) + ((uint64_t)4 << table_bits(n)); }

static lzp *lzp_new(pith_ctx *ctx, const uint8_t *data, size_t n) {
    lzp *l = pith_zalloc(ctx, sizeof *l);
    if (!l) return NULL;
    l->table_bits = table_bits(n);
    l->table = pith_zalloc(ctx, (size_t)4 << l->table_bits);
    if (!l->table) {
        pith_free(ctx, l);
        return NULL;
    }
    l->data = data;
    l->hash_out = 1;
    for (int i = 0; i < CONTEXT; i++) l->hash_out *= HASH_FACTOR;
    for (int i = 0; i < LENGTH_BITS; i++) {
        l->p_class[i] = 32768;
        for (int j = 0; j < 8; j++) l->p_length[i][j] = l->p_match[i & 3][j] = 32768;
    }
    return l;
}

static void lzp_free(pith_ctx *ctx, lzp *l) {
    pith_free(ctx, l->table);
    pith_free(ctx, l);
}

PITH_INLINE unsigned code_bit(lzp *l, bool decoding, uint16_t *p, unsigned bit) {
    if (decoding)
        bit = rc_dec_bit(&l->dec, *p);
    else
        rc_enc_bit(&l->enc, *p, bit);
    *p = (uint16_t)(bit ? *p + ((65504 - *p) >> 5) : *p - ((*p - 32) >> 5));
    return bit;
}

/* Elias-gamma with adaptive probabilities for the size class and the three bits below the top. */
static uint32_t code_number(lzp *l, bool decoding, uint32_t value) {
    unsigned top = 0, given = decoding ? 0 : 31u - (unsigned)__builtin_clz(value + 1);
    while (top < LENGTH_BITS - 2 && code_bit(l, decoding, &l->p_class[top], top < given)) top++;
    uint32_t known = 1;
    for (unsigned shift = top; shift-- > 0;) {
        unsigned bit = (value + 1) >> shift & 1;
        uint16_t even = 32768;
        known = known << 1 | code_bit(l, decoding, known < 8 ? &l->p_length[top][known] : &even, bit);
    }
    return known - 1;
}

/* How many bytes before the two positions agree, at most CONTEXT; a < b. */
PITH_INLINE unsigned agreement(const uint8_t *data, size_t a, size_t b) {
    unsigned n = 0;
    while (n < CONTEXT && a > n && data[a - 1 - n] == data[b - 1 - n]) n++;
    return n;
}

/* Takes data[i] into the hash. */
PITH_INLINE void lzp_roll(lzp *l, size_t i) {
    l->hash = l->hash * HASH_FACTOR + l->data[i] + 1;
    if (i >= CONTEXT) l->hash -= l->hash_out * (l->data[i - CONTEXT] + 1u);
}

/* Notes position i and gives back the place that was noted for its context. */
PITH_INLINE size_t lzp_note(lzp *l, size_t i) {
    if (i < CONTEXT) return 0;
    uint32_t *slot = &l->table[(l->hash * 0x85EBCA6Bu) >> (32 - l->table_bits)];
    size_t found = *slot;
    *slot = (uint32_t)i;
    return found;
}

/* At position i: whether the decision "a long match starts here" is to be coded, and its context. */
PITH_INLINE bool lzp_ask(lzp *l, size_t i, uint16_t **p) {
    size_t found = lzp_note(l, i);
    if (found && found != l->place && (!l->place || agreement(l->data, l->place, i) < CONTEXT) &&
        agreement(l->data, found, i) == CONTEXT) {
        l->place = found;
        l->asked = false;
        l->misses = 0;
    }
    if (!l->place || l->asked) return false;
    unsigned agree = agreement(l->data, l->place, i);
    if (agree < CONTEXT_AGAIN) return false;
    *p = &l->p_match[agree == CONTEXT ? 3 : (agree - CONTEXT_AGAIN) / 6][l->history & 7];
    return true;
}

PITH_INLINE void lzp_answer(lzp *l, unsigned match) {
    l->history = l->history << 1 | match;
    l->asked = true;
}

/* Steps over `length` matching bytes from position i on, which are in the data by now. */
static void lzp_skip(lzp *l, size_t i, size_t length) {
    for (size_t end = i + length; i < end; i++) {
        if (i + length != end) lzp_note(l, i);
        lzp_roll(l, i);
    }
    l->place += length;
    l->misses = 0;
}

PITH_INLINE void lzp_literal(lzp *l, size_t i) {
    if (l->place) {
        if (l->data[l->place] != l->data[i]) {
            l->asked = false;
            l->misses++;
        }
        l->place = l->misses > MISSES_MAX ? 0 : l->place + 1;
        if (!l->place) l->misses = 0;
    }
    lzp_roll(l, i);
}

pith_status lzp_encode(pith_ctx *ctx, uint32_t min_length, const uint8_t *src, size_t n, uint8_t *literals,
                       size_t *literals_n, uint8_t *tokens, size_t cap, size_t *tokens_n) {
    lzp *l = lzp_new(ctx, src, n);
    if (!l) return pith_alloc_status(ctx);
    rc_enc_init(&l->enc, tokens, cap);
    size_t out = 0;
    for (size_t i = 0; i < n;) {
        uint16_t *p;
        if (lzp_ask(l, i, &p)) {
            size_t length = 0;
            while (i + length < n && src[l->place + length] == src[i + length]) length++;
            unsigned match = length >= min_length;
            code_bit(l, false, p, match);
            lzp_answer(l, match);
            if (match) {
                code_number(l, false, (uint32_t)(length - min_length));
                lzp_skip(l, i, length);
                i += length;
                if (i == n) break;
            }
        }
        literals[out++] = src[i];
        lzp_literal(l, i++);
    }
    *literals_n = out;
    *tokens_n = rc_enc_finish(&l->enc);
    lzp_free(ctx, l);
    return PITH_OK;
}

pith_status lzp_decode(pith_ctx *ctx, uint32_t min_length, const uint8_t *literals, size_t literals_n,
                       const uint8_t *tokens, size_t tokens_n, uint8_t *dst, size_t n) {
    lzp *l = lzp_new(ctx, dst, n);
    if (!l) return pith_alloc_status(ctx);
    rc_dec_init(&l->dec, tokens, tokens_n);
    size_t in = 0, i = 0;
    while (i < n) {
        uint16_t *p;
        if (lzp_ask(l, i, &p)) {
            unsigned match = code_bit(l, true, p, 0);
            lzp_answer(l, match);
            if (match) {
                uint64_t length = (uint64_t)code_number(l, true, 0) + min_length;
                if (length > n - i) break;
                /* byte by byte: the place may lie less than `length` behind */
                for (size_t j = 0; j < length; j++) dst[i + j] = dst[l->place + j];
                lzp_skip(l, i, (size_t)length);
                i += (size_t)length;
                if (i == n) break;
            }
        }
        if (in == literals_n) break;
        dst[i] = literals[in++];
        lzp_literal(l, i++);
    }
    bool exact = i == n && in == literals_n && rc_dec_ok(&l->dec);
    lzp_free(ctx, l);
    return exact ? PITH_OK : pith_fail(ctx, PITH_E_FORMAT, "the repeats of a BWT block do not fit its size");
}
