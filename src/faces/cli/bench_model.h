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
    double spread;      /* bits of step(...) on average, spread over the matrices; 0: recipe or type */
    const char *method; /* by which allocator (model_budget_names); NULL: the closed form of model_spread */
    bool data;          /* takes statistics; without, it is tried as if there were none */
} bench_code;
extern const bench_code bench_codes[];
extern const unsigned bench_n_codes;
extern const char bench_few[]; /* names of those that are tried when nothing is said: one of each kind, a minute of a processor */

/* `better` has at most `factor` of the KL of what `worse` would have in its bytes: of one code that takes as many or
 * more, or of several between whose bytes ln KL is taken to be straight. */
typedef struct bench_claim {
    const char *claim;
    double factor;
    const char *better, *worse[6]; /* ends with NULL */
} bench_claim;
extern const bench_claim bench_claims[];
extern const unsigned bench_n_claims;

/* Bytes on the curve of a group where its KL is that of `name`, as a part of the bytes of `name`: at most `part`. Of a
 * curve that ends on one side of it the end stands for it, where that decides. */
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
    char *made;        /* the recipe that an allocator made, or NULL */
    model_trial trial;
    model_score score;
    double *kl; /* [n_kl], of each position */
    size_t n_kl;
    json_t *kept; /* from a file of an earlier run, or NULL */
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
    const char *matrices; /* patterns of those that are coded, bytes and bits being theirs; NULL: all */
    const char *resume;   /* bench_model_resume.c; NULL: nothing is kept */
    json_t *resume_head;
    FILE *resume_file;
    uint64_t resume_bytes;
} bench_models;

/* ---- the claims (bench_model_claims.c) ---- */

typedef enum bench_verdict { BENCH_UNTRIED, BENCH_HOLDS, BENCH_REFUTED, BENCH_EQUAL } bench_verdict;
extern const char *const bench_verdicts[];
/* What was found goes to found[size]. Differences below two standard errors, paired by token, are none. */
bench_verdict bench_judge_claim(const bench_models *b, const bench_claim *c, char *found, size_t size);
bench_verdict bench_judge_saving(const bench_models *b, const bench_saving *s, double *part);
uint64_t bench_bytes_of(const bench_result *r);

/* ---- recipes made for the model (bench_model_allocate.c) ---- */

/* Those of rows that are not done. text: for calibration; when it is empty the model says one by itself. */
int bench_model_allocate(bench_models *b, const lm_model *m, uint64_t seed, pith_buffer *text);

/* ---- what recipes ask for (bench_model_needs.c) ---- */

/* A table of the rows' codes, none of them done: data, gradients, seconds; or JSON. */
int bench_model_needs(const bench_models *b);

/* ---- results that last (bench_model_resume.c) ---- */

/* Fills in results that a file holds, if there is one, and leaves them done. */
int bench_resume_read(bench_models *b, const char *path);
/* Once the base has been read: refuses a file of another table, begins a new one. */
int bench_resume_begin(bench_models *b);
int bench_resume_add(bench_models *b, const bench_result *r);
void bench_resume_end(bench_models *b);

/* ---- the report (bench_model_report.c) ---- */

/* Its recipe, type, or what stands for them; may use room[size]. */
const char *bench_code_text(const bench_code *c, char *room, size_t size);
/* The table as it comes: nothing with --json. Then the claims, or all of it as JSON. */
void bench_model_head(const bench_models *b);
void bench_model_row(const bench_models *b, unsigned i);
int bench_model_report(const bench_models *b);
json_t *bench_result_json(const bench_result *r);
int bench_model_plot(const bench_models *b, const char *path, bool replace);

#endif
