/* A team of threads that stays: the many short parallel steps of one forward pass would spend
 * more on starting threads than on work. Waiting members spin for a few tens of microseconds,
 * then sleep, so that an idle team costs nothing.
 *
 * A run is open until the caller finds no part left; a member takes part only when it comes in
 * time, and the caller waits for those alone. So a member that the system has put aside, as on
 * a machine with fewer processors than threads, delays nobody. */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/base.h"

#define SPIN_NS 40000
#define OPEN 1u
#define JOINED 2u /* one member in the count above the open bit */

struct pith_team {
    unsigned n_members; /* threads beside the caller */
    bool spins;
    pith_team_fn fn; /* of the open run */
    void *arg;
    size_t n_parts;
    _Atomic size_t next;
    _Atomic uint32_t state; /* open bit and members at work */
    _Atomic uint32_t round; /* counts runs */
    _Atomic uint32_t sleepers;
    _Atomic bool stop;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct member {
        pith_team *team;
        pthread_t thread;
        unsigned number;
    } members[];
};

static void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void take_parts(pith_team *t, unsigned member) {
    for (size_t i; (i = atomic_fetch_add_explicit(&t->next, 1, memory_order_relaxed)) < t->n_parts;)
        t->fn(t->arg, i, member);
}

/* True when the run is still open; then the member counts until it leaves. */
static bool join(pith_team *t) {
    uint32_t state = atomic_load(&t->state);
    while (state & OPEN)
        if (atomic_compare_exchange_weak(&t->state, &state, state + JOINED)) return true;
    return false;
}

/* Waits for a round other than `seen`; false when the team ends. */
static bool await_round(pith_team *t, uint32_t seen) {
    if (t->spins) {
        uint64_t end = now_ns() + SPIN_NS;
        do {
            for (int i = 0; i < 64; i++) {
                if (atomic_load_explicit(&t->round, memory_order_acquire) != seen || atomic_load(&t->stop))
                    return !atomic_load(&t->stop);
                pause_briefly();
            }
        } while (now_ns() < end);
    }
    pthread_mutex_lock(&t->lock);
    atomic_fetch_add(&t->sleepers, 1); /* before the look at the round, as the caller looks the other way round */
    while (atomic_load(&t->round) == seen && !atomic_load(&t->stop)) pthread_cond_wait(&t->wake, &t->lock);
    atomic_fetch_sub(&t->sleepers, 1);
    pthread_mutex_unlock(&t->lock);
    return !atomic_load(&t->stop);
}

static void *serve(void *opaque) {
    struct member *m = opaque;
    pith_team *t = m->team;
    uint32_t seen = 0;
    while (await_round(t, seen)) {
        seen = atomic_load(&t->round);
        if (!join(t)) continue;
        take_parts(t, m->number);
        atomic_fetch_sub(&t->state, JOINED);
    }
    return NULL;
}

static void rouse(pith_team *t) {
    if (atomic_load(&t->sleepers) == 0) return;
    pthread_mutex_lock(&t->lock);
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->lock);
}

pith_status pith_team_new(pith_ctx *ctx, unsigned n_threads, pith_team **out) {
    *out = NULL;
    n_threads = PITH_MAX(1u, PITH_MIN(n_threads, 256u));
    pith_team *t = pith_zalloc(ctx, sizeof *t + (n_threads - 1) * sizeof t->members[0]);
    if (!t) return pith_alloc_status(ctx);
    if (pthread_mutex_init(&t->lock, NULL) != 0) {
        pith_free(ctx, t);
        return pith_fail(ctx, PITH_E_MEMORY, "no memory for a lock");
    }
    if (pthread_cond_init(&t->wake, NULL) != 0) {
        pthread_mutex_destroy(&t->lock);
        pith_free(ctx, t);
        return pith_fail(ctx, PITH_E_MEMORY, "no memory for a lock");
    }
    t->spins = n_threads <= pith_cpu_count();
    /* fewer threads than asked for is slower, not wrong */
    for (unsigned i = 0; i + 1 < n_threads; i++) {
        struct member *m = &t->members[i];
        *m = (struct member){.team = t, .number = i + 1};
        if (pthread_create(&m->thread, NULL, serve, m) != 0) break;
        t->n_members++;
    }
    *out = t;
    return PITH_OK;
}

void pith_team_free(pith_ctx *ctx, pith_team *t) {
    if (!t) return;
    atomic_store(&t->stop, true);
    pthread_mutex_lock(&t->lock);
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->lock);
    for (unsigned i = 0; i < t->n_members; i++) pthread_join(t->members[i].thread, NULL);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    pith_free(ctx, t);
}

unsigned pith_team_size(const pith_team *t) { return t->n_members + 1; }

void pith_team_run(pith_team *t, pith_team_fn fn, void *arg, size_t n_parts) {
    if (t->n_members == 0 || n_parts < 2) {
        for (size_t i = 0; i < n_parts; i++) fn(arg, i, 0);
        return;
    }
    t->fn = fn;
    t->arg = arg;
    t->n_parts = n_parts;
    atomic_store(&t->next, 0);
    atomic_store(&t->state, OPEN);
    atomic_fetch_add(&t->round, 1);
    rouse(t);
    take_parts(t, 0);
    atomic_fetch_and(&t->state, ~OPEN);
    for (unsigned spun = 0; atomic_load(&t->state) != 0; spun++) {
        if (t->spins && spun < 4096)
            pause_briefly();
        else
            nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
}
