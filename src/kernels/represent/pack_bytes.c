/* A plane of bytes in the smallest of some ways: a byte that says which, then
 *   stored    the bytes
 *   one       one byte, which all are
 *   huffman   huffman.c: fast everywhere, so it is taken when at most 1/512 larger than rANS
 *   rans      rans.c
 *   zstd      pack_zstd.c: where there are repeats */
#include <math.h>

#include "kernels/represent/huffman.h"
#include "kernels/represent/pack_parts.h"
#include "kernels/represent/rans.h"

enum { STORED, ONE, HUFFMAN, RANS, ZSTD };

#define SAMPLE_FROM 32768
#define SAMPLE_PIECES 16
#define SAMPLE_BYTES 1024
#define ZSTD_LEVEL 1 /* on planes of weights as small as 3, and faster */

void pack_count(const uint8_t *src, size_t n, uint32_t count[256]) {
    /* eight tables: equal bytes in a row do not wait for each other */
    uint32_t part[8][256] = {{0}};
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t v = load64(src + i);
        for (unsigned k = 0; k < 8; k++) part[k][v >> 8 * k & 255]++;
    }
    for (; i < n; i++) part[0][src[i]]++;
    for (unsigned s = 0; s < 256; s++) {
        count[s] = 0;
        for (unsigned k = 0; k < 8; k++) count[s] += part[k][s];
    }
}

double pack_entropy(const uint32_t *count, size_t n_symbols, size_t n) {
    double sum = 0;
    for (size_t s = 0; s < n_symbols; s++)
        if (count[s]) sum += count[s] * log2((double)n / count[s]);
    return sum;
}

/* What looks like noise in a sample is not looked at further. */
static bool is_noise(const uint8_t *src, size_t n) {
    uint32_t count[256], sum[256] = {0};
    if (n < SAMPLE_FROM) return false;
    for (unsigned k = 0; k < SAMPLE_PIECES; k++) {
        pack_count(src + (n / SAMPLE_PIECES) * k, SAMPLE_BYTES, count);
        for (unsigned s = 0; s < 256; s++) sum[s] += count[s];
    }
    const size_t n_sample = (size_t)SAMPLE_PIECES * SAMPLE_BYTES;
    return pack_entropy(sum, 256, n_sample) > 7.9 * (double)n_sample;
}

#define REPEATS_WINDOW 32768
#define ANCHOR_BITS 6 /* one place in 64 is looked at, chosen by its eight bytes */
#define ANCHORS 4096

bool pack_repeats(const uint8_t *src, size_t n) {
    uint64_t seen[ANCHORS] = {0};
    unsigned n_anchors = 0, n_again = 0;
    size_t window = PITH_MIN(n, REPEATS_WINDOW);
    src += (n - window) / 2;
    for (size_t i = 0; i + 8 <= window; i++) {
        uint64_t v = load64(src + i), hash = v * 0x9E3779B97F4A7C15u;
        if (hash >> (64 - ANCHOR_BITS)) continue;
        uint64_t *place = &seen[hash >> 40 & (ANCHORS - 1)];
        n_anchors++;
        n_again += *place == v;
        *place = v;
    }
    return n_again > 2 + n_anchors / 32;
}

static pith_status put_kind(pith_ctx *ctx, unsigned kind, pith_buffer *out) {
    uint8_t byte = (uint8_t)kind;
    return pith_buffer_append(ctx, out, &byte, 1);
}

static pith_status put_stored(pith_ctx *ctx, const uint8_t *src, size_t n, pith_buffer *out) {
    pith_status status = put_kind(ctx, STORED, out);
    return status ? status : pith_buffer_append(ctx, out, src, n);
}

pith_status pack_bytes_put(pack_zstd *z, const uint8_t *src, size_t n, bool with_zstd, pith_buffer *out) {
    pith_ctx *ctx = z->ctx;
    size_t begin = out->size;
    pith_status status;
    if (n == 0 || (!with_zstd && is_noise(src, n))) return put_stored(ctx, src, n, out);
    uint32_t count[256];
    uint8_t length[256];
    pack_count(src, n, count);
    if (count[src[0]] == n) {
        status = put_kind(ctx, ONE, out);
        return status ? status : pith_buffer_append(ctx, out, src, 1);
    }
    double entropy = pack_entropy(count, 256, n);
    uint64_t bits = huffman_lengths(count, length);
    bool huffman = (double)bits <= entropy * (1 + 1.0 / 512) + 64;
    if ((huffman ? (double)bits : entropy) < 7.9 * (double)n) {
        status = put_kind(ctx, huffman ? HUFFMAN : RANS, out);
        if (!status)
            status = huffman ? huffman_encode(ctx, src, n, length, out) : rans_encode(ctx, src, n, count, out);
        if (status) return status;
    }
    size_t size = out->size - begin;
    if (with_zstd) {
        pith_buffer other = {0};
        status = pack_zstd_put(z, ZSTD_LEVEL, src, n, &other);
        if (!status && other.size + 1 < (size ? size - size / 128 : n)) {
            out->size = begin;
            status = put_kind(ctx, ZSTD, out);
            if (!status) status = pith_buffer_append(ctx, out, other.data, other.size);
        }
        pith_buffer_free(ctx, &other);
        if (status) return status;
        size = out->size - begin;
    }
    if (size && size <= n) return PITH_OK;
    out->size = begin;
    return put_stored(ctx, src, n, out);
}

pith_status pack_bytes_take(pack_zstd *z, repr_reader *in, uint8_t *room, size_t n, const uint8_t **at) {
    const uint8_t *kind = repr_take(in, 1), *p;
    bool good = kind != NULL;
    *at = room;
    switch (kind ? *kind : STORED) {
    case STORED:
        *at = good ? repr_take(in, n) : NULL;
        good = *at != NULL;
        break;
    case ONE:
        p = repr_take(in, 1);
        good = p != NULL;
        if (p && n) memset(room, *p, n);
        break;
    case HUFFMAN: good = huffman_decode(in, room, n); break;
    case RANS: good = rans_decode(in, room, n); break;
    case ZSTD: return pack_zstd_take(z, in, room, n);
    default: good = false;
    }
    return good ? PITH_OK : pith_fail(z->ctx, PITH_E_FORMAT, "a plane of %zu bytes cannot be decoded", n);
}
