/* Scales of GGUF blocks by weighted least squares, and the bytes of blocks. Layouts: ggml-org/ggml, ggml-common.h.
 *
 * A group's scale is searched around the one that its range asks for; each try is followed by the least-squares scale
 * (and minimum) for the codes it gives, and the least weighted error wins. K types then round scales to integers. */
#include <math.h>

#include "kernels/represent/scalar_gguf.h"

static const gguf_form forms[] = {
    {TENSOR_Q4_0, 32, 32, 18, GGUF_SYMMETRIC, 15, 8, 0, 0, 0},
    {TENSOR_Q4_1, 32, 32, 20, GGUF_AFFINE, 15, 0, 0, 0, 0},
    {TENSOR_Q5_0, 32, 32, 22, GGUF_SYMMETRIC, 31, 16, 0, 0, 0},
    {TENSOR_Q5_1, 32, 32, 24, GGUF_AFFINE, 31, 0, 0, 0, 0},
    {TENSOR_Q8_0, 32, 32, 34, GGUF_SYMMETRIC, 255, 128, 1, 0, 0},
    {TENSOR_IQ4_NL, 32, 32, 18, GGUF_TABLE, 15, 8, 0, 0, 0},
    {TENSOR_Q2_K, 256, 16, 84, GGUF_AFFINE, 3, 0, 0, 15, 0},
    {TENSOR_Q3_K, 256, 16, 110, GGUF_SYMMETRIC, 7, 4, 0, 31, 32},
    {TENSOR_Q4_K, 256, 32, 144, GGUF_AFFINE, 15, 0, 0, 63, 0},
    {TENSOR_Q5_K, 256, 32, 176, GGUF_AFFINE, 31, 0, 0, 63, 0},
    {TENSOR_Q6_K, 256, 16, 210, GGUF_SYMMETRIC, 63, 32, 0, 127, 128},
};

const gguf_form *gguf_form_of(uint32_t type) {
    for (size_t i = 0; i < PITH_COUNT(forms); i++)
        if ((uint32_t)forms[i].type == type) return &forms[i];
    return NULL;
}

/* ---- fitting ---------------------------------------------------------------------------------------- */

typedef struct group_fit {
    float scale, min, error;
} group_fit;

/* Error of codes that a scale gives. */
static float error_with(const gguf_form *f, const float *x, const float *cost, unsigned n, float scale, float min) {
    float inverse = scale != 0 ? 1 / scale : 0, error = 0;
    for (unsigned j = 0; j < n; j++) {
        float d = scale * gguf_level(f, gguf_code(f, x[j], inverse, min)) - min - x[j];
        error += cost[j] * d * d;
    }
    return error;
}

/* Takes the scale as it is, and as least squares have it for its codes, when either is better than the best so far. */
static void try_scale(const gguf_form *f, const float *x, const float *cost, unsigned n, float scale, group_fit *best) {
    if (scale == 0 || !isfinite(1 / scale)) return;
    float xl = 0, ll = 0, inverse = 1 / scale;
    for (unsigned j = 0; j < n; j++) {
        float level = gguf_level(f, gguf_code(f, x[j], inverse, 0)), w = cost[j];
        xl += w * level * x[j];
        ll += w * level * level;
    }
    float tried[2] = {scale, ll > 0 ? xl / ll : scale};
    for (unsigned k = 0; k < 2; k++) {
        float error = error_with(f, x, cost, n, tried[k], 0);
        if (error < best->error) *best = (group_fit){tried[k], 0, error};
    }
}

static void try_range(const gguf_form *f, const float *x, const float *cost, unsigned n, float scale, float min,
                      bool positive, group_fit *best) {
    if (scale == 0 || !isfinite(1 / scale)) return;
    float sw = 0, sx = 0, sl = 0, sll = 0, slx = 0, inverse = 1 / scale;
    for (unsigned j = 0; j < n; j++) {
        float level = gguf_level(f, gguf_code(f, x[j], inverse, min)), w = cost[j];
        sw += w;
        sx += w * x[j];
        sl += w * level;
        sll += w * level * level;
        slx += w * level * x[j];
    }
    float determinant = sw * sll - sl * sl, tried[2] = {scale, scale}, low[2] = {min, min};
    if (determinant > 0) {
        tried[1] = (sw * slx - sx * sl) / determinant;
        low[1] = (sl * slx - sll * sx) / determinant;
        if (positive && low[1] < 0) low[1] = 0, tried[1] = sll > 0 ? slx / sll : scale;
    }
    for (unsigned k = 0; k < 2; k++) {
        if (!(tried[k] > 0) || !isfinite(tried[k]) || !isfinite(low[k])) continue;
        float error = error_with(f, x, cost, n, tried[k], low[k]);
        if (error < best->error) *best = (group_fit){tried[k], low[k], error};
    }
}

static group_fit fit_group(const gguf_form *f, const float *x, const float *cost, unsigned n) {
    float low = 0, high = 0;
    for (unsigned j = 0; j < n; j++) {
        if (x[j] < low) low = x[j];
        if (x[j] > high) high = x[j];
    }
    group_fit best = {0, f->kind == GGUF_AFFINE && f->scale_top ? -low : 0, INFINITY};
    best.error = error_with(f, x, cost, n, 0, best.min);
    if (f->kind == GGUF_AFFINE) {
        bool positive = f->scale_top > 0; /* K types store minima without a sign */
        if (!positive) {
            low = high = x[0];
            for (unsigned j = 0; j < n; j++) low = PITH_MIN(low, x[j]), high = PITH_MAX(high, x[j]);
            best = (group_fit){0, -low, error_with(f, x, cost, n, 0, -low)};
        }
        for (int step = -6; step <= 12; step++)
            try_range(f, x, cost, n, (high - low) / ((float)f->top + 0.1f * (float)step * (f->top > 7 ? 1.5f : 0.5f)),
                      -low, positive, &best);
        return best;
    }
    /* The extreme on the far end of the codes, on either side. */
    float extreme = high > -low ? high : low;
    float outermost = f->kind == GGUF_TABLE ? -127 : (float)(f->least - f->zero);
    float unit = f->kind == GGUF_TABLE ? 4 : f->top > 63 ? 0.25f : 0.1f;
    for (int side = -1; side <= 1; side += 2)
        for (int step = -9; step <= 9; step++)
            try_scale(f, x, cost, n, (float)side * extreme / (outermost + unit * (float)step), &best);
    return best;
}

/* Integers for v[n] as multiples of one half, which is returned; signed when the form has signed scales. */
static uint16_t fit_integers(const float *v, unsigned n, int top, int zero, uint8_t *out) {
    float extreme = 0;
    for (unsigned k = 0; k < n; k++)
        if (fabsf(v[k]) > fabsf(extreme)) extreme = v[k];
    float d = zero ? extreme / (float)-zero : extreme / (float)top;
    uint16_t half = float_to_half(d);
    d = half_to_float(half);
    float inverse = d != 0 && isfinite(1 / d) ? 1 / d : 0;
    for (unsigned k = 0; k < n; k++) {
        float q = floorf(v[k] * inverse + 0.5f), least = (float)-zero;
        q = q > least ? q : least;
        out[k] = (uint8_t)((int)(q < (float)top ? q : (float)top) + zero);
    }
    return half;
}

static uint16_t finite_half(float v) { return float_to_half(v > 65504 ? 65504 : v < -65504 ? -65504 : v); }

/* The best integer scale of a sub-block among three, its minimum being given. */
static void refine(const gguf_form *f, const float *x, const float *cost, gguf_scales *s) {
    float d = half_to_float(s->d), dmin = half_to_float(s->min);
    for (unsigned k = 0; k < f->block / f->sub; k++) {
        float min = f->kind == GGUF_AFFINE ? dmin * (float)s->low[k] : 0, least = INFINITY;
        int now = s->scale[k] - f->scale_zero, best = now;
        for (int q = now - 1; q <= now + 1; q++) {
            if (q < -f->scale_zero || q > f->scale_top) continue;
            float error = error_with(f, x + k * f->sub, cost + k * f->sub, f->sub, d * (float)q, min);
            if (error < least) least = error, best = q;
        }
        s->scale[k] = (uint8_t)(best + f->scale_zero);
    }
}

void gguf_fit(const gguf_form *f, const float *x, const float *cost, gguf_scales *s) {
    *s = (gguf_scales){.d = 0};
    float total = 0, even[GGUF_BLOCK];
    for (unsigned j = 0; j < f->block; j++) total += cost[j];
    if (!(total > 0)) { /* inputs never seen: any fit is as good as another */
        for (unsigned j = 0; j < f->block; j++) even[j] = 1;
        cost = even;
    }
    if (!f->scale_top) {
        group_fit fit = fit_group(f, x, cost, f->block);
        s->d = finite_half(fit.scale);
        s->min = finite_half(-fit.min);
        return;
    }
    unsigned n = f->block / f->sub;
    float scale[GGUF_SUBS], min[GGUF_SUBS];
    for (unsigned k = 0; k < n; k++) {
        group_fit fit = fit_group(f, x + k * f->sub, cost + k * f->sub, f->sub);
        scale[k] = fit.scale, min[k] = fit.min;
    }
    s->d = fit_integers(scale, n, f->scale_top, f->scale_zero, s->scale);
    if (f->kind == GGUF_AFFINE) s->min = fit_integers(min, n, f->scale_top, 0, s->low);
    refine(f, x, cost, s);
}

void gguf_values(const gguf_form *f, const gguf_scales *s, float *scale, float *min) {
    float d = half_to_float(s->d), m = half_to_float(s->min);
    for (unsigned k = 0; k < f->block / f->sub; k++) {
        scale[k] = f->scale_top ? d * (float)(s->scale[k] - f->scale_zero) : d;
        min[k] = f->kind != GGUF_AFFINE ? 0 : f->scale_top ? m * (float)s->low[k] : -m;
    }
}

/* ---- bytes ------------------------------------------------------------------------------------------ */

/* Of 32 codes: the first 16 below, the others above. */
static void small_nibbles(const uint8_t *q, uint8_t *out) {
    for (unsigned j = 0; j < 16; j++) out[j] = (uint8_t)((q[j] & 15) | (q[j + 16] & 15) << 4);
}

static void fifth_bits(const uint8_t *q, uint8_t *out) {
    uint32_t bits = 0;
    for (unsigned j = 0; j < 32; j++) bits |= (uint32_t)(q[j] >> 4) << j;
    store32(out, bits);
}

/* Two bits of each of 256 codes from bit `from` on: four codes 32 apart to a byte, halves of 128 apart. */
static void two_bits(const uint8_t *q, unsigned from, uint8_t *out) {
    for (unsigned k = 0; k < 64; k++) {
        unsigned byte = 0;
        for (unsigned part = 0; part < 4; part++)
            byte |= (q[k / 32 * 128 + k % 32 + 32 * part] >> from & 3u) << 2 * part;
        out[k] = (uint8_t)byte;
    }
}

static void one_bit(const uint8_t *q, unsigned from, uint8_t *out) {
    for (unsigned k = 0; k < 32; k++) {
        unsigned byte = 0;
        for (unsigned part = 0; part < 8; part++) byte |= (q[k + 32 * part] >> from & 1u) << part;
        out[k] = (uint8_t)byte;
    }
}

/* Of 256 codes: of every 64, the first 32 below, the others above. */
static void super_nibbles(const uint8_t *q, uint8_t *out) {
    for (unsigned k = 0; k < 128; k++) {
        const uint8_t *p = q + k / 32 * 64 + k % 32;
        out[k] = (uint8_t)((p[0] & 15) | (p[32] & 15) << 4);
    }
}

/* Eight scales and eight minima of 6 bits in 12 bytes. */
static void six_bits(const gguf_scales *s, uint8_t out[12]) {
    for (unsigned j = 0; j < 4; j++) {
        out[j] = (uint8_t)(s->scale[j] | s->scale[j + 4] >> 4 << 6);
        out[j + 4] = (uint8_t)(s->low[j] | s->low[j + 4] >> 4 << 6);
        out[j + 8] = (uint8_t)((s->scale[j + 4] & 15) | (s->low[j + 4] & 15) << 4);
    }
}

static void write_q3(const gguf_scales *s, const uint8_t *q, uint8_t *out) {
    one_bit(q, 2, out);
    two_bits(q, 0, out + 32);
    memset(out + 96, 0, 12);
    for (unsigned g = 0; g < 16; g++) {
        out[96 + g % 8] |= (uint8_t)((s->scale[g] & 15) << g / 8 * 4);
        out[104 + g % 4] |= (uint8_t)(s->scale[g] >> 4 << g / 4 * 2);
    }
    store16(out + 108, s->d);
}

static void write_q6(const gguf_scales *s, const uint8_t *q, uint8_t *out) {
    for (unsigned k = 0; k < 128; k++) {
        const uint8_t *p = q + k / 64 * 128 + k % 64;
        out[k] = (uint8_t)((p[0] & 15) | (p[64] & 15) << 4);
    }
    two_bits(q, 4, out + 128);
    for (unsigned g = 0; g < 16; g++) out[192 + g] = (uint8_t)(s->scale[g] - 128);
    store16(out + 208, s->d);
}

void gguf_write(const gguf_form *f, const gguf_scales *s, const uint8_t *q, uint8_t *out) {
    if (f->type != TENSOR_Q2_K && f->type != TENSOR_Q3_K && f->type != TENSOR_Q6_K) {
        store16(out, s->d);
        out += 2;
        if (f->kind == GGUF_AFFINE) store16(out, s->min), out += 2;
    }
    switch ((int)f->type) {
    case TENSOR_Q5_0:
    case TENSOR_Q5_1:
        fifth_bits(q, out);
        small_nibbles(q, out + 4);
        break;
    case TENSOR_Q8_0:
        for (unsigned j = 0; j < 32; j++) out[j] = (uint8_t)(q[j] - 128);
        break;
    case TENSOR_Q2_K:
        for (unsigned g = 0; g < 16; g++) out[g] = (uint8_t)(s->scale[g] | s->low[g] << 4);
        two_bits(q, 0, out + 16);
        store16(out + 80, s->d);
        store16(out + 82, s->min);
        break;
    case TENSOR_Q3_K: write_q3(s, q, out); break;
    case TENSOR_Q4_K:
        six_bits(s, out);
        super_nibbles(q, out + 12);
        break;
    case TENSOR_Q5_K:
        six_bits(s, out);
        one_bit(q, 4, out + 12);
        super_nibbles(q, out + 44);
        break;
    case TENSOR_Q6_K: write_q6(s, q, out); break;
    default: small_nibbles(q, out); break;
    }
}
