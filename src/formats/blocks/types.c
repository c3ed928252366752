/* The table of element types: names, block sizes, and where a block keeps its floats, so that one
 * loop finds the blocks with a scale that is no number. A float is not finite when all the bits of
 * a mask are set in it: the exponent's, or for E4M3 and E8M0, which have no infinity, all of them. */
#include "formats/blocks/parts.h"

#include <stddef.h>

typedef struct type_entry {
    tensor_type_info info;
    uint64_t mask;     /* 0: nothing that could be not finite */
    uint8_t n_scales;  /* 0 with a mask: IQ1_M, whose scale is in pieces */
    uint8_t offset[2]; /* of the scales in the block */
} type_entry;

#define HALF 0x7c00
#define TYPE(t, name, n, bytes, ...) [TYPE_SLOT(TENSOR_##t)] = {{TENSOR_##t, name, n, bytes, true}, __VA_ARGS__}
#define OTHER(t, name, bytes, ...) [TYPE_SLOT(TENSOR_##t)] = {{TENSOR_##t, name, 1, bytes, false}, __VA_ARGS__}
#define SMALL(t, name, block, ...) TYPE(t, name, SMALL_BLOCK, sizeof(block), __VA_ARGS__)
#define SUPER(t, name, block, ...) TYPE(t, name, SUPER_BLOCK, sizeof(block), __VA_ARGS__)
/* clang-format off */
#define NO_SCALE 0, 0, {0}
#define ONE_AT(mask, block, field) mask, 1, {offsetof(block, field)}
#define TWO_AT(mask, block, field, second) mask, 2, {offsetof(block, field), offsetof(block, second)}
/* clang-format on */

static const type_entry types[TYPE_SLOTS] = {
    TYPE(F32, "f32", 1, 4, 0x7f800000, 1, {0}),
    TYPE(F16, "f16", 1, 2, HALF, 1, {0}),
    TYPE(BF16, "bf16", 1, 2, 0x7f80, 1, {0}),
    TYPE(F64, "f64", 1, 8, 0x7ff0000000000000, 1, {0}),
    TYPE(I8, "i8", 1, 1, NO_SCALE),
    TYPE(I16, "i16", 1, 2, NO_SCALE),
    TYPE(I32, "i32", 1, 4, NO_SCALE),
    TYPE(I64, "i64", 1, 8, NO_SCALE),
    SMALL(Q4_0, "q4_0", q4_0_block, ONE_AT(HALF, q4_0_block, d)),
    SMALL(Q4_1, "q4_1", q4_1_block, TWO_AT(HALF, q4_1_block, d, min)),
    SMALL(Q5_0, "q5_0", q5_0_block, ONE_AT(HALF, q5_0_block, d)),
    SMALL(Q5_1, "q5_1", q5_1_block, TWO_AT(HALF, q5_1_block, d, min)),
    SMALL(Q8_0, "q8_0", q8_0_block, ONE_AT(HALF, q8_0_block, d)),
    SMALL(Q8_1, "q8_1", q8_1_block, TWO_AT(HALF, q8_1_block, d, sum)),
    SMALL(MXFP4, "mxfp4", mxfp4_block, ONE_AT(0xff, mxfp4_block, exponent)),
    SMALL(IQ4_NL, "iq4_nl", iq4_nl_block, ONE_AT(HALF, iq4_nl_block, d)),
    SUPER(Q2_K, "q2_K", q2_k_block, TWO_AT(HALF, q2_k_block, d, min)),
    SUPER(Q3_K, "q3_K", q3_k_block, ONE_AT(HALF, q3_k_block, d)),
    SUPER(Q4_K, "q4_K", q4_k_block, TWO_AT(HALF, q4_k_block, d, min)),
    SUPER(Q5_K, "q5_K", q5_k_block, TWO_AT(HALF, q5_k_block, d, min)),
    SUPER(Q6_K, "q6_K", q6_k_block, ONE_AT(HALF, q6_k_block, d)),
    SUPER(Q8_K, "q8_K", q8_k_block, ONE_AT(0x7f800000, q8_k_block, d)),
    SUPER(TQ1_0, "tq1_0", tq1_0_block, ONE_AT(HALF, tq1_0_block, d)),
    SUPER(TQ2_0, "tq2_0", tq2_0_block, ONE_AT(HALF, tq2_0_block, d)),
    SUPER(IQ1_S, "iq1_s", iq1_s_block, ONE_AT(HALF, iq1_s_block, d)),
    SUPER(IQ1_M, "iq1_m", iq1_m_block, HALF, 0, {0}),
    SUPER(IQ2_XXS, "iq2_xxs", iq2_xxs_block, ONE_AT(HALF, iq2_xxs_block, d)),
    SUPER(IQ2_XS, "iq2_xs", iq2_xs_block, ONE_AT(HALF, iq2_xs_block, d)),
    SUPER(IQ2_S, "iq2_s", iq2_s_block, ONE_AT(HALF, iq2_s_block, d)),
    SUPER(IQ3_XXS, "iq3_xxs", iq3_xxs_block, ONE_AT(HALF, iq3_xxs_block, d)),
    SUPER(IQ3_S, "iq3_s", iq3_s_block, ONE_AT(HALF, iq3_s_block, d)),
    SUPER(IQ4_XS, "iq4_xs", iq4_xs_block, ONE_AT(HALF, iq4_xs_block, d)),
    OTHER(U8, "u8", 1, NO_SCALE),
    OTHER(U16, "u16", 2, NO_SCALE),
    OTHER(U32, "u32", 4, NO_SCALE),
    OTHER(U64, "u64", 8, NO_SCALE),
    OTHER(BOOL, "bool", 1, NO_SCALE),
    OTHER(F8_E4M3, "f8_e4m3", 1, 0x7f, 1, {0}),
    OTHER(F8_E5M2, "f8_e5m2", 1, 0x7c, 1, {0}),
};

static const type_entry *entry_of(uint32_t type) {
    if (type >= GGUF_SLOTS && (type < OTHER_FIRST || type >= OTHER_FIRST + OTHER_SLOTS)) return NULL;
    const type_entry *e = &types[TYPE_SLOT(type)];
    return e->info.name ? e : NULL;
}

const tensor_type_info *tensor_type_of(uint32_t type) {
    const type_entry *e = entry_of(type);
    return e ? &e->info : NULL;
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

const tensor_type_info *tensor_type_named(const char *name, size_t name_n) {
    for (size_t t = 0; t < TYPE_SLOTS; t++) {
        const char *known = types[t].info.name;
        if (!known || strlen(known) != name_n) continue;
        size_t i = 0;
        while (i < name_n && lower(name[i]) == lower(known[i])) i++;
        if (i == name_n) return &types[t].info;
    }
    return NULL;
}

bool tensor_type_bytes(uint32_t type, uint64_t n, uint64_t *bytes) {
    const type_entry *e = entry_of(type);
    if (!e || n % e->info.block) return false;
    uint64_t n_blocks = n / e->info.block;
    if (n_blocks > UINT64_MAX / e->info.block_bytes) return false;
    *bytes = n_blocks * e->info.block_bytes;
    return true;
}

/* The number at p, as wide as the mask. */
static uint64_t load_masked(const uint8_t *p, uint64_t mask) {
    uint64_t v = mask <= 0xff ? *p : mask <= 0xffff ? load16(p) : mask <= 0xffffffff ? load32(p) : load64(p);
    return v & mask;
}

static bool block_finite(const type_entry *e, const uint8_t *block) {
    if (!e->n_scales) return (iq1_m_scale((const iq1_m_block *)block) & e->mask) != e->mask;
    for (unsigned s = 0; s < e->n_scales; s++)
        if (load_masked(block + e->offset[s], e->mask) == e->mask) return false;
    return true;
}

/* Plain types come in millions: loops without a branch first, which vectorise. A masked number is
 * at most the mask, so the largest tells whether one has all its bits. */
static bool plain_finite(const uint8_t *p, size_t n, uint64_t mask) {
    if (mask <= 0xff) {
        uint8_t most = 0;
        for (size_t i = 0; i < n; i++) most = PITH_MAX(most, (uint8_t)(p[i] & mask));
        return most != mask;
    }
    if (mask <= 0xffff) {
        int16_t most = 0, masked;
        for (size_t i = 0; i < n; i++) masked = (int16_t)(fetch16(p + 2 * i) & mask), most = PITH_MAX(most, masked);
        return (uint64_t)most != mask;
    }
    unsigned bad = 0;
    if (mask <= 0xffffffff)
        for (size_t i = 0; i < n; i++) bad |= (load32(p + 4 * i) & (uint32_t)mask) == (uint32_t)mask;
    else
        for (size_t i = 0; i < n; i++) bad |= (load64(p + 8 * i) & mask) == mask;
    return !bad;
}

bool blocks_valid(tensor_type type, const uint8_t *src, size_t n_blocks, size_t *bad) {
    const type_entry *e = entry_of(type);
    if (!e->mask || (e->info.block == 1 && plain_finite(src, n_blocks, e->mask))) return true;
    size_t bytes = e->info.block_bytes;
    for (size_t i = 0; i < n_blocks; i++) {
        if (PITH_LIKELY(block_finite(e, src + i * bytes))) continue;
        *bad = i;
        return false;
    }
    return true;
}
