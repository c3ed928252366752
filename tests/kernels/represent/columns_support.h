/* Matrices, statistics and round trips for the tests of the coders that work by columns. */
#ifndef TESTS_REPRESENT_COLUMNS_SUPPORT_H
#define TESTS_REPRESENT_COLUMNS_SUPPORT_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "kernels/represent/represent.h"
#include "math/dense/dense.h"

typedef struct random_state {
    uint64_t s;
} random_state;

static inline uint64_t random_next(random_state *r) {
    uint64_t z = r->s += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static inline float random_normal(random_state *r) {
    double u = (double)((random_next(r) >> 11) + 1) * 0x1p-53, v = (double)(random_next(r) >> 11) * 0x1p-53;
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

/* A matrix, and what it is multiplied by: inputs that follow their neighbours, of uneven size. */
typedef struct sample {
    repr_matrix w;
    repr_stats stats;
    float *restored;
} sample;

static inline void sample_new(sample *s, size_t rows, size_t cols, double follow, uint64_t seed) {
    random_state r = {seed};
    *s = (sample){.w = {NULL, rows, cols}};
    s->w.data = calloc(rows * cols, sizeof(float));
    s->restored = calloc(rows * cols, sizeof(float));
    for (size_t i = 0; i < rows * cols; i++) s->w.data[i] = 0.04f * random_normal(&r);
    double *gram = calloc(DENSE_PACKED(cols), sizeof *gram), *x = calloc(cols, sizeof *x);
    size_t tokens = 4 * cols + 64;
    for (size_t t = 0; t < tokens; t++) {
        double last = 0;
        for (size_t j = 0; j < cols; j++) {
            last = follow * last + sqrt(1 - follow * follow) * (double)random_normal(&r);
            x[j] = last * (0.3 + (double)(j * 7 % 13) * 0.2);
        }
        for (size_t i = 0; i < cols; i++)
            for (size_t j = 0; j <= i; j++) gram[i * (i + 1) / 2 + j] += x[i] * x[j] / (double)tokens;
    }
    float *g = calloc(DENSE_PACKED(cols), sizeof *g), *h = calloc(cols, sizeof *h);
    for (size_t i = 0; i < DENSE_PACKED(cols); i++) g[i] = (float)gram[i];
    for (size_t i = 0; i < cols; i++) h[i] = g[i * (i + 1) / 2 + i];
    s->stats = (repr_stats){.h = h, .gram = g, .n_tokens = (double)tokens};
    free(gram);
    free(x);
}

static inline void sample_free(sample *s) {
    free(s->w.data);
    free(s->restored);
    free((void *)(uintptr_t)s->stats.h);
    free((void *)(uintptr_t)s->stats.gram);
}

static const pith_stage *const columns_tables[] = {represent_branches, represent_scalars, represent_packers, NULL};
static const pith_method *const columns_methods[] = {NULL};
static const pith_registry columns_registry = {columns_tables, columns_methods};

typedef struct coded {
    pith_recipe *recipe;
    repr_chain *chain;
    pith_buffer bytes;
} coded;

static inline pith_status chain_of(pith_ctx *ctx, const char *text, coded *c) {
    *c = (coded){0};
    pith_registry_set(&columns_registry);
    pith_status status = pith_recipe_parse(ctx, "model", text, strlen(text), &c->recipe);
    if (!status) status = repr_chain_new(ctx, &c->recipe->rules[0], &c->chain);
    if (status) printf("%s: %s\n", text, pith_error(ctx));
    return status;
}

static inline void coded_free(pith_ctx *ctx, coded *c) {
    repr_chain_free(ctx, c->chain);
    pith_recipe_free(ctx, c->recipe);
    pith_buffer_free(ctx, &c->bytes);
}

/* Encodes, decodes, holds both to each other; fills s->restored. The caller frees. */
static inline void round_trip(pith_ctx *ctx, const char *text, sample *s, const repr_stats *stats, coded *c) {
    size_t n = s->w.rows * s->w.cols;
    assert_int_equal(chain_of(ctx, text, c), PITH_OK);
    pith_status status = repr_encode(ctx, c->chain, &s->w, stats, &c->bytes, s->restored);
    if (status) printf("%s: %s\n", text, pith_error(ctx));
    assert_int_equal(status, PITH_OK);
    float *back = calloc(n, sizeof *back);
    memset(back, 0x5a, n * sizeof *back);
    repr_reader in = {c->bytes.data, c->bytes.data + c->bytes.size};
    repr_matrix w = {back, s->w.rows, s->w.cols};
    status = repr_decode(ctx, c->chain, &in, 0, &w);
    if (status) printf("%s: %s\n", text, pith_error(ctx));
    assert_int_equal(status, PITH_OK);
    assert_ptr_equal(in.p, in.end);
    if (memcmp(back, s->restored, n * sizeof *back) != 0) printf("%s (%zu x %zu)\n", text, s->w.rows, s->w.cols);
    assert_memory_equal(back, s->restored, n * sizeof *back);
    free(back);
}

/* Error of the outputs after a round trip; *bytes may be NULL. */
static inline double output_error(pith_ctx *ctx, const char *text, sample *s, const repr_stats *stats, size_t *bytes) {
    coded c;
    repr_error error;
    round_trip(ctx, text, s, stats, &c);
    if (bytes) *bytes = c.bytes.size;
    coded_free(ctx, &c);
    assert_int_equal(repr_measure(ctx, &s->w, s->restored, &s->stats, &error), PITH_OK);
    return error.outputs;
}

#endif
