/* AVX-512 kernels (with VNNI, which matmul_for asks the processor for): 16 rows at once. */
#include "lm/matmul/avx512.h"

#define MATMUL_HALF(p) _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(load16(p))))
#define MATMUL_TO_HALF(f) ((uint16_t)_mm_cvtsi128_si32(_mm_cvtps_ph(_mm_set_ss(f), _MM_FROUND_TO_NEAREST_INT)))

#define LANES 16
#define TILE_TOKENS 8
#define TILE_TARGET VNNI_TARGET
typedef __m512i vi;
typedef __m512 vf;
typedef __m512i weights;
#define VI_SET1(n) _mm512_set1_epi32(n)
#define VI_LOAD(p) _mm512_load_si512(p)
#define VI_ADD _mm512_add_epi32
#define VI_MUL _mm512_mullo_epi32
#define VI_CVT _mm512_cvtepi32_ps
#define VF_ZERO _mm512_setzero_ps()
#define VF_SET1(f) _mm512_set1_ps(f)
#define VF_LOAD(p) _mm512_load_ps(p)
#define VF_ADD _mm512_add_ps
#define VF_SUB _mm512_sub_ps
#define VF_MUL _mm512_mul_ps
#define VF_LOAD_ROWS(p, n) _mm512_maskz_loadu_ps(FIRST16(n), p)
#define VF_STORE_ROWS(p, v, n) _mm512_mask_storeu_ps(p, FIRST16(n), v)
#define DOT_START(zero, wide) ((void)(wide), _mm512_set1_epi32(zero))
#define WEIGHTS(p, wide) _mm512_load_si512(p)
#define DOT(s, w, x, wide) _mm512_dpbusd_epi32(s, w, _mm512_set1_epi32(int_at(x)))
#define DOT16(s, w, x) _mm512_dpwssd_epi32(s, w, _mm512_set1_epi32(int_at(x)))
#define INTERLEAVE(to, from, n) interleave16(to, from, n)
#define MATMUL_LOOKUP16(table, q, n) lookup16(table, q, n)

/* to[k] = dword k of each of 16 rows of n. */
static void interleave16(void *to, const void *from, const size_t n) {
    __m512i *out = to;
    for (size_t part = 0; part < n; part += 16) {
        __m512i v[16];
        for (size_t r = 0; r < 16; r++) v[r] = _mm512_load_si512((const uint32_t *)from + r * n + part);
        transpose16(v);
        for (size_t k = 0; k < 16; k++) _mm512_store_si512(out + part + k, v[k]);
    }
}

PITH_INLINE void lookup16(const uint8_t *table, uint8_t *q, size_t n) {
    __m256i values = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)table));
    for (size_t i = 0; i < n; i += 32)
        _mm256_storeu_si256((void *)(q + i), _mm256_shuffle_epi8(values, _mm256_loadu_si256((const void *)(q + i))));
}

#include "lm/matmul/round.h"
#include "lm/matmul/tile.h"

/* The kernel for few tokens of a type, and up to how many it beats unpacking tiles. */
typedef struct few_kernel {
    tensor_type type;
    matmul_order order;
    size_t max_tokens;
    matmul_rows_fn *rows;
} few_kernel;

static const few_kernel few_kernels[] = {
    {TENSOR_Q8_0, MATMUL_IN_ORDER, 4, matmul_rows_q8_0},
    {TENSOR_Q4_0, MATMUL_NIBBLES16, 9, matmul_rows_q4_0},
    {TENSOR_Q4_1, MATMUL_NIBBLES16, 9, matmul_rows_q4_1},
    {TENSOR_Q5_0, MATMUL_NIBBLES16, 13, matmul_rows_q5_0},
    {TENSOR_Q5_1, MATMUL_NIBBLES16, 13, matmul_rows_q5_1},
    {TENSOR_IQ4_NL, MATMUL_NIBBLES16, 23, matmul_rows_iq4_nl},
    {TENSOR_MXFP4, MATMUL_NIBBLES16, 13, matmul_rows_mxfp4},
    {TENSOR_Q2_K, MATMUL_PLANES, 7, matmul_rows_q2_k},
    {TENSOR_Q3_K, MATMUL_PLANES, 21, matmul_rows_q3_k},
    {TENSOR_Q4_K, MATMUL_NIBBLES32, 13, matmul_rows_q4_k},
    {TENSOR_Q5_K, MATMUL_NIBBLES32, 13, matmul_rows_q5_k},
    {TENSOR_Q6_K, MATMUL_IN_ORDER, 9, matmul_rows_q6_k},
    {TENSOR_IQ4_XS, MATMUL_NIBBLES16, 17, matmul_rows_iq4_xs},
    {TENSOR_TQ2_0, MATMUL_PLANES, 13, matmul_rows_tq2_0},
    {TENSOR_IQ2_XXS, MATMUL_IN_ORDER, 9, matmul_rows_iq2_xxs},
    {TENSOR_IQ2_XS, MATMUL_IN_ORDER, 21, matmul_rows_iq2_xs},
    {TENSOR_IQ2_S, MATMUL_IN_ORDER, 21, matmul_rows_iq2_s},
    {TENSOR_IQ3_XXS, MATMUL_IN_ORDER, 9, matmul_rows_iq3_xxs},
    {TENSOR_IQ3_S, MATMUL_IN_ORDER, 13, matmul_rows_iq3_s},
    {TENSOR_IQ1_S, MATMUL_IN_ORDER, 6, matmul_rows_iq1_s},
    {TENSOR_IQ1_M, MATMUL_IN_ORDER, 12, matmul_rows_iq1_m},
    {TENSOR_TQ1_0, MATMUL_TRITS, 12, matmul_rows_tq1_0},
};

static const few_kernel *few(const lm_activations *a) {
    for (size_t i = 0; i < PITH_COUNT(few_kernels); i++)
        if (few_kernels[i].type == a->form->type && a->n_tokens <= few_kernels[i].max_tokens) return &few_kernels[i];
    return NULL;
}

static void arrange(lm_activations *a, matmul_order order) {
    /* Where each 16 of 256 go. */
    static const uint8_t to[5][16] = {
        [MATMUL_NIBBLES16] = {0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15},
        [MATMUL_NIBBLES32] = {0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15},
        [MATMUL_PLANES] = {0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15},
        [MATMUL_TRITS] = {0, 1, 3, 4, 6, 7, 9, 10, 12, 13, 2, 5, 8, 11, 14, 15},
    };
    if (order == MATMUL_IN_ORDER) return;
    for (size_t i = 0; i < a->n_tokens * a->q_stride; i += 256) {
        int8_t part[256];
        memcpy(part, a->q + i, sizeof part);
        for (size_t j = 0; j < 16; j++) memcpy(a->q + i + to[order][j] * 16, part + j * 16, 16);
    }
}

static void avx512_round(lm_activations *a) {
    const few_kernel *kernel = few(a);
    round_form(a, kernel || a->n_tokens < 4 ? 1 : MATMUL_TOKEN_TILE);
    if (kernel) arrange(a, kernel->order);
}

static void avx512_rows(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride, size_t row0,
                        size_t row1) {
    const few_kernel *kernel = few(a);
    if (!a->form->elements)
        matmul_floats_avx512(w, a, y, y_stride, row0, row1);
    else if (kernel)
        kernel->rows(w, a, y, y_stride, row0, row1);
    else
        tile_rows(w, a, y, y_stride, row0, row1);
}

const matmul_ops matmul_avx512 = {avx512_round, avx512_rows};
