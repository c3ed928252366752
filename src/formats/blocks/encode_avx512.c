/* The encoders as AVX-512 code, sixteen groups at a time. */
#define ENCODER_TABLE encoders_avx512
#include "formats/blocks/encode_core.h"
