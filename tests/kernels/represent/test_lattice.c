/* Weights that were blocks of few bits and became floats of 16 bits again: step finds their levels, at the bits that
 * the levels take and with hardly an error, for all kinds of blocks; it leaves weights alone that were not quantised,
 * were only pruned, or are asked for fewer bits than that; damage ends in an error and nothing else. */
#include "kernels/represent/columns_support.h"

#include "formats/blocks/blocks.h"
#include "support/session.h"

enum { ROWS = 40, COLS = 256 };

/* Normal weights of rows of uneven size, as blocks of a type have them, as floats of 16 bits. */
static void make_blocks(sample *s, tensor_type type, uint64_t seed) {
    uint64_t bytes;
    float ones[COLS];
    sample_new(s, ROWS, COLS, 0.5, seed);
    assert_true(tensor_type_bytes(type, ROWS * COLS, &bytes));
    uint8_t *blocks = malloc(bytes);
    for (size_t j = 0; j < COLS; j++) ones[j] = 1;
    for (size_t i = 0; i < ROWS * COLS; i++) s->w.data[i] *= 1 + (float)(i / COLS % 5) * 0.5f;
    assert_true(blocks_encode_weighted(type, s->w.data, ones, blocks, ROWS, COLS));
    blocks_decode(type, blocks, s->w.data, ROWS * COLS);
    for (size_t i = 0; i < ROWS * COLS; i++) {
        float v = s->w.data[i];
        s->w.data[i] = seed % 2 ? half_to_float(float_to_half(v)) : bfloat_to_float(float_to_bfloat(v));
    }
    free(blocks);
}

static double relative_error(const sample *s) {
    double error = 0, norm = 0;
    for (size_t i = 0; i < s->w.rows * s->w.cols; i++) {
        double e = (double)s->w.data[i] - (double)s->restored[i];
        error += e * e;
        norm += (double)s->w.data[i] * (double)s->w.data[i];
    }
    return error / norm;
}

/* Bits of a weight, and *error. */
static double code(sample *s, const char *recipe, double *error) {
    coded c;
    round_trip(ctx, recipe, s, &s->stats, &c);
    double bits = 8.0 * (double)c.bytes.size / (double)(s->w.rows * s->w.cols);
    coded_free(ctx, &c);
    *error = relative_error(s);
    return bits;
}

static void test_blocks(void **state) {
    (void)state;
    static const struct kind {
        tensor_type type;
        const char *wish, *rest;
        double bits; /* at most */
    } kinds[] = {
        {TENSOR_IQ2_XXS, "bits=4", " | ctxac @ obs", 2.7}, {TENSOR_IQ4_NL, "bits=5", " | ctxac @ obs", 4.6},
        {TENSOR_IQ2_S, "bits=4", " | ctxac", 3},           {TENSOR_Q4_0, "bits=5", " | ctxac @ obs", 4.2},
        {TENSOR_TQ2_0, "bits=3", " | rans @ obs", 1},      {TENSOR_MXFP4, "0.1", " | ctxac", 4.2},
        {TENSOR_Q2_K, "bits=4", " | ctxac @ obs", 3},      {TENSOR_Q4_K, "bits=6", " | ctxac @ obs", 4.6},
        {TENSOR_Q6_K, "bits=8", " | ctxac", 6.9},          {TENSOR_Q4_1, "bits=5", " | rans", 4.6},
    };
    for (size_t k = 0; k < PITH_COUNT(kinds); k++) {
        sample s;
        char recipe[80];
        double after, before;
        make_blocks(&s, kinds[k].type, 3 + k);
        snprintf(recipe, sizeof recipe, "step(%s, lattice=no)%s", kinds[k].wish, kinds[k].rest);
        double plain = code(&s, recipe, &before);
        snprintf(recipe, sizeof recipe, "step(%s)%s", kinds[k].wish, kinds[k].rest);
        double bits = code(&s, recipe, &after);
        bool better = after < 5e-5 && (after < before / 8 || kinds[k].type == TENSOR_TQ2_0);
        if (!(better && bits < kinds[k].bits && bits < plain - 0.25))
            printf("%s, %s: %.3f bits, error %.3g; without %.3f, %.3g\n", tensor_type_of(kinds[k].type)->name, recipe,
                   bits, after, plain, before);
        assert_true(better && bits < kinds[k].bits && bits < plain - 0.25);
        sample_free(&s);
    }
}

/* The same bytes as without. */
static void same_bytes(sample *s, const char *wish) {
    coded with, without;
    char recipe[80];
    snprintf(recipe, sizeof recipe, "step(%s) | ctxac @ obs", wish);
    round_trip(ctx, recipe, s, &s->stats, &with);
    snprintf(recipe, sizeof recipe, "step(%s, lattice=no) | ctxac @ obs", wish);
    round_trip(ctx, recipe, s, &s->stats, &without);
    assert_int_equal(with.bytes.size, without.bytes.size);
    assert_memory_equal(with.bytes.data, without.bytes.data, with.bytes.size);
    coded_free(ctx, &with);
    coded_free(ctx, &without);
}

static void test_others(void **state) {
    (void)state;
    sample s;
    make_blocks(&s, TENSOR_F16, 20);
    same_bytes(&s, "bits=4");
    for (size_t i = 0; i < ROWS * COLS; i++)
        if (fabsf(s.w.data[i]) < 0.05f) s.w.data[i] = 0; /* most of them */
    same_bytes(&s, "bits=4");
    for (size_t i = 0; i < ROWS * COLS; i++) s.w.data[i] = 0;
    same_bytes(&s, "bits=4");
    sample_free(&s);
    make_blocks(&s, TENSOR_IQ2_XXS, 21);
    same_bytes(&s, "bits=2");
    same_bytes(&s, "1.5");
    sample_free(&s);
}

/* Rows that end in a part of a group, dead inputs, groups of zeros. */
static void test_odd_shapes(void **state) {
    (void)state;
    static const size_t cols[] = {500, 77, 33};
    for (size_t k = 0; k < PITH_COUNT(cols); k++) {
        sample s;
        double error;
        random_state r = {5};
        sample_new(&s, 60, cols[k], 0.5, 30 + k);
        for (size_t i = 0; i < s.w.rows * s.w.cols; i++) {
            size_t group = i % s.w.cols / 16 + i / s.w.cols;
            float scale = (float)(1 + group * 7 % 11) * 0.01f, level = (float)(int)(random_next(&r) % 5) - 2;
            s.w.data[i] = group % 9 == 3 ? 0 : scale * level;
        }
        float *h = (float *)(uintptr_t)s.stats.h, *gram = (float *)(uintptr_t)s.stats.gram;
        h[3] = 0;
        for (size_t j = 0; j < s.w.cols; j++) gram[j > 3 ? j * (j + 1) / 2 + 3 : 3 * 4 / 2 + j] = 0;
        double bits = code(&s, "step(bits=4) | ctxac", &error);
        if (!(bits < 3.2 && error < 1e-4)) printf("%zu columns: %.3f bits, error %.3g\n", cols[k], bits, error);
        assert_true(bits < 3.2 && error < 1e-4);
        assert_true(code(&s, "step(bits=4) | ctxac @ obs", &error) < 3.4);
        for (size_t i = 0; i < s.w.rows; i++) assert_true(s.restored[i * s.w.cols + 3] == 0);
        sample_free(&s);
    }
}

static void damage(tensor_type type) {
    sample s;
    coded c;
    random_state r = {9};
    make_blocks(&s, type, 40);
    round_trip(ctx, "step(bits=5) | ctxac", &s, NULL, &c);
    repr_matrix w = {s.restored, ROWS, COLS};
    for (size_t cut = 0; cut < c.bytes.size; cut += cut < 40 ? 1 : c.bytes.size / 20) {
        uint8_t *part = malloc(cut + 1); /* of its own size, so that a sanitizer sees a read past it */
        memcpy(part, c.bytes.data, cut);
        repr_reader in = {part, part + cut};
        assert_int_equal(repr_decode(ctx, c.chain, &in, 0, &w), PITH_E_FORMAT);
        free(part);
    }
    uint8_t *copy = malloc(c.bytes.size);
    for (int flip = 0; flip < 150; flip++) {
        memcpy(copy, c.bytes.data, c.bytes.size);
        size_t near = flip < 120 ? 32 : c.bytes.size;
        copy[random_next(&r) % near] ^= (uint8_t)(1u << random_next(&r) % 8);
        repr_reader in = {copy, copy + c.bytes.size};
        pith_status status = repr_decode(ctx, c.chain, &in, 0, &w);
        assert_true(status == PITH_OK || status == PITH_E_FORMAT || status == PITH_E_LIMIT);
    }
    free(copy);
    coded_free(ctx, &c);
    sample_free(&s);
}

static void test_damage(void **state) {
    (void)state;
    damage(TENSOR_IQ2_XXS);
    damage(TENSOR_IQ4_NL);
    damage(TENSOR_Q4_K);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_odd_shapes),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
