/* Bits counted under the last 0 to 5 bytes. The estimate of each order is drawn towards that of the order below:
 * p_k = (2 p_(k-1) + n1) / (2 + n0 + n1), so that contexts seen often decide and new ones say nothing
 * (interpolated smoothing with a Dirichlet prior, as in D. MacKay and L. Peto, 1995). */
#include "lm/distance/frozen.h"

#define TABLE_BITS_MIN 14
#define TABLE_BITS_MAX 24
#define PRIOR 2 /* observations that the lower order is worth */

static uint32_t mix(uint64_t x) {
    x = (x ^ x >> 29) * 0xBF58476D1CE4E5B9u;
    return (uint32_t)(x >> 32);
}

static void set_contexts(frozen *f) {
    for (unsigned k = 0; k < FROZEN_ORDERS; k++) {
        uint64_t context = k ? f->last & (~(uint64_t)0 >> (64 - 8 * k)) : 0;
        f->base[k] = mix((context << 3 | k) * 0x9E3779B97F4A7C15u + k);
    }
}

void frozen_restart(frozen *f) {
    f->last = 0;
    f->n_bytes = 0;
    f->node = 1;
    set_contexts(f);
}

static frozen_cell *cell_of(const frozen *f, unsigned order, uint16_t *check) {
    uint64_t h = ((uint64_t)f->base[order] << 8 | f->node) * 0x9E3779B97F4A7C15u;
    *check = (uint16_t)(h >> 20 | 1);
    return &f->table[(h >> 36) & f->mask];
}

unsigned frozen_p(const frozen *f) {
    uint32_t p = 32768;
    for (unsigned k = 0; k <= f->n_bytes; k++) {
        uint16_t check;
        const frozen_cell *c = cell_of(f, k, &check);
        if (c->check != check) break; /* longer contexts cannot have been seen either */
        p = (PRIOR * p + c->n[1] * 65536u) / (PRIOR + c->n[0] + c->n[1]);
    }
    return PITH_MIN(PITH_MAX(p, 32u), 65536u - 32u);
}

void frozen_update(frozen *f, unsigned bit) {
    f->node = f->node << 1 | bit;
    if (f->node < 256) return;
    f->last = f->last << 8 | (f->node & 255);
    if (f->n_bytes < FROZEN_ORDERS - 1) f->n_bytes++;
    f->node = 1;
    set_contexts(f);
}

static void learn(frozen *f, unsigned bit) {
    for (unsigned k = 0; k <= f->n_bytes; k++) {
        uint16_t check;
        frozen_cell *c = cell_of(f, k, &check);
        /* a full table keeps what came first */
        if (c->check == 0) c->check = check;
        if (c->check != check) continue;
        if (++c->n[bit] == 255) c->n[0] /= 2, c->n[1] /= 2;
    }
}

pith_status frozen_open(pith_ctx *ctx, const uint8_t *text, size_t n, frozen *f) {
    unsigned bits = TABLE_BITS_MIN;
    while (bits < TABLE_BITS_MAX && ((size_t)1 << bits) < 24 * n) bits++;
    *f = (frozen){.mask = ((size_t)1 << bits) - 1};
    f->table = pith_zalloc(ctx, (f->mask + 1) * sizeof *f->table);
    if (!f->table) return pith_alloc_status(ctx);
    frozen_restart(f);
    for (size_t i = 0; i < n; i++)
        for (int b = 7; b >= 0; b--) {
            learn(f, text[i] >> b & 1u);
            frozen_update(f, text[i] >> b & 1u);
        }
    frozen_restart(f);
    return PITH_OK;
}

void frozen_close(pith_ctx *ctx, frozen *f) {
    pith_free(ctx, f->table);
    f->table = NULL;
}
