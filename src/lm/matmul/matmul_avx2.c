/* AVX2 kernels: 8 rows at once. vpmaddubsw saturates, so bytes of full range (zero 128) are taken
 * as signed numbers, their sign moved to the activations: 128 * 127 * 2 fits 16 bits. */
#include <immintrin.h>

#define MATMUL_HALF(p) _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(load16(p))))
#define MATMUL_TO_HALF(f) ((uint16_t)_mm_cvtsi128_si32(_mm_cvtps_ph(_mm_set_ss(f), _MM_FROUND_TO_NEAREST_INT)))

#define LANES 8
#define TILE_TOKENS 4
#define TILE_TARGET
typedef __m256i vi;
typedef __m256 vf;
typedef struct weights {
    __m256i value, size;
} weights;
#define VI_SET1(n) _mm256_set1_epi32(n)
#define VI_LOAD(p) _mm256_load_si256((const __m256i *)(p))
#define VI_ADD _mm256_add_epi32
#define VI_MUL _mm256_mullo_epi32
#define VI_CVT _mm256_cvtepi32_ps
#define VF_ZERO _mm256_setzero_ps()
#define VF_SET1(f) _mm256_set1_ps(f)
#define VF_LOAD(p) _mm256_load_ps(p)
#define VF_ADD _mm256_add_ps
#define VF_SUB _mm256_sub_ps
#define VF_MUL _mm256_mul_ps
#define VF_LOAD_ROWS(p, n) _mm256_maskload_ps(p, row_mask(n))
#define VF_STORE_ROWS(p, v, n) _mm256_maskstore_ps(p, row_mask(n), v)
#define DOT_START(zero, wide) _mm256_set1_epi32((wide) ? 0 : (zero))
#define WEIGHTS(p, wide) load_weights(p, wide)
#define DOT(s, w, x, wide) dot8(s, w, x, wide)
#define DOT16(s, w, x) _mm256_add_epi32(s, _mm256_madd_epi16(w, _mm256_set1_epi32(int_at(x))))
#define INTERLEAVE(to, from, n) interleave8(to, from, n)
#define MATMUL_LOOKUP16(table, q, n) lookup16(table, q, n)

#include "base/base.h"

PITH_INLINE int int_at(const void *p) {
    int n;
    memcpy(&n, p, 4);
    return n;
}

PITH_INLINE __m256i row_mask(size_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

PITH_INLINE weights load_weights(const void *p, bool wide) {
    __m256i v = _mm256_load_si256(p);
    if (!wide) return (weights){v, v};
    v = _mm256_xor_si256(v, _mm256_set1_epi8(-128));
    return (weights){v, _mm256_abs_epi8(v)};
}

PITH_INLINE __m256i dot8(__m256i s, weights w, const int8_t *p, bool wide) {
    __m256i x = _mm256_set1_epi32(int_at(p));
    if (wide) x = _mm256_sign_epi8(x, w.value);
    return _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_maddubs_epi16(w.size, x), _mm256_set1_epi16(1)));
}

PITH_INLINE void lookup16(const uint8_t *table, uint8_t *q, size_t n) {
    __m256i values = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)table));
    for (size_t i = 0; i < n; i += 32)
        _mm256_storeu_si256((void *)(q + i), _mm256_shuffle_epi8(values, _mm256_loadu_si256((const void *)(q + i))));
}

/* to[k] = dword k of each of 8 rows of n. */
static void interleave8(void *to, const void *from, const size_t n) {
    for (size_t part = 0; part < n; part += 8) {
        __m256i *out = (__m256i *)to + part;
        __m256i a[8], b[8];
#pragma GCC unroll 8
        for (size_t r = 0; r < 8; r++) a[r] = _mm256_load_si256((const void *)((const uint32_t *)from + r * n + part));
#pragma GCC unroll 4
        for (int r = 0; r < 8; r += 2) {
            b[r] = _mm256_unpacklo_epi32(a[r], a[r + 1]);
            b[r + 1] = _mm256_unpackhi_epi32(a[r], a[r + 1]);
        }
#pragma GCC unroll 2
        for (int r = 0; r < 8; r += 4) {
            a[r] = _mm256_unpacklo_epi64(b[r], b[r + 2]);
            a[r + 1] = _mm256_unpackhi_epi64(b[r], b[r + 2]);
            a[r + 2] = _mm256_unpacklo_epi64(b[r + 1], b[r + 3]);
            a[r + 3] = _mm256_unpackhi_epi64(b[r + 1], b[r + 3]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            _mm256_store_si256(out + i, _mm256_permute2x128_si256(a[i], a[4 + i], 0x20));
            _mm256_store_si256(out + 4 + i, _mm256_permute2x128_si256(a[i], a[4 + i], 0x31));
        }
    }
}

#include "lm/matmul/round.h"
#include "lm/matmul/tile.h"

static void avx2_round(lm_activations *a) { round_form(a, a->n_tokens < 4 ? 1 : MATMUL_TOKEN_TILE); }

static void avx2_rows(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride, size_t row0,
                      size_t row1) {
    if (a->form->elements)
        tile_rows(w, a, y, y_stride, row0, row1);
    else
        matmul_floats_avx2(w, a, y, y_stride, row0, row1);
}

const matmul_ops matmul_avx2 = {avx2_round, avx2_rows};
