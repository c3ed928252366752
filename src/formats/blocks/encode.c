/* Which encoder serves a type on this machine. */
#include "formats/blocks/parts.h"

static block_encoder encoder_of(tensor_type type) {
    const tensor_type_info *info = tensor_type_of(type);
    const block_encoder *encoders = encoders_scalar;
#ifdef BLOCKS_HAVE_X86
    if (pith_cpu_best() >= PITH_CPU_AVX512)
        encoders = encoders_avx512;
    else if (pith_cpu_best() >= PITH_CPU_AVX2)
        encoders = encoders_avx2;
#endif
    return info ? encoders[TYPE_SLOT(type)] : NULL;
}

/* Few bits are only for where it is known what matters. */
static bool needs_importance(tensor_type type) {
    return type == TENSOR_IQ2_XXS || type == TENSOR_IQ2_XS || type == TENSOR_IQ1_S;
}

bool blocks_encode(tensor_type type, const float *src, uint8_t *dst, size_t n) {
    block_encoder encode = encoder_of(type);
    if (!encode || needs_importance(type)) return false;
    encode(src, NULL, dst, n / tensor_type_of(type)->block);
    return true;
}

bool blocks_encode_weighted(tensor_type type, const float *src, const float *importance, uint8_t *dst, size_t rows,
                            size_t cols) {
    block_encoder encode = encoder_of(type);
    if (!encode || (!importance && needs_importance(type))) return false;
    const tensor_type_info *info = tensor_type_of(type);
    if (!importance) {
        encode(src, NULL, dst, rows * cols / info->block);
        return true;
    }
    for (size_t r = 0; r < rows; r++)
        encode(src + r * cols, importance, dst + r * (cols / info->block * info->block_bytes), cols / info->block);
    return true;
}
