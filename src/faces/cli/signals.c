/* SIGINT, SIGTERM and SIGHUP: the unfinished output file goes, then the process ends the way
 * the signal would have ended it, so that shells and make see it. */
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "faces/cli/cli.h"

static volatile sig_atomic_t stop_signal, deferred;
static bool pipe_ignored; /* by who started us: then EPIPE is a failure like others */
static char guard_path[4096];
static atomic_int guard_set; /* lock-free, so the handler may read it */

/* unlink, signal and raise are async-signal-safe. */
static void on_signal(int number) {
    stop_signal = number;
    if (deferred) return;
    if (atomic_load(&guard_set)) unlink(guard_path);
    signal(number, SIG_DFL);
    raise(number);
}

void cli_guard_path(const char *path) {
    atomic_store(&guard_set, 0);
    if (!path || strlen(path) >= sizeof guard_path) return;
    strcpy(guard_path, path);
    atomic_store(&guard_set, 1);
}

int cli_stop_signal(void) { return stop_signal; }
void cli_defer_signals(bool defer) { deferred = defer; }
void cli_pipe_closed(void) {
    if (!stop_signal && !pipe_ignored) stop_signal = SIGPIPE;
}

void cli_end_by_signal(void) {
    if (!stop_signal) return;
    signal(stop_signal, SIG_DFL);
    raise(stop_signal);
}

void cli_install_signals(void) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction old, act = {.sa_handler = on_signal};
        sigemptyset(&act.sa_mask);
        for (unsigned k = 0; k < sizeof numbers / sizeof *numbers; k++) sigaddset(&act.sa_mask, numbers[k]);
        /* nohup and background jobs start us with some of them ignored: they stay so. */
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) sigaction(numbers[i], &act, NULL);
    }
    struct sigaction pipe;
    pipe_ignored = sigaction(SIGPIPE, NULL, &pipe) == 0 && pipe.sa_handler == SIG_IGN;
    /* Answered where the write fails (EPIPE, EFBIG), with time to clean up. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}
