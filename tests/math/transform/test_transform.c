/* The orthonormal transforms against their definitions, their inverses, and bits known on every machine. */
#include "math/transform/transform.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/session.h"

#define KNOWN_BITS 0x3426F4F581E07F59u

static uint32_t noise_state;
static void fill(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        noise_state = noise_state * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)noise_state * 0x1p-31f;
    }
}

static void test_hadamard_definition(void **state) {
    (void)state;
    float x[256], y[256];
    for (size_t block = 1; block <= 256; block *= 2) {
        fill(x, block);
        memcpy(y, x, block * sizeof *y);
        transform_hadamard(y, 1, block, block);
        for (size_t i = 0; i < block; i++) {
            double sum = 0;
            for (size_t j = 0; j < block; j++) sum += __builtin_popcountll(i & j) % 2 ? -(double)x[j] : (double)x[j];
            assert_true(fabs(sum / sqrt((double)block) - (double)y[i]) < 2e-6);
        }
        transform_hadamard(y, 1, block, block);
        for (size_t i = 0; i < block; i++) assert_true(fabsf(y[i] - x[i]) < 1e-6f);
    }
}

/* 2 rows of 107 = 64 + 32 + 8 + 2 + 1 in blocks of at most 64. */
static void test_hadamard_tail(void **state) {
    (void)state;
    float x[2 * 107], y[2 * 107];
    static const size_t runs[] = {64, 32, 8, 2, 1};
    fill(x, 2 * 107);
    memcpy(y, x, sizeof y);
    transform_hadamard(y, 2, 107, 64);
    for (size_t row = 0; row < 2; row++)
        for (size_t i = 0, at = row * 107; i < PITH_COUNT(runs); at += runs[i++])
            transform_hadamard(x + at, 1, runs[i], runs[i]);
    assert_memory_equal(x, y, sizeof y);
}

/* Rows of the transformed unit matrix are the basis: orthonormal, for all lengths down to those shorter than the
 * filter; the inverse is the transposed matrix. */
static void test_wavelet_orthonormal(void **state) {
    (void)state;
    static const size_t sides[] = {1, 2, 3, 4, 6, 8, 12, 40, 64};
    static float a[64 * 64], b[64 * 64];
    for (int kind = TRANSFORM_HAAR; kind <= TRANSFORM_DB4; kind++)
        for (size_t s = 0; s < PITH_COUNT(sides); s++)
            for (unsigned levels = 1; levels < 8; levels += 3) {
                size_t n = sides[s];
                for (size_t i = 0; i < n * n; i++) a[i] = b[i] = i % (n + 1) == 0;
                assert_int_equal(transform_wavelet_rows(ctx, (transform_wavelet)kind, levels, false, a, n, n), PITH_OK);
                assert_int_equal(transform_wavelet_rows(ctx, (transform_wavelet)kind, levels, true, b, n, n), PITH_OK);
                for (size_t i = 0; i < n; i++)
                    for (size_t j = 0; j < n; j++) {
                        double sum = 0;
                        for (size_t k = 0; k < n; k++) sum += (double)a[i * n + k] * (double)a[j * n + k];
                        assert_true(fabs(sum - (i == j)) < 1e-6);
                        assert_true(fabsf(a[i * n + j] - b[j * n + i]) < 1e-6f);
                    }
                if (n % 2) assert_true(a[0] == 1); /* odd: left alone */
            }
}

/* What is polynomial of a degree below the number of vanishing moments has no high half, but where it wraps. */
static void test_wavelet_moments(void **state) {
    (void)state;
    float x[64];
    for (int kind = TRANSFORM_HAAR; kind <= TRANSFORM_DB4; kind++) {
        int moments = 1 << kind;
        for (int degree = 0; degree <= moments; degree++) {
            for (int i = 0; i < 64; i++) x[i] = (float)pow(i / 64.0, degree);
            assert_int_equal(transform_wavelet_rows(ctx, (transform_wavelet)kind, 1, false, x, 1, 64), PITH_OK);
            float most = 0;
            for (int i = 32; i < 64 - moments; i++) most = fmaxf(most, fabsf(x[i]));
            if (degree < moments)
                assert_true(most < 1e-6f);
            else
                assert_true(most > (kind == TRANSFORM_DB4 ? 1e-7f : 1e-5f));
        }
    }
}

/* Along columns is along rows of the transposed matrix, to the bit; and back again. */
static void test_wavelet_directions(void **state) {
    (void)state;
    enum { R = 48, C = 90 };
    static float x[R * C], turned[R * C], y[R * C];
    for (int kind = TRANSFORM_HAAR; kind <= TRANSFORM_DB4; kind++) {
        fill(x, R * C);
        memcpy(y, x, sizeof y);
        for (size_t i = 0; i < R * C; i++) turned[i % C * R + i / C] = x[i];
        assert_int_equal(transform_wavelet_cols(ctx, (transform_wavelet)kind, 3, false, y, R, C), PITH_OK);
        assert_int_equal(transform_wavelet_rows(ctx, (transform_wavelet)kind, 3, false, turned, C, R), PITH_OK);
        for (size_t i = 0; i < R * C; i++) assert_memory_equal(&y[i], &turned[i % C * R + i / C], sizeof *y);
        assert_int_equal(transform_wavelet_cols(ctx, (transform_wavelet)kind, 3, true, y, R, C), PITH_OK);
        assert_int_equal(transform_wavelet_rows(ctx, (transform_wavelet)kind, 3, true, turned, C, R), PITH_OK);
        for (size_t i = 0; i < R * C; i++) {
            assert_memory_equal(&y[i], &turned[i % C * R + i / C], sizeof *y);
            assert_true(fabsf(y[i] - x[i]) < 2e-6f);
        }
    }
}

static void test_known_bits(void **state) {
    (void)state;
    enum { R = 33, C = 200 };
    static float x[R * C];
    noise_state = 7;
    fill(x, R * C);
    for (size_t block = 2; block <= 128; block *= 4) transform_hadamard(x, R, C, block);
    for (int kind = TRANSFORM_HAAR; kind <= TRANSFORM_DB4; kind++) {
        assert_int_equal(transform_wavelet_rows(ctx, (transform_wavelet)kind, 3, kind % 2, x, R, C), PITH_OK);
        assert_int_equal(transform_wavelet_cols(ctx, (transform_wavelet)kind, 2, kind % 2, x, C, R), PITH_OK);
    }
    for (size_t i = 0; i < R * C; i++) x[i] += 0; /* -0 */
    uint64_t hash = pith_hash64(x, sizeof x);
    if (hash != KNOWN_BITS) fail_msg("hash 0x%016llX", (unsigned long long)hash);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hadamard_definition), cmocka_unit_test(test_hadamard_tail),
        cmocka_unit_test(test_wavelet_orthonormal), cmocka_unit_test(test_wavelet_moments),
        cmocka_unit_test(test_wavelet_directions),  cmocka_unit_test(test_known_bits),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
