/* Saved log-probabilities of a base model, as llama-perplexity writes and reads them: 16 bits a
 * token, a scale and an offset a row. The reader believes nothing before it has seen that the
 * counts give exactly the size of the file. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lm/ruler/parts.h"

#define HEAD_BYTES 20
#define RANGE 16.0f /* nats below the largest that are kept */
#define MAX_CTX (1u << 24)
#define MAX_VOCAB (1u << 26)

struct ruler_base {
    const uint8_t *memory; /* or */
    int fd;
    uint64_t size, rows_at;
    uint32_t n_ctx, n_vocab, n_chunks;
    uint32_t *tokens;
    uint8_t *row;
    size_t row_bytes, n_rows;
};

size_t ruler_base_row_bytes(uint32_t n_vocab) { return 8 + ((size_t)n_vocab + (n_vocab & 1)) * 2; }

/* ---- writing ---- */

pith_status ruler_base_head(pith_ctx *ctx, const ruler_chunks *chunks, uint32_t n_vocab, pith_buffer *out) {
    if (chunks->n_chunks > INT32_MAX || chunks->n_ctx > MAX_CTX || n_vocab > MAX_VOCAB)
        return pith_fail(ctx, PITH_E_LIMIT, "too many chunks or tokens for a base file");
    uint8_t head[HEAD_BYTES] = "_logits_";
    store32(head + 8, chunks->n_ctx);
    store32(head + 12, n_vocab);
    store32(head + 16, (uint32_t)chunks->n_chunks);
    size_t n = chunks->n_chunks * chunks->n_ctx;
    pith_status status = pith_buffer_append(ctx, out, head, sizeof head);
    if (!status) status = pith_buffer_reserve(ctx, out, n * 4);
    if (status) return status;
    for (size_t i = 0; i < n; i++) store32(out->data + out->size + 4 * i, chunks->tokens[i]);
    out->size += 4 * n;
    return PITH_OK;
}

pith_status ruler_save_head(pith_ctx *ctx, const ruler_chunks *chunks, uint32_t n_vocab, ruler_write_fn save,
                            void *opaque) {
    pith_buffer head = {0};
    pith_status status = ruler_base_head(ctx, chunks, n_vocab, &head);
    if (!status) status = save(opaque, head.data, head.size);
    pith_buffer_free(ctx, &head);
    return status;
}

static void store_float(uint8_t *p, float f) {
    uint32_t bits;
    memcpy(&bits, &f, 4);
    store32(p, bits);
}

static float load_float(const uint8_t *p) {
    uint32_t bits = load32(p);
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

void ruler_base_pack(const float *logits, uint32_t n_vocab, uint8_t *out) {
    float top = logits[0], low = logits[0];
    for (uint32_t i = 1; i < n_vocab; i++) {
        top = logits[i] > top ? logits[i] : top;
        low = logits[i] < low ? logits[i] : low;
    }
    low = low < top - RANGE ? top - RANGE : low;
    double shift = ruler_side_of(logits, n_vocab).shift;
    float scale = (top - low) / 65535.0f, inverse = scale > 0 ? 1.0f / scale : 0;
    store_float(out, scale);
    store_float(out + 4, (float)((double)low - shift));
    for (uint32_t i = 0; i < n_vocab; i++) {
        float q = logits[i] > low ? rintf(inverse * (logits[i] - low)) : 0;
        store16(out + 8 + 2 * (size_t)i, (uint16_t)(q < 65535.0f ? q : 65535.0f));
    }
    if (n_vocab & 1) store16(out + 8 + 2 * (size_t)n_vocab, 0);
}

/* ---- reading ---- */

static pith_status read_at(pith_ctx *ctx, const ruler_base *b, uint64_t at, void *data, size_t size) {
    if (b->memory) {
        memcpy(data, b->memory + at, size);
        return PITH_OK;
    }
    uint8_t *p = data;
    while (size) {
        ssize_t n = pread(b->fd, p, size, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return pith_fail(ctx, PITH_E_IO, "base file: %s", strerror(errno));
        if (n == 0) return pith_fail(ctx, PITH_E_TRUNCATED, "base file: ends at byte %llu", (unsigned long long)at);
        p += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return PITH_OK;
}

static pith_status read_head(pith_ctx *ctx, ruler_base *b) {
    uint8_t head[HEAD_BYTES];
    if (b->size < HEAD_BYTES)
        return pith_fail(ctx, PITH_E_TRUNCATED, "base file: %llu bytes, its head takes %d", (unsigned long long)b->size,
                         HEAD_BYTES);
    pith_status status = read_at(ctx, b, 0, head, sizeof head);
    if (status) return status;
    if (memcmp(head, "_logits_", 8) != 0)
        return pith_fail(ctx, PITH_E_FORMAT, "base file: does not begin with _logits_");
    b->n_ctx = load32(head + 8);
    b->n_vocab = load32(head + 12);
    b->n_chunks = load32(head + 16);
    if (b->n_ctx < 4 || b->n_ctx > MAX_CTX)
        return pith_fail(ctx, PITH_E_FORMAT, "base file: n_ctx at byte 8 is %u, not 4 to %u", b->n_ctx, MAX_CTX);
    if (b->n_vocab < 1 || b->n_vocab > MAX_VOCAB)
        return pith_fail(ctx, PITH_E_FORMAT, "base file: n_vocab at byte 12 is %u, not 1 to %u", b->n_vocab, MAX_VOCAB);
    if (b->n_chunks < 1 || b->n_chunks > INT32_MAX)
        return pith_fail(ctx, PITH_E_FORMAT, "base file: n_chunks at byte 16 is %u", b->n_chunks);
    /* below 2^24 * 2^31 * 4 and 2^23 * 2^31 * 2^28: the second may pass 64 bits, so divide */
    uint64_t tokens = (uint64_t)b->n_ctx * b->n_chunks, rows = (uint64_t)ruler_chunk_rows(b->n_ctx) * b->n_chunks;
    b->rows_at = HEAD_BYTES + tokens * 4;
    b->row_bytes = ruler_base_row_bytes(b->n_vocab);
    if (b->size < b->rows_at || (b->size - b->rows_at) / b->row_bytes < rows)
        return pith_fail(ctx, PITH_E_TRUNCATED,
                         "base file: %llu bytes are too few for %u chunks of %u tokens over a vocabulary of %u",
                         (unsigned long long)b->size, b->n_chunks, b->n_ctx, b->n_vocab);
    if (b->size - b->rows_at != rows * b->row_bytes)
        return pith_fail(ctx, PITH_E_FORMAT, "base file: %llu bytes behind the last row",
                         (unsigned long long)(b->size - b->rows_at - rows * b->row_bytes));
    if (tokens > SIZE_MAX / 4 || rows > SIZE_MAX) return pith_fail(ctx, PITH_E_LIMIT, "base file: too large");
    b->n_rows = (size_t)rows;
    return PITH_OK;
}

static pith_status read_tokens(pith_ctx *ctx, ruler_base *b) {
    size_t n = (size_t)b->n_ctx * b->n_chunks;
    b->tokens = pith_alloc(ctx, n * 4);
    b->row = b->tokens ? pith_alloc(ctx, b->row_bytes) : NULL;
    if (!b->row) return pith_alloc_status(ctx);
    pith_status status = read_at(ctx, b, HEAD_BYTES, b->tokens, n * 4);
    for (size_t i = 0; i < n && !status; i++) {
        b->tokens[i] = load32((const uint8_t *)&b->tokens[i]);
        if (b->tokens[i] >= b->n_vocab)
            status = pith_fail(ctx, PITH_E_FORMAT, "base file: token %u at byte %zu is outside the vocabulary of %u",
                               b->tokens[i], HEAD_BYTES + 4 * i, b->n_vocab);
    }
    return status;
}

static pith_status open_base(pith_ctx *ctx, ruler_base *b, ruler_base **out) {
    pith_status status = read_head(ctx, b);
    if (!status) status = read_tokens(ctx, b);
    if (status)
        ruler_base_close(ctx, b);
    else
        *out = b;
    return status;
}

pith_status ruler_base_open(pith_ctx *ctx, const char *path, ruler_base **out) {
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return pith_fail(ctx, PITH_E_IO, "%s: %s", path, strerror(errno));
    struct stat st;
    ruler_base *b = NULL;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return pith_fail(ctx, PITH_E_IO, "%s: is no regular file", path);
    }
    b = pith_zalloc(ctx, sizeof *b);
    if (!b) {
        close(fd);
        return pith_alloc_status(ctx);
    }
    b->fd = fd;
    b->size = (uint64_t)st.st_size;
    return open_base(ctx, b, out);
}

pith_status ruler_base_open_memory(pith_ctx *ctx, const uint8_t *data, size_t size, ruler_base **out) {
    *out = NULL;
    ruler_base *b = pith_zalloc(ctx, sizeof *b);
    if (!b) return pith_alloc_status(ctx);
    b->fd = -1;
    b->memory = data;
    b->size = size;
    return open_base(ctx, b, out);
}

void ruler_base_close(pith_ctx *ctx, ruler_base *b) {
    if (!b) return;
    if (b->fd >= 0) close(b->fd);
    pith_free(ctx, b->tokens);
    pith_free(ctx, b->row);
    pith_free(ctx, b);
}

ruler_chunks ruler_base_chunks(const ruler_base *b) { return (ruler_chunks){b->tokens, b->n_ctx, b->n_chunks}; }
uint32_t ruler_base_vocab(const ruler_base *b) { return b->n_vocab; }

pith_status ruler_base_row(pith_ctx *ctx, ruler_base *b, size_t row, float *out) {
    if (row >= b->n_rows) return pith_fail(ctx, PITH_E_ARGUMENT, "base file: no row %zu of %zu", row, b->n_rows);
    uint64_t at = b->rows_at + (uint64_t)row * b->row_bytes;
    pith_status status = read_at(ctx, b, at, b->row, b->row_bytes);
    if (status) return status;
    float scale = load_float(b->row), least = load_float(b->row + 4);
    /* a little above 0 comes from rounding: the likeliest of a row that is sure */
    if (!(scale >= 0) || !(least > -1e4f) || !((double)scale * 65535 + (double)least < 0.01))
        return pith_fail(ctx, PITH_E_FORMAT, "base file: scale and offset at byte %llu are no log-probabilities",
                         (unsigned long long)at);
    for (uint32_t i = 0; i < b->n_vocab; i++) out[i] = scale * (float)load16(b->row + 8 + 2 * (size_t)i) + least;
    return PITH_OK;
}
