/* Coding by distributions handed in: what went in comes out, at the length the distribution says. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/predict/predict.h"

#define SYMBOLS 3000
#define CAP (SYMBOLS * 8)

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Zipf's law, turned about so that every place of the alphabet is likely at some time. */
static void zipf(float *p, size_t n, size_t turn) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += 1.0 / (double)(i + 1);
    for (size_t i = 0; i < n; i++) p[(i + turn) % n] = (float)(1.0 / (double)(i + 1) / sum);
}

static uint32_t draw(const float *p, size_t n, uint64_t *state) {
    double u = (double)(next_random(state) >> 11) / 9007199254740992.0;
    for (size_t i = 0; i < n; i++) {
        u -= (double)p[i];
        if (u < 0) return (uint32_t)i;
    }
    return (uint32_t)(n - 1);
}

typedef struct bench {
    pith_ctx *ctx;
    pmf_coder *coder;
    float *p;
    uint32_t *symbol;
    uint8_t *code;
} bench;

static void set_up(bench *b, size_t n) {
    b->ctx = pith_ctx_new(NULL);
    assert_non_null(b->ctx);
    assert_int_equal(pmf_coder_new(b->ctx, n, &b->coder), PITH_OK);
    b->p = calloc(n, sizeof *b->p);
    b->symbol = calloc(SYMBOLS, sizeof *b->symbol);
    b->code = malloc(CAP);
    assert_true(b->p && b->symbol && b->code);
}

static void tear_down(bench *b) {
    pmf_coder_free(b->ctx, b->coder);
    assert_int_equal(pith_memory_used(b->ctx), 0);
    pith_ctx_free(b->ctx);
    free(b->p);
    free(b->symbol);
    free(b->code);
}

/* Codes symbols drawn from a changing distribution among plain bits; gives the size and adds up the ideal. */
static size_t code(bench *b, size_t n, double *ideal_bits) {
    uint64_t state = 88172645463325252u + n;
    *ideal_bits = 0;
    pmf_coder_encode(b->coder, b->code, CAP);
    for (size_t i = 0; i < SYMBOLS; i++) {
        zipf(b->p, n, i / 100);
        b->symbol[i] = draw(b->p, n, &state);
        *ideal_bits -= log2((double)b->p[b->symbol[i]]);
        pmf_coder_set(b->coder, b->p);
        pmf_coder_put(b->coder, b->symbol[i]);
        if (i % 7 == 0) {
            pmf_coder_put_bit(b->coder, 60000, b->symbol[i] & 1);
            *ideal_bits -= log2((b->symbol[i] & 1 ? 60000 : 5536) / 65536.0);
        }
    }
    return pmf_coder_finish(b->coder);
}

static void symbols_come_back_at_their_length(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 255, 256, 257, 5000};
    for (size_t s = 0; s < PITH_COUNT(sizes); s++) {
        bench b;
        size_t n = sizes[s];
        double ideal;
        set_up(&b, n);
        size_t size = code(&b, n, &ideal);
        assert_int_not_equal(size, SIZE_MAX);
        assert_true((double)size * 8 <= ideal * 1.001 + 40);
        assert_true((double)size * 8 >= ideal * 0.999 - 40);
        pmf_coder_decode(b.coder, b.code, size);
        for (size_t i = 0; i < SYMBOLS; i++) {
            zipf(b.p, n, i / 100);
            pmf_coder_set(b.coder, b.p);
            assert_int_equal(pmf_coder_get(b.coder), b.symbol[i]);
            if (i % 7 == 0) assert_int_equal(pmf_coder_get_bit(b.coder, 60000), b.symbol[i] & 1);
        }
        assert_true(pmf_coder_end(b.coder));
        tear_down(&b);
    }
}

/* The code of fixed symbols is a fixed string of bytes: any change of the arithmetic shows. */
static void the_code_is_known(void **state) {
    (void)state;
    bench b;
    set_up(&b, 5000);
    for (size_t i = 0; i < 5000; i++) b.p[i] = (float)(i + 1) / 12502500.0f;
    pmf_coder_set(b.coder, b.p);
    pmf_coder_encode(b.coder, b.code, CAP);
    for (uint32_t i = 0; i < 1000; i++) pmf_coder_put(b.coder, i * i % 5000);
    size_t size = pmf_coder_finish(b.coder);
    assert_int_equal(size, 1613);
    assert_true(pith_hash64(b.code, size) == 0xdb6f859fde42f968u);
    tear_down(&b);
}

/* What is no distribution costs size, not exactness. */
static void any_floats_will_do(void **state) {
    (void)state;
    static const float odd[] = {NAN, INFINITY, -INFINITY, -1, 0, 2, 1e-40f, 3e38f};
    bench b;
    set_up(&b, 300);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 300; i++) b.p[i] = round == 0 ? odd[i % PITH_COUNT(odd)] : round == 1 ? 0 : INFINITY;
        pmf_coder_set(b.coder, b.p);
        pmf_coder_encode(b.coder, b.code, CAP);
        for (uint32_t i = 0; i < 300; i++) pmf_coder_put(b.coder, i);
        size_t size = pmf_coder_finish(b.coder);
        assert_int_not_equal(size, SIZE_MAX);
        pmf_coder_decode(b.coder, b.code, size);
        for (uint32_t i = 0; i < 300; i++) assert_int_equal(pmf_coder_get(b.coder), i);
        assert_true(pmf_coder_end(b.coder));
    }
    tear_down(&b);
}

static void junk_gives_symbols_of_the_alphabet(void **state) {
    (void)state;
    bench b;
    uint64_t seed = 12345;
    set_up(&b, 1000);
    zipf(b.p, 1000, 17);
    pmf_coder_set(b.coder, b.p);
    for (size_t i = 0; i < 500; i++) b.code[i] = (uint8_t)next_random(&seed);
    pmf_coder_decode(b.coder, b.code, 500);
    for (int i = 0; i < 2000; i++) assert_true(pmf_coder_get(b.coder) < 1000);
    tear_down(&b);
}

static void a_full_buffer_is_said(void **state) {
    (void)state;
    bench b;
    set_up(&b, 1000);
    zipf(b.p, 1000, 0);
    pmf_coder_set(b.coder, b.p);
    pmf_coder_encode(b.coder, b.code, 10);
    b.code[10] = 0xA5;
    for (uint32_t i = 0; i < 100; i++) pmf_coder_put(b.coder, 900 - i);
    assert_int_equal(pmf_coder_finish(b.coder), SIZE_MAX);
    assert_int_equal(b.code[10], 0xA5);
    pmf_coder *none;
    assert_int_equal(pmf_coder_new(b.ctx, 0, &none), PITH_E_ARGUMENT);
    assert_int_equal(pmf_coder_new(b.ctx, SIZE_MAX, &none), PITH_E_ARGUMENT);
    tear_down(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(symbols_come_back_at_their_length), cmocka_unit_test(the_code_is_known),
        cmocka_unit_test(any_floats_will_do),                cmocka_unit_test(junk_gives_symbols_of_the_alphabet),
        cmocka_unit_test(a_full_buffer_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
