/* SentencePiece BPE (Kudo and Richardson 2018, arXiv 1808.06226) as SentencePiece and llama.cpp run
 * it: spaces become U+2581, characters are joined into the best-scored piece until none is left,
 * what is no piece goes as bytes. No merge can cross two characters that stand together in no
 * piece, so the text falls into short stretches there, each merged once and then remembered. */
#include "lm/tokenizer/vocabulary.h"

PITH_INLINE uint32_t symbol_key(const uint8_t *p, uint32_t size) {
    uint32_t key = p[0];
    for (uint32_t i = 1; i < size; i++) key = key << 8 | p[i];
    return key;
}

PITH_INLINE uint64_t near_bit(uint32_t left, uint32_t right) {
    uint64_t h = ((uint64_t)left << 32 | right) * UINT64_C(0x9E3779B97F4A7C15);
    return h ^ h >> 31;
}

static uint64_t near_mask(const tokenizer *t) {
    uint64_t bits = 1 << 14;
    while (bits < (uint64_t)t->n * 16) bits *= 2;
    return bits - 1;
}

/* A well-formed character, or one byte that is none: so no byte of a mark is ever taken for part of another. */
PITH_INLINE uint32_t symbol_size(const uint8_t *p, size_t left) {
    uint32_t code;
    if (*p < 0x80) return 1;
    uint32_t size = (uint32_t)utf8_read(p, left, &code);
    return size ? size : 1;
}

static bool can_be_merged(const tokenizer *t, uint32_t id) {
    return t->type[id] == PIECE_NORMAL || t->type[id] == PIECE_USER || t->type[id] == PIECE_UNUSED;
}

static void note_neighbours(tokenizer *t, uint32_t id, uint64_t mask) {
    size_t size;
    const uint8_t *p = string_pool_get(&t->entry, id, &size);
    uint32_t before = 0;
    for (size_t i = 0; i < size;) {
        uint32_t n = symbol_size(p + i, size - i), key = symbol_key(p + i, n);
        if (i) {
            uint64_t bit = near_bit(before, key) & mask;
            t->near[bit / 64] |= UINT64_C(1) << bit % 64;
        }
        before = key;
        i += n;
    }
}

typedef struct scored_id {
    float score;
    uint32_t id;
} scored_id;

static int by_score_down(const void *a, const void *b) {
    float x = ((const scored_id *)a)->score, y = ((const scored_id *)b)->score;
    return x > y ? -1 : x < y;
}

pith_status spm_prepare(pith_ctx *ctx, tokenizer *t) {
    uint64_t mask = near_mask(t);
    t->near = pith_zalloc(ctx, (mask + 1) / 8);
    if (!t->near) return pith_alloc_status(ctx);
    for (uint32_t id = 0; id < t->n; id++)
        if (can_be_merged(t, id)) note_neighbours(t, id, mask);
    t->rank = pith_alloc(ctx, t->n * sizeof *t->rank);
    scored_id *order = pith_alloc(ctx, t->n * sizeof *order);
    if (!t->rank || !order) {
        pith_status st = pith_alloc_status(ctx);
        pith_free(ctx, order);
        return st;
    }
    for (uint32_t id = 0; id < t->n; id++) order[id] = (scored_id){t->score[id], id};
    qsort(order, t->n, sizeof *order, by_score_down);
    uint32_t rank = 0; /* equal scores share a rank: then the leftmost pair goes first */
    for (uint32_t i = 0; i < t->n; i++) {
        if (i && order[i].score < order[i - 1].score) rank++;
        t->rank[order[i].id] = can_be_merged(t, order[i].id) ? rank : UINT32_MAX;
    }
    pith_free(ctx, order);
    return PITH_OK;
}

typedef struct spm_run {
    pith_ctx *ctx;
    const tokenizer *t;
    token_list *out;
    word_cache cache;
    merge_work work;
    uint64_t mask;
} spm_run;

static uint32_t piece_of(const tokenizer *t, const uint8_t *p, size_t size) {
    uint32_t id = piece_map_get(&t->by_entry, &t->entry, p, size);
    return id != TOKEN_NONE && can_be_merged(t, id) ? id : TOKEN_NONE;
}

static pith_status push_unknown(const spm_run *r) {
    if (r->t->info.unk == TOKEN_NONE)
        return pith_fail(r->ctx, PITH_E_UNSUPPORTED, "the vocabulary has neither byte pieces nor an unknown piece");
    if (r->t->merge_unknown && r->out->n && r->out->id[r->out->n - 1] == r->t->info.unk) return PITH_OK;
    return token_push(r->ctx, r->out, r->t->info.unk);
}

static pith_status push_bytes(const spm_run *r, const uint8_t *p, size_t size) {
    pith_status st = PITH_OK;
    for (size_t i = 0; i < size; i++)
        if (r->t->byte_id[p[i]] == TOKEN_NONE) return push_unknown(r);
    for (size_t i = 0; i < size && st == PITH_OK; i++) st = token_push(r->ctx, r->out, r->t->byte_id[p[i]]);
    return st;
}

static pith_status encode_stretch(spm_run *r, const uint8_t *p, size_t size) {
    word_entry *slot;
    pith_status st = PITH_OK;
    if (word_cache_get(r->ctx, &r->cache, p, size, r->out, &slot, &st)) return st;
    size_t at = r->out->n;
    st = merge_work_symbols(r->ctx, &r->work, size);
    if (st != PITH_OK) return st;
    merge_symbol *s = r->work.symbol;
    bool by_id = r->t->kind == TOKENIZER_RANKED;
    uint32_t n = 0;
    for (size_t i = 0; i < size; n++) {
        uint32_t len = symbol_size(p + i, size - i);
        s[n] = (merge_symbol){.start = (uint32_t)i, .size = len, .id = by_id ? piece_of(r->t, p + i, len) : TOKEN_NONE};
        i += len;
    }
    st = merge_run(r->ctx, r->t, &r->work, p, n);
    for (uint32_t i = 0; i != UINT32_MAX && st == PITH_OK; i = s[i].next) {
        uint32_t id = s[i].id != TOKEN_NONE ? s[i].id : piece_of(r->t, p + s[i].start, s[i].size);
        st = id != TOKEN_NONE ? token_push(r->ctx, r->out, id) : push_bytes(r, p + s[i].start, s[i].size);
    }
    if (st == PITH_OK && !r->t->merge_unknown) word_cache_put(slot, p, size, at, r->out->n - at);
    return st;
}

/* The longest user-defined piece at p, where the file's kind keeps those in the normalised text. */
static uint32_t user_piece(const tokenizer *t, const uint8_t *p, size_t size, size_t *length) {
    uint32_t id = TOKEN_NONE;
    if (!t->user_marks_kept || !t->user.n || !t->user.starts[*p]) return id;
    uint32_t node = 0;
    for (size_t i = 0; i < size; i++) {
        node = piece_trie_step(&t->user.trie, node, p[i]);
        if (!node) break;
        if (t->user.trie.value[node] != TOKEN_NONE) {
            id = t->user.trie.value[node];
            *length = i + 1;
        }
    }
    return id;
}

static pith_status encode_marked(spm_run *r, const uint8_t *p, size_t size) {
    pith_status st = PITH_OK;
    size_t start = 0;
    uint32_t before = 0;
    for (size_t i = 0; i < size && st == PITH_OK;) {
        size_t length = 0;
        uint32_t user = user_piece(r->t, p + i, size - i, &length);
        if (user != TOKEN_NONE) {
            if (i > start) st = encode_stretch(r, p + start, i - start);
            if (st == PITH_OK) st = token_push(r->ctx, r->out, user);
            start = i += length;
            continue;
        }
        uint32_t len = symbol_size(p + i, size - i), key = symbol_key(p + i, len);
        if (i > start) {
            uint64_t bit = near_bit(before, key) & r->mask;
            if (!(r->t->near[bit / 64] >> bit % 64 & 1)) {
                st = encode_stretch(r, p + start, i - start);
                start = i;
            }
        }
        before = key;
        i += len;
    }
    if (st == PITH_OK && size > start) st = encode_stretch(r, p + start, size - start);
    return st;
}

/* Bytes of text before the next U+2581 that is written out in it. */
static size_t before_mark(const uint8_t *text, size_t size) {
    for (size_t i = 0; i + 3 <= size; i++) {
        const uint8_t *p = memchr(text + i, 0xE2, size - i - 2);
        if (!p) break;
        i = (size_t)(p - text);
        if (memcmp(p, SPACE_MARK, 3) == 0) return i;
    }
    return size;
}

pith_status spm_encode(pith_ctx *ctx, const tokenizer *t, const uint8_t *text, size_t size, bool front, bool exact,
                       token_list *out) {
    spm_run r = {.ctx = ctx, .t = t, .out = out, .mask = near_mask(t)};
    pith_buffer marked = {0};
    size_t done = 0, n;
    pith_status st = PITH_OK;
    do {
        n = exact ? before_mark(text + done, size - done) : size - done;
        marked.size = 0;
        st = normalize_text(ctx, t, text + done, n, front && done == 0, &marked);
        pith_free(ctx, r.cache.entry); /* its words lie in the last stretch's buffer */
        r.cache.entry = NULL;
        if (st == PITH_OK && n >= 512) st = word_cache_new(ctx, &r.cache, n);
        if (st == PITH_OK) st = encode_marked(&r, marked.data, marked.size);
        done += n;
        if (st == PITH_OK && done < size) {
            /* With `exact`, such a mark goes as bytes: it would come back as a space otherwise. */
            st = push_bytes(&r, text + done, 3);
            done += 3;
        }
    } while (st == PITH_OK && done < size);
    pith_buffer_free(ctx, &marked);
    merge_work_free(ctx, &r.work);
    pith_free(ctx, r.cache.entry);
    return st;
}
