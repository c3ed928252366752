/* The adaptive coder's loop compiled for AVX2. */
#include "kernels/represent/adaptive_core.h"

const adaptive_ops adaptive_ops_avx2 = {encode, decode};
