/* What the files of the ruler share; private to the room. */
#ifndef LM_RULER_PARTS_H
#define LM_RULER_PARTS_H

#include "lm/ruler/ruler.h"

#define RULER_READ_ROWS 512 /* most that ruler_reader_batch can be */

/* Rows that ruler_reader_next gives at once, at most. */
uint32_t ruler_reader_batch(const ruler_reader *r);
/* A base file's head through `save`. */
pith_status ruler_save_head(pith_ctx *ctx, const ruler_chunks *chunks, uint32_t n_vocab, ruler_write_fn save,
                            void *opaque);

/* SplitMix64 (G. Steele et al., 2014): the whole-number stream of a seed. */
PITH_INLINE uint64_t ruler_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
/* In [0, n), n >= 1 and small against 2^64. */
PITH_INLINE uint64_t ruler_below(uint64_t *state, uint64_t n) { return ruler_random(state) % n; }

/* Bytes of the UTF-8 character at p[n], 0 when it is none (n >= 1). */
size_t ruler_utf8(const uint8_t *p, size_t n);

#endif
