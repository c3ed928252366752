/* What the coders that work column by column share. Private to the room.
 *
 * The drivers of columns (chain_sweep and the solver obs) keep one promise more than represent.h's: `cost` as handed to
 * `enter` points into an array over all columns, complete when the first group is entered. */
#ifndef REPRESENT_SCALAR_H
#define REPRESENT_SCALAR_H

#include "kernels/represent/represent.h"

/* Mean square of input j, from h or the Gram matrix; 1 when there is neither. */
float scalar_input(const repr_stats *stats, size_t j);
/* PITH_E_ARGUMENT when w holds a NaN or an infinity. */
pith_status scalar_check(pith_ctx *ctx, const repr_matrix *w);

/* out[n][rows] = columns [first, first + n) of w [rows][cols], and the reverse. */
void scalar_columns_get(const float *w, size_t rows, size_t cols, size_t first, size_t n, float *out);
void scalar_columns_put(const float *by_columns, size_t rows, size_t cols, size_t first, size_t n, float *w);
/* The same of codes: out[rows][cols] from [cols][rows]. */
void scalar_codes_turn(const uint16_t *by_columns, size_t rows, size_t cols, uint16_t *out);
/* A plane of [cols][rows] codes, packed by rows. Nothing is written when the alphabet has one letter. */
pith_status scalar_put_plane(const repr_job *job, const uint16_t *by_columns, size_t rows, size_t cols,
                             uint32_t alphabet, pith_buffer *out);
/* A plane as it was put, into codes[n]. */
pith_status scalar_take_plane(const repr_job *job, repr_reader *in, uint16_t *codes, size_t n, size_t row,
                              uint32_t alphabet);
/* rows * cols, and that times `size` bytes, fit: else PITH_E_LIMIT. */
pith_status scalar_room(pith_ctx *ctx, size_t rows, size_t cols, size_t size, size_t *n);

/* Half floats with a power of two for the whole matrix, so that scales of any size keep their 11 bits. Written as one
 * byte; the value of a half h is half_to_float(h) * unit. */
typedef struct scalar_halves {
    int exponent; /* -127 .. 120 */
    float unit, inverse;
} scalar_halves;
/* For numbers up to `largest` times 64 or so. */
void scalar_halves_for(scalar_halves *s, float largest);
void scalar_halves_set(scalar_halves *s, int exponent);
bool scalar_halves_take(repr_reader *r, scalar_halves *s);
pith_status scalar_halves_put(pith_ctx *ctx, const scalar_halves *s, pith_buffer *out);
/* The nearest half, never an infinity. */
uint16_t scalar_half(const scalar_halves *s, float v);
float scalar_widen(const scalar_halves *s, uint16_t half);
pith_status scalar_put_shorts(pith_ctx *ctx, const uint16_t *v, size_t n, pith_buffer *out);

/* ---- uniform quantisation (quant.c), also inside of outliers ------------------------------------------ */

typedef enum quant_fit { QUANT_MINMAX, QUANT_MSE, QUANT_WEIGHTED } quant_fit;
typedef enum quant_grid { QUANT_UNIFORM, QUANT_NF4, QUANT_GAUSS } quant_grid;
typedef struct quant_spec {
    unsigned bits; /* 1..8 */
    size_t group;  /* columns; 0: all */
    quant_fit fit;
    quant_grid grid;
    bool symmetric;
    unsigned meta_bits; /* of scales and zeros; 0: halves, and zeros as codes */
    size_t meta_group;  /* rows */
} quant_spec;
/* PITH_E_ARGUMENT when the stage is no q or its meta makes no sense. */
pith_status quant_spec_of(pith_ctx *ctx, const pith_recipe_stage *stage, quant_spec *spec);
pith_status quant_columns(const repr_job *job, const quant_spec *spec, const repr_matrix *w, repr_columns **out);
pith_status quant_decode(const repr_job *job, const quant_spec *spec, repr_reader *in, repr_matrix *w);

/* ---- positions and values (sparse.c), also inside of outliers ------------------------------------------ */

typedef enum sparse_format { SPARSE_AUTO, SPARSE_BITMAP, SPARSE_CSR, SPARSE_GAPS, SPARSE_PATTERN } sparse_format;
/* What recipes may ask for: keep `keep` of every `of` neighbours. */
#define SPARSE_PATTERNS "none|1:4|2:4|4:8|1:2"
typedef struct sparse_pattern {
    uint8_t keep, of;
} sparse_pattern;
extern const sparse_pattern sparse_patterns[5];
/* mask [rows][cols] of 0 and 1; keep, of: of every `of` neighbours in a row `keep` are set (0: no pattern). */
pith_status sparse_put_mask(const repr_job *job, const uint8_t *mask, size_t rows, size_t cols, sparse_format format,
                            unsigned keep, unsigned of, pith_buffer *out);
/* Positions and values as columns were coded, mask and value [cols][rows]: the unit, the mask by rows, and the values
 * where it is set, by rows. */
pith_status sparse_put_columns(const repr_job *job, const scalar_halves *unit, const uint8_t *mask, const uint16_t *value,
                               size_t rows, size_t cols, sparse_format format, unsigned keep, unsigned of,
                               pith_buffer *out);
/* Into mask [rows][cols]; *count is how many are set. */
pith_status sparse_take_mask(const repr_job *job, repr_reader *in, size_t rows, size_t cols, uint8_t *mask,
                             size_t *count);

/* keep[i] = 1 for the n_keep largest of score[n], ties to the first. scratch[n]. */
void sparse_choose(const float *score, size_t n, size_t n_keep, uint8_t *keep, float *scratch);

/* The ops of the stages in represent_scalars. */
extern const repr_ops obs_ops, quant_ops, step_ops, ternary_ops, sign_ops, kmeans_ops, sparse_ops, outliers_ops,
    prune_ops, gguf_ops;
extern const pith_param obs_params[2], quant_params[6], step_params[8], ternary_params[4], sign_params[1],
    kmeans_params[2], sparse_params[6], outliers_params[2], prune_params[4], gguf_params[1];

#endif
