/* Tokenises a text stretch by stretch and checks that the tokens spell it. Where they do not
 * (a tokenizer that normalises, a literal U+2581 under SentencePiece), one character is escaped
 * and the stretch goes on behind it. */
#include "lm/coding/items.h"

/* A stretch ends at a line's end where it can, so that cutting hardly ever splits a token. */
#define STRETCH_MIN ((size_t)4 << 10)
#define STRETCH_MAX ((size_t)8 << 10)
#define MAX_REPAIRS 64 /* per stretch: bounds the work to as many passes over it */

static size_t stretch_end(const uint8_t *text, size_t at, size_t n) {
    if (n - at <= STRETCH_MAX) return n;
    for (size_t i = at + STRETCH_MIN; i < at + STRETCH_MAX; i++)
        if (text[i] == '\n') return i + 1;
    size_t end = at + STRETCH_MAX;
    while (end > at + STRETCH_MIN && (text[end] & 0xC0) == 0x80) end--; /* not inside a character */
    return end;
}

static size_t character_bytes(const uint8_t *p, size_t n) {
    size_t k = 1;
    while (k < n && k < 4 && (p[k] & 0xC0) == 0x80) k++;
    return k;
}

static pith_status escape(pith_ctx *ctx, const uint8_t *p, size_t n, token_list *items) {
    pith_status status = PITH_OK;
    for (size_t i = 0; i < n && !status; i++) {
        uint32_t item = ITEM_BYTE | p[i];
        status = token_list_append(ctx, items, &item, 1);
    }
    return status;
}

/* Bytes of text[n] that ids spell from its start, and how many ids that takes. */
static size_t spelled(const tokenizer *t, const token_list *ids, const uint8_t *text, size_t n, size_t *n_ids) {
    size_t at = 0, i = 0;
    for (; i < ids->n; i++) {
        size_t piece_n;
        const uint8_t *piece = tokenizer_piece(t, ids->id[i], false, &piece_n);
        /* a token of no bytes would be coded for nothing: it is left out by stopping here */
        if (piece_n == 0 || piece_n > n - at || memcmp(piece, text + at, piece_n) != 0) break;
        at += piece_n;
    }
    *n_ids = i;
    return at;
}

pith_status items_of(pith_ctx *ctx, const tokenizer *t, const uint8_t *text, size_t n, token_list *items) {
    token_list ids = {0};
    pith_status status = PITH_OK;
    for (size_t at = 0; at < n && !status;) {
        size_t end = stretch_end(text, at, n);
        for (unsigned repairs = 0; at < end && !status; repairs++) {
            ids.n = 0;
            size_t n_ids = 0, took = 0;
            if (repairs < MAX_REPAIRS) {
                status = tokenizer_encode(ctx, t, text + at, end - at, TOKENIZE_CONTINUE, &ids);
                if (status) break;
                took = spelled(t, &ids, text + at, end - at, &n_ids);
                status = token_list_append(ctx, items, ids.id, n_ids);
                at += took;
            }
            if (at == end || status) break;
            size_t lost = repairs < MAX_REPAIRS ? character_bytes(text + at, end - at) : end - at;
            status = escape(ctx, text + at, lost, items);
            at += lost;
        }
    }
    token_list_free(ctx, &ids);
    return status;
}
