/* Jobs on threads, progress on the caller's: the calling thread may not be among the workers,
 * because a block of a slow level takes minutes and progress callbacks belong to it. */
#include "artefacts/file/work.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define POLL_NS 50000000

typedef struct work_crew {
    const work_run *run;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool is_ended;
    pith_status status;
    size_t failed;
    _Atomic uint64_t done_bytes;
} work_crew;

static pith_status work_job(void *arg, size_t i) {
    work_crew *c = arg;
    const work_run *run = c->run;
    pthread_mutex_lock(&c->lock);
    bool stop = c->status != PITH_OK;
    pthread_mutex_unlock(&c->lock);
    if (stop || pith_cancelled(run->ctx)) return PITH_E_CANCELLED;
    pith_meter meter;
    pith_meter_begin(&meter, &c->done_bytes, run->job_bytes);
    pith_status status = run->fn(run->arg, i);
    pith_meter_end(&meter, status == PITH_OK);
    if (!status) return PITH_OK;
    pthread_mutex_lock(&c->lock);
    if (!c->status) { /* the first to fail, whose message the session keeps */
        c->status = status;
        c->failed = i;
    }
    pthread_mutex_unlock(&c->lock);
    return status;
}

static void *work_main(void *arg) {
    work_crew *c = arg;
    pith_status status = pith_parallel(c->run->ctx, c->run->n, work_job, c);
    pthread_mutex_lock(&c->lock);
    if (!c->status) c->status = status;
    c->is_ended = true;
    pthread_cond_signal(&c->ended);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static void watch(work_crew *c) {
    const work_run *run = c->run;
    uint64_t total = run->total_bytes == UINT64_MAX ? 0 : run->total_bytes;
    pthread_mutex_lock(&c->lock);
    while (!c->is_ended) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += POLL_NS;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        pthread_cond_timedwait(&c->ended, &c->lock, &until);
        if (c->is_ended) break;
        pthread_mutex_unlock(&c->lock);
        uint64_t done = atomic_load(&c->done_bytes);
        pith_tick(run->ctx, total ? PITH_MIN(done, total) : done, total); /* a cancel is seen by the jobs */
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
}

pith_status work_parallel(const work_run *run, size_t *failed) {
    work_crew c = {.run = run, .done_bytes = run->done_bytes};
    *failed = 0;
    if (pthread_mutex_init(&c.lock, NULL) != 0) return pith_fail(run->ctx, PITH_E_MEMORY, "no memory for a lock");
    if (pthread_cond_init(&c.ended, NULL) != 0) {
        pthread_mutex_destroy(&c.lock);
        return pith_fail(run->ctx, PITH_E_MEMORY, "no memory for a lock");
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, work_main, &c) == 0) {
        watch(&c);
        pthread_join(thread, NULL);
    } else {
        work_main(&c); /* no thread to be had: work without progress */
    }
    pthread_cond_destroy(&c.ended);
    pthread_mutex_destroy(&c.lock);
    *failed = c.failed;
    return c.status;
}
