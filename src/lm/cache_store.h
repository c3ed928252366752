/* Where the plain cache keeps keys, or values, of one type. A stripe is what is stored side by side for one
 * position: a head, or all heads of a layer where a block of the type does not end with a head. Stripes have
 * slots for whole tiles of positions. Floats and halves of keys lie transposed in their tile, [head_dim][CACHE_TILE],
 * as attention multiplies them; so do q8_0 and q4_0 ones, by block: the scales of the tile, then [element][CACHE_TILE].
 * Everything else lies [position][channel], blocks of 32 along the channels as in ggml's caches. Private to lm. */
#ifndef LM_CACHE_STORE_H
#define LM_CACHE_STORE_H

#include "lm/cache.h"

#define CACHE_TILE 64 /* positions */

typedef struct cache_store {
    tensor_type type;
    bool transposed, by_block; /* keys whose channels lie position by position; of types with blocks */
    bool shared;               /* a stripe is all heads of a layer */
    uint32_t n_layers;
    size_t head_dim, width;          /* width: channels of a stripe */
    size_t n_stripes;                /* of a layer */
    size_t slot_bytes, stripe_bytes; /* one position of a stripe, all of them */
    uint64_t bytes;                  /* [n_sequences][n_layers][n_stripes][stripe_bytes] */
    uint8_t *data;                   /* zeros at first */
} cache_store;

/* Sizes, without data. False when they are past any memory; the type must fit (cache_type_fits). */
bool cache_store_plan(const cache_shape *shape, tensor_type type, bool keys, cache_store *out);
/* The row of one token in one layer, [n_heads][head_dim]. */
void cache_store_put(const cache_store *s, uint32_t sequence, uint32_t layer, size_t position, const float *row,
                     size_t n_heads);
/* Floats of room that the two below ask for, for `run` positions of values at most. */
size_t cache_store_room(size_t head_dim, size_t run);
/* Keys of one head at positions [first, first + n), n <= CACHE_TILE, first a multiple of CACHE_TILE: channel c of the
 * i-th at result[c * *stride + i]. In the store itself or in room. */
const float *cache_store_keys(const cache_store *s, uint32_t sequence, uint32_t layer, size_t head, size_t first,
                              size_t n, float *room, size_t *stride);
/* Values of one head at positions [first, first + n): [n][head_dim]. */
const float *cache_store_values(const cache_store *s, uint32_t sequence, uint32_t layer, size_t head, size_t first,
                                size_t n, float *room);
/* The first `length` positions of a sequence. */
void cache_store_copy(const cache_store *s, uint32_t from, uint32_t to, uint32_t length);

#endif
