/* The example in examples/ compresses a file that the library restores. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/file_data.h"

#define EXAMPLE "examples/example_compress" /* tests run in the build folder */

static void example_makes_an_archive(void **state) {
    (void)state;
    static uint8_t raw[200000], archive[200000], again[200000];
    data_fill(raw, sizeof raw, DATA_TEXT, 1);
    char in[] = "/tmp/pith_example_XXXXXX", out[sizeof in + 8], command[200];
    int fd = mkstemp(in);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, raw, sizeof raw), sizeof raw);
    close(fd);
    snprintf(out, sizeof out, "%s.pith", in);
    snprintf(command, sizeof command, "%s %s %s", EXAMPLE, in, out);
    assert_int_equal(system(command), 0);
    FILE *f = fopen(out, "rb");
    assert_non_null(f);
    size_t n = fread(archive, 1, sizeof archive, f), got = 0;
    fclose(f);
    unlink(in);
    unlink(out);
    pith_ctx *ctx = pith_ctx_new(NULL);
    assert_int_equal(pith_file_decompress(ctx, NULL, archive, n, again, sizeof again, &got), PITH_OK);
    assert_int_equal(got, sizeof raw);
    assert_memory_equal(raw, again, got);
    assert_true(n < sizeof raw / 2);
    pith_ctx_free(ctx);
}

static void example_says_how_it_is_used(void **state) {
    (void)state;
    assert_int_not_equal(system(EXAMPLE " 2>/dev/null"), 0);
    assert_int_not_equal(system(EXAMPLE " /nowhere/at/all /dev/null 2>/dev/null"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(example_makes_an_archive),
        cmocka_unit_test(example_says_how_it_is_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
