/* Loops over planes compiled for avx512. */
#include "kernels/represent/planes_core.h"

const planes_ops planes_ops_avx512 = {split, merge, exclusive, subtract, add};
