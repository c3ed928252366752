/* Rows that share: a hashed table is found again, rows that count more are hit less; bands give the rows that count
 * most to the first chain; the door to atoms. */
#include "vectors_case.h"

enum { ROWS = 60, COLS = 6 };

/* A matrix that is made as the stage makes rows comes back, but for rounding. */
static void tables_are_found(void **state) {
    static const char *const recipes[] = {"hash(25%)", "hash(30%, sum)", "hash(30%, product)"};
    for (size_t r = 0; r < PITH_COUNT(recipes); r++) {
        float w[ROWS * COLS], made[ROWS * COLS];
        repr_matrix m = {w, ROWS, COLS};
        case_chain c = case_open(*state, recipes[r]);
        pith_buffer out = {0};
        case_fill(w, ROWS * COLS, 3 + r, 1);
        assert_int_equal(repr_encode(*state, c.chain, &m, NULL, &out, made), PITH_OK);
        case_close(*state, &c);
        pith_buffer_free(*state, &out);
        repr_matrix again = {made, ROWS, COLS};
        repr_error first = case_run(*state, recipes[r], &m, NULL, NULL),
                   second = case_run(*state, recipes[r], &again, NULL, NULL);
        assert_true(first.weights > 0.4);
        assert_true(second.weights < (r == 0 ? 1e-6 : 0.02));
    }
}

static double error_of_row(const float *a, const float *b) {
    double sum = 0;
    for (size_t d = 0; d < COLS; d++) sum += (double)(a[d] - b[d]) * (double)(a[d] - b[d]);
    return sum;
}

static void counts_weigh(void **state) {
    float w[ROWS * COLS], with[ROWS * COLS], without[ROWS * COLS], counts[ROWS];
    repr_matrix m = {w, ROWS, COLS};
    repr_stats stats = {.outputs = counts, .n_outputs = ROWS};
    pith_buffer out = {0};
    case_chain c = case_open(*state, "hash(30%)");
    case_fill(w, ROWS * COLS, 9, 1);
    for (size_t i = 0; i < ROWS; i++) counts[i] = i < 10 ? 100 : 1;
    assert_int_equal(repr_encode(*state, c.chain, &m, &stats, &out, with), PITH_OK);
    assert_int_equal(repr_encode(*state, c.chain, &m, NULL, &out, without), PITH_OK);
    double a = 0, b = 0;
    for (size_t i = 0; i < 10; i++) {
        a += error_of_row(w + i * COLS, with + i * COLS);
        b += error_of_row(w + i * COLS, without + i * COLS);
    }
    assert_true(a < 0.7 * b);
    case_close(*state, &c);
    pith_buffer_free(*state, &out);
}

static void bands_by_count(void **state) {
    float w[ROWS * COLS], back[ROWS * COLS], counts[ROWS];
    repr_matrix m = {w, ROWS, COLS};
    repr_stats stats = {.outputs = counts, .n_outputs = ROWS};
    pith_buffer out = {0};
    case_fill(w, ROWS * COLS, 10, 1);
    for (size_t i = 0; i < ROWS; i++) counts[i] = (float)(i * 7 % ROWS);
    case_chain c = case_open(*state, "bands(20%, vq(1, 10), hash(5%))");
    assert_int_equal(repr_encode(*state, c.chain, &m, &stats, &out, back), PITH_OK);
    for (size_t i = 0; i < ROWS; i++) {
        double error = error_of_row(w + i * COLS, back + i * COLS);
        if (i * 7 % ROWS >= ROWS - ROWS / 5) /* own values for all */
            assert_true(error < 1e-4);
        else
            assert_true(error > 1e-3);
    }
    /* marks that are too many or too few */
    for (unsigned bit = 0; bit < 8; bit++) {
        repr_reader in = {out.data, out.data + out.size};
        out.data[0] ^= (uint8_t)(1u << bit);
        pith_begin(*state);
        assert_int_equal(repr_decode(*state, c.chain, &in, 0, &(repr_matrix){back, ROWS, COLS}), PITH_E_FORMAT);
        out.data[0] ^= (uint8_t)(1u << bit);
    }
    case_close(*state, &c);
    pith_buffer_free(*state, &out);
}

/* Vectors of two planted directions: learnt on some, they code others. */
static void atoms_code_others(void **state) {
    enum { N = 600, DIM = 8, K = 24, PLANTED = 12, HELD = 100 };
    static float x[N * DIM], planted[PLANTED * DIM], atoms[K * DIM], value[HELD * 2];
    static uint16_t index[HELD * 2];
    uint64_t random = 54;
    case_fill(planted, PLANTED * DIM, 55, 0.3f);
    for (size_t v = 0; v < N; v++)
        for (int i = 0; i < 2; i++) {
            size_t k = vectors_random(&random) % PLANTED;
            float a = case_gauss(&random);
            for (size_t d = 0; d < DIM; d++) x[v * DIM + d] += a * planted[k * DIM + d];
        }
    const float *held = x + (N - HELD) * DIM;
    assert_int_equal(repr_atoms_learn(*state, x, N - HELD, DIM, K, 2, 30, 1, atoms), PITH_OK);
    assert_int_equal(repr_atoms_code(*state, held, HELD, DIM, atoms, K, 2, index, value), PITH_OK);
    double error = 0, all = 0;
    for (size_t v = 0; v < HELD; v++)
        for (size_t d = 0; d < DIM; d++) {
            double left = held[v * DIM + d];
            all += left * left;
            for (int i = 0; i < 2; i++) left -= (double)value[v * 2 + i] * (double)atoms[index[v * 2 + i] * DIM + d];
            error += left * left;
        }
    assert_true(error < 0.08 * all);
    assert_int_equal(repr_atoms_learn(*state, x, 10, DIM, K, 2, 1, 1, atoms), PITH_E_ARGUMENT);
    assert_int_equal(repr_atoms_code(*state, x, 10, DIM, atoms, K, 17, index, value), PITH_E_ARGUMENT);
}

static int start(void **state) {
    *state = pith_ctx_new(NULL);
    return *state ? 0 : -1;
}

static int end(void **state) {
    size_t used = pith_memory_used(*state);
    pith_ctx_free(*state);
    return used ? -1 : 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_found),
        cmocka_unit_test(counts_weigh),
        cmocka_unit_test(bands_by_count),
        cmocka_unit_test(atoms_code_others),
    };
    return cmocka_run_group_tests(tests, start, end);
}
