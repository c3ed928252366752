/* Rows of keys and values in any of the types that a cache may have. Blocks are encoded by ggml's rule as a row
 * arrives and decoded a tile at a time: the products of attention then see floats, in the order that lm/cache.c says,
 * so a store of blocks answers exactly as a store of floats would that holds what the blocks mean. */
#include "lm/cache_store.h"
#include "lm/cache_decode.h"
#include "math/math.h"

#define TILE CACHE_TILE
#define BLOCK 32 /* of all types with blocks that a cache may have */

bool lm_cache_takes(tensor_type type) {
    static const uint8_t types[] = {TENSOR_F32,  TENSOR_F16,  TENSOR_BF16, TENSOR_Q8_0,  TENSOR_Q5_1,
                                    TENSOR_Q5_0, TENSOR_Q4_1, TENSOR_Q4_0, TENSOR_IQ4_NL};
    for (size_t i = 0; i < PITH_COUNT(types); i++)
        if (types[i] == (unsigned)type) return true;
    return false;
}

static size_t heads_in(const cache_shape *s, uint32_t layer) {
    return s->layer_kv_heads ? s->layer_kv_heads[layer] : s->n_kv_heads;
}

static size_t block_of(tensor_type type) { return tensor_type_of(type)->block; }

/* The first layer whose row is no whole number of blocks; n_layers when there is none. */
static uint32_t misfit(const cache_shape *s, tensor_type type) {
    uint32_t layer = 0;
    while (layer < s->n_layers && (heads_in(s, layer) * s->head_dim) % block_of(type) == 0) layer++;
    return layer;
}

pith_status cache_type_fits(pith_ctx *ctx, const cache_shape *s, lm_cache_type type) {
    for (int side = 0; side < 2; side++) {
        tensor_type one = side ? type.values : type.keys;
        const char *what = side ? "values" : "keys";
        if (!lm_cache_takes(one))
            return pith_fail(ctx, PITH_E_ARGUMENT,
                             "%s cannot be cached in that type; there are f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0 "
                             "and iq4_nl",
                             what);
        uint32_t layer = misfit(s, one);
        if (layer < s->n_layers)
            return pith_fail(ctx, PITH_E_ARGUMENT,
                             "%s cannot be cached as %s, which has blocks of %zu: those of a token are %zu heads of %u",
                             what, tensor_type_of(one)->name, block_of(one), heads_in(s, layer), s->head_dim);
    }
    return PITH_OK;
}

bool cache_store_plan(const cache_shape *shape, tensor_type type, bool keys, cache_store *out) {
    size_t block = block_of(type), d = shape->head_dim;
    bool floats = type == TENSOR_F32 || type == TENSOR_F16, shared = d % block != 0;
    bool common = type == TENSOR_Q8_0 || type == TENSOR_Q4_0; /* those with loops of their own */
    uint64_t slot, bytes, slots = ((uint64_t)shape->n_ctx + TILE - 1) / TILE * TILE, width = d;
    if (shared && __builtin_mul_overflow((uint64_t)shape->n_kv_heads, d, &width)) return false;
    width = (width + block - 1) / block * block;
    if (!tensor_type_bytes((uint32_t)type, width, &slot)) return false;
    *out = (cache_store){.type = type,
                         .transposed = keys && (floats || common),
                         .by_block = common,
                         .shared = shared,
                         .n_layers = shape->n_layers,
                         .head_dim = d,
                         .width = (size_t)width,
                         .n_stripes = shared ? 1 : shape->n_kv_heads,
                         .slot_bytes = (size_t)slot};
    if (__builtin_mul_overflow(slots, slot, &bytes) || bytes > SIZE_MAX / 2) return false;
    out->stripe_bytes = (size_t)bytes;
    return !__builtin_mul_overflow((uint64_t)shape->n_sequences * shape->n_layers, bytes, &bytes) &&
           !__builtin_mul_overflow(bytes, (uint64_t)out->n_stripes, &out->bytes) && out->bytes <= SIZE_MAX / 2;
}

/* ---- one position in ---- */

static uint8_t *stripe_at(const cache_store *s, uint32_t sequence, uint32_t layer, size_t stripe) {
    return s->data + (((size_t)sequence * s->n_layers + layer) * s->n_stripes + stripe) * s->stripe_bytes;
}

/* The first byte of a block of the tile at position `first`. */
static uint8_t *tile_block(const cache_store *s, uint8_t *stripe, size_t first, size_t block) {
    return stripe + first * s->slot_bytes + block * TILE * tensor_type_of(s->type)->block_bytes;
}

static void put_by_block(const cache_store *s, uint8_t *stripe, size_t position, const float *x, size_t n) {
    size_t lane = position % TILE, bytes = tensor_type_of(s->type)->block_bytes;
    for (size_t b = 0; b < n / BLOCK; b++) {
        uint8_t one[2 + BLOCK], *to = tile_block(s, stripe, position - lane, b);
        blocks_encode(s->type, x + b * BLOCK, one, BLOCK);
        uint16_t scale = (uint16_t)(one[0] | one[1] << 8);
        memcpy(to + 2 * lane, &scale, 2);
        for (size_t j = 2; j < bytes; j++) to[j * TILE + lane] = one[j];
    }
}

static void put_transposed(const cache_store *s, uint8_t *stripe, size_t position, const float *x) {
    size_t at = position / TILE * TILE * s->head_dim + position % TILE;
    if (s->type == TENSOR_F16) {
        uint16_t *to = (uint16_t *)(void *)stripe + at;
        for (size_t i = 0; i < s->head_dim; i++) to[i * TILE] = float_to_half(x[i]);
    } else {
        float *to = (float *)(void *)stripe + at;
        for (size_t i = 0; i < s->head_dim; i++) to[i * TILE] = x[i];
    }
}

static void put_halves(const cache_store *s, uint8_t *stripe, size_t position, const float *x) {
    uint16_t *to = (uint16_t *)(void *)stripe + position * s->head_dim;
    for (size_t i = 0; i < s->head_dim; i++) to[i] = float_to_half(x[i]);
}

void cache_store_put(const cache_store *s, uint32_t sequence, uint32_t layer, size_t position, const float *row,
                     size_t n_heads) {
    size_t n = n_heads * s->head_dim;
    for (size_t stripe = 0; stripe * s->width < n; stripe++) {
        const float *x = row + stripe * s->width;
        uint8_t *to = stripe_at(s, sequence, layer, stripe);
        size_t channels = PITH_MIN(s->width, n - stripe * s->width);
        if (s->transposed && s->by_block)
            put_by_block(s, to, position, x, channels);
        else if (s->transposed)
            put_transposed(s, to, position, x);
        else if (s->type == TENSOR_F16)
            put_halves(s, to, position, x);
        else
            blocks_encode(s->type, x, to + position * s->slot_bytes, channels);
    }
}

/* ---- many positions out ---- */

size_t cache_store_room(size_t head_dim, size_t run) {
    return PITH_MAX(run, (size_t)(2 * TILE)) * head_dim + head_dim + 2 * BLOCK;
}

/* Whole blocks, one behind the other. */
static void decode_blocks(const cache_store *s, const uint8_t *from, float *out, size_t n_blocks) {
    if (s->type == TENSOR_F16) {
        exact()->widen(out, (const uint16_t *)(const void *)from, n_blocks);
        return;
    }
    if (!s->by_block) {
        blocks_decode(s->type, from, out, n_blocks * block_of(s->type));
        return;
    }
    const cache_decode_ops *ops = cache_decode();
    size_t bytes = tensor_type_of(s->type)->block_bytes;
    for (size_t at = 0, n; at < n_blocks; at += n, from += n * bytes, out += n * BLOCK) {
        uint16_t half[TILE];
        float scale[TILE];
        n = PITH_MIN(n_blocks - at, (size_t)TILE);
        for (size_t b = 0; b < n; b++) half[b] = (uint16_t)(from[b * bytes] | from[b * bytes + 1] << 8);
        exact()->widen(scale, half, n);
        (s->type == TENSOR_Q8_0 ? ops->values8 : ops->values4)(out, scale, from + 2, bytes, n);
    }
}

/* [n][head_dim] of one head, decoded; `part` has room for the blocks that a head has a share in. */
static void decode_rows(const cache_store *s, uint32_t sequence, uint32_t layer, size_t head, size_t first, size_t n,
                        float *out, float *part) {
    size_t d = s->head_dim, stripe = s->shared ? 0 : head;
    const uint8_t *from = stripe_at(s, sequence, layer, stripe) + first * s->slot_bytes;
    if (!s->shared) {
        decode_blocks(s, from, out, n * d / block_of(s->type));
        return;
    }
    const tensor_type_info *info = tensor_type_of(s->type);
    size_t channel = head * d, block = channel / info->block, skip = channel % info->block;
    size_t span = (skip + d + info->block - 1) / info->block * info->block;
    for (size_t i = 0; i < n; i++) {
        decode_blocks(s, from + i * s->slot_bytes + block * info->block_bytes, part, span / info->block);
        memcpy(out + i * d, part + skip, d * sizeof *out);
    }
}

/* Keys of one head out of a tile of blocks: [head_dim][TILE]. */
static void decode_keys(const cache_store *s, uint8_t *stripe, size_t head, size_t first, size_t n, float *out) {
    const cache_decode_ops *ops = cache_decode();
    size_t d = s->head_dim, from = s->shared ? head * d : 0, to = from + d;
    n = (n + CACHE_LANES - 1) / CACHE_LANES * CACHE_LANES;
    for (size_t b = from / BLOCK; b * BLOCK < to; b++) {
        const uint8_t *block = tile_block(s, stripe, first, b);
        size_t low = PITH_MAX(from, b * BLOCK), high = PITH_MIN(to, (b + 1) * BLOCK);
        float scale[TILE];
        exact()->widen(scale, (const uint16_t *)(const void *)block, n);
        (s->type == TENSOR_Q8_0 ? ops->keys8 : ops->keys4)(out + (low - from) * TILE, scale, block + 2 * TILE, TILE,
                                                           low - b * BLOCK, high - b * BLOCK, n);
    }
}

const float *cache_store_keys(const cache_store *s, uint32_t sequence, uint32_t layer, size_t head, size_t first,
                              size_t n, float *room, size_t *stride) {
    size_t d = s->head_dim;
    if (s->transposed && s->by_block) {
        decode_keys(s, stripe_at(s, sequence, layer, s->shared ? 0 : head), head, first, n, room);
        *stride = TILE;
        return room;
    }
    if (s->transposed) {
        const uint8_t *from = stripe_at(s, sequence, layer, head) + first * s->slot_bytes;
        *stride = TILE;
        if (s->type == TENSOR_F32) return (const float *)(const void *)from;
        exact()->widen(room, (const uint16_t *)(const void *)from, TILE * d);
        return room;
    }
    n = (n + 7) / 8 * 8; /* what lies behind the last is never read; transposing likes whole eights */
    decode_rows(s, sequence, layer, head, first, n, room + TILE * d, room + 2 * TILE * d);
    exact()->transpose(room, room + TILE * d, n, d);
    *stride = n;
    return room;
}

const float *cache_store_values(const cache_store *s, uint32_t sequence, uint32_t layer, size_t head, size_t first,
                                size_t n, float *room) {
    size_t d = s->head_dim;
    if (s->type == TENSOR_F32)
        return (const float *)(const void *)(stripe_at(s, sequence, layer, head) + first * s->slot_bytes);
    decode_rows(s, sequence, layer, head, first, n, room, room + n * d);
    return room;
}

void cache_store_copy(const cache_store *s, uint32_t from, uint32_t to, uint32_t length) {
    size_t used = ((size_t)length + TILE - 1) / TILE * TILE * s->slot_bytes;
    for (uint32_t layer = 0; layer < s->n_layers; layer++)
        for (size_t i = 0; i < s->n_stripes; i++)
            memcpy(stripe_at(s, to, layer, i), stripe_at(s, from, layer, i), used);
}
