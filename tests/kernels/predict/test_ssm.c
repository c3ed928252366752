/* The online state-space model: known answers on every instruction set, gradients checked by
 * differences, learning, snapshots, and failing allocation. */
#include "kernels/predict/ssm.h"
#include "support/data_heap.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const ssm_params tiny = {.width = 32, .layers = 2, .state = 8, .chunk = 8, .row_bits = 12};

/* Words in a random order that is the same everywhere, with a number now and then. */
static void make_text(uint8_t *text, size_t n) {
    static const char *const words[] = {"the ",      "river ",  "bends ",  "towards ", "a ",     "mill, ",
                                        "and ",      "nobody ", "waits\n", "There ",   "under ", "those ",
                                        "lanterns ", "of ",     "tin. ",   "we "};
    uint32_t state = 2463534242u;
    for (size_t i = 0; i < n;) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        char number[16];
        const char *word = words[state >> 8 & 15];
        if ((state & 31) == 0) {
            (void)snprintf(number, sizeof number, "%u ", (unsigned)(state >> 20));
            word = number;
        }
        while (*word && i < n) text[i++] = (uint8_t)*word++;
    }
}

static double bits_for(ssm *m, uint8_t byte) {
    const uint32_t *p = ssm_predict(m);
    double sum = 0;
    for (int i = 0; i < 256; i++) sum += p[i];
    return -log2(p[byte] / sum);
}

static void test_known_answer(void **state) {
    (void)state;
    /* A change of this is a change of the archive format. */
    static const uint64_t known = 0x9ED4CEDFAC4CC4ECu;
    enum { STEPS = 10000 };
    static uint8_t text[STEPS];
    make_text(text, STEPS);
    for (int level = PITH_CPU_SCALAR; level <= PITH_CPU_AVX512; level++) {
        const exact_ops *x = exact_for(level);
        if (!x) continue;
        pith_ctx *ctx = pith_ctx_new(NULL);
        ssm *m;
        assert_int_equal(ssm_new_on(ctx, &tiny, x, &m), PITH_OK);
        uint64_t hash = 0;
        for (size_t i = 0; i < STEPS; i++) {
            hash = hash * 31 + pith_hash64(ssm_predict(m), 256 * sizeof(uint32_t));
            ssm_update(m, text[i]);
        }
        if (hash != known) fail_msg("path %d: hash 0x%016llX", level, (unsigned long long)hash);
        ssm_free(m);
        assert_int_equal(pith_memory_used(ctx), 0);
        pith_ctx_free(ctx);
    }
}

static void test_learns(void **state) {
    (void)state;
    enum { STEPS = 12000 };
    static uint8_t text[STEPS];
    make_text(text, STEPS);
    pith_ctx *ctx = pith_ctx_new(NULL);
    ssm *m;
    assert_int_equal(ssm_new(ctx, &tiny, &m), PITH_OK);
    double early = 0, late = 0;
    for (size_t i = 0; i < STEPS; i++) {
        const uint32_t *p = ssm_predict(m);
        uint64_t sum = 0;
        for (int j = 0; j < 256; j++) {
            assert_in_range(p[j], 1, (1 << 22) + 1);
            sum += p[j];
        }
        assert_in_range(sum, (1 << 22) - 256, (1 << 22) + 512);
        if (i < 2000) early += bits_for(m, text[i]);
        if (i >= STEPS - 2000) late += bits_for(m, text[i]);
        ssm_update(m, text[i]);
    }
    print_message("    first 2000 bytes %.3f bits per byte, last 2000 %.3f\n", early / 2000, late / 2000);
    /* Sixteen equal words of 5.3 letters are 0.76 bits a letter; numbers come on top. */
    assert_true(late / 2000 < 1.35);
    assert_true(early > 1.5 * late);
    ssm_free(m);
    pith_ctx_free(ctx);
}

/* The loss of a chunk for given inputs, from a fresh state. */
static double chunk_loss(ssm_net *net, const float *inputs, const uint8_t *came) {
    double loss = 0;
    for (size_t t = 0; t < net->shape.chunk; t++) {
        memcpy(ssm_net_input(net, t), inputs + t * net->shape.width, net->shape.width * sizeof *inputs);
        ssm_net_forward(net, t);
        loss -= log((double)net->probability[t * SSM_SYMBOLS + came[t]]);
    }
    return loss;
}

static void check_slope(ssm_net *net, float *at, double gradient, const float *inputs, const uint8_t *came,
                        const char *what, size_t index) {
    const float keep = *at, h = 1.0f / 128;
    *at = keep + h;
    double up = chunk_loss(net, inputs, came);
    *at = keep - h;
    double down = chunk_loss(net, inputs, came);
    *at = keep;
    double slope = (up - down) / (2 * (double)h);
    if (!(fabs(slope - gradient) < 0.004 + 0.03 * fabs(slope)))
        fail_msg("%s, number %zu: gradient %g, by differences %g", what, index, gradient, slope);
}

static void test_gradients(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    const ssm_params p = {.width = 16, .layers = 2, .state = 5, .chunk = 7, .row_bits = 8};
    ssm *m;
    assert_int_equal(ssm_new(ctx, &p, &m), PITH_OK);
    ssm_net *net = &m->net;
    const ssm_shape *s = &net->shape;
    float inputs[7 * 16];
    uint8_t came[7];
    uint32_t random = 99;
    for (size_t i = 0; i < PITH_COUNT(inputs); i++)
        inputs[i] = (float)(int)((random = random * 1664525u + 1013904223u) >> 16) / 32768.0f - 1.0f;
    for (size_t i = 0; i < 7; i++) came[i] = (uint8_t)(i * 37);
    for (size_t i = 0; i < s->layers; i++) {
        /* a state that is not zero, so that the first decay matters */
        for (size_t j = 0; j < s->state * s->channels; j++)
            net->trace[i].state[j] = (float)(int)((random = random * 1664525u + 1013904223u) >> 16) / 65536.0f - 0.5f;
        for (size_t k = 0; k < SSM_HEADS; k++) net->param[s->layer[i].log_rate + k] = 0.25f * (float)(k % 3);
    }
    (void)chunk_loss(net, inputs, came);
    ssm_net_backward(net, came);
    static float gradient[1 << 17], back_x[7 * 16];
    assert_true(s->n_params <= PITH_COUNT(gradient));
    memcpy(gradient, net->gradient, s->n_params * sizeof *gradient);
    memcpy(back_x, net->back_x, sizeof back_x);
    for (size_t i = 0; i < PITH_COUNT(inputs); i += 3)
        check_slope(net, inputs + i, (double)back_x[i], inputs, came, "input", i);
    for (size_t l = 0; l < s->layers; l++) {
        const ssm_layer *at = &s->layer[l];
        const struct {
            const char *name;
            size_t from, n, step;
        } parts[] = {{"norm", at->norm, s->width, 1},
                     {"in", at->in, s->width * s->columns, 29},
                     {"conv", at->conv, SSM_TAPS * s->conv_columns, 3},
                     {"conv_bias", at->conv_bias, s->conv_columns, 1},
                     {"dt_bias", at->dt_bias, SSM_HEADS, 1},
                     {"log_rate", at->log_rate, SSM_HEADS, 1},
                     {"skip", at->skip, s->channels, 1},
                     {"out_norm", at->out_norm, s->channels, 1},
                     {"out", at->out, s->channels * s->width, 13}};
        for (size_t k = 0; k < PITH_COUNT(parts); k++)
            for (size_t i = 0; i < parts[k].n; i += parts[k].step)
                check_slope(net, net->param + parts[k].from + i, (double)gradient[parts[k].from + i], inputs, came,
                            parts[k].name, i);
    }
    for (size_t i = 0; i < s->width; i++)
        check_slope(net, net->param + s->norm + i, (double)gradient[s->norm + i], inputs, came, "last norm", i);
    for (size_t i = 0; i < s->width * SSM_SYMBOLS; i += 31)
        check_slope(net, net->param + s->head + i, (double)gradient[s->head + i], inputs, came, "head", i);
    for (size_t i = 0; i < SSM_SYMBOLS; i += 5)
        check_slope(net, net->param + s->bias + i, (double)gradient[s->bias + i], inputs, came, "bias", i);
    ssm_free(m);
    pith_ctx_free(ctx);
}

static void test_copy(void **state) {
    (void)state;
    uint8_t text[900];
    make_text(text, sizeof text);
    pith_ctx *ctx = pith_ctx_new(NULL);
    ssm *a, *b;
    assert_int_equal(ssm_new(ctx, &tiny, &a), PITH_OK);
    assert_int_equal(ssm_new(ctx, &tiny, &b), PITH_OK);
    for (size_t i = 0; i < 603; i++) ssm_update(a, text[i]);
    for (size_t i = 0; i < 100; i++) ssm_update(b, text[2 * i]);
    ssm_copy(b, a);
    for (size_t i = 603; i < sizeof text; i++) {
        assert_memory_equal(ssm_predict(a), ssm_predict(b), 256 * sizeof(uint32_t));
        ssm_update(a, text[i]);
        ssm_update(b, text[i]);
    }
    ssm_free(a);
    ssm_free(b);
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
}

static void test_any_bytes(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    ssm *m;
    const ssm_params p = {.width = 16, .layers = 1, .state = 3, .chunk = 5, .row_bits = 8};
    assert_int_equal(ssm_new(ctx, &p, &m), PITH_OK);
    uint32_t random = 1;
    for (size_t i = 0; i < 6000; i++) {
        random = random * 1664525u + 1013904223u;
        /* one byte for ever, then noise, then every byte in turn */
        ssm_update(m, i < 2000 ? 0 : i < 4000 ? (uint8_t)(random >> 24) : (uint8_t)i);
        if (i == 1999) assert_true(bits_for(m, 0) < 0.02);
        if (i == 3999) assert_true(bits_for(m, 0) > 4);
    }
    for (int i = 0; i < 256; i++) assert_in_range(ssm_predict(m)[i], 1, (1 << 22) + 1);
    ssm_free(m);
    pith_ctx_free(ctx);
}

static void test_parameters(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    ssm *m;
    for (int i = 0; i < 8; i++) {
        ssm_params p = tiny;
        if (i == 0) p.width = 0;
        if (i == 1) p.width = 40;
        if (i == 2) p.width = 272;
        if (i == 3) p.layers = 5;
        if (i == 4) p.state = 0;
        if (i == 5) p.chunk = 0;
        if (i == 6) p.row_bits = 25;
        if (i == 7) p.chunk = UINT32_MAX;
        assert_int_equal(ssm_memory(&p), 0);
        assert_int_equal(ssm_new(ctx, &p, &m), PITH_E_ARGUMENT);
        assert_null(m);
        assert_string_not_equal(pith_error(ctx), "");
        pith_begin(ctx);
    }
    for (uint64_t n = 0; n < (uint64_t)1 << 40; n = n * 5 + 1) {
        ssm_params p = ssm_params_for(n);
        assert_in_range(ssm_memory(&p), 1, 80000000);
    }
    assert_int_equal(ssm_new(ctx, &tiny, &m), PITH_OK);
    assert_true(pith_memory_used(ctx) <= ssm_memory(&tiny) + 16 * 64);
    ssm_free(m);
    pith_ctx_free(ctx);
}

static void test_failing_allocation(void **state) {
    (void)state;
    for (int n = 1;; n++) {
        data_heap heap = {.fail_at = n};
        const pith_allocator allocator = data_heap_allocator(&heap);
        pith_ctx *ctx = pith_ctx_new(&allocator);
        if (!ctx) continue;
        ssm *m;
        pith_status status = ssm_new(ctx, &tiny, &m);
        assert_true(status == PITH_OK || status == PITH_E_MEMORY);
        assert_int_equal(m == NULL, status != PITH_OK);
        ssm_free(m);
        pith_ctx_free(ctx);
        assert_int_equal(atomic_load(&heap.held), 0);
        if (status == PITH_OK) break;
        assert_true(n < 100);
    }
    pith_ctx *ctx = pith_ctx_new(NULL);
    pith_ctx_set_memory(ctx, 100000);
    ssm *m;
    assert_int_equal(ssm_new(ctx, &tiny, &m), PITH_E_LIMIT);
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answer),       cmocka_unit_test(test_learns),
        cmocka_unit_test(test_gradients),          cmocka_unit_test(test_copy),
        cmocka_unit_test(test_any_bytes),          cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
