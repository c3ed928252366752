/* A byte trie in level order: the children of a node lie side by side, sorted by label. */
#include "lm/tokenizer/vocabulary.h"

typedef struct trie_key {
    const uint8_t *p;
    uint32_t size, id;
} trie_key;

static int by_bytes(const void *a, const void *b) {
    const trie_key *x = a, *y = b;
    int c = memcmp(x->p, y->p, PITH_MIN(x->size, y->size));
    return c ? c : (x->size > y->size) - (x->size < y->size);
}

typedef struct trie_range {
    uint32_t from, to; /* sorted keys under a node */
} trie_range;

void piece_trie_free(pith_ctx *ctx, piece_trie *t) {
    pith_free(ctx, t->first);
    pith_free(ctx, t->label);
    pith_free(ctx, t->value);
    *t = (piece_trie){0};
}

/* Nodes a sorted list of keys makes: one per byte that the key before does not share. */
static uint64_t count_nodes(const trie_key *key, uint32_t n) {
    uint64_t nodes = 1;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t same = 0;
        if (i)
            while (same < key[i].size && same < key[i - 1].size && key[i].p[same] == key[i - 1].p[same]) same++;
        nodes += key[i].size - same;
    }
    return nodes;
}

static void lay_out(piece_trie *t, const trie_key *key, uint32_t n, trie_range *range) {
    uint32_t made = 1, depth = 0, level_end = 1;
    range[0] = (trie_range){0, n};
    for (uint32_t v = 0; v < made; v++) {
        if (v == level_end) {
            level_end = made;
            depth++;
        }
        trie_range r = range[v];
        t->first[v] = made;
        t->value[v] = TOKEN_NONE;
        if (r.from < r.to && key[r.from].size == depth) t->value[v] = key[r.from++].id;
        while (r.from < r.to) {
            uint8_t byte = key[r.from].p[depth];
            uint32_t to = r.from + 1;
            while (to < r.to && key[to].p[depth] == byte) to++;
            t->label[made] = byte;
            range[made++] = (trie_range){r.from, to};
            r.from = to;
        }
    }
    t->first[made] = made;
    for (uint32_t c = t->first[0]; c < (made > 1 ? t->first[1] : 1); c++) t->root[t->label[c]] = c;
}

pith_status piece_trie_build(pith_ctx *ctx, piece_trie *t, const string_pool *p, const uint32_t *ids, uint32_t n) {
    trie_key *key = pith_alloc(ctx, PITH_MAX(n, 1u) * sizeof *key);
    if (!key) return pith_alloc_status(ctx);
    for (uint32_t i = 0; i < n; i++) {
        size_t size;
        const uint8_t *text = string_pool_get(p, ids[i], &size);
        key[i] = (trie_key){text, (uint32_t)size, ids[i]};
    }
    qsort(key, n, sizeof *key, by_bytes);
    uint64_t nodes = count_nodes(key, n);
    pith_status st = PITH_OK;
    trie_range *range = NULL;
    if (nodes >= UINT32_MAX - 1) st = pith_fail(ctx, PITH_E_LIMIT, "the vocabulary's pieces are too long together");
    if (st == PITH_OK) {
        t->first = pith_alloc(ctx, (nodes + 1) * sizeof *t->first);
        t->label = pith_zalloc(ctx, nodes);
        t->value = pith_alloc(ctx, nodes * sizeof *t->value);
        range = pith_alloc(ctx, nodes * sizeof *range);
        if (!t->first || !t->label || !t->value || !range) st = pith_alloc_status(ctx);
    }
    if (st == PITH_OK) {
        t->n = (uint32_t)nodes;
        lay_out(t, key, n, range);
    } else {
        piece_trie_free(ctx, t);
    }
    pith_free(ctx, range);
    pith_free(ctx, key);
    return st;
}
