/* Scores of neurons in the space of the outputs against what their removal does: exactly where the loss is a quadratic
 * form, to the second order in a net. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "artefacts/model/evaluate.h"
#include "artefacts/model/curvature_neurons.h"
#include "artefacts/model/net.h"
#include "math/dense/dense.h"

enum { EMBD = NET_EMBD, FF = NET_EXPERT_FF, EXPERTS = NET_EXPERTS };
static uint64_t seed = 1;

static float noise(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (float)(seed >> 40) / 8388608.0f - 1;
}

/* The loss is the mean over tokens of 1/2 d^T M d, d what the output lacks: the score is exact. */
static void test_quadratic(void **state) {
    (void)state;
    enum { TOKENS = 10 };
    float a[TOKENS][FF], m[DENSE_PACKED(EMBD)] = {0}, h[FF] = {0};
    double scores[FF];
    heapr_list *list;
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t k = 0; k < FF; k++) {
            a[t][k] = noise();
            h[k] += a[t][k] * a[t][k] / TOKENS;
        }
    for (size_t s = 0; s < 20; s++) {
        float g[EMBD];
        for (size_t i = 0; i < EMBD; i++) g[i] = noise();
        for (size_t i = 0; i < EMBD; i++)
            for (size_t j = 0; j <= i; j++) m[DENSE_PACKED(i) + j] += g[i] * g[j] / 20;
    }
    curvature_matrix down = {
        .name = "blk.0.ffn_down.weight", .expert = -1, .n_in = FF, .n_out = EMBD, .n_tokens = TOKENS, .g = m, .h = h};
    const curvature c = {.at = &down, .n = 1, .n_tokens = TOKENS};
    const float *w = train_net_tensor(dense.net, down.name, NULL, NULL);
    assert_int_equal(heapr_list_new(ctx, dense.net, &list), PITH_OK);
    assert_int_equal(list->n, FF);
    assert_int_equal(heapr_scores(ctx, dense.net, list, &c, HEAPR_SUMS, scores), PITH_OK);
    for (size_t k = 0; k < FF; k++) {
        double loss = 0;
        for (size_t t = 0; t < TOKENS; t++)
            for (size_t i = 0; i < EMBD; i++)
                for (size_t j = 0; j < EMBD; j++) {
                    double d = (double)(a[t][k] * w[i * FF + k]) * (double)(a[t][k] * w[j * FF + k]);
                    loss += 0.5 * d * (double)m[DENSE_PACKED(PITH_MAX(i, j)) + PITH_MIN(i, j)] / TOKENS;
                }
        assert_true(fabs(scores[k] / loss - 1) < 1e-3);
    }
    heapr_list_free(ctx, list);
}

/* The divergence that the removal of a neuron makes, by finite difference: the weights that leave it are shrunk by a
 * small part e, and the divergence is e^2 times the second-order term. Drawn tokens make g g^T the Fisher information;
 * the score takes activations and gradients for independent. */
static void test_second_order(void **state) {
    (void)state;
    const double e = 0.25;
    heapr_list *list;
    curvature *c;
    lm_model *base, *other;
    model_ruler *ruler;
    model_score score;
    size_t size;
    double scores[FF], said = 0, done = 0;
    const char *text = ruler_prose(&size);
    const curvature_options o = {.grams = CURVATURE_OUTPUTS, .sample = true, .seed = 3};
    const model_ruler_options r = {.n_ctx = NET_CTX};
    assert_int_equal(heapr_list_new(ctx, dense.net, &list), PITH_OK);
    assert_int_equal(curvature_new(ctx, dense.net, dense.tokens, dense.n_windows, NET_CTX, &o, &c), PITH_OK);
    assert_int_equal(heapr_scores(ctx, dense.net, list, c, HEAPR_SUMS, scores), PITH_OK);
    assert_int_equal(train_net_model(ctx, dense.net, TENSOR_F32, &base), PITH_OK);
    assert_int_equal(model_ruler_new(ctx, base, text, 2048, &r, &ruler), PITH_OK);
    assert_true(model_ruler_forget_base(ruler));
    train_model_close(ctx, base);
    float *w = train_net_tensor(dense.net, "blk.0.ffn_down.weight", NULL, NULL);
    for (size_t k = 0; k < FF; k += 2) {
        for (size_t i = 0; i < EMBD; i++) w[i * FF + k] *= (float)(1 - e);
        assert_int_equal(train_net_model(ctx, dense.net, TENSOR_F32, &other), PITH_OK);
        assert_int_equal(model_ruler_measure(ctx, ruler, other, &score), PITH_OK);
        train_model_close(ctx, other);
        train_net_restore(dense.net, dense.weights);
        said += scores[k];
        done += score.c.kl.mean / (e * e);
    }
    assert_true(done > 0 && said / done > 0.6 && said / done < 1.6);
    model_ruler_free(ctx, ruler);
    curvature_free(ctx, c);
    heapr_list_free(ctx, list);
}

static void test_mixture(void **state) {
    (void)state;
    heapr_list *list;
    curvature *c;
    double scores[EXPERTS * FF], means[EXPERTS * FF];
    uint8_t gone[EXPERTS * FF];
    assert_int_equal(heapr_list_new(ctx, mixture.net, &list), PITH_OK);
    assert_int_equal(list->n, EXPERTS * FF);
    assert_int_equal(list->n_groups, EXPERTS);
    assert_int_equal(heapr_curvature(ctx, mixture.net, mixture.tokens, mixture.n_windows, NET_CTX, &c), PITH_OK);
    assert_int_equal(heapr_scores(ctx, mixture.net, list, c, HEAPR_SUMS, scores), PITH_OK);
    assert_int_equal(heapr_scores(ctx, mixture.net, list, c, HEAPR_MEANS, means), PITH_OK);
    uint64_t all = 0;
    for (int e = 0; e < EXPERTS; e++) {
        const curvature_matrix *m = curvature_find(c, "blk.0.ffn_down_exps.weight", e);
        double share = m ? (double)m->n_tokens / (double)c->n_tokens : 0;
        all += m ? m->n_tokens : 0;
        for (size_t k = 0; k < FF && m; k++) {
            double sum = scores[(size_t)e * FF + k], mean = means[(size_t)e * FF + k];
            assert_true(fabs(sum - mean * share) <= 1e-6 * mean);
        }
    }
    assert_int_equal(all, 2 * c->n_tokens); /* each goes to two */
    /* As many of each, its own lowest. */
    assert_int_equal(heapr_choose_each(ctx, list, scores, 3, gone), PITH_OK);
    for (size_t e = 0; e < EXPERTS; e++) {
        size_t n = 0;
        double most_gone = -2, least_left = INFINITY;
        for (size_t k = e * FF; k < (e + 1) * FF; k++) {
            n += gone[k];
            if (gone[k])
                most_gone = fmax(most_gone, scores[k]);
            else
                least_left = fmin(least_left, scores[k]);
        }
        assert_int_equal(n, 3);
        assert_true(most_gone <= least_left);
    }
    assert_int_equal(heapr_choose_each(ctx, list, scores, FF + 1, gone), PITH_E_ARGUMENT);
    pith_begin(ctx);
    /* Whole experts go, those that get least first. */
    assert_int_equal(heapr_scores(ctx, mixture.net, list, c, HEAPR_FREQUENCY, scores), PITH_OK);
    assert_int_equal(heapr_choose(ctx, list, scores, FF, gone), PITH_OK);
    size_t expert = SIZE_MAX;
    for (size_t i = 0; i < EXPERTS * FF; i++)
        if (gone[i]) {
            if (expert == SIZE_MAX) expert = i / FF;
            assert_int_equal(i / FF, expert);
        }
    assert_int_not_equal(expert, SIZE_MAX);
    for (size_t e = 0; e < EXPERTS; e++) assert_true(scores[expert * FF] <= scores[e * FF]);
    heapr_remove(mixture.net, list, gone);
    size_t rows, cols, zeros = 0;
    const float *up = train_net_tensor(mixture.net, "blk.0.ffn_up_exps.weight", &rows, &cols),
                *down = train_net_tensor(mixture.net, "blk.0.ffn_down_exps.weight", NULL, NULL);
    for (size_t i = 0; i < rows * cols; i++) {
        bool inside = i / (FF * EMBD) == expert;
        zeros += up[i] == 0;
        assert_true((up[i] == 0) == inside && (down[i] == 0) == inside);
    }
    assert_int_equal(zeros, FF * EMBD);
    train_net_restore(mixture.net, mixture.weights);
    scores[5] = NAN;
    assert_int_equal(heapr_choose(ctx, list, scores, 3, gone), PITH_E_ARGUMENT);
    pith_begin(ctx);
    assert_int_equal(heapr_choose(ctx, list, means, EXPERTS * FF + 1, gone), PITH_E_ARGUMENT);
    pith_begin(ctx);
    pith_begin(ctx);
    assert_int_equal(heapr_scores(ctx, mixture.net, list, NULL, HEAPR_WANDA, scores), PITH_E_ARGUMENT);
    curvature_free(ctx, c);
    heapr_list_free(ctx, list);
}

static int set_up(void **state) { return nets_begin(state, 1, FF); }

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_quadratic), cmocka_unit_test(test_second_order),
                                       cmocka_unit_test(test_mixture)};
    return cmocka_run_group_tests(tests, set_up, nets_end);
}
