/* Messages of failures: the first one stays, and each is one line whatever names from files it quotes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"
#include "support/session.h"

static void the_first_failure_is_kept(void **state) {
    (void)state;
    pith_begin(ctx);
    assert_int_equal(pith_fail(ctx, PITH_E_FORMAT, "block %d", 7), PITH_E_FORMAT);
    assert_int_equal(pith_fail(ctx, PITH_E_MEMORY, "no memory"), PITH_E_MEMORY);
    assert_string_equal(pith_error(ctx), "block 7");
    pith_begin(ctx);
    assert_string_equal(pith_error(ctx), "");
}

static void names_from_files_cannot_break_the_line_or_command_the_terminal(void **state) {
    (void)state;
    pith_begin(ctx);
    pith_fail(ctx, PITH_E_FORMAT, "no tensor %s", "a\nb\r\x1b[2J\x7f\t\xc3\xa9");
    assert_string_equal(pith_error(ctx), "no tensor a?b??[2J??\xc3\xa9");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_failure_is_kept),
        cmocka_unit_test(names_from_files_cannot_break_the_line_or_command_the_terminal),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
