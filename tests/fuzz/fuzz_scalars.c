/* Bytes as the code of a matrix, for every coder that goes by columns: refused with a message, or a matrix. Or as
 * weights, which must come back as encoding said they would.
 *
 * Byte 0: recipe, bit 7 set for weights; bytes 1 and 2: rows and columns less one; then the code, or half floats. */
#include "formats/blocks/blocks.h"
#include "kernels/represent/represent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 3, ROWS_MOST = 16, COLS_MOST = 64 };

static const char *const recipes[] = {
    "raw(bf16)",
    "q(4, group=16)",
    "q(3, group=16, meta=q(3, group=4))",
    "q(2, group=0, grid=gauss) | rans",
    "step(0.5)",
    "step(0.01) | ctxac",
    "step(0.01, trellis=none)",
    "step(bits=3) | huff",
    "ternary(minmax)",
    "ternary(mean, keep=10%) | golomb",
    "sign(group=8)",
    "kmeans(3)",
    "sparse(keep=50%, format=bitmap)",
    "sparse(keep=10%, format=csr)",
    "sparse(keep=10%, format=gaps)",
    "sparse(pattern=2:4)",
    "outliers(q(3, group=16))",
    "gguf(q4_0)",
    "gguf(q5_1) | rans",
};

static float weights[ROWS_MOST * COLS_MOST], restored[ROWS_MOST * COLS_MOST], back[ROWS_MOST * COLS_MOST];

static void decode(pith_ctx *ctx, const repr_chain *chain, size_t rows, size_t cols, const uint8_t *data, size_t size) {
    repr_reader in = {data, data + size};
    repr_matrix w = {back, rows, cols};
    if (repr_decode(ctx, chain, &in, 0, &w)) {
        if (!pith_error(ctx)[0]) abort();
        return;
    }
    if (in.p < data || in.p > data + size) abort();
}

static void round_trip(pith_ctx *ctx, const repr_chain *chain, size_t rows, size_t cols, const uint8_t *data,
                       size_t size) {
    size_t n = rows * cols;
    for (size_t i = 0; i < n; i++) {
        float v = 2 * i + 2 <= size ? half_to_float(load16(data + 2 * i)) : 0;
        weights[i] = v - v == 0 ? v : 1;
    }
    repr_matrix w = {weights, rows, cols}, again = {back, rows, cols};
    pith_buffer out = {0};
    pith_status status = repr_encode(ctx, chain, &w, NULL, &out, restored);
    if (status && status != PITH_E_ARGUMENT) abort();
    if (!status) {
        repr_reader in = {out.data, out.data + out.size};
        if (repr_decode(ctx, chain, &in, 0, &again)) abort();
        if (in.p != in.end || memcmp(restored, back, n * sizeof *back) != 0) abort();
    }
    pith_buffer_free(ctx, &out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const pith_stage *const stages[] = {represent_branches, represent_scalars, represent_packers, NULL};
    static const pith_method *const methods[] = {NULL};
    static const pith_registry registry = {stages, methods};
    if (size < HEAD || (data[0] & 0x7F) >= PITH_COUNT(recipes)) return 0;
    const char *text = recipes[data[0] & 0x7F];
    size_t rows = 1 + data[1] % ROWS_MOST, cols = 1 + data[2] % COLS_MOST;
    pith_ctx *ctx = pith_ctx_new(NULL);
    pith_recipe *recipe;
    repr_chain *chain;
    pith_registry_set(&registry);
    if (!ctx || pith_recipe_parse(ctx, "model", text, strlen(text), &recipe)) abort();
    if (repr_chain_new(ctx, &recipe->rules[0], &chain)) abort();
    if (data[0] & 0x80)
        round_trip(ctx, chain, rows, cols, data + HEAD, size - HEAD);
    else
        decode(ctx, chain, rows, cols, data + HEAD, size - HEAD);
    repr_chain_free(ctx, chain);
    pith_recipe_free(ctx, recipe);
    if (pith_memory_used(ctx)) abort();
    pith_ctx_free(ctx);
    return 0;
}
