/* Transforms of matrices: what comes back, what the statistics become, what is written, and bytes that lie. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/represent/represent.h"
#include "math/dense/dense.h"
#include "support/session.h"

#define KNOWN_BITS 0x6C29D3547DA588DEu /* of what inverses give below */

enum { ROWS = 36, COLS = 60 };

static uint32_t noise_state = 1;
static float noise(void) {
    noise_state = noise_state * 1664525u + 1013904223u;
    return (float)(int32_t)noise_state * 0x1p-31f;
}

/* Every stage as recipes have it; `rows`: it divides rows, so that errors in them count differently. */
typedef struct transform_case {
    const char *recipe;
    bool rows;
} transform_case;
static const transform_case cases[] = {
    {"perm(act)", false},
    {"perm(norm)", false},
    {"perm(file)", false},
    {"scale(act)", false},
    {"scale(awq)", false},
    {"scale(awq, alpha=0.5)", false},
    {"scale(awq, bits=2, group=0)", false},
    {"norm2(col, row)", true},
    {"norm2(row, col)", true},
    {"norm2(col, col)", false},
    {"unit(row)", true},
    {"unit(col)", false},
    {"hadamard(block=16)", false},
    {"hadamard(block=64, signs)", false},
    {"wavelet(haar, levels=1)", false},
    {"wavelet(db2)", false},
    {"wavelet(db4, levels=5)", false},
};

static const pith_stage *const stage_tables[] = {represent_transforms, NULL};
static const pith_method *const method_tables[] = {NULL};
static const pith_registry registry = {.stage_tables = stage_tables, .method_tables = method_tables};

static pith_recipe *recipe;
static repr_job job_of(const char *text) {
    assert_int_equal(pith_recipe_parse(ctx, "model", text, strlen(text), &recipe), PITH_OK);
    return (repr_job){.ctx = ctx, .args = &recipe->rules[0].stages[0], .seed = 12345};
}
static const repr_ops *ops_of(const repr_job *job) { return job->args->stage->impl; }

/* Weights with an outlying column; correlated inputs, of which number 7 is strong and 9 is dead. */
static float weights[ROWS * COLS], h[COLS], gram[DENSE_PACKED(COLS)];
static int begin(void **state) {
    if (!pith_registry_set(&registry) || session_begin(state)) return -1;
    for (size_t i = 0; i < ROWS * COLS; i++) weights[i] = noise() * (i % COLS == 11 ? 8 : 1);
    double sums[DENSE_PACKED(COLS)] = {0};
    for (int t = 0; t < 100; t++) {
        float x[COLS];
        for (size_t j = 0; j < COLS; j++) x[j] = noise() + (j ? 0.6f * x[j - 1] : 0);
        x[7] *= 12;
        x[9] = 0;
        for (size_t i = 0; i < COLS; i++)
            for (size_t j = 0; j <= i; j++) sums[DENSE_PACKED(i) + j] += (double)x[i] * (double)x[j];
    }
    for (size_t i = 0; i < DENSE_PACKED(COLS); i++) gram[i] = (float)(sums[i] / 100);
    for (size_t i = 0; i < COLS; i++) h[i] = gram[DENSE_PACKED(i) + i];
    return 0;
}

static void free_stats(const repr_stats *new, const repr_stats *old) {
    if (new->h != old->h) pith_free(ctx, (void *)(uintptr_t) new->h);
    if (new->gram != old->gram) pith_free(ctx, (void *)(uintptr_t) new->gram);
}

/* tr(W H W^T) */
static double output_power(const float *w, const float *packed) {
    double sum = 0;
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < COLS; i++)
            for (size_t j = 0; j < COLS; j++)
                sum += (double)w[r * COLS + i] * (double)w[r * COLS + j] *
                       (double)packed[DENSE_PACKED(PITH_MAX(i, j)) + PITH_MIN(i, j)];
    return sum;
}

static void test_registry(void **state) {
    (void)state;
    pith_status status = pith_registry_check(ctx);
    if (status) fail_msg("%s", pith_error(ctx));
}

/* W comes back, whatever is known of the inputs; the same bits from the same side; nothing is left of memory. */
static void test_round_trip(void **state) {
    (void)state;
    for (size_t c = 0; c < PITH_COUNT(cases); c++)
        for (int known = 0; known < 4; known++) {
            repr_job job = job_of(cases[c].recipe);
            uint64_t before = pith_memory_used(ctx);
            repr_stats given = {.h = known & 1 ? h : NULL, .gram = known & 2 ? gram : NULL, .n_tokens = 100};
            repr_stats seen = given;
            job.stats = &given;
            static float w[ROWS * COLS], back[ROWS * COLS];
            memcpy(w, weights, sizeof w);
            repr_matrix m = {.data = w, .rows = ROWS, .cols = COLS};
            pith_buffer side = {0};
            assert_int_equal(ops_of(&job)->forward(&job, &m, &seen, &side), PITH_OK);
            assert_true(!seen.h == !given.h && !seen.gram == !given.gram);
            for (int again = 0; again < 2; again++) {
                uint8_t nothing[1];
                repr_reader in = {.p = nothing, .end = nothing};
                if (side.size) in = (repr_reader){.p = side.data, .end = side.data + side.size};
                repr_matrix n = {.data = again ? back : w, .rows = ROWS, .cols = COLS};
                if (!again) memcpy(back, w, sizeof back);
                static const repr_stats none;
                repr_job decoding = {.ctx = ctx, .args = job.args, .seed = job.seed, .stats = &none};
                assert_int_equal(ops_of(&job)->inverse(&decoding, &in, &n), PITH_OK);
                assert_ptr_equal(in.p, in.end);
            }
            assert_memory_equal(back, w, sizeof w);
            for (size_t i = 0; i < ROWS * COLS; i++)
                if (!(fabsf(w[i] - weights[i]) <= 2e-6f * (1 + fabsf(weights[i]))))
                    fail_msg("%s: element %zu was %g, is %g", cases[c].recipe, i, (double)weights[i], (double)w[i]);
            free_stats(&seen, &given);
            pith_buffer_free(ctx, &side);
            assert_true(pith_memory_used(ctx) == before);
            pith_recipe_free(ctx, recipe);
        }
}

/* Inputs and weights change together: the power of the outputs stays. */
static void test_outputs_stay(void **state) {
    (void)state;
    double truth = output_power(weights, gram);
    for (size_t c = 0; c < PITH_COUNT(cases); c++) {
        if (cases[c].rows) continue;
        repr_job job = job_of(cases[c].recipe);
        repr_stats given = {.h = h, .gram = gram, .n_tokens = 100}, seen = given;
        job.stats = &given;
        float w[ROWS * COLS];
        memcpy(w, weights, sizeof w);
        repr_matrix m = {.data = w, .rows = ROWS, .cols = COLS};
        pith_buffer side = {0};
        assert_int_equal(ops_of(&job)->forward(&job, &m, &seen, &side), PITH_OK);
        double now = output_power(w, seen.gram);
        if (!(fabs(now - truth) < 1e-5 * truth)) fail_msg("%s: %g became %g", cases[c].recipe, truth, now);
        double most = 0;
        for (size_t i = 0; i < COLS; i++) most = PITH_MAX(most, (double)seen.h[i]);
        for (size_t i = 0; i < COLS; i++)
            assert_true(fabs((double)seen.h[i] - (double)seen.gram[DENSE_PACKED(i) + i]) < 1e-5 * most);
        free_stats(&seen, &given);
        pith_buffer_free(ctx, &side);
        pith_recipe_free(ctx, recipe);
    }
}

/* Without a Gram matrix an orthonormal change of inputs keeps the sum of their powers, a block of hadamard's each. */
static void test_powers_alone(void **state) {
    (void)state;
    for (size_t c = 0; c < PITH_COUNT(cases); c++) {
        bool hadamard = strncmp(cases[c].recipe, "hadamard(block=16)", 18) == 0;
        if (!hadamard && strncmp(cases[c].recipe, "wavelet", 7) != 0) continue;
        repr_job job = job_of(cases[c].recipe);
        repr_stats given = {.h = h}, seen = given;
        job.stats = &given;
        float w[ROWS * COLS];
        memcpy(w, weights, sizeof w);
        repr_matrix m = {.data = w, .rows = ROWS, .cols = COLS};
        pith_buffer side = {0};
        assert_int_equal(ops_of(&job)->forward(&job, &m, &seen, &side), PITH_OK);
        double before = 0, after = 0, first = 0;
        for (size_t i = 0; i < COLS; i++) before += (double)h[i], after += (double)seen.h[i];
        assert_true(fabs(after - before) < 1e-5 * before);
        for (size_t i = 0; i < 16; i++) first += (double)h[i] / 16;
        for (size_t i = 0; i < 16 && hadamard; i++) assert_true(fabs((double)seen.h[i] - first) < 1e-5 * first);
        free_stats(&seen, &given);
        pith_buffer_free(ctx, &side);
        pith_recipe_free(ctx, recipe);
    }
}

/* Forward on copies of the weights; what the stage is for. */
static void forward(const char *text, const repr_stats *given, float *w, size_t *bytes) {
    repr_job job = job_of(text);
    repr_stats seen = *given;
    job.stats = given;
    memcpy(w, weights, sizeof weights);
    repr_matrix m = {.data = w, .rows = ROWS, .cols = COLS};
    pith_buffer side = {0};
    assert_int_equal(ops_of(&job)->forward(&job, &m, &seen, &side), PITH_OK);
    if (bytes) *bytes = side.size;
    free_stats(&seen, given);
    pith_buffer_free(ctx, &side);
    pith_recipe_free(ctx, recipe);
}

static void test_purposes(void **state) {
    (void)state;
    const repr_stats given = {.h = h, .gram = gram}, none = {0};
    static float w[ROWS * COLS];
    size_t bytes;
    forward("perm(act)", &given, w, &bytes);
    assert_int_equal(bytes, 1 + (COLS * 6 + 7) / 8);
    for (size_t i = 0; i < ROWS; i++) { /* the strong input first, the dead one last */
        assert_true(w[i * COLS] == weights[i * COLS + 7]);
        assert_true(w[i * COLS + COLS - 1] == weights[i * COLS + 9]);
    }
    forward("perm(norm)", &none, w, &bytes);
    for (size_t i = 0; i < ROWS; i++) assert_true(w[i * COLS] == weights[i * COLS + 11]);
    static const char *const idle[] = {"perm(act)", "perm(file)", "scale(act)", "scale(awq)"};
    for (size_t i = 0; i < PITH_COUNT(idle); i++) {
        forward(idle[i], i == 1 ? &given : &none, w, &bytes);
        assert_int_equal(bytes, 1);
        assert_memory_equal(w, weights, sizeof w);
    }
    forward("norm2(col, row)", &given, w, &bytes);
    assert_int_equal(bytes, 8 + 2 * (ROWS + COLS));
    for (size_t i = 0; i < ROWS; i++) {
        double sum = 0;
        for (size_t j = 0; j < COLS; j++) sum += (double)w[i * COLS + j] * (double)w[i * COLS + j];
        assert_true(fabs(sum / COLS - 1) < 2e-3); /* factors are halves */
    }
    forward("unit(row)", &given, w, &bytes);
    assert_int_equal(bytes, 4 + 2 * ROWS);
    /* an outlier is spread: 8 among 60 */
    float most = 0, spread = 0;
    forward("hadamard(block=32)", &given, w, &bytes);
    assert_int_equal(bytes, 0);
    for (size_t i = 0; i < ROWS * COLS; i++) most = fmaxf(most, fabsf(weights[i])), spread = fmaxf(spread, fabsf(w[i]));
    assert_true(spread < 0.5f * most);
    /* what is smooth is gathered: a ramp in both directions */
    float ramp[ROWS * COLS];
    memcpy(ramp, weights, sizeof ramp);
    for (size_t i = 0; i < ROWS * COLS; i++) weights[i] = (float)(i % COLS) + 2 * (float)(i / COLS);
    forward("wavelet(db2, levels=1)", &none, w, NULL);
    double all = 0, low = 0;
    for (size_t i = 0; i < ROWS * COLS; i++) {
        double power = (double)w[i] * (double)w[i];
        all += power;
        if (i % COLS < COLS / 2 && i / COLS < ROWS / 2) low += power;
    }
    memcpy(weights, ramp, sizeof ramp);
    assert_true(low > 0.98 * all);
}

/* `keep` leaves the statistics alone; without it they are those of the divided inputs. */
static void test_keep(void **state) {
    (void)state;
    static const char *const texts[] = {"norm2(col, row)", "norm2(col, row, keep)"};
    for (int keep = 0; keep < 2; keep++) {
        repr_job job = job_of(texts[keep]);
        repr_stats given = {.h = h, .gram = gram}, seen = given;
        job.stats = &given;
        float w[ROWS * COLS];
        memcpy(w, weights, sizeof w);
        repr_matrix m = {.data = w, .rows = ROWS, .cols = COLS};
        pith_buffer side = {0};
        assert_int_equal(ops_of(&job)->forward(&job, &m, &seen, &side), PITH_OK);
        assert_true((seen.h == h) == (keep == 1) && (seen.gram == gram) == (keep == 1));
        free_stats(&seen, &given);
        pith_buffer_free(ctx, &side);
        pith_recipe_free(ctx, recipe);
    }
}

/* Rounds w to `bits` in groups of 20, as scale's trial does. */
static void round_groups(float *w, unsigned bits) {
    for (size_t i = 0; i < ROWS * COLS; i += 20) {
        float least = w[i], most = w[i];
        for (size_t j = i; j < i + 20; j++) least = fminf(least, w[j]), most = fmaxf(most, w[j]);
        float unit = (most - least) / (float)((1u << bits) - 1);
        for (size_t j = i; j < i + 20; j++) w[j] = least + unit * floorf((w[j] - least) / unit + 0.5f);
    }
}

/* Activation-aware scaling makes rounding do less harm where inputs are strong, and never more in all. */
static void test_awq_helps(void **state) {
    (void)state;
    static const char *const texts[] = {"perm(file)", "scale(awq, bits=3, group=20)", "scale(act)"};
    double harm[3];
    for (int t = 0; t < 3; t++) {
        repr_job job = job_of(texts[t]);
        repr_stats given = {.h = h}, seen = given;
        job.stats = &given;
        float w[ROWS * COLS];
        memcpy(w, weights, sizeof w);
        repr_matrix m = {.data = w, .rows = ROWS, .cols = COLS};
        pith_buffer side = {0};
        assert_int_equal(ops_of(&job)->forward(&job, &m, &seen, &side), PITH_OK);
        round_groups(w, 3);
        repr_reader in = {.p = side.data, .end = side.data + side.size};
        assert_int_equal(ops_of(&job)->inverse(&job, &in, &m), PITH_OK);
        harm[t] = 0;
        for (size_t i = 0; i < ROWS * COLS; i++) {
            double d = (double)w[i] - (double)weights[i];
            harm[t] += d * d * (double)h[i % COLS];
        }
        free_stats(&seen, &given);
        pith_buffer_free(ctx, &side);
        pith_recipe_free(ctx, recipe);
    }
    assert_true(harm[1] < 0.8 * harm[0]);
    assert_true(harm[1] < 1.02 * harm[2]);
}

/* Signs come from the seed: another seed, another matrix; both sides agree (test_round_trip). */
static void test_signs(void **state) {
    (void)state;
    static float w[2][ROWS * COLS];
    for (uint64_t seed = 0; seed < 2; seed++) {
        repr_job job = job_of("hadamard(signs)");
        repr_stats none = {0}, seen = none;
        job.stats = &none;
        job.seed = seed;
        memcpy(w[seed], weights, sizeof weights);
        repr_matrix m = {.data = w[seed], .rows = ROWS, .cols = COLS};
        pith_buffer side = {0};
        assert_int_equal(ops_of(&job)->forward(&job, &m, &seen, &side), PITH_OK);
        pith_buffer_free(ctx, &side);
        pith_recipe_free(ctx, recipe);
    }
    assert_memory_not_equal(w[0], w[1], sizeof w[0]);
}

/* Cut off, or with any one byte another: undone or refused with a line, never more than the side is read. */
static void test_hostile(void **state) {
    (void)state;
    size_t refused = 0;
    for (size_t c = 0; c < PITH_COUNT(cases); c++) {
        repr_job job = job_of(cases[c].recipe);
        repr_stats given = {.h = h, .gram = gram}, seen = given;
        job.stats = &given;
        static float w[ROWS * COLS], scratch[ROWS * COLS];
        memcpy(w, weights, sizeof w);
        repr_matrix m = {.data = w, .rows = ROWS, .cols = COLS}, n = {.data = scratch, .rows = ROWS, .cols = COLS};
        pith_buffer side = {0};
        assert_int_equal(ops_of(&job)->forward(&job, &m, &seen, &side), PITH_OK);
        free_stats(&seen, &given);
        uint8_t *bytes = malloc(side.size + 1);
        for (size_t cut = 0; cut < side.size; cut++) {
            uint8_t *exact = malloc(cut + 1); /* so that a sanitizer sees what is past the end */
            memcpy(exact, side.data, cut);
            memcpy(scratch, w, sizeof w);
            repr_reader in = {.p = exact, .end = exact + cut};
            pith_begin(ctx);
            assert_int_equal(ops_of(&job)->inverse(&job, &in, &n), PITH_E_FORMAT);
            assert_true(strlen(pith_error(ctx)) > 10);
            free(exact);
        }
        for (size_t i = 0; i < side.size; i++)
            for (unsigned bit = 0; bit < 8; bit++) {
                memcpy(bytes, side.data, side.size);
                bytes[i] ^= (uint8_t)(1u << bit);
                memcpy(scratch, w, sizeof w);
                repr_reader in = {.p = bytes, .end = bytes + side.size};
                pith_begin(ctx);
                pith_status status = ops_of(&job)->inverse(&job, &in, &n);
                assert_true(status == PITH_OK || status == PITH_E_FORMAT);
                assert_true(in.p <= in.end);
                refused += status != PITH_OK;
                for (size_t k = 0; k < ROWS * COLS && !status; k++) assert_true(isfinite(scratch[k]));
            }
        free(bytes);
        pith_buffer_free(ctx, &side);
        pith_recipe_free(ctx, recipe);
    }
    assert_true(refused > 1000);
    /* a factor that is no number, an order with a column twice */
    uint8_t factors[4 + 2 * ROWS] = {0, 0, 0x80, 0x3f}, order[1 + 45] = {1};
    for (size_t i = 4; i < sizeof factors; i += 2) store16(factors + i, i == 10 ? 0x7e00 : 0x3c00);
    repr_matrix m = {.data = weights, .rows = ROWS, .cols = COLS};
    repr_job job = job_of("unit(row)");
    repr_reader in = {.p = factors, .end = factors + sizeof factors};
    assert_int_equal(ops_of(&job)->inverse(&job, &in, &m), PITH_E_FORMAT);
    pith_recipe_free(ctx, recipe);
    job = job_of("perm");
    in = (repr_reader){.p = order, .end = order + sizeof order};
    assert_int_equal(ops_of(&job)->inverse(&job, &in, &m), PITH_E_FORMAT);
    pith_recipe_free(ctx, recipe);
}

/* What cannot be: weights that are no numbers, a block that is no power of two. Zeros can. */
static void test_refusals(void **state) {
    (void)state;
    static const char *const texts[] = {"norm2", "unit(row)", "hadamard(block=48)"};
    for (size_t t = 0; t < PITH_COUNT(texts); t++) {
        repr_job job = job_of(texts[t]);
        repr_stats none = {0}, seen = none;
        job.stats = &none;
        float w[ROWS * COLS];
        memcpy(w, weights, sizeof w);
        w[100] = NAN;
        repr_matrix m = {.data = w, .rows = ROWS, .cols = COLS};
        pith_buffer side = {0};
        pith_begin(ctx);
        assert_int_equal(ops_of(&job)->forward(&job, &m, &seen, &side), t == 2 ? PITH_E_ARGUMENT : PITH_E_FORMAT);
        if (t == 2) assert_non_null(strstr(pith_error(ctx), "column 1: hadamard expects a power of two"));
        memset(w, 0, sizeof w);
        side.size = 0;
        if (t < 2) {
            assert_int_equal(ops_of(&job)->forward(&job, &m, &seen, &side), PITH_OK);
            repr_reader in = {.p = side.data, .end = side.data + side.size};
            assert_int_equal(ops_of(&job)->inverse(&job, &in, &m), PITH_OK);
            for (size_t i = 0; i < ROWS * COLS; i++) assert_true(w[i] == 0);
        }
        pith_buffer_free(ctx, &side);
        pith_recipe_free(ctx, recipe);
    }
}

/* One session's memory gives out anywhere in the middle: an error, nothing lost. */
static void test_memory(void **state) {
    (void)state;
    for (size_t c = 0; c < PITH_COUNT(cases); c++) {
        repr_job job = job_of(cases[c].recipe);
        repr_stats given = {.h = h, .gram = gram};
        job.stats = &given;
        uint64_t before = pith_memory_used(ctx);
        pith_status status = PITH_E_LIMIT;
        for (uint64_t room = 0; room < 65536 && status; room += 512) {
            pith_ctx_set_memory(ctx, before + room);
            static float w[ROWS * COLS];
            memcpy(w, weights, sizeof w);
            repr_matrix m = {.data = w, .rows = ROWS, .cols = COLS};
            repr_stats seen = given;
            pith_buffer side = {0};
            status = ops_of(&job)->forward(&job, &m, &seen, &side);
            assert_true(status == PITH_OK || status == PITH_E_LIMIT);
            free_stats(&seen, &given);
            pith_buffer_free(ctx, &side);
            assert_true(pith_memory_used(ctx) == before);
        }
        assert_int_equal(status, PITH_OK);
        pith_ctx_set_memory(ctx, (uint64_t)1 << 30);
        pith_recipe_free(ctx, recipe);
    }
}

/* Decoding the same side and the same numbers gives the same bits on every machine. */
static void test_known_bits(void **state) {
    (void)state;
    uint64_t hash = 0;
    for (size_t c = 0; c < PITH_COUNT(cases); c++) {
        repr_job job = job_of(cases[c].recipe);
        float w[ROWS * COLS];
        for (size_t i = 0; i < ROWS * COLS; i++) w[i] = (float)((i * 2654435761u) % 65536) / 777.0f;
        uint8_t bytes[512] = {1}; /* the flag of scale and perm */
        size_t n = 0, width = strncmp(cases[c].recipe, "unit(row)", 9) == 0 ? ROWS : COLS;
        if (strncmp(cases[c].recipe, "perm", 4) == 0) {
            bytes[n++] = 0;
        } else if (strncmp(cases[c].recipe, "scale", 5) == 0 || strncmp(cases[c].recipe, "unit", 4) == 0) {
            n = cases[c].recipe[0] == 's';
            store32(bytes + n, 0x40490fdb);
            for (n += 4; width > 0; width--, n += 2) store16(bytes + n, (uint16_t)(0x2001 + 77 * width));
        } else if (strncmp(cases[c].recipe, "norm2", 5) == 0) {
            bool first_rows = strstr(cases[c].recipe, "(row") != NULL;
            for (int k = 0; k < (strstr(cases[c].recipe, "col, col") ? 1 : 2); k++) {
                store32(bytes + n, 0x3f49abcd);
                n += 4;
                for (width = (k == 0) == first_rows ? ROWS : COLS; width > 0; width--, n += 2)
                    store16(bytes + n, (uint16_t)(0x1501 + 55 * width));
            }
        }
        repr_reader in = {.p = bytes, .end = bytes + n};
        repr_matrix m = {.data = w, .rows = ROWS, .cols = COLS};
        assert_int_equal(ops_of(&job)->inverse(&job, &in, &m), PITH_OK);
        assert_ptr_equal(in.p, in.end);
        hash = hash * 31 + pith_hash64(w, sizeof w);
        pith_recipe_free(ctx, recipe);
    }
    if (hash != KNOWN_BITS) fail_msg("hash 0x%016llX", (unsigned long long)hash);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registry), cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_outputs_stay),
        cmocka_unit_test(test_purposes), cmocka_unit_test(test_powers_alone), cmocka_unit_test(test_keep),
        cmocka_unit_test(test_signs),    cmocka_unit_test(test_awq_helps),    cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_memory),       cmocka_unit_test(test_known_bits),
    };
    return cmocka_run_group_tests(tests, begin, session_end);
}
