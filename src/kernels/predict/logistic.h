/* The logistic domain: stretch(p) = ln(p / (1 - p)) and its inverse squash, as integer tables.
 *
 * Stretched values are in 1/256ths of a nat, clamped to +-2047 for inputs (12 bits);
 * probabilities are 16 bits. Tables are made by integer recurrences alone, so they are the
 * same on every machine. */
#ifndef PREDICT_LOGISTIC_H
#define PREDICT_LOGISTIC_H

#include "base/base.h"

#define STRETCH_MAX 2047  /* of an input */
#define SQUASH_MAX 2839   /* squash(2839) is 65535 / 65536 */

typedef struct logistic {
    int16_t stretch[4096];                 /* of a 12-bit probability */
    uint16_t squash[2 * SQUASH_MAX + 2];   /* at x + SQUASH_MAX; 1..65535 */
} logistic;

void logistic_init(logistic *l);

/* p16 of a stretched value of any size */
PITH_INLINE unsigned squash16(const logistic *l, int x) {
    x = x > SQUASH_MAX ? SQUASH_MAX : x < -SQUASH_MAX ? -SQUASH_MAX : x;
    return l->squash[x + SQUASH_MAX];
}

#endif
