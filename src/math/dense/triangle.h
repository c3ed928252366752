/* Cholesky factor and triangular inverse in plain C for REAL = float or double, four rows at a time so that what is
 * read from memory is used four times. Names end in TRIANGLE_NAME's suffix. */

static REAL TRIANGLE_NAME(dot)(const REAL *x, const REAL *y, size_t n) {
    REAL lane[16] = {0}, rest = 0;
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t k = 0; k < 16; k++) lane[k] += x[i + k] * y[i + k];
    for (; i < n; i++) rest += x[i] * y[i];
    for (size_t width = 8; width; width /= 2)
        for (size_t k = 0; k < width; k++) lane[k] += lane[k + width];
    return lane[0] + rest;
}

static void TRIANGLE_NAME(add)(REAL *restrict y, REAL a, const REAL *restrict x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] += a * x[i];
}

/* a = L L^T, row by row: L_ij = (a_ij - L_i . L_j) / L_jj over what stands before column j. */
static bool TRIANGLE_NAME(factor)(REAL *a, size_t n) {
    for (size_t i0 = 0; i0 < n; i0 += 4) {
        size_t last = PITH_MIN(n, i0 + 4);
        for (size_t j = 0; j < last; j++)
            for (size_t i = PITH_MAX(i0, j); i < last; i++) {
                REAL *row = a + i * n, v = row[j] - TRIANGLE_NAME(dot)(row, a + j * n, j);
                if (i > j) {
                    row[j] = v / a[j * n + j];
                } else {
                    if (!(v > 0) || v - v != 0) return false;
                    row[j] = (REAL)sqrt((double)v);
                }
            }
    }
    return true;
}

/* X = L^-1 over L: row i of X is -(sum over k < i of L_ik X_k) / L_ii, and 1 / L_ii. kept[4 * n]. */
static void TRIANGLE_NAME(invert)(REAL *a, size_t n, REAL *kept) {
    for (size_t i0 = 0; i0 < n; i0 += 4) {
        size_t last = PITH_MIN(n, i0 + 4);
        for (size_t i = i0; i < last; i++) {
            memcpy(kept + (i - i0) * n, a + i * n, (i + 1) * sizeof *a);
            memset(a + i * n, 0, (i + 1) * sizeof *a);
        }
        for (size_t k = 0; k < last; k++) {
            if (k >= i0) {
                REAL d = kept[(k - i0) * n + k];
                for (size_t j = 0; j < k; j++) a[k * n + j] /= -d;
                a[k * n + k] = 1 / d;
            }
            for (size_t i = PITH_MAX(i0, k + 1); i < last; i++)
                TRIANGLE_NAME(add)(a + i * n, kept[(i - i0) * n + k], a + k * n, k + 1);
        }
    }
}
