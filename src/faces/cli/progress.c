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
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= 20 ? w.ws_col : 80;
}

static void time_text(char *text, size_t size, double seconds) {
    unsigned s = seconds < 359999 ? (unsigned)(seconds + 0.5) : 359999;
    if (s >= 3600)
        snprintf(text, size, "%u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, size, "%u:%02u", s / 60, s % 60);
}

int cli_progress_show(void *opaque, uint64_t done, uint64_t total) {
    cli_progress *p = opaque;
    if (cli_stop_signal()) return 1;
    double now = cli_now(), elapsed = now - p->started;
    if (!p->enabled || elapsed < 0.5 || now - p->shown < 0.1) return 0;
    p->shown = now;
    if (!total || total == UINT64_MAX) total = p->total;
    double rate = (double)done / elapsed;
    char head[160], tail[160], done_text[16], total_text[16], rate_text[16], left[24], name[120];
    cli_size_text(rate_text, (uint64_t)rate);
    cli_size_text(done_text, done);
    if (total && done && done <= total) {
        time_text(left, sizeof left, rate > 0 ? (double)(total - done) / rate : 359999);
        snprintf(tail, sizeof tail, " %3u%%  %s / %s  %s/s  %s left", (unsigned)(100 * ((double)done / (double)total)),
                 done_text, cli_size_text(total_text, total), rate_text, left);
    } else {
        time_text(left, sizeof left, elapsed);
        snprintf(tail, sizeof tail, "  %s  %s/s  %s", done_text, rate_text, left);
    }
    snprintf(head, sizeof head, "%s %s", p->verb, cli_safe_text(name, sizeof name, p->name));
    unsigned width = terminal_width() - 1, room = width > strlen(tail) + 8 ? width - (unsigned)strlen(tail) : 8;
    fprintf(stderr, "\r\033[K%.*s%s", (int)room, head, tail);
    fflush(stderr);
    return 0;
}

void cli_progress_clear(cli_progress *p) {
    if (p->shown > 0) fputs("\r\033[K", stderr);
    p->shown = 0;
    p->enabled = false;
}
