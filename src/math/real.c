/* exp, log, sine and cosine in double precision from + - * / alone, so that tables and code
 * lengths made with them are the same on every machine. Plain series after the usual range
 * reductions; errors below 2^-50 of the result (of 1 for sine and cosine). */
#include <math.h>
#include <string.h>

#include "math/math.h"

/* 1.5 * 2^52: adding and subtracting it rounds |x| < 2^51 to the nearest integer, ties to even. */
#define ROUND_MAGIC_REAL 6755399441055744.0
/* Leading bits of a constant whose products with integers below 2^21 are exact, and the rest. */
#define LN2_HIGH_REAL 6.93147180369123816490e-01
#define LN2_LOW_REAL 1.90821492927058770002e-10
#define HALF_PI_HIGH 1.57079632673412561417e+00
#define HALF_PI_LOW 6.07710050650619224932e-11

static const double inverse_factorial[20] = {
    1.0,
    1.0,
    1.0 / 2.0,
    1.0 / 6.0,
    1.0 / 24.0,
    1.0 / 120.0,
    1.0 / 720.0,
    1.0 / 5040.0,
    1.0 / 40320.0,
    1.0 / 362880.0,
    1.0 / 3628800.0,
    1.0 / 39916800.0,
    1.0 / 479001600.0,
    1.0 / 6227020800.0,
    1.0 / 87178291200.0,
    1.0 / 1307674368000.0,
    1.0 / 20922789888000.0,
    1.0 / 355687428096000.0,
    1.0 / 6402373705728000.0,
    1.0 / 121645100408832000.0,
};

static double with_exponent(double x, int64_t e) {
    uint64_t u = (uint64_t)(e + 1023) << 52;
    double scale;
    memcpy(&scale, &u, sizeof scale);
    return x * scale;
}

double real_exp(double x) {
    if (x != x) return x;
    if (x > 709.0) return INFINITY;
    if (x < -708.0) return 0.0;
    double n = (x * 1.44269504088896340736 + ROUND_MAGIC_REAL) - ROUND_MAGIC_REAL;
    double r = (x - n * LN2_HIGH_REAL) - n * LN2_LOW_REAL; /* |r| <= ln2 / 2 */
    double sum = inverse_factorial[14];                    /* of r^k / k! */
    for (int k = 13; k >= 0; k--) sum = sum * r + inverse_factorial[k];
    return with_exponent(sum, (int64_t)n);
}

double real_log(double x) {
    if (x != x || x == INFINITY) return x;
    if (x < 0.0) return NAN;
    if (x == 0.0) return -INFINITY;
    int64_t e = 0;
    if (x < 2.2250738585072014e-308) {
        x = x * 18014398509481984.0; /* 2^54 */
        e = -54;
    }
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    e += (int64_t)(u >> 52) - 1023;
    u = (u & 0x000fffffffffffffu) | 0x3ff0000000000000u; /* [1, 2) */
    double m;
    memcpy(&m, &u, sizeof m);
    if (m > 1.41421356237309504880) {
        m = m * 0.5;
        e++;
    }
    double s = (m - 1.0) / (m + 1.0), z = s * s, sum = 0.0; /* ln m = 2 * (s + s^3/3 + s^5/5 + ...), z < 0.0295 */
    for (int k = 23; k > 1; k -= 2) sum = (sum + 1.0 / k) * z;
    return (double)e * LN2_HIGH_REAL + ((double)e * LN2_LOW_REAL + 2.0 * (s + s * sum));
}

double real_pow(double base, double exponent) { return real_exp(exponent * real_log(base)); }

void real_sin_cos(double x, double *sine, double *cosine) {
    if (!(x > -1e6 && x < 1e6)) {
        *sine = *cosine = NAN;
        return;
    }
    double n = (x * 0.63661977236758134308 + ROUND_MAGIC_REAL) - ROUND_MAGIC_REAL;
    double r = (x - n * HALF_PI_HIGH) - n * HALF_PI_LOW; /* |r| <= pi / 4 */
    double z = -(r * r), s = inverse_factorial[19], c = inverse_factorial[18];
    for (int k = 17; k > 0; k -= 2) s = s * z + inverse_factorial[k]; /* (r - r^3/3! + ...) / r */
    for (int k = 16; k >= 0; k -= 2) c = c * z + inverse_factorial[k];
    s = s * r;
    switch ((int64_t)n & 3) {
    case 0: *sine = s, *cosine = c; break;
    case 1: *sine = c, *cosine = -s; break;
    case 2: *sine = -s, *cosine = -c; break;
    default: *sine = -c, *cosine = s; break;
    }
}
