/* Bytes as blocks: decoded by every table this machine has, which must agree; blocks with finite
 * scales decode to finite floats; what an encoder makes of any floats is decodable again.
 *
 * Byte 0 chooses the type, bit 7 what the rest is: blocks, or floats for the type's encoder. */
#include "formats/blocks/parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ELEMENTS_MAX = 2048 };

static float a[ELEMENTS_MAX], b[ELEMENTS_MAX];

/* The same bits, or both not a number: which of two NaNs a sum keeps is the compiler's choice. */
static void check_same(size_t n) {
    for (size_t i = 0; i < n; i++)
        if (float_bits(a[i]) != float_bits(b[i]) && (a[i] == a[i] || b[i] == b[i])) abort();
}

static void check_decoders(const tensor_type_info *info, const uint8_t *src, size_t n_blocks) {
    size_t n = n_blocks * info->block, bad = n_blocks;
    decoders_scalar[TYPE_SLOT(info->type)](src, a, n_blocks);
    blocks_decode(info->type, src, b, n);
    check_same(n);
    bool valid = blocks_valid(info->type, src, n_blocks, &bad);
    if (!valid && bad >= n_blocks) abort();
    size_t n_good = (valid ? n_blocks : bad) * info->block;
    for (size_t i = 0; i < n_good; i++)
        if (a[i] != a[i]) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    const tensor_type_info *info = tensor_type_of(data[0] & 0x40 ? 1000u + (data[0] & 0x3f) : data[0] & 0x3fu);
    if (!info) return 0;
    const uint8_t *src = data + 1;
    size_t limit = ELEMENTS_MAX / info->block;
    size--;
    if (!(data[0] & 0x80)) {
        check_decoders(info, src, PITH_MIN(size / info->block_bytes, limit));
        return 0;
    }
    static float x[ELEMENTS_MAX];
    static uint8_t blocks[ELEMENTS_MAX * 8];
    size_t n_blocks = PITH_MIN(size / 4 / info->block, limit);
    memcpy(x, src, n_blocks * info->block * 4);
    if (blocks_encode(info->type, x, blocks, n_blocks * info->block)) check_decoders(info, blocks, n_blocks);
    return 0;
}
