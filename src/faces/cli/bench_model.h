/* The parts of `pith bench model`: recipes on trial, what became of them, what the cards claim. */
#ifndef CLI_BENCH_MODEL_H
#define CLI_BENCH_MODEL_H

#include "artefacts/model/model.h"
#include "faces/cli/cmd_lm.h"

/* ---- the table (bench_model_table.c) ---- */

typedef struct bench_code {
    const char *name, *group;
    const char *systems; /* catalogue ids, or NULL */
    const char *recipe;  /* NULL: blocks of `type` */
    const char *type;
    bool data; /* takes statistics; without, it is tried as if there were none */
} bench_code;
extern const bench_code bench_codes[];
extern const unsigned bench_n_codes;

/* KL falls from one name to the next, each time to at most `factor` of it. */
typedef struct bench_order {
    const char *claim;
    double factor;
    const char *names[4]; /* ends with NULL */
} bench_order;
extern const bench_order bench_orders[];
extern const unsigned bench_n_orders;

/* Bytes of the flagship's curve where its KL is that of `name`, as a part of the bytes of `name`: at most `part`. */
typedef struct bench_saving {
    const char *claim, *name;
    double part;
} bench_saving;
extern const bench_saving bench_savings[];
extern const unsigned bench_n_savings;
#define BENCH_CURVE "flagship" /* the group whose rows are the curve */

/* ---- what became of it ---- */

#define BENCH_CODES_MOST 128
typedef struct bench_result {
    bench_code code;
    bool done;
    char message[160]; /* why not */
    model_trial trial;
    model_score score;
} bench_result;

typedef struct bench_models {
    const lm_options *common;
    pith_ctx *ctx;
    const char *model_name, *text_name, *calibration; /* the last two: as the report calls them */
    uint64_t calibration_tokens;
    model_stats *stats;
    tensor_file *base;
    bench_result *results; /* [n] */
    unsigned n;
    size_t chunks, positions, items;
    double perplexity;
    bool halves;
} bench_models;

/* The table as it comes: nothing with --json. Then the claims, or all of it as JSON. */
void bench_model_head(const bench_models *b);
void bench_model_row(const bench_models *b, unsigned i);
int bench_model_report(const bench_models *b);
int bench_model_plot(const bench_models *b, const char *path, bool replace);

#endif
