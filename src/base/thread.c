/* A parallel for: threads take the next index until none is left. */
#include <pthread.h>

#include "base/ctx.h"

typedef struct crew {
    pith_job_fn fn;
    void *arg;
    size_t n;
    _Atomic size_t next;
    pthread_mutex_t lock;
    size_t failed_at; /* lowest failing index so far, n when none */
    pith_status status;
} crew;

static void *work(void *opaque) {
    crew *c = opaque;
    for (size_t i; (i = atomic_fetch_add(&c->next, 1)) < c->n;) {
        pith_status status = c->fn(c->arg, i);
        if (!status) continue;
        pthread_mutex_lock(&c->lock);
        if (i < c->failed_at) {
            c->failed_at = i;
            c->status = status;
        }
        pthread_mutex_unlock(&c->lock);
    }
    return NULL;
}

pith_status pith_parallel(pith_ctx *ctx, size_t n, pith_job_fn fn, void *arg) {
    crew c = {.fn = fn, .arg = arg, .n = n, .failed_at = n};
    size_t n_threads = PITH_MIN((size_t)ctx->n_threads, n), started = 0;
    if (pthread_mutex_init(&c.lock, NULL) != 0) return pith_fail(ctx, PITH_E_MEMORY, "no memory for a lock");
    pthread_t threads[256];
    /* fewer threads than asked for is slower, not wrong */
    while (started + 1 < n_threads && pthread_create(&threads[started], NULL, work, &c) == 0) started++;
    atomic_fetch_add(&ctx->n_busy, (unsigned)started + 1);
    work(&c);
    for (size_t i = 0; i < started; i++) pthread_join(threads[i], NULL);
    atomic_fetch_sub(&ctx->n_busy, (unsigned)started + 1);
    pthread_mutex_destroy(&c.lock);
    return c.status;
}

unsigned pith_threads_free(const pith_ctx *ctx) {
    unsigned n_busy = atomic_load(&ctx->n_busy);
    return PITH_MAX(ctx->n_threads / PITH_MAX(n_busy, 1u), 1u);
}
