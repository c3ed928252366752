/* Which decoder serves a type on this machine. */
#include "formats/blocks/parts.h"

void blocks_decode(tensor_type type, const uint8_t *src, float *dst, size_t n) {
    const block_decoder *decoders = decoders_scalar;
#ifdef BLOCKS_HAVE_X86
    if (pith_cpu_best() >= PITH_CPU_AVX2) decoders = decoders_avx2;
#endif
    decoders[TYPE_SLOT(type)](src, dst, n / tensor_type_of(type)->block);
}
