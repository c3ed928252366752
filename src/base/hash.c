/* Check values: XXH3-64 by libxxhash. */
#define XXH_STATIC_LINKING_ONLY /* for the state by value */
#include <xxhash.h>

#include "base/base.h"

struct pith_hash {
    XXH3_state_t state;
};

uint64_t pith_hash64(const void *data, size_t size) { return XXH3_64bits(data, size); }

pith_hash *pith_hash_new(pith_ctx *ctx) {
    pith_hash *h = pith_alloc(ctx, sizeof *h);
    if (h) {
        XXH3_INITSTATE(&h->state);
        XXH3_64bits_reset(&h->state);
    }
    return h;
}

void pith_hash_update(pith_hash *h, const void *data, size_t size) { XXH3_64bits_update(&h->state, data, size); }

uint64_t pith_hash_value(const pith_hash *h) { return XXH3_64bits_digest(&h->state); }

void pith_hash_free(pith_ctx *ctx, pith_hash *h) { pith_free(ctx, h); }
