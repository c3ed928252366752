/* The progress line on standard error: percentage, bytes, rate, time to go. Shown only when
 * standard error is a terminal and nobody asked for quiet, first after half a second. */
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "faces/cli/cli.h"

double cli_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void cli_progress_start(cli_progress *p, const char *verb, const char *name, uint64_t total) {
    *p = (cli_progress){.verb = verb, .name = name, .total = total, .started = cli_now()};
    p->enabled = cli_verbosity >= 0 && isatty(STDERR_FILENO);
}

static unsigned terminal_width(void) {
    struct winsize w;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
}

static void time_text(char *text, size_t size, double seconds) {
    unsigned s = seconds < 359999 ? (unsigned)(seconds + 0.5) : 359999;
    if (s >= 3600)
        snprintf(text, size, "%u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, size, "%u:%02u", s / 60, s % 60);
}

/* Cut to so many columns, and not within a character of UTF-8 (each is taken for one column). */
static void cut(char *text, unsigned columns) {
    size_t at = 0;
    for (; text[at]; at++)
        if (((unsigned char)text[at] & 0xC0) != 0x80 && columns-- == 0) break;
    text[at] = 0;
}

static unsigned columns_of(const char *text) {
    unsigned n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

void cli_progress_line(char *line, size_t size, const cli_progress *p, unsigned columns, uint64_t done, uint64_t total,
                       double elapsed) {
    double rate = elapsed > 0 ? (double)done / elapsed : 0;
    char head[160], tail[160], done_text[16], total_text[16], rate_text[16], left[24], name[120];
    cli_size_text(rate_text, (uint64_t)rate);
    cli_size_text(done_text, done);
    if (total && done && done <= total) {
        time_text(left, sizeof left, rate > 0 ? (double)(total - done) / rate : 359999);
        unsigned percent = (unsigned)(100 * ((double)done / (double)total));
        snprintf(tail, sizeof tail, " %3u%%  %s / %s  %s/s  %s left", percent, done_text,
                 cli_size_text(total_text, total), rate_text, left);
        if (columns_of(tail) + 8 > columns) snprintf(tail, sizeof tail, " %3u%%  %s left", percent, left);
        if (columns_of(tail) + 8 > columns) snprintf(tail, sizeof tail, " %3u%%", percent);
    } else {
        time_text(left, sizeof left, elapsed);
        snprintf(tail, sizeof tail, "  %s  %s/s  %s", done_text, rate_text, left);
        if (columns_of(tail) + 8 > columns) snprintf(tail, sizeof tail, "  %s", done_text);
    }
    snprintf(head, sizeof head, "%s %s", p->verb, cli_safe_text(name, sizeof name, p->name));
    unsigned wide = columns_of(tail);
    cut(head, columns > wide ? columns - wide : 0);
    snprintf(line, size, "%s%s", head, tail);
    cut(line, columns); /* a line that wraps could not be wiped */
}

int cli_progress_show(void *opaque, uint64_t done, uint64_t total) {
    cli_progress *p = opaque;
    if (cli_stop_signal()) return 1;
    double now = cli_now(), elapsed = now - p->started;
    if (!p->enabled || elapsed < 0.5 || now - p->shown < 0.1) return 0;
    p->shown = now;
    if (!total || total == UINT64_MAX) total = p->total;
    char line[320];
    cli_progress_line(line, sizeof line, p, terminal_width() - 1, done, total, elapsed);
    fprintf(stderr, "\r\033[K%s", line);
    fflush(stderr);
    return 0;
}

void cli_progress_clear(cli_progress *p) {
    if (p->shown > 0) fputs("\r\033[K", stderr);
    p->shown = 0;
    p->enabled = false;
}
