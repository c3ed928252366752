/* Byte pair merges (P. Gage, A new algorithm for data compression, 1994; R. Sennrich et al., Neural
 * machine translation of rare words with subword units, 2016), without a split into words first. The most
 * frequent pair of the training text is counted anew for each merge: time O(bytes * merges). */
#include "lm/distance/distance.h"

#define MAX_MERGES 65536

typedef struct counts {
    uint64_t *pair; /* left << 32 | right; UINT64_MAX: free */
    uint32_t *count;
    size_t mask;
} counts;

static void count_pair(counts *c, uint32_t left, uint32_t right) {
    uint64_t pair = (uint64_t)left << 32 | right;
    size_t at = (size_t)((pair * 0x9E3779B97F4A7C15u) >> 32) & c->mask;
    while (c->pair[at] != pair && c->pair[at] != UINT64_MAX) at = (at + 1) & c->mask;
    c->pair[at] = pair;
    c->count[at]++;
}

/* The most frequent pair, the lower one among equals; its count. */
static uint32_t best_pair(counts *c, const uint32_t *ids, size_t n, uint64_t *best) {
    uint32_t most = 0;
    memset(c->pair, 0xFF, (c->mask + 1) * sizeof *c->pair);
    memset(c->count, 0, (c->mask + 1) * sizeof *c->count);
    for (size_t i = 0; i + 1 < n; i++) {
        count_pair(c, ids[i], ids[i + 1]);
        /* in a run of one id, pairs overlap: "aaa" holds one */
        if (i + 2 < n && ids[i] == ids[i + 1] && ids[i] == ids[i + 2]) i++;
    }
    for (size_t k = 0; k <= c->mask; k++)
        if (c->count[k] > most || (c->count[k] == most && most && c->pair[k] < *best)) {
            most = c->count[k];
            *best = c->pair[k];
        }
    return most;
}

static size_t merge(uint32_t *ids, size_t n, uint64_t pair, uint32_t id) {
    size_t to = 0;
    for (size_t i = 0; i < n; i++) {
        bool both = i + 1 < n && ids[i] == (uint32_t)(pair >> 32) && ids[i + 1] == (uint32_t)pair;
        ids[to++] = both ? id : ids[i];
        i += both;
    }
    return to;
}

pith_status pairs_encode(pith_ctx *ctx, const uint8_t *train, size_t train_n, size_t n_merges, const uint8_t *text,
                         size_t n, token_list *ids, uint32_t *n_vocab) {
    *n_vocab = 256;
    if (n_merges > MAX_MERGES) return pith_fail(ctx, PITH_E_LIMIT, "%zu merges; at most %d", n_merges, MAX_MERGES);
    if (train_n > UINT32_MAX || n > UINT32_MAX) return pith_fail(ctx, PITH_E_LIMIT, "the text is too long for pairs");
    counts c = {.mask = 1023};
    while (c.mask < 2 * train_n) c.mask = c.mask * 2 + 1;
    uint32_t *work = pith_alloc(ctx, (train_n + n + 1) * sizeof *work);
    if (work) c.pair = pith_alloc(ctx, (c.mask + 1) * sizeof *c.pair);
    if (c.pair) c.count = pith_alloc(ctx, (c.mask + 1) * sizeof *c.count);
    pith_status status = c.count ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        uint32_t *learn = work, *own = work + train_n;
        for (size_t i = 0; i < train_n; i++) learn[i] = train[i];
        for (size_t i = 0; i < n; i++) own[i] = text[i];
        for (size_t m = 0; m < n_merges && !status; m++) {
            uint64_t best = 0;
            if (pith_cancelled(ctx)) status = PITH_E_CANCELLED;
            if (status || best_pair(&c, learn, train_n, &best) < 2) break;
            train_n = merge(learn, train_n, best, *n_vocab);
            n = merge(own, n, best, *n_vocab);
            ++*n_vocab;
            /* as the text gets shorter, so does the table to be cleared */
            while (c.mask > 1023 && c.mask > 8 * train_n) c.mask /= 2;
        }
        if (!status) status = token_list_append(ctx, ids, own, n);
    }
    pith_free(ctx, c.count);
    pith_free(ctx, c.pair);
    pith_free(ctx, work);
    return status;
}
