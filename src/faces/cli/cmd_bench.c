/* `pith bench file FILE...`: every level and every installed peer on the user's own files, each
 * as a child process (pith itself too), so that processor time and peak memory are the
 * kernel's account for all alike. Every archive is decoded and compared byte for byte. */
#define _GNU_SOURCE /* nftw */
#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faces/cli/bench.h"
#include "faces/cli/bench_lm.h"
#include "faces/cli/bench_predict.h"
#include "pith/file.h"

const char cli_bench_help[] =
    "Usage: pith bench file [OPTIONS] FILE|DIRECTORY...\n"
    "       pith bench model [MODEL] [OPTIONS]            (recipes for weights; --help says more)\n"
    "       pith bench flips|runtime|speculate|efficiency|combined [OPTIONS]\n"
    "                                  (claims about language models; --help says more)\n"
    "       pith bench few-shot|zip-fit|dated|equal-info|llmzip|lmic|lmcompress|logzip|tabular|prune-tasks\n"
    "                                  (claims about code length)\n"
    "       pith bench categories [OPTIONS]               (every class of methods in one sweep)\n"
    "       pith bench cuts|subspace|concat-svd|moe|surgeon|heapr [OPTIONS]\n"
    "                                  (claims about models cut smaller)\n"
    "       pith bench evopress|rocket|casp|pd-quant|gaussian|bitstack [OPTIONS]\n"
    "                                  (claims about bytes where they matter)\n"
    "       pith bench family|compeft|rmm [OPTIONS]\n"
    "                                  (claims about fine-tuned siblings)\n"
    "       pith bench facts|context-tasks|low-data [OPTIONS]\n"
    "                                  (claims about what a compressed model still knows and understands)\n"
    "       pith bench gradual|experts-as-vectors [OPTIONS]\n"
    "                                  (claims about nets that are made smaller while they learn)\n"
    "       pith bench embedding|codecs|atoms [OPTIONS]\n"
    "                                  (claims about embeddings, codes of weights, activations)\n"
    "       pith bench weights|checkpoints [OPTIONS]\n"
    "                                  (claims about weights and their series without loss, or little)\n"
    "\n"
    "Compresses and restores each file with every level of pith and every installed peer\n"
    "(gzip, bzip2, xz, zstd, brotli, bzip3, 7z PPMd, zpaq), compares the bytes, and prints\n"
    "sizes, processor seconds, speeds and peak memory; for several files their totals too.\n"
    "\n"
    "      --levels=LIST   levels of pith: 1-9 (default), 6, 1,5,7-9 or none\n"
    "      --recipe=TEXT   a recipe too; may be given several times\n"
    "      --peers=LIST    all (default), none, or names: zstd,xz\n"
    "      --runs=N        measure N times, the fastest counts (default: 3 times, once where\n"
    "                      that takes more than a second)\n"
    "      --time-limit=S  give up on a tool after S processor seconds one way\n"
    "  -T#, --threads=#    threads of pith (default 1; the peers always use one)\n"
    "  -M#, --memory=#     memory limit of pith (default 1G)\n"
    "      --json          one JSON object instead of the tables\n"
    "      --plot=FILE.svg draw ratio against speed, with the frontier\n"
    "  -f, --force         overwrite FILE.svg\n"
    "  -q                  no progress\n"
    "\n"
    "MB is 10^6 bytes of the original; speeds are MB per second of processor time (user +\n"
    "system, starting the program included); memory is the largest resident set.\n"
    "\n"
    "Examples:\n"
    "  pith bench file book.txt\n"
    "  pith bench file --levels=5-7 --peers=zstd,bzip3 --plot=frontier.svg texts/\n";

static int stop_when_asked(void *opaque, uint64_t done, uint64_t total) {
    (void)opaque, (void)done, (void)total;
    return cli_stop_signal() != 0;
}

static void show(const char *name, const char *what, const char *file) {
    char shown[60];
    if (cli_verbosity < 0 || !isatty(STDERR_FILENO)) return;
    if (name)
        fprintf(stderr, "\r\033[K%s: %s %s", cli_safe_text(shown, sizeof shown, file), name, what);
    else
        fputs("\r\033[K", stderr);
    fflush(stderr);
}

/* ---- one tool on one file ---- */

typedef struct paths {
    const char *in;
    char coded[4200], back[4200], log[4200];
} paths;

/* The argument list with paths in place; says whether an archive or content path was named. */
static void fill(const char *const *from, const paths *p, const char **to, bool *names_coded, bool *names_back) {
    *names_coded = *names_back = false;
    unsigned n = 0;
    for (; from[n]; n++) {
        to[n] = from[n];
        if (strcmp(from[n], "{in}") == 0) to[n] = p->in;
        if (strcmp(from[n], "{coded}") == 0) {
            to[n] = p->coded;
            *names_coded = true;
        }
        if (strcmp(from[n], "{back}") == 0) {
            to[n] = p->back;
            *names_back = true;
        }
    }
    to[n] = NULL;
}

/* The first line of what a tool said, to tell why it failed. */
static void read_complaint(const char *path, char *text, size_t size) {
    char line[512];
    FILE *f = fopen(path, "r");
    text[0] = 0;
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\r\n")] = 0;
        if (line[strspn(line, " ")]) {
            cli_safe_text(text, size, line);
            break;
        }
    }
    if (f) fclose(f);
}

/* Runs one direction. PITH_OK with row->state telling how it went. */
static pith_status run_once(bench *b, bench_row *row, const measure_job *job, const char *log, const char *what,
                            double *seconds, uint64_t *peak) {
    measure_usage usage;
    pith_status status = measure_run(b->ctx, job, &usage);
    if (status == PITH_E_CANCELLED) return status;
    if (status != PITH_OK) {
        row->state = BENCH_FAILED;
        snprintf(row->message, sizeof row->message, "%s", pith_error(b->ctx));
        return PITH_OK;
    }
    if (usage.timed_out) {
        row->state = BENCH_TIMEOUT;
        snprintf(row->message, sizeof row->message, "%s took more than %g s", what, b->limit_seconds);
    } else if (usage.exit_code != 0) {
        char said[72];
        read_complaint(log, said, sizeof said);
        row->state = BENCH_FAILED;
        if (usage.signal)
            snprintf(row->message, sizeof row->message, "%s ended by signal %d", what, usage.signal);
        else
            snprintf(row->message, sizeof row->message, "%s: status %d %s", what, usage.exit_code, said);
    }
    *seconds = row->runs ? PITH_MIN(*seconds, usage.cpu_seconds) : usage.cpu_seconds;
    *peak = PITH_MAX(*peak, usage.peak_bytes);
    return PITH_OK;
}

static pith_status measure_tool(bench *b, const bench_tool *t, const bench_input *in, bench_row *row, const paths *p) {
    const char *encode[BENCH_MAX_ARGS], *decode[BENCH_MAX_ARGS];
    bool encode_named, decode_named, back_named, unused;
    fill(t->encode, p, encode, &encode_named, &unused);
    fill(t->decode, p, decode, &decode_named, &back_named);
    /* A tool that names its files tells about its work on standard output. */
    measure_job encode_job = {.argv = encode,
                              .stdout_path = encode_named ? NULL : p->coded,
                              .stderr_path = p->log,
                              .directory = b->directory,
                              .limit_seconds = b->limit_seconds};
    measure_job decode_job = {.argv = decode,
                              .stdin_path = decode_named ? NULL : p->coded,
                              .stdout_path = back_named ? NULL : p->back,
                              .stderr_path = p->log,
                              .directory = b->directory,
                              .limit_seconds = b->limit_seconds};
    struct stat st;
    unsigned want = b->n_runs ? b->n_runs : 3;
    do {
        unlink(p->coded);
        unlink(p->back);
        show(t->name, "compressing", in->name);
        pith_status status =
            run_once(b, row, &encode_job, p->log, "compressing", &row->encode_seconds, &row->encode_peak);
        if (status != PITH_OK || row->state != BENCH_OK) return status;
        if (stat(p->coded, &st) != 0 || (row->runs && (uint64_t)st.st_size * 8 != row->rate.coded_bits && t->is_pith)) {
            row->state = BENCH_FAILED;
            snprintf(row->message, sizeof row->message,
                     row->runs ? "two runs gave different sizes" : "left no archive");
            return PITH_OK;
        }
        if (!row->runs) {
            status = measure_rate_add(b->ctx, &row->rate, in->bytes, (uint64_t)st.st_size * 8);
            if (status != PITH_OK) return status;
        }
        show(t->name, "restoring", in->name);
        status = run_once(b, row, &decode_job, p->log, "restoring", &row->decode_seconds, &row->decode_peak);
        if (status != PITH_OK || row->state != BENCH_OK) return status;
        bool same = false;
        status = measure_same_bytes(b->ctx, p->in, p->back, &same);
        if (status != PITH_OK || !same) {
            row->state = BENCH_WRONG;
            snprintf(row->message, sizeof row->message, "what came back is NOT the original");
            return PITH_OK;
        }
        row->runs++;
    } while (row->runs < want && (b->n_runs || row->encode_seconds + row->decode_seconds < 1));
    return PITH_OK;
}

static pith_status measure_input(bench *b, bench_input *in) {
    paths p = {.in = in->path};
    snprintf(p.back, sizeof p.back, "%s/back", b->directory);
    snprintf(p.log, sizeof p.log, "%s/log", b->directory);
    for (unsigned i = 0; i < b->n_tools; i++) {
        const bench_tool *t = &b->tools[i];
        if (!t->installed) {
            in->rows[i].state = BENCH_SKIPPED;
            continue;
        }
        snprintf(p.coded, sizeof p.coded, "%s/coded%s", b->directory, t->suffix ? t->suffix : "");
        pith_status status = measure_tool(b, t, in, &in->rows[i], &p);
        unlink(p.coded);
        unlink(p.back);
        if (status != PITH_OK) return status;
    }
    show(NULL, NULL, NULL);
    return bench_frontier(b->ctx, in->rows, b->n_tools, in->bytes);
}

/* ---- sums ---- */

static pith_status add_total(bench *b) {
    uint64_t bytes = 0;
    for (size_t k = 0; k < b->n_inputs; k++) bytes += b->inputs[k].bytes;
    for (unsigned i = 0; i < b->n_tools; i++) {
        bench_row *sum = &b->total[i];
        for (size_t k = 0; k < b->n_inputs; k++) {
            const bench_row *row = &b->inputs[k].rows[i];
            if (row->state != BENCH_OK) {
                *sum = *row;
                break;
            }
            pith_status status = measure_rate_add(b->ctx, &sum->rate, row->rate.raw_bytes, row->rate.coded_bits);
            if (status != PITH_OK) return status;
            sum->encode_seconds += row->encode_seconds;
            sum->decode_seconds += row->decode_seconds;
            sum->encode_peak = PITH_MAX(sum->encode_peak, row->encode_peak);
            sum->decode_peak = PITH_MAX(sum->decode_peak, row->decode_peak);
            sum->runs = k ? PITH_MIN(sum->runs, row->runs) : row->runs;
        }
    }
    return bench_frontier(b->ctx, b->total, b->n_tools, bytes);
}

/* ---- inputs ---- */

static bench *walking; /* nftw hands nothing through */

static int add_input(const char *path, const struct stat *st) {
    bench *b = walking;
    bench_input *grown = realloc(b->inputs, (b->n_inputs + 1) * sizeof *grown);
    if (!grown) return cli_error("bench: out of memory");
    b->inputs = grown;
    bench_input *in = &grown[b->n_inputs];
    memset(in, 0, sizeof *in);
    in->path = realpath(path, NULL);
    if (!in->path) return cli_error("%s: %s", path, strerror(errno));
    in->bytes = (uint64_t)st->st_size;
    b->n_inputs++;
    return CLI_OK;
}

static int walk(const char *path, const struct stat *st, int kind, struct FTW *where) {
    (void)where;
    return kind == FTW_F && S_ISREG(st->st_mode) ? add_input(path, st) : CLI_OK;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const bench_input *)a)->path, ((const bench_input *)b)->path);
}

static int add_name(bench *b, const char *name) {
    struct stat st;
    walking = b;
    if (stat(name, &st) != 0) return cli_error("%s: %s", name, strerror(errno));
    if (S_ISDIR(st.st_mode)) {
        size_t first = b->n_inputs;
        if (nftw(name, walk, 16, FTW_PHYS) != 0) return CLI_FAIL;
        if (b->n_inputs == first) return cli_error("%s: no files in it", name);
        qsort(b->inputs + first, b->n_inputs - first, sizeof *b->inputs, by_path);
        return CLI_OK;
    }
    if (!S_ISREG(st.st_mode)) return cli_error("%s: is no regular file", name);
    return add_input(name, &st);
}

/* ---- the temporary directory ---- */

static int make_directory(bench *b) {
    const char *base = getenv("TMPDIR");
    if (!base || !*base) base = "/tmp";
    char *real = realpath(base, NULL);
    int n = snprintf(b->directory, sizeof b->directory, "%s/pith-bench-XXXXXX", real ? real : base);
    free(real);
    if (n < 0 || (size_t)n >= sizeof b->directory || !mkdtemp(b->directory)) {
        b->directory[0] = 0;
        return cli_error("bench: no temporary directory under %s: %s", base, strerror(errno));
    }
    return CLI_OK;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where) {
    (void)st, (void)kind, (void)where;
    remove(path);
    return 0;
}

static void remove_directory(bench *b) {
    if (b->directory[0]) nftw(b->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    b->directory[0] = 0;
}

/* ---- options ---- */

typedef struct bench_options {
    const char *levels, *peers, *plot;
    const char *recipes[16];
    unsigned n_recipes;
    bool json, force, help;
    const char **names; /* owned array of borrowed strings */
    size_t n_names;
} bench_options;

static int add_levels(bench *b, const char *list) {
    if (strcmp(list, "none") == 0) return CLI_OK;
    bool want[PITH_FILE_LEVEL_MAX + 1] = {false};
    const char *p = list;
    do {
        unsigned low = (unsigned)(*p - '0'), high = low;
        bool ok = *p >= '1' && *p <= '9';
        p += ok;
        if (ok && *p == '-') {
            high = (unsigned)(p[1] - '0');
            ok = p[1] >= '1' && p[1] <= '9' && low <= high;
            p += ok ? 2 : 0;
        }
        if (!ok || (*p && *p != ',')) return cli_error("bench: levels '%s': such as 1-9, 6 or 1,5,7-9", list);
        for (unsigned level = low; level <= high; level++) want[level] = true;
    } while (*p++ == ',');
    int result = CLI_OK;
    for (unsigned level = PITH_FILE_LEVEL_MIN; level <= PITH_FILE_LEVEL_MAX && result == CLI_OK; level++)
        if (want[level]) result = bench_pith_add(b, level, NULL);
    return result;
}

/* The value of "--name=value" or "--name value"; NULL when the argument is another one. */
static const char *value_of(const char *arg, const char *name, char ***rest) {
    size_t n = strlen(name);
    if (strncmp(arg, name, n) != 0) return NULL;
    if (arg[n] == '=') return arg + n + 1;
    return arg[n] == 0 && **rest ? *(*rest)++ : NULL;
}

static int set_value(bench *b, bench_options *o, const char *arg, char ***rest, bool *known) {
    const char *v, *end;
    uint64_t number;
    *known = true;
    if ((v = value_of(arg, "--levels", rest))) {
        o->levels = v;
    } else if ((v = value_of(arg, "--peers", rest))) {
        o->peers = v;
    } else if ((v = value_of(arg, "--plot", rest))) {
        o->plot = v;
    } else if ((v = value_of(arg, "--recipe", rest))) {
        if (o->n_recipes == PITH_COUNT(o->recipes))
            return cli_error("bench: at most %zu recipes", PITH_COUNT(o->recipes));
        o->recipes[o->n_recipes++] = v;
    } else if ((v = value_of(arg, "--runs", rest))) {
        if (!cli_parse_number(v, 1, 100, &number)) return cli_error("bench: runs '%s': 1 to 100", v);
        b->n_runs = (unsigned)number;
    } else if ((v = value_of(arg, "--time-limit", rest))) {
        char *stop;
        b->limit_seconds = strtod(v, &stop);
        if (stop == v || *stop || !(b->limit_seconds > 0) || isinf(b->limit_seconds))
            return cli_error("bench: time limit '%s': seconds", v);
    } else if ((v = value_of(arg, "--threads", rest)) || (strncmp(arg, "-T", 2) == 0 && arg[2] && (v = arg + 2))) {
        if (!cli_parse_number(v, 0, 256, &number)) return cli_error("bench: threads '%s': 0 to 256", v);
        snprintf(b->threads_flag, sizeof b->threads_flag, "-T%u", (unsigned)number);
    } else if ((v = value_of(arg, "--memory", rest)) || (strncmp(arg, "-M", 2) == 0 && arg[2] && (v = arg + 2))) {
        if (!cli_parse_size(v, &end, &number) || *end || number < 1 << 20)
            return cli_error("bench: memory limit '%s': a size of at least 1M", v);
        snprintf(b->memory_flag, sizeof b->memory_flag, "-M%llu", (unsigned long long)number);
    } else {
        *known = false;
    }
    return CLI_OK;
}

static int parse(bench *b, bench_options *o, int argc, char **argv) {
    *o = (bench_options){.levels = "1-9", .peers = "all"};
    o->names = calloc((size_t)argc + 1, sizeof *o->names);
    if (!o->names) return cli_error("bench: out of memory");
    bool only_names = false, artefact = false;
    for (char **rest = argv + 1; *rest;) {
        const char *arg = *rest++;
        bool known = false;
        if (only_names || arg[0] != '-') {
            if (!artefact && strcmp(arg, "file") != 0)
                return cli_error("bench: '%s' cannot be measured yet; pith bench file FILE... can", arg);
            if (artefact) o->names[o->n_names++] = arg;
            artefact = true;
            continue;
        }
        if (set_value(b, o, arg, &rest, &known) != CLI_OK) return CLI_FAIL;
        if (known) continue;
        if (strcmp(arg, "--") == 0)
            only_names = true;
        else if (strcmp(arg, "--json") == 0)
            o->json = true;
        else if (strcmp(arg, "-f") == 0 || strcmp(arg, "--force") == 0)
            o->force = true;
        else if (strcmp(arg, "-q") == 0 || strcmp(arg, "--quiet") == 0)
            cli_verbosity = -1;
        else if (strcmp(arg, "-h") == 0 || strcmp(arg, "--help") == 0)
            o->help = true;
        else
            return cli_error("bench: unknown option or missing value '%s'; pith bench --help lists them", arg);
    }
    if (o->help) return CLI_OK;
    if (!artefact || !o->n_names) return cli_error("bench: what shall be measured? pith bench file FILE...");
    return CLI_OK;
}

/* ---- the whole ---- */

static int measure_all(bench *b, const bench_options *o) {
    pith_status status = bench_peers_find(b);
    uint64_t bytes = 0;
    for (size_t k = 0; k < b->n_inputs && status == PITH_OK; k++) {
        bench_input *in = &b->inputs[k];
        status = measure_input(b, in);
        bytes += in->bytes;
        if (status == PITH_OK && !o->json) {
            bench_table(b, in->name, in->bytes, in->rows);
            fflush(stdout); /* a long run shows what it has */
        }
    }
    if (status == PITH_OK) status = add_total(b);
    if (status != PITH_OK) {
        show(NULL, NULL, NULL);
        return cli_stop_signal() ? CLI_FAIL : cli_error("bench: %s", pith_error(b->ctx));
    }
    int result = CLI_OK;
    for (unsigned i = 0; i < b->n_tools; i++)
        if (b->total[i].state == BENCH_WRONG || (b->tools[i].is_pith && b->total[i].state == BENCH_FAILED))
            result = CLI_FAIL;
    if (o->json) {
        if (bench_json(b) != CLI_OK) result = CLI_FAIL;
    } else {
        char title[40];
        snprintf(title, sizeof title, "total of %zu files", b->n_inputs);
        if (b->n_inputs > 1) bench_table(b, title, bytes, b->total);
        bench_notes(b);
    }
    if (o->plot && bench_plot(b, o->plot, o->force) != CLI_OK) result = CLI_FAIL;
    return result;
}

static int prepare(bench *b, const bench_options *o) {
    ssize_t n = readlink("/proc/self/exe", b->self, sizeof b->self - 1);
    if (n <= 0) return cli_error("bench: cannot find this program: %s", strerror(errno));
    b->self[n] = 0;
    if (add_levels(b, o->levels) != CLI_OK) return CLI_FAIL;
    for (unsigned i = 0; i < o->n_recipes; i++)
        if (bench_pith_add(b, 0, o->recipes[i]) != CLI_OK) return CLI_FAIL;
    if (bench_peers_add(b, o->peers) != CLI_OK) return CLI_FAIL;
    if (!b->n_tools) return cli_error("bench: no level and no peer to measure");
    if (o->plot && !o->force && access(o->plot, F_OK) == 0)
        return cli_error("%s: already exists; not overwritten (-f overwrites)", o->plot);
    for (size_t i = 0; i < o->n_names; i++)
        if (add_name(b, o->names[i]) != CLI_OK) return CLI_FAIL;
    /* As the user gave them; inside a directory, the last part. */
    for (size_t k = 0; k < b->n_inputs; k++) b->inputs[k].name = strrchr(b->inputs[k].path, '/') + 1;
    return make_directory(b);
}

int cmd_bench(int argc, char **argv) {
    int done;
    if (bench_predict_run(argc - 1, argv + 1, &done)) return done;
    if (argc > 1 && strcmp(argv[1], "flips") == 0) return bench_flips(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "model") == 0) return bench_model_main(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "runtime") == 0) return bench_runtime(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "speculate") == 0) return bench_speculate(argc - 1, argv + 1);
    /* The settings named in the table are the ones that count. */
    static const char *const presets[] = {"GZIP",   "BZIP2",       "BZIP",          "XZ_DEFAULTS",
                                          "XZ_OPT", "ZSTD_CLEVEL", "ZSTD_NBTHREADS"};
    bench *b = calloc(1, sizeof *b);
    bench_options o = {0};
    if (!b) return cli_error("bench: out of memory");
    snprintf(b->threads_flag, sizeof b->threads_flag, "-T1");
    snprintf(b->memory_flag, sizeof b->memory_flag, "-M1G");
    int result = parse(b, &o, argc, argv);
    if (result == CLI_OK && o.help) {
        result = cli_help(cli_bench_help);
    } else if (result == CLI_OK) {
        for (size_t i = 0; i < PITH_COUNT(presets); i++) unsetenv(presets[i]);
        b->ctx = pith_ctx_new(NULL);
        if (b->ctx) {
            pith_ctx_set_progress(b->ctx, stop_when_asked, NULL);
            cli_defer_signals(true);
            result = prepare(b, &o);
            if (result == CLI_OK) result = measure_all(b, &o);
            remove_directory(b);
            cli_defer_signals(false);
        } else {
            result = cli_error("bench: out of memory");
        }
        pith_ctx_free(b->ctx);
    }
    for (size_t k = 0; k < b->n_inputs; k++) free(b->inputs[k].path);
    free(b->inputs);
    free(b);
    free(o.names);
    return cli_finish(result);
}
