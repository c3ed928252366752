/* The context mixer compiled for avx512; see cm_core.h. */
#define CM_ISA 2
#define CM_ISA_NAME avx512
#include "kernels/predict/cm_sizes.h"
