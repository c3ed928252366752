/* Timings of a model at work: processor time, so that what else runs on the machine counts little. */
#include <time.h>

#include "lm/ruler/ruler.h"

#define BATCH 512

static double clock_seconds(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* One request: the prompt in batches, then one token at a time. Ids run through the vocabulary. */
static pith_status serve(lm_session *s, uint32_t n_vocab, uint32_t prompt, uint32_t output) {
    lm_token batch[BATCH];
    uint32_t id = 1;
    pith_status status = lm_truncate(s, 0, 0);
    for (uint32_t at = 0; at < prompt && !status;) {
        size_t n = 0;
        for (; n < BATCH && at < prompt; n++, at++) {
            id = (id * 5 + 17) % n_vocab;
            batch[n] = (lm_token){.id = id, .want_logits = at + 1 == prompt};
        }
        status = lm_eval(s, batch, n);
    }
    for (uint32_t i = 1; i < output && !status; i++)
        status = lm_eval(s, &(lm_token){.id = lm_argmax(lm_logits(s, 0), n_vocab), .want_logits = true}, 1);
    return status;
}

pith_status ruler_runtime_measure(pith_ctx *ctx, const lm_model *m, ruler_timing *timings, size_t n, unsigned repeats,
                                  double *wall) {
    uint32_t most = 1, n_vocab = lm_about(m)->n_vocab;
    for (size_t i = 0; i < n; i++) {
        uint64_t length = (uint64_t)timings[i].prompt + timings[i].output;
        if (!timings[i].prompt || !timings[i].output || length > 1u << 24)
            return pith_fail(ctx, PITH_E_ARGUMENT, "request %zu: a prompt and an output of at least one token", i);
        most = PITH_MAX(most, (uint32_t)length);
    }
    lm_session_options so = {.n_ctx = most,
                             .n_sequences = 1,
                             .max_batch = PITH_MIN(most, (uint32_t)BATCH),
                             .max_logits = 1,
                             .cache = lm_cache_of(m),
                             .n_threads = 1};
    lm_session *s = NULL;
    pith_status status = lm_session_new(ctx, m, &so, &s);
    if (!status && n) status = serve(s, n_vocab, PITH_MIN(most - 1, 64u) + (most == 1), 1); /* pages touched */
    for (unsigned r = 0; r < repeats && !status; r++)
        for (size_t i = 0; i < n && !status; i++) {
            double cpu = clock_seconds(CLOCK_THREAD_CPUTIME_ID), now = clock_seconds(CLOCK_MONOTONIC);
            status = serve(s, n_vocab, timings[i].prompt, timings[i].output);
            cpu = clock_seconds(CLOCK_THREAD_CPUTIME_ID) - cpu;
            now = clock_seconds(CLOCK_MONOTONIC) - now;
            if (r == 0 || cpu < timings[i].seconds) {
                timings[i].seconds = cpu;
                if (wall) wall[i] = now;
            }
            if (!status) status = pith_tick(ctx, r * n + i + 1, n * repeats);
        }
    lm_session_free(s);
    return status;
}
