/* Products one output after another, by the formulas of matmul_scalar.c, with nothing shared but the unpacking of
 * blocks and the rounding of activations, in tiles of one token. */
#ifndef TESTS_LM_MATMUL_REFERENCE_H
#define TESTS_LM_MATMUL_REFERENCE_H

#define MATMUL_HALF(p) half_to_float(load16(p))
#define MATMUL_TO_HALF(f) float_to_half(f)
#define MATMUL_LOOKUP16(table, q, n)                                                                                   \
    for (int at = 0; at < (n); at++) q[at] = table[q[at]]
#include "lm/matmul/forms.h"
#include "lm/matmul/round.h"

static float reference_block(const matmul_form *form, const matmul_scales *u, const uint8_t *q, const int8_t *x,
                             float dx, float scaled_sum) {
    int32_t total = 0, min_total = 0;
    for (size_t i = 0; i < form->elements; i++) {
        size_t g = i / form->group;
        total += (form->elements == 32 ? 1 : u->scale[g]) * (q[i] - form->zero) * x[i];
        if (form->elements != 32 && form->mins) min_total += u->min[g] * x[i];
    }
    float p = (float)total * (u->d * dx);
    if (form->mins && form->elements == 32) p = p + u->m * scaled_sum;
    if (form->mins && form->elements == 256) p = p - (float)min_total * (u->m * dx);
    return p;
}

static float reference_floats(const float *w, const float *x, size_t n) {
    float lane[16] = {0};
    for (size_t c = 0; c < n; c++) lane[c % 16] = lane[c % 16] + w[c] * x[c];
    for (size_t half = 8; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++) lane[i] = lane[i] + lane[i + half];
    return lane[0];
}

static void reference_rows(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride, size_t row0,
                           size_t row1) {
    const matmul_form *form = a->form;
    for (size_t r = row0; r < row1; r++) {
        const uint8_t *row = w->data + r * w->row_bytes;
        if (!form->elements) {
            float *floats = malloc(a->n_cols * sizeof *floats);
            blocks_decode(w->type, row, floats, a->n_cols);
            for (size_t t = 0; t < a->n_tokens; t++)
                y[t * y_stride + r] = reference_floats(floats, a->x + t * a->x_stride, a->n_cols);
            free(floats);
            continue;
        }
        for (size_t t = 0; t < a->n_tokens; t++) y[t * y_stride + r] = 0.0f;
        for (size_t b = 0; b < a->n_blocks; b++) {
            matmul_scales u = {0};
            uint8_t q[256];
            unpacker(form->type)(row + b * form->block_bytes, q, &u);
            for (size_t t = 0; t < a->n_tokens; t++) {
                const int8_t *x = a->q + t * a->q_stride + b * form->elements;
                float *out = y + t * y_stride + r;
                size_t at = t * a->n_blocks + b;
                *out = *out + reference_block(form, &u, q, x, a->scale[at], a->scaled_sum[at]);
            }
        }
    }
}

static void reference_round(lm_activations *a) { round_form(a, 1); }

static const matmul_ops matmul_reference = {reference_round, reference_rows};

#endif
