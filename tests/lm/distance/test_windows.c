/* Equal-info windows and merged pairs: every text comes back, whatever is read comes to an end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lm/distance/distance.h"

static const char prose[] = "The manual says that a page of memory which has been written to must be kept until it is "
                            "saved; a page that was only read may be dropped at any time. ";

static uint64_t next_random(uint64_t *s) {
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static size_t round_trip(pith_ctx *ctx, equal_info *e, unsigned bits, const uint8_t *text, size_t n) {
    pith_buffer windows = {0}, back = {0};
    assert_int_equal(equal_info_encode(e, text, n, &windows), PITH_OK);
    assert_int_equal(windows.size % (bits / 8), 0);
    assert_int_equal(equal_info_decode(e, windows.data, windows.size, n, &back), PITH_OK);
    assert_int_equal(back.size, n);
    if (n) assert_memory_equal(back.data, text, n);
    size_t size = windows.size;
    if (size) { /* a window more or less is noticed */
        back.size = 0;
        assert_int_equal(equal_info_decode(e, windows.data, size - bits / 8, n, &back), PITH_E_FORMAT);
        back.size = 0;
        assert_int_equal(equal_info_decode(e, windows.data, size - 1, n, &back), PITH_E_FORMAT);
        uint8_t first[8];
        memcpy(first, windows.data, bits / 8);
        assert_int_equal(pith_buffer_append(ctx, &windows, first, bits / 8), PITH_OK);
        back.size = 0;
        assert_int_equal(equal_info_decode(e, windows.data, windows.size, n, &back), PITH_E_FORMAT);
    }
    pith_buffer_free(ctx, &windows);
    pith_buffer_free(ctx, &back);
    return size;
}

static void every_text_comes_back(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    uint8_t noise[400], runs[600];
    uint64_t seed = 88172645463325252u;
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = (uint8_t)(next_random(&seed) >> 32);
    memset(runs, 'a', sizeof runs);
    for (unsigned bits = 16; bits <= 64; bits += 8) {
        equal_info *e;
        assert_int_equal(equal_info_new(ctx, bits, (const uint8_t *)prose, sizeof prose - 1, &e), PITH_OK);
        round_trip(ctx, e, bits, noise, 0);
        round_trip(ctx, e, bits, noise, 1);
        size_t of_noise = round_trip(ctx, e, bits, noise, sizeof noise);
        size_t of_prose = round_trip(ctx, e, bits, (const uint8_t *)prose, sizeof prose - 1);
        round_trip(ctx, e, bits, runs, sizeof runs);
        assert_true(of_prose < (bits < 64 ? sizeof prose - 1 : (sizeof prose - 1) / 2));
        assert_true(of_noise >= sizeof noise);
        equal_info_free(e);
    }
    equal_info *e;
    assert_int_equal(equal_info_new(ctx, 8, NULL, 0, &e), PITH_E_ARGUMENT);
    assert_int_equal(equal_info_new(ctx, 20, NULL, 0, &e), PITH_E_ARGUMENT);
    assert_int_equal(equal_info_new(ctx, 72, NULL, 0, &e), PITH_E_ARGUMENT);
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
}

static void any_windows_can_be_read(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    equal_info *e;
    uint64_t seed = 12345;
    assert_int_equal(equal_info_new(ctx, 32, (const uint8_t *)prose, sizeof prose - 1, &e), PITH_OK);
    for (int turn = 0; turn < 200; turn++) {
        uint8_t windows[40];
        pith_buffer out = {0};
        for (size_t i = 0; i < sizeof windows; i++)
            windows[i] = turn % 4 ? (uint8_t)(next_random(&seed) >> 24) : turn % 8 ? 0xFF : (uint8_t)(i % 4 > 1);
        size_t raw = next_random(&seed) % 100;
        pith_status status = equal_info_decode(e, windows, sizeof windows, raw, &out);
        assert_true(status == PITH_OK || status == PITH_E_FORMAT);
        assert_true(out.size <= raw);
        pith_buffer_free(ctx, &out);
    }
    equal_info_free(e);
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
}

static void pairs_merge_what_is_frequent(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    token_list ids = {0};
    uint32_t n_vocab;
    /* ab 3; then c(ab) and (ab)c 2 each, the former is lower */
    assert_int_equal(pairs_encode(ctx, (const uint8_t *)"abcabcab", 8, 10, (const uint8_t *)"cabcb", 5, &ids, &n_vocab),
                     PITH_OK);
    assert_int_equal(n_vocab, 258);
    assert_int_equal(ids.n, 3);
    assert_int_equal(ids.id[0], 257);
    assert_int_equal(ids.id[1], 'c');
    assert_int_equal(ids.id[2], 'b');
    ids.n = 0;
    assert_int_equal(pairs_encode(ctx, NULL, 0, 10, (const uint8_t *)"aa", 2, &ids, &n_vocab), PITH_OK);
    assert_int_equal(n_vocab, 256);
    assert_int_equal(ids.n, 2);
    ids.n = 0;
    assert_int_equal(pairs_encode(ctx, (const uint8_t *)"aaaaaaa", 7, 1, (const uint8_t *)"aaaaa", 5, &ids, &n_vocab),
                     PITH_OK);
    assert_int_equal(ids.n, 3);
    assert_int_equal(pairs_encode(ctx, NULL, 0, 1u << 20, NULL, 0, &ids, &n_vocab), PITH_E_LIMIT);
    token_list_free(ctx, &ids);
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_text_comes_back),
        cmocka_unit_test(any_windows_can_be_read),
        cmocka_unit_test(pairs_merge_what_is_frequent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
