/* The fast Walsh-Hadamard transform: log2(block) sweeps of sums and differences. */
#include <math.h>

#include "math/transform/transform.h"

/* Strides below 16 on 16 numbers at once: they stay in registers. */
static void sweep_16(float *x) {
    float t[16], u[16];
    for (int i = 0; i < 8; i++) t[2 * i] = x[2 * i] + x[2 * i + 1], t[2 * i + 1] = x[2 * i] - x[2 * i + 1];
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) u[i + j] = t[i + j] + t[i + j + 2], u[i + j + 2] = t[i + j] - t[i + j + 2];
    for (int i = 0; i < 16; i += 8)
        for (int j = 0; j < 4; j++) t[i + j] = u[i + j] + u[i + j + 4], t[i + j + 4] = u[i + j] - u[i + j + 4];
    for (int j = 0; j < 8; j++) x[j] = t[j] + t[j + 8], x[j + 8] = t[j] - t[j + 8];
}

static void sweep(float *restrict low, float *restrict high, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float a = low[i], b = high[i];
        low[i] = a + b;
        high[i] = a - b;
    }
}

static void one_block(float *x, size_t block) {
    size_t stride = 1;
    if (block >= 16) {
        for (size_t i = 0; i < block; i += 16) sweep_16(x + i);
        stride = 16;
    }
    for (; stride < block; stride *= 2)
        for (size_t i = 0; i < block; i += 2 * stride) sweep(x + i, x + i + stride, stride);
    float scale = 1 / sqrtf((float)block);
    for (size_t i = 0; i < block; i++) x[i] *= scale;
}

void transform_hadamard(float *x, size_t rows, size_t cols, size_t block) {
    for (size_t r = 0; r < rows; r++) {
        float *row = x + r * cols;
        size_t size = block;
        for (size_t i = 0; i < cols; i += size) {
            while (size > cols - i) size /= 2;
            one_block(row + i, size);
        }
    }
}
