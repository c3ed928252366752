/* kernels/learn: every operation's gradient against central differences in double, at odd shapes; float against double.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "kernels/learn/double_ops.h"
#include "support/session.h"

static uint64_t seed;

static double uniform(void) { /* in [-1, 1) */
    seed += 0x9e3779b97f4a7c15u;
    return (double)(pith_hash64(&seed, sizeof seed) >> 11) * 0x1p-52 - 1;
}

enum { VOCAB = 7, MOST_ROWS = 320 };

/* A net that ends in a cross entropy, and a batch for it. */
typedef struct net {
    learn_graph *g;
    size_t rows, segment, n;
    double *w, *gradient;
    uint32_t tokens[MOST_ROWS], targets[MOST_ROWS];
    double *teacher, mix, temperature; /* NULL: none */
} net;

static void net_new(net *t, size_t windows, size_t segment) {
    *t = (net){.rows = windows * segment, .segment = segment};
    assert_true(t->rows <= MOST_ROWS);
    seed = 77;
    assert_int_equal(learn_graph_new(ctx, &t->g), PITH_OK);
    for (size_t i = 0; i < t->rows; i++) {
        t->tokens[i] = (uint32_t)((uniform() + 1) / 2 * VOCAB);
        t->targets[i] = i % 5 == 3 ? LEARN_NO_TARGET : (uint32_t)((uniform() + 1) / 2 * VOCAB);
    }
}

static learn_id input(net *t, size_t width) {
    return learn_embed(t->g, learn_param_add(t->g, "table", VOCAB, width, 1));
}

/* Logits on x, and random weights for all. */
static void net_end(net *t, learn_id x, size_t width) {
    learn_cross_entropy(t->g, learn_linear(t->g, x, learn_param_add(t->g, "end", VOCAB, width, 1), LEARN_NONE));
    assert_int_equal(learn_graph_status(t->g), PITH_OK);
    t->n = learn_n_weights(t->g);
    t->w = pith_zalloc(ctx, t->n * sizeof *t->w);
    t->gradient = pith_zalloc(ctx, t->n * sizeof *t->gradient);
    assert_true(t->w && t->gradient);
    for (size_t i = 0; i < learn_n_params(t->g); i++) {
        const learn_param *p = learn_param_at(t->g, (learn_id)i);
        for (size_t k = 0; k < p->rows * p->cols; k++)
            t->w[p->at + k] = 1.5 * uniform() / (p->rows == 1 ? 2 : sqrt((double)p->cols)) + (p->rows == 1);
    }
}

static void net_free(net *t) {
    pith_free(ctx, t->w);
    pith_free(ctx, t->gradient);
    learn_graph_free(t->g);
}

static learn_batch batch_of(const net *t) {
    return (learn_batch){.tokens = t->tokens,
                         .targets = t->targets,
                         .rows = t->rows,
                         .seed = 1,
                         .teacher = t->teacher,
                         .mix = t->mix,
                         .temperature = t->temperature};
}

static double loss_of(learn_run *r, const net *t) {
    learn_batch b = batch_of(t);
    double nats;
    size_t n;
    learn_forward(r, t->w, &b, &nats, &n);
    assert_int_equal(n, t->rows - (t->rows + 1) / 5);
    return nats;
}

static void gradient_of(const net *t, learn_mode mode, double *gradient) {
    learn_run *r;
    memset(gradient, 0, t->n * sizeof *gradient);
    assert_int_equal(learn_run_new(ctx, t->g, &learn_double, t->rows, t->segment, mode, &r), PITH_OK);
    loss_of(r, t);
    learn_backward(r, t->w, gradient);
    learn_run_free(r);
}

/* Along directions within each parameter. */
static void check_directions(net *t) {
    learn_run *r;
    assert_int_equal(learn_run_new(ctx, t->g, &learn_double, t->rows, t->segment, LEARN_FORWARD, &r), PITH_OK);
    for (size_t i = 0; i < learn_n_params(t->g); i++) {
        const learn_param *p = learn_param_at(t->g, (learn_id)i);
        size_t n = p->rows * p->cols;
        double *w = t->w + p->at, *was = pith_alloc(ctx, 2 * n * sizeof *was), *way = was + n, h = 1e-5;
        assert_non_null(was);
        memcpy(was, w, n * sizeof *w);
        for (unsigned round = 0; round < 3; round++) {
            double slope = 0, size = 0;
            for (size_t k = 0; k < n; k++) {
                way[k] = uniform();
                slope += way[k] * t->gradient[p->at + k];
                size += fabs(way[k] * t->gradient[p->at + k]);
            }
            for (size_t k = 0; k < n; k++) w[k] = was[k] + h * way[k];
            double up = loss_of(r, t);
            for (size_t k = 0; k < n; k++) w[k] = was[k] - h * way[k];
            double down = loss_of(r, t), found = (up - down) / (2 * h);
            memcpy(w, was, n * sizeof *w);
            if (fabs(found - slope) > 1e-6 * (size + 1e-2))
                fail_msg("%s: difference %.12g, gradient %.12g", p->name, found, slope);
        }
        pith_free(ctx, was);
    }
    learn_run_free(r);
}

/* The same with less and more memory, and in float. */
static void check_others(net *t) {
    double *other = pith_alloc(ctx, t->n * sizeof *other);
    float *w = pith_alloc(ctx, 2 * t->n * sizeof *w), *gradient = w + t->n;
    assert_true(other && w);
    gradient_of(t, LEARN_KEEP, other);
    assert_memory_equal(other, t->gradient, t->n * sizeof *other);
    for (size_t i = 0; i < t->n; i++) {
        w[i] = (float)t->w[i];
        gradient[i] = 0;
    }
    learn_run *r;
    learn_batch b = batch_of(t);
    float teacher[MOST_ROWS * VOCAB];
    double nats, size = 0;
    size_t n;
    if (t->teacher) {
        for (size_t i = 0; i < t->rows * VOCAB; i++) teacher[i] = (float)t->teacher[i];
        b.teacher = teacher;
    }
    assert_int_equal(learn_run_new(ctx, t->g, &learn_float, t->rows, t->segment, LEARN_BACKWARD, &r), PITH_OK);
    learn_forward(r, w, &b, &nats, &n);
    learn_backward(r, w, gradient);
    learn_run_free(r);
    for (size_t i = 0; i < t->n; i++) size = PITH_MAX(size, fabs(t->gradient[i]));
    for (size_t i = 0; i < t->n; i++)
        if (fabs(gradient[i] - t->gradient[i]) > 1e-4 * size)
            fail_msg("float gradient %zu is %g, in double %g, the largest %g", i, (double)gradient[i], t->gradient[i],
                     size);
    pith_free(ctx, other);
    pith_free(ctx, w);
}

/* Sum of g x^T over what learn_linears shows is the gradient of every matrix. */
typedef struct seen {
    double *gradient;
    size_t calls;
} seen;

static void see(void *opaque, const learn_param *w, size_t part, const void *x, const void *g, size_t n, size_t n_in,
                size_t n_out) {
    seen *s = opaque;
    assert_int_equal(w->cols, n_in);
    assert_int_equal(w->rows, n_out * w->parts);
    assert_true(n > 0 && part < w->parts);
    gemm(true, false, n_out, n_in, n, 1, g, n_out, x, n_in, 1, s->gradient + w->at + part * n_out * n_in, n_in);
    s->calls++;
}

static void check_linears(net *t) {
    learn_run *r;
    seen s = {pith_zalloc(ctx, t->n * sizeof(double)), 0};
    assert_non_null(s.gradient);
    assert_int_equal(learn_run_new(ctx, t->g, &learn_double, t->rows, t->segment, LEARN_KEEP, &r), PITH_OK);
    loss_of(r, t);
    learn_backward(r, t->w, NULL);
    learn_linears(r, see, &s);
    assert_true(s.calls > 0);
    for (size_t i = 0; i < learn_n_params(t->g); i++) {
        const learn_param *p = learn_param_at(t->g, (learn_id)i);
        if (p->rows == 1 || strcmp(p->name, "table") == 0 || strcmp(p->name, "left") == 0) continue;
        for (size_t k = p->at; k < p->at + p->rows * p->cols; k++)
            assert_true(fabs(s.gradient[k] - t->gradient[k]) < 1e-9 * (1 + fabs(t->gradient[k])));
    }
    learn_run_free(r);
    pith_free(ctx, s.gradient);
}

static void check(net *t) {
    gradient_of(t, LEARN_BACKWARD, t->gradient);
    check_directions(t);
    check_others(t);
    check_linears(t);
    net_free(t);
}

/* ---- one operation each ---- */

static void embed_and_linear(void **state) {
    (void)state;
    net t;
    for (size_t segment = 1; segment <= 11; segment += 5) {
        net_new(&t, 3, segment);
        learn_id x = input(&t, 5), w = learn_param_add(t.g, "w", 9, 5, 1), b = learn_param_add(t.g, "b", 1, 9, 1);
        net_end(&t, learn_linear(t.g, x, w, b), 9);
        check(&t);
    }
    /* one matrix for both ends */
    net_new(&t, 2, 6);
    learn_id table = learn_param_add(t.g, "both", VOCAB, 6, 1), x = learn_embed(t.g, table);
    learn_cross_entropy(t.g, learn_linear(t.g, x, table, LEARN_NONE));
    learn_graph *g = t.g;
    t.n = learn_n_weights(g);
    t.w = pith_zalloc(ctx, t.n * sizeof *t.w);
    t.gradient = pith_zalloc(ctx, t.n * sizeof *t.gradient);
    for (size_t i = 0; i < t.n; i++) t.w[i] = uniform();
    gradient_of(&t, LEARN_BACKWARD, t.gradient);
    check_directions(&t);
    net_free(&t);
}

static void norm(void **state) {
    (void)state;
    for (size_t width = 1; width <= 37; width += 18) {
        net t;
        net_new(&t, 2, 7);
        learn_id x = input(&t, width), h = learn_norm(t.g, x, learn_param_add(t.g, "norm", 1, width, 1), 1e-5);
        net_end(&t, learn_add(t.g, h, x), width); /* x has two readers */
        check(&t);
    }
}

static void rope(void **state) {
    (void)state;
    static const double turns[] = {1.0, 0.31, 0.1};
    for (size_t n_turns = 1; n_turns <= 3; n_turns++)
        for (unsigned halves = 0; halves < 2; halves++) {
            net t;
            net_new(&t, 2, 9);
            learn_id x = input(&t, 14), y = learn_rope(t.g, x, 7, turns, n_turns, halves);
            net_end(&t, learn_add(t.g, x, y), 14);
            check(&t);
        }
}

static void attention_case(size_t n_heads, size_t n_kv, size_t head, size_t windows, size_t segment) {
    net t;
    net_new(&t, windows, segment);
    learn_id x = input(&t, 6), q = learn_linear(t.g, x, learn_param_add(t.g, "q", n_heads * head, 6, 1), LEARN_NONE),
             k = learn_linear(t.g, x, learn_param_add(t.g, "k", n_kv * head, 6, 1), LEARN_NONE),
             v = learn_linear(t.g, x, learn_param_add(t.g, "v", n_kv * head, 6, 1), LEARN_NONE);
    net_end(&t, learn_attention(t.g, q, k, v, head), n_heads * head);
    check(&t);
}

static void attention(void **state) {
    (void)state;
    attention_case(1, 1, 3, 3, 1);
    attention_case(3, 3, 2, 2, 7);
    attention_case(4, 2, 3, 2, 13);
    attention_case(6, 1, 1, 1, 45); /* tiles of 21 rows */
    attention_case(2, 1, 2, 2, 70); /* of 64 */
}

static void gate(void **state) {
    (void)state;
    net t;
    net_new(&t, 2, 5);
    learn_id x = input(&t, 6), a = learn_linear(t.g, x, learn_param_add(t.g, "a", 11, 6, 1), LEARN_NONE),
             b = learn_linear(t.g, x, learn_param_add(t.g, "b", 11, 6, 1), LEARN_NONE);
    net_end(&t, learn_gate(t.g, a, b), 11);
    check(&t);
}

static void experts_case(size_t n_experts, size_t n_used, size_t rows) {
    net t;
    net_new(&t, 1, rows);
    size_t width = 5, ff = 3;
    learn_id x = input(&t, width),
             scores = learn_linear(t.g, x, learn_param_add(t.g, "router", n_experts, width, 1), LEARN_NONE),
             a = learn_param_add(t.g, "gate", n_experts * ff, width, n_experts),
             b = learn_param_add(t.g, "up", n_experts * ff, width, n_experts),
             d = learn_param_add(t.g, "down", n_experts * width, ff, n_experts);
    net_end(&t, learn_add(t.g, learn_experts(t.g, x, scores, a, b, d, n_used), x), width);
    check(&t);
}

static void experts(void **state) {
    (void)state;
    experts_case(4, 2, 13);
    experts_case(3, 3, 6);
    experts_case(5, 1, 7);
    experts_case(40, 2, 4); /* most get nothing */
}

/* Scores that a mixture reads too; vectors at what it reads, or at what it gives. */
static void modulate_case(size_t n_experts, size_t n_kept, size_t n_used, size_t rows, bool output) {
    net t;
    net_new(&t, 1, rows);
    size_t width = 5, ff = 3;
    learn_id x = input(&t, width),
             scores = learn_linear(t.g, x, learn_param_add(t.g, "router", n_experts, width, 1), LEARN_NONE),
             left = learn_param_add(t.g, "left", n_experts, width, 1),
             a = learn_param_add(t.g, "gate", n_experts * ff, width, n_experts),
             b = learn_param_add(t.g, "up", n_experts * ff, width, n_experts),
             d = learn_param_add(t.g, "down", n_experts * width, ff, n_experts);
    learn_id y = output ? x : learn_modulate(t.g, x, scores, left, n_kept, n_used);
    y = learn_experts(t.g, y, scores, a, b, d, PITH_MAX(n_kept, (size_t)1));
    if (output) y = learn_modulate(t.g, y, scores, left, n_kept, n_used);
    net_end(&t, learn_add(t.g, y, x), width);
    check(&t);
}

static void modulate(void **state) {
    (void)state;
    modulate_case(4, 1, 2, 13, false);
    modulate_case(4, 1, 2, 13, true);
    modulate_case(5, 2, 5, 7, true);
    modulate_case(3, 0, 1, 6, false);
    modulate_case(40, 1, 4, 4, true); /* most vectors are not asked for */
}

/* Worked out by hand: scores 0 and log 3 weigh 3/4 and 1/4; the first stays an expert. */
static void modulate_by_hand(void **state) {
    (void)state;
    net t;
    learn_run *r;
    learn_batch b;
    double nats;
    size_t n;
    net_new(&t, 1, 1);
    learn_id x = input(&t, 2), scores = learn_linear(t.g, x, learn_param_add(t.g, "router", 3, 2, 1), LEARN_NONE),
             y = learn_modulate(t.g, x, scores, learn_param_add(t.g, "left", 3, 2, 1), 1, 2);
    net_end(&t, y, 2);
    t.tokens[0] = t.targets[0] = 0;
    memcpy(t.w + learn_param_find(t.g, "table")->at, (double[]){2, -1}, 2 * sizeof(double));
    memcpy(t.w + learn_param_find(t.g, "router")->at, (double[]){0, 0, 0.5 * log(3), 0, -9, 0}, 6 * sizeof(double));
    memcpy(t.w + learn_param_find(t.g, "left")->at, (double[]){8, -4, 77, 77, 55, 55}, 6 * sizeof(double));
    assert_int_equal(learn_run_new(ctx, t.g, &learn_double, 1, 1, LEARN_BACKWARD, &r), PITH_OK);
    b = batch_of(&t);
    learn_forward(r, t.w, &b, &nats, &n);
    /* (2, -1) * (1 + (8, -4) / 4) = (6, 0); the logits' row 0 reads it */
    const double *end = t.w + learn_param_find(t.g, "end")->at;
    double z = 0;
    for (size_t i = 0; i < VOCAB; i++) z += exp(6 * end[2 * i]);
    assert_true(fabs(nats - (log(z) - 6 * end[0])) < 1e-12);
    learn_run_free(r);
    net_free(&t);
}

/* ---- a teacher ---- */

static double by_hand(const net *t, const double *logits, size_t row) {
    double sum[3] = {0, 0, 0}, kl = 0, warm = t->temperature;
    const double *taught = t->teacher + row * VOCAB;
    for (size_t v = 0; v < VOCAB; v++) {
        sum[0] += exp(logits[v]);
        sum[1] += exp(logits[v] / warm);
        sum[2] += exp(taught[v] / warm);
    }
    for (size_t v = 0; v < VOCAB; v++) {
        double q = exp(taught[v] / warm) / sum[2];
        kl += q * log(q / (exp(logits[v] / warm) / sum[1]));
    }
    return (1 - t->mix) * (log(sum[0]) - logits[t->targets[row]]) + t->mix * warm * warm * kl;
}

static void teacher(void **state) {
    (void)state;
    static const double mixes[] = {0.3, 1, 0}, temperatures[] = {1, 2.5, 0.5};
    enum { ROWS = 14 };
    double logits[ROWS * VOCAB];
    for (unsigned i = 0; i < 9; i++) {
        net t;
        net_new(&t, 2, 7);
        t.teacher = logits, t.mix = mixes[i % 3], t.temperature = temperatures[i / 3];
        for (size_t k = 0; k < ROWS * VOCAB; k++) logits[k] = 3 * uniform();
        learn_id x = input(&t, 5);
        net_end(&t, x, 5);
        learn_run *r;
        assert_int_equal(learn_run_new(ctx, t.g, &learn_double, ROWS, 7, LEARN_FORWARD, &r), PITH_OK);
        double found = loss_of(r, &t), expected = 0;
        const double *w = t.w + learn_param_find(t.g, "end")->at;
        for (size_t row = 0; row < ROWS; row++) {
            double own[VOCAB];
            for (size_t v = 0; v < VOCAB; v++) own[v] = v_dot(t.w + t.tokens[row] * 5, w + v * 5, 5);
            if (t.targets[row] != LEARN_NO_TARGET) expected += by_hand(&t, own, row);
        }
        learn_run_free(r);
        assert_true(fabs(found - expected) < 1e-9);
        check(&t);
    }
}

/* ---- a whole one ---- */

static void decoder(net *t, size_t windows, size_t segment) {
    static const double turns[] = {1.0, 0.1};
    net_new(t, windows, segment);
    learn_graph *g = t->g;
    learn_id x = input(t, 8);
    for (unsigned l = 0; l < 2; l++) {
        learn_id h = learn_norm(g, x, learn_param_add(g, l ? "n1" : "n0", 1, 8, 1), 1e-5),
                 q = learn_linear(g, h, learn_param_add(g, l ? "q1" : "q0", 8, 8, 1), LEARN_NONE),
                 k = learn_linear(g, h, learn_param_add(g, l ? "k1" : "k0", 4, 8, 1), LEARN_NONE),
                 v = learn_linear(g, h, learn_param_add(g, l ? "v1" : "v0", 4, 8, 1), LEARN_NONE);
        q = learn_rope(g, q, 4, turns, 2, l);
        k = learn_rope(g, k, 4, turns, 2, l);
        h = learn_linear(g, learn_attention(g, q, k, v, 4), learn_param_add(g, l ? "o1" : "o0", 8, 8, 1), LEARN_NONE);
        x = learn_add(g, x, h);
        h = learn_norm(g, x, learn_param_add(g, l ? "m1" : "m0", 1, 8, 1), 1e-5);
        h = learn_gate(g, learn_linear(g, h, learn_param_add(g, l ? "g1" : "g0", 12, 8, 1), LEARN_NONE),
                       learn_linear(g, h, learn_param_add(g, l ? "u1" : "u0", 12, 8, 1), LEARN_NONE));
        x = learn_add(g, x, learn_linear(g, h, learn_param_add(g, l ? "d1" : "d0", 8, 12, 1), LEARN_NONE));
    }
    net_end(t, x, 8);
}

static void whole(void **state) {
    (void)state;
    net t;
    decoder(&t, 2, 10);
    check(&t);
}

/* What is frozen gets no gradient, the rest the same as before; what is below is not walked through. */
static void frozen(void **state) {
    (void)state;
    net t;
    decoder(&t, 2, 6);
    double *all = pith_alloc(ctx, t.n * sizeof *all);
    assert_non_null(all);
    gradient_of(&t, LEARN_BACKWARD, all);
    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < learn_n_params(t.g); i++) {
            learn_param *p = learn_param_at(t.g, (learn_id)i);
            p->frozen = round ? strcmp(p->name, "k1") != 0 : i % 2;
        }
        gradient_of(&t, round ? LEARN_KEEP : LEARN_BACKWARD, t.gradient);
        for (size_t i = 0; i < learn_n_params(t.g); i++) {
            const learn_param *p = learn_param_at(t.g, (learn_id)i);
            for (size_t k = p->at; k < p->at + p->rows * p->cols; k++)
                assert_true(t.gradient[k] == (p->frozen ? 0 : all[k]));
        }
    }
    pith_free(ctx, all);
    net_free(&t);
}

/* A run for many rows gives the same on few. */
static void fewer_rows(void **state) {
    (void)state;
    net t;
    learn_run *r;
    decoder(&t, 1, 6);
    gradient_of(&t, LEARN_BACKWARD, t.gradient);
    double *other = pith_zalloc(ctx, t.n * sizeof *other);
    assert_int_equal(learn_run_new(ctx, t.g, &learn_double, 5 * 6, 6, LEARN_BACKWARD, &r), PITH_OK);
    loss_of(r, &t);
    learn_backward(r, t.w, other);
    learn_run_free(r);
    assert_memory_equal(other, t.gradient, t.n * sizeof *other);
    pith_free(ctx, other);
    net_free(&t);
}

/* Plans for gradients alone take less than those that keep, those for the loss alone less again. */
static void memory(void **state) {
    (void)state;
    net t;
    size_t bytes[3];
    decoder(&t, 2, 10);
    for (unsigned mode = LEARN_FORWARD; mode <= LEARN_KEEP; mode++) {
        learn_run *r;
        assert_int_equal(learn_run_new(ctx, t.g, &learn_float, t.rows, t.segment, (learn_mode)mode, &r), PITH_OK);
        bytes[mode] = learn_run_bytes(r);
        learn_run_free(r);
    }
    assert_true(bytes[LEARN_FORWARD] < bytes[LEARN_BACKWARD] && bytes[LEARN_BACKWARD] < bytes[LEARN_KEEP]);
    net_free(&t);
}

/* Drawn targets follow the softmax. */
static void sampling(void **state) {
    (void)state;
    enum { ROWS = 300, ROUNDS = 60 };
    net t;
    net_new(&t, ROWS, 1);
    net_end(&t, input(&t, 4), 4);
    learn_run *r;
    double expected = 0, found = 0;
    assert_int_equal(learn_run_new(ctx, t.g, &learn_double, ROWS, 1, LEARN_FORWARD, &r), PITH_OK);
    for (uint32_t token = 0; token < VOCAB; token++) { /* the entropy at this input, by hand and as drawn */
        double z = 0, h = 0, p[VOCAB], nats;
        size_t n;
        const double *e = t.w + token * 4, *w = t.w + learn_param_find(t.g, "end")->at;
        for (size_t v = 0; v < VOCAB; v++) z += p[v] = exp(v_dot(e, w + v * 4, 4));
        for (size_t v = 0; v < VOCAB; v++) h -= p[v] / z * log(p[v] / z);
        for (size_t i = 0; i < ROWS; i++) t.tokens[i] = token, t.targets[i] = LEARN_SAMPLE;
        for (uint64_t round = 0; round < ROUNDS; round++) {
            learn_batch b = {.tokens = t.tokens, .targets = t.targets, .rows = ROWS, .seed = 5, .first_row = round * ROWS};
            learn_forward(r, t.w, &b, &nats, &n);
            assert_int_equal(n, ROWS);
            found += nats / (ROWS * ROUNDS * VOCAB);
        }
        expected += h / VOCAB;
    }
    assert_true(fabs(found - expected) < 0.01);
    learn_run_free(r);
    net_free(&t);
}

/* Sizes that do not fit are refused with a message. */
static void refusals(void **state) {
    (void)state;
    learn_graph *g;
    learn_run *r;
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(learn_graph_new(ctx, &g), PITH_OK);
        learn_id table = learn_param_add(g, "t", 4, 6, 1), x = learn_embed(g, table);
        double one = 1;
        if (i == 0) learn_linear(g, x, learn_param_add(g, "w", 3, 5, 1), LEARN_NONE);
        if (i == 1) learn_norm(g, x, table, 0);
        if (i == 2) learn_attention(g, x, x, x, 4);
        if (i == 3) learn_rope(g, x, 6, &one, 4, false);
        if (i == 4) learn_param_add(g, "n", SIZE_MAX / 2, 3, 1);
        if (i == 5) learn_linear(g, x, learn_param_add(g, "w", 3, 6, 1), LEARN_NONE);
        if (i >= 6) {
            learn_id scores = learn_linear(g, x, learn_param_add(g, "w", 3, 6, 1), LEARN_NONE);
            learn_modulate(g, x, scores, learn_param_add(g, "v", i == 6 ? 3 : 4, 6, 1), i == 6 ? 2 : 1, 2);
        }
        assert_int_equal(learn_graph_status(g), i == 5 ? PITH_OK : PITH_E_ARGUMENT);
        if (i == 5) assert_int_equal(learn_run_new(ctx, g, &learn_float, 10, 3, LEARN_FORWARD, &r), PITH_E_ARGUMENT);
        learn_graph_free(g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embed_and_linear),
        cmocka_unit_test(norm),
        cmocka_unit_test(rope),
        cmocka_unit_test(attention),
        cmocka_unit_test(gate),
        cmocka_unit_test(experts),
        cmocka_unit_test(modulate),
        cmocka_unit_test(modulate_by_hand),

        cmocka_unit_test(teacher),
        cmocka_unit_test(whole),
        cmocka_unit_test(frozen),
        cmocka_unit_test(fewer_rows),
        cmocka_unit_test(memory),
        cmocka_unit_test(sampling),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
