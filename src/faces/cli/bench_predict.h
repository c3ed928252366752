/* Experiments on code length: `pith bench NAME`, one for each published claim, each ending in a line that
 * says whether the claim holds. What they share: the inputs, the table (or JSON), the verdict. */
#ifndef CLI_BENCH_PREDICT_H
#define CLI_BENCH_PREDICT_H

#include "faces/cli/cmd_distance.h"

/* Runs the experiment named by argv[0]; false when there is none of that name. */
bool bench_predict_run(int argc, char **argv, int *result);

/* ---- one experiment at work ---- */

#define EXP_COLUMNS 8
typedef struct experiment {
    const char *name;
    pith_ctx *ctx;
    lm_options o;
    json_t *json, *rows; /* NULL without --json; rows: of the table that is open */
    const char *column[EXP_COLUMNS];
    unsigned decimals[EXP_COLUMNS], n_columns;
    unsigned n_claims, n_refuted;
    char verdict[3000];
} experiment;

#define EXP_HELP                                                                                                       \
    "  -T#, --threads=#    threads (default: one for each processor)\n"                                                \
    "  -M#, --memory=#     memory limit (default 1G)\n"                                                                \
    "      --json          one JSON object\n"                                                                          \
    "  -q                  no progress\n"

typedef int (*experiment_fn)(experiment *e, void *own);
/* Reads the command line, prints the help or runs fn, prints JSON and verdict. A claim that is refuted is a
 * result, not a failure. */
int exp_main(int argc, char **argv, const char *help, const lm_option *extra, size_t n_extra, size_t max_names,
             experiment_fn fn, void *own);
/* Opens a table: `columns` is "label|name.decimals|..." such as "coder|bytes.0|bits per byte.3". */
void exp_table(experiment *e, const char *title, const char *columns);
/* One row; NAN is shown as "-". */
void exp_row(experiment *e, const char *label, const double *values);
#define EXP_ROW(e, label, ...) exp_row(e, label, (const double[]){__VA_ARGS__})
void exp_note(experiment *e, const char *format, ...) CLI_PRINTF(2, 3);
/* One part of the claim. */
void exp_claim(experiment *e, bool holds, const char *format, ...) CLI_PRINTF(3, 4);
/* What is being worked on, on a terminal. */
void exp_step(experiment *e, const char *what);
/* Prints the session's failure. */
int exp_failed(experiment *e);

/* ---- inputs ---- */

/* A file named on the command line or, when name is NULL, one of the project's, looked for in the working
 * directory; at most `most` bytes of it (0: all). CLI_FAIL with a message that says how to name another. */
int exp_read(experiment *e, const char *name, const char *default_name, size_t most, pith_buffer *out);
/* Lines "label TAB text". *labels grows to hold the label's number; `names` the labels, at most EXP_LABELS. */
#define EXP_LABELS 32
typedef struct labelled {
    text_list texts;
    uint32_t *label; /* [texts.n] */
    char *names[EXP_LABELS];
    uint32_t n_names;
} labelled;
int labelled_add(experiment *e, labelled *l, const char *name, const void *text, size_t n);
int labelled_read(experiment *e, labelled *l, const char *path);
void labelled_free(experiment *e, labelled *l);
/* Pieces of whole words of about `bytes`, at equal distances over the text, white space as one space:
 * `count` of them from the part [from, to) of it, 0..1. */
int exp_passages(experiment *e, const pith_buffer *text, double from, double to, size_t count, size_t bytes,
                 text_list *out);

/* ---- the experiments ---- */

int bench_few_shot(int argc, char **argv);
int bench_zip_fit(int argc, char **argv);
int bench_dated(int argc, char **argv);
int bench_equal_info(int argc, char **argv);
int bench_llmzip(int argc, char **argv);
int bench_logzip(int argc, char **argv);
int bench_tabular(int argc, char **argv);
int bench_lmic(int argc, char **argv);
int bench_lmcompress(int argc, char **argv);
int bench_prune_tasks(int argc, char **argv);
int bench_weights(int argc, char **argv);
int bench_checkpoints(int argc, char **argv);
int bench_cuts(int argc, char **argv);
int bench_subspace(int argc, char **argv);
int bench_concat_svd(int argc, char **argv);
int bench_moe(int argc, char **argv);
int bench_family(int argc, char **argv);
int bench_compeft(int argc, char **argv);
int bench_rmm(int argc, char **argv);
int bench_surgeon(int argc, char **argv);
int bench_heapr(int argc, char **argv);
int bench_embedding(int argc, char **argv);
int bench_codecs(int argc, char **argv);
int bench_atoms(int argc, char **argv);
int bench_context(int argc, char **argv);
int bench_facts(int argc, char **argv);
int bench_low_data(int argc, char **argv);
int bench_efficiency(int argc, char **argv);
int bench_experts_as_vectors(int argc, char **argv);
int bench_gradual(int argc, char **argv);
int bench_categories(int argc, char **argv);
int bench_combined(int argc, char **argv);

#endif
