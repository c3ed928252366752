/* Match models: see cm_match.c. */
#ifndef PREDICT_CM_MATCH_H
#define PREDICT_CM_MATCH_H

#include "kernels/predict/cm.h"

/* h->buf[h->n - 1] has just become known */
void cm_match_update(cm_match *m, const cm_history *h);

/* 32 classes of match length, finer where short */
PITH_INLINE unsigned cm_length_class(uint32_t length) {
    if (length < 16) return length;
    if (length < 32) return 16 + (length - 16) / 4;
    if (length < 64) return 20 + (length - 32) / 8;
    return length < 512 ? 24 + (length - 64) / 64 : 31;
}

#endif
