/* Rounding along a path: trellis-coded quantisation (Marcellin and Fischer 1990; in JPEG 2000 part 2 and, as dependent
 * quantisation with these two quantisers, in VVC: Schwarz et al. 2019; of weights: Tseng et al. 2024, QTIP).
 *
 * Half steps are dealt to two quantisers: index k means 2 k half steps under one and 2 k - 1 under the other. Which of
 * them an index is read by depends on the parities of the indices before it in its column, through the states of
 * Ungerboeck's codes (1982) in feedback form. The encoder takes the path of least squared error (Viterbi 1967): four
 * fifths of the error of rounding to whole steps at the same number of indices, and the decoder pays one look-up. */
#include "kernels/represent/step.h"

/* Parity-check polynomials h0 and h1, without their lowest bit: 4, 8, 16 and 32 states. */
static const uint8_t feedback[][2] = {{2, 1}, {5, 2}, {9, 2}, {18, 4}};

void step_trellis_init(step_trellis *t, unsigned n_states) {
    unsigned k = 0;
    while (4u << k < n_states) k++;
    *t = (step_trellis){.n_states = n_states};
    uint8_t n_before[STEP_STATES] = {0};
    for (unsigned s = 0; s < n_states; s++)
        for (unsigned parity = 0; parity < 2; parity++) {
            unsigned next = s >> 1 ^ (s & 1 ? feedback[k][0] : 0) ^ (parity ? feedback[k][1] : 0);
            t->next[s][parity] = (uint8_t)next;
            unsigned i = n_before[next]++;
            t->from[i][next] = (uint8_t)s;
            t->by[i][next] = (uint8_t)(2 * (s & 1) + parity);
        }
}

/* The index of each kind (quantiser, parity) nearest to x half steps, and the squared distance. */
static void nearest(float x, int16_t index[4], float distance[4]) {
    static const float offset[4] = {0, 2, -1, 1};
    const float most = 2 * (float)STEP_MOST - 16;
    x = x < most ? x : most;
    x = x > -most ? x : -most;
    for (unsigned k = 0; k < 4; k++) {
        float at = (x - offset[k]) * 0.25f;
        int j = (int)(at + (at < 0 ? -0.5f : 0.5f));
        float d = x - offset[k] - (float)(4 * j);
        index[k] = (int16_t)(2 * j + (int)(k & 1));
        distance[k] = d * d;
    }
}

/* One step of all paths: which of its two predecessors each state follows, a bit for each. */
PITH_INLINE uint32_t extend(const step_trellis *t, unsigned n_states, const float distance[4], const float *before,
                            float *after) {
    uint32_t taken = 0;
    for (unsigned s = 0; s < n_states; s++) {
        float a = before[t->from[0][s]] + distance[t->by[0][s]], b = before[t->from[1][s]] + distance[t->by[1][s]];
        taken |= (uint32_t)(b < a) << s;
        after[s] = b < a ? b : a;
    }
    return taken;
}

void step_trellis_code(const step_trellis *t, const float *in, size_t n, float inverse, step_path *path, int16_t *out) {
    float cost[2][STEP_STATES];
    for (unsigned s = 0; s < t->n_states; s++) cost[0][s] = s == 0 ? 0 : 1e30f;
    for (size_t i = 0; i < n; i++) {
        float distance[4], *before = cost[i & 1], *after = cost[(i + 1) & 1];
        nearest(in[i] * inverse * 2, path[i].index, distance);
        path[i].taken = t->n_states == 8 ? extend(t, 8, distance, before, after)
                                         : extend(t, t->n_states, distance, before, after);
        float least = after[0];
        for (unsigned s = 1; s < t->n_states; s++) least = after[s] < least ? after[s] : least;
        for (unsigned s = 0; s < t->n_states; s++) after[s] -= least;
    }
    const float *last = cost[n & 1];
    unsigned state = 0;
    for (unsigned s = 1; s < t->n_states; s++)
        if (last[s] < last[state]) state = s;
    for (size_t i = n; i-- > 0;) {
        unsigned k = path[i].taken >> state & 1;
        out[i] = path[i].index[t->by[k][state]];
        state = t->from[k][state];
    }
}
