/* The encoders, compiled for each instruction set: the same C, the same bits. ENCODER_TABLE names
 * the table that the including file defines. */
#include "formats/blocks/encode_ternary.h"

static void f32_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst, size_t n) {
    (void)importance;
    for (size_t i = 0; i < n; i++) store32(dst + 4 * i, float_bits(src[i]));
}

static void f16_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst, size_t n) {
    (void)importance;
    for (size_t i = 0; i < n; i++) put16(dst + 2 * i, half_narrow(src[i]));
}

static void bf16_encode(const float *restrict src, const float *restrict importance, uint8_t *restrict dst, size_t n) {
    (void)importance;
    for (size_t i = 0; i < n; i++) put16(dst + 2 * i, bfloat_narrow(src[i]));
}

#define ENCODED_TYPES(X)                                                                                              \
    X(F32, f32) X(F16, f16) X(BF16, bf16) X(Q4_0, q4_0) X(Q4_1, q4_1) X(Q5_0, q5_0) X(Q5_1, q5_1) X(Q8_0, q8_0)       \
    X(Q8_K, q8_k) X(Q2_K, q2_k) X(Q3_K, q3_k) X(Q4_K, q4_k) X(Q5_K, q5_k) X(Q6_K, q6_k) X(TQ1_0, tq1_0)               \
    X(TQ2_0, tq2_0) X(MXFP4, mxfp4) X(IQ4_NL, iq4_nl) X(IQ4_XS, iq4_xs)               \
    X(IQ2_XXS, iq2_xxs) X(IQ2_XS, iq2_xs) X(IQ2_S, iq2_s) X(IQ3_XXS, iq3_xxs) X(IQ3_S, iq3_s)      \
    X(IQ1_S, iq1_s) X(IQ1_M, iq1_m)

#define DOOR(type, name)                                                                                              \
    static void name##_door(const float *restrict src, const float *restrict importance, uint8_t *restrict dst,       \
                            size_t n_blocks) {                                                                        \
        name##_encode(src, importance, dst, n_blocks);                                                                \
        LANES_LEAVE();                                                                                                \
    }
ENCODED_TYPES(DOOR)

#define PLACE(type, name) [TYPE_SLOT(TENSOR_##type)] = name##_door,
const block_encoder ENCODER_TABLE[TYPE_SLOTS] = {ENCODED_TYPES(PLACE)};
