/* Sums and multiples of rows of doubles, four sums at once where a row is used four times. Private to dense/. */
#ifndef MATH_DENSE_LANES_H
#define MATH_DENSE_LANES_H

#include "base/base.h"

PITH_INLINE double lanes_dot(const double *x, const double *y, size_t n) {
    double lane[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t k = 0; k < 8; k++) lane[k] += x[i + k] * y[i + k];
    double rest = 0;
    for (; i < n; i++) rest += x[i] * y[i];
    return ((lane[0] + lane[4]) + (lane[1] + lane[5])) + ((lane[2] + lane[6]) + (lane[3] + lane[7])) + rest;
}

/* The same of floats, summed in doubles. */
PITH_INLINE double lanes_dot_floats(const float *x, const float *y, size_t n) {
    double lane[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t k = 0; k < 8; k++) lane[k] += (double)x[i + k] * (double)y[i + k];
    double rest = 0;
    for (; i < n; i++) rest += (double)x[i] * (double)y[i];
    return ((lane[0] + lane[4]) + (lane[1] + lane[5])) + ((lane[2] + lane[6]) + (lane[3] + lane[7])) + rest;
}

/* y += a * x */
PITH_INLINE void lanes_add(double *restrict y, double a, const double *restrict x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] += a * x[i];
}

#endif
