/* The laws of represent.h over the stages that there are: whatever a recipe chains, decoding gives what encoding said
 * it would, bit for bit, from the bytes alone, uses all of them, refuses fewer and survives wrong ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "artefacts/artefacts.h"
#include "kernels/represent/represent.h"
#include "support/session.h"

/* Every stage is in one of them (every_stage_is_tried). */
static const struct sample {
    const char *recipe;
    double error; /* squared, relative, at most, on the matrix of 24 x 64 without statistics */
} samples[] = {
    {"raw", 1e-6},
    {"raw(f32)", 0},
    {"raw(bf16)", 1e-4},
    {"q(4, group=16)", 0.02},
    {"q(3, group=16, meta=q(3, group=8)) | rans", 0.1},
    {"q(8, group=0, sym) | huff", 1e-3},
    {"q(4, grid=nf4) | zstd", 0.03},
    {"step(0.26) | ctxac", 0.01},
    {"step(0.5) | rans", 0.05},
    {"ternary(minmax) | dict16", 1.5},
    {"ternary | pack", 0.5},
    {"sign", 0.6},
    {"kmeans(3) | huff", 0.1},
    {"sparse(keep=25%) | golomb", 0.5},
    {"sparse(pattern=2:4)", 0.3},
    {"prune(50%)", 0.3},
    {"prune(50%, wanda) | q(4, group=16) | golomb", 0.3},
    {"outliers(inner=q(3, group=16))", 0.1},
    {"gguf(q4_0) | rans", 0.02},
    {"gguf(q8_0)", 1e-3},
    {"lowrank(rank=8)", 0.9},
    {"lowrank(rank=4, factors=q(8, group=0))", 1},
    {"signlowrank(rank=4)", 0.6},
    {"svid(rank=8)", 1},
    {"vq(dim=4, bits=1, iterations=3)", 0.6},
    {"aq(codebooks=2, bits=4, dim=8, rounds=2)", 0.8},
    {"seed(block=4, coefficients=2, lfsr=8)", 0.5},
    {"dict(keep=50%)", 0.9},
    {"atoms", 1},
    {"hash(50%)", 0.8},
    {"hash(50%, sum)", 0.8},
    {"hash(50%, product, table=q(4, group=16))", 0.8},
    {"bands(25%, raw(f16), q(2, group=16)) | rans", 0.2},
    {"bands(50%, q(4, group=16), bands(50%, hash(50%), sign)) @ obs", 0.6},
    {"hadamard(16) | q(4, group=16)", 0.02},
    {"hadamard(64, signs) | sign", 0.6},
    {"wavelet(haar, levels=1) | q(4, group=16)", 0.02},
    {"perm | q(4, group=16)", 0.02},
    {"scale | norm2 | unit | q(4, group=16)", 0.03},
    {"scale(awq) | q(4, group=16)", 0.03},
    {"sum(q(2, group=16), q(2, group=16)) | rans", 0.05},
    {"sum(sparse(keep=5%), hadamard(32) | q(3, group=16))", 0.1},
    {"sum(q(3, group=16), lowrank(rank=2))", 0.1},
    {"stack(3, signlowrank(rank=2))", 0.3},
    {"norm2 | stack(2, sum(sign, q(2, group=16)))", 0.1},
    {"q(4, group=16) @ obs", 0.05},
    {"perm | step(0.3) | rans @ obs", 0.05},
    {"sum(q(2, group=16), lowrank(rank=2)) @ obs", 0.3},
    {"outliers(inner=q(3, group=16)) @ obs", 0.2},
    {"gguf(q4_0) @ obs", 0.05},
    {"sparse(keep=50%) @ obs", 0.5},
};

typedef struct coded {
    pith_recipe *recipe;
    repr_chain *chain;
    repr_matrix w;
    float *restored, *back;
    pith_buffer code;
} coded;

static void fill(float *w, size_t n) {
    uint32_t state = 7;
    for (size_t i = 0; i < n; i++) { /* about normal */
        w[i] = 0;
        for (unsigned k = 0; k < 6; k++) {
            state = state * 1664525 + 1013904223;
            w[i] += (float)(int32_t)state / 2147483648.0f;
        }
    }
}

/* gguf takes whole blocks only, and says so. */
static bool takes(const char *recipe, size_t cols) { return !strstr(recipe, "gguf") || cols % 32 == 0; }

static void open_chain(coded *c, const char *recipe, size_t rows, size_t cols) {
    memset(c, 0, sizeof *c);
    size_t n = rows * cols;
    pith_begin(ctx);
    if (pith_recipe_parse(ctx, "model", recipe, strlen(recipe), &c->recipe) != PITH_OK ||
        repr_chain_new(ctx, &c->recipe->rules[0], &c->chain) != PITH_OK)
        fail_msg("%s: %s", recipe, pith_error(ctx));
    c->w = (repr_matrix){.data = malloc(n * sizeof(float)), .rows = rows, .cols = cols};
    c->restored = malloc(n * sizeof(float));
    c->back = malloc(n * sizeof(float));
    assert_true(c->w.data && c->restored && c->back);
    fill(c->w.data, n);
}

static void close_chain(coded *c) {
    free(c->w.data);
    free(c->restored);
    free(c->back);
    pith_buffer_free(ctx, &c->code);
    repr_chain_free(ctx, c->chain);
    pith_recipe_free(ctx, c->recipe);
}

static void encode(coded *c, const char *recipe, const repr_stats *stats) {
    if (repr_encode(ctx, c->chain, &c->w, stats, &c->code, c->restored) != PITH_OK) fail_msg("%s: %s", recipe, pith_error(ctx));
}

static pith_status decode(coded *c, const uint8_t *data, size_t size, size_t *used) {
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    repr_reader in = {copy, copy + size};
    repr_matrix w = {.data = c->back, .rows = c->w.rows, .cols = c->w.cols};
    pith_begin(ctx);
    pith_status status = repr_decode(ctx, c->chain, &in, 0, &w);
    if (used) *used = (size_t)(in.p - copy);
    free(copy);
    return status;
}

static void check_round_trip(coded *c, const char *recipe) {
    size_t used;
    if (decode(c, c->code.data, c->code.size, &used) != PITH_OK) fail_msg("%s: %s", recipe, pith_error(ctx));
    if (used != c->code.size) fail_msg("%s: %zu of %zu bytes used", recipe, used, c->code.size);
    if (memcmp(c->back, c->restored, c->w.rows * c->w.cols * sizeof(float)) != 0)
        fail_msg("%s: decoding gives other floats than encoding said", recipe);
}

static double error_of(coded *c) {
    repr_error e;
    assert_int_equal(repr_measure(ctx, &c->w, c->restored, NULL, &e), PITH_OK);
    return e.weights;
}

static void decodes_to_what_encoding_said(void **state) {
    (void)state;
    static const size_t shapes[][2] = {{24, 64}, {1, 1}, {3, 17}, {5, 32}};
    for (size_t i = 0; i < PITH_COUNT(samples); i++)
        for (size_t s = 0; s < PITH_COUNT(shapes); s++) {
            if (!takes(samples[i].recipe, shapes[s][1])) continue;
            coded c;
            open_chain(&c, samples[i].recipe, shapes[s][0], shapes[s][1]);
            encode(&c, samples[i].recipe, NULL);
            check_round_trip(&c, samples[i].recipe);
            if (s == 0 && error_of(&c) > samples[i].error) fail_msg("%s: error %g", samples[i].recipe, error_of(&c));
            close_chain(&c);
        }
}

/* Law 1: what was learnt from statistics is in the bytes. */
static void statistics_are_for_encoders(void **state) {
    (void)state;
    enum { COLS = 64 };
    static float h[COLS], gram[COLS * (COLS + 1) / 2];
    for (size_t i = 0, k = 0; i < COLS; i++)
        for (size_t j = 0; j <= i; j++, k++) {
            float d = (float)(i - j);
            gram[k] = (1 + (float)(i % 5)) * (1 + (float)(j % 5)) / (1 + d * d) + (i == j ? 0.5f : 0);
            if (i == j) h[i] = gram[k];
        }
    const repr_stats all[] = {{.h = h, .n_tokens = 1000}, {.h = h, .gram = gram, .n_tokens = 1000}};
    for (size_t i = 0; i < PITH_COUNT(samples); i++)
        for (size_t s = 0; s < PITH_COUNT(all); s++) {
            coded c;
            open_chain(&c, samples[i].recipe, 8, COLS);
            encode(&c, samples[i].recipe, &all[s]);
            check_round_trip(&c, samples[i].recipe);
            close_chain(&c);
        }
}

static void encoding_is_deterministic(void **state) {
    (void)state;
    for (size_t i = 0; i < PITH_COUNT(samples); i++) {
        coded c, d;
        open_chain(&c, samples[i].recipe, 5, 32);
        open_chain(&d, samples[i].recipe, 5, 32);
        encode(&c, samples[i].recipe, NULL);
        pith_ctx_set_threads(ctx, 3);
        encode(&d, samples[i].recipe, NULL);
        pith_ctx_set_threads(ctx, 1);
        if (c.code.size != d.code.size || memcmp(c.code.data, d.code.data, c.code.size) != 0)
            fail_msg("%s: other bytes with three threads", samples[i].recipe);
        close_chain(&c);
        close_chain(&d);
    }
}

/* Law 2: no byte is there for nothing, so that none may be missing. */
static void every_cut_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < PITH_COUNT(samples); i++) {
        coded c;
        open_chain(&c, samples[i].recipe, 3, 32);
        encode(&c, samples[i].recipe, NULL);
        for (size_t n = 0; n < c.code.size; n += 1 + n / 24) {
            pith_status status = decode(&c, c.code.data, n, NULL);
            if (status != PITH_E_FORMAT) fail_msg("%s: %zu of %zu bytes: %d", samples[i].recipe, n, c.code.size, status);
            if (!pith_error(ctx)[0] || strchr(pith_error(ctx), '\n')) fail_msg("%s: no message", samples[i].recipe);
        }
        close_chain(&c);
    }
}

static void every_flip_is_survived(void **state) {
    (void)state;
    for (size_t i = 0; i < PITH_COUNT(samples); i++) {
        coded c;
        open_chain(&c, samples[i].recipe, 3, 32);
        encode(&c, samples[i].recipe, NULL);
        for (size_t at = 0; at < c.code.size; at += 1 + at / 32)
            for (unsigned k = 0; k < 3; k++) {
                uint8_t old = c.code.data[at];
                uint8_t flipped = (uint8_t)(old ^ 1u << at % 8);
                c.code.data[at] = (uint8_t)(k == 0 ? 0xFF : k == 1 ? flipped : 0);
                pith_status status = decode(&c, c.code.data, c.code.size, NULL);
                if (status != PITH_OK && status != PITH_E_FORMAT && status != PITH_E_LIMIT)
                    fail_msg("%s: byte %zu: %d %s", samples[i].recipe, at, status, pith_error(ctx));
                c.code.data[at] = old;
            }
        close_chain(&c);
    }
}

static bool mentions(const char *recipe, const char *name) {
    size_t n = strlen(name);
    for (const char *p = recipe; (p = strstr(p, name)) != NULL; p++) {
        bool begins = p == recipe || strchr(" (=", p[-1]) != NULL;
        if (begins && (p[n] == 0 || strchr(" (,)", p[n]))) return true;
    }
    return false;
}

static void every_stage_is_tried(void **state) {
    (void)state;
    const pith_stage *stage;
    unsigned n = 0;
    for (pith_cursor cursor = {0}; (stage = pith_stage_next(&cursor)) != NULL;) {
        if (strcmp(stage->artefact, "model") != 0) continue;
        bool tried = false;
        for (size_t i = 0; i < PITH_COUNT(samples); i++) tried = tried || mentions(samples[i].recipe, stage->name);
        if (!tried) fail_msg("no sample has %s", stage->name);
        n++;
    }
    assert_true(n > 20);
}

int main(void) {
    artefacts_register();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_to_what_encoding_said),
        cmocka_unit_test(statistics_are_for_encoders),
        cmocka_unit_test(encoding_is_deterministic),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(every_flip_is_survived),
        cmocka_unit_test(every_stage_is_tried),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
