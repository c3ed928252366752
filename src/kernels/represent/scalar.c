/* Turning of matrices and planes, and half floats with a common exponent. */
#include "kernels/represent/scalar.h"

#include <math.h>

#include "formats/blocks/blocks.h"

enum { TILE = 32 };

void scalar_columns_get(const float *w, size_t rows, size_t cols, size_t first, size_t n, float *out) {
    for (size_t r0 = 0; r0 < rows; r0 += TILE)
        for (size_t j0 = 0; j0 < n; j0 += TILE) {
            size_t r1 = PITH_MIN(rows, r0 + TILE), j1 = PITH_MIN(n, j0 + TILE);
            for (size_t j = j0; j < j1; j++)
                for (size_t r = r0; r < r1; r++) out[j * rows + r] = w[r * cols + first + j];
        }
}

void scalar_columns_put(const float *by_columns, size_t rows, size_t cols, size_t first, size_t n, float *w) {
    for (size_t r0 = 0; r0 < rows; r0 += TILE)
        for (size_t j0 = 0; j0 < n; j0 += TILE) {
            size_t r1 = PITH_MIN(rows, r0 + TILE), j1 = PITH_MIN(n, j0 + TILE);
            for (size_t r = r0; r < r1; r++)
                for (size_t j = j0; j < j1; j++) w[r * cols + first + j] = by_columns[j * rows + r];
        }
}

void scalar_codes_turn(const uint16_t *by_columns, size_t rows, size_t cols, uint16_t *out) {
    for (size_t r0 = 0; r0 < rows; r0 += TILE)
        for (size_t j0 = 0; j0 < cols; j0 += TILE) {
            size_t r1 = PITH_MIN(rows, r0 + TILE), j1 = PITH_MIN(cols, j0 + TILE);
            for (size_t r = r0; r < r1; r++)
                for (size_t j = j0; j < j1; j++) out[r * cols + j] = by_columns[j * rows + r];
        }
}

pith_status scalar_room(pith_ctx *ctx, size_t rows, size_t cols, size_t size, size_t *n) {
    if (rows == 0 || cols == 0 || rows > SIZE_MAX / cols || rows * cols > SIZE_MAX / 2 / size)
        return pith_fail(ctx, PITH_E_LIMIT, "a matrix of %zu rows and %zu columns cannot be coded", rows, cols);
    *n = rows * cols;
    return PITH_OK;
}

pith_status scalar_put_plane(const repr_job *job, const uint16_t *by_columns, size_t rows, size_t cols,
                             uint32_t alphabet, pith_buffer *out) {
    if (alphabet < 2) return PITH_OK;
    uint16_t *turned = pith_alloc(job->ctx, rows * cols * sizeof *turned);
    if (!turned) return pith_alloc_status(job->ctx);
    scalar_codes_turn(by_columns, rows, cols, turned);
    repr_plane plane = {turned, rows * cols, cols, alphabet};
    pith_status status = repr_pack(job, &plane, out);
    pith_free(job->ctx, turned);
    return status;
}

pith_status scalar_take_plane(const repr_job *job, repr_reader *in, uint16_t *codes, size_t n, size_t row,
                              uint32_t alphabet) {
    if (alphabet >= 2) return repr_unpack(job, in, codes, n, row, alphabet);
    memset(codes, 0, n * sizeof *codes);
    return PITH_OK;
}

float scalar_input(const repr_stats *stats, size_t j) {
    if (stats && stats->h) return stats->h[j];
    if (stats && stats->gram) return stats->gram[j * (j + 1) / 2 + j];
    return 1;
}

pith_status scalar_check(pith_ctx *ctx, const repr_matrix *w) {
    for (size_t r = 0; r < w->rows; r++) {
        float bad = 0; /* a NaN as soon as one number is not finite */
        for (size_t j = 0; j < w->cols; j++) bad += w->data[r * w->cols + j] * 0;
        if (bad != 0) return pith_fail(ctx, PITH_E_ARGUMENT, "row %zu of the matrix holds a NaN or an infinity", r);
    }
    return PITH_OK;
}

void scalar_halves_set(scalar_halves *s, int exponent) {
    s->exponent = exponent;
    s->unit = ldexpf(1, exponent);
    s->inverse = ldexpf(1, -exponent);
}

/* The largest lands at 2^9 to 2^10: 64 times that is still a half, and 2^-24 of it still has all its bits. */
void scalar_halves_for(scalar_halves *s, float largest) {
    int e = 0;
    if (largest > 0 && isfinite(largest)) (void)frexpf(largest, &e);
    e -= 10;
    scalar_halves_set(s, e < -120 ? -120 : e > 110 ? 110 : e);
}

bool scalar_halves_take(repr_reader *r, scalar_halves *s) {
    const uint8_t *p = repr_take(r, 1);
    if (!p) return false;
    int e = (int)p[0] - 128;
    if (e < -120 || e > 110) return false;
    scalar_halves_set(s, e);
    return true;
}

pith_status scalar_halves_put(pith_ctx *ctx, const scalar_halves *s, pith_buffer *out) {
    uint8_t byte = (uint8_t)(s->exponent + 128);
    return pith_buffer_append(ctx, out, &byte, 1);
}

uint16_t scalar_half(const scalar_halves *s, float v) {
    float scaled = v * s->inverse;
    return float_to_half(scaled > 65504 ? 65504 : scaled < -65504 ? -65504 : scaled);
}

float scalar_widen(const scalar_halves *s, uint16_t half) { return half_to_float(half) * s->unit; }

pith_status scalar_put_shorts(pith_ctx *ctx, const uint16_t *v, size_t n, pith_buffer *out) {
    pith_status status = pith_buffer_reserve(ctx, out, 2 * n);
    if (status) return status;
    for (size_t i = 0; i < n; i++) store16(out->data + out->size + 2 * i, v[i]);
    out->size += 2 * n;
    return PITH_OK;
}
