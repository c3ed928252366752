/* The parts of `pith bench model`: recipes on trial, what became of them, what the cards claim. */
#ifndef CLI_BENCH_MODEL_H
#define CLI_BENCH_MODEL_H

#include "artefacts/model/model.h"
#include "faces/cli/cmd_lm.h"

/* ---- the table (bench_model_table.c) ---- */

typedef struct bench_code {
    const char *name, *group;
    const char *systems; /* catalogue ids, or NULL */
    const char *recipe;  /* NULL: blocks of `type`, or `spread` */
    const char *type;
    double spread; /* bits of step(...) on average, spread over the matrices (model_spread); 0: recipe or type */
    bool data;     /* takes statistics; without, it is tried as if there were none */
} bench_code;
extern const bench_code bench_codes[];
extern const unsigned bench_n_codes;

/* `better` has at most `factor` of the KL of what `worse` would have in its bytes: of one code that takes as many or
 * more, or of several between whose bytes ln KL is taken to be straight. */
typedef struct bench_claim {
    const char *claim;
    double factor;
    const char *better, *worse[6]; /* ends with NULL */
} bench_claim;
extern const bench_claim bench_claims[];
extern const unsigned bench_n_claims;

/* Bytes on the curve of a group where its KL is that of `name`, as a part of the bytes of `name`: at most `part`. */
typedef struct bench_saving {
    const char *claim, *group, *name;
    double part;
} bench_saving;
extern const bench_saving bench_savings[];
extern const unsigned bench_n_savings;
#define BENCH_CURVE "flagship"
#define BENCH_SPREAD "spread"

/* ---- what became of it ---- */

#define BENCH_CODES_MOST 128
typedef struct bench_result {
    bench_code code;
    bool done;
    char message[160]; /* why not */
    model_trial trial;
    model_score score;
    double *kl; /* [positions] */
} bench_result;

typedef struct bench_models {
    const lm_options *common;
    pith_ctx *ctx;
    const char *model_name, *text_name, *calibration; /* the last two: as the report calls them */
    uint64_t calibration_tokens;
    model_stats *stats;
    model_spread *spread; /* NULL: not asked for */
    tensor_file *base;
    bench_result *results; /* [n] */
    unsigned n;
    size_t chunks, positions, items;
    double perplexity;
    bool halves;
} bench_models;

/* ---- the claims (bench_model_claims.c) ---- */

typedef enum bench_verdict { BENCH_UNTRIED, BENCH_HOLDS, BENCH_REFUTED, BENCH_EQUAL } bench_verdict;
extern const char *const bench_verdicts[];
/* What was found goes to found[size]. Differences below two standard errors, paired by token, are none. */
bench_verdict bench_judge_claim(const bench_models *b, const bench_claim *c, char *found, size_t size);
bench_verdict bench_judge_saving(const bench_models *b, const bench_saving *s, double *part);
uint64_t bench_bytes_of(const bench_result *r);

/* Its recipe, type, or what stands for them; may use room[size]. */
const char *bench_code_text(const bench_code *c, char *room, size_t size);
/* The table as it comes: nothing with --json. Then the claims, or all of it as JSON. */
void bench_model_head(const bench_models *b);
void bench_model_row(const bench_models *b, unsigned i);
int bench_model_report(const bench_models *b);
int bench_model_plot(const bench_models *b, const char *path, bool replace);

#endif
