/* From logits to probabilities: the same bits everywhere. */
#include <math.h>

#include "lm/lm.h"
#include "math/math.h"

#define STRIP 256 /* logits at a time */

static float largest(const float *x, size_t n) {
    float top = x[0];
    for (size_t i = 1; i < n; i++) top = x[i] > top ? x[i] : top;
    return top;
}

/* ln of the sum of e^x: the terms in single precision, their sum in double, in order of index.
 * Off by less than 2^-22 of the sum. */
static double log_sum(const float *x, size_t n, float top) {
    double sum = 0;
    for (size_t at = 0; at < n; at += STRIP) {
        float term[STRIP];
        size_t here = PITH_MIN((size_t)STRIP, n - at);
        for (size_t i = 0; i < here; i++) term[i] = x[at + i] - top;
        exact()->exp(term, term, here);
        for (size_t i = 0; i < here; i++) sum = sum + (double)term[i];
    }
    return (double)top + real_log(sum);
}

double lm_bits(const float *logits, size_t n_vocab, uint32_t id) {
    double nats = log_sum(logits, n_vocab, largest(logits, n_vocab)) - (double)logits[id];
    return nats * 1.44269504088896340736;
}

void lm_log_softmax(const float *logits, float *out, size_t n_vocab) {
    double all = log_sum(logits, n_vocab, largest(logits, n_vocab));
    for (size_t i = 0; i < n_vocab; i++) out[i] = (float)((double)logits[i] - all);
}

uint32_t lm_argmax(const float *logits, size_t n_vocab) {
    size_t best = 0;
    for (size_t i = 1; i < n_vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return (uint32_t)best;
}
