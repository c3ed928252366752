/* The room's door: forms of the types, memory for activations, choice of kernels. */
#include "lm/matmul/parts.h"

static const matmul_form forms[] = {
    /* type, elements, group, zero, mins, bytes */
    {TENSOR_F32, 0, 0, 0, false, 4},          {TENSOR_F16, 0, 0, 0, false, 2},
    {TENSOR_BF16, 0, 0, 0, false, 2},         {TENSOR_Q8_0, 32, 32, 128, false, 34},
    {TENSOR_Q4_0, 32, 32, 8, false, 18},      {TENSOR_Q4_1, 32, 32, 0, true, 20},
    {TENSOR_Q5_0, 32, 32, 16, false, 22},     {TENSOR_Q5_1, 32, 32, 0, true, 24},
    {TENSOR_IQ4_NL, 32, 32, 128, false, 18},  {TENSOR_MXFP4, 32, 32, 12, false, 17},
    {TENSOR_Q2_K, 256, 16, 0, true, 84},      {TENSOR_Q3_K, 256, 16, 4, false, 110},
    {TENSOR_Q4_K, 256, 32, 0, true, 144},     {TENSOR_Q5_K, 256, 32, 0, true, 176},
    {TENSOR_Q6_K, 256, 16, 32, false, 210},   {TENSOR_IQ4_XS, 256, 32, 128, false, 136},
    {TENSOR_IQ2_XXS, 256, 32, 43, false, 66}, {TENSOR_IQ2_XS, 256, 16, 43, false, 74},
    {TENSOR_IQ2_S, 256, 16, 43, false, 82},   {TENSOR_IQ3_XXS, 256, 32, 62, false, 98},
    {TENSOR_IQ3_S, 256, 32, 15, false, 110},  {TENSOR_IQ1_S, 256, 32, 9, false, 50},
    {TENSOR_IQ1_M, 256, 16, 9, false, 56},    {TENSOR_TQ1_0, 256, 32, 1, false, 54},
    {TENSOR_TQ2_0, 256, 32, 1, false, 66},
};

const matmul_form *matmul_form_of(tensor_type type) {
    for (size_t i = 0; i < PITH_COUNT(forms); i++)
        if (forms[i].type == type) return &forms[i];
    return NULL;
}

bool matmul_supports(tensor_type type, size_t n_cols) {
    const matmul_form *form = matmul_form_of(type);
    return form && n_cols && (!form->elements || n_cols % form->elements == 0);
}

/* What the columns are rounded up to, so that vectors may be read whole. */
#define COLS_STEP 512

pith_status matmul_activations_new(pith_ctx *ctx, size_t max_tokens, size_t max_cols, lm_activations **out) {
    *out = NULL;
    /* About two bytes for each element, and never so many that a product of sizes overflows. */
    if (!max_tokens || !max_cols || max_cols > UINT32_MAX || max_tokens > SIZE_MAX / 8 / (max_cols + COLS_STEP))
        return pith_fail(ctx, PITH_E_ARGUMENT, "%zu tokens of %zu activations are too many", max_tokens, max_cols);
    size_t cols = (max_cols + COLS_STEP - 1) / COLS_STEP * COLS_STEP;
    size_t tokens = (max_tokens + MATMUL_TOKEN_TILE - 1) / MATMUL_TOKEN_TILE * MATMUL_TOKEN_TILE;
    size_t blocks = cols / 32 * tokens, groups = cols / 16 * tokens;
    lm_activations *a = pith_zalloc(ctx, sizeof *a);
    if (!a) return pith_alloc_status(ctx);
    a->max_tokens = max_tokens;
    a->max_cols = max_cols;
    a->q = pith_alloc(ctx, cols * tokens);
    if (a->q) a->scale = pith_alloc(ctx, blocks * sizeof *a->scale);
    if (a->scale) a->scaled_sum = pith_alloc(ctx, blocks * sizeof *a->scaled_sum);
    if (a->scaled_sum) a->zeros = pith_alloc(ctx, groups * sizeof *a->zeros);
    if (a->zeros) a->sums = pith_alloc(ctx, groups * sizeof *a->sums);
    if (!a->sums) {
        pith_status status = pith_alloc_status(ctx);
        matmul_activations_free(ctx, a);
        return status;
    }
    *out = a;
    return PITH_OK;
}

void matmul_activations_free(pith_ctx *ctx, lm_activations *a) {
    if (!a) return;
    pith_free(ctx, a->q);
    pith_free(ctx, a->scale);
    pith_free(ctx, a->scaled_sum);
    pith_free(ctx, a->zeros);
    pith_free(ctx, a->sums);
    pith_free(ctx, a);
}

const matmul_ops *matmul_for(int cpu_level) {
    if (cpu_level < PITH_CPU_SCALAR || cpu_level > (int)pith_cpu_best()) return NULL;
#ifndef PITH_NO_X86
    if (cpu_level == PITH_CPU_AVX512) return __builtin_cpu_supports("avx512vnni") ? &matmul_avx512 : &matmul_avx2;
    if (cpu_level == PITH_CPU_AVX2) return &matmul_avx2;
#endif
    return &matmul_scalar;
}

/* The table is constant for the life of the process: pith_cpu_best() never changes. */
static const matmul_ops *best(void) { return matmul_for(pith_cpu_best()); }

void matmul_take(lm_activations *a, tensor_type type, const float *x, size_t x_stride, size_t n_tokens, size_t n_cols) {
    a->form = matmul_form_of(type);
    a->x = x;
    a->x_stride = x_stride;
    a->n_tokens = n_tokens;
    a->n_cols = n_cols;
    a->q_stride = (n_cols + COLS_STEP - 1) / COLS_STEP * COLS_STEP;
    if (a->form->elements) {
        a->n_blocks = n_cols / a->form->elements;
        a->n_groups = n_cols / a->form->group;
    }
}

void matmul_prepare(lm_activations *a, tensor_type type, const float *x, size_t x_stride, size_t n_tokens,
                    size_t n_cols) {
    matmul_take(a, type, x, x_stride, n_tokens, n_cols);
    if (a->form->elements) best()->round(a);
}

void matmul_rows(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride, size_t row0, size_t row1) {
    best()->rows(w, a, y, y_stride, row0, row1);
}
