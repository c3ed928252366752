/* What tests of coders share: matrices and statistics, a plain packer, and one way to run a recipe. */
#ifndef TESTS_REPRESENT_VECTORS_CASE_H
#define TESTS_REPRESENT_VECTORS_CASE_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "kernels/represent/vectors.h"
#include "math/dense/dense.h"

/* ---- a packer of plain bits, so that sizes are known ------------------------------------------------- */

static inline size_t plain_bytes(size_t n, uint32_t alphabet) {
    size_t bits = 0;
    while ((1u << bits) < alphabet) bits++;
    return (n * bits + 7) / 8;
}

static pith_status plain_pack(const repr_job *job, const repr_plane *plane, pith_buffer *out) {
    size_t size = plain_bytes(plane->n, plane->alphabet), bits = plain_bytes(8, plane->alphabet);
    pith_status status = pith_buffer_reserve(job->ctx, out, size);
    if (status) return status;
    memset(out->data + out->size, 0, size);
    for (size_t i = 0; i < plane->n * bits; i++)
        if (plane->codes[i / bits] >> i % bits & 1) out->data[out->size + i / 8] |= (uint8_t)(1u << i % 8);
    out->size += size;
    return PITH_OK;
}

static pith_status plain_unpack(const repr_job *job, repr_reader *in, uint16_t *codes, size_t n, size_t row,
                                uint32_t alphabet) {
    (void)row;
    size_t bits = plain_bytes(8, alphabet);
    const uint8_t *p = repr_take(in, plain_bytes(n, alphabet));
    if (!p) return repr_cut_off(job->ctx);
    memset(codes, 0, n * sizeof *codes);
    for (size_t i = 0; i < n * bits; i++) codes[i / bits] |= (uint16_t)((p[i / 8] >> i % 8 & 1) << i % bits);
    for (size_t i = 0; i < n; i++)
        if (codes[i] >= alphabet) return pith_fail(job->ctx, PITH_E_FORMAT, "code %zu is out of range", i);
    return PITH_OK;
}

static const repr_ops plain_ops = {.kind = REPR_PACKER, .pack = plain_pack, .unpack = plain_unpack};
static const pith_stage plain_packers[] = {
    {.name = "pack", .artefact = "model", .role = "packer", .summary = "plain bits", .impl = &plain_ops},
    {.name = NULL},
};
static const pith_stage *const case_tables[] = {represent_vectors, represent_branches, plain_packers, NULL};
static const pith_method case_no_method[] = {{.name = NULL}};
static const pith_method *const case_methods[] = {case_no_method, NULL};
static const pith_registry case_registry = {case_tables, case_methods};

/* ---- data ----------------------------------------------------------------------------------------------- */

static inline double case_uniform(uint64_t *state) { return (double)(vectors_random(state) >> 11) * 0x1p-53; }

static inline float case_gauss(uint64_t *state) {
    double u = case_uniform(state) + 1e-300;
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * case_uniform(state)));
}

static inline void case_fill(float *v, size_t n, uint64_t seed, float size) {
    for (size_t i = 0; i < n; i++) v[i] = size * case_gauss(&seed);
}

/* Gram matrix of inputs that share a few directions, channels of different sizes; h its diagonal. */
static inline void case_gram(size_t n, uint64_t seed, float *gram, float *h) {
    size_t latent = n / 8 + 1, tokens = 2 * n + 8;
    float *mix = malloc(latent * n * sizeof *mix), *x = malloc(n * sizeof *x), *z = malloc(latent * sizeof *z),
          *size = malloc(n * sizeof *size);
    assert_true(mix && x && z && size);
    case_fill(mix, latent * n, seed + 1, 2 / sqrtf((float)latent));
    for (size_t j = 0; j < n; j++) size[j] = expf(0.7f * case_gauss(&seed));
    memset(gram, 0, DENSE_PACKED(n) * sizeof *gram);
    for (size_t t = 0; t < tokens; t++) {
        case_fill(z, latent, seed + 2 * t + 7, 1);
        for (size_t j = 0; j < n; j++) {
            x[j] = 0.7f * case_gauss(&seed);
            for (size_t l = 0; l < latent; l++) x[j] += z[l] * mix[l * n + j];
            x[j] *= size[j];
        }
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j <= i; j++) gram[i * (i + 1) / 2 + j] += x[i] * x[j] / (float)tokens;
    }
    for (size_t i = 0; i < n; i++) h[i] = gram[i * (i + 1) / 2 + i];
    free(mix);
    free(x);
    free(z);
    free(size);
}

/* ---- running a recipe ----------------------------------------------------------------------------------- */

typedef struct case_chain {
    pith_recipe *recipe;
    repr_chain *chain;
} case_chain;

static inline case_chain case_open(pith_ctx *ctx, const char *text) {
    case_chain c = {0};
    pith_registry_set(&case_registry);
    if (pith_recipe_parse(ctx, "model", text, strlen(text), &c.recipe) ||
        repr_chain_new(ctx, &c.recipe->rules[0], &c.chain))
        fail_msg("%s: %s", text, pith_error(ctx));
    return c;
}

static inline void case_close(pith_ctx *ctx, case_chain *c) {
    repr_chain_free(ctx, c->chain);
    pith_recipe_free(ctx, c->recipe);
}

/* Encodes, decodes without statistics, demands the same bits and all bytes read. Gives bytes and errors. */
static inline repr_error case_run(pith_ctx *ctx, const char *text, const repr_matrix *w, const repr_stats *stats,
                                  size_t *bytes) {
    case_chain c = case_open(ctx, text);
    size_t n = w->rows * w->cols;
    float *restored = malloc(n * sizeof *restored), *decoded = malloc(n * sizeof *decoded);
    assert_true(restored && decoded);
    memset(decoded, 0x5A, n * sizeof *decoded);
    pith_buffer out = {0};
    if (repr_encode(ctx, c.chain, w, stats, &out, restored)) fail_msg("%s: %s", text, pith_error(ctx));
    repr_reader in = {.p = out.data, .end = out.data + out.size};
    repr_matrix m = {decoded, w->rows, w->cols};
    if (repr_decode(ctx, c.chain, &in, 0, &m)) fail_msg("%s: %s", text, pith_error(ctx));
    assert_ptr_equal(in.p, in.end);
    assert_memory_equal(restored, decoded, n * sizeof *decoded);
    repr_error e = {0};
    assert_int_equal(repr_measure(ctx, w, restored, stats, &e), PITH_OK);
    if (bytes) *bytes = out.size;
    pith_buffer_free(ctx, &out);
    free(restored);
    free(decoded);
    case_close(ctx, &c);
    return e;
}

#endif
