/* The encoders for any machine. */
#define ENCODER_TABLE encoders_scalar
#include "formats/blocks/encode_core.h"
