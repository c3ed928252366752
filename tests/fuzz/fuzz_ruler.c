/* Bytes as a file of saved log-probabilities, or as multiple-choice items: both are files that
 * somebody else may have made. What was read can be written and read again. */
#include "lm/ruler/ruler.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROWS_MAX 64

static void base_file(pith_ctx *ctx, const uint8_t *data, size_t size) {
    ruler_base *b;
    if (ruler_base_open_memory(ctx, data, size, &b) != PITH_OK) {
        if (!pith_error(ctx)[0]) abort(); /* a failure says what it is */
        return;
    }
    ruler_chunks chunks = ruler_base_chunks(b);
    uint32_t n_vocab = ruler_base_vocab(b);
    size_t n_rows = chunks.n_chunks * ruler_chunk_rows(chunks.n_ctx);
    float *row = malloc(n_vocab * sizeof *row);
    if (!row) abort();
    for (size_t i = 0; i < n_rows && i < ROWS_MAX; i++)
        if (ruler_base_row(ctx, b, i, row) != PITH_OK && !pith_error(ctx)[0]) abort();
    pith_buffer head = {0};
    if (ruler_base_head(ctx, &chunks, n_vocab, &head) == PITH_OK && (head.size > size || memcmp(head.data, data, head.size)))
        abort();
    pith_buffer_free(ctx, &head);
    free(row);
    ruler_base_close(ctx, b);
}

static void items(pith_ctx *ctx, const uint8_t *data, size_t size) {
    ruler_items list = {0}, again = {0};
    pith_buffer text = {0};
    if (ruler_items_read(ctx, (const char *)data, size, &list) == PITH_OK) {
        if (ruler_items_write(ctx, &list, &text) != PITH_OK) abort();
        if (ruler_items_read(ctx, (const char *)text.data, text.size, &again) != PITH_OK || again.n != list.n) abort();
    } else if (!pith_error(ctx)[0]) {
        abort();
    }
    ruler_items_free(ctx, &list);
    ruler_items_free(ctx, &again);
    pith_buffer_free(ctx, &text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    pith_ctx *ctx = pith_ctx_new(NULL);
    if (!ctx) return 0;
    pith_ctx_set_memory(ctx, (uint64_t)64 << 20);
    (data[0] == '_' ? base_file : items)(ctx, data, size);
    if (pith_memory_used(ctx)) abort();
    pith_ctx_free(ctx);
    return 0;
}
