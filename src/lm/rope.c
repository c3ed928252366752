/* Rotary positions (Su et al., 2021): pair i of a head is turned by position * base^(-2i/n).
 * Angles, cosines and sines are worked out in double precision and rounded once. Scaling:
 * "linear" divides positions (Chen et al., 2023); factors per pair divide frequencies
 * (rope_freqs.weight of Llama 3.1). */
#include <math.h>

#include "lm/model.h"
#include "math/math.h"

static bool text_is(meta_string s, const char *word) { return s.size == strlen(word) && !memcmp(s.data, word, s.size); }

static pith_status number(pith_ctx *ctx, const lm_model *m, const char *name, double least, double most,
                          double *value) {
    char key[96];
    hyper_key(m, name, key);
    if (!meta_find(m->file, key)) return PITH_OK;
    if (!meta_f64(m->file, key, value)) return pith_fail(ctx, PITH_E_FORMAT, "key %s is no number", key);
    if (!(*value >= least && *value <= most))
        return pith_fail(ctx, PITH_E_FORMAT, "key %s is %g, which is not in %g..%g", key, *value, least, most);
    return PITH_OK;
}

pith_status rope_open(pith_ctx *ctx, lm_model *m) {
    size_t n = m->dim[DIM_HALF_ROPE];
    m->rope = m->arch->rope;
    if (m->rope == ROPE_NONE) return PITH_OK;
    meta_string text;
    if (meta_text(m->file, "pith.rope_layout", &text) && text_is(text, "half")) m->rope = ROPE_HALVES;
    double base = 10000, factor = 1;
    char key[96];
    pith_status status = number(ctx, m, "rope.freq_base", 1, 1e12, &base);
    if (!status) status = number(ctx, m, "rope.scale_linear", 1e-3, 1e6, &factor);
    if (!status && meta_text(m->file, hyper_key(m, "rope.scaling.type", key), &text)) {
        if (text_is(text, "linear"))
            status = number(ctx, m, "rope.scaling.factor", 1e-3, 1e6, &factor);
        else if (!text_is(text, "none"))
            return pith_fail(ctx, PITH_E_UNSUPPORTED, "key %s is \"%.*s\": only none and linear are supported", key,
                             (int)PITH_MIN(text.size, 40u), text.data);
    }
    if (status) return status;
    m->rope_turns = pith_alloc(ctx, n * sizeof *m->rope_turns);
    if (!m->rope_turns) return pith_alloc_status(ctx);
    const float *by = m->w[W_ROPE_FACTORS].values;
    for (size_t i = 0; i < n; i++) {
        if (by && !(by[i] >= 1e-3f && by[i] <= 1e6f))
            return pith_fail(ctx, PITH_E_FORMAT, "tensor rope_freqs.weight has %g at %zu, which is not in 0.001..1e6",
                             (double)by[i], i);
        m->rope_turns[i] = real_pow(base, -2.0 * (double)i / (double)(2 * n)) / factor / (by ? (double)by[i] : 1.0);
    }
    return PITH_OK;
}

void rope_angles(const lm_model *m, uint32_t position, float *table) {
    for (size_t i = 0; i < m->dim[DIM_HALF_ROPE]; i++) {
        double angle = position * m->rope_turns[i], sine, cosine;
        const double turn = 6.283185307179586477;
        if (angle > 5e5) angle = angle - floor(angle / turn) * turn; /* far within the range of the series */
        real_sin_cos(angle, &sine, &cosine);
        table[2 * i] = (float)cosine;
        table[2 * i + 1] = (float)sine;
    }
}

void rope_turn(const lm_model *m, const float *table, float *x, size_t n_heads) {
    size_t half = m->dim[DIM_HALF_ROPE], head = m->dim[DIM_HEAD];
    size_t step = m->rope == ROPE_PAIRS ? 2 : 1, apart = m->rope == ROPE_PAIRS ? 1 : half;
    for (size_t h = 0; h < n_heads; h++, x += head) {
        for (size_t i = 0; i < half; i++) {
            float cosine = table[2 * i], sine = table[2 * i + 1], a = x[i * step], b = x[i * step + apart];
            x[i * step] = a * cosine - b * sine;
            x[i * step + apart] = a * sine + b * cosine;
        }
    }
}
