/* A byte model that is trained once and then stays as it is: counts of bits under the last 0 to 5
 * bytes. Private to distance/. */
#ifndef LM_DISTANCE_FROZEN_H
#define LM_DISTANCE_FROZEN_H

#include "base/base.h"

#define FROZEN_ORDERS 6

typedef struct frozen_cell {
    uint16_t check;
    uint8_t n[2]; /* zeros and ones seen */
} frozen_cell;

typedef struct frozen {
    frozen_cell *table;
    size_t mask;
    /* where it stands */
    uint64_t last;                /* bytes since the start, the latest lowest */
    unsigned n_bytes;             /* of them, FROZEN_ORDERS - 1 at most */
    unsigned node;                /* bits of the byte so far behind a leading 1 */
    uint32_t base[FROZEN_ORDERS]; /* hashes of the contexts */
} frozen;

/* Learns from text[n]. Free with frozen_close. */
pith_status frozen_open(pith_ctx *ctx, const uint8_t *text, size_t n, frozen *f);
void frozen_close(pith_ctx *ctx, frozen *f);
/* Forgets what came before, not what was learnt. */
void frozen_restart(frozen *f);
/* Probability of a 1 in 1/65536ths, 1..65535. */
unsigned frozen_p(const frozen *f);
void frozen_update(frozen *f, unsigned bit);

#endif
