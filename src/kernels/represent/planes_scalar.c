/* Loops over planes in plain C. */
#include "kernels/represent/planes_core.h"

const planes_ops planes_ops_scalar = {split, merge, exclusive, subtract, add};
