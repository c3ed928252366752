/* Scores against their definitions, masks against their rules, removal of columns against brute force. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/select/select.h"
#include "kernels/select/noise.h"
#include "support/session.h"

static void test_scores(void **state) {
    (void)state;
    const float w[] = {3, -4, 0, 1, 2, -2}, h[] = {4, 1, 9}, inverse[] = {0.25f, 4, 1};
    select_matrix m = {w, 2, 3, h, inverse};
    float weights[6], columns[3], rows[2], groups[2];
    const float wanda[] = {6, 4, 0, 2, 2, 6}, obs[] = {6, 2, 0, 2, 1, 2};
    assert_int_equal(select_score_weights(ctx, SELECT_MAGNITUDE, &m, weights), PITH_OK);
    for (unsigned i = 0; i < 6; i++) assert_float_equal(weights[i], fabsf(w[i]), 1e-6);
    assert_int_equal(select_score_weights(ctx, SELECT_WANDA, &m, weights), PITH_OK);
    for (unsigned i = 0; i < 6; i++) assert_float_equal(weights[i], wanda[i], 1e-6);
    assert_int_equal(select_score_weights(ctx, SELECT_OBS, &m, weights), PITH_OK);
    for (unsigned i = 0; i < 6; i++) assert_float_equal(weights[i], obs[i], 1e-6);
    for (int rule = SELECT_MAGNITUDE; rule <= SELECT_OBS; rule++) { /* rows and columns are sums of squares */
        double row[2] = {0}, column[3] = {0};
        assert_int_equal(select_score_weights(ctx, (select_rule)rule, &m, weights), PITH_OK);
        for (unsigned i = 0; i < 2; i++)
            for (unsigned j = 0; j < 3; j++) {
                row[i] += weights[i * 3 + j] * weights[i * 3 + j];
                column[j] += weights[i * 3 + j] * weights[i * 3 + j];
            }
        assert_int_equal(select_score_rows(ctx, (select_rule)rule, &m, rows), PITH_OK);
        assert_int_equal(select_score_columns(ctx, (select_rule)rule, &m, columns), PITH_OK);
        for (unsigned i = 0; i < 2; i++) assert_float_equal(rows[i], sqrt(row[i]), 1e-5);
        for (unsigned j = 0; j < 3; j++) assert_float_equal(columns[j], sqrt(column[j]), 1e-5);
    }
    /* A row ten times as large is worth no more when rows are normed. */
    const float scaled[] = {30, -40, 0, 1, 2, -2};
    float again[6];
    select_matrix plain = {w, 2, 3, NULL, NULL}, tall = {scaled, 2, 3, NULL, NULL};
    assert_int_equal(select_score_rows(ctx, SELECT_NOWAG, &plain, rows), PITH_OK);
    assert_float_equal(rows[0], 1, 1e-6);
    assert_float_equal(rows[1], 1, 1e-6);
    assert_int_equal(select_score_weights(ctx, SELECT_NOWAG, &tall, again), PITH_OK);
    assert_float_equal(again[2], 0, 0);
    const float pairs[] = {3, 4, 5, 12};
    select_score_groups(pairs, 4, 2, groups);
    assert_float_equal(groups[0], 5, 1e-6);
    assert_float_equal(groups[1], 13, 1e-6);
}

static void test_influence(void **state) {
    (void)state;
    const float in[] = {1, 0, 0, 1}, out[] = {2, 0, 1, 0};
    select_influence s = {0};
    assert_float_equal(select_influence_of(&s), 0, 0);
    select_influence_add(&s, in, out, 1, 2); /* the same direction */
    assert_float_equal(select_influence_of(&s), 0, 1e-12);
    select_influence_add(&s, in + 2, out + 2, 1, 2); /* a right angle */
    assert_float_equal(select_influence_of(&s), 0.5, 1e-12);
    const float broken[] = {NAN, 1};
    select_influence_add(&s, in, broken, 1, 2); /* shows, and does not look like a layer that does much */
    assert_true(isnan(select_influence_of(&s)));
}

static void test_masks(void **state) {
    (void)state;
    const float scores[] = {5, 1, 4, 4, 2, 3, 9, 8, 7, 6};
    const uint32_t scope[] = {0, 0, 0, 0, 0, 0, 1, 1, 1, 1};
    const double cost[] = {10, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    uint8_t mask[10];
    uint32_t kept[10];
    assert_int_equal(select_mask(ctx, scores, NULL, NULL, 10, 1, 0.7, 0, mask), PITH_OK);
    assert_int_equal(select_indices(mask, 10, kept), 7);
    const uint32_t whole[] = {0, 2, 3, 6, 7, 8, 9};
    assert_memory_equal(kept, whole, sizeof whole);
    assert_int_equal(select_mask(ctx, scores, NULL, scope, 10, 2, 0.5, 0, mask), PITH_OK);
    const uint32_t each[] = {0, 2, 3, 6, 7}; /* three of six, two of four; of equals the first */
    assert_int_equal(select_indices(mask, 10, kept), 5);
    assert_memory_equal(kept, each, sizeof each);
    assert_int_equal(select_mask(ctx, scores, cost, NULL, 10, 1, 9.0 / 19, 0, mask), PITH_OK);
    assert_int_equal(select_indices(mask, 10, kept), 9); /* all but the dear one */
    assert_int_equal(mask[0], 0);
    assert_int_equal(select_mask(ctx, scores, NULL, scope, 10, 2, 0, 1, mask), PITH_OK);
    assert_int_equal(select_indices(mask, 10, kept), 2);
    assert_true(mask[0] && mask[6]);
    const float nan[] = {1, NAN};
    pith_begin(ctx);
    assert_int_equal(select_mask(ctx, nan, NULL, NULL, 2, 1, 0.5, 0, mask), PITH_E_ARGUMENT);
    pith_begin(ctx);
    assert_int_equal(select_mask(ctx, scores, NULL, scope, 10, 1, 0.5, 0, mask), PITH_E_ARGUMENT);
    pith_begin(ctx);
    assert_int_equal(select_mask(ctx, scores, NULL, NULL, 10, 1, 1.5, 0, mask), PITH_E_ARGUMENT);
}

static void test_n_of_m(void **state) {
    (void)state;
    const float scores[] = {1, 9, 3, 3, 7, 2, 5, 5, 5, 5, 5, 1};
    const uint8_t expected[] = {0, 1, 1, 0, 1, 1, 1, 1, 0, 0, 1, 1};
    uint8_t mask[12];
    assert_int_equal(select_mask_n_of_m(ctx, scores, 2, 6, 2, 4, mask), PITH_OK);
    assert_memory_equal(mask, expected, sizeof mask);
    pith_begin(ctx);
    assert_int_equal(select_mask_n_of_m(ctx, scores, 2, 6, 5, 4, mask), PITH_E_ARGUMENT);
}

enum { ROWS = 5, COLS = 8, TOKENS = 40 };

static void make_problem(float w[ROWS * COLS], float *gram) {
    float x[TOKENS * COLS];
    for (unsigned i = 0; i < ROWS * COLS; i++) w[i] = noise();
    for (unsigned t = 0; t < TOKENS; t++) {
        float common = noise();
        for (unsigned j = 0; j < COLS; j++) x[t * COLS + j] = noise() * (1 + (float)j) + 2 * common;
    }
    for (unsigned i = 0; i < COLS; i++)
        for (unsigned j = 0; j <= i; j++) {
            double sum = 0;
            for (unsigned t = 0; t < TOKENS; t++) sum += (double)x[t * COLS + i] * x[t * COLS + j];
            gram[i * (i + 1) / 2 + j] = (float)(sum / TOKENS);
        }
}

static double product(const float *e, const float *gram) {
    double sum = 0;
    for (unsigned i = 0; i < ROWS; i++)
        for (unsigned j = 0; j < COLS; j++)
            for (unsigned k = 0; k < COLS; k++) {
                double h = j >= k ? gram[j * (j + 1) / 2 + k] : gram[k * (k + 1) / 2 + j];
                sum += e[i * COLS + j] * h * e[i * COLS + k];
            }
    return sum;
}

/* The squared error of the outputs when only `kept` columns are there, fitted anew. */
static double error_with(const float *w, const float *gram, const uint32_t *kept, size_t n_kept) {
    float fitted[ROWS * COLS], e[ROWS * COLS];
    assert_int_equal(select_refit(ctx, w, ROWS, COLS, gram, kept, n_kept, 0, fitted), PITH_OK);
    memcpy(e, w, sizeof e);
    for (unsigned i = 0; i < ROWS; i++)
        for (size_t k = 0; k < n_kept; k++) e[i * COLS + kept[k]] -= fitted[i * n_kept + k];
    return product(e, gram) / product(w, gram);
}

static void test_removal(void **state) {
    (void)state;
    float w[ROWS * COLS], gram[COLS * (COLS + 1) / 2];
    for (unsigned round = 0; round < 20; round++)
        for (size_t group = 1; group <= 2; group++) {
            size_t n = COLS / group;
            uint32_t order[COLS], kept[COLS];
            double losses[COLS + 1];
            uint8_t mask[COLS];
            make_problem(w, gram);
            assert_int_equal(select_obs_order(ctx, w, ROWS, COLS, gram, 0, group, 1, order, losses), PITH_OK);
            assert_true(losses[0] == 0);
            double whole;
            assert_int_equal(select_outputs(ctx, w, ROWS, COLS, gram, 0, &whole), PITH_OK);
            assert_true(fabs(whole / product(w, gram) - 1) < 1e-5);
            memset(mask, 1, sizeof mask);
            for (size_t step = 0; step + 1 < n; step++) {
                double least = INFINITY; /* the step taken is the best there is, and its loss is the true one */
                for (size_t s = 0; s < n; s++) {
                    if (!mask[s * group]) continue;
                    memset(mask + s * group, 0, group);
                    least = fmin(least, error_with(w, gram, kept, select_indices(mask, COLS, kept)));
                    memset(mask + s * group, 1, group);
                }
                assert_true(order[step] < n && mask[order[step] * group]);
                memset(mask + order[step] * group, 0, group);
                double now = error_with(w, gram, kept, select_indices(mask, COLS, kept));
                assert_true(fabs(losses[step + 1] - now) <= 1e-3 * now + 1e-5);
                assert_true(fabs(least - now) <= 1e-3 * now + 1e-5);
            }
        }
}

/* Many columns, past a batch and a tile, against the steps as they are written, with W and H^-1 whole. */
enum { MANY = 290, FEW = 6 };
static void test_many_columns(void **state) {
    (void)state;
    static double h[MANY][2 * MANY], v[MANY][MANY], wide[FEW][MANY];
    static float x[2 * MANY][MANY], w[FEW][MANY], gram[MANY * (MANY + 1) / 2];
    uint32_t order[MANY];
    double losses[MANY + 1], trace = 0, whole = 0, loss = 0;
    bool gone[MANY] = {false};
    for (unsigned t = 0; t < 2 * MANY; t++)
        for (unsigned j = 0; j < MANY; j++) x[t][j] = noise() + (j ? 0.7f * x[t][j - 1] : 0);
    for (unsigned i = 0; i < FEW; i++)
        for (unsigned j = 0; j < MANY; j++) wide[i][j] = w[i][j] = noise();
    for (unsigned i = 0, at = 0; i < MANY; i++)
        for (unsigned j = 0; j <= i; j++, at++) {
            double sum = 0;
            for (unsigned t = 0; t < 2 * MANY; t++) sum += (double)x[t][i] * x[t][j];
            h[i][j] = h[j][i] = gram[at] = (float)(sum / (2 * MANY));
        }
    for (unsigned i = 0; i < MANY; i++) trace += h[i][i];
    for (unsigned i = 0; i < MANY; i++) {
        h[i][i] += 0.01 * trace / MANY;
        h[i][MANY + i] = 1;
    }
    for (unsigned i = 0; i < FEW; i++)
        for (unsigned j = 0; j < MANY; j++)
            for (unsigned k = 0; k < MANY; k++) whole += wide[i][j] * h[j][k] * wide[i][k];
    for (unsigned p = 0; p < MANY; p++) { /* Gauss and Jordan */
        double pivot = h[p][p];
        for (unsigned j = 0; j < 2 * MANY; j++) h[p][j] /= pivot;
        for (unsigned i = 0; i < MANY; i++) {
            double by = i == p ? 0 : h[i][p];
            for (unsigned j = p; j < 2 * MANY && by != 0; j++) h[i][j] -= by * h[p][j];
        }
    }
    for (unsigned i = 0; i < MANY; i++) memcpy(v[i], h[i] + MANY, sizeof v[i]);
    assert_int_equal(select_obs_order(ctx, w[0], FEW, MANY, gram, 0.01, 1, 20, order, losses), PITH_OK);
    for (unsigned step = 0; step + 20 < MANY; step++) {
        double costs[MANY], least = INFINITY;
        for (unsigned j = 0; j < MANY; j++) {
            costs[j] = 0;
            for (unsigned i = 0; i < FEW; i++) costs[j] += wide[i][j] * wide[i][j] / v[j][j];
            if (!gone[j]) least = fmin(least, costs[j]);
        }
        unsigned s = order[step];
        assert_true(s < MANY && !gone[s] && costs[s] <= least * (1 + 1e-4));
        loss += costs[s] / whole;
        assert_true(fabs(losses[step + 1] - loss) <= 1e-4 * loss);
        gone[s] = true;
        for (unsigned i = 0; i < FEW; i++)
            for (unsigned j = 0; j < MANY; j++)
                if (j != s) wide[i][j] -= wide[i][s] / v[s][s] * v[s][j];
        for (unsigned i = 0; i < MANY; i++)
            for (unsigned j = 0; j < MANY && i != s; j++)
                if (j != s) v[i][j] -= v[i][s] * v[s][j] / v[s][s];
    }
}

static void test_removal_refused(void **state) {
    (void)state;
    float w[ROWS * COLS], gram[COLS * (COLS + 1) / 2], out[ROWS * COLS];
    uint32_t order[COLS];
    const uint32_t outside[] = {COLS};
    double losses[COLS + 1];
    make_problem(w, gram);
    assert_int_equal(select_obs_order(ctx, w, ROWS, COLS, gram, 0.01, 3, 1, order, losses), PITH_E_ARGUMENT);
    pith_begin(ctx);
    assert_int_equal(select_obs_order(ctx, w, ROWS, COLS, gram, 0.01, 1, 0, order, losses), PITH_E_ARGUMENT);
    pith_begin(ctx);
    assert_int_equal(select_refit(ctx, w, ROWS, COLS, gram, outside, 1, 0, out), PITH_E_ARGUMENT);
    pith_begin(ctx);
    gram[5] = NAN;
    assert_int_equal(select_obs_order(ctx, w, ROWS, COLS, gram, 0.01, 1, 1, order, losses), PITH_E_CHECK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores), cmocka_unit_test(test_influence), cmocka_unit_test(test_masks),
        cmocka_unit_test(test_n_of_m), cmocka_unit_test(test_removal),   cmocka_unit_test(test_removal_refused),
        cmocka_unit_test(test_many_columns),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
