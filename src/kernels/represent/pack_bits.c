/* Codes as plain bits. Bits behind the last code are zero, which the reader checks. */
#include "kernels/represent/pack_bits.h"

static const pack_bits_ops *ops(void) {
#ifndef PITH_NO_X86
    if (pith_cpu_best() >= PITH_CPU_AVX2) return &pack_bits_ops_avx2;
#endif
    return &pack_bits_ops_scalar;
}

unsigned pack_width(uint32_t alphabet) {
    unsigned width = 0;
    while ((uint32_t)1 << width < alphabet) width++;
    return width;
}

size_t pack_bits_size(size_t n, unsigned width) { return n / 8 * width + (n % 8 * width + 7) / 8; }

pith_status pack_bits_put(pith_ctx *ctx, const uint16_t *codes, size_t n, unsigned width, pith_buffer *out) {
    size_t size = pack_bits_size(n, width);
    pith_status status = pith_buffer_reserve(ctx, out, size + 8);
    if (status) return status;
    uint8_t *p = out->data + out->size;
    uint64_t held = 0;
    unsigned n_held = 0;
    for (size_t i = 0; i < n; i++) {
        held |= (uint64_t)codes[i] << n_held;
        n_held += width;
        if (n_held >= 32) {
            store32(p, (uint32_t)held);
            p += 4;
            held >>= 32;
            n_held -= 32;
        }
    }
    store32(p, (uint32_t)held);
    out->size += size;
    return PITH_OK;
}

bool pack_bits_take(repr_reader *in, uint16_t *codes, size_t n, uint32_t alphabet) {
    unsigned width = pack_width(alphabet);
    size_t size = pack_bits_size(n, width), done = 0;
    const uint8_t *src = n >> 58 ? NULL : repr_take(in, size);
    if (!src) return false;
    if (width == 0) {
        if (n) memset(codes, 0, n * sizeof *codes);
        return true;
    }
    if (size > 16) {
        done = (size - 16) / width * 8;
        ops()->unpack(src, codes, done, width);
    }
    const uint8_t *p = src + done / 8 * width, *end = src + size;
    uint64_t held = 0;
    unsigned n_held = 0;
    for (size_t i = done; i < n; i++) {
        for (; n_held < width; n_held += 8) held |= (uint64_t)*p++ << n_held;
        codes[i] = (uint16_t)(held & (((uint64_t)1 << width) - 1));
        held >>= width;
        n_held -= width;
    }
    if (held || p != end) return false;
    if (alphabet >> width == 0) { /* not every number is a code */
        unsigned bad = 0;
        for (size_t i = 0; i < n; i++) bad |= codes[i] >= alphabet;
        return !bad;
    }
    return true;
}
