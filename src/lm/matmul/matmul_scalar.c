/* Products in portable C, for processors without an SIMD file: written so that compilers use the vectors
 * of four floats or eight 16-bit numbers that SSE2 and NEON have. The formulas of all the kernels:
 *
 * Quantised weights: for each block in order, with whole numbers (exact, so in any order)
 *     S = sum over groups g of scale[g] * sum over i of (q[i] - zero) * xq[i]
 *     M = sum over groups of min[g] * sum over i of xq[i]
 * the sum takes in one float, where dx is the scale of the activations and sx their scaled sum (round.h):
 *     blocks of 32:            y = y + float(S) * (d * dx)
 *     blocks of 32 with mins:  y = y + (float(S) * (d * dx) + m * sx)
 *     blocks of 256:           y = y + float(S) * (d * dx)
 *     blocks of 256 with mins: y = y + (float(S) * (d * dx) - float(M) * (m * dx))
 * Float weights: 16 lanes as in math/math.h. Every operation rounds once, none is fused. */
#define MATMUL_HALF(p) half_to_float(load16(p))
#define MATMUL_TO_HALF(f) float_to_half(f)
#define MATMUL_LOOKUP16(table, q, n)                                                                                   \
    for (int at = 0; at < (n); at++) q[at] = table[q[at]]
#include "lm/matmul/forms.h"
#include "lm/matmul/round.h"
#include "math/math.h"

#define ROWS_AT_ONCE 4 /* that share what is made of a block of activations */

/* Numbers of elements are not constants and are masked to whole vectors: loops that compilers do not unroll before
 * they vectorise them, and need no rest. */
#define WHOLE(n) ((n) & ~(size_t)15)

/* clang left alone takes several vectors at a time and needs twice as long, for n is as little as 32. Not under
 * sanitizers, where it makes no vectors and would warn of that. */
#if defined(__clang__) && defined(__OPTIMIZE__)
#if !__has_feature(address_sanitizer) && !__has_feature(undefined_behavior_sanitizer) &&                               \
    !__has_feature(coverage_sanitizer)
#define ONE_VECTOR_AT_A_TIME _Pragma("clang loop vectorize_width(8) interleave_count(1)")
#endif
#endif
#ifndef ONE_VECTOR_AT_A_TIME
#define ONE_VECTOR_AT_A_TIME
#endif

/* Pairs of 16-bit numbers multiplied and added are one operation nearly everywhere. */
PITH_INLINE int32_t dot_words(const int16_t *restrict w, const int16_t *restrict x, size_t n) {
    int32_t sum = 0;
    ONE_VECTOR_AT_A_TIME
    for (size_t i = 0; i < n; i++) sum += w[i] * x[i];
    return sum;
}

/* (q[i] - zero) * scale[i / group]: below 2^15 in every type, and 256 products with bytes below 2^31. */
PITH_INLINE void fold_scales(int16_t *restrict w, const uint8_t *restrict q, const matmul_scales *u,
                             const matmul_form *form) {
    size_t group = WHOLE(form->group), groups = form->elements / form->group;
    for (size_t g = 0; g < groups; g++, w += group, q += group) {
        int16_t scale = form->elements == 32 ? 1 : u->scale[g];
        for (size_t i = 0; i < group; i++) w[i] = (int16_t)((q[i] - form->zero) * scale);
    }
}

static void quantised(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride, size_t row0,
                      size_t row1) {
    const matmul_form *form = a->form;
    matmul_unpack_fn unpack = unpacker(form->type);
    const size_t elements = WHOLE(form->elements), groups = elements / form->group;
    matmul_scales u[ROWS_AT_ONCE] = {0};
    int16_t folded[ROWS_AT_ONCE][256], words[256];
    for (size_t t = 0; t < a->n_tokens; t++) memset(y + t * y_stride + row0, 0, (row1 - row0) * sizeof *y);
    for (size_t r = row0, rows; r < row1; r += rows) {
        rows = PITH_MIN(row1 - r, ROWS_AT_ONCE);
        for (size_t b = 0; b < a->n_blocks; b++) {
            for (size_t k = 0; k < rows; k++) {
                uint8_t q[256];
                unpack(w->data + (r + k) * w->row_bytes + b * form->block_bytes, q, &u[k]);
                fold_scales(folded[k], q, &u[k], form);
            }
            for (size_t t = 0; t < a->n_tokens; t++) {
                size_t at = t * a->n_blocks + b;
                const int8_t *x = a->q + t * a->q_stride + b * elements;
                const int16_t *sums = a->sums + t * a->n_groups + b * groups;
                float dx = a->scale[at], *out = y + t * y_stride + r;
                for (size_t i = 0; i < elements; i++) words[i] = x[i];
                for (size_t k = 0; k < rows; k++) {
                    float p = (float)dot_words(folded[k], words, elements) * (u[k].d * dx);
                    if (form->mins)
                        p = elements == 32 ? p + u[k].m * a->scaled_sum[at]
                                           : p - (float)dot_words(u[k].min, sums, groups) * (u[k].m * dx);
                    out[k] = out[k] + p;
                }
            }
        }
    }
}

/* ---- float weights ------------------------------------------------------------------------- */

typedef float four __attribute__((vector_size(16)));
typedef struct lanes16 {
    four part[4];
} lanes16;

#define TOKENS_AT_ONCE 16   /* whose lanes are kept while a row passes */
#define COLUMNS_AT_ONCE 512 /* of a row, as floats */

PITH_INLINE four load4(const float *p) {
    four v;
    memcpy(&v, p, sizeof v);
    return v;
}

PITH_INLINE void floats_one(lanes16 *u, const float *w, const float *x, size_t n) {
    four u0 = u->part[0], u1 = u->part[1], u2 = u->part[2], u3 = u->part[3];
    for (size_t c = 0; c < n; c += 16) {
        u0 = u0 + load4(w + c) * load4(x + c);
        u1 = u1 + load4(w + c + 4) * load4(x + c + 4);
        u2 = u2 + load4(w + c + 8) * load4(x + c + 8);
        u3 = u3 + load4(w + c + 12) * load4(x + c + 12);
    }
    *u = (lanes16){{u0, u1, u2, u3}};
}

/* Two tokens of one row or two rows of one token: one chain of additions would wait for itself. */
PITH_INLINE void floats_pair(lanes16 *u, const float *uw, const float *ux, const float *vw, const float *vx, size_t n) {
    four u0 = u[0].part[0], u1 = u[0].part[1], u2 = u[0].part[2], u3 = u[0].part[3];
    four v0 = u[1].part[0], v1 = u[1].part[1], v2 = u[1].part[2], v3 = u[1].part[3];
    for (size_t c = 0; c < n; c += 16) {
        u0 = u0 + load4(uw + c) * load4(ux + c);
        v0 = v0 + load4(vw + c) * load4(vx + c);
        u1 = u1 + load4(uw + c + 4) * load4(ux + c + 4);
        v1 = v1 + load4(vw + c + 4) * load4(vx + c + 4);
        u2 = u2 + load4(uw + c + 8) * load4(ux + c + 8);
        v2 = v2 + load4(vw + c + 8) * load4(vx + c + 8);
        u3 = u3 + load4(uw + c + 12) * load4(ux + c + 12);
        v3 = v3 + load4(vw + c + 12) * load4(vx + c + 12);
    }
    u[0] = (lanes16){{u0, u1, u2, u3}};
    u[1] = (lanes16){{v0, v1, v2, v3}};
}

PITH_INLINE float floats_tree(const lanes16 *u) {
    float lane[4];
    four left = (u->part[0] + u->part[2]) + (u->part[1] + u->part[3]); /* i + 8, then i + 4 */
    memcpy(lane, &left, sizeof lane);
    return (lane[0] + lane[2]) + (lane[1] + lane[3]);
}

/* Columns are taken in runs of at most COLUMNS_AT_ONCE, whole sixteens; then those left over, with zeros for what is
 * missing to sixteen: no lane is ever -0, so adding +0 changes nothing. */
PITH_INLINE size_t floats_run(size_t left) { return left < 16 ? left : PITH_MIN(left & ~(size_t)15, COLUMNS_AT_ONCE); }

/* A run of weights of row r. */
static void floats_weights(float *w, const lm_matrix *m, size_t r, size_t c, size_t n) {
    const uint8_t *from = m->data + r * m->row_bytes + c * (m->type == TENSOR_F32 ? 4 : 2);
    bool done = false;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (m->type == TENSOR_F16) {
        uint16_t copy[COLUMNS_AT_ONCE];
        bool odd = (uintptr_t)from % 2;
        if (odd) memcpy(copy, from, n * sizeof *copy);
        exact()->widen(w, odd ? copy : (const uint16_t *)(const void *)from, n);
        done = true;
    }
#endif
    if (!done) blocks_decode(m->type, from, w, n);
    for (size_t i = n; i % 16; i++) w[i] = 0.0f;
}

/* A run of activations, in `rest` where zeros follow. */
PITH_INLINE const float *floats_input(const float *x, size_t n, float rest[16]) {
    if (n >= 16) return x;
    memset(rest, 0, 16 * sizeof *rest);
    memcpy(rest, x, n * sizeof *rest);
    return rest;
}

/* One row, tokens [t0, t0 + n_tokens), at most TOKENS_AT_ONCE of them. */
static void floats_row(const lm_matrix *m, const lm_activations *a, float *y, size_t y_stride, size_t r, size_t t0,
                       size_t n_tokens) {
    lanes16 sums[TOKENS_AT_ONCE] = {0};
    float w[COLUMNS_AT_ONCE], rest[2][16];
    for (size_t c = 0, n; c < a->n_cols; c += n) {
        n = floats_run(a->n_cols - c);
        floats_weights(w, m, r, c, n);
        for (size_t t = 0; t < n_tokens; t += 2) {
            const float *x = a->x + (t0 + t) * a->x_stride + c, *x0 = floats_input(x, n, rest[0]);
            if (t + 1 < n_tokens)
                floats_pair(&sums[t], w, x0, w, floats_input(x + a->x_stride, n, rest[1]), n);
            else
                floats_one(&sums[t], w, x0, n);
        }
    }
    for (size_t t = 0; t < n_tokens; t++) y[(t0 + t) * y_stride + r] = floats_tree(&sums[t]);
}

/* Rows r and r + 1, token t. */
static void floats_two_rows(const lm_matrix *m, const lm_activations *a, float *y, size_t y_stride, size_t r,
                            size_t t) {
    lanes16 sums[2] = {0};
    float w[2][COLUMNS_AT_ONCE], rest[16];
    for (size_t c = 0, n; c < a->n_cols; c += n) {
        n = floats_run(a->n_cols - c);
        floats_weights(w[0], m, r, c, n);
        floats_weights(w[1], m, r + 1, c, n);
        const float *x = floats_input(a->x + t * a->x_stride + c, n, rest);
        floats_pair(sums, w[0], x, w[1], x, n);
    }
    y[t * y_stride + r] = floats_tree(&sums[0]);
    y[t * y_stride + r + 1] = floats_tree(&sums[1]);
}

static void scalar_rows(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride, size_t row0,
                        size_t row1) {
    if (a->form->elements) {
        quantised(w, a, y, y_stride, row0, row1);
        return;
    }
    for (size_t t = 0; t < a->n_tokens; t += TOKENS_AT_ONCE) {
        size_t tokens = PITH_MIN(a->n_tokens - t, TOKENS_AT_ONCE), r = row0;
        for (; tokens == 1 && r + 2 <= row1; r += 2) floats_two_rows(w, a, y, y_stride, r, t);
        for (; r < row1; r++) floats_row(w, a, y, y_stride, r, t, tokens);
    }
}

static void scalar_round(lm_activations *a) { round_form(a, 1); }

const matmul_ops matmul_scalar = {scalar_round, scalar_rows};
