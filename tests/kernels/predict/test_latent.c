/* Latent labels of a table: the kinds that rows and columns were made with come back, whatever they are called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kernels/predict/predict.h"
#include "support/file_data.h"

enum { ROWS = 150, COLUMNS = 60, ROW_KINDS = 3, COLUMN_KINDS = 2 };

/* Whether two labellings part n things alike. */
static bool same_parts(const uint8_t *a, const uint8_t *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            if ((a[i] == a[j]) != (b[i] == b[j])) return false;
    return true;
}

static void kinds_come_back(void **state) {
    (void)state;
    static const float level[ROW_KINDS][COLUMN_KINDS] = {{0, 4}, {5, 1}, {9, 8}};
    static float a[ROWS * COLUMNS];
    uint8_t row[ROWS], column[COLUMNS], row_label[ROWS], column_label[COLUMNS];
    uint32_t r = 5;
    for (size_t i = 0; i < ROWS; i++) row[i] = (uint8_t)(data_random(&r) % ROW_KINDS);
    for (size_t j = 0; j < COLUMNS; j++) column[j] = (uint8_t)(data_random(&r) % COLUMN_KINDS);
    for (size_t i = 0; i < ROWS; i++)
        for (size_t j = 0; j < COLUMNS; j++)
            a[i * COLUMNS + j] = level[row[i]][column[j]] + (float)(data_random(&r) % 3);
    pith_ctx *ctx = pith_ctx_new(NULL);
    assert_int_equal(latent_cluster(ctx, a, ROWS, COLUMNS, 2, ROW_KINDS, COLUMN_KINDS, row_label, column_label),
                     PITH_OK);
    assert_true(same_parts(row, row_label, ROWS));
    assert_true(same_parts(column, column_label, COLUMNS));
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
}

static void any_table_gets_labels(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    const float zeros[12] = {0};
    uint8_t row[4], column[3];
    assert_int_equal(latent_cluster(ctx, zeros, 4, 3, 3, 4, 4, row, column), PITH_OK);
    for (size_t i = 0; i < 4; i++) assert_true(row[i] < 4);
    assert_int_equal(latent_cluster(ctx, zeros, 1, 1, 1, 1, 1, row, column), PITH_OK);
    assert_int_equal(latent_cluster(ctx, zeros, 4, 3, 1, LATENT_MAX + 1, 1, row, column), PITH_E_ARGUMENT);
    assert_int_equal(latent_cluster(ctx, zeros, 0, 3, 1, 1, 1, row, column), PITH_E_ARGUMENT);
    pith_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_come_back),
        cmocka_unit_test(any_table_gets_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
