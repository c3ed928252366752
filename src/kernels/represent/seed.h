/* Inside `seed`: the shift register both sides run. */
#ifndef REPRESENT_SEED_H
#define REPRESENT_SEED_H

#include "kernels/represent/vectors.h"

enum { SEED_LEAST_BITS = 8, SEED_MOST_BITS = 16, SEED_EXPONENTS = 16 };

/* One step of the Fibonacci register of `bits` bits (8 to 16): all 2^bits - 1 states but 0 are one cycle. */
uint32_t seed_step(unsigned bits, uint32_t state);
/* values[n]: the states from `state` on, that one first, less 2^(bits - 1): integers within 2^15. */
void seed_values(unsigned bits, uint32_t state, int32_t *values, size_t n);
/* 2^exponent / (2^(bits - 1) - 1), one rounding; exponent within +-100. */
float seed_scale(unsigned bits, int exponent);

/* What a block becomes. */
typedef struct seed_code {
    uint32_t seed; /* 1 .. 2^bits - 1 */
    int exponent;  /* of the coefficients, 0 to 15, above the matrix's own */
    int8_t c[8];
    double error; /* squared */
} seed_code;

typedef struct seed_search seed_search;
/* Tables of all bases: about 2^lfsr (block (block + 1) / 2 + block * n_coefficients) floats. */
pith_status seed_search_new(pith_ctx *ctx, size_t block, size_t n_coefficients, unsigned lfsr, unsigned bits,
                            seed_search **out);
void seed_search_free(pith_ctx *ctx, seed_search *s);
/* codes[n] of blocks[n][block], coefficients being integers times 2^(base + exponent): of all seeds the one with the
 * least error after rounding, the first of equals. Threads of ctx. */
pith_status seed_search_run(const seed_search *s, const float *blocks, size_t n, int base, seed_code *codes);

#endif
