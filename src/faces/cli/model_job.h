/* What `pith model compress` and `pith model decompress` share: one file in, one file out, whole or not at all. */
#ifndef CLI_MODEL_JOB_H
#define CLI_MODEL_JOB_H

#include "faces/cli/cmd_lm.h"
#include "pith/model.h"

#define MODEL_JOB_SUFFIX ".pith"

typedef struct model_job {
    lm_options o;
    pith_ctx *ctx;
    const char *verb, *in, *out;
    char *derived; /* owned name behind `out` when it was not given */
    struct stat st; /* of `in` */
    cli_output file;
    bool remove; /* --rm */
    bool to_stdout; /* `out` is standard output */
    double seconds;
} model_job;

/* Session and names from the parsed options, then run(j), then everything is given back. */
int model_job_run(model_job *j, const char *help, int (*run)(model_job *));
/* Looks at the input; opens the output unless out is NULL. Refuses input and output in one, and what is there already. */
int model_job_start(model_job *j);
/* A pith_write_fn into the output; opaque is the job. */
int model_job_write(void *opaque, const void *data, size_t size);
/* The session's message, unless a write has told its own already. */
int model_job_failed(model_job *j, pith_status status);
/* --rm: the input goes only when it is still the file that was read. */
int model_job_remove_input(const model_job *j);
void model_job_watch(model_job *j, cli_progress *progress, const char *verb);
void model_job_unwatch(model_job *j, cli_progress *progress);

#endif
