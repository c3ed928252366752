/* The operations of the learn kernel in double, with the plainest loops there are: what gradient checks run on. */
#ifndef TESTS_KERNELS_LEARN_DOUBLE_OPS_H
#define TESTS_KERNELS_LEARN_DOUBLE_OPS_H

#include "kernels/learn/ops.h"

#include <math.h>

typedef double real;

static void gemm(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const double *a, size_t lda,
                 const double *b, size_t ldb, double beta, double *c, size_t ldc) {
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t l = 0; l < k; l++)
                sum += (ta ? a[l * lda + i] : a[i * lda + l]) * (tb ? b[j * ldb + l] : b[l * ldb + j]);
            c[i * ldc + j] = alpha * sum + (beta != 0 ? beta * c[i * ldc + j] : 0);
        }
}
static double v_dot(const double *x, const double *y, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}
static double v_sum(const double *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    return sum;
}
static void v_axpy(double *y, double a, const double *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] += a * x[i];
}
static void v_mul(double *y, const double *x, const double *z, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] * z[i];
}
static void v_scale(double *y, double a, const double *x, const double *z, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = a * x[i] * z[i];
}
static void v_exp(double *y, const double *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = exp(x[i]);
}
static void v_sigmoid(double *y, const double *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = 1 / (1 + exp(-x[i]));
}

#include "kernels/learn/ops_core.h"

static const learn_kernels learn_double = {sizeof(real), kernels};

#endif
