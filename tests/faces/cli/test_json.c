/* --json: what the command prints must parse, and say what is true. PITH_COMMAND names it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

static char folder[] = "/tmp/pith-test-json-XXXXXX";

static const char *command(void) {
    const char *name = getenv("PITH_COMMAND");
    return name ? name : getenv("PITH");
}

/* Runs `pith ARGS` in the folder; the JSON values on its standard output, one after another, as an array. */
static json_t *run(const char *args) {
    char line[4096];
    snprintf(line, sizeof line, "cd '%s' && '%s' %s 2> /dev/null", folder, command(), args);
    FILE *f = popen(line, "r");
    assert_non_null(f);
    json_t *all = json_array();
    json_error_t error;
    for (json_t *value; (value = json_loadf(f, JSON_DISABLE_EOF_CHECK, &error));) json_array_append_new(all, value);
    /* The end is the only thing that may stop it. */
    assert_int_equal(json_error_code(&error), json_error_premature_end_of_input);
    assert_int_equal(pclose(f), 0);
    return all;
}

static json_int_t whole(const json_t *object, const char *name) {
    const json_t *v = json_object_get(object, name);
    assert_true(json_is_integer(v));
    return json_integer_value(v);
}

static const char *text(const json_t *object, const char *name) {
    const json_t *v = json_object_get(object, name);
    assert_true(json_is_string(v));
    return json_string_value(v);
}

static void make_file(const char *name, size_t n) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (size_t i = 0; i < n; i++) fputc("the quick brown fox "[i % 20], f);
    assert_int_equal(fclose(f), 0);
}

static long file_size(const char *name) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    fclose(f);
    return n;
}

static void test_compress_and_back(void **state) {
    (void)state;
    make_file("a", 50000);
    make_file("b\xff\"\n", 10);
    json_t *made = run("--json -3 a b*");
    assert_int_equal(json_array_size(made), 2);
    json_t *first = json_array_get(made, 0);
    assert_string_equal(text(first, "operation"), "compress");
    assert_string_equal(text(first, "file"), "a");
    assert_string_equal(text(first, "output"), "a.pith");
    assert_int_equal(whole(first, "content_bytes"), 50000);
    assert_int_equal(whole(first, "archive_bytes"), file_size("a.pith"));
    assert_int_equal(strlen(text(first, "xxh3")), 16);
    assert_string_equal(text(json_array_get(made, 1), "file"), "b?\"?");

    json_t *back = run("--json -df a.pith");
    assert_string_equal(text(json_array_get(back, 0), "operation"), "decompress");
    assert_string_equal(text(json_array_get(back, 0), "xxh3"), text(first, "xxh3"));
    assert_int_equal(whole(json_array_get(back, 0), "content_bytes"), 50000);
    json_t *tested = run("--json -t a.pith");
    assert_string_equal(text(json_array_get(tested, 0), "xxh3"), text(first, "xxh3"));
    json_decref(tested);
    json_decref(back);
    json_decref(made);
}

static void test_list(void **state) {
    (void)state;
    make_file("c", 20000);
    json_decref(run("--json -fB4K c"));
    json_t *listed = run("-lv --json c.pith");
    json_t *c = json_array_get(listed, 0);
    assert_int_equal(whole(c, "archive_bytes"), file_size("c.pith"));
    assert_int_equal(whole(c, "content_bytes"), 20000);
    assert_int_equal(whole(c, "blocks"), 5);
    json_t *blocks = json_object_get(c, "block_list");
    assert_int_equal(json_array_size(blocks), 5);
    json_int_t sum = 0;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(whole(json_array_get(blocks, i), "content_offset"), sum);
        sum += whole(json_array_get(blocks, i), "content_size");
        assert_true(strlen(text(json_array_get(blocks, i), "recipe")) > 0);
    }
    assert_int_equal(sum, 20000);
    json_decref(listed);
}

static void test_bench(void **state) {
    (void)state;
    make_file("d", 30000);
    json_t *all = run("bench file --json --levels=1-2 --peers=none --runs=2 d");
    assert_int_equal(json_array_size(all), 1);
    json_t *files = json_object_get(json_array_get(all, 0), "files");
    json_t *rows = json_object_get(json_array_get(files, 0), "rows");
    assert_int_equal(json_array_size(rows), 2);
    for (size_t i = 0; i < 2; i++) {
        json_t *row = json_array_get(rows, i);
        assert_string_equal(text(row, "status"), "ok");
        assert_true(json_is_true(json_object_get(row, "round_trip")));
        assert_int_equal(whole(row, "runs"), 2);
        json_int_t bytes = whole(row, "bytes");
        assert_in_range(bytes, 1, 30000);
        double rate = json_real_value(json_object_get(row, "bits_per_byte"));
        assert_true(rate > (double)bytes * 8 / 30000 - 1e-6 && rate < (double)bytes * 8 / 30000 + 1e-6);
        assert_true(json_real_value(json_object_get(row, "compress_cpu_seconds")) > 0);
        assert_true(whole(row, "decompress_peak_bytes") > 0);
    }
    json_decref(all);
}

static int begin(void **state) {
    (void)state;
    return command() && mkdtemp(folder) ? 0 : -1;
}

static int end(void **state) {
    (void)state;
    char line[300];
    snprintf(line, sizeof line, "rm -rf '%s'", folder);
    return system(line);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compress_and_back),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_bench),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
