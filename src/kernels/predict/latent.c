/* Latent labels of the rows and columns of a table: k-means over its leading singular vectors (A. Montanari, E. Weiner,
 * "Compressing tabular data via latent variable estimation", 2023). Encoders only: the labels are coded. */
#include <float.h>
#include <math.h>

#include "kernels/predict/predict.h"

enum { POWER_ROUNDS = 40, MEANS_ROUNDS = 30 };

/* A number in -1..1 from a counter, the same everywhere. */
static double noise(uint64_t i) {
    i = (i + 1) * 0x9E3779B97F4A7C15u;
    i = (i ^ i >> 31) * 0xBF58476D1CE4E5B9u;
    return (double)(int64_t)(i ^ i >> 29) / 9.3e18;
}

static double normalise(double *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
    sum = sqrt(sum);
    for (size_t i = 0; i < n && sum > 0; i++) x[i] /= sum;
    return sum;
}

/* Singular vectors number `found` by power iteration on what those before leave: rows[m], scaled by the singular value,
 * and columns[n]. rows and columns hold the vectors before, behind one another. */
static void next_vector(const float *a, size_t m, size_t n, double mean, double *rows, double *columns,
                        unsigned found) {
    double *u = rows + found * m, *v = columns + found * n;
    for (size_t j = 0; j < n; j++) v[j] = noise(j + 1000 * found);
    normalise(v, n);
    for (unsigned round = 0; round < POWER_ROUNDS; round++) {
        for (size_t i = 0; i < m; i++) {
            u[i] = 0;
            for (size_t j = 0; j < n; j++) u[i] += ((double)a[i * n + j] - mean) * v[j];
        }
        for (unsigned k = 0; k < found; k++) {
            double along = 0;
            for (size_t j = 0; j < n; j++) along += columns[k * n + j] * v[j];
            for (size_t i = 0; i < m; i++) u[i] -= along * rows[k * m + i];
        }
        if (round + 1 == POWER_ROUNDS) break;
        for (size_t j = 0; j < n; j++) v[j] = 0;
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < n; j++) v[j] += ((double)a[i * n + j] - mean) * u[i];
        for (unsigned k = 0; k < found; k++) {
            double along = 0;
            for (size_t i = 0; i < m; i++) along += rows[k * m + i] * u[i];
            for (size_t j = 0; j < n; j++) v[j] -= along * columns[k * n + j];
        }
        normalise(v, n);
    }
}

static double apart(const double *x, size_t n, unsigned r, size_t i, const double *centre) {
    double sum = 0;
    for (unsigned k = 0; k < r; k++) sum += (x[k * n + i] - centre[k]) * (x[k * n + i] - centre[k]);
    return sum;
}

/* Labels of n points of r coordinates, x[k * n + i]: centres far apart at first, then Lloyd's rounds. */
static void means(const double *x, size_t n, unsigned r, unsigned k, uint8_t *label) {
    double centre[LATENT_MAX][LATENT_MAX] = {{0}}, count[LATENT_MAX];
    for (unsigned c = 0; c < k; c++) {
        size_t far = 0;
        double most = -1;
        for (size_t i = 0; i < n; i++) {
            double near = DBL_MAX;
            for (unsigned b = 0; b < c; b++) near = fmin(near, apart(x, n, r, i, centre[b]));
            if (near > most) {
                most = near;
                far = i;
            }
        }
        for (unsigned d = 0; d < r; d++) centre[c][d] = x[d * n + far];
    }
    for (unsigned round = 0; round < MEANS_ROUNDS; round++) {
        for (size_t i = 0; i < n; i++) {
            label[i] = 0;
            for (unsigned c = 1; c < k; c++)
                if (apart(x, n, r, i, centre[c]) < apart(x, n, r, i, centre[label[i]])) label[i] = (uint8_t)c;
        }
        memset(centre, 0, sizeof centre);
        memset(count, 0, sizeof count);
        for (size_t i = 0; i < n; i++) {
            count[label[i]]++;
            for (unsigned d = 0; d < r; d++) centre[label[i]][d] += x[d * n + i];
        }
        for (unsigned c = 0; c < k; c++)
            for (unsigned d = 0; d < r && count[c] > 0; d++) centre[c][d] /= count[c];
    }
}

pith_status latent_cluster(pith_ctx *ctx, const float *a, size_t m, size_t n, unsigned rank, unsigned k_rows,
                           unsigned k_columns, uint8_t *row_label, uint8_t *column_label) {
    if (!m || !n || rank < 1 || rank > LATENT_MAX || k_rows < 1 || k_rows > LATENT_MAX || k_columns < 1 ||
        k_columns > LATENT_MAX)
        return pith_fail(ctx, PITH_E_ARGUMENT, "rank and numbers of labels of a table are 1 to %d", LATENT_MAX);
    double mean = 0, *rows = pith_alloc(ctx, rank * (m + n) * sizeof *rows);
    if (!rows) return pith_alloc_status(ctx);
    double *columns = rows + rank * m;
    for (size_t i = 0; i < m * n; i++) mean += (double)a[i];
    mean /= (double)(m * n);
    for (unsigned k = 0; k < rank; k++) next_vector(a, m, n, mean, rows, columns, k);
    means(rows, m, rank, k_rows, row_label);
    /* columns are vectors of unit length: each weighs what its singular value says */
    for (unsigned k = 0; k < rank; k++) {
        double value = 0;
        for (size_t i = 0; i < m; i++) value += rows[k * m + i] * rows[k * m + i];
        for (size_t j = 0; j < n; j++) columns[k * n + j] *= sqrt(value);
    }
    means(columns, n, rank, k_columns, column_label);
    pith_free(ctx, rows);
    return PITH_OK;
}
