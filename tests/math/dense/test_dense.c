/* Dense algebra by OpenBLAS, where the machine has it, and by plain C: both against brute force, what the results must
 * satisfy, and inputs that are to be refused. */
#include "math/dense/dense.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static uint32_t noise_state;
static float noise(void) {
    noise_state = noise_state * 1664525u + 1013904223u;
    return (float)(int32_t)noise_state * 0x1p-31f;
}

/* Every test runs on both sides; *state says which. */
static pith_ctx *ctx;
static bool plain_side = true, library_side = false;
static int begin(void **state) {
    noise_state = 1;
    dense_use_plain(*(bool *)*state);
    ctx = pith_ctx_new(NULL);
    pith_ctx_set_threads(ctx, 2);
    return ctx ? 0 : 1;
}
static int end(void **state) {
    (void)state;
    bool leaks = pith_memory_used(ctx) != 0;
    pith_ctx_free(ctx);
    dense_use_plain(false);
    return leaks ? 1 : 0;
}

static float *floats(size_t n) {
    float *x = pith_zalloc(ctx, n * sizeof *x);
    assert_non_null(x);
    return x;
}
static float *noises(size_t n) {
    float *x = floats(n);
    for (size_t i = 0; i < n; i++) x[i] = noise();
    return x;
}
#define DROP(p) (pith_free(ctx, p), (p) = NULL)

/* c[m][n] = op(a) op(b) in doubles. */
static void multiply(bool ta, bool tb, size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                     size_t ldb, double *c) {
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t l = 0; l < k; l++)
                sum += (double)(ta ? a[l * lda + i] : a[i * lda + l]) * (double)(tb ? b[j * ldb + l] : b[l * ldb + j]);
            c[i * n + j] = sum;
        }
}

/* A Gram matrix of correlated inputs, packed: mean of x x^T over t random x with decaying powers. */
static float *gram_of(size_t n, size_t t, double decay) {
    float *x = noises(t * n), *packed = floats(DENSE_PACKED(n));
    double *sums = pith_zalloc(ctx, DENSE_PACKED(n) * sizeof *sums);
    assert_non_null(sums);
    for (size_t r = 0; r < t; r++)
        for (size_t j = 0; j < n; j++)
            x[r * n + j] =
                (float)(pow(decay, (double)j) * (double)x[r * n + j] + (j ? 0.5 * (double)x[r * n + j - 1] : 0));
    assert_int_equal(dense_gram_add(ctx, sums, x, t, n), PITH_OK);
    for (size_t i = 0; i < DENSE_PACKED(n); i++) packed[i] = (float)(sums[i] / (double)t);
    pith_free(ctx, sums);
    DROP(x);
    return packed;
}

static void assert_near(double got, double want, double tolerance, const char *what, size_t i) {
    if (!(fabs(got - want) <= tolerance)) fail_msg("%s, element %zu: %.9g, expected %.9g", what, i, got, want);
}

static void assert_orthonormal(const float *rows, size_t count, size_t n, double tolerance) {
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = 0;
            for (size_t k = 0; k < n; k++) sum += (double)rows[i * n + k] * (double)rows[j * n + k];
            assert_near(sum, i == j, tolerance, "product of rows", i * count + j);
        }
}

static bool environment_had_core;
static void test_backend(void **state) {
    const char *name = dense_backend();
    if (*(bool *)*state)
        assert_string_equal(name, "plain C");
    else
        assert_true(strncmp(name, "OpenBLAS", 8) == 0 || strcmp(name, "plain C") == 0);
    assert_true((getenv("OPENBLAS_CORETYPE") != NULL) == environment_had_core); /* left as it was */
}

static void test_gemm(void **state) {
    (void)state;
    static const size_t sides[][3] = {{1, 1, 1},   {3, 5, 7},      {17, 33, 129}, {130, 140, 5},
                                      {4, 1, 300}, {64, 200, 260}, {5, 6, 0}};
    static const float factors[][2] = {{1, 0}, {-0.5f, 1}, {2, 0.25f}, {0, 0.5f}};
    for (size_t s = 0; s < PITH_COUNT(sides); s++)
        for (int form = 0; form < 16; form++) {
            bool ta = form & 1, tb = form & 2;
            size_t m = sides[s][0], n = sides[s][1], k = sides[s][2], gap = (size_t)form % 3;
            float alpha = factors[form / 4][0], beta = factors[form / 4][1];
            size_t lda = (ta ? m : k) + gap, ldb = (tb ? k : n) + gap, ldc = n + gap;
            float *a = noises((ta ? k : m) * lda + 1), *b = noises((tb ? n : k) * ldb + 1), *c = noises(m * ldc),
                  *old = floats(m * ldc);
            double *want = pith_alloc(ctx, m * n * sizeof *want);
            multiply(ta, tb, m, n, k, a, lda, b, ldb, want);
            if (beta == 0) c[0] = NAN; /* must not be read */
            memcpy(old, c, m * ldc * sizeof *c);
            dense_gemm(ta, tb, m, n, k, alpha, a, lda ? lda : 1, b, ldb ? ldb : 1, beta, c, ldc);
            for (size_t i = 0; i < m; i++)
                for (size_t j = 0; j < ldc; j++) {
                    double before = (double)old[i * ldc + j];
                    if (j >= n)
                        assert_memory_equal(&c[i * ldc + j], &old[i * ldc + j], sizeof *c);
                    else
                        assert_near((double)c[i * ldc + j],
                                    (double)alpha * want[i * n + j] + (beta == 0 ? 0 : (double)beta * before), 4e-5,
                                    "product", i * n + j);
                }
            pith_free(ctx, want);
            DROP(a), DROP(b), DROP(c), DROP(old);
        }
}

static void test_gram(void **state) {
    (void)state;
    size_t n = 301, rows = 1100;
    float *x = noises(rows * n);
    double *gram = pith_zalloc(ctx, DENSE_PACKED(n) * sizeof *gram),
           *one = pith_zalloc(ctx, DENSE_PACKED(n) * sizeof *one);
    assert_non_null(gram);
    assert_non_null(one);
    assert_int_equal(dense_gram_add(ctx, gram, x, 600, n), PITH_OK);
    assert_int_equal(dense_gram_add(ctx, gram, x, 0, n), PITH_OK);
    assert_int_equal(dense_gram_add(ctx, gram, x + 600 * n, rows - 600, n), PITH_OK);
    for (size_t i = 0; i < n; i += 7)
        for (size_t j = 0; j <= i; j += 3) {
            double sum = 0;
            for (size_t r = 0; r < rows; r++) sum += (double)x[r * n + i] * (double)x[r * n + j];
            assert_near(gram[DENSE_PACKED(i) + j], sum, 1e-3, "sum of products", i * n + j);
        }
    /* one thread, the same numbers */
    pith_ctx_set_threads(ctx, 1);
    assert_int_equal(dense_gram_add(ctx, one, x, 600, n), PITH_OK);
    assert_int_equal(dense_gram_add(ctx, one, x + 600 * n, rows - 600, n), PITH_OK);
    assert_memory_equal(one, gram, DENSE_PACKED(n) * sizeof *gram);
    /* floats alone would lose the small part of a long sum */
    double *many = pith_zalloc(ctx, sizeof *many);
    assert_non_null(many);
    for (size_t i = 0; i < rows * n; i++) x[i] = 1.1f;
    assert_int_equal(dense_gram_add(ctx, many, x, rows * n, 1), PITH_OK);
    double truth = (double)1.1f * (double)1.1f * (double)(rows * n);
    assert_near(*many, truth, 2e-5 * truth, "long sum", rows * n);
    pith_free(ctx, many);
    float packed[DENSE_PACKED(3)] = {1, 2, 3, 4, 5, 6}, full[9], want[9] = {1, 2, 4, 2, 3, 5, 4, 5, 6};
    dense_unpack(packed, 3, full);
    assert_memory_equal(full, want, sizeof want);
    pith_free(ctx, one);
    pith_free(ctx, gram);
    DROP(x);
}

/* U^T U (H + damp mean I) = I, for living inputs. */
static void test_cholesky_inverse(void **state) {
    (void)state;
    for (size_t n = 1; n < 80; n = n * 2 + 1) {
        float *h = gram_of(n, 3 * n, 0.97), *full = floats(n * n), *u = floats(n * n);
        uint8_t dead[80];
        size_t gone = n / 2; /* never seen */
        if (n > 3)
            for (size_t j = 0; j < n; j++) h[gone >= j ? DENSE_PACKED(gone) + j : DENSE_PACKED(j) + gone] = 0;
        dense_unpack(h, n, full);
        double mean = 0, used = 0;
        for (size_t i = 0; i < n; i++) mean += (double)full[i * n + i] / (double)n;
        assert_int_equal(dense_cholesky_inverse(ctx, h, n, 0.01, u, dead, &used), PITH_OK);
        assert_true(used == 0.01);
        double *product = pith_alloc(ctx, n * n * sizeof *product);
        multiply(true, false, n, n, n, u, n, u, n, product);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(dead[i], n > 3 && i == gone);
            for (size_t j = 0; j < i; j++) assert_true(u[i * n + j] == 0);
            for (size_t j = 0; j < n; j++) {
                double sum = product[i * n + j] * 0.01 * mean;
                for (size_t k = 0; k < n; k++) sum += product[i * n + k] * (double)full[k * n + j];
                assert_near(sum, i == j, 2e-4, "H^-1 H", i * n + j);
            }
        }
        if (n > 3) assert_near((double)u[gone * n + gone], 1 / sqrt(0.01 * mean), 1e-3 / sqrt(mean), "dead", gone);
        pith_free(ctx, product);
        DROP(h), DROP(full), DROP(u);
    }
}

static void test_damping(void **state) {
    (void)state;
    enum { N = 24 };
    float u[N * N], *h = gram_of(N, 5, 1); /* rank 5 */
    double used = 0;
    assert_int_equal(dense_cholesky_inverse(ctx, h, N, 0, u, NULL, &used), PITH_OK);
    assert_true(used > 0 && used <= 1e-3);
    /* indefinite, but not beyond the mean of its diagonal */
    memset(h, 0, DENSE_PACKED(N) * sizeof *h);
    for (size_t i = 0; i < N; i++) h[DENSE_PACKED(i) + i] = 1;
    h[DENSE_PACKED(1)] = 1.5f;
    assert_int_equal(dense_cholesky_inverse(ctx, h, N, 0.01, u, NULL, &used), PITH_OK);
    assert_true(used == 1);
    h[DENSE_PACKED(1)] = 2.5f;
    assert_int_equal(dense_cholesky_inverse(ctx, h, N, 0.01, u, NULL, &used), PITH_E_CHECK);
    pith_begin(ctx);
    h[DENSE_PACKED(1)] = NAN;
    assert_int_equal(dense_cholesky_inverse(ctx, h, N, 0.01, u, NULL, &used), PITH_E_CHECK);
    assert_non_null(strstr(pith_error(ctx), "not finite"));
    pith_begin(ctx);
    h[DENSE_PACKED(1)] = 0;
    h[0] = -1;
    assert_int_equal(dense_cholesky_inverse(ctx, h, N, 0.01, u, NULL, &used), PITH_E_CHECK);
    pith_begin(ctx);
    memset(h, 0, DENSE_PACKED(N) * sizeof *h); /* no input at all */
    uint8_t dead[N];
    assert_int_equal(dense_cholesky_inverse(ctx, h, N, 0.01, u, dead, &used), PITH_OK);
    for (size_t i = 0; i < N; i++) assert_true(dead[i] == 1 && u[i * N + i] == u[0] && u[0] > 0);
    assert_int_equal(dense_cholesky_inverse(ctx, h, 0, 0.01, u, dead, &used), PITH_E_ARGUMENT);
    assert_int_equal(dense_cholesky_inverse(ctx, h, N, -1, u, dead, &used), PITH_E_ARGUMENT);
    DROP(h);
}

/* A matrix with values 1, decay, decay^2, ... */
static void test_eigen(void **state) {
    (void)state;
    static const size_t sides[] = {1, 2, 3, 10, 61};
    for (size_t s = 0; s < PITH_COUNT(sides); s++)
        for (int kind = 0; kind < 4; kind++) {
            size_t n = sides[s];
            float *a = floats(n * n), *q = floats(n * n), *values = floats(n);
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < n; j++) {
                    if (j > i)
                        a[i * n + j] = NAN; /* not read */
                    else if (kind == 0)
                        a[i * n + j] = noise();
                    else if (kind == 1)
                        a[i * n + j] = i == j; /* all the same */
                    else if (kind == 2)
                        a[i * n + j] = 0;
                    else
                        a[i * n + j] = (float)(1 / (double)(i + j + 1)); /* Hilbert's: hardly of full rank */
                }
            assert_int_equal(dense_eigen(ctx, a, n, q, values), PITH_OK);
            for (size_t k = 0; k < n; k++) {
                if (k) assert_true(values[k] >= values[k - 1]);
                for (size_t i = 0; i < n; i++) {
                    double sum = 0;
                    for (size_t j = 0; j < n; j++)
                        sum += (double)(j <= i ? a[i * n + j] : a[j * n + i]) * (double)q[j * n + k];
                    assert_near(sum, (double)values[k] * (double)q[i * n + k], 2e-5, "A q = l q", i * n + k);
                }
            }
            assert_orthonormal(q, n, n, 1e-5);
            DROP(a), DROP(q), DROP(values);
        }
    float bad[4] = {1, 0, INFINITY, 1}, q[4], values[2];
    assert_int_equal(dense_eigen(ctx, bad, 2, q, values), PITH_E_CHECK);
}

static void test_whiten(void **state) {
    (void)state;
    enum { N = 40 };
    float *h = gram_of(N, 200, 0.95), *full = floats(N * N), *s = floats(N * N), *inverse = floats(N * N);
    double *product = pith_alloc(ctx, N * N * sizeof *product);
    dense_unpack(h, N, full);
    assert_int_equal(dense_whiten(ctx, h, N, s, inverse), PITH_OK);
    multiply(false, true, N, N, N, s, N, s, N, product);
    for (size_t i = 0; i < N * N; i++) assert_near(product[i], (double)full[i], 1e-5, "S S^T", i);
    multiply(false, false, N, N, N, s, N, inverse, N, product);
    for (size_t i = 0; i < N * N; i++) assert_near(product[i], i % (N + 1) == 0, 1e-4, "S S^-1", i);
    /* of low rank: still with an inverse */
    DROP(h);
    h = gram_of(N, 6, 0.95);
    assert_int_equal(dense_whiten(ctx, h, N, s, inverse), PITH_OK);
    multiply(false, false, N, N, N, s, N, inverse, N, product);
    for (size_t i = 0; i < N * N; i++) assert_near(product[i], i % (N + 1) == 0, 1e-3, "S S^-1 at rank 6", i);
    memset(h, 0, DENSE_PACKED(N) * sizeof *h);
    assert_int_equal(dense_whiten(ctx, h, N, s, inverse), PITH_OK);
    assert_orthonormal(s, N, N, 1e-5);
    pith_free(ctx, product);
    DROP(h), DROP(full), DROP(s), DROP(inverse);
}

static double frobenius(const float *a, const double *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (a ? (double)a[i] : 0) - (b ? b[i] : 0);
        sum += d * d;
    }
    return sum;
}

/* The error of rank r is the sum of the squares of the values left out (Eckart, Young, Mirsky), and these are known. */
static void test_svd(void **state) {
    (void)state;
    static const size_t sides[][2] = {{1, 1}, {1, 9}, {9, 1}, {30, 30}, {20, 75}, {75, 20}};
    for (size_t c = 0; c < PITH_COUNT(sides); c++) {
        size_t m = sides[c][0], n = sides[c][1], k = PITH_MIN(m, n);
        float *left = noises(k * m), *right = noises(k * n), *a = floats(m * n), *s = floats(k);
        /* orthonormal vectors from eigenvectors would be circular: modified Gram-Schmidt in doubles */
        for (size_t side = 0; side < 2; side++)
            for (size_t i = 0, len = side ? n : m; i < k; i++) {
                float *v = (side ? right : left) + i * len;
                for (size_t pass = 0; pass < 3; pass++) {
                    for (size_t j = 0; j < i; j++) {
                        const float *w = (side ? right : left) + j * len;
                        double dot = 0;
                        for (size_t l = 0; l < len; l++) dot += (double)v[l] * (double)w[l];
                        for (size_t l = 0; l < len; l++) v[l] = (float)((double)v[l] - dot * (double)w[l]);
                    }
                    double length = sqrt(frobenius(v, NULL, len));
                    for (size_t l = 0; l < len; l++) v[l] = (float)((double)v[l] / length);
                }
            }
        double values[32];
        for (size_t i = 0; i < k; i++) values[i] = 3 * pow(0.8, (double)i);
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < n; j++) {
                double sum = 0;
                for (size_t l = 0; l < k; l++) sum += (double)left[l * m + i] * values[l] * (double)right[l * n + j];
                a[i * n + j] = (float)sum;
            }
        for (size_t r = 1; r <= k; r += 1 + r / 2)
            for (int random = 0; random < 2; random++) {
                float *u = floats(m * r), *vt = floats(r * n), *turned = floats(m * r);
                assert_int_equal(random ? dense_svd_random(ctx, a, m, n, r, 3, u, s, vt)
                                        : dense_svd(ctx, a, m, n, r, u, s, vt),
                                 PITH_OK);
                double tail = 0, error = 0;
                for (size_t i = r; i < k; i++) tail += values[i] * values[i];
                for (size_t i = 0; i < r; i++)
                    assert_near((double)s[i], values[i], random ? 2e-3 : 3e-6, "singular value", i);
                for (size_t i = 0; i < m; i++)
                    for (size_t j = 0; j < n; j++) {
                        double sum = 0;
                        for (size_t l = 0; l < r; l++)
                            sum += (double)u[i * r + l] * (double)s[l] * (double)vt[l * n + j];
                        error += (sum - (double)a[i * n + j]) * (sum - (double)a[i * n + j]);
                    }
                assert_near(error, tail, random ? 2e-3 * tail + 1e-9 : 1e-5 * tail + 1e-9, "error of rank", r);
                for (size_t i = 0; i < m; i++)
                    for (size_t l = 0; l < r; l++) turned[l * m + i] = u[i * r + l];
                assert_orthonormal(turned, r, m, 1e-5);
                assert_orthonormal(vt, r, n, 1e-5);
                for (size_t l = 0; l < r; l++) {
                    float most = 0;
                    for (size_t j = 0; j < n; j++)
                        if (fabsf(vt[l * n + j]) > fabsf(most)) most = vt[l * n + j];
                    assert_true(most > 0);
                }
                DROP(u), DROP(vt), DROP(turned);
            }
        DROP(left), DROP(right), DROP(a), DROP(s);
    }
}

static void test_svd_of_low_rank(void **state) {
    (void)state;
    enum { M = 60, N = 50, R = 30 };
    float *a = floats(M * N), *u = floats(M * R), *vt = floats(R * N), s[R], *turned = floats(M * R);
    for (int kind = 0; kind < 2; kind++)
        for (int random = 0; random < 2; random++) {
            for (size_t i = 0; i < M; i++)
                for (size_t j = 0; j < N; j++)
                    a[i * N + j] = kind ? (float)(i + 1) * (float)(N - j) : 0; /* rank 1, 0 */
            assert_int_equal(random ? dense_svd_random(ctx, a, M, N, R, 2, u, s, vt)
                                    : dense_svd(ctx, a, M, N, R, u, s, vt),
                             PITH_OK);
            double norm = sqrt(frobenius(a, NULL, M * N));
            assert_near((double)s[0], norm, 1e-6 * norm, "only value", 0);
            for (size_t i = 1; i < R; i++) assert_near((double)s[i], 0, 1e-6 * norm, "value", i);
            for (size_t i = 0; i < M; i++)
                for (size_t l = 0; l < R; l++) turned[l * M + i] = u[i * R + l];
            assert_orthonormal(turned, R, M, 1e-5);
            assert_orthonormal(vt, R, N, 1e-5);
        }
    assert_int_equal(dense_svd(ctx, a, M, N, 0, u, s, vt), PITH_E_ARGUMENT);
    assert_int_equal(dense_svd(ctx, a, M, N, N + 1, u, s, vt), PITH_E_ARGUMENT);
    pith_begin(ctx);
    a[77] = INFINITY;
    assert_int_equal(dense_svd(ctx, a, M, N, 2, u, s, vt), PITH_E_CHECK);
    assert_non_null(strstr(pith_error(ctx), "not finite"));
    assert_int_equal(dense_svd_random(ctx, a, M, N, 2, 2, u, s, vt), PITH_E_CHECK);
    DROP(a), DROP(u), DROP(vt), DROP(turned);
}

static void test_solve(void **state) {
    (void)state;
    enum { N = 37, K = 150 };
    float *h = gram_of(N, 100, 0.98), *g = floats(N * N), *b = noises(N * K), *x = floats(N * K);
    dense_unpack(h, N, g);
    double mean = 0;
    for (size_t i = 0; i < N; i++) mean += (double)g[i * (N + 1)] / N;
    memcpy(x, b, N * K * sizeof *x);
    assert_int_equal(dense_solve(ctx, g, N, 0.1, x, K), PITH_OK);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < K; j++) {
            double sum = 0.1 * mean * (double)x[i * K + j];
            for (size_t l = 0; l < N; l++) sum += (double)g[i * N + l] * (double)x[l * K + j];
            assert_near(sum, (double)b[i * K + j], 1e-5, "G X", i * K + j);
        }
    /* no full rank, no ridge: answered with a small one */
    for (size_t i = 0; i < N * N; i++) g[i] = 1;
    memcpy(x, b, N * K * sizeof *x);
    assert_int_equal(dense_solve(ctx, g, N, 0, x, K), PITH_OK);
    g[1 * N] = 3; /* indefinite */
    assert_int_equal(dense_solve(ctx, g, N, 0, x, K), PITH_E_CHECK);
    g[0] = NAN;
    assert_int_equal(dense_solve(ctx, g, N, 0, x, K), PITH_E_CHECK);
    DROP(h), DROP(g), DROP(b), DROP(x);
}

static void test_leverage(void **state) {
    (void)state;
    enum { N = 30 };
    float *h = gram_of(N, 12, 0.9), *c = floats(N * N), *q = floats(N * N), values[N], scores[N];
    dense_unpack(h, N, c);
    assert_int_equal(dense_leverage(ctx, c, N, 0.01, scores), PITH_OK);
    assert_int_equal(dense_eigen(ctx, c, N, q, values), PITH_OK);
    for (size_t i = 0; i < N; i++) { /* sum over k of q_ik^2 l_k / (l_k + lambda) */
        double want = 0;
        for (size_t k = 0; k < N; k++)
            want += (double)q[i * N + k] * (double)q[i * N + k] * (double)values[k] / ((double)values[k] + 0.01);
        assert_near((double)scores[i], want, 2e-5, "score", i);
    }
    assert_int_equal(dense_leverage(ctx, c, N, 0, scores), PITH_E_ARGUMENT);
    c[0] = -5;
    assert_int_equal(dense_leverage(ctx, c, N, 0.01, scores), PITH_E_CHECK);
    DROP(h), DROP(c), DROP(q);
}

/* The loss that is kept is a bound of the true one, and of every value's error. */
static void test_growing(void **state) {
    (void)state;
    enum { M = 48, N = 160, R = 12 };
    float *a = noises(M * N), *u = floats(M * M), *vt = floats(M * N), s[M];
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j++) a[i * N + j] *= (float)pow(0.9, (double)i); /* rows of falling power */
    assert_int_equal(dense_svd(ctx, a, M, N, M, u, s, vt), PITH_OK);
    dense_growing *g;
    assert_int_equal(dense_growing_new(ctx, M, R, &g), PITH_OK);
    assert_int_equal(dense_growing_rank(g), 0);
    static const size_t blocks[] = {3, 1, 96, 0, 30, 30};
    for (size_t i = 0, first = 0; i < PITH_COUNT(blocks); first += blocks[i++]) {
        assert_int_equal(dense_growing_add(ctx, g, a + first, blocks[i], N), PITH_OK);
        assert_int_equal(dense_growing_rank(g), PITH_MIN(first + blocks[i], (size_t)R));
        if (i < 2) assert_true(dense_growing_lost(g) == 0); /* four columns, rank 12 */
    }
    const float *w = dense_growing_vectors(g), *values = dense_growing_values(g);
    double lost = dense_growing_lost(g), best = 0, truth = 0, kept[R];
    for (size_t i = R; i < M; i++) best += (double)s[i] * (double)s[i];
    for (size_t j = 0; j < N; j++) { /* |a_j|^2 - |U^T a_j|^2 */
        for (size_t k = 0; k < R; k++) {
            kept[k] = 0;
            for (size_t i = 0; i < M; i++) kept[k] += (double)w[i * R + k] * (double)a[i * N + j];
            truth -= kept[k] * kept[k];
        }
        for (size_t i = 0; i < M; i++) truth += (double)a[i * N + j] * (double)a[i * N + j];
    }
    assert_true(lost >= truth * (1 - 1e-5) && truth >= best * (1 - 1e-5) && lost < 2 * best);
    for (size_t k = 0; k < R; k++) {
        assert_true((double)values[k] <= (double)s[k] + 1e-5);
        assert_true((double)values[k] >= (double)s[k] - sqrt(lost));
    }
    dense_growing_free(ctx, g);
    /* as many as there are rows: nothing is lost */
    assert_int_equal(dense_growing_new(ctx, M, M, &g), PITH_OK);
    assert_int_equal(dense_growing_add(ctx, g, a, N, N), PITH_OK);
    for (size_t k = 0; k < M; k++)
        assert_near((double)dense_growing_values(g)[k], (double)s[k], 1e-4, "grown value", k);
    assert_true(dense_growing_lost(g) == 0);
    dense_growing_free(ctx, g);
    assert_int_equal(dense_growing_new(ctx, M, M + 1, &g), PITH_E_ARGUMENT);
    assert_null(g);
    DROP(a), DROP(u), DROP(vt);
}

/* The same input through both, where they are two. */
static void test_sides_agree(void **state) {
    (void)state;
    enum { M = 70, N = 90, R = 10 };
    float *h = gram_of(N, 200, 0.99), *u[2], *s[2], *vt[2], *left[2], *a = noises(M * N);
    for (int side = 0; side < 2; side++) {
        dense_use_plain(side == 0);
        u[side] = floats(N * N);
        s[side] = floats(R);
        vt[side] = floats(R * N);
        left[side] = floats(M * R);
        assert_int_equal(dense_cholesky_inverse(ctx, h, N, 0.01, u[side], NULL, NULL), PITH_OK);
        assert_int_equal(dense_svd(ctx, a, M, N, R, left[side], s[side], vt[side]), PITH_OK);
    }
    for (size_t i = 0; i < N * N; i++) assert_near((double)u[0][i], (double)u[1][i], 1e-4, "U", i);
    for (size_t i = 0; i < R; i++) assert_near((double)s[0][i], (double)s[1][i], 1e-4, "s", i);
    for (size_t i = 0; i < R * N; i++) assert_near((double)vt[0][i], (double)vt[1][i], 2e-4, "vt", i);
    for (size_t i = 0; i < M * R; i++) assert_near((double)left[0][i], (double)left[1][i], 2e-4, "u", i);
    for (int side = 0; side < 2; side++) DROP(u[side]), DROP(s[side]), DROP(vt[side]), DROP(left[side]);
    DROP(h), DROP(a);
}

/* Little memory: an error, nothing lost. */
static void test_memory(void **state) {
    (void)state;
    enum { N = 64 };
    float *h = gram_of(N, 100, 1), *u = floats(N * N), *v = floats(N * N), s[N];
    uint64_t before = pith_memory_used(ctx);
    for (uint64_t room = 0; room < 200000; room += room / 3 + 1024) {
        pith_ctx_set_memory(ctx, before + room);
        dense_growing *g = NULL;
        pith_status all[] = {dense_cholesky_inverse(ctx, h, N, 0.01, u, NULL, NULL),
                             dense_svd(ctx, h, N / 2, N, 4, u, s, v),
                             dense_svd_random(ctx, h, N / 2, N, 4, 2, u, s, v),
                             dense_whiten(ctx, h, N, u, v),
                             dense_leverage(ctx, v, N, 1, s),
                             dense_growing_new(ctx, N, 4, &g)};
        for (size_t i = 0; i < PITH_COUNT(all); i++)
            assert_true(all[i] == PITH_OK || all[i] == PITH_E_LIMIT || (i == 4 && all[i] == PITH_E_CHECK));
        if (room == 0) assert_int_equal(all[0], PITH_E_LIMIT);
        dense_growing_free(ctx, g);
        assert_true(pith_memory_used(ctx) == before);
    }
    DROP(h), DROP(u), DROP(v);
}

#define BOTH(test)                                                                                                     \
    {#test " (plain C)", test, begin, end, &plain_side}, { #test, test, begin, end, &library_side }

int main(void) {
    environment_had_core = getenv("OPENBLAS_CORETYPE") != NULL;
    const struct CMUnitTest tests[] = {
        BOTH(test_backend),
        BOTH(test_gemm),
        BOTH(test_gram),
        BOTH(test_cholesky_inverse),
        BOTH(test_damping),
        BOTH(test_eigen),
        BOTH(test_whiten),
        BOTH(test_svd),
        BOTH(test_svd_of_low_rank),
        BOTH(test_solve),
        BOTH(test_leverage),
        BOTH(test_growing),
        BOTH(test_memory),
        {"test_sides_agree", test_sides_agree, begin, end, &plain_side},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
