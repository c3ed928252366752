/* Fuzzes the tokenizer: the input up to a 0x00 0xFF pair is a vocabulary file (GGUF, tokenizer.json,
 * SentencePiece, llama2.c), the rest is a text. A kind that says it keeps bytes must give them back. */
#include <stdio.h>

#include "base/base.h"
#include "lm/tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool held, const char *what) {
    if (held) return;
    fprintf(stderr, "does not hold: %s\n", what);
    abort();
}

static void encode(pith_ctx *ctx, const tokenizer *t, const uint8_t *text, size_t size, unsigned flags) {
    token_list l = {0};
    pith_buffer back = {0};
    const tokenizer_info *about = tokenizer_about(t);
    pith_status st = tokenizer_encode(ctx, t, text, size, flags, &l);
    must(st == PITH_OK || *pith_error(ctx), "ids or a message");
    for (size_t i = 0; i < l.n; i++) must(l.id[i] < about->n_vocab, "an id is in the vocabulary");
    if (st == PITH_OK) {
        must(tokenizer_decode(ctx, t, l.id, l.n, !(flags & TOKENIZE_CONTINUE), &back) == PITH_OK, "ids decode");
        if (about->byte_exact && !(flags & (TOKENIZE_SPECIAL | TOKENIZE_MARKS)))
            must(back.size == size && (!size || memcmp(back.data, text, size) == 0), "the bytes come back");
    }
    must(st == PITH_OK || st == PITH_E_LIMIT || !about->byte_exact, "a vocabulary with all bytes encodes everything");
    token_list_free(ctx, &l);
    pith_buffer_free(ctx, &back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pith_ctx *ctx = pith_ctx_new(NULL);
    if (!ctx) return 0;
    pith_ctx_set_memory(ctx, 64u << 20);
    size_t cut = 0;
    while (cut + 1 < size && !(data[cut] == 0 && data[cut + 1] == 0xFF)) cut++;
    bool has_text = cut + 1 < size;
    size_t vocabulary = has_text ? cut : size;
    tokenizer *t = NULL;
    tensor_file *f = NULL;
    pith_status st;
    if (vocabulary >= 4 && memcmp(data, "GGUF", 4) == 0) {
        st = tensor_file_open_memory(ctx, data, vocabulary, &f);
        if (st == PITH_OK) st = tokenizer_open(ctx, f, &t);
    } else {
        st = tokenizer_open_memory(ctx, data, vocabulary, 0, &t);
    }
    must((st == PITH_OK) == (t != NULL), "a tokenizer or a failure");
    if (t) {
        const uint8_t *text = data + (has_text ? cut + 2 : 0);
        size_t n = has_text ? size - cut - 2 : size;
        for (unsigned flags = 0; flags < 32; flags += 8) encode(ctx, t, text, n, flags);
        encode(ctx, t, text, n, TOKENIZE_SPECIAL | TOKENIZE_BOS | TOKENIZE_EOS);
    }
    tokenizer_free(ctx, t);
    if (f) tensor_file_close(ctx, f);
    must(pith_memory_used(ctx) == 0, "all memory is given back");
    pith_ctx_free(ctx);
    return 0;
}
