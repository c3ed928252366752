/* Encoders with importance: known answers, whatever the instruction set, and what importance is for. The answers are
 * XXH3 of what ggml_quantize_chunk of llama.cpp's ggml 0.25.1 (built without fused multiply-add, as it is for any
 * x86-64) wrote for the streams below. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "formats/blocks/parts.h"
#include "formats/blocks/streams.h"

enum { COLS = 2048, ROWS = STREAM_ELEMENTS / COLS };

static const struct {
    tensor_type type;
    uint64_t hash;
} answers[] = {
    {TENSOR_Q4_0, 0x43aa964326658011},
    {TENSOR_Q4_1, 0x1939af4acba47a08},
    {TENSOR_Q5_0, 0xd45e3ab7e8314441},
    {TENSOR_Q5_1, 0x2b3f24af6d39c233},
    {TENSOR_Q8_0, 0x1c427c0f3e1b6693},
    {TENSOR_MXFP4, 0xb4796e472b8b7bed},
    {TENSOR_Q2_K, 0x8125d328a336e543},
    {TENSOR_Q3_K, 0x71da0970b59aac45},
    {TENSOR_Q4_K, 0xc9a60f8e1794e0e0},
    {TENSOR_Q5_K, 0x37aa090fde3f639a},
    {TENSOR_Q6_K, 0xc347680ea871b801},
    {TENSOR_TQ1_0, 0x6768ad73d54fdbce},
    {TENSOR_TQ2_0, 0xeec8ac930d678e78},
    {TENSOR_IQ4_NL, 0x25cf7931c880f30a},
    {TENSOR_IQ4_XS, 0xd591e569e42d239e},
    {TENSOR_IQ2_XXS, 0xa15d9c14cdb74227},
    {TENSOR_IQ2_XS, 0x9df5b4610054f72d},
    {TENSOR_IQ2_S, 0x4c4a6ebe4e2a16dc},
    {TENSOR_IQ3_XXS, 0xc5fcae57ef712107},
    {TENSOR_IQ3_S, 0xb8637b45edc8cc74},
    {TENSOR_IQ1_S, 0xd4107202d1d57397},
    {TENSOR_IQ1_M, 0x948da509f1cdcb77},
};

static float floats[STREAM_ELEMENTS], importance[COLS], back[STREAM_ELEMENTS];
static uint8_t bytes[STREAM_ELEMENTS * 4], more_bytes[STREAM_ELEMENTS * 4];

static size_t encoded_bytes(tensor_type type) {
    const tensor_type_info *info = tensor_type_of(type);
    return STREAM_ELEMENTS / info->block * info->block_bytes;
}

static void test_answers(void **state) {
    (void)state;
    stream_importance(importance, COLS);
    for (size_t i = 0; i < PITH_COUNT(answers); i++) {
        tensor_type type = answers[i].type;
        stream_floats(type, floats);
        memset(bytes, 0xff, sizeof bytes);
        assert_true(blocks_encode_weighted(type, floats, importance, bytes, ROWS, COLS));
        if (pith_hash64(bytes, encoded_bytes(type)) != answers[i].hash) fail_msg("%s", tensor_type_of(type)->name);
    }
}

/* Every instruction set this machine has, against the portable code, with importance and without, on rows whose
 * blocks do not fill the lanes. */
static void test_tables(void **state) {
    (void)state;
    const block_encoder *table[3];
    size_t n_tables = 0;
#ifdef BLOCKS_HAVE_X86
    if (pith_cpu_best() >= PITH_CPU_AVX2) table[n_tables++] = encoders_avx2;
    if (pith_cpu_best() >= PITH_CPU_AVX512) table[n_tables++] = encoders_avx512;
#endif
    stream_importance(importance, COLS);
    for (uint32_t type = 0; type < 1000; type++) {
        const tensor_type_info *info = tensor_type_of(type);
        if (!info || !encoders_scalar[TYPE_SLOT(type)]) continue;
        stream_floats((tensor_type)type, floats);
        const bool only_weighted = !blocks_encode((tensor_type)type, floats, bytes, info->block);
        for (size_t weighted = only_weighted; weighted < 2; weighted++) {
            size_t n_blocks = (weighted ? 1792 : STREAM_ELEMENTS - 256) / info->block;
            size_t size = n_blocks * info->block_bytes;
            for (size_t from = 0; from < STREAM_ELEMENTS - 2048; from += weighted ? 1792 : STREAM_ELEMENTS) {
                const float *w = weighted ? importance : NULL;
                memset(bytes, 0xff, size);
                encoders_scalar[TYPE_SLOT(type)](floats + from, w, bytes, n_blocks);
                for (size_t t = 0; t < n_tables; t++) {
                    memset(more_bytes, 0, size + 1);
                    table[t][TYPE_SLOT(type)](floats + from, w, more_bytes, n_blocks);
                    if (memcmp(bytes, more_bytes, size) != 0 || more_bytes[size] != 0)
                        fail_msg("%s, table %zu, weighted %zu, from %zu", info->name, t, weighted, from);
                }
            }
        }
    }
}

static double weighted_error(tensor_type type, const float *weights) {
    double error = 0;
    blocks_encode_weighted(type, floats, weights, bytes, ROWS, COLS);
    blocks_decode(type, bytes, back, STREAM_ELEMENTS);
    for (size_t i = 0; i < STREAM_ELEMENTS; i++) {
        double d = (double)floats[i] - (double)back[i];
        error += (double)importance[i % COLS] * d * d;
    }
    return error;
}

/* Columns that matter come out better than when all are alike; without importance it is blocks_encode. */
static void test_importance_helps(void **state) {
    (void)state;
    static const tensor_type types[] = {TENSOR_Q4_0, TENSOR_Q4_1, TENSOR_Q5_0, TENSOR_Q5_1, TENSOR_Q2_K,  TENSOR_Q3_K,
                                        TENSOR_Q4_K, TENSOR_Q5_K, TENSOR_Q6_K, TENSOR_IQ4_NL, TENSOR_IQ4_XS};
    uint32_t seed = 77;
    for (size_t i = 0; i < STREAM_ELEMENTS; i++) {
        float u = (float)((int32_t)(stream_next(&seed) >> 8) - 0x800000) * 0x1p-23f;
        floats[i] = u * (u > 0 ? u : -u);
    }
    for (size_t j = 0; j < COLS; j++) importance[j] = j % 11 == 3 ? 40.0f : 0.3f;
    for (size_t i = 0; i < PITH_COUNT(types); i++) {
        double with = weighted_error(types[i], importance), without = weighted_error(types[i], NULL);
        if (!(with < 0.97 * without)) fail_msg("%s: %g against %g", tensor_type_of(types[i])->name, with, without);
        assert_true(blocks_encode(types[i], floats, more_bytes, STREAM_ELEMENTS));
        assert_memory_equal(bytes, more_bytes, encoded_bytes(types[i]));
    }
    static const tensor_type few[] = {TENSOR_IQ2_XXS, TENSOR_IQ2_XS, TENSOR_IQ1_S};
    for (size_t i = 0; i < PITH_COUNT(few); i++)
        assert_false(blocks_encode_weighted(few[i], floats, NULL, bytes, ROWS, COLS));
    assert_false(blocks_encode_weighted(TENSOR_I8, floats, importance, bytes, ROWS, COLS));
    assert_false(blocks_encode_weighted((tensor_type)5, floats, NULL, bytes, ROWS, COLS));
}

/* Importance of zero, or none finite, or of any size: bytes within the block, whatever they say. */
static void test_odd_importance(void **state) {
    (void)state;
    static const float odd[] = {0, -1, 0x1p127f, 0x1p-149f, 1};
    for (size_t k = 0; k < PITH_COUNT(odd) + 2; k++) {
        for (size_t j = 0; j < COLS; j++)
            importance[j] = k < PITH_COUNT(odd) ? odd[k] : bits_float(k == PITH_COUNT(odd) ? 0x7f800000 : 0x7fc00000);
        for (size_t i = 0; i < PITH_COUNT(answers); i++) {
            size_t size = encoded_bytes(answers[i].type) / ROWS;
            stream_floats(answers[i].type, floats);
            bytes[size] = 0xa5;
            assert_true(blocks_encode_weighted(answers[i].type, floats + 5 * 256, importance, bytes, 1, COLS));
            assert_int_equal(bytes[size], 0xa5);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_importance_helps),
        cmocka_unit_test(test_odd_importance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
