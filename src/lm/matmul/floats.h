/* Products of float weights: F32, F16 and BF16. Lane i of 16 adds the products i, i+16, i+32, ... in
 * order, then the lanes are added as in math/math.h. A few rows meet a few tokens at once so that
 * what is loaded is used more than once. The including file defines
 *   FLOATS_ROWS, FLOATS_TOKENS   rows and tokens in registers at once
 *   lanes                        sixteen floats
 *   LANES_ZERO LANES_LOAD(x) LANES_PART(x, n) LANES_STEP(sum, w, x) LANES_TREE(sum)
 *   LANES_WEIGHTS(p, type) LANES_WEIGHTS_PART(p, type, n)  weights as floats
 *   FLOATS_TARGET                function attributes */
#ifndef LM_MATMUL_FLOATS_H
#define LM_MATMUL_FLOATS_H

#include "lm/matmul/parts.h"

typedef struct floats_job {
    const uint8_t *w; /* first row */
    size_t row_bytes;
    const float *x; /* first token */
    size_t x_stride;
    float *y; /* of the first row and token */
    size_t y_stride, n_cols;
} floats_job;

#define FLOATS_BODY FLOATS_TARGET static inline __attribute__((always_inline)) void

FLOATS_BODY floats_tile(const floats_job *j, const tensor_type type, const int rows, const int tokens) {
    const size_t size = type == TENSOR_F32 ? 4 : 2;
    lanes sum[FLOATS_ROWS][FLOATS_TOKENS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int t = 0; t < tokens; t++) sum[r][t] = LANES_ZERO;
    size_t c = 0;
    for (; c + 16 <= j->n_cols; c += 16) {
        if (tokens == 1)
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) matmul_prefetch(j->w + (size_t)r * j->row_bytes + c * size, 16 * size);
        lanes w[FLOATS_ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) w[r] = LANES_WEIGHTS(j->w + (size_t)r * j->row_bytes + c * size, type);
#pragma GCC unroll 8
        for (int t = 0; t < tokens; t++) {
            lanes x = LANES_LOAD(j->x + (size_t)t * j->x_stride + c);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) sum[r][t] = LANES_STEP(sum[r][t], w[r], x);
        }
    }
    /* Zeros stand for what is missing: no lane is ever -0, so adding +0 changes nothing. */
    if (c < j->n_cols)
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            lanes w = LANES_WEIGHTS_PART(j->w + (size_t)r * j->row_bytes + c * size, type, j->n_cols - c);
#pragma GCC unroll 8
            for (int t = 0; t < tokens; t++)
                sum[r][t] = LANES_STEP(sum[r][t], w, LANES_PART(j->x + (size_t)t * j->x_stride + c, j->n_cols - c));
        }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int t = 0; t < tokens; t++) j->y[(size_t)t * j->y_stride + (size_t)r] = LANES_TREE(sum[r][t]);
}

FLOATS_BODY floats_some(const floats_job *j, const tensor_type type, const int rows, size_t tokens) {
    if (tokens == FLOATS_TOKENS)
        floats_tile(j, type, rows, FLOATS_TOKENS);
    else if (tokens == 2)
        floats_tile(j, type, rows, 2);
    else
        floats_tile(j, type, rows, 1);
}

/* Tokens in blocks that fit the second-level cache; all rows pass each block. */
#define FLOATS_BLOCK_BYTES (384u << 10)
#define FLOATS_NEAR 4096 /* bytes of a row */

FLOATS_BODY floats_type(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride, size_t row0,
                        size_t row1, const tensor_type type) {
    size_t block = FLOATS_BLOCK_BYTES / 4 / a->n_cols / FLOATS_TOKENS * FLOATS_TOKENS;
    block = PITH_MAX(block, FLOATS_TOKENS);
    for (size_t t0 = 0; t0 < a->n_tokens; t0 += block) {
        size_t t1 = PITH_MIN(t0 + block, a->n_tokens);
        for (size_t r = row0; r < row1;) {
            /* From memory, one stream is faster than several that lie far apart. */
            bool several = a->n_tokens > 1 || w->row_bytes <= FLOATS_NEAR;
            size_t rows = several && row1 - r >= FLOATS_ROWS ? FLOATS_ROWS : 1;
            for (size_t t = t0; t < t1;) {
                size_t tokens = t1 - t >= FLOATS_TOKENS ? FLOATS_TOKENS : t1 - t >= 2 ? 2 : 1;
                floats_job j = {w->data + r * w->row_bytes,
                                w->row_bytes,
                                a->x + t * a->x_stride,
                                a->x_stride,
                                y + t * y_stride + r,
                                y_stride,
                                a->n_cols};
                if (rows == FLOATS_ROWS)
                    floats_some(&j, type, FLOATS_ROWS, tokens);
                else
                    floats_some(&j, type, 1, tokens);
                t += tokens;
            }
            r += rows;
        }
    }
}

FLOATS_TARGET static void floats_rows(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride,
                                      size_t row0, size_t row1) {
    if (w->type == TENSOR_F32)
        floats_type(w, a, y, y_stride, row0, row1, TENSOR_F32);
    else if (w->type == TENSOR_F16)
        floats_type(w, a, y, y_stride, row0, row1, TENSOR_F16);
    else
        floats_type(w, a, y, y_stride, row0, row1, TENSOR_BF16);
}

#endif
