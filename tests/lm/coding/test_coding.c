/* Coding under a language model: any bytes come back, at the length the model says, with the same
 * code on every instruction set, for any number of threads and however the window is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lm/coding/coding.h"

static const char prose[] = "The manual says that a page of memory which has been written to must be kept until it is "
                            "saved; a page that was only read may be dropped at any time.";

typedef struct desk {
    pith_ctx *ctx;
    lm_model *model;
    lm_coder *coder;
    uint8_t code[2048], back[2048];
} desk;

static void open_desk(desk *d, uint32_t window, unsigned n_threads) {
    d->ctx = pith_ctx_new(NULL);
    assert_non_null(d->ctx);
    pith_ctx_set_threads(d->ctx, n_threads);
    assert_int_equal(lm_open(d->ctx, NULL, &d->model), PITH_OK);
    lm_coder_options options = {.window = window};
    assert_int_equal(lm_coder_new(d->ctx, d->model, &options, &d->coder), PITH_OK);
}

static void close_desk(desk *d) {
    lm_coder_free(d->coder);
    lm_close(d->ctx, d->model);
    assert_int_equal(pith_memory_used(d->ctx), 0);
    pith_ctx_free(d->ctx);
}

static size_t round_trip(desk *d, const void *text, size_t n) {
    size_t size;
    assert_int_equal(lm_coder_encode(d->coder, text, n, d->code, sizeof d->code, &size), PITH_OK);
    assert_int_not_equal(size, SIZE_MAX);
    memset(d->back, 0xEE, sizeof d->back);
    assert_int_equal(lm_coder_decode(d->coder, d->code, size, d->back, n), PITH_OK);
    assert_memory_equal(d->back, text, n);
    assert_int_equal(d->back[n], 0xEE);
    return size;
}

static void any_bytes_come_back(void **state) {
    (void)state;
    desk d;
    open_desk(&d, 0, 1);
    static const char *const texts[] = {"",     "x",          " ",       "  two  spaces ", "\n\n\t",
                                        "<s>",  "</s> <unk>", "\xE2\x96\x81under\xE2\x96\x81line", "\xFF\xFE\x80 bad",
                                        "na\xC3\xAFve \xF0\x9F\x99\x82", "\xE2\x96"};
    for (size_t i = 0; i < PITH_COUNT(texts); i++) round_trip(&d, texts[i], strlen(texts[i]));
    round_trip(&d, "a\0b\0\0", 5);
    close_desk(&d);
}

/* Known bytes: whoever changes the runtime's arithmetic or the coder changes what archives say. */
static void the_code_is_known(void **state) {
    (void)state;
    uint64_t first = 0;
    for (unsigned n_threads = 1; n_threads <= 2; n_threads++) {
        desk d;
        open_desk(&d, 0, n_threads);
        size_t size = round_trip(&d, prose, sizeof prose - 1);
        uint64_t hash = pith_hash64(d.code, size);
        if (n_threads == 1) {
            if (getenv("PITH_PRINT_KNOWN")) print_message("known code: %zu bytes, %016llx\n", size, (unsigned long long)hash);
            assert_int_equal(size, 28);
            assert_true(hash == 0xaf42c9c3b52c0196u);
            first = hash;
        }
        assert_true(hash == first);
        close_desk(&d);
    }
}

static void the_length_is_the_models(void **state) {
    (void)state;
    desk d;
    lm_code_length length, given;
    open_desk(&d, 0, 1);
    size_t size = round_trip(&d, prose, sizeof prose - 1);
    assert_int_equal(lm_coder_length(d.coder, NULL, 0, (const uint8_t *)prose, sizeof prose - 1, NULL, NULL, &length), PITH_OK);
    assert_int_equal(length.n_escapes, 0);
    assert_true((double)size * 8 <= length.bits * 1.02 + 16);
    /* what was just read is cheap to read again */
    assert_int_equal(lm_coder_length(d.coder, (const uint8_t *)prose, sizeof prose - 1, (const uint8_t *)prose, sizeof prose - 1, NULL,
                                     NULL, &given), PITH_OK);
    assert_true(given.bits < length.bits * 0.8);
    close_desk(&d);
}

typedef struct seen {
    size_t at, n;
    double bits;
} seen;

static void see(void *opaque, const lm_item *item) {
    seen *s = opaque;
    assert_int_equal(item->offset, s->at);
    assert_true(item->n > 0 && item->bits >= 0);
    s->at += item->n;
    s->bits += item->bits;
    s->n++;
}

static void items_tile_the_text(void **state) {
    (void)state;
    static const char text[] = "caf\xC3\xA9 \xE2\x96\x81 done";
    desk d;
    seen s = {0};
    lm_code_length length;
    open_desk(&d, 0, 1);
    assert_int_equal(lm_coder_length(d.coder, NULL, 0, (const uint8_t *)text, sizeof text - 1, see, &s, &length), PITH_OK);
    assert_int_equal(s.at, sizeof text - 1);
    assert_int_equal(s.n, length.n_tokens + length.n_escapes);
    assert_true(s.bits > length.bits - 1e-6 && s.bits < length.bits + 1e-6);
    close_desk(&d);
}

/* A window much shorter than the text: the model starts again and again, on both sides alike. */
static void a_short_window_slides(void **state) {
    (void)state;
    desk d;
    open_desk(&d, 16, 1);
    size_t narrow = round_trip(&d, prose, sizeof prose - 1);
    close_desk(&d);
    open_desk(&d, 0, 1);
    assert_true(narrow > round_trip(&d, prose, sizeof prose - 1));
    close_desk(&d);
}

static void damage_is_no_harm(void **state) {
    (void)state;
    desk d;
    open_desk(&d, 32, 1);
    size_t n = 40, size;
    assert_int_equal(lm_coder_encode(d.coder, (const uint8_t *)prose, n, d.code, sizeof d.code, &size), PITH_OK);
    for (size_t i = 0; i < size; i += 3) { /* the block's check value catches what decodes to something else */
        d.code[i] ^= 0x55;
        memset(d.back, 0xEE, sizeof d.back);
        lm_coder_decode(d.coder, d.code, size, d.back, n);
        assert_int_equal(d.back[n], 0xEE);
        d.code[i] ^= 0x55;
    }
    memset(d.code + size, 0x77, 8);
    pith_begin(d.ctx);
    assert_int_equal(lm_coder_decode(d.coder, d.code, size + 8, d.back, n), PITH_E_FORMAT);
    assert_non_null(strstr(pith_error(d.ctx), "left over"));
    assert_int_equal(lm_coder_encode(d.coder, (const uint8_t *)prose, n, d.code, 3, &size), PITH_OK);
    assert_int_equal(size, SIZE_MAX);
    close_desk(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_bytes_come_back),      cmocka_unit_test(the_code_is_known),
        cmocka_unit_test(the_length_is_the_models), cmocka_unit_test(items_tile_the_text),
        cmocka_unit_test(a_short_window_slides),    cmocka_unit_test(damage_is_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
