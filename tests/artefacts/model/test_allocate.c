/* The table of codes of the built-in model: rows cost what compress writes, more bytes lose less, what is put in is
 * what the choice says, and the recipe of a choice reads back as such. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "artefacts/artefacts.h"
#include "artefacts/model/allocate.h"

static pith_ctx *ctx;
static lm_model *model;
static pith_recipe *levels;
static model_table *table;

static int begin(void **state) {
    (void)state;
    static const char text[] = "q(2, group=64) ; q(4, group=64)";
    artefacts_register();
    ctx = pith_ctx_new(NULL);
    if (!ctx || lm_open(ctx, NULL, &model) != PITH_OK) return -1;
    if (pith_recipe_parse(ctx, "model", text, sizeof text - 1, &levels) != PITH_OK) return -1;
    return model_table_new(ctx, lm_file(model), levels, NULL, &table) == PITH_OK ? 0 : -1;
}

static int end(void **state) {
    (void)state;
    model_table_free(ctx, table);
    pith_recipe_free(ctx, levels);
    lm_close(ctx, model);
    int leaked = pith_memory_used(ctx) != 0;
    pith_ctx_free(ctx);
    return -leaked;
}

static void test_rows(void **state) {
    (void)state;
    const alloc_table *t = model_table_rows(table);
    assert_int_equal(t->n_rows, 2 * t->n_units);
    for (uint32_t u = 0; u < t->n_units; u++) {
        const alloc_row *low = &t->rows[2 * u], *high = low + 1;
        assert_true(low->unit == u && low->level == 0 && high->level == 1);
        assert_true(high->bytes > low->bytes && high->loss < low->loss && high->loss > 0);
    }
    uint32_t chosen[256];
    assert_true(t->n_units <= 256);
    alloc_choice c = {.rows = chosen};
    alloc_budget b = {.bytes = alloc_bytes_of(3.5, model_table_weights(table))};
    assert_int_equal(alloc_mckp(ctx, t, &b, 0, &c), PITH_OK);
    assert_true(c.exact && c.bytes <= b.bytes && c.bytes > b.bytes * 9 / 10);
}

/* Every matrix stands in exactly one rule of the recipe, at its level. */
static void test_recipe(void **state) {
    (void)state;
    const alloc_table *t = model_table_rows(table);
    uint32_t rows[256];
    pith_buffer text = {0};
    pith_recipe *back;
    for (uint32_t u = 0; u < t->n_units; u++) rows[u] = 2 * u + u % 2;
    assert_int_equal(model_table_recipe(ctx, table, rows, &text), PITH_OK);
    assert_int_equal(pith_recipe_parse(ctx, "model", (const char *)text.data, text.size, &back), PITH_OK);
    assert_int_equal(back->n_rules, 2);
    size_t names = 2;
    for (unsigned i = 0; i < 2; i++)
        for (const char *p = back->rules[i].pattern; *p; p++) names += *p == ',';
    assert_int_equal(names, t->n_units);
    assert_non_null(strstr(back->rules[0].pattern, "token_embd.weight"));
    pith_recipe_free(ctx, back);
    pith_buffer_free(ctx, &text);
}

/* All at four bits is nearer the base than all at two. */
static void test_put(void **state) {
    (void)state;
    const alloc_table *t = model_table_rows(table);
    const model_ruler_options small = {.n_ctx = 32, .n_chunks = 2, .n_threads = 1};
    size_t size;
    const char *text = ruler_prose(&size);
    model_judge *judge;
    model_score s[2];
    uint32_t rows[256];
    assert_int_equal(model_judge_new(ctx, lm_file(model), text, size, &small, &judge), PITH_OK);
    for (unsigned level = 0; level < 2; level++) {
        for (uint32_t u = 0; u < t->n_units; u++) rows[u] = 2 * u + level;
        assert_int_equal(model_table_put(ctx, table, judge, rows), PITH_OK);
        assert_int_equal(model_judge_score(ctx, judge, &s[level]), PITH_OK);
    }
    assert_true(s[1].c.kl.mean > 0 && s[1].c.kl.mean < s[0].c.kl.mean / 4);
    model_judge_free(ctx, judge);
    model_table_forget(table);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_recipe),
                                       cmocka_unit_test(test_put)};
    return cmocka_run_group_tests(tests, begin, end);
}
