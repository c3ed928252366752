/* The public side of the tokenizer: what every kind shares in building, encoding and decoding. */
#include "lm/tokenizer/tokenizer.h"

#include "lm/tokenizer/split.h"
#include "lm/tokenizer/vocabulary.h"

/* ---- building ---- */

static int hex_digit(uint8_t c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* The byte an entry like "<0x0A>" names, or -1. */
static int named_byte(const uint8_t *p, size_t size) {
    if (size != 6 || memcmp(p, "<0x", 3) != 0 || p[5] != '>') return -1;
    int high = hex_digit(p[3]), low = hex_digit(p[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* Spaces for marks. */
static pith_status add_unmarked(pith_ctx *ctx, tokenizer *t, const uint8_t *p, size_t size) {
    uint8_t shown[PIECE_BYTES_MAX];
    size_t n = 0;
    for (size_t i = 0; i < size;) {
        if (size - i >= 3 && memcmp(p + i, SPACE_MARK, 3) == 0) {
            shown[n++] = ' ';
            i += 3;
        } else {
            shown[n++] = p[i++];
        }
    }
    return string_pool_add(ctx, &t->piece, shown, n);
}

/* Bytes for the characters of the byte alphabet; the text itself when it has others. */
static pith_status add_from_alphabet(pith_ctx *ctx, tokenizer *t, const uint8_t *p, size_t size, bool *whole) {
    uint8_t shown[PIECE_BYTES_MAX];
    size_t n = 0;
    *whole = true;
    for (size_t i = 0; i < size;) {
        uint32_t code = 0;
        size_t len = utf8_read(p + i, size - i, &code);
        int byte = len ? byte_alphabet_byte(code) : -1;
        if (byte < 0) {
            *whole = false;
            return string_pool_add(ctx, &t->piece, p, size);
        }
        shown[n++] = (uint8_t)byte;
        i += len;
    }
    return string_pool_add(ctx, &t->piece, shown, n);
}

static pith_status show_piece(pith_ctx *ctx, tokenizer *t, uint32_t id) {
    size_t size;
    const uint8_t *p = string_pool_get(&t->entry, id, &size);
    bool sentence_piece = t->kind == TOKENIZER_SPM || t->kind == TOKENIZER_RANKED || t->kind == TOKENIZER_UNIGRAM;
    bool plain = t->type[id] == PIECE_NORMAL || t->type[id] == PIECE_UNUSED;
    if (t->kind == TOKENIZER_BYTES) {
        uint8_t byte = (uint8_t)id;
        t->byte_id[byte] = id;
        return string_pool_add(ctx, &t->piece, &byte, 1);
    }
    int byte = sentence_piece || t->type[id] == PIECE_BYTE ? named_byte(p, size) : -1;
    if (t->type[id] == PIECE_BYTE && byte < 0)
        return pith_fail(ctx, PITH_E_FORMAT, "piece %u is a byte but is not written <0xNN>", id);
    if (byte >= 0 && (plain || t->type[id] == PIECE_BYTE)) {
        t->type[id] = PIECE_BYTE; /* files without kinds write them as normal pieces */
        t->byte_id[byte] = id;
        uint8_t shown = (uint8_t)byte;
        return string_pool_add(ctx, &t->piece, &shown, 1);
    }
    if (t->kind == TOKENIZER_BYTE_BPE && plain) {
        bool whole;
        pith_status st = add_from_alphabet(ctx, t, p, size, &whole);
        size_t n = t->piece.at[id + 1] - t->piece.at[id];
        if (st == PITH_OK && whole && n == 1) t->byte_id[t->piece.text.data[t->piece.at[id]]] = id;
        return st;
    }
    if (t->kind != TOKENIZER_BYTE_BPE && (plain || (t->type[id] == PIECE_USER && t->user_marks_kept)))
        return add_unmarked(ctx, t, p, size);
    return string_pool_add(ctx, &t->piece, p, size);
}

static bool user_piece_strips(const tokenizer *t) {
    for (uint32_t id = 0; t->strip && id < t->n; id++)
        if (t->strip[id] && t->type[id] == PIECE_USER) return true;
    return false;
}

static bool has_all_bytes(const tokenizer *t) {
    for (int b = 0; b < 256; b++)
        if (t->byte_id[b] == TOKEN_NONE) return false;
    return true;
}

pith_status tokenizer_finish(pith_ctx *ctx, tokenizer *t) {
    pith_status st = PITH_OK;
    t->info.n_vocab = t->n;
    t->info.pre = t->pre;
    for (uint32_t id = 0; id < t->n && st == PITH_OK; id++) st = show_piece(ctx, t, id);
    if (st == PITH_OK) st = special_build(ctx, t);
    if (st != PITH_OK) return st;
    bool keeps_text = !t->map.n_units && !t->remove_extra_spaces && !t->collapse_spaces && !t->user_marks_kept &&
                      !t->prefix_unless_there && !user_piece_strips(t);
    switch (t->kind) {
    case TOKENIZER_SPM:
    case TOKENIZER_RANKED: t->info.byte_exact = has_all_bytes(t) && keeps_text; return spm_prepare(ctx, t);
    case TOKENIZER_BYTE_BPE: t->info.byte_exact = has_all_bytes(t) && keeps_text; return byte_bpe_prepare(ctx, t);
    case TOKENIZER_UNIGRAM: return unigram_prepare(ctx, t);
    case TOKENIZER_WORDPIECE: return wordpiece_prepare(ctx, t);
    case TOKENIZER_BYTES: break;
    }
    t->info.byte_exact = true;
    return PITH_OK;
}

static void special_free(pith_ctx *ctx, special_table *s) { piece_trie_free(ctx, &s->trie); }

void tokenizer_free(pith_ctx *ctx, tokenizer *t) {
    if (!t) return;
    string_pool_free(ctx, &t->entry);
    string_pool_free(ctx, &t->piece);
    pith_free(ctx, t->score);
    pith_free(ctx, t->type);
    pith_free(ctx, t->by_entry.slot);
    pith_free(ctx, t->by_piece.slot);
    pith_free(ctx, t->rank);
    pith_free(ctx, t->near);
    pith_free(ctx, t->merges.rule);
    pith_free(ctx, t->map_bytes);
    pith_free(ctx, t->strip);
    piece_trie_free(ctx, &t->trie);
    special_free(ctx, &t->control);
    special_free(ctx, &t->user);
    splitter_free(ctx, t->split);
    pith_free(ctx, t);
}

const tokenizer_info *tokenizer_about(const tokenizer *t) { return &t->info; }
const uint8_t *tokenizer_file_hash(const tokenizer *t) { return t->from_file ? t->file_hash : NULL; }

/* ---- lists ---- */

void token_list_free(pith_ctx *ctx, token_list *l) {
    pith_free(ctx, l->id);
    *l = (token_list){0};
}

pith_status token_list_append(pith_ctx *ctx, token_list *l, const uint32_t *ids, size_t n) {
    if (n > l->capacity - l->n) {
        if (n > SIZE_MAX / 8 - l->n) return pith_fail(ctx, PITH_E_LIMIT, "too many tokens for one list");
        size_t capacity = PITH_MAX(l->n + n, l->capacity + l->capacity / 2);
        capacity = PITH_MAX(capacity, 64);
        uint32_t *id = pith_alloc(ctx, capacity * sizeof *id);
        if (!id) return pith_alloc_status(ctx);
        if (l->n) memcpy(id, l->id, l->n * sizeof *id);
        pith_free(ctx, l->id);
        l->id = id;
        l->capacity = capacity;
    }
    if (n) memcpy(l->id + l->n, ids, n * sizeof *ids);
    l->n += n;
    return PITH_OK;
}

/* ---- encoding ---- */

typedef struct encode_run {
    pith_ctx *ctx;
    const tokenizer *t;
    token_list *out;
    bool front; /* the next text part gets the space in front */
    bool marks; /* as SentencePiece and llama.cpp take U+2581 and user-defined pieces */
} encode_run;

static pith_status encode_bytes(pith_ctx *ctx, const uint8_t *text, size_t size, token_list *out) {
    pith_status st = PITH_OK;
    for (size_t i = 0; i < size && st == PITH_OK; i++) st = token_push(ctx, out, text[i]);
    return st;
}

static pith_status encode_part(void *arg, const uint8_t *text, size_t size, uint32_t id) {
    encode_run *r = arg;
    const tokenizer *t = r->t;
    if (id != TOKEN_NONE) {
        r->front = t->space_after_special && (r->marks || t->type[id] != PIECE_USER);
        return token_push(r->ctx, r->out, id);
    }
    bool front = r->front;
    r->front = false;
    switch (t->kind) {
    case TOKENIZER_SPM:
    case TOKENIZER_RANKED: return spm_encode(r->ctx, t, text, size, front, !r->marks && t->info.byte_exact, r->out);
    case TOKENIZER_BYTE_BPE: return byte_bpe_encode(r->ctx, t, text, size, front, r->out);
    case TOKENIZER_UNIGRAM: return unigram_encode(r->ctx, t, text, size, front, r->out);
    case TOKENIZER_WORDPIECE: return wordpiece_encode(r->ctx, t, text, size, r->out);
    case TOKENIZER_BYTES: break;
    }
    return encode_bytes(r->ctx, text, size, r->out);
}

pith_status tokenizer_encode(pith_ctx *ctx, const tokenizer *t, const void *text, size_t size, unsigned flags,
                             token_list *out) {
    encode_run r = {
        .ctx = ctx, .t = t, .out = out, .front = !(flags & TOKENIZE_CONTINUE), .marks = (flags & TOKENIZE_MARKS) != 0};
    pith_status st = PITH_OK;
    size_t had = out->n;
    if (flags & TOKENIZE_BOS && t->info.bos != TOKEN_NONE) st = token_push(ctx, out, t->info.bos);
    const special_table *special = flags & TOKENIZE_SPECIAL ? &t->control : &t->user;
    /* A file whose kind keeps user-defined pieces in the text finds them there. */
    if (t->user_marks_kept && !(flags & TOKENIZE_SPECIAL)) {
        if (st == PITH_OK && size) st = encode_part(&r, text, size, TOKEN_NONE);
    } else if (st == PITH_OK && size) {
        st = special_walk(ctx, t, special, text, size, encode_part, &r);
    }
    if (st == PITH_OK && flags & TOKENIZE_EOS && t->info.eos != TOKEN_NONE) st = token_push(ctx, out, t->info.eos);
    if (st != PITH_OK) out->n = had;
    return st;
}

/* ---- decoding ---- */

const uint8_t *tokenizer_piece(const tokenizer *t, uint32_t id, bool special, size_t *size) {
    static const uint8_t nothing[1];
    *size = 0;
    if (id >= t->n) return nothing;
    if (!special && (t->type[id] == PIECE_CONTROL || t->type[id] == PIECE_UNKNOWN)) return nothing;
    return string_pool_get(&t->piece, id, size);
}

pith_status tokenizer_decode(pith_ctx *ctx, const tokenizer *t, const uint32_t *ids, size_t n, bool at_start,
                             pith_buffer *out) {
    bool drop = at_start && (t->info.add_space_prefix || t->kind == TOKENIZER_WORDPIECE);
    size_t had = out->size;
    pith_status st = PITH_OK;
    for (size_t i = 0; i < n && st == PITH_OK; i++) {
        size_t size;
        if (ids[i] >= t->n) {
            st = pith_fail(ctx, PITH_E_ARGUMENT, "token %u is not in a vocabulary of %u", ids[i], t->n);
            break;
        }
        const uint8_t *p = tokenizer_piece(t, ids[i], false, &size);
        if (drop && size) {
            drop = false;
            if (*p == ' ' && t->type[ids[i]] != PIECE_USER) {
                p++;
                size--;
            }
        }
        st = pith_buffer_append(ctx, out, p, size);
    }
    if (st != PITH_OK) out->size = had;
    return st;
}

const char *tokenizer_entry(const tokenizer *t, uint32_t id, size_t *size, float *score, int *kind) {
    if (id >= t->n) {
        *size = 0;
        if (score) *score = 0;
        if (kind) *kind = 0;
        return "";
    }
    if (score) *score = t->score[id];
    if (kind) *kind = t->type[id];
    return (const char *)string_pool_get(&t->entry, id, size);
}
