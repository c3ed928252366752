/* Every architecture, on tiny random models, against a plain reference in double precision; and
 * the invariances each must keep: cuts of the prompt, threads, other sequences in the batch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lm/lm.h"
#include "lm/reference.h"
#include "lm/tiny_model.h"

enum { N_TOKENS = 70 }; /* past one tile of the cache */

typedef struct opened {
    pith_ctx *ctx;
    tiny_file bytes;
    tensor_file *file;
    lm_model *model;
    uint32_t ids[N_TOKENS];
} opened;

static void open_variant(opened *o, const tiny_variant *v) {
    memset(o, 0, sizeof *o);
    o->ctx = pith_ctx_new(NULL);
    assert_int_equal(tiny_build(o->ctx, &o->bytes, v, NULL), PITH_OK);
    if (tensor_file_open_memory(o->ctx, o->bytes.out.data, o->bytes.out.size, &o->file) ||
        lm_open_file(o->ctx, o->file, &o->model))
        fail_msg("%s: %s", v->label, pith_error(o->ctx));
    for (uint32_t i = 0; i < N_TOKENS; i++) o->ids[i] = (i * 7 + i * i) % TINY_VOCAB;
}

static void close_variant(opened *o) {
    lm_close(o->ctx, o->model);
    tensor_file_close(o->ctx, o->file);
    pith_buffer_free(o->ctx, &o->bytes.out);
    assert_int_equal(pith_memory_used(o->ctx), 0);
    pith_ctx_free(o->ctx);
}

/* logits[N_TOKENS][vocab] of the sequence in batches of `cut`, while `others` further sequences
 * of the same batches hold other tokens. */
static void evaluate(opened *o, size_t cut, unsigned threads, uint32_t others, float *logits) {
    lm_session *s;
    lm_session_options options = {
        .n_sequences = others + 1, .max_batch = N_TOKENS * (others + 1), .n_threads = threads};
    if (lm_session_new(o->ctx, o->model, &options, &s)) fail_msg("%s", pith_error(o->ctx));
    for (size_t at = 0; at < N_TOKENS; at += cut) {
        lm_token tokens[4 * N_TOKENS];
        size_t n = 0, here = PITH_MIN(cut, (size_t)N_TOKENS - at);
        for (size_t i = 0; i < here; i++) {
            for (uint32_t q = 0; q < others; q++)
                if ((i + q) % 3) tokens[n++] = (lm_token){(o->ids[at + i] + q + 1) % TINY_VOCAB, q + (q >= 1), false};
            tokens[n++] = (lm_token){o->ids[at + i], others ? 1 : 0, true};
        }
        if (lm_eval(s, tokens, n)) fail_msg("%s", pith_error(o->ctx));
        for (size_t i = 0; i < here; i++)
            memcpy(logits + (at + i) * TINY_VOCAB, lm_logits(s, i), TINY_VOCAB * sizeof *logits);
        assert_null(lm_logits(s, here));
    }
    assert_int_equal(lm_length(s, others ? 1 : 0), N_TOKENS);
    lm_session_free(s);
}

static void test_reference(void **state) {
    (void)state;
    for (size_t i = 0; i < PITH_COUNT(tiny_variants); i++) {
        const tiny_variant *v = &tiny_variants[i];
        opened o;
        open_variant(&o, v);
        assert_string_equal(lm_about(o.model)->architecture, v->architecture);
        assert_int_equal(lm_about(o.model)->n_vocab, TINY_VOCAB);
        static double expected[N_TOKENS * TINY_VOCAB];
        static float logits[N_TOKENS * TINY_VOCAB];
        reference_logits(o.file, v->architecture, o.ids, N_TOKENS, expected);
        evaluate(&o, N_TOKENS, 1, 0, logits);
        double worst = 0, scale = 0;
        for (size_t k = 0; k < N_TOKENS * TINY_VOCAB; k++) {
            assert_true(isfinite(logits[k]));
            worst = fmax(worst, fabs((double)logits[k] - expected[k]));
            scale = fmax(scale, fabs(expected[k]));
        }
        if (getenv("PITH_TEST_VERBOSE")) print_message("%s: off by %.3g of %.3g\n", v->label, worst, scale);
        if (!(worst < 4e-6 * scale)) fail_msg("%s: off by %g where logits reach %g", v->label, worst, scale);
        close_variant(&o);
    }
}

static void test_invariances(void **state) {
    (void)state;
    static const struct {
        size_t cut;
        unsigned threads;
        uint32_t others;
    } ways[] = {{1, 1, 0}, {13, 2, 0}, {N_TOKENS, 4, 0}, {32, 1, 2}, {N_TOKENS, 2, 3}};
    for (size_t i = 0; i < PITH_COUNT(tiny_variants); i++) {
        opened o;
        open_variant(&o, &tiny_variants[i]);
        static float expected[N_TOKENS * TINY_VOCAB], logits[N_TOKENS * TINY_VOCAB];
        evaluate(&o, N_TOKENS, 1, 0, expected);
        for (size_t w = 0; w < PITH_COUNT(ways); w++) {
            evaluate(&o, ways[w].cut, ways[w].threads, ways[w].others, logits);
            if (memcmp(logits, expected, sizeof logits)) fail_msg("%s: way %zu differs", tiny_variants[i].label, w);
        }
        close_variant(&o);
    }
}

static void eval_one(opened *o, lm_session *s, uint32_t id, uint32_t sequence) {
    if (lm_eval(s, &(lm_token){id, sequence, true}, 1)) fail_msg("%s", pith_error(o->ctx));
}

/* Going back and on again, and on from a copy, gives the bits of going straight on. */
static void test_truncate_and_copy(void **state) {
    (void)state;
    for (size_t i = 0; i < PITH_COUNT(tiny_variants); i++) {
        opened o;
        open_variant(&o, &tiny_variants[i]);
        bool recurrent = lm_about(o.model)->recurrent;
        lm_session *s;
        assert_int_equal(lm_session_new(o.ctx, o.model, &(lm_session_options){.n_sequences = 3, .max_batch = 8}, &s),
                         PITH_OK);
        float expected[TINY_VOCAB];
        for (uint32_t t = 0; t < 6; t++) eval_one(&o, s, o.ids[t], 0);
        assert_int_equal(lm_copy(s, 0, 2), PITH_OK);
        eval_one(&o, s, 5, 0);
        memcpy(expected, lm_logits(s, 0), sizeof expected);
        eval_one(&o, s, 9, 2);
        if (recurrent) {
            assert_int_equal(lm_truncate(s, 0, 6), PITH_E_UNSUPPORTED);
            pith_begin(o.ctx);
            assert_int_equal(lm_truncate(s, 0, 0), PITH_OK);
            for (uint32_t t = 0; t < 6; t++) eval_one(&o, s, o.ids[t], 0);
        } else {
            eval_one(&o, s, 11, 0);
            assert_int_equal(lm_truncate(s, 0, 6), PITH_OK);
        }
        assert_int_equal(lm_length(s, 0), 6);
        assert_int_equal(lm_copy(s, 0, 1), PITH_OK);
        eval_one(&o, s, 5, 1);
        assert_memory_equal(lm_logits(s, 0), expected, sizeof expected);
        eval_one(&o, s, 5, 0);
        assert_memory_equal(lm_logits(s, 0), expected, sizeof expected);
        assert_int_equal(lm_length(s, 2), 7);
        assert_int_equal(lm_truncate(s, 0, 8), PITH_E_ARGUMENT);
        lm_session_free(s);
        close_variant(&o);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_invariances),
        cmocka_unit_test(test_truncate_and_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
