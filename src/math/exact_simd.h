/* The exact kernels over a virtual vector of 16 lanes. Included once by each of exact_four.c,
 * exact_avx2.c and exact_avx512.c, after the header that says what a v16 is. Mirrors exact_scalar.c
 * step by step: any change here is a change there. */
#include <math.h>

#include "math/constants.h"
#include "math/exact.h"

/* x*y + z in two roundings */
LANE v16 v_muladd(v16 x, v16 y, v16 z) { return v_add(v_mul(x, y), z); }

LANE float simd_dot(const float *x, const float *y, size_t n) {
    v16 sum = v_set(0.0f);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) sum = v_muladd(v_load(x + i), v_load(y + i), sum);
    if (i < n) /* a lane that adds 0*0 keeps its bits: it started at +0, so it never is -0 */
        sum = v_muladd(v_load_n(x + i, n - i), v_load_n(y + i, n - i), sum);
    return v_tree(sum);
}

static float table_dot(const float *x, const float *y, size_t n) { return simd_dot(x, y, n); }

static float table_sum(const float *x, size_t n) {
    v16 sum = v_set(0.0f);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) sum = v_add(sum, v_load(x + i));
    if (i < n) sum = v_add(sum, v_load_n(x + i, n - i));
    return v_tree(sum);
}

static void table_axpy(float *y, float a, const float *x, size_t n) {
    v16 va = v_set(a);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) v_store(y + i, v_muladd(va, v_load(x + i), v_load(y + i)));
    if (i < n) v_store_n(y + i, v_muladd(va, v_load_n(x + i, n - i), v_load_n(y + i, n - i)), n - i);
}

static void table_mul(float *y, const float *x, const float *z, size_t n) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16) v_store(y + i, v_mul(v_load(x + i), v_load(z + i)));
    if (i < n) v_store_n(y + i, v_mul(v_load_n(x + i, n - i), v_load_n(z + i, n - i)), n - i);
}

static void table_muladd(float *y, const float *x, const float *z, size_t n) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16) v_store(y + i, v_muladd(v_load(x + i), v_load(z + i), v_load(y + i)));
    if (i < n)
        v_store_n(y + i, v_muladd(v_load_n(x + i, n - i), v_load_n(z + i, n - i), v_load_n(y + i, n - i)), n - i);
}

static void table_scale(float *y, float a, const float *x, const float *z, size_t n) {
    v16 va = v_set(a);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) v_store(y + i, v_mul(v_mul(va, v_load(x + i)), v_load(z + i)));
    if (i < n) v_store_n(y + i, v_mul(v_mul(va, v_load_n(x + i, n - i)), v_load_n(z + i, n - i)), n - i);
}

/* Four rows at a time, as one chain of additions would wait for itself. */
static void table_matvec(float *y, const float *w, size_t stride, const float *x, size_t rows, size_t cols) {
    size_t r = 0;
    for (; r + 4 <= rows; r += 4) {
        const float *p = w + r * stride;
        v16 s0 = v_set(0.0f), s1 = s0, s2 = s0, s3 = s0;
        size_t i = 0;
        for (; i + 16 <= cols; i += 16) {
            v16 vx = v_load(x + i);
            s0 = v_muladd(v_load(p + i), vx, s0);
            s1 = v_muladd(v_load(p + stride + i), vx, s1);
            s2 = v_muladd(v_load(p + 2 * stride + i), vx, s2);
            s3 = v_muladd(v_load(p + 3 * stride + i), vx, s3);
        }
        if (i < cols) {
            v16 vx = v_load_n(x + i, cols - i);
            s0 = v_muladd(v_load_n(p + i, cols - i), vx, s0);
            s1 = v_muladd(v_load_n(p + stride + i, cols - i), vx, s1);
            s2 = v_muladd(v_load_n(p + 2 * stride + i, cols - i), vx, s2);
            s3 = v_muladd(v_load_n(p + 3 * stride + i, cols - i), vx, s3);
        }
        y[r] = v_tree(s0);
        y[r + 1] = v_tree(s1);
        y[r + 2] = v_tree(s2);
        y[r + 3] = v_tree(s3);
    }
    for (; r < rows; r++) y[r] = simd_dot(w + r * stride, x, cols);
}

/* rows x 16*columns of c, kept in registers while l runs */
LANE void product_block(float *c, size_t c_row, const float *a, size_t a_row, size_t a_col, const float *b,
                        size_t b_row, size_t k, const int rows, const int columns) {
    v16 sum[4][4];
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int j = 0; j < columns; j++) sum[i][j] = v_load(c + (size_t)i * c_row + 16 * (size_t)j);
    }
    for (size_t l = 0; l < k; l++) {
        v16 vb[4];
        UNROLL
        for (int j = 0; j < columns; j++) vb[j] = v_load(b + l * b_row + 16 * (size_t)j);
        UNROLL
        for (int i = 0; i < rows; i++) {
            v16 va = v_set(a[(size_t)i * a_row + l * a_col]);
            UNROLL
            for (int j = 0; j < columns; j++) sum[i][j] = v_muladd(va, vb[j], sum[i][j]);
        }
    }
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int j = 0; j < columns; j++) v_store(c + (size_t)i * c_row + 16 * (size_t)j, sum[i][j]);
    }
}

LANE void product_tail(float *c, const float *a, size_t a_col, const float *b, size_t b_row, size_t k, size_t n) {
    v16 sum = v_load_n(c, n);
    for (size_t l = 0; l < k; l++) sum = v_muladd(v_set(a[l * a_col]), v_load_n(b + l * b_row, n), sum);
    v_store_n(c, sum, n);
}

static void table_matmul(float *c, size_t c_row, const float *a, size_t a_row, size_t a_col, const float *b,
                         size_t b_row, size_t m, size_t n, size_t k) {
    size_t i = 0;
    for (; i + ROWS_AT_ONCE <= m; i += ROWS_AT_ONCE) {
        size_t j = 0;
        float *ci = c + i * c_row;
        const float *ai = a + i * a_row;
        for (; j + 16 * COLUMNS_AT_ONCE <= n; j += 16 * COLUMNS_AT_ONCE)
            product_block(ci + j, c_row, ai, a_row, a_col, b + j, b_row, k, ROWS_AT_ONCE, COLUMNS_AT_ONCE);
#if COLUMNS_AT_ONCE > 1
        for (; j + 16 <= n; j += 16) product_block(ci + j, c_row, ai, a_row, a_col, b + j, b_row, k, ROWS_AT_ONCE, 1);
#endif
        if (j < n)
            for (size_t r = 0; r < ROWS_AT_ONCE; r++)
                product_tail(ci + r * c_row + j, ai + r * a_row, a_col, b + j, b_row, k, n - j);
    }
    for (; i < m; i++) {
        size_t j = 0;
        float *ci = c + i * c_row;
        const float *ai = a + i * a_row;
        for (; j + 16 * COLUMNS_OF_ONE <= n; j += 16 * COLUMNS_OF_ONE)
            product_block(ci + j, c_row, ai, a_row, a_col, b + j, b_row, k, 1, COLUMNS_OF_ONE);
        for (; j + 16 <= n; j += 16) product_block(ci + j, c_row, ai, a_row, a_col, b + j, b_row, k, 1, 1);
        if (j < n) product_tail(ci + j, ai, a_col, b + j, b_row, k, n - j);
    }
}

/* Eight rows of eight at a time. */
static void table_transpose(float *y, const float *x, size_t rows, size_t cols) {
    const size_t whole_rows = rows & ~(size_t)7, whole_cols = cols & ~(size_t)7;
    for (size_t i = 0; i < whole_rows; i += 8)
        for (size_t j = 0; j < whole_cols; j += 8) transpose_8x8(y + j * rows + i, rows, x + i * cols + j, cols);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = i < whole_rows ? whole_cols : 0; j < cols; j++) y[j * rows + i] = x[i * cols + j];
}

LANE v16 v_exp(v16 x) {
    v16 t = v_choose(v_less(v_set(EXP_MAX), x), v_set(EXP_MAX), x);
    t = v_choose(v_less(t, v_set(EXP_MIN)), v_set(EXP_MIN), t);
    t = v_choose(v_is_nan(t), v_set(0.0f), t);
    v16 magic = v_muladd(t, v_set(LOG2_E), v_set(ROUND_MAGIC));
    v16 n = v_sub(magic, v_set(ROUND_MAGIC));
    v16 r = v_sub(t, v_mul(n, v_set(LN2_HIGH)));
    r = v_sub(r, v_mul(n, v_set(LN2_LOW)));
    v16 p = v_set(EXP_P0);
    p = v_muladd(p, r, v_set(EXP_P1));
    p = v_muladd(p, r, v_set(EXP_P2));
    p = v_muladd(p, r, v_set(EXP_P3));
    p = v_muladd(p, r, v_set(EXP_P4));
    p = v_muladd(p, r, v_set(EXP_P5));
    p = v_mul(p, v_mul(r, r));
    p = v_add(p, r);
    p = v_add(p, v_set(1.0f));
    i16x ni = i_sub(i_bits(magic), i_bits(v_set(ROUND_MAGIC)));
    i16x half = i_right(ni, 1);
    v16 y = v_mul(p, v_bits(i_left(i_add(half, i_set(127)), 23)));
    y = v_mul(y, v_bits(i_left(i_add(i_sub(ni, half), i_set(127)), 23)));
    y = v_choose(v_less(x, v_set(EXP_MIN)), v_set(0.0f), y);
    y = v_choose(v_less(v_set(EXP_MAX), x), v_set(INFINITY), y);
    return v_choose(v_is_nan(x), x, y);
}

LANE v16 v_log_positive(v16 x) {
    m16 tiny = v_less(x, v_set(1.17549435e-38f));
    v16 t = v_choose(tiny, v_mul(x, v_set(8388608.0f)), x);
    i16x u = i_bits(t);
    /* an arithmetic shift here and a logical one in the scalar code differ only where x < 0 */
    i16x e = i_sub(i_sub(i_right(u, 23), i_set(126)), i_keep(tiny, i_set(23)));
    v16 f = v_bits(i_or(i_and(u, i_set(0x007fffff)), i_set(0x3f000000)));
    m16 low = v_less(f, v_set(SQRT_HALF));
    e = i_sub(e, i_keep(low, i_set(1)));
    f = v_choose(low, v_add(f, f), f);
    f = v_sub(f, v_set(1.0f));
    v16 z = v_mul(f, f);
    v16 p = v_set(LOG_Q0);
    p = v_muladd(p, f, v_set(LOG_Q1));
    p = v_muladd(p, f, v_set(LOG_Q2));
    p = v_muladd(p, f, v_set(LOG_Q3));
    p = v_muladd(p, f, v_set(LOG_Q4));
    p = v_muladd(p, f, v_set(LOG_Q5));
    p = v_muladd(p, f, v_set(LOG_Q6));
    p = v_muladd(p, f, v_set(LOG_Q7));
    p = v_muladd(p, f, v_set(LOG_Q8));
    p = v_mul(p, f);
    p = v_mul(p, z);
    v16 ef = v_from_int(e);
    p = v_add(p, v_mul(ef, v_set(LN2_LOW)));
    p = v_sub(p, v_mul(z, v_set(0.5f)));
    p = v_add(f, p);
    return v_add(p, v_mul(ef, v_set(LN2_HIGH)));
}

LANE v16 v_log(v16 x) {
    v16 y = v_log_positive(x);
    y = v_choose(v_equal(x, v_set(0.0f)), v_set(-INFINITY), y);
    y = v_choose(v_less(x, v_set(0.0f)), v_set(NAN), y);
    y = v_choose(v_equal(x, v_set(INFINITY)), x, y);
    return v_choose(v_is_nan(x), x, y);
}

LANE v16 v_negative(v16 x) {
    i16x sign = i_set((int)0x80000000u);
    i16x u = i_bits(x);
    return v_bits(i_sub(i_or(u, sign), i_and(u, sign))); /* sets a clear sign, clears a set one */
}

LANE v16 v_absolute(v16 x) { return v_bits(i_and(i_bits(x), i_set(0x7fffffff))); }

LANE v16 v_sigmoid(v16 x) {
    v16 one = v_set(1.0f);
    return v_div(one, v_add(one, v_exp(v_negative(x))));
}

LANE v16 v_tanh(v16 x) {
    v16 a = v_absolute(x), one = v_set(1.0f);
    v16 z = v_mul(x, x);
    v16 p = v_set(TANH_R0);
    p = v_muladd(p, z, v_set(TANH_R1));
    p = v_muladd(p, z, v_set(TANH_R2));
    p = v_muladd(p, z, v_set(TANH_R3));
    p = v_muladd(p, z, v_set(TANH_R4));
    p = v_mul(p, z);
    p = v_muladd(p, x, x);
    v16 q = v_sub(one, v_div(v_set(2.0f), v_add(v_exp(v_add(a, a)), one)));
    q = v_choose(v_less(x, v_set(0.0f)), v_negative(q), q);
    return v_choose(v_less(a, v_set(TANH_SMALL)), p, q);
}

LANE v16 v_softplus(v16 x) {
    v16 one = v_set(1.0f), zero = v_set(0.0f);
    v16 e = v_exp(v_bits(i_or(i_bits(x), i_set((int)0x80000000u))));
    v16 u = v_add(one, e);
    v16 l = v_add(v_log_positive(u), v_div(v_sub(e, v_sub(u, one)), u));
    v16 y = v_add(v_choose(v_less(zero, x), x, zero), l);
    return v_choose(v_is_nan(x), x, y);
}

LANE v16 v_silu(v16 x) {
    v16 y = v_div(x, v_add(v_set(1.0f), v_exp(v_negative(x))));
    return v_choose(v_equal(x, v_set(-INFINITY)), v_set(-0.0f), y);
}

LANE v16 v_rsqrt(v16 x) { return v_div(v_set(1.0f), v_sqrt(x)); }

LANE v16 v_gelu(v16 x) {
    v16 one = v_set(1.0f);
    v16 t = v_mul(x, v_add(one, v_mul(v_set(GELU_CUBE), v_mul(x, x))));
    return v_mul(v_mul(v_set(0.5f), x), v_add(one, v_tanh(v_mul(v_set(GELU_ROOT), t))));
}

static void table_widen(float *y, const uint16_t *x, size_t n) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16) v_store(y + i, v_load_half(x + i));
    if (i < n) {
        uint16_t rest[16] = {0};
        memcpy(rest, x + i, (n - i) * sizeof *x);
        v_store_n(y + i, v_load_half(rest), n - i);
    }
}

#define MAP(name, function)                                                                                            \
    static void name(float *y, const float *x, size_t n) {                                                             \
        size_t i = 0;                                                                                                  \
        for (; i + 16 <= n; i += 16) v_store(y + i, function(v_load(x + i)));                                          \
        if (i < n) v_store_n(y + i, function(v_load_n(x + i, n - i)), n - i);                                          \
    }
MAP(table_exp, v_exp)
MAP(table_log, v_log)
MAP(table_sigmoid, v_sigmoid)
MAP(table_tanh, v_tanh)
MAP(table_softplus, v_softplus)
MAP(table_silu, v_silu)
MAP(table_rsqrt, v_rsqrt)
MAP(table_gelu, v_gelu)

LANE v16 v_silu_back(v16 g, v16 x) {
    v16 one = v_set(1.0f);
    v16 s = v_sigmoid(x);
    return v_mul(g, v_mul(s, v_add(one, v_mul(x, v_sub(one, s)))));
}

static void table_silu_back(float *g, const float *x, size_t n) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16) v_store(g + i, v_silu_back(v_load(g + i), v_load(x + i)));
    if (i < n) v_store_n(g + i, v_silu_back(v_load_n(g + i, n - i), v_load_n(x + i, n - i)), n - i);
}

static void table_softmax(float *y, const float *x, size_t n) {
    float top = x[0];
    size_t i = 0;
    if (n >= 16) {
        /* The maximum of numbers is the same in any order; with a NaN the result is NaN anyway. */
        v16 most = v_load(x);
        for (i = 16; i + 16 <= n; i += 16) {
            v16 next = v_load(x + i);
            most = v_choose(v_less(most, next), next, most);
        }
        float lane[16];
        v_store(lane, most);
        for (int l = 0; l < 16; l++) top = lane[l] > top ? lane[l] : top;
    }
    for (; i < n; i++) top = x[i] > top ? x[i] : top;
    v16 shift = v_set(top);
    for (i = 0; i + 16 <= n; i += 16) v_store(y + i, v_exp(v_sub(v_load(x + i), shift)));
    if (i < n) v_store_n(y + i, v_exp(v_sub(v_load_n(x + i, n - i), shift)), n - i);
    float inverse = 1.0f / table_sum(y, n);
    v16 scale = v_set(inverse);
    for (i = 0; i + 16 <= n; i += 16) v_store(y + i, v_mul(v_load(y + i), scale));
    if (i < n) v_store_n(y + i, v_mul(v_load_n(y + i, n - i), scale), n - i);
}

typedef struct adam_lanes {
    v16 keep1, add1, keep2, add2, rate, epsilon, low, high;
} adam_lanes;

LANE v16 v_adam(v16 w, v16 *m, v16 *v, v16 g, const adam_lanes *p) {
    v16 d = v_choose(v_less(g, p->low), p->low, g);
    d = v_choose(v_less(p->high, d), p->high, d);
    d = v_choose(v_less(v_absolute(d), v_set(GRADIENT_TINY)), v_set(0.0f), d);
    *m = v_add(v_mul(p->keep1, *m), v_mul(p->add1, d));
    *v = v_add(v_mul(p->keep2, *v), v_mul(p->add2, v_mul(d, d)));
    *m = v_choose(v_less(v_absolute(*m), v_set(MOMENT_TINY)), v_set(0.0f), *m);
    *v = v_choose(v_less(*v, v_set(MOMENT_TINY)), v_set(0.0f), *v);
    return v_sub(w, v_div(v_mul(p->rate, *m), v_add(v_sqrt(*v), p->epsilon)));
}

static void table_adam(float *w, float *m, float *v, float *g, size_t n, const exact_adam *p) {
    const adam_lanes lanes = {v_set(p->beta1), v_set(1.0f - p->beta1), v_set(p->beta2), v_set(1.0f - p->beta2),
                              v_set(p->rate),  v_set(p->epsilon),      v_set(-p->clip), v_set(p->clip)};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        v16 mi = v_load(m + i), vi = v_load(v + i);
        v_store(w + i, v_adam(v_load(w + i), &mi, &vi, v_load(g + i), &lanes));
        v_store(m + i, mi);
        v_store(v + i, vi);
        v_store(g + i, v_set(0.0f));
    }
    if (i < n) {
        size_t k = n - i;
        v16 mi = v_load_n(m + i, k), vi = v_load_n(v + i, k);
        v_store_n(w + i, v_adam(v_load_n(w + i, k), &mi, &vi, v_load_n(g + i, k), &lanes), k);
        v_store_n(m + i, mi, k);
        v_store_n(v + i, vi, k);
        v_store_n(g + i, v_set(0.0f), k);
    }
}

/* A row's 16 elements, or its last `n` < 16. */
LANE v16 v_part(const float *p, size_t n) { return n >= 16 ? v_load(p) : v_load_n(p, n); }

LANE void v_put(float *p, v16 x, size_t n) {
    if (n >= 16)
        v_store(p, x);
    else
        v_store_n(p, x, n);
}

static void table_recur(float *h1, float *y, const float *h0, const float *a, const float *b, const float *c,
                        const float *x, size_t n_state, size_t n) {
    for (size_t i = 0; i < n; i += 16) {
        size_t k = n - i;
        v16 decay = v_part(a + i, k), power = decay, vx = v_part(x + i, k), out = v_set(0.0f);
        for (size_t s = 0; s < n_state; s++) {
            v16 h = v_add(v_mul(power, v_part(h0 + s * n + i, k)), v_mul(v_set(b[s]), vx));
            v_put(h1 + s * n + i, h, k);
            out = v_muladd(v_set(c[s]), h, out);
            power = v_mul(power, decay);
        }
        v_put(y + i, out, k);
    }
}

static void table_recur_back(float *gh, float *ga, float *gb, float *gc, float *gx, const float *gy, const float *h0,
                             const float *h1, const float *a, const float *b, const float *c, const float *x,
                             size_t n_state, size_t n) {
    for (size_t s = 0; s < n_state; s++) {
        gc[s] = simd_dot(gy, h1 + s * n, n);
        table_axpy(gh + s * n, c[s], gy, n);
        gb[s] = simd_dot(gh + s * n, x, n);
    }
    for (size_t i = 0; i < n; i += 16) {
        size_t k = n - i;
        v16 decay = v_part(a + i, k), below = v_set(1.0f), slope = v_set(0.0f), into = slope;
        for (size_t s = 0; s < n_state; s++) {
            v16 g = v_part(gh + s * n + i, k);
            into = v_add(into, v_mul(v_set(b[s]), g));
            slope = v_add(slope, v_mul(v_mul(v_set((float)(int)(s + 1)), below), v_mul(g, v_part(h0 + s * n + i, k))));
            below = v_mul(below, decay);
            v_put(gh + s * n + i, v_mul(below, g), k);
        }
        v_put(ga + i, slope, k);
        v_put(gx + i, into, k);
    }
}

/* The initialiser of a table of these. */
#define EXACT_TABLE                                                                                                    \
    {                                                                                                                  \
        .dot = table_dot, .sum = table_sum, .axpy = table_axpy, .mul = table_mul, .muladd = table_muladd,              \
        .scale = table_scale, .matvec = table_matvec, .matmul = table_matmul, .transpose = table_transpose,            \
        .exp = table_exp, .log = table_log, .sigmoid = table_sigmoid, .tanh = table_tanh, .softplus = table_softplus,  \
        .silu = table_silu, .rsqrt = table_rsqrt, .gelu = table_gelu, .widen = table_widen, .silu_back = table_silu_back, .softmax = table_softmax,              \
        .adam = table_adam, .recur = table_recur, .recur_back = table_recur_back,                                      \
    }
