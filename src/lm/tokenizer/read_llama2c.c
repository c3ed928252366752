/* llama2.c's tokenizer.bin: the length of the longest piece, then for each piece its score (f32),
 * its length (i32) and its text, little-endian. Piece 0 is the unknown one, 1 begins a text, 2 ends
 * one; a space is written as a space. */
#include <stdio.h>

#include "lm/tokenizer/read.h"
#include "lm/tokenizer/vocabulary.h"

static float load_float(const uint8_t *p) {
    uint32_t bits = load32(p);
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static pith_status count_pieces(pith_ctx *ctx, const uint8_t *data, size_t size, uint32_t most, uint32_t *n) {
    size_t at = 4;
    if (size < 12)
        return pith_fail(ctx, PITH_E_FORMAT, "the file is no vocabulary: neither JSON nor SentencePiece nor llama2.c");
    uint32_t longest = load32(data);
    for (*n = 0; at < size && *n < most; ++*n) {
        if (size - at < 8) return pith_fail(ctx, PITH_E_TRUNCATED, "piece %u is cut off at byte %zu", *n, at);
        uint32_t length = load32(data + at + 4);
        if (length > longest || length > PIECE_BYTES_MAX || length > size - at - 8)
            return pith_fail(ctx, PITH_E_FORMAT, "piece %u at byte %zu has the impossible length %u", *n, at, length);
        at += 8 + length;
    }
    if (*n < most && most != VOCABULARY_MAX)
        return pith_fail(ctx, PITH_E_TRUNCATED, "the vocabulary ends after %u of %u pieces", *n, most);
    if (at < size) return pith_fail(ctx, PITH_E_FORMAT, "%zu bytes follow the last piece", size - at);
    return PITH_OK;
}

/* SentencePiece's mark for each space. */
static size_t mark_spaces(const uint8_t *text, size_t size, uint8_t *out) {
    size_t n = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == ' ') {
            memcpy(out + n, SPACE_MARK, 3);
            n += 3;
        } else {
            out[n++] = text[i];
        }
    }
    return n;
}

/* Whether the piece at `at` is byte b itself, as older files write the byte pieces: the byte below
 * 128, above it the character of that number. Newer ones write "<0x0A>". */
static bool is_raw_byte(const uint8_t *data, size_t at, unsigned b) {
    uint32_t length = load32(data + at + 4);
    const uint8_t *text = data + at + 8;
    if (b < 0x80) return length == 1 && text[0] == b;
    return length == 2 && text[0] == (0xC0 | b >> 6) && text[1] == (0x80 | (b & 0x3F));
}

#define FIRST_BYTE 3u /* the byte pieces follow the three special ones */

static bool has_raw_bytes(const uint8_t *data, uint32_t n) {
    if (n < FIRST_BYTE + 256) return false;
    size_t at = 4;
    for (uint32_t id = 0; id < FIRST_BYTE + 256; id++) {
        if (id >= FIRST_BYTE && !is_raw_byte(data, at, id - FIRST_BYTE)) return false;
        at += 8 + load32(data + at + 4);
    }
    return true;
}

pith_status read_llama2c_vocabulary(pith_ctx *ctx, const uint8_t *data, size_t size, uint32_t n_vocab,
                                    tokenizer **out) {
    uint8_t marked[3 * PIECE_BYTES_MAX];
    char byte_name[8];
    uint32_t n = 0;
    pith_status st = count_pieces(ctx, data, size, n_vocab ? n_vocab : VOCABULARY_MAX, &n);
    if (st == PITH_OK) st = tokenizer_new(ctx, TOKENIZER_SPM, n, out);
    if (st != PITH_OK) return st;
    tokenizer *t = *out;
    size_t at = 4;
    bool raw_bytes = has_raw_bytes(data, n);
    for (uint32_t id = 0; id < n && st == PITH_OK; id++) {
        uint32_t length = load32(data + at + 4);
        int type = id == 0 ? PIECE_UNKNOWN : id <= 2 ? PIECE_CONTROL : PIECE_NORMAL;
        size_t m = mark_spaces(data + at + 8, length, marked);
        if (id == 1)
            st = vocabulary_add(ctx, t, "pieces", "<s>", 3, 0, type);
        else if (id == 2)
            st = vocabulary_add(ctx, t, "pieces", "</s>", 4, 0, type);
        else if (raw_bytes && id >= FIRST_BYTE && id < FIRST_BYTE + 256)
            st = vocabulary_add(ctx, t, "pieces", (const uint8_t *)byte_name,
                                (size_t)snprintf(byte_name, sizeof byte_name, "<0x%02X>", id - FIRST_BYTE), 0, PIECE_BYTE);
        else
            st = vocabulary_add(ctx, t, "pieces", marked, m, load_float(data + at), type);
        at += 8 + length;
    }
    if (st == PITH_OK) st = vocabulary_index(ctx, t, "pieces");
    t->info.bos = n > 1 ? 1 : TOKEN_NONE;
    t->info.eos = n > 2 ? 2 : TOKEN_NONE;
    t->info.unk = 0;
    t->info.add_bos = n > 1;
    t->info.add_space_prefix = true;
    t->escape_spaces = t->space_after_special = true;
    return st == PITH_OK ? tokenizer_finish(ctx, t) : st;
}
