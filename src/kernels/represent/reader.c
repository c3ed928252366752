/* Bytes of strangers: what stages read and write besides planes. */
#include "formats/blocks/blocks.h"
#include "kernels/represent/represent.h"

const uint8_t *repr_take(repr_reader *r, size_t n) {
    if (!r->p || (size_t)(r->end - r->p) < n) return NULL;
    r->p += n;
    return r->p - n;
}

bool repr_take_number(repr_reader *r, uint64_t most, uint64_t *value) {
    size_t used = r->p ? pith_varint_get(r->p, (size_t)(r->end - r->p), value) : 0;
    if (!used || *value > most) return false;
    r->p += used;
    return true;
}

pith_status repr_put_number(pith_ctx *ctx, pith_buffer *out, uint64_t value) {
    uint8_t bytes[PITH_VARINT_MAX];
    return pith_buffer_append(ctx, out, bytes, pith_varint_put(bytes, value));
}

pith_status repr_cut_off(pith_ctx *ctx) {
    return pith_fail(ctx, PITH_E_FORMAT, "the code of a matrix ends too early");
}

pith_status repr_put_halves(pith_ctx *ctx, pith_buffer *out, const float *values, size_t n) {
    if (n > SIZE_MAX / 2) return pith_fail(ctx, PITH_E_LIMIT, "%zu numbers are too many", n);
    pith_status status = pith_buffer_reserve(ctx, out, 2 * n);
    for (size_t i = 0; i < n && !status; i++, out->size += 2) store16(out->data + out->size, float_to_half(values[i]));
    return status;
}

bool repr_take_halves(repr_reader *r, float *values, size_t n) {
    const uint8_t *p = n <= SIZE_MAX / 2 ? repr_take(r, 2 * n) : NULL;
    for (size_t i = 0; p && i < n; i++) values[i] = half_to_float(load16(p + 2 * i));
    return p != NULL;
}

pith_status repr_put_floats(pith_ctx *ctx, pith_buffer *out, const float *values, size_t n) {
    if (n > SIZE_MAX / 4) return pith_fail(ctx, PITH_E_LIMIT, "%zu numbers are too many", n);
    pith_status status = pith_buffer_reserve(ctx, out, 4 * n);
    for (size_t i = 0; i < n && !status; i++, out->size += 4) {
        uint32_t bits;
        memcpy(&bits, &values[i], 4);
        store32(out->data + out->size, bits);
    }
    return status;
}

bool repr_take_floats(repr_reader *r, float *values, size_t n) {
    const uint8_t *p = n <= SIZE_MAX / 4 ? repr_take(r, 4 * n) : NULL;
    for (size_t i = 0; p && i < n; i++) {
        uint32_t bits = load32(p + 4 * i);
        memcpy(&values[i], &bits, 4);
    }
    return p != NULL;
}
