/* x86 machine code: near calls and jumps get absolute targets, so that the same target is the
 * same bytes wherever it is called from.
 *
 * After E8, E9 and 0F 80..8F stands a 32-bit displacement, after the REX and opcode of many
 * 64-bit instructions with mod/rm 00xxx101 another. Where its top byte says it is small, the
 * address behind it is added, modulo 2^25 and sign-extended: the top byte stays small and the
 * step can be undone. No arguments. (The idea is that of every executable filter since LZX.) */
#include "artefacts/file/codec.h"
#include "artefacts/file/detect.h"

/* Length of the instruction head at p before a displacement, or 0; at least 7 bytes are there. */
PITH_INLINE size_t head_length(const uint8_t *p) {
    if ((p[0] & 0xFE) == 0xE8) return 1;
    if (p[0] == 0x0F) return (p[1] & 0xF0) == 0x80 ? 2 : 0;
    /* REX.W mov, lea, cmp, add and their like with an address relative to the next instruction */
    if ((p[0] & 0xFB) == 0x48 && (p[2] & 0xC7) == 0x05) {
        switch (p[1]) {
        case 0x8B:
        case 0x8D:
        case 0x89:
        case 0x3B:
        case 0x39:
        case 0x03:
        case 0x2B:
        case 0x85: return 3;
        default: return 0;
        }
    }
    return 0;
}

/* In place. Every displacement is stepped over, changed or not: only so do both directions see
 * the same heads and the same top bytes. */
static void convert(uint8_t *data, size_t n, bool forward) {
    if (n < 8) return;
    for (size_t i = 0; i + 8 <= n;) {
        size_t head = head_length(data + i);
        if (!head) {
            i++;
            continue;
        }
        i += head + 4;
        uint8_t *p = data + i - 4;
        if (p[3] != 0 && p[3] != 0xFF) continue;
        uint32_t v = forward ? load32(p) + (uint32_t)i : load32(p) - (uint32_t)i;
        store32(p, (v & 0x1FFFFFF) | (v & 0x1000000 ? 0xFE000000u : 0));
    }
}

static pith_status forward(pith_ctx *ctx, file_args *args, const uint8_t *src, size_t n, pith_buffer *dst, bool *pays) {
    args->n = 0;
    *pays = false;
    detect_result look;
    detect_block(src, n, &look);
    if (!look.x86_calls) return PITH_OK;
    pith_status status = pith_buffer_append(ctx, dst, src, n);
    if (status) return status;
    convert(dst->data, n, true);
    *pays = true;
    return PITH_OK;
}

static pith_status inverse(pith_ctx *ctx, const file_args *args, const uint8_t *src, size_t n, uint8_t *dst,
                           size_t raw_n) {
    (void)args;
    if (n != raw_n) return pith_fail(ctx, PITH_E_FORMAT, "the x86 front end does not change a block's size");
    if (n) memcpy(dst, src, n);
    convert(dst, n, false);
    return PITH_OK;
}

static pith_status check(pith_ctx *ctx, const file_args *args) {
    return args->n == 0 ? PITH_OK : pith_fail(ctx, PITH_E_FORMAT, "x86 takes no arguments");
}

static uint64_t memory(const file_args *args, size_t raw_n) {
    (void)args, (void)raw_n;
    return 0;
}

const file_front file_front_x86 = {
    .id = 2,
    .name = "x86",
    .forward = forward,
    .inverse = inverse,
    .check = check,
    .memory = memory,
};
