/* The encoders as AVX2 code, eight groups at a time. */
#define ENCODER_TABLE encoders_avx2
#include "formats/blocks/encode_core.h"
