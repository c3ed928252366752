/* The conversions of half.h as functions. */
#include "formats/blocks/half.h"
#include "formats/blocks/blocks.h"

float half_to_float(uint16_t h) { return half_widen(h); }
uint16_t float_to_half(float f) { return half_narrow(f); }
float bfloat_to_float(uint16_t h) { return bfloat_widen(h); }
uint16_t float_to_bfloat(float f) { return bfloat_narrow(f); }
