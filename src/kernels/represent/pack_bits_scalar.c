/* Unpacking of bits in plain C. */
#include "kernels/represent/pack_bits_core.h"

const pack_bits_ops pack_bits_ops_scalar = {unpack};
