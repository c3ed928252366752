/* Exact kernels for any processor, in vectors of four. */
#if defined(__GNUC__)
#include "math/lanes_four.h"

#include "math/exact_simd.h"

const exact_ops exact_four = EXACT_TABLE;
#endif
