/* Unpacking of bits compiled for AVX2: shifts by a number for each lane. */
#include "kernels/represent/pack_bits_core.h"

const pack_bits_ops pack_bits_ops_avx2 = {unpack};
