/* The progress line: never wider than the terminal, because a line that wraps cannot be wiped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "faces/cli/cli.h"

static unsigned columns_of(const char *text) {
    unsigned n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static void lines_fit_every_terminal(void **state) {
    (void)state;
    static const char *const names[] = {"a", "a name that is rather long for a file but not unheard of.tar.gz",
                                        "\xC3\xA4\xC3\xB6\xC3\xBC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC.txt", ""};
    static const uint64_t totals[] = {0, 1, 640000, UINT64_MAX};
    char line[320];
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 4; k++)
            for (unsigned columns = 0; columns < 200; columns++) {
                cli_progress p = {.verb = "decompressing", .name = names[i]};
                cli_progress_line(line, sizeof line, &p, columns, totals[k] / 3, totals[k], 12.5);
                assert_true(columns_of(line) <= columns);
                assert_true(columns == 0 || line[0] == 'd' || line[0] == ' ');
                size_t n = strlen(line); /* no half character at the end of what was cut */
                assert_true(n == 0 || ((unsigned char)line[n - 1] & 0xC0) != 0xC0);
            }
}

static void lines_say_what_there_is_room_for(void **state) {
    (void)state;
    cli_progress p = {.verb = "compressing", .name = "book.txt"};
    char line[320];
    cli_progress_line(line, sizeof line, &p, 79, 500000, 1000000, 2);
    assert_string_equal(line, "compressing book.txt  50%  488 KiB / 977 KiB  244 KiB/s  0:02 left");
    cli_progress_line(line, sizeof line, &p, 30, 500000, 1000000, 2);
    assert_string_equal(line, "compressing bo  50%  0:02 left");
    cli_progress_line(line, sizeof line, &p, 14, 500000, 1000000, 2);
    assert_string_equal(line, "compressi  50%");
    cli_progress_line(line, sizeof line, &p, 79, 500000, 0, 2);
    assert_string_equal(line, "compressing book.txt  488 KiB  244 KiB/s  0:02");
    cli_progress_line(line, sizeof line, &p, 20, 500000, 0, 2);
    assert_string_equal(line, "compressing  488 KiB");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_fit_every_terminal),
        cmocka_unit_test(lines_say_what_there_is_room_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
