/* Orthonormal wavelets with periodic ends (Daubechies, Ten Lectures on Wavelets, 1992, table 6.1):
 *   low[i] = sum over k of h[k] x[2i + k],  high[i] = sum over k of (-1)^k h[K - 1 - k] x[2i + k],
 * indices modulo the length, sums by ascending k; the inverse is the transposed of that. A signal is a row of numbers,
 * or a column of short rows, which is a strip of a matrix. */
#include "math/transform/transform.h"

#define MOST_TAPS 8
#define STRIP 64 /* columns taken at once */

static const struct {
    size_t n;
    float low[MOST_TAPS];
} wavelets[] = {
    [TRANSFORM_HAAR] = {2, {0.707106781186547524f, 0.707106781186547524f}},
    [TRANSFORM_DB2] = {4,
                       {0.482962913144534143f, 0.836516303737807906f, 0.224143868042013381f, -0.129409522551260381f}},
    [TRANSFORM_DB4] = {8,
                       {0.230377813308896501f, 0.714846570552915647f, 0.630880767929858908f, -0.0279837694168598542f,
                        -0.187034811719093084f, 0.0308413818355607637f, 0.0328830116668851997f,
                        -0.0105974017850690321f}},
};

static float high_of(transform_wavelet kind, size_t k) {
    float c = wavelets[kind].low[wavelets[kind].n - 1 - k];
    return k % 2 ? -c : c;
}

/* y[n] (+)= c * x[n] */
static void add(float *restrict y, float c, const float *restrict x, size_t n, bool first) {
    if (first)
        for (size_t i = 0; i < n; i++) y[i] = c * x[i];
    else
        for (size_t i = 0; i < n; i++) y[i] = y[i] + c * x[i];
}

/* One level on n vectors of `width` numbers, n even. work: n + MOST_TAPS vectors. Even and odd vectors apart, followed
 * by what comes after the end: every sum over taps runs along memory. */
static void split(transform_wavelet kind, float *x, size_t n, size_t width, float *work) {
    size_t half = n / 2, pad = wavelets[kind].n / 2 - 1, bytes = width * sizeof *x;
    float *even = work, *odd = work + (half + pad) * width;
    for (size_t i = 0; i < half + pad; i++) {
        memcpy(even + i * width, x + i % half * 2 * width, bytes);
        memcpy(odd + i * width, x + (i % half * 2 + 1) * width, bytes);
    }
    for (size_t t = 0; t <= pad; t++) {
        add(x, wavelets[kind].low[2 * t], even + t * width, half * width, t == 0);
        add(x, wavelets[kind].low[2 * t + 1], odd + t * width, half * width, false);
        add(x + half * width, high_of(kind, 2 * t), even + t * width, half * width, t == 0);
        add(x + half * width, high_of(kind, 2 * t + 1), odd + t * width, half * width, false);
    }
}

/* The reverse. work: twice as much. What comes before the start stands before it. */
static void join(transform_wavelet kind, float *x, size_t n, size_t width, float *work) {
    size_t half = n / 2, pad = wavelets[kind].n / 2 - 1, bytes = width * sizeof *x;
    float *low = work, *high = low + (half + pad) * width, *even = high + (half + pad) * width,
          *odd = even + half * width;
    for (size_t i = 0; i < half + pad; i++) {
        size_t from = (i + pad * half - pad) % half;
        memcpy(low + i * width, x + from * width, bytes);
        memcpy(high + i * width, x + (half + from) * width, bytes);
    }
    for (size_t t = 0; t <= pad; t++) {
        add(even, wavelets[kind].low[2 * t], low + (pad - t) * width, half * width, t == 0);
        add(even, high_of(kind, 2 * t), high + (pad - t) * width, half * width, false);
        add(odd, wavelets[kind].low[2 * t + 1], low + (pad - t) * width, half * width, t == 0);
        add(odd, high_of(kind, 2 * t + 1), high + (pad - t) * width, half * width, false);
    }
    for (size_t i = 0; i < half; i++) {
        memcpy(x + 2 * i * width, even + i * width, bytes);
        memcpy(x + (2 * i + 1) * width, odd + i * width, bytes);
    }
}

static void all_levels(transform_wavelet kind, unsigned levels, bool inverse, float *x, size_t n, size_t width,
                       float *work) {
    unsigned possible = 0;
    while (possible < levels && n % 2 == 0 && n > 0) possible++, n /= 2;
    if (inverse)
        for (; possible > 0; possible--) n *= 2, join(kind, x, n, width, work);
    else
        for (n <<= possible; possible > 0; possible--, n /= 2) split(kind, x, n, width, work);
}

pith_status transform_wavelet_rows(pith_ctx *ctx, transform_wavelet kind, unsigned levels, bool inverse, float *x,
                                   size_t rows, size_t cols) {
    float *work = pith_alloc(ctx, (2 * cols + 2 * MOST_TAPS) * sizeof *work);
    if (!work) return pith_alloc_status(ctx);
    for (size_t r = 0; r < rows; r++) all_levels(kind, levels, inverse, x + r * cols, cols, 1, work);
    pith_free(ctx, work);
    return PITH_OK;
}

pith_status transform_wavelet_cols(pith_ctx *ctx, transform_wavelet kind, unsigned levels, bool inverse, float *x,
                                   size_t rows, size_t cols) {
    size_t width = PITH_MIN(cols, (size_t)STRIP);
    float *strip = pith_alloc(ctx, (3 * rows + 2 * MOST_TAPS) * width * sizeof *strip);
    if (!strip) return pith_alloc_status(ctx);
    for (size_t first = 0; first < cols; first += width) {
        width = PITH_MIN(width, cols - first);
        for (size_t r = 0; r < rows; r++) memcpy(strip + r * width, x + r * cols + first, width * sizeof *x);
        all_levels(kind, levels, inverse, strip, rows, width, strip + rows * width);
        for (size_t r = 0; r < rows; r++) memcpy(x + r * cols + first, strip + r * width, width * sizeof *x);
    }
    pith_free(ctx, strip);
    return PITH_OK;
}
