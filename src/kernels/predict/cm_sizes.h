/* The three sizes of the context mixer, for the instruction set CM_ISA / CM_ISA_NAME. */
#include "kernels/predict/cm_cells.h"
#include "kernels/predict/cm_contexts.h"
#include "kernels/predict/cm_match.h"
#include "kernels/predict/cm_mixer.h"
#include "kernels/predict/cm_neural.h"

#define CM_RATE 80           /* of the first mixers, in 1/2^24ths of a weight per input and error unit */
#define CM_RATE_EXTRA 200    /* on top at the very start */
#define CM_RATE_BYTES 125000u
#define CM_SMALL_ERROR 1000  /* of 65536: the first mixers learn nothing from less */
#define CM_FINAL_RATE 24
#define CM_MAP_RATE 128      /* of the maps: 1/32 of a nat for an error of 1 */
#define CM_DITHER_SHIFT 8    /* as large as what rounding hides at that rate: errors up to 128 of 32768 */
/* times the high nibble behind a 1: from a byte's hash to that of its low nibble */
#define CM_NIBBLE 0x9E3779B1u

#if CM_ISA >= 1
#include "kernels/predict/cm_small.h"
#else
#define CM_NAME small
#define CM_CTX CM_SMALL_CTX
#define CM_CONTEXTS cm_small_contexts
#define CM_RUN 0
#define CM_MATCHES 1
#define CM_SETS 4
#define CM_APMS 2
#define CM_FINALS 1
#define CM_NEURAL 0
#include "kernels/predict/cm_core.h"
#endif

#define CM_NAME large
#define CM_CTX CM_LARGE_CTX
#define CM_CONTEXTS cm_large_contexts
#define CM_RUN 8
#define CM_MATCHES 2
#define CM_SETS 8
#define CM_APMS 4
#define CM_FINALS 2
#define CM_NEURAL 0
#include "kernels/predict/cm_core.h"

#define CM_NAME neural
#define CM_CTX CM_LARGE_CTX
#define CM_CONTEXTS cm_large_contexts
#define CM_RUN 8
#define CM_MATCHES 2
#define CM_SETS 9
#define CM_APMS 4
#define CM_FINALS 2
#define CM_NEURAL 1
#include "kernels/predict/cm_core.h"
