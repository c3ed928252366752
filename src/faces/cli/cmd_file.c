/* `pith [FILE...]`: compress, decompress, test, list. This file decides what is done with which
 * name, and keeps the promises: nothing is overwritten unasked, the input goes away only with
 * --rm and only after its output was verified, a failure is told and the rest goes on. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faces/cli/task.h"
#include "pith/lm.h"

#define SUFFIX ".pith"

const char cli_file_help[] =
    "Usage: pith [OPTIONS] [FILE...]\n"
    "       pith bench|model|stages|methods|explain|help ...\n"
    "\n"
    "Compresses each FILE to FILE.pith and keeps it; without FILE, or with -, standard\n"
    "input to standard output.\n"
    "\n"
    "  -1 .. -9            level: 1 is fast, 9 is small (default 6); --fast: 1, --best: 9\n"
    "  -z, --compress      compress (the default)\n"
    "  -d, --decompress    restore FILE.pith to FILE\n"
    "  -t, --test          decode and check everything, write nothing\n"
    "  -l, --list          show what archives hold; with -v their blocks\n"
    "      --range=OFF:LEN restore LEN bytes from OFF on through the index, to standard\n"
    "                      output unless -o is given; no LEN: to the end\n"
    "  -c, --stdout        write to standard output; with -d and -f what is no archive goes\n"
    "                      through as it is\n"
    "  -o NAME             write to NAME\n"
    "  -k, --keep          keep the input (default)\n"
    "      --rm            remove the input once its output is verified and on disk\n"
    "  -f, --force         overwrite; follow links; write archives to a terminal\n"
    "  -r, --recursive     go into directories\n"
    "  -T#, --threads=#    threads; 0: one per processor (default 1)\n"
    "  -M#, --memory=#     most memory to use, such as 512M (default 1G)\n"
    "  -B#, --block-size=# bytes per block, 4K to 64M (default 16M)\n"
    "      --max-time=SEC  refuse archives that would take more processor seconds to\n"
    "                      decode; none: no limit (default: by the archive's size)\n"
    "      --recipe=TEXT   compress by a recipe instead of a level (pith help stages)\n"
    "      --model=FILE    code with a language model (GGUF, safetensors, ...; default: the\n"
    "                      built-in one); archives name it by hash and need it again\n"
    "      --verify        decode every block after coding it and compare\n"
    "      --json          one JSON object per file on standard output\n"
    "  -q, -v              say less, say more\n"
    "  -h, --help; -V, --version\n"
    "\n"
    "Examples:\n"
    "  pith -9 book.txt                    book.txt.pith beside book.txt\n"
    "  pith -d book.txt.pith               and back\n"
    "  tar c src | pith -T0 > src.tar.pith through a pipe\n"
    "  pith -d --range=1M:4096 log.pith    4096 bytes out of the middle\n"
    "  pith --rm -r logs/                  every file below logs/\n"
    "  pith bench file book.txt            every level and every installed peer\n"
    "\n"
    "A file named like a subcommand is meant by ./bench. Exit status: 0, or 1 if anything failed.\n";

/* What may be done to an output's name: nothing, make it, or put a new file in its place. */
typedef enum leave { LEAVE_NONE, LEAVE_NEW, LEAVE_REPLACE } leave;

/* State of one run over all the names. */
typedef struct run {
    cli_options o;
    pith_ctx *ctx;
    cli_output shared; /* -c or -o: one output for all */
    bool has_shared;
    leave shared_leave;
    unsigned n_done;
    uint64_t raw_bytes, coded_bytes, n_frames, n_blocks;
} run;

static bool has_suffix(const char *name) {
    const char *base = strrchr(name, '/');
    base = base ? base + 1 : name;
    size_t n = strlen(base);
    return n > strlen(SUFFIX) && strcmp(base + n - strlen(SUFFIX), SUFFIX) == 0;
}

/* The name a file's output gets; NULL with the message printed. Owned by the caller. */
static char *derived_name(const task *t) {
    size_t n = strlen(t->name);
    char *name = malloc(n + sizeof SUFFIX);
    if (!name) {
        cli_error("out of memory");
        return NULL;
    }
    memcpy(name, t->name, n + 1);
    if (t->o->mode == CLI_COMPRESS)
        strcpy(name + n, SUFFIX);
    else
        name[n - strlen(SUFFIX)] = 0;
    return name;
}

/* What may be done to `path`; asks where there is somebody to answer. */
static leave may_write(const run *r, const char *path, bool stdin_is_input) {
    struct stat st;
    if (stat(path, &st) != 0) return LEAVE_NEW;
    if (!S_ISREG(st.st_mode)) { /* a device or pipe is written to only when the user names it */
        if (path != r->o.output) cli_error("%s: is there and no regular file", path);
        return path == r->o.output ? LEAVE_REPLACE : LEAVE_NONE;
    }
    if (r->o.force) return LEAVE_REPLACE;
    if (cli_verbosity < 0 || stdin_is_input || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
        cli_error("%s: already exists; not overwritten (-f overwrites)", path);
        return LEAVE_NONE;
    }
    char shown[256], answer[16];
    fprintf(stderr, "pith: %s already exists; overwrite (y/n)? ", cli_safe_text(shown, sizeof shown, path));
    fflush(stderr);
    if (fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y')) return LEAVE_REPLACE;
    cli_error("%s: not overwritten", path);
    return LEAVE_NONE;
}

static bool same_file(const struct stat *a, const char *path) {
    struct stat b;
    return stat(path, &b) == 0 && a->st_dev == b.st_dev && a->st_ino == b.st_ino;
}

static int code(task *t) {
    if (t->o->has_range) return task_range(t);
    return t->o->mode == CLI_COMPRESS ? task_compress(t) : task_decompress(t);
}

/* The input is still there and nobody has put another file under its name. */
static int remove_input(const task *t) {
    struct stat st;
    if (lstat(t->name, &st) == 0 && S_ISLNK(st.st_mode))
        return cli_error("%s: is a symbolic link; not removed", t->shown);
    if (stat(t->name, &st) != 0 || st.st_dev != t->st.st_dev || st.st_ino != t->st.st_ino ||
        st.st_size != t->st.st_size || st.st_mtim.tv_sec != t->st.st_mtim.tv_sec ||
        st.st_mtim.tv_nsec != t->st.st_mtim.tv_nsec)
        return cli_error("%s: has changed meanwhile; not removed", t->shown);
    if (unlink(t->name) != 0) return cli_error("%s: cannot remove it: %s", t->shown, strerror(errno));
    return CLI_OK;
}

/* Codes into `out`; the input goes only after its output was verified, synced and named. */
static int code_to_file(run *r, task *t, bool replace) {
    bool remove = r->o.remove_input && t->out->temp; /* what went to a device is not kept anywhere */
    int result = code(t);
    if (result == CLI_OK) result = cli_output_finish(t->out, S_ISREG(t->st.st_mode) ? &t->st : NULL);
    if (result == CLI_OK && remove && r->o.mode == CLI_COMPRESS) result = task_verify(t, t->out->temp);
    if (result == CLI_OK) result = cli_output_commit(t->out, replace);
    if (result == CLI_OK && remove) result = remove_input(t);
    return result;
}

/* From one input to a file of its own: -o NAME or the derived name. */
static int to_own_file(run *r, task *t) {
    char *derived = r->o.output ? NULL : derived_name(t);
    const char *name = r->o.output ? r->o.output : derived;
    if (!name) return CLI_FAIL;
    int result;
    leave may = LEAVE_NONE;
    cli_output out = {.fd = -1};
    if (same_file(&t->st, name))
        result = cli_error("%s: is input and output at once", t->shown);
    else
        result = (may = may_write(r, name, false)) == LEAVE_NONE ? CLI_FAIL : cli_output_open(&out, name);
    if (result == CLI_OK) {
        t->out = &out;
        result = code_to_file(r, t, may == LEAVE_REPLACE);
        cli_output_discard(&out);
        t->out = NULL;
    }
    if (result == CLI_OK) task_report(t, name);
    free(derived);
    return result;
}

static int to_shared(run *r, task *t) {
    t->out = &r->shared;
    struct stat st;
    bool same = r->shared.path ? same_file(&t->st, r->shared.path)
                               : fstat(r->shared.fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_dev == t->st.st_dev &&
                                     st.st_ino == t->st.st_ino;
    if (same) return cli_error("%s: is input and output at once", t->shown);
    int result = code(t);
    if (result == CLI_OK) task_report(t, r->shared.is_stdout ? NULL : r->o.output);
    return result;
}

static int handle_open(run *r, task *t) {
    int result;
    if (r->o.mode == CLI_LIST) {
        result = task_list(t, r->n_done == 0);
    } else if (r->o.mode == CLI_TEST) {
        result = task_decompress(t);
        if (result == CLI_OK) task_report(t, NULL);
    } else if (r->has_shared) {
        result = to_shared(r, t);
    } else {
        result = to_own_file(r, t);
    }
    if (result == CLI_OK) {
        r->n_done++;
        r->raw_bytes += t->raw_bytes;
        r->coded_bytes += t->coded_bytes;
        r->n_frames += t->n_frames;
        r->n_blocks += t->n_blocks;
    }
    return result;
}

static int handle_stdin(run *r) {
    task t = {.o = &r->o, .ctx = r->ctx, .name = "-", .shown = "standard input", .fd = STDIN_FILENO};
    if (fstat(t.fd, &t.st) != 0) return cli_error("standard input: %s", strerror(errno));
    /* Only from its beginning can a redirected file be treated as one. */
    t.seekable = S_ISREG(t.st.st_mode) && lseek(t.fd, 0, SEEK_CUR) == 0;
    if (r->o.mode != CLI_COMPRESS && r->o.mode != CLI_LIST && isatty(t.fd) && !r->o.force)
        return cli_error("standard input is a terminal and no archive (-f reads it all the same)");
    return handle_open(r, &t);
}

/* With --json a file that failed has an object too; one below a directory comes before the directory. */
static int told(const run *r, const char *name, int result) {
    if (result != CLI_OK && r->o.json && *cli_last_error())
        task_report_failure(&r->o, name, cli_last_error(), r->has_shared && r->shared.is_stdout);
    cli_forget_error();
    return result;
}

static int handle_path(run *r, const char *path, bool named);

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* In order of names, so that runs can be compared. */
static int handle_directory(run *r, const char *path) {
    DIR *dir = opendir(path);
    if (!dir) return cli_error("%s: %s", path, strerror(errno));
    char **names = NULL;
    size_t n = 0, capacity = 0;
    int result = CLI_OK;
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (n == capacity) {
            size_t more = capacity ? capacity * 2 : 64;
            char **grown = realloc(names, more * sizeof *names);
            if (!grown) {
                result = cli_error("%s: out of memory", path);
                break;
            }
            names = grown;
            capacity = more;
        }
        size_t a = strlen(path), b = strlen(entry->d_name);
        while (a > 1 && path[a - 1] == '/') a--;
        char *name = malloc(a + b + 2);
        if (!name) {
            result = cli_error("%s: out of memory", path);
            break;
        }
        memcpy(name, path, a);
        name[a] = '/';
        memcpy(name + a + 1, entry->d_name, b + 1);
        names[n++] = name;
    }
    closedir(dir); /* before going down: depth costs no descriptors */
    if (n) qsort(names, n, sizeof *names, compare_names);
    for (size_t i = 0; i < n; i++) {
        if (told(r, names[i], handle_path(r, names[i], false)) != CLI_OK) result = CLI_FAIL;
        free(names[i]);
    }
    free(names);
    return result;
}

/* Why a file is not taken; NULL when it is. */
static const char *why_not(const run *r, const task *t) {
    bool own_name = !r->has_shared && !r->o.output && r->o.mode != CLI_TEST && r->o.mode != CLI_LIST;
    if (!S_ISREG(t->st.st_mode) && own_name) return "is no regular file; -c or -o says where its output goes";
    if (r->o.mode == CLI_COMPRESS && own_name && !r->o.force && has_suffix(t->name))
        return "already has the suffix " SUFFIX "; skipped (-f compresses it again)";
    if (r->o.mode == CLI_DECOMPRESS && own_name && !has_suffix(t->name))
        return "unknown suffix (" SUFFIX " expected); -o says what to call the output";
    return NULL;
}

static int handle_path(run *r, const char *path, bool named) {
    task t = {.o = &r->o, .ctx = r->ctx, .name = path, .shown = path, .fd = -1};
    if (cli_stop_signal()) return CLI_FAIL;
    if (lstat(path, &t.st) != 0) return cli_error("%s: %s", path, strerror(errno));
    bool is_link = S_ISLNK(t.st.st_mode);
    if (is_link) {
        bool reads_only = r->o.mode == CLI_TEST || r->o.mode == CLI_LIST || r->has_shared;
        if (!named) return CLI_OK;
        if (!r->o.force && !reads_only) return cli_error("%s: is a symbolic link; skipped (-f follows it)", path);
        if (stat(path, &t.st) != 0) return cli_error("%s: %s", path, strerror(errno));
    }
    if (S_ISDIR(t.st.st_mode))
        return r->o.recursive ? handle_directory(r, path) : cli_error("%s: is a directory (-r goes into it)", path);
    /* Below a directory only what is meant counts: regular files, archives where archives are wanted. */
    if (!named && (!S_ISREG(t.st.st_mode) || (r->o.mode != CLI_COMPRESS && !has_suffix(path)))) return CLI_OK;
    const char *why = why_not(r, &t);
    if (why) return named ? cli_error("%s: %s", path, why) : CLI_OK;
    t.fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | (is_link ? 0 : O_NOFOLLOW));
    if (t.fd < 0 || fstat(t.fd, &t.st) != 0) {
        int result = cli_error("%s: %s", path, strerror(errno));
        if (t.fd >= 0) close(t.fd);
        return result;
    }
    t.seekable = S_ISREG(t.st.st_mode);
    int result = handle_open(r, &t);
    close(t.fd);
    return result;
}

/* -c, --range, standard input, or several files with -o: everything goes to one place. */
static int open_shared(run *r, bool has_stdin) {
    cli_options *o = &r->o;
    if (o->mode == CLI_TEST || o->mode == CLI_LIST) return CLI_OK;
    if (o->output && strcmp(o->output, "-") == 0) {
        o->output = NULL;
        o->to_stdout = true;
    }
    bool to_stdout = o->to_stdout || (!o->output && (has_stdin || o->has_range));
    r->has_shared = to_stdout || (o->output && (has_stdin || o->has_range || o->n_files > 1));
    if (!r->has_shared) return CLI_OK;
    if (to_stdout && o->mode == CLI_COMPRESS && isatty(STDOUT_FILENO) && !o->force)
        return cli_error("standard output is a terminal; an archive is not written there (-f does it all the same)");
    if (o->output && o->n_files > 1 && !o->force)
        return cli_error("-o: %zu inputs would be joined in one output and their names lost; -f does it all the same",
                         o->n_files);
    if (o->remove_input) cli_warn("--rm: inputs are kept when their output has no file of its own");
    o->remove_input = false;
    if (o->output && (r->shared_leave = may_write(r, o->output, has_stdin)) == LEAVE_NONE) return CLI_FAIL;
    return cli_output_open(&r->shared, o->output);
}

/* Whether the rest of the files comes after one that failed. A named output is not kept then, because a hole would go
 * unnoticed; what a pipe has taken cannot be called back, and its reader gets the others, as from zstd. */
static bool goes_on(const run *r, uint64_t bytes_before) {
    if (!r->has_shared) return true;
    bool part = r->o.mode == CLI_COMPRESS && r->shared.bytes != bytes_before; /* what follows half an archive is lost */
    return r->shared.is_stdout && !r->shared.error && !part;
}

static int close_shared(run *r, int result) {
    if (!r->has_shared) return result;
    if (result == CLI_OK) result = cli_output_finish(&r->shared, NULL);
    if (result == CLI_OK) result = cli_output_commit(&r->shared, r->shared_leave == LEAVE_REPLACE);
    cli_output_discard(&r->shared);
    return result;
}

static int run_all(run *r) {
    static const char *const standard_input[] = {"-"};
    cli_options *o = &r->o;
    const char *const *files = o->n_files ? o->files : standard_input;
    size_t n = o->n_files ? o->n_files : 1;
    bool has_stdin = false;
    for (size_t i = 0; i < n; i++) has_stdin = has_stdin || strcmp(files[i], "-") == 0;
    if (!o->n_files && isatty(STDIN_FILENO) && !o->force)
        return cli_error("no file given and standard input is a terminal; pith --help tells more");
    if (has_stdin && o->mode == CLI_LIST && !o->n_files) return cli_error("--list wants files");
    int result = open_shared(r, has_stdin);
    if (result != CLI_OK) return result;
    for (size_t i = 0; i < n; i++) {
        uint64_t bytes = r->shared.bytes;
        if (told(r, files[i], strcmp(files[i], "-") == 0 ? handle_stdin(r) : handle_path(r, files[i], true)) == CLI_OK)
            continue;
        result = CLI_FAIL;
        if (!goes_on(r, bytes)) break;
    }
    result = close_shared(r, result);
    if (r->n_done > 1 && o->mode == CLI_LIST && !o->json)
        task_list_total(r->n_done, r->n_frames, r->n_blocks, r->coded_bytes, r->raw_bytes);
    if (r->n_done > 1 && cli_verbosity >= 0 && !o->json && o->mode == CLI_COMPRESS && !r->shared.is_stdout) {
        char raw[16], coded[16];
        fprintf(stderr, "%u files compressed    :%6.2f%%   (%9s => %9s)\n", r->n_done,
                r->raw_bytes ? 100 * (double)r->coded_bytes / (double)r->raw_bytes : 0,
                cli_size_text(raw, r->raw_bytes), cli_size_text(coded, r->coded_bytes));
    }
    return result;
}

static int use_model(run *r) {
    const char *name = r->o.model;
    if (!name) return CLI_OK;
    if (pith_lm_use(r->ctx, strcmp(name, "default") == 0 ? NULL : name) == PITH_OK) return CLI_OK;
    const char *message = pith_error(r->ctx);
    size_t n = strlen(name);
    if (strncmp(message, name, n) == 0 && strchr(":/", message[n]))
        return cli_error("%s", message); /* names the file */
    return cli_error("%s: %s", name, message);
}

int cmd_file(int argc, char **argv) {
    run r = {.shared = {.fd = -1}};
    int result = cli_options_parse(&r.o, argc, argv);
    if (result == CLI_OK && r.o.help) {
        result = cli_help(cli_file_help);
    } else if (result == CLI_OK && r.o.version) {
        printf("pith %s (%s)\n", pith_version(), pith_cpu());
    } else if (result == CLI_OK) {
        r.ctx = pith_ctx_new(NULL);
        if (r.ctx) {
            pith_ctx_set_memory(r.ctx, r.o.memory_bytes);
            pith_ctx_set_threads(r.ctx, r.o.n_threads);
            result = use_model(&r) == CLI_OK ? run_all(&r) : CLI_FAIL;
        } else {
            result = cli_error("out of memory");
        }
        pith_ctx_free(r.ctx);
    }
    cli_options_free(&r.o);
    return cli_finish(result);
}
