/* hadamard and wavelet: orthonormal changes of basis that need no side information. hadamard spreads outliers over a
 * block; its random signs make that so for any weights. wavelet gathers what is smooth. */
#include "kernels/represent/transform_parts.h"
#include "math/transform/transform.h"

/* The sign of every column, 64 from one number of splitmix64 (Steele, Lea and Flood 2014). */
static void flip(float *x, size_t rows, size_t cols, uint64_t seed) {
    uint64_t z = 0;
    for (size_t j = 0; j < cols; j++, z >>= 1) {
        if (j % 64 == 0) {
            seed += UINT64_C(0x9E3779B97F4A7C15);
            z = (seed ^ seed >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
            z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
            z ^= z >> 31;
        }
        if (z & 1)
            for (size_t i = 0; i < rows; i++) x[i * cols + j] = -x[i * cols + j];
    }
}

static pith_status hadamard_check(const repr_job *job) {
    size_t block = (size_t)job->args->value[HADAMARD_BLOCK];
    if ((block & (block - 1)) == 0) return PITH_OK;
    return pith_fail(job->ctx, PITH_E_ARGUMENT, "column %u: hadamard expects a power of two as its block, not %zu",
                     job->args->column, block);
}

static pith_status hadamard_rows(const repr_job *job, float *x, size_t rows, size_t cols) {
    if (job->args->value[HADAMARD_SIGNS] != 0) flip(x, rows, cols, job->seed);
    transform_hadamard(x, rows, cols, (size_t)job->args->value[HADAMARD_BLOCK]);
    return PITH_OK;
}

static pith_status hadamard_forward(const repr_job *job, repr_matrix *w, repr_stats *stats, pith_buffer *side) {
    (void)side;
    pith_status status = hadamard_check(job);
    if (!status) status = hadamard_rows(job, w->data, w->rows, w->cols);
    return status ? status : transform_stats_rotate(job, w->cols, hadamard_rows, stats);
}

static pith_status hadamard_inverse(const repr_job *job, repr_reader *side, repr_matrix *w) {
    (void)side;
    pith_status status = hadamard_check(job);
    if (status) return status;
    transform_hadamard(w->data, w->rows, w->cols, (size_t)job->args->value[HADAMARD_BLOCK]);
    if (job->args->value[HADAMARD_SIGNS] != 0) flip(w->data, w->rows, w->cols, job->seed);
    return PITH_OK;
}

static transform_wavelet kind_of(const repr_job *job) { return (transform_wavelet)(int)job->args->value[WAVELET_NAME]; }

static pith_status wavelet_rows(const repr_job *job, float *x, size_t rows, size_t cols) {
    return transform_wavelet_rows(job->ctx, kind_of(job), (unsigned)job->args->value[WAVELET_LEVELS], false, x, rows,
                                  cols);
}

/* Outputs change too, which is no matter of the statistics: the transform of them is orthonormal. */
static pith_status wavelet_forward(const repr_job *job, repr_matrix *w, repr_stats *stats, pith_buffer *side) {
    (void)side;
    pith_status status = wavelet_rows(job, w->data, w->rows, w->cols);
    if (!status)
        status = transform_wavelet_cols(job->ctx, kind_of(job), (unsigned)job->args->value[WAVELET_LEVELS], false,
                                        w->data, w->rows, w->cols);
    return status ? status : transform_stats_rotate(job, w->cols, wavelet_rows, stats);
}

static pith_status wavelet_inverse(const repr_job *job, repr_reader *side, repr_matrix *w) {
    (void)side;
    unsigned levels = (unsigned)job->args->value[WAVELET_LEVELS];
    pith_status status = transform_wavelet_cols(job->ctx, kind_of(job), levels, true, w->data, w->rows, w->cols);
    return status ? status : transform_wavelet_rows(job->ctx, kind_of(job), levels, true, w->data, w->rows, w->cols);
}

const repr_ops transform_hadamard_ops = {
    .kind = REPR_TRANSFORM, .forward = hadamard_forward, .inverse = hadamard_inverse};
const repr_ops transform_wavelet_ops = {.kind = REPR_TRANSFORM, .forward = wavelet_forward, .inverse = wavelet_inverse};
