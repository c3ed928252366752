/* The programs `pith bench file` compares with, each at its strongest setting that people use,
 * one thread: a table, and the search for what is installed. */
#include <stdlib.h>
#include <string.h>

#include "faces/cli/bench.h"
#include "pith/file.h"

/* Input by name, so that tools that size their tables by the file can; archive by stdout. */
static const bench_tool peers[] = {
    {.name = "gzip -9", .program = "gzip", .encode = {"gzip", "-9nc", "--", "{in}"}, .decode = {"gzip", "-dc"}},
    {.name = "bzip2 -9", .program = "bzip2", .encode = {"bzip2", "-9c", "--", "{in}"}, .decode = {"bzip2", "-dc"}},
    {.name = "xz -9e", .program = "xz", .encode = {"xz", "-9ec", "-T1", "--", "{in}"}, .decode = {"xz", "-dc", "-T1"}},
    {.name = "zstd -3",
     .program = "zstd",
     .encode = {"zstd", "-3qc", "--single-thread", "--", "{in}"},
     .decode = {"zstd", "-dqc"}},
    {.name = "zstd -9",
     .program = "zstd",
     .encode = {"zstd", "-9qc", "--single-thread", "--", "{in}"},
     .decode = {"zstd", "-dqc"}},
    {.name = "zstd -19",
     .program = "zstd",
     .encode = {"zstd", "-19qc", "--single-thread", "--", "{in}"},
     .decode = {"zstd", "-dqc"}},
    {.name = "zstd -22",
     .program = "zstd",
     .encode = {"zstd", "--ultra", "-22qc", "--single-thread", "--", "{in}"},
     .decode = {"zstd", "-dqc", "--memory=2048MB"}},
    {.name = "brotli -11",
     .program = "brotli",
     .encode = {"brotli", "-c", "-q", "11", "-w", "24", "--", "{in}"},
     .decode = {"brotli", "-dc"}},
    {.name = "bzip3 -b64",
     .program = "bzip3",
     .encode = {"bzip3", "-e", "-c", "-b", "64", "--", "{in}"},
     .decode = {"bzip3", "-d", "-c"}},
    {.name = "7z PPMd -mx9",
     .program = "7z",
     .encode = {"7z", "a", "-bd", "-y", "-mx=9", "-m0=PPMd", "-mmt=1", "{coded}", "{in}"},
     .decode = {"7z", "x", "-so", "-mmt=1", "{coded}"},
     .suffix = ".7z"},
    {.name = "zpaq -m5",
     .program = "zpaq",
     .encode = {"zpaq", "a", "{coded}", "{in}", "-m5", "-t1"},
     .decode = {"zpaq", "x", "{coded}", "{in}", "-to", "{back}", "-t1"},
     .suffix = ".zpaq"},
};

/* Whether `name` is one of the words of "a,b,c". */
static bool in_list(const char *list, const char *name) {
    size_t n = strlen(name);
    for (const char *p = list; *p;) {
        size_t len = strcspn(p, ",");
        if (len == n && strncmp(p, name, n) == 0) return true;
        p += len;
        p += *p == ',';
    }
    return false;
}

static bool known_program(const char *word, size_t n) {
    for (size_t i = 0; i < PITH_COUNT(peers); i++)
        if (strlen(peers[i].program) == n && strncmp(peers[i].program, word, n) == 0) return true;
    return false;
}

int bench_peers_add(bench *b, const char *list) {
    bool all = strcmp(list, "all") == 0;
    if (strcmp(list, "none") == 0) return CLI_OK;
    for (const char *p = list; !all && *p;) {
        size_t n = strcspn(p, ",");
        if (!known_program(p, n))
            return cli_error(
                "bench: unknown peer '%.*s'; all, none, or some of gzip,bzip2,xz,zstd,brotli,bzip3,7z,zpaq",
                (int)PITH_MIN(n, (size_t)40), p);
        p += n;
        p += *p == ',';
    }
    for (size_t i = 0; i < PITH_COUNT(peers) && b->n_tools < BENCH_MAX_TOOLS; i++)
        if (all || in_list(list, peers[i].program)) b->tools[b->n_tools++] = peers[i];
    return CLI_OK;
}

int bench_pith_add(bench *b, unsigned level, const char *recipe) {
    if (b->n_tools == BENCH_MAX_TOOLS) return cli_error("bench: at most %d ways to compress", BENCH_MAX_TOOLS);
    bench_tool *t = &b->tools[b->n_tools++];
    *t = (bench_tool){.program = "pith",
                      .encode = {b->self, "-qc"},
                      .decode = {b->self, "-dqc", b->threads_flag, b->memory_flag, "--max-time=none"},
                      .is_pith = true,
                      .installed = true};
    static const char *const levels[] = {"-1", "-2", "-3", "-4", "-5", "-6", "-7", "-8", "-9"};
    const char **args = t->encode + 2;
    *args++ = b->threads_flag;
    *args++ = b->memory_flag;
    if (recipe) {
        *args++ = "--recipe";
        *args++ = recipe;
        snprintf(t->name, sizeof t->name, "pith %s", recipe);
    } else {
        *args++ = levels[level - 1];
        snprintf(t->name, sizeof t->name, "pith -%u", level);
    }
    *args++ = "--";
    *args++ = "{in}";
    snprintf(t->version, sizeof t->version, "%s", pith_version());
    return CLI_OK;
}

/* The first "digits.digits..." of a file. */
static bool find_version(const char *path, char *version, size_t size) {
    char text[1024];
    FILE *f = fopen(path, "rb");
    if (!f) return false;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    for (const char *p = text; (p = strpbrk(p, "0123456789"));) {
        size_t digits = strspn(p, "0123456789"), all = strspn(p, "0123456789.");
        if (p[digits] == '.' && p[digits + 1] >= '0' && p[digits + 1] <= '9') {
            while (p[all - 1] == '.') all--;
            snprintf(version, size, "%.*s", (int)PITH_MIN(all, size - 1), p);
            return true;
        }
        p += all;
    }
    return false;
}

static pith_status ask_version(bench *b, bench_tool *t) {
    char out[4200], err[4200];
    snprintf(out, sizeof out, "%s/version.out", b->directory);
    snprintf(err, sizeof err, "%s/version.err", b->directory);
    /* 7z tells its version when it is asked nothing. */
    const char *argv[] = {t->program, strcmp(t->program, "7z") == 0 ? NULL : "--version", NULL};
    measure_job job = {.argv = argv, .stdout_path = out, .stderr_path = err, .limit_seconds = 5};
    measure_usage usage;
    pith_status status = measure_run(b->ctx, &job, &usage);
    if (status == PITH_OK && !find_version(out, t->version, sizeof t->version))
        find_version(err, t->version, sizeof t->version);
    return status == PITH_E_CANCELLED ? status : PITH_OK;
}

pith_status bench_peers_find(bench *b) {
    char path[4096];
    for (unsigned i = 0; i < b->n_tools; i++) {
        bench_tool *t = &b->tools[i];
        if (t->is_pith) continue;
        t->installed = measure_find_program(t->program, path, sizeof path);
        if (!t->installed) continue;
        if (i && strcmp(b->tools[i - 1].program, t->program) == 0) {
            memcpy(t->version, b->tools[i - 1].version, sizeof t->version);
            continue;
        }
        pith_status status = ask_version(b, t);
        if (status != PITH_OK) return status;
    }
    return PITH_OK;
}
