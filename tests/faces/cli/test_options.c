/* Sizes, numbers and the command line, read without running anything. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "faces/cli/cli.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void test_sizes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
        const char *rest;
    } good[] = {{"0", 0, ""},
                {"4096", 4096, ""},
                {"64K", 65536, ""},
                {"64k", 65536, ""},
                {"1MiB", 1 << 20, ""},
                {"1MB", 1 << 20, ""},
                {"7B", 7, ""},
                {"2G:5", UINT64_C(2) << 30, ":5"},
                {"1T", UINT64_C(1) << 40, ""},
                {"18446744073709551615", UINT64_MAX, ""},
                {"16777215T", UINT64_C(16777215) << 40, ""},
                {"5x", 5, "x"},
                {"5BB", 5, "B"}};
    const char *end;
    uint64_t v;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_true(cli_parse_size(good[i].text, &end, &v));
        assert_true(v == good[i].bytes);
        assert_string_equal(end, good[i].rest);
    }
    static const char *const bad[] = {"", "K", "-1", " 1", "18446744073709551616", "16777216T", "x5"};
    for (size_t i = 0; i < COUNT(bad); i++) assert_false(cli_parse_size(bad[i], &end, &v));
}

static void test_numbers(void **state) {
    (void)state;
    uint64_t v;
    assert_true(cli_parse_number("0", 0, 5, &v) && v == 0);
    assert_true(cli_parse_number("5", 0, 5, &v) && v == 5);
    assert_true(cli_parse_number("256", 0, 256, &v) && v == 256);
    static const char *const bad[] = {"", "6", "-1", "5 ", "99999999999999999999999", "4294967297", "1e1"};
    for (size_t i = 0; i < COUNT(bad); i++) assert_false(cli_parse_number(bad[i], 0, 5, &v));
    assert_false(cli_parse_number("2", 3, 5, &v));
}

static int parse(cli_options *o, const char *const *words) {
    char *argv[16] = {"pith"};
    int argc = 1;
    for (; words[argc - 1]; argc++) argv[argc] = (char *)words[argc - 1];
    cli_verbosity = 0;
    return cli_options_parse(o, argc, argv);
}
#define PARSE(o, ...) parse(o, (const char *const[]){__VA_ARGS__, NULL})

static void test_combined(void **state) {
    (void)state;
    cli_options o;
    assert_int_equal(PARSE(&o, "-9kfT4M64MB32K", "x", "-vv", "-", "--", "-c"), CLI_OK);
    assert_int_equal(o.level, 9);
    assert_true(o.force && !o.remove_input && !o.to_stdout);
    assert_int_equal(o.n_threads, 4);
    assert_int_equal(o.memory_bytes, 64 << 20);
    assert_int_equal(o.block_bytes, 32 << 10);
    assert_int_equal(cli_verbosity, 2);
    assert_int_equal(o.n_files, 3);
    assert_string_equal(o.files[1], "-");
    assert_string_equal(o.files[2], "-c");
    cli_options_free(&o);

    assert_int_equal(PARSE(&o, "-dcoq", "-q"), CLI_FAIL); /* -c with -o q */
    cli_options_free(&o);
    assert_int_equal(PARSE(&o, "-doname", "-q"), CLI_OK);
    assert_string_equal(o.output, "name");
    assert_int_equal(o.mode, CLI_DECOMPRESS);
    assert_int_equal(cli_verbosity, -1);
    cli_options_free(&o);
    assert_int_equal(PARSE(&o, "--rm", "--keep", "-d", "-z"), CLI_OK);
    assert_true(!o.remove_input && o.mode == CLI_COMPRESS);
    cli_options_free(&o);
}

static void test_values(void **state) {
    (void)state;
    cli_options o;
    assert_int_equal(PARSE(&o, "--range=1K:4", "--max-time=none", "--memory", "2G"), CLI_OK);
    assert_true(o.has_range && o.range_offset == 1024 && o.range_length == 4 && o.mode == CLI_DECOMPRESS);
    assert_true(isinf(o.max_seconds));
    assert_true(o.memory_bytes == UINT64_C(2) << 30);
    cli_options_free(&o);
    assert_int_equal(PARSE(&o, "--range", "7:"), CLI_OK);
    assert_true(o.range_length == UINT64_MAX);
    cli_options_free(&o);
    assert_int_equal(PARSE(&o, "-v"), CLI_OK);
    assert_int_equal(o.level, 6);
    assert_int_equal(o.n_threads, 1);
    assert_true(o.max_seconds == 0 && o.memory_bytes == 0 && o.n_files == 0);
    cli_options_free(&o);
    static const char *const bad[] = {"-R",
                                      "-J",
                                      "-Y",
                                      "-x",
                                      "-M5K",
                                      "--range=5",
                                      "-B1",
                                      "--recipe",
                                      "--threads=x",
                                      "--verbose=1",
                                      "-M18446744073709551615T",
                                      "--rangex=1:2"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(PARSE(&o, "-qq", bad[i]), CLI_FAIL);
        cli_options_free(&o);
    }
}

static void test_texts(void **state) {
    (void)state;
    char text[16], safe[8];
    assert_string_equal(cli_size_text(text, 0), "0 B");
    assert_string_equal(cli_size_text(text, 999), "999 B");
    assert_string_equal(cli_size_text(text, 1000), "0.98 KiB");
    assert_string_equal(cli_size_text(text, 65536), "64.0 KiB");
    assert_string_equal(cli_size_text(text, UINT64_MAX), "16.0 EiB");
    assert_string_equal(cli_safe_text(safe, sizeof safe, "a\033[1mbcdefg"), "a?[1mbc");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes), cmocka_unit_test(test_numbers),
                                       cmocka_unit_test(test_combined), cmocka_unit_test(test_values),
                                       cmocka_unit_test(test_texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
