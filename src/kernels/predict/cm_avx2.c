/* The context mixer compiled for avx2; see cm_core.h. */
#define CM_ISA 1
#define CM_ISA_NAME avx2
#include "kernels/predict/cm_sizes.h"
