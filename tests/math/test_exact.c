/* Exact kernels: every instruction set gives the bits of the plain code, functions are as
 * accurate as math.h promises, and the bits themselves are known answers. */
#include "math/exact.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

#define MOST 1024

static uint32_t bits_of(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static float float_of(uint32_t u) {
    float f;
    memcpy(&f, &u, 4);
    return f;
}

/* xorshift; the tests must not depend on anyone's rand() */
static uint32_t noise_state = 1;
static uint32_t noise(void) {
    noise_state ^= noise_state << 13;
    noise_state ^= noise_state >> 17;
    noise_state ^= noise_state << 5;
    return noise_state;
}

/* Numbers of moderate size, in (-4, 4). */
static void fill(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = ((float)(int)(noise() >> 8) - 8388608.0f) * (1.0f / 2097152.0f);
}

/* Anything a float can be: any bit pattern, and the special ones often. */
static void fill_wild(float *x, size_t n) {
    static const uint32_t special[] = {0x00000000, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0x00000001,
                                       0x80000001, 0x007fffff, 0x00800000, 0x7f7fffff, 0xff7fffff, 0x3f800000,
                                       0x42b17218, 0xc2aeac50, 0x3f1fffff, 0x3f200000};
    for (size_t i = 0; i < n; i++) x[i] = float_of(noise() % 4 == 0 ? special[noise() % PITH_COUNT(special)] : noise());
}

/* Equal bits, a NaN being equal to any NaN. */
static void assert_same(const float *got, const float *want, size_t n, const char *what) {
    for (size_t i = 0; i < n; i++)
        if (bits_of(got[i]) != bits_of(want[i]) && !(isnan(got[i]) && isnan(want[i])))
            fail_msg("%s: element %zu of %zu is %08x (%g), the plain code gives %08x (%g)", what, i, n, bits_of(got[i]),
                     (double)got[i], bits_of(want[i]), (double)want[i]);
}

/* The plain code, then what each instruction set runs. */
enum { PLAIN = -1, LEVELS = PITH_CPU_AVX512 + 1 };
static const exact_ops *path_of(int level) { return level == PLAIN ? &exact_scalar : exact_for(level); }

static const size_t sizes[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 64, 100, 255, 256, 257};

typedef void (*map_fn)(float *, const float *, size_t);
typedef struct map_case {
    const char *name;
    size_t offset; /* of the member in exact_ops */
    long double (*truth)(long double);
    float from, to; /* where the error is measured */
    double ulp;     /* promised in math.h */
} map_case;

static long double true_sigmoid(long double x) { return 1.0L / (1.0L + expl(-x)); }
static long double true_softplus(long double x) { return (x > 0 ? x : 0) + log1pl(expl(-fabsl(x))); }
static long double true_silu(long double x) { return x / (1.0L + expl(-x)); }
static long double true_rsqrt(long double x) { return 1.0L / sqrtl(x); }

static const map_case maps[] = {
    {"exp", offsetof(exact_ops, exp), expl, -87.3f, 88.7f, 1.5},
    {"log", offsetof(exact_ops, log), logl, 1e-38f, 3e38f, 1.5},
    {"log near 1", offsetof(exact_ops, log), logl, 0.5f, 2.0f, 1.5},
    {"sigmoid", offsetof(exact_ops, sigmoid), true_sigmoid, -87.0f, 30.0f, 2.5},
    {"tanh", offsetof(exact_ops, tanh), tanhl, -10.0f, 10.0f, 2.5},
    {"softplus", offsetof(exact_ops, softplus), true_softplus, -80.0f, 80.0f, 2.5},
    {"silu", offsetof(exact_ops, silu), true_silu, -80.0f, 80.0f, 3.5},
    {"rsqrt", offsetof(exact_ops, rsqrt), true_rsqrt, 1e-37f, 1e37f, 1.5},
};

static map_fn map_of(const exact_ops *ops, const map_case *c) {
    map_fn f;
    memcpy(&f, (const char *)ops + c->offset, sizeof f);
    return f;
}

static void test_maps_agree(void **state) {
    (void)state;
    float x[MOST], want[MOST], got[MOST];
    for (int level = 0; level < LEVELS; level++) {
        const exact_ops *ops = path_of(level);
        if (!ops) continue;
        for (size_t m = 0; m < PITH_COUNT(maps); m++)
            for (int round = 0; round < 400; round++) {
                size_t n = round < (int)PITH_COUNT(sizes) ? sizes[round] : MOST;
                if (round % 2)
                    fill_wild(x, n);
                else
                    fill(x, n);
                map_of(&exact_scalar, &maps[m])(want, x, n);
                map_of(ops, &maps[m])(got, x, n);
                assert_same(got, want, n, maps[m].name);
            }
    }
}

static void test_maps_accurate(void **state) {
    (void)state;
    const exact_ops *ops = exact();
    for (size_t m = 0; m < PITH_COUNT(maps); m++) {
        double worst = 0;
        const map_case *c = &maps[m];
        for (int round = 0; round < 400; round++) {
            float x[MOST], y[MOST];
            for (int i = 0; i < MOST; i++) {
                /* evenly in the value, or in the bits where the range is positive */
                if (c->from > 0 && c->to / c->from > 100)
                    x[i] = float_of(bits_of(c->from) + noise() % (bits_of(c->to) - bits_of(c->from)));
                else
                    x[i] = c->from + (c->to - c->from) * ((float)(int)(noise() >> 8) * (1.0f / 16777216.0f));
            }
            map_of(ops, c)(y, x, MOST);
            for (int i = 0; i < MOST; i++) {
                long double truth = c->truth((long double)x[i]);
                int e;
                (void)frexpl(truth, &e);
                double error = (double)(fabsl((long double)y[i] - truth) / ldexpl(1.0L, (e < -125 ? -125 : e) - 24));
                if (error > worst) worst = error;
            }
        }
        print_message("    %-10s worst error %.2f ulp\n", c->name, worst);
        if (!(worst <= c->ulp)) fail_msg("%s is off by %.2f ulp, %.1f promised", c->name, worst, c->ulp);
    }
}

static void test_special_values(void **state) {
    (void)state;
    for (int level = PLAIN; level < LEVELS; level++) {
        const exact_ops *ops = path_of(level);
        if (!ops) continue;
        float x[] = {0.0f, INFINITY, -INFINITY, NAN, 100.0f, -100.0f}, y[6];
        ops->exp(y, x, 6);
        assert_true(y[0] == 1.0f && y[1] == INFINITY && bits_of(y[2]) == 0 && isnan(y[3]) && y[4] == INFINITY);
        assert_int_equal(bits_of(y[5]), 0);
        ops->log(y, x, 6);
        assert_true(y[0] == -INFINITY && y[1] == INFINITY && isnan(y[2]) && isnan(y[3]) && isnan(y[5]));
        ops->sigmoid(y, x, 6);
        assert_true(y[0] == 0.5f && y[1] == 1.0f && y[2] == 0.0f && isnan(y[3]));
        ops->tanh(y, x, 6);
        assert_true(y[0] == 0.0f && y[1] == 1.0f && y[2] == -1.0f && isnan(y[3]));
        ops->softplus(y, x, 6);
        assert_true(y[1] == INFINITY && y[2] == 0.0f && isnan(y[3]) && y[4] == 100.0f && y[5] == 0.0f);
        ops->silu(y, x, 6);
        assert_true(y[0] == 0.0f && y[1] == INFINITY && y[2] == 0.0f && isnan(y[3]));
        ops->rsqrt(y, x, 6);
        assert_true(y[0] == INFINITY && y[1] == 0.0f && isnan(y[2]) && isnan(y[3]));
        float tiny = float_of(1); /* the smallest denormal: 2^-149 */
        ops->log(y, &tiny, 1);
        assert_true(fabsf(y[0] + 103.2789299f) < 1e-4f);
    }
}

static void test_vectors_agree(void **state) {
    (void)state;
    const exact_ops *ref = &exact_scalar;
    float a[MOST], b[MOST], c[MOST], d[MOST], e[MOST], f[MOST], g[MOST], h[MOST];
    for (int level = 0; level < LEVELS; level++) {
        const exact_ops *ops = path_of(level);
        if (!ops) continue;
        for (int round = 0; round < 20 * (int)PITH_COUNT(sizes); round++) {
            size_t n = sizes[(size_t)round % PITH_COUNT(sizes)];
            void (*filler)(float *, size_t) = round % 3 == 2 ? fill_wild : fill;
            filler(a, n);
            filler(b, n);
            float want = ref->dot(a, b, n), got = ops->dot(a, b, n);
            assert_same(&got, &want, 1, "dot");
            want = ref->sum(a, n);
            got = ops->sum(a, n);
            assert_same(&got, &want, 1, "sum");
            filler(c, n);
            memcpy(d, c, sizeof d);
            ref->axpy(c, 0.37f, a, n);
            ops->axpy(d, 0.37f, a, n);
            assert_same(d, c, n, "axpy");
            ref->muladd(c, a, b, n);
            ops->muladd(d, a, b, n);
            assert_same(d, c, n, "muladd");
            ref->mul(c, a, b, n);
            ops->mul(d, a, b, n);
            assert_same(d, c, n, "mul");
            ref->scale(c, 0.37f, a, b, n);
            ops->scale(d, 0.37f, a, b, n);
            assert_same(d, c, n, "scale");
            memcpy(c, b, sizeof c);
            memcpy(d, b, sizeof d);
            ref->silu_back(c, a, n);
            ops->silu_back(d, a, n);
            assert_same(d, c, n, "silu_back");
            if (n > 0) {
                fill(a, n); /* a NaN among the largest is the one thing left open */
                ref->softmax(c, a, n);
                ops->softmax(d, a, n);
                assert_same(d, c, n, "softmax");
            }
            filler(a, n);
            for (size_t i = 0; i < n; i++) e[i] = fabsf(b[i]), f[i] = a[i] * 0.5f;
            memcpy(g, e, sizeof g);
            memcpy(h, f, sizeof h);
            filler(c, n);
            memcpy(d, c, sizeof d);
            float grad[MOST], grad2[MOST];
            filler(grad, n);
            memcpy(grad2, grad, sizeof grad);
            const exact_adam step = {0.01f, 0.9f, 0.999f, 1e-6f, 3.0f};
            ref->adam(c, f, e, grad, n, &step);
            ops->adam(d, h, g, grad2, n, &step);
            assert_same(d, c, n, "adam w");
            assert_same(h, f, n, "adam m");
            assert_same(g, e, n, "adam v");
            assert_same(grad2, grad, n, "adam g");
        }
    }
}

static void test_matrices_agree(void **state) {
    (void)state;
    const exact_ops *ref = &exact_scalar;
    static float a[64 * 64], b[64 * 200], c[64 * 200], d[64 * 200];
    for (int level = 0; level < LEVELS; level++) {
        const exact_ops *ops = path_of(level);
        if (!ops) continue;
        for (int round = 0; round < 300; round++) {
            size_t m = noise() % 10, n = noise() % 190, k = noise() % 40, gap = noise() % 5;
            void (*filler)(float *, size_t) = round % 5 == 4 ? fill_wild : fill;
            filler(a, PITH_COUNT(a));
            filler(b, PITH_COUNT(b));
            filler(c, PITH_COUNT(c));
            memcpy(d, c, sizeof d);
            /* plain, then with a transposed; the gap shows writes outside the matrix */
            ref->matmul(c, n + gap, a, k + gap, 1, b, n + gap, m, n, k);
            ops->matmul(d, n + gap, a, k + gap, 1, b, n + gap, m, n, k);
            assert_same(d, c, PITH_COUNT(c), "matmul");
            ref->matmul(c, n, a, 1, m + gap, b, n + gap, m, n, k);
            ops->matmul(d, n, a, 1, m + gap, b, n + gap, m, n, k);
            assert_same(d, c, PITH_COUNT(c), "matmul transposed");
            ref->matvec(c, b, n + gap, a, k, n);
            ops->matvec(d, b, n + gap, a, k, n);
            assert_same(d, c, PITH_COUNT(c), "matvec");
            ops->transpose(d, b, k, n);
            for (size_t i = 0; i < k * n; i++) assert_int_equal(bits_of(d[i % n * k + i / n]), bits_of(b[i]));
        }
    }
}

static void test_matmul_is_a_product(void **state) {
    (void)state;
    float a[6] = {1, 2, 3, 4, 5, 6}, b[6] = {7, 8, 9, 10, 11, 12}, c[4] = {100, 0, 0, 0};
    exact()->matmul(c, 2, a, 3, 1, b, 2, 2, 2, 3);
    assert_true(c[0] == 158 && c[1] == 64 && c[2] == 139 && c[3] == 154);
    float y[2];
    exact()->matvec(y, a, 3, b, 2, 3);
    assert_true(y[0] == 50 && y[1] == 122);
}

/* One time step as plain formulas in double, and its gradient by differences. */
static double recur_loss(const float *h0, const float *a, const float *b, const float *c, const float *x,
                         const float *gy, const float *gh, size_t n_state, size_t n) {
    double loss = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t s = 0; s < n_state; s++) {
            double h = pow((double)a[i], (double)(s + 1)) * (double)h0[s * n + i] + (double)b[s] * (double)x[i];
            loss += h * ((double)c[s] * (double)gy[i] + (double)gh[s * n + i]);
        }
    return loss;
}

static void test_recurrence(void **state) {
    (void)state;
    enum { STATES = 5, N = 37 };
    float h0[STATES * N], h1[STATES * N], a[N], b[STATES], c[STATES], x[N], y[N], gy[N];
    float gh[STATES * N], gh_in[STATES * N], ga[N], gb[STATES], gc[STATES], gx[N];
    float h1_ref[STATES * N], y_ref[N], all[2][2 * N + 2 * STATES + STATES * N];
    for (int level = PLAIN; level < LEVELS; level++) {
        const exact_ops *ops = path_of(level);
        if (!ops) continue;
        noise_state = 77;
        fill(h0, STATES * N);
        fill(b, STATES);
        fill(c, STATES);
        fill(x, N);
        fill(gy, N);
        fill(gh_in, STATES * N);
        fill(a, N);
        exact_scalar.sigmoid(a, a, N);
        ops->recur(h1, y, h0, a, b, c, x, STATES, N);
        memcpy(gh, gh_in, sizeof gh);
        ops->recur_back(gh, ga, gb, gc, gx, gy, h0, h1, a, b, c, x, STATES, N);
        float *out = all[level != PLAIN];
        memcpy(out, ga, sizeof ga);
        memcpy(out + N, gx, sizeof gx);
        memcpy(out + 2 * N, gb, sizeof gb);
        memcpy(out + 2 * N + STATES, gc, sizeof gc);
        memcpy(out + 2 * N + 2 * STATES, gh, sizeof gh);
        if (level != PLAIN) {
            assert_same(h1, h1_ref, STATES * N, "recur state");
            assert_same(y, y_ref, N, "recur output");
            assert_same(all[1], all[0], PITH_COUNT(all[0]), "recur_back");
            continue;
        }
        memcpy(h1_ref, h1, sizeof h1);
        memcpy(y_ref, y, sizeof y);
        struct {
            float *at;
            const float *gradient;
            size_t n;
        } tested[] = {{h0, gh, STATES * N}, {a, ga, N}, {b, gb, STATES}, {c, gc, STATES}, {x, gx, N}};
        for (size_t t = 0; t < PITH_COUNT(tested); t++)
            for (size_t i = 0; i < tested[t].n; i++) {
                float keep = tested[t].at[i], step = 1.0f / 1024;
                tested[t].at[i] = keep + step;
                double up = recur_loss(h0, a, b, c, x, gy, gh_in, STATES, N);
                tested[t].at[i] = keep - step;
                double down = recur_loss(h0, a, b, c, x, gy, gh_in, STATES, N);
                tested[t].at[i] = keep;
                double slope = (up - down) * 512;
                if (!(fabs(slope - (double)tested[t].gradient[i]) < 2e-3 * (1 + fabs(slope))))
                    fail_msg("gradient %zu[%zu] is %g, by differences %g", t, i, (double)tested[t].gradient[i], slope);
            }
    }
}

static void test_known_answers(void **state) {
    (void)state;
    /* A change of any of these is a change of the archive format. */
    static const uint64_t known[] = {
        0xFF161FC0CA36B441u, /* exp */
        0xBDCC2A3C7C927DC5u, /* log */
        0xBDCC2A3C7C927DC5u, /* log near 1 */
        0xD21C161E1A7327D9u, /* sigmoid */
        0x5B9FDA92DE0614EEu, /* tanh */
        0x2E949A7C53754954u, /* softplus */
        0xBB8E587C5E49C578u, /* silu */
        0x0C1D93EB1A1A8F3Au, /* rsqrt */
        0xEABF90E48188D43Bu, /* dot */
    };
    for (int level = PLAIN; level < LEVELS; level++) {
        const exact_ops *ops = path_of(level);
        if (!ops) continue;
        for (size_t m = 0; m <= PITH_COUNT(maps); m++) {
            float x[MOST], y[MOST];
            noise_state = 4711;
            fill(x, MOST);
            if (m < PITH_COUNT(maps)) {
                if (maps[m].from > 0)
                    for (int i = 0; i < MOST; i++) x[i] = fabsf(x[i]) + 0.001f;
                map_of(ops, &maps[m])(y, x, MOST);
            } else {
                for (size_t n = 0; n < MOST; n++) y[n] = ops->dot(x, x + n, MOST - n);
            }
            uint64_t hash = pith_hash64(y, sizeof y);
            if (hash != known[m])
                fail_msg("path %d, %s: hash 0x%016llx", level, m < PITH_COUNT(maps) ? maps[m].name : "dot",
                         (unsigned long long)hash);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_maps_agree),     cmocka_unit_test(test_maps_accurate),
        cmocka_unit_test(test_special_values), cmocka_unit_test(test_vectors_agree),
        cmocka_unit_test(test_matrices_agree), cmocka_unit_test(test_matmul_is_a_product),
        cmocka_unit_test(test_recurrence),     cmocka_unit_test(test_known_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
