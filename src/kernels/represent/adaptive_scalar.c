/* The adaptive coder's loop in plain C. */
#include "kernels/represent/adaptive_core.h"

const adaptive_ops adaptive_ops_scalar = {encode, decode};
