/* The operations in float: BLAS for products, the exact kernels for rows. */
#include "kernels/learn/ops.h"
#include "math/dense/dense.h"
#include "math/math.h"

typedef float real;

static void gemm(bool ta, bool tb, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                 const float *b, size_t ldb, float beta, float *c, size_t ldc) {
    dense_gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
static float v_dot(const float *x, const float *y, size_t n) { return exact()->dot(x, y, n); }
static float v_sum(const float *x, size_t n) { return exact()->sum(x, n); }
static void v_axpy(float *y, float a, const float *x, size_t n) { exact()->axpy(y, a, x, n); }
static void v_mul(float *y, const float *x, const float *z, size_t n) { exact()->mul(y, x, z, n); }
static void v_scale(float *y, float a, const float *x, const float *z, size_t n) { exact()->scale(y, a, x, z, n); }
static void v_exp(float *y, const float *x, size_t n) { exact()->exp(y, x, n); }
static void v_sigmoid(float *y, const float *x, size_t n) { exact()->sigmoid(y, x, n); }

#include "kernels/learn/ops_core.h"

const learn_kernels learn_float = {sizeof(real), kernels};
