/* The smallest exact code of a piece, the difference from a base among them. Elements have differences that
 * repr_delta_encode knows; blocks of quantised types are combined bit by bit, so that what is equal becomes zero, and
 * then coded as blocks are. */
#include "artefacts/model/difference.h"

static void combine(uint8_t *dst, const uint8_t *with, size_t n) {
    for (size_t i = 0; i < n; i++) dst[i] ^= with[i];
}

static pith_status encode_blocks(pith_ctx *ctx, uint32_t type, const uint8_t *src, const uint8_t *base, size_t n,
                                 pith_buffer *out) {
    archive_coding how;
    uint8_t first = 0, *both = pith_alloc(ctx, n);
    if (!both) return pith_alloc_status(ctx);
    memcpy(both, src, n);
    combine(both, base, n);
    size_t at = out->size;
    pith_status status = pith_buffer_append(ctx, out, &first, 1);
    if (!status) status = archive_piece_encode(ctx, type, false, both, n, &how, out);
    if (!status) out->data[at] = (uint8_t)how;
    pith_free(ctx, both);
    return status;
}

pith_status difference_encode(pith_ctx *ctx, uint32_t type, bool rest, const uint8_t *src, const uint8_t *base,
                              size_t n, unsigned *coding, pith_buffer *out) {
    archive_coding how;
    pith_buffer other = {0};
    size_t at = out->size;
    bool elements = tensor_type_of(type)->block == 1;
    pith_status status = archive_piece_encode(ctx, type, rest, src, n, &how, out);
    *coding = how;
    if (status || !base) return status;
    status =
        elements ? repr_delta_encode(ctx, type, src, base, n, &other) : encode_blocks(ctx, type, src, base, n, &other);
    if (!status && other.size < out->size - at) {
        out->size = at;
        *coding = elements ? DIFFERENCE_DELTA : DIFFERENCE_BLOCKS;
        status = pith_buffer_append(ctx, out, other.data, other.size);
    }
    pith_buffer_free(ctx, &other);
    return status;
}

pith_status difference_decode(pith_ctx *ctx, uint32_t type, unsigned coding, const uint8_t *code, size_t code_n,
                              const uint8_t *base, uint8_t *dst, size_t n) {
    if (!difference_has_base(coding))
        return archive_piece_decode(ctx, type, (archive_coding)coding, code, code_n, dst, n);
    if (!base) return pith_fail(ctx, PITH_E_FORMAT, "a difference from nothing");
    if (coding == DIFFERENCE_DELTA) {
        repr_reader in = {code, code + code_n};
        pith_status status = repr_delta_decode(ctx, type, &in, base, dst, n);
        if (!status && in.p != in.end) status = pith_fail(ctx, PITH_E_FORMAT, "bytes after the end of a difference");
        return status;
    }
    if (coding != DIFFERENCE_BLOCKS || code_n == 0 || code[0] >= ARCHIVE_CODINGS)
        return pith_fail(ctx, PITH_E_FORMAT, "a difference of an unknown kind");
    pith_status status = archive_piece_decode(ctx, type, (archive_coding)code[0], code + 1, code_n - 1, dst, n);
    if (!status) combine(dst, base, n);
    return status;
}
