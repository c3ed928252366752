/* Which encoder serves a type, and the encoders of plain floats. */
#include "formats/blocks/parts.h"

static void f32_encode(const float *restrict src, uint8_t *restrict dst, size_t n) {
    for (size_t i = 0; i < n; i++) store32(dst + 4 * i, float_bits(src[i]));
}

static void f16_encode(const float *restrict src, uint8_t *restrict dst, size_t n) {
    for (size_t i = 0; i < n; i++) put16(dst + 2 * i, half_narrow(src[i]));
}

static void bf16_encode(const float *restrict src, uint8_t *restrict dst, size_t n) {
    for (size_t i = 0; i < n; i++) put16(dst + 2 * i, bfloat_narrow(src[i]));
}

#define ENCODER(type, name) [TYPE_SLOT(TENSOR_##type)] = name##_encode

static const block_encoder encoders[TYPE_SLOTS] = {
    ENCODER(F32, f32),     ENCODER(F16, f16),       ENCODER(BF16, bf16),     ENCODER(Q4_0, q4_0),
    ENCODER(Q4_1, q4_1),   ENCODER(Q5_0, q5_0),     ENCODER(Q5_1, q5_1),     ENCODER(Q8_0, q8_0),
    ENCODER(Q8_K, q8_k),   ENCODER(Q2_K, q2_k),     ENCODER(Q3_K, q3_k),     ENCODER(Q4_K, q4_k),
    ENCODER(Q5_K, q5_k),   ENCODER(Q6_K, q6_k),     ENCODER(TQ1_0, tq1_0),   ENCODER(TQ2_0, tq2_0),
    ENCODER(MXFP4, mxfp4), ENCODER(IQ4_NL, iq4_nl), ENCODER(IQ4_XS, iq4_xs),
};

bool blocks_encode(tensor_type type, const float *src, uint8_t *dst, size_t n) {
    const tensor_type_info *info = tensor_type_of(type);
    if (!info || !encoders[TYPE_SLOT(type)]) return false;
    encoders[TYPE_SLOT(type)](src, dst, n / info->block);
    return true;
}
