/* Code lengths, distances and what is made of them: a prior helps where it is like the text, the lengths
 * are those of reading on, and no result depends on the threads or on what a coder measured before. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/predict/predict.h"
#include "lm/distance/distance.h"

static const char about_pages[] =
    "A page of memory which has been written to must be kept until it is saved; a page that "
    "was only read may be dropped at any time, as it can be read again from the file.";
static const char more_pages[] = "A page that was written to must be saved before it may be dropped; one that was only "
                                 "read can be dropped at any time, and read again from its file.";
static const char about_soup[] =
    "Peel three large onions, cut them into rings and let them brown slowly in butter; then add "
    "flour, broth and a bay leaf, and simmer the soup for half an hour.";
static const char more_soup[] =
    "Let the onions brown slowly in butter, add the broth and a bay leaf, and simmer the soup "
    "for half an hour before you add the bread.";

#define TEXT(s)                                                                                                        \
    { (const uint8_t *)(s), sizeof(s) - 1 }
static const distance_text texts[] = {TEXT(about_pages), TEXT(more_pages), TEXT(about_soup), TEXT(more_soup)};
#define N_TEXTS 4

typedef struct desk {
    pith_ctx *ctx;
    lm_model *model;
} desk;

static void open_desk(desk *d, unsigned n_threads) {
    d->ctx = pith_ctx_new(NULL);
    assert_non_null(d->ctx);
    pith_ctx_set_threads(d->ctx, n_threads);
    assert_int_equal(lm_open(d->ctx, NULL, &d->model), PITH_OK);
}

static void close_desk(desk *d) {
    lm_close(d->ctx, d->model);
    assert_int_equal(pith_memory_used(d->ctx), 0);
    pith_ctx_free(d->ctx);
}

static codelen_options options_of(const desk *d, codelen_kind kind) {
    return (codelen_options){.kind = kind, .model = d->model, .max_bytes = 4096};
}

static double bits_of(codelen *c, const distance_text *t) {
    double bits;
    assert_int_equal(codelen_bits(c, t->data, t->n, &bits), PITH_OK);
    return bits;
}

static void a_prior_of_the_same_kind_helps_most(void **state) {
    (void)state;
    desk d;
    open_desk(&d, 1);
    for (unsigned kind = 0; kind < CODELEN_KINDS; kind++) {
        codelen_options o = options_of(&d, (codelen_kind)kind);
        codelen *c;
        assert_int_equal(codelen_new(d.ctx, &o, &c), PITH_OK);
        double alone = bits_of(c, &texts[1]);
        assert_int_equal(codelen_prime(c, texts[0].data, texts[0].n), PITH_OK);
        double helped = bits_of(c, &texts[1]), again = bits_of(c, &texts[1]);
        assert_int_equal(codelen_prime(c, texts[2].data, texts[2].n), PITH_OK);
        double other = bits_of(c, &texts[1]);
        assert_int_equal(codelen_prime(c, NULL, 0), PITH_OK);
        assert_true(bits_of(c, &texts[1]) == alone);
        assert_true(helped == again);
        assert_true(helped < alone && helped < other);
        distance_text none = {texts[0].data, 0};
        double empty = bits_of(c, &none);
        assert_true(empty >= 0 && empty <= 8 * 16);
        codelen_free(c);
    }
    close_desk(&d);
}

static void priming_is_reading_on(void **state) {
    (void)state;
    desk d;
    open_desk(&d, 1);
    /* K(a) + K(b | a) is the length of a and b in one go */
    const codelen_kind kinds[] = {CODELEN_CM, CODELEN_CM_LARGE, CODELEN_SSM};
    for (size_t k = 0; k < PITH_COUNT(kinds); k++) {
        codelen_options o = options_of(&d, kinds[k]);
        codelen *c;
        pith_buffer both = {0};
        assert_int_equal(codelen_new(d.ctx, &o, &c), PITH_OK);
        assert_int_equal(pith_buffer_append(d.ctx, &both, texts[0].data, texts[0].n), PITH_OK);
        assert_int_equal(pith_buffer_append(d.ctx, &both, texts[2].data, texts[2].n), PITH_OK);
        distance_text joined = {both.data, both.size};
        double whole = bits_of(c, &joined), first = bits_of(c, &texts[0]);
        assert_int_equal(codelen_prime(c, texts[0].data, texts[0].n), PITH_OK);
        assert_true(fabs(first + bits_of(c, &texts[2]) - whole) < 1e-6 * whole);
        pith_buffer_free(d.ctx, &both);
        codelen_free(c);
    }
    close_desk(&d);
}

static void a_model_slides_over_long_texts(void **state) {
    (void)state;
    desk d;
    open_desk(&d, 1);
    pith_buffer text = {0};
    for (int i = 0; i < 6; i++)
        assert_int_equal(pith_buffer_append(d.ctx, &text, texts[i % 4].data, texts[i % 4].n), PITH_OK);
    distance_text both = {text.data, text.size};
    codelen_options o = options_of(&d, CODELEN_LM);
    o.window = 32;
    codelen *c;
    assert_int_equal(codelen_new(d.ctx, &o, &c), PITH_OK);
    double narrow = bits_of(c, &both);
    assert_true(bits_of(c, &both) == narrow); /* the state is as before */
    assert_int_equal(codelen_prime(c, texts[0].data, texts[0].n), PITH_OK);
    double helped = bits_of(c, &texts[1]);
    bits_of(c, &both);
    assert_true(bits_of(c, &texts[1]) == helped);
    codelen_free(c);
    o.window = 0;
    assert_int_equal(codelen_new(d.ctx, &o, &c), PITH_OK);
    assert_true(bits_of(c, &both) < narrow);
    codelen_free(c);
    pith_buffer_free(d.ctx, &text);
    close_desk(&d);
}

static void distances_tell_kinds_apart_on_any_threads(void **state) {
    (void)state;
    double d1[N_TEXTS * N_TEXTS], d3[N_TEXTS * N_TEXTS];
    for (unsigned kind = 0; kind < CODELEN_KINDS; kind++)
        for (unsigned form = 0; form < 4; form++) {
            for (unsigned threads = 1; threads <= 3; threads += 2) {
                desk d;
                open_desk(&d, threads);
                codelen_options o = options_of(&d, (codelen_kind)kind);
                assert_int_equal(
                    distance_matrix(d.ctx, &o, (distance_kind)form, texts, N_TEXTS, NULL, 0, threads == 1 ? d1 : d3),
                    PITH_OK);
                close_desk(&d);
            }
            assert_memory_equal(d1, d3, sizeof d1);
            assert_true(d1[0 * 4 + 1] < d1[0 * 4 + 2] && d1[0 * 4 + 1] < d1[0 * 4 + 3]);
            assert_true(d1[2 * 4 + 3] < d1[2 * 4 + 0] && d1[2 * 4 + 3] < d1[2 * 4 + 1]);
            assert_true(d1[0] < d1[0 * 4 + 1]);
        }
}

static void one_against_many_is_the_matrix(void **state) {
    (void)state;
    desk d;
    open_desk(&d, 2);
    double all[N_TEXTS * N_TEXTS], row[N_TEXTS];
    codelen_options o = options_of(&d, CODELEN_CM);
    assert_int_equal(distance_matrix(d.ctx, &o, DISTANCE_MAX, texts, N_TEXTS, NULL, 0, all), PITH_OK);
    assert_int_equal(distance_matrix(d.ctx, &o, DISTANCE_MAX, texts + 1, 1, texts, N_TEXTS, row), PITH_OK);
    assert_memory_equal(row, all + N_TEXTS, sizeof row);
    assert_int_equal(distance_matrix(d.ctx, &o, DISTANCE_MAX, texts, 0, texts, N_TEXTS, row), PITH_OK);
    close_desk(&d);
}

static void formulas(void **state) {
    (void)state;
    distance_parts p = {.x = 100, .y = 200, .x_of_y = 40, .y_of_x = 130, .joint = 240};
    assert_true(distance_of(DISTANCE_NCD, &p) == 140.0 / 200);
    assert_true(distance_of(DISTANCE_MAX, &p) == 130.0 / 200);
    assert_true(distance_of(DISTANCE_SUM, &p) == 170.0 / 300);
    assert_true(distance_of(DISTANCE_MIN, &p) == 40.0 / 100);
    distance_parts none = {0};
    assert_true(distance_of(DISTANCE_SUM, &none) == 0);
    codelen_kind kind;
    assert_true(codelen_named("cm-large", &kind) && kind == CODELEN_CM_LARGE);
    assert_false(codelen_named("cm-huge", &kind));
    distance_kind form;
    assert_true(distance_named("sum", &form) && form == DISTANCE_SUM);
    assert_false(distance_named("", &form));
}

static void order_vote_and_rank_correlation(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    const double d[] = {0.5, 0.1, 0.5, 0.2, 0.3};
    size_t order[5];
    assert_int_equal(distance_order(ctx, d, 5, false, order), PITH_OK);
    const size_t rising[] = {1, 3, 4, 0, 2}, falling[] = {0, 2, 4, 3, 1};
    assert_memory_equal(order, rising, sizeof rising);
    assert_int_equal(distance_order(ctx, d, 5, true, order), PITH_OK);
    assert_memory_equal(order, falling, sizeof falling);
    const uint32_t labels[] = {1, 0, 1, 2, 2};
    uint32_t label;
    assert_int_equal(distance_vote(ctx, d, labels, 5, 1, 3, &label), PITH_OK);
    assert_int_equal(label, 0);
    assert_int_equal(distance_vote(ctx, d, labels, 5, 2, 3, &label), PITH_OK);
    assert_int_equal(label, 0); /* one each: the nearest */
    assert_int_equal(distance_vote(ctx, d, labels, 5, 3, 3, &label), PITH_OK);
    assert_int_equal(label, 2);
    assert_int_equal(distance_vote(ctx, d, labels, 5, 9, 3, &label), PITH_OK);
    assert_int_equal(label, 2); /* two and two: 2 is nearer than 1 */
    assert_int_equal(distance_vote(ctx, d, labels, 0, 1, 3, &label), PITH_E_ARGUMENT);
    /* 1 - 6 sum d^2 / (n (n^2 - 1)) for these ranks: sum d^2 = 4 */
    const double a[] = {1, 2, 3, 4, 5}, b[] = {20, 10, 30, 50, 40}, flat[] = {7, 7, 7, 7, 7};
    double rho;
    assert_int_equal(distance_spearman(ctx, a, b, 5, &rho), PITH_OK);
    assert_true(fabs(rho - 0.8) < 1e-12);
    assert_int_equal(distance_spearman(ctx, a, flat, 5, &rho), PITH_OK);
    assert_true(rho == 0);
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
}

static void selection_prefers_what_is_like_the_target(void **state) {
    (void)state;
    desk d;
    open_desk(&d, 2);
    const codelen_kind kinds[] = {CODELEN_ZSTD, CODELEN_LZMA, CODELEN_CM};
    const distance_text target[] = {texts[0]}, source[] = {texts[2], texts[1], texts[3]};
    for (size_t k = 0; k < PITH_COUNT(kinds); k++) {
        codelen_options o = options_of(&d, kinds[k]);
        double full[3], primed[3];
        assert_int_equal(select_alignment(d.ctx, &o, source, 3, target, 1, full), PITH_OK);
        assert_int_equal(select_primed(d.ctx, &o, source, 3, target, 1, primed), PITH_OK);
        assert_true(full[1] > full[0] && full[1] > full[2]);
        assert_true(primed[1] > primed[0] && primed[1] > primed[2]);
        assert_int_equal(select_primed(d.ctx, &o, source, 3, target, 0, primed), PITH_E_ARGUMENT);
        assert_int_equal(select_alignment(d.ctx, &o, source, 3, target, 0, full), PITH_E_ARGUMENT);
    }
    close_desk(&d);
}

static void coders_continue_a_pattern(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    pith_buffer prompt = {0}, out = {0};
    for (int i = 0; i < 24; i++) assert_int_equal(pith_buffer_append(ctx, &prompt, "the cat sat; ", 13), PITH_OK);
    const codelen_kind kinds[] = {CODELEN_CM, CODELEN_LZMA};
    for (size_t k = 0; k < PITH_COUNT(kinds); k++) {
        codelen_options o = {.kind = kinds[k]};
        out.size = 0;
        assert_int_equal(codelen_continue(ctx, &o, prompt.data, prompt.size, 13, 0, 0, &out), PITH_OK);
        assert_int_equal(out.size, 13);
        assert_memory_equal(out.data, "the cat sat; ", 13);
    }
    /* drawing at random depends on the seed alone */
    codelen_options o = {.kind = CODELEN_CM};
    pith_buffer again = {0};
    out.size = 0;
    assert_int_equal(codelen_continue(ctx, &o, prompt.data, 40, 20, 1, 5, &out), PITH_OK);
    assert_int_equal(codelen_continue(ctx, &o, prompt.data, 40, 20, 1, 5, &again), PITH_OK);
    assert_memory_equal(out.data, again.data, 20);
    again.size = 0;
    assert_int_equal(codelen_continue(ctx, &o, prompt.data, 40, 20, 1, 6, &again), PITH_OK);
    assert_memory_not_equal(out.data, again.data, 20);
    pith_buffer_free(ctx, &prompt);
    pith_buffer_free(ctx, &out);
    pith_buffer_free(ctx, &again);
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
}

static void failures_are_said(void **state) {
    (void)state;
    desk d;
    open_desk(&d, 1);
    codelen *c;
    codelen_options o = {.kind = CODELEN_LM};
    assert_int_equal(codelen_new(d.ctx, &o, &c), PITH_E_ARGUMENT);
    assert_null(c);
    o = (codelen_options){.kind = CODELEN_CM, .max_bytes = 100};
    assert_int_equal(codelen_new(d.ctx, &o, &c), PITH_OK);
    double bits;
    assert_int_equal(codelen_bits(c, texts[0].data, texts[0].n, &bits), PITH_E_ARGUMENT);
    codelen_free(c);
    /* too little memory at any point leaves nothing behind */
    double out[N_TEXTS * N_TEXTS];
    uint64_t used = pith_memory_used(d.ctx);
    for (uint64_t limit = used + 1024; limit < used + ((uint64_t)8 << 20); limit += limit / 7) {
        pith_ctx_set_memory(d.ctx, limit);
        for (unsigned kind = 0; kind < CODELEN_KINDS; kind++) {
            o = options_of(&d, (codelen_kind)kind);
            pith_status status = distance_matrix(d.ctx, &o, DISTANCE_MAX, texts, 2, NULL, 0, out);
            assert_true(status == PITH_OK || status == PITH_E_LIMIT || status == PITH_E_MEMORY);
            assert_int_equal(pith_memory_used(d.ctx), used);
        }
    }
    close_desk(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prior_of_the_same_kind_helps_most),
        cmocka_unit_test(priming_is_reading_on),
        cmocka_unit_test(a_model_slides_over_long_texts),
        cmocka_unit_test(distances_tell_kinds_apart_on_any_threads),
        cmocka_unit_test(one_against_many_is_the_matrix),
        cmocka_unit_test(formulas),
        cmocka_unit_test(order_vote_and_rank_correlation),
        cmocka_unit_test(selection_prefers_what_is_like_the_target),
        cmocka_unit_test(coders_continue_a_pattern),
        cmocka_unit_test(failures_are_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
