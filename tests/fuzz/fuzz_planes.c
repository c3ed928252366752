/* Bytes as the exact code of floats, alone or against a base: refused with a message or decoded, in parts as whole. Or as
 * elements, which must come back.
 *
 * Byte 0: bit 7 set for elements, bit 6 for a base, the rest the type; bytes 1 to 3: bytes of the tensor, and where a
 * part begins; then the code, or the elements and, as long as them, the base. */
#include "kernels/represent/planes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 4, BYTES_MOST = 300000 }; /* two pieces */

static uint8_t zeros[BYTES_MOST], whole[BYTES_MOST], part[BYTES_MOST];

static void decode(pith_ctx *ctx, uint32_t type, const uint8_t *data, size_t size, const uint8_t *base, size_t bytes) {
    repr_reader in = {data, data + size}, again = in;
    pith_status status = base ? repr_delta_decode(ctx, type, &in, base, whole, bytes)
                              : repr_floats_decode(ctx, type, &in, whole, bytes);
    if (status && !pith_error(ctx)[0]) abort();
    if (status) return;
    size_t first = bytes / 3, n = bytes / 2;
    if (planes_decode_range(ctx, type, &again, base, bytes, first, n, part) || again.p != in.p) abort();
    if (n && memcmp(part, whole + first, n) != 0) abort();
}

static void round_trip(pith_ctx *ctx, uint32_t type, const uint8_t *src, const uint8_t *base, size_t bytes) {
    pith_buffer out = {0};
    pith_status status = base ? repr_delta_encode(ctx, type, src, base, bytes, &out)
                              : repr_floats_encode(ctx, type, src, bytes, &out);
    if (status || out.size > bytes + 1) abort();
    repr_reader in = {out.data, out.data + out.size};
    status = base ? repr_delta_decode(ctx, type, &in, base, whole, bytes)
                  : repr_floats_decode(ctx, type, &in, whole, bytes);
    if (status || in.p != in.end || (bytes && memcmp(whole, src, bytes) != 0)) abort();
    pith_buffer_free(ctx, &out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < HEAD) return 0;
    uint32_t type = data[0] & 0x3F;
    bool based = data[0] & 0x40;
    size_t bytes = (load16(data + 1) | (size_t)data[3] << 16) % (BYTES_MOST + 1);
    pith_ctx *ctx = pith_ctx_new(NULL);
    if (!ctx) abort();
    pith_ctx_set_threads(ctx, 1);
    size -= HEAD;
    data += HEAD;
    if (data[-HEAD] & 0x80) {
        bytes = PITH_MIN(based ? size / 2 : size, BYTES_MOST);
        round_trip(ctx, type, data, based ? data + bytes : NULL, bytes);
    } else {
        decode(ctx, type, data, size, based ? zeros : NULL, bytes);
    }
    pith_ctx_free(ctx);
    return 0;
}
