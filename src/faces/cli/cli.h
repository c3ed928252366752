/* What the subcommands of `pith` share: messages, exit codes, options, safe output files,
 * the progress line. Each subcommand is one file with one cmd_NAME(argc, argv), argv[0]
 * being its own name; it returns the exit status of the process. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include "pith/pith.h"

/* As zstd: 0 when all went well, 1 for every failure, wrong usage included. */
enum { CLI_OK = 0, CLI_FAIL = 1 };

#if defined(__GNUC__)
#define CLI_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define CLI_PRINTF(fmt, args)
#endif

/* ---- subcommands ---------------------------------------------------------- */

int cmd_file(int argc, char **argv);    /* compress, decompress, test, list: no verb needed */
int cmd_bench(int argc, char **argv);   /* pith bench file FILE... */
int cmd_model(int argc, char **argv);   /* pith model info|convert|validate FILE */
int cmd_lm(int argc, char **argv);      /* pith lm VERB: language models at work */
int cmd_measure(int argc, char **argv); /* pith measure MODEL_A MODEL_B TEXT */
int cmd_distance(int argc, char **argv); /* pith distance FILE FILE... */
int cmd_rank(int argc, char **argv);    /* pith rank --query=TEXT FILE... */
int cmd_select(int argc, char **argv);  /* pith select --target=FILE SOURCE... */
int cmd_stages(int argc, char **argv);  /* pith stages [NAME] */
int cmd_methods(int argc, char **argv); /* pith methods [--json] */
int cmd_explain(int argc, char **argv); /* pith explain NAME */
int cmd_help(int argc, char **argv);    /* pith help [VERB] */
/* The text behind --help and `pith help`. */
extern const char cli_file_help[], cli_bench_help[], cli_model_help[], cli_measure_help[],
    cli_distance_help[], cli_rank_help[], cli_select_help[];

/* ---- messages (say.c): one line on standard error, "pith: " before it ------ */

/* -2 quiet to the bone (-qq), -1 quiet (-q), 0 normal, 1 and more for -v. */
extern int cli_verbosity;
/* Always shown except under -qq. Returns CLI_FAIL, so that `return cli_error(...)` reads well. */
int cli_error(const char *format, ...) CLI_PRINTF(1, 2);
/* What cli_error said last, without "pith: ", or "" since cli_forget_error. */
const char *cli_last_error(void);
void cli_forget_error(void);
/* Shown unless -q. */
void cli_warn(const char *format, ...) CLI_PRINTF(1, 2);
/* Flushes standard output and gives `result` back, or CLI_FAIL with a message when it could not
 * be written (a full disk; a closed pipe stays silent). Every subcommand that prints ends
 * with `return cli_finish(CLI_OK)`. */
int cli_finish(int result);
/* Prints a help text on standard output. */
int cli_help(const char *text);
/* "12.3 MiB" into `text`, which must hold 16 bytes. Returns text. */
char *cli_size_text(char *text, uint64_t bytes);
/* The name a user can read: control bytes shown as '?'. Returns `text`, cut to `size`. */
char *cli_safe_text(char *text, size_t size, const char *name);

/* ---- signals (signals.c) ---------------------------------------------------- */

/* Called once, at start. */
void cli_install_signals(void);
/* The number of the signal that asked the process to end, or 0. SIGPIPE after EPIPE counts. */
int cli_stop_signal(void);
/* Notes that a reader has gone, so that the process ends by SIGPIPE as others do. */
void cli_pipe_closed(void);
/* While true, SIGINT, SIGTERM and SIGHUP only set cli_stop_signal(); otherwise they remove
 * the unfinished output file and end the process the way the signal would have. */
void cli_defer_signals(bool defer);
/* Ends the process by the signal it was asked to end with. Does nothing when there is none. */
void cli_end_by_signal(void);
/* The unfinished output file a signal removes; NULL for none. (output.c calls it.) */
void cli_guard_path(const char *path);

/* ---- options (options.c) ------------------------------------------------------ */

typedef enum cli_mode { CLI_COMPRESS, CLI_DECOMPRESS, CLI_TEST, CLI_LIST } cli_mode;

typedef struct cli_options {
    cli_mode mode;
    int level;          /* 1..9 */
    const char *recipe; /* NULL: the level's */
    const char *model;  /* --model: a language model's file or "default"; NULL when not given */
    const char *output; /* -o NAME, NULL when not given */
    bool to_stdout;     /* -c */
    bool force;         /* -f */
    bool remove_input;  /* --rm */
    bool recursive;     /* -r */
    bool json;          /* --json */
    bool verify;        /* --verify */
    bool help, version;
    uint64_t block_bytes;  /* -B#, 0: the library's default */
    unsigned n_threads;    /* 0: one per processor */
    uint64_t memory_bytes; /* 0: the library's default */
    double max_seconds;    /* decoding cost limit; 0: the library's default, INFINITY: none */
    bool has_range;
    uint64_t range_offset, range_length; /* length UINT64_MAX: to the end */
    const char **files;                  /* owned array of borrowed strings; "-" is a standard stream */
    size_t n_files;
} cli_options;

/* Reads the command line; CLI_OK or CLI_FAIL with the message printed. */
int cli_options_parse(cli_options *o, int argc, char **argv);
void cli_options_free(cli_options *o);
/* "64M", "1GiB", "4096": bytes with K, M, G, T (powers of 1024; iB or B may follow). */
bool cli_parse_size(const char *text, const char **end, uint64_t *bytes);
/* A whole number within [low, high] and nothing after it. */
bool cli_parse_number(const char *text, uint64_t low, uint64_t high, uint64_t *value);

/* ---- output that is whole or not there (output.c) ------------------------------- */

/* A temporary file beside the target, which takes the target's name only in
 * cli_output_commit: synced before, the directory synced after. */
typedef struct cli_output {
    int fd; /* -1 when closed */
    bool is_stdout;
    uint64_t bytes;    /* written so far */
    int error;         /* errno of the first write that failed */
    char *path, *temp; /* NULL for standard output */
} cli_output;

/* Opens for writing; path NULL means standard output. Prints its own message. */
int cli_output_open(cli_output *out, const char *path);
/* Writes all of it. 0, or an errno value (EPIPE when the reader has gone). */
int cli_output_write(cli_output *out, const void *data, size_t size);
/* Gives the finished file mode, owner and times of `like` (NULL: mode by umask), syncs it. It
 * still has its temporary name: the caller may read it back through out->temp before commit. */
int cli_output_finish(cli_output *out, const struct stat *like);
/* Renames it to its final name; refuses when something has appeared there and `replace` is
 * false. CLI_OK or CLI_FAIL with the message printed; the temporary is gone either way. */
int cli_output_commit(cli_output *out, bool replace);
/* Removes what is unfinished. Harmless after commit. */
void cli_output_discard(cli_output *out);

/* ---- the progress line (progress.c) ----------------------------------------------- */

typedef struct cli_progress {
    const char *verb, *name;
    uint64_t total;        /* bytes, 0 when unknown */
    double started, shown; /* seconds, monotonic; shown 0 while nothing is on the line */
    bool enabled;
} cli_progress;

double cli_now(void); /* monotonic seconds */
void cli_progress_start(cli_progress *p, const char *verb, const char *name, uint64_t total);
/* A pith_progress_fn; opaque is the cli_progress. Asks to stop after a deferred signal. */
int cli_progress_show(void *opaque, uint64_t done, uint64_t total);
void cli_progress_clear(cli_progress *p);
/* The line itself: `done` of `total` bytes (0: unknown) after so many seconds, at most `columns` wide. */
void cli_progress_line(char *line, size_t size, const cli_progress *p, unsigned columns, uint64_t done, uint64_t total,
                       double elapsed);

#endif
