/* How the online state-space model enters the mixer: its byte distribution halved bit by bit,
 * as itself, two refined copies, and the choice of one weight set. */
#ifndef PREDICT_CM_NEURAL_H
#define PREDICT_CM_NEURAL_H

#include "kernels/predict/cm.h"

/* Sums of the distribution over the byte's binary tree; node 1 is the root. */
static inline void cm_neural_tree(cm *m) {
    const uint32_t *mass = ssm_predict(m->ssm);
    uint32_t *tree = m->ssm_tree;
    for (unsigned i = 0; i < 128; i++) tree[128 + i] = mass[2 * i] + mass[2 * i + 1];
    for (unsigned i = 127; i > 0; i--) tree[i] = tree[2 * i] + tree[2 * i + 1];
}

PITH_INLINE void cm_neural_byte(cm *m, uint8_t byte) {
    ssm_update(m->ssm, byte);
    cm_neural_tree(m);
}

PITH_INLINE void cm_ask_neural(cm *m, unsigned lane, unsigned lanes) {
    unsigned c0 = m->c0;
    uint32_t all = m->ssm_tree[c0];
    uint32_t one = c0 < 128 ? m->ssm_tree[2 * c0 + 1] : ssm_predict(m->ssm)[2 * c0 + 1 - 256];
    unsigned p = (unsigned)(((uint64_t)one << 12) / all);
    p = PITH_MIN(p, 4095u);
    unsigned expected = (unsigned)(m->match[0].expected_bit + 1);
    m->ssm_at[0] = (expected * 4 + (m->bit >> 1)) << 6 | p >> 6;
    m->ssm_at[1] = c0 << 5 | p >> 7;
    m->ssm_row = (p >> 7) << 3 | m->bit;
    const unsigned say[3] = {p, m->ssm_by_match[m->ssm_at[0]] >> 20, m->ssm_by_c0[m->ssm_at[1]] >> 20};
    for (unsigned i = 0; i < 3; i++) {
        m->x[lane + i] = m->logistic.stretch[say[i]];
        m->x[lanes + lane + i] = (int16_t)(((int)say[i] - 2048) >> 2);
    }
}

PITH_INLINE void cm_neural_update(cm *m, unsigned bit) {
    statemap_update(&m->ssm_by_match[m->ssm_at[0]], &m->steps, bit, 1023);
    statemap_update(&m->ssm_by_c0[m->ssm_at[1]], &m->steps, bit, 1023);
}

#endif
