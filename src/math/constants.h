/* Constants of the exact kernels, shared by the scalar and the SIMD code: range reduction,
 * polynomial coefficients (single-precision minimax fits as in Cephes by S. Moshier), limits. */
#ifndef MATH_CONSTANTS_H
#define MATH_CONSTANTS_H

/* 1.5 * 2^23: adding and subtracting it rounds |x| < 2^22 to the nearest integer, ties to even. */
#define ROUND_MAGIC 12582912.0f
#define LOG2_E 1.44269504088896341f
#define LN2_HIGH 0.693359375f /* 355/512: times an integer below 2^15 it is exact */
#define LN2_LOW (-2.12194440e-4f)
#define EXP_MAX 88.7228394f    /* above: inf */
#define EXP_MIN (-87.3365402f) /* below: +0 */

/* e^r = 1 + r + r^2 * P(r), |r| <= ln2/2, highest power first */
#define EXP_P0 1.9875691500e-4f
#define EXP_P1 1.3981999507e-3f
#define EXP_P2 8.3334519073e-3f
#define EXP_P3 4.1665795894e-2f
#define EXP_P4 1.6666665459e-1f
#define EXP_P5 5.0000001201e-1f

/* ln(1+f) = f - f^2/2 + f^3 * Q(f), sqrt(1/2) <= 1+f < sqrt(2) */
#define SQRT_HALF 0.707106781186547524f
#define LOG_Q0 7.0376836292e-2f
#define LOG_Q1 (-1.1514610310e-1f)
#define LOG_Q2 1.1676998740e-1f
#define LOG_Q3 (-1.2420140846e-1f)
#define LOG_Q4 1.4249322787e-1f
#define LOG_Q5 (-1.6668057665e-1f)
#define LOG_Q6 2.0000714765e-1f
#define LOG_Q7 (-2.4999993993e-1f)
#define LOG_Q8 3.3333331174e-1f

/* tanh(x) = x + x^3 * R(x^2), |x| < 0.625 */
#define TANH_SMALL 0.625f
#define TANH_R0 (-5.70498872745e-3f)
#define TANH_R1 2.06390887954e-2f
#define TANH_R2 (-5.37397155531e-2f)
#define TANH_R3 1.33314422036e-1f
#define TANH_R4 (-3.33332819422e-1f)

#define GELU_ROOT 0.79788456080286535588f /* sqrt(2/pi) */
#define GELU_CUBE 0.044715f

/* Adam takes smaller gradients and moments for zeros. */
#define GRADIENT_TINY 8.8817842e-16f /* 2^-50 */
#define MOMENT_TINY 7.8886091e-31f   /* 2^-100 */

#endif
