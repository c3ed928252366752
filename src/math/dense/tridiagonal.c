/* Eigenvalues and vectors of a symmetric matrix in plain C and doubles: Householder reflections to tridiagonal form,
 * then implicit QL steps (Golub and Van Loan, Matrix Computations, 8.3; Bowdler, Martin, Reinsch and Wilkinson 1968).
 * Vectors are kept in rows, so that reflections and rotations run along memory. */
#include <math.h>

#include "math/dense/lanes.h"
#include "math/dense/parts.h"

/* a (full) becomes the tridiagonal (d, e), e[k] beside d[k] and d[k + 1]; row k of a keeps the reflection's vector v
 * of length sqrt(2) in columns k + 1 and up (zeros when there is none), so that I - v v^T is the reflection. */
static void reduce(double *a, size_t n, double *d, double *e, double *p) {
    for (size_t k = 0; k + 1 < n; k++) {
        double *v = a + k * n + k + 1;
        size_t m = n - k - 1;
        d[k] = a[k * n + k];
        double length = sqrt(lanes_dot(v, v, m)), pivot = v[0];
        e[k] = pivot > 0 ? -length : length;
        if (m == 1 || length == 0) {
            e[k] = pivot;
            memset(v, 0, m * sizeof *v);
            continue;
        }
        v[0] -= e[k];
        double scale = 1 / sqrt(length * (length + fabs(pivot)));
        for (size_t i = 0; i < m; i++) v[i] *= scale;
        for (size_t i = 0; i < m; i++) p[i] = lanes_dot(a + (k + 1 + i) * n + k + 1, v, m);
        lanes_add(p, -0.5 * lanes_dot(p, v, m), v, m);
        for (size_t i = 0; i < m; i++) {
            double *row = a + (k + 1 + i) * n + k + 1;
            double vi = v[i], pi = p[i];
            for (size_t j = 0; j < m; j++) row[j] -= vi * p[j] + pi * v[j];
        }
    }
    d[n - 1] = a[n * n - 1];
    e[n - 1] = 0;
}

/* The transposed product of all reflections, over them: rows k and up at step k depend on v_k alone. */
static void accumulate(double *a, size_t n, double *v) {
    for (size_t k = n; k-- > 0;) {
        size_t m = n - k - 1;
        memcpy(v, a + k * n + k + 1, m * sizeof *v);
        for (size_t i = k + 1; i < n; i++) {
            double *row = a + i * n + k + 1;
            lanes_add(row, -lanes_dot(row, v, m), v, m);
            a[i * n + k] = 0;
        }
        memset(a + k * n + k + 1, 0, m * sizeof *v);
        a[k * n + k] = 1;
    }
}

static void rotate(double *restrict low, double *restrict high, double c, double s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double x = low[i], y = high[i];
        high[i] = s * x + c * y;
        low[i] = c * x - s * y;
    }
}

static bool iterate(double *z, size_t n, double *d, double *e) {
    double most = 0;
    for (size_t i = 0; i < n; i++) most = PITH_MAX(most, fabs(d[i]) + fabs(e[i]));
    for (size_t first = 0; first < n; first++) {
        for (int round = 0;; round++) {
            size_t last = first; /* of the block that does not fall apart yet */
            while (last + 1 < n && fabs(e[last]) > 0x1p-53 * (fabs(d[last]) + fabs(d[last + 1])) + 0x1p-70 * most)
                last++;
            if (last == first) break;
            if (round == 60) return false;
            /* Wilkinson's shift, then chase the bulge from the end of the block to its start. */
            double t = (d[first + 1] - d[first]) / (2 * e[first]), root = hypot(t, 1);
            double g = d[last] - d[first] + e[first] / (t + (t < 0 ? -root : root));
            double s = 1, c = 1, shift = 0;
            size_t i = last;
            while (i-- > first) {
                double f = s * e[i], b = c * e[i], r = hypot(f, g);
                e[i + 1] = r;
                if (r == 0) {
                    d[i + 1] -= shift;
                    break;
                }
                s = f / r;
                c = g / r;
                g = d[i + 1] - shift;
                r = (d[i] - g) * s + 2 * c * b;
                shift = s * r;
                d[i + 1] = g + shift;
                g = c * r - b;
                rotate(z + i * n, z + (i + 1) * n, c, s, n);
                if (i == first) {
                    d[first] -= shift;
                    e[first] = g;
                }
            }
            e[last] = 0;
        }
    }
    return true;
}

static void sort_rows(double *z, size_t n, double *d) {
    for (size_t i = 0; i + 1 < n; i++) {
        size_t least = i;
        for (size_t j = i + 1; j < n; j++)
            if (d[j] < d[least]) least = j;
        if (least == i) continue;
        double value = d[i];
        d[i] = d[least];
        d[least] = value;
        for (size_t k = 0; k < n; k++) {
            double x = z[i * n + k];
            z[i * n + k] = z[least * n + k];
            z[least * n + k] = x;
        }
    }
}

bool dense_symmetric(double *a, size_t n, double *values, double *work) {
    reduce(a, n, values, work, work + n);
    accumulate(a, n, work + n);
    if (!iterate(a, n, values, work)) return false;
    sort_rows(a, n, values);
    return true;
}
