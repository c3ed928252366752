/* The frame format: what is written reads back; what is cut off asks for more; what is wrong
 * is refused; and small frames stay small. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "artefacts/file/frame.h"
#include "support/session.h"

static frame_header sample_header(const char *recipe) {
    frame_header h = {.major = FRAME_MAJOR,
                      .minor = 3,
                      .level = recipe ? 0 : 7,
                      .size_known = true,
                      .numerics = FRAME_NUMERICS_LANES16,
                      .content_size = UINT64_C(0x123456789AB),
                      .memory = 100 << 20,
                      .ns_per_byte = 1234};
    if (recipe) {
        h.recipe_n = strlen(recipe);
        memcpy(h.recipe, recipe, h.recipe_n);
    }
    return h;
}

static void header_reads_back(void **state) {
    (void)state;
    static const char *const recipes[] = {NULL, "", "x86 | lzma(preset=9)"};
    for (size_t i = 0; i < PITH_COUNT(recipes); i++) {
        frame_header h = sample_header(recipes[i]), g;
        uint8_t bytes[FRAME_HEADER_MAX];
        size_t n = frame_header_put(bytes, &h), used;
        assert_true(n <= sizeof bytes);
        assert_int_equal(frame_header_get(ctx, bytes, n, &g, &used), PITH_OK);
        assert_int_equal(used, n);
        assert_int_equal(g.minor, 3);
        assert_int_equal(g.level, h.level);
        assert_int_equal(g.numerics, h.numerics);
        assert_true(g.size_known && g.content_size == h.content_size);
        assert_string_equal(g.recipe, recipes[i] ? recipes[i] : "");
        for (size_t cut = 0; cut < n; cut++) {
            used = 99;
            assert_int_equal(frame_header_get(ctx, bytes, cut, &g, &used), PITH_OK);
            assert_int_equal(used, 0);
        }
    }
}

static void every_flipped_bit_of_a_header_is_noticed(void **state) {
    (void)state;
    frame_header h = sample_header("lzma"), g;
    uint8_t bytes[FRAME_HEADER_MAX + 4] = {0};
    size_t n = frame_header_put(bytes, &h), used;
    for (size_t bit = 0; bit < 8 * n; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        pith_begin(ctx);
        pith_status status = frame_header_get(ctx, bytes, n, &g, &used);
        /* a longer claimed recipe asks for bytes that are not there */
        assert_true(status != PITH_OK || used == 0);
        assert_true((status != PITH_OK) == (pith_error(ctx)[0] != 0));
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void longest_recipe_fits_and_longer_is_refused(void **state) {
    (void)state;
    frame_header h = sample_header(NULL), g;
    h.level = 0;
    h.recipe_n = PITH_FILE_RECIPE_MAX;
    memset(h.recipe, 'a', h.recipe_n);
    uint8_t bytes[FRAME_HEADER_MAX];
    size_t n = frame_header_put(bytes, &h), used;
    assert_int_equal(frame_header_get(ctx, bytes, n, &g, &used), PITH_OK);
    assert_int_equal(used, n);
    bytes[n - 4 - h.recipe_n - 2]++; /* 1001 */
    assert_int_equal(frame_header_get(ctx, bytes, n, &g, &used), PITH_E_FORMAT);
    h.recipe[5] = 27; /* nothing for a terminal to act on */
    n = frame_header_put(bytes, &h);
    assert_int_equal(frame_header_get(ctx, bytes, n, &g, &used), PITH_E_FORMAT);
}

static void claims_are_rounded_up_and_not_far(void **state) {
    (void)state;
    for (uint64_t memory = 1; memory < UINT64_C(1) << 43; memory = memory * 5 / 4 + 1) {
        frame_header h = sample_header(NULL), g;
        h.memory = memory;
        h.ns_per_byte = (double)memory;
        uint8_t bytes[FRAME_HEADER_MAX];
        size_t n = frame_header_put(bytes, &h), used;
        assert_int_equal(frame_header_get(ctx, bytes, n, &g, &used), PITH_OK);
        assert_true(g.memory >= memory);
        assert_true((double)g.memory <= 1.125 * (double)memory + 8192);
        if (memory < UINT64_C(1) << 30) {
            assert_true(g.ns_per_byte >= (double)memory);
            assert_true(g.ns_per_byte <= 1.126 * (double)memory + 1);
        }
    }
}

static void newer_versions_are_unsupported_and_text_damage_is_named(void **state) {
    (void)state;
    frame_header h = sample_header(NULL), g;
    uint8_t bytes[FRAME_HEADER_MAX];
    size_t used;
    h.major = FRAME_MAJOR + 1;
    size_t n = frame_header_put(bytes, &h);
    assert_int_equal(frame_header_get(ctx, bytes, n, &g, &used), PITH_E_UNSUPPORTED);
    static const uint8_t damaged[][8] = {
        {0xF0, 'p', 'i', 't', 'h', '\n', 0, 0x16},    /* CR LF -> LF */
        {0xF0, 'p', 'i', 't', 'h', '\r', '\r', '\n'}, /* LF -> CR LF */
        {0x70, 'p', 'i', 't', 'h', '\r', '\n', 0},    /* 7 bits */
    };
    for (size_t i = 0; i < PITH_COUNT(damaged); i++) {
        frame_kind kind;
        pith_begin(ctx);
        assert_int_equal(frame_kind_get(ctx, damaged[i], 8, &kind), PITH_E_FORMAT);
        assert_non_null(strstr(pith_error(ctx), "text-mode"));
    }
}

static void kinds_of_frames(void **state) {
    (void)state;
    uint8_t bytes[FRAME_SKIP_MAX];
    size_t n = frame_skip_put(bytes, 300), used;
    uint64_t length;
    frame_kind kind;
    assert_int_equal(frame_kind_get(ctx, bytes, n, &kind), PITH_OK);
    assert_int_equal(kind, FRAME_SKIPPABLE);
    assert_int_equal(frame_skip_get(ctx, bytes, n, &length, &used), PITH_OK);
    assert_int_equal(length, 300);
    assert_int_equal(used, n);
    assert_int_equal(frame_kind_get(ctx, frame_magic, 8, &kind), PITH_OK);
    assert_int_equal(kind, FRAME_CODED);
    assert_int_equal(frame_kind_get(ctx, frame_magic, 1, &kind), PITH_OK);
    assert_int_equal(kind, FRAME_MORE);
    assert_int_equal(frame_kind_get(ctx, (const uint8_t *)"\x1f\x8b", 2, &kind), PITH_E_FORMAT);
    pith_begin(ctx);
    assert_int_equal(frame_kind_get(ctx, (const uint8_t *)"\xF0pmod\r\n", 8, &kind), PITH_E_FORMAT);
    assert_non_null(strstr(pith_error(ctx), "pith model decompress"));
}

static block_header sample_block(bool front) {
    block_header b = {.codec = &file_codec_stored,
                      .raw_n = 70000,
                      .transformed_n = 70000,
                      .coded_n = 70000,
                      .hash = UINT64_C(0xFEDCBA9876543210)};
    if (front) {
        b.front = &file_front_x86;
        b.transformed_n = 70100;
    }
    return b;
}

static void block_reads_back(void **state) {
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        bool single = variant & 1;
        block_header b = sample_block(variant & 2), g;
        frame_header h = {.single = single, .content_size = b.raw_n};
        uint8_t bytes[FRAME_BLOCK_MAX];
        bool end;
        size_t n = frame_block_put(bytes, &b, single), used;
        assert_int_equal(frame_block_get(ctx, bytes, n, &h, &g, &end, &used), PITH_OK);
        assert_false(end);
        assert_int_equal(used, n);
        assert_memory_equal(&g.hash, &b.hash, 8);
        assert_ptr_equal(g.codec, b.codec);
        assert_ptr_equal(g.front, b.front);
        assert_int_equal(g.raw_n, b.raw_n);
        assert_int_equal(g.transformed_n, b.transformed_n);
        assert_int_equal(g.coded_n, b.coded_n);
        for (size_t cut = 0; cut < n; cut++) {
            assert_int_equal(frame_block_get(ctx, bytes, cut, &h, &g, &end, &used), PITH_OK);
            assert_int_equal(used, 0);
        }
    }
}

static void impossible_blocks_are_refused(void **state) {
    (void)state;
    frame_header h = {0};
    struct {
        size_t raw_n, coded_n;
    } wrong[] = {{0, 1}, {5, 0}, {5, 6}, {BLOCK_RAW_MAX + 1, 5}, {SIZE_MAX, 5}};
    for (size_t i = 0; i < PITH_COUNT(wrong); i++) {
        block_header b = sample_block(false), g;
        b.raw_n = wrong[i].raw_n;
        b.coded_n = wrong[i].coded_n;
        uint8_t bytes[FRAME_BLOCK_MAX];
        bool end;
        size_t n = frame_block_put(bytes, &b, false), used;
        assert_int_equal(frame_block_get(ctx, bytes, n, &h, &g, &end, &used), PITH_E_FORMAT);
    }
    uint8_t unknown[16] = {0x0E, 5, 5}, overlong[16] = {0x00, 0x85, 0x00, 5}, many[16] = {0x70, 9};
    block_header g;
    bool end;
    size_t used;
    assert_int_equal(frame_block_get(ctx, unknown, 16, &h, &g, &end, &used), PITH_E_UNSUPPORTED);
    assert_int_equal(frame_block_get(ctx, overlong, 16, &h, &g, &end, &used), PITH_E_FORMAT);
    assert_int_equal(frame_block_get(ctx, many, 16, &h, &g, &end, &used), PITH_E_FORMAT);
    uint8_t mark = FRAME_END_MARK;
    assert_int_equal(frame_block_get(ctx, &mark, 1, &h, &g, &end, &used), PITH_OK);
    assert_true(end && used == 1);
    h.single = true;
    h.content_size = 5;
    uint8_t no_end[16] = {FRAME_END_MARK, 5};
    assert_int_equal(frame_block_get(ctx, no_end, 16, &h, &g, &end, &used), PITH_E_UNSUPPORTED);
}

static void small_frames_are_small(void **state) {
    (void)state;
    frame_header h = {.major = 1,
                      .level = 6,
                      .single = true,
                      .size_known = true,
                      .content_size = 152089,
                      .memory = 50 << 20,
                      .ns_per_byte = 700};
    block_header b = sample_block(false);
    b.raw_n = 152089;
    b.coded_n = 36000;
    uint8_t bytes[FRAME_HEADER_MAX];
    size_t header_n = frame_header_put(bytes, &h), block_n = frame_block_put(bytes, &b, true);
    assert_true(header_n + block_n <= 31); /* and one byte per argument of the codec */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_reads_back),
        cmocka_unit_test(every_flipped_bit_of_a_header_is_noticed),
        cmocka_unit_test(longest_recipe_fits_and_longer_is_refused),
        cmocka_unit_test(claims_are_rounded_up_and_not_far),
        cmocka_unit_test(newer_versions_are_unsupported_and_text_damage_is_named),
        cmocka_unit_test(kinds_of_frames),
        cmocka_unit_test(block_reads_back),
        cmocka_unit_test(impossible_blocks_are_refused),
        cmocka_unit_test(small_frames_are_small),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
