/* Loops over planes compiled for avx2. */
#include "kernels/represent/planes_core.h"

const planes_ops planes_ops_avx2 = {split, merge, exclusive, subtract, add};
