/* What holds for every predictor. */
#include <math.h>

#include "kernels/predict/predict.h"

double predictor_codelen(predictor *p, const uint8_t *data, size_t n) {
    double bits = 0;
    for (size_t i = 0; i < n; i++)
        for (int b = 7; b >= 0; b--) {
            unsigned bit = data[i] >> b & 1, one = p->ops->p(p);
            bits -= log2((bit ? one : 65536 - one) / 65536.0);
            p->ops->update(p, bit);
        }
    return bits;
}
