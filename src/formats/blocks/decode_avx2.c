/* The decoders as AVX2 code: the compiler vectorises the same loops; halves widen by F16C. */
#define DECODER_TABLE decoders_avx2
#include "formats/blocks/decode_core.h"
