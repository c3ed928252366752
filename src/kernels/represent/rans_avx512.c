/* Rounds of the rANS coder, sixteen states to a vector. */
#include <immintrin.h>

#include "kernels/represent/rans.h"

#define VECTORS (RANS_LANES / 16)

static const uint8_t *decode(const uint32_t *table, uint32_t *states, const uint8_t *words, uint8_t *dst,
                             size_t n_rounds) {
    const __m512i slots = _mm512_set1_epi32((int)RANS_TOTAL - 1), low = _mm512_set1_epi32((int)RANS_LOW);
    __m512i x[VECTORS];
    for (unsigned v = 0; v < VECTORS; v++) x[v] = _mm512_loadu_si512(states + 16 * v);
    for (size_t r = 0; r < n_rounds; r++, dst += RANS_LANES) {
        for (unsigned v = 0; v < VECTORS; v++) {
            __m512i e = _mm512_i32gather_epi32(_mm512_and_si512(x[v], slots), table, 4);
            _mm_storeu_si128((__m128i *)(void *)(dst + 16 * v), _mm512_cvtepi32_epi8(_mm512_srli_epi32(e, 24)));
            __m512i freq = _mm512_and_si512(e, slots), offset = _mm512_and_si512(_mm512_srli_epi32(e, 12), slots);
            x[v] = _mm512_add_epi32(_mm512_mullo_epi32(freq, _mm512_srli_epi32(x[v], RANS_BITS)), offset);
        }
        for (unsigned v = 0; v < VECTORS; v++) {
            __mmask16 want = _mm512_cmplt_epu32_mask(x[v], low);
            __m512i next = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)words));
            next = _mm512_maskz_expand_epi32(want, next);
            x[v] = _mm512_mask_or_epi32(x[v], want, _mm512_slli_epi32(x[v], 16), next);
            words += 2 * (unsigned)__builtin_popcount(want);
        }
    }
    for (unsigned v = 0; v < VECTORS; v++) _mm512_storeu_si512(states + 16 * v, x[v]);
    return words;
}

/* x * inverse >> (32 + shift), in 64 bits, even and odd lanes apart. */
static __m512i quotient(__m512i x, __m512i inverse, __m512i shift) {
    const __m512i low = _mm512_set1_epi64(0xFFFFFFFF), more = _mm512_set1_epi64(32);
    __m512i even = _mm512_mul_epu32(x, inverse);
    __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(inverse, 32));
    even = _mm512_srlv_epi64(even, _mm512_add_epi64(_mm512_and_si512(shift, low), more));
    odd = _mm512_srlv_epi64(odd, _mm512_add_epi64(_mm512_srli_epi64(shift, 32), more));
    return _mm512_or_si512(even, _mm512_slli_epi64(odd, 32));
}

static uint8_t *encode(const rans_coder *coder, uint32_t *states, const uint8_t *src, size_t n_rounds, uint8_t *words) {
    const __m512i f_mask = _mm512_set1_epi32(0xFFF), offset_mask = _mm512_set1_epi32(0x1FFF);
    const __m512i total = _mm512_set1_epi32((int)RANS_TOTAL);
    __m512i x[VECTORS];
    for (unsigned v = 0; v < VECTORS; v++) x[v] = _mm512_loadu_si512(states + 16 * v);
    while (n_rounds-- > 0)
        for (unsigned v = VECTORS; v-- > 0;) {
            const uint8_t *p = src + n_rounds * RANS_LANES + 16 * v;
            __m512i symbol = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
            __m512i e = _mm512_i32gather_epi32(symbol, coder->rest, 4);
            __m512i inverse = _mm512_i32gather_epi32(symbol, coder->inverse, 4);
            __m512i f = _mm512_and_si512(e, f_mask), offset = _mm512_and_si512(_mm512_srli_epi32(e, 12), offset_mask);
            __mmask16 out = _mm512_cmpge_epu32_mask(x[v], _mm512_slli_epi32(f, 19));
            __m512i first = _mm512_maskz_compress_epi32(out, x[v]);
            words -= 2 * (unsigned)__builtin_popcount(out);
            /* those of other lanes land where words are already: only as many as there are */
            _mm256_mask_storeu_epi16(words, (__mmask16)((1u << __builtin_popcount(out)) - 1), _mm512_cvtepi32_epi16(first));
            x[v] = _mm512_mask_srli_epi32(x[v], out, x[v], 16);
            __m512i q = quotient(x[v], inverse, _mm512_srli_epi32(e, 25));
            q = _mm512_mullo_epi32(q, _mm512_sub_epi32(total, f));
            x[v] = _mm512_add_epi32(_mm512_add_epi32(x[v], offset), q);
        }
    for (unsigned v = 0; v < VECTORS; v++) _mm512_storeu_si512(states + 16 * v, x[v]);
    return words;
}

const rans_ops rans_ops_avx512 = {decode, encode};
