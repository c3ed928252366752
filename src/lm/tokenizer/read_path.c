/* Which of the vocabulary files lies at a path: tokenizer.json starts with a brace, a SentencePiece
 * model with field 1 of its protobuf message, llama2.c's file with the length of its longest piece. */
#include "lm/tokenizer/read.h"

#include <errno.h>
#include <stdio.h>

#include "lm/tokenizer/vocabulary.h"

#define FILE_MAX (UINT64_C(1) << 30)

static pith_status read_file(pith_ctx *ctx, const char *path, pith_buffer *out) {
    uint8_t block[1 << 16];
    FILE *f = fopen(path, "rb");
    if (!f) return pith_fail(ctx, PITH_E_IO, "%s: %s", path, strerror(errno));
    pith_status st = PITH_OK;
    size_t n;
    while (st == PITH_OK && (n = fread(block, 1, sizeof block, f)) > 0) {
        if (out->size > FILE_MAX)
            st = pith_fail(ctx, PITH_E_LIMIT, "%s is no vocabulary: it is over 1 GiB", path);
        else
            st = pith_buffer_append(ctx, out, block, n);
    }
    if (st == PITH_OK && ferror(f)) st = pith_fail(ctx, PITH_E_IO, "%s: reading failed", path);
    fclose(f);
    return st;
}

pith_status tokenizer_open_memory(pith_ctx *ctx, const uint8_t *data, size_t size, uint32_t n_vocab, tokenizer **out) {
    size_t i = 0;
    *out = NULL;
    while (i < size && (data[i] == ' ' || (data[i] >= '\t' && data[i] <= '\r'))) i++;
    if (size - i >= 3 && memcmp(data + i, "\xEF\xBB\xBF", 3) == 0) i += 3;
    pith_status st;
    if (i < size && data[i] == '{')
        st = read_tokenizer_json(ctx, (const char *)data + i, size - i, out);
    else if (size > 2 && data[0] == 0x0A && looks_like_sentencepiece(data, size))
        st = read_sentencepiece(ctx, data, size, out);
    else
        st = read_llama2c_vocabulary(ctx, data, size, n_vocab, out);
    if (st == PITH_OK && n_vocab && (*out)->n > n_vocab)
        st = pith_fail(ctx, PITH_E_FORMAT, "a vocabulary of %u pieces for a model of %u", (*out)->n, n_vocab);
    if (st != PITH_OK) {
        tokenizer_free(ctx, *out);
        *out = NULL;
        return st;
    }
    (*out)->from_file = true;
    tensor_bytes_hash(data, size, (*out)->file_hash);
    return PITH_OK;
}

pith_status tokenizer_open_path(pith_ctx *ctx, const char *path, uint32_t n_vocab, tokenizer **out) {
    pith_buffer data = {0};
    *out = NULL;
    pith_status st = read_file(ctx, path, &data);
    if (st == PITH_OK) st = tokenizer_open_memory(ctx, data.data, data.size, n_vocab, out);
    pith_buffer_free(ctx, &data);
    return st;
}
