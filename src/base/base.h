/* The ground floor: what every other room may rely on.
 * Session internals, memory, failures, byte order, checks, processor features, threads. */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pith/pith.h"

#define PITH_MIN(a, b) ((a) < (b) ? (a) : (b))
#define PITH_MAX(a, b) ((a) > (b) ? (a) : (b))
#define PITH_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#if defined(__GNUC__)
#define PITH_LIKELY(x) __builtin_expect(!!(x), 1)
#define PITH_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define PITH_INLINE static inline __attribute__((always_inline))
#define PITH_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define PITH_PREFETCH(p) __builtin_prefetch(p)
#else
#define PITH_LIKELY(x) (x)
#define PITH_UNLIKELY(x) (x)
#define PITH_INLINE static inline
#define PITH_PRINTF(fmt, args)
#define PITH_PREFETCH(p) ((void)(p))
#endif

/* ---- failures (ctx.c) -------------------------------------------------- */

/* Records the message and gives the status back: `return pith_fail(ctx, PITH_E_FORMAT, "...")`.
 * Thread-safe; the first failure of a call is kept, later ones in other threads are dropped.
 * Messages are one line without a final full stop. */
pith_status pith_fail(pith_ctx *ctx, pith_status status, const char *format, ...) PITH_PRINTF(3, 4);
/* Every public entry point calls this first: forgets the last message. */
void pith_begin(pith_ctx *ctx);
/* Reports progress and asks whether to stop; call from the calling thread only. */
pith_status pith_tick(pith_ctx *ctx, uint64_t done_bytes, uint64_t total_bytes);
/* True once a tick was answered with "cancel"; any thread may ask. */
bool pith_cancelled(const pith_ctx *ctx);

/* ---- what a floor above keeps in a session (ctx.c) ----------------------- */

/* One object per key, freed with the session, before its allocator goes. `key` is the address of
 * something static. Thread-safe; pith_attach replaces nothing: PITH_E_ARGUMENT when the key is taken. */
pith_status pith_attach(pith_ctx *ctx, const void *key, void *object, void (*free_fn)(pith_ctx *, void *));
void *pith_attached_get(pith_ctx *ctx, const void *key); /* NULL when there is none */

/* ---- memory (memory.c) ------------------------------------------------- */

/* 64-byte aligned, counted against the session's limit, NULL with a recorded failure
 * (PITH_E_LIMIT or PITH_E_MEMORY) when it cannot be had. Thread-safe. */
void *pith_alloc(pith_ctx *ctx, size_t size);
/* The same, zeroed. Big ones come as untouched zero pages (huge pages where the system
 * has them), so a table costs only what is used of it. */
void *pith_zalloc(pith_ctx *ctx, size_t size);
/* NULL is fine. */
void pith_free(pith_ctx *ctx, void *ptr);
/* Bytes held now, and the most ever held. */
uint64_t pith_memory_used(const pith_ctx *ctx);
uint64_t pith_memory_peak(const pith_ctx *ctx);
/* Which of the two the last NULL from this thread's pith_alloc meant. */
pith_status pith_alloc_status(const pith_ctx *ctx);

/* A growing byte buffer. Zero-initialise; free with pith_buffer_free. */
typedef struct pith_buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
} pith_buffer;
pith_status pith_buffer_reserve(pith_ctx *ctx, pith_buffer *b, size_t more);
pith_status pith_buffer_append(pith_ctx *ctx, pith_buffer *b, const void *data, size_t size);
void pith_buffer_free(pith_ctx *ctx, pith_buffer *b);

/* ---- bytes: little-endian whatever the machine -------------------------- */

PITH_INLINE uint16_t load16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
PITH_INLINE uint32_t load32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
PITH_INLINE uint64_t load64(const uint8_t *p) { return load32(p) | (uint64_t)load32(p + 4) << 32; }
PITH_INLINE void store16(uint8_t *p, uint16_t v) { p[0] = (uint8_t)v; p[1] = (uint8_t)(v >> 8); }
PITH_INLINE void store32(uint8_t *p, uint32_t v) { store16(p, (uint16_t)v); store16(p + 2, (uint16_t)(v >> 16)); }
PITH_INLINE void store64(uint8_t *p, uint64_t v) { store32(p, (uint32_t)v); store32(p + 4, (uint32_t)(v >> 32)); }

/* LEB128 unsigned varints, at most 10 bytes, shortest form only. */
size_t pith_varint_put(uint8_t *p, uint64_t v);
/* Bytes read, or 0 when the number is cut off, too long or not in its shortest form. */
size_t pith_varint_get(const uint8_t *p, size_t n, uint64_t *v);
#define PITH_VARINT_MAX 10

/* ---- checks (hash.c): XXH3-64 and CRC-32 of bytes ------------------------ */

uint64_t pith_hash64(const void *data, size_t size);
typedef struct pith_hash pith_hash; /* streaming XXH3-64 */
pith_hash *pith_hash_new(pith_ctx *ctx);
void pith_hash_update(pith_hash *h, const void *data, size_t size);
uint64_t pith_hash_value(const pith_hash *h);
void pith_hash_free(pith_ctx *ctx, pith_hash *h);

/* ---- processor (cpu.c) --------------------------------------------------- */

typedef enum pith_cpu_level { PITH_CPU_SCALAR, PITH_CPU_AVX2, PITH_CPU_AVX512 } pith_cpu_level;
/* Best level this machine has, lowered by PITH_CPU=scalar|avx2|avx512; fixed at first call.
 * AVX2 means AVX2+FMA+BMI2+F16C; AVX512 means F+BW+DQ+VL on top of it. */
pith_cpu_level pith_cpu_best(void);
unsigned pith_cpu_count(void);

/* ---- threads (thread.c) --------------------------------------------------- */

/* Runs fn(arg, i) for i in [0, n) on up to pith_ctx_threads() threads, the caller among
 * them; returns when all are done with the lowest-numbered failure. fn must not call
 * pith_tick. Results may not depend on the order or the number of threads. */
typedef pith_status (*pith_job_fn)(void *arg, size_t i);
pith_status pith_parallel(pith_ctx *ctx, size_t n, pith_job_fn fn, void *arg);
/* Threads a job may use for itself, so that all jobs at once use those of the session; at least 1. */
unsigned pith_threads_free(const pith_ctx *ctx);

/* ---- progress inside a job (meter.c) --------------------------------------- */

/* Long work calls this every 64 KiB or so, or every few milliseconds, from the thread that does it: so
 * many more of its bytes are done. True once the call was cancelled: clean up and give back
 * PITH_E_CANCELLED. Costs some nanoseconds; without a meter it only asks for the cancel. */
bool pith_step(const pith_ctx *ctx, uint64_t steps);

/* For those who run the jobs and show the sum: until pith_meter_end, steps of this thread count
 * towards `bytes` of progress, added to *sum as they are made. A meter begins in no phase. */
typedef struct pith_meter {
    _Atomic uint64_t *sum;
    uint64_t counted; /* added to *sum so far */
    double most, now, phase_end, per_step;
} pith_meter;
void pith_meter_begin(pith_meter *m, _Atomic uint64_t *sum, uint64_t bytes);
/* `complete`: what is left is counted at once; else it never will be. */
void pith_meter_end(pith_meter *m, bool complete);
/* For the job: `steps` steps from here on are worth `share` (0..1) of it, 0 for work that is not
 * progress, such as trials. Ends the phase before, counting what was left of it. */
void pith_phase(double share, uint64_t steps);

/* ---- a team of threads that stays (team.c) ---------------------------------- */

/* For many short parallel steps: no thread is started and nothing allocated per run. */
typedef struct pith_team pith_team;
/* `member` is below pith_team_size(), 0 for the caller; two parts at once have different ones. */
typedef void (*pith_team_fn)(void *arg, size_t part, unsigned member);
/* n_threads counts the caller. A team is used by one thread at a time. */
pith_status pith_team_new(pith_ctx *ctx, unsigned n_threads, pith_team **out);
/* Runs fn(arg, i, member) for i in [0, n_parts), the caller taking part; returns when all are done.
 * Results may not depend on the order or the number of threads. */
void pith_team_run(pith_team *t, pith_team_fn fn, void *arg, size_t n_parts);
unsigned pith_team_size(const pith_team *t);
void pith_team_free(pith_ctx *ctx, pith_team *t); /* NULL is fine */

#endif
