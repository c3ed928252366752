/* Products of thin matrices: optimal in the norm they are asked for, repairs of other coders, signs with magnitudes,
 * dictionaries with few coefficients. */
#include "vectors_case.h"

enum { ROWS = 40, COLS = 48 };

typedef struct fixture {
    pith_ctx *ctx;
    float w[ROWS * COLS], gram[DENSE_PACKED(COLS)], h[COLS];
    repr_matrix m;
    repr_stats stats;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    if (!f || !(f->ctx = pith_ctx_new(NULL))) return -1;
    case_fill(f->w, ROWS * COLS, 11, 0.05f);
    case_gram(COLS, 5, f->gram, f->h);
    f->m = (repr_matrix){f->w, ROWS, COLS};
    f->stats = (repr_stats){.h = f->h, .gram = f->gram, .n_tokens = 100};
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    pith_ctx_free(f->ctx);
    free(f);
    return 0;
}

/* Errors of the pair before it is rounded. */
static repr_error fit_error(fixture *f, size_t r, lowrank_white white, const repr_stats *stats) {
    static float a[ROWS * COLS], b[ROWS * COLS], product[ROWS * COLS];
    assert_int_equal(lowrank_fit(f->ctx, f->w, ROWS, COLS, r, white, stats, a, b), PITH_OK);
    dense_gemm(false, false, ROWS, COLS, r, 1, a, r, b, COLS, 0, product, COLS);
    repr_error e;
    assert_int_equal(repr_measure(f->ctx, &f->m, product, stats, &e), PITH_OK);
    return e;
}

/* Of all products of rank r the whitened one has the least output error, the plain one the least weight error. */
static void optimal_in_its_norm(void **state) {
    fixture *f = *state;
    for (size_t r = 1; r <= ROWS; r += r < 8 ? 1 : 8) {
        repr_error none = fit_error(f, r, LOWRANK_NONE, &f->stats), diag = fit_error(f, r, LOWRANK_DIAG, &f->stats),
                   eig = fit_error(f, r, LOWRANK_EIG, &f->stats), chol = fit_error(f, r, LOWRANK_CHOL, &f->stats);
        assert_true(eig.outputs <= diag.outputs + 1e-5);
        assert_true(eig.outputs <= none.outputs + 1e-5);
        assert_true(diag.outputs <= none.outputs + 1e-5); /* no theorem, but so when channels differ in size */
        assert_true(none.weights <= diag.weights + 1e-5);
        assert_true(none.weights <= eig.weights + 1e-5);
        assert_true(fabs(chol.outputs - eig.outputs) <= 1e-3 * eig.outputs + 1e-5);
        if (r <= 8) assert_true(eig.outputs < 0.97 * diag.outputs);
    }
}

/* What is left is what the singular values past r of W S add up to. */
static void error_is_the_tail(void **state) {
    fixture *f = *state;
    static float s[COLS * COLS], inverse[COLS * COLS], y[ROWS * COLS], u[ROWS * ROWS], vt[ROWS * COLS], values[ROWS];
    assert_int_equal(dense_whiten(f->ctx, f->gram, COLS, s, inverse), PITH_OK);
    dense_gemm(false, false, ROWS, COLS, COLS, 1, f->w, COLS, s, COLS, 0, y, COLS);
    assert_int_equal(dense_svd(f->ctx, y, ROWS, COLS, ROWS, u, values, vt), PITH_OK);
    double all = 0, tail = 0;
    for (size_t k = 0; k < ROWS; k++) {
        double v = (double)values[k] * (double)values[k];
        all += v;
        if (k >= 6) tail += v;
    }
    double e = fit_error(f, 6, LOWRANK_EIG, &f->stats).outputs;
    assert_true(fabs(e - tail / all) < 1e-4);
}

/* Halves cost little: the second factor makes up for the first one's rounding. */
static void rounded_factors(void **state) {
    fixture *f = *state;
    size_t bytes;
    repr_error exact = fit_error(f, 6, LOWRANK_EIG, &f->stats),
               coded = case_run(f->ctx, "lowrank(6)", &f->m, &f->stats, &bytes);
    assert_int_equal(bytes, 2 * 6 * (ROWS + COLS));
    assert_true(coded.outputs <= 1.001 * exact.outputs);
    repr_error full = case_run(f->ctx, "lowrank(40)", &f->m, &f->stats, NULL);
    assert_true(full.weights < 1e-5);
    /* through a coder of its own: 6 bits a number, a table of 64 for each factor */
    repr_error fine = case_run(f->ctx, "lowrank(6, factors=vq(1, 6))", &f->m, &f->stats, &bytes);
    assert_int_equal(bytes, 2 * 64 * 2 + plain_bytes(6 * ROWS, 64) + plain_bytes(6 * COLS, 64));
    assert_true(fine.outputs < 1.1 * exact.outputs);
}

static void ratio_gives_the_rank(void **state) {
    fixture *f = *state;
    size_t bytes;
    case_run(f->ctx, "lowrank(ratio=50%)", &f->m, &f->stats, &bytes);
    size_t r = ROWS * COLS / 2 / (ROWS + COLS);
    assert_int_equal(bytes, 2 * r * (ROWS + COLS));
    case_run(f->ctx, "lowrank(rank=999)", &f->m, &f->stats, &bytes);
    assert_int_equal(bytes, 2 * ROWS * (ROWS + COLS));
}

/* As what another coder left over, it repairs most where inputs are large. */
static void repairs_a_residual(void **state) {
    fixture *f = *state;
    repr_error coarse = case_run(f->ctx, "vq(2, 1.5)", &f->m, &f->stats, NULL),
               plain = case_run(f->ctx, "sum(vq(2, 1.5), lowrank(4, white=none))", &f->m, &f->stats, NULL),
               eigen = case_run(f->ctx, "sum(vq(2, 1.5), lowrank(4, white=eig))", &f->m, &f->stats, NULL);
    assert_true(plain.outputs < coarse.outputs);
    assert_true(eigen.outputs < 0.9 * plain.outputs);
}

/* Levels of a Gaussian matrix: 1 - 2/pi for signs and one magnitude, then what is left again. */
static void signs_and_magnitudes(void **state) {
    fixture *f = *state;
    enum { SIDE = 160 };
    float *w = malloc(SIDE * SIDE * sizeof *w);
    assert_non_null(w);
    case_fill(w, SIDE * SIDE, 3, 0.02f);
    repr_matrix m = {w, SIDE, SIDE};
    static const double expect[] = {0.363, 0.133, 0.058, 0.030};
    for (int n = 1; n <= 4; n++) {
        char text[64];
        size_t bytes;
        snprintf(text, sizeof text, "stack(%d, signlowrank(1))", n);
        repr_error e = case_run(f->ctx, text, &m, NULL, &bytes);
        assert_true(e.weights > 0.85 * expect[n - 1] && e.weights < 1.15 * expect[n - 1]);
    }
    repr_error one = case_run(f->ctx, "signlowrank(1)", &m, NULL, NULL),
               more = case_run(f->ctx, "signlowrank(16)", &m, NULL, NULL);
    assert_true(more.weights < 0.9 * one.weights);
    size_t bytes;
    case_run(f->ctx, "signlowrank(16)", &m, NULL, &bytes);
    assert_int_equal(bytes, SIDE * SIDE / 8 + 2 * 16 * 2 * SIDE);
    free(w);
}

static void scaled_signs(void **state) {
    fixture *f = *state;
    float w[12 * 20];
    uint64_t random = 9;
    float right[20];
    for (size_t j = 0; j < 20; j++) right[j] = case_gauss(&random);
    for (size_t i = 0; i < 12; i++) {
        float left = case_gauss(&random);
        for (size_t j = 0; j < 20; j++) w[i * 20 + j] = left * right[j];
    }
    repr_matrix m = {w, 12, 20};
    size_t bytes;
    repr_error e = case_run(f->ctx, "svid(1)", &m, NULL, &bytes); /* of rank 1, it is one already */
    assert_true(e.weights < 1e-6);
    assert_int_equal(bytes, 2 * (12 + 1 + 20) + plain_bytes(12, 2) + plain_bytes(20, 2));
    for (size_t r = 8; r <= 24; r += 8) {
        char text[2][64];
        snprintf(text[0], sizeof text[0], "svid(%zu)", r);
        snprintf(text[1], sizeof text[1], "svid(%zu, refit=no)", r);
        repr_error fitted = case_run(f->ctx, text[0], &f->m, NULL, NULL),
                   plain = case_run(f->ctx, text[1], &f->m, NULL, NULL);
        assert_true(fitted.weights < plain.weights + 1e-4);
        assert_true(plain.weights < 0.95);
    }
    repr_error once = case_run(f->ctx, "svid(8)", &f->m, NULL, NULL),
               twice = case_run(f->ctx, "sum(svid(8), svid(8))", &f->m, NULL, NULL);
    assert_true(twice.weights < once.weights);
}

static void dictionaries(void **state) {
    fixture *f = *state;
    size_t bytes;
    /* all coefficients: a product of rank 10 */
    repr_error dense = case_run(f->ctx, "dict(rank=10, nonzeros=10)", &f->m, &f->stats, &bytes);
    assert_true(dense.outputs <= 1.01 * fit_error(f, 10, LOWRANK_EIG, &f->stats).outputs);
    assert_int_equal(bytes, plain_bytes(ROWS * 10, 2) + 2 * (ROWS * 10 + 10 * COLS));
    /* half of them: no worse than a product of half the rank, which is one such choice, once refitted */
    repr_error half = case_run(f->ctx, "dict(rank=10, nonzeros=5)", &f->m, &f->stats, &bytes),
               refit = case_run(f->ctx, "dict(rank=10, nonzeros=5, rounds=3)", &f->m, &f->stats, NULL);
    assert_int_equal(bytes, plain_bytes(ROWS * 10, 2) + 2 * (ROWS * 5 + 10 * COLS));
    assert_true(refit.outputs <= half.outputs * 1.0001);
    assert_true(refit.outputs < fit_error(f, 5, LOWRANK_EIG, &f->stats).outputs);
    /* the part of numbers kept is what was asked for */
    case_run(f->ctx, "dict(keep=0.6, ks=2)", &f->m, &f->stats, &bytes);
    double rank = floor(0.6 * ROWS * COLS / (COLS + ROWS / 2.0)), mask = rank * ROWS / 8;
    assert_true(fabs(((double)bytes - mask) / 2 - 0.6 * ROWS * COLS) < 0.01 * ROWS * COLS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(optimal_in_its_norm), cmocka_unit_test(error_is_the_tail),
        cmocka_unit_test(rounded_factors),     cmocka_unit_test(ratio_gives_the_rank),
        cmocka_unit_test(repairs_a_residual),  cmocka_unit_test(signs_and_magnitudes),
        cmocka_unit_test(scaled_signs),        cmocka_unit_test(dictionaries),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
