/* The merge engine of byte-pair vocabularies: a heap of candidate pairs over linked symbols, the
 * best (lowest rank, then leftmost) first, O(n log n). Short words scan instead, which is faster
 * there and does the same. SPM finds a pair's piece by its text, ranked lists by the two ids. */
#include "lm/tokenizer/vocabulary.h"

#define NOWHERE UINT32_MAX
#define SCAN_SYMBOLS 24 /* up to here a scan of all pairs beats the heap */

void merge_work_free(pith_ctx *ctx, merge_work *w) {
    pith_free(ctx, w->symbol);
    pith_free(ctx, w->heap);
    *w = (merge_work){0};
}

pith_status merge_work_symbols(pith_ctx *ctx, merge_work *w, size_t n) {
    if (n >= NOWHERE) return pith_fail(ctx, PITH_E_LIMIT, "a word of more than 4 GiB to merge");
    if (n <= w->symbol_capacity) return PITH_OK;
    size_t capacity = PITH_MAX(n + n / 2, 64);
    merge_symbol *symbol = pith_alloc(ctx, capacity * sizeof *symbol);
    if (!symbol) return pith_alloc_status(ctx);
    pith_free(ctx, w->symbol);
    w->symbol = symbol;
    w->symbol_capacity = capacity;
    return PITH_OK;
}

/* The rank and result of joining two neighbours. */
PITH_INLINE bool find_pair(const tokenizer *t, const merge_symbol *l, const merge_symbol *r, const uint8_t *word,
                           uint32_t *rank, uint32_t *id) {
    if (t->kind == TOKENIZER_SPM) {
        if (l->size + r->size > t->longest) return false;
        uint32_t found = piece_map_get(&t->by_entry, &t->entry, word + l->start, l->size + r->size);
        if (found == TOKEN_NONE || t->rank[found] == UINT32_MAX) return false;
        *rank = t->rank[found];
        *id = found;
        return true;
    }
    if (l->id == TOKEN_NONE || r->id == TOKEN_NONE) return false;
    const merge_rule *rule = merge_table_get(&t->merges, l->id, r->id);
    if (!rule) return false;
    *rank = rule->rank;
    *id = rule->id;
    return true;
}

static void scan_merge(const tokenizer *t, merge_symbol *s, const uint8_t *word, uint32_t n) {
    uint32_t rank[SCAN_SYMBOLS], id[SCAN_SYMBOLS]; /* of symbol i with the one after it */
    for (uint32_t i = 0; i + 1 < n; i++)
        if (!find_pair(t, &s[i], &s[i + 1], word, &rank[i], &id[i])) rank[i] = id[i] = UINT32_MAX;
    rank[n - 1] = id[n - 1] = UINT32_MAX;
    /* The live symbols stay dense: s[0..n). */
    while (n > 1) {
        uint32_t best = 0;
        for (uint32_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best]) best = i;
        if (rank[best] == UINT32_MAX) break;
        s[best].size += s[best + 1].size;
        s[best].id = id[best];
        for (uint32_t i = best + 1; i + 1 < n; i++) {
            s[i] = s[i + 1];
            rank[i] = rank[i + 1];
            id[i] = id[i + 1];
        }
        n--;
        if (best + 1 >= n || !find_pair(t, &s[best], &s[best + 1], word, &rank[best], &id[best]))
            rank[best] = UINT32_MAX;
        if (best > 0 && !find_pair(t, &s[best - 1], &s[best], word, &rank[best - 1], &id[best - 1]))
            rank[best - 1] = UINT32_MAX;
    }
    for (uint32_t i = 0; i < n; i++) s[i].next = i + 1 < n ? i + 1 : NOWHERE;
}

static void heap_sift_up(merge_candidate *heap, size_t i) {
    merge_candidate c = heap[i];
    while (i > 0 && heap[(i - 1) / 2].order > c.order) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = c;
}

static merge_candidate heap_take(merge_work *w) {
    merge_candidate *heap = w->heap, top = heap[0], last = heap[--w->heap_n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < w->heap_n; i = child) {
        if (child + 1 < w->heap_n && heap[child + 1].order < heap[child].order) child++;
        if (last.order <= heap[child].order) break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return top;
}

static void heap_offer(const tokenizer *t, merge_work *w, const uint8_t *word, uint32_t left, uint32_t right) {
    uint32_t rank, id;
    if (left == NOWHERE || right == NOWHERE) return;
    if (!find_pair(t, &w->symbol[left], &w->symbol[right], word, &rank, &id)) return;
    w->heap[w->heap_n] = (merge_candidate){.order = (uint64_t)rank << 32 | left,
                                           .right = right,
                                           .size = w->symbol[left].size + w->symbol[right].size,
                                           .id = id};
    heap_sift_up(w->heap, w->heap_n++);
}

pith_status merge_run(pith_ctx *ctx, const tokenizer *t, merge_work *w, const uint8_t *word, size_t n) {
    merge_symbol *s = w->symbol;
    if (n <= SCAN_SYMBOLS) {
        scan_merge(t, s, word, (uint32_t)n);
        return PITH_OK;
    }
    /* At most n - 1 pairs at first, and two more after each of at most n - 1 merges, which took one out. */
    if (w->heap_capacity < 2 * n) {
        pith_free(ctx, w->heap);
        w->heap_capacity = 0;
        w->heap = pith_alloc(ctx, 2 * n * sizeof *w->heap);
        if (!w->heap) return pith_alloc_status(ctx);
        w->heap_capacity = 2 * n;
    }
    w->heap_n = 0;
    for (uint32_t i = 0; i < n; i++) {
        s[i].prev = i ? i - 1 : NOWHERE;
        s[i].next = i + 1 < n ? i + 1 : NOWHERE;
    }
    for (uint32_t i = 0; i + 1 < n; i++) heap_offer(t, w, word, i, i + 1);
    while (w->heap_n) {
        merge_candidate c = heap_take(w);
        merge_symbol *l = &s[(uint32_t)c.order], *r = &s[c.right];
        /* Out of date when either side was swallowed or has grown since. */
        if (l->size == 0 || r->size == 0 || l->size + r->size != c.size) continue;
        l->size += r->size;
        l->id = c.id;
        r->size = 0;
        l->next = r->next;
        if (r->next != NOWHERE) s[r->next].prev = (uint32_t)c.order;
        heap_offer(t, w, word, l->prev, (uint32_t)c.order);
        heap_offer(t, w, word, (uint32_t)c.order, l->next);
    }
    return PITH_OK;
}

pith_status word_cache_new(pith_ctx *ctx, word_cache *c, size_t text_size) {
    uint32_t size = 64;
    while (size < 16384 && size < text_size / 16) size *= 2;
    c->mask = size - 1;
    c->entry = pith_zalloc(ctx, size * sizeof *c->entry);
    return c->entry ? PITH_OK : pith_alloc_status(ctx);
}

bool word_cache_get(pith_ctx *ctx, const word_cache *c, const uint8_t *word, size_t size, token_list *out,
                    word_entry **slot, pith_status *st) {
    *slot = NULL;
    if (size > WORD_CACHE_BYTES || !c->entry) return false;
    word_entry *e = &c->entry[pith_hash64(word, size) & c->mask];
    if (e->size != size || memcmp(e->word, word, size) != 0) {
        *slot = e;
        return false;
    }
    for (uint32_t i = 0; i < e->n && *st == PITH_OK; i++) *st = token_push(ctx, out, out->id[e->at + i]);
    return true;
}
