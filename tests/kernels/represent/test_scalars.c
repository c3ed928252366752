/* Coders by columns: what encoding says it restored is what decoding gives, bit for bit, on shapes even and odd, with
 * and without statistics; the bytes are as many as the recipe promises; damage ends in an error and nothing else;
 * blocks are the bytes that the formats' decoder reads. */
#include "kernels/represent/columns_support.h"

#include "formats/blocks/blocks.h"
#include "kernels/represent/scalar.h"
#include "support/session.h"

static const char *const recipes[] = {
    "raw",
    "raw(bf16)",
    "raw(f32)",
    "q",
    "q(1, group=16)",
    "q(2, group=5)",
    "q(3, group=16, meta=q(3, group=16))",
    "q(3, group=0, meta=q(8, group=0), sym)",
    "q(4, group=32, fit=mse)",
    "q(5, group=64, fit=weighted, sym)",
    "q(4, group=64, grid=nf4)",
    "q(4, group=64, grid=nf4, fit=weighted)",
    "q(3, group=128, grid=gauss, fit=mse)",
    "q(8, group=0)",
    "step",
    "step(1.5, rdo=0.2, trellis=none)",
    "step(0.0001)",
    "step(0.01)",
    "step(0.01, trellis=none)",
    "step(0.3, trellis=4)",
    "step(0.3, trellis=32, rows=0.5)",
    "step(20)",
    "step(bits=3, tilt=0)",
    "step(bits=2, centroid=no, trellis=none)",
    "ternary",
    "ternary(minmax)",
    "ternary(std, keep=20%)",
    "ternary(mean, keep=10%, alpha=2)",
    "ternary(group=16)",
    "sign",
    "sign(group=32)",
    "kmeans(3)",
    "kmeans(4, zero)",
    "kmeans(8)",
    "sparse",
    "sparse(keep=10%, per=matrix)",
    "sparse(keep=50%, score=wanda, per=row)",
    "sparse(keep=1%, format=csr)",
    "sparse(keep=5%, format=gaps)",
    "sparse(threshold=2, format=bitmap)",
    "sparse(pattern=2:4)",
    "sparse(pattern=1:4, format=pattern)",
    "outliers(q(3, group=16, meta=q(3, group=16)))",
    "outliers(q(2, group=0), threshold=0.05)",
    "outliers(step(1), threshold=0.1)",
    "q(4, group=16) | rans",
    "step(0.5) | ctxac",
    "step(bits=3) | huff",
    "ternary | dict16",
    "sparse(keep=5%) | golomb",
};

static const struct shape { size_t rows, cols; } shapes[] = {{1, 1}, {3, 17}, {64, 172}, {1, 128}, {130, 1}};

static void test_round_trips(void **state) {
    (void)state;
    for (size_t k = 0; k < PITH_COUNT(shapes); k++) {
        sample s;
        sample_new(&s, shapes[k].rows, shapes[k].cols, 0.8, k + 1);
        for (size_t i = 0; i < PITH_COUNT(recipes); i++) {
            char under[160];
            coded c;
            snprintf(under, sizeof under, "%s @ obs", recipes[i]);
            round_trip(ctx, recipes[i], &s, NULL, &c);
            coded_free(ctx, &c);
            round_trip(ctx, recipes[i], &s, &s.stats, &c);
            coded_free(ctx, &c);
            round_trip(ctx, under, &s, &s.stats, &c);
            coded_free(ctx, &c);
        }
        sample_free(&s);
    }
}

/* Zeros, one huge weight, numbers that halves cannot hold, and denormal ones. */
static void test_extremes(void **state) {
    (void)state;
    static const float scales[] = {0, 1, 1e30f, 1e-30f, 1e-42f};
    sample s;
    sample_new(&s, 16, 64, 0.5, 9);
    float *w = malloc(16 * 64 * sizeof *w);
    memcpy(w, s.w.data, 16 * 64 * sizeof *w);
    for (size_t k = 0; k < PITH_COUNT(scales); k++)
        for (size_t i = 0; i < PITH_COUNT(recipes); i++) {
            coded c;
            for (size_t j = 0; j < 16 * 64; j++) s.w.data[j] = w[j] * scales[k];
            s.w.data[700] = scales[k] == 1 ? 1e6f : s.w.data[700];
            round_trip(ctx, recipes[i], &s, &s.stats, &c);
            for (size_t j = 0; j < 16 * 64; j++) assert_true(isfinite(s.restored[j]));
            coded_free(ctx, &c);
        }
    /* A scale of any size loses no more than a scale near 1 does. */
    double errors[2];
    for (int k = 0; k < 2; k++) {
        repr_error error;
        coded c;
        for (size_t j = 0; j < 16 * 64; j++) s.w.data[j] = w[j] * (k ? 1e-20f : 1);
        round_trip(ctx, "q(4, group=32)", &s, NULL, &c);
        coded_free(ctx, &c);
        assert_int_equal(repr_measure(ctx, &s.w, s.restored, NULL, &error), PITH_OK);
        errors[k] = error.weights;
    }
    assert_true(fabs(errors[1] - errors[0]) < 0.01 * errors[0]);
    free(w);
    sample_free(&s);
}

static void test_refusals(void **state) {
    (void)state;
    sample s;
    coded c;
    sample_new(&s, 4, 30, 0.5, 3);
    assert_int_equal(chain_of(ctx, "gguf(q4_0)", &c), PITH_OK);
    assert_int_equal(repr_encode(ctx, c.chain, &s.w, NULL, &c.bytes, NULL), PITH_E_ARGUMENT);
    coded_free(ctx, &c);
    assert_int_equal(chain_of(ctx, "q(3, grid=nf4)", &c), PITH_OK);
    assert_int_equal(repr_encode(ctx, c.chain, &s.w, NULL, &c.bytes, NULL), PITH_E_ARGUMENT);
    coded_free(ctx, &c);
    assert_int_equal(chain_of(ctx, "prune(pattern=2:4)", &c), PITH_OK);
    assert_int_equal(repr_encode(ctx, c.chain, &s.w, NULL, &c.bytes, NULL), PITH_E_ARGUMENT);
    coded_free(ctx, &c);
    sample_free(&s);
}

/* Law 2: nothing but what the recipe says. */
static void test_sizes(void **state) {
    (void)state;
    sample s;
    size_t bytes;
    sample_new(&s, 64, 256, 0.5, 4);
    size_t n = 64 * 256;
    output_error(ctx, "raw", &s, NULL, &bytes);
    assert_int_equal(bytes, 2 * n);
    output_error(ctx, "raw(f32)", &s, NULL, &bytes);
    assert_int_equal(bytes, 4 * n);
    static const struct expected {
        const char *recipe;
        double bits;
    } expected[] = {
        {"q(4, group=128)", 4 + (16 + 4) / 128.0},
        {"q(4, group=32, sym)", 4 + 16 / 32.0},
        {"q(3, group=16, meta=q(3, group=16))", 3 + 6 / 16.0 + 64 / 256.0},
        {"sign", 1 + 16 / 256.0},
        {"ternary(minmax)", 2 + 32 / 256.0},
        {"kmeans(4)", 4 + 256.0 / 16384},
        {"sparse(keep=50%, pattern=2:4)", 8 + 3 / 4.0},
        {"sparse(keep=50%, per=matrix, format=bitmap)", 8 + 1},
    };
    for (size_t i = 0; i < PITH_COUNT(expected); i++) {
        output_error(ctx, expected[i].recipe, &s, NULL, &bytes);
        double bits = 8.0 * (double)bytes / (double)n;
        if (!(bits >= expected[i].bits && bits < expected[i].bits + 0.05))
            printf("%s: %.4f bits, expected %.4f\n", expected[i].recipe, bits, expected[i].bits);
        assert_true(bits >= expected[i].bits && bits < expected[i].bits + 0.05);
    }
    sample_free(&s);
}

/* Errors of grids on a normal source are the known ones: QuEST's table, and the uniform quantiser with entropy coding.
 */
static void test_gaussian_errors(void **state) {
    (void)state;
    static const struct grid {
        const char *recipe;
        double low, high;
    } grids[] = {
        {"q(1, group=0, grid=gauss)", 0.35, 0.38},
        {"q(2, group=0, grid=gauss)", 0.115, 0.123},
        {"q(3, group=0, grid=gauss)", 0.0365, 0.039},
        {"q(4, group=0, grid=gauss)", 0.0110, 0.0122},
        {"ternary", 0.185, 0.195},
        {"sign", 0.355, 0.37},
        {"kmeans(2)", 0.112, 0.119},
        {"kmeans(4)", 0.0088, 0.0097},
        {"step(bits=3, tilt=0, trellis=none)", 0.0195, 0.0225},
        {"step(bits=4, tilt=0, trellis=none)", 0.0050, 0.0058},
        {"step(bits=3, tilt=0, trellis=4)", 0.0168, 0.0186},
        {"step(bits=3, tilt=0)", 0.0165, 0.0182},
        {"step(bits=4, tilt=0)", 0.0041, 0.0046},
        {"step(bits=4, tilt=0, trellis=32)", 0.0040, 0.0045},
    };
    sample s;
    sample_new(&s, 256, 256, 0, 5);
    for (size_t i = 0; i < PITH_COUNT(grids); i++) {
        coded c;
        repr_error error;
        round_trip(ctx, grids[i].recipe, &s, NULL, &c);
        coded_free(ctx, &c);
        assert_int_equal(repr_measure(ctx, &s.w, s.restored, NULL, &error), PITH_OK);
        if (!(error.weights > grids[i].low && error.weights < grids[i].high))
            printf("%s: %.5f\n", grids[i].recipe, error.weights);
        assert_true(error.weights > grids[i].low && error.weights < grids[i].high);
    }
    sample_free(&s);
}

/* Better fits have less error, on the measure they are for. */
static void test_fits_order(void **state) {
    (void)state;
    sample s;
    sample_new(&s, 64, 256, 0, 6);
    double range = output_error(ctx, "q(3, group=64)", &s, &s.stats, NULL);
    double mse = output_error(ctx, "q(3, group=64, fit=mse)", &s, &s.stats, NULL);
    double weighted = output_error(ctx, "q(3, group=64, fit=weighted)", &s, &s.stats, NULL);
    assert_true(mse < 0.95 * range);
    assert_true(weighted < 0.98 * mse);
    double flat = output_error(ctx, "step(bits=3, tilt=0)", &s, &s.stats, NULL);
    double tilted = output_error(ctx, "step(bits=3)", &s, &s.stats, NULL);
    if (!(tilted < 0.9 * flat)) printf("flat %.5f, tilted %.5f\n", flat, tilted);
    assert_true(tilted < 0.9 * flat);
    sample_free(&s);
}

/* Rows whose errors count more get smaller steps, at the same bytes; statistics of other rows are left alone. */
static void test_rows_that_count(void **state) {
    (void)state;
    enum { ROWS = 256, COLS = 64 };
    sample s;
    float counts[ROWS];
    size_t bytes[3];
    double sums[3];
    sample_new(&s, ROWS, COLS, 0.5, 11);
    for (size_t r = 0; r < ROWS; r++) counts[r] = 1 / (float)(1 + r * 7 % ROWS);
    for (int k = 0; k < 3; k++) {
        repr_stats stats = s.stats;
        coded c;
        stats.outputs = k ? counts : NULL;
        stats.n_outputs = k == 1 ? ROWS : ROWS - 1;
        round_trip(ctx, "step(bits=4, rows=1) | ctxac @ obs", &s, &stats, &c);
        bytes[k] = c.bytes.size;
        sums[k] = 0;
        coded_free(ctx, &c);
        for (size_t i = 0; i < ROWS * COLS; i++) {
            double e = (double)s.w.data[i] - (double)s.restored[i];
            sums[k] += e * e * (double)counts[i / COLS];
        }
    }
    if (!(sums[1] < 0.75 * sums[0] && (double)bytes[1] < 1.03 * (double)bytes[0]))
        printf("plain %.3g in %zu bytes, counted %.3g in %zu\n", sums[0], bytes[0], sums[1], bytes[1]);
    assert_true(sums[1] < 0.75 * sums[0]);
    assert_true((double)bytes[1] < 1.03 * (double)bytes[0]);
    assert_int_equal(bytes[2], bytes[0]);
    assert_true(sums[2] == sums[0]);
    sample_free(&s);
}

/* Bits that most rows have no use for are not asked of the others beyond what an index holds. */
static void test_mostly_zeros(void **state) {
    (void)state;
    enum { ROWS = 64, COLS = 64 };
    static const char *const fine[] = {"step(bits=8)", "step(bits=8, trellis=none)", "step(0.000001) @ obs"};
    sample s;
    sample_new(&s, ROWS, COLS, 0.5, 5);
    for (size_t i = 0; i < ROWS * COLS; i++)
        if (i / COLS % 16) s.w.data[i] = 0;
    for (size_t k = 0; k < PITH_COUNT(fine); k++) {
        coded c;
        double error = 0, norm = 0;
        round_trip(ctx, fine[k], &s, &s.stats, &c);
        coded_free(ctx, &c);
        for (size_t i = 0; i < ROWS * COLS; i++) {
            double e = (double)s.w.data[i] - (double)s.restored[i];
            error += e * e;
            norm += (double)s.w.data[i] * (double)s.w.data[i];
        }
        if (!(error < 1e-6 * norm)) printf("%s: %.3g\n", fine[k], error / norm);
        assert_true(error < 1e-6 * norm);
    }
    sample_free(&s);
}

static uint32_t xorshift(uint32_t *s) {
    *s ^= *s << 13;
    *s ^= *s >> 17;
    *s ^= *s << 5;
    return *s;
}

static void test_damage(void **state) {
    (void)state;
    sample s;
    uint32_t seed = 77;
    sample_new(&s, 9, 64, 0.5, 8);
    float *back = malloc(9 * 64 * sizeof *back);
    repr_matrix w = {back, 9, 64};
    for (size_t i = 0; i < PITH_COUNT(recipes); i++) {
        coded c;
        round_trip(ctx, recipes[i], &s, &s.stats, &c);
        for (size_t cut = 0; cut < c.bytes.size; cut += 1 + c.bytes.size / 40) {
            uint8_t *part = malloc(cut + 1); /* of its own size, so that a sanitizer sees a read past it */
            memcpy(part, c.bytes.data, cut);
            repr_reader in = {part, part + cut};
            assert_int_equal(repr_decode(ctx, c.chain, &in, 0, &w), PITH_E_FORMAT);
            free(part);
        }
        for (int flip = 0; flip < 60; flip++) {
            uint8_t *copy = malloc(c.bytes.size);
            memcpy(copy, c.bytes.data, c.bytes.size);
            size_t near = flip < 30 ? PITH_MIN(c.bytes.size, 24) : c.bytes.size;
            copy[xorshift(&seed) % near] ^= (uint8_t)(1u << xorshift(&seed) % 8);
            repr_reader in = {copy, copy + c.bytes.size};
            pith_status status = repr_decode(ctx, c.chain, &in, 0, &w);
            assert_true(status == PITH_OK || status == PITH_E_FORMAT || status == PITH_E_LIMIT);
            free(copy);
        }
        coded_free(ctx, &c);
    }
    free(back);
    sample_free(&s);
}

static void test_gguf(void **state) {
    (void)state;
    static const struct kind {
        const char *name;
        tensor_type type;
        double error; /* at most so much of the plain encoder's */
    } kinds[] = {{"q4_0", TENSOR_Q4_0, 1}, {"q4_1", TENSOR_Q4_1, 1},    {"q5_0", TENSOR_Q5_0, 1},
                 {"q5_1", TENSOR_Q5_1, 1}, {"q8_0", TENSOR_Q8_0, 1.05}, {"iq4_nl", TENSOR_IQ4_NL, 1},
                 {"q2_K", TENSOR_Q2_K, 1}, {"q3_K", TENSOR_Q3_K, 1},    {"q4_K", TENSOR_Q4_K, 1},
                 {"q5_K", TENSOR_Q5_K, 1}, {"q6_K", TENSOR_Q6_K, 1}};
    enum { ROWS = 24, COLS = 512 };
    sample s;
    sample_new(&s, ROWS, COLS, 0.9, 10);
    static uint8_t blocks[ROWS * COLS * 2];
    static float plain[ROWS * COLS], ours[ROWS * COLS];
    for (size_t i = 0; i < PITH_COUNT(kinds); i++) {
        char recipe[64];
        coded c;
        repr_error plain_error, error, fed_error;
        assert_true(blocks_encode(kinds[i].type, s.w.data, blocks, ROWS * COLS));
        blocks_decode(kinds[i].type, blocks, plain, ROWS * COLS);
        assert_int_equal(repr_measure(ctx, &s.w, plain, &s.stats, &plain_error), PITH_OK);
        snprintf(recipe, sizeof recipe, "gguf(%s)", kinds[i].name);
        round_trip(ctx, recipe, &s, &s.stats, &c);
        uint64_t size;
        assert_true(tensor_type_bytes(kinds[i].type, ROWS * COLS, &size));
        assert_true(c.bytes.size >= size && c.bytes.size <= size + 16);
        coded_free(ctx, &c);
        assert_int_equal(repr_measure(ctx, &s.w, s.restored, &s.stats, &error), PITH_OK);
        snprintf(recipe, sizeof recipe, "gguf(%s) @ obs(block=256)", kinds[i].name);
        round_trip(ctx, recipe, &s, &s.stats, &c);
        coded_free(ctx, &c);
        assert_int_equal(repr_measure(ctx, &s.w, s.restored, &s.stats, &fed_error), PITH_OK);
        if (!(error.outputs < kinds[i].error * plain_error.outputs && fed_error.outputs < 0.75 * error.outputs))
            printf("%s: plain %.6f, fitted %.6f, fed forward %.6f\n", kinds[i].name, plain_error.outputs, error.outputs,
                   fed_error.outputs);
        assert_true(error.outputs < kinds[i].error * plain_error.outputs);
        assert_true(fed_error.outputs < 0.75 * error.outputs);
        /* The function for other runtimes gives the same blocks. */
        assert_int_equal(repr_gguf_blocks(ctx, kinds[i].type, &s.w, &s.stats, blocks), PITH_OK);
        blocks_decode(kinds[i].type, blocks, ours, ROWS * COLS);
        assert_memory_equal(ours, s.restored, sizeof ours);
    }
    sample_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),     cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_refusals),        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_gaussian_errors), cmocka_unit_test(test_fits_order),
        cmocka_unit_test(test_rows_that_count), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_gguf),            cmocka_unit_test(test_mostly_zeros),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
