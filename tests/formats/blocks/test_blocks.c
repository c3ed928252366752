/* Element types: the table, decoded and encoded streams against the hashes that ggml's reference
 * functions give (dequantize_row_*, and quantize_row_*_ref or quantize_iq4_*; ggml d99724f of
 * August 2026, contraction off), every decoder table alike, and scales that are no numbers. */
#include "formats/blocks/parts.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "streams.h"

#define MAX_BYTES (STREAM_ELEMENTS * 4)

static const struct {
    tensor_type type;
    const char *name;
    uint32_t block, bytes;
} known_types[] = {
    {TENSOR_F32, "f32", 1, 4},
    {TENSOR_F16, "f16", 1, 2},
    {TENSOR_BF16, "bf16", 1, 2},
    {TENSOR_F64, "f64", 1, 8},
    {TENSOR_I8, "i8", 1, 1},
    {TENSOR_I16, "i16", 1, 2},
    {TENSOR_I32, "i32", 1, 4},
    {TENSOR_I64, "i64", 1, 8},
    {TENSOR_U8, "u8", 1, 1},
    {TENSOR_U16, "u16", 1, 2},
    {TENSOR_U32, "u32", 1, 4},
    {TENSOR_U64, "u64", 1, 8},
    {TENSOR_BOOL, "bool", 1, 1},
    {TENSOR_F8_E4M3, "f8_e4m3", 1, 1},
    {TENSOR_F8_E5M2, "f8_e5m2", 1, 1},
    {TENSOR_Q4_0, "q4_0", 32, 18},
    {TENSOR_Q4_1, "q4_1", 32, 20},
    {TENSOR_Q5_0, "q5_0", 32, 22},
    {TENSOR_Q5_1, "q5_1", 32, 24},
    {TENSOR_Q8_0, "q8_0", 32, 34},
    {TENSOR_Q8_1, "q8_1", 32, 36},
    {TENSOR_MXFP4, "mxfp4", 32, 17},
    {TENSOR_IQ4_NL, "iq4_nl", 32, 18},
    {TENSOR_Q2_K, "q2_K", 256, 84},
    {TENSOR_Q3_K, "q3_K", 256, 110},
    {TENSOR_Q4_K, "q4_K", 256, 144},
    {TENSOR_Q5_K, "q5_K", 256, 176},
    {TENSOR_Q6_K, "q6_K", 256, 210},
    {TENSOR_Q8_K, "q8_K", 256, 292},
    {TENSOR_TQ1_0, "tq1_0", 256, 54},
    {TENSOR_TQ2_0, "tq2_0", 256, 66},
    {TENSOR_IQ1_S, "iq1_s", 256, 50},
    {TENSOR_IQ1_M, "iq1_m", 256, 56},
    {TENSOR_IQ2_XXS, "iq2_xxs", 256, 66},
    {TENSOR_IQ2_XS, "iq2_xs", 256, 74},
    {TENSOR_IQ2_S, "iq2_s", 256, 82},
    {TENSOR_IQ3_XXS, "iq3_xxs", 256, 98},
    {TENSOR_IQ3_S, "iq3_s", 256, 110},
    {TENSOR_IQ4_XS, "iq4_xs", 256, 136},
};

typedef struct known_answer {
    tensor_type type;
    uint64_t hash;
} known_answer;

static const known_answer decoded_answers[] = {
    {TENSOR_F16, 0xd52181b9016a0118},    {TENSOR_BF16, 0x5a7a0ac35c4a005e},   {TENSOR_Q8_1, 0xea2a491031565929},
    {TENSOR_Q4_0, 0xfb510f18a167562b},   {TENSOR_Q4_1, 0x334ea1d2f4cdb75b},   {TENSOR_Q5_0, 0xb0f449bd3f69b413},
    {TENSOR_Q5_1, 0x9ad9a75015d6cfbe},   {TENSOR_Q8_0, 0x045ed18446119b62},   {TENSOR_MXFP4, 0xe691740907c85ad8},
    {TENSOR_Q2_K, 0x7d3d32f600c0a411},   {TENSOR_Q3_K, 0xb044e322573997b6},   {TENSOR_Q4_K, 0xfdbce81c984ce5b0},
    {TENSOR_Q5_K, 0xd2d36ce288305d8a},   {TENSOR_Q6_K, 0x7b30f62bc530bc54},   {TENSOR_Q8_K, 0x6a019ef62b0195da},
    {TENSOR_TQ1_0, 0x41aaddd3b8f2b001},  {TENSOR_TQ2_0, 0x078315a01321f9d9},  {TENSOR_IQ2_XXS, 0x8e465a175558e38d},
    {TENSOR_IQ2_XS, 0xa37ad1fc37da94ad}, {TENSOR_IQ2_S, 0xb7d1905539056fa8},  {TENSOR_IQ3_XXS, 0x6e6aa8a319207d60},
    {TENSOR_IQ3_S, 0x5d1a8262f50c5d05},  {TENSOR_IQ1_S, 0x1419f323393122d7},  {TENSOR_IQ1_M, 0x1ab11d2ad4d0dcbf},
    {TENSOR_IQ4_NL, 0x10e62ad6c2cf8ad4}, {TENSOR_IQ4_XS, 0xd551598791d4027e},
};

static const known_answer encoded_answers[] = {
    {TENSOR_F16, 0xa3da562f943c6e98},   {TENSOR_BF16, 0xfad814d027ace593},   {TENSOR_Q4_0, 0x7576e6a51583f180},
    {TENSOR_Q4_1, 0x3df6dfcc76d7552f},  {TENSOR_Q5_0, 0x9651b27a6ed1b759},   {TENSOR_Q5_1, 0x832e66058fbce673},
    {TENSOR_Q8_0, 0x1c427c0f3e1b6693},  {TENSOR_MXFP4, 0xb4796e472b8b7bed},  {TENSOR_Q2_K, 0x81a44edbcc0990d9},
    {TENSOR_Q3_K, 0x44437e598fd289e1},  {TENSOR_Q4_K, 0xfd0044f6c5ddd191},   {TENSOR_Q5_K, 0x1320714fe9105325},
    {TENSOR_Q6_K, 0x10f61c3831eee61c},  {TENSOR_Q8_K, 0xd26380782e2b7cc3},   {TENSOR_TQ1_0, 0x6768ad73d54fdbce},
    {TENSOR_TQ2_0, 0xeec8ac930d678e78}, {TENSOR_IQ4_NL, 0x9e6b567f8d42d309}, {TENSOR_IQ4_XS, 0xa2c2f661b21825d2},
};

static uint8_t bytes[MAX_BYTES + 64], more_bytes[MAX_BYTES];
static float floats[STREAM_ELEMENTS];

static void test_table(void **state) {
    (void)state;
    size_t n_known = 0;
    for (uint32_t t = 0; t < 2000; t++) {
        const tensor_type_info *info = tensor_type_of(t);
        if (!info) continue;
        n_known++;
        assert_int_equal(info->type, t);
        assert_true(info->in_gguf == (t < 1000));
    }
    assert_int_equal(n_known, PITH_COUNT(known_types));
    for (size_t i = 0; i < PITH_COUNT(known_types); i++) {
        const tensor_type_info *info = tensor_type_of(known_types[i].type);
        assert_non_null(info);
        assert_string_equal(info->name, known_types[i].name);
        assert_int_equal(info->block, known_types[i].block);
        assert_int_equal(info->block_bytes, known_types[i].bytes);
        assert_ptr_equal(tensor_type_named(info->name, strlen(info->name)), info);
    }
    assert_null(tensor_type_of(4));
    assert_null(tensor_type_of(40));
    assert_null(tensor_type_of(999));
    assert_null(tensor_type_of(1007));
    assert_null(tensor_type_of(UINT32_MAX));
    assert_int_equal(tensor_type_named("Q4_k", 4)->type, TENSOR_Q4_K);
    assert_int_equal(tensor_type_named("IQ2_XXSnoise", 7)->type, TENSOR_IQ2_XXS);
    assert_null(tensor_type_named("q4", 2));
    assert_null(tensor_type_named("q4_00", 5));
    assert_null(tensor_type_named("", 0));
}

static void test_sizes(void **state) {
    (void)state;
    uint64_t size = 7;
    assert_true(tensor_type_bytes(TENSOR_Q4_K, 512, &size));
    assert_int_equal(size, 288);
    assert_true(tensor_type_bytes(TENSOR_Q4_K, 0, &size));
    assert_int_equal(size, 0);
    assert_true(tensor_type_bytes(TENSOR_F64, UINT64_MAX / 8, &size));
    assert_true(size == UINT64_MAX / 8 * 8);
    size = 7;
    assert_false(tensor_type_bytes(TENSOR_Q4_K, 255, &size));
    assert_false(tensor_type_bytes(TENSOR_Q4_0, 33, &size));
    assert_false(tensor_type_bytes(TENSOR_F64, UINT64_MAX / 8 + 1, &size));
    assert_false(tensor_type_bytes(TENSOR_Q8_K, UINT64_MAX / 256 * 256, &size));
    assert_false(tensor_type_bytes(5, 256, &size));
    assert_int_equal(size, 7);
}

/* The tables of decoders this machine can run. */
static size_t tables(const block_decoder *out[2]) {
    size_t n = 0;
    out[n++] = decoders_scalar;
#ifdef BLOCKS_HAVE_X86
    if (pith_cpu_best() >= PITH_CPU_AVX2) out[n++] = decoders_avx2;
#endif
    return n;
}

static void test_decoded_answers(void **state) {
    (void)state;
    const block_decoder *table[2];
    size_t n_tables = tables(table);
    for (size_t i = 0; i < PITH_COUNT(decoded_answers); i++) {
        tensor_type type = decoded_answers[i].type;
        const tensor_type_info *info = tensor_type_of(type);
        uint8_t *src = bytes + 1 + i % 3; /* no alignment */
        stream_blocks(type, src);
        for (size_t t = 0; t < n_tables; t++) {
            memset(floats, 0xff, sizeof floats);
            table[t][TYPE_SLOT(type)](src, floats, STREAM_ELEMENTS / info->block);
            if (stream_hash(floats, more_bytes) != decoded_answers[i].hash) fail_msg("%s, table %zu", info->name, t);
        }
        memset(floats, 0xff, sizeof floats);
        blocks_decode(type, src, floats, STREAM_ELEMENTS);
        assert_true(stream_hash(floats, more_bytes) == decoded_answers[i].hash);
    }
}

/* Types without an answer above: numbers as C converts them. */
static void test_plain(void **state) {
    (void)state;
    static const struct {
        tensor_type type;
        uint64_t bits;
        float value;
    } cases[] = {
        {TENSOR_F32, 0x3fc00000, 1.5f},
        {TENSOR_F64, 0x3ff8000000000000, 1.5f},
        {TENSOR_F64, 0x47efffffffffffff, (float)INFINITY},
        {TENSOR_F64, 0x3ff0000010000000, 1.0f}, /* a tie goes to even */
        {TENSOR_F64, 0x3ff0000030000000, 1.0f + 0x1p-22f},
        {TENSOR_I8, 0x80, -128.0f},
        {TENSOR_I16, 0x8000, -32768.0f},
        {TENSOR_I32, 0x80000001, -2147483648.0f},
        {TENSOR_I32, 16777217, 16777216.0f},
        {TENSOR_I32, 16777219, 16777220.0f},
        {TENSOR_I64, 0x7fffffffffffffff, 0x1p63f},
        {TENSOR_I64, 0x4000004000000001, 0x1p62f + 0x1p39f}, /* past a tie by the last bit */
        {TENSOR_U8, 0xff, 255.0f},
        {TENSOR_U16, 0xffff, 65535.0f},
        {TENSOR_U32, 0xffffffff, 0x1p32f},
        {TENSOR_U64, 0xffffffffffffffff, 0x1p64f},
        {TENSOR_U64, 0x8000008000000001, 0x1p63f + 0x1p40f},
        {TENSOR_BOOL, 0, 0.0f},
        {TENSOR_BOOL, 1, 1.0f},
        {TENSOR_BOOL, 0x80, 1.0f},
    };
    const block_decoder *table[2];
    size_t n_tables = tables(table);
    for (size_t i = 0; i < PITH_COUNT(cases); i++) {
        uint32_t size = tensor_type_of(cases[i].type)->block_bytes;
        enum { N = 37 }; /* vectors and a rest */
        for (size_t j = 0; j < N; j++) {
            uint8_t wide[8];
            store64(wide, cases[i].bits);
            memcpy(bytes + 1 + j * size, wide, size);
        }
        for (size_t t = 0; t < n_tables; t++) {
            table[t][TYPE_SLOT(cases[i].type)](bytes + 1, floats, N);
            for (size_t j = 0; j < N; j++) assert_memory_equal(&floats[j], &cases[i].value, sizeof(float));
        }
    }
}

static void test_encoded_answers(void **state) {
    (void)state;
    for (size_t i = 0; i < PITH_COUNT(encoded_answers); i++) {
        tensor_type type = encoded_answers[i].type;
        const tensor_type_info *info = tensor_type_of(type);
        stream_floats(type, floats);
        memset(bytes, 0xff, sizeof bytes);
        assert_true(blocks_encode(type, floats, bytes, STREAM_ELEMENTS));
        if (pith_hash64(bytes, STREAM_ELEMENTS / info->block * info->block_bytes) != encoded_answers[i].hash)
            fail_msg("%s", info->name);
    }
    stream_floats(TENSOR_F32, floats);
    assert_true(blocks_encode(TENSOR_F32, floats, bytes, STREAM_ELEMENTS));
    assert_true(stream_hash(floats, more_bytes) == pith_hash64(bytes, sizeof floats));
    static const tensor_type none[] = {TENSOR_I8,     TENSOR_Q8_1, TENSOR_IQ2_XXS, TENSOR_IQ2_XS,
                                       TENSOR_IQ1_S, TENSOR_U8,   (tensor_type)5};
    for (size_t i = 0; i < PITH_COUNT(none); i++) assert_false(blocks_encode(none[i], floats, bytes, 256));
}

/* What is in the floats comes back no worse than the type's step allows; zeros come back as zeros;
 * no number, however large, small or missing, leads outside the block. */
static void test_encoders_come_back(void **state) {
    (void)state;
    static const struct {
        tensor_type type;
        float relative; /* largest error over the block's largest magnitude */
    } bounds[] = {
        {TENSOR_F16, 0.0005f}, {TENSOR_BF16, 0.004f}, {TENSOR_Q8_0, 0.0045f}, {TENSOR_Q8_K, 0.0045f},
        {TENSOR_Q6_K, 0.04f},  {TENSOR_Q5_0, 0.07f},  {TENSOR_Q5_1, 0.04f},   {TENSOR_Q5_K, 0.1f},
        {TENSOR_Q4_0, 0.13f},  {TENSOR_Q4_1, 0.07f},  {TENSOR_Q4_K, 0.15f},   {TENSOR_IQ4_NL, 0.2f},
        {TENSOR_IQ4_XS, 0.2f}, {TENSOR_MXFP4, 0.26f}, {TENSOR_Q3_K, 0.4f},    {TENSOR_Q2_K, 0.7f},
        {TENSOR_TQ1_0, 0.5f},  {TENSOR_TQ2_0, 0.5f},
    };
    static float x[512], y[512];
    for (size_t i = 0; i < PITH_COUNT(bounds); i++) {
        uint32_t seed = 99 + (uint32_t)i;
        for (size_t j = 0; j < 512; j++) {
            float u = (float)((int32_t)(stream_next(&seed) >> 8) - 0x800000) * 0x1p-23f;
            x[j] = j < 256 ? u : 0;
        }
        assert_true(blocks_encode(bounds[i].type, x, bytes, 512));
        blocks_decode(bounds[i].type, bytes, y, 512);
        for (size_t j = 0; j < 512; j++) {
            float error = y[j] > x[j] ? y[j] - x[j] : x[j] - y[j];
            if (!(error <= (j < 256 ? bounds[i].relative : 0)))
                fail_msg("%s: %g became %g", tensor_type_of(bounds[i].type)->name, (double)x[j], (double)y[j]);
        }
        size_t size = 512 / tensor_type_of(bounds[i].type)->block * tensor_type_of(bounds[i].type)->block_bytes;
        for (int trial = 0; trial < 50; trial++) {
            for (size_t j = 0; j < 512; j++) {
                uint32_t bits = stream_next(&seed);
                if (trial % 3 == 1) bits |= 0x7f000000; /* huge, infinite, missing */
                if (trial % 3 == 2) bits &= 0x80ffffff; /* subnormal and just above */
                x[j] = bits_float(bits);
            }
            memset(bytes, 0xa5, size + 1);
            blocks_encode(bounds[i].type, x, bytes, 512);
            assert_int_equal(bytes[size], 0xa5);
        }
    }
}

static void test_valid(void **state) {
    (void)state;
    /* Where a scale lies, and its bytes when it is infinite, not a number, or the largest number. */
    static const struct {
        tensor_type type;
        uint32_t offset;
        uint64_t infinite, missing, largest;
        uint32_t size;
    } scales[] = {
        {TENSOR_F32, 0, 0x7f800000, 0xffc00000, 0xff7fffff, 4},
        {TENSOR_F64, 0, 0x7ff0000000000000, 0xfff8000000000000, 0xffefffffffffffff, 8},
        {TENSOR_BF16, 0, 0x7f80, 0xff81, 0xff7f, 2},
        {TENSOR_F16, 0, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_F8_E4M3, 0, 0x7f, 0xff, 0xfe, 1},
        {TENSOR_F8_E5M2, 0, 0x7c, 0xfe, 0xfb, 1},
        {TENSOR_MXFP4, 0, 0xff, 0xff, 0xfe, 1},
        {TENSOR_Q8_K, 0, 0x7f800000, 0xffc00000, 0xff7fffff, 4},
        {TENSOR_Q4_0, 0, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_Q4_1, 0, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_Q4_1, 2, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_Q5_0, 0, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_Q5_1, 2, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_Q8_0, 0, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_Q8_1, 2, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_IQ4_NL, 0, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_Q2_K, 80, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_Q2_K, 82, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_Q3_K, 108, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_Q4_K, 0, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_Q4_K, 2, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_Q5_K, 2, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_Q6_K, 208, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_TQ1_0, 52, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_TQ2_0, 64, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_IQ1_S, 0, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_IQ1_M, 48, 0x7000c00000000000, 0xf000e00000000000, 0xf000b000f000f000, 8},
        {TENSOR_IQ2_XXS, 0, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_IQ2_XS, 0, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_IQ2_S, 0, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_IQ3_XXS, 0, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_IQ3_S, 0, 0x7c00, 0xfe00, 0xfbff, 2},
        {TENSOR_IQ4_XS, 0, 0x7c00, 0xfe00, 0xfbff, 2},
    };
    enum { N = 45 };
    for (size_t i = 0; i < PITH_COUNT(scales); i++) {
        uint32_t block_bytes = tensor_type_of(scales[i].type)->block_bytes;
        for (size_t at = 0; at < N; at += 11) {
            const uint64_t values[] = {scales[i].largest, scales[i].infinite, scales[i].missing};
            for (size_t v = 0; v < 3; v++) {
                memset(bytes, 0, N * block_bytes);
                uint8_t wide[8];
                store64(wide, values[v]);
                memcpy(bytes + at * block_bytes + scales[i].offset, wide, scales[i].size);
                size_t bad = N;
                assert_true(blocks_valid(scales[i].type, bytes, N, &bad) == (v == 0));
                assert_int_equal(bad, v == 0 ? N : at);
            }
        }
    }
    memset(bytes, 0xff, sizeof bytes);
    static const tensor_type always[] = {TENSOR_I8,  TENSOR_I16, TENSOR_I32, TENSOR_I64, TENSOR_U8,
                                         TENSOR_U16, TENSOR_U32, TENSOR_U64, TENSOR_BOOL};
    size_t bad;
    for (size_t i = 0; i < PITH_COUNT(always); i++) assert_true(blocks_valid(always[i], bytes, N, &bad));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table), cmocka_unit_test(test_sizes),           cmocka_unit_test(test_decoded_answers),
        cmocka_unit_test(test_plain), cmocka_unit_test(test_encoded_answers), cmocka_unit_test(test_encoders_come_back),
        cmocka_unit_test(test_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
