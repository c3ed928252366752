/* Products of weight matrices, straight from their blocks, with activations.
 *
 * The result is the same bits on every instruction set, for any number of threads and for any
 * number of rows or tokens computed together: y[t][r] depends on row r and activation t alone.
 * Quantised weights meet activations rounded to 8-bit blocks; the product of two blocks is a whole
 * number, exact in any order; it becomes a float, times the scales, and blocks are added in order.
 * F32, F16 and BF16 weights: 16 lanes and one tree, as in math/math.h. All multiply-adds in two
 * roundings. The formulas stand in matmul_scalar.c. A token with a NaN or an infinity in a block
 * of quantised activations gives NaN; a NaN scale in the weights stays in its row. */
#ifndef LM_MATMUL_MATMUL_H
#define LM_MATMUL_MATMUL_H

#include "formats/blocks/blocks.h"

typedef struct lm_matrix {
    tensor_type type;
    size_t n_rows; /* outputs */
    size_t n_cols; /* inputs: a whole number of blocks */
    size_t row_bytes;
    const uint8_t *data; /* [n_rows][row_bytes], any alignment */
} lm_matrix;

/* Whether weights of this type and width have a kernel. Others are decoded to F32 at load. */
bool matmul_supports(tensor_type type, size_t n_cols);

/* Activations made ready once for all matrices that read them (q, k and v; gate and up). */
typedef struct lm_activations lm_activations;
pith_status matmul_activations_new(pith_ctx *ctx, size_t max_tokens, size_t max_cols, lm_activations **out);
void matmul_activations_free(pith_ctx *ctx, lm_activations *a);
/* Takes x[n_tokens][n_cols] (row stride x_stride floats), in the form that weights of `type` want.
 * x must stay as it is while `a` is used. No allocation. Calls of one thread only. */
void matmul_prepare(lm_activations *a, tensor_type type, const float *x, size_t x_stride, size_t n_tokens,
                    size_t n_cols);

/* y[t][r] = sum over c of w[r][c] * x[t][c] for rows r in [row0, row1) and all prepared tokens t; row stride
 * y_stride floats. May run on many threads with different row ranges. Row ranges that are
 * multiples of MATMUL_ROW_TILE are fastest; any are right. */
#define MATMUL_ROW_TILE 16
void matmul_rows(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride, size_t row0, size_t row1);

/* Kernels of one instruction set for tests and benchmarks; NULL when the machine lacks it. */
typedef struct matmul_ops matmul_ops;
const matmul_ops *matmul_for(int cpu_level);

#endif
