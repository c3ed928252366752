/* What the files of `pith bench` share: tools, the measurements of one tool on one file. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "faces/cli/cli.h"
#include "kernels/measure/measure.h"

#define BENCH_MAX_TOOLS 64
#define BENCH_MAX_ARGS 12

/* One way to compress, run as a child process. Arguments "{in}" and "{coded}" and "{back}" stand
 * for the paths; where {coded} is missing in encode, the archive comes on standard output; where
 * it is missing in decode, it goes in on standard input; where {back} is, the content comes out
 * on standard output. */
typedef struct bench_tool {
    char name[64];
    const char *program;                                         /* searched in PATH; "pith": this very program */
    const char *encode[BENCH_MAX_ARGS], *decode[BENCH_MAX_ARGS]; /* NULL-terminated, argv[0] included */
    const char *suffix; /* the archive's name must end so; "" when it does not matter */
    bool is_pith;
    bool installed;
    char version[24]; /* "1.5.4", "" when not told */
} bench_tool;

typedef enum bench_state { BENCH_OK, BENCH_FAILED, BENCH_TIMEOUT, BENCH_WRONG, BENCH_SKIPPED } bench_state;

typedef struct bench_row {
    bench_state state;
    char message[96]; /* why not BENCH_OK */
    measure_rate rate;
    double encode_seconds, decode_seconds; /* processor time, the smallest of the runs */
    uint64_t encode_peak, decode_peak;     /* bytes, the largest of the runs */
    unsigned runs;
    bool encode_frontier, decode_frontier;
} bench_row;

typedef struct bench_input {
    const char *name;
    char *path; /* absolute, owned */
    uint64_t bytes;
    bench_row rows[BENCH_MAX_TOOLS];
} bench_input;

typedef struct bench {
    pith_ctx *ctx;
    bench_tool tools[BENCH_MAX_TOOLS];
    unsigned n_tools;
    bench_input *inputs;
    size_t n_inputs;
    bench_row total[BENCH_MAX_TOOLS]; /* over all inputs, BENCH_OK where all were */
    char directory[4096];             /* for archives and what comes back */
    char self[4096];                  /* path of this program */
    char memory_flag[32], threads_flag[16];
    unsigned n_runs; /* 0: up to three, one when a run takes long */
    double limit_seconds;
} bench;

/* ---- bench_peers.c ---- */

/* Adds the peers in `list` ("zstd,xz", "all" or "none"), installed or not. */
int bench_peers_add(bench *b, const char *list);
/* Adds `pith -LEVEL` or, with recipe, `pith --recipe`. */
int bench_pith_add(bench *b, unsigned level, const char *recipe);
/* Looks for each tool's program and asks for its version. */
pith_status bench_peers_find(bench *b);

/* ---- bench_report.c ---- */

void bench_table(const bench *b, const char *title, uint64_t bytes, const bench_row *rows);
void bench_notes(const bench *b);
int bench_json(const bench *b);
int bench_plot(const bench *b, const char *path, bool replace);
/* Marks the rows no other row beats in both size and speed. */
pith_status bench_frontier(pith_ctx *ctx, bench_row *rows, unsigned n, uint64_t bytes);

#endif
