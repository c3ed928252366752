/* Messages: one line each on standard error, "pith: " before it, and what names and sizes look
 * like in them. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "faces/cli/cli.h"

int cli_verbosity;
static char last_error[2048];

/* Names of files come into messages: control bytes in them must not reach a terminal. */
static void say(const char *text) {
    char safe[sizeof last_error];
    fprintf(stderr, "pith: %s\n", cli_safe_text(safe, sizeof safe, text));
}

int cli_error(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(last_error, sizeof last_error, format, args);
    va_end(args);
    if (cli_verbosity > -2) say(last_error);
    return CLI_FAIL;
}

const char *cli_last_error(void) { return last_error; }
void cli_forget_error(void) { last_error[0] = 0; }

void cli_warn(const char *format, ...) {
    if (cli_verbosity < 0) return;
    char text[sizeof last_error];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    say(text);
}

int cli_finish(int result) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return result;
    int error = errno;
    if (error == EPIPE) cli_pipe_closed();
    if (cli_stop_signal()) return CLI_FAIL;
    return cli_error("standard output: %s", strerror(error));
}

int cli_help(const char *text) {
    fputs(text, stdout);
    return cli_finish(CLI_OK);
}

char *cli_size_text(char *text, uint64_t bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)bytes;
    unsigned u = 0;
    while (v >= 1000 && u + 1 < sizeof units / sizeof *units) {
        v /= 1024;
        u++;
    }
    if (u == 0)
        snprintf(text, 16, "%u B", (unsigned)bytes);
    else
        snprintf(text, 16, v < 9.995 ? "%.2f %s" : v < 99.95 ? "%.1f %s" : "%.0f %s", v, units[u]);
    return text;
}

char *cli_safe_text(char *text, size_t size, const char *name) {
    size_t i = 0;
    for (; name[i] && i + 1 < size; i++) text[i] = (unsigned char)name[i] < 0x20 || name[i] == 0x7f ? '?' : name[i];
    text[i] = 0;
    return text;
}
