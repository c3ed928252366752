/* The session object: limits, the last failure, progress. */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/ctx.h"

static void *default_alloc(void *opaque, size_t size) {
    (void)opaque;
    return malloc(size);
}

static void default_free(void *opaque, void *ptr) {
    (void)opaque;
    free(ptr);
}

struct pith_attached {
    struct pith_attached *next;
    const void *key;
    void *object;
    void (*free_fn)(pith_ctx *, void *);
};

pith_ctx *pith_ctx_new(const pith_allocator *allocator) {
    pith_allocator a = {default_alloc, default_free, NULL};
    if (allocator) a = *allocator;
    pith_ctx *ctx = a.alloc(a.opaque, sizeof *ctx);
    if (!ctx) return NULL;
    memset(ctx, 0, sizeof *ctx);
    ctx->allocator = a;
    ctx->own_allocator = allocator != NULL;
    ctx->memory_limit = PITH_DEFAULT_MEMORY;
    ctx->n_threads = pith_cpu_count();
    if (pthread_mutex_init(&ctx->lock, NULL) != 0) {
        a.free(a.opaque, ctx);
        return NULL;
    }
    return ctx;
}

void pith_ctx_free(pith_ctx *ctx) {
    if (!ctx) return;
    while (ctx->attached) { /* the newest first: it may rest on older ones */
        struct pith_attached *a = ctx->attached;
        ctx->attached = a->next;
        a->free_fn(ctx, a->object);
        pith_free(ctx, a);
    }
    pthread_mutex_destroy(&ctx->lock);
    pith_allocator a = ctx->allocator;
    a.free(a.opaque, ctx);
}

void pith_ctx_set_memory(pith_ctx *ctx, uint64_t bytes) { ctx->memory_limit = bytes ? bytes : PITH_DEFAULT_MEMORY; }

uint64_t pith_ctx_memory(const pith_ctx *ctx) { return ctx->memory_limit; }

void pith_ctx_set_threads(pith_ctx *ctx, unsigned n_threads) {
    if (n_threads == 0) n_threads = pith_cpu_count();
    ctx->n_threads = PITH_MIN(n_threads, 256u);
}

unsigned pith_ctx_threads(const pith_ctx *ctx) { return ctx->n_threads; }

void pith_ctx_set_progress(pith_ctx *ctx, pith_progress_fn fn, void *opaque) {
    ctx->progress = fn;
    ctx->progress_opaque = opaque;
}

const char *pith_error(const pith_ctx *ctx) { return ctx ? ctx->message : "no memory for a session"; }

const char *pith_version(void) { return "0.1.0"; }

const char *pith_status_name(pith_status status) {
    static const char *const names[] = {
        [PITH_OK] = "ok",
        [PITH_E_ARGUMENT] = "bad argument",
        [PITH_E_MEMORY] = "out of memory",
        [PITH_E_LIMIT] = "limit exceeded",
        [PITH_E_FORMAT] = "malformed input",
        [PITH_E_TRUNCATED] = "truncated input",
        [PITH_E_CHECK] = "check failed",
        [PITH_E_IO] = "input/output error",
        [PITH_E_UNSUPPORTED] = "unsupported",
        [PITH_E_CANCELLED] = "cancelled",
        [PITH_E_SPACE] = "destination too small",
        [PITH_E_INTERNAL] = "internal error",
    };
    return (unsigned)status < PITH_COUNT(names) ? names[status] : "unknown status";
}

void pith_begin(pith_ctx *ctx) {
    pthread_mutex_lock(&ctx->lock);
    ctx->failed = false;
    ctx->message[0] = 0;
    atomic_store(&ctx->cancelled, false);
    pthread_mutex_unlock(&ctx->lock);
}

/* Messages quote names from files. One that holds line ends or a terminal's commands must neither break the promise
 * of one line nor reach the terminal. */
static void make_one_line(char *text) {
    for (unsigned char *c = (unsigned char *)text; *c; c++)
        if (*c < ' ' || *c == 0x7f) *c = '?';
}

pith_status pith_fail(pith_ctx *ctx, pith_status status, const char *format, ...) {
    pthread_mutex_lock(&ctx->lock);
    if (!ctx->failed) {
        va_list args;
        va_start(args, format);
        vsnprintf(ctx->message, sizeof ctx->message, format, args);
        va_end(args);
        make_one_line(ctx->message);
        ctx->failed = true;
    }
    pthread_mutex_unlock(&ctx->lock);
    return status;
}

pith_status pith_tick(pith_ctx *ctx, uint64_t done_bytes, uint64_t total_bytes) {
    if (!ctx->progress || atomic_load(&ctx->cancelled)) goto answer;
    if (ctx->progress(ctx->progress_opaque, done_bytes, total_bytes)) atomic_store(&ctx->cancelled, true);
answer:
    return atomic_load(&ctx->cancelled) ? pith_fail(ctx, PITH_E_CANCELLED, "cancelled") : PITH_OK;
}

bool pith_cancelled(const pith_ctx *ctx) { return atomic_load(&ctx->cancelled); }

static struct pith_attached *attached_find(const pith_ctx *ctx, const void *key) {
    struct pith_attached *a = ctx->attached;
    while (a && a->key != key) a = a->next;
    return a;
}

pith_status pith_attach(pith_ctx *ctx, const void *key, void *object, void (*free_fn)(pith_ctx *, void *)) {
    struct pith_attached *a = pith_alloc(ctx, sizeof *a);
    if (!a) return pith_alloc_status(ctx);
    *a = (struct pith_attached){.key = key, .object = object, .free_fn = free_fn};
    pthread_mutex_lock(&ctx->lock);
    bool taken = attached_find(ctx, key) != NULL;
    if (!taken) {
        a->next = ctx->attached;
        ctx->attached = a;
    }
    pthread_mutex_unlock(&ctx->lock);
    if (!taken) return PITH_OK;
    pith_free(ctx, a);
    return pith_fail(ctx, PITH_E_ARGUMENT, "the session holds such an object already");
}

void *pith_attached_get(pith_ctx *ctx, const void *key) {
    pthread_mutex_lock(&ctx->lock);
    struct pith_attached *a = attached_find(ctx, key);
    pthread_mutex_unlock(&ctx->lock);
    return a ? a->object : NULL;
}
