/* An allocator that counts what is held and fails on demand. */
#ifndef SUPPORT_DATA_HEAP_H
#define SUPPORT_DATA_HEAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "pith/pith.h"

/* The allocation number `fail_at`, counted from 0 in `calls`, and all after it fail. */
typedef struct data_heap {
    atomic_long held, calls;
    long fail_at; /* -1: never */
    bool once;    /* those after it do not fail */
} data_heap;

static inline void *data_heap_alloc(void *opaque, size_t size) {
    data_heap *h = opaque;
    long call = atomic_fetch_add(&h->calls, 1);
    if (h->fail_at >= 0 && (h->once ? call == h->fail_at : call >= h->fail_at)) return NULL;
    void *p = malloc(size);
    if (p) atomic_fetch_add(&h->held, 1);
    return p;
}

static inline void data_heap_free(void *opaque, void *ptr) {
    data_heap *h = opaque;
    if (ptr) atomic_fetch_sub(&h->held, 1);
    free(ptr);
}

/* From now on n allocations succeed; -1: all. */
static inline void data_heap_limit(data_heap *h, long n) {
    atomic_store(&h->calls, 0);
    h->fail_at = n;
}

static inline pith_allocator data_heap_allocator(data_heap *h) {
    return (pith_allocator){data_heap_alloc, data_heap_free, h};
}

#endif
