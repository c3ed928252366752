/* What the transforms of matrices share (transform_*.c). Private to the room. */
#ifndef REPRESENT_TRANSFORM_PARTS_H
#define REPRESENT_TRANSFORM_PARTS_H

#include "kernels/represent/represent.h"

/* Parameters, in the order of the tables in transform.c. */
enum { PERM_BY };
enum { PERM_ACT, PERM_NORM, PERM_FILE };
enum { SCALE_BY, SCALE_ALPHA, SCALE_BITS, SCALE_GROUP };
enum { SCALE_ACT, SCALE_AWQ };
enum { NORM_FIRST, NORM_THEN, NORM_KEEP };
enum { NORM_COL, NORM_ROW };
enum { UNIT_BY };
enum { HADAMARD_BLOCK, HADAMARD_SIGNS };
enum { WAVELET_NAME, WAVELET_LEVELS };

extern const repr_ops transform_perm, transform_scale, transform_norm2, transform_unit, transform_hadamard_ops,
    transform_wavelet_ops;

/* ---- statistics of changed inputs (transform_stats.c) ---- */

/* h as given, or the diagonal of the Gram matrix: *h is one of the job's, or *own, which the caller frees, or NULL. */
pith_status transform_powers(const repr_job *job, size_t cols, const float **h, float **own);
/* x' = f x for each input. */
pith_status transform_stats_scale(const repr_job *job, size_t cols, const float *f, repr_stats *stats);
/* x'_j = x_order[j]. */
pith_status transform_stats_order(const repr_job *job, size_t cols, const uint32_t *order, repr_stats *stats);
/* x' = R x, where `rotate` turns every row r of a matrix [rows][cols] into (R r^T)^T. */
typedef pith_status (*transform_rotate_fn)(const repr_job *job, float *x, size_t rows, size_t cols);
pith_status transform_stats_rotate(const repr_job *job, size_t cols, transform_rotate_fn rotate, repr_stats *stats);

/* ---- factors as half floats (transform_factors.c) ---- */

/* Writes n positive factors: the largest as a float, each as a half of it, no less than 2^-14 of it. values[n] become
 * what is read back. */
pith_status transform_put_factors(const repr_job *job, pith_buffer *out, float *values, size_t n);
pith_status transform_take_factors(const repr_job *job, repr_reader *in, float *values, size_t n);

#endif
