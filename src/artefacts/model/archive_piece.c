/* Exact codes of one piece of a file. Floats go as planes; blocks of quantised types are transposed first, so that
 * scales lie with scales and codes with codes; what is left over at the end of a piece, and what nothing makes
 * smaller, stays as it is. */
#include "artefacts/model/archive_parts.h"

#define SAMPLE_BYTES ((size_t)1 << 18)
#define SAMPLE_LEAST ((size_t)1 << 14)
#define SAMPLES ((size_t)4)
#define REST_LEVEL 19 /* of zstd: heads are small, and a tokenizer's words are worth it */
#define DATA_LEVEL 3

/* column[b] = byte b of every block */
static void transpose(const uint8_t *src, size_t n_blocks, size_t period, uint8_t *columns) {
    for (size_t i0 = 0; i0 < n_blocks; i0 += 64) {
        size_t i1 = PITH_MIN(i0 + 64, n_blocks);
        for (size_t b = 0; b < period; b++)
            for (size_t i = i0; i < i1; i++) columns[b * n_blocks + i] = src[i * period + b];
    }
}

static void transpose_back(const uint8_t *columns, size_t n_blocks, size_t period, uint8_t *dst) {
    for (size_t i0 = 0; i0 < n_blocks; i0 += 64) {
        size_t i1 = PITH_MIN(i0 + 64, n_blocks);
        for (size_t b = 0; b < period; b++)
            for (size_t i = i0; i < i1; i++) dst[i * period + b] = columns[b * n_blocks + i];
    }
}

static pith_status columns_encode(pith_ctx *ctx, size_t period, const uint8_t *src, size_t n, pith_buffer *out) {
    size_t n_blocks = n / period, left = n % period;
    uint8_t *columns = pith_alloc(ctx, n);
    if (!columns) return pith_alloc_status(ctx);
    transpose(src, n_blocks, period, columns);
    pith_status status = PITH_OK;
    for (size_t b = 0; b < period && n_blocks && !status; b++)
        status = repr_floats_encode(ctx, TENSOR_U8, columns + b * n_blocks, n_blocks, out);
    if (!status) status = pith_buffer_append(ctx, out, src + n - left, left);
    pith_free(ctx, columns);
    return status;
}

static pith_status columns_decode(pith_ctx *ctx, size_t period, repr_reader *in, uint8_t *dst, size_t n) {
    size_t n_blocks = n / period, left = n % period;
    uint8_t *columns = pith_alloc(ctx, n);
    if (!columns) return pith_alloc_status(ctx);
    pith_status status = PITH_OK;
    for (size_t b = 0; b < period && n_blocks && !status; b++)
        status = repr_floats_decode(ctx, TENSOR_U8, in, columns + b * n_blocks, n_blocks);
    const uint8_t *end = status ? NULL : repr_take(in, left);
    if (!status && !end) status = repr_cut_off(ctx);
    if (!status) {
        transpose_back(columns, n_blocks, period, dst);
        memcpy(dst + n - left, end, left);
    }
    pith_free(ctx, columns);
    return status;
}

/* Appends the code by one way, or nothing when it is not smaller than the bytes. */
static pith_status try_coding(pith_ctx *ctx, tensor_type type, archive_coding coding, int level, const uint8_t *src,
                              size_t n, pith_buffer *out, bool *smaller) {
    size_t start = out->size;
    pith_status status;
    *smaller = false;
    switch (coding) {
    case ARCHIVE_PLANES: status = repr_floats_encode(ctx, type, src, n, out); break;
    case ARCHIVE_COLUMNS: status = columns_encode(ctx, tensor_type_of(type)->block_bytes, src, n, out); break;
    case ARCHIVE_ZSTD: return archive_zstd_encode(ctx, level, src, n, out, smaller);
    default: return PITH_OK;
    }
    if (!status && out->size - start < n) *smaller = true;
    if (!*smaller) out->size = start;
    return status;
}

/* Elements from four places, a sixteenth of all but not few: sample[SAMPLE_BYTES]. */
static size_t take_sample(tensor_type type, const uint8_t *src, size_t n, uint8_t *sample) {
    size_t step = tensor_type_of(type)->block_bytes;
    size_t each = PITH_MIN(PITH_MAX(n / 16, SAMPLE_LEAST), SAMPLE_BYTES) / SAMPLES / step * step;
    if (each * SAMPLES >= n) {
        size_t all = PITH_MIN(n, SAMPLE_BYTES);
        memcpy(sample, src, all);
        return all;
    }
    for (size_t i = 0; i < SAMPLES; i++)
        memcpy(sample + i * each, src + (n - each) / (SAMPLES - 1) * i / step * step, each);
    return SAMPLES * each;
}

/* zstd, or what suits the type, by a sample. */
static pith_status choose(pith_ctx *ctx, tensor_type type, archive_coding usual, const uint8_t *src, size_t n,
                          archive_coding *best) {
    archive_coding both[2] = {usual, ARCHIVE_ZSTD};
    uint8_t *sample = pith_alloc(ctx, SAMPLE_BYTES);
    if (!sample) return pith_alloc_status(ctx);
    size_t sample_n = take_sample(type, src, n, sample), least = sample_n;
    pith_buffer out = {0};
    pith_status status = PITH_OK;
    *best = ARCHIVE_STORED;
    for (unsigned i = 0; i < 2 && !status; i++) {
        bool smaller;
        out.size = 0;
        status = try_coding(ctx, type, both[i], DATA_LEVEL, sample, sample_n, &out, &smaller);
        if (!status && smaller && out.size < least) {
            least = i ? least : out.size - out.size / 32; /* planes are faster */
            *best = both[i];
        }
    }
    pith_buffer_free(ctx, &out);
    pith_free(ctx, sample);
    return status;
}

pith_status archive_piece_encode(pith_ctx *ctx, tensor_type type, bool rest, const uint8_t *src, size_t n,
                                 archive_coding *coding, pith_buffer *out) {
    pith_status status = PITH_OK;
    if (rest)
        *coding = ARCHIVE_ZSTD;
    else
        status = choose(ctx, type, tensor_type_of(type)->block > 1 ? ARCHIVE_COLUMNS : ARCHIVE_PLANES, src, n, coding);
    bool smaller = false;
    if (!status) status = try_coding(ctx, type, *coding, rest ? REST_LEVEL : DATA_LEVEL, src, n, out, &smaller);
    if (status || smaller) return status;
    *coding = ARCHIVE_STORED;
    return pith_buffer_append(ctx, out, src, n);
}

pith_status archive_piece_decode(pith_ctx *ctx, tensor_type type, archive_coding coding, const uint8_t *src, size_t n,
                                 uint8_t *dst, size_t raw_n) {
    repr_reader in = {.p = src, .end = src + n};
    pith_status status;
    switch (coding) {
    case ARCHIVE_STORED:
        if (n != raw_n) return pith_fail(ctx, PITH_E_FORMAT, "%zu stored bytes for %zu", n, raw_n);
        memcpy(dst, src, n);
        return PITH_OK;
    case ARCHIVE_ZSTD: return archive_zstd_decode(ctx, src, n, dst, raw_n);
    case ARCHIVE_PLANES: status = repr_floats_decode(ctx, type, &in, dst, raw_n); break;
    case ARCHIVE_COLUMNS: status = columns_decode(ctx, tensor_type_of(type)->block_bytes, &in, dst, raw_n); break;
    default: return pith_fail(ctx, PITH_E_FORMAT, "coding %u is not known", (unsigned)coding);
    }
    if (!status && in.p != in.end)
        status = pith_fail(ctx, PITH_E_FORMAT, "%zu bytes more than a piece needs", (size_t)(in.end - in.p));
    return status;
}
