/* The contexts of a code: how large codes are in its row and in its column, what they are on average in its column, and
 * the code above. Weights differ in scale from row to row and column to column; rows of an embedding have parts in common.
 *
 *   0   magnitude in the row (16 classes), in the column (16)
 *   1   average of the column (15), the code above (15)
 *   2   average of the column (15), magnitude in the row (24)
 *   3   product of the magnitudes in row and column (24)
 *
 * Magnitudes are classed by their logarithm, 8 classes to a doubling, against the plane's mean. */
#ifndef REPRESENT_ADAPTIVE_CONTEXTS_H
#define REPRESENT_ADAPTIVE_CONTEXTS_H

#include "kernels/represent/adaptive.h"

#define CONTEXT_FIRST_COUNT 4      /* what the curve says counts as so many codes seen */
#define CONTEXT_FIRST_WEIGHT 18000 /* four inputs that say the same are trusted a little more than one */
#define CONTEXT_CLASSES 24
#define CONTEXT_DRIFT_CODES 32
#define CONTEXT_COLUMN_START 4     /* as if so many codes had been average */

static const uint16_t context_counts[ADAPTIVE_INPUTS] = {16 * 16, 15 * 15, 15 * CONTEXT_CLASSES, CONTEXT_CLASSES};

/* 8 log2(x), roughly; x in 65536ths, 0 counts as 1/64. */
PITH_INLINE int context_log(uint32_t x) {
    static const uint8_t eighths[16] = {0, 1, 1, 2, 3, 3, 4, 4, 5, 5, 6, 6, 6, 7, 7, 8};
    x = PITH_MAX(x, 1024u);
    int top = 31 - __builtin_clz(x);
    return 8 * (top - 16) + eighths[x >> (top - 4) & 15];
}

PITH_INLINE unsigned context_class(int log, int most) {
    int c = log + 12;
    return (unsigned)(c < 0 ? 0 : c >= most ? most - 1 : c);
}

/* A signed average in thirds of the plane's mean magnitude, 0..14, 7 for none. */
PITH_INLINE unsigned context_level(const adaptive_model *m, int32_t average) {
    int64_t thirds = ((int64_t)average * (int64_t)m->signed_scale + ((int64_t)1 << 31)) >> 32;
    return (unsigned)(thirds < -7 ? 0 : thirds > 7 ? 14 : thirds + 7);
}

/* Where the counters of the next code begin. */
PITH_INLINE void context_find(const adaptive_model *m, uint32_t *at[ADAPTIVE_INPUTS]) {
    size_t n = m->tree.n_nodes;
    int row = context_log(m->across) - m->log_mean, column = context_log(m->down[m->column]) - m->log_mean;
    unsigned drift = context_level(m, m->drift[m->column]);
    at[0] = m->counters[0] + (context_class(row - 4, 16) * 16 + context_class(column - 4, 16)) * n;
    at[1] = m->counters[1] + (drift * 15 + m->level[m->above[m->column]]) * n;
    at[2] = m->counters[2] + (drift * CONTEXT_CLASSES + context_class(row, CONTEXT_CLASSES)) * n;
    at[3] = m->counters[3] + context_class(row + column, CONTEXT_CLASSES) * n;
}

/* What moves an average by the share that inverse is of 65536. */
PITH_INLINE uint32_t context_step(int32_t difference, uint32_t inverse) {
    return (uint32_t)((int64_t)difference * (int64_t)inverse >> 16);
}

/* The code that stood there is known. */
PITH_INLINE void context_learn(adaptive_model *m, unsigned code) {
    size_t j = m->column;
    int32_t value = ((int32_t)code - (int32_t)m->centre) * 65536;
    uint32_t size = (uint32_t)(value < 0 ? -value : value);
    unsigned n_across = (unsigned)PITH_MIN(8 + j, ADAPTIVE_ROW_CODES);
    unsigned n_down = (unsigned)PITH_MIN(CONTEXT_COLUMN_START + m->n_rows, ADAPTIVE_ROW_CODES);
    unsigned n_drift = PITH_MIN(n_down, CONTEXT_DRIFT_CODES);
    m->across += context_step((int32_t)size - (int32_t)m->across, m->inverse[n_across]);
    m->down[j] += context_step((int32_t)size - (int32_t)m->down[j], m->inverse[n_down]);
    m->drift[j] += (int32_t)context_step(value - m->drift[j], m->inverse[n_drift]);
    m->above[j] = (uint16_t)code;
    if (++m->column == m->row) {
        m->column = 0;
        m->n_rows++;
        m->across = m->mean;
    }
}

#endif
