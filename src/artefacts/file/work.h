/* A batch of blocks on several threads while the calling thread reports progress and listens
 * for "cancel". Private to the file artefact. */
#ifndef FILE_WORK_H
#define FILE_WORK_H

#include "base/base.h"

typedef struct work_run {
    pith_ctx *ctx;
    size_t n; /* jobs */
    pith_job_fn fn;
    void *arg;
    uint64_t done_bytes;  /* raw bytes finished before this batch */
    uint64_t total_bytes; /* of the whole call; 0 or PITH_SIZE_UNKNOWN when not known */
    uint64_t job_bytes;   /* raw bytes of one job, for progress */
} work_run;

/* Runs the jobs; no more are begun after a failure or a cancel. On failure *failed is the job
 * whose status and message are given back. */
pith_status work_parallel(const work_run *run, size_t *failed);

#endif
