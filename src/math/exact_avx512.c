/* Exact kernels for AVX-512 machines. */
#include "math/lanes_avx512.h"

#include "math/exact_simd.h"

const exact_ops exact_avx512 = EXACT_TABLE;
