/* Products straight from blocks: every instruction set gives the bits of the formulas one by one,
 * whatever the numbers of rows and tokens and the way rows are split, and all are as near to the
 * product of the decoded weights as activations of 8 bits allow. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lm/matmul/parts.h"
#include "lm/matmul/reference.h"

#define ROWS 37
#define MAX_TOKENS 64
#define MAX_COLS 1792

static const tensor_type types[] = {
    TENSOR_F32,   TENSOR_F16,     TENSOR_BF16,   TENSOR_Q8_0,   TENSOR_Q4_0,    TENSOR_Q4_1,   TENSOR_Q5_0,
    TENSOR_Q5_1,  TENSOR_IQ4_NL,  TENSOR_MXFP4,  TENSOR_Q2_K,   TENSOR_Q3_K,    TENSOR_Q4_K,   TENSOR_Q5_K,
    TENSOR_Q6_K,  TENSOR_IQ4_XS,  TENSOR_IQ2_XXS, TENSOR_IQ2_XS, TENSOR_IQ2_S,  TENSOR_IQ3_XXS, TENSOR_IQ3_S,
    TENSOR_IQ1_S, TENSOR_IQ1_M,   TENSOR_TQ1_0,  TENSOR_TQ2_0,
};

static uint64_t state;

static uint32_t random32(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

static float random_float(void) { return (float)(int32_t)(random32() % 20001 - 10000) / 10000.0f; }

/* Where a block has its floats, so that they can be made plain numbers. */
static void plain_floats(tensor_type type, uint8_t *b) {
    static const struct {
        tensor_type type;
        uint8_t at[2];
        uint8_t n;
    } halves[] = {
        {TENSOR_Q8_0, {0}, 1},        {TENSOR_Q4_0, {0}, 1},    {TENSOR_Q4_1, {0, 2}, 2},   {TENSOR_Q5_0, {0}, 1},
        {TENSOR_Q5_1, {0, 2}, 2},     {TENSOR_IQ4_NL, {0}, 1},  {TENSOR_Q2_K, {80, 82}, 2}, {TENSOR_Q3_K, {108}, 1},
        {TENSOR_Q4_K, {0, 2}, 2},     {TENSOR_Q5_K, {0, 2}, 2}, {TENSOR_Q6_K, {208}, 1},    {TENSOR_IQ4_XS, {0}, 1},
        {TENSOR_IQ2_XXS, {0}, 1},     {TENSOR_IQ2_XS, {0}, 1},  {TENSOR_IQ2_S, {0}, 1},     {TENSOR_IQ3_XXS, {0}, 1},
        {TENSOR_IQ3_S, {0}, 1},       {TENSOR_IQ1_S, {0}, 1},   {TENSOR_TQ1_0, {52}, 1},    {TENSOR_TQ2_0, {64}, 1},
    };
    uint16_t h = (uint16_t)(0x2000 + random32() % 0x0800 + (random32() & 1) * 0x8000); /* about 0.01 */
    for (size_t i = 0; i < PITH_COUNT(halves); i++)
        for (size_t k = 0; halves[i].type == type && k < halves[i].n; k++)
            store16(b + halves[i].at[k], (uint16_t)(h + k));
    if (type == TENSOR_MXFP4) b[0] = (uint8_t)(118 + random32() % 4);
    if (type == TENSOR_IQ1_M) { /* four bits in each of four words */
        for (size_t k = 0; k < 4; k++) b[49 + 2 * k] = (uint8_t)((b[49 + 2 * k] & 15) | (h >> 4 * k & 15) << 4);
    }
}

typedef struct problem {
    lm_matrix w;
    uint8_t *bytes;
    float *x;
    size_t n_cols, block_bytes;
} problem;

/* fill: a byte for all weights, or -1 for random ones. The data starts at an odd address where n_cols is even. */
static problem problem_new(tensor_type type, size_t n_cols, int fill) {
    const matmul_form *form = matmul_form_of(type);
    size_t elements = form->elements ? form->elements : 1, blocks = n_cols / elements;
    problem p = {.n_cols = n_cols, .block_bytes = form->block_bytes};
    p.w = (lm_matrix){type, ROWS, n_cols, blocks * form->block_bytes, NULL};
    size_t size = ROWS * p.w.row_bytes;
    p.bytes = malloc(size + 2);
    p.x = malloc(MAX_TOKENS * n_cols * sizeof *p.x);
    assert_non_null(p.bytes);
    assert_non_null(p.x);
    state = (uint64_t)type * 1000 + n_cols;
    uint8_t *data = p.bytes + 1 + n_cols % 2;
    for (size_t i = 0; i < size; i++) data[i] = fill < 0 ? (uint8_t)random32() : (uint8_t)fill;
    for (size_t i = 0; i < ROWS * blocks; i++) {
        uint8_t *b = data + i * form->block_bytes;
        float f = random_float();
        uint32_t bits;
        memcpy(&bits, &f, 4);
        if (type == TENSOR_F32)
            store32(b, bits);
        else if (type == TENSOR_F16)
            store16(b, float_to_half(f));
        else if (type == TENSOR_BF16)
            store16(b, (uint16_t)(bits >> 16));
        else
            plain_floats(type, b);
    }
    for (size_t i = 0; i < MAX_TOKENS * n_cols; i++) p.x[i] = random_float();
    p.w.data = data;
    return p;
}

static void problem_free(problem *p) {
    free(p->bytes);
    free(p->x);
}

static void run(const matmul_ops *ops, lm_activations *a, const problem *p, size_t tokens, float *y, size_t split) {
    matmul_take(a, p->w.type, p->x, p->n_cols, tokens, p->n_cols);
    if (a->form->elements) ops->round(a);
    for (size_t i = 0; i < ROWS * MAX_TOKENS; i++) y[i] = 12345.0f;
    if (split) ops->rows(&p->w, a, y, ROWS, 0, split);
    ops->rows(&p->w, a, y, ROWS, split, ROWS);
}

/* NaN bits are not promised. */
static void same(const float *x, const float *y, size_t n, const char *what, tensor_type type, size_t tokens) {
    for (size_t i = 0; i < n; i++)
        if (memcmp(x + i, y + i, sizeof *x) != 0 && !(isnan(x[i]) && isnan(y[i])))
            fail_msg("type %d, %zu tokens, %s: output %zu is %a, not %a", (int)type, tokens, what, i, (double)y[i],
                     (double)x[i]);
}

static lm_activations *activations(pith_ctx *ctx) {
    lm_activations *a;
    assert_int_equal(matmul_activations_new(ctx, MAX_TOKENS, MAX_COLS, &a), PITH_OK);
    return a;
}

static float reference[ROWS * MAX_TOKENS]; /* of a problem; with fewer tokens, the first of them */

static void compare_levels(const problem *p, lm_activations *a, size_t tokens) {
    static float y[ROWS * MAX_TOKENS];
    static const char *const names[] = {"scalar", "AVX2", "AVX-512"};
    for (int level = PITH_CPU_SCALAR; level <= PITH_CPU_AVX512; level++) {
        const matmul_ops *ops = matmul_for(level);
        if (!ops) continue;
        const char *what = names[level];
        run(ops, a, p, tokens, y, 0);
        same(reference, y, ROWS * tokens, what, p->w.type, tokens);
        run(ops, a, p, tokens, y, tokens % 2 ? 5 : 16);
        same(reference, y, ROWS * tokens, what, p->w.type, tokens);
        assert_true(tokens == MAX_TOKENS || y[ROWS * tokens] == 12345.0f);
    }
}

static void every_level_gives_the_same_bits(void **test) {
    (void)test;
    static const size_t tokens[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 17, 22, 25, 64};
    pith_ctx *ctx = pith_ctx_new(NULL);
    lm_activations *a = activations(ctx);
    for (size_t i = 0; i < PITH_COUNT(types); i++) {
        size_t cols[3] = {1792, 256, 256};
        if (matmul_form_of(types[i])->elements == 32) cols[1] = 32, cols[2] = 1120;
        if (matmul_form_of(types[i])->elements == 0) cols[1] = 5, cols[2] = 771;
        for (size_t c = 0; c < 3; c++) {
            problem p = problem_new(types[i], cols[c], -1);
            run(&matmul_reference, a, &p, MAX_TOKENS, reference, 0);
            for (size_t t = 0; t < PITH_COUNT(tokens); t++) compare_levels(&p, a, tokens[t]);
            problem_free(&p);
        }
    }
    matmul_activations_free(ctx, a);
    pith_ctx_free(ctx);
}

/* All bits clear, all set, -128 everywhere; activations at their largest of one sign and alternating. */
static void extremes_are_exact(void **test) {
    (void)test;
    static const int fills[] = {0x00, 0xff, 0x80, 0x7f, 0x88};
    pith_ctx *ctx = pith_ctx_new(NULL);
    lm_activations *a = activations(ctx);
    for (size_t i = 0; i < PITH_COUNT(types); i++)
        for (size_t f = 0; f < PITH_COUNT(fills); f++) {
            problem p = problem_new(types[i], 768, fills[f]);
            for (size_t k = 0; k < MAX_TOKENS * p.n_cols; k++)
                p.x[k] = f % 2 && k % 2 ? -3.0f : k / p.n_cols % 3 == 2 ? 0.0f : 3.0f;
            run(&matmul_reference, a, &p, 33, reference, 0);
            compare_levels(&p, a, 3);
            compare_levels(&p, a, 33);
            problem_free(&p);
        }
    matmul_activations_free(ctx, a);
    pith_ctx_free(ctx);
}

static void a_nan_stays_where_it_is(void **test) {
    (void)test;
    pith_ctx *ctx = pith_ctx_new(NULL);
    lm_activations *a = activations(ctx);
    static float y[ROWS * MAX_TOKENS];
    for (int level = PITH_CPU_SCALAR; level <= PITH_CPU_AVX512; level++) {
        const matmul_ops *ops = matmul_for(level);
        if (!ops) continue;
        for (size_t tokens = 2; tokens <= 34; tokens += 32) {
            problem p = problem_new(TENSOR_Q8_0, 768, -1);
            store16(p.bytes + 1 + 20 * p.w.row_bytes + 34, 0x7e00); /* a scale of row 20 */
            p.x[p.n_cols + 7] = INFINITY;                           /* token 1 */
            run(ops, a, &p, tokens, y, 0);
            for (size_t i = 0; i < ROWS * tokens; i++)
                assert_int_equal(isnan(y[i]) != 0, i % ROWS == 20 || i / ROWS == 1);
            problem_free(&p);
        }
    }
    matmul_activations_free(ctx, a);
    pith_ctx_free(ctx);
}

/* Rounding moves an activation by at most half a step, 1/254 of the largest of its block, and the scale of a block of
 * 32, and the scaled sum that its min meets, by at most 2^-11 of itself. */
static void products_are_near_those_of_decoded_weights(void **test) {
    (void)test;
    pith_ctx *ctx = pith_ctx_new(NULL);
    lm_activations *a = activations(ctx);
    static float y[ROWS * MAX_TOKENS], w[MAX_COLS];
    for (size_t i = 0; i < PITH_COUNT(types); i++) {
        const matmul_form *form = matmul_form_of(types[i]);
        problem p = problem_new(types[i], 1792, -1);
        run(matmul_for(pith_cpu_best()), a, &p, 2, y, 0);
        size_t step = form->elements ? form->elements : 256;
        for (size_t r = 0; r < ROWS; r++) {
            blocks_decode(types[i], p.w.data + r * p.w.row_bytes, w, p.n_cols);
            for (size_t t = 0; t < 2; t++) {
                const float *x = p.x + t * p.n_cols;
                double sum = 0, bound = 0;
                for (size_t b = 0; b < p.n_cols; b += step) {
                    double largest = 0, weights = 0;
                    for (size_t c = b; c < b + step; c++) {
                        sum += (double)w[c] * (double)x[c];
                        largest = fmax(largest, fabs((double)x[c]));
                        weights += fabs((double)w[c]);
                        /* Mins are taken off sums much bigger than what is left: floats lose more. */
                        bound += 1e-5 * fabs((double)w[c] * (double)x[c]);
                    }
                    if (form->elements) bound += weights * largest * (1 / 254.0 + (step == 32 ? 1e-3 : 1e-5));
                }
                double error = fabs((double)y[t * ROWS + r] - sum);
                if (!(error <= bound))
                    fail_msg("type %d, row %zu: %g is %g from %g, more than %g", (int)types[i], r,
                             (double)y[t * ROWS + r], error, sum, bound);
            }
        }
        problem_free(&p);
    }
    matmul_activations_free(ctx, a);
    pith_ctx_free(ctx);
}

static float half_of(float f) {
    float half = half_to_float(float_to_half(f));
    return isinf(half) ? f : half;
}

/* Of blocks of 32 they are halves, as far as halves go; of blocks of 256 they are floats. */
static void scales_are_what_ggml_keeps(void **test) {
    (void)test;
    /* to a half up and down, a small half, the smallest, none, a sum and then a scale past all halves, nothing, no number */
    static const float largest[] = {1.0f, 0.77f, 1e-4f, 5e-6f, 1e-7f, 1e6f, 8.4e6f, 1e-38f, NAN};
    pith_ctx *ctx = pith_ctx_new(NULL);
    lm_activations *a = activations(ctx);
    for (int level = PITH_CPU_SCALAR; level <= PITH_CPU_AVX512; level++)
        for (size_t i = 0; i < PITH_COUNT(types); i++) {
            const matmul_ops *ops = matmul_for(level);
            if (!ops || !matmul_form_of(types[i])->elements) continue;
            float x[256] = {0};
            size_t elements = matmul_form_of(types[i])->elements;
            for (size_t k = 0; k < PITH_COUNT(largest); k++) {
                x[0] = largest[k];
                x[elements - 1] = -largest[k] / 4;
                matmul_take(a, types[i], x, elements, 1, elements);
                ops->round(a);
                bool nothing = largest[k] < 1e-30f;
                float scale = nothing ? 0.0f : largest[k] / 127.0f, sum = nothing ? 0.0f : scale * 95.0f;
                float want[] = {elements == 32 ? half_of(scale) : scale, elements == 32 ? half_of(sum) : sum};
                float got[] = {a->scale[0], a->scaled_sum[0]};
                int all = 0;
                for (size_t j = 0; j < elements; j++) all += a->q[j];
                if (level == PITH_CPU_SCALAR) /* others may have an order of their own */
                    assert_int_equal(all, nothing || isnan(scale) ? 0 : 95);
                same(want, got, 2, "scale and scaled sum", types[i], k);
            }
        }
    matmul_activations_free(ctx, a);
    pith_ctx_free(ctx);
}

static void the_door_keeps_its_word(void **test) {
    (void)test;
    pith_ctx *ctx = pith_ctx_new(NULL);
    lm_activations *a;
    assert_true(matmul_supports(TENSOR_Q4_K, 512));
    assert_false(matmul_supports(TENSOR_Q4_K, 128));
    assert_false(matmul_supports(TENSOR_I32, 128));
    assert_false(matmul_supports(TENSOR_Q8_0, 0));
    assert_int_equal(matmul_activations_new(ctx, 0, 32, &a), PITH_E_ARGUMENT);
    assert_int_equal(matmul_activations_new(ctx, SIZE_MAX / 64, 1u << 20, &a), PITH_E_ARGUMENT);
    a = activations(ctx);
    matmul_activations_free(ctx, a);
    pith_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_level_gives_the_same_bits), cmocka_unit_test(extremes_are_exact),
        cmocka_unit_test(a_nan_stays_where_it_is),         cmocka_unit_test(products_are_near_those_of_decoded_weights),
        cmocka_unit_test(scales_are_what_ggml_keeps),      cmocka_unit_test(the_door_keeps_its_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
