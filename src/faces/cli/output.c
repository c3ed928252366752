/* Output that is whole or not there: a temporary file beside the target (O_EXCL, random name,
 * readable by its owner only until done), synced, renamed, the directory synced. A signal
 * removes it; a killed process leaves at worst the temporary, never a wrong file under the
 * final name. Devices and pipes named as output are written to as they are. */
#define _GNU_SOURCE /* renameat2 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "faces/cli/cli.h"

static uint64_t random_number(void) {
    uint64_t v;
    if (getrandom(&v, sizeof v, 0) != (ssize_t)sizeof v) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        v = (uint64_t)t.tv_nsec << 32 ^ (uint64_t)t.tv_sec ^ (uint64_t)getpid() << 16;
    }
    return v;
}

/* `path` with its last component replaced by ".pith-RANDOM.tmp", at most a few bytes longer. */
static char *temp_name(const char *path) {
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) + 1 : 0;
    char *name = malloc(n + 32);
    if (name) {
        memcpy(name, path, n);
        snprintf(name + n, 32, ".pith-%016llx.tmp", (unsigned long long)random_number());
    }
    return name;
}

static int fail_closed(cli_output *out, const char *what) {
    int result = cli_error("%s: %s", out->path ? out->path : "standard output", what);
    cli_output_discard(out);
    return result;
}

int cli_output_open(cli_output *out, const char *path) {
    *out = (cli_output){.fd = -1};
    if (!path) {
        out->is_stdout = true;
        out->fd = STDOUT_FILENO;
        return CLI_OK;
    }
    if (strcmp(path, "-") == 0)
        return cli_error("-: standard output is not written to here; name a file (./- for one of that name)");
    struct stat st;
    /* A link is written through, as `>` would: /dev/stdout must stay what it is. */
    bool link = lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
    out->path = link ? realpath(path, NULL) : strdup(path);
    if (!out->path) return cli_error("%s: %s", path, strerror(errno));
    if (stat(out->path, &st) == 0 && !S_ISREG(st.st_mode)) {
        if (S_ISDIR(st.st_mode)) return fail_closed(out, "is a directory");
        out->fd = open(out->path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
        return out->fd < 0 ? fail_closed(out, strerror(errno)) : CLI_OK;
    }
    for (int tries = 0; tries < 8; tries++) {
        out->temp = temp_name(out->path);
        if (!out->temp) return fail_closed(out, "out of memory");
        cli_guard_path(out->temp);
        out->fd = open(out->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (out->fd >= 0) return CLI_OK;
        int error = errno;
        cli_guard_path(NULL);
        free(out->temp); /* not ours: discard must not remove it */
        out->temp = NULL;
        if (error != EEXIST) return fail_closed(out, strerror(error));
    }
    return fail_closed(out, "no free name for a temporary file");
}

int cli_output_write(cli_output *out, const void *data, size_t size) {
    const uint8_t *p = data;
    while (size) {
        ssize_t n = write(out->fd, p, size);
        if (n < 0) {
            if (errno == EINTR) continue;
            if (errno == EPIPE) cli_pipe_closed();
            return out->error = errno;
        }
        p += n;
        size -= (size_t)n;
        out->bytes += (uint64_t)n;
    }
    return 0;
}

int cli_output_finish(cli_output *out, const struct stat *like) {
    if (!out->temp) return CLI_OK;
    mode_t mode;
    if (like) {
        /* Only root can give files away. Where the group does not go along, its rights do not either. */
        mode = like->st_mode & 0777;
        struct stat now = *like;
        if (fstat(out->fd, &now) == 0 && now.st_gid != like->st_gid && fchown(out->fd, (uid_t)-1, like->st_gid) != 0)
            mode &= (mode_t)~070;
        if (now.st_uid != like->st_uid && fchown(out->fd, like->st_uid, (gid_t)-1) != 0 && cli_verbosity > 0)
            cli_warn("%s: its owner stays you", out->path);
    } else {
        mode_t mask = umask(0);
        umask(mask);
        mode = 0666 & ~mask;
    }
    if (fchmod(out->fd, mode) != 0) cli_warn("%s: cannot set its mode: %s", out->path, strerror(errno));
    if (like) {
        struct timespec times[2] = {like->st_atim, like->st_mtim};
        if (futimens(out->fd, times) != 0) cli_warn("%s: cannot set its time: %s", out->path, strerror(errno));
    }
    if (fsync(out->fd) != 0 && errno != EINVAL && errno != ENOTSUP) return fail_closed(out, strerror(errno));
    return CLI_OK;
}

static void sync_directory(const char *path) {
    char *dir = strdup(path);
    if (!dir) return;
    char *slash = strrchr(dir, '/');
    if (slash) slash[slash == dir ? 1 : 0] = 0;
    int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(dir);
    if (fd < 0) return;
    fsync(fd); /* some file systems refuse; the rename is then as durable as they make it */
    close(fd);
}

/* Old kernels and some file systems cannot rename without replacing: there a link does it. */
static int rename_new(const char *from, const char *to) {
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return -1;
    if (link(from, to) == 0) return unlink(from);
    if (errno == EEXIST) return -1;
    struct stat st;
    if (lstat(to, &st) == 0) {
        errno = EEXIST;
        return -1;
    }
    return rename(from, to);
}

int cli_output_commit(cli_output *out, bool replace) {
    if (out->is_stdout) {
        out->fd = -1;
        return CLI_OK;
    }
    int fd = out->fd;
    out->fd = -1;
    if (close(fd) != 0) return fail_closed(out, strerror(errno));
    if (out->temp) {
        if ((replace ? rename(out->temp, out->path) : rename_new(out->temp, out->path)) != 0)
            return fail_closed(out, errno == EEXIST ? "already exists; not overwritten" : strerror(errno));
        cli_guard_path(NULL);
        free(out->temp);
        out->temp = NULL;
        sync_directory(out->path);
    }
    free(out->path);
    out->path = NULL;
    return CLI_OK;
}

void cli_output_discard(cli_output *out) {
    if (out->fd >= 0 && !out->is_stdout) close(out->fd);
    out->fd = -1;
    if (out->temp) {
        unlink(out->temp);
        cli_guard_path(NULL);
    }
    free(out->temp);
    free(out->path);
    out->temp = out->path = NULL;
}
