/* Every block codec: what goes in comes out, within the room and the memory it was promised; damaged
 * blocks, wrong sizes, missing room and missing memory end in an error and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "artefacts/file/codec.h"
#include "support/file_data.h"
#include "support/guard.h"

typedef struct variant {
    const file_codec *codec;
    file_args args;
} variant;

static const variant variants[] = {
    {&file_codec_stored, {0}},          {&file_codec_run, {0}},
    {&file_codec_zstd, {1, {1}}},       {&file_codec_zstd, {1, {9}}},
    {&file_codec_zstd, {1, {19}}},      {&file_codec_lzma, {3, {9, 0, 0}}},
    {&file_codec_lzma, {3, {2, 1, 0}}}, {&file_codec_lzma, {3, {6, 2, 0}}},
    {&file_codec_lzma, {3, {6, 9, 4}}}, {&file_codec_lzma, {3, {6, 8, 0}}},
    {&file_codec_bwt, {1, {0}}},        {&file_codec_bwt, {1, {32}}},
    {&file_codec_bwt, {1, {100}}},
};

/* Codes and decodes; gives back the coded size, SIZE_MAX when it did not fit in `cap`. */
static size_t round_trip(const variant *v, const uint8_t *src, size_t n, size_t cap) {
    pith_ctx *ctx = pith_ctx_new(NULL);
    assert_int_equal(v->codec->check(ctx, &v->args), PITH_OK);
    uint8_t *coded = guarded(cap), *back = guarded(n);
    size_t coded_n = 0;
    assert_int_equal(v->codec->encode(ctx, &v->args, src, n, coded, cap, &coded_n), PITH_OK);
    assert_guard(coded, cap);
    assert_int_equal(pith_memory_used(ctx), 0);
    assert_true(pith_memory_peak(ctx) <= v->codec->memory(&v->args, n, false));
    if (coded_n != SIZE_MAX) {
        assert_true(coded_n <= cap);
        /* a block of exactly its size, so that a sanitizer sees any read past it */
        uint8_t *exact = malloc(coded_n ? coded_n : 1);
        memcpy(exact, coded, coded_n);
        pith_ctx *reader = pith_ctx_new(NULL);
        assert_int_equal(v->codec->decode(reader, &v->args, exact, coded_n, back, n), PITH_OK);
        assert_guard(back, n);
        assert_memory_equal(back, src, n);
        assert_int_equal(pith_memory_used(reader), 0);
        assert_true(pith_memory_peak(reader) <= v->codec->memory(&v->args, n, true));
        pith_ctx_free(reader);
        free(exact);
    }
    free(coded);
    free(back);
    pith_ctx_free(ctx);
    return coded_n;
}

static const size_t sizes[] = {1, 2, 3, 7, 64, 65, 255, 256, 257, 1000, 4095, 4096, 4097, 65537, 200000};

static void every_kind_and_size_comes_back(void **state) {
    (void)state;
    for (size_t s = 0; s < PITH_COUNT(sizes); s++) {
        size_t n = sizes[s];
        uint8_t *src = malloc(n);
        for (int kind = 0; kind < DATA_KINDS; kind++) {
            data_fill(src, n, (data_kind)kind, (uint32_t)n);
            if (n > (kind == DATA_RANDOM ? 70000u : 5000u) && kind != DATA_TEXT) continue;
            for (size_t i = 0; i < PITH_COUNT(variants); i++) {
                size_t coded = round_trip(&variants[i], src, n, n + n / 8 + 1024);
                if (variants[i].codec != &file_codec_run) assert_true(coded != SIZE_MAX);
            }
        }
        free(src);
    }
}

/* Long enough for eight chains of the inverse, and for the index that does not fit beside a symbol. */
static void big_bwt_blocks_come_back(void **state) {
    (void)state;
    static const size_t big[] = {(1 << 20) - 1, 1 << 20, (1 << 24) + 5};
    for (size_t s = 0; s < PITH_COUNT(big); s++) {
        uint8_t *src = malloc(big[s]);
        memset(src, 0, big[s]);
        for (size_t i = 0; i < big[s]; i += 1 + i % 971) src[i] = (uint8_t)(i % 251);
        variant v = {&file_codec_bwt, {1, {0}}};
        assert_true(round_trip(&v, src, big[s], big[s]) < big[s] / 50);
        free(src);
    }
}

static void repeats_are_taken_out(void **state) {
    (void)state;
    size_t n = 300000;
    uint8_t *src = malloc(n);
    data_fill(src, n / 3, DATA_RANDOM, 8);
    memcpy(src + n / 3, src, n / 3);
    memcpy(src + 2 * (n / 3), src + 5, n / 3 - 5);
    data_fill(src + 3 * (n / 3) - 5, n - 3 * (n / 3) + 5, DATA_RANDOM, 9);
    variant with = {&file_codec_bwt, {1, {64}}};
    assert_true(round_trip(&with, src, n, n) < n / 3 + n / 60);
    free(src);
}

static void text_shrinks_to_what_it_should(void **state) {
    (void)state;
    size_t n = 100000;
    uint8_t *src = malloc(n);
    data_fill(src, n, DATA_TEXT, 1);
    /* sixteen words of 4.4 bytes, equally likely: 4 bits a word cannot be undercut */
    for (size_t i = 2; i < PITH_COUNT(variants); i++) {
        size_t coded = round_trip(&variants[i], src, n, n);
        assert_true(coded > n / 15 && coded < n / 4);
    }
    assert_int_equal(round_trip(&variants[0], src, n, n), n);
    assert_true(round_trip(&variants[1], src, n, n) == SIZE_MAX);
    memset(src, 'x', n);
    assert_int_equal(round_trip(&variants[1], src, n, n), 1);
    free(src);
}

static void too_little_room_is_said_and_kept(void **state) {
    (void)state;
    size_t n = 20000;
    uint8_t *src = malloc(n);
    data_fill(src, n, DATA_RANDOM, 3);
    for (size_t i = 0; i < PITH_COUNT(variants); i++) {
        for (size_t cap = 0; cap < 40; cap++) assert_true(round_trip(&variants[i], src, 500, cap) == SIZE_MAX);
        for (size_t cap = 0; cap < 40; cap += 13) assert_true(round_trip(&variants[i], src, n, cap) == SIZE_MAX);
        assert_true(round_trip(&variants[i], src, n, n - 1) == SIZE_MAX);
    }
    data_fill(src, n, DATA_TEXT, 3);
    for (size_t i = 2; i < PITH_COUNT(variants); i++) {
        size_t coded = round_trip(&variants[i], src, n, n);
        assert_int_equal(round_trip(&variants[i], src, n, coded + 16), coded);
        assert_true(round_trip(&variants[i], src, n, coded - 1) == SIZE_MAX);
    }
    free(src);
}

/* An error with a message, or some bytes: never a write outside, never memory kept. */
static void decode_any(const variant *v, const uint8_t *coded, size_t coded_n, size_t raw_n) {
    pith_ctx *ctx = pith_ctx_new(NULL);
    uint8_t *exact = malloc(coded_n ? coded_n : 1), *back = guarded(raw_n);
    memcpy(exact, coded, coded_n);
    pith_status status = v->codec->decode(ctx, &v->args, exact, coded_n, back, raw_n);
    assert_true((status != PITH_OK) == (pith_error(ctx)[0] != 0));
    assert_true(status == PITH_OK || status == PITH_E_FORMAT || status == PITH_E_UNSUPPORTED);
    assert_guard(back, raw_n);
    assert_int_equal(pith_memory_used(ctx), 0);
    assert_true(pith_memory_peak(ctx) <= v->codec->memory(&v->args, raw_n, true));
    free(exact);
    free(back);
    pith_ctx_free(ctx);
}

static void damaged_blocks_do_no_damage(void **state) {
    (void)state;
    enum { N = 2500, PERIOD = 300 };
    uint8_t src[N], coded[2 * N];
    for (size_t i = 0; i < PITH_COUNT(variants); i++) {
        const variant *v = &variants[i];
        data_fill(src, N, v->codec == &file_codec_run ? DATA_ZEROS : DATA_TEXT, 4);
        if (v->codec == &file_codec_bwt && v->args.v[0]) { /* so much repeated that it is taken out */
            data_fill(src, N, DATA_RANDOM, 4);
            for (size_t k = PERIOD; k < N; k++) src[k] = src[k - PERIOD];
            src[N / 2] ^= 1;
        }
        pith_ctx *ctx = pith_ctx_new(NULL);
        size_t n;
        assert_int_equal(v->codec->encode(ctx, &v->args, src, N, coded, sizeof coded, &n), PITH_OK);
        pith_ctx_free(ctx);
        assert_true(v->codec != &file_codec_bwt || coded[0] == (v->args.v[0] ? 1 : 0));
        for (size_t cut = 0; cut < n; cut += 1 + n / 150) decode_any(v, coded, cut, N);
        for (size_t at = 0; at < n; at += at < 40 ? 1 : 1 + n / 150) {
            uint8_t kept = coded[at];
            for (unsigned change = 1; change < 256; change = change * 3 + 1) {
                coded[at] = (uint8_t)(kept ^ change);
                decode_any(v, coded, n, N);
            }
            coded[at] = kept;
        }
        decode_any(v, coded, n, 0);
        decode_any(v, coded, n, 1);
        decode_any(v, coded, n, N - 1);
        decode_any(v, coded, n, N + 1);
        decode_any(v, coded, n, 40 * N);
    }
}

static void bytes_behind_a_block_are_refused(void **state) {
    (void)state;
    enum { N = 5000 };
    uint8_t src[N], back[N], coded[N + 16];
    data_fill(src, N, DATA_TEXT, 4);
    for (size_t i = 2; i < PITH_COUNT(variants); i++) {
        pith_ctx *ctx = pith_ctx_new(NULL);
        size_t n;
        assert_int_equal(variants[i].codec->encode(ctx, &variants[i].args, src, N, coded, N, &n), PITH_OK);
        memset(coded + n, 0x55, 16);
        assert_int_equal(variants[i].codec->decode(ctx, &variants[i].args, coded, n + 16, back, N), PITH_E_FORMAT);
        pith_ctx_free(ctx);
    }
}

static void arguments_out_of_range_are_refused(void **state) {
    (void)state;
    static const variant wrong[] = {
        {&file_codec_stored, {1, {0}}},
        {&file_codec_run, {1, {0}}},
        {&file_codec_zstd, {0}},
        {&file_codec_zstd, {1, {0}}},
        {&file_codec_zstd, {1, {23}}},
        {&file_codec_zstd, {2, {3, 3}}},
        {&file_codec_lzma, {2, {9, 0}}},
        {&file_codec_lzma, {3, {10, 0, 0}}},
        {&file_codec_lzma, {3, {9, 10, 0}}},
        {&file_codec_lzma, {3, {9, 0, 257}}},
        {&file_codec_bwt, {0}},
        {&file_codec_bwt, {1, {31}}},
        {&file_codec_bwt, {1, {65537}}},
        {&file_codec_bwt, {1, {UINT32_MAX}}},
    };
    pith_ctx *ctx = pith_ctx_new(NULL);
    for (size_t i = 0; i < PITH_COUNT(wrong); i++) {
        pith_begin(ctx);
        assert_int_equal(wrong[i].codec->check(ctx, &wrong[i].args), PITH_E_FORMAT);
        assert_true(pith_error(ctx)[0] != 0);
    }
    pith_ctx_free(ctx);
}

static int cancel(void *opaque, uint64_t done, uint64_t total) {
    (void)opaque, (void)done, (void)total;
    return 1;
}

/* What the libraries take too, but for libdivsufsort's few kilobytes. */
static void fail_everywhere(const variant *v, const uint8_t *src, size_t src_n) {
    uint8_t *coded = malloc(src_n), *back = malloc(src_n);
    size_t n = 0;
    for (int decoding = 0; decoding < 2; decoding++) {
        pith_status status = PITH_E_MEMORY;
        long fail_at = 1; /* call 0 is the session */
        for (; status; fail_at++) {
            data_heap heap = {.fail_at = fail_at};
            pith_ctx *ctx = pith_ctx_new(&(pith_allocator){data_heap_alloc, data_heap_free, &heap});
            status = decoding ? v->codec->decode(ctx, &v->args, coded, n, back, src_n)
                              : v->codec->encode(ctx, &v->args, src, src_n, coded, src_n, &n);
            assert_true(status == PITH_OK || status == PITH_E_MEMORY);
            assert_true((status != PITH_OK) == (pith_error(ctx)[0] != 0));
            pith_ctx_free(ctx);
            assert_int_equal(atomic_load(&heap.held), 0);
            assert_true(fail_at < 1000);
        }
        assert_true(fail_at > 2); /* at least one was refused */
    }
    assert_memory_equal(src, back, src_n);
    free(coded);
    free(back);
}

static void failing_memory_is_an_error(void **state) {
    (void)state;
    enum { N = 30000, SHORT = 300 };
    uint8_t *src = malloc(N);
    data_fill(src, N, DATA_TEXT, 6);
    memcpy(src + N / 2, src, N / 3);
    for (size_t i = 2; i < PITH_COUNT(variants); i++) fail_everywhere(&variants[i], src, N);
    static const variant mixers[] = {{&file_codec_cm, {3, {0, 0, 0}}}, {&file_codec_cm, {3, {1, 0, 16}}}};
    data_fill(src, SHORT, DATA_RECORDS, 6);
    for (size_t i = 0; i < PITH_COUNT(mixers); i++) fail_everywhere(&mixers[i], src, SHORT);
    free(src);
}

/* Every byte of a block is told of, in both directions, and a cancel is answered. */
static void work_is_told_of_and_can_be_stopped(void **state) {
    (void)state;
    enum { N = 3000000 };
    uint8_t *src = malloc(N), *coded = malloc(N), *back = malloc(N);
    data_fill(src, N, DATA_TEXT, 12);
    static const variant each[] = {
        {&file_codec_zstd, {1, {3}}}, {&file_codec_lzma, {3, {0, 1, 0}}}, {&file_codec_bwt, {1, {0}}}};
    for (size_t i = 0; i < PITH_COUNT(each); i++) {
        const variant *v = &each[i];
        pith_ctx *ctx = pith_ctx_new(NULL);
        _Atomic uint64_t sum = 0;
        pith_meter meter;
        size_t n;
        pith_meter_begin(&meter, &sum, 2 * (uint64_t)N);
        pith_phase(0.5, N);
        assert_int_equal(v->codec->encode(ctx, &v->args, src, N, coded, N, &n), PITH_OK);
        assert_int_equal(sum, N);
        pith_phase(0.5, N);
        assert_int_equal(v->codec->decode(ctx, &v->args, coded, n, back, N), PITH_OK);
        assert_int_equal(sum, 2 * N);
        pith_meter_end(&meter, true);
        pith_ctx_set_progress(ctx, cancel, NULL);
        pith_tick(ctx, 0, 0);
        assert_int_equal(v->codec->decode(ctx, &v->args, coded, n, back, N), PITH_E_CANCELLED);
        assert_int_equal(v->codec->encode(ctx, &v->args, src, N, coded, N, &n), PITH_E_CANCELLED);
        assert_int_equal(pith_memory_used(ctx), 0);
        pith_ctx_free(ctx);
    }
    free(src);
    free(coded);
    free(back);
}

/* Records in the middle of a text: what is best for the middle alone must not be done to it all. */
static void the_whole_block_chooses_the_filter(void **state) {
    (void)state;
    enum { N = 1200000 };
    uint8_t *src = malloc(N), *coded = malloc(N);
    data_fill(src, N, DATA_TEXT, 13);
    for (size_t i = 0; i < N; i += 40000) memcpy(src + i, src, 20000); /* repeats, which differences tear apart */
    data_fill(src + N / 4, N / 2, DATA_COUNTERS, 13);
    pith_ctx *ctx = pith_ctx_new(NULL);
    size_t chosen, plain, delta;
    static const file_args choose = {3, {2, 0, 0}}, none = {3, {2, 1, 0}}, differences = {3, {2, 9, 4}};
    assert_int_equal(file_codec_lzma.encode(ctx, &choose, src, N, coded, N, &chosen), PITH_OK);
    assert_int_equal(file_codec_lzma.encode(ctx, &none, src, N, coded, N, &plain), PITH_OK);
    assert_int_equal(file_codec_lzma.encode(ctx, &differences, src, N, coded, N, &delta), PITH_OK);
    assert_true(chosen <= PITH_MIN(plain, delta));
    pith_ctx_free(ctx);
    free(src);
    free(coded);
}

static void the_memory_limit_is_kept(void **state) {
    (void)state;
    enum { N = 300000 };
    uint8_t *src = malloc(N), *coded = malloc(N);
    data_fill(src, N, DATA_TEXT, 6);
    for (size_t i = 2; i < PITH_COUNT(variants); i++) {
        pith_ctx *ctx = pith_ctx_new(NULL);
        size_t n;
        pith_ctx_set_memory(ctx, 100000);
        assert_int_equal(variants[i].codec->encode(ctx, &variants[i].args, src, N, coded, N, &n), PITH_E_LIMIT);
        assert_int_equal(pith_memory_used(ctx), 0);
        pith_ctx_free(ctx);
    }
    free(src);
    free(coded);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_and_size_comes_back),
        cmocka_unit_test(big_bwt_blocks_come_back),
        cmocka_unit_test(repeats_are_taken_out),
        cmocka_unit_test(text_shrinks_to_what_it_should),
        cmocka_unit_test(too_little_room_is_said_and_kept),
        cmocka_unit_test(damaged_blocks_do_no_damage),
        cmocka_unit_test(bytes_behind_a_block_are_refused),
        cmocka_unit_test(arguments_out_of_range_are_refused),
        cmocka_unit_test(failing_memory_is_an_error),
        cmocka_unit_test(the_memory_limit_is_kept),
        cmocka_unit_test(work_is_told_of_and_can_be_stopped),
        cmocka_unit_test(the_whole_block_chooses_the_filter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
