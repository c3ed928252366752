/* Models on trial: an overlay is the base until something is put in, scores are those of the ruler, kept logits or
 * not, and codes on trial cost what they write. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "artefacts/model/evaluate.h"

static pith_ctx *ctx;
static lm_model *model;
static const char *text;
static size_t size;

static int begin(void **state) {
    (void)state;
    ctx = pith_ctx_new(NULL);
    pith_ctx_set_threads(ctx, 2);
    text = ruler_prose(&size);
    return ctx && lm_open(ctx, NULL, &model) == PITH_OK ? 0 : -1;
}

static int end(void **state) {
    (void)state;
    lm_close(ctx, model);
    int leaked = pith_memory_used(ctx) != 0;
    pith_ctx_free(ctx);
    return -leaked;
}

static const model_ruler_options small = {.n_ctx = 32, .n_chunks = 2, .n_items = 4, .seed = 3, .n_threads = 1};

/* The file's halves as floats give the same logits; so KL is 0 and no top moves. */
static void test_untouched(void **state) {
    (void)state;
    model_overlay *o;
    lm_model *m;
    model_ruler *r;
    model_score s;
    assert_int_equal(model_overlay_new(ctx, lm_file(model), NULL, false, &o), PITH_OK);
    assert_int_equal(model_overlay_open(ctx, o, &m), PITH_OK);
    assert_int_equal(model_ruler_new(ctx, model, text, size, &small, &r), PITH_OK);
    assert_true(model_ruler_in_memory(r));
    assert_int_equal(model_ruler_chunks(r), 2);
    assert_int_equal(model_ruler_tokens(r), 2 * ruler_chunk_rows(32));
    assert_int_equal(model_ruler_items(r), 4);
    assert_int_equal(model_ruler_measure(ctx, r, m, &s), PITH_OK);
    assert_true(s.c.kl.max < 1e-12 && s.c.same_top == 1);
    assert_true(fabs(s.c.perplexity - model_ruler_perplexity(r)) < 1e-9 * s.c.perplexity);
    assert_true(s.f.n == 4 && s.f.all_flips == 0);
    lm_close(ctx, m);
    model_ruler_free(ctx, r);
    model_overlay_free(ctx, o);
}

/* One matrix doubled: base's logits kept, read again, and by the ruler's own comparison, it is the same distance. */
static void test_changed(void **state) {
    (void)state;
    const tensor_file *f = lm_file(model);
    const tensor_view *t = tensor_find(f, "blk.2.ffn_down.weight");
    size_t i = (size_t)(t - f->tensors), n = (size_t)t->n_elements;
    float *values = pith_alloc(ctx, n * sizeof *values);
    blocks_decode(t->type, t->data, values, n);
    for (size_t k = 0; k < n; k++) values[k] *= 2;
    model_overlay *o;
    lm_model *m;
    model_ruler *r;
    model_score kept, read;
    ruler_comparison c;
    ruler_chunks chunks;
    token_list tokens = {0};
    double kl;
    assert_int_equal(model_overlay_new(ctx, f, NULL, true, &o), PITH_OK);
    assert_int_equal(model_overlay_put(ctx, o, i, 0, values, n / 2), PITH_OK);
    assert_int_equal(model_overlay_put(ctx, o, i, n / 2, values + n / 2, n - n / 2), PITH_OK);
    assert_int_equal(model_overlay_put(ctx, o, i, n - 1, values, 2), PITH_E_ARGUMENT);
    assert_int_equal(model_overlay_put(ctx, o, f->n_tensors, 0, values, 1), PITH_E_ARGUMENT);
    pith_begin(ctx);
    assert_int_equal(model_overlay_open(ctx, o, &m), PITH_OK);

    assert_int_equal(model_ruler_new(ctx, model, text, size, &small, &r), PITH_OK);
    assert_int_equal(model_ruler_measure(ctx, r, m, &kept), PITH_OK);
    assert_int_equal(model_ruler_kl(ctx, r, m, 0, &kl), PITH_OK);
    assert_true(kl == kept.c.kl.mean && kl > 1e-4);
    assert_int_equal(model_ruler_kl(ctx, r, m, 1, &kl), PITH_OK);
    assert_true(kl != kept.c.kl.mean && kl > 1e-4);
    model_ruler_free(ctx, r);
    model_ruler_options little = small;
    little.memory = 1;
    assert_int_equal(model_ruler_new(ctx, model, text, size, &little, &r), PITH_OK);
    assert_false(model_ruler_in_memory(r));
    assert_false(model_ruler_forget_base(r));
    assert_int_equal(model_ruler_measure(ctx, r, m, &read), PITH_OK);
    assert_memory_equal(&kept.c, &read.c, sizeof kept.c);
    assert_memory_equal(&kept.f, &read.f, sizeof kept.f);
    assert_int_equal(ruler_tokens(ctx, model, text, size, &tokens), PITH_OK);
    assert_int_equal(ruler_chunks_of(ctx, model, &tokens, 32, 2, &chunks), PITH_OK);
    assert_int_equal(ruler_compare(ctx, model, NULL, m, &chunks, 1, NULL, NULL, &c), PITH_OK);
    assert_memory_equal(&kept.c, &c, sizeof c);

    lm_close(ctx, m);
    assert_int_equal(model_overlay_reset(ctx, o, i), PITH_OK);
    assert_int_equal(model_overlay_open(ctx, o, &m), PITH_OK);
    assert_int_equal(model_ruler_kl(ctx, r, m, 1, &kl), PITH_OK);
    assert_true(fabs(kl) < 1e-12);
    lm_close(ctx, m);
    token_list_free(ctx, &tokens);
    model_ruler_free(ctx, r);
    model_overlay_free(ctx, o);
    pith_free(ctx, values);
}

/* Blocks: bytes are the type's, errors grow as bits go, and the judge sees it. */
static void test_types(void **state) {
    (void)state;
    static const tensor_type types[] = {TENSOR_Q8_0, TENSOR_Q4_0};
    model_judge *j;
    model_trial t;
    model_score s;
    double error = 0, kl = 1e-9;
    assert_int_equal(model_judge_new(ctx, lm_file(model), text, size, &small, &j), PITH_OK);
    assert_false(model_judge_halves(j));
    for (unsigned i = 0; i < 2; i++) {
        uint64_t bytes;
        assert_int_equal(model_try_type(ctx, lm_file(model), types[i], NULL, NULL, model_judge_overlay(j), &t), PITH_OK);
        assert_true(tensor_type_bytes(types[i], t.weights, &bytes) && t.bytes == bytes);
        assert_int_equal(t.n_matrices, 43);
        assert_int_equal(t.weights + t.other_weights, lm_about(model)->n_parameters);
        assert_true(fabs(model_trial_bits(&t) - 8.0 * (double)(t.bytes + t.other_bytes) /
                                                    (double)lm_about(model)->n_parameters) < 1e-9);
        assert_true(t.error > 2 * error && t.output_error > 0);
        assert_int_equal(model_judge_score(ctx, j, &s), PITH_OK);
        assert_true(s.c.kl.mean > 2 * kl);
        error = t.error;
        kl = s.c.kl.mean;
    }
    model_judge_free(ctx, j);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_untouched),
        cmocka_unit_test(test_changed),
        cmocka_unit_test(test_types),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
