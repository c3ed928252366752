/* The vocabulary in memory: strings in one block, hashed by their bytes; ranked merges hashed by
 * the pair of ids. Everything a reader passes in is checked here, so that readers stay short. */
#include "lm/tokenizer/vocabulary.h"

pith_status string_pool_add(pith_ctx *ctx, string_pool *p, const void *text, size_t size) {
    if (size > UINT32_MAX - p->text.size)
        return pith_fail(ctx, PITH_E_LIMIT, "a vocabulary of more than 4 GiB of text");
    if (p->n + 2 > p->capacity) {
        uint32_t capacity = p->capacity ? p->capacity * 2 : 1024;
        uint32_t *at = pith_alloc(ctx, (size_t)capacity * sizeof *at);
        if (!at) return pith_alloc_status(ctx);
        if (p->at)
            memcpy(at, p->at, ((size_t)p->n + 1) * sizeof *at);
        else
            at[0] = 0;
        pith_free(ctx, p->at);
        p->at = at;
        p->capacity = capacity;
    }
    pith_status st = pith_buffer_reserve(ctx, &p->text, size + 1); /* there even when every string is empty */
    if (st == PITH_OK) st = pith_buffer_append(ctx, &p->text, text, size);
    if (st == PITH_OK) p->at[++p->n] = (uint32_t)p->text.size;
    return st;
}

void string_pool_free(pith_ctx *ctx, string_pool *p) {
    pith_buffer_free(ctx, &p->text);
    pith_free(ctx, p->at);
    *p = (string_pool){0};
}

static uint32_t power_of_two_over(uint64_t n) {
    uint32_t size = 16;
    while (size < n) size *= 2;
    return size;
}

pith_status piece_map_new(pith_ctx *ctx, piece_map *m, uint32_t n) {
    uint32_t size = power_of_two_over((uint64_t)n * 2);
    m->mask = size - 1;
    m->slot = pith_zalloc(ctx, (size_t)size * sizeof *m->slot);
    return m->slot ? PITH_OK : pith_alloc_status(ctx);
}

PITH_INLINE bool pool_equals(const string_pool *p, uint32_t id, const void *text, size_t size) {
    return p->at[id + 1] - p->at[id] == size && memcmp(p->text.data + p->at[id], text, size) == 0;
}

uint32_t piece_map_get(const piece_map *m, const string_pool *p, const void *text, size_t size) {
    for (uint32_t i = (uint32_t)pith_hash64(text, size) & m->mask;; i = (i + 1) & m->mask) {
        if (!m->slot[i]) return TOKEN_NONE;
        if (pool_equals(p, m->slot[i] - 1, text, size)) return m->slot[i] - 1;
    }
}

uint32_t piece_map_put(piece_map *m, const string_pool *p, uint32_t id) {
    size_t size;
    const uint8_t *text = string_pool_get(p, id, &size);
    for (uint32_t i = (uint32_t)pith_hash64(text, size) & m->mask;; i = (i + 1) & m->mask) {
        if (!m->slot[i]) {
            m->slot[i] = id + 1;
            return TOKEN_NONE;
        }
        if (pool_equals(p, m->slot[i] - 1, text, size)) return m->slot[i] - 1;
    }
}

pith_status merge_table_new(pith_ctx *ctx, merge_table *m, uint64_t n) {
    if (n > VOCABULARY_MAX)
        return pith_fail(ctx, PITH_E_LIMIT, "%llu merges, the most is %u", (unsigned long long)n, VOCABULARY_MAX);
    uint32_t size = power_of_two_over(n * 2);
    m->rule = pith_alloc(ctx, (size_t)size * sizeof *m->rule);
    if (!m->rule) return pith_alloc_status(ctx);
    for (uint32_t i = 0; i < size; i++) m->rule[i] = (merge_rule){.pair = UINT64_MAX};
    m->mask = size - 1;
    m->n = (uint32_t)n;
    return PITH_OK;
}

pith_status tokenizer_new(pith_ctx *ctx, tokenizer_kind kind, uint32_t n_expected, tokenizer **out) {
    static const char *const names[] = {"spm", "spm", "bpe", "unigram", "wordpiece", "bytes"};
    *out = NULL;
    if (n_expected == 0) return pith_fail(ctx, PITH_E_FORMAT, "the vocabulary is empty");
    if (n_expected > VOCABULARY_MAX)
        return pith_fail(ctx, PITH_E_LIMIT, "a vocabulary of %u pieces, the most is %u", n_expected, VOCABULARY_MAX);
    tokenizer *t = pith_zalloc(ctx, sizeof *t);
    if (!t) return pith_alloc_status(ctx);
    t->kind = kind;
    t->n = n_expected;
    t->info.kind = names[kind];
    t->info.bos = t->info.eos = t->info.unk = TOKEN_NONE;
    t->word_limit = 100;
    for (int b = 0; b < 256; b++) t->byte_id[b] = TOKEN_NONE;
    t->score = pith_alloc(ctx, n_expected * sizeof *t->score);
    t->type = pith_alloc(ctx, n_expected);
    if (!t->score || !t->type) {
        pith_status st = pith_alloc_status(ctx);
        tokenizer_free(ctx, t);
        return st;
    }
    *out = t;
    return PITH_OK;
}

pith_status vocabulary_add(pith_ctx *ctx, tokenizer *t, const char *where, const void *text, size_t size, float score,
                           int type) {
    uint32_t id = t->entry.n;
    if (id >= t->n) return pith_fail(ctx, PITH_E_FORMAT, "%s has more than %u pieces", where, t->n);
    if (size > PIECE_BYTES_MAX)
        return pith_fail(ctx, PITH_E_FORMAT, "%s[%u] is %zu bytes long, the most is %u", where, id, size,
                         PIECE_BYTES_MAX);
    if (type < PIECE_NORMAL || type > PIECE_BYTE)
        return pith_fail(ctx, PITH_E_FORMAT, "%s[%u] has the unknown kind %d", where, id, type);
    if (!(score >= -3e38f && score <= 3e38f))
        return pith_fail(ctx, PITH_E_FORMAT, "%s[%u] has a score that is no finite number", where, id);
    pith_status st = string_pool_add(ctx, &t->entry, text, size);
    if (st != PITH_OK) return st;
    t->score[id] = score;
    t->type[id] = (uint8_t)type;
    t->longest = PITH_MAX(t->longest, (uint32_t)size);
    return PITH_OK;
}

pith_status vocabulary_index(pith_ctx *ctx, tokenizer *t, const char *where) {
    if (t->entry.n != t->n) return pith_fail(ctx, PITH_E_FORMAT, "%s has %u of %u pieces", where, t->entry.n, t->n);
    pith_status st = piece_map_new(ctx, &t->by_entry, t->n);
    for (uint32_t id = 0; id < t->n && st == PITH_OK; id++) {
        if (t->entry.at[id] == t->entry.at[id + 1]) continue;
        uint32_t other = piece_map_put(&t->by_entry, &t->entry, id);
        if (other != TOKEN_NONE) st = pith_fail(ctx, PITH_E_FORMAT, "%s[%u] repeats piece %u", where, id, other);
    }
    return st;
}

pith_status merges_add(pith_ctx *ctx, tokenizer *t, const char *where, uint32_t rank, const void *left,
                       size_t left_size, const void *right, size_t right_size) {
    uint8_t both[2 * PIECE_BYTES_MAX];
    if (left_size == 0 || right_size == 0)
        return pith_fail(ctx, PITH_E_FORMAT, "%s[%u] has an empty half", where, rank);
    if (left_size > PIECE_BYTES_MAX || right_size > PIECE_BYTES_MAX)
        return pith_fail(ctx, PITH_E_FORMAT, "%s[%u] is too long", where, rank);
    memcpy(both, left, left_size);
    memcpy(both + left_size, right, right_size);
    uint32_t l = piece_map_get(&t->by_entry, &t->entry, left, left_size);
    uint32_t r = piece_map_get(&t->by_entry, &t->entry, right, right_size);
    uint32_t id = piece_map_get(&t->by_entry, &t->entry, both, left_size + right_size);
    if (l == TOKEN_NONE || r == TOKEN_NONE || id == TOKEN_NONE)
        return pith_fail(ctx, PITH_E_FORMAT, "%s[%u]: the %s is not in the vocabulary", where, rank,
                         l == TOKEN_NONE   ? "left half"
                         : r == TOKEN_NONE ? "right half"
                                           : "merged piece");
    if (rank >= t->merges.n) return pith_fail(ctx, PITH_E_FORMAT, "%s has more than %u merges", where, t->merges.n);
    uint64_t pair = (uint64_t)l << 32 | r;
    uint64_t i = merge_slot(pair) & t->merges.mask;
    while (t->merges.rule[i].pair != UINT64_MAX) {
        if (t->merges.rule[i].pair == pair) return PITH_OK; /* the earlier one counts, as in every reference */
        i = (i + 1) & t->merges.mask;
    }
    t->merges.rule[i] = (merge_rule){.pair = pair, .rank = rank, .id = id};
    return PITH_OK;
}

pith_status merges_add_line(pith_ctx *ctx, tokenizer *t, const char *where, uint32_t rank, const char *line,
                            size_t size) {
    const char *space = size > 1 ? memchr(line + 1, ' ', size - 1) : NULL;
    if (!space) return pith_fail(ctx, PITH_E_FORMAT, "%s[%u] is not two pieces with a space between", where, rank);
    size_t left = (size_t)(space - line);
    return merges_add(ctx, t, where, rank, line, left, space + 1, size - left - 1);
}

size_t utf8_read(const uint8_t *p, size_t n, uint32_t *code) {
    uint32_t lead = n ? p[0] : 0, c;
    if (n == 0) return 0;
    if (lead < 0x80) {
        *code = lead;
        return 1;
    }
    size_t need = lead >= 0xC2 && lead < 0xE0   ? 2
                  : lead >= 0xE0 && lead < 0xF0 ? 3
                  : lead >= 0xF0 && lead < 0xF5 ? 4
                                                : 0;
    if (need == 0 || need > n) return 0;
    c = lead & (0x7Fu >> need);
    for (size_t i = 1; i < need; i++) {
        if ((p[i] & 0xC0) != 0x80) return 0;
        c = c << 6 | (p[i] & 0x3Fu);
    }
    if ((need == 3 && c < 0x800) || (need == 4 && (c < 0x10000 || c > 0x10FFFF)) || (c >= 0xD800 && c < 0xE000))
        return 0;
    *code = c;
    return need;
}

size_t utf8_write(uint8_t *p, uint32_t code) {
    if (code < 0x80) {
        p[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        p[0] = (uint8_t)(0xC0 | code >> 6);
        p[1] = (uint8_t)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        p[0] = (uint8_t)(0xE0 | code >> 12);
        p[1] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
        p[2] = (uint8_t)(0x80 | (code & 0x3F));
        return 3;
    }
    p[0] = (uint8_t)(0xF0 | code >> 18);
    p[1] = (uint8_t)(0x80 | (code >> 12 & 0x3F));
    p[2] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
    p[3] = (uint8_t)(0x80 | (code & 0x3F));
    return 4;
}
