/* AdamW against its definition in double (Loshchilov, Hutter: Decoupled Weight Decay Regularization, 2019, algorithm
 * 2): m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, w -= rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon)
 * + rate decay w. Decay is not of values of one row, frozen parameters stay, and threads change nothing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/learn/learn.h"
#include "support/session.h"

static uint64_t seed;

static double uniform(void) { /* in [-1, 1) */
    seed += 0x9e3779b97f4a7c15u;
    return (double)(pith_hash64(&seed, sizeof seed) >> 11) * 0x1p-52 - 1;
}

/* Two matrices, one of them longer than a job's part of the flat block, values, and a frozen matrix between them. */
enum { MATRIX, VALUES, FROZEN, LAST, N_PARAMS };

typedef struct problem {
    learn_graph *g;
    size_t n;
    float *w, *gradient, *m, *v;
    double *ref_w, *ref_m, *ref_v;
} problem;

static void problem_new(problem *p, size_t rows) {
    assert_int_equal(learn_graph_new(ctx, &p->g), PITH_OK);
    assert_int_equal(learn_param_add(p->g, "matrix", rows, 301, 1), MATRIX);
    assert_int_equal(learn_param_add(p->g, "values", 1, 77, 1), VALUES);
    assert_int_equal(learn_param_add(p->g, "frozen", 13, 9, 1), FROZEN);
    assert_int_equal(learn_param_add(p->g, "last", 6, 31, 3), LAST);
    learn_param_at(p->g, FROZEN)->frozen = true;
    p->n = learn_n_weights(p->g);
    p->w = pith_zalloc(ctx, 4 * p->n * sizeof *p->w);
    p->ref_w = pith_zalloc(ctx, 3 * p->n * sizeof *p->ref_w);
    assert_true(p->w && p->ref_w);
    p->gradient = p->w + p->n, p->m = p->w + 2 * p->n, p->v = p->w + 3 * p->n;
    p->ref_m = p->ref_w + p->n, p->ref_v = p->ref_w + 2 * p->n;
    for (size_t i = 0; i < p->n; i++) p->ref_w[i] = p->w[i] = (float)uniform();
}

static void problem_free(problem *p) {
    pith_free(ctx, p->w);
    pith_free(ctx, p->ref_w);
    learn_graph_free(p->g);
}

/* Of very different sizes, so that epsilon counts for some; every third element gets none in two steps of three, and
 * the last element never. */
static void draw_gradient(problem *p, uint64_t t) {
    static const float size[] = {1, 1e-2f, 1e-4f, 1e-7f, 30};
    for (size_t i = 0; i < p->n; i++) {
        bool none = (i % 3 == 0 && t % 3 != 0) || i + 1 == p->n;
        p->gradient[i] = none ? 0 : (float)(uniform() + 0.3) * size[i % PITH_COUNT(size)];
    }
}

/* The norm of the gradient. */
static double reference_step(problem *p, const learn_adamw *o, uint64_t t) {
    double squares = 0;
    for (int pass = 0; pass < 2; pass++) {
        double norm = sqrt(squares), scale = o->clip > 0 && norm > o->clip ? o->clip / norm : 1;
        for (learn_id k = 0; k < N_PARAMS; k++) {
            const learn_param *q = learn_param_at(p->g, k);
            for (size_t i = q->at; i < q->at + q->rows * q->cols && !q->frozen; i++) {
                double g = scale * (double)p->gradient[i], w = p->ref_w[i];
                if (pass == 0) {
                    squares += (double)p->gradient[i] * (double)p->gradient[i];
                    continue;
                }
                p->ref_m[i] = o->beta1 * p->ref_m[i] + (1 - o->beta1) * g;
                p->ref_v[i] = o->beta2 * p->ref_v[i] + (1 - o->beta2) * g * g;
                double m = p->ref_m[i] / (1 - pow(o->beta1, (double)t));
                double v = p->ref_v[i] / (1 - pow(o->beta2, (double)t));
                p->ref_w[i] = w - o->rate * m / (sqrt(v) + o->epsilon) - (q->rows > 1 ? o->rate * o->decay * w : 0);
            }
        }
    }
    return sqrt(squares);
}

/* Runs both, the rate going up and down, and holds them together after every step. */
static void follow(const learn_adamw *how, size_t rows, uint64_t n_steps) {
    problem p;
    seed = 7;
    problem_new(&p, rows);
    for (uint64_t t = 1; t <= n_steps; t++) {
        learn_adamw o = *how;
        double norm, most = 0;
        o.rate = learn_rate_at(t, n_steps / 10, n_steps, how->rate, 0.1);
        draw_gradient(&p, t);
        assert_int_equal(learn_adamw_step(ctx, p.g, &o, t, p.w, p.gradient, p.m, p.v, &norm), PITH_OK);
        double want = reference_step(&p, &o, t);
        assert_true(fabs(norm - want) <= 1e-10 * want);
        for (size_t i = 0; i < p.n; i++) most = fmax(most, fabs((double)p.w[i] - p.ref_w[i]));
        /* A step's rounding, and that 1 - beta2 of a float is 5e-5 of itself off where beta2 is 0.999. */
        double room = 1e-6 + (double)t * (2e-8 + 3e-5 * how->rate);
        if (!(most < room)) fail_msg("step %u: off by %g", (unsigned)t, most);
    }
    double way = 0; /* it has gone far, compared with what it may be off */
    seed = 7;
    for (size_t i = 0; i < p.n; i++) way += fabs((double)p.w[i] - (double)(float)uniform()) / (double)p.n;
    assert_true(way > 0.003);
    problem_free(&p);
}

static void definition(void **state) {
    (void)state;
    const learn_adamw usual = {.rate = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .decay = 0.1};
    learn_adamw o = usual;
    follow(&usual, 8, 600);
    follow(&usual, 300, 30); /* more than one job */
    o.epsilon = 1e-3;        /* counts in most elements */
    o.decay = 0;
    follow(&o, 8, 300);
    o = usual;
    o.beta1 = 0.5, o.beta2 = 0.9, o.decay = 3, o.clip = 2; /* the norm is many times that */
    follow(&o, 8, 300);
    o.beta1 = 0;  /* no momentum */
    o.clip = 1e9; /* never reached */
    follow(&o, 8, 100);
}

/* The parameter that element i is of; NULL where it is frozen or between two. */
static const learn_param *param_of(const problem *p, size_t i) {
    for (learn_id k = 0; k < N_PARAMS; k++) {
        const learn_param *q = learn_param_at(p->g, k);
        if (i >= q->at && i < q->at + q->rows * q->cols) return q->frozen ? NULL : q;
    }
    return NULL;
}

/* Alone, its parts do what they are there for. */
static void parts(void **state) {
    (void)state;
    problem p;
    learn_adamw o = {.rate = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 0};
    problem_new(&p, 4);
    for (size_t i = 0; i < p.n; i++) p.gradient[i] = i % 2 ? 1e-6f : -50;
    /* Bias correction: the first step is the rate, whatever the gradient's size. */
    assert_int_equal(learn_adamw_step(ctx, p.g, &o, 1, p.w, p.gradient, p.m, p.v, NULL), PITH_OK);
    for (size_t i = 0; i < p.n; i++) {
        bool stays = !param_of(&p, i);
        double moved = (double)p.w[i] - p.ref_w[i], want = stays ? 0 : i % 2 ? -o.rate : o.rate;
        assert_true(fabs(moved - want) < 5e-5 * o.rate);
        assert_true(!stays || (p.w[i] == (float)p.ref_w[i] && p.m[i] == 0 && p.v[i] == 0));
    }
    /* Without gradients there is decay alone, of matrices alone, and epsilon keeps 0 / 0 away. */
    memset(p.gradient, 0, p.n * sizeof *p.gradient);
    memset(p.m, 0, p.n * sizeof *p.m);
    memset(p.v, 0, p.n * sizeof *p.v);
    for (size_t i = 0; i < p.n; i++) p.ref_w[i] = p.w[i];
    o.epsilon = 1e-8;
    o.decay = 0.5;
    for (uint64_t t = 1; t <= 20; t++)
        assert_int_equal(learn_adamw_step(ctx, p.g, &o, t, p.w, p.gradient, p.m, p.v, NULL), PITH_OK);
    for (size_t i = 0; i < p.n; i++) {
        const learn_param *q = param_of(&p, i);
        bool stays = !q || q->rows == 1;
        double want = p.ref_w[i] * (stays ? 1 : pow(1 - o.rate * o.decay, 20));
        assert_true(stays ? p.w[i] == (float)p.ref_w[i] : fabs((double)p.w[i] - want) < 1e-6);
        assert_true(p.m[i] == 0 && p.v[i] == 0);
    }
    problem_free(&p);
}

/* What is not a number changes nothing. */
static void refused(void **state) {
    (void)state;
    problem p;
    const learn_adamw o = {.rate = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .decay = 0.1, .clip = 1};
    problem_new(&p, 4);
    draw_gradient(&p, 3);
    p.gradient[100] = NAN;
    pith_begin(ctx);
    assert_int_equal(learn_adamw_step(ctx, p.g, &o, 1, p.w, p.gradient, p.m, p.v, NULL), PITH_E_CHECK);
    for (size_t i = 0; i < p.n; i++) assert_true(p.w[i] == (float)p.ref_w[i] && p.m[i] == 0 && p.v[i] == 0);
    p.gradient[100] = 0;
    p.gradient[learn_param_at(p.g, FROZEN)->at] = INFINITY; /* nobody reads it */
    assert_int_equal(learn_adamw_step(ctx, p.g, &o, 1, p.w, p.gradient, p.m, p.v, NULL), PITH_OK);
    problem_free(&p);
}

static void threads(void **state) {
    (void)state;
    static const unsigned n_threads[] = {1, 2, 5, 0};
    uint64_t first = 0;
    const learn_adamw o = {.rate = 1e-2, .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-8, .decay = 0.1, .clip = 0.5};
    for (size_t k = 0; k < PITH_COUNT(n_threads); k++) {
        problem p;
        pith_ctx_set_threads(ctx, n_threads[k]);
        seed = 3;
        problem_new(&p, 700); /* four jobs */
        for (uint64_t t = 1; t <= 4; t++) {
            draw_gradient(&p, t);
            assert_int_equal(learn_adamw_step(ctx, p.g, &o, t, p.w, p.gradient, p.m, p.v, NULL), PITH_OK);
        }
        uint64_t hash = pith_hash64(p.w, 4 * p.n * sizeof *p.w);
        if (k == 0) first = hash;
        assert_true(hash == first);
        problem_free(&p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(definition), cmocka_unit_test(parts), cmocka_unit_test(refused),
                                       cmocka_unit_test(threads)};
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
