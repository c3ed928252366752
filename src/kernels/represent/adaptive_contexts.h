/* The contexts of a code: how large codes are in its row and in its column, what they are on average in its column, and
 * the code above. Weights differ in scale from row to row and column to column; rows of an embedding have parts in common.
 *
 *   0   magnitude in the row (16 classes), in the column (16)
 *   1   average of the column (15), the code above (15)
 *   2   average of the column (15), magnitude in the row (24)
 *   3   product of the magnitudes in row and column (24)
 *
 * With a plane that was before (W. Li et al., "ExCP", arXiv:2406.11257, codes such series; the neighbourhood of the same
 * place as context is that of checkpoint coding by prediction):
 *   4   the code that was there (33)
 *   5   the code that was there (33), magnitude in the row (24)
 *   6   average of the eight around it (15), their magnitude (24)
 *
 * Magnitudes are classed by their logarithm, 8 classes to a doubling, against the plane's mean. */
#ifndef REPRESENT_ADAPTIVE_CONTEXTS_H
#define REPRESENT_ADAPTIVE_CONTEXTS_H

#include "kernels/represent/adaptive.h"

#define CONTEXT_FIRST_COUNT 4      /* what the curve says counts as so many codes seen */
#define CONTEXT_FIRST_WEIGHTS 72000 /* together: inputs that say the same are trusted a little more than one */
#define CONTEXT_CLASSES 24
#define CONTEXT_DRIFT_CODES 32
#define CONTEXT_COLUMN_START 4     /* as if so many codes had been average */

#define CONTEXT_CODES 33           /* about the centre */

static const uint16_t context_counts[ADAPTIVE_INPUTS_MOST] = {
    16 * 16, 15 * 15, 15 * CONTEXT_CLASSES, CONTEXT_CLASSES,
    CONTEXT_CODES, CONTEXT_CODES * CONTEXT_CLASSES, 15 * CONTEXT_CLASSES};

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

/* The contexts from the plane before. `row` is the class of magnitudes in this row. */
PITH_INLINE void context_find_before(const adaptive_model *m, unsigned row, unsigned n_inputs, adaptive_cells **at) {
    size_t n = m->n_blocks, j = m->column, i = m->n_rows * m->row + j;
    if (i >= m->n) i = m->n - 1; /* past the end nothing is coded */
    int here = (int)m->before[i] - (int)m->centre + CONTEXT_CODES / 2;
    unsigned code = (unsigned)PITH_MIN(PITH_MAX(here, 0), CONTEXT_CODES - 1);
    at[4] = m->cells[4] + code * n;
    at[5] = m->cells[5] + (code * CONTEXT_CLASSES + row) * n;
    if (n_inputs <= ADAPTIVE_INPUTS_SAME) return;
    int32_t sum = 0, size = 0;
    for (int up = -1; up <= 1; up++)
        for (int left = -1; left <= 1; left++) {
            size_t k = i + (size_t)((int64_t)up * (int64_t)m->row + left); /* before the start: past the end */
            if ((left < 0 && j == 0) || (left > 0 && j + 1 == m->row) || (!up && !left) || k >= m->n) continue;
            int32_t v = (int32_t)m->before[k] - (int32_t)m->centre;
            sum += v;
            size += v < 0 ? -v : v;
        }
    unsigned class = context_class(context_log((uint32_t)size * 8192) - m->log_mean, CONTEXT_CLASSES);
    at[6] = m->cells[6] + (context_level(m, sum * 8192) * CONTEXT_CLASSES + class) * n;
}

/* Where the cells of the next code begin. */
PITH_INLINE void context_find(const adaptive_model *m, unsigned n_inputs, adaptive_cells **at) {
    size_t n = m->n_blocks;
    int row = context_log(m->across) - m->log_mean, column = context_log(m->down[m->column]) - m->log_mean;
    unsigned drift = context_level(m, m->drift[m->column]), row_class = context_class(row, CONTEXT_CLASSES);
    at[0] = m->cells[0] + (context_class(row - 4, 16) * 16 + context_class(column - 4, 16)) * n;
    at[1] = m->cells[1] + (drift * 15 + m->level[m->above[m->column]]) * n;
    at[2] = m->cells[2] + (drift * CONTEXT_CLASSES + row_class) * n;
    at[3] = m->cells[3] + context_class(row + column, CONTEXT_CLASSES) * n;
    if (n_inputs > ADAPTIVE_INPUTS) context_find_before(m, row_class, n_inputs, at);
}

/* What moves an average by the share that inverse is of 65536. */
PITH_INLINE uint32_t context_step(int32_t difference, uint32_t inverse) {
    return (uint32_t)((int64_t)difference * (int64_t)inverse >> 16);
}

/* A row begins. */
PITH_INLINE void context_row(adaptive_model *m) {
    size_t n_down = PITH_MIN(CONTEXT_COLUMN_START + m->n_rows, (size_t)ADAPTIVE_ROW_CODES);
    m->inverse_down = m->inverse[n_down];
    m->inverse_drift = m->inverse[PITH_MIN(n_down, (size_t)CONTEXT_DRIFT_CODES)];
    m->across = m->mean;
}

/* The code that stood there is known. */
PITH_INLINE void context_learn(adaptive_model *m, unsigned code) {
    size_t j = m->column;
    int32_t value = ((int32_t)code - (int32_t)m->centre) * 65536;
    uint32_t size = (uint32_t)(value < 0 ? -value : value);
    unsigned n_across = (unsigned)PITH_MIN(8 + j, ADAPTIVE_ROW_CODES);
    m->across += context_step((int32_t)size - (int32_t)m->across, m->inverse[n_across]);
    m->down[j] += context_step((int32_t)size - (int32_t)m->down[j], m->inverse_down);
    m->drift[j] += (int32_t)context_step(value - m->drift[j], m->inverse_drift);
    m->above[j] = (uint16_t)code;
    if (++m->column == m->row) {
        m->column = 0;
        m->n_rows++;
        context_row(m);
    }
}

#endif
