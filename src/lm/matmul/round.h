/* Rounds activations to bytes: for each block of 32 (or 256) numbers, scale = largest / 127 and
 * q = x * (127 / largest) to the nearest whole number, ties to even, as ggml does on x86 for its
 * Q8_0, Q8_1 and Q8_K. As there, the scale of 32 numbers is rounded to a half, and so is scale * sum of q, of
 * the scale not yet rounded; that of 256 stays a float. What is past the range of halves stays a float too, where
 * ggml has infinity. Plain C that compilers turn into vectors; MATMUL_TO_HALF(f) gives the half nearest to a
 * float, MATMUL_HALF(p) reads one at p. */
#ifndef LM_MATMUL_ROUND_H
#define LM_MATMUL_ROUND_H

#include "lm/matmul/parts.h"

#define ROUND_INFINITY 0x7f800000u
#define ROUND_TINY 0x0d800000u /* 2^-100: below, 127 / largest could overflow; counts as zero */

/* Returns the scale. n is a multiple of 32. */
PITH_INLINE float round_block(const float *x, int8_t *q, size_t n) {
    /* Sizes compared as whole numbers: a NaN is above infinity, and the order does not matter. */
    int32_t top = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, x + i, 4);
        bits &= 0x7fffffff;
        top = PITH_MAX(top, bits);
    }
    if (PITH_UNLIKELY((uint32_t)top >= ROUND_INFINITY || (uint32_t)top < ROUND_TINY)) {
        memset(q, 0, n);
        uint32_t bits = (uint32_t)top < ROUND_TINY ? 0 : 0x7fc00000u;
        float scale;
        memcpy(&scale, &bits, 4);
        return scale;
    }
    float largest;
    memcpy(&largest, &top, 4);
    float inverse = 127.0f / largest;
    for (size_t i = 0; i < n; i++) {
        /* Adding 1.5 * 2^23 leaves the nearest whole number in the low bits. */
        float f = x[i] * inverse + 12582912.0f;
        uint32_t bits;
        memcpy(&bits, &f, 4);
        q[i] = (int8_t)(uint8_t)bits;
    }
    return largest / 127.0f;
}

PITH_INLINE float to_half_and_back(float f) {
    uint8_t half[2];
    store16(half, MATMUL_TO_HALF(f));
    return (half[1] & 0x7f) == 0x7c && half[0] == 0 ? f : MATMUL_HALF(half);
}

PITH_INLINE int32_t sum_bytes(const int8_t *q, size_t n) {
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += q[i];
    return sum;
}

PITH_INLINE void round_tokens(lm_activations *a, size_t tile, size_t elements, size_t group) {
    int32_t zero = a->form->zero;
    size_t n_blocks = a->n_blocks, n_groups = a->n_groups, groups = elements / group;
    for (size_t t = 0; t < (a->n_tokens + tile - 1) / tile * tile; t++) {
        const float *x = a->x + t * a->x_stride;
        size_t first = t / tile * tile, lane = t % tile;
        int8_t *to = a->q + first * a->q_stride + lane * 4;
        float *scales = a->scale + first * n_blocks + lane, *scaled_sums = a->scaled_sum + first * n_blocks + lane;
        int32_t *zeros = a->zeros + first * n_groups + lane;
        int16_t *sums = a->sums + first * n_groups + lane * 2;
        for (size_t b = 0; b < n_blocks; b++) {
            int8_t q[256];
            float scale = 0.0f;
            if (t < a->n_tokens)
                scale = round_block(x + b * elements, q, elements);
            else
                memset(q, 0, elements);
            if (tile == 1)
                memcpy(to + b * elements, q, elements);
            else
                for (size_t i = 0; i < elements; i += 4) memcpy(to + (b * elements + i) * tile, q + i, 4);
            int32_t sum = 0;
            for (size_t g = 0; g < groups; g++) {
                int32_t part = sum_bytes(q + g * group, group);
                size_t at = b * groups + g;
                zeros[at * tile] = -zero * part;
                if (elements == 256) sums[at / 2 * 2 * tile + at % 2] = (int16_t)part;
                sum += part;
            }
            float scaled_sum = scale * (float)sum;
            scales[b * tile] = elements == 32 ? to_half_and_back(scale) : scale;
            scaled_sums[b * tile] = elements == 32 ? to_half_and_back(scaled_sum) : scaled_sum;
        }
    }
}

PITH_INLINE void round_form(lm_activations *a, size_t tile) {
    a->tile = tile;
    if (a->form->elements == 32)
        round_tokens(a, tile, 32, 32);
    else if (a->form->group == 32)
        round_tokens(a, tile, 256, 32);
    else
        round_tokens(a, tile, 256, 16);
}

#endif
