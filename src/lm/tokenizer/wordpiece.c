/* WordPiece as BERT runs it (Devlin et al. 2018; Hugging Face's BertNormalizer and
 * BertPreTokenizer): control characters out, Chinese characters and punctuation alone, accents and
 * capitals off where the model says so, then the longest piece first. A word no chain of pieces
 * covers, or of more than 100 characters, is one unknown piece. Pieces are kept as GGUF writes
 * them: U+2581 in front of a word's first piece, nothing in front of the others. */
#include <utf8proc.h>

#include "lm/tokenizer/vocabulary.h"

pith_status wordpiece_prepare(pith_ctx *ctx, tokenizer *t) {
    uint32_t *ids = pith_alloc(ctx, t->n * sizeof *ids), n = 0;
    if (!ids) return pith_alloc_status(ctx);
    for (uint32_t id = 0; id < t->n; id++)
        if (t->type[id] == PIECE_NORMAL && t->entry.at[id] < t->entry.at[id + 1]) ids[n++] = id;
    pith_status st = piece_trie_build(ctx, &t->trie, &t->entry, ids, n);
    pith_free(ctx, ids);
    return st;
}

static bool is_white(uint32_t c) {
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
           c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

static bool is_chinese(uint32_t c) {
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

static bool is_punctuation(uint32_t c) {
    if (c < 0x80)
        return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO;
}

static bool is_control(uint32_t c) {
    if (c == '\t' || c == '\n' || c == '\r') return false;
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k >= UTF8PROC_CATEGORY_CC && k <= UTF8PROC_CATEGORY_CO; /* not the unassigned ones */
}

typedef struct word_run {
    pith_ctx *ctx;
    const tokenizer *t;
    token_list *out;
    pith_buffer word; /* U+2581, then the word so far */
    uint32_t characters;
} word_run;

/* The longest piece at p; its length, 0 when there is none. */
static size_t longest_piece(const tokenizer *t, const uint8_t *p, size_t size, uint32_t *id) {
    size_t length = 0;
    uint32_t node = 0;
    for (size_t i = 0; i < size && (node = piece_trie_step(&t->trie, node, p[i])) != 0; i++)
        if (t->trie.value[node] != TOKEN_NONE) {
            length = i + 1;
            *id = t->trie.value[node];
        }
    return length;
}

static pith_status end_word(word_run *r) {
    const tokenizer *t = r->t;
    size_t had = r->out->n;
    pith_status st = PITH_OK;
    if (r->word.size <= 3) return st;
    bool known = r->characters <= t->word_limit;
    for (size_t i = 0; known && i < r->word.size && st == PITH_OK;) {
        const uint8_t *p = r->word.data + i;
        uint32_t id = 0;
        size_t left = r->word.size - i;
        bool mark = i > 0 && left >= 3 && memcmp(p, SPACE_MARK, 3) == 0; /* the text's own, not a word's start */
        size_t n = mark ? 0 : longest_piece(t, p, left, &id);
        known = n > (i == 0 ? 3 : 0);
        if (known) st = token_push(r->ctx, r->out, id);
        i += n;
    }
    r->word.size = 3;
    r->characters = 0;
    if (known || st != PITH_OK) return st;
    r->out->n = had;
    if (t->info.unk == TOKEN_NONE) return pith_fail(r->ctx, PITH_E_UNSUPPORTED, "the vocabulary has no unknown piece");
    return token_push(r->ctx, r->out, t->info.unk);
}

static pith_status add_letter(word_run *r, uint32_t c) {
    uint8_t bytes[4];
    r->characters++;
    if (r->characters > r->t->word_limit) return PITH_OK; /* unknown already, however long */
    return pith_buffer_append(r->ctx, &r->word, bytes, utf8_write(bytes, c));
}

static pith_status take(word_run *r, uint32_t c) {
    pith_status st = PITH_OK;
    if (is_white(c)) return end_word(r);
    bool alone = is_punctuation(c) || (r->t->cjk_words && is_chinese(c));
    if (alone) st = end_word(r);
    if (st == PITH_OK) st = add_letter(r, c);
    return st == PITH_OK && alone ? end_word(r) : st;
}

static pith_status take_lower(word_run *r, uint32_t c) {
    if (!r->t->lower_case) return take(r, c);
    if (c == 0x130) { /* the one character whose lower case is two */
        pith_status st = take(r, 'i');
        return st == PITH_OK ? take(r, 0x307) : st;
    }
    return take(r, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
}

static pith_status take_decomposed(word_run *r, uint32_t c) {
    utf8proc_int32_t part[8];
    int boundary = 0;
    pith_status st = PITH_OK;
    if (!r->t->strip_accents || c < 0x80) return take_lower(r, c);
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, part, 8, UTF8PROC_DECOMPOSE, &boundary);
    if (n < 1 || n > 8) return take_lower(r, c);
    for (utf8proc_ssize_t i = 0; i < n && st == PITH_OK; i++)
        if (utf8proc_category(part[i]) != UTF8PROC_CATEGORY_MN) st = take_lower(r, (uint32_t)part[i]);
    return st;
}

pith_status wordpiece_encode(pith_ctx *ctx, const tokenizer *t, const uint8_t *text, size_t size, token_list *out) {
    word_run r = {.ctx = ctx, .t = t, .out = out};
    pith_status st = pith_buffer_append(ctx, &r.word, SPACE_MARK, 3);
    for (size_t i = 0; i < size && st == PITH_OK;) {
        uint32_t c = 0xFFFD;
        size_t n = utf8_read(text + i, size - i, &c);
        i += n ? n : 1;
        if (n == 0) c = 0xFFFD;
        if (t->clean_text && (c == 0 || c == 0xFFFD || is_control(c))) continue;
        if (t->clean_text && is_white(c)) c = ' ';
        /* Chinese characters are set apart before anything is decomposed. */
        bool alone = t->cjk_words && is_chinese(c);
        if (alone) st = end_word(&r);
        if (st == PITH_OK) st = take_decomposed(&r, c);
        if (st == PITH_OK && alone) st = end_word(&r);
    }
    if (st == PITH_OK) st = end_word(&r);
    pith_buffer_free(ctx, &r.word);
    return st;
}
