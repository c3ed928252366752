/* The inside of a session. Only base/ looks in here. */
#ifndef BASE_CTX_H
#define BASE_CTX_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/base.h"

#define PITH_DEFAULT_MEMORY (UINT64_C(1) << 30)

struct pith_ctx {
    pith_allocator allocator;
    bool own_allocator; /* the caller's: every byte goes through it, no pages of our own */
    uint64_t memory_limit;
    unsigned n_threads;
    pith_progress_fn progress;
    void *progress_opaque;
    atomic_bool cancelled;
    _Atomic unsigned n_busy; /* threads that pith_parallel has at work */
    _Atomic uint64_t memory_used, memory_peak;
    pthread_mutex_t lock; /* guards the message and what is attached */
    struct pith_attached *attached;
    bool failed;
    char message[512];
};

#endif
