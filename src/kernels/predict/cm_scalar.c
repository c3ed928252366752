/* The context mixer in plain C, the reference; see cm_core.h. */
#define CM_ISA 0
#define CM_ISA_NAME scalar
#include "kernels/predict/cm_sizes.h"
