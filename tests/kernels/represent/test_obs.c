/* Error feedback: with inputs that do not correlate it changes nothing, with inputs that do it lowers the outputs'
 * error; it gives what the textbook loop gives in doubles; inputs never seen lose their weights; the size of blocks
 * changes nothing but rounding. */
#include "kernels/represent/columns_support.h"
#include "support/session.h"

static const char *const coders[] = {
    "q(4, group=32)", "q(3, group=16, meta=q(3, group=16))", "q(4, group=64, grid=nf4)", "step(0.5, tilt=0)", "ternary",
    "kmeans(3)"};

static void test_identity(void **state) {
    (void)state;
    enum { ROWS = 24, COLS = 160 };
    sample s;
    sample_new(&s, ROWS, COLS, 0.5, 1);
    float *gram = calloc(DENSE_PACKED(COLS), sizeof *gram), plain[ROWS * COLS];
    for (size_t j = 0; j < COLS; j++) gram[j * (j + 1) / 2 + j] = 1;
    repr_stats identity = {.gram = gram, .n_tokens = 1};
    for (size_t i = 0; i < PITH_COUNT(coders); i++) {
        char under[160];
        coded c;
        round_trip(ctx, coders[i], &s, NULL, &c);
        memcpy(plain, s.restored, sizeof plain);
        coded_free(ctx, &c);
        snprintf(under, sizeof under, "%s @ obs", coders[i]);
        round_trip(ctx, under, &s, &identity, &c);
        assert_memory_equal(plain, s.restored, sizeof plain);
        coded_free(ctx, &c);
        round_trip(ctx, under, &s, NULL, &c);
        assert_memory_equal(plain, s.restored, sizeof plain);
        coded_free(ctx, &c);
    }
    free(gram);
    sample_free(&s);
}

static void test_lower_error(void **state) {
    (void)state;
    static const char *const recipes[] = {"q(4, group=32)",
                                          "q(3, group=16, meta=q(3, group=16))",
                                          "q(2, group=0)",
                                          "step(0.5)",
                                          "step(1, tilt=0)",
                                          "ternary",
                                          "sign",
                                          "kmeans(3)",
                                          "sparse(keep=50%)",
                                          "outliers(q(3, group=16))"};
    sample s;
    sample_new(&s, 48, 192, 0.9, 2);
    for (size_t i = 0; i < PITH_COUNT(recipes); i++) {
        char under[160];
        double plain = output_error(ctx, recipes[i], &s, &s.stats, NULL);
        snprintf(under, sizeof under, "%s @ obs", recipes[i]);
        double fed = output_error(ctx, under, &s, &s.stats, NULL);
        if (!(fed < 0.7 * plain)) printf("%s: %.5f, fed forward %.5f\n", recipes[i], plain, fed);
        assert_true(fed < 0.7 * plain);
    }
    sample_free(&s);
}

/* The loop of GPTQ as its paper writes it, with an inverse by Gauss and Jordan that is downdated column by column. */
static void reference(const sample *s, double damp, double scale, double zero, double top, double *out) {
    size_t rows = s->w.rows, n = s->w.cols;
    double a[8][16] = {{0}}, mean = 0;
    for (size_t j = 0; j < n; j++) mean += (double)s->stats.h[j] / (double)n;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            size_t p = PITH_MAX(i, j), q = PITH_MIN(i, j);
            a[i][j] = (double)s->stats.gram[p * (p + 1) / 2 + q] + (i == j ? damp * mean : 0);
            a[i][n + j] = i == j;
        }
    for (size_t k = 0; k < n; k++) {
        double pivot = a[k][k];
        for (size_t j = 0; j < 2 * n; j++) a[k][j] /= pivot;
        for (size_t i = 0; i < n; i++) {
            double factor = a[i][k];
            for (size_t j = 0; i != k && j < 2 * n; j++) a[i][j] -= factor * a[k][j];
        }
    }
    double inverse[8][8], w[8];
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) inverse[i][j] = a[i][n + j];
        for (size_t j = 0; j < n; j++) w[j] = (double)s->w.data[r * n + j];
        for (size_t j = 0; j < n; j++) {
            double q = floor(w[j] / scale + zero + 0.5);
            q = (PITH_MIN(PITH_MAX(q, 0), top) - zero) * scale;
            out[r * n + j] = q;
            double e = (w[j] - q) / inverse[j][j];
            for (size_t k = j + 1; k < n; k++) w[k] -= e * inverse[j][k];
            for (size_t i = j + 1; i < n; i++)
                for (size_t k = j + 1; k < n; k++) inverse[i][k] -= inverse[i][j] * inverse[j][k] / inverse[j][j];
        }
    }
}

static void test_textbook(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        sample s;
        double expected[48];
        coded c;
        sample_new(&s, 6, 8, 0.9, seed);
        /* One grid for all rows: each row has the same least and greatest weight at the start. */
        for (size_t r = 0; r < 6; r++) s.w.data[r * 8] = -0.1f, s.w.data[r * 8 + 1] = 0.125f;
        for (size_t i = 0; i < 48; i++)
            if (i % 8 > 1) s.w.data[i] = s.w.data[i] < -0.1f ? -0.1f : s.w.data[i] > 0.12f ? 0.12f : s.w.data[i];
        float scale = 0.225f / 7; /* as a half, at the exponent of the largest weight */
        round_trip(ctx, "q(3, group=0) @ obs(damp=2%)", &s, &s.stats, &c);
        double stored = 0;
        for (size_t i = 0; i < 48; i++)
            if (s.restored[i] > 0 && (stored == 0 || s.restored[i] < stored)) stored = (double)s.restored[i];
        assert_true(fabs(stored - (double)scale) < 1e-3 * (double)scale);
        reference(&s, 0.02, stored, 3, 7, expected);
        for (size_t i = 0; i < 48; i++) assert_true(fabs(expected[i] - (double)s.restored[i]) < 1e-5);
        coded_free(ctx, &c);
        sample_free(&s);
    }
}

static void test_dead_inputs(void **state) {
    (void)state;
    enum { ROWS = 12, COLS = 40, DEAD = 17 };
    sample s;
    sample_new(&s, ROWS, COLS, 0.8, 3);
    float *gram = (float *)(uintptr_t)s.stats.gram, *h = (float *)(uintptr_t)s.stats.h;
    for (size_t i = 0; i < COLS; i++)
        for (size_t j = 0; j <= i; j++)
            if (i == DEAD || j == DEAD) gram[i * (i + 1) / 2 + j] = 0;
    h[DEAD] = 0;
    for (int diagonal = 0; diagonal < 2; diagonal++) {
        repr_stats stats = {.h = h, .gram = diagonal ? NULL : gram, .n_tokens = 1};
        coded c;
        round_trip(ctx, "q(4, group=0) @ obs", &s, &stats, &c);
        for (size_t r = 0; r < ROWS; r++)
            for (size_t j = 0; j < COLS; j++) {
                if (j == DEAD) assert_true(s.restored[r * COLS + j] == 0);
                assert_true(isfinite(s.restored[r * COLS + j]));
            }
        coded_free(ctx, &c);
    }
    /* Nothing seen at all is no reason to lose everything. */
    memset(gram, 0, DENSE_PACKED(COLS) * sizeof *gram);
    memset(h, 0, COLS * sizeof *h);
    coded c;
    round_trip(ctx, "q(4, group=0) @ obs", &s, &s.stats, &c);
    coded_free(ctx, &c);
    repr_error error;
    assert_int_equal(repr_measure(ctx, &s.w, s.restored, NULL, &error), PITH_OK);
    assert_true(error.weights < 0.05);
    sample_free(&s);
}

static void test_blocks(void **state) {
    (void)state;
    static const char *const recipes[] = {"q(4, group=16)", "q(4, group=24)", "q(4, group=200)", "step(0.5)"};
    static const unsigned blocks[] = {1, 7, 32, 100, 4096};
    sample s;
    sample_new(&s, 32, 200, 0.9, 4);
    for (size_t i = 0; i < PITH_COUNT(recipes); i++) {
        double first = 0;
        for (size_t b = 0; b < PITH_COUNT(blocks); b++) {
            char under[160];
            snprintf(under, sizeof under, "%s @ obs(block=%u)", recipes[i], blocks[b]);
            double error = output_error(ctx, under, &s, &s.stats, NULL);
            if (b == 0) first = error;
            if (!(fabs(error - first) < 0.05 * first)) printf("%s: %.5f, not %.5f\n", under, error, first);
            assert_true(fabs(error - first) < 0.05 * first);
        }
    }
    sample_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity),    cmocka_unit_test(test_lower_error), cmocka_unit_test(test_textbook),
        cmocka_unit_test(test_dead_inputs), cmocka_unit_test(test_blocks),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
