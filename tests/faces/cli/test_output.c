/* Output files: nothing under the final name before commit, everything after; what appears in
 * between is kept; links are written through, devices stay. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "faces/cli/cli.h"

static char folder[] = "/tmp/pith-test-output-XXXXXX";

static void write_file(const char *name, const char *text) {
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void assert_holds(const char *name, const char *text) {
    char got[64] = "";
    FILE *f = fopen(name, "r");
    assert_non_null(f);
    size_t n = fread(got, 1, sizeof got - 1, f);
    fclose(f);
    got[n] = 0;
    assert_string_equal(got, text);
}

static bool is_there(const char *name) {
    struct stat st;
    return lstat(name, &st) == 0;
}

static void test_commit(void **state) {
    (void)state;
    cli_output out;
    struct stat like, st;
    write_file("model", "");
    assert_int_equal(chmod("model", 0604), 0);
    assert_int_equal(stat("model", &like), 0);
    like.st_mtim.tv_sec = 1000000;
    assert_int_equal(cli_output_open(&out, "a"), CLI_OK);
    assert_int_equal(fstat(out.fd, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(cli_output_write(&out, "text", 4), 0);
    assert_int_equal(cli_output_finish(&out, &like), CLI_OK);
    assert_false(is_there("a"));
    assert_holds(out.temp, "text");
    assert_int_equal(cli_output_commit(&out, false), CLI_OK);
    assert_holds("a", "text");
    assert_int_equal(stat("a", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0604);
    assert_int_equal(st.st_mtim.tv_sec, 1000000);
    cli_output_discard(&out);
    assert_holds("a", "text");
}

static void test_discard(void **state) {
    (void)state;
    cli_output out;
    char temp[64];
    assert_int_equal(cli_output_open(&out, "gone"), CLI_OK);
    assert_int_equal(cli_output_write(&out, "x", 1), 0);
    snprintf(temp, sizeof temp, "%s", out.temp);
    assert_true(is_there(temp));
    cli_output_discard(&out);
    assert_false(is_there(temp));
    assert_false(is_there("gone"));
}

static void test_appears_meanwhile(void **state) {
    (void)state;
    cli_output out;
    char temp[64];
    assert_int_equal(cli_output_open(&out, "late"), CLI_OK);
    snprintf(temp, sizeof temp, "%s", out.temp);
    assert_int_equal(cli_output_write(&out, "ours", 4), 0);
    write_file("late", "theirs");
    assert_int_equal(cli_output_finish(&out, NULL), CLI_OK);
    assert_int_equal(cli_output_commit(&out, false), CLI_FAIL);
    assert_holds("late", "theirs");
    assert_false(is_there(temp));
    assert_int_equal(cli_output_open(&out, "late"), CLI_OK);
    assert_int_equal(cli_output_write(&out, "ours", 4), 0);
    assert_int_equal(cli_output_finish(&out, NULL), CLI_OK);
    assert_int_equal(cli_output_commit(&out, true), CLI_OK);
    assert_holds("late", "ours");
}

static void test_link_and_device(void **state) {
    (void)state;
    cli_output out;
    struct stat st;
    write_file("target", "old");
    assert_int_equal(symlink("target", "link"), 0);
    assert_int_equal(cli_output_open(&out, "link"), CLI_OK);
    assert_int_equal(cli_output_write(&out, "new", 3), 0);
    assert_int_equal(cli_output_finish(&out, NULL), CLI_OK);
    assert_int_equal(cli_output_commit(&out, true), CLI_OK);
    assert_true(lstat("link", &st) == 0 && S_ISLNK(st.st_mode));
    assert_holds("target", "new");

    assert_int_equal(cli_output_open(&out, "/dev/null"), CLI_OK);
    assert_null(out.temp);
    assert_int_equal(cli_output_write(&out, "x", 1), 0);
    assert_int_equal(cli_output_finish(&out, NULL), CLI_OK);
    assert_int_equal(cli_output_commit(&out, true), CLI_OK);
    assert_true(stat("/dev/null", &st) == 0 && S_ISCHR(st.st_mode));
    assert_int_equal(cli_output_open(&out, "."), CLI_FAIL);
    assert_int_equal(cli_output_open(&out, "no/such/folder"), CLI_FAIL);
}

static int begin(void **state) {
    (void)state;
    cli_verbosity = -2;
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int end(void **state) {
    (void)state;
    char line[300];
    snprintf(line, sizeof line, "rm -rf '%s'", folder);
    return system(line);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_commit), cmocka_unit_test(test_discard),
                                       cmocka_unit_test(test_appears_meanwhile),
                                       cmocka_unit_test(test_link_and_device)};
    return cmocka_run_group_tests(tests, begin, end);
}
