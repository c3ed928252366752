/* Searches for group scales, step for step those of ggml's reference quantizers (the sums run in
 * its order, so that the bits come out the same), after I. Kawrakow's k-quants (llama.cpp #1684). */
#include "formats/blocks/encode_parts.h"

static int symmetric_at(float x, float inverse, int top) { return clamp_int(nearest(inverse * x), -top, top - 1); }

static fit_sums symmetric_sums(const float *x, unsigned n, float inverse, int top) {
    fit_sums s = {0, 0};
    for (unsigned j = 0; j < n; j++) fit_add(&s, x[j] * x[j], x[j], (float)symmetric_at(x[j], inverse, top));
    return s;
}

float search_symmetric(const float *x, unsigned n, int top, uint8_t *q) {
    float max = extreme(x, n);
    if (fabsf(max) < GROUP_TINY) {
        memset(q, 0, n);
        return 0;
    }
    float inverse = (float)-top / max;
    fit_sums s = symmetric_sums(x, n, inverse, top);
    float scale = s.qq != 0 ? s.xq / s.qq : 0, best = scale * s.xq;
    for (int step = -9; step <= 9; step++) {
        if (step == 0) continue;
        float tried = -((float)top + 0.1f * (float)step) / max;
        s = symmetric_sums(x, n, tried, top);
        if (s.qq > 0 && s.xq * s.xq > best * s.qq) {
            inverse = tried;
            scale = s.xq / s.qq;
            best = scale * s.xq;
        }
    }
    for (unsigned j = 0; j < n; j++) q[j] = (uint8_t)(symmetric_at(x[j], inverse, top) + top);
    return scale;
}

float search_descent(const float *x, unsigned n, int top, uint8_t *q) {
    float max = extreme(x, n);
    if (fabsf(max) < GROUP_TINY) {
        memset(q, 0, n);
        return 0;
    }
    float inverse = (float)-top / max;
    fit_sums s = symmetric_sums(x, n, inverse, top);
    for (unsigned j = 0; j < n; j++) q[j] = (uint8_t)(symmetric_at(x[j], inverse, top) + top);
    bool changed = true;
    for (int round = 0; round < 5 && changed; round++) {
        changed = false;
        for (unsigned j = 0; j < n; j++) {
            float w = x[j] * x[j], now = (float)(q[j] - top);
            fit_sums without = {s.xq - w * x[j] * now, s.qq - w * now * now};
            if (!(without.xq > 0)) continue;
            int moved = clamp_int(nearest(x[j] * without.qq / without.xq), -top, top - 1);
            if (moved == q[j] - top) continue;
            fit_add(&without, w, x[j], (float)moved);
            if (without.qq > 0 && without.xq * without.xq * s.qq > s.xq * s.xq * without.qq) {
                q[j] = (uint8_t)(moved + top);
                s = without;
                changed = true;
            }
        }
    }
    return s.qq > 0 ? s.xq / s.qq : 0;
}

static void affine_round(const float *x, unsigned n, float inverse, float base, int top, uint8_t *q) {
    for (unsigned j = 0; j < n; j++) q[j] = (uint8_t)clamp_int(nearest(inverse * (x[j] - base)), 0, top);
}

static float affine_error(const affine_search *how, const float *x, const float *w, unsigned n, const uint8_t *q,
                          float scale, float base) {
    float error = 0;
    for (unsigned j = 0; j < n; j++) {
        float difference = scale * (float)q[j] + base - x[j];
        error += w[j] * (how->absolute ? fabsf(difference) : difference * difference);
    }
    return error;
}

float search_affine(const affine_search *how, const float *x, const float *weights, unsigned n, uint8_t *q,
                    float *min) {
    float base = x[0], max = x[0], sum_w = weights[0], sum_x = weights[0] * x[0];
    for (unsigned j = 1; j < n; j++) {
        if (x[j] < base) base = x[j];
        if (x[j] > max) max = x[j];
        sum_w += weights[j];
        sum_x += weights[j] * x[j];
    }
    if (base > 0) base = 0;
    if (max == base) {
        memset(q, 0, n);
        *min = -base;
        return 0;
    }
    float inverse = (float)how->top / (max - base), scale = 1 / inverse;
    affine_round(x, n, inverse, base, how->top, q);
    float least = affine_error(how, x, weights, n, q, scale, base);
    for (int attempt = 0; attempt <= how->last_try; attempt++) {
        uint8_t tried[32];
        inverse = (how->first + 0.1f * (float)attempt + (float)how->top) / (max - base);
        affine_round(x, n, inverse, base, how->top, tried);
        float sum_q = 0, sum_qq = 0, sum_xq = 0;
        for (unsigned j = 0; j < n; j++) {
            float level = (float)tried[j], w = weights[j];
            sum_q += w * level;
            sum_qq += w * level * level;
            sum_xq += w * level * x[j];
        }
        float determinant = sum_w * sum_qq - sum_q * sum_q;
        if (!(determinant > 0)) continue;
        float tried_scale = (sum_w * sum_xq - sum_x * sum_q) / determinant;
        float tried_base = (sum_qq * sum_x - sum_q * sum_xq) / determinant;
        if (tried_base > 0) {
            tried_base = 0;
            tried_scale = sum_xq / sum_qq;
        }
        float error = affine_error(how, x, weights, n, tried, tried_scale, tried_base);
        if (error < least) {
            memcpy(q, tried, n);
            least = error;
            scale = tried_scale;
            base = tried_base;
        }
    }
    *min = -base;
    return scale;
}
