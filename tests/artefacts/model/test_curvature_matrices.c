/* Curvature of a small net; rows and columns out of it: what is gone is counted right, is whole rows and columns, and
 * costs less the more is known. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "artefacts/model/net.h"
#include "artefacts/model/curvature_matrices.h"
#include "math/dense/dense.h"

static void test_curvature(void **state) {
    (void)state;
    curvature *c, *again;
    const curvature_options o = {.grams = CURVATURE_INPUTS | CURVATURE_OUTPUTS};
    assert_int_equal(curvature_new(ctx, dense.net, dense.tokens, dense.n_windows, NET_CTX, &o, &c), PITH_OK);
    assert_int_equal(c->n, 2 * 7);
    assert_float_equal(c->nats, dense.nats, 1e-4);
    for (size_t i = 0; i < c->n; i++) {
        const curvature_matrix *m = &c->at[i];
        assert_int_equal(m->n_tokens, dense.n_windows * NET_CTX);
        for (size_t j = 0; j < m->n_in; j++) {
            float diagonal = m->a[DENSE_PACKED(j) + j];
            assert_float_equal(diagonal, m->h[j], 1e-4 * (1 + m->h[j]));
        }
        double trace = 0;
        for (size_t j = 0; j < m->n_out; j++) trace += (double)m->g[DENSE_PACKED(j) + j];
        assert_true(trace > 0 && isfinite(trace));
    }
    assert_non_null(curvature_find(c, "blk.1.ffn_down.weight", -1));
    assert_null(curvature_find(c, "blk.1.ffn_down.weight", 0));
    assert_null(curvature_find(c, "token_embd.weight", -1));
    const curvature_matrix *q = curvature_find(c, "blk.0.attn_q.weight", -1),
                           *k = curvature_find(c, "blk.0.attn_k.weight", -1);
    assert_memory_equal(q->a, k->a, DENSE_PACKED(q->n_in) * sizeof *q->a); /* they read the same */
    /* drawn tokens are other tokens, but as likely: gradients of the same size */
    const curvature_options drawn = {.grams = CURVATURE_OUTPUTS, .sample = true, .seed = 7};
    assert_int_equal(curvature_new(ctx, dense.net, dense.tokens, dense.n_windows, NET_CTX, &drawn, &again), PITH_OK);
    assert_null(again->at[0].a);
    assert_int_not_equal(memcmp(again->at[0].g, c->at[0].g, DENSE_PACKED(c->at[0].n_out) * sizeof(float)), 0);
    curvature_free(ctx, again);
    curvature_free(ctx, c);
}

/* Zeros of all matrices of the layers, and how many of them whole rows and columns make up. */
static void count_zeros(small_net *s, size_t n_experts, uint64_t *zeros, uint64_t *in_lines) {
    *zeros = *in_lines = 0;
    for (size_t t = 0; t < train_n_tensors(s->net); t++) {
        const char *name = train_tensor_name(s->net, t);
        size_t rows, cols, stack = strstr(name, "_exps") ? n_experts : 1;
        const float *w = train_net_tensor(s->net, name, &rows, &cols);
        if (strncmp(name, "blk.", 4) != 0 || rows == 1 || strstr(name, "norm") || strstr(name, "gate_inp")) continue;
        rows /= stack;
        for (size_t e = 0; e < stack; e++, w += rows * cols) {
            size_t full_rows = 0, full_cols = 0;
            for (size_t i = 0; i < rows; i++) {
                size_t here = 0;
                for (size_t j = 0; j < cols; j++) here += w[i * cols + j] == 0;
                *zeros += here;
                full_rows += here == cols;
            }
            for (size_t j = 0; j < cols; j++) {
                size_t here = 0;
                for (size_t i = 0; i < rows; i++) here += w[i * cols + j] == 0;
                full_cols += here == rows;
            }
            *in_lines += full_rows * cols + full_cols * rows - full_rows * full_cols;
        }
    }
}

static double nats_of(small_net *s) {
    double nats;
    assert_int_equal(train_pass(ctx, s->net, s->tokens, s->n_windows, NET_CTX, NULL, false, &nats), PITH_OK);
    return nats;
}

static double prune(small_net *s, size_t n_experts, const surgeon_options *o, surgeon_result *r) {
    uint64_t zeros, in_lines;
    train_net_restore(s->net, s->weights);
    assert_int_equal(surgeon_prune(ctx, s->net, s->tokens, s->n_windows, NET_CTX, o, NULL, r), PITH_OK);
    count_zeros(s, n_experts, &zeros, &in_lines);
    assert_int_equal(zeros, r->n_gone);
    assert_int_equal(in_lines, r->n_gone);
    double gone = (double)r->n_gone, want = o->share * (double)r->n_parameters;
    assert_true(gone <= want && gone > want - 48);
    return nats_of(s);
}

static void test_methods(void **state) {
    (void)state;
    double nats[N_SURGEON_METHODS], slowly;
    surgeon_result r[N_SURGEON_METHODS], again;
    for (int m = 0; m < N_SURGEON_METHODS; m++) {
        const surgeon_options o = {.method = (surgeon_method)m, .share = 0.3, .shots = 1};
        nats[m] = prune(&dense, 1, &o, &r[m]);
        assert_int_equal(r[m].n_parameters, 2 * (2 * 16 * 16 + 2 * 16 * 8 + 3 * 16 * 24));
        assert_true(nats[m] > dense.nats - 0.01);
    }
    assert_true(isnan(r[SURGEON_INPUTS].predicted) && r[SURGEON_FULL].predicted > 0);
    assert_true(nats[SURGEON_FULL] < nats[SURGEON_MAGNITUDE]);
    const surgeon_options shots = {.method = SURGEON_FULL, .share = 0.3, .shots = 3};
    slowly = prune(&dense, 1, &shots, &again);
    assert_true(slowly < nats[SURGEON_FULL]);
    assert_true(again.predicted < r[SURGEON_FULL].predicted);
    assert_true(again.n_rows + again.n_cols > 0);
}

static void test_mixture(void **state) {
    (void)state;
    surgeon_result r;
    const surgeon_options o = {.method = SURGEON_FULL, .share = 0.25, .shots = 2};
    assert_true(isfinite(prune(&mixture, 4, &o, &r)));
    assert_int_equal(r.n_parameters, 2 * 16 * 16 + 2 * 16 * 8 + 4 * 3 * 16 * 12);
}

static void test_refused(void **state) {
    (void)state;
    surgeon_result r;
    curvature *c;
    const surgeon_options much = {.method = SURGEON_FULL, .share = 1.5}, o = {.method = SURGEON_FULL, .share = 0.1};
    const curvature_options half = {.grams = CURVATURE_INPUTS};
    train_net_restore(dense.net, dense.weights);
    pith_begin(ctx);
    assert_int_equal(surgeon_prune(ctx, dense.net, dense.tokens, 1, NET_CTX, &much, NULL, &r), PITH_E_ARGUMENT);
    pith_begin(ctx);
    assert_int_equal(curvature_new(ctx, dense.net, dense.tokens, 1, NET_CTX, &half, &c), PITH_OK);
    assert_int_equal(surgeon_prune(ctx, dense.net, dense.tokens, 1, NET_CTX, &o, c, &r), PITH_E_ARGUMENT);
    curvature_free(ctx, c);
}

static int set_up(void **state) { return nets_begin(state, 2, 24); }

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_curvature), cmocka_unit_test(test_methods),
                                       cmocka_unit_test(test_mixture), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, set_up, nets_end);
}
