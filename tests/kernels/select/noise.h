/* Weights and inputs for the tests of this folder: sums of four uniform numbers, the same on every machine. */
#ifndef TESTS_SELECT_NOISE_H
#define TESTS_SELECT_NOISE_H

#include <stdint.h>

static inline float noise(void) {
    static uint64_t seed = 1;
    float sum = 0;
    for (unsigned i = 0; i < 4; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        sum += (float)(seed >> 40) / 8388608.0f - 1;
    }
    return sum;
}

#endif
