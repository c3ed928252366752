/* Byte-level BPE (Radford et al. 2019): words of the pre-tokenizer, every byte a symbol, merged by
 * rank. The files write a byte as one printable character: printable Latin-1 as itself, the 68
 * others as U+0100 and up. */
#include "lm/tokenizer/split.h"
#include "lm/tokenizer/vocabulary.h"

static bool is_itself(uint32_t b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255); }

uint32_t byte_alphabet_code(uint8_t byte) {
    if (is_itself(byte)) return byte;
    return 256u + (byte < 33 ? byte : byte < 161 ? 33u + byte - 127u : 67u);
}

int byte_alphabet_byte(uint32_t code) {
    if (code < 256) return is_itself(code) ? (int)code : -1;
    if (code >= 256 + 68) return -1;
    uint32_t k = code - 256;
    return (int)(k < 33 ? k : k < 67 ? k - 33 + 127 : 173);
}

static bool in_alphabet(const uint8_t *p, size_t size) {
    uint32_t code;
    for (size_t i = 0, n; i < size; i += n)
        if ((n = utf8_read(p + i, size - i, &code)) == 0 || byte_alphabet_byte(code) < 0) return false;
    return true;
}

pith_status byte_bpe_prepare(pith_ctx *ctx, tokenizer *t) {
    if (!t->whole_words) return PITH_OK;
    pith_status st = piece_map_new(ctx, &t->by_piece, t->n);
    for (uint32_t id = 0; id < t->n && st == PITH_OK; id++) {
        size_t size;
        const uint8_t *entry = string_pool_get(&t->entry, id, &size);
        if (t->type[id] == PIECE_NORMAL && size && in_alphabet(entry, size)) piece_map_put(&t->by_piece, &t->piece, id);
    }
    return st;
}

typedef struct byte_run {
    pith_ctx *ctx;
    const tokenizer *t;
    token_list *out;
    word_cache cache;
    merge_work work;
} byte_run;

static pith_status encode_word(void *arg, const uint8_t *p, size_t size) {
    byte_run *r = arg;
    const tokenizer *t = r->t;
    word_entry *slot;
    pith_status st = PITH_OK;
    if (size == 1 && t->byte_id[*p] != TOKEN_NONE) return token_push(r->ctx, r->out, t->byte_id[*p]);
    if (word_cache_get(r->ctx, &r->cache, p, size, r->out, &slot, &st)) return st;
    size_t at = r->out->n;
    uint32_t whole = t->whole_words ? piece_map_get(&t->by_piece, &t->piece, p, size) : TOKEN_NONE;
    if (whole != TOKEN_NONE) {
        st = token_push(r->ctx, r->out, whole);
    } else {
        st = merge_work_symbols(r->ctx, &r->work, size);
        if (st != PITH_OK) return st;
        merge_symbol *s = r->work.symbol;
        for (uint32_t i = 0; i < size; i++) s[i] = (merge_symbol){.start = i, .size = 1, .id = t->byte_id[p[i]]};
        st = merge_run(r->ctx, t, &r->work, p, size);
        for (uint32_t i = 0; i != UINT32_MAX && st == PITH_OK; i = s[i].next) {
            /* A byte without a piece is left out where there is no unknown piece, as the references do. */
            uint32_t id = s[i].id != TOKEN_NONE ? s[i].id : t->info.unk;
            if (id != TOKEN_NONE) st = token_push(r->ctx, r->out, id);
        }
    }
    if (st == PITH_OK) word_cache_put(slot, p, size, at, r->out->n - at);
    return st;
}

pith_status byte_bpe_encode(pith_ctx *ctx, const tokenizer *t, const uint8_t *text, size_t size, bool front,
                            token_list *out) {
    byte_run r = {.ctx = ctx, .t = t, .out = out};
    pith_buffer spaced = {0};
    pith_status st = size >= 512 ? word_cache_new(ctx, &r.cache, size) : PITH_OK;
    if (st == PITH_OK && front && t->info.add_space_prefix && *text != ' ') {
        st = pith_buffer_append(ctx, &spaced, " ", 1);
        if (st == PITH_OK) st = pith_buffer_append(ctx, &spaced, text, size);
        text = spaced.data;
        size = spaced.size;
    }
    if (st == PITH_OK) st = splitter_run(ctx, t->split, text, size, encode_word, &r);
    merge_work_free(ctx, &r.work);
    pith_free(ctx, r.cache.entry);
    pith_buffer_free(ctx, &spaced);
    return st;
}
