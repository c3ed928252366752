/* Progress inside a job. Each thread knows at most one meter; steps of a phase are weighed so that
 * the job as a whole adds the bytes it was said to be worth, whatever it does on the way. */
#include <stdatomic.h>

#include "base/base.h"

static _Thread_local pith_meter *current;

/* The counted bytes become `to`, or `most` when that is less; they never become fewer. */
static void count_to(pith_meter *m, double to) {
    if (to > m->most) to = m->most;
    if (to <= m->now) return;
    uint64_t whole = (uint64_t)to;
    if (whole > m->counted) {
        atomic_fetch_add(m->sum, whole - m->counted);
        m->counted = whole;
    }
    m->now = to;
}

void pith_meter_begin(pith_meter *m, _Atomic uint64_t *sum, uint64_t bytes) {
    *m = (pith_meter){.sum = sum, .most = (double)bytes};
    current = m;
}

void pith_meter_end(pith_meter *m, bool complete) {
    if (complete && (uint64_t)m->most > m->counted) atomic_fetch_add(m->sum, (uint64_t)m->most - m->counted);
    current = NULL;
}

void pith_phase(double share, uint64_t steps) {
    pith_meter *m = current;
    if (!m) return;
    count_to(m, m->phase_end);
    m->phase_end = PITH_MIN(m->now + share * m->most, m->most);
    m->per_step = steps ? share * m->most / (double)steps : 0;
}

bool pith_step(const pith_ctx *ctx, uint64_t steps) {
    pith_meter *m = current;
    if (m && m->per_step > 0) count_to(m, PITH_MIN(m->now + (double)steps * m->per_step, m->phase_end));
    return pith_cancelled(ctx);
}
