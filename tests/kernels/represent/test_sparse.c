/* Positions, pruning and outliers: the best are chosen and their number is right; each form of positions comes back
 * and refuses damage; the orders that the papers claim hold on correlated inputs; planted outliers are found. */
#include "kernels/represent/columns_support.h"

#include "kernels/represent/scalar.h"
#include "support/session.h"

static void test_choose(void **state) {
    (void)state;
    random_state r = {5};
    for (size_t round = 0; round < 300; round++) {
        float score[97], scratch[97];
        uint8_t keep[97];
        size_t n = 1 + random_next(&r) % 97, want = random_next(&r) % (n + 1), kept = 0;
        size_t values = 1 + random_next(&r) % 20; /* many are equal */
        for (size_t i = 0; i < n; i++) score[i] = (float)(random_next(&r) % values);
        if (round % 7 == 0) score[n / 2] = NAN;
        sparse_choose(score, n, want, keep, scratch);
        for (size_t i = 0; i < n; i++) kept += keep[i];
        assert_int_equal(kept, want);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                if (keep[i] && !keep[j]) assert_false(score[j] > score[i]);
                /* Ties go to the first. */
                if (keep[i] && !keep[j] && score[i] == score[j]) assert_true(i < j);
            }
    }
}

/* All forms, at all densities. */
static void test_forms(void **state) {
    (void)state;
    static const char *const forms[] = {"auto", "bitmap", "csr", "gaps"};
    static const char *const keeps[] = {"0", "1%", "10%", "50%", "99%", "100%"};
    sample s;
    sample_new(&s, 31, 70, 0.5, 1);
    for (size_t k = 0; k < PITH_COUNT(keeps); k++) {
        size_t least = SIZE_MAX, of_auto = 0;
        for (size_t i = 0; i < PITH_COUNT(forms); i++) {
            char recipe[96];
            coded c;
            snprintf(recipe, sizeof recipe, "sparse(keep=%s, per=matrix, format=%s)", keeps[k], forms[i]);
            round_trip(ctx, recipe, &s, NULL, &c);
            if (i == 0)
                of_auto = c.bytes.size;
            else
                least = PITH_MIN(least, c.bytes.size);
            size_t set = 0;
            for (size_t j = 0; j < 31 * 70; j++) set += s.restored[j] != 0;
            double part = atof(keeps[k]) / 100;
            assert_int_equal(set, (size_t)(part * 31 * 70 + 0.5));
            coded_free(ctx, &c);
        }
        assert_int_equal(of_auto, least);
    }
    sample_free(&s);
}

static void test_forms_of_damage(void **state) {
    (void)state;
    static const char *const forms[] = {"bitmap", "csr", "gaps", "pattern"};
    sample s;
    random_state r = {3};
    sample_new(&s, 13, 40, 0.5, 2);
    float back[13 * 40];
    repr_matrix w = {back, 13, 40};
    for (size_t i = 0; i < PITH_COUNT(forms); i++) {
        char recipe[96];
        coded c;
        snprintf(recipe, sizeof recipe, "sparse(keep=25%%, pattern=%s, format=%s)", i == 3 ? "1:4" : "none", forms[i]);
        round_trip(ctx, recipe, &s, NULL, &c);
        for (int round = 0; round < 3000; round++) {
            size_t n = c.bytes.size;
            uint8_t *copy = malloc(n);
            memcpy(copy, c.bytes.data, n);
            for (uint64_t flips = 1 + random_next(&r) % 3; flips; flips--)
                copy[random_next(&r) % PITH_MIN(n, 200)] ^= (uint8_t)(1u << random_next(&r) % 8);
            repr_reader in = {copy, copy + n};
            pith_status status = repr_decode(ctx, c.chain, &in, 0, &w);
            assert_true(status == PITH_OK || status == PITH_E_FORMAT || status == PITH_E_LIMIT);
            free(copy);
        }
        coded_free(ctx, &c);
    }
    sample_free(&s);
}

static size_t zeros(const sample *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->w.rows * s->w.cols; i++) n += s->restored[i] == 0;
    return n;
}

static void test_pruning_order(void **state) {
    (void)state;
    enum { ROWS = 64, COLS = 256 };
    sample s;
    sample_new(&s, ROWS, COLS, 0.9, 4);
    double magnitude = output_error(ctx, "prune(50%) | sparse", &s, &s.stats, NULL);
    assert_int_equal(zeros(&s), ROWS * COLS / 2);
    double wanda = output_error(ctx, "prune(50%, wanda) | sparse", &s, &s.stats, NULL);
    for (size_t r = 0; r < ROWS; r++) { /* counted in each row */
        size_t n = 0;
        for (size_t j = 0; j < COLS; j++) n += s.restored[r * COLS + j] == 0;
        assert_int_equal(n, COLS / 2);
    }
    double sparsegpt = output_error(ctx, "sparse(keep=50%) @ obs", &s, &s.stats, NULL);
    assert_int_equal(zeros(&s), ROWS * COLS / 2);
    if (!(sparsegpt < 0.8 * wanda && wanda < 0.9 * magnitude))
        printf("magnitude %.4f, by inputs %.4f, fed forward %.4f\n", magnitude, wanda, sparsegpt);
    assert_true(sparsegpt < 0.8 * wanda);
    assert_true(wanda < 0.9 * magnitude);
    double semi = output_error(ctx, "prune(pattern=2:4, score=wanda) | sparse(pattern=2:4)", &s, &s.stats, NULL);
    assert_int_equal(zeros(&s), ROWS * COLS / 2);
    double semi_fed = output_error(ctx, "sparse(pattern=2:4) @ obs", &s, &s.stats, NULL);
    for (size_t i = 0; i < ROWS * COLS; i += 4) {
        size_t n = 0;
        for (size_t k = 0; k < 4; k++) n += s.restored[i + k] != 0;
        assert_true(n <= 2);
    }
    assert_true(wanda < semi);
    assert_true(semi_fed < 0.8 * semi);
    double obs = output_error(ctx, "prune(50%, obs) | sparse", &s, &s.stats, NULL);
    assert_true(sparsegpt < obs);
    sample_free(&s);
}

/* 0.5 % of the weights ten times as large: outliers finds them, and the outputs are the better for it. */
static void test_planted(void **state) {
    (void)state;
    enum { ROWS = 128, COLS = 256 };
    sample s;
    random_state r = {6};
    sample_new(&s, ROWS, COLS, 0.7, 5);
    uint8_t *planted = calloc(ROWS * COLS, 1);
    size_t n_planted = 0, found = 0, others = 0;
    for (size_t i = 0; i < ROWS * COLS; i++) {
        if (random_next(&r) % 200) continue;
        s.w.data[i] = copysignf(0.4f, s.w.data[i]) * (0.75f + 0.5f * (float)(random_next(&r) % 1000) / 1000);
        planted[i] = 1;
        n_planted++;
    }
    coded c, inner;
    round_trip(ctx, "outliers(q(3, group=16, meta=q(3, group=16))) @ obs", &s, &s.stats, &c);
    repr_error error;
    assert_int_equal(repr_measure(ctx, &s.w, s.restored, &s.stats, &error), PITH_OK);
    /* The inner coder's bytes come first; what follows says where outliers are. */
    assert_int_equal(chain_of(ctx, "q(3, group=16, meta=q(3, group=16))", &inner), PITH_OK);
    repr_reader in = {c.bytes.data, c.bytes.data + c.bytes.size};
    repr_matrix w = {s.restored, ROWS, COLS};
    assert_int_equal(repr_decode(ctx, inner.chain, &in, 0, &w), PITH_OK);
    const repr_job job = {.ctx = ctx, .args = inner.recipe->rules[0].stages, .chain = inner.chain};
    uint8_t *mask = malloc(ROWS * COLS);
    size_t count;
    assert_non_null(repr_take(&in, 1));
    assert_int_equal(sparse_take_mask(&job, &in, ROWS, COLS, mask, &count), PITH_OK);
    for (size_t i = 0; i < ROWS * COLS; i++) {
        found += planted[i] && mask[i];
        others += !planted[i] && mask[i];
    }
    if (!(10 * found > 9 * n_planted)) printf("%zu of %zu found, and %zu others\n", found, n_planted, others);
    assert_true(10 * found > 9 * n_planted);
    assert_true(others < ROWS * COLS / 100);
    coded_free(ctx, &inner);
    coded_free(ctx, &c);
    size_t bytes, bytes_plain;
    double with = output_error(ctx, "outliers(q(3, group=16, meta=q(3, group=16))) @ obs", &s, &s.stats, &bytes);
    double plain = output_error(ctx, "q(3, group=16, meta=q(3, group=16)) @ obs", &s, &s.stats, &bytes_plain);
    double smaller = output_error(ctx, "q(3, group=16) @ obs", &s, &s.stats, NULL);
    if (!(with < 0.5 * plain)) printf("%.4f with, %.4f without, %.4f\n", with, plain, smaller);
    assert_true(with < 0.5 * plain);
    assert_true(with < 0.5 * smaller);
    assert_true((double)(bytes - bytes_plain) * 8 < 0.3 * ROWS * COLS);
    free(mask);
    free(planted);
    sample_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choose),        cmocka_unit_test(test_forms),   cmocka_unit_test(test_forms_of_damage),
        cmocka_unit_test(test_pruning_order), cmocka_unit_test(test_planted),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
