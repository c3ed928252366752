/* Bits spread over matrices: every matrix is named once, the average is what was asked for, two bits more are two bits
 * more for each, and those whose errors the model minds more get more. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "artefacts/artefacts.h"
#include "artefacts/model/archive_parts.h"
#include "artefacts/model/spread.h"
#include "formats/blocks/blocks.h"

static pith_ctx *ctx;
static lm_model *model;

#define FEW "blk.[05].attn_*.weight,blk.5.ffn_up.weight"

static int begin(void **state) {
    (void)state;
    artefacts_register();
    ctx = pith_ctx_new(NULL);
    pith_ctx_set_threads(ctx, 2);
    return ctx && lm_open(ctx, NULL, &model) == PITH_OK ? 0 : -1;
}

static int end(void **state) {
    (void)state;
    lm_close(ctx, model);
    int leaked = pith_memory_used(ctx) != 0;
    pith_ctx_free(ctx);
    return -leaked;
}

/* bits[n_tensors] of a recipe, 0 of tensors that it does not name; gives the average of all named weights. */
static double read_bits(const model_spread *s, const char *only, double wanted, double *bits) {
    const tensor_file *f = lm_file(model);
    pith_buffer text = {0};
    pith_recipe *recipe;
    double sum = 0, weights = 0;
    assert_int_equal(model_spread_recipe(ctx, s, wanted, &text), PITH_OK);
    assert_int_equal(archive_recipe(ctx, (const char *)text.data, text.size, &recipe), PITH_OK);
    for (size_t i = 0; i < f->n_tensors; i++) {
        const tensor_view *t = &f->tensors[i];
        unsigned n = 0;
        bits[i] = 0;
        for (unsigned k = 0; k < recipe->n_rules; k++)
            if (archive_matches(recipe->rules[k].pattern, t->name.data, t->name.size)) {
                bits[i] = recipe->rules[k].stages[0].value[1];
                n++;
            }
        assert_int_equal(n, model_overlay_takes(t) && archive_matches(only, t->name.data, t->name.size));
        weights += n ? (double)t->n_elements : 0;
        sum += bits[i] * (double)t->n_elements;
    }
    pith_recipe_free(ctx, recipe);
    pith_buffer_free(ctx, &text);
    return sum / weights;
}

static void test_spread(void **state) {
    (void)state;
    static const model_ruler_options small = {.n_ctx = 32, .n_chunks = 2, .n_threads = 2};
    const tensor_file *f = lm_file(model);
    size_t size;
    const char *text = ruler_prose(&size);
    model_judge *j;
    model_spread *s;
    pith_buffer none = {0};
    double *bits = pith_alloc(ctx, 2 * f->n_tensors * sizeof *bits), *more = bits + f->n_tensors, least = 99, most = 0;
    assert_int_equal(model_judge_new(ctx, f, text, size, &small, &j), PITH_OK);
    assert_int_equal(model_spread_over(ctx, f, FEW, NULL, model_judge_overlay(j), model_judge_ruler(j), &s), PITH_OK);
    double average = read_bits(s, FEW, 5, bits);
    assert_true(average <= 5 && average > 4.8);
    average = read_bits(s, FEW, 7, more);
    assert_true(average <= 7 && average > 6.8);
    for (size_t i = 0; i < f->n_tensors; i++) {
        if (bits[i] == 0) continue;
        assert_true(fabs(more[i] - bits[i] - 2) <= 0.25);
        least = fmin(least, bits[i]);
        most = fmax(most, bits[i]);
    }
    assert_true(most - least >= 1 && least >= 1);
    assert_int_equal(model_spread_recipe(ctx, s, 0.5, &none), PITH_E_ARGUMENT);
    assert_int_equal(model_spread_recipe(ctx, s, NAN, &none), PITH_E_ARGUMENT);
    model_spread_free(ctx, s);
    model_judge_free(ctx, j);
    pith_free(ctx, bits);
}

/* Matrices that were quantised before, of which more bits would make nothing better, leave theirs to the others. */
static void test_settled(void **state) {
    (void)state;
    static const model_ruler_options small = {.n_ctx = 32, .n_chunks = 1, .n_threads = 2};
    static const char only[] = "blk.[0235].attn_k.weight";
    tensor_file f = *lm_file(model);
    tensor_view *tensors = pith_alloc(ctx, f.n_tensors * sizeof *tensors);
    double *bits = pith_alloc(ctx, f.n_tensors * sizeof *bits);
    uint8_t *made[2] = {NULL, NULL};
    size_t n_made = 0, size;
    const char *text = ruler_prose(&size);
    model_judge *j;
    model_spread *s;
    memcpy(tensors, f.tensors, f.n_tensors * sizeof *tensors);
    f.tensors = tensors;
    for (size_t i = 0; i < f.n_tensors; i++) {
        tensor_view *t = &tensors[i];
        if (!archive_matches("blk.[05].attn_k.weight", t->name.data, t->name.size)) continue;
        size_t n = (size_t)t->n_elements;
        float *w = pith_alloc(ctx, n * sizeof *w);
        uint8_t *blocks = pith_alloc(ctx, n);
        made[n_made] = pith_alloc(ctx, 2 * n);
        assert_int_equal(t->type, TENSOR_F16);
        blocks_decode(TENSOR_F16, t->data, w, n);
        blocks_encode(TENSOR_TQ2_0, w, blocks, n);
        blocks_decode(TENSOR_TQ2_0, blocks, w, n);
        blocks_encode(TENSOR_F16, w, made[n_made], n);
        t->data = made[n_made++];
        pith_free(ctx, w);
        pith_free(ctx, blocks);
    }
    assert_int_equal(n_made, 2);
    assert_int_equal(model_judge_new(ctx, &f, text, size, &small, &j), PITH_OK);
    assert_int_equal(model_spread_over(ctx, &f, only, NULL, model_judge_overlay(j), model_judge_ruler(j), &s), PITH_OK);
    read_bits(s, only, 5, bits);
    for (size_t i = 0; i < f.n_tensors; i++) {
        const tensor_view *t = &tensors[i];
        bool settled = archive_matches("blk.[05].attn_k.weight", t->name.data, t->name.size);
        if (bits[i] > 0) assert_true(settled ? bits[i] == 3 : bits[i] > 7);
    }
    model_spread_free(ctx, s);
    model_judge_free(ctx, j);
    for (size_t k = 0; k < n_made; k++) pith_free(ctx, made[k]);
    pith_free(ctx, bits);
    pith_free(ctx, tensors);
}

/* Bits for a size and for a divergence: kept to, and no more than need be; what cannot be is refused. */
static void test_targets(void **state) {
    (void)state;
    static const model_ruler_options small = {.n_ctx = 32, .n_chunks = 2, .n_threads = 2};
    static const char only[] = "blk.[0235].attn_k.weight";
    const tensor_file *f = lm_file(model);
    size_t size;
    const char *text = ruler_prose(&size);
    uint64_t weights, other, bytes;
    model_judge *j;
    model_spread *s, *even;
    model_spread_fit fit, finer;
    assert_int_equal(model_judge_new(ctx, f, text, size, &small, &j), PITH_OK);
    model_overlay *o = model_judge_overlay(j);
    const model_ruler *r = model_judge_ruler(j);
    assert_int_equal(model_spread_over(ctx, f, only, NULL, o, r, &s), PITH_OK);
    assert_int_equal(model_spread_sizes(s, &weights, &other, &bytes), 4);
    assert_true(weights > 0 && weights + other == lm_about(model)->n_parameters && bytes > other);

    assert_int_equal(model_spread_for_bytes(ctx, s, NULL, o, weights / 2, &fit), PITH_OK);
    assert_true(fit.bytes <= weights / 2 && fit.bytes > weights / 2 * 93 / 100 && fit.bits > 3.5 && fit.bits < 4.5);
    assert_int_equal(model_spread_for_bytes(ctx, s, NULL, o, 4 * weights, &fit), PITH_OK); /* more than the most takes */
    assert_true(fit.bits == MODEL_SPREAD_MOST);
    assert_int_equal(model_spread_for_bytes(ctx, s, NULL, o, weights / 100, &fit), PITH_E_LIMIT);
    pith_begin(ctx);

    assert_int_equal(model_spread_for_kl(ctx, s, NULL, o, r, 1e-3, &fit), PITH_OK);
    assert_int_equal(model_spread_for_kl(ctx, s, NULL, o, r, 1e-4, &finer), PITH_OK);
    assert_true(fit.kl <= 1e-3 && fit.kl > 1e-4 && finer.kl <= 1e-4);
    assert_true(finer.bytes > fit.bytes && finer.bits > fit.bits + 1 && finer.bits < fit.bits + 2.5);
    assert_int_equal(model_spread_for_kl(ctx, s, NULL, o, r, 1e-15, &fit), PITH_E_LIMIT);
    pith_begin(ctx);

    double *each = pith_alloc(ctx, f->n_tensors * sizeof *each);
    assert_int_equal(model_spread_even(ctx, f, NULL, &even), PITH_OK);
    assert_true(fabs(read_bits(even, NULL, 4.5, each) - 4.5) < 1e-9);
    for (size_t i = 0; i < f->n_tensors; i++) assert_true(each[i] == 0 || each[i] == 4.5);
    pith_free(ctx, each);
    model_spread_free(ctx, even);
    assert_int_equal(model_spread_even(ctx, f, "nothing", &even), PITH_E_ARGUMENT);
    pith_begin(ctx);
    model_spread_free(ctx, s);
    model_judge_free(ctx, j);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_spread), cmocka_unit_test(test_settled), cmocka_unit_test(test_targets)};
    return cmocka_run_group_tests(tests, begin, end);
}
