/* The loop over codes and their decisions; compiled for each instruction set. Eight nodes are mixed together, before it is
 * known which of them will be asked, and those that were learn together. The order of adding cannot matter: every product
 * is shifted first, and the one quotient of floats is exact. */
#include "kernels/represent/adaptive_contexts.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

#define MIX_SHIFT 14

typedef int32_t lanes __attribute__((vector_size(32)));
typedef uint32_t ulanes __attribute__((vector_size(32)));
typedef float flanes __attribute__((vector_size(32)));
/* eight numbers in memory as one vector: memcpy would be taken apart */
typedef lanes lanes_at __attribute__((may_alias, aligned(4)));
#define LANES(p) (*(lanes_at *)(uintptr_t)(p))
#define EACH_INPUT(k) _Pragma("GCC unroll 8") for (unsigned k = 0; k < n_inputs; k++)

#ifdef __AVX2__
#define CLAMP(v, most) ((v) = (lanes)_mm256_max_epi32(_mm256_min_epi32((__m256i)(v), _mm256_set1_epi32(most)), _mm256_set1_epi32(-(most))))
#else
#define CLAMP(v, most)                                                                                                 \
    do {                                                                                                               \
        lanes over = (v) > (most), under = (v) < -(most);                                                              \
        (v) = ((v) & ~(over | under)) | (over & (most)) | (under & -(most));                                           \
    } while (0)
#endif

static const int32_t lane_masks[ADAPTIVE_LANES][ADAPTIVE_LANES] __attribute__((aligned(32))) = {
    {-1}, {0, -1}, {0, 0, -1}, {0, 0, 0, -1}, {[4] = -1}, {[5] = -1}, {[6] = -1}, {[7] = -1}};

/* What was met on the way through eight nodes. */
typedef struct visit {
    unsigned n;
    uint8_t lane[ADAPTIVE_LANES];
} visit;

/* mixed[8], as places in squash. */
PITH_INLINE void mix(adaptive_weights *weights, adaptive_cells *const *at, unsigned n_inputs, size_t block,
                     int32_t *mixed) {
    lanes sum = {0};
    EACH_INPUT(k) sum += LANES(weights->of[k]) * LANES(at[k][block].stretched) >> 8; /* 20 bits by 12 */
    sum >>= 8;
    CLAMP(sum, 2047);
    LANES(mixed) = sum + 2048;
}

/* error[8]: 65536 times what was, minus what was thought; 0 where nothing was asked. */
PITH_INLINE void learn(adaptive_model *m, adaptive_weights *weights, adaptive_cells *const *at, unsigned n_inputs,
                       size_t block, const lanes *errors, const visit *visited) {
    lanes error = *errors, asked = error != 0, goal = (error > 0) & 4194303, x[ADAPTIVE_INPUTS_MOST];
    EACH_INPUT(k) {
        adaptive_cells *cells = &at[k][block];
        x[k] = LANES(cells->stretched);
        lanes w = LANES(weights->of[k]) + ((x[k] * error + (1 << (MIX_SHIFT - 1))) >> MIX_SHIFT);
        CLAMP(w, ADAPTIVE_WEIGHT_MOST);
        LANES(weights->of[k]) = w;
        /* as adaptive_counted, the rate being what adaptive_rates says */
        ulanes v = (ulanes)LANES(cells->counter);
        lanes n = (lanes)(v & 1023), q = (lanes)(v >> 10);
        flanes quotient = 16384.0f / __builtin_convertvector(2 * n + 3, flanes);
        lanes rate = (__builtin_convertvector(quotient, lanes) + 1) >> 1;
        q += (((goal - q) >> 3) * rate >> 9) & asked;
        n -= (n < ADAPTIVE_COUNT_MOST) & asked; /* a true comparison is -1 */
        LANES(cells->counter) = (lanes)((ulanes)q << 10 | (ulanes)n);
    }
    for (unsigned i = 0; i < visited->n; i++) {
        unsigned lane = visited->lane[i];
        lanes mask = LANES(lane_masks[lane]);
        EACH_INPUT(k) x[k] ^= (x[k] ^ m->tables->stretch[at[k][block].counter[lane] >> 20]) & mask;
    }
    EACH_INPUT(k) LANES(at[k][block].stretched) = x[k];
}

PITH_INLINE void note(lanes *errors, visit *visited, unsigned lane, int32_t error) {
    *errors |= LANES(lane_masks[lane]) & error;
    visited->lane[visited->n++] = (uint8_t)lane;
}

/* A code is learnt from in this order: what the next one's contexts are made of first, so that they are found while the
 * cells and weights of this one change. */

PITH_INLINE void encode_with(adaptive_model *m, unsigned n_inputs, rc_enc *coder, const uint16_t *codes, size_t n) {
    adaptive_cells *at[ADAPTIVE_INPUTS_MOST], *last[ADAPTIVE_INPUTS_MOST];
    int32_t mixed[ADAPTIVE_LANES];
    const uint16_t *squash = m->tables->squash;
    rc_enc c = *coder; /* a copy that can stay in registers */
    context_find(m, n_inputs, at);
    for (size_t i = 0; i < n; i++) {
        unsigned s = codes[i], left = m->tree.length[s], path = m->tree.code[s];
        for (int node = 0; node >= 0;) {
            size_t block = (unsigned)node / ADAPTIVE_LANES;
            lanes errors = {0};
            visit visited = {0};
            mix(&m->weights[block], at, n_inputs, block, mixed);
            do {
                unsigned lane = (unsigned)node % ADAPTIVE_LANES, p = squash[mixed[lane]], bit = path >> --left & 1;
                rc_enc_bit_even(&c, p, bit);
                note(&errors, &visited, lane, (int32_t)(bit << 16) - (int32_t)p);
                node = m->tree.child[node][bit];
            } while ((unsigned)node / ADAPTIVE_LANES == block);
            EACH_INPUT(k) last[k] = at[k];
            if (node < 0) {
                context_learn(m, s);
                context_find(m, n_inputs, at);
            }
            learn(m, &m->weights[block], last, n_inputs, block, &errors, &visited);
        }
    }
    *coder = c;
}

PITH_INLINE void decode_with(adaptive_model *m, unsigned n_inputs, rc_dec *coder, uint16_t *codes, size_t n) {
    adaptive_cells *at[ADAPTIVE_INPUTS_MOST], *last[ADAPTIVE_INPUTS_MOST];
    int32_t mixed[ADAPTIVE_LANES];
    const uint16_t *squash = m->tables->squash;
    rc_dec c = *coder;
    context_find(m, n_inputs, at);
    for (size_t i = 0; i < n; i++) {
        for (int node = 0; node >= 0;) {
            size_t block = (unsigned)node / ADAPTIVE_LANES;
            lanes errors = {0};
            visit visited = {0};
            mix(&m->weights[block], at, n_inputs, block, mixed);
            unsigned p = squash[mixed[(unsigned)node % ADAPTIVE_LANES]];
            do {
                unsigned lane = (unsigned)node % ADAPTIVE_LANES;
                /* what either answer leads to, while it is being found */
                int zero = m->tree.child[node][0], one = m->tree.child[node][1];
                unsigned p_zero = squash[mixed[(unsigned)zero % ADAPTIVE_LANES]];
                unsigned p_one = squash[mixed[(unsigned)one % ADAPTIVE_LANES]];
                unsigned bit = rc_dec_bit_even(&c, p), mask = 0 - bit;
                note(&errors, &visited, lane, (int32_t)(bit << 16) - (int32_t)p);
                node = zero + ((one - zero) & (int)mask);
                p = p_zero + ((p_one - p_zero) & mask);
            } while ((unsigned)node / ADAPTIVE_LANES == block);
            EACH_INPUT(k) last[k] = at[k];
            if (node < 0) {
                codes[i] = (uint16_t)~node;
                context_learn(m, codes[i]);
                context_find(m, n_inputs, at);
            }
            learn(m, &m->weights[block], last, n_inputs, block, &errors, &visited);
        }
    }
    *coder = c;
}

/* A loop of its own for each number of inputs. */

static void encode(adaptive_model *m, rc_enc *coder, const uint16_t *codes, size_t n) {
    if (m->n_inputs == ADAPTIVE_INPUTS) encode_with(m, ADAPTIVE_INPUTS, coder, codes, n);
    else if (m->n_inputs == ADAPTIVE_INPUTS_SAME) encode_with(m, ADAPTIVE_INPUTS_SAME, coder, codes, n);
    else encode_with(m, ADAPTIVE_INPUTS_AROUND, coder, codes, n);
}

static void decode(adaptive_model *m, rc_dec *coder, uint16_t *codes, size_t n) {
    if (m->n_inputs == ADAPTIVE_INPUTS) decode_with(m, ADAPTIVE_INPUTS, coder, codes, n);
    else if (m->n_inputs == ADAPTIVE_INPUTS_SAME) decode_with(m, ADAPTIVE_INPUTS_SAME, coder, codes, n);
    else decode_with(m, ADAPTIVE_INPUTS_AROUND, coder, codes, n);
}
