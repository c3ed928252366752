/* Bytes as a series of checkpoints: counted, and the first four read, with all checks made right first, so that what
 * stands behind them is reached. Refused with a message or decoded; nothing is kept, and nothing allocated beyond the
 * memory of the session. */
#include "artefacts/model/series.h"
#include "kernels/represent/represent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD_BYTES = 9, FRAME_FIXED = 3, HASH_BYTES = 16, CHECK_BYTES = 8, MOST = 4 };

static pith_status count(void *opaque, const void *data, size_t size) {
    (void)data;
    *(uint64_t *)opaque += size;
    return PITH_OK;
}

/* The checks of all frames, as far as there are any. */
static void mend(uint8_t *p, size_t n) {
    repr_reader in = {p, p + n};
    uint64_t result_n, body_n;
    if (!repr_take(&in, HEAD_BYTES)) return;
    while (in.p < in.end) {
        const uint8_t *start = in.p;
        if (!repr_take(&in, FRAME_FIXED) || !repr_take_number(&in, INT64_MAX, &result_n) ||
            !repr_take(&in, HASH_BYTES) || !repr_take_number(&in, INT64_MAX, &body_n))
            return;
        size_t head_n = (size_t)(in.p - start);
        const uint8_t *check = repr_take(&in, CHECK_BYTES), *body;
        if (!check || body_n > (uint64_t)(in.end - in.p)) return;
        body = repr_take(&in, (size_t)body_n);
        store64(p + (check - p), pith_hash64(start, head_n) ^ pith_hash64(body, (size_t)body_n));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pith_ctx *ctx = pith_ctx_new(NULL);
    uint8_t *copy = malloc(size ? size : 1);
    size_t n = 0;
    if (!ctx || !copy) abort();
    if (size) memcpy(copy, data, size);
    mend(copy, size);
    pith_ctx_set_memory(ctx, (uint64_t)64 << 20);
    pith_ctx_set_threads(ctx, 1);
    pith_status status = series_count(ctx, copy, size, &n);
    if (status && (!pith_error(ctx)[0] || strchr(pith_error(ctx), '\n'))) abort();
    for (size_t i = 0; i < MOST && i <= n; i++) {
        uint64_t written = 0;
        pith_begin(ctx);
        status = series_read(ctx, copy, size, i, count, &written);
        if (status == PITH_E_INTERNAL || (status && (!pith_error(ctx)[0] || written))) abort();
        if (status) break;
    }
    if (pith_memory_used(ctx) != 0) abort();
    pith_ctx_free(ctx);
    free(copy);
    return 0;
}
