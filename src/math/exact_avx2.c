/* Exact kernels for AVX2 machines. */
#include "math/lanes_avx2.h"

#include "math/exact_simd.h"

const exact_ops exact_avx2 = EXACT_TABLE;
