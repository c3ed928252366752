/* The reference: products in plain C, one output after another. Whatever the SIMD files do,
 * they must give these bits.
 *
 * Quantised weights: for each block in order, with whole numbers (exact, so in any order)
 *     S = sum over groups g of scale[g] * sum over i of (q[i] - zero) * xq[i]
 *     M = sum over groups of min[g] * sum over i of xq[i]
 * the sum takes in one float:
 *     blocks of 32:            y = y + float(S) * (d * dx)
 *     blocks of 32 with mins:  y = y + (float(S) * (d * dx) + m * (dx * float(sum of xq)))
 *     blocks of 256:           y = y + float(S) * (d * dx)
 *     blocks of 256 with mins: y = y + (float(S) * (d * dx) - float(M) * (m * dx))
 * Float weights: 16 lanes as in math/math.h. Every operation rounds once, none is fused. */
#define MATMUL_HALF(p) half_to_float(load16(p))
#define MATMUL_LOOKUP16(table, q, n)                                                                                   \
    for (int at = 0; at < (n); at++) q[at] = table[q[at]]
#include "lm/matmul/forms.h"
#include "lm/matmul/round.h"

static void quantised(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride, size_t row0,
                      size_t row1) {
    const matmul_form *form = a->form;
    matmul_unpack_fn unpack = unpacker(form->type);
    size_t elements = form->elements, group = form->group, groups = elements / group;
    matmul_scales u = {0};
    uint8_t q[256];
    for (size_t r = row0; r < row1; r++) {
        for (size_t t = 0; t < a->n_tokens; t++) y[t * y_stride + r] = 0.0f;
        for (size_t b = 0; b < a->n_blocks; b++) {
            unpack(w->data + r * w->row_bytes + b * form->block_bytes, q, &u);
            for (size_t t = 0; t < a->n_tokens; t++) {
                const int8_t *x = a->q + t * a->q_stride + b * elements;
                const int16_t *sums = a->sums + t * a->n_groups + b * groups;
                float dx = a->scale[t * a->n_blocks + b], *out = y + t * y_stride + r;
                int32_t total = 0, min_total = 0;
                for (size_t g = 0; g < groups; g++) {
                    int32_t sum = 0;
                    for (size_t i = g * group; i < (g + 1) * group; i++) sum += (q[i] - form->zero) * x[i];
                    total += elements == 32 ? sum : u.scale[g] * sum;
                    if (elements != 32 && form->mins) min_total += u.min[g] * sums[g];
                }
                float p = (float)total * (u.d * dx);
                if (form->mins)
                    p = elements == 32 ? p + u.m * a->scaled_sum[t * a->n_blocks + b]
                                       : p - (float)min_total * (u.m * dx);
                *out = *out + p;
            }
        }
    }
}

static float element(const uint8_t *row, tensor_type type, size_t c) {
    if (type == TENSOR_F16) return half_to_float(load16(row + 2 * c));
    if (type == TENSOR_BF16) return bfloat_to_float(load16(row + 2 * c));
    uint32_t bits = load32(row + 4 * c);
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static void scalar_rows(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride, size_t row0,
                        size_t row1) {
    if (a->form->elements) {
        quantised(w, a, y, y_stride, row0, row1);
        return;
    }
    for (size_t r = row0; r < row1; r++)
        for (size_t t = 0; t < a->n_tokens; t++) {
            const float *x = a->x + t * a->x_stride;
            float lane[16] = {0};
            for (size_t c = 0; c < a->n_cols; c++)
                lane[c & 15] = lane[c & 15] + element(w->data + r * w->row_bytes, w->type, c) * x[c];
            for (size_t half = 8; half > 0; half >>= 1)
                for (size_t i = 0; i < half; i++) lane[i] = lane[i] + lane[i + half];
            y[t * y_stride + r] = lane[0];
        }
}

static void scalar_round(lm_activations *a) { round_form(a, 1); }

const matmul_ops matmul_scalar = {scalar_round, scalar_rows};
