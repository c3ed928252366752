/* Bytes as what turns a small model into its sibling: applied with the check made right first, so that what stands
 * behind it is reached. Refused with a message, or as many bytes as the head says; nothing is kept, and nothing
 * allocated beyond the memory of the session. */
#include "artefacts/model/delta.h"
#include "artefacts/model/family.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROWS = 24, COLS = 32, CHECK_BYTES = 8 };

/* Two matrices of bf16 and f32, one of blocks, a vector. */
static pith_status make_base(pith_ctx *ctx, double update, pith_buffer *out) {
    static const tensor_type types[] = {TENSOR_BF16, TENSOR_F32, TENSOR_Q8_0, TENSOR_F32};
    static const char *const names[] = {"a", "b", "c", "d"};
    float values[ROWS * COLS];
    uint8_t coded[ROWS * COLS * 4];
    uint64_t ne[2] = {COLS, ROWS}, state = 7, other = 9, bytes;
    pith_sink w = {ctx, out};
    gguf_writer *g;
    pith_status status = gguf_writer_new(ctx, &g);
    for (unsigned i = 0; i < 4 && !status; i++)
        status = gguf_put_tensor(ctx, g, names[i], 1, types[i], i == 3 ? 1 : 2, ne);
    if (!status) status = gguf_write_head(ctx, g, pith_sink_write, &w);
    for (unsigned i = 0; i < 4 && !status; i++) {
        size_t n = i == 3 ? COLS : ROWS * COLS;
        for (size_t k = 0; k < n; k++) {
            values[k] = 0.05f * family_normal(&state);
            if (i < 3) values[k] += (float)update * family_normal(&other);
        }
        if (!tensor_type_bytes(types[i], n, &bytes) || !blocks_encode(types[i], values, coded, n)) abort();
        status = gguf_write_data(ctx, g, coded, (size_t)bytes, pith_sink_write, &w);
    }
    gguf_writer_free(ctx, g);
    return status;
}

static pith_status count(void *opaque, const void *data, size_t size) {
    (void)data;
    *(uint64_t *)opaque += size;
    return PITH_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static pith_buffer base;
    static pith_ctx *keeper; /* of the base, for the life of the process */
    if (!keeper && (!(keeper = pith_ctx_new(NULL)) || make_base(keeper, 0, &base))) abort();
    pith_ctx *ctx = pith_ctx_new(NULL);
    uint8_t *copy = malloc(size ? size : 1), hash[16];
    if (!ctx || !copy) abort();
    if (size) memcpy(copy, data, size);
    if (size >= CHECK_BYTES) {
        tensor_bytes_hash(copy, size - CHECK_BYTES, hash);
        memcpy(copy + size - CHECK_BYTES, hash, CHECK_BYTES);
    }
    pith_ctx_set_memory(ctx, (uint64_t)64 << 20);
    pith_ctx_set_threads(ctx, 1);
    uint64_t written = 0;
    pith_status status = model_delta_apply(ctx, base.data, base.size, copy, size, count, &written);
    if (status == PITH_E_INTERNAL || (status && (!pith_error(ctx)[0] || strchr(pith_error(ctx), '\n')))) abort();
    if (!status && !written) abort();
    if (pith_memory_used(ctx) != 0) abort();
    pith_ctx_free(ctx);
    free(copy);
    return 0;
}
