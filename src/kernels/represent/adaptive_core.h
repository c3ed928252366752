/* The loop over codes and their decisions, four inputs to a vector; compiled for each instruction set. Whole numbers, and
 * every product shifted before it is added, so the order of adding cannot matter. */
#include "kernels/predict/predict.h"
#include "kernels/represent/adaptive_contexts.h"

#define MIX_SHIFT 14

typedef int32_t lanes __attribute__((vector_size(16)));
typedef uint32_t ulanes __attribute__((vector_size(16)));

/* a where the mask is set, else b */
PITH_INLINE lanes choose(lanes mask, lanes a, lanes b) { return (mask & a) | (~mask & b); }

/* One decision; bit is what it was when encoding. */
PITH_INLINE unsigned decide(adaptive_model *m, pmf_coder *c, uint32_t *const *at, unsigned node, unsigned bit,
                            bool encoding) {
    /* the way to the probability one by one, for it is waited for; what is learnt, by vectors */
    uint32_t v0 = at[0][node], v1 = at[1][node], v2 = at[2][node], v3 = at[3][node];
    int32_t *weights = m->weights[node];
    int32_t x0 = m->stretch[v0 >> 20], x1 = m->stretch[v1 >> 20], x2 = m->stretch[v2 >> 20], x3 = m->stretch[v3 >> 20];
    /* 20 bits by 12 */
    int32_t mixed = ((weights[0] * x0 >> 8) + (weights[1] * x1 >> 8) + (weights[2] * x2 >> 8) + (weights[3] * x3 >> 8)) >> 8;
    mixed = mixed < -2047 ? -2047 : mixed > 2047 ? 2047 : mixed;
    unsigned p = m->squash[mixed + 2048];
    if (encoding) pmf_coder_put_bit(c, p, bit);
    else bit = pmf_coder_get_bit(c, p);

    lanes w, x = {x0, x1, x2, x3};
    ulanes v = {v0, v1, v2, v3};
    memcpy(&w, weights, sizeof w);
    int32_t error = (int32_t)(bit << 16) - (int32_t)p;
    w += (x * error + (1 << (MIX_SHIFT - 1))) >> MIX_SHIFT;
    const lanes most = {ADAPTIVE_WEIGHT_MOST, ADAPTIVE_WEIGHT_MOST, ADAPTIVE_WEIGHT_MOST, ADAPTIVE_WEIGHT_MOST};
    w = choose(w > most, most, w);
    w = choose(w < -most, -most, w);
    memcpy(weights, &w, sizeof w);

    /* as adaptive_counted */
    ulanes n = v & 1023;
    lanes q = (lanes)(v >> 10), rate = {m->rate[v0 & 1023], m->rate[v1 & 1023], m->rate[v2 & 1023], m->rate[v3 & 1023]};
    q += ((((int32_t)(0u - bit) & 4194303) - q) >> 3) * rate >> 9;
    n -= (ulanes)((lanes)n < ADAPTIVE_COUNT_MOST); /* a true comparison is -1 */
    v = (ulanes)q << 10 | n;
    for (unsigned k = 0; k < ADAPTIVE_INPUTS; k++) at[k][node] = v[k];
    return bit;
}

static void encode(adaptive_model *m, pmf_coder *c, const uint16_t *codes, size_t n) {
    uint32_t *at[ADAPTIVE_INPUTS];
    for (size_t i = 0; i < n; i++) {
        unsigned s = codes[i], node = 0;
        context_find(m, at);
        for (unsigned k = m->tree.length[s]; k-- > 0;) {
            unsigned bit = m->tree.code[s] >> k & 1;
            decide(m, c, at, node, bit, true);
            node = (unsigned)m->tree.child[node][bit];
        }
        context_learn(m, s);
    }
}

static void decode(adaptive_model *m, pmf_coder *c, uint16_t *codes, size_t n) {
    uint32_t *at[ADAPTIVE_INPUTS];
    for (size_t i = 0; i < n; i++) {
        int node = 0;
        context_find(m, at);
        do node = m->tree.child[node][decide(m, c, at, (unsigned)node, 0, false)];
        while (node > 0);
        codes[i] = (uint16_t)~node;
        context_learn(m, codes[i]);
    }
}
