/* A child process and what it cost: processor seconds and peak resident memory from the
 * kernel's own account (wait4, getrusage(2)), so that programs in any language compare. */
#define _GNU_SOURCE /* wait4, pipe2 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kernels/measure/measure.h"

static double monotonic_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double timeval_seconds(const struct timeval *t) { return (double)t->tv_sec + (double)t->tv_usec * 1e-6; }

static bool redirect(const char *path, int flags, int target) {
    int fd = open(path ? path : "/dev/null", flags, 0600);
    if (fd < 0) return false;
    if (fd == target) return true;
    bool ok = dup2(fd, target) == target;
    close(fd);
    return ok;
}

/* Between fork and exec: async-signal-safe calls only. Never returns; errno goes down the pipe. */
static void child_start(const measure_job *job, int report_fd) {
    sigset_t none;
    sigemptyset(&none);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (job->limit_seconds > 0) {
        /* The parent stops it at the limit; this catches the parent's own end. */
        double whole = PITH_MIN(job->limit_seconds, 1e9) + 2;
        struct rlimit limit = {(rlim_t)whole, (rlim_t)whole + 1};
        setrlimit(RLIMIT_CPU, &limit);
    }
    if (redirect(job->stdin_path, O_RDONLY, 0) && redirect(job->stdout_path, O_WRONLY | O_CREAT | O_TRUNC, 1) &&
        redirect(job->stderr_path, O_WRONLY | O_CREAT | O_TRUNC, 2) && (!job->directory || chdir(job->directory) == 0))
        execvp(job->argv[0], (char *const *)job->argv);
    int error = errno;
    ssize_t ignored = write(report_fd, &error, sizeof error);
    (void)ignored;
    _exit(127);
}

/* Processor seconds a running process has used so far; 0 when it cannot be told. */
static double running_seconds(pid_t pid) {
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0) return 0;
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Polls instead of blocking: a cancel or a limit is answered within a few hundredths of a
 * second whatever the child does, and no signal can slip in between test and wait. */
static pith_status wait_child(pith_ctx *ctx, pid_t pid, const measure_job *job, measure_usage *usage) {
    struct rusage used;
    int state = 0;
    long pause_ns = 200000;
    double started = monotonic_seconds();
    pith_status status = PITH_OK;
    bool killed = false;
    for (;;) {
        pid_t got = wait4(pid, &state, killed ? 0 : WNOHANG, &used);
        if (got == pid) break;
        if (got < 0 && errno != EINTR)
            return pith_fail(ctx, PITH_E_IO, "cannot wait for %s: %s", job->argv[0], strerror(errno));
        if (killed) continue;
        if (job->limit_seconds > 0 && running_seconds(pid) > job->limit_seconds) usage->timed_out = killed = true;
        status = pith_tick(ctx, 0, 0);
        if (status != PITH_OK) killed = true;
        if (killed) {
            kill(pid, SIGKILL);
            continue;
        }
        struct timespec pause = {0, pause_ns};
        nanosleep(&pause, NULL);
        pause_ns = PITH_MIN(pause_ns + pause_ns / 4, 20000000L);
    }
    usage->wall_seconds = monotonic_seconds() - started;
    usage->cpu_seconds = timeval_seconds(&used.ru_utime) + timeval_seconds(&used.ru_stime);
    usage->peak_bytes = (uint64_t)used.ru_maxrss * 1024;
    usage->exit_code = WIFEXITED(state) ? WEXITSTATUS(state) : -1;
    usage->signal = WIFSIGNALED(state) ? WTERMSIG(state) : 0;
    if (usage->signal == SIGXCPU) usage->timed_out = true;
    return status;
}

pith_status measure_run(pith_ctx *ctx, const measure_job *job, measure_usage *usage) {
    *usage = (measure_usage){.exit_code = -1};
    if (!job->argv || !job->argv[0]) return pith_fail(ctx, PITH_E_ARGUMENT, "no program to run");
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0) return pith_fail(ctx, PITH_E_IO, "cannot make a pipe: %s", strerror(errno));
    /* fork, not vfork or posix_spawn: the kernel counts the memory a process had before exec
     * as its own, and only fork gives it a (small) address space apart from ours. */
    pid_t pid = fork();
    if (pid == 0) {
        close(report[0]);
        child_start(job, report[1]);
    }
    int fork_error = errno;
    close(report[1]);
    if (pid < 0) {
        close(report[0]);
        return pith_fail(ctx, PITH_E_IO, "cannot start %s: %s", job->argv[0], strerror(fork_error));
    }
    int error = 0;
    ssize_t got;
    do got = read(report[0], &error, sizeof error);
    while (got < 0 && errno == EINTR);
    close(report[0]);
    pith_status status = wait_child(ctx, pid, job, usage);
    if (status == PITH_OK && got == (ssize_t)sizeof error)
        return pith_fail(ctx, PITH_E_IO, "cannot start %s: %s", job->argv[0], strerror(error));
    return status;
}

bool measure_find_program(const char *name, char *path, size_t path_size) {
    if (strchr(name, '/')) {
        int n = snprintf(path, path_size, "%s", name);
        return n > 0 && (size_t)n < path_size && access(path, X_OK) == 0;
    }
    const char *dirs = getenv("PATH");
    if (!dirs) dirs = "/usr/local/bin:/usr/bin:/bin";
    while (*dirs) {
        size_t len = strcspn(dirs, ":");
        int n = len ? snprintf(path, path_size, "%.*s/%s", (int)PITH_MIN(len, (size_t)4096), dirs, name)
                    : snprintf(path, path_size, "./%s", name);
        if (n > 0 && (size_t)n < path_size && access(path, X_OK) == 0) return true;
        dirs += len;
        if (*dirs == ':') dirs++;
    }
    return false;
}

pith_status measure_same_bytes(pith_ctx *ctx, const char *path_a, const char *path_b, bool *same) {
    *same = false;
    FILE *a = fopen(path_a, "rb");
    if (!a) return pith_fail(ctx, PITH_E_IO, "cannot open %s: %s", path_a, strerror(errno));
    FILE *b = fopen(path_b, "rb");
    if (!b) {
        int error = errno;
        fclose(a);
        return pith_fail(ctx, PITH_E_IO, "cannot open %s: %s", path_b, strerror(error));
    }
    uint8_t piece_a[16384], piece_b[16384];
    bool equal = true;
    size_t n;
    do {
        n = fread(piece_a, 1, sizeof piece_a, a);
        equal = fread(piece_b, 1, sizeof piece_b, b) == n && memcmp(piece_a, piece_b, n) == 0;
    } while (equal && n == sizeof piece_a);
    bool failed = ferror(a) || ferror(b);
    fclose(a);
    fclose(b);
    if (failed) return pith_fail(ctx, PITH_E_IO, "cannot read %s or %s back", path_a, path_b);
    *same = equal;
    return PITH_OK;
}
