/* The adaptive coder's loop compiled for AVX-512: masks, and registers enough. */
#include "kernels/represent/adaptive_core.h"

const adaptive_ops adaptive_ops_avx512 = {encode, decode};
