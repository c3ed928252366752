/* math: exact float kernels. The room's door.
 *
 * "Exact" means: the same bits on every machine, instruction set, compiler and optimisation
 * level. Only + - * / and sqrt of IEEE 754 single precision are used, each rounded to nearest
 * even. A product and the addition after it are two roundings, never one fused: hardware FMA
 * gained nothing on the machine this was measured on (0.035 ns per multiply-add either way,
 * loads being the limit) while fmaf() in the scalar code was 13 times slower.
 *
 * A reduction has 16 lanes: lane i starts at +0 and adds the elements i, i+16, i+32, ... in
 * index order; then lane i adds lane i+8, then i+4, then i+2, then i+1. Everything else is
 * element-wise, or adds along one index in order.
 *
 * Denormal numbers are ordinary numbers: callers must not set flush-to-zero. exp() gives +0
 * below 2^-126 so that the usual chains do not make any. A NaN comes out as a NaN, with no
 * promise about its sign and payload. The functions set no errno and need no alignment;
 * sizes may be 0; `y` may be the same array as `x`, but must not overlap it otherwise. */
#ifndef MATH_MATH_H
#define MATH_MATH_H

#include <stddef.h>
#include <stdint.h>

/* One step of Adam (Kingma and Ba, 2015), bias corrections included in `rate` and `epsilon`. */
typedef struct exact_adam {
    float rate;         /* learning rate * sqrt(1 - beta2^t) / (1 - beta1^t) */
    float beta1, beta2; /* decay of the two moments */
    float epsilon;      /* added to the root of the second moment */
    float clip;         /* gradients are first cut to [-clip, clip] */
} exact_adam;

typedef struct exact_ops {
    /* sum of x[i]*y[i], i < n; sum of x[i] */
    float (*dot)(const float *x, const float *y, size_t n);
    float (*sum)(const float *x, size_t n);
    /* y[i] = y[i] + a*x[i] */
    void (*axpy)(float *y, float a, const float *x, size_t n);
    /* y[i] = x[i]*z[i]; y may be either */
    void (*mul)(float *y, const float *x, const float *z, size_t n);
    /* y[i] = y[i] + x[i]*z[i] */
    void (*muladd)(float *y, const float *x, const float *z, size_t n);
    /* y[i] = (a*x[i])*z[i]; y may be either */
    void (*scale)(float *y, float a, const float *x, const float *z, size_t n);
    /* y[r] = dot(w + r*stride, x), r < rows, each over cols elements */
    void (*matvec)(float *y, const float *w, size_t stride, const float *x, size_t rows, size_t cols);
    /* c[i][j] = (...((c[i][j] + a[i][0]*b[0][j]) + a[i][1]*b[1][j]) ...), i < m, j < n, k terms,
     * with a[i][l] = a[i*a_row + l*a_col], b[l][j] = b[l*b_row + j], c[i][j] = c[i*c_row + j].
     * A matrix product (a_col 1), a transposed one (a_row 1), a transposed matrix times a
     * vector (m 1) and a sum of outer products (a = [k][m]) are all this one kernel. */
    void (*matmul)(float *c, size_t c_row, const float *a, size_t a_row, size_t a_col, const float *b, size_t b_row,
                   size_t m, size_t n, size_t k);
    /* y[j][i] = x[i][j], i < rows, j < cols, both without gaps; y is not x */
    void (*transpose)(float *y, const float *x, size_t rows, size_t cols);
    /* y[i] = f(x[i]). Error bounds in units in the last place, tested against long double:
     * exp 1.5 (overflow gives inf, results below 2^-126 give +0), log 1.5, sigmoid 2.5,
     * tanh 2.5, softplus 2.5, silu 3.5, rsqrt 1.5 (1/sqrt). */
    void (*exp)(float *y, const float *x, size_t n);
    void (*log)(float *y, const float *x, size_t n);
    void (*sigmoid)(float *y, const float *x, size_t n);
    void (*tanh)(float *y, const float *x, size_t n);
    void (*softplus)(float *y, const float *x, size_t n);
    void (*silu)(float *y, const float *x, size_t n);
    void (*rsqrt)(float *y, const float *x, size_t n);
    /* 0.5*x*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x^3))), the tanh form (Hendrycks and Gimpel, 2016) */
    void (*gelu)(float *y, const float *x, size_t n);
    /* y[i] = the float that half x[i] (IEEE 754 binary16) means, exactly */
    void (*widen)(float *y, const uint16_t *x, size_t n);
    /* g[i] = g[i] * d/dx silu(x[i]) */
    void (*silu_back)(float *g, const float *x, size_t n);
    /* y = exp(x - max x) / sum; the largest is taken in lane order too (no rounding in it). n >= 1 */
    void (*softmax)(float *y, const float *x, size_t n);
    /* m = b1*m + (1-b1)*g; v = b2*v + (1-b2)*g*g; w = w - rate*m/(sqrt(v) + epsilon); g = 0.
     * Gradients below 2^-50 and moments below 2^-100 in size count as 0: no denormals arise. */
    void (*adam)(float *w, float *m, float *v, float *g, size_t n, const exact_adam *p);
    /* One step of a diagonal recurrence with n_state numbers for each of n channels, rows of
     * n: h1[s][i] = a[i]^(s+1) * h0[s][i] + b[s]*x[i], powers by repeated multiplication;
     * y[i] = sum over s, in order, of c[s]*h1[s][i]. */
    void (*recur)(float *h1, float *y, const float *h0, const float *a, const float *b, const float *c, const float *x,
                  size_t n_state, size_t n);
    /* Its gradient. In: gy[n] of the output, gh[n_state][n] of h1 from later steps. Out: gh of
     * h0 (in place), ga[n] of a, gx[n] of x, gb[n_state] and gc[n_state] of b and c. */
    void (*recur_back)(float *gh, float *ga, float *gb, float *gc, float *gx, const float *gy, const float *h0,
                       const float *h1, const float *a, const float *b, const float *c, const float *x, size_t n_state,
                       size_t n);
} exact_ops;

/* The kernels for pith_cpu_best(). */
const exact_ops *exact(void);
/* Those for one instruction set (a pith_cpu_level), NULL when the build or machine lacks it. */
const exact_ops *exact_for(int cpu_level);

/* Double precision, with + - * / alone (real.c): errors below 2^-50 of the result, of 1 for
 * sine and cosine. real_exp gives +0 below -708, inf above 709; real_sin_cos NaN from 1e6 on. */
double real_exp(double x);
double real_log(double x);
double real_pow(double base, double exponent); /* base > 0 */
void real_sin_cos(double x, double *sine, double *cosine);

#endif
