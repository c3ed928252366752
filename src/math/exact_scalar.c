/* The reference: exact kernels in plain C, one element after another. Whatever the files with
 * vectors do, they must give these bits. Runs where the compiler knows no vectors, and in the tests. */
#include <math.h>
#include <string.h>

#include "math/constants.h"
#include "math/exact.h"

typedef union bits32 {
    float f;
    uint32_t u;
} bits32;

static float from_bits(uint32_t u) {
    bits32 b;
    b.u = u;
    return b.f;
}

static uint32_t to_bits(float f) {
    bits32 b;
    b.f = f;
    return b.u;
}

static float absolute(float f) { return from_bits(to_bits(f) & 0x7fffffffu); }

static float tree(float lane[16]) {
    for (int half = 8; half > 0; half >>= 1)
        for (int i = 0; i < half; i++) lane[i] = lane[i] + lane[i + half];
    return lane[0];
}

static float scalar_dot(const float *x, const float *y, size_t n) {
    float lane[16] = {0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t l = 0; l < 16; l++) lane[l] = lane[l] + x[i + l] * y[i + l];
    for (size_t l = 0; i + l < n; l++) lane[l] = lane[l] + x[i + l] * y[i + l];
    return tree(lane);
}

static float scalar_sum(const float *x, size_t n) {
    float lane[16] = {0};
    for (size_t i = 0; i < n; i++) lane[i & 15] = lane[i & 15] + x[i];
    return tree(lane);
}

static void scalar_axpy(float *y, float a, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = y[i] + a * x[i];
}

static void scalar_mul(float *y, const float *x, const float *z, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] * z[i];
}

static void scalar_muladd(float *y, const float *x, const float *z, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = y[i] + x[i] * z[i];
}

static void scalar_scale(float *y, float a, const float *x, const float *z, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = (a * x[i]) * z[i];
}

static void scalar_matvec(float *y, const float *w, size_t stride, const float *x, size_t rows, size_t cols) {
    for (size_t r = 0; r < rows; r++) y[r] = scalar_dot(w + r * stride, x, cols);
}

static void scalar_matmul(float *c, size_t c_row, const float *a, size_t a_row, size_t a_col, const float *b,
                          size_t b_row, size_t m, size_t n, size_t k) {
    for (size_t i = 0; i < m; i++)
        for (size_t l = 0; l < k; l++) scalar_axpy(c + i * c_row, a[i * a_row + l * a_col], b + l * b_row, n);
}

static void scalar_transpose(float *y, const float *x, size_t rows, size_t cols) {
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++) y[j * rows + i] = x[i * cols + j];
}

static float exp1(float x) {
    /* Written so that a NaN passes through: a comparison with it is false. */
    float t = x > EXP_MAX ? EXP_MAX : x;
    t = t < EXP_MIN ? EXP_MIN : t;
    t = t != t ? 0.0f : t;
    float magic = t * LOG2_E + ROUND_MAGIC;
    float n = magic - ROUND_MAGIC;
    float r = t - n * LN2_HIGH;
    r = r - n * LN2_LOW;
    float p = EXP_P0;
    p = p * r + EXP_P1;
    p = p * r + EXP_P2;
    p = p * r + EXP_P3;
    p = p * r + EXP_P4;
    p = p * r + EXP_P5;
    p = p * (r * r);
    p = p + r;
    p = p + 1.0f;
    /* times 2^n in two steps, as 2^128 is not a float and p may be below 1 at n = -126 */
    int32_t ni = (int32_t)(to_bits(magic) - to_bits(ROUND_MAGIC));
    int32_t half = ni >> 1;
    float y = p * from_bits((uint32_t)(half + 127) << 23);
    y = y * from_bits((uint32_t)(ni - half + 127) << 23);
    y = x < EXP_MIN ? 0.0f : y;
    y = x > EXP_MAX ? INFINITY : y;
    return x != x ? x : y;
}

/* ln(x) of a positive number; any other x gives whatever, for the caller to replace. */
static float log_positive(float x) {
    int tiny = x < 1.17549435e-38f;
    float t = tiny ? x * 8388608.0f : x;
    uint32_t u = to_bits(t);
    int32_t e = (int32_t)(u >> 23) - 126 - (tiny ? 23 : 0);
    float f = from_bits((u & 0x007fffffu) | 0x3f000000u); /* [0.5, 1) */
    int low = f < SQRT_HALF;
    e = low ? e - 1 : e;
    f = low ? f + f : f;
    f = f - 1.0f;
    float z = f * f;
    float p = LOG_Q0;
    p = p * f + LOG_Q1;
    p = p * f + LOG_Q2;
    p = p * f + LOG_Q3;
    p = p * f + LOG_Q4;
    p = p * f + LOG_Q5;
    p = p * f + LOG_Q6;
    p = p * f + LOG_Q7;
    p = p * f + LOG_Q8;
    p = p * f;
    p = p * z;
    float ef = (float)e;
    p = p + ef * LN2_LOW;
    p = p - z * 0.5f;
    p = f + p;
    return p + ef * LN2_HIGH;
}

static float log1(float x) {
    float y = log_positive(x);
    y = x == 0.0f ? -INFINITY : y;
    y = x < 0.0f ? NAN : y;
    return x != x || x == INFINITY ? x : y;
}

static float sigmoid1(float x) {
    /* 1/(1+e^-x) loses its accuracy nowhere: e^-x is accurate to a few ulp at both ends. */
    return 1.0f / (1.0f + exp1(-x));
}

static float tanh1(float x) {
    float a = absolute(x);
    float z = x * x;
    float p = TANH_R0;
    p = p * z + TANH_R1;
    p = p * z + TANH_R2;
    p = p * z + TANH_R3;
    p = p * z + TANH_R4;
    p = p * z;
    p = p * x + x;
    float q = 1.0f - 2.0f / (exp1(a + a) + 1.0f);
    q = x < 0.0f ? -q : q;
    return a < TANH_SMALL ? p : q;
}

static float softplus1(float x) {
    float a = from_bits(to_bits(x) | 0x80000000u); /* -|x| */
    float e = exp1(a);
    float u = 1.0f + e;
    /* ln(1+e) = ln(u) + (e - (u-1))/u, the second term being what rounding u lost */
    float l = log_positive(u) + (e - (u - 1.0f)) / u;
    float y = (x > 0.0f ? x : 0.0f) + l;
    return x != x ? x : y;
}

static float silu1(float x) {
    float y = x / (1.0f + exp1(-x));
    return x == -INFINITY ? -0.0f : y;
}

static float rsqrt1(float x) { return 1.0f / sqrtf(x); }

static float gelu1(float x) {
    float t = x * (1.0f + GELU_CUBE * (x * x));
    return 0.5f * x * (1.0f + tanh1(GELU_ROOT * t));
}

static float widen1(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, e = h >> 10 & 31u, m = h & 0x3ffu;
    if (e == 31) return from_bits(sign | 0x7f800000u | m << 13);
    if (e) return from_bits(sign | (e + 112) << 23 | m << 13);
    float f = (float)(int)m * 5.9604644775390625e-8f; /* m * 2^-24 */
    return from_bits(sign | to_bits(f));
}

static void scalar_widen(float *y, const uint16_t *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = widen1(x[i]);
}

#define MAP(name, function)                                                                                            \
    static void name(float *y, const float *x, size_t n) {                                                             \
        for (size_t i = 0; i < n; i++) y[i] = function(x[i]);                                                          \
    }
MAP(scalar_exp, exp1)
MAP(scalar_log, log1)
MAP(scalar_sigmoid, sigmoid1)
MAP(scalar_tanh, tanh1)
MAP(scalar_softplus, softplus1)
MAP(scalar_silu, silu1)
MAP(scalar_rsqrt, rsqrt1)
MAP(scalar_gelu, gelu1)

static void scalar_silu_back(float *g, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float s = sigmoid1(x[i]);
        g[i] = g[i] * (s * (1.0f + x[i] * (1.0f - s)));
    }
}

static void scalar_softmax(float *y, const float *x, size_t n) {
    float top = x[0];
    for (size_t i = 1; i < n; i++) top = x[i] > top ? x[i] : top;
    for (size_t i = 0; i < n; i++) y[i] = exp1(x[i] - top);
    float inverse = 1.0f / scalar_sum(y, n);
    for (size_t i = 0; i < n; i++) y[i] = y[i] * inverse;
}

static void scalar_adam(float *w, float *m, float *v, float *g, size_t n, const exact_adam *p) {
    float keep1 = p->beta1, add1 = 1.0f - keep1, keep2 = p->beta2, add2 = 1.0f - keep2;
    for (size_t i = 0; i < n; i++) {
        float d = g[i] < -p->clip ? -p->clip : g[i];
        d = d > p->clip ? p->clip : d;
        d = absolute(d) < GRADIENT_TINY ? 0.0f : d;
        float mi = keep1 * m[i] + add1 * d, vi = keep2 * v[i] + add2 * (d * d);
        m[i] = absolute(mi) < MOMENT_TINY ? 0.0f : mi;
        v[i] = vi < MOMENT_TINY ? 0.0f : vi;
        w[i] = w[i] - (p->rate * m[i]) / (sqrtf(v[i]) + p->epsilon);
        g[i] = 0.0f;
    }
}

static void scalar_recur(float *h1, float *y, const float *h0, const float *a, const float *b, const float *c,
                         const float *x, size_t n_state, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float power = a[i], out = 0.0f;
        for (size_t s = 0; s < n_state; s++) {
            float h = power * h0[s * n + i] + b[s] * x[i];
            h1[s * n + i] = h;
            out = out + c[s] * h;
            power = power * a[i];
        }
        y[i] = out;
    }
}

static void scalar_recur_back(float *gh, float *ga, float *gb, float *gc, float *gx, const float *gy, const float *h0,
                              const float *h1, const float *a, const float *b, const float *c, const float *x,
                              size_t n_state, size_t n) {
    for (size_t s = 0; s < n_state; s++) {
        gc[s] = scalar_dot(gy, h1 + s * n, n);
        for (size_t i = 0; i < n; i++) gh[s * n + i] = gh[s * n + i] + c[s] * gy[i];
        gb[s] = scalar_dot(gh + s * n, x, n);
    }
    for (size_t i = 0; i < n; i++) {
        /* d a^(s+1)/da = (s+1) a^s */
        float below = 1.0f, slope = 0.0f, into = 0.0f;
        for (size_t s = 0; s < n_state; s++) {
            float g = gh[s * n + i];
            into = into + b[s] * g;
            slope = slope + ((float)(int)(s + 1) * below) * (g * h0[s * n + i]);
            below = below * a[i];
            gh[s * n + i] = below * g;
        }
        ga[i] = slope;
        gx[i] = into;
    }
}

const exact_ops exact_scalar = {
    .dot = scalar_dot,
    .sum = scalar_sum,
    .axpy = scalar_axpy,
    .mul = scalar_mul,
    .muladd = scalar_muladd,
    .scale = scalar_scale,
    .matvec = scalar_matvec,
    .matmul = scalar_matmul,
    .transpose = scalar_transpose,
    .exp = scalar_exp,
    .log = scalar_log,
    .sigmoid = scalar_sigmoid,
    .tanh = scalar_tanh,
    .softplus = scalar_softplus,
    .silu = scalar_silu,
    .rsqrt = scalar_rsqrt,
    .gelu = scalar_gelu,
    .widen = scalar_widen,
    .silu_back = scalar_silu_back,
    .softmax = scalar_softmax,
    .adam = scalar_adam,
    .recur = scalar_recur,
    .recur_back = scalar_recur_back,
};
