/* The small adaptive parts of a context mixer: state maps, refinement stages (APM), hashed slots. */
#ifndef PREDICT_CM_PARTS_H
#define PREDICT_CM_PARTS_H

#include "kernels/predict/logistic.h"

/* ---- adaptive probability: 22 bits of p over 10 bits of count ---- */

/* step of an adaptive probability that has seen n bits: 1 / (n + 1.5), in 1/65536ths */
typedef struct step_table {
    uint32_t step[1024];
} step_table;

/* p += (bit - p) / (n + 1.5); n stops at limit, from where on it forgets at that pace */
PITH_INLINE void statemap_update(uint32_t *cell, const step_table *t, unsigned bit, unsigned limit) {
    uint32_t v = *cell, n = v & 1023;
    int32_t p = (int32_t)(v >> 10), target = bit ? (1 << 22) - 1 : 0;
    p += (((target - p) >> 7) * (int32_t)t->step[n]) >> 9; /* 32 bits suffice */
    *cell = (uint32_t)p << 10 | (n < limit ? n + 1 : n);
}

/* ---- APM: p refined in a small context, interpolating over 32 buckets of stretch(p) ---- */

#define APM_BUCKETS 32 /* of 16 bits: a row is one cache line */

/* the stretched value bucket b stands for */
PITH_INLINE int apm_centre(int b) { return (b * 4096 + 15) / 31 - 2048; }

PITH_INLINE unsigned apm_p(const uint16_t *row, int st, unsigned *near) {
    int x = st > 2047 ? 2047 : st < -2047 ? -2047 : st;
    unsigned pos = (unsigned)(x + 2048) * 31, lo = pos >> 12, w = pos >> 5 & 127;
    *near = lo + (w >> 6);
    return (row[lo] * (128 - w) + row[lo + 1] * w) >> 7;
}

PITH_INLINE void apm_update(uint16_t *cell, unsigned bit, unsigned rate) {
    int target = bit ? 65535 : 0;
    *cell = (uint16_t)(*cell + ((target - *cell + (bit ? (1 << rate) - 1 : 0)) >> rate));
}

/* ---- cells: a 4-bit count over 12 bits of probability ---- */

#define CELL_NEW 0x0800

/* 16 numbers of 16 bits, by bytes as shuffles want it */
typedef struct cm_bytes16 {
    uint8_t low[16], high[16];
} cm_bytes16;

PITH_INLINE void cm_bytes16_set(cm_bytes16 *t, unsigned i, int value) {
    t->low[i] = (uint8_t)value;
    t->high[i] = (uint8_t)(value >> 8);
}

/* ---- maps' entries: stretched probabilities in 1/4096ths of a nat, +-8 nats in 16 bits ---- */

#define CM_P_MOST 16383

/* squash(st) - 1/2 in 1/32768ths, by straight lines over half nats of |st|; slope is twice the line's rise */
typedef struct cm_squash {
    cm_bytes16 base, slope;
} cm_squash;

/* what a map remembers a cell by: its count and the top 6 bits of its probability */
PITH_INLINE unsigned cell_key(unsigned v) { return v >> 6; }

/* ---- hashed slots: the 15 cells of one nibble behind a 16-bit check ---- */

#define SLOT 16 /* cells of 16 bits: [0] check, [1..15] the nodes of the nibble's binary tree */

/* The line of hash h is asked for: memory is slow. */
PITH_INLINE void slot_ask(const uint16_t *table, uint32_t mask, uint32_t h) {
    PITH_PREFETCH(table + ((size_t)(h & mask) << 5));
}

/* The slot of hash h: two candidates in one cache line; a miss takes the one that has seen less. */
PITH_INLINE uint16_t *slot_find(uint16_t *table, uint32_t mask, uint32_t h) {
    uint16_t check = (uint16_t)(h >> 16 | 1);
    uint16_t *line = table + ((size_t)(h & mask) << 5);
    uint16_t *s0 = line + ((h >> 15) & 1) * SLOT, *s1 = line + (~(h >> 15) & 1) * SLOT;
    if (PITH_LIKELY(s0[0] == check)) return s0;
    if (s1[0] == check) return s1;
    uint16_t *worst = s0[1] >> 12 <= s1[1] >> 12 ? s0 : s1;
    worst[0] = check;
    for (unsigned i = 1; i < SLOT; i++) worst[i] = CELL_NEW;
    return worst;
}

#endif
