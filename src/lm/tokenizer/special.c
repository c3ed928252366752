/* Special pieces written out in a text. ggml takes the longest piece first, wherever it stands, then
 * the next shorter one in what is left; Hugging Face takes the leftmost, then the longest. Both walk
 * one byte trie; a text without the first byte of any special piece costs one pass. */
#include "lm/tokenizer/vocabulary.h"

static pith_status table_build(pith_ctx *ctx, const tokenizer *t, special_table *s, bool control) {
    uint32_t *ids = pith_alloc(ctx, t->n * sizeof *ids);
    if (!ids) return pith_alloc_status(ctx);
    for (uint32_t id = 0; id < t->n; id++) {
        size_t size;
        const uint8_t *p = string_pool_get(&t->entry, id, &size);
        bool wanted =
            t->type[id] == PIECE_USER || (control && (t->type[id] == PIECE_CONTROL || t->type[id] == PIECE_UNKNOWN));
        if (!wanted || size == 0) continue;
        ids[s->n++] = id;
        s->starts[*p] = true;
        s->longest = PITH_MAX(s->longest, size);
    }
    pith_status st = s->n ? piece_trie_build(ctx, &s->trie, &t->entry, ids, s->n) : PITH_OK;
    pith_free(ctx, ids);
    return st;
}

pith_status special_build(pith_ctx *ctx, tokenizer *t) {
    pith_status st = table_build(ctx, t, &t->control, true);
    return st == PITH_OK ? table_build(ctx, t, &t->user, false) : st;
}

/* The piece of exactly `want` bytes at p (0: the longest there is), or TOKEN_NONE. */
static uint32_t piece_at(const special_table *s, const uint8_t *p, size_t left, size_t want, size_t *length) {
    uint32_t node = 0, id = TOKEN_NONE;
    size_t limit = want ? want : PITH_MIN(left, s->longest);
    if (limit > left) return id;
    for (size_t i = 0; i < limit; i++) {
        node = piece_trie_step(&s->trie, node, p[i]);
        if (!node) return id;
        if (s->trie.value[node] != TOKEN_NONE && (!want || i + 1 == want)) {
            id = s->trie.value[node];
            *length = i + 1;
        }
    }
    return id;
}

typedef struct special_hit {
    size_t at, size;
    uint32_t id;
} special_hit;

typedef struct hit_list {
    special_hit *hit;
    size_t n, capacity;
} hit_list;

static pith_status hit_push(pith_ctx *ctx, hit_list *l, special_hit hit) {
    if (l->n == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : 64;
        special_hit *more = pith_alloc(ctx, capacity * sizeof *more);
        if (!more) return pith_alloc_status(ctx);
        if (l->n) memcpy(more, l->hit, l->n * sizeof *more);
        pith_free(ctx, l->hit);
        l->hit = more;
        l->capacity = capacity;
    }
    l->hit[l->n++] = hit;
    return PITH_OK;
}

static pith_status find_leftmost(pith_ctx *ctx, const special_table *s, const uint8_t *text, size_t size,
                                 hit_list *out) {
    pith_status st = PITH_OK;
    for (size_t i = 0; i < size && st == PITH_OK;) {
        size_t length = 1;
        uint32_t id = s->starts[text[i]] ? piece_at(s, text + i, size - i, 0, &length) : TOKEN_NONE;
        if (id != TOKEN_NONE) st = hit_push(ctx, out, (special_hit){i, length, id});
        i += length;
    }
    return st;
}

/* Marks lengths[n] for every length n of a piece that stands somewhere in text; false when none does. */
static bool lengths_seen(const special_table *s, const uint8_t *text, size_t size, bool *lengths) {
    bool any = false;
    for (size_t i = 0; i < size; i++) {
        if (!s->starts[text[i]]) continue;
        uint32_t node = 0;
        for (size_t j = i; j < size; j++) {
            node = piece_trie_step(&s->trie, node, text[j]);
            if (!node) break;
            if (s->trie.value[node] != TOKEN_NONE) any = lengths[j - i + 1] = true;
        }
    }
    return any;
}

static pith_status find_longest(pith_ctx *ctx, const special_table *s, const uint8_t *text, size_t size,
                                hit_list *out) {
    bool *lengths = pith_zalloc(ctx, s->longest + 1);
    pith_status st = PITH_OK;
    if (!lengths) return pith_alloc_status(ctx);
    bool any = lengths_seen(s, text, size, lengths);
    /* Hits so far, in order; each pass reads one list and writes the other. */
    hit_list passed = {0};
    for (size_t want = s->longest; any && want && st == PITH_OK; want--) {
        if (!lengths[want]) continue;
        passed.n = 0;
        size_t next = 0;
        for (size_t i = 0; i < size && st == PITH_OK;) {
            if (next < out->n && i == out->hit[next].at) {
                st = hit_push(ctx, &passed, out->hit[next]);
                i += out->hit[next++].size;
                continue;
            }
            size_t room = (next < out->n ? out->hit[next].at : size) - i, length = 1;
            uint32_t id = s->starts[text[i]] ? piece_at(s, text + i, room, want, &length) : TOKEN_NONE;
            if (id != TOKEN_NONE) st = hit_push(ctx, &passed, (special_hit){i, length, id});
            i += length;
        }
        hit_list swap = *out;
        *out = passed;
        passed = swap;
    }
    pith_free(ctx, passed.hit);
    pith_free(ctx, lengths);
    return st;
}

static bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

pith_status special_walk(pith_ctx *ctx, const tokenizer *t, const special_table *s, const uint8_t *text, size_t size,
                         part_fn part, void *arg) {
    hit_list hits = {0};
    pith_status st = PITH_OK;
    if (s->n) st = s->leftmost ? find_leftmost(ctx, s, text, size, &hits) : find_longest(ctx, s, text, size, &hits);
    size_t done = 0;
    for (size_t i = 0; i < hits.n && st == PITH_OK; i++) {
        const special_hit *h = &hits.hit[i];
        unsigned strip = t->strip ? t->strip[h->id] : 0;
        size_t end = h->at;
        if (strip & 1)
            while (end > done && is_space(text[end - 1])) end--;
        if (end > done) st = part(arg, text + done, end - done, TOKEN_NONE);
        if (st == PITH_OK) st = part(arg, text + h->at, h->size, h->id);
        done = h->at + h->size;
        size_t stop = i + 1 < hits.n ? hits.hit[i + 1].at : size;
        if (strip & 2)
            while (done < stop && is_space(text[done])) done++;
    }
    if (st == PITH_OK && done < size) st = part(arg, text + done, size - done, TOKEN_NONE);
    pith_free(ctx, hits.hit);
    return st;
}
