/* Decoders of plain numbers: one element, one block. */

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
static void f32_decode(const uint8_t *restrict src, float *restrict dst, size_t n) {
    if (n) memcpy(dst, src, n * sizeof *dst);
}
#else
static void f32_decode(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t i = 0; i < n; i++) dst[i] = bits_float(load32(src + 4 * i));
}
#endif

static void f16_decode(const uint8_t *restrict src, float *restrict dst, size_t n) {
    size_t i = 0;
#if defined(__AVX2__) && defined(__F16C__)
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(src + 2 * i))));
#endif
    for (; i < n; i++) dst[i] = half_widen(fetch16(src + 2 * i));
}

#define PLAIN_DECODER(name, bytes, expression)                                                                         \
    static void name##_decode(const uint8_t *restrict src, float *restrict dst, size_t n) {                            \
        for (size_t i = 0; i < n; i++) {                                                                               \
            const uint8_t *p = src + (bytes)*i;                                                                        \
            dst[i] = (expression);                                                                                     \
        }                                                                                                              \
    }

static float f64_narrow(uint64_t u) {
    double d;
    memcpy(&d, &u, sizeof d);
    return (float)d;
}

PLAIN_DECODER(bf16, 2, bfloat_widen(fetch16(p)))
PLAIN_DECODER(f64, 8, f64_narrow(load64(p)))
PLAIN_DECODER(i8, 1, (float)(int8_t)*p)
PLAIN_DECODER(i16, 2, (float)(int16_t)fetch16(p))
PLAIN_DECODER(i32, 4, (float)(int32_t)load32(p))
PLAIN_DECODER(i64, 8, (float)(int64_t)load64(p))
PLAIN_DECODER(u8, 1, (float)*p)
PLAIN_DECODER(u16, 2, (float)fetch16(p))
PLAIN_DECODER(u32, 4, (float)load32(p))
PLAIN_DECODER(u64, 8, (float)load64(p))
PLAIN_DECODER(bool, 1, *p ? 1.0f : 0.0f)
PLAIN_DECODER(f8_e4m3, 1, e4m3_widen(*p))
PLAIN_DECODER(f8_e5m2, 1, e5m2_widen(*p))
