/* The decoders for any machine. */
#define DECODER_TABLE decoders_scalar
#include "formats/blocks/decode_core.h"
