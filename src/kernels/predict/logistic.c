/* Tables of the logistic domain, by integer arithmetic only. */
#include "kernels/predict/logistic.h"

void logistic_init(logistic *l) {
    /* e^(-k/256) in 1/2^62ths by repeated multiplication: the error stays below 2^-48 */
    const uint64_t step = UINT64_C(4593706758521714574); /* e^(-1/256) * 2^62 */
    uint64_t e = UINT64_C(1) << 62;
    for (int k = 0; k <= SQUASH_MAX; k++) {
        /* 65536 / (1 + e) for x = +k, and what is left of 65536 for x = -k */
        uint64_t p = (UINT64_C(1) << 63) / (((UINT64_C(1) << 62) + e) >> 16); /* 1/2^31 .. : 17 bits of 1 */
        uint64_t p16 = (p + 1) >> 1;
        p16 = p16 > 65535 ? 65535 : p16;
        l->squash[SQUASH_MAX + k] = (uint16_t)p16;
        l->squash[SQUASH_MAX - k] = (uint16_t)(65536 - p16);
        e = (uint64_t)(((unsigned __int128)e * step) >> 62);
    }
    int x = -STRETCH_MAX;
    for (int p = 0; p < 4096; p++) {
        unsigned middle = (unsigned)p * 16 + 8;
        while (x < STRETCH_MAX && l->squash[x + 1 + SQUASH_MAX] <= middle) x++;
        l->stretch[p] = (int16_t)x;
    }
}
