/* What the decoders share: sixteen small integers at once, one to a byte, in two 64-bit words of
 * whose bytes none reaches into the next; and their way from signed bytes to scaled floats.
 * Vectors as GNU C has them, which is SSE2 or NEON without naming either. */

#ifdef __AVX2__
#include <immintrin.h>
#endif

typedef uint64_t sixteen __attribute__((vector_size(16)));

#define EACH(byte) ((uint64_t)(byte)*0x0101010101010101u)
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define BIT_OF_EACH 0x0102040810204080u
#define IN_ORDER(word) __builtin_bswap64(word) /* the element in the lowest byte goes first */
#else
#define BIT_OF_EACH 0x8040201008040201u
#define IN_ORDER(word) (word)
#endif

PITH_INLINE sixteen bytes_load(const uint8_t *p) {
    sixteen v;
    memcpy(&v, p, sizeof v);
    return v;
}

PITH_INLINE void bytes_store(uint8_t *p, sixteen v) { memcpy(p, &v, sizeof v); }

/* Fields of as many bytes; none may reach over its byte's end. */
PITH_INLINE sixteen fields(const uint8_t *p, unsigned shift, unsigned mask) {
    return bytes_load(p) >> shift & EACH(mask);
}

/* q - k in every byte, for q and k below 128. */
PITH_INLINE sixteen less_each(sixteen q, unsigned k) { return ((q | EACH(0x80)) - EACH(k)) ^ EACH(0x80); }

/* Byte j is 1 where bit j is set, otherwise 0. */
PITH_INLINE sixteen bits_to_bytes(unsigned bits) {
    sixteen both = {EACH(bits & 0xff), EACH(bits >> 8 & 0xff)};
    return ((both & BIT_OF_EACH) + EACH(0x7f)) >> 7 & EACH(1);
}

/* dst[j] = q[j] * d, and with a base added, for n signed bytes, a multiple of 16. */
#ifdef __AVX2__
PITH_INLINE __m256 eight_floats(const uint8_t *q) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)q)));
}

PITH_INLINE void scaled(const uint8_t *q, unsigned n, float d, float *restrict dst) {
    for (unsigned j = 0; j < n; j += 8)
        _mm256_storeu_ps(dst + j, _mm256_mul_ps(eight_floats(q + j), _mm256_set1_ps(d)));
}

PITH_INLINE void scaled_from(const uint8_t *q, unsigned n, float d, float base, float *restrict dst) {
    for (unsigned j = 0; j < n; j += 8) {
        __m256 product = _mm256_mul_ps(eight_floats(q + j), _mm256_set1_ps(d));
        _mm256_storeu_ps(dst + j, _mm256_add_ps(product, _mm256_set1_ps(base)));
    }
}
#else
/* Calls, because compilers vectorise these loops only while they do not know how short they are. */
__attribute__((noinline)) static void scaled(const uint8_t *restrict q, unsigned n, float d, float *restrict dst) {
    for (unsigned j = 0; j < n; j++) dst[j] = (float)(int8_t)q[j] * d;
}

__attribute__((noinline)) static void scaled_from(const uint8_t *restrict q, unsigned n, float d, float base,
                                                  float *restrict dst) {
    for (unsigned j = 0; j < n; j++) dst[j] = (float)(int8_t)q[j] * d + base;
}
#endif

/* Sixteen bytes of nibbles choose among sixteen levels: q[j] from below, q[j + 16] from above. */
PITH_INLINE void levels_of(const int8_t level[16], const uint8_t nibbles[16], uint8_t q[32]) {
#ifdef __AVX2__
    __m128i table = _mm_loadu_si128((const __m128i *)(const void *)level), low = _mm_set1_epi8(15);
    __m128i n = _mm_loadu_si128((const __m128i *)(const void *)nibbles);
    _mm_storeu_si128((__m128i *)(void *)q, _mm_shuffle_epi8(table, _mm_and_si128(n, low)));
    _mm_storeu_si128((__m128i *)(void *)(q + 16), _mm_shuffle_epi8(table, _mm_and_si128(_mm_srli_epi16(n, 4), low)));
#else
    for (unsigned j = 0; j < 16; j++) {
        q[j] = (uint8_t)level[nibbles[j] & 15];
        q[j + 16] = (uint8_t)level[nibbles[j] >> 4];
    }
#endif
}
