/* pith: compression for what a language-model stack stores, moves and reads.
 *
 * This header: the session object every call takes, status codes, limits and
 * progress. One header per artefact stands beside it (file.h for lossless files).
 *
 * Rules that hold for every function of the library:
 *  - it returns a pith_status, PITH_OK being 0; the details are pith_error(ctx);
 *  - it never prints, exits or aborts; failing allocation is an error like any other;
 *  - sizes are bytes, and every size taken from input is checked before it is used;
 *  - a session may be used by one thread at a time; different sessions are independent.
 */
#ifndef PITH_PITH_H
#define PITH_PITH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32) || !defined(__GNUC__)
#define PITH_API
#else
#define PITH_API __attribute__((visibility("default")))
#endif

#define PITH_VERSION_MAJOR 0
#define PITH_VERSION_MINOR 1
#define PITH_VERSION_PATCH 0

typedef enum pith_status {
    PITH_OK = 0,
    PITH_E_ARGUMENT = 1,    /* the caller asked for something that makes no sense */
    PITH_E_MEMORY = 2,      /* the system had no memory to give */
    PITH_E_LIMIT = 3,       /* a limit of the session (memory, cost, size) would be passed */
    PITH_E_FORMAT = 4,      /* the input is malformed */
    PITH_E_TRUNCATED = 5,   /* the input ends too early */
    PITH_E_CHECK = 6,       /* a check value does not match: the data are damaged */
    PITH_E_IO = 7,          /* reading or writing failed */
    PITH_E_UNSUPPORTED = 8, /* valid, but this build cannot do it (a newer format, a missing library) */
    PITH_E_CANCELLED = 9,   /* the progress callback asked to stop */
    PITH_E_SPACE = 10,      /* the destination buffer is too small */
    PITH_E_INTERNAL = 11    /* a bug in pith */
} pith_status;

typedef struct pith_ctx pith_ctx;

/* Called now and then with the work done so far. `total` is 0 when unknown.
 * A non-zero return cancels: the running call ends with PITH_E_CANCELLED.
 * Always called from the thread that made the call. */
typedef int (*pith_progress_fn)(void *opaque, uint64_t done_bytes, uint64_t total_bytes);

/* An allocator in the shape of realloc's two halves; `size` is never 0. */
typedef struct pith_allocator {
    void *(*alloc)(void *opaque, size_t size); /* NULL on failure; 16-byte aligned */
    void (*free)(void *opaque, void *ptr);
    void *opaque;
} pith_allocator;

/* A session. `allocator` may be NULL (malloc). Returns NULL when there is no memory. */
PITH_API pith_ctx *pith_ctx_new(const pith_allocator *allocator);
PITH_API void pith_ctx_free(pith_ctx *ctx);

/* The most memory, in bytes, the session may hold at once. 0 restores the default, 1 GiB. */
PITH_API void pith_ctx_set_memory(pith_ctx *ctx, uint64_t bytes);
PITH_API uint64_t pith_ctx_memory(const pith_ctx *ctx);
/* Threads to use, 1..256; 0 means one per processor. Output never depends on it. */
PITH_API void pith_ctx_set_threads(pith_ctx *ctx, unsigned n_threads);
PITH_API unsigned pith_ctx_threads(const pith_ctx *ctx);
PITH_API void pith_ctx_set_progress(pith_ctx *ctx, pith_progress_fn fn, void *opaque);

/* The message of the last failure in this session: one line, never NULL, "" when none. */
PITH_API const char *pith_error(const pith_ctx *ctx);
/* A short fixed name for a status, such as "malformed input". */
PITH_API const char *pith_status_name(pith_status status);
/* "0.1.0" */
PITH_API const char *pith_version(void);
/* The instruction set in use: "scalar", "avx2" or "avx512". PITH_CPU in the environment forces one. */
PITH_API const char *pith_cpu(void);

#ifdef __cplusplus
}
#endif
#endif
