/* What the files of this room share: activations as kernels see them and the kernel table. */
#ifndef LM_MATMUL_PARTS_H
#define LM_MATMUL_PARTS_H

#include "lm/matmul/matmul.h"

/* A quantised type as whole numbers. A block of `elements` weights is
 *     w[i] = d * scale[i / group] * (q[i] - zero)  +  m * (one for each group, see below)
 * with q in one byte (at most 127 unless zero is 128), whole-number scales and floats d and m.
 * Blocks of 32 have no whole-number scales and, with mins, add m to every weight; blocks of 256
 * with mins subtract m * min[i / group]. */
typedef struct matmul_form {
    tensor_type type;
    uint16_t elements; /* of a block: 32 or 256; 0 for F32, F16 and BF16 */
    uint8_t group;     /* elements of one whole-number scale: 16 or 32 */
    uint8_t zero;
    bool mins;
    uint16_t block_bytes;
} matmul_form;

/* Everything of matmul_prepare but the rounding. */
void matmul_take(lm_activations *a, tensor_type type, const float *x, size_t x_stride, size_t n_tokens, size_t n_cols);
const matmul_form *matmul_form_of(tensor_type type); /* NULL when the type has no kernel */

typedef struct matmul_scales {
    int16_t scale[16], min[16];
    float d, m;
} matmul_scales;

/* Tokens of a batch are kept in tiles of this many, see lm_activations. */
#define MATMUL_TOKEN_TILE 8

struct lm_activations {
    size_t max_tokens, max_cols;
    size_t n_tokens, n_cols;
    const matmul_form *form;
    const float *x; /* as given, for float weights */
    size_t x_stride;
    /* Rounded to bytes in [-127, 127], for quantised weights. Tokens stand in tiles of `tile` (1 for
     * a few tokens, else MATMUL_TOKEN_TILE; those missing in the last tile are zeros): four
     * bytes of each token of a tile in turn, then the next four, so that one pointer walks
     * through a tile. Numbers of blocks and groups likewise, one (sums: two) of each token in turn. */
    size_t tile;
    int8_t *q;         /* [tiles][q_stride / 4][tile][4] */
    size_t q_stride;
    float *scale;      /* [tiles][n_blocks][tile]: x is about scale * q. NaN where x had a NaN or an infinity */
    float *scaled_sum; /* [tiles][n_blocks][tile]: scale * sum of q over the block, as round.h rounds it */
    int32_t *zeros;    /* [tiles][n_groups][tile]: -zero * sum of q over the group */
    int16_t *sums;     /* [tiles][n_groups / 2][tile][2]: sum of q over the group; blocks of 256 alone */
    size_t n_blocks, n_groups;
};

struct matmul_ops {
    /* Rounds a->x into a->q and what goes with it, in tiles that suit `rows`. */
    void (*round)(lm_activations *a);
    void (*rows)(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride, size_t row0, size_t row1);
};

/* With one token the weights come from memory in one stream, faster than the processor guesses on its
 * own: asks, for the second-level cache alone, for what follows `n` bytes at p by some pages' distance
 * (measured). Past the end of the weights this does nothing. */
#define MATMUL_AHEAD 8192
PITH_INLINE void matmul_prefetch(const uint8_t *p, const size_t n) {
#if defined(__GNUC__)
    for (size_t i = 0; i < n; i += 64) __builtin_prefetch((const void *)((uintptr_t)p + MATMUL_AHEAD + i), 0, 2);
#else
    (void)p, (void)n;
#endif
}

/* Float weights, for the tables. */
void matmul_floats_avx2(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride, size_t row0,
                        size_t row1);
void matmul_floats_avx512(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride, size_t row0,
                          size_t row1);

extern const matmul_ops matmul_scalar, matmul_avx2, matmul_avx512;

#endif
