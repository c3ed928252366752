/* Bytes as a model archive: open, restore, read every tensor, add up its parts. Check values are made right first, so
 * that what stands behind them is reached. Nothing may be read outside, kept, or allocated beyond the memory of the
 * session; what opens has names, sizes and rules that hold together. */
#include "artefacts/artefacts.h"
#include "artefacts/model/archive_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t sum; /* keeps the reads */

static pith_status count(void *opaque, const void *data, size_t size) {
    *(uint64_t *)opaque += size;
    if (size) sum += ((const uint8_t *)data)[size - 1];
    return PITH_OK;
}

/* The checks of header and index, where there is a header and a tail. */
static void mend(uint8_t *p, size_t n) {
    repr_reader in = {.p = p + ARCHIVE_MAGIC_BYTES + 2, .end = p + n};
    uint64_t recipe_n, coded_n;
    if (n < ARCHIVE_MAGIC_BYTES + 2 + ARCHIVE_TAIL_BYTES || !repr_take_number(&in, n, &recipe_n)) return;
    if (!repr_take(&in, (size_t)recipe_n) || in.end - in.p < 4) return;
    store32(p + (in.p - p), (uint32_t)pith_hash64(p, (size_t)(in.p - p)));
    uint8_t *tail = p + n - ARCHIVE_TAIL_BYTES;
    coded_n = load64(tail + 8);
    if (coded_n > (uint64_t)(tail - p)) return;
    store32(tail + 16, (uint32_t)pith_hash64(tail - coded_n, (size_t)coded_n));
}

/* A file of the same model with fewer levels and matrices in another type. */
static void export_it(pith_ctx *ctx, model_archive *a, size_t size) {
    static const tensor_type types[] = {TENSOR_F16, TENSOR_F32, TENSOR_Q8_0, TENSOR_Q4_K};
    uint16_t *levels = pith_alloc(ctx, archive_about(a)->n_tensors * sizeof *levels + 1);
    archive_prefix_info info;
    uint64_t written = 0;
    if (!levels || archive_about(a)->original_n > 64 << 20) {
        pith_free(ctx, levels);
        return;
    }
    archive_wish wish = {.type = tensor_type_of(types[size % PITH_COUNT(types)])};
    if (archive_prefix(ctx, a, size / 2, 0, levels, &info) == PITH_OK) {
        if (info.bytes > size || info.fewest > info.most || info.most > info.of) abort();
        wish.levels = levels;
    }
    pith_begin(ctx);
    if (archive_export(ctx, a, &wish, count, &written) && !pith_error(ctx)[0]) abort();
    pith_begin(ctx);
    pith_free(ctx, levels);
}

static void look(pith_ctx *ctx, model_archive *a) {
    const archive_index *x = archive_about(a);
    repr_parts parts = {0};
    for (size_t i = 0; i < x->n_tensors && i < 16; i++) {
        const archive_tensor *t = &x->tensors[i];
        if (archive_find(a, t->name.data, t->name.size) != i) abort();
        if (t->bytes > (1 << 20) || t->n_elements > (1 << 20)) continue;
        float *floats = pith_alloc(ctx, (size_t)t->n_elements * sizeof *floats + 1);
        uint8_t *bytes = pith_alloc(ctx, (size_t)t->bytes + 1);
        if (floats && bytes) {
            if (archive_floats(ctx, a, i, (unsigned)(i % 3), floats) != PITH_OK) pith_begin(ctx);
            if (archive_tensor_bytes(ctx, a, i, 0, bytes) != PITH_OK) pith_begin(ctx);
            if (archive_parts(ctx, a, i, &parts) != PITH_OK) pith_begin(ctx);
        }
        pith_free(ctx, bytes);
        pith_free(ctx, floats);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    artefacts_register();
    pith_ctx *ctx = pith_ctx_new(NULL);
    uint8_t *copy = malloc(size ? size : 1); /* no byte more than there is */
    if (!ctx || !copy) abort();
    if (size) memcpy(copy, data, size);
    mend(copy, size);
    pith_ctx_set_memory(ctx, (uint64_t)64 << 20);
    pith_ctx_set_threads(ctx, 1);
    model_archive *a;
    uint64_t written = 0;
    pith_status status = archive_open_memory(ctx, copy, size, 0.05, &a);
    if (!status) {
        status = archive_restore(ctx, a, NULL, count, &written);
        if (!status && written != archive_about(a)->original_n) abort();
        if (status && !pith_error(ctx)[0]) abort();
        pith_begin(ctx);
        look(ctx, a);
        export_it(ctx, a, size);
    } else if (a || !pith_error(ctx)[0] || strchr(pith_error(ctx), '\n')) {
        abort(); /* a failure says what it is */
    }
    archive_close(ctx, a);
    if (pith_memory_used(ctx) != 0) abort();
    pith_ctx_free(ctx);
    free(copy);
    return 0;
}
